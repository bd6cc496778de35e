"""Layers of another library, one after the other, and the network that they become."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .. import _validate, layers
from ..activations import ActivationFunction, identity
from ..network import Sequential

__all__ = ["Assembly", "put", "refused"]

Array = _validate.Array


def refused(caller: str, kind: str, place: str, can: str, cure: str = "") -> TypeError:
    """What does not fit, with its name and its place."""
    return TypeError(f"{caller}: expected {can}, got {kind} at {place}{cure}")


class Assembly:
    """Collects layers with their arrays; an activation after a dense layer becomes that layer's."""

    def __init__(self) -> None:
        self.layers: list[layers.Layer] = []
        self._arrays: list[Mapping[str, Array]] = []
        self._places: list[str] = []
        self._last: tuple[int, int] | None = None  # of a dense layer that may still take an activation

    def dense(self, weight: Array, bias: Array | None, place: str) -> None:
        """Weights (inputs, outputs), and a bias where there is one."""
        if weight.ndim != 2:
            raise ValueError(f"{place}: expected weights (inputs, outputs), got shape {weight.shape}")
        self._last = weight.shape[0], weight.shape[1]
        self.add(
            layers.Dense(*self._last, use_bias=bias is not None),
            place, weight=weight, **({} if bias is None else {"bias": bias}),
        )  # fmt: skip

    def add(self, layer: layers.Layer, place: str, **arrays: Array) -> None:
        """A layer, and what its parameters and buffers hold."""
        if not isinstance(layer, layers.Dense):
            self._last = None
        self.layers.append(layer)
        self._arrays.append(arrays)
        self._places.append(place)

    def normalize(self, place: str, mean: Array, variance: Array, weight: Array, bias: Array) -> None:
        """A frozen norm: y = weight (x - mean) / sqrt(variance) + bias, which training leaves as it is."""
        norm = layers.BatchNorm(momentum=0, epsilon=1e-30)
        norm.trainable = False
        self.add(norm, place, weight=weight, bias=bias, running_mean=mean, running_variance=variance)

    def activate(self, function: ActivationFunction, place: str) -> None:
        """An activation of what there is."""
        if self._last is not None and function != identity:
            dense = self.layers[-1]
            self.layers[-1] = layers.Dense(*self._last, function, use_bias=dense.use_bias)
            self._last = None
        elif function != identity:
            self.add(layers.Activation(function), place)

    @property
    def at(self) -> str:
        """Where the layer that was added last will be."""
        return str(len(self.layers) - 1)

    def network(self) -> Sequential:
        """All layers with their arrays, in the widest type of those."""
        wide = any(array.dtype == np.float64 for arrays in self._arrays for array in arrays.values())
        net = Sequential(self.layers, rng=0, dtype="float64" if wide else "float32")
        own = net.arrays()
        for i, (arrays, place) in enumerate(zip(self._arrays, self._places, strict=True)):
            for name, array in arrays.items():
                put(own[f"{i}.{name}"], array, f"{place}.{name}")
        return net


def put(view: Array, array: Array, name: str) -> None:
    """Copy an array, or the one number that is meant for all columns."""
    shared = array.shape in ((), (1,)) and view.ndim == 1
    _validate.assign(view, np.broadcast_to(array, view.shape) if shared else array, name)
