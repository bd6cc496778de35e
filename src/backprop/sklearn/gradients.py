"""The derivatives of the outputs of a network with respect to its inputs."""

from __future__ import annotations

import numpy as np

from .. import _validate
from ..network import Sequential
from ..program import engine

__all__ = ["input_gradients"]

Array = _validate.Array
#: So many rows at a time: what an engine keeps for its backward does not grow with the data.
ROWS = 1024


def input_gradients(net: Sequential, x: Array) -> Array:
    """The derivatives in evaluation mode, (n_samples, n_outputs, n_inputs).

    By an engine of its own, on the parameters of the network: so threads do not meet, and a forward of the network that
    waits for its backward is not lost.
    """
    x, own = net._inputs.rows(x), engine.build(net.graph, net._storage)
    found = np.empty((len(x), net.n_out, net.n_in), net.dtype)
    for start in range(0, len(x), ROWS):
        rows = x[start : start + ROWS]
        outputs, dx = np.empty((len(rows), net.n_out), net.dtype), np.empty_like(rows)
        own.forward(rows, outputs, training=False)
        for j, dy in enumerate(np.eye(net.n_out, dtype=net.dtype)):
            own.backward(np.tile(dy, (len(rows), 1)), dx, parameters=False)
            found[start : start + ROWS, j] = dx
    return found
