"""Initializers: a name chooses the variance of the initial weights, from the inputs and outputs of the layer.

========== ============================ ==========================================================
glorot     variance 2 / (n_in + n_out)  Glorot and Bengio, AISTATS 2010, eq. 12 and 16
he         variance 2 / n_in            He et al., ICCV 2015, eq. 10
lecun      variance 1 / n_in            LeCun et al., "Efficient BackProp", 1998, eq. 16
========== ============================ ==========================================================

each ``_uniform``, on (-sqrt(3 variance), sqrt(3 variance)), or ``_normal``, not truncated; ``zeros``, and ``normal``,
the standard normal distribution.

For layers that end in ``sin`` (Sitzmann et al., "Implicit neural representations with periodic activation functions",
NeurIPS 2020, section 3.2): ``siren_first`` in the first of them, on (-30 / n_in, 30 / n_in), and ``siren`` in the
others, on (-sqrt(6 / n_in), sqrt(6 / n_in)). The factor omega_0 = 30 of the paper, sin(omega_0 z), is in the weights.

`data_driven` draws the weights of a whole network, by what comes out of them for the rows of a table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _validate

_VARIANCE = {
    "glorot": lambda n_in, n_out: 2 / (n_in + n_out),
    "he": lambda n_in, n_out: 2 / n_in,
    "lecun": lambda n_in, n_out: 1 / n_in,
}
#: How far a uniform distribution goes to either side.
_LIMIT: dict[str, Callable[[int], float]] = {
    "siren_first": lambda n_in: 30 / n_in,
    "siren": lambda n_in: math.sqrt(6 / n_in),
}
NAMES = ("zeros", "normal", *(f"{name}_{shape}" for name in _VARIANCE for shape in ("uniform", "normal")), *_LIMIT)


def named(value: str, name: str) -> str:
    """One of the names, as an argument of that name takes it."""
    return _validate.choice(value, name, NAMES)


def fill(array: _validate.Array, initializer: str, n_in: int, n_out: int, rng: np.random.Generator) -> None:
    """Overwrite an array with initial weights, drawn in float64 so that they are the same in both types."""
    if initializer == "zeros":
        array[...] = 0
        return
    flat, shape, deviation = array.reshape(-1), "uniform", 0.0
    if initializer in _LIMIT:
        limit = _LIMIT[initializer](n_in)
    else:
        name, _, shape = initializer.rpartition("_")
        deviation = math.sqrt(_VARIANCE[name](n_in, n_out)) if name else 1.0
        limit = math.sqrt(3) * deviation
    for some in _validate.slices(flat.size, flat.nbytes):
        n = len(flat[some])
        flat[some] = rng.normal(0, deviation, n) if shape == "normal" else rng.uniform(-limit, limit, n)


#: Rows that a bias is made of, and rows that are looked at.
_ROWS, _MOST_ROWS = 5, 4096


def data_driven(net: Any, x: Any, rng: Any = None) -> None:
    """Draw weights and biases of the dense layers anew, layer by layer, by what they make of some rows.

    Weights are normal, divided so that z of each unit has a standard deviation of 1 over the rows. The bias of a unit
    is such that z is 0 at a random point among the rows: a mean of five of them, with random weights. So activations
    bend where there are data, however the columns are scaled.

    Parameters
    ----------
    net : Sequential
        Its `Dense` layers change, the last included; those that are not trainable stay.
    x : array_like, shape (rows, n_in)
        Training rows; of many, 4,096 at random are looked at.
    rng : int, numpy.random.Generator or None, default None

    References
    ----------
    Holzmüller, Grinsztajn, Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular data",
    NeurIPS 2024, appendix A.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(50, 20, (1000, 3))
    >>> net = bp.Sequential([bp.Dense(3, 16, "tanh"), bp.Dense(16, 1)], rng=0)
    >>> bp.initializers.data_driven(net, x, rng=0)
    >>> round(float(net.predict(x).std()), 3)
    1.0
    """
    generator = _validate.generator(rng)
    if not hasattr(net, "graph"):
        raise TypeError(f"net: expected a network, a Sequential, got {_validate.shown(net)}")
    rows = _validate.matrix(x, "x", net.n_in, net.dtype)
    _validate.some_rows(rows)
    if len(rows) > _MOST_ROWS:
        rows = rows[generator.choice(len(rows), _MOST_ROWS, replace=False)]
    for i in range(len(net.layers)):
        part = net[i : i + 1]
        for operation in part.graph:
            if operation.kind == "dense" and operation.layer.trainable:
                _draw(part, operation, rows, generator)
        rows = part.predict(rows)


def _draw(part: Any, operation: Any, x: _validate.Array, rng: np.random.Generator) -> None:
    """Weight and bias of a dense operation of some layers that take x."""
    weight, bias = operation.parameters["weight"], operation.parameters.get("bias")
    weight[...] = rng.normal(size=weight.shape)
    if bias is not None:
        bias[...] = 0
    z = part._before_activation(operation.name, x).astype(np.float64)
    spread = z.std(axis=0)
    spread[spread == 0] = 1
    weight /= spread
    if bias is not None:
        rows = rng.integers(len(z), size=(_ROWS, z.shape[1]))
        shares = rng.exponential(size=rows.shape)
        bias[...] = -(shares / shares.sum(axis=0) * np.take_along_axis(z / spread, rows, axis=0)).sum(axis=0)
