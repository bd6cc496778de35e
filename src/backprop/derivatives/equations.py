"""A loss of derivatives on a network: its value, and its gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _core, _validate, losses
from ..program.data import Data
from . import rows, streams

__all__ = ["OnNetwork", "Part"]

Array = _validate.Array


class Part(NamedTuple):
    """A term of a loss on the rows of a batch that it is of."""

    term: int
    x: Array
    y: Array
    #: What each row counts for, the weight of the term included; and the same as factors of its adjoints, (rows, 1, 1).
    share: Array
    factors: Array


class OnNetwork:
    """A `Differential` loss on a network of built-in layers.

    Parameters
    ----------
    net : Sequential
    loss : Differential
    """

    def __init__(self, net: Any, loss: Any) -> None:
        self._net, self._loss, self._plan = net, loss, rows.plan_of(net, "loss")
        if not loss.allow_zero_curvature and 2 in map(loss.order_of, range(len(loss.terms))):
            streams.refuse_zero_curvature(net)
        self._penalized = bool(streams.of_penalties(net).any()) or net.penalty() > 0
        self._directions = np.eye(net.n_in, dtype=net.dtype)
        #: The terms on the rows that came last; and, by term and number of rows, what the core goes through them with.
        self._last: tuple[Any, list[Part]] = (None, [])
        self._kept: dict[tuple[int, int], tuple[_core.Derivatives, list[Array]]] = {}

    def value(self, data: Data) -> float:
        """The loss of some rows."""
        return float(sum(measure(self._loss, part, self._there(part)[1])[0] for part in self._parts(data)))

    def gradients(self, data: Data, factor: float) -> float:
        """The loss of some rows, with the penalties of the layers so many times; its gradients become the network's."""
        net, value = self._net, 0.0
        sums = streams.room_for(len(data), len(net.parameters))
        for part in self._parts(data):
            there, results = self._there(part)
            one, adjoints = measure(self._loss, part, results)
            value += one
            by_value, by_first, by_second = [*adjoints, None, None][:3]
            there.backward(by_value, by_first, by_second, sums)
            there.run()
        found = streams.total_of(sums)
        if self._penalized:
            found += factor * streams.of_penalties(net)
            value += factor * net.penalty()
        net.gradients[...] = found
        return value if math.isfinite(value) else math.nan

    def _parts(self, data: Data) -> list[Part]:
        if self._last[0] is not data:
            self._last = data, parts(self._loss, np.asarray(data.x), data.y, data.weights)
        return self._last[1]

    def _there(self, part: Part) -> tuple[_core.Derivatives, list[Array]]:
        """Go through the network: with what has gone through as many rows of this term before, if it has."""
        key = part.term, len(part.x)
        if key in self._kept:
            there, results = self._kept[key]
            there.forward(part.x, *results, *[None] * (3 - len(results)))
        else:
            if len(self._kept) > 64:  # batches of ever other sizes
                self._kept.clear()
            net, order = self._net, self._loss.order_of(part.term)
            shape = len(part.x), net.n_out, net.n_in
            results = [np.empty(one, net.dtype) for one in (shape[:2], shape, shape)[: 1 + order]]
            there = _core.Derivatives(self._plan, part.x, self._directions if order else None, None, *results)
            self._kept[key] = there, results
        there.run()
        return there, results


def parts(loss: Any, x: Array, y: Array, weights: Array | None) -> list[Part]:
    """The terms, each with rows of its own, and what each of these counts for."""
    counts = np.ones(len(x)) if weights is None else weights
    parts = []
    for term in range(len(loss.terms)):
        rows = slice(None) if len(loss.terms) == 1 else np.flatnonzero(y == term)
        own = counts[rows]
        if len(own) and own.sum() > 0:
            share = own / own.sum() * (1.0 if loss.weights is None else loss.weights[term])
            seen = np.ascontiguousarray(x[rows])
            seen.flags.writeable = False  # they may be the caller's own, and are there for the next step too
            parts.append(Part(
                term, seen, y[rows], share, share.astype(x.dtype)[:, None, None]
            ))  # fmt: skip
    return parts


def measure(loss: Any, part: Part, results: Sequence[Array]) -> tuple[float, list[Array | None]]:
    """The loss of a term, and its adjoints."""
    values, *slopes = _rows(loss, part, results)
    value, factors = float(np.add.reduce(values * part.share)), part.factors
    return value, [
        None if slope is None else
        np.multiply(slope, factors if slope.ndim == 3 else factors[:, 0], dtype=factors.dtype)
        for slope in slopes
    ]  # fmt: skip


def _rows(loss: Any, part: Part, results: Sequence[Array]) -> list[Any]:
    """What the function says of some rows, checked."""
    if isinstance(loss, losses.Sobolev):
        return _squares(loss, part, results)
    function, rows = loss.terms[part.term], len(part.x)
    returned: Any = function(part.x, *results)
    if not isinstance(returned, (tuple, list)) or len(returned) != 1 + len(results):
        names = ", ".join(("values", "d_u", "d_du", "d_d2u")[: 1 + len(results)])
        raise TypeError(f"{losses.name_of(function)}: expected it to return ({names}), got {_validate.shown(returned)}")
    values = _real(function, returned[0], "values")
    if values.shape not in ((rows,), (rows, 1)):
        raise ValueError(
            f"{losses.name_of(function)}: expected values of shape ({rows},), one for each row, got {values.shape}"
        )
    found: list[Any] = [values.reshape(-1)]
    for result, given, word in zip(results, returned[1:], ("d_u", "d_du", "d_d2u"), strict=False):
        slope = None if given is None else _real(function, given, word)
        if slope is not None and slope.shape != result.shape:
            raise ValueError(f"{losses.name_of(function)}: expected {word} of shape {result.shape}, got {slope.shape}")
        found.append(slope)
    return found


def _real(function: Any, given: Any, word: str) -> Array:
    found = np.asarray(given)
    if found.dtype.kind not in "fiu" or isinstance(given, np.ma.MaskedArray):
        got = "a masked array" if isinstance(given, np.ma.MaskedArray) else f"dtype {found.dtype}"
        raise TypeError(f"{losses.name_of(function)}: expected {word} of real numbers, got {got}")
    return found


def _squares(loss: Any, part: Part, results: Sequence[Array]) -> list[Any]:
    """Those of a `Sobolev`."""
    (u, du), y = results, part.y
    off, slope = u - y[:, : u.shape[1]], du - y[:, u.shape[1] :].reshape(du.shape)
    n_out, weight = u.shape[1], loss.weight
    values = ((off**2).sum(axis=1) + weight * (slope**2).sum(axis=(1, 2))) / n_out
    return [values, 2 * off / n_out, 2 * weight * slope / n_out]
