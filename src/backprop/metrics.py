"""Metrics: how good a prediction is, in numbers for people. A metric is any callable ``(y_hat, y) -> float``."""

from collections.abc import Callable, Mapping
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
    y_hat, y = _validate.array(y_hat, "y_hat"), _validate.array(y, "y")
    _validate.some_rows(y_hat, "y_hat")
    if y_hat.ndim != 2 or y_hat.shape[1] == 0:
        raise ValueError(f"y_hat: expected scores of shape (batch, n_out), got {y_hat.shape}")
    if y.shape not in (y_hat.shape, (len(y_hat),), (len(y_hat), 1)):
        raise ValueError(f"y: expected labels ({len(y_hat)},) or targets {y_hat.shape}, got {y.shape}")
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
    y_hat, y = (_validate.array(v, name).astype(np.float64) for v, name in ((y_hat, "y_hat"), (y, "y")))
    _validate.some_rows(y_hat, "y_hat")
    if y.shape[:1] != y_hat.shape[:1] or y.size != y_hat.size:
        raise ValueError(f"y: expected targets of shape {y_hat.shape}, as y_hat has, got {y.shape}")
    errors: Array = y_hat - y.reshape(y_hat.shape)
    return errors


_TABLE: dict[str, Metric] = {"accuracy": accuracy, "mse": mse, "mae": mae, "r2": r2}


def get(metrics: Any) -> dict[str, Metric]:
    """Metrics by the names under which they are reported."""
    found: dict[str, Metric] = {}
    for metric in _validate.items(metrics, "metrics"):
        if isinstance(metric, type):
            raise TypeError(f"metrics: expected names or functions, got the class {metric.__name__}")
        if not callable(metric):
            _validate.choice(metric, "metrics", _TABLE)
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)
        if name in found or name == "loss":
            raise ValueError(f"metrics: expected each name once, got {name!r} again: give it another __name__")
        found[name] = metric if callable(metric) else _TABLE[metric]
    return found


def check(metrics: Mapping[str, Metric], y: Array, n_out: int) -> None:
    """Refuse targets that one of these metrics, if it is ours, does not take: now, and not after an epoch."""
    for name, metric in metrics.items():
        if metric is _TABLE.get(name):
            metric(np.zeros((1, n_out)), y[:1])
