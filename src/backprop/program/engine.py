"""What runs a graph: a compiled plan of all of it, or, where layers are custom, a chain of plans and of those."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import _core, _validate, activations, schedules
from .graph import Graph, Operation
from .storage import Storage

__all__ = ["Chain", "Engine", "build", "norms", "outputs", "penalties", "runs"]

Array = _validate.Array
#: The input of a plan, among the numbers of its ops.
FIRST = -1


class Op(NamedTuple):
    """An operation as the compiled core sees it: codes, sizes and places in the flat vectors."""

    operation: int
    activation: int
    #: Of the activation, or the number that the operation's kernel takes.
    number: float
    n_in: int
    n_out: int
    weight: int = -1
    bias: int = -1
    source: int = FIRST
    other: int = FIRST
    key: int = 0
    extra: tuple[Any, ...] = ()


class Engine(Protocol):
    """What a `Plan` and a `Chain` offer."""

    @property
    def work(self) -> float:
        """Multiply-adds of a row on the way forward."""
        ...

    def penalty(self) -> float:
        """What the penalties of the layers add to the loss."""
        ...

    def predict(self, x: Array, out: Array, logits: bool = False, threads: int = 1) -> bool:
        """Write the outputs for x into out; whether all of x is finite. Logits: without the last activation."""
        ...

    def forward(
        self, x: Array, out: Array, seed: int = 0, step: int = 0, training: bool = True, logits: bool = False
    ) -> None:
        """The same, keeping what `backward` needs; in training mode or in evaluation mode."""

    def backward(self, dy: Array, dx: Array | None = None, penalties: float = 1.0, parameters: bool = True) -> None:
        """From dy of the last forward to the gradients of the parameters, if wanted, with those of the penalties so
        many times, and, where it is given, to dx.
        """


#: A compiled plan, or a custom layer; and the features of a row after it.
Part = tuple["_core.Plan | Any", int]


def build(graph: Graph, storage: Storage, core: Any = _core) -> _core.Plan | Chain:
    """An engine for a graph whose arrays are views into this storage, by the build in use of the core or by another."""
    parts = [_part(run, storage, core) for run in runs(graph)]
    whole: Any = parts[0][0]
    return whole if len(parts) == 1 and isinstance(whole, core.Plan) else Chain(parts, storage)


def outputs(graph: Graph, storage: Storage, x: Array, threads: int = 1) -> list[Array]:
    """What each operation of a graph gives for rows that are finite, in evaluation mode, to the last bit as `predict`.

    Each is computed from the input again: those in between need not be finite.
    """
    found = []
    for operation in graph:
        out = np.empty((len(x), operation.n_out), graph.dtype)
        build(graph.until(operation.name), storage).predict(x, out, threads=threads)
        found.append(out)
    return found


def norms(graph: Graph, storage: Storage) -> Iterator[tuple[Array, Chain]]:
    """Mean and variance of each batch norm that is not frozen, a view (2, n), and what computes its input.

    They come in the order in which they are computed, so what is written into one counts for the next.
    """
    for norm in graph:
        if norm.kind == "batch_norm" and norm.layer.effective_momentum():
            begin = storage.buffer_offset(norm.buffers["running_mean"])
            before = graph.before(norm.name)
            parts = [_part(run, storage) for run in runs(before)] or [_identity(graph.n_in, storage)]
            yield storage.buffers[begin : begin + 2 * norm.n_in].reshape(2, norm.n_in), Chain(parts, storage)


def _identity(n: int, storage: Storage) -> Part:
    """What hands on the input of a network."""
    op = Op(_core.OPERATIONS["activation"], activations.identity.code, 0.0, n, n)
    return _core.Plan(*storage.padded, len(storage.parameters), [op], storage.buffers, ()), n


def runs(graph: Graph) -> Iterator[list[Operation]]:
    """Operations that are computed as one plan; a custom layer is alone."""
    for custom, some in groupby(graph, lambda operation: operation.kind == "python"):
        run = list(some)
        yield from [[operation] for operation in run] if custom else [run]


def _part(run: Sequence[Operation], storage: Storage, core: Any = _core) -> Part:
    last = run[-1]
    if last.kind == "python":
        return last.layer, last.n_out
    of_layers = tuple(it for operation in run for it in penalties(operation.layer, storage))
    ops = _ops(run, storage)
    return core.Plan(*storage.padded, len(storage.parameters), ops, storage.buffers, of_layers), last.n_out


def penalties(layer: Any, storage: Storage) -> list[tuple[int, int, float, float]]:
    """Parts of the flat vector (begin, end), and their l1 and l2."""
    found = [] if layer is None else layer.penalties()
    return [(begin - storage.begin, end - storage.begin, l1, l2) for begin, end, l1, l2 in found]


def penalties_of(net: Any) -> list[tuple[int, int, float, float]]:
    """Those of all layers of a network."""
    return [found for leaf in net.leaves.values() for found in penalties(leaf, net._storage)]


def _ops(run: Sequence[Operation], storage: Storage) -> list[tuple[Any, ...]]:
    """The ops of the core for operations of which the first takes the input of the plan."""
    ops: list[tuple[Any, ...]] = []
    places = {run[0].inputs[0]: FIRST}
    for operation in run:
        sources = [places[name] for name in operation.inputs]
        if operation.kind == "concatenate":
            places[operation.name] = _join(operation, sources, run[0].n_in, ops)
            continue
        code, activation = _core.OPERATIONS[_KERNELS.get(operation.kind, operation.kind)], operation.activation
        first = next(iter(operation.attributes.values()), None)
        number = first if isinstance(first, float) else activation.slope
        apart = activation.code in _core.NEEDS_Z and operation.kind != "activation"
        ops.append(
            Op(
                code, (activations.identity if apart else activation).code, number, operation.n_in, operation.n_out,
                *_weights(operation, storage), sources[0], sources[-1] if len(sources) > 1 else FIRST,
                operation.key, _extra(operation, storage),
            )
        )  # fmt: skip
        if apart:  # its derivative needs its input: then it is there, as the output of the step before
            ops.append(
                Op(
                    _core.OPERATIONS["activation"], activation.code, activation.slope, operation.n_out,
                    operation.n_out, source=len(ops) - 1, key=operation.key,
                )
            )  # fmt: skip
        places[operation.name] = len(ops) - 1
    return ops


#: Attributes that say of which groups an operation is made.
_GROUPS = ("waves", "bins", "groups")
#: Operations that have the kernels of another.
_KERNELS = {"embedding": "columns"}


def _weights(operation: Operation, storage: Storage) -> tuple[int, int]:
    """Where weight and bias begin; -1 where there is none. Tables are named column by column."""
    weight, bias = (operation.parameters.get(name) for name in ("weight", "bias"))
    if weight is None or operation.kind == "embedding":
        return -1, -1
    return storage.offset(weight), -1 if bias is None else storage.offset(bias)


def _extra(operation: Operation, storage: Storage) -> tuple[Any, ...]:
    """What some operations take beside: a batch norm its momentum and its buffers, columns their tables, a dropout with
    a schedule that, a clip its upper bound.
    """
    rate = operation.attributes.get("rate")
    if callable(rate):
        return (lambda first, count: schedules.values(rate, "rate", first, count, below=1),)
    if operation.kind == "clip":
        return (operation.attributes["high"],)
    if operation.kind == "batch_norm":
        return operation.layer.effective_momentum, storage.buffer_offset(operation.buffers["running_mean"])
    groups = next((operation.attributes[name] for name in _GROUPS if name in operation.attributes), None)
    if groups is not None:
        edges = operation.buffers.get("bin_edges", np.empty(0))
        place = storage.buffer_offset(edges) if edges.size else 0
        return place, tuple((*group, 0, 0)[:4] for group in groups)
    found = []
    for _, count, name in operation.attributes.get("tables", ()):
        table = None if name is None else operation.parameters[name]
        found.append((-1, 1, 1, count) if table is None else (storage.offset(table), *table.shape, count))
    return tuple(found)


def _join(operation: Operation, sources: Sequence[int], n_first: int, ops: list[tuple[Any, ...]]) -> int:
    """Outputs side by side, joined two by two."""
    joined = sources[0]
    widths = [n_first if source == FIRST else Op(*ops[source]).n_out for source in sources]
    width = widths[0]
    for other, more in zip(sources[1:], widths[1:], strict=True):
        wider = width + more
        code = _core.OPERATIONS["join"], activations.identity.code
        ops.append(Op(*code, 0.0, width, wider, source=joined, other=other, key=operation.key))
        joined, width = len(ops) - 1, wider
    return joined


class Chain:
    """Parts of a network, one after the other: compiled plans, and layers that bring their own forward and backward.

    It offers what a plan does, but for training as a whole.

    Parameters
    ----------
    parts : list of (Plan or Layer, int)
        And the features of a row after each.
    storage : Storage
        What the parts have their views into.
    """

    def __init__(self, parts: list[Part], storage: Storage) -> None:
        self.parts, self.dtype, self._storage = parts, storage.parameters.dtype, storage
        self._penalties = [it for part in self._custom() for it in penalties(part, storage)]
        self.work = sum(part.work for part, _ in parts if isinstance(part, _core.Plan))
        self._widths: list[int] = []

    def _custom(self) -> list[Any]:
        return [part for part, _ in self.parts if not isinstance(part, _core.Plan)]

    def penalty(self) -> float:
        """What the penalties of all parts add to the loss."""
        total = sum(part.penalty() for part, _ in self.parts if isinstance(part, _core.Plan))
        for begin, end, l1, l2 in self._penalties:
            weight = self._storage.parameters[begin:end].astype(np.float64)
            total += float(l1 * abs(weight).sum() + l2 * np.square(weight).sum())
        return total

    def predict(self, x: Array, out: Array, logits: bool = False, threads: int = 1) -> bool:
        """Write the outputs for x into out; whether all of x is finite."""
        if not _core.all_finite(x.reshape(-1)):
            return False
        for i, (part, width) in enumerate(self.parts):
            last = i == len(self.parts) - 1
            if isinstance(part, _core.Plan):
                y = out if last else np.empty((len(x), width), self.dtype)
                if not part.predict(x, y, logits and last, threads):
                    raise ValueError(f"{self.parts[i - 1][0]!r}: expected finite numbers from its forward, got others")
            else:
                y = self._checked(part.forward(x, False), f"what the forward of {part!r} returned", len(x), width)
            x = y
        if x is not out:
            _validate.put(out, x)
        return True

    def forward(
        self, x: Array, out: Array, seed: int = 0, step: int = 0, training: bool = True, logits: bool = False
    ) -> None:
        """As predict, keeping what backward needs."""
        self._widths = []
        if not training:
            for layer in self._custom():
                raise TypeError(f"forward: expected built-in layers with training=False, got {layer!r}")
        widths = []
        for part, width in self.parts:
            widths.append(x.shape[1])
            if isinstance(part, _core.Plan):
                y = np.empty((len(x), width), self.dtype)
                part.forward(x, y, seed, step, training, logits and part is self.parts[-1][0])
            else:
                y = self._checked(part.forward(x, True), f"what the forward of {part!r} returned", len(x), width)
            x = y
        self._widths = widths
        _validate.put(out, x)

    def backward(self, dy: Array, dx: Array | None = None, penalties: float = 1.0, parameters: bool = True) -> None:
        """From dy of the last forward to the gradients, those of the penalties so many times, and, where given, dx."""
        if not self._widths:
            raise ValueError("dy: expected a forward before each backward, got none")
        for (part, _), width in zip(reversed(self.parts), reversed(self._widths), strict=True):
            if isinstance(part, _core.Plan):
                found = np.empty((len(dy), width), self.dtype)
                part.backward(dy, found, penalties, parameters)
            else:
                found = self._checked(part.backward(dy), f"what the backward of {part!r} returned", len(dy), width)
            dy = found
        for begin, end, l1, l2 in self._penalties if parameters else ():
            weight = self._storage.parameters[begin:end]
            self._storage.gradients[begin:end] += penalties * (l1 * np.sign(weight) + 2 * l2 * weight)
        if dx is not None:
            _validate.put(dx, dy)

    def _checked(self, found: Any, what: str, rows: int, width: int) -> Array:
        given = _validate.array(found, what)
        if given.shape != (rows, width):
            raise ValueError(f"{what}: expected shape {(rows, width)}, got {given.shape}")
        return _validate.contiguous(given, self.dtype)
