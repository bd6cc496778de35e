"""How good a model is on rows that it has not seen, beside what is reached without looking at the columns."""

import math

import numpy as np

from .. import _validate, metrics
from ..tables.cells import digits

__all__ = ["below", "of_classes", "of_numbers"]

Array = _validate.Array

#: More classes make no table of who was taken for whom.
MOST_CLASSES = 20


def below(score: float, places: int) -> str:
    """A score, rounded down: only what is perfect looks so."""
    return f"{math.floor(round(score * 10**places, 6)) / 10**places:.{places}f}"


def of_classes(p: Array, labels: Array, largest: int, names: list[str], full: bool) -> list[str]:
    """The accuracy beside that of always predicting the largest class; of a table, what else people ask for.

    Parameters
    ----------
    p : numpy.ndarray, shape (rows, classes)
    labels : numpy.ndarray, shape (rows,)
    largest : int
        The largest class of the training.
    names : list of str
    full : bool
        Whether to show the confusion matrix, the AUC and the log loss too.
    """
    lines = []
    if full:
        lines += _confusion(p.argmax(axis=1), labels, names) if len(names) <= MOST_CLASSES else []
        auc = metrics.roc_auc(p, labels)  # NaN where a class is not among the rows
        lines += [] if math.isnan(auc) else [f"test auc: {below(auc, 4)}"]
        lines.append(f"test log loss: {metrics.log_loss(p, labels):.4g}")
    return [
        *lines,
        f"accuracy of always predicting {names[largest]}: {below(100 * float(np.mean(labels == largest)), 1)} %",
        f"test accuracy: {below(100 * metrics.accuracy(p, labels), 1)} %",
    ]


def _confusion(predicted: Array, labels: Array, names: list[str]) -> list[str]:
    """How many rows of each class were taken for which."""
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    shown = [
        name if len(name) <= 16 else f"{name[:7]}..{name[-7:]}" for name in (" ".join(name.split()) for name in names)
    ]
    cells = [["", *shown], *([name, *map(str, row)] for name, row in zip(shown, counts.tolist(), strict=True))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return ["confusion matrix of the test rows (a line for each true class, a column for each predicted one):", *lines]


def of_numbers(predicted: Array, true: Array, median: float) -> list[str]:
    """The errors in the unit of the target, beside those of always predicting the median of the training."""
    baseline = np.full(len(true), median)
    shown = {
        "rmse": (metrics.rmse(predicted, true), metrics.rmse(baseline, true)),
        "mae": (metrics.mae(predicted, true), metrics.mae(baseline, true)),
    }
    return [
        *(f"{name} of always predicting {digits(float(f'{median:.4g}'))}, the median: {_short(other)}"
          for name, (_, other) in shown.items()),
        *(f"test {name}: {_short(own)}" for name, (own, _) in shown.items()),
        f"test r2: {below(metrics.r2(predicted, true), 4)}",
    ]  # fmt: skip


def _short(error: float) -> str:
    return digits(float(f"{error:.4g}"))
