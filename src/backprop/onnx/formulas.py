"""Activations as formulas of ONNX operators: what is written, and what is known again when a file is read.

A formula is a tuple: the name of an operator, then what it takes, formulas again. ``X`` is the input, a float a
constant, a tuple of whole numbers a list of such, and a dict, which stands last, the operator's attributes.

Notes
-----
Those of ONNX Runtime, 1.32, take no float64 for Elu, Erf, Gelu, HardSigmoid, PRelu, Selu, Softplus and Softsign, and
attributes are float32. So in float64 all of them are written by operators that do, in forms that keep the last
digits: e^z - 1 = 2 t / (1 - t) with t = tanh(z / 2); log(1 + u) = u log(w) / (w - 1) with w = 1 + u [1]_; the tail of
the normal distribution is e^(-z^2 / 2) times a polynomial in (|z| - c) / (|z| + c) [2]_, whose coefficients are found
when they are needed.

References
----------
.. [1] Goldberg, "What every computer scientist should know about floating-point arithmetic", ACM Computing Surveys 23,
   1991, theorem 4.
.. [2] Shepherd and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x in 0 <= x < infinity",
   Mathematics of Computation 36, 1981.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from ..activations import ActivationFunction

__all__ = [
    "CUBIC", "GELU", "GELU_TANH", "MISH", "ROOT", "SILU", "SOFTSIGN", "Formula", "X", "doubles", "elu", "layer_norm",
    "of_activation", "prelu",
]  # fmt: skip

Formula: TypeAlias = Any
X = "x"
#: The last axis, as an operator takes it that wants a list.
LAST = (-1,)

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
CUBIC, ROOT = 0.044715, math.sqrt(2 / math.pi)

SILU = ("Mul", X, ("Sigmoid", X))
MISH = ("Mul", X, ("Tanh", ("Softplus", X)))
SOFTSIGN = ("Div", X, ("Add", ("Abs", X), 1.0))
GELU = ("Mul", ("Mul", X, ("Add", ("Erf", ("Div", X, math.sqrt(2))), 1.0)), 0.5)
_CUBE = ("Mul", ("Mul", X, X), X)
#: x (1 + tanh v) / 2 = x sigmoid(2 v), which keeps the digits of small ones.
GELU_TANH = ("Mul", X, ("Sigmoid", ("Mul", ("Add", X, ("Mul", _CUBE, CUBIC)), 2 * ROOT)))

#: Those that one operator computes, and what it goes by.
_OPERATORS: dict[str, Formula] = {
    "sigmoid": ("Sigmoid", X), "tanh": ("Tanh", X), "relu": ("Relu", X), "exp": ("Exp", X),
    "softmax": ("Softmax", X, {"axis": -1}), "log_softmax": ("LogSoftmax", X, {"axis": -1}),
    "hard_tanh": ("Clip", X, -1.0, 1.0), "silu": SILU, "sin": ("Sin", X),
}  # fmt: skip
_SINGLE: dict[str, Formula] = {
    "selu": ("Selu", X), "softplus": ("Softplus", X), "softsign": ("Softsign", X), "mish": MISH, "gelu": GELU,
    "gelu_tanh": GELU_TANH, "hard_sigmoid": ("HardSigmoid", X, {"alpha": 1 / 6, "beta": 0.5}), "cos": ("Cos", X),
}  # fmt: skip
#: Those that have one since some version of the operators.
_SINCE: dict[str, tuple[int, Formula]] = {
    "mish": (18, ("Mish", X)), "gelu": (20, ("Gelu", X, {"approximate": "none"})),
    "gelu_tanh": (20, ("Gelu", X, {"approximate": "tanh"})),
}  # fmt: skip


def of_activation(function: ActivationFunction, opset: int, double: bool) -> Formula:
    """An activation by the operators of this version."""
    name, slope = function.name, float(function.slope)
    if name in _OPERATORS:
        return _OPERATORS[name]
    if name == "leaky_relu":
        return prelu(slope) if double else ("LeakyRelu", X, {"alpha": slope})
    if name == "elu":
        return elu(slope) if double else ("Elu", X, {"alpha": slope})
    if double:
        return doubles()[name]
    since, formula = _SINCE.get(name, (0, None))
    return formula if formula is not None and opset >= since else _SINGLE[name]


def layer_norm(n: int, epsilon: float) -> Formula:
    """A layer norm without weight and bias: there is no operator before version 17, and none for float64."""
    centered = ("Sub", X, ("Div", ("ReduceSum", X, LAST), float(n)))
    variance = ("Div", ("ReduceSum", ("Mul", centered, centered), LAST), float(n))
    return ("Div", centered, ("Sqrt", ("Add", variance, epsilon)))


# In float64.


@cache
def doubles() -> dict[str, Formula]:
    """The activations that are written out in float64, by name."""
    softplus = _softplus()
    return {
        "selu": ("Mul", elu(SELU_ALPHA), SELU_SCALE), "softplus": softplus, "softsign": SOFTSIGN,
        "cos": ("Sin", ("Add", X, math.pi / 2)),
        "mish": ("Mul", X, ("Tanh", softplus)), "gelu": _gelu(), "gelu_tanh": GELU_TANH,
        "hard_sigmoid": ("Clip", ("Div", ("Add", X, 3.0), 6.0), 0.0, 1.0),
    }  # fmt: skip


def prelu(slope: Formula) -> Formula:
    """max(z, 0) + slope min(z, 0), with a number, or an array by its name."""
    return ("Add", ("Relu", X), ("Mul", ("Min", X, 0.0), slope))


def elu(alpha: float) -> Formula:
    """max(z, 0) + alpha (e^min(z, 0) - 1)."""
    half = ("Tanh", ("Mul", ("Min", X, 0.0), 0.5))
    return ("Add", ("Relu", X), ("Div", ("Mul", half, 2 * alpha), ("Sub", 1.0, half)))


def _softplus() -> Formula:
    """max(z, 0) + log(1 + e^-|z|)."""
    small = ("Exp", ("Neg", ("Abs", X)))
    more = ("Add", small, 1.0)
    rest = ("Sub", more, 1.0)
    log = ("Where", ("Equal", rest, 0.0), small, ("Div", ("Mul", small, ("Log", more)), rest))
    return ("Add", ("Relu", X), log)


#: Of the polynomial: its highest power, and where the middle of its range is.
DEGREE, MIDDLE = 20, 3.75


def _gelu() -> Formula:
    """max(z, 0) - |z| q(|z|), with q the tail of the normal distribution."""
    size = ("Abs", X)
    place = ("Div", ("Sub", size, MIDDLE), ("Add", size, MIDDLE))  # from -1 to 1
    polynomial: Formula = _tail()[0]
    for coefficient in _tail()[1:]:
        polynomial = ("Add", ("Mul", polynomial, place), coefficient)
    tail = ("Mul", ("Exp", ("Mul", ("Mul", X, X), -0.5)), polynomial)
    return ("Sub", ("Relu", X), ("Mul", size, tail))


@cache
def _tail() -> list[float]:
    """The polynomial p with q(z) = e^(-z^2 / 2) p((z - MIDDLE) / (z + MIDDLE)), the highest power first."""

    def scaled(places: Any) -> Any:
        return np.array([_scaled_tail(MIDDLE * (1 + place) / (1 - place)) for place in places.tolist()])

    series: Any = np.polynomial.chebyshev.chebinterpolate(scaled, DEGREE)
    return [float(number) for number in np.polynomial.chebyshev.cheb2poly(series)[::-1]]


def _scaled_tail(z: float) -> float:
    """e^(z^2 / 2) q(z): by erfc, or far out by its continued fraction."""
    if z < 8:
        return math.exp(z * z / 2) * math.erfc(z / math.sqrt(2)) / 2
    found = z
    for k in range(60, 0, -1):
        found = z + k / found
    return 1 / found / math.sqrt(2 * math.pi)
