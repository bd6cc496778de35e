"""Metrics: how good a prediction is, in numbers for people. A metric is any callable ``(y_hat, y) -> float``."""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import _validate

__all__ = ["accuracy", "mae", "mse", "r2"]

Array = _validate.Array
Metric = Callable[[Any, Any], float]


def accuracy(y_hat: Any, y: Any) -> float:
    """The share of rows whose class is right.

    Parameters
    ----------
    y_hat : array_like, shape (batch, n_out)
        Scores: the class is the column of the highest; with one column, 1 above 0.5 and else 0.
    y : array_like
        Labels (batch,), or as y_hat.
    """
    y_hat, y = np.asarray(y_hat), np.asarray(y)
    return float(np.mean(_classes(y_hat) == (_classes(y) if y.shape == y_hat.shape else y.reshape(-1))))


def _classes(scores: Array) -> Array:
    return scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > 0.5).astype(np.int64)


def mse(y_hat: Any, y: Any) -> float:
    """The mean of the squared errors."""
    return float(np.mean(np.square(_errors(y_hat, y))))


def mae(y_hat: Any, y: Any) -> float:
    """The mean of the absolute errors."""
    return float(np.mean(np.abs(_errors(y_hat, y))))


def r2(y_hat: Any, y: Any) -> float:
    """The coefficient of determination: 1 - the squared errors over those of the mean; averaged over the outputs.

    An output whose targets are all the same has none: it counts 1 where it is met, else 0, as in scikit-learn.
    """
    errors = np.square(_errors(y_hat, y)).sum(axis=0)
    y = np.asarray(y, dtype=np.float64).reshape(np.shape(y_hat))
    spread = np.square(y - y.mean(axis=0)).sum(axis=0)
    constant = spread == 0
    return float(np.mean(np.where(constant, errors == 0, 1 - errors / np.where(constant, 1, spread))))


def _errors(y_hat: Any, y: Any) -> Array:
    y_hat = np.asarray(y_hat, dtype=np.float64)
    return np.subtract(y_hat, np.asarray(y, dtype=np.float64).reshape(y_hat.shape))


_TABLE: dict[str, Metric] = {"accuracy": accuracy, "mse": mse, "mae": mae, "r2": r2}


def get(metrics: Any) -> dict[str, Metric]:
    """Metrics by the names under which they are reported."""
    if isinstance(metrics, str) or callable(metrics):
        raise TypeError(f"metrics: expected a list, got {metrics!r}: write [{metrics!r}]")
    found: dict[str, Metric] = {}
    for metric in metrics:
        if callable(metric):
            found[getattr(metric, "__name__", type(metric).__name__)] = metric
        else:
            found[metric] = _TABLE[_validate.choice(metric, "metrics", _TABLE)]
    return found
