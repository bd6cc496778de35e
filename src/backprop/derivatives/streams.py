"""Derivatives along directions and tangents, and what comes back from their adjoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import _core, _validate, activations
from ..program import engine
from ..program.data import Data
from ..program.objective import Objective
from . import rows, slopes

__all__ = ["Products", "Streams", "refuse_zero_curvature", "room_for", "total_of"]

Array = _validate.Array
#: Slices of a batch, whose gradients are summed apart, at most; rows of one at least, and bytes of all of them at most.
SLICES, SLICE_ROWS, SLICE_BYTES = 16, 64, 1 << 25

#: Kinds of operations that are of straight pieces, as those who use them know them.
_STRAIGHT = {"prelu": "PReLU", "piecewise_linear": "PiecewiseLinearEmbedding"}


def room_for(rows: int, n: int) -> Array:
    """Zeros for the sums of the gradients of n parameters over so many rows."""
    return np.zeros((max(1, min(SLICES, rows // SLICE_ROWS, SLICE_BYTES // max(1, 8 * n))), n))


def total_of(sums: Array) -> Array:
    """The sum of the slices, in their order, in the place of the first."""
    for more in sums[1:]:
        sums[0] += more
    found: Array = sums[0]
    return found


class Streams:
    """The outputs of a network for some rows with their derivatives, and what their adjoints come back from.

    Parameters
    ----------
    net, x, order, directions, allow_zero_curvature, dropout, threads
        As `Sequential.derivatives` takes them.

    Attributes
    ----------
    results : tuple of numpy.ndarray
        What it returns.
    """

    def __init__(
        self, net: Any, x: Any, order: Any, directions: Any, allow_zero_curvature: Any, dropout: Any,
        threads: int | None,
    ) -> None:  # fmt: skip
        self._net, self._plan = net, rows.plan_of(net, "derivatives")
        self.order = _validate.integer(order, "order", 1, 2)
        if self.order == 2 and not _validate.flag(allow_zero_curvature, "allow_zero_curvature"):
            refuse_zero_curvature(net)
        self._directions = _directions(net, directions)
        x, dropped = rows.checked(net, x), rows.drops(net, dropout)
        shape = len(x), net.n_out, len(self._directions)
        self.results = tuple(np.empty(part, net.dtype) for part in (shape[:2], shape, shape)[: 1 + self.order])
        self._work = (1 + self.order * shape[2]) * self._plan.work * len(x)
        self._core = rows.run(self._work, threads, lambda count: _core.Derivatives(
            self._plan, x, self._directions, None, *self.results, drops=dropped, threads=count))  # fmt: skip
        self._at = _numbers(net)

    def forward(self, x: Array) -> tuple[Array, ...]:
        """The results for other rows, as many, which have passed the gate; in new arrays."""
        self.results = tuple(np.empty_like(part) for part in self.results)
        self._core.forward(x, *self.results)
        self._core.run()
        self._at = _numbers(self._net)
        return self.results

    def backward(self, adjoints: tuple[Any, Any, Any], threads: int | None) -> None:
        """See `Sequential.backward_derivatives`."""
        net = self._net
        if self._at != _numbers(net):
            raise ValueError(
                "backward_derivatives: expected the parameters of the last derivatives, got others: call derivatives "
                "again, after the step"
            )
        given = [_adjoint(net, name, value, shape) for name, value, shape in self._expected(adjoints)]
        sums = room_for(len(self.results[0]), len(net.parameters))
        self._core.backward(*given, sums)
        self._core.run()
        net.gradients[...] = total_of(sums) + of_penalties(net)

    def _expected(self, adjoints: tuple[Any, Any, Any]) -> Iterator[tuple[str, Any, tuple[int, ...] | None]]:
        """Names, adjoints and their shapes; None for none."""
        for i, (name, value) in enumerate(zip(("d_value", "d_first", "d_second"), adjoints, strict=True)):
            yield name, value, self.results[i].shape if i <= self.order else None


def _numbers(net: Any) -> tuple[bytes, bytes]:
    """All that the outputs depend on beside x."""
    return net.parameters.tobytes(), net.buffers.tobytes()


def _adjoint(net: Any, name: str, value: Any, shape: tuple[int, ...] | None) -> Array | None:
    if value is None:
        return None
    given = _validate.array(value, name)
    if shape is None:
        raise ValueError(f"{name}: expected None after derivatives of order 1, got an array {given.shape}")
    if given.shape != shape:
        raise ValueError(f"{name}: expected the shape of what derivatives returned, {shape}, got {given.shape}")
    return _validate.real(given, name, net.dtype)


def _directions(net: Any, given: Any) -> Array:
    if given is None:
        return np.eye(net.n_in, dtype=net.dtype)
    found = _validate.array(given, "directions")
    if found.ndim != 2 or found.shape[1] != net.n_in or not len(found):
        raise ValueError(f"directions: expected an array of shape (k, {net.n_in}), got {found.shape}")
    return _validate.real(found, "directions", net.dtype)


def refuse_zero_curvature(net: Any) -> None:
    """Refuse a network with an activation, or an encoding, of straight pieces."""
    for operation in net.graph:
        straight = operation.activation.code in _core.CURVELESS and operation.activation != activations.identity
        if straight or operation.kind in _STRAIGHT:
            name = operation.activation.name if straight else _STRAIGHT[operation.kind]
            raise ValueError(
                f"order: expected 1, got 2: the second derivative of {name} in layer {operation.name} is zero, so the "
                f"network cannot follow an equation in second derivatives: take a smooth activation, such as tanh or "
                f"sin, or say allow_zero_curvature=True"
            )


def of_penalties(net: Any) -> Array:
    """The gradient of what the layers' l1 and l2 add to the loss."""
    found = np.zeros(len(net.parameters))
    for begin, end, l1, l2 in engine.penalties_of(net):
        weight = net.parameters[begin:end].astype(np.float64)
        found[begin:end] += l1 * np.sign(weight) + 2 * l2 * weight
    return found


class Products:
    """Products of vectors with the Hessian of a loss on some rows, at the present parameters of a network.

    Parameters
    ----------
    net, data, objective, dropout, threads
        As `Sequential.hessian_vector_product` has them.
    """

    def __init__(self, net: Any, data: Data, objective: Objective, dropout: Any, threads: int | None) -> None:
        self._net, self._plan = net, rows.plan_of(net, "hessian_vector_product")
        self._data, self._objective, self._threads = data, objective, threads
        self._dropout = _validate.flag(dropout, "dropout")
        self._share = rows.shares(objective, data)[:, None]
        self._tangents = np.zeros(len(net.parameters) + _core.ROOM, net.dtype)
        self._slices = list(rows.by_memory(net, len(data), 2))
        #: What goes through all rows, where they are not too many to be kept.
        self._kept: tuple[_core.Derivatives, Array, Array] | None = None

    def with_vector(self, vector: Array) -> Array:
        """H v, in double."""
        n = len(vector)
        self._tangents[:n] = vector
        found, factor = np.zeros(n), self._objective.penalty_factor(self._data)
        for begin, end, _, l2 in engine.penalties_of(self._net):
            found[begin:end] += 2 * factor * l2 * vector[begin:end]
        for some in self._slices:
            found += self._of_rows(some)
        return found

    def _of_rows(self, some: slice) -> Array:
        """The gradient of the derivative of the loss along the tangents (Pearlmutter 1994)."""
        data, share = self._data.rows(some), self._share[some]
        there, value, first = self._there(data, some.start)
        curvature = slopes.product(self._objective, value, data, first[:, :, 0]) * share
        dy = rows.row_slopes(self._objective, value, data) * share
        sums = room_for(len(data), len(self._net.parameters))
        there.backward(curvature.astype(value.dtype), dy[:, :, None].astype(value.dtype), None, sums)
        there.run()
        return total_of(sums)

    def _there(self, data: Data, start: int) -> tuple[_core.Derivatives, Array, Array]:
        """The outputs, and their derivatives along the tangents."""
        if self._kept is not None:
            there, value, first = self._kept
            there.forward(data.x, value, first)
            there.run()
            return self._kept
        value = np.empty((len(data), self._net.n_out), self._net.dtype)
        first, work = np.empty((*value.shape, 1), value.dtype), 2 * self._plan.work * len(data)
        made = rows.run(work, self._threads, lambda count: _core.Derivatives(
            self._plan, data.x, None, self._tangents, value, first, logits=self._objective.on_logits,
            drops=rows.drops(self._net, self._dropout, start), threads=count,
        )), value, first  # fmt: skip
        if len(self._slices) == 1:
            self._kept = made
        return made
