"""Metrics: how good predictions are, in numbers for people. A metric is any callable ``(y_hat, y) -> float``.

Those of classification take scores (batch, n_out). What the targets beside them mean:

================================  ==================================================================================
binary: one column                the positive class above the threshold; targets 0 and 1, (batch,) or (batch, 1)
multiclass                        the class of the highest score; labels (batch,) or (batch, 1), 0 to n_out - 1, or
                                  rows that sum to 1, of which the highest is the class
multi-label                       each column is binary; targets (batch, n_out) of 0 and 1
================================  ==================================================================================

In `Sequential.fit` and `evaluate` the loss says which. By hand, rows of 0 and 1 are multiclass where each sums to 1,
else multi-label; ``multi_label`` says so beforehand, for rows of which each happens to hold a single 1.

Binary precision, recall and f1, in one column or in two, are those of class 1. Otherwise they are means ("macro"): over
the classes that occur in y or among the predictions, or over all labels. All agree with scikit-learn.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from . import _validate, _words
from .targets import Meaning, is_multi_label, is_signs, labels

__all__ = [
    "accuracy", "explained_variance", "f1", "log_loss", "mae", "mse", "precision", "r2", "recall", "rmse", "roc_auc",
    "top_k",
]  # fmt: skip

Array = _validate.Array
Metric = Callable[[Any, Any], float]


# Of classification.


def accuracy(y_hat: Any, y: Any, *, multi_label: bool | None = None, threshold: float | None = None) -> float:
    """The share of rows whose predicted class is right; multi-label: of rows in which all labels are.

    Parameters
    ----------
    y_hat : array_like, shape (batch, n_out)
        Scores. Multiclass: the highest is the predicted class; else those above the threshold are positive.
    y : array_like
        Labels (batch,), or targets of the shape of y_hat.
    multi_label : bool or None, default None
        Whether each column is binary, with targets from 0 to 1, which are positive above one half. False: the columns
        are classes. None: multi-label where rows of 0 and 1 do not all sum to 1.
    threshold : float or None, default None
        Above which score a binary column is positive. None: 0.5, and the targets are 0 and 1; given, they may be -1
        and 1 too, as ``threshold=0`` takes them.

    Raises
    ------
    ValueError
        If the shapes do not fit, the scores are not finite, or the targets are not classes.
    """
    scores, truth = _read(y_hat, y, multi_label, threshold, signs=threshold is not None)
    return float(np.mean((_predicted(scores, truth, threshold) == truth).reshape(len(truth), -1).all(axis=1)))


F = TypeVar("F", bound=Callable[..., float])


def _as_accuracy(metric: F) -> F:
    """Give a metric with the parameters of `accuracy` their part of its docstring."""
    if accuracy.__doc__ and metric.__doc__:  # there are none under -OO
        metric.__doc__ += accuracy.__doc__[accuracy.__doc__.index("\n\n") :]
    return metric


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

    def __call__(self, y_hat: Any, y: Any, *, multi_label: bool | None = None) -> float:
        given, _ = _scores(y_hat, y)
        if given.shape[1] == 1:
            raise ValueError(f"{self.__name__}: expected a column of scores for each class, got one: use accuracy")
        y_hat, labels = _read(y_hat, y, multi_label)
        if labels.ndim > 1:
            raise ValueError(f"{self.__name__}: expected one class a row, got multi-label targets: use accuracy")
        highest = y_hat.argsort(axis=1, kind="stable")[:, -self.k :]
        return float(np.mean((highest == labels[:, None]).any(axis=1)))

    def __repr__(self) -> str:
        return f"metrics.top_k({self.k})"


@_as_accuracy
def precision(y_hat: Any, y: Any, *, multi_label: bool | None = None, threshold: float | None = None) -> float:
    """The share of true positives among those predicted positive, tp / (tp + fp); 0 where there are none."""
    hits, predicted, _ = _counts(y_hat, y, multi_label, threshold)
    return _macro(hits, predicted)


@_as_accuracy
def recall(y_hat: Any, y: Any, *, multi_label: bool | None = None, threshold: float | None = None) -> float:
    """The share of true positives among those that are positive, tp / (tp + fn); 0 where there are none."""
    hits, _, positive = _counts(y_hat, y, multi_label, threshold)
    return _macro(hits, positive)


@_as_accuracy
def f1(y_hat: Any, y: Any, *, multi_label: bool | None = None, threshold: float | None = None) -> float:
    """The harmonic mean of precision and recall, 2 tp / (2 tp + fp + fn); 0 where there are none of these."""
    hits, predicted, positive = _counts(y_hat, y, multi_label, threshold)
    return _macro(2 * hits, predicted + positive)


def roc_auc(y_hat: Any, y: Any, *, multi_label: bool | None = None) -> float:
    """The area under the ROC curve: how often a positive row has a higher score than a negative one.

    Ties count half. Binary, in one column or in two: of class 1. Multiclass: the mean over the classes, one versus
    rest; multi-label: the mean over the labels. NaN where a class, or the rest, has no rows.

    Parameters
    ----------
    y_hat, y, multi_label
        As `accuracy` takes them; -1 and 1 are as good as 0 and 1.

    References
    ----------
    Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve",
    Radiology 143, 1982.
    """
    scores, truth = _read(y_hat, y, multi_label, signs=True)
    n = scores.shape[1]
    if truth.ndim == 1:
        scores, truth = (scores[:, 1:], truth[:, None] == 1) if n == 2 else (scores, truth[:, None] == np.arange(n))
    return float(np.mean([_area(scores[:, c], truth[:, c]) for c in range(scores.shape[1])]))


def log_loss(y_hat: Any, y: Any, *, multi_label: bool | None = None) -> float:
    """The mean of -log p of the true class (the cross-entropy), with p clipped by the precision of its type.

    Parameters
    ----------
    y_hat : array_like, shape (batch, n_out)
        Probabilities. Binary: of class 1; multiclass: of the classes, in rows that sum to 1; multi-label: of each.
    y : array_like
        Labels (batch,), or probabilities as y_hat.
    multi_label : bool or None, default None
        As `accuracy` takes it. Multi-label: the mean over the labels.
    """
    y_hat, y = _scores(y_hat, y)
    y = np.maximum(y, 0) if is_signs(y) else y
    _validate.between(y_hat, 0, 1, "y_hat", "log_loss takes probabilities")
    epsilon = np.finfo(y_hat.dtype if y_hat.dtype.kind == "f" else np.float64).eps
    p, n = np.clip(y_hat.astype(np.float64), epsilon, 1 - epsilon), y_hat.shape[1]
    if n == 1 or (y.shape == y_hat.shape and _multi_labelled(y, multi_label)):
        q = _validate.real(y.reshape(-1, n), "y", np.float64)
        _validate.between(q, 0, 1, "y", "log_loss takes labels or probabilities as targets")
        return float(np.mean(-q * np.log(p) - (1 - q) * np.log(1 - p)))
    _sums_to_one(y_hat, "y_hat", "log_loss takes probabilities of the classes")
    if y.shape != y_hat.shape:
        return float(np.mean(-np.log(p[np.arange(len(p)), _labels(y, n, multi_label)])))
    return float(np.mean(-(_validate.real(y, "y", np.float64) * np.log(p)).sum(axis=1)))


def _scores(y_hat: Any, y: Any) -> tuple[Array, Array]:
    y_hat, y = _validate.array(y_hat, "y_hat"), _validate.array(y, "y")
    _validate.some_rows(y_hat, "y_hat")
    if y_hat.ndim != 2 or y_hat.shape[1] == 0:
        raise ValueError(f"y_hat: expected scores of shape (batch, n_out), got {y_hat.shape}")
    if y.shape not in (y_hat.shape, (len(y_hat),), (len(y_hat), 1)):
        raise ValueError(f"y: expected labels ({len(y_hat)},) or targets {y_hat.shape}, got {y.shape}")
    return y_hat, y


def _read(
    y_hat: Any, y: Any, multi_label: bool | None, threshold: float | None = None, *, signs: bool = False
) -> tuple[Array, Array]:
    """Scores, finite, beside the true classes: the label of each row (batch,), or positive or not (batch, n_out)."""
    if threshold is not None:
        _validate.number(threshold, "threshold")
    y_hat, y = _scores(y_hat, y)
    return _validate.real(y_hat, "y_hat", np.float64), _truth(y, y_hat.shape, multi_label, signs=signs)


def _truth(y: Array, shape: tuple[int, ...], multi_label: bool | None, *, signs: bool) -> Array:
    """The true classes, beside scores of this shape."""
    if multi_label is not None:
        _validate.flag(multi_label, "multi_label")
    n = shape[1]
    if n > 1 and y.shape != shape:
        return _labels(y, n, multi_label)
    y = _validate.real(y, "y", np.float64) if y.dtype.kind == "f" else y
    signed = is_signs(y)
    y = np.maximum(y, 0).reshape(-1, n) if signed else y.reshape(-1, n)
    if n > 1 and not _multi_labelled(y, multi_label):
        return np.asarray(y.argmax(axis=1))
    if signed and not signs:
        raise ValueError("y: expected 0 and 1, got -1: for scores around 0 and targets of -1 and 1, threshold=0")
    if multi_label:
        _validate.between(y, 0, 1, "y", "each target is 0 or 1, or the probability of 1")
    else:
        _validate.names(y.reshape(-1), 2, "y")
    return y > 0.5


def _labels(y: Array, n: int, multi_label: bool | None) -> Array:
    if multi_label:
        raise ValueError(f"y: expected multi-label targets, (batch, {n}), got {y.shape}")
    return labels(y, n)


def _multi_labelled(y: Array, multi_label: bool | None) -> bool:
    """Whether rows (batch, n), n > 1, have several labels each; else each is of one of n classes."""
    if multi_label is None:
        multi_label = is_multi_label(y)
    if multi_label:
        return True
    _validate.between(y, 0, 1, "y", "multiclass rows are probabilities or one-hot, multi-label ones are of 0 and 1")
    _sums_to_one(y, "y", "multiclass rows are probabilities or one-hot, multi-label ones are of 0 and 1")
    return False


def _sums_to_one(rows: Array, name: str, cure: str) -> None:
    sums = rows.sum(axis=1, dtype=np.float64)
    if (abs(sums - 1) > 1e-3).any():
        row = int(abs(sums - 1).argmax())
        raise ValueError(f"{name}: expected rows that sum to 1, got {sums[row]:.6g} in row {row}: {cure}")


def _predicted(scores: Array, truth: Array, threshold: float | None) -> Array:
    """The predicted classes, in the form in which `_read` gives the true ones."""
    return scores.argmax(axis=1) if truth.ndim == 1 else scores > (0.5 if threshold is None else threshold)


def _counts(y_hat: Any, y: Any, multi_label: bool | None, threshold: float | None) -> tuple[Array, Array, Array]:
    """For each class that counts, the rows: true positives, all predicted positive, all that are positive."""
    scores, true = _read(y_hat, y, multi_label, threshold, signs=threshold is not None)
    predicted, n = _predicted(scores, true, threshold), scores.shape[1]
    if true.ndim == 2:
        hits, said, positive = (rows.sum(axis=0) for rows in (predicted & true, predicted, true))
        return hits, said, positive
    counts = [np.bincount(rows, minlength=n) for rows in (true[predicted == true], predicted, true)]
    which = counts[1] + counts[2] > 0 if n > 2 else [1]
    hits, said, positive = (count[which] for count in counts)
    return hits, said, positive


def _macro(part: Array, whole: Array) -> float:
    """The mean of ratios; 0 / 0 is 0."""
    return float(np.mean(part / np.maximum(whole, 1)))


def _area(scores: Array, positive: Array) -> float:
    """Of all pairs of a positive row and another, the share in which the positive has the higher score, or half of it.

    Counted some rows at a time: between them Python notices Ctrl-C.
    """
    high, low = np.sort(scores[positive]), np.sort(scores[~positive])
    counts = (
        int(low.searchsorted(high[some], side).sum())
        for some in _validate.slices(len(high), high.nbytes) for side in ("left", "right")
    )  # fmt: skip
    return sum(counts) / (2 * len(high) * len(low)) if len(high) and len(low) else np.nan


# Of regression: of several outputs, the mean over them.


def mse(y_hat: Any, y: Any) -> float:
    """The mean of the squared errors."""
    return _mean(np.square, _errors(y_hat, y))


def rmse(y_hat: Any, y: Any) -> float:
    """The square root of the mean of the squared errors."""
    return float(np.mean(np.sqrt(np.mean(np.square(_errors(y_hat, y)), axis=0))))


def mae(y_hat: Any, y: Any) -> float:
    """The mean of the absolute errors."""
    return _mean(np.abs, _errors(y_hat, y))


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
    y_hat, y = _validate.array(y_hat, "y_hat"), _validate.array(y, "y")
    _validate.some_rows(y_hat, "y_hat")
    if y.shape != y_hat.shape and {y.shape, y_hat.shape} != {(len(y_hat),), (len(y_hat), 1)}:
        raise ValueError(f"y: expected targets of shape {y_hat.shape}, as y_hat has, got {y.shape}")
    errors, y = np.empty(y_hat.shape), y.reshape(y_hat.shape)
    for some in _validate.slices(len(errors), errors.nbytes):
        np.subtract(y_hat[some], y[some], out=errors[some], dtype=np.float64)
    return errors


def _mean(formula: Callable[[Array], Array], errors: Array) -> float:
    """The mean over all errors; of many, some rows at a time."""
    if errors.nbytes <= _validate.PIECE:
        return float(np.mean(formula(errors)))
    total = sum(float(np.sum(formula(errors[some]))) for some in _validate.slices(len(errors), errors.nbytes))
    return total / errors.size


def explained(errors: Array, y: Any, weights: Array | None = None) -> float:
    """1 - the squared errors over those of the mean of y, averaged over the outputs; rows count by their weights."""
    y = np.asarray(y, dtype=np.float64, order="C").reshape(errors.shape)
    left = np.average(np.square(errors, dtype=np.float64), axis=0, weights=weights)
    spread = np.average(np.square(y - np.average(y, axis=0, weights=weights)), axis=0, weights=weights)
    constant = spread == 0
    return float(np.mean(1 - np.where(constant, np.sign(left), left / np.where(constant, 1, spread))))


# By name.

_LOWER = {"log_loss": log_loss, "mse": mse, "rmse": rmse, "mae": mae}
_HIGHER = {
    "accuracy": accuracy, "precision": precision, "recall": recall, "f1": f1, "roc_auc": roc_auc, "r2": r2,
    "explained_variance": explained_variance,
}  # fmt: skip
_TABLE: dict[str, Metric] = {**_HIGHER, **_LOWER}
#: Those of regression; and those with a threshold.
_OF_REGRESSION = mse, rmse, mae, r2, explained_variance
_WITH_THRESHOLD = accuracy, precision, recall, f1
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


def measure(metrics: Mapping[str, Metric], y_hat: Array, y: Array, meaning: Meaning) -> dict[str, Any]:
    """All of these metrics; ours are told what the targets mean, custom ones get them in the shape of the outputs."""
    return {name: _measured(name, metric, y_hat, y, meaning) for name, metric in metrics.items()}


def _measured(name: str, metric: Any, y_hat: Array, y: Array, meaning: Meaning) -> Any:
    if not _is_ours(name, metric):
        return metric(y_hat, meaning.shaped(y))
    if meaning.targets not in (None, y_hat.shape[1]):
        raise ValueError(
            f"y: expected targets of shape {y_hat.shape}, as y_hat has, got {meaning.shaped(y).shape}: {name} wants an "
            "output for each target; give a custom metric, a function (y_hat, y)"
        )
    if metric in _OF_REGRESSION:
        return metric(y_hat, y)
    if metric is log_loss and meaning.threshold == 0:
        raise ValueError("log_loss: expected probabilities, got scores around 0, of -1 and 1: use roc_auc")
    if not np.isfinite(y_hat).all():
        return np.nan
    return metric(y_hat, y, **_told(metric, meaning))


def _told(metric: Any, meaning: Meaning) -> dict[str, Any]:
    """What one of our metrics of classification is told."""
    cut = {"threshold": meaning.threshold} if metric in _WITH_THRESHOLD else {}
    return {"multi_label": meaning.multi_label, **cut}


def _is_ours(name: str, metric: Any) -> bool:
    return metric is _TABLE.get(name) or isinstance(metric, _TopK)


def check(metrics: Mapping[str, Metric], y: Array, n_out: int, meaning: Meaning) -> None:
    """Refuse targets that one of these metrics, if it is ours, does not take: now, and not after an epoch."""
    for name, metric in metrics.items():
        if _is_ours(name, metric):
            _measured(name, metric, np.full((1, n_out), 1 / n_out), y[:1], meaning)
            if metric not in (*_OF_REGRESSION, log_loss):
                told = _told(metric, meaning)
                signs = metric is roc_auc or told.get("threshold") is not None
                _truth(y, (len(y), n_out), told["multi_label"], signs=signs)


def best(name: str) -> str:
    """The mode, "min" or "max", of the loss or a built-in metric, also with val_ before its name."""
    name = name.removeprefix("val_")
    if name in _HIGHER or _TOP.fullmatch(name):
        return "max"
    if name in _LOWER or name == "loss":
        return "min"
    near = _words.meant(name, [*_TABLE, "loss"])
    hint = f"; did you mean {near!r}?" if near else ""
    raise ValueError(f'mode: expected "min" or "max" for {name!r}, got "auto", which knows only built-in metrics{hint}')
