"""A loss on all rows, with its gradient and its Gauss-Newton matrix: what Levenberg-Marquardt minimizes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _validate
from ..program import engine
from ..program.data import Data
from ..program.objective import Objective
from . import rows, slopes

__all__ = ["Problem"]

Array = _validate.Array


class Problem:
    """A loss on some rows, in evaluation mode, at the present parameters of a network.

    Parameters
    ----------
    net : Sequential
        Without dropout, and without batch norms that would follow the rows.
    data : Data
    objective : Objective
        A built-in loss.
    threads : int or None
    optimizer : Optimizer
        Whom it is for, in messages.

    Attributes
    ----------
    scale : float
        What the loss is multiplied by, to be half of the sum of squared errors, or the sum of the rows' losses.
    n_residuals : int
    squared : bool
        Whether it is a mean squared error.
    """

    def __init__(self, net: Any, data: Data, objective: Objective, threads: int | None, optimizer: Any) -> None:
        self._plan = rows.plan_of(net, "optimizer")
        slopes.refuse_straight(objective)
        self._net, self._data, self._objective, self._threads = net, data, objective, threads
        n = len(net.parameters)
        _validate.fits_in_memory(
            2 * n * n, np.dtype(np.float64), f"{optimizer!r}, two matrices of {n} x {n} parameters"
        )
        for operation in net.graph:
            follows = operation.kind == "batch_norm" and operation.layer.effective_momentum()
            if follows or operation.kind == "dropout":
                cure = "freeze it, momentum=0" if follows else "leave it out"
                got = f"{operation.layer!r} in layer {operation.name}"
                raise ValueError(
                    f"optimizer: {optimizer!r} expected a network that is the same in training, got {got}: {cure}"
                )
        self.squared = objective.loss.kernel == "mean_squared_error" and objective.compiled
        self.n_residuals = len(data) * net.n_out
        self.scale = (data.weight if objective.mean else 1.0) * (net.n_out / 2 if self.squared else 1.0)
        self._factor, self._share = objective.penalty_factor(data), rows.shares(objective, data)

    def value(self) -> float:
        """The loss."""
        found = rows.outputs(self._net, self._plan, self._data.x, self._objective.on_logits)
        return self._objective.value_and_gradient(found, self._data)[0] + self._factor * self._plan.penalty()

    def value_and_gradient(self) -> tuple[float, Array]:
        """And its gradient, in double."""
        found = np.empty((len(self._data), self._net.n_out), self._net.dtype)
        self._plan.forward(self._data.x, found, training=False, logits=self._objective.on_logits)
        value, dy = self._objective.value_and_gradient(found, self._data)
        if dy is None:
            return math.nan, np.zeros(len(self._net.parameters))
        self._plan.backward(dy, None, self._factor)
        return value + self._factor * self._plan.penalty(), self._net.gradients.astype(np.float64)

    def curvature(self) -> Array:
        """The Gauss-Newton matrix, and the second derivatives of the penalties, in double."""
        found = rows.gauss_newton(self._net, self._data, self._objective, self._threads)
        for begin, end, _, l2 in engine.penalties_of(self._net):
            found[np.arange(begin, end), np.arange(begin, end)] += 2 * self._factor * l2
        return found

    def penalty(self) -> float:
        """What the penalties of the layers add to the loss."""
        return self._factor * self._plan.penalty()

    def squares(self) -> float:
        """The sum of the squared errors, each times the weight of its row."""
        return 2 * self.scale * (self.value() - self.penalty())
