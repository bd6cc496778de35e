"""How good predictions for held-out rows are, as one number, of which lower is better."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import _validate

__all__ = ["METRICS", "OF_TASK"]

Array = _validate.Array
#: Of predictions, targets (labels, or numbers of the shape of the predictions), and weights of the rows.
Score = Callable[[Array, Array, Array | None], float]

TINY = 1e-30


def error(p: Array, y: Array, weights: Array | None) -> float:
    """The share of wrong classes."""
    return float(np.average(p.argmax(axis=1) != y, weights=weights))


def log_loss(p: Array, y: Array, weights: Array | None) -> float:
    """The mean of -log p of the true class."""
    return float(np.average(-np.log(np.maximum(p[np.arange(len(y)), y], TINY, dtype=np.float64)), weights=weights))


def one_minus_auc(p: Array, y: Array, weights: Array | None) -> float:
    """1 - the area under the ROC curve, the mean over the classes that some rows have and some not."""
    classes = [1] if p.shape[1] == 2 else range(p.shape[1])
    found = [_auc(p[:, k], y == k, weights) for k in classes if 0 < np.count_nonzero(y == k) < len(y)]
    return 1 - float(np.mean(found)) if found else log_loss(p, y, weights)


def _auc(scores: Array, positive: Array, weights: Array | None) -> float:
    """How often a positive row has a higher score than another; ties count half."""
    weights = np.ones(len(scores)) if weights is None else weights
    _, place = np.unique(scores, return_inverse=True)
    above = np.bincount(place, np.where(positive, weights, 0.0))
    below = np.bincount(place, np.where(positive, 0.0, weights))
    total = above.sum() * below.sum()
    return float((above * (np.cumsum(below) - below / 2)).sum() / total) if total else 0.5


def rmse(p: Array, y: Array, weights: Array | None) -> float:
    """The root of the mean squared difference."""
    return float(np.sqrt(np.average(((p - y).astype(np.float64) ** 2).mean(axis=1), weights=weights)))


def mae(p: Array, y: Array, weights: Array | None) -> float:
    """The mean of the absolute differences."""
    return float(np.average(abs(p - y).mean(axis=1, dtype=np.float64), weights=weights))


METRICS: dict[str, Score] = {
    "accuracy": error, "roc_auc": one_minus_auc, "log_loss": log_loss, "rmse": rmse, "mae": mae,
}  # fmt: skip
#: Those of each task.
OF_TASK = {"classification": ("accuracy", "roc_auc", "log_loss"), "regression": ("rmse", "mae")}
