"""Derivatives row by row: Jacobians, gradients of each row's own loss, and what they sum to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import _core, _threads, _validate
from ..program.data import Data
from ..program.objective import Objective
from . import slopes

__all__ = [
    "by_memory", "checked", "drops", "gauss_newton", "jacobian", "outputs", "per_sample_gradients", "plan_of",
    "row_slopes", "run", "shares",
]  # fmt: skip

Array = _validate.Array
#: Bytes of the gradients of rows that are held at a time, where only their sum is wanted.
AT_ONCE = 1 << 24
#: Rows that go through a network together, whatever that keeps of them.
FEW = 256


def plan_of(net: Any, what: str) -> _core.Plan:
    """The compiled plan of a network; one with layers in Python is refused."""
    plan: _core.Plan | None = net._plan
    if plan is None:
        custom = next(operation.layer for operation in net.graph if operation.kind == "python")
        raise TypeError(f"{what}: expected built-in layers, got {custom!r}, whose derivatives are not known")
    net._check_statistics()
    return plan


def run(work: float, threads: int | None, make: Any) -> Any:
    """Make something for so many threads as pay for this work, run it, and return it."""
    threads, pay = _threads.checked(threads), _threads.worth_starting(work)
    if not _threads.for_several(threads, pay):  # taking one is a seventh of a row's time
        _threads.go_on()
        made = make(1)
        made.run()
        return made
    with _threads.take(threads, pay) as count:
        made = make(count)
        made.run()
        return made


def drops(net: Any, dropout: Any, first: int = 0) -> tuple[int, int, int] | None:
    """What dropout in derivatives drops by, from this row of the batch on: as the next step of training would."""
    return (net.seed, net.steps, first) if _validate.flag(dropout, "dropout") else None


def jacobian(net: Any, x: Any, dropout: Any, threads: int | None) -> Array:
    """See `Sequential.jacobian`."""
    _validate.flag(dropout, "dropout")
    plan, x = plan_of(net, "jacobian"), checked(net, x)
    found = np.empty((len(x), net.n_out, net.n_in), net.dtype)
    work = plan.work * found.size / max(net.n_in, net.n_out)
    if net.n_in < net.n_out:
        directions = np.eye(net.n_in, dtype=net.dtype)
        for some in by_memory(net, len(x), 1 + net.n_in):
            run(work, threads, lambda count, some=some: _core.Derivatives(
                plan, x[some], directions, first=found[some], drops=drops(net, dropout, some.start),
                threads=count))  # fmt: skip
        return found
    run(work, threads, lambda count: _core.Pullback(plan, x, None, found, drops=drops(net, dropout), threads=count))
    return found


def by_memory(net: Any, rows: int, streams: int) -> Iterator[slice]:
    """Some rows at a time, so many that what is kept of them is not much."""
    if rows <= FEW:
        yield slice(0, rows)
        return
    each = (3 * streams + 3) * net.dtype.itemsize * sum(operation.n_out for operation in net.graph)
    step = max(FEW, 4 * AT_ONCE // each)
    for start in range(0, rows, step):
        yield slice(start, start + step)


def checked(net: Any, x: Any) -> Array:
    """Rows that have passed the gate; there is at least one."""
    found: Array = net._inputs.rows(x)
    _validate.some_rows(found)
    return found


def outputs(net: Any, plan: _core.Plan, x: Array, logits: bool, dropped: tuple[int, int, int] | None = None) -> Array:
    """Those that a loss is computed on."""
    found = np.empty((len(x), net.n_out), net.dtype)
    if dropped is None:
        plan.predict(x, found, logits)
    else:
        _core.Derivatives(plan, x, None, None, found, logits=logits, drops=dropped).run()
    return found


def per_sample_gradients(
    net: Any, data: Data, objective: Objective, norms_only: bool, dropout: Any, threads: int | None
) -> Array:
    """See `Sequential.per_sample_gradients`."""
    plan, n, dropped = plan_of(net, "per_sample_gradients"), len(net.parameters), drops(net, dropout)
    work, logits = 3 * plan.work * len(data), objective.on_logits
    dy = row_slopes(objective, outputs(net, plan, data.x, logits, dropped), data)[:, None]
    if norms_only:
        squares = np.empty((len(data), 1))
        run(work, threads, lambda count: _core.Pullback(
            plan, data.x, dy, squares=squares, logits=logits, drops=dropped, threads=count))  # fmt: skip
        return np.sqrt(squares[:, 0]).astype(net.dtype)
    _validate.fits_in_memory(len(data) * n, net.dtype, f"the {n} gradients of {len(data)} rows")
    found = np.zeros((len(data), 1, n), net.dtype)
    run(work, threads, lambda count: _core.Pullback(
        plan, data.x, dy, dp=found, logits=logits, drops=dropped, threads=count))  # fmt: skip
    return found[:, 0]


def row_slopes(objective: Objective, found: Array, data: Data) -> Array:
    """The gradient of each row's own loss with respect to what it is computed on."""
    if objective.compiled:
        if not objective.on_logits:
            objective.loss.check_outputs(found)
        dy = np.empty_like(found)
        target = None if data.target is None else np.asarray(data.target)
        formula = objective.loss.lower(objective.on_logits)
        _core.loss(formula, found, target, data.labels, None, 1.0, np.empty(len(found)), dy)
    else:
        each = [objective.value_and_gradient(found[i : i + 1], data.rows(slice(i, i + 1)))[1]
                for i in range(len(found))]  # fmt: skip
        dy = np.concatenate([np.full_like(found[:1], np.nan) if row is None else row for row in each])
    return dy


def shares(objective: Objective, data: Data) -> Array:
    """What each row counts for in the loss."""
    weights = np.ones(len(data)) if data.weights is None else data.weights
    found: Array = weights / (weights.sum() or 1.0) if objective.mean else weights
    return found


def gauss_newton(net: Any, data: Data, objective: Objective, threads: int | None, dropout: Any = False) -> Array:
    """See `Sequential.gauss_newton`; in double."""
    _validate.flag(dropout, "dropout")
    plan, n = plan_of(net, "gauss_newton"), len(net.parameters)
    slopes.refuse_straight(objective)
    _validate.fits_in_memory(n * n, np.dtype(np.float64), f"the {n} x {n} matrix of {n} parameters")
    found = np.zeros((n, n))
    each = net.n_out * n * net.dtype.itemsize
    step, share = max(1, AT_ONCE // max(1, each)), shares(objective, data)
    for start in range(0, len(data) if n else 0, step):
        some = slice(start, start + step)
        add_products(
            net, plan, data.rows(some), objective, share[some], threads, found, drops(net, dropout, some.start)
        )
    upper = np.triu_indices(n, 1)
    found[upper[::-1]] = found[upper]
    return found


def add_products(
    net: Any, plan: _core.Plan, data: Data, objective: Objective, share: Array, threads: int | None, found: Array,
    dropped: tuple[int, int, int] | None = None,
) -> None:  # fmt: skip
    """Add J^T H J of some rows to the upper triangle, H the second derivatives of their losses."""
    if objective.compiled and objective.loss.kernel == "mean_squared_error":  # H is a multiple of the unit matrix
        root = np.sqrt(2 / net.n_out * share)[:, None, None] * np.eye(net.n_out)
        left = right = _along(net, plan, data.x, root, False, threads, dropped)
    else:
        on = outputs(net, plan, data.x, objective.on_logits, dropped)
        curvature = slopes.hessians(objective, on, data) * share[:, None, None]
        left = _along(net, plan, data.x, None, objective.on_logits, threads, dropped)
        right = _along(net, plan, data.x, curvature, objective.on_logits, threads, dropped)
    run(len(left) * found.size / 2, threads, lambda count: _core.Gram(left, right, found, count))


def _along(
    net: Any, plan: _core.Plan, x: Array, dy: Array | None, logits: bool, threads: int | None,
    dropped: tuple[int, int, int] | None,
) -> Array:  # fmt: skip
    """The gradients of the parameters along cotangents (rows, count, n_out), or of each output, one below the other."""
    count = net.n_out if dy is None else dy.shape[1]
    found = np.zeros((len(x), count, len(net.parameters)), net.dtype)
    given = None if dy is None else np.ascontiguousarray(dy, net.dtype)
    run(plan.work * len(x) * count, threads, lambda threads: _core.Pullback(
        plan, x, given, dp=found, logits=logits, drops=dropped, threads=threads))  # fmt: skip
    return found.reshape(len(x) * count, -1)
