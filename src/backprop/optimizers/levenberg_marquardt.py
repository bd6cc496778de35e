"""Levenberg-Marquardt: Gauss-Newton steps on all rows, damped as far as the loss demands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from .. import _core, _validate
from .._validate import Array
from ..errors import DivergedError
from .base import FullBatch, Parameters

__all__ = ["LevenbergMarquardt"]

#: What mu stays above, however many steps succeed.
LEAST_MU = 1e-20
#: Regularization begins when the sum of squared errors falls by less than to this part of it in a step.
FALLING = 0.98


@runtime_checkable
class Problem(Protocol):
    """A loss on some rows, of which more than the gradient is known."""

    #: What the loss is multiplied by to be half of a sum of squares, or the sum of the rows' losses.
    scale: float
    #: Numbers that are fitted, and whether the loss is their mean squared error.
    n_residuals: int
    squared: bool

    def value(self) -> float:
        """The loss at the present parameters."""
        ...

    def value_and_gradient(self) -> tuple[float, Array]:
        """And its gradient, in double."""
        ...

    def curvature(self) -> Array:
        """Its Gauss-Newton matrix, in double."""
        ...

    def squares(self) -> float:
        """The sum of the squared errors."""
        ...


class LevenbergMarquardt(FullBatch):
    """Levenberg-Marquardt, for small networks on all rows: p -= (J^T J + mu I)^-1 J^T e, with errors e and Jacobian J.

    Where a step makes the loss fall, it is taken, and mu becomes smaller: then steps are those of Gauss and Newton,
    which converge in a few iterations. Where not, mu becomes larger and the step shorter, until one does. In a `fit` an
    epoch is one iteration on all rows, whatever the batch_size. Defaults and names are those of MATLAB's ``trainlm``,
    and of ``trainbr`` with ``bayesian=True``.

    Parameters
    ----------
    mu : float, optional
        What damping begins with. Default: 0.001, or 0.005 if Bayesian.
    mu_dec, mu_inc : float, default 0.1 and 10
        What it is multiplied by after a step that was taken, and after one that was not.
    mu_max : float, default 1e10
        The fit ends when mu is larger: no step makes the loss fall.
    goal : float, default 0
        The fit ends when the loss is not larger.
    min_grad : float, default 1e-7
        The fit ends when the norm of the gradient J^T e is smaller.
    max_fail : int, default 6
        With validation data, the fit ends when their loss has not been at its lowest for so many epochs; the network
        has the parameters of that epoch then.
    bayesian : bool, default False
        Bayesian regularization of a squared error: minimize beta E_D + alpha E_W, the sums of the squares of errors and
        of parameters, with alpha and beta from the data themselves, anew after each step. The history tells the
        effective number of parameters, gamma = N - alpha tr (beta J^T J + alpha I)^-1: where it stays well below N, the
        network is large enough, and further units would not be used.

    Attributes
    ----------
    stopped : str
        What ended the last fit: "goal", "min_grad", "mu_max", "max_fail", or "" where its epochs did.

    Notes
    -----
    For a mean squared error, e are the differences, each times the root of its row's weight. For other losses it is the
    Gauss-Newton matrix in the place of J^T J (`Sequential.gauss_newton`): cross-entropies and others that are convex in
    the outputs converge as well. All in evaluation mode, so a `Dropout`, or a `BatchNorm` that is not frozen, is
    refused. An iteration takes rows * n_out * n^2 + n^3 / 3 multiply-adds and two matrices of n^2 numbers in double,
    for n parameters: some thousand at most. Frozen parameters stay as they are. It is worth float64.

    Steps of ten are coarse: where the loss falls slowly along a bent valley, ``mu_dec=0.3, mu_inc=3`` mostly gets
    further in as many iterations.

    References
    ----------
    Hagan and Menhaj, "Training feedforward networks with the Marquardt algorithm", IEEE Transactions on Neural Networks
    5, 1994. Bayesian: MacKay, "Bayesian interpolation", Neural Computation 4, 1992; Foresee and Hagan, "Gauss-Newton
    approximation to Bayesian learning", ICNN 1997.
    """

    _always: ClassVar = ()
    _gates: ClassVar = {
        "mu": _validate.optional(_validate.positive), "mu_dec": partial(_validate.number, above=0, below=1),
        "mu_inc": partial(_validate.number, above=1), "mu_max": _validate.positive, "goal": _validate.not_negative,
        "min_grad": _validate.not_negative, "max_fail": _validate.integer, "bayesian": _validate.flag,
    }  # fmt: skip

    stopped = ""
    #: The parameters of the epoch with the lowest loss on the validation data.
    _best: tuple[Array, ...] = ()

    def __init__(
        self,
        *,
        mu: float | None = None,
        mu_dec: float = 0.1,
        mu_inc: float = 10.0,
        mu_max: float = 1e10,
        goal: float = 0.0,
        min_grad: float = 1e-7,
        max_fail: int = 6,
        bayesian: bool = False,
    ) -> None:
        self.state, self._owner = {}, None
        self.mu = mu
        self.mu_dec = mu_dec
        self.mu_inc = mu_inc
        self.mu_max = mu_max
        self.goal = goal
        self.min_grad = min_grad
        self.max_fail = max_fail
        self.bayesian = bayesian

    needs_problem = True

    @property
    def reports(self) -> tuple[str, ...]:
        """What the history tells of each iteration, beside the loss."""
        return ("mu", "effective_parameters") if self.bayesian else ("mu",)

    def slots(self) -> tuple[str, ...]:
        """Numbers, each as a vector of it, so that checkpoints hold them."""
        return ("mu", "alpha", "beta", "errors", "effective_parameters") if self.bayesian else ("mu",)

    def _initial(self, name: str, net: Any) -> Array:
        start = (0.005 if self.bayesian else 0.001) if self.mu is None else self.mu
        return np.full_like(net.parameters, start if name == "mu" else 0)

    def check_state(self, state: Mapping[str, Array], steps: int, parameters: Array) -> None:
        """As that of `Optimizer`: each vector holds one number, which is not negative."""
        super().check_state(state, steps, parameters)
        for name, vector in state.items():
            if len(vector) and (vector.min() < 0 or (vector != vector[0]).any()):
                raise ValueError(f"state: expected one number, at least 0, throughout {name}, got others")

    def _number(self, name: str) -> float:
        return float(self.state[name][0]) if len(self.state[name]) else 0.0

    def minimize(self, net: Parameters, evaluate: Any, iterations: int = 1) -> list[float]:
        """Make iterations: what a `fit` calls.

        Parameters
        ----------
        net : Sequential
            Whose trainable parameters are changed.
        evaluate : Problem
            The loss on all rows, with its gradient and its Gauss-Newton matrix.
        iterations : int, default 1
            How many, at most: it stops where ``stopped`` says why.

        Returns
        -------
        list of float
            The loss before each.

        Raises
        ------
        DivergedError
            If the loss or its gradient is not finite where it begins.
        """
        if not isinstance(evaluate, Problem):
            raise TypeError(f"evaluate: expected a fit with {self!r}, which has more than the gradient, got a function")
        if self.bayesian and not evaluate.squared:
            raise ValueError(f"loss: expected a mean squared error with {self!r}, got another")
        iterations = _validate.integer(iterations, "iterations", 0)
        self.ready(net)
        free = np.concatenate([np.arange(begin, end) for begin, end in net.trainable_ranges] or [np.arange(0)])
        losses: list[float] = []
        self.stopped, self.reported = "", {name: [] for name in self.reports}
        while len(losses) < iterations and not self.stopped:
            losses.append(self._iterate(net, evaluate, free))
            self.steps += 1
            for name, values in self.reported.items():
                values.append(self._number(name))
        if self.stopped == "mu_max":  # another fit begins anew
            self.state["mu"] = self._initial("mu", net)
        return losses

    def _iterate(self, net: Parameters, problem: Problem, free: Array) -> float:
        """A step, if there is one that helps; the loss before it."""
        value, gradient = problem.value_and_gradient()
        if not (math.isfinite(value) and np.isfinite(gradient).all()):
            raise DivergedError(f"the loss is {value:g} before the first step", epoch=0, batch=self.steps)
        self.stopped = "goal" if value <= self.goal else "" if len(free) else "min_grad"
        if self.stopped:
            return value
        slope = problem.scale * gradient[free]
        bend = problem.scale * problem.curvature()[np.ix_(free, free)]
        alpha, beta = self._regularize(net.parameters[free], bend, problem) if self.bayesian else (0.0, 1.0)
        slope = beta * slope + alpha * net.parameters[free]
        bend *= beta
        if np.sqrt(np.square(slope).sum()) < self.min_grad:
            self.stopped = "min_grad"
        elif not self._search(net, problem, free, slope, bend, alpha, beta):
            self.stopped = "mu_max"
        return value

    def _search(
        self, net: Parameters, problem: Problem, free: Array, slope: Array, bend: Array, alpha: float, beta: float
    ) -> bool:
        """Move to where the loss is lower; whether there is such a place."""
        begin, mu, least = net.parameters.copy(), self._number("mu"), self._measure(net, problem, free, alpha, beta)
        diagonal = np.arange(len(free))
        while mu <= self.mu_max:
            damped, step = bend.copy(), -slope
            damped[diagonal, diagonal] += mu + alpha
            factor = _core.Cholesky(damped)
            if factor.positive:
                factor.solve(step)
                with np.errstate(over="ignore", invalid="ignore"):  # a step that is too large is seen by its loss
                    net.parameters[free] = begin[free] + step
                    found = self._measure(net, problem, free, alpha, beta)
                if found < least:
                    self.state["mu"][...] = max(mu * self.mu_dec, LEAST_MU)
                    return True
                net.parameters[...] = begin
            mu *= self.mu_inc
        self.state["mu"][...] = mu
        return False

    def _measure(self, net: Parameters, problem: Problem, free: Array, alpha: float, beta: float) -> float:
        """What a step is to make smaller."""
        if not np.isfinite(net.parameters).all():
            return math.inf
        if not self.bayesian:
            return problem.value()
        return beta * problem.squares() + alpha * float(np.square(net.parameters[free], dtype=np.float64).sum())

    def _regularize(self, weights: Array, bend: Array, problem: Problem) -> tuple[float, float]:
        """The weights alpha and beta, from what those before have come to (MacKay 1992).

        They begin at 0 and 1, and stay so as long as the errors fall fast: far from a fit, alpha would be so large that
        all parameters vanish, which is a minimum too.
        """
        n, gamma, errors = len(weights), float(len(weights)), problem.squares()
        alpha, beta, before = (self._number(name) for name in ("alpha", "beta", "errors"))
        self.state["errors"][...] = errors
        if beta == 0 and (before == 0 or errors < FALLING * before):
            self.state["effective_parameters"][...] = n
            return 0.0, 1.0
        if beta > 0:
            factor = _core.Cholesky(beta * bend + alpha * np.eye(n))
            if factor.positive:
                gamma = max(0.0, n - alpha * factor.inverse_trace())
        gamma = min(gamma, problem.n_residuals / 2)
        sizes = float(np.square(weights, dtype=np.float64).sum())
        alpha = gamma / (2 * sizes) if sizes > 0 else 1.0
        beta = (problem.n_residuals - gamma) / (2 * errors) if errors > 0 else 1.0
        for name, number in (("alpha", alpha), ("beta", beta), ("effective_parameters", gamma)):
            self.state[name][...] = number
        return alpha, beta

    def over(self, run: Any) -> bool:
        """Whether a fit is to end after this epoch; where validation says so, with the parameters of the best one."""
        values = run.history.get("val_loss", [])
        best = int(np.argmin(values)) if len(values) else 0
        if len(values) and best == len(values) - 1:
            self._best = (run.network.parameters.copy(),)
        elif not self.stopped and len(values) - 1 - best >= self.max_fail:
            self.stopped = "max_fail"
            for parameters in self._best:
                run.network.parameters[...] = parameters
        return bool(self.stopped)
