"""A fit in shards: each batch is cut into some parts, whose gradients are added in one fixed tree.

The shards may be those of one process or of several, which hand one another the sums over an MPI communicator. What
comes out depends on the number of shards, to the last bit, and not on how many processes there are. All of them have
the whole network and make the same steps; the first one calls the callbacks.
"""

from __future__ import annotations

from typing import Any

from .. import _core, _validate, callbacks, optimizers
from ..distributed import Partition, Ranks, distribute, together
from ..program import data as gate
from ..program.data import Data
from ..program.objective import Objective
from . import loop
from .begin import begin
from .history import History
from .run import Run
from .shards import Dealt, Given, Rows, Shards, Whole, arrays, digest

__all__ = ["fit"]

Array = _validate.Array


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
        network=net, dtype=net.dtype, parameters=digest(net), steps=(net.steps, net.epochs), shards=count,
        **{name: _described(asked[name]) for name in names},
    )  # fmt: skip
    if count < ranks.size:
        raise ValueError(f"shards: expected at least one for each of {ranks.size} ranks, got {count}")
    norms = net._norms()
    if norms and isinstance(optimizers.get(asked["optimizer"]), optimizers.FullBatch):
        raise TypeError(
            f"optimizer: expected one of mini-batches with {norms[0]} and shards, got {asked['optimizer']!r}"
        )
    if norms and not isinstance(net._engine, _core.Plan):
        raise TypeError(f"shards: expected built-in layers with {norms[0]}, got custom ones")
    for callback in asked["callbacks"]:
        if isinstance(callback, callbacks.LearningRateFinder):
            raise TypeError(f"callbacks: expected none that trains on its own, got {callback!r}: run it without shards")
    if not net._objective(asked["loss"]).single().mean and any(leaf.penalties() for leaf in net.leaves.values()):
        raise ValueError(
            'loss: expected reduction="mean" where layers have an l1 or l2 and there are shards, got "sum"'
        )


def _described(value: Any) -> str:
    """What ranks compare: of what has no repr that says what it is, its class."""
    if isinstance(value, (list, tuple)):
        return str([_described(entry) for entry in value])
    named, said = getattr(value, "__qualname__", None), repr(value)
    return named or (said if " at 0x" not in said else type(value).__qualname__)


# The beginning.


def _begun(ranks: Ranks, net: Any, x: Any, y: Any, count: int, chosen: list[Any], asked: dict[str, Any]) -> Run:
    """The run of this rank, of the rows of its shards; rank 0 alone has the callbacks, and reads a checkpoint."""
    arguments = {name: asked[name] for name in ("loss", "optimizer", "epochs", "shuffle", "metrics", "rng")}
    arguments["threads"] = 1 if asked["threads"] is None and ranks.size > 1 else asked["threads"]
    arguments["callbacks"] = chosen if ranks.rank == 0 else []
    arguments |= {"sample_weight": None, "validation_data": None, "validation_split": 0.0}
    names, held, objective = None, None, net._objective(asked["loss"])
    kinds = ranks.all(
        "nothing" if x is None and y is None else "rows" if y is not None or gate.is_rows(x) else "batches"
    )
    if "batches" in kinds:
        x, weight = [] if x is None else x, asked["class_weight"]
        gate.check_batches(x, asked["epochs"], asked["sample_weight"], weight, asked["validation_split"])
        run = begin(net, x, None, batch_size=asked["batch_size"], class_weight=weight, **arguments)
        shards: Shards = Dealt(ranks, count, run.data)
    else:
        names = next((given for given in ranks.all(net._inputs.names_of(x)) if given), None)
        brought = arrays(ranks, net, names, x, y, asked["sample_weight"])
        kept, held = _split(sum(ranks.all(_length(brought))), asked["validation_split"])
        if len(kept) < count:
            raise ValueError(f"shards: expected at most one for each of {len(kept)} rows, got {count}")
        local, partition = distribute(ranks, brought, count, kept)
        size = len(kept) if asked["batch_size"] is None else asked["batch_size"]
        run = begin(net, local["x"], local["y"], batch_size=size, class_weight=None, **arguments)
        data = run.data
        assert isinstance(data, Data)
        whole = _whole(ranks, data, partition, local["sample_weight"], objective, asked)
        shards = Rows(ranks, data, partition, whole)
        if held is not None:
            run.settings.validation = shards.validate(net, objective, *distribute(ranks, brought, ranks.size, held))
    if any(ranks.all(asked["validation_data"] is not None)):
        if held is not None:
            raise ValueError("validation_split: expected 0 beside validation_data, got both")
        given = asked["validation_data"]
        brought = arrays(ranks, net, names, *((None, None) if given is None else gate.validation_rows(given)))
        run.settings.validation = shards.validate(net, objective, *distribute(ranks, brought, ranks.size))
    shards.hooks = callbacks.wants_batches(chosen)
    run.shards, run.seed = shards, ranks.from_first(run.seed)
    net.feature_names = names or net.feature_names
    _resume(ranks, net, run, asked["resume"], names)
    return run


def _length(brought: Given) -> int:
    return max(0 if array is None else len(array) for array in brought.values())


def _split(n: int, share: Any) -> tuple[range, range | None]:
    """The rows to train on, and the last ones, of this share, to validate on."""
    held = gate.count_held_out(n, _validate.number(share, "validation_split", 0, below=1))
    return range(n - held), range(n - held, n) if share else None


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


def _whole(
    ranks: Ranks, data: Data, partition: Partition, weights: Array | None, objective: Objective, asked: dict[str, Any]
) -> Whole:
    counts = partition.counts
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
