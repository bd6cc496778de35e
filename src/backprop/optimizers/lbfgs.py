"""L-BFGS: a quasi-Newton method for full batches."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from .. import _validate
from .._validate import Array
from ..errors import DivergedError
from . import linesearch
from .base import FullBatch, Parameters, Rate, check_vector

__all__ = ["LBFGS"]


#: The loss and its gradient at the present parameters.
Evaluate = Callable[[], tuple[float, Array]]


@runtime_checkable
class KeepsStatistics(Protocol):
    """A network whose running statistics follow in the end, from the rows that its loss was computed on."""

    def _statistics_follow(self) -> AbstractContextManager[list[Array]]: ...


class LBFGS(FullBatch):
    """Limited-memory BFGS, a quasi-Newton method for full batches: p -= step H g, with the step of a line search.

    H approximates the inverse of the Hessian, from how g changed over the last steps. In a `fit` an epoch is one
    iteration on all rows, whatever the batch_size; the dropout masks are the same in all of them. After it, the running
    statistics of a `BatchNorm` are those of all rows under the new parameters.

    Parameters
    ----------
    learning_rate : float, default 1.0
        The step size that a line search tries first; 1 is Newton's.
    history_size : int, default 10
        From how many of the last steps H is computed.
    tolerance : float, default 1e-7
        Where no element of the gradient is larger, this is the minimum, and no step is taken; at least 0.
    max_evaluations : int, default 25
        How many step sizes a line search tries at most.

    Notes
    -----
    The steps and the changes of the gradient are its state, under the number of their iteration: s7, y7. A line search
    that finds no lower point clears this history; the next is one of steepest descent. Frozen parameters stay as they
    are.

    References
    ----------
    Nocedal and Wright, "Numerical optimization", 2nd ed. 2006, algorithms 7.4 and 7.5; the line search is 3.5 and 3.6.
    PyTorch's makes 20 such iterations in a step, and has a strong Wolfe line search only if asked.
    """

    _gates: ClassVar = {
        "history_size": partial(_validate.integer, least=1, most=1000), "tolerance": _validate.not_negative,
        "max_evaluations": partial(_validate.integer, least=1, most=1000),
    }  # fmt: skip

    def __init__(
        self,
        learning_rate: Rate = 1.0,
        *,
        history_size: int = 10,
        tolerance: float = 1e-7,
        max_evaluations: int = 25,
    ) -> None:
        super().__init__(learning_rate)
        self.history_size = history_size
        self.tolerance = tolerance
        self.max_evaluations = max_evaluations

    def minimize(self, net: Parameters, evaluate: Evaluate, iterations: int = 1) -> list[float]:
        """Make iterations.

        Parameters
        ----------
        net : Sequential
            Whose trainable parameters are changed.
        evaluate : callable
            The loss and its gradient at the present parameters: ``lambda: net.value_and_gradient(x, y, loss)``. In the
            end, the running statistics of a `BatchNorm` are those of the rows that it saw there.
        iterations : int, default 1
            How many.

        Returns
        -------
        list of float
            The loss before each.

        Raises
        ------
        DivergedError
            If the loss or its gradient is not finite where it begins.
        """
        iterations = _validate.integer(iterations, "iterations", 0)
        self.ready(net)
        frozen = np.ones(net.parameters.shape, bool)
        for begin, end in net.trainable_ranges:
            frozen[begin:end] = False
        rows: list[Array]

        def evaluate_trainable() -> tuple[float, Array]:
            before, rows[:] = rows[:], []
            try:
                value, gradient = evaluate()
            finally:
                rows[:] = rows or before
            return value, np.where(frozen, 0, gradient)

        with net._statistics_follow() if isinstance(net, KeepsStatistics) else nullcontext([]) as rows:
            return self._iterate(net, evaluate_trainable, iterations)

    def _iterate(self, net: Parameters, evaluate: Evaluate, iterations: int) -> list[float]:
        value, gradient = evaluate()
        if not (math.isfinite(value) and np.isfinite(gradient).all()):
            raise DivergedError(f"the loss is {value:g} before the first step", epoch=0, batch=self.steps)
        values, searching = [], True
        for _ in range(iterations):
            values.append(value)
            if searching and float(abs(gradient).max(initial=0)) > self.tolerance:
                has_history = bool(self.state)
                found = self._search(net, evaluate, value, gradient)
                value, gradient = found.value, found.gradient
                searching = has_history or found.step > 0  # where steepest descent finds nothing, nothing will be found
            self.steps += 1
        return values

    def check_state(self, state: Mapping[str, Array], steps: int, parameters: Array) -> None:
        """As that of `Optimizer`: pairs of a step and a change of the gradient, of positive curvature."""
        numbers = sorted(int(name[1:]) for name in state if re.fullmatch("s(0|[1-9][0-9]{0,18})", name))
        if state.keys() != {f"{letter}{i}" for letter in "sy" for i in numbers} or len(numbers) > self.history_size:
            raise ValueError(
                f"state: expected up to {self.history_size} pairs s0 and y0..., got {_validate.shown([*state])}"
            )
        if numbers and numbers[-1] >= steps:
            raise ValueError(f"state: expected pairs of {steps} iterations, got one of iteration {numbers[-1]}")
        for name, vector in state.items():
            check_vector(name, vector, parameters)
        for i in numbers:
            with np.errstate(over="ignore", invalid="ignore"):
                curvature = _dot(state[f"s{i}"], state[f"y{i}"])
            if not (curvature > 0 and math.isfinite(curvature)):
                raise ValueError(f"state: expected positive curvature s{i} y{i}, got {curvature}")

    def _search(self, net: Parameters, evaluate: Evaluate, value: float, gradient: Array) -> linesearch.Point:
        """Move to where a line search ends, and add the step to the history."""
        first, begin, direction = float(self.rates(1)[0]), net.parameters.copy(), self._direction(gradient)
        if not (np.isfinite(direction).all() and _dot(direction, gradient) < 0):
            self.state.clear()
        if not self.state:  # steepest descent, of unknown scale
            direction, first = -gradient, first * min(1.0, 1 / float(abs(gradient).sum(dtype=np.float64)))

        def at(step: float) -> linesearch.Point:
            net.parameters[...] = begin + step * direction
            value, gradient = evaluate()
            return linesearch.Point(step, value, _dot(gradient, direction), gradient)

        found = start = linesearch.Point(0.0, value, _dot(gradient, direction), gradient)
        noise = 10 * float(np.finfo(begin.dtype).eps) * abs(value)
        with np.errstate(over="ignore", invalid="ignore"):  # a step that is too large is seen by its loss
            try:
                found = linesearch.strong_wolfe(at, start, first, self.max_evaluations, noise=noise)
            finally:
                net.parameters[...] = begin + found.step * direction
                net.gradients[...] = found.gradient
            self._update_history(net.parameters - begin, found.gradient - gradient)
        return found

    def _direction(self, gradient: Array) -> Array:
        """-H g, by two loops over the history (algorithm 7.4)."""
        direction, pairs, alphas = -gradient, self._history(), []
        for s, y in reversed(pairs):
            alphas.append(_dot(s, direction) / _dot(s, y))
            direction -= alphas[-1] * y
        if pairs:
            s, y = pairs[-1]
            direction *= _dot(s, y) / _dot(y, y)
        for s, y in pairs:
            direction += (alphas.pop() - _dot(y, direction) / _dot(s, y)) * s
        return direction

    def _history(self) -> list[tuple[Array, Array]]:
        """The steps and the changes of the gradient, the oldest first."""
        when = sorted(int(name[1:]) for name in self.state if name.startswith("s"))
        return [(self.state[f"s{i}"], self.state[f"y{i}"]) for i in when]

    def _update_history(self, s: Array, y: Array) -> None:
        """Add a step, if its curvature is positive, and drop the oldest; clear it where there was no step."""
        if not s.any():
            self.state.clear()
        elif _dot(s, y) > np.finfo(s.dtype).eps * _dot(y, y):
            self.state |= {f"s{self.steps}": s, f"y{self.steps}": y}
            oldest = self.steps - self.history_size
            self.state = {name: v for name, v in self.state.items() if int(name[1:]) > oldest}


def _dot(a: Array, b: Array) -> float:
    """The sum of products in double, in an order that depends on nothing but the length."""
    return float(np.multiply(a, b, dtype=np.float64).sum())
