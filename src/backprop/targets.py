"""Targets: which ones a loss takes, what they are to the metrics, and the weights of classes."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _validate

Array = _validate.Array


def values(y: Any, columns: int, dtype: npt.DTypeLike) -> Array:
    """Targets (rows, columns); (rows,) will do for one column."""
    given = _validate.array(y, "y")
    if given.ndim == 1 and columns == 1:
        given = given.reshape(-1, 1)
    if given.ndim != 2 or given.shape[1] != columns:
        cure = ""
        if given.ndim == 1 and columns > 1 and given.dtype.kind in "iu":
            cure = f': labels go with loss="cross_entropy", and np.eye({columns})[y] are rows for others'
        elif given.ndim == 2 and given.shape[1]:
            cure = f": a last layer of {given.shape[1]} outputs has so many"
        raise ValueError(f"y: expected targets of shape (batch, {columns}), got {given.shape}{cure}")
    return _validate.real(given, "y", dtype)


def labels(y: Any, classes: int) -> npt.NDArray[np.int64]:
    """Integer labels (rows,), 0 to classes - 1."""
    given = _validate.array(y, "y").reshape(-1)
    try:
        _validate.names(_validate.real(given, "y", np.float64) if given.dtype.kind == "f" else given, classes, "y")
    except ValueError as error:
        raise ValueError(f"{error}{_from_zero(given, classes)}") from None
    return _validate.contiguous(given, np.int64)


def _from_zero(labels: Array, classes: int) -> str:
    """What makes labels of 0 to classes - 1 out of others: the end of a message, or nothing."""
    if not (len(labels) and np.isfinite(labels).all() and (labels == np.floor(labels)).all()):
        return ""
    if labels.min() == 1 and labels.max() == classes:
        return ": they begin at 1, and y - 1 at 0"
    if len(np.unique(labels)) <= classes:
        return ": classes, y = np.unique(y, return_inverse=True) numbers them"
    return f": {len(np.unique(labels))} classes need as many outputs"


def is_labels(y: Array, n_out: int) -> bool:
    """Whether these are labels: one column, or one dimension, beside several outputs."""
    return n_out > 1 and (y.ndim == 1 or y.shape[1:] == (1,))


def not_binary(target: Array) -> Array:
    """Where a target is neither of the two values: -1, or 0 throughout, and 1."""
    wrong: Array = (target != 1) & (target != (-1 if (target < 0).any() else 0))
    return wrong


# What targets are to a metric.


@dataclass(frozen=True)
class Meaning:
    """What the targets of a network are: a loss says it once, and no metric guesses."""

    #: The targets of a sample; None: the loss is a function, of which nothing is known.
    targets: int | None = None
    #: Whether each column is a binary classification; None: y tells.
    multi_label: bool | None = None
    #: The score above which the prediction is 1; None: 0.5, for targets of 0 and 1.
    threshold: float | None = None

    def seen(self, y: Array) -> "Meaning":
        """With what y tells: whether its rows are classes, and whether it is -1 and 1."""
        found = self
        if self.threshold is None and is_signs(y):
            found = replace(found, threshold=0.0)
        if self.multi_label is None and y.ndim == 2 and y.shape[1] > 1:
            found = replace(found, multi_label=is_multi_label(y))
        return found

    def shaped(self, y: Array) -> Array:
        """The targets beside outputs (batch, n_out): values as (batch, n_targets), labels as (batch,)."""
        if y.ndim == 1 and self.targets == 1:
            return y.reshape(-1, 1)
        return y.reshape(-1) if self.multi_label is False and y.shape[1:] == (1,) != (self.targets,) else y


def is_signs(y: Array) -> bool:
    """Whether these are -1 and 1."""
    return bool(len(y) and y.min() == -1 and (abs(y) == 1).all())


def is_multi_label(y: Array) -> bool | None:
    """Whether these rows hold several labels: False, one each; None: they are neither labels nor classes."""
    if y.min() < 0 and not is_signs(y):
        return None
    ones = np.maximum(y, 0).sum(axis=1, dtype=np.float64)
    if (abs(ones - 1) < 1e-3).all():
        return False
    return True if np.isin(y, (-1, 0, 1)).all() else None


# Domains.


class Domain:
    """The targets that a loss takes: any numbers; a subclass restricts them."""

    def read(self, y: Any, width: int, dtype: npt.DTypeLike, owner: object) -> tuple[Array | None, Array | None]:
        """Targets as (rows, width) of this type, or labels as (rows,) int64; the other is None.

        What is not of the domain is refused; `owner` is who takes it, in the message.
        """
        return values(y, width, dtype), None

    def meaning(self, y: Array, width: int | None) -> Meaning:
        """What they are to the metrics; where the domain leaves it open, these tell."""
        return Meaning(width).seen(y)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, vars(self).values()))})"


class Interval(Domain):
    """Numbers from `low` to `high`, and what a message calls them."""

    def __init__(self, low: float, high: float, name: str) -> None:
        self.low, self.high, self.name = low, high, name

    def read(self, y: Any, width: int, dtype: npt.DTypeLike, owner: object) -> tuple[Array | None, Array | None]:
        """Targets (rows, width) in the interval."""
        target = values(y, width, dtype)
        _validate.between(target, self.low, self.high, "y", f"{owner!r} takes {self.name}")
        return target, None


class Probabilities(Interval):
    """Of each column, the probability that it is 1."""

    def meaning(self, y: Array, width: int | None) -> Meaning:
        """Several labels a sample."""
        return Meaning(width, multi_label=True, threshold=0.5)


class Distributions(Domain):
    """Rows of probabilities that sum to 1, one for each class."""

    def read(self, y: Any, width: int, dtype: npt.DTypeLike, owner: object) -> tuple[Array | None, Array | None]:
        """Targets (rows, width), each row a distribution."""
        target = values(y, width, dtype)
        _validate.between(target, 0, 1, "y", "each row is a distribution over the classes")
        sums = target.sum(axis=1)
        if len(target) and abs(sums - 1).max() > 1e-3:
            row = int(abs(sums - 1).argmax())
            raise ValueError(
                f"y: expected rows that sum to 1, got {sums[row]!s} in row {row}: each row is one of several classes; "
                "for several labels a row, a sigmoid and BinaryCrossEntropy, or Focal(multi_label=True)"
            )
        return target, None

    def meaning(self, y: Array, width: int | None) -> Meaning:
        """Classes."""
        return Meaning(width, multi_label=False, threshold=0.5)


class Classes(Distributions):
    """Labels where y has one column or one dimension, distributions where it has a column for each class."""

    def read(self, y: Any, width: int, dtype: npt.DTypeLike, owner: object) -> tuple[Array | None, Array | None]:
        """Labels (rows,), or distributions (rows, width)."""
        if width < 2:
            raise ValueError(f"{owner!r} expected at least 2 outputs, got {width}: for one, BinaryCrossEntropy")
        given = _validate.array(y, "y")
        return (None, labels(given, width)) if is_labels(given, width) else super().read(given, width, dtype, owner)


class Signs(Domain):
    """-1, or 0 throughout, and 1; or labels, beside several outputs."""

    def read(self, y: Any, width: int, dtype: npt.DTypeLike, owner: object) -> tuple[Array | None, Array | None]:
        """Labels (rows,), or targets (rows, width) of two values."""
        given = _validate.array(y, "y")
        if is_labels(given, width):
            return None, labels(given, width)
        target = values(given, width, dtype)
        for row, column in np.argwhere(not_binary(target))[:1]:
            raise ValueError(f"y: expected -1 and 1, or 0 and 1, got {target[row, column]!s} at row {row}")
        return target, None

    def meaning(self, y: Array, width: int | None) -> Meaning:
        """Labels are classes, and so are rows with a single 1; scores are cut at 0."""
        classes = width is not None and is_labels(y, width)
        return Meaning(width, multi_label=False if classes else None, threshold=0.0).seen(y)


NUMBERS, DISTRIBUTIONS, CLASSES, SIGNS = Domain(), Distributions(), Classes(), Signs()
PROBABILITIES = Probabilities(0, 1, "probabilities or 0 and 1 as targets")
COUNTS = Interval(0, np.inf, "counts as targets")


# Weights.


def class_weights(y: Any, class_weight: Any, n_out: int) -> Array:
    """Sample weights from class weights: the ``sample_weight`` of a loss by hand.

    Parameters
    ----------
    y : array_like
        Labels (batch,); or targets (batch, n_out), each row with a single 1, where else it has 0 or -1.
    class_weight : dict, array_like or "balanced"
        By label: a dict, in which those not named weigh 1; an array, one weight for each class; "balanced" weighs each
        class samples / (classes * its samples).
    n_out : int
        The outputs of the network, one for each class; 1 where there are two classes, 0 (or -1) and 1.

    Returns
    -------
    numpy.ndarray, shape (batch,)

    Examples
    --------
    >>> import backprop as bp
    >>> bp.losses.class_weights([0, 0, 0, 1], "balanced", 2)
    array([0.66666667, 0.66666667, 0.66666667, 2.        ])
    """
    n_out, given = _validate.integer(n_out, "n_out"), _validate.array(y, "y")
    _validate.some_rows(given, "y")
    labels, classes = _classes(given, n_out), max(n_out, 2)
    counts = np.bincount(labels, minlength=classes)
    if isinstance(class_weight, str):
        _validate.choice(class_weight, "class_weight", ["balanced"])
        by_class = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    elif isinstance(class_weight, dict):
        unknown = [key for key in class_weight if key not in range(classes)]
        if unknown:
            got = _validate.shown(unknown[0])
            raise ValueError(f"class_weight: expected labels 0 to {classes - 1}, got {got}")
        named = (class_weight.get(i, 1.0) for i in range(classes))
        by_class = np.array([_validate.number(weight, "class_weight", least=0) for weight in named])
    else:
        by_class = _validate.weights(class_weight, classes, "class_weight", "class")
    return _validate.weights(by_class[labels], len(labels), "class_weight", part=bool(by_class.any()))


def _classes(y: Array, n_out: int) -> Array:
    """The label of each sample."""
    if is_labels(y, n_out):
        return labels(y, n_out)
    target = values(y, n_out, np.float64)
    hot = target > 0
    if not_binary(target).any() or (n_out > 1 and (hot.sum(axis=1) != 1).any()):
        raise ValueError("class_weight: expected targets that are classes, got others")
    return hot.argmax(axis=1) if n_out > 1 else hot[:, 0].astype(np.int64)
