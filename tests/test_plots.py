"""Pictures: they show what they are given, and leave no trace in the process."""

import io
import subprocess
import sys

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
