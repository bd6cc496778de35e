"""Formulas as text, and numbers put into them."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Sequence
from typing import Any

from ..activations import ActivationFunction
from ..losses import Loss
from ..program.graph import Operation
from ..program.objective import Objective

__all__ = [
    "activation", "at", "called", "factor", "gradient", "is_plain", "logits", "loss", "number", "operation", "passed",
    "plus", "put", "rule", "slope", "some", "terms",
]  # fmt: skip

#: A sum of more terms is shortened.
MOST_TERMS = 4

#: Of each activation: y, and dy/dz. "a" is the slope of leaky_relu, or the alpha of elu.
_ACTIVATIONS = {
    "identity": ("z", "1"),
    "sigmoid": ("1 / (1 + e^-z)", "y (1 - y)"),
    "tanh": ("(e^z - e^-z) / (e^z + e^-z)", "1 - y^2"),
    "relu": ("max(z, 0)", "1 where z > 0, else 0"),
    "leaky_relu": ("z where z > 0, else a z", "1 where z > 0, else a"),
    "elu": ("z where z > 0, else a (e^z - 1)", "1 where z > 0, else y + a"),
    "selu": ("1.0507 z where z > 0, else 1.7581 (e^z - 1)", "1.0507 where z > 0, else y + 1.7581"),
    "gelu": ("z (1 + erf(z / sqrt(2))) / 2", "Phi(z) + z phi(z)"),
    "gelu_tanh": (
        "z (1 + tanh(0.797885 (z + 0.044715 z^3))) / 2",
        "(1 + t + z (1 - t^2) (0.797885 + 0.107032 z^2)) / 2 with t = tanh(0.797885 (z + 0.044715 z^3))",
    ),
    "silu": ("z sigmoid(z)", "sigmoid(z) (1 + z (1 - sigmoid(z)))"),
    "mish": ("z tanh(softplus(z))", "t + z sigmoid(z) (1 - t^2) with t = tanh(softplus(z))"),
    "softplus": ("log(1 + e^z)", "1 - e^-y"),
    "softsign": ("z / (1 + |z|)", "(1 - |y|)^2"),
    "hard_sigmoid": ("(z + 3) / 6, at least 0, at most 1", "1/6 between -3 and 3, else 0"),
    "hard_tanh": ("z, at least -1, at most 1", "1 between -1 and 1, else 0"),
    "exp": ("e^z", "y"),
    "sin": ("sin(z)", "cos(z)"),
    "cos": ("cos(z)", "-sin(z)"),
    "softmax": ("e^z_i / sum_j e^z_j over the row", "dz_i = y_i (dy_i - sum_j dy_j y_j)"),
    "log_softmax": ("z_i - log sum_j e^z_j over the row", "dz_i = dy_i - e^y_i sum_j dy_j"),
}

_OPERATIONS = {
    "dense": "z = x w + b",
    "activation": "z = x",
    "dropout": "y = x mask, and the mask is 0 with probability {rate}, else 1 / (1 - {rate})",
    "clip": "y = x in training, and in evaluation mode x, at least {low}, at most {high}",
    "prelu": "y = x where x > 0, else w x",
    "scale": "y = w x",
    "layer_norm": "y = w (x - mean) / sqrt(variance + {epsilon}) + b, over the features of each row",
    "batch_norm": "y = w (x - mean) / sqrt(variance + {epsilon}) + b, over the rows",
    "embedding": "y = the rows of w that x names",
    "columns": "y = the rows of the tables that columns of x name, and the other columns as they are",
    "lerp": "y = (1 - w) x + w f, with f its second input",
    "periodic": "y = cos(2 pi w x + b) for several w and b of each column, and columns as they are",
    "piecewise_linear": "y = (x - low) / (high - low) for each bin of a column, at least 0 and at most 1 but at its "
    "ends, and columns as they are",
    "grouped_dense": "z = x w + b for each group of inputs apart, and inputs as they are",
    "add": "y = f(x) + x",
    "concatenate": "y = its inputs side by side",
}


#: What a norm passes back to what it takes, where its statistics are of these numbers.
_PASSED = {
    "batch_norm": "w / s (dE/dy - mean(dE/dy) - n mean(n dE/dy)), means over the rows, n = (x - mean) / s, "
    "s = sqrt(variance + {epsilon})",
    "layer_norm": "1 / s (g - mean(g) - n mean(n g)), g = w dE/dy, means over the features, n = (x - mean) / s, "
    "s = sqrt(variance + {epsilon})",
}


_NORMALIZED = "the sum over the rows of (x - mean) / sqrt(variance + {epsilon}) dE/dy"
#: The gradient of the weight; that of a bias is the sum of dE/dz.
_GRADIENTS = {
    "dense": "the sum over the rows of x dE/dz",
    "scale": "the sum over the rows of x dE/dy",
    "prelu": "the sum over the rows of x dE/dy where x <= 0",
    "lerp": "the sum over the rows of (f - x) dE/dy",
    "periodic": "the sum over the rows of -2 pi x sin(2 pi w x + b) dE/dy",
    "grouped_dense": "the sum over the rows of x dE/dz",
    "layer_norm": _NORMALIZED,
    "batch_norm": _NORMALIZED,
    "embedding": "the sum of dE/dy wherever it was looked up",
    "columns": "the sum of dE/dy wherever it was looked up",
}


def number(value: Any) -> str:
    """With six significant digits."""
    return f"{float(value):.6g}"


def at(name: str, *where: Any) -> str:
    """A name and a place, as `Trace.explain` takes it."""
    return f"{name}[{','.join(map(str, where))}]"


def activation(function: ActivationFunction) -> str:
    """The right side of y = f(z)."""
    return _with_parameter(_ACTIVATIONS[function.name][0], function)


def slope(function: ActivationFunction) -> str:
    """The right side of dy/dz = f'(z); of softmax and its logarithm, the whole of dE/dz."""
    return _with_parameter(_ACTIVATIONS[function.name][1], function)


def is_plain(formula: str) -> bool:
    """Whether numbers can be put into a formula: it has one case, and mixes no numbers of a row."""
    return not re.search("[|_,]|with|where|between", formula)


def _with_parameter(text: str, function: ActivationFunction) -> str:
    return re.sub(r"\ba\b", number(function.slope), text)


def operation(given: Operation, fixed: bool = False) -> str:
    """What it computes before its activation; fixed is that of its `Step`."""
    if given.kind == "python":
        return f"y = {given.layer!r}.forward(x)"
    if fixed and given.kind == "dropout":
        return "y = x, since nothing is dropped in evaluation mode"
    text = _OPERATIONS[given.kind].format(**given.attributes)
    if given.kind == "periodic" and "bias" not in given.parameters:
        return text.replace("cos(2 pi w x + b)", "cos(2 pi w x) and sin(2 pi w x)").replace("w and b", "w")
    if fixed:
        return text.replace("over the rows", "by the running statistics")
    return text.removesuffix(" + b") if given.kind == "dense" and "bias" not in given.parameters else text


def passed(given: Operation) -> str:
    """The right side of dE/dx of a norm; empty for others."""
    return _PASSED.get(given.kind, "").format(**given.attributes)


def gradient(given: Operation, name: str) -> str:
    """The right side of dE/d a parameter; empty for a custom layer."""
    if name == "bias" and given.kind == "periodic":
        return "the sum over the rows of -sin(2 pi w x + b) dE/dy"
    if name == "bias":
        return "the sum over the rows of dE/dz"
    return _GRADIENTS.get(given.kind, "").format(**given.attributes)


def plus(words: list[str]) -> str:
    """A sum of numbers."""
    return " + ".join(some(words, "...")).replace("+ -", "- ") or "0"


def put(text: str, **values: Any) -> str:
    """A formula with numbers in the place of its names; negative ones in brackets."""
    words = {name: number(value) for name, value in values.items()}
    words = {name: f"({word})" if word.startswith("-") else word for name, word in words.items()}
    return re.sub(r"\b[a-z]\b(?!\()", lambda match: words.get(match[0], match[0]), text)


def terms(pairs: Sequence[tuple[Any, Any]], start: Any = None) -> str:
    """A sum of products, of which the middle is left out where it is long; and what is added to it."""
    words = ["..." if pair is None else f"{factor(pair[0])} * {factor(pair[1])}" for pair in some(pairs, None)]
    return " + ".join(words if start is None else [*words, factor(start)]) or "0"


def some(parts: Sequence[Any], gap: Any) -> list[Any]:
    """The terms of a sum; of many, the first and the last two."""
    return [*parts] if len(parts) <= MOST_TERMS else [*parts[:2], gap, *parts[-2:]]


def factor(value: Any) -> str:
    """A number within a product or a sum: a negative one in brackets."""
    text = number(value)
    return f"({text})" if text.startswith("-") else text


def called(given: Any) -> str:
    """What is said of a class in the first line of its docstring."""
    return (inspect.getdoc(type(given)) or "").partition("\n")[0].rstrip(".")


def loss(given: Loss) -> str:
    """The formula of one row, if its docstring begins with it."""
    if given.kernel == "binary_cross_entropy" and given.compiled and given.lower(True).numbers:
        return "l = -1/n_out sum w t log p + (1 - t) log(1 - p), with t = y (1 - label_smoothing) + label_smoothing / 2"
    return called(given) if given.compiled else ""


def logits(objective: Objective, end: ActivationFunction) -> str:
    """What the loss was computed on, and why."""
    if objective.on_logits:
        return (
            f"computed on the logits z, together with the {end.name}: so no exponential overflows, no logarithm is of "
            "0, and dE/dz needs no division by a probability"
        )
    if objective.compiled and objective.loss.from_logits:
        return "computed on the outputs of the network, which are logits"
    return "computed on the outputs of the network"


def rule(given: Any) -> list[str]:
    """The formula of an optimizer's step, in lines: its docstring, as far as its parameters."""
    words = (inspect.getdoc(type(given)) or "").partition("\nParameters\n")[0]
    return textwrap.wrap(" ".join(words.split()), 100, initial_indent="  ", subsequent_indent="  ")
