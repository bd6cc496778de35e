"""The gradients of a batch that is cut into shards: those of each, added in one tree, wherever they are."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import _core, _validate
from ..distributed import Partition, Ranks, Tree
from ..program.data import Data
from ..program.job import gradients
from .run import Run

__all__ = ["Batch", "Part", "of", "seed_of", "share_of", "total_of", "value_of"]

Array = _validate.Array


class Part(NamedTuple):
    """What a shard gives to a batch."""

    shard: int
    #: None: nothing.
    data: Data | None
    #: Where its rows are among those that this rank has outputs for.
    places: Any = None


class Batch(NamedTuple):
    """The shards of this rank in a batch."""

    parts: list[Part]
    #: How many rows each of all shards gives.
    counts: list[int]
    #: What the whole batch counts for.
    weight: float
    #: Where outputs belong; None: nobody wants them.
    outputs: Array | None = None


def of(run: Run, batch: Batch, ranks: Ranks, places: Partition) -> tuple[float, Array]:
    """The sum of the losses of a batch, NaN where one is not finite, and the gradients of all its shards."""
    sharing = [places.of(rank) for rank in range(ranks.size)]
    norms = list(run.network._following().values())
    return _with_norms(run, batch, ranks, sharing, norms) if norms else _one_by_one(run, batch, ranks, sharing)


def _one_by_one(run: Run, batch: Batch, ranks: Ranks, sharing: list[range]) -> tuple[float, Array]:
    net, values, tree = run.network, [], Tree(sharing[ranks.rank].start)
    for shard, data, rows in batch.parts:
        found = np.zeros((1, 2))
        if data is None:
            net.gradients[...] = 0
        else:
            outputs = None if batch.outputs is None else np.empty((len(data), net.n_out), net.dtype)
            loss = gradients(
                run.engine, data, run.settings.objective, found, seed=seed_of(run.seed, shard), step=net.steps,
                threads=run.settings.threads, outputs=outputs,
            )  # fmt: skip
            found[0, 0] = found[0, 0] if math.isfinite(loss) else math.nan
            if batch.outputs is not None:
                batch.outputs[rows] = outputs
        values.append(found[0, 0])
        tree.add(net.gradients * net.dtype.type(share_of(run, data, batch)))
    return total_of(ranks, sharing, values), ranks.total(tree.held, sharing)


def total_of(ranks: Ranks, sharing: list[range], values: list[float]) -> float:
    """Of a number of each shard. What follows follows a meeting."""
    numbers = ranks.meet(values, max(map(len, sharing)))
    return math.fsum(numbers[rank, i] for rank, some in enumerate(sharing) for i in range(len(some)))


def share_of(run: Run, data: Data | None, batch: Batch) -> float:
    """Of the gradient of a shard in that of its batch."""
    if data is None or not run.settings.objective.mean or not batch.weight:
        return 1.0
    return data.weight / batch.weight


# With batch norms, which look at all rows of a batch, the shards of a rank go through the network together.


class ColumnSums:
    """What the core asks for in the middle of its passes: sums over the rows of each shard, added over all shards."""

    def __init__(self, ranks: Ranks, sharing: list[range], counts: list[int]) -> None:
        self._ranks, self._sharing, self.batch = ranks, sharing, sum(counts)
        self.own = sharing[ranks.rank]
        self.bounds = np.cumsum([0, *(counts[shard] for shard in self.own)]).tolist()
        self.first_row = sum(counts[: self.own.start])

    def room(self, n: int) -> Array:
        """For a sum of each of n columns over the rows of each shard of this rank."""
        self._sums = np.zeros((len(self.own), n))
        return self._sums

    def total(self) -> Array:
        """Of what is there now, over all shards."""
        self._ranks.meet()
        tree = Tree(self.own.start)
        for sums in self._sums:
            tree.add(sums)
        return self._ranks.total(tree.held, self._sharing)

    def attend(self, widths: list[int]) -> None:
        """Where this rank has no rows: as often as the others ask."""
        for width in widths if self.batch > 1 else ():
            for _ in range(2):
                self.room(width)
                self.total()


def _with_norms(run: Run, batch: Batch, ranks: Ranks, sharing: list[range], norms: list[Any]) -> tuple[float, Array]:
    net, plan = run.network, run.engine
    assert isinstance(plan, _core.Plan)
    columns, kept = ColumnSums(ranks, sharing, batch.counts), net.buffers.copy()
    widths = [norm.n_out for norm in norms]
    dy, values = _forward(run, plan, batch, columns, widths)
    total, tree = total_of(ranks, sharing, values), Tree(columns.own.start)
    if not math.isfinite(total):
        net.buffers[...] = kept  # they follow whole steps only
        return total, net.gradients
    if len(dy):
        plan.backward(dy)
    else:
        columns.attend(widths[::-1])
    first = next(shard for shard, count in enumerate(batch.counts) if count)
    for i, (shard, data, _) in enumerate(batch.parts):
        net.gradients[...] = 0
        if data is not None:
            factor = run.settings.objective.penalty_factor(data) * share_of(run, data, batch)
            plan.gradients_of(columns.bounds[i], columns.bounds[i + 1], factor)
        for norm in norms if shard != first else ():  # theirs come from sums over all shards: the first has them
            norm.weight_grad[...] = norm.bias_grad[...] = 0
        tree.add(net.gradients.copy())
    if not all(any(batch.counts[shard] for shard in some) for some in sharing):
        owner = next(rank for rank, some in enumerate(sharing) if first in some)
        net.buffers[...] = ranks.all(net.buffers)[owner]  # a rank without rows has not seen the statistics
    ranks.meet()
    return total, ranks.total(tree.held, sharing)


def _forward(
    run: Run, plan: _core.Plan, batch: Batch, columns: ColumnSums, widths: list[int]
) -> tuple[Array, list[float]]:
    """The gradients with respect to the outputs of this rank's rows, and the losses of its shards."""
    net, objective = run.network, run.settings.objective
    parts = [data for _, data, _ in batch.parts if data is not None]
    found = np.empty((columns.bounds[-1], net.n_out), net.dtype)
    if parts:
        x = np.concatenate([np.asarray(data.x) for data in parts])
        plan.forward(x, found, run.seed, net.steps, True, objective.on_logits, columns.first_row, columns)
    else:
        columns.attend(widths)
    dy, values = np.zeros_like(found), []
    for i, (_, data, places) in enumerate(batch.parts):
        values.append(0.0)
        if data is None:
            continue
        rows = slice(columns.bounds[i], columns.bounds[i + 1])
        value, gradient = objective.value_and_gradient(found[rows], data)
        if gradient is not None:
            dy[rows] = gradient * net.dtype.type(share_of(run, data, batch))
        if batch.outputs is not None:
            batch.outputs[places] = objective.outputs(found[rows].copy())
        values[i] = objective.total(value + plan.penalty() * objective.penalty_factor(data), data)
    return dy, values


def value_of(run: Run, total: float, weight: float) -> float:
    """The loss of rows whose losses have this sum."""
    return total / weight if run.settings.objective.mean and weight else total


def seed_of(seed: int, shard: int) -> int:
    """Of the order of the rows of a shard, and of its dropped numbers; the first has that of the run."""
    return int((seed + 0x9E3779B97F4A7C15 * shard) % 2**63)
