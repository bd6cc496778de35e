"""What notebooks show of networks, histories and checks, and what comes of a history in other libraries."""

import copy
import importlib.util
import json
import logging
import math
import operator
import pickle
import re
import sys
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from instances import NETWORKS, every_network
from runs import small, table

import backprop as bp
from backprop import _display
from backprop.datasets import xor


def elements(shown, tag):
    """The elements of this name in what is shown, which is well-formed and holds neither scripts nor addresses."""
    root = ElementTree.fromstring(f"<div>{shown}</div>")
    for element in root.iter():
        assert not element.tag.endswith(("script", "style", "link", "image", "foreignObject"))
        for name, value in element.attrib.items():
            assert not name.startswith("on") and not name.endswith(("href", "src")) and "url(" not in value
    return [element for element in root.iter() if element.tag.removeprefix("{http://www.w3.org/2000/svg}") == tag]


def words(shown, tag):
    return ["".join(element.itertext()) for element in elements(shown, tag)]


@every_network
def test_a_network_is_a_table_and_a_drawing(name):
    net = bp.Sequential(NETWORKS[name](), rng=0)
    shown = net._repr_html_()
    assert words(shown, "td")[::3] == [*map(repr, net.layers), f"float32, {net.parameters.nbytes:,} bytes"]
    assert words(shown, "td")[2::3][-1] == f"{net.parameters.size:,}"
    units = [net.n_in, *(layer.n_out for layer in net.layers)]
    assert len(elements(shown, "circle")) == sum(min(n, 8) for n in units)
    assert [text for text in words(shown, "text") if text.isdigit()] == [*map(str, units)]


def test_the_lines_of_a_drawing_are_the_weights():
    net = bp.Sequential([bp.Dense(2, 3, "tanh"), bp.Dense(3, 1)], rng=0)
    net[0].weight = [[1, -2, 0.5], [0, 4, -4]]
    lines = elements(net._repr_html_(), "line")
    colors = [line.get("stroke") for line in lines]
    assert len(lines) == 9
    assert colors[:6] == [
        _display.ORANGE,
        _display.BLUE,
        _display.BLUE,
        _display.ORANGE,
        _display.ORANGE,
        _display.BLUE,
    ]
    widths = [float(line.get("stroke-width")) for line in lines[:6]]
    assert widths == [pytest.approx(0.4 + 2 * abs(w) / 4) for w in (1, 0, -2, 4, 0.5, -4)]
    net[0].weight[0, 0] = np.nan
    assert elements(net._repr_html_(), "line")[0].get("stroke") == "currentColor"


def test_large_networks_are_drawn_in_part_and_deep_ones_not_at_all():
    wide = bp.Sequential([bp.Dense(784, 128), bp.BatchNorm(), bp.Dense(128, 10)], rng=0)
    shown = wide._repr_html_()
    assert len(elements(shown, "circle")) == 32 and words(shown, "text").count("\N{VERTICAL ELLIPSIS}") == 4
    assert len(shown) < 30_000
    deep = bp.Sequential([bp.Dense(2, 2) for _ in range(40)], rng=0)
    assert not elements(deep._repr_html_(), "svg") and len(words(deep._repr_html_(), "tr")) == 42


def test_text_is_escaped():
    class Own(bp.Layer):
        def __repr__(self):
            return "<script>alert('&')</script>"

        def forward(self, x, training):
            return x

        def backward(self, dy):
            return dy

    shown = bp.Sequential([bp.Dense(2, 2), Own()], rng=0)._repr_html_()
    assert words(shown, "td")[3] == "<script>alert('&')</script>"
    history = bp.History()
    history.extend({'<b onclick="x">': [1.0, 2.0]})
    assert '<b onclick="x">' in words(history._repr_html_(), "td")


def test_a_history_is_its_curves():
    x, y, _ = table(20)
    history = small().fit(x, y, loss="mse", optimizer="adam", epochs=5, metrics=["mae"], validation_data=(x, y))
    shown = history._repr_html_()
    assert len(elements(shown, "svg")) == 2 and len(elements(shown, "polyline")) == 4
    assert words(shown, "td")[::2] == [*history] and words(shown, "th") == ["5 epochs", "last"]
    assert [float(text) for text in words(shown, "td")[1::2]] == [
        pytest.approx(values[-1], rel=1e-5) for values in history.values()]  # fmt: skip
    (points,) = {line.get("points").count(",") for line in elements(shown, "polyline")}
    assert points == 5


def curve(*values):
    history = bp.History()
    history.extend({"loss": values})
    return history._repr_html_()


def test_curves_of_any_numbers():
    assert words(bp.History()._repr_html_(), "th") == ["0 epochs", "last"]
    assert len(elements(curve(1.0), "circle")) == 1
    assert len(elements(curve(1.0, 1.0), "polyline")) == 1
    broken = curve(1.0, 2.0, math.nan, 3.0, 4.0, math.inf, 5.0)
    assert len(elements(broken, "polyline")) == 2 and len(elements(broken, "circle")) == 1
    assert not elements(curve(math.nan, math.inf), "polyline")
    assert "loss (logarithmic)" in words(curve(3.0, 0.1), "text") and "loss" in words(curve(3.0, -0.1), "text")


def test_a_long_curve_keeps_its_ends_and_its_peaks():
    values = np.linspace(2, 1, 10_000)
    values[1234], values[7001] = 9, 0.5
    shown = curve(*values)
    assert len(shown) < 20_000
    (line,) = elements(shown, "polyline")
    points = np.array([[float(number) for number in pair.split(",")] for pair in line.get("points").split()])
    heights = points[:, 1]
    assert heights.min() == 22 and heights.max() == 166  # the whole of the panel, from 9 to 0.5
    at = [points[heights.argmin(), 0], points[heights.argmax(), 0]]
    assert (points[0, 0], points[-1, 0]) == (58, 316) and at == pytest.approx(
        [58 + 258 * e / 9999 for e in (1234, 7001)], abs=0.1
    )


def test_a_check_of_gradients():
    net = bp.Sequential([bp.Dense(2, 2, "tanh")], rng=0, dtype="float64")
    check = bp.check_gradients(net, "mse", np.eye(2), np.eye(2))
    assert words(check._repr_html_(), "td")[1::2] == [f"{check.error:.3g}", check.parameter]


# A history in other hands.


def made():
    history = bp.History()
    history.extend({"loss": np.array([3.0, 2.0]), "val_loss": [4.0, 3.0]})
    history.extend({"loss": np.array([1.0]), "val_loss": [2.0]})
    return history


NUMBERS = {"loss": [3.0, 2.0, 1.0], "val_loss": [4.0, 3.0, 2.0]}


@pytest.mark.parametrize(
    "read",
    [
        dict, lambda h: {**h}, lambda h: json.loads(json.dumps(h)), lambda h: dict(h.items()), lambda h: {} | h,
        lambda h: h | {}, copy.copy, copy.deepcopy, lambda h: h.copy(), lambda h: pickle.loads(pickle.dumps(h)),
        lambda h: dict(zip(h.keys(), h.values(), strict=True)), lambda h: {name: h[name] for name in h},
        lambda h: {name: h.get(name) for name in h.keys()},  # noqa: SIM118
        lambda h: {name: h.pop(name) for name in NUMBERS}, lambda h: dict(reversed([h.popitem(), h.popitem()])),
    ],
)  # fmt: skip
def test_a_history_is_a_dict_of_lists_of_numbers(read):
    assert read(made()) == NUMBERS
    assert made() == NUMBERS and operator.eq(NUMBERS, made()) and made() != {"loss": [3.0]}
    assert isinstance(made(), dict) and len(made()) == 2 and "loss" in made() and made().get("mae") is None
    assert type(copy.deepcopy(made())) is bp.History
    assert all(type(value) is float for values in read(made()).values() for value in values)


def test_a_pickle_of_version_0_1():
    old = bp.History.__new__(bp.History)
    old.__setstate__({"_parts": {"loss": [[3.0], np.array([2.0, 1.0])]}})
    old.extend({"loss": [0.5]})
    assert old == {"loss": [3.0, 2.0, 1.0, 0.5]}


def test_a_data_frame_of_a_history():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(made())
    assert list(frame) == [*NUMBERS] and frame.shape == (3, 2) and frame["loss"].tolist() == NUMBERS["loss"]
    history = small().fit(*table(20)[:2], loss="mse", optimizer="adam", epochs=3)
    assert pandas.DataFrame(history)["loss"].tolist() == history["loss"]


# Lines and logs.


def test_no_carriage_returns_where_the_output_is_no_terminal(capsys):
    x, y, _ = table(20)
    small().fit(x, y, loss="mse", optimizer="adam", epochs=3, progress=True)
    err = capsys.readouterr().err
    assert "\r" not in err and re.fullmatch(r"epoch 3/3  loss [\d.]+\n", err)


@pytest.mark.parametrize("widgets", [True, False])
def test_bars_in_notebooks_want_widgets(widgets, monkeypatch):
    tqdm = pytest.importorskip("tqdm.auto", reason="tqdm is not installed")
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    asked = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: asked.append(name) or (shell if widgets else None))
    assert bp.callbacks.logging._bars() is (tqdm.tqdm if widgets else None)
    assert asked == ["ipywidgets"]


def test_the_logger_is_told_at_info(caplog):
    x, y, _ = table(20)
    logger = logging.getLogger("backprop")
    for level, said in ("INFO", 1), ("WARNING", 0):
        caplog.clear()
        caplog.set_level(level, "backprop")
        history = small().fit(x, y, loss="mse", optimizer="adam", epochs=3)
        lines = [record.getMessage() for record in caplog.records if record.name == logger.name]
        assert lines == [f"epoch 3/3  loss {history['loss'][-1]:.4g}"] * said


def test_logs_come_each_second_where_the_logger_has_a_level_of_its_own(caplog, monkeypatch):
    x, y, _ = table(20)
    for level, said in (logging.INFO, ["1/4", "2/4", "3/4", "4/4"]), (logging.NOTSET, ["4/4"]):
        monkeypatch.setattr(logging.getLogger("backprop"), "level", level)
        logging.getLogger("backprop").manager._clear_cache()
        clock = iter(range(100))
        monkeypatch.setattr(
            bp.callbacks.logging, "time", type("Clock", (), {"monotonic": lambda clock=clock: next(clock)})
        )
        caplog.clear()
        with caplog.at_level("INFO"):
            small().fit(x, y, loss="mse", optimizer="adam", epochs=4)
        assert [record.getMessage().split()[1] for record in caplog.records] == said


def test_logging_that_nobody_imported_is_not_asked(monkeypatch):
    monkeypatch.delitem(sys.modules, "logging")
    assert bp.callbacks.log() == []


# A notebook, executed.

CELLS = {
    "network": "import backprop as bp\nfrom backprop import plots\nfrom backprop.datasets import xor\n"
    'net = bp.Sequential([bp.Dense(2, 4, "tanh"), bp.Dense(4, 1, "sigmoid")], rng=0)\nnet',
    "history": "x, y = xor()\nkept, loss = bp.Snapshots(3), 'binary_cross_entropy'\n"
    "history = net.fit(x, y, loss=loss, optimizer=bp.Adam(0.05), epochs=100, progress=True, callbacks=[kept])\nhistory",
    "check": "bp.check_gradients(net, loss, x, y)",
    "trace": "trace = net.trace(x, y, loss, optimizer='adam')\ntrace",
    "trace check": "trace.check()",
    "comparison": "trace.compare({'loss': trace.value, '1.delta[0,0]': 7})",
    "printed": "print(trace.explain('0.weight[0,1]'))",
    "table": "try:\n    import pandas\nexcept ImportError:\n    table = None\nelse:\n    table = pandas.DataFrame(history)\ntable",
}  # fmt: skip
#: The pictures of a notebook; a new one is drawn in `test_plots.py` too.
PICTURES = {
    "history.plot()", "plots.history(history)", "plots.curves(history)", "plots.network(net, x[0])",
    "plots.decision_surface(net, x, y)", "plots.decision_surface(kept.networks, x, y)", "plots.weights(net)", "plots.images([[0, 1, 1, 0]])",
    "plots.activations(net, x)", "plots.activations(kept.networks, x)", "plots.gradient_flow(net, x, y, loss)",
    "plots.gradient_flow(kept.networks, x, y, loss)", "plots.loss_landscape(net, x, y, loss, points=5)",
    "plots.calibration(y, net.predict(x))", "plots.confusion(y, net.predict(x))",
    "plots.predictions(y, net.predict(x))", "plots.regions(history, net, x, y)",
    "plots.digits(history, [[0, 1, 1, 0]] * 2, [0, 1], [[1, 0], [0, 1]])",
    "plots.range_test([0.1, 1.0], [2.0, 1.0], [2.0, 1.4], 0.1, None)",
}  # fmt: skip


@pytest.fixture(scope="module")
def outputs():
    """What each cell shows: the data by type, and its streams."""
    for needed in "nbclient", "nbformat", "ipykernel":
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed, by which a notebook is executed")
    import nbclient
    import nbformat

    sources = {**CELLS, "the second run": CELLS["history"]}
    if importlib.util.find_spec("matplotlib"):
        sources |= {source: source for source in sorted(PICTURES)}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources.values()])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    found = {}
    for name, cell in zip(sources, notebook.cells, strict=True):
        data = {kind: value for output in cell.outputs for kind, value in output.get("data", {}).items()}
        found[name] = data, "".join(output.get("text", "") for output in cell.outputs)
    for states in notebook.metadata.get("widgets", {}).values():
        found["widgets"] = states["state"], ""
    return found


def test_a_notebook_shows_networks_histories_and_checks(outputs):
    assert len(elements(outputs["network"][0]["text/html"], "circle")) == 7
    assert len(elements(outputs["history"][0]["text/html"], "polyline")) == 1
    assert "finite differences" in outputs["check"][0]["text/html"]
    assert "\r" not in outputs["history"][1] or importlib.util.find_spec("ipywidgets")


def test_a_notebook_shows_traces_with_their_checks(outputs):
    shown = outputs["trace"][0]["text/html"]
    assert shown.count("<circle") == 7 and shown.count("<summary>") == 5 and "<script" not in shown
    checked = words(outputs["trace check"][0]["text/html"], "td")
    assert checked[0] == "0.weight[0,0]" and checked[-4] == "the largest"
    assert words(outputs["comparison"][0]["text/html"], "td")[:3] == ["loss", "exact", "1.delta[0,0]"]
    assert outputs["printed"][1].startswith("dE/d 0.weight[0,1] = ")


def test_a_notebook_shows_a_bar_or_a_line_and_the_second_run_of_a_cell_as_the_first(outputs):
    bars = importlib.util.find_spec("ipywidgets") and importlib.util.find_spec("tqdm")
    for name in "history", "the second run":
        data, text = outputs[name]
        assert len(elements(data["text/html"], "polyline")) == 1
        if bars:
            assert "application/vnd.jupyter.widget-view+json" in data and not text
        else:
            assert re.fullmatch(r"epoch 100/100  loss [\d.]+\n", text)
        assert "Warning" not in text
    if bars:
        states = (widget["state"] for widget in outputs["widgets"][0].values())
        assert [state["value"] for state in states if state["_model_name"] == "FloatProgressModel"] == [100, 100]
    first, second = (float(words(outputs[name][0]["text/html"], "td")[1]) for name in ("history", "the second run"))
    assert second < first  # the network goes on


def test_a_notebook_shows_the_table_of_a_history(outputs):
    pytest.importorskip("pandas", reason="pandas is not installed")
    assert words(outputs["table"][0]["text/html"].partition("</style>")[2].removesuffix("</div>"), "th")[:2] == [
        "",
        "loss",
    ]


@pytest.mark.parametrize("source", sorted(PICTURES))
def test_a_notebook_shows_every_figure_without_a_magic(source, outputs):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert outputs[source][0]["image/png"].startswith("iVBOR")


def test_every_picture_is_in_the_notebook():
    plots = pytest.importorskip("backprop.plots")
    assert {re.match(r"plots\.(\w+)", source)[1] for source in PICTURES if source.startswith("plots.")} == {
        *plots.__all__
    } - {"png"}


def test_a_network_that_is_shown_stays_as_it_is():
    x, y = xor()
    net = bp.Sequential([bp.Dense(2, 2, "softmax")], rng=0)
    net.forward(x)
    kept = net.to_bytes()
    net._repr_html_()
    assert net.to_bytes() == kept
    net.backward(np.ones((len(y), 2)))
