"""The steps of an epoch: in one call of the compiled core, or batch by batch, or on all rows as often as it takes.

Batch by batch, a step is gradients, then what callbacks make of them, then the optimizer's step: so a custom loss,
layer or optimizer is trained, and so callbacks come between. Rows that are not converted yet, and batches that come one
by one, are given to the core some at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, _threads, _validate, callbacks
from ..errors import DivergedError
from ..optimizers import FullBatch
from ..program import data as gate
from ..program.data import Batches, Data
from ..program.job import Job, gradients

if TYPE_CHECKING:
    from .run import Run

__all__ = ["Outputs", "call", "diverged", "epochs", "means", "parts", "some_weight", "train", "update"]

Array = _validate.Array
#: The outputs of an epoch beside its targets, for the metrics.
Outputs = tuple[Array, Any] | None

#: Batches that one call of the core trains on at most: their rates and losses are held in memory.
AT_ONCE = 1_000_000


def epochs(run: Run, count: int) -> tuple[Array, Outputs]:
    """One epoch or more, at most so many: the sums of losses and of weights (epochs, 2), and outputs beside y."""
    if run.shards is not None:
        found: tuple[Array, Outputs] = run.shards.epochs(run, count)
        return found
    if isinstance(run.optimizer, FullBatch):
        return _full_batch(run, count)
    if isinstance(run.data, Data) and run.data.ready and _compiled(run):
        return _together(run, run.data, count)
    if run.settings.objective.derivatives is not None and _whole(run):
        return _of_derivatives(run, run.data, count)
    return _in_parts(run)


def _whole(run: Run) -> bool:
    """Whether each epoch is one step on all rows, which nobody wants to see more of than its loss."""
    settings, optimizer = run.settings, run.optimizer
    return (
        isinstance(run.data, Data) and run.data.ready and settings.batch_size >= len(run.data) and not settings.metrics
        and optimizer.compiled and not callable(optimizer.weight_decay)
        and not callbacks.wants_batches(settings.callbacks)
    )  # fmt: skip


def _of_derivatives(run: Run, data: Any, count: int) -> tuple[Array, Outputs]:
    """Some epochs of one step each on a loss of derivatives: such steps are short, so what they share is found once."""
    net, settings, optimizer = run.network, run.settings, run.optimizer
    count = min(count, AT_ONCE)
    rule, factor = optimizer.rule(net), settings.objective.penalty_factor(data)
    rates, losses, done = np.broadcast_to(optimizer.rates(count), count), np.zeros((count, 2)), 0
    losses[:, 1] = data.weight
    try:
        while done < count:
            _threads.go_on()
            value = settings.objective.derivatives.gradients(data, factor)
            losses[done, 0] = settings.objective.total(value, data)
            if not math.isfinite(value) or not _core.apply_update(
                rule.update, rates[done], rule.steps + done + 1, net.parameters, net.gradients, rule.state, rule.ranges
            ):
                raise diverged(run.epoch + done, 0, optimizer)
            done += 1
    except BaseException:  # what is done counts
        run.history.extend({"loss": means(run, losses[:done])})
        run.epoch += done
        raise
    finally:
        net.steps, net.epochs, optimizer.steps = net.steps + done, net.epochs + done, optimizer.steps + done
    return losses, None


def _compiled(run: Run) -> bool:
    """Whether the core does all of a step, without a callback that wants to come between."""
    core = isinstance(run.engine, _core.Plan) and run.settings.objective.compiled and run.optimizer.compiled
    return core and not callbacks.wants_batches(run.settings.callbacks)


def call(callback: Any, hook: str, run: Run) -> None:
    """A method of a callback, if it has it."""
    method = getattr(callback, hook, None)
    if method is not None:
        method(run)


def means(run: Run, losses: Array) -> Array:
    """The loss of each epoch, from the sums of its losses and of its weights."""
    values: Array = losses[:, 0]
    if run.settings.objective.mean:
        values /= losses[:, 1]
    return values


def _outputs(run: Run, rows: int) -> Array | None:
    """Room for the outputs, where they are wanted for metrics."""
    return np.empty((rows, run.network.n_out), run.network.dtype) if run.settings.metrics else None


def _together(run: Run, data: Data, count: int) -> tuple[Array, Outputs]:
    """Some epochs in one call of the core, at most so many."""
    net, settings = run.network, run.settings
    outputs = _outputs(run, len(data))
    begun, batches = net.steps, -(-len(data) // settings.batch_size)
    losses = np.zeros((min(count, max(1, AT_ONCE // batches)), 2))
    try:
        finite = _by_core(run, data, losses, outputs, settings.batch_size, settings.shuffle)
    except BaseException:  # Ctrl-C: what is done counts
        done = (net.steps - begun) // batches
        run.history.extend({"loss": means(run, losses[:done])})
        run.epoch += done
        raise
    finally:
        net.epochs += (net.steps - begun) // batches
    if not finite:
        epoch, batch = divmod(net.steps - begun, batches)
        raise diverged(run.epoch + epoch, batch, settings.optimizer)
    return losses, None if outputs is None else (outputs, data.y)


def _full_batch(run: Run, count: int) -> tuple[Array, Outputs]:
    """Some iterations of an optimizer that asks for all rows as often as it likes; the losses before them."""
    net, settings, optimizer = run.network, run.settings, run.optimizer
    begun = optimizer.steps
    if not isinstance(run.data, Data):
        raise TypeError(f"x: expected all rows at once with {optimizer!r}, got batches")
    data = run.data if run.data.ready else run.data.converted()
    outputs = _outputs(run, len(data))
    if outputs is not None:
        net.update_statistics(data.x, threads=settings.threads)  # before the first, they may be of anything
        net.predict(data.x, threads=settings.threads, out=outputs)
    try:
        losses = optimizer.minimize(net, _evaluate(run, data), count)
    except DivergedError:
        raise diverged(run.epoch, 0, optimizer) from None
    finally:
        net.epochs += optimizer.steps - begun
    return np.array([[loss, 1.0] for loss in losses]), None if outputs is None else (outputs, data.y)


def _evaluate(run: Run, data: Data) -> Any:
    """The loss on all rows, as a full-batch optimizer asks for it."""
    net, settings = run.network, run.settings
    if not run.optimizer.needs_problem:
        return lambda: net._value_and_gradient(data, settings.objective, run.seed, settings.threads)
    from ..derivatives.problem import Problem

    return Problem(net, data, settings.objective, settings.threads, run.optimizer)


def _in_parts(run: Run) -> tuple[Array, Outputs]:
    """One epoch, some rows at a time."""
    net, settings, losses = run.network, run.settings, np.zeros((1, 2))
    begun, size, seen, most = net.steps, settings.batch_size, [], 0
    if _compiled(run):  # as many whole batches as fit
        size *= max(1, gate.PIECE // (net.n_in * net.dtype.itemsize) // size)
    for rows, part in parts(run, size):
        outputs = _outputs(run, len(part))
        run.batch = net.steps - begun
        if not train(run, part, losses, outputs):
            raise diverged(run.epoch, net.steps - begun, settings.optimizer)
        if outputs is not None:
            seen.append((rows, outputs, part.y))
        most = max(most, len(part))
    some_weight(losses[0, 1])
    net._check_batch(most)
    net.epochs += 1
    return losses, _gathered(run.data, seen) if seen else None


def some_weight(weight: float) -> None:
    """Refuse batches of which none counts for anything, as rows are refused of which none does."""
    if not weight > 0:
        raise ValueError("sample_weight: expected a positive weight in some batch, got only zeros")


def _gathered(data: Data | Batches, seen: list[tuple[Any, Array, Any]]) -> tuple[Array, Any]:
    """The outputs of all rows, each in its place, beside y."""
    places, found, y = zip(*seen, strict=True)
    outputs = np.concatenate(found)
    if isinstance(data, Batches):
        if any(part.ndim != y[0].ndim for part in y):  # columns beside rows of one
            y = tuple(part.reshape(len(part), -1) for part in y)
        return outputs, np.concatenate(y)
    in_place = np.empty_like(outputs)
    in_place[np.concatenate(places)] = outputs
    return in_place, data.y


def parts(run: Run, size: int) -> Iterator[tuple[Any, Data]]:
    """The coming epoch, so many rows at a time, and where they come from; or the batches, as they come."""
    if isinstance(run.data, Batches):
        for batch in run.data:
            yield None, batch
        return
    order = np.arange(len(run.data))
    if run.settings.shuffle:
        _core.permutation(run.seed, run.network.epochs, order)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        yield rows, run.data.rows(rows)


# Some rows: add to the losses of the epoch, and say whether all stayed finite.


def train(run: Run, part: Data, losses: Array, outputs: Array | None = None) -> bool:
    """Train on them in their order."""
    if not _compiled(run):
        return _step(run, part, losses, outputs)
    size = len(part) if isinstance(run.data, Batches) else run.settings.batch_size
    return _by_core(run, part, losses, outputs, size, shuffle=False)


def _by_core(run: Run, data: Data, losses: Array, outputs: Array | None, batch_size: int, shuffle: bool) -> bool:
    """In one call of the core, which goes through them once for each row of `losses`."""
    net, settings, optimizer = run.network, run.settings, run.optimizer
    batches = -(-len(data) // batch_size) * len(losses)
    assert isinstance(run.engine, _core.Plan)
    job = Job(
        run.engine, data, settings.objective, rule=optimizer.rule(net), rates=optimizer.rates(batches),
        decays=optimizer.decays(batches), batch_size=batch_size, shuffle=shuffle, seed=run.seed,
        first_epoch=net.epochs, first_step=net.steps, threads=settings.threads,
    )  # fmt: skip
    try:
        return job.run(losses, outputs)
    finally:
        optimizer.steps += job.steps
        net.steps += job.steps


def _step(run: Run, batch: Data, losses: Array, outputs: Array | None) -> bool:
    """One step on one batch: gradients, what callbacks make of them, and the optimizer's step."""
    net, settings, begun = run.network, run.settings, run.network.steps
    statistics, found = net.buffers.copy(), np.zeros((1, 2))
    try:
        run.loss = gradients(
            run.engine, batch, settings.objective, found, seed=run.seed, step=net.steps, threads=settings.threads,
            outputs=outputs, update_statistics=True,
        )  # fmt: skip
        if not np.isfinite(run.loss):
            return False
        for callback in settings.callbacks:
            call(callback, "on_gradients", run)
        if not update(run.optimizer, net):
            return False
        net.steps += 1
    finally:
        if net.steps == begun:  # they follow whole steps only
            net.buffers[...] = statistics
    losses += found
    for callback in settings.callbacks:
        call(callback, "on_batch_end", run)
    return True


def update(optimizer: Any, net: Any) -> bool:
    """A step of the optimizer, after which what is frozen is as it was, and all is finite; a custom one is held to
    that.
    """
    before = None if optimizer.compiled else net.parameters.copy()
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # it is looked for
            optimizer.step(net)
    except DivergedError:
        return False
    if before is None:
        return True
    frozen = np.ones(len(before), bool)
    for begin, end in net.trainable_ranges:
        frozen[begin:end] = False
    net.parameters[frozen] = before[frozen]
    if not np.isfinite(net.parameters).all():
        net.parameters[...] = before
        return False
    return True


def diverged(epoch: int, batch: int, optimizer: Any) -> DivergedError:
    """What is raised where the loss has stopped being finite."""
    return DivergedError(
        f"the loss stopped being finite in epoch {epoch}, batch {batch} (counted from 0); the network keeps its last "
        f"finite weights: lower the learning rate of {optimizer!r}, or scale the inputs",
        epoch=epoch, batch=batch,
    )  # fmt: skip
