"""Figures: learning curves, digits with their predictions, decision regions, a learning rate range test.

Each function returns a `matplotlib.figure.Figure`, which belongs to no window and no global state; a notebook shows it,
and `png` makes a file of it. Matplotlib is imported when a figure is asked for.
"""

import functools
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _validate
from ..program.objective import Objective

if TYPE_CHECKING:
    from matplotlib.figure import Figure, FigureBase

__all__ = ["curves", "digits", "png", "range_test", "regions"]

Array = npt.NDArray[Any]
History = Mapping[str, Sequence[float]]

#: Activations with outputs between 0 and 1; and between -1 and 1.
PROBABILITIES = ("sigmoid", "hard_sigmoid", "softmax")
SIGNED = ("tanh", "hard_tanh", "softsign")
#: The grid of digits.
ROWS, COLUMNS = 4, 6


def curves(history: History, ax: Any = None) -> Any:
    """Draw the learning curves: the loss and each metric over the epochs, on the training and the validation data.

    Parameters
    ----------
    history : History
        From `Sequential.fit`.
    ax : matplotlib.axes.Axes, optional
        Where to draw the loss, and nothing else. Default: a new figure for all.
    """
    if not any(history.values()):
        raise ValueError("history: expected at least one epoch, got none")
    if ax is None:
        figure = _figure(width=6)
        _draw_curves(figure, history)
        return figure
    if not history.get("loss"):
        raise ValueError(f"history: expected a loss to draw, got {', '.join(history)}")
    _draw_panel(ax, history, "loss")
    ax.set_xlabel("epoch")
    return ax.figure


def range_test(rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], marked: Any, ax: Any) -> Any:
    """Draw the losses that `LearningRateFinder` found, and mark the learning rate it suggests.

    Parameters
    ----------
    rates, losses, smoothed : sequence of float
    marked : float or None
    ax : matplotlib.axes.Axes or None
        None: those of a new figure.
    """
    if not rates:
        raise ValueError("rates: expected at least one learning rate tried, got none: give the finder to a fit first")
    ax = _figure(width=6).subplots() if ax is None else ax
    ax.plot(rates, losses, color="lightgray")
    ax.plot(rates, smoothed)
    if marked is not None:
        ax.axvline(marked, color="tab:red", linestyle="--", label=f"suggested: {marked:.2g}")
        ax.legend(frameon=False)
    ax.set(xscale="log", xlabel="learning rate", ylabel="loss")
    low, high = min(losses), smoothed[0]
    if high > low:  # how far it diverges is of no interest
        ax.set_ylim(low - 0.1 * (high - low), high + 0.5 * (high - low))
    _plain(ax)
    return ax.figure


def digits(history: History, images: Array, labels: Array, scores: Array) -> "Figure":
    """Draw the learning curves, and some digits with their predicted classes, up to a third of them wrong ones.

    Parameters
    ----------
    history : History
        From `Sequential.fit`.
    images : array_like, shape (n, pixels) or (n, side, side)
        Square images, row after row.
    labels : array_like, shape (n,) or (n, classes)
        The digits, or a 1 in the column of each.
    scores : array_like, shape (n, classes)
        The predictions of `Sequential.predict`.
    """
    images, scores = _validate.array(images, "images"), _validate.array(scores, "scores")
    _validate.some_rows(images, "images")
    images = images.reshape(len(images), -1)
    side = math.isqrt(images.shape[1])
    if side * side != images.shape[1]:
        raise ValueError(f"images: expected square images, got rows of {images.shape[1]} pixels")
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ValueError(f"scores: expected a column for each class, (n, classes), got {scores.shape}")
    labels = _labels(labels, scores.shape[1], "labels")
    _validate.same_rows(len(images), labels=labels, scores=scores)
    figure, right = _with_curves(history)
    predicted = scores.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    shown = np.concatenate([wrong[: ROWS * COLUMNS // 3], np.flatnonzero(predicted == labels)])
    right.suptitle(f"{len(labels):,} test digits, {len(wrong):,} of them wrong")
    for place, i in enumerate(shown[: ROWS * COLUMNS], start=1):
        axes = right.add_subplot(ROWS, COLUMNS, place)
        axes.imshow(images[i].reshape(side, side), cmap="gray_r")
        axes.set(xticks=[], yticks=[])
        right_one = predicted[i] == labels[i]
        title = f"{predicted[i]}" if right_one else f"{predicted[i]}, not {labels[i]}"
        axes.set_title(title, fontsize="medium", pad=4)
        axes.title.set_color("black" if right_one else "tab:red")
        axes.spines[:].set(color="lightgray" if right_one else "tab:red", linewidth=1 if right_one else 2)
    return figure


def regions(history: History, net: Any, x: Any, y: Any, *, loss: Any = None) -> "Figure":
    """Draw the learning curves, and the decision regions of a network of two inputs around some points.

    Parameters
    ----------
    history : History
        From `Sequential.fit`.
    net : Sequential
        Its outputs are scores of the classes; or a single one, of class 1.
    x : array_like, shape (n, 2)
    y : array_like, shape (n,), (n, 1) or (n, classes)
        Labels; -1 and 1, where there are two; or one-hot rows.
    loss : str or Loss, optional
        The loss that the network was trained on: it tells the threshold of a single output under "identity" or such.
    """
    x = _validate.matrix(x, "x", 2, np.float64)
    _validate.some_rows(x)
    labels = _labels(y, max(net.n_out, 2), "y")
    _validate.same_rows(len(x), y=labels)
    low, high = x.min(axis=0), x.max(axis=0)
    margin = np.where(high > low, 0.2 * (high - low), 1.0)
    across, up = np.linspace(low - margin, high + margin, 300).T
    plane = np.stack(np.meshgrid(across, up), axis=-1)
    shares = _shares(net, plane.reshape(-1, 2), np.asarray(y), loss).reshape(*plane.shape[:2], -1)
    figure, right = _with_curves(history)
    colors = _colors(shares.shape[-1])
    axes = right.subplots()
    axes.imshow(
        (1 + shares @ colors) / 2, origin="lower", aspect="auto", interpolation="bilinear",
        extent=(across[0], across[-1], up[0], up[-1]),
    )  # fmt: skip
    axes.scatter(x[:, 0], x[:, 1], c=colors[labels], s=24, edgecolors="white", linewidths=0.7)
    axes.set(title="predicted classes, and the test points", xlabel="$x_1$", ylabel="$x_2$")
    return figure


def _labels(y: Any, classes: int, name: str) -> Array:
    """The label of each row."""
    given = _validate.array(y, name)
    signs = given.size > 0 and given.min() == -1 and bool((abs(given) == 1).all())
    given = np.maximum(given, 0) if signs else given
    if given.ndim == 2 and given.shape[1] > 1:
        if given.shape[1] != classes or given.min() < 0 or (abs(given.sum(axis=1, dtype=np.float64) - 1) > 1e-3).any():
            raise ValueError(f"{name}: expected one class a row, (n,) or rows of {classes} that sum to 1, got others")
        return np.asarray(given.argmax(axis=1))
    given = given.reshape(-1)
    _validate.names(given, classes, name)
    return given.astype(np.int64)


def _shares(net: Any, x: Array, y: Array, loss: Any) -> Array:
    """The predicted share of each class, (rows, classes): rows that sum to 1, the highest in the predicted class."""
    outputs, activation, threshold = net.predict(x), net.layers[-1].activation.name, 0.5
    if loss is not None:
        outputs, threshold = Objective(loss, net.graph[-1]).scores(outputs, y)
    elif activation in SIGNED or (activation not in PROBABILITIES and y.min() < 0):
        threshold = 0.0
    elif activation not in PROBABILITIES and net.n_out == 1:
        raise ValueError(
            f"loss: expected the loss of a network whose one output is no probability, that of {activation!r}, got None"
        )
    outputs = outputs.astype(np.float64)
    if net.n_out == 1:
        p = np.clip(outputs if threshold else (outputs + 1) / 2, 0, 1)
        return np.hstack([1 - p, p])
    if outputs.min() < 0 or outputs.max() > 1 or not outputs.sum(axis=1).all():
        outputs = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    shares: Array = outputs / outputs.sum(axis=1, keepdims=True)
    return shares


def _colors(n: int) -> Array:
    """A color for each class, red, green and blue from 0 to 1."""
    import matplotlib

    if n <= 10:
        return np.array(matplotlib.color_sequences["tab10"])[:n]
    return np.array(matplotlib.colormaps["hsv"](np.arange(n) / n))[:, :3]


def png(figure: "Figure") -> bytes:
    """Make a PNG file of a figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure

    Returns
    -------
    bytes
        The same for the same figure.
    """
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120, pad_inches=0.1, metadata={"Software": None})
    return file.getvalue()


def _figure(width: float) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('pictures are drawn by matplotlib: pip install "backprop-nn[plot]"') from error
    figure = Figure(figsize=(width, 5))
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1, wspace=0.0, hspace=0.0)
    figure._repr_png_ = functools.partial(png, figure)  # type: ignore[attr-defined]  # by which a notebook shows it
    return figure


def _with_curves(history: History) -> "tuple[Figure, FigureBase]":
    """A figure with the learning curves on the left, and its empty right."""
    figure = _figure(width=12)
    grid = figure.add_gridspec(1, 2)
    left, right = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    _draw_curves(left, history)
    return figure, right


def _draw_curves(figure: "FigureBase", history: History) -> None:
    names = [name for name in history if not name.startswith("val_")]
    panels = figure.subplots(len(names), sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, names, strict=True):
        _draw_panel(axes, history, name)
    panels[-1].set_xlabel("epoch")
    figure.align_ylabels(panels)


def _draw_panel(axes: Any, history: History, name: str) -> None:
    for key, label in (name, "training"), (f"val_{name}", "validation"):
        values = history.get(key, ())
        axes.plot(range(1, len(values) + 1), values, marker="." if len(values) == 1 else "", label=label)
    axes.set_ylabel(name)
    axes.xaxis.get_major_locator().set_params(integer=True)
    _plain(axes)
    if name != "loss":
        return
    losses = [*history["loss"], *history.get("val_loss", ())]
    if 0 < 10 * min(losses) < max(losses):
        axes.set_yscale("log")
    if "val_loss" in history:
        axes.legend(frameon=False)


def _plain(axes: Any) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
