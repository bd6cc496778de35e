"""The shards of a process: their rows, and how an epoch goes through them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import _core, _validate, optimizers
from ..distributed import Partition, Ranks, distribute
from ..errors import DivergedError
from ..program import data as gate
from ..program.data import Data
from ..program.objective import Objective
from . import evaluation, shard_gradients, steps
from .run import Run
from .shard_gradients import Batch, Part, seed_of, value_of

__all__ = ["Dealt", "Given", "Rows", "Shards", "Whole", "arrays", "digest"]

Array = _validate.Array
Given = dict[str, Array | None]


class Whole(NamedTuple):
    """What each rank knows of all rows."""

    #: None: each counts once.
    weights: Array | None
    #: The targets, where metrics want them.
    y: Array | None


class Shards:
    """What a run has in the place of its data: the shards of a rank, and how an epoch goes through them.

    Parameters
    ----------
    ranks : Ranks
    count : int
        Shards of all ranks.
    data : Data or Batches
        Of this rank.
    """

    #: Whether a callback wants to see the batches.
    hooks = False

    def __init__(self, ranks: Ranks, count: int, data: Any) -> None:
        self.ranks, self.data, self.count = ranks, data, count
        self.places = Partition(0, count, ranks.size)
        self._validation: tuple[Any, Data, list[int]] | None = None

    def batches(self, run: Run) -> Iterator[Batch]:
        """Those of an epoch."""
        raise NotImplementedError

    def seen(self) -> steps.Outputs:
        """The outputs of an epoch that was gone through, beside y."""
        raise NotImplementedError

    def everything(self, run: Run) -> Batch:
        """All rows as one batch."""
        raise TypeError("x: expected all rows at once with an optimizer of full batches, got batches")

    def epochs(self, run: Run, count: int) -> tuple[Array, steps.Outputs]:
        """One epoch, or some iterations of an optimizer of full batches; as `steps.epochs`."""
        losses = self._full_batch(run, count) if isinstance(run.optimizer, optimizers.FullBatch) else self._epoch(run)
        self._compare(run)
        return losses, self.seen() if run.settings.metrics else None

    def _epoch(self, run: Run) -> Array:
        net, losses, begun = run.network, np.zeros((1, 2)), run.network.steps
        for batch in self.batches(run):
            run.batch = net.steps - begun
            if not self._step(run, batch, losses):
                raise steps.diverged(run.epoch, run.batch, run.settings.optimizer)
        steps.some_weight(losses[0, 1])
        net.epochs += 1
        return losses

    def _step(self, run: Run, batch: Batch, losses: Array) -> bool:
        """One step of all ranks; whether all stayed finite."""
        net = run.network
        total, found = shard_gradients.of(run, batch, self.ranks, self.places)
        if not math.isfinite(total):
            return False
        net.gradients[...], run.loss = found, value_of(run, total, batch.weight)
        if self.hooks:
            for callback in run.settings.callbacks:
                steps.call(callback, "on_gradients", run)
            net.gradients[...] = self.ranks.from_first(net.gradients)
        if not steps.update(run.optimizer, net):
            return False
        net.steps += 1
        losses += total, batch.weight
        for callback in run.settings.callbacks:
            steps.call(callback, "on_batch_end", run)
        return True

    def _full_batch(self, run: Run, count: int) -> Array:
        """The losses before some iterations."""
        net, optimizer, batch = run.network, run.optimizer, self.everything(run)
        begun = optimizer.steps

        def evaluate() -> tuple[float, Array]:
            total, found = shard_gradients.of(run, batch, self.ranks, self.places)
            value = value_of(run, total, batch.weight)
            return value, found if math.isfinite(value) else np.full_like(found, np.nan)

        asked = self._problem(run, batch) if optimizer.needs_problem else evaluate
        try:
            losses = optimizer.minimize(net, asked, count)
        except DivergedError:
            raise steps.diverged(run.epoch, 0, optimizer) from None
        finally:
            net.epochs += optimizer.steps - begun
        return np.array([[loss, 1.0] for loss in losses])

    def _problem(self, run: Run, batch: Batch) -> Any:
        from .shard_problem import ShardProblem  # derivatives are imported where they are asked for

        return ShardProblem(run, batch, self.ranks, self.places)

    # What is known of each epoch, and who is told.

    def _compare(self, run: Run) -> None:
        """Whether all ranks still have the same network."""
        digests = self.ranks.all(digest(run.network))
        for rank, found in enumerate(digests):
            if found != digests[0]:
                raise RuntimeError(
                    f"epoch {run.epoch}: expected the same parameters on all ranks, got others on rank {rank} than on "
                    "rank 0: do their processors or builds differ? BACKPROP_ISA=baseline makes them alike"
                )

    def validate(self, net: Any, objective: Objective, local: Given, partition: Partition) -> Data:
        """Evaluate on these rows after each epoch: each rank predicts its own, and all measure all of them."""
        ranks = self.ranks
        counts = partition.counts
        if not partition.rows:
            raise ValueError("validation_data: expected at least one row on some rank, got none")
        with _validate.within("validation_data"):
            x = net._inputs.lazy_rows(local["x"])
            y, weights = (
                None if array is None else ranks.joined(array, counts) for array in (local["y"], local["sample_weight"])
            )
            whole = gate.beside(objective, x, y, weights, net.dtype, partition.rows)
        self._validation = x, whole, counts
        return whole

    def evaluate(self, run: Run) -> dict[str, float] | None:
        """The loss and the metrics of the validation data, where there are any."""
        if self._validation is None:
            return None
        (x, whole, counts), settings = self._validation, run.settings
        found = evaluation.outputs(run.network, x, settings.objective, settings.threads)
        return evaluation.score(
            self.ranks.joined(found, counts), whole, settings.objective, settings.metrics, settings.meaning
        )

    def follow(self, run: Run) -> None:
        """Do as rank 0 does, whose callbacks may have stopped the run, or changed the network or the learning rate."""
        net, optimizer = run.network, run.optimizer
        run.stop, rate, found = self.ranks.from_first((run.stop, vars(optimizer).get("learning_rate"), digest(net)))
        if self.ranks.rank > 0 and rate is not None:
            optimizer.learning_rate = rate
        if any(self.ranks.all(found != digest(net))):
            net.parameters[...], net.buffers[...] = self.ranks.from_first((net.parameters, net.buffers))


class Rows(Shards):
    """Rows that are all there: each shard has its own, in an order of their own in each epoch."""

    def __init__(self, ranks: Ranks, data: Data, places: Partition, whole: Whole) -> None:
        super().__init__(ranks, places.shards, data)
        self.places, self._whole = places, whole
        self._first = places.rows_of(ranks.rank).start
        self._outputs: Array | None = None

    def __len__(self) -> int:
        return self.places.rows

    def batches(self, run: Run) -> Iterator[Batch]:
        """Those of an epoch: in each, all shards take turns."""
        places, weights, size = self.places, self._whole.weights, run.settings.batch_size
        own = places.of(self.ranks.rank)
        orders = {shard: self._order(run, shard) for shard in (own if weights is None else range(places.shards))}
        self._begin(run)
        for number in range(places.batches(size)):
            rows = {shard: order[places.batch(shard, number, size)] for shard, order in orders.items()}
            if weights is None:
                weight: float = min(size, len(self) - number * size)
            else:
                weight = math.fsum(float(weights[some].sum()) for some in rows.values())
            parts = [self._part(shard, rows[shard] - self._first) for shard in own]
            counts = [len(range(places.size(shard))[places.batch(shard, number, size)]) for shard in range(self.count)]
            yield Batch(parts, counts, weight, self._outputs)

    def _order(self, run: Run, shard: int) -> Array:
        """Of the rows of a shard, by their places among all rows."""
        order = np.arange(self.places.size(shard))
        if run.settings.shuffle:
            _core.permutation(seed_of(run.seed, shard), run.network.epochs, order)
        return order + self.places.begin(shard)

    def _part(self, shard: int, places: Array) -> Part:
        return Part(shard, self.data.rows(places) if len(places) else None, places)

    def _begin(self, run: Run) -> None:
        if run.settings.metrics:
            self._outputs = np.empty((len(self.data), run.network.n_out), run.network.dtype)

    def everything(self, run: Run) -> Batch:
        """All rows as one batch."""
        places, data, first, weights = self.places, self.data.converted(), self._first, self._whole.weights
        self._begin(run)
        parts = [
            Part(shard, data.rows(rows), rows)
            for shard in places.of(self.ranks.rank)
            for rows in [slice(places.begin(shard) - first, places.begin(shard + 1) - first)]
        ]
        counts = [places.size(shard) for shard in range(self.count)]
        if weights is None:
            return Batch(parts, counts, len(self), self._outputs)
        weight = math.fsum(float(weights[places.begin(i) : places.begin(i + 1)].sum()) for i in range(self.count))
        return Batch(parts, counts, weight, self._outputs)

    def seen(self) -> steps.Outputs:
        """The outputs of an epoch that was gone through, beside y."""
        assert self._outputs is not None
        return self.ranks.joined(self._outputs, self.places.counts), self._whole.y


class Dealt(Shards):
    """Batches that come one by one, a part of each from each rank; their rows are handed out as they come."""

    def batches(self, run: Run) -> Iterator[Batch]:
        """Those of an epoch: as many as the rank has that has most."""
        given, net, count = iter(self.data.given), run.network, 0
        self._seen: list[tuple[Array, Array]] = []
        while True:
            brought = next(given, None)
            if not any(self.ranks.all(brought is not None)):
                break
            with _validate.within(f"batch {count}"):
                local, places = distribute(self.ranks, _of_batch(self.ranks, net, brought), self.places.shards)
            yield from self._batch(run, local, places, count)
            count += 1
        if not count:
            raise ValueError("x: expected at least one batch, got none: an iterator gives its batches only once")

    def _batch(self, run: Run, local: Given, places: Partition, number: int) -> Iterator[Batch]:
        own, first = places.of(self.ranks.rank), places.rows_of(self.ranks.rank).start
        counts = places.counts
        data = outputs = None
        if counts[self.ranks.rank]:
            with _validate.within(f"batch {number}"):
                data = self.data.gate(tuple(array for array in local.values() if array is not None))
        weight: float = places.rows
        if any(self.ranks.all(data is not None and data.weights is not None)):
            weights = np.zeros(0) if data is None or data.weights is None else data.weights
            every = self.ranks.joined(weights, counts)
            weight = math.fsum(float(every[places.begin(i) : places.begin(i + 1)].sum()) for i in range(self.count))
        if run.settings.metrics:
            outputs = np.empty((counts[self.ranks.rank], run.network.n_out), run.network.dtype)
        parts = []
        for shard in own:
            rows = slice(places.begin(shard) - first, places.begin(shard + 1) - first)
            parts.append(Part(shard, data.rows(rows) if data is not None and places.size(shard) else None, rows))
        yield Batch(parts, [places.size(shard) for shard in range(places.shards)], weight, outputs)
        if outputs is not None:
            self._seen.append((self.ranks.joined(outputs, counts), self.ranks.joined(np.asarray(local["y"]), counts)))

    def seen(self) -> steps.Outputs:
        """The outputs of an epoch that was gone through, beside y."""
        outputs, y = zip(*self._seen, strict=True)
        return np.concatenate(outputs), np.concatenate(y)


def _of_batch(ranks: Ranks, net: Any, batch: Any) -> Given:
    if batch is None:
        return {"x": None, "y": None, "sample_weight": None}
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3) or np.isscalar(batch[0]):
        raise TypeError(f"expected (x, y) or (x, y, sample_weight), got {_validate.shown(batch)}: was y forgotten?")
    return arrays(ranks, net, net.feature_names, *batch)


def arrays(ranks: Ranks, net: Any, names: Any, x: Any, y: Any, weights: Any = None) -> Given:
    """What this rank has brought, as arrays that have yet to pass the gate; None where it has brought nothing.

    Where rows may move to other ranks, whether they are finite is looked at here: the gate sees them at other places.
    """
    given = ("x", None if x is None else net._inputs.in_order(x, names)), ("y", y), ("sample_weight", weights)
    found = {name: None if value is None else _validate.array(value, name) for name, value in given}
    for name, array in found.items() if ranks.size > 1 else ():
        if array is not None and array.ndim and array.dtype.kind == "f":
            for rows in _validate.slices(len(array), array.nbytes):
                _validate.real(array[rows], name, net.dtype, rows.start)
    return found


def digest(net: Any) -> str:
    """Of what all ranks have alike."""
    found = hashlib.sha256(net.parameters)
    found.update(net.buffers)
    return found.hexdigest()
