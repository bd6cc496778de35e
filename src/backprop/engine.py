"""What runs a network's layers: a compiled plan of all of them, or a chain of plans and of layers in Python."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from . import _core, _validate, activations
from .layers import INPUT, Layer, Program, lower_chain

__all__ = ["Chain", "Storage", "build", "norms"]

Array = _validate.Array
Step = tuple[Any, ...]
#: A compiled plan, or a layer in Python; and how many numbers a row has after it.
Part = tuple["_core.Plan | Layer", int]


class Storage:
    """The flat vectors of a network, in which each leaf gets its views.

    Parameters
    ----------
    leaves : dict of str to Layer
        With sizes; they are bound here.
    dtype : numpy.dtype
    arrays : dict of str to numpy.ndarray, optional
        What parameters and buffers begin with, by their names in a model file; each is given up once it is copied.

    Attributes
    ----------
    parameters, gradients, buffers : numpy.ndarray, shape (n,), (n,) and (m,)
    """

    def __init__(
        self, leaves: Mapping[str, Layer], dtype: np.dtype[Any], arrays: dict[str, Array] | None = None
    ) -> None:
        n = sum(math.prod(shape) for leaf in leaves.values() for shape in leaf.shapes().values())
        kept = sum(math.prod(shape) for leaf in leaves.values() for shape in leaf.buffers().values())
        _validate.fits_in_memory(2 * n, dtype, f"the {n:.3g} parameters and their gradients")
        with_room = _vector(n, dtype)
        self.parameters, self.buffers = with_room[:n], np.zeros(kept, dtype)
        views: dict[str, dict[str, Array]] = {}
        offsets: dict[str, dict[str, int]] = {}
        at = at_buffer = 0
        for place, leaf in leaves.items():
            views[place], offsets[place] = {}, {}
            for name, shape in leaf.shapes().items():
                offsets[place][name], end = at, at + math.prod(shape)
                views[place][name] = self.parameters[at:end].reshape(shape)
                at = end
            for name, shape in leaf.buffers().items():
                offsets[place][name], end = at_buffer, at_buffer + math.prod(shape)
                views[place][name] = self.buffers[at_buffer:end].reshape(shape)
                at_buffer = end
            if arrays is not None:
                for name, view in views[place].items():
                    _validate.put(view, arrays.pop(f"{place}.{name}"))
        self.with_room = with_room, _vector(n, dtype)  # the second only now, when the arrays of a file are gone
        self.gradients = self.with_room[1][:n]
        for place, leaf in leaves.items():
            for name, shape in leaf.shapes().items():
                begin = offsets[place][name]
                views[place][f"{name}_grad"] = self.gradients[begin : begin + math.prod(shape)].reshape(shape)
            leaf.bind(views[place], offsets[place])


def _vector(n: int, dtype: np.dtype[Any]) -> Array:
    """A vector of zeros that begins a cache line, with room behind it for what the kernels read beyond a row's end."""
    line = 64 // dtype.itemsize
    storage = np.zeros(n + _core.ROOM + line, dtype)
    return storage[-(storage.ctypes.data // dtype.itemsize) % line :][: n + _core.ROOM]


def build(layers: Sequence[Layer], storage: Storage, *, beneath: bool = False) -> _core.Plan | Chain:
    """Lower layers to a plan; where some are Python's, to a chain of plans and those.

    Beneath the end: without the activation of the last layer, for a loss that takes logits.
    """
    runs = list(_runs(layers))
    if beneath and (steps := runs[-1][1]):
        operation, _, *rest = steps[-1]
        steps[-1] = operation, activations.identity.code, *rest
    parts = [_part(run, steps, storage) for run, steps in runs]
    whole = parts[0][0]
    return whole if len(parts) == 1 and isinstance(whole, _core.Plan) else Chain(parts, storage)


def norms(layers: Sequence[Layer], storage: Storage) -> Iterator[tuple[Array, Chain]]:
    """Mean and variance of each batch norm that is not frozen, a view (2, n), and what runs all that comes before it.

    They come in the order in which they are computed, so what is written into one counts for the next.
    """
    parts: list[Part] = []
    for run, steps in _runs(layers):
        for s, (operation, _, _, n, _, _, _, source, _, key, extra) in enumerate(steps):
            if operation == _core.OPERATIONS["batch_norm"] and extra[0]():
                taken = (
                    _core.OPERATIONS["activation"], activations.identity.code, 0.0, n, n, -1, -1, source, INPUT, key, ()
                )  # fmt: skip
                before = _plan([*steps[:s], taken], (), storage)
                statistics = storage.buffers[extra[1] : extra[1] + 2 * n].reshape(2, n)
                yield statistics, Chain([*parts, (before, n)], storage)
        parts.append(_part(run, steps, storage))


def _runs(layers: Sequence[Layer]) -> Iterator[tuple[tuple[Layer, ...], list[Step]]]:
    """Layers that are computed as one, and the steps that they become; a layer in Python is alone, and none."""
    program = Program()
    for compiled, some in groupby(layers, lambda layer: layer.compiled):
        for run in [tuple(some)] if compiled else [(layer,) for layer in some]:
            program.steps = []
            if compiled:
                lower_chain(run, program, INPUT)
            else:
                program.key += 1
            yield run, program.steps


def _part(run: tuple[Layer, ...], steps: list[Step], storage: Storage) -> Part:
    assert run[-1].n_out is not None
    return _plan(steps, run, storage) if run[0].compiled else run[0], run[-1].n_out


def _plan(steps: list[Step], layers: tuple[Layer, ...], storage: Storage) -> _core.Plan:
    """The plan of these steps, with the penalties of the layers that they come from."""
    penalties = tuple(penalty for layer in layers for penalty in _penalties(layer))
    return _core.Plan(*storage.with_room, len(storage.parameters), steps, storage.buffers, penalties)


def _penalties(layer: Layer) -> list[tuple[int, int, float, float]]:
    return [penalty for _, leaf in layer.leaves() for penalty in leaf.penalties()]


class Chain:
    """Parts of a network, one after the other: compiled plans, and layers that bring their own forward and backward.

    It offers what a plan does, but for training as a whole.

    Parameters
    ----------
    parts : list of (Plan or Layer, int)
        And how many numbers a row has after each.
    storage : Storage
        What the parts have their views into.
    """

    def __init__(self, parts: list[Part], storage: Storage) -> None:
        self.parts, self.dtype, self._storage = parts, storage.parameters.dtype, storage
        self._penalties = [it for part, _ in parts if isinstance(part, Layer) for it in _penalties(part)]
        self.work = sum(part.work for part, _ in parts if isinstance(part, _core.Plan))
        self._widths: list[int] = []

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

    def forward(self, x: Array, out: Array, seed: int = 0, step: int = 0) -> None:
        """As predict, in training mode, keeping what backward needs."""
        self._widths = []
        for part, width in self.parts:
            self._widths.append(x.shape[1])
            if isinstance(part, _core.Plan):
                y = np.empty((len(x), width), self.dtype)
                part.forward(x, y, seed, step)
            else:
                y = self._checked(part.forward(x, True), f"what the forward of {part!r} returned", len(x), width)
            x = y
        _validate.put(out, x)

    def backward(self, dy: Array, dx: Array | None = None, penalties: float = 1.0) -> None:
        """From dy of the last forward to the gradients, those of the penalties so many times, and, where given, dx."""
        if not self._widths:
            raise ValueError("dy: expected a forward before each backward, got none")
        for (part, _), width in zip(reversed(self.parts), reversed(self._widths), strict=True):
            if isinstance(part, _core.Plan):
                found = np.empty((len(dy), width), self.dtype)
                part.backward(dy, found, penalties)
            else:
                found = self._checked(part.backward(dy), f"what the backward of {part!r} returned", len(dy), width)
            dy = found
        for begin, end, l1, l2 in self._penalties:
            weight = self._storage.parameters[begin:end]
            self._storage.gradients[begin:end] += penalties * (l1 * np.sign(weight) + 2 * l2 * weight)
        if dx is not None:
            _validate.put(dx, dy)

    def _checked(self, found: Any, what: str, rows: int, width: int) -> Array:
        given = _validate.array(found, what)
        if given.shape != (rows, width):
            raise ValueError(f"{what}: expected shape {(rows, width)}, got {given.shape}")
        return _validate.contiguous(given, self.dtype)
