"""A loss of derivatives on a network: its value, and its gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _core, _validate
from ..differential import Part, room_for
from ..program.data import Data
from . import rows, streams

__all__ = ["OnNetwork"]

Array = _validate.Array


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
        return float(sum(self._loss.measure(part, self._there(part)[1])[0] for part in self._parts(data)))

    def gradients(self, data: Data, factor: float) -> float:
        """The loss of some rows, with the penalties of the layers so many times; its gradients become the network's."""
        net, value = self._net, 0.0
        sums = room_for(len(data), len(net.parameters))
        for part in self._parts(data):
            there, results = self._there(part)
            one, adjoints = self._loss.measure(part, results)
            value += one
            by_value, by_first, by_second = [*adjoints, None, None][:3]
            there.backward(by_value, by_first, by_second, sums)
            there.run()
        for more in sums[1:]:
            sums[0] += more
        if self._penalized:
            sums[0] += factor * streams.of_penalties(net)
            value += factor * net.penalty()
        net.gradients[...] = sums[0]
        return value if math.isfinite(value) else math.nan

    def _parts(self, data: Data) -> list[Part]:
        if self._last[0] is not data:
            self._last = data, self._loss.parts(np.asarray(data.x), data.y, data.weights)
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
