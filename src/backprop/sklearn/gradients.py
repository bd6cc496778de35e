"""The derivatives of the outputs of a network with respect to its inputs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .. import _validate, layers
from ..layers import BatchNorm, Dense, Dropout
from ..network import Sequential

__all__ = ["input_gradients"]

Array = _validate.Array


def input_gradients(net: Sequential, x: Array) -> Array:
    """The derivatives in evaluation mode, (n_samples, n_outputs, n_inputs)."""
    frozen = _frozen(net)
    found = np.empty((len(x), frozen.n_out, frozen.n_in), frozen.dtype)
    for j, dy in enumerate(np.eye(frozen.n_out, dtype=frozen.dtype)):
        frozen.forward(x)
        found[:, j] = frozen.backward(np.tile(dy, (len(x), 1)))
    return found


def _frozen(net: Sequential) -> Sequential:
    """A network that does in training what this one does in prediction."""
    kept = [layer for layer in net.layers if not isinstance(layer, Dropout | BatchNorm)]
    frozen = Sequential([layers.from_description(*layer.described()) for layer in kept], rng=0, dtype=net.dtype)
    leaves = [leaf for layer in kept for _, leaf in layer.leaves()]
    for old, new in zip(leaves, frozen.leaves.values(), strict=True):
        for name in old.shapes():
            setattr(new, name, getattr(old, name))
    for dense, norm in pairwise(net.layers):
        if isinstance(dense, Dense) and isinstance(norm, BatchNorm):
            new, factor = frozen.layers[kept.index(dense)], norm.weight / np.sqrt(norm.running_variance + norm.epsilon)
            assert isinstance(new, Dense)
            new.bias = (new.bias - norm.running_mean) * factor + norm.bias
            new.weight = new.weight * factor
    return frozen
