"""A chain of layers that is put together operator by operator."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import _validate, activations, layers
from ...activations import ActivationFunction
from ..assembly import Assembly

__all__ = ["Chain"]

Array = _validate.Array


class Chain(Assembly):
    """Layers one after the other; what only shifts and scales columns is put together before it becomes one."""

    def __init__(self, double: bool) -> None:
        super().__init__()
        self.double, self._dtype = double, np.dtype(np.float64 if double else np.float32)
        self._plain: layers.Layer | None = None  # a layer norm whose weight and bias may still come
        self._begin_affine()

    def _begin_affine(self) -> None:
        """(x - center) factor + shift."""
        self._center: Any = 0.0
        self._factor: Any = 1.0
        self._shift: Any = 0.0
        self._place = ""

    def shift(self, by: Any, place: str) -> None:
        """Add numbers to the columns."""
        last = self.layers[-1] if self.layers else None
        still = self._is_still()
        if still and self._last is not None and isinstance(last, layers.Dense) and not last.use_bias:
            weight, n_out = self._arrays[-1]["weight"], last.n_out
            self._drop()
            self.dense(weight, np.broadcast_to(by, (n_out,)).astype(self._dtype), place)
        elif still:
            self._center, self._place = self._center - by, place
        else:
            self._shift = self._shift + by

    def scale(self, by: Any, place: str) -> None:
        """Multiply the columns."""
        self._factor, self._shift, self._place = self._factor * by, self._shift * by, self._place or place

    def _is_still(self) -> bool:
        return bool(np.all(self._factor == 1) and np.all(self._shift == 0))

    def finish(self) -> None:
        """Make a layer of what was shifted and scaled."""
        center, factor, shift, place = self._center, self._factor, self._shift, self._place
        plain, self._plain = self._plain, None
        self._begin_affine()
        if not place:
            return
        if plain is not None:
            self._arrays[-1] = {"weight": self._of(factor), "bias": self._of(shift - center * factor)}
        elif np.all(center == 0) and np.all(shift == 0):
            super().add(layers.Scale(), place, weight=self._of(factor))
        else:
            one = self._of(1.0)
            self.normalize(place, self._of(center), one, self._of(factor), self._of(shift))

    def _of(self, numbers: Any) -> Array:
        """In the type of the arithmetic; one number stands for all columns."""
        found = np.asarray(numbers, np.float64).astype(self._dtype)
        return found if found.ndim else found.reshape(1)

    def _drop(self) -> None:
        """The last layer, which another takes the place of."""
        for items in self.layers, self._arrays, self._places:
            items.pop()

    def dense(self, weight: Array, bias: Array | None, place: str) -> None:
        """A dense layer, after what was shifted and scaled."""
        self.finish()
        super().dense(weight, bias, place)

    def add(self, layer: layers.Layer, place: str, **arrays: Array) -> None:
        """A layer, after what was shifted and scaled."""
        self.finish()
        super().add(layer, place, **{name: np.asarray(array, self._dtype) for name, array in arrays.items()})

    def normalized(self, epsilon: float, place: str) -> None:
        """A layer norm, whose weight and bias may follow."""
        norm = layers.LayerNorm(epsilon=epsilon)
        self.add(norm, place, weight=np.ones(1), bias=np.zeros(1))
        self._plain = norm

    def activate(self, function: ActivationFunction, place: str) -> None:
        """An activation of what there is."""
        self.finish()
        super().activate(function, place)

    def name_both_classes(self, place: str) -> bool:
        """Make two outputs of a softmax of one of a sigmoid; whether there is such a one."""
        last = self.layers[-1] if self.layers and not self._place else None
        if not isinstance(last, layers.Dense) or (last.n_out, last.activation) != (1, activations.sigmoid):
            return False
        both = {
            name: np.concatenate([np.zeros_like(array), array], axis=-1) for name, array in self._arrays[-1].items()
        }
        self._drop()
        self.dense(both["weight"], both.get("bias"), place)
        self.activate(activations.softmax, place)
        return True

    def nested(self) -> dict[str, Array]:
        """The arrays of all layers, by their places within another."""
        self.finish()
        return {f"{i}.{name}": array for i, arrays in enumerate(self._arrays) for name, array in arrays.items()}
