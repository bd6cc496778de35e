"""Initializers: a name chooses the variance of the initial weights, from the inputs and outputs of the layer.

========== ============================ ==========================================================
glorot     variance 2 / (n_in + n_out)  Glorot and Bengio, AISTATS 2010, eq. 12 and 16
he         variance 2 / n_in            He et al., ICCV 2015, eq. 10
lecun      variance 1 / n_in            LeCun et al., "Efficient BackProp", 1998, eq. 16
========== ============================ ==========================================================

each ``_uniform``, on (-sqrt(3 variance), sqrt(3 variance)), or ``_normal``, not truncated; and ``zeros``.

For layers that end in ``sin`` (Sitzmann et al., "Implicit neural representations with periodic activation functions",
NeurIPS 2020, section 3.2): ``siren_first`` in the first of them, on (-30 / n_in, 30 / n_in), and ``siren`` in the
others, on (-sqrt(6 / n_in), sqrt(6 / n_in)). The factor omega_0 = 30 of the paper, sin(omega_0 z), is in the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable

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
NAMES = ("zeros", *(f"{name}_{shape}" for name in _VARIANCE for shape in ("uniform", "normal")), *_LIMIT)


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
        name, shape = initializer.split("_")
        deviation = math.sqrt(_VARIANCE[name](n_in, n_out))
        limit = math.sqrt(3) * deviation
    for some in _validate.slices(flat.size, flat.nbytes):
        n = len(flat[some])
        flat[some] = rng.normal(0, deviation, n) if shape == "normal" else rng.uniform(-limit, limit, n)
