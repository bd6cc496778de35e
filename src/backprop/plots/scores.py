"""Figures of predictions beside the truth: confusion matrix, reliability, numbers and their intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _validate
from .classes import labels_of
from .figures import BLUE, GRAY, ORANGE, Array, axes, plain

__all__ = ["calibration", "confusion", "predictions"]


def confusion(y: Any, y_hat: Any, *, names: Sequence[str] | None = None, ax: Any = None) -> Any:
    """Draw the confusion matrix: how many rows of each class were predicted to be of each.

    Parameters
    ----------
    y : array_like, shape (n,), (n, 1) or (n, classes)
        Labels, or one-hot rows.
    y_hat : array_like, shape (n, classes), (n, 1) or (n,)
        What `Sequential.predict` returned: scores, of which the highest is predicted, or probabilities of class 1.
    names : sequence of str, optional
        What the classes are called. Default: their numbers.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
    """
    labels, scores = _classified(y, y_hat)
    n = scores.shape[1]
    words = [*map(str, range(n))] if names is None else [str(name) for name in names]
    if len(words) != n:
        raise ValueError(f"names: expected {n}, one for each class, got {len(words)}")
    counts = np.zeros((n, n), np.int64)
    np.add.at(counts, (labels, scores.argmax(axis=1)), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax = axes(ax, 2.5 + 0.55 * max(n, 3), 2 + 0.5 * max(n, 3))
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(n, n):
        if n <= 20:
            ax.text(
                j, i, f"{counts[i, j]:,}", ha="center", va="center", color="white" if shares[i, j] > 0.5 else "black"
            )
    ax.set(
        xticks=range(n), yticks=range(n), xticklabels=words, yticklabels=words, xlabel="predicted", ylabel="true",
        title=f"{np.trace(counts):,} of {len(labels):,} right",
    )  # fmt: skip
    if max(map(len, words)) > 3:
        ax.tick_params("x", rotation=45)
    return ax.figure


def calibration(y: Any, y_hat: Any, *, bins: int = 10, ax: Any = None) -> Any:
    """Draw how often predictions of each probability came true, a reliability diagram.

    Parameters
    ----------
    y : array_like, shape (n,), (n, 1) or (n, classes)
        Labels, or one-hot rows.
    y_hat : array_like, shape (n, classes), (n, 1) or (n,)
        Probabilities: of class 1, or, of several classes, those of each, of which the highest is looked at.
    bins : int, default 10
        Of equal width.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        Its title says the expected calibration error: the mean distance from the diagonal, over all rows.

    References
    ----------
    Guo et al., "On calibration of modern neural networks", ICML 2017, eq. 3.
    """
    labels, scores = _classified(y, y_hat)
    bins = _validate.integer(bins, "bins")
    if scores.min() < 0 or scores.max() > 1:
        raise ValueError("y_hat: expected probabilities, from 0 to 1, got others: are these logits?")
    two = scores.shape[1] == 2
    p = scores[:, 1] if two else scores.max(axis=1)
    came = labels == (1 if two else scores.argmax(axis=1))
    place = np.minimum((p * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    there = counts > 0
    said, was = (np.bincount(place, values, bins)[there] / counts[there] for values in (p, came))
    error = float((counts[there] * abs(said - was)).sum() / len(p))
    ax = plain(axes(ax))
    middles = (np.arange(bins) + 0.5) / bins
    ax.bar(middles, counts / counts.max(), 0.9 / bins, color=GRAY, alpha=0.35, label="how often it is said", zorder=0)
    ax.plot([0, 1], [0, 1], color=GRAY, linestyle="--", linewidth=1, label="calibrated")
    ax.plot(said, was, color=BLUE, marker="o", label="this network")
    ax.set(
        xlim=(0, 1), ylim=(0, 1.02), xlabel=f"predicted probability of {'class 1' if two else 'the predicted class'}",
        ylabel="share that came true", title=f"expected calibration error {error:.3f}",
    )  # fmt: skip
    ax.legend(frameon=False, loc="best")
    return ax.figure


def predictions(y: Any, y_hat: Any, *, intervals: Any = None, ax: Any = None) -> Any:
    """Draw predicted numbers over true ones, with their intervals where there are some.

    Parameters
    ----------
    y, y_hat : array_like, shape (n,) or (n, 1)
        What was to be predicted, and what was.
    intervals : tuple (lower, upper) of array_like, shape (n,) or (n, 1), optional
        Two quantiles, say, of each prediction: a line between them, in orange where the truth lies outside.
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
    """
    true, said = (_numbers(values, name) for values, name in ((y, "y"), (y_hat, "y_hat")))
    _validate.some_rows(true, "y")
    _validate.same_rows(len(true), y_hat=said)
    error = np.sqrt(np.mean((true - said) ** 2))
    title = f"root mean squared error {error:.4g}"
    ax = plain(axes(ax))
    if intervals is None:
        ax.plot(true, said, "o", color=BLUE, markersize=4, alpha=0.6)
    else:
        ends = _validate.items(intervals, "intervals")
        if len(ends) != 2:
            raise ValueError(f"intervals: expected two arrays, (lower, upper), got {len(ends)}")
        lower, upper = (_numbers(values, "intervals") for values in ends)
        _validate.same_rows(len(true), lower=lower, upper=upper)
        inside = (lower <= true) & (true <= upper)
        for which, color in (inside, BLUE), (~inside, ORANGE):
            ax.vlines(true[which], lower[which], upper[which], color=color, alpha=0.5)
            ax.plot(true[which], said[which], "o", color=color, markersize=4)
        title += f"\n{inside.mean():.1%} of the intervals hold the truth"
    ends = [min(true.min(), said.min()), max(true.max(), said.max())]
    ax.plot(ends, ends, color=GRAY, linestyle="--", linewidth=1)
    ax.set(xlabel="true", ylabel="predicted", title=title)
    return ax.figure


def _classified(y: Any, y_hat: Any) -> tuple[Array, Array]:
    """The label of each row, and its scores, a column for each class."""
    scores = _validate.array(y_hat, "y_hat").astype(np.float64)
    scores = scores.reshape(-1, 1) if scores.ndim == 1 else scores
    if scores.ndim != 2:
        raise ValueError(f"y_hat: expected shape (n, classes), (n, 1) or (n,), got {scores.shape}")
    if scores.shape[1] == 1:
        scores = np.hstack([1 - scores, scores])
    _validate.some_rows(scores, "y_hat")
    labels = labels_of(y, scores.shape[1], "y")
    _validate.same_rows(len(scores), y=labels)
    return labels, scores


def _numbers(values: Any, name: str) -> Array:
    given = _validate.array(values, name).astype(np.float64)
    if given.ndim != 1 and given.shape[1:] != (1,):
        raise ValueError(f"{name}: expected shape (n,) or (n, 1), got {given.shape}: one output at a time")
    return given.reshape(-1)
