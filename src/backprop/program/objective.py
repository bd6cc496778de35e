"""The objective: a loss on a network. What is computed, on what, and what metrics see, is decided here, once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import _core, _validate, losses, metrics
from ..targets import Meaning
from .data import Data
from .graph import Operation

__all__ = ["Objective"]

Array = _validate.Array


class Objective:
    """A loss on a network.

    Parameters
    ----------
    loss : Loss, str or callable
        One that does not take the outputs of the network is refused.
    last : Operation
        What the network ends in.

    Attributes
    ----------
    loss : Loss
    n_out : int
        Outputs of the network.
    on_logits : bool
        Whether the loss is computed on the logits, without the last activation, which is its link.
    compiled : bool
        Whether the compiled core has its formula; else it is called, on the outputs.
    mean : bool
        Whether the loss of some rows is their mean, not their sum.
    """

    def __init__(self, loss: Any, last: Operation) -> None:
        self.loss, self.n_out, self._end = losses.get(loss), last.n_out, last.activation
        #: Of a loss of derivatives: that on the network, a `derivatives.equations.OnNetwork`.
        self.derivatives: Any = None
        self.compiled, self.mean = bool(self.loss.compiled), self.loss.reduction == "mean"
        if self.compiled:
            self.loss.check_end(last.layer)
        fuses = self.compiled and self.loss.fuses(self._end.name, self.n_out)
        self.on_logits = bool(fuses and last.kind != "python")  # in a custom layer no logits can be reached

    def __repr__(self) -> str:
        where = "the logits" if self.on_logits else "the outputs"
        return f"<Objective {self.loss!r} on {where}, {'in the core' if self.compiled else 'called'}>"

    def single(self) -> Objective:
        """The same, where it is one number; others are refused."""
        if self.loss.reduction == "none":
            raise ValueError('loss: expected a single number, got reduction="none": take "mean" or "sum"')
        return self

    def penalty_factor(self, data: Data) -> float:
        """How often the penalties of the layers count in the loss of some rows."""
        return 1 / (data.weight or math.inf) if self.loss.shares_penalties and self.mean else 1.0

    def total(self, value: float, data: Data) -> float:
        """The loss of some rows as what it adds to an epoch's sum."""
        return value * data.weight if self.mean else value

    def meaning(self, y: Any) -> Meaning:
        """What targets are to the metrics."""
        found: Meaning = self.loss.meaning(y, self.n_out)
        return found

    def outputs(self, found: Array) -> Array:
        """The outputs of the network, in the place of what the loss was computed on."""
        if self.on_logits:
            self._end.apply(found)
        return found

    def scores(self, outputs: Array, y: Array) -> tuple[Array, float]:
        """Outputs as probabilities, where the loss knows them; and above what one column says yes."""
        threshold = self.meaning(y).threshold
        return self.loss.metric_outputs(outputs), 0.5 if threshold is None else threshold

    def measure(
        self, measured: Mapping[str, Callable[..., float]], outputs: Array, y: Array, meaning: Meaning | None
    ) -> dict[str, float]:
        """The metrics of outputs beside targets; without a meaning, these targets tell it."""
        meaning = self.meaning(y) if meaning is None else meaning
        return metrics.measure(measured, self.loss.metric_outputs(outputs), y, meaning)

    def value(self, found: Array, data: Data) -> float:
        """The loss of some rows."""
        return self._call(found, data)[0] if self.derivatives is None else float(self.derivatives.value(data))

    def value_and_gradient(self, found: Array, data: Data) -> tuple[float, Array | None]:
        """The loss of some rows and its gradient with respect to what it is computed on; NaN and None for numbers that
        are not finite.
        """
        if not _core.all_finite(found.reshape(-1)):
            return math.nan, None
        if self.compiled and not self.on_logits:
            self.loss.check_outputs(found)
        value, dy = self._call(found, data)
        return value, _validate.matrix(dy, "dy", self.n_out, found.dtype) if math.isfinite(value) else None

    def _call(self, found: Array, data: Data) -> tuple[float, Any]:
        if self.compiled:
            target = None if data.target is None else np.asarray(data.target)
            value, dy = self.loss.on(found, target, data.labels, data.weights, logits=self.on_logits)
            return float(np.sum(value)), dy
        if not data.weight:  # a batch may count for nothing
            return 0.0, np.zeros_like(found)
        arguments = (found, data.y) if data.weights is None else (found, data.y, data.weights)
        return self._checked(self.loss(*arguments), found, data.y)

    def _checked(self, returned: Any, found: Array, y: Array) -> tuple[float, Any]:
        """What a custom loss returned; its numbers are not looked at yet."""
        value = np.asarray(returned[0] if isinstance(returned, (tuple, list)) and len(returned) == 2 else None)
        shape = (len(found),) if self.loss.reduction == "none" else ()
        if value.shape != shape or value.dtype.kind not in "fiu":
            raise TypeError(f"loss: expected {self.loss!r} to return (value, dy), got {_validate.shown(returned)}")
        dy = _validate.array(returned[1], "dy")
        if dy.shape[1:] != (self.n_out,):
            cure = f": y is {y.shape} beside y_hat {found.shape}" if y.shape != found.shape else ""
            raise ValueError(
                f"dy: expected an array of shape (batch, {self.n_out}), as y_hat has, got {dy.shape}{cure}"
            )
        if len(dy) != len(found):
            raise ValueError(f"dy: expected the {len(found)} rows of y_hat, got {len(dy)}")
        return float(value.sum()), dy
