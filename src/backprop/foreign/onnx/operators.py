"""Single operators of ONNX, and functions that are made of several, as layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import _validate, activations, layers
from ...onnx.formulas import SELU_ALPHA, SELU_SCALE
from .chain import Chain
from .forms import Known
from .values import Value, decimal

__all__ = ["ACTIVATIONS", "LAYERS", "add_known"]

Array = _validate.Array

#: Operators that are an activation without numbers.
ACTIVATIONS = {
    "Cos": "cos", "Exp": "exp", "LogSoftmax": "log_softmax", "Mish": "mish", "Relu": "relu", "Sigmoid": "sigmoid",
    "Sin": "sin", "Softmax": "softmax", "Softplus": "softplus", "Softsign": "softsign", "Tanh": "tanh",
}  # fmt: skip


def add_known(made: Chain, found: Known, place: str) -> None:
    """What several operators compute."""
    if found.function is not None:
        made.activate(found.function, place)
    elif found.kind == "layer_norm":
        made.normalized(decimal(found.number, made.double), place)
    elif found.kind == "elu":
        made.activate(activations.elu.with_alpha(decimal(found.number, made.double)), place)
    elif found.array is None and 0 <= found.number < 1:
        made.activate(activations.leaky_relu.with_slope(decimal(found.number, made.double)), place)
    else:
        made.add(layers.PReLU(), place, weight=np.array([found.number]) if found.array is None else found.array)


def _dense(made: Chain, value: Value) -> None:
    weight, bias = value.constant(1), value.numbers(2)
    alpha, beta = value.number("alpha", 1.0), value.number("beta", 1.0)
    if weight is None or weight.dtype.kind != "f" or value.attributes.get("transA", 0):
        raise value.error("rows times weights of floats", "something else")
    weight = weight.T if value.attributes.get("transB", 0) else weight
    if bias is not None:
        bias = np.broadcast_to(bias if beta == 1 else bias * beta, (value.width,))
    made.dense(weight if alpha == 1 else weight * alpha, bias, value.name)


def _sum(made: Chain, value: Value) -> None:
    """Numbers added to a row, or taken from it, or it from them."""
    first = isinstance(value.taken[0], np.ndarray)
    by = _doubled(value, 0 if first else 1)
    if value.operator == "Sub" and first:
        made.scale(-1.0, value.name)
    made.shift(-by if value.operator == "Sub" and not first else by, value.name)


def _product(made: Chain, value: Value) -> None:
    first = isinstance(value.taken[0], np.ndarray)
    by = _doubled(value, 0 if first else 1)
    if value.operator == "Div" and (first or not np.all(by)):
        raise value.error("rows divided by numbers other than 0", "something else")
    made.scale(1 / by if value.operator == "Div" else by, value.name)


def _doubled(value: Value, i: int) -> Any:
    found = value.numbers(i)
    if found is None:
        raise value.error("two values", "one")
    return found.astype(np.float64) if found.size > 1 else float(found[0])


def _batch_norm(made: Chain, value: Value) -> None:
    arrays = [value.numbers(i) for i in range(1, 5)]
    if len(value.taken) != 5 or any(array is None or array.size != value.width for array in arrays):
        raise value.error(f"weight, bias, mean and variance, {value.width} numbers each", "others")
    if value.attributes.get("training_mode", 0):
        raise value.error("a batch norm that predicts", "one that is in training")
    weight, bias, mean, variance = (np.asarray(array) for array in arrays)
    epsilon, momentum = value.number("epsilon", 1e-5), value.number("momentum", 0.9)
    shorter = decimal(epsilon, False)
    if made.double and (variance >= shorter - epsilon).all():
        variance = variance - (shorter - epsilon)  # which it was given because an attribute is float32
    elif made.double:
        shorter = epsilon
    norm = layers.BatchNorm(momentum=round(1 - decimal(momentum, False), 7), epsilon=shorter)
    if (variance < 0).any():
        raise value.error("variances", f"{variance.min()}")
    made.add(norm, value.name, weight=weight, bias=bias, running_mean=mean, running_variance=variance)


def _layer_norm(made: Chain, value: Value) -> None:
    weight, bias = value.numbers(1), value.numbers(2)
    if value.attributes.get("axis", -1) not in (1, -1) or weight is None:
        raise value.error("a layer norm over a row", f"axis {value.attributes.get('axis')}")
    norm = layers.LayerNorm(epsilon=decimal(value.number("epsilon", 1e-5), made.double))
    made.add(norm, value.name, weight=weight, bias=np.zeros(1) if bias is None else bias)


def _clip(made: Chain, value: Value) -> None:
    given = [_bound(value, i, name) for i, name in ((1, "min"), (2, "max"))]
    low, high = (-math.inf if given[0] is None else given[0]), (math.inf if given[1] is None else given[1])
    if (low, high) == (-1, 1):
        made.activate(activations.hard_tanh, value.name)
    elif low == 0 and high > 3e38:
        made.activate(activations.relu, value.name)
    elif -1e30 < low < high < 1e30 and value.last:
        made.add(layers.Clip(decimal(low, made.double), decimal(high, made.double)), value.name)
    elif -1e30 < low < high < 1e30:  # in training too, unlike a Clip: by the hard sigmoid, min(max((z + 3) / 6, 0), 1)
        made.shift(-(low + high) / 2, value.name)
        made.scale(6 / (high - low), value.name)
        made.activate(activations.hard_sigmoid, value.name)
        made.scale(high - low, value.name)
        made.shift(low, value.name)
    elif low > -3e38 or high < 3e38:
        raise value.error("two limits, or 0 below", f"{low} and {high}")


def _bound(value: Value, i: int, name: str) -> float | None:
    given = value.constant(i)
    if given is None:
        return value.number(name, 0.0) if name in value.attributes else None
    if given.size != 1 or given.dtype.kind != "f" or np.isnan(given).any():
        raise value.error("limits that are one number each", _validate.shown(given))
    return float(given.reshape(-1)[0])


def _hard_sigmoid(made: Chain, value: Value) -> None:
    alpha, beta = decimal(value.number("alpha", 0.2), False), decimal(value.number("beta", 0.5), False)
    if not (math.isclose(6 * alpha, 1, rel_tol=1e-6) and math.isclose(beta, 0.5, rel_tol=1e-6)):
        made.scale(6 * alpha, value.name)
        made.shift(6 * beta - 3, value.name)
    made.activate(activations.hard_sigmoid, value.name)


def _gelu(made: Chain, value: Value) -> None:
    how = bytes(value.attributes.get("approximate", b"none"))
    if how not in (b"none", b"tanh"):
        raise value.error("approximate none or tanh", _validate.shown(how))
    made.activate(activations.gelu if how == b"none" else activations.gelu_tanh, value.name)


def _dropout(made: Chain, value: Value) -> None:
    ratio, training = value.constant(1), value.constant(2)
    rate = value.number("ratio", 0.5) if ratio is None else float(ratio.reshape(-1)[0]) if ratio.size == 1 else math.nan
    if training is not None and training.any():
        raise value.error("a dropout that predicts", "one that is in training")
    if rate:
        made.add(layers.Dropout(decimal(rate, False)), value.name)


def _leaky_relu(made: Chain, value: Value) -> None:
    made.activate(activations.leaky_relu.with_slope(decimal(value.number("alpha", 0.01), False)), value.name)


def _prelu(made: Chain, value: Value) -> None:
    slope = value.numbers(1)
    if slope is None:
        raise value.error("slopes", "none")
    made.add(layers.PReLU(), value.name, weight=slope)


def _selu(made: Chain, value: Value) -> None:
    for name, usual in ("alpha", SELU_ALPHA), ("gamma", SELU_SCALE):
        if not math.isclose(value.number(name, usual), usual, rel_tol=1e-6):
            raise value.error(f"{name} {usual:.7f}, as of SELU", f"{value.number(name, usual)}")
    made.activate(activations.selu, value.name)


def _swish(made: Chain, value: Value) -> None:
    if value.number("alpha", 1.0) != 1:
        raise value.error("alpha 1", f"{value.number('alpha', 1.0)}")
    made.activate(activations.silu, value.name)


def _scaler(made: Chain, value: Value) -> None:
    """(x - offset) scale."""
    for name, usual in ("offset", 0.0), ("scale", 1.0):
        numbers = np.array(value.attributes.get(name, [usual]), np.float64)
        if numbers.size not in (1, value.width) or not np.isfinite(numbers).all():
            raise value.error(f"{value.width} finite numbers as {name}", _validate.shown(numbers))
        if name == "offset":
            made.shift(-numbers, value.name)
        else:
            made.scale(numbers, value.name)


#: Those that take one value, and constants.
LAYERS: dict[str, Callable[[Chain, Value], None]] = {
    "Gemm": _dense, "MatMul": _dense, "Add": _sum, "Sum": _sum, "Sub": _sum, "Mul": _product, "Div": _product,
    "Neg": lambda made, value: made.scale(-1.0, value.name), "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm, "Clip": _clip, "HardSigmoid": _hard_sigmoid, "Gelu": _gelu,
    "Dropout": _dropout, "LeakyRelu": _leaky_relu, "PRelu": _prelu, "Selu": _selu, "Swish": _swish, "Scaler": _scaler,
    "Elu": lambda made, value: made.activate(
        activations.elu.with_alpha(decimal(value.number("alpha", 1.0), False)), value.name),
}  # fmt: skip
