"""The flat vectors of a network, in which each layer has its views."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import _core, _validate

__all__ = ["Storage", "unchanged"]

Array = _validate.Array


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
    padded : tuple of numpy.ndarray
        Parameters and gradients with the room behind them that the kernels read and write.
    begin : int
        Where its parameters begin among those that the layers were bound to: not 0 in a slice of a network.
    """

    begin = 0

    def __init__(self, leaves: Mapping[str, Any], dtype: np.dtype[Any], arrays: dict[str, Array] | None = None) -> None:
        n, kept = _sizes(leaves.values())
        _validate.fits_in_memory(2 * n, dtype, f"the {n:.3g} parameters and their gradients")
        padded = _vector(n, dtype)
        self.parameters, self.buffers = padded[:n], np.zeros(kept, dtype)
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
        self.padded = padded, _vector(n, dtype)  # the second only now, when the arrays of a file are gone
        self.gradients = self.padded[1][:n]
        for place, leaf in leaves.items():
            for name, shape in leaf.shapes().items():
                begin = offsets[place][name]
                views[place][f"{name}_grad"] = self.gradients[begin : begin + math.prod(shape)].reshape(shape)
            leaf.bind(views[place], offsets[place])

    def part(self, before: Iterable[Any], leaves: Iterable[Any]) -> Storage:
        """The same memory, of these leaves alone; before them lie others."""
        (begin, first), (n, kept) = _sizes(before), _sizes(leaves)
        part = object.__new__(Storage)
        part.begin, part.buffers = self.begin + begin, self.buffers[first : first + kept]
        parameters, gradients = (vector[begin : begin + n + _core.ROOM] for vector in self.padded)
        part.padded, part.parameters, part.gradients = (parameters, gradients), parameters[:n], gradients[:n]
        return part

    def offset(self, view: Array) -> int:
        """Where a parameter begins among all parameters."""
        return _distance(self.parameters, view)

    def buffer_offset(self, view: Array) -> int:
        """Where a buffer begins among all buffers."""
        return _distance(self.buffers, view)


@contextmanager
def unchanged(net: Any) -> Iterator[None]:
    """All numbers of a network are the same after the block, and so is what its custom layers keep."""
    vectors = net.parameters, net.gradients, net.buffers
    kept = [vector.copy() for vector in vectors]
    custom = [operation.layer for operation in net.graph if operation.kind == "python"]
    attributes = [dict(vars(layer)) for layer in custom]
    counters = net.seed, net.epochs, net.steps
    try:
        yield
    finally:
        for vector, before in zip(vectors, kept, strict=True):
            vector[...] = before
        for layer, had in zip(custom, attributes, strict=True):
            vars(layer).clear()
            vars(layer).update(had)
        net.seed, net.epochs, net.steps = counters


def _sizes(leaves: Iterable[Any]) -> tuple[int, int]:
    """How many parameters they have, and how many buffers."""
    n = kept = 0
    for leaf in leaves:
        n += sum(map(math.prod, leaf.shapes().values()))
        kept += sum(map(math.prod, leaf.buffers().values()))
    return n, kept


def _distance(whole: Array, view: Array) -> int:
    begin, at = (int(array.__array_interface__["data"][0]) for array in (whole, view))
    found = (at - begin) // whole.itemsize
    if not 0 <= found <= whole.size - view.size:
        raise ValueError("expected arrays of this network, got others")
    return found


def _vector(n: int, dtype: np.dtype[Any]) -> Array:
    """A vector of zeros that begins a cache line, with room behind it for what the kernels read beyond a row's end."""
    line = 64 // dtype.itemsize
    storage = np.zeros(n + _core.ROOM + line, dtype)
    return storage[-(storage.ctypes.data // dtype.itemsize) % line :][: n + _core.ROOM]
