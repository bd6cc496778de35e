"""Figures of classes: digits with their predictions, and the plane of two inputs as a network divides it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import _validate
from ..program.objective import Objective
from .figures import Array, axes, colors, diverging, label, network, panels
from .pixels import squares
from .training import with_curves

__all__ = ["decision_surface", "digits", "labels_of", "regions"]

History = Mapping[str, Sequence[float]]

#: Activations with outputs between 0 and 1; and between -1 and 1.
PROBABILITIES = ("sigmoid", "hard_sigmoid", "softmax")
SIGNED = ("tanh", "hard_tanh", "softsign")
#: The grid of digits, and the points of the plane to a side.
ROWS, COLUMNS, POINTS = 4, 6, 300


def digits(history: History, images: Array, labels: Array, scores: Array, *, ax: Any = None) -> Any:
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
    ax : matplotlib.axes.Axes, optional
        Where to draw the digits, and nothing else. Default: a new figure for all.

    Returns
    -------
    matplotlib.figure.Figure
    """
    images, scores = _validate.array(images, "images"), _validate.array(scores, "scores")
    _validate.some_rows(images, "images")
    images = squares(images, "images")
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ValueError(f"scores: expected a column for each class, (n, classes), got {scores.shape}")
    labels = labels_of(labels, scores.shape[1], "labels")
    _validate.same_rows(len(images), labels=labels, scores=scores)
    predicted = scores.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    shown = np.concatenate([wrong[: ROWS * COLUMNS // 3], np.flatnonzero(predicted == labels)])
    title = f"{len(labels):,} test digits, {len(wrong):,} of them wrong"
    if ax is None:
        whole, right = with_curves(history)
        right.suptitle(title)
        cells = [right.add_subplot(ROWS, COLUMNS, i + 1) for i in range(min(len(shown), ROWS * COLUMNS))]
    else:
        whole = ax.figure
        ax.set_title(title)
        ax.set_axis_off()
        cells = [
            ax.inset_axes((i % COLUMNS / COLUMNS, 1 - (1 + i // COLUMNS) / ROWS, 0.9 / COLUMNS, 0.7 / ROWS))
            for i in range(min(len(shown), ROWS * COLUMNS))
        ]
    for cell, i in zip(cells, shown, strict=False):
        cell.imshow(images[i], cmap="gray_r")
        cell.set(xticks=[], yticks=[])
        right_one = predicted[i] == labels[i]
        cell.set_title(f"{predicted[i]}" if right_one else f"{predicted[i]}, not {labels[i]}", fontsize="medium", pad=4)
        if not right_one:
            cell.title.set_color("tab:red")
        cell.spines[:].set(color="lightgray" if right_one else "tab:red", linewidth=1 if right_one else 2)
    return whole


def regions(history: History, net: Any, x: Any, y: Any, *, loss: Any = None, ax: Any = None) -> Any:
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
    ax : matplotlib.axes.Axes, optional
        Where to draw the regions, and nothing else. Default: a new figure for all.

    Returns
    -------
    matplotlib.figure.Figure
    """
    x, labels = _points(network(net), x, y)
    plane, extent = _plane(x)
    shares = _shares(net, plane, x, labels, np.asarray(y), loss)
    if ax is None:
        whole, right = with_curves(history)
        ax = right.subplots()
    else:
        whole = ax.figure
    _draw_classes(ax, shares, extent, x, labels)
    ax.set(title="predicted classes, and the test points")
    return whole


def decision_surface(net: Any, x: Any, y: Any = None, *, loss: Any = None, ax: Any = None) -> Any:
    """Draw what a network of two inputs gives, all over the plane around some points.

    Parameters
    ----------
    net : Sequential or dict of int or str to Sequential
        Several, such as those that `Snapshots` kept, are drawn side by side under their epochs or names.
    x : array_like, shape (n, 2)
    y : array_like, optional
        Labels, as `regions` takes them: the plane has the colour of the predicted class, the paler the less sure it is,
        and a line where that changes. Default: the plane shows the first output as a number, with its contours.
    loss : str or Loss, optional
        As `regions` takes it.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure. For several networks, as many axes, or one for all.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not isinstance(net, Mapping):
        return _surface(net, x, y, loss, ax)
    if not net:
        raise ValueError("net: expected at least one network, got none")
    limits = None
    if y is None:
        plane, _ = _plane(_validate.matrix(x, "x", 2, np.float64))
        outputs = [network(each).predict(plane)[:, 0] for each in net.values()]
        limits = min(out.min() for out in outputs), max(out.max() for out in outputs)
    made = panels(ax, len(net), "network", 3.2, 3.2)
    for panel, (name, each) in zip(made, net.items(), strict=True):
        _surface(each, x, y, loss, panel, limits)
        panel.set_title(label(name))
    return made[0].figure


def _surface(net: Any, x: Any, y: Any, loss: Any, ax: Any, limits: tuple[float, float] | None = None) -> Any:
    """The plane as one network divides it; numbers have colours between these limits."""
    network(net)
    if y is None:
        x = _validate.matrix(x, "x", 2, np.float64)
        _validate.some_rows(x)
        labels = None
    else:
        x, labels = _points(net, x, y)
    plane, extent = _plane(x)
    if labels is None:
        ax = axes(ax)
        _draw_numbers(ax, net.predict(plane)[:, 0].reshape(POINTS, POINTS), extent, limits)
        ax.scatter(x[:, 0], x[:, 1], c="white", s=16, edgecolors="black", linewidths=0.7)
    else:
        shares = _shares(net, plane, x, labels, np.asarray(y), loss)
        ax = axes(ax)
        _draw_classes(ax, shares, extent, x, labels)
        ax.contour(
            shares.argmax(axis=1).reshape(POINTS, POINTS), levels=np.arange(shares.shape[1] - 1) + 0.5, extent=extent,
            colors="0.3", linewidths=1,
        )  # fmt: skip
    ax.set(xlabel="$x_1$", ylabel="$x_2$")
    return ax.figure


def _points(net: Any, x: Any, y: Any) -> tuple[Array, Array]:
    """Points of the plane, and their labels."""
    x = _validate.matrix(x, "x", 2, np.float64)
    _validate.some_rows(x)
    labels = labels_of(y, max(net.n_out, 2), "y")
    _validate.same_rows(len(x), y=labels)
    return x, labels


def _plane(x: Array) -> tuple[Array, tuple[float, ...]]:
    """A grid of points around some, row after row, and where it begins and ends across and up."""
    low, high = x.min(axis=0), x.max(axis=0)
    margin = np.where(high > low, 0.2 * (high - low), 1.0)
    across, up = np.linspace(low - margin, high + margin, POINTS).T
    plane = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    return plane, (across[0], across[-1], up[0], up[-1])


def _draw_classes(ax: Any, shares: Array, extent: tuple[float, ...], x: Array, labels: Array) -> None:
    shades = colors(shares.shape[1])
    picture = ((1 + shares @ shades) / 2).reshape(POINTS, POINTS, 3)
    ax.imshow(picture, origin="lower", aspect="auto", interpolation="bilinear", extent=extent)
    size = min(70.0, max(24.0, 2000 / len(x)))
    ax.scatter(x[:, 0], x[:, 1], c=shades[labels], s=size, edgecolors="white", linewidths=0.7)
    ax.set(xlabel="$x_1$", ylabel="$x_2$")


def _draw_numbers(ax: Any, outputs: Array, extent: tuple[float, ...], limits: tuple[float, float] | None) -> None:
    low, high = (outputs.min(), outputs.max()) if limits is None else limits
    picture = ax.imshow(outputs, origin="lower", aspect="auto", cmap=diverging(), extent=extent, vmin=low, vmax=high)
    if outputs.max() > outputs.min():
        lines = ax.contour(outputs, extent=extent, colors="0.3", linewidths=0.8)
        ax.clabel(lines, fontsize="small")
    ax.figure.colorbar(picture, ax=ax, label="output")


def labels_of(y: Any, classes: int, name: str) -> Array:
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


def _shares(net: Any, plane: Array, x: Array, labels: Array, y: Array, loss: Any) -> Array:
    """The predicted share of each class, (rows, classes): rows that sum to 1, the highest in the predicted class."""
    outputs = net.predict(plane)
    objective = None if loss is None else Objective(loss, net.graph[-1])
    if objective is not None:
        outputs = objective.scores(outputs, y)[0]
    outputs = outputs.astype(np.float64)
    if net.n_out == 1:
        threshold = _threshold(net, x, labels, y, objective)
        p = np.clip(outputs if threshold else (outputs + 1) / 2, 0, 1)
        return np.hstack([1 - p, p])
    if outputs.min() < 0 or outputs.max() > 1 or not outputs.sum(axis=1).all():
        outputs = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    shares: Array = outputs / outputs.sum(axis=1, keepdims=True)
    return shares


def _threshold(net: Any, x: Array, labels: Array, y: Array, objective: Objective | None) -> float:
    """Above what a single output is class 1: 0.5, or 0 where the classes are -1 and 1 to the network."""
    activation = net.layers[-1].activation.name
    if activation in PROBABILITIES:
        return 0.5
    outputs = net.predict(x)
    if objective is not None:
        of_labels, of_signs = (objective.scores(outputs, it[:, None])[1] for it in (labels, 2 * labels - 1))
        if of_labels == of_signs:  # the loss knows by itself
            return of_labels
    elif activation not in SIGNED and y.min() >= 0:
        raise ValueError(
            f"loss: expected the loss of a network whose one output is no probability, that of {activation!r}, got None"
        )
    if y.min() < 0:
        return 0.0
    of_class_0 = outputs[labels == 0]
    return 0.0 if len(of_class_0) and of_class_0.mean() < -0.5 else 0.5
