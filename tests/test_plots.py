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
pytest.importorskip("matplotlib.colors")
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
    shades = (1 + palette(classes)) / 2
    bottom = [plane[0, 0], plane[0, -1]]  # at the bottom left, x1 < 0 and x2 < 0: class 1 lies there
    np.testing.assert_allclose(bottom, shades[[1, 0]], atol=1e-6)
    np.testing.assert_allclose(plane[-1, 0], shades[classes - 1], atol=1e-6)


# What the arrays say, in every form of them.


def palette(n: int) -> np.ndarray:
    return np.array([matplotlib.colors.to_rgb(color) for color in plots.figures.PALETTE[:n]])


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


@pytest.mark.parametrize("end", ["tanh", "softsign", "sigmoid"])
@pytest.mark.parametrize("form", ["labels", "signs"])
def test_one_output_has_the_threshold_that_it_was_trained_for(end: str, form: str) -> None:
    # Outputs of 0 and 1 beneath a tanh are divided at 0.5, whatever the labels look like.
    x, y = xor()
    targets = 2 * y - 1 if form == "signs" and end != "sigmoid" else y
    net = bp.Sequential([bp.Dense(2, 8, "tanh"), bp.Dense(8, 1, end)], rng=0, dtype="float64")
    net.fit(x, targets, loss="mse", optimizer=bp.Adam(0.05), epochs=600)
    assert bp.metrics.mse(net.predict(x), targets) < 0.02
    for loss in None, "mse":
        for given in (y, 2 * y - 1) if form == "signs" else (y,):
            plane = np.asarray(plots.regions(HISTORY, net, x, given, loss=loss).axes[-1].images[0].get_array())
            corners = plane[[43, 43, 256, 256], [43, 256, 43, 256]]  # (0, 0), (1, 0), (0, 1), (1, 1)
            shades = (1 + palette(2)) / 2
            nearest = np.linalg.norm(corners[:, None] - shades, axis=2).argmin(axis=1)
            assert nearest.tolist() == [0, 1, 1, 0], (loss, given)


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


def classifier() -> bp.Sequential:
    return bp.Sequential([bp.Dense(2, 3, "relu"), bp.Dense(3, 2, "softmax")], rng=0)


X, Y = xor()
#: Every picture, in these axes.
IN_AXES: dict[str, Any] = {
    "history": lambda ax: plots.history(HISTORY, ax=ax),
    "regions in axes": lambda ax: plots.regions(HISTORY, classifier(), X, Y, ax=ax),
    "digits in axes": lambda ax: plots.digits(HISTORY, np.zeros((2, 4)), [0, 1], np.eye(2), ax=ax),
    "decision_surface": lambda ax: plots.decision_surface(classifier(), X, Y, ax=ax),
    "decision_surface of numbers": lambda ax: plots.decision_surface(classifier(), X, ax=ax),
    "decision_surface of several": lambda ax: plots.decision_surface({0: classifier(), 1: classifier()}, X, Y, ax=ax),
    "loss_landscape": lambda ax: plots.loss_landscape(classifier(), X, Y, "cross_entropy", points=5, ax=ax),
    "loss_landscape of a line": lambda ax: plots.loss_landscape(
        classifier(), X, Y, "cross_entropy", dimensions=1, points=5, ax=ax
    ),
    "gradient_flow of several": lambda ax: plots.gradient_flow({"a": classifier()}, X, Y, "cross_entropy", ax=ax),
    "activations of several": lambda ax: plots.activations({"a": classifier()}, X, ax=ax),
    "network": lambda ax: plots.network(classifier(), X[1], ax=ax),
    "weights": lambda ax: plots.weights(classifier(), ax=ax),
    "gradient_flow": lambda ax: plots.gradient_flow(classifier(), X, Y, "cross_entropy", ax=ax),
    "activations": lambda ax: plots.activations(classifier(), X, ax=ax),
    "confusion": lambda ax: plots.confusion(Y, classifier().predict(X), ax=ax),
    "calibration": lambda ax: plots.calibration(Y, classifier().predict(X), ax=ax),
    "predictions": lambda ax: plots.predictions([1.0, 2.0], [[1.5], [2.5]], ax=ax),
    "images": lambda ax: plots.images(np.eye(4), ax=ax),
}


def test_every_picture_takes_axes_and_is_in_these_lists() -> None:
    named = {name.split()[0] for name in (*IN_AXES, "curves", "range_test", "png")}
    assert named == {*plots.__all__}


def test_images_share_a_scale_and_say_the_sign() -> None:
    def drawn(rows: Any, **how: Any) -> list[Any]:
        return [cell.images[0] for cell in plots.images(rows, **how).axes[0].child_axes]

    ink = drawn([[0, 1, 2, 3], [4, 4, 4, 4]], titles="ab")
    assert [picture.axes.get_title() for picture in ink] == ["a", "b"]
    assert ink[0].get_array().tolist() == [[0, 1], [2, 3]]
    assert {(picture.get_clim(), picture.get_cmap().name) for picture in ink} == {((0, 4), "gray_r")}
    signed = drawn(-np.eye(2).reshape(1, 2, 2))
    assert signed[0].get_clim() == (-1, 1) and signed[0].get_cmap().name == "blue-orange"
    assert len(drawn(np.zeros((11, 9)))) == 11


@pytest.mark.parametrize(
    ("rows", "titles", "message"),
    [
        (np.zeros((2, 5)), None, "rows: expected square images, got rows of 5 pixels"),
        (np.zeros((0, 4)), None, "rows"),
        (np.zeros((101, 4)), None, r"rows: expected at most 100, got 101: draw some of them, rows\[:100\]"),
        (np.zeros((2, 4)), "abc", "titles: expected 2, one for each picture, got 3"),
        ([["a"]], None, "rows"),
        (np.float64(1), None, "rows"),
    ],
)
def test_what_is_no_picture(rows: Any, titles: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        plots.images(rows, titles=titles)


def test_text_is_legible_on_a_dark_background() -> None:
    """Text is dark where it stands on something light of ours, and of the style's colour where on the page's."""
    import matplotlib.style

    with matplotlib.style.context("dark_background"):
        (axes,) = plots.network(classifier(), X[1]).axes
        assert {text.get_color() for text in axes.texts[:7]} == {"black"}  # in the units
        assert {text.get_color() for text in axes.texts[7:]} == {"white"}  # their names
        digits = plots.digits(HISTORY, np.zeros((2, 4)), [0, 1], np.eye(2))
        assert {axes.title.get_color() for axes in digits.axes if axes.images} == {"white"}


@pytest.mark.parametrize("name", IN_AXES)
def test_pictures_are_drawn_in_axes_that_are_there(name: str) -> None:
    figure = matplotlib.figure.Figure()
    left, right = figure.subplots(1, 2)
    assert IN_AXES[name](right) is figure
    assert not left.has_data() and (right.has_data() or right.child_axes)
    figure.savefig(io.BytesIO())


def test_a_decision_surface_divides_where_the_classes_do() -> None:
    net = bp.Sequential([bp.Dense(2, 1, "sigmoid")], rng=0)
    net[0].weight = [[5], [0]]
    figure = plots.decision_surface(net, [[-1, 0], [1, 1]], [0, 1])
    (axes,) = figure.axes
    (line,) = [c for c in axes.collections if c.__class__.__name__ == "QuadContourSet"]
    assert abs(line.get_paths()[0].vertices[:, 0]).max() < 0.01
    (axes, bar) = plots.decision_surface(net, [[-1, 0], [1, 1]]).axes
    across = np.linspace(-1.4, 1.4, 300)
    expected = 1 / (1 + np.exp(-5 * across))
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array())[7], expected, rtol=1e-5)
    assert bar.get_ylabel() == "output"


def test_a_network_shows_its_weights_gradients_and_units() -> None:
    net = bp.Sequential([bp.Dense(2, 2, "tanh"), bp.Dense(2, 1)], rng=0)
    net[0].weight, net[1].weight = [[1, -2], [0.5, 4]], [[1], [-1]]
    (axes,) = plots.network(net, [1.0, 0.5]).axes
    orange, blue = plots.figures.ORANGE, plots.figures.BLUE
    assert [line.get_color() for line in axes.lines] == [orange, orange, blue, orange, orange, blue]
    assert [line.get_linewidth() for line in axes.lines[:4]] == pytest.approx([0.4 + 3 * w / 4 for w in (1, 0.5, 2, 4)])
    shown = [text.get_text() for text in axes.texts]
    hidden, outputs = net.activations([[1.0, 0.5]])
    assert shown[:5] == [f"{value:.2g}" for value in (1, 0.5, *hidden[0], *outputs[0])]
    assert shown[5:] == ["input\n2", "tanh\n2", "identity\n1"]
    net.gradients = -np.arange(9.0)
    (axes,) = plots.network(net, gradients=True).axes
    assert [line.get_color() for line in axes.lines] == [blue] * 6 and len(axes.texts) == 3
    wide = bp.Sequential([bp.Dense(100, 30), bp.Residual([]), bp.Dense(30, 2)], rng=0)
    (axes,) = plots.network(wide, np.ones((1, 100))).axes
    assert len(axes.lines) == 12 * 12 + 12 + 12 * 2
    with pytest.raises(ValueError, match="x: expected one row, got 2"):
        plots.network(wide, np.ones((2, 100)))


def test_the_number_of_a_unit_is_within_its_circle() -> None:
    net = bp.Sequential([bp.Dense(1, 4)], rng=0)
    net[0].weight, net[0].bias = [[0.0064, -0.0016, -6.4e-05, 12345.0]], np.zeros(4)
    figure = plots.network(net, [1.0])
    figure.canvas.draw()
    (axes,) = figure.axes
    circle = np.sqrt(axes.collections[0].get_sizes()[0]) * figure.dpi / 72
    numbers = [text for text in axes.texts if not text.get_text()[-1].isalpha()][:5]
    assert [text.get_text() for text in numbers] == ["1", "0.0064", "-0.0016", "-6.4e-05", "1.2e+04"]
    assert all(text.get_window_extent().width < circle for text in numbers)


def test_weights_are_cells() -> None:
    net = classifier()
    figure = plots.weights(net)
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in panels] == ["0.weight  (2, 3)", "1.weight  (3, 2)"]
    for axes, layer in zip(panels, net, strict=True):
        (picture,) = axes.images
        assert np.array_equal(np.asarray(picture.get_array()), layer.weight)
        assert -picture.norm.vmin == picture.norm.vmax == abs(layer.weight).max()
    assert plots.weights(net, "1.weight").axes[0].get_title() == "1.weight  (3, 2)"
    with pytest.raises(ValueError, match=r"name: expected one of 0.weight, 1.weight, got '1.bias'"):
        plots.weights(net, "1.bias")
    with pytest.raises(ValueError, match="net: expected a network with a matrix of weights"):
        plots.weights(bp.Sequential([bp.Columns(2, {}), bp.Scale()], rng=0))


def test_gradient_flow_names_units_that_let_nothing_through() -> None:
    net = bp.Sequential([bp.Dense(2, 3, "relu"), bp.Dense(3, 2, "tanh"), bp.Dense(2, 1)], rng=0)
    net[0].weight, net[0].bias = [[1, 1, 1], [1, 1, 1]], [0, -9, 1]
    net[1].weight, net[1].bias = np.zeros((3, 2)), [9, 0.1]
    kept = net.parameters.copy()
    (axes,) = plots.gradient_flow(net, X, Y, "mse").axes
    assert axes.get_title().splitlines() == [
        "operation 0, relu: 1 of 3 units dead (1)", "operation 1, tanh: 1 of 2 units saturated (0)"]  # fmt: skip
    assert np.array_equal(net.parameters, kept)
    assert [text.get_text() for text in axes.get_xticklabels()] == [*net.arrays()]
    points = {round(line.get_xdata()[0]): line.get_ydata()[0] for line in axes.lines if line.get_marker() == "o"}
    assert 0 not in points and 1 not in points  # nothing comes through weights of 0
    _, gradient = net.value_and_gradient(X, Y, "mse")
    assert points[5] == pytest.approx(abs(gradient[-1]))
    net.gradients[...] = 7
    plots.gradient_flow(net, X, Y, "mse")
    assert (net.gradients == 7).all()


def test_activations_are_histograms() -> None:
    net = bp.Sequential([bp.Dense(2, 3, "relu"), bp.Dense(3, 1)], rng=0)
    net[0].weight, net[0].bias = np.zeros((2, 3)), [-1, 0.5, 2]
    (axes,) = plots.activations(net, X).axes
    assert axes.get_title() == "operation 0, relu: 1 of 3 units dead (0)"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0 relu", "1 identity"]
    means = [line.get_ydata()[0] for line in axes.lines]
    assert means == pytest.approx([a.mean() for a in net.activations(X)], rel=1e-6)
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0, 2)
    with pytest.raises(ValueError, match="expected at least one row"):
        plots.activations(net, np.empty((0, 2)))


def test_decision_surfaces_side_by_side() -> None:
    nets = {"first": classifier(), 5: classifier()}
    figure = plots.decision_surface(nets, X, Y)
    assert [axes.get_title() for axes in figure.axes] == ["first", "epoch 5"]
    assert all(axes.images for axes in figure.axes)
    two = matplotlib.figure.Figure().subplots(1, 2)
    assert plots.decision_surface(nets, X, Y, ax=two) is two[0].figure and two[1].get_title() == "epoch 5"
    assert plots.decision_surface(nets, X, Y, ax=two[0]) is two[0].figure
    assert [inset.get_title() for inset in two[0].child_axes] == ["first", "epoch 5"]
    with pytest.raises(ValueError, match="ax: expected 2 axes, one for each network, or one for all, got 3"):
        plots.decision_surface(nets, X, Y, ax=matplotlib.figure.Figure().subplots(1, 3))
    with pytest.raises(ValueError, match="net: expected at least one network, got none"):
        plots.decision_surface({}, X, Y)
    other = classifier()
    other.parameters *= 9
    pictures = [axes.images[0] for axes in plots.decision_surface({0: classifier(), 1: other}, X).axes if axes.images]
    outputs = [np.asarray(picture.get_array()) for picture in pictures]
    limits = min(out.min() for out in outputs), max(out.max() for out in outputs)
    assert [(p.norm.vmin, p.norm.vmax) for p in pictures] == [limits, limits]  # the same colours say the same


# Over the epochs.


def violins(axes: Any) -> list[np.ndarray]:
    """The heights of the histograms that stand in some axes: from where to where."""
    return [collection.get_paths()[0].vertices[:, 1] for collection in axes.collections]


def asleep_late() -> dict[int, bp.Sequential]:
    """Three networks: of two units of relu one dies, later the other; a tanh saturates, and wakes up."""
    found = {}
    for epoch, bias, scale in (0, [0, 9], 99), (5, [-9, 9], 99), (20, [-9, -9], 0.1):
        net = bp.Sequential([bp.Dense(2, 2, "relu"), bp.Dense(2, 1, "tanh")], rng=0, dtype="float64")
        net[0].weight, net[0].bias, net[1].weight, net[1].bias = np.ones((2, 2)), bias, np.ones((2, 1)), [scale]
        found[epoch] = net
    return found


def test_activations_over_the_epochs() -> None:
    nets = asleep_late()
    relu, tanh = plots.activations(nets, X).axes
    assert relu.get_title() == "0 relu\n2 of 2 units dead (0, 1), since epoch 20"
    assert tanh.get_title() == "1 tanh"
    assert plots.activations({0: nets[0], 5: nets[5]}, X).axes[0].get_title().endswith("dead (0), since epoch 5")
    assert plots.activations({0: nets[5], 5: nets[5]}, X).axes[0].get_title().endswith("dead (0), since epoch 0")
    assert "1 of 1 units saturated (0), since epoch 0" in plots.activations({0: nets[0]}, X).axes[1].get_title()
    assert [text.get_text() for text in relu.get_xticklabels()] == ["0", "5", "20"] and relu.get_xlabel() == "epoch"
    for axes, i in (relu, 0), (tanh, 1):
        outputs = [net.activations(X)[i] for net in nets.values()]
        assert [line.get_ydata()[0] for line in axes.lines] == pytest.approx([out.mean() for out in outputs])
        for heights, out in zip(violins(axes), outputs, strict=True):
            spread = (out.min(), out.max()) if out.min() < out.max() else (out.min() - 0.5, out.max() + 0.5)
            assert (heights.min(), heights.max()) == pytest.approx(spread)
    figure = matplotlib.figure.Figure()
    whole, *two = figure.subplots(1, 3)
    assert plots.activations(nets, X, ax=whole) is figure and len(whole.child_axes) == 2
    assert plots.activations(nets, X, ax=two) is figure and two[0].get_title() == relu.get_title()
    with pytest.raises(ValueError, match="ax: expected 2 axes, one for each operation, or one for all, got 3"):
        plots.activations(nets, X, ax=[whole, *two])
    with pytest.raises(ValueError, match=r"net: expected networks that are built alike, .* under 'b'"):
        plots.activations({"a": nets[0], "b": classifier()}, X)


def test_gradients_over_the_epochs() -> None:
    nets = asleep_late()
    figure = plots.gradient_flow(nets, X, Y, "mse")
    assert [axes.get_title() for axes in figure.axes] == [*nets[0].arrays()]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1  # one scale for all
    *_, bias = figure.axes
    sizes = [abs(net.value_and_gradient(X, Y, "mse")[1][-1]) for net in nets.values()]
    assert sizes[0] == sizes[1] == 0 < sizes[2]  # nothing comes through a tanh of 99
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in bias.lines] == [(2, pytest.approx(sizes[2]))]
    assert bias.get_yscale() == "log"


def test_snapshots_of_a_fit_are_drawn_by_every_picture_over_the_epochs() -> None:
    net, snapshots = bp.Sequential([bp.Dense(2, 4, "tanh"), bp.Dense(4, 1, "sigmoid")], rng=0), bp.Snapshots(4)
    start = net.copy()
    net.fit(X, Y, loss="binary_cross_entropy", optimizer=bp.Adam(0.1), epochs=40, callbacks=[snapshots])
    kept = snapshots.networks
    assert [*kept] == [0, 10, 20, 30, 40]
    assert np.array_equal(kept[0].parameters, start.parameters) and np.array_equal(kept[40].parameters, net.parameters)
    titles = [axes.get_title() for axes in plots.decision_surface(kept, X, Y).axes]
    assert titles == [f"epoch {epoch}" for epoch in kept]
    assert [text.get_text() for text in plots.activations(kept, X).axes[0].get_xticklabels()] == [*map(str, kept)]
    assert len(plots.gradient_flow(kept, X, Y, "mse").axes[0].lines) == 5
    plane, _ = plots.loss_landscape(net, X, Y, "binary_cross_entropy", path=kept, points=5).axes
    assert len(plane.lines[0].get_xdata()) == 6


# The loss around a network.


def landscape(**how: Any) -> Any:
    """Of a network with a norm, dropout, a penalty and a frozen layer; and that network."""
    hidden = [bp.Dense(2, 5, "tanh", l2=0.01), bp.BatchNorm(), bp.Dropout(0.5), bp.Dense(5, 4)]
    net = bp.Sequential([*hidden, bp.Dense(4, 2, "softmax")], rng=0, dtype="float64")
    net[3].trainable = False
    net.fit(X, Y, loss="cross_entropy", optimizer="adam", epochs=3, batch_size=None)
    net.gradients = np.arange(net.gradients.size)
    before = [*map(np.copy, (net.parameters, net.gradients, net.buffers)), net.steps, net.epochs]
    figure = plots.loss_landscape(net, X, Y, "cross_entropy", **how)
    after = [net.parameters, net.gradients, net.buffers, net.steps, net.epochs]
    assert all(map(np.array_equal, before, after))
    return figure, net


def test_a_plane_has_the_losses_of_filter_normalised_directions() -> None:
    figure, net = landscape(points=5, span=0.5, rng=3)
    axes, bar = figure.axes
    losses = np.asarray(axes.images[0].get_array())
    rng, directions = np.random.default_rng(3), []
    for _ in range(2):
        parts = {name: np.zeros_like(array) for name, array in net.arrays().items() if "running" not in name}
        for name in "0.weight", "4.weight":  # not the frozen one, no bias, no norm
            made = rng.normal(size=parts[name].shape)
            for j in range(made.shape[1]):
                parts[name][:, j] = made[:, j] / np.linalg.norm(made[:, j]) * np.linalg.norm(net.arrays()[name][:, j])
        directions.append(np.concatenate([part.ravel() for part in parts.values()]))
    here, steps = net.parameters.copy(), np.linspace(-0.5, 0.5, 5)
    for i, up in enumerate(steps):
        for j, across in enumerate(steps):
            net.parameters = here + across * directions[0] + up * directions[1]
            value = net.evaluate(X, Y, loss="cross_entropy")["loss"] + net.penalty()
            assert losses[i, j] == pytest.approx(value, rel=1e-12)
    assert axes.images[0].get_extent() == [-0.5, 0.5, -0.5, 0.5] and bar.get_ylabel() == "loss"
    assert axes.get_title() == f"loss {losses[2, 2]:.4g} at the network"
    again, _ = landscape(points=5, span=0.5, rng=3)
    assert np.array_equal(np.asarray(again.axes[0].images[0].get_array()), losses)
    other, _ = landscape(points=5, span=0.5, rng=4)
    assert not np.array_equal(np.asarray(other.axes[0].images[0].get_array()), losses)


def test_a_line_of_losses() -> None:
    figure, net = landscape(dimensions=1, points=7)
    (axes,) = figure.axes
    line, here = axes.lines
    assert [*line.get_xdata()] == pytest.approx([*np.linspace(-1, 1, 7)])
    value = net.evaluate(X, Y, loss="cross_entropy")["loss"] + net.penalty()
    assert line.get_ydata()[3] == pytest.approx(value) and [*here.get_ydata()] == [pytest.approx(value)]
    assert axes.get_ylabel() == "loss" and axes.get_xlabel().startswith("direction 1")


def test_a_path_is_drawn_in_its_principal_components() -> None:
    """Three steps in a plane of the space of parameters are drawn as they lie, and with their own losses in a line."""
    net = bp.Sequential([bp.Dense(2, 2), bp.BatchNorm()], rng=0, dtype="float64")
    net.fit(X, X, loss="mse", optimizer=bp.SGD(0.1), epochs=2, batch_size=None)
    e, f = np.eye(net.parameters.size)[[0, 3]]
    path = [net.parameters + 3 * e, net.parameters + 2 * e + f, net.parameters + e]
    axes, _ = plots.loss_landscape(net, X, X, "mse", path=path, points=5).axes
    way = axes.lines[0].get_xydata()
    assert way.shape == (4, 2) and way[-1].tolist() == [0, 0] and way[0, 0] > 0
    apart = np.array([[3, 0], [2, 1], [1, 0], [0, 0]])
    np.testing.assert_allclose(way @ way.T, apart @ apart.T, atol=1e-9)  # all distances and angles
    left, right, bottom, top = axes.images[0].get_extent()
    assert left < way[:, 0].min() and way[:, 0].max() < right and bottom < way[:, 1].min() and way[:, 1].max() < top
    assert "of it" in axes.get_xlabel()
    other = net.copy()
    other.parameters = path[0]
    other.buffers *= 2
    (axes,) = plots.loss_landscape(net, X, X, "mse", path={0: other, 9: net}, dimensions=1, points=5).axes
    own = [each.evaluate(X, X, loss="mse")["loss"] for each in (other, net, net)]
    assert [*axes.lines[1].get_ydata()] == pytest.approx(own)
    assert [*axes.lines[1].get_xdata()] == pytest.approx([3, 0, 0])


def test_a_word_of_an_embedding_is_a_filter() -> None:
    net = bp.Sequential([bp.Embedding(3, 2), bp.Dense(2, 1)], rng=0, dtype="float64")
    net[1].weight[...] = 0
    frame = plots.landscape._at_random(net, 1, 1.0, np.random.default_rng(0))
    moved = frame.directions[0, :6].reshape(3, 2)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), np.linalg.norm(net[0].weight, axis=1))
    assert not frame.directions[0, 6:].any()


def test_what_is_not_finite_is_left_out_and_errors_leave_the_network_as_it_was() -> None:
    net = bp.Sequential([bp.Dense(2, 3), bp.Dense(3, 1, "exp")], rng=0)
    kept = net.parameters.copy()
    axes, _ = plots.loss_landscape(net, 9 * X + 9, Y, "mse", span=99, points=7).axes
    losses = np.ma.asarray(axes.images[0].get_array())
    assert 0 < losses.mask.sum() < losses.size and np.isfinite(losses.compressed()).all()

    def failing(y_hat: Any, y: Any) -> Any:
        if not np.array_equal(net.parameters, kept):
            raise LookupError
        return 1.0, np.zeros_like(y_hat)

    with pytest.raises(LookupError):
        plots.loss_landscape(net, X, Y, failing)
    assert np.array_equal(net.parameters, kept)
    mixed = bp.Sequential([bp.Dense(2, 1), bp.BatchNorm()], rng=0)
    for how, says in (
        ({"dimensions": 3}, "dimensions: expected 1 or 2, got 3"), ({"dimensions": 0}, "dimensions: expected"),
        ({"points": 2}, "points: expected a whole number from 3"), ({"span": 0}, "span: expected a finite number above 0"),
        ({"path": []}, "path: expected at least 2 networks that lie in other directions from net, got fewer"),
        ({"path": [kept]}, "path: expected at least 2"), ({"path": [kept, kept], "dimensions": 1}, "at least a network"),
        ({"path": [kept[:3]]}, r"path\[0\]: expected 13 parameters, got shape \(3,\)"),
        ({"path": {3: mixed}}, "path: expected networks built as net, .*, got .* in place 0"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            plots.loss_landscape(net, X, Y, "mse", **how)
    net.parameters[...] = 0
    with pytest.raises(ValueError, match="net: expected weights to go away from"):
        plots.loss_landscape(net, X, Y, "mse")


def test_what_is_no_network_is_refused() -> None:
    for draw in (
        lambda net: plots.activations(net, X), lambda net: plots.gradient_flow(net, X, Y, "mse"), plots.network,
        plots.weights, lambda net: plots.decision_surface(net, X, Y), lambda net: plots.decision_surface({1: net}, X),
        lambda net: plots.loss_landscape(net, X, Y, "mse"), lambda net: plots.regions(HISTORY, net, X, Y),
        lambda net: plots.activations({1: net}, X),
    ):  # fmt: skip
        for given in None, "net", [classifier()], bp.Sequential:
            with pytest.raises(TypeError, match="net: expected a network, a Sequential, got "):
                draw(given)
    far = [np.full(17, 1e300), np.ones(17)]
    with pytest.raises(ValueError, match="path: expected networks whose distances are finite"):
        plots.loss_landscape(classifier(), X, Y, "cross_entropy", path=far)


# Scores.


def test_a_confusion_matrix_counts() -> None:
    y, scores = [0, 0, 1, 2, 2, 2], np.eye(3)[[0, 1, 1, 2, 2, 0]]
    (axes,) = plots.confusion(y, scores, names=["a", "bee", "c"]).axes
    assert [text.get_text() for text in axes.texts] == [*"110010102"]
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), [[0.5, 0.5, 0], [0, 1, 0], [1 / 3, 0, 2 / 3]])
    assert axes.get_title() == "4 of 6 right" and axes.get_xticklabels()[1].get_text() == "bee"
    for binary in ([0.2, 0.7, 0.9], [[0.2], [0.7], [0.9]]):
        (axes,) = plots.confusion([0, 0, 1], binary).axes
        assert [text.get_text() for text in axes.texts] == [*"1101"]
    with pytest.raises(ValueError, match="names: expected 3, one for each class, got 1"):
        plots.confusion(y, scores, names=["a"])
    with pytest.raises(ValueError, match="y: expected 3 rows, as many as x has, got 2"):
        plots.confusion([0, 1], np.eye(3))


def test_calibration_is_the_share_that_came_true() -> None:
    p, y = np.repeat([0.05, 0.35, 0.95], 20), np.zeros(60, int)
    y[20:27] = 1
    y[40:] = 1
    (axes,) = plots.calibration(y, p).axes
    _, line = axes.lines
    np.testing.assert_allclose(line.get_xdata(), [0.05, 0.35, 0.95])
    np.testing.assert_allclose(line.get_ydata(), [0, 0.35, 1])
    assert axes.get_title() == "expected calibration error 0.033"
    (axes,) = plots.calibration([0, 1], [[0.8, 0.1, 0.1], [0.8, 0.1, 0.1]]).axes
    assert axes.lines[1].get_ydata().tolist() == [0.5]
    with pytest.raises(ValueError, match="y_hat: expected probabilities, from 0 to 1, got others"):
        plots.calibration([0, 1], [-3.0, 3.0])


def test_predictions_stand_over_the_truth() -> None:
    (axes,) = plots.predictions([1.0, 2.0, 4.0], [1.0, 3.0, 4.0]).axes
    points, diagonal = axes.lines
    assert points.get_xydata().tolist() == [[1, 1], [2, 3], [4, 4]] and [*diagonal.get_xdata()] == [1, 4]
    assert axes.get_title() == "root mean squared error 0.5774"
    (axes,) = plots.predictions([1, 2, 4], [1, 3, 4], intervals=([0, 2.5, 3], [2, 4, 5])).axes
    assert axes.get_title().splitlines()[1] == "66.7% of the intervals hold the truth"
    inside, outside, _ = axes.lines
    assert inside.get_xdata().tolist() == [1, 4] and outside.get_xdata().tolist() == [2]
    with pytest.raises(ValueError, match=r"intervals: expected two arrays, \(lower, upper\), got 3"):
        plots.predictions([1, 2, 4], [1, 3, 4], intervals=np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"y_hat: expected shape \(n,\) or \(n, 1\), got \(2, 2\): one output"):
        plots.predictions([1, 2], np.eye(2))


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
        **{name: lambda draw=draw: draw(None) for name, draw in IN_AXES.items()},
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in ("curves", "regions") else pytest.mark.slow) for name in drawn()]
)
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
