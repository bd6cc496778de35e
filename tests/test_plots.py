"""Pictures: they show what they are given, and leave no trace in the process."""

import importlib.util
import io
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import backprop as bp
from backprop import plots
from backprop.datasets import xor

matplotlib = pytest.importorskip("matplotlib")
pytest.importorskip("matplotlib.figure")

HISTORY = {
    "loss": [3.0, 0.5, 0.1],
    "accuracy": [0.2, 0.6, 0.9],
    "val_loss": [2.0, 0.6, 0.3],
    "val_accuracy": [0.3, 0.5, 0.8],
}


def pixels(figure: object) -> np.ndarray:
    from matplotlib.image import imread

    return imread(io.BytesIO(plots.png(figure)))  # type: ignore[arg-type]


def panels(figure: object) -> dict[str, list[list[float]]]:
    """The curves of each panel, by its label."""
    return {axes.get_ylabel(): [line.get_ydata().tolist() for line in axes.lines] for axes in figure.axes}  # type: ignore[attr-defined]


def test_curves_show_every_number_of_the_history() -> None:
    assert panels(plots.curves(HISTORY)) == {
        "loss": [HISTORY["loss"], HISTORY["val_loss"]],
        "accuracy": [HISTORY["accuracy"], HISTORY["val_accuracy"]],
    }


@pytest.mark.parametrize(
    ("losses", "scale"), [([3.0, 0.1], "log"), ([3.0, 1.0], "linear"), ([3.0, -0.1], "linear"), ([1.0, 0.0], "linear")]
)
def test_the_loss_has_a_logarithmic_axis_where_it_needs_one_and_can(losses: list[float], scale: str) -> None:
    assert plots.curves({"loss": losses}).axes[0].get_yscale() == scale


def test_a_single_epoch_is_a_point_and_several_are_a_line() -> None:
    assert [plots.curves({"loss": losses}).axes[0].lines[0].get_marker() for losses in ([1.0], [1.0, 1.0])] == [".", ""]


def test_a_history_of_fit_is_drawn() -> None:
    net = bp.Sequential([bp.Dense(2, 2, "softmax")], rng=0)
    history = net.fit(*xor(), loss="cross_entropy", optimizer=bp.SGD(0.1), epochs=3)
    assert panels(plots.curves(history)) == {"loss": [history["loss"], []]}


def test_a_history_draws_itself() -> None:
    net = bp.Sequential([bp.Dense(2, 2, "softmax")], rng=0)
    x, y = xor()
    history = net.fit(
        x, y, loss="cross_entropy", optimizer=bp.SGD(0.1), epochs=3, metrics=["accuracy"], validation_data=(x, y)
    )
    assert panels(history.plot()) == {
        "loss": [history["loss"], history["val_loss"]], "accuracy": [history["accuracy"], history["val_accuracy"]],
    }  # fmt: skip
    figure = matplotlib.figure.Figure()
    left, right = figure.subplots(1, 2)
    assert history.plot(right) is figure
    assert not left.lines and panels(figure)["loss"] == [history["loss"], history["val_loss"]]
    assert right.get_xlabel() == "epoch"
    for empty in bp.History(), {"loss": []}:
        with pytest.raises(ValueError, match="history: expected at least one epoch, got none"):
            plots.curves(empty)


def test_a_finder_draws_itself() -> None:
    finder = bp.LearningRateFinder()
    with pytest.raises(ValueError, match="rates: expected at least one learning rate tried, got none"):
        finder.plot()
    finder.rates, finder.losses, finder.smoothed = [0.01, 0.1, 1.0, 10.0], [2.0, 1.0, 0.5, 90.0], [2.0, 1.4, 1.1, 30.0]
    (axes,) = finder.plot().axes
    losses, smoothed, suggestion = axes.lines
    assert losses.get_ydata().tolist() == finder.losses and smoothed.get_ydata().tolist() == finder.smoothed
    assert losses.get_xdata().tolist() == smoothed.get_xdata().tolist() == finder.rates
    assert finder.suggestion == 0.1 and list(suggestion.get_xdata()) == [0.1, 0.1]
    assert axes.get_xscale() == "log" and axes.get_ylim()[1] < 5  # how high it bursts is not shown
    figure = matplotlib.figure.Figure()
    assert finder.plot(figure.subplots()) is figure and len(figure.axes[0].lines) == 3
    finder.losses = finder.smoothed = [1.0, 2.0, 3.0, 4.0]  # never fell
    assert len(finder.plot().axes[0].lines) == 2


@pytest.mark.parametrize(("right", "shown_wrong"), [(30, 0), (28, 2), (10, 8), (0, 8)])
def test_digits_mark_the_wrong_ones(right: int, shown_wrong: int) -> None:
    images = np.random.default_rng(0).random((30, 64), dtype=np.float32)
    labels = np.arange(30) % 10
    said = np.where(np.arange(30) < right, labels, (labels + 1) % 10)
    figure = plots.digits(HISTORY, images, labels, np.eye(10)[said])
    cells = [axes for axes in figure.axes if axes.images]
    marked = [axes for axes in cells if axes.title.get_color() == "tab:red"]
    assert len(cells) == min(24, right + shown_wrong) and len(marked) == shown_wrong
    for axes in cells:
        shown = images.reshape(30, 8, 8)
        (i,) = np.flatnonzero((shown == np.asarray(axes.images[0].get_array())).all(axis=(1, 2)))
        assert axes.get_title() == (f"{said[i]}" if said[i] == labels[i] else f"{said[i]}, not {labels[i]}")
    assert f"30 test digits, {30 - right} of them wrong" in [sub.get_suptitle() for sub in figure.subfigs]


@pytest.mark.parametrize("classes", [2, 3])
def test_regions_have_the_colour_of_the_likeliest_class(classes: int) -> None:
    net = bp.Sequential([bp.Dense(2, classes, "softmax")], dtype="float64")
    net.layers[0].weight[...] = 60 * np.array([[1, -1, 0], [0, 0, 3]])[:, :classes]
    x, y = np.array([[0.0, 0.0], [1.0, 2.0]]), np.array([0, classes - 1])
    figure = plots.regions(HISTORY, net, x, y)
    (picture,) = [axes.images[0] for axes in figure.axes if axes.images]
    plane, extent = np.asarray(picture.get_array()), picture.get_extent()
    np.testing.assert_allclose(extent, [-0.2, 1.2, -0.4, 2.4])
    palette = (1 + np.array(matplotlib.color_sequences["tab10"])) / 2
    bottom = [plane[0, 0], plane[0, -1]]  # at the bottom left, x1 < 0 and x2 < 0: class 1 lies there
    np.testing.assert_allclose(bottom, palette[[1, 0]], atol=1e-6)
    np.testing.assert_allclose(plane[-1, 0], palette[classes - 1], atol=1e-6)


# What the arrays say, in every form of them.


def palette(n: int) -> np.ndarray:
    return np.array(matplotlib.color_sequences["tab10"])[:n]


ONE_OUTPUT = [
    ("binary_cross_entropy", "sigmoid", True), (bp.BinaryCrossEntropy(from_logits=True), "identity", False),
    ("mse", "tanh", True), ("mse", "identity", False), ("hinge", "identity", False), ("focal", "sigmoid", True),
]  # fmt: skip
SEVERAL_OUTPUTS = [
    ("cross_entropy", "softmax", True), (bp.CrossEntropy(from_logits=True), "identity", True),
    ("hinge", "identity", True), ("mse", "sigmoid", True),
]  # fmt: skip


FORMS = ["labels", "column", "one-hot", "signs", "list"]
NETWORKS = [(*case, 1) for case in ONE_OUTPUT] + [(*case, n) for case in SEVERAL_OUTPUTS for n in (2, 3)]
REGIONS = [
    # Labels of every form for one network of one output and one of three; every network with plain labels.
    pytest.param(*net, form, marks=() if form == "labels" or net[0] in ("binary_cross_entropy", "cross_entropy") else pytest.mark.slow)
    for net in NETWORKS for form in FORMS
]  # fmt: skip


@pytest.mark.parametrize(("loss", "end", "alone", "n_out", "form"), REGIONS)
def test_regions_under_every_loss_and_with_labels_in_every_form(
    loss: Any, end: str, alone: bool, n_out: int, form: str
) -> None:
    rng, classes = np.random.default_rng(0), max(n_out, 2)
    labels = np.arange(60) % classes
    x = np.array([[-2.0, 0.0], [2.0, 0.0], [0.0, 3.0]])[labels] + 0.2 * rng.normal(size=(60, 2))
    hot = np.eye(classes)[labels]
    given: Any = {"labels": labels, "column": labels[:, None], "one-hot": hot, "list": labels.tolist()}.get(form)
    if form == "signs":
        given = 2 * labels - 1 if n_out == 1 else 2 * hot - 1
    signed = end == "tanh" or (loss == "mse" and form == "signs")
    targets = hot if loss == "mse" and n_out > 1 else 2 * labels - 1 if signed else labels
    net = bp.Sequential([bp.Dense(2, 8, "tanh"), bp.Dense(8, n_out, end)], rng=0)
    net.fit(x, targets, loss=loss, optimizer=bp.Adam(0.05), epochs=60)
    for said in (loss, None) if alone else (loss,):
        figure = plots.regions(HISTORY, net, x, given, loss=said)
        (axes,) = [axes for axes in figure.axes if axes.images]
        plane = np.asarray(axes.images[0].get_array())
        assert plane.min() >= 0 and plane.max() <= 1
        left, right, bottom, top = axes.images[0].get_extent()
        middles = np.array([x[labels == c].mean(axis=0) for c in range(classes)])
        places = ((middles - [left, bottom]) / [right - left, top - bottom] * 299).round().astype(int)
        shades = plane[places[:, 1], places[:, 0]]
        distance = np.linalg.norm(shades[:, None] - (1 + palette(classes)) / 2, axis=2)
        assert distance.argmin(axis=1).tolist() == list(range(classes))
        points = axes.collections[0].get_facecolors()[:, :3]
        np.testing.assert_allclose(points, palette(classes)[labels])


def test_regions_refuse_what_they_cannot_tell() -> None:
    x, labels = np.eye(2), [0, 1]

    def net(n_out: int, end: str) -> bp.Sequential:
        return bp.Sequential([bp.Dense(2, n_out, end)], rng=0)

    for made, y, says in (
        (net(1, "identity"), labels, "loss: expected the loss of a network whose one output is no probability"),
        (net(1, "sigmoid"), [0, 2], "y: expected labels 0 to 1, whole numbers, got 2"),
        (net(1, "sigmoid"), [0.1, 0.9], "whole numbers, got 0.1"), (net(3, "softmax"), [0, 3], "labels 0 to 2"),
        (net(3, "softmax"), np.ones((2, 3)), "y: expected one class a row"),
        (net(3, "softmax"), np.eye(2), "y: expected one class a row"),
        (net(1, "sigmoid"), [0, 1, 1], "y: expected 2 rows, as many as x has, got 3"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            plots.regions(HISTORY, made, x, y)
    with pytest.raises(ValueError, match=r"x: expected an array of shape \(batch, 2\)"):
        plots.regions(HISTORY, net(1, "sigmoid"), np.ones((2, 3)), labels)
    twelve = plots.regions(HISTORY, net(12, "softmax"), x, [0, 11])
    assert len({tuple(color) for color in twelve.axes[-1].collections[0].get_facecolors()}) == 2


@pytest.mark.slow
def test_digits_take_labels_in_every_form() -> None:
    images, labels = np.random.default_rng(0).random((9, 8, 8)), np.arange(1, 10)
    scores = np.eye(10)[(labels + (np.arange(9) > 6)) % 10]
    expected = plots.png(plots.digits(HISTORY, images.reshape(9, 64), labels, scores))
    for y in labels[:, None], np.eye(10)[labels], labels.tolist(), labels.astype(float):
        assert plots.png(plots.digits(HISTORY, images, y, scores.tolist())) == expected
    for args, says in (
        ((images[:, :7], labels, scores), "images: expected square images, got rows of 56"),
        ((images, labels, scores[:, :1]), r"scores: expected a column for each class, \(n, classes\), got \(9, 1\)"),
        ((images, labels + 1, scores), "labels: expected labels 0 to 9"), ((images, labels[:5], scores), "labels: expected 9 rows"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            plots.digits(HISTORY, *args)


def drawn() -> dict[str, Any]:
    net = bp.Sequential([bp.Dense(2, 2, "softmax")], rng=0)
    x, y = xor()
    history = net.fit(x, y, loss="cross_entropy", optimizer=bp.SGD(0.1), epochs=3)
    finder = bp.LearningRateFinder()
    finder.rates, finder.losses, finder.smoothed = [0.1, 1.0], [2.0, 1.0], [2.0, 1.4]
    return {
        "history.plot": history.plot, "finder.plot": finder.plot, "curves": lambda: plots.curves(HISTORY),
        "regions": lambda: plots.regions(HISTORY, net, x, y),
        "digits": lambda: plots.digits(HISTORY, np.zeros((2, 4)), [0, 1], np.eye(2)),
    }  # fmt: skip


@pytest.mark.parametrize("name", drawn())
def test_a_notebook_shows_every_picture(name: str) -> None:
    figure = drawn()[name]()
    assert figure._repr_png_() == plots.png(drawn()[name]())
    assert pickle.loads(pickle.dumps(figure))._repr_png_()[:4] == b"\x89PNG"
    code = (
        "import sys; from backprop import plots; from IPython.core.formatters import DisplayFormatter;"
        "data, _ = DisplayFormatter().format(plots.curves({'loss': [1.0]}));"
        "assert data['image/png'][:4] == b'\\x89PNG', data; assert 'matplotlib.pyplot' not in sys.modules"
    )
    if importlib.util.find_spec("IPython") and name == "curves":
        subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_history_without_a_loss_has_none_to_draw_in_given_axes() -> None:
    with pytest.raises(ValueError, match="history: expected a loss to draw, got accuracy"):
        plots.curves({"accuracy": [0.5]}, matplotlib.figure.Figure().subplots())


def test_the_same_figure_is_the_same_file_and_a_sharp_one() -> None:
    data = plots.png(plots.curves(HISTORY))
    assert data == plots.png(plots.curves(HISTORY))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert pixels(plots.curves(HISTORY)).shape == (600, 720, 4)


def test_no_window_and_no_global_state() -> None:
    before = dict(matplotlib.rcParams)
    plots.png(plots.curves(HISTORY))
    assert dict(matplotlib.rcParams) == before
    code = (
        "import sys; from backprop import plots; assert 'matplotlib' not in sys.modules; "
        "plots.png(plots.curves({'loss': [1.0]})); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_without_matplotlib_they_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "backprop-nn\[plot\]"'):
        plots.curves(HISTORY)
