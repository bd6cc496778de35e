"""A fit in shards: each batch is cut into some parts, whose gradients are added in one fixed tree.

The shards may be those of one process or of several, which hand one another the sums over an MPI communicator. What
comes out depends on the number of shards, to the last bit, and not on how many processes there are. All of them have
the whole network and make the same steps; the first one calls the callbacks.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import _core, _validate, callbacks, optimizers
from ..distributed import Partition, Ranks, Tree, distribute, together
from ..errors import DivergedError
from ..program import data as gate
from ..program.data import Data
from ..program.job import gradients
from ..program.objective import Objective
from . import evaluation, loop, steps
from .begin import begin
from .history import History
from .run import Run

__all__ = ["Shards", "fit"]

Array = _validate.Array
Given = dict[str, Array | None]


def fit(net: Any, x: Any, y: Any, *, comm: Any, shards: int | None, progress: bool, **asked: Any) -> History:
    """As `Sequential.fit`, over the ranks of a communicator, or of None."""
    with together(comm) as ranks:
        count = ranks.size if shards is None else _validate.integer(shards, "shards")
        _check(ranks, net, count, asked)
        run = _begun(ranks, net, x, y, count, callbacks.chosen(asked["callbacks"], progress), asked)
        history = loop.fit(run)
        run.shards.follow(run)  # what the callbacks have made of the network in the end
        return history


def _check(ranks: Ranks, net: Any, count: int, asked: dict[str, Any]) -> None:
    """Refuse what differs from rank to rank, and what cannot be done in shards."""
    names = "loss", "optimizer", "epochs", "batch_size", "shuffle", "validation_split", "metrics", "class_weight"
    ranks.agree(
        network=net, dtype=net.dtype, parameters=_digest(net), steps=(net.steps, net.epochs), shards=count,
        **{name: _described(asked[name]) for name in names},
    )  # fmt: skip
    if count < ranks.size:
        raise ValueError(f"shards: expected at least one for each of {ranks.size} ranks, got {count}")
    for norm in net._norms():
        raise ValueError(
            f"shards: expected layers whose rows are independent of one another, got {norm}: take a LayerNorm(), or "
            "freeze its running statistics with momentum=0"
        )
    for callback in asked["callbacks"]:
        if isinstance(callback, callbacks.LearningRateFinder):
            raise TypeError(f"callbacks: expected none that trains on its own, got {callback!r}: run it without shards")
    if not net._objective(asked["loss"]).single().mean and any(leaf.penalties() for leaf in net.leaves.values()):
        raise ValueError('loss: expected reduction="mean" where layers have an l1 or l2 and there are shards, got "sum"')


def _described(value: Any) -> str:
    """What ranks compare: of what has no repr that says what it is, its class."""
    if isinstance(value, (list, tuple)):
        return str([_described(entry) for entry in value])
    named, said = getattr(value, "__qualname__", None), repr(value)
    return named or (said if " at 0x" not in said else type(value).__qualname__)


def _digest(net: Any) -> str:
    digest = hashlib.sha256(net.parameters)
    digest.update(net.buffers)
    return digest.hexdigest()


# The beginning.


def _begun(ranks: Ranks, net: Any, x: Any, y: Any, count: int, chosen: list[Any], asked: dict[str, Any]) -> Run:
    """The run of this rank, of the rows of its shards; rank 0 alone has the callbacks, and reads a checkpoint."""
    arguments = {name: asked[name] for name in ("loss", "optimizer", "epochs", "shuffle", "metrics", "rng")}
    arguments["threads"] = 1 if asked["threads"] is None and ranks.size > 1 else asked["threads"]
    arguments["callbacks"] = chosen if ranks.rank == 0 else []
    arguments |= {"sample_weight": None, "validation_data": None, "validation_split": 0.0}
    names, held, objective = None, None, net._objective(asked["loss"])
    if y is None and not gate.is_rows(x):
        weight = asked["class_weight"]
        gate.check_batches(x, asked["epochs"], asked["sample_weight"], weight, asked["validation_split"])
        run = begin(net, x, None, batch_size=asked["batch_size"], class_weight=weight, **arguments)
        shards: Shards = Dealt(ranks, count, run.data)
    else:
        names = ranks.from_first(net._inputs.names_of(x))
        brought = _arrays(net, names, x, y, asked["sample_weight"])
        kept, held = _split(sum(ranks.all(_length(brought))), asked["validation_split"])
        local, partition = distribute(ranks, brought, count, kept)
        size = len(kept) if asked["batch_size"] is None else asked["batch_size"]
        run = begin(net, local["x"], local["y"], batch_size=size, class_weight=None, **arguments)
        whole = _whole(ranks, run.data, partition, local["sample_weight"], objective, asked)
        shards = Rows(ranks, run.data, partition, whole)
        if held is not None:
            run.settings.validation = shards.validate(net, objective, *distribute(ranks, brought, ranks.size, held))
    if asked["validation_data"] is not None:
        given = _validated(asked["validation_data"], held)
        brought = _arrays(net, names, *given)
        run.settings.validation = shards.validate(net, objective, *distribute(ranks, brought, ranks.size))
    shards.hooks = callbacks.wants_batches(chosen)
    run.shards, run.seed = shards, ranks.from_first(run.seed)
    net.feature_names = names or net.feature_names
    _resume(ranks, net, run, asked["resume"], names)
    return run


def _length(brought: Given) -> int:
    return max(0 if array is None else len(array) for array in brought.values())


def _arrays(net: Any, names: Any, x: Any, y: Any, weights: Any = None) -> Given:
    """What this rank has brought, as arrays that have yet to pass the gate; None where it has brought nothing."""
    given = ("x", None if x is None else net._inputs.in_order(x, names)), ("y", y), ("sample_weight", weights)
    return {name: None if value is None else _validate.array(value, name) for name, value in given}


def _split(n: int, share: Any) -> tuple[range, range | None]:
    """The rows to train on, and the last ones, of this share, to validate on."""
    held = round(_validate.number(share, "validation_split", 0, below=1) * n)
    if share and not 0 < held < n:
        raise ValueError(f"validation_split: expected a share with rows on both sides, got {share} of {n} rows")
    return range(n - held), range(n - held, n) if share else None


def _validated(given: Any, held: range | None) -> tuple[Any, ...]:
    if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
        raise TypeError(f"validation_data: expected (x, y) or (x, y, sample_weight), got {_validate.shown(given)}")
    if held is not None:
        raise ValueError("validation_split: expected 0 beside validation_data, got both")
    return tuple(given)


def _resume(ranks: Ranks, net: Any, run: Run, path: Any, names: Any) -> None:
    """Go on from a checkpoint, which rank 0 reads."""
    if path is None:
        return
    optimizer = run.optimizer
    if ranks.rank == 0:
        begun = net._begun(run, path, names)
        net._take_over(run, *begun)
    kept = ranks.from_first(
        (net.parameters, net.buffers, (net.seed, net.epochs, net.steps, net.feature_names), optimizer.state,
         (optimizer.steps, optimizer.learning_rate), dict(run.history), (run.epoch, run.seed))
    )  # fmt: skip
    if ranks.rank > 0:
        net.parameters[...], net.buffers[...] = kept[:2]
        net.seed, net.epochs, net.steps, net.feature_names = kept[2]
        optimizer.bind(net)
        optimizer.state, (optimizer.steps, optimizer.learning_rate) = kept[3:5]
        run.history.extend(kept[5])
        run.epoch, run.seed = kept[6]


class Whole(NamedTuple):
    """What each rank knows of all rows."""

    #: None: each counts once.
    weights: Array | None
    #: The targets, where metrics want them.
    y: Array | None


def _whole(
    ranks: Ranks, data: Data, partition: Partition, weights: Array | None, objective: Objective, asked: dict[str, Any]
) -> Whole:
    counts = [len(partition.rows_of(rank)) for rank in range(ranks.size)]
    n, class_weight = partition.rows, asked["class_weight"]
    if weights is not None:
        weights = _validate.weights(ranks.joined(weights, counts), n)
    y = ranks.joined(data.y, counts) if asked["metrics"] or class_weight is not None else None
    if y is not None:
        weighted = gate.weighted_by_class(Data(y, None, None, weights, y), class_weight, objective)
        weights = weighted.weights
    if weights is not None:
        mine = partition.rows_of(ranks.rank)
        data.weights = weights[mine.start : mine.stop]
    return Whole(weights, y if asked["metrics"] else None)


# The epochs.


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
    #: What the whole batch counts for.
    weight: float
    #: Where outputs belong; None: nobody wants them.
    outputs: Array | None = None


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
        self.ranks, self.data = ranks, data
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
        total, found = self._gradients(run, batch)
        if not math.isfinite(total):
            return False
        net.gradients[...], run.loss = found, _value(run, total, batch.weight)
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

    def _gradients(self, run: Run, batch: Batch) -> tuple[float, Array]:
        """The sum of the losses of a batch, NaN where one is not finite, and the gradients of all its shards."""
        net, objective, values = run.network, run.settings.objective, []
        sharing = [self.places.of(rank) for rank in range(self.ranks.size)]
        tree = Tree(sharing[self.ranks.rank].start)
        for shard, data, places in batch.parts:
            found, share = np.zeros((1, 2)), 1.0
            if data is None:
                net.gradients[...] = 0
            else:
                share = data.weight / batch.weight if objective.mean and batch.weight else 1.0
                outputs = None if batch.outputs is None else np.empty((len(data), net.n_out), net.dtype)
                loss = gradients(
                    run.engine, data, objective, found, seed=_seed(run.seed, shard), step=net.steps,
                    threads=run.settings.threads, outputs=outputs,
                )  # fmt: skip
                found[0, 0] = found[0, 0] if math.isfinite(loss) else math.nan
                if batch.outputs is not None:
                    batch.outputs[places] = outputs
            values.append(found[0, 0])
            tree.add(net.gradients * net.dtype.type(share))
        losses = self.ranks.meet(values, max(map(len, sharing)))
        total = math.fsum(losses[rank, i] for rank, some in enumerate(sharing) for i in range(len(some)))
        return total, self.ranks.total(tree.held, sharing)

    def _full_batch(self, run: Run, count: int) -> Array:
        """The losses before some iterations."""
        net, optimizer, batch = run.network, run.optimizer, self.everything(run)
        begun = optimizer.steps

        def evaluate() -> tuple[float, Array]:
            total, found = self._gradients(run, batch)
            value = _value(run, total, batch.weight)
            return value, found if math.isfinite(value) else np.full_like(found, np.nan)

        try:
            losses = optimizer.minimize(net, evaluate, count)
        except DivergedError:
            raise steps.diverged(run.epoch, 0, optimizer) from None
        finally:
            net.epochs += optimizer.steps - begun
        return np.array([[loss, 1.0] for loss in losses])

    # What is known of each epoch, and who is told.

    def _compare(self, run: Run) -> None:
        """Whether all ranks still have the same network."""
        digests = self.ranks.all(_digest(run.network))
        for rank, digest in enumerate(digests):
            if digest != digests[0]:
                raise RuntimeError(
                    f"epoch {run.epoch}: expected the same parameters on all ranks, got others on rank {rank} than on "
                    "rank 0: do their processors or builds differ? BACKPROP_ISA=baseline makes them alike"
                )

    def validate(self, net: Any, objective: Objective, local: Given, partition: Partition) -> Data:
        """Evaluate on these rows after each epoch: each rank predicts its own, and all measure all of them."""
        ranks = self.ranks
        counts = [len(partition.rows_of(rank)) for rank in range(ranks.size)]
        if not partition.rows:
            raise ValueError("validation_data: expected at least one row on some rank, got none")
        with _validate.within("validation_data"):
            x = net._inputs.lazy_rows(local["x"])
            y, weights = (
                None if local[name] is None else ranks.joined(local[name], counts) for name in ("y", "sample_weight")
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
        told = self.ranks.from_first((run.stop, getattr(optimizer, "learning_rate", None), _digest(net)))
        if self.ranks.rank > 0 and told[1] is not None:
            run.stop, optimizer.learning_rate = told[:2]
        if any(self.ranks.all(told[2] != _digest(net))):
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
                weight = math.fsum(value for some in rows.values() for value in weights[some])
            yield Batch([self._part(shard, rows[shard] - self._first) for shard in own], weight, self._outputs)

    def _order(self, run: Run, shard: int) -> Array:
        """Of the rows of a shard, by their places among all rows."""
        order = np.arange(self.places.size(shard))
        if run.settings.shuffle:
            _core.permutation(_seed(run.seed, shard), run.network.epochs, order)
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
        return Batch(parts, len(self) if weights is None else math.fsum(weights), self._outputs)

    def seen(self) -> steps.Outputs:
        """The outputs of an epoch that was gone through, beside y."""
        counts = [len(self.places.rows_of(rank)) for rank in range(self.ranks.size)]
        return self.ranks.joined(self._outputs, counts), self._whole.y


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
                local, places = distribute(self.ranks, _of_batch(net, brought), self.places.shards)
            yield from self._batch(run, local, places, count)
            count += 1
        if not count:
            raise ValueError("x: expected at least one batch, got none: an iterator gives its batches only once")

    def _batch(self, run: Run, local: Given, places: Partition, number: int) -> Iterator[Batch]:
        own, first = places.of(self.ranks.rank), places.rows_of(self.ranks.rank).start
        counts = [len(places.rows_of(rank)) for rank in range(self.ranks.size)]
        data = outputs = None
        if counts[self.ranks.rank]:
            with _validate.within(f"batch {number}"):
                data = self.data.gate(tuple(array for array in local.values() if array is not None))
        weight: float = places.rows
        if any(self.ranks.all(data is not None and data.weights is not None)):
            weights = np.zeros(0) if data is None or data.weights is None else data.weights
            weight = math.fsum(self.ranks.joined(weights, counts))
        if run.settings.metrics:
            outputs = np.empty((counts[self.ranks.rank], run.network.n_out), run.network.dtype)
        parts = []
        for shard in own:
            rows = slice(places.begin(shard) - first, places.begin(shard + 1) - first)
            parts.append(Part(shard, data.rows(rows) if data is not None and places.size(shard) else None, rows))
        yield Batch(parts, weight, outputs)
        if outputs is not None:
            self._seen.append((self.ranks.joined(outputs, counts), self.ranks.joined(local["y"], counts)))

    def seen(self) -> steps.Outputs:
        """The outputs of an epoch that was gone through, beside y."""
        outputs, y = zip(*self._seen, strict=True)
        return np.concatenate(outputs), np.concatenate(y)


def _of_batch(net: Any, batch: Any) -> Given:
    if batch is None:
        return {"x": None, "y": None, "sample_weight": None}
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3) or np.isscalar(batch[0]):
        raise TypeError(f"expected (x, y) or (x, y, sample_weight), got {_validate.shown(batch)}: was y forgotten?")
    return _arrays(net, net.feature_names, *batch)


def _value(run: Run, total: float, weight: float) -> float:
    """The loss of rows whose losses have this sum."""
    return total / weight if run.settings.objective.mean and weight else total


def _seed(seed: int, shard: int) -> int:
    """Of the order of the rows of a shard, and of its dropped numbers; the first has that of the run."""
    return int((seed + 0x9E3779B97F4A7C15 * shard) % 2**63)
