"""What runs a network's layers: a compiled plan of all of them, or a chain of plans and of layers in Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from . import _core, _validate, activations
from .layers import INPUT, Layer, Program, lower_chain

__all__ = ["Chain", "Storage", "build"]

Array = _validate.Array


class Storage:
    """The flat vectors of a network, in which each leaf gets its views.

    Parameters
    ----------
    leaves : list of Layer
        With sizes; they are bound here.
    dtype : numpy.dtype

    Attributes
    ----------
    parameters, gradients, buffers : numpy.ndarray, shape (n,), (n,) and (m,)
    """

    def __init__(self, leaves: list[Layer], dtype: np.dtype[Any]) -> None:
        n = sum(math.prod(shape) for leaf in leaves for shape in leaf.shapes().values())
        kept = sum(math.prod(shape) for leaf in leaves for shape in leaf.buffers().values())
        _validate.fits_in_memory(2 * n, dtype, f"the {n:.3g} parameters and their gradients")
        self.with_room = _vector(n, dtype), _vector(n, dtype)
        self.parameters, self.gradients = (vector[:n] for vector in self.with_room)
        self.buffers = np.zeros(kept, dtype)
        at = at_buffer = 0
        for leaf in leaves:
            views: dict[str, Array] = {}
            offsets: dict[str, int] = {}
            for name, shape in leaf.shapes().items():
                offsets[name], end = at, at + math.prod(shape)
                views[name], views[f"{name}_grad"] = (
                    vector[at:end].reshape(shape) for vector in (self.parameters, self.gradients)
                )
                at = end
            for name, shape in leaf.buffers().items():
                offsets[name], end = at_buffer, at_buffer + math.prod(shape)
                views[name] = self.buffers[at_buffer:end].reshape(shape)
                at_buffer = end
            leaf.bind(views, offsets)


def _vector(n: int, dtype: np.dtype[Any]) -> Array:
    """A vector of zeros that begins a cache line, with room behind it for what the kernels read beyond a row's end."""
    line = 64 // dtype.itemsize
    storage = np.zeros(n + _core.ROOM + line, dtype)
    return storage[-(storage.ctypes.data // dtype.itemsize) % line :][: n + _core.ROOM]


def build(layers: Sequence[Layer], storage: Storage) -> _core.Plan | Chain:
    """Lower layers to a plan; where some are Python's, to a chain of plans and those."""
    program, parts = Program(), []
    compiled, run = False, tuple(layers)
    for compiled, some in groupby(layers, lambda layer: layer.compiled):
        for run in [tuple(some)] if compiled else [(layer,) for layer in some]:
            part: _core.Plan | Layer = run[0]
            if compiled:
                program.steps = []
                lower_chain(run, program, INPUT)
                part = _plan(program.steps, run, storage)
            else:
                program.key += 1
            assert run[-1].n_out is not None
            parts.append((part, run[-1].n_out))
    if len(parts) == 1 and isinstance(parts[0][0], _core.Plan):
        return parts[0][0]
    chain = Chain(parts, storage.parameters.dtype)
    if compiled:  # the last run, whose steps are still there
        operation, _, *rest = program.steps[-1]
        program.steps[-1] = operation, activations.identity.code, *rest
        chain.beneath = Chain([*parts[:-1], (_plan(program.steps, run, storage), parts[-1][1])], chain.dtype)
    return chain


def _plan(steps: list[tuple[Any, ...]], layers: tuple[Layer, ...], storage: Storage) -> _core.Plan:
    """The plan of these steps, with the penalties of the layers that they come from."""
    penalties = [penalty for layer in layers for _, leaf in layer.leaves() for penalty in leaf.penalties()]
    return _core.Plan(*storage.with_room, len(storage.parameters), steps, storage.buffers, tuple(penalties))


class Chain:
    """Parts of a network, one after the other: compiled plans, and layers that bring their own forward and backward.

    It offers what a plan does, but for training as a whole.

    Parameters
    ----------
    parts : list of (Plan or Layer, int)
        And how many numbers a row has after each.
    dtype : numpy.dtype

    Attributes
    ----------
    beneath : Chain
        Where the last part is a plan: the same without the activation at its end, for a loss that takes logits.
    """

    beneath: Chain

    def __init__(self, parts: list[tuple[_core.Plan | Layer, int]], dtype: np.dtype[Any]) -> None:
        self.parts, self.dtype = parts, dtype
        self.work = sum(part.work for part, _ in parts if isinstance(part, _core.Plan))
        self._widths: list[int] = []

    def penalty(self) -> float:
        """What the penalties of all parts add to the loss."""
        return sum(part.penalty() for part, _ in self.parts if isinstance(part, _core.Plan))

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
            out[...] = x
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
        out[...] = x

    def backward(self, dy: Array, dx: Array | None = None) -> None:
        """From dy of the last forward to the gradients of all parts and, where it is given, dx."""
        if not self._widths:
            raise ValueError("expected a forward before a backward, got none")
        for (part, _), width in zip(reversed(self.parts), reversed(self._widths), strict=True):
            if isinstance(part, _core.Plan):
                found = np.empty((len(dy), width), self.dtype)
                part.backward(dy, found)
            else:
                found = self._checked(part.backward(dy), f"what the backward of {part!r} returned", len(dy), width)
            dy = found
        if dx is not None:
            dx[...] = dy

    def _checked(self, found: Any, what: str, rows: int, width: int) -> Array:
        given = _validate.array(found, what)
        if given.shape != (rows, width):
            raise ValueError(f"{what}: expected shape {(rows, width)}, got {given.shape}")
        return np.ascontiguousarray(given, self.dtype)
