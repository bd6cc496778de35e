"""Losses: one number for how far a prediction is from its target, and its gradient.

A loss is called as ``loss(y_hat, y, sample_weight=None) -> (value, dy)``; the value is exactly the number whose
gradient is returned. Within a row the outputs are averaged; `reduction` then says what becomes of the rows, whose
losses are l and whose weights are w (1 where none are given):

======== ======================
"mean"   sum(w l) / sum(w)
"sum"    sum(w l)
"none"   w l, one for each row; the gradient is that of their sum
======== ======================
"""

from typing import Any, ClassVar

import numpy as np

from . import _core, _validate

__all__ = ["BinaryCrossEntropy", "CrossEntropy", "Loss", "MeanSquaredError"]

Array = _validate.Array


def running_sum(values: Array) -> float:
    """The sum from first to last, as the compiled core adds."""
    return float(np.add.accumulate(values)[-1])


class Loss:
    """What all losses have.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the losses of the rows.
    """

    kernel: ClassVar[str]
    #: The activation that turns logits into the probabilities this loss takes; computed together, on the logits.
    link: ClassVar[str | None] = None
    from_logits: bool = False
    smoothing: float = 0.0
    #: The layers' penalties are divided by the weight of the rows, as the losses are in the mean, and not added to it.
    shares_penalties: bool = False

    def __init__(self, *, reduction: str = "mean") -> None:
        self.reduction = _validate.choice(reduction, "reduction", ("mean", "sum", "none"))

    def __call__(self, y_hat: Any, y: Any, sample_weight: Any = None) -> tuple[Any, Array]:
        """The loss, and its gradient with respect to y_hat.

        Parameters
        ----------
        y_hat : array_like, shape (batch, n_out)
            What the network answered. float32 and float64 keep their type, anything else becomes float64.
        y : array_like
            The targets: (batch, n_out), or (batch,) where n_out is 1; for cross-entropy, labels (batch,).
        sample_weight : array_like, shape (batch,), optional
            How much each row counts. Default: all the same.

        Returns
        -------
        value : float
            The loss; with ``reduction="none"`` an array (batch,).
        dy : numpy.ndarray, shape (batch, n_out)
            The gradient of the value (of its sum, where it is an array) with respect to y_hat.
        """
        given = _validate.array(y_hat, "y_hat")
        if given.ndim != 2 or given.shape[1] == 0:
            raise ValueError(f"y_hat: expected an array of shape (batch, n_out), got {given.shape}")
        y_hat = _validate.real(given, "y_hat", np.float32 if given.dtype == np.float32 else np.float64)
        _validate.some_rows(y_hat, "y_hat")
        target, labels = self.targets(y, y_hat.shape[1], y_hat.dtype)
        _validate.same_rows(len(y_hat), y=labels if target is None else target)
        if self.link and not self.from_logits:
            _validate.between(y_hat, 0, 1, "y_hat", f"{self!r} takes probabilities; for logits, from_logits=True")
        weights = None if sample_weight is None else _validate.weights(sample_weight, len(y_hat))
        return self.on(y_hat, target, labels, weights)

    def on(
        self, y_hat: Array, target: Array | None, labels: Array | None, weights: Array | None, *, logits: bool = False
    ) -> tuple[Any, Array]:
        """`__call__` on arrays that have passed the gate; with logits, y_hat is what lies beneath the probabilities."""
        total = len(y_hat) if weights is None else running_sum(weights)
        norm = 1 / total if self.reduction == "mean" else 1.0
        values, dy = np.empty(len(y_hat)), np.empty_like(y_hat)
        _core.loss(self.lower(logits), y_hat, target, labels, weights, norm, values, dy)
        if weights is not None:
            values *= weights
        if self.reduction == "none":
            return values, dy
        value = running_sum(values)
        return (value / total if self.reduction == "mean" else value), dy

    def targets(self, y: Any, n_out: int, dtype: Any) -> tuple[Array | None, Array | None]:
        """The targets as (rows, n_out) of this type, or the labels as (rows,) int64; the other is None."""
        return _validate.targets(y, n_out, dtype), None

    def lower(self, logits: bool) -> tuple[int, bool, float]:
        """How the compiled core calls this loss."""
        return _core.LOSSES[self.kernel], self.from_logits or logits, self.smoothing

    def __repr__(self) -> str:
        words = {"from_logits": False, "label_smoothing": 0.0, "reduction": "mean"}
        given = [f"{k}={getattr(self, k)!r}" for k, default in words.items() if getattr(self, k, default) != default]
        return f"{type(self).__name__}({', '.join(given)})"


class MeanSquaredError(Loss):
    """l = 1/n_out sum (y_hat - y)^2.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the losses of the rows.
    """

    kernel = "mean_squared_error"


class BinaryCrossEntropy(Loss):
    """l = -1/n_out sum y log p + (1 - y) log(1 - p), for targets between 0 and 1.

    Parameters
    ----------
    from_logits : bool, default False
        y_hat holds the logits z with p = sigmoid(z), not the probabilities p.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the losses of the rows.

    Notes
    -----
    Under a network that ends in a sigmoid it is computed on the logits, as max(z, 0) - z y + log(1 + e^-|z|), which
    cannot overflow; its gradient there is p - y. On probabilities by hand, log p below the smallest normal number goes
    on as its tangent, so that value and gradient stay finite, and consistent.

    References
    ----------
    Bishop, "Pattern Recognition and Machine Learning", 2006, eq. 4.90 and 4.91.
    """

    kernel = "binary_cross_entropy"
    link = "sigmoid"

    def __init__(self, *, from_logits: bool = False, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.from_logits = _validate.flag(from_logits, "from_logits")

    def targets(self, y: Any, n_out: int, dtype: Any) -> tuple[Array | None, Array | None]:
        """The targets, all between 0 and 1."""
        target = _validate.targets(y, n_out, dtype)
        _validate.between(target, 0, 1, "y", "binary cross-entropy takes probabilities or 0 and 1 as targets")
        return target, None


class CrossEntropy(Loss):
    """l = -sum q log p, with q the target distribution over the classes: one at the label, or the row given.

    Parameters
    ----------
    from_logits : bool, default False
        y_hat holds the logits z with p = softmax(z), not the probabilities p.
    label_smoothing : float, default 0
        s in q (1 - s) + s / n_out; at least 0, below 1.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the losses of the rows.

    Notes
    -----
    Targets are integer labels (batch,), or rows that sum to one (batch, n_out). Under a network that ends in a softmax
    it is computed on the logits, as log(sum e^z) - sum q z, which cannot overflow; its gradient there is p - q.

    References
    ----------
    Bishop, "Pattern Recognition and Machine Learning", 2006, eq. 4.108 and 4.109; label smoothing: Szegedy et al.,
    "Rethinking the Inception architecture", CVPR 2016, section 7.
    """

    kernel = "cross_entropy"
    link = "softmax"

    def __init__(self, *, from_logits: bool = False, label_smoothing: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.from_logits = _validate.flag(from_logits, "from_logits")
        self.label_smoothing = self.smoothing = _validate.number(label_smoothing, "label_smoothing", least=0, below=1)

    def targets(self, y: Any, n_out: int, dtype: Any) -> tuple[Array | None, Array | None]:
        """Labels where y has one column or one dimension, distributions where it has a column for each class."""
        if n_out < 2:
            raise ValueError(f"{self!r} expected at least 2 outputs, got {n_out}: for one, BinaryCrossEntropy")
        given = _validate.array(y, "y")
        if given.ndim == 1 or given.shape[1:] == (1,):
            return None, _validate.labels(given, n_out)
        target = _validate.targets(given, n_out, dtype)
        _validate.between(target, 0, 1, "y", "cross-entropy takes labels, or rows of probabilities")
        sums = target.sum(axis=1)
        if len(target) and abs(sums - 1).max() > 1e-3:
            row = int(abs(sums - 1).argmax())
            raise ValueError(f"y: expected rows that sum to 1, got {sums[row]!s} in row {row}")
        return target, None


_TABLE: dict[str, type[Loss]] = {
    "mse": MeanSquaredError,
    "mean_squared_error": MeanSquaredError,
    "binary_cross_entropy": BinaryCrossEntropy,
    "cross_entropy": CrossEntropy,
}


def get(loss: Any) -> Any:
    """The loss that a name stands for; a `Loss` or any other callable stands for itself."""
    if isinstance(loss, type):
        name = loss.__name__
        raise TypeError(f"loss: expected a name or an object, got the class {name}: call it, {name}()")
    if isinstance(loss, Loss) and type(loss).__call__ is not Loss.__call__:
        return loss.__call__  # a user's own formula, which the compiled core does not know
    if isinstance(loss, Loss) and not hasattr(loss, "kernel"):
        raise TypeError(f"loss: expected one that says what it computes, got {loss!r}: use a subclass of Loss")
    if callable(loss):
        return loss
    return _TABLE[_validate.choice(loss, "loss", _TABLE)]()
