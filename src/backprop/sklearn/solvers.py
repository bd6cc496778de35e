"""What minimizes the loss: an optimizer, epoch by epoch, or SciPy's L-BFGS, as scikit-learn's solvers do."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import cache, partial
from numbers import Real
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from threadpoolctl import ThreadpoolController

from .. import _validate, optimizers
from ..network import Sequential
from .data import Rows
from .head import Head

__all__ = ["OPTIMIZER_PARAMETERS", "check_parameters", "lbfgs", "optimizer"]

Array = _validate.Array

#: The parameters that an optimizer is made from.
OPTIMIZER_PARAMETERS = (
    "optimizer", "solver", "learning_rate", "learning_rate_init", "momentum", "nesterovs_momentum", "beta_1", "beta_2",
    "epsilon", "clip_norm", "clip_value",
)  # fmt: skip

#: The parameters that only make sense epoch by epoch, and the value that leaves them unused.
EPOCHS_ONLY: dict[str, Any] = {
    "dropout": 0.0, "batch_norm": False, "clip_norm": None, "clip_value": None, "callbacks": (), "progress": False,
}  # fmt: skip


def check_parameters(mlp: Any, validated: bool) -> None:
    """Refuse the parameters that the solver, or a given optimizer, would ignore."""
    if mlp._lbfgs:
        ignored = [name for name, unused in EPOCHS_ONLY.items() if getattr(mlp, name) not in (unused, None)]
        ignored += ["learning_rate"] * callable(mlp.learning_rate) + ["X_val"] * validated
        if ignored:
            raise ValueError(f"{', '.join(ignored)}: expected a solver that goes epoch by epoch, got solver='lbfgs'")
    if mlp.optimizer is None:
        return
    ignored = [name for name in ("clip_norm", "clip_value") if getattr(mlp, name) is not None]
    ignored += ["learning_rate"] * (mlp.learning_rate != "constant")
    if ignored:
        got = ", ".join(f"{name}={_validate.shown(getattr(mlp, name))}" for name in ignored)
        raise ValueError(
            f"{ignored[0]}: expected it in the optimizer, such as optimizer=Adam(schedule, clip_norm=1.0), or by a "
            f"callback, such as ReduceOnPlateau, got {got} beside {_validate.shown(mlp.optimizer)}"
        )


def optimizer(mlp: Any, scale: float) -> optimizers.Optimizer:
    """A copy of the given one, or scikit-learn's; its gradient is ours times scale, which Adam does not notice."""
    if mlp.optimizer is not None:
        made = copy.deepcopy(optimizers.get(mlp.optimizer))
        made.state, made.steps = {}, 0  # wherever that one has been
        return made
    clips = {"clip_norm": mlp.clip_norm, "clip_value": mlp.clip_value}
    clipped = {name: most / scale for name, most in clips.items() if most is not None}
    rate: Any = mlp.learning_rate if callable(mlp.learning_rate) else mlp.learning_rate_init
    if mlp.solver == "adam":
        return optimizers.Adam(rate, mlp.beta_1, mlp.beta_2, mlp.epsilon / scale, **clipped)
    if scale != 1:
        rate = scale * rate if isinstance(rate, Real) else partial(_times, scale, rate)
    return optimizers.SGD(rate, mlp.momentum, mlp.nesterovs_momentum and mlp.momentum > 0, **clipped)


def _times(factor: float, schedule: Callable[[int], float], step: int) -> float:
    return factor * schedule(step)


def lbfgs(mlp: Any, net: Sequential, train: Rows, head: Head) -> tuple[OptimizeResult, bool]:
    """What SciPy found, and whether Ctrl-C ended it; the last point that it accepted, then."""

    def value_and_gradient(parameters: Array) -> tuple[float, Array]:
        net.parameters = parameters
        value, gradient = net.value_and_gradient(
            train.X, train.y, head.loss, sample_weight=train.weights, threads=mlp.threads
        )
        return head.gradient_scale * value, head.gradient_scale * gradient.astype(np.float64)

    begun = net.parameters.astype(np.float64)
    found = OptimizeResult(x=begun, fun=math.nan, nit=0, status=0)

    def note(intermediate_result: Any) -> None:
        found.update(x=intermediate_result.x.copy(), fun=intermediate_result.fun, nit=found.nit + 1)
        if mlp.verbose:
            print(f"loss = {found.fun:.8f}")

    try:
        with _blas().limit(limits=1, user_api="blas"):  # its vectors are short, and its sums the same everywhere
            options = {"maxfun": mlp.max_fun, "maxiter": mlp.max_iter, "gtol": mlp.tol}
            return minimize(
                value_and_gradient, begun, jac=True, method="L-BFGS-B", callback=note, options=options
            ), False
    except KeyboardInterrupt:
        return found, True


@cache
def _blas() -> ThreadpoolController:
    """The libraries of linear algebra in this process; to find them takes a while."""
    return ThreadpoolController()
