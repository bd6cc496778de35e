"""Metrics: how good a prediction is, in numbers for people. A metric is any callable ``(y_hat, y) -> float``.

Those of classes take scores (batch, n_out), of which the highest says the class; with one column it is class 1 above
0.5 and else class 0. The labels are (batch,) or (batch, 1), 0 to n_out - 1, or rows like those of the scores.
Precision, recall and f1 are those of class 1 where there are two classes, in one column or in two; of more, the mean is
taken over those that occur in y or are predicted ("macro"). All agree with scikit-learn.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import _validate

__all__ = [
    "accuracy", "explained_variance", "f1", "log_loss", "mae", "mse", "precision", "r2", "recall", "rmse", "roc_auc",
    "top_k",
]  # fmt: skip

Array = _validate.Array
Metric = Callable[[Any, Any], float]


# Of classes.


def accuracy(y_hat: Any, y: Any) -> float:
    """The share of rows whose class is right.

    Parameters
    ----------
    y_hat : array_like, shape (batch, n_out)
        Scores: the class is the column of the highest; with one column, 1 above 0.5 and else 0.
    y : array_like
        Labels (batch,), or as y_hat.
    """
    y_hat, y = _scores(y_hat, y)
    return float(np.mean(_classes(y_hat) == (_classes(y) if y.shape == y_hat.shape else y.reshape(-1))))


def top_k(k: int) -> Metric:
    """The metric "top_k": the share of rows whose class is among the k with the highest scores.

    Of equal scores, those in later columns count as higher. In a list of metrics, ``"top_3"`` is ``top_k(3)``.

    Parameters
    ----------
    k : int
        At least 1; with as many as there are classes, every row counts.
    """
    return _TopK(_validate.integer(k, "k"))


class _TopK:
    def __init__(self, k: int) -> None:
        self.k = k
        self.__name__ = f"top_{k}"

    def __call__(self, y_hat: Any, y: Any) -> float:
        y_hat, labels = _labelled(y_hat, y)
        if y_hat.shape[1] == 1:
            raise ValueError(f"{self.__name__}: expected a column of scores for each class, got one: use accuracy")
        highest = y_hat.argsort(axis=1, kind="stable")[:, -self.k :]
        return float(np.mean((highest == labels[:, None]).any(axis=1)))

    def __repr__(self) -> str:
        return f"metrics.top_k({self.k})"


def precision(y_hat: Any, y: Any) -> float:
    """How many of the rows that are said to be of a class are; 0 where none is said to be."""
    right, said, _ = _counts(y_hat, y)
    return _mean_ratio(right, said)


def recall(y_hat: Any, y: Any) -> float:
    """How many of the rows that are of a class are said to be; 0 where none is."""
    right, _, true = _counts(y_hat, y)
    return _mean_ratio(right, true)


def f1(y_hat: Any, y: Any) -> float:
    """The harmonic mean of precision and recall, 2 right / (said + true); 0 where there are neither."""
    right, said, true = _counts(y_hat, y)
    return _mean_ratio(2 * right, said + true)


def roc_auc(y_hat: Any, y: Any) -> float:
    """The area under the ROC curve: how often a row of a class has a higher score for it than a row of another.

    Equal scores count half. With one or two columns, of class 1; with more, the mean over the classes, each against the
    rest. NaN where a class, or the rest, has no rows.

    References
    ----------
    Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve",
    Radiology 143, 1982.
    """
    y_hat, labels = _labelled(y_hat, y)
    n = y_hat.shape[1]
    if n <= 2:
        return _area(y_hat[:, -1], labels == 1)
    return float(np.mean([_area(y_hat[:, c], labels == c) for c in range(n)]))


def log_loss(y_hat: Any, y: Any) -> float:
    """The mean of -log p of what y says, with p kept from 0 and 1 by the precision of its type.

    Parameters
    ----------
    y_hat : array_like, shape (batch, n_out)
        Probabilities of the classes; with one column, of class 1.
    y : array_like
        Labels (batch,), or probabilities as y_hat.
    """
    y_hat, y = _scores(y_hat, y)
    _validate.between(y_hat, 0, 1, "y_hat", "log_loss takes probabilities")
    epsilon = np.finfo(y_hat.dtype if y_hat.dtype.kind == "f" else np.float64).eps
    p = np.clip(y_hat.astype(np.float64), epsilon, 1 - epsilon)
    if y_hat.shape[1] == 1:
        q = _validate.real(y.reshape(-1, 1), "y", np.float64)
        _validate.between(q, 0, 1, "y", "log_loss takes labels or probabilities as targets")
        p, q = np.hstack([1 - p, p]), np.hstack([1 - q, q])
    elif y.shape == y_hat.shape:
        q = _validate.real(y, "y", np.float64)
    else:
        q = np.eye(y_hat.shape[1])[_validate.labels(y, y_hat.shape[1])]
    return float(np.mean(-(q * np.log(p)).sum(axis=1)))


def _scores(y_hat: Any, y: Any) -> tuple[Array, Array]:
    y_hat, y = _validate.array(y_hat, "y_hat"), _validate.array(y, "y")
    _validate.some_rows(y_hat, "y_hat")
    if y_hat.ndim != 2 or y_hat.shape[1] == 0:
        raise ValueError(f"y_hat: expected scores of shape (batch, n_out), got {y_hat.shape}")
    if y.shape not in (y_hat.shape, (len(y_hat),), (len(y_hat), 1)):
        raise ValueError(f"y: expected labels ({len(y_hat)},) or targets {y_hat.shape}, got {y.shape}")
    return y_hat, y


def _classes(scores: Array) -> Array:
    return scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > 0.5).astype(np.int64)


def _labelled(y_hat: Any, y: Any) -> tuple[Array, Array]:
    """The scores, finite, and the labels, whole numbers."""
    y_hat, y = _scores(y_hat, y)
    y_hat = _validate.real(y_hat, "y_hat", np.float64)
    n = y_hat.shape[1]
    return y_hat, _classes(y) if n > 1 and y.shape == y_hat.shape else _validate.labels(y, max(n, 2))


def _counts(y_hat: Any, y: Any) -> tuple[Array, Array, Array]:
    """For each class that counts: how many rows are rightly said to be of it, are said to be, and are."""
    y_hat, labels = _labelled(y_hat, y)
    said, n = _classes(y_hat), max(y_hat.shape[1], 2)
    counts = [np.bincount(rows, minlength=n) for rows in (labels[said == labels], said, labels)]
    which = counts[1] + counts[2] > 0 if n > 2 else [1]
    right, said, true = (count[which] for count in counts)
    return right, said, true


def _mean_ratio(part: Array, whole: Array) -> float:
    return float(np.mean(part / np.maximum(whole, 1)))


def _area(scores: Array, positive: Array) -> float:
    """From the ranks of the positive rows among all; rows of equal score share theirs."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (count.cumsum() - (count - 1) / 2)[place]
    n = int(positive.sum())
    pairs = n * (len(scores) - n)
    return float((rank[positive].sum() - n * (n + 1) / 2) / pairs) if pairs else np.nan


# Of numbers: with several outputs, the mean of what each has.


def mse(y_hat: Any, y: Any) -> float:
    """The mean of the squared errors."""
    return float(np.mean(np.square(_errors(y_hat, y))))


def rmse(y_hat: Any, y: Any) -> float:
    """The square root of the mean of the squared errors."""
    return float(np.mean(np.sqrt(np.mean(np.square(_errors(y_hat, y)), axis=0))))


def mae(y_hat: Any, y: Any) -> float:
    """The mean of the absolute errors."""
    return float(np.mean(np.abs(_errors(y_hat, y))))


def r2(y_hat: Any, y: Any) -> float:
    """The coefficient of determination: 1 - the squared errors over those of the mean; averaged over the outputs.

    An output whose targets are all the same has none: it counts 1 where it is met, else 0, as in scikit-learn.
    """
    return explained(_errors(y_hat, y), y)


def explained_variance(y_hat: Any, y: Any) -> float:
    """1 - the variance of the errors over that of the targets: r2, but for an error that is the same in all rows."""
    errors = _errors(y_hat, y)
    return explained(errors - errors.mean(axis=0), y)


def _errors(y_hat: Any, y: Any) -> Array:
    y_hat, y = (_validate.array(v, name).astype(np.float64, order="C") for v, name in ((y_hat, "y_hat"), (y, "y")))
    _validate.some_rows(y_hat, "y_hat")
    if y.shape[:1] != y_hat.shape[:1] or y.size != y_hat.size:
        raise ValueError(f"y: expected targets of shape {y_hat.shape}, as y_hat has, got {y.shape}")
    errors: Array = y_hat - y.reshape(y_hat.shape)
    return errors


def explained(errors: Array, y: Any, weights: Array | None = None) -> float:
    """1 - the squared errors over those of the mean of y, averaged over the outputs; rows count by their weights."""
    y = np.asarray(y, dtype=np.float64, order="C").reshape(errors.shape)
    left = np.average(np.square(errors, dtype=np.float64), axis=0, weights=weights)
    spread = np.average(np.square(y - np.average(y, axis=0, weights=weights)), axis=0, weights=weights)
    constant = spread == 0
    return float(np.mean(np.where(constant, left == 0, 1 - left / np.where(constant, 1, spread))))


# By name.

_LOWER = {"log_loss": log_loss, "mse": mse, "rmse": rmse, "mae": mae}
_HIGHER = {
    "accuracy": accuracy, "precision": precision, "recall": recall, "f1": f1, "roc_auc": roc_auc, "r2": r2,
    "explained_variance": explained_variance,
}  # fmt: skip
_TABLE: dict[str, Metric] = {**_HIGHER, **_LOWER}
_TOP = re.compile(r"top_([1-9]\d{0,8})")


def get(metrics: Any) -> dict[str, Metric]:
    """Metrics by the names under which they are reported."""
    found: dict[str, Metric] = {}
    for metric in _validate.items(metrics, "metrics"):
        if isinstance(metric, type):
            raise TypeError(f"metrics: expected names or functions, got the class {metric.__name__}")
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)
        called: Any = metric if callable(metric) else _named(metric)
        if name in found or name == "loss":
            raise ValueError(f"metrics: expected each name once, got {name!r} again: give it another __name__")
        found[name] = called
    return found


def _named(name: Any) -> Metric:
    top = _TOP.fullmatch(name) if isinstance(name, str) else None
    return top_k(int(top[1])) if top else _TABLE[_validate.choice(name, "metrics", [*_TABLE, "top_3", "top_5"])]


def check(metrics: Mapping[str, Metric], y: Array, n_out: int) -> None:
    """Refuse targets that one of these metrics, if it is ours, does not take: now, and not after an epoch."""
    for name, metric in metrics.items():
        if metric is _TABLE.get(name) or isinstance(metric, _TopK):
            metric(np.zeros((1, n_out)), y[:1])


def best(name: str) -> str:
    """Whether the lowest ("min") or the highest ("max") is the best of a loss or a metric of ours, or a val_ one."""
    name = name.removeprefix("val_")
    if name in _HIGHER or _TOP.fullmatch(name):
        return "max"
    if name in _LOWER or name == "loss":
        return "min"
    raise ValueError(f'mode: expected "min" or "max" for {name!r}, of which only you know what is good, got "auto"')
