"""What operators compute, in a form that does not depend on how it was written.

``x * sigmoid(x)``, ``(0.5 * x) * (1 + tanh(...))``: exporters write a function of numbers in many ways. Here a sum is a
constant and terms with their factors, a product powers of what is no product, and their order is by their names; a
division is a power, and so is a square root. Two ways to write the same become the same text, with the same numbers.

The text has ``#`` in the place of each number and ``@`` in that of each array; so what a function goes by, such as the
slope of an ELU or the epsilon of a layer norm, is found by comparing with the form for two such numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from ... import _validate, activations
from ...activations import ActivationFunction
from ...onnx import formulas
from .values import Value

__all__ = ["Form", "Known", "known"]

Array = _validate.Array

#: Of a form, more than the longest that is known has; of its operators; and steps back to where a function may begin.
LONGEST, MOST, STEPS = 6000, 120, 4


class Form(NamedTuple):
    """A form, by its text, and the numbers and arrays in it from left to right."""

    text: str
    numbers: tuple[float, ...] = ()
    arrays: tuple[Any, ...] = ()
    kind: str = "atom"
    parts: tuple[tuple[Any, float], ...] = ()  # terms with factors, or factors with powers
    number: float = 0.0  # the constant of a sum

    def __hash__(self) -> int:
        return hash((self.text, self.numbers))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Form) and self[:3] == other[:3]

    def like(self, other: Form) -> bool:
        """Whether the two are the same but for rounding."""
        return self.text == other.text and all(
            math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12) for a, b in zip(self.numbers, other.numbers, strict=True)
        )


class NoFormError(Exception):
    """There is something that is no function of a row of numbers."""


class Held:
    """An array among the parts of a form."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __hash__(self) -> int:
        return len(self.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and np.array_equal(self.array, other.array)


X = Form("x")


def _atom(name: str, forms: Iterable[Form], numbers: Iterable[float] = (), arrays: Iterable[Any] = ()) -> Form:
    parts, own = [*forms], (*numbers,)
    text = f"{name}({', '.join([*(part.text for part in parts), *'#' * len(own)])})"
    if len(text) > LONGEST:
        raise NoFormError
    inner = tuple(number for part in parts for number in part.numbers)
    return Form(text, (*inner, *own), (*(array for part in parts for array in part.arrays), *arrays))


def _built(kind: str, number: float, parts: Mapping[Form, float]) -> Form:
    """A sum, or a product, whose parts are in order."""
    kept = sorted(((form, n) for form, n in parts.items() if n), key=lambda one: (one[0].text, one[0].numbers, one[1]))
    if not kept:
        return _number(number if kind == "sum" else 1.0)
    if len(kept) == 1 and kept[0][1] == 1 and (kind == "product" or not number):
        return kept[0][0]
    found = _atom(kind, [form for form, _ in kept], [*(n for _, n in kept), *([number] if kind == "sum" else [])])
    return found._replace(kind=kind, parts=tuple(kept), number=number)


def _number(number: float) -> Form:
    return Form("#", (number,), kind="sum", number=number)


def _add(forms: Iterable[Form]) -> Form:
    number = 0.0
    parts: dict[Form, float] = {}
    for form in forms:
        terms = form.parts if form.kind == "sum" else ((form, 1.0),)
        number += form.number if form.kind == "sum" else 0.0
        for part, factor in terms:
            parts[part] = parts.get(part, 0.0) + factor
    return _built("sum", number, parts)


def _scale(form: Form, factor: float) -> Form:
    terms = form.parts if form.kind == "sum" else ((form, 1.0),)
    number = form.number if form.kind == "sum" else 0.0
    return _built("sum", number * factor, {part: n * factor for part, n in terms})


def _multiply(powers: Iterable[tuple[Form, float]]) -> Form:
    factor = 1.0
    parts: dict[Form, float] = {}
    for form, power in powers:
        core, own = _parted(form)
        if (own < 0 and power != int(power)) or (own == 0 and power < 0):
            raise NoFormError
        factor *= own**power
        for part, n in core.parts if core.kind == "product" else (((core, 1.0),) if core.text != "#" else ()):
            parts[part] = parts.get(part, 0.0) + n * power
    return _scale(_built("product", 1.0, parts), factor)


def _parted(form: Form) -> tuple[Form, float]:
    """A form without a factor, and the factor: the first term of a sum counts once."""
    if form.kind != "sum":
        return form, 1.0
    if not form.parts:
        return _number(1.0), form.number
    factor = form.parts[0][1]
    return _scale(form, 1 / factor), factor


def _max(form: Form, limit: float) -> Form:
    return _atom("Relu", [form]) if limit == 0 else _atom("Max", [form], [limit])


def _min(form: Form, limit: float) -> Form:
    return _scale(_max(_scale(form, -1.0), -limit), -1.0)


def _constant(form: Form) -> float:
    if form.text != "#":
        raise NoFormError
    return form.numbers[0]


#: Forms of the operators.
_COMBINED: dict[str, Callable[[list[Form]], Form]] = {
    "Add": _add, "Sum": _add, "Sub": lambda a: _add([a[0], _scale(a[1], -1.0)]), "Neg": lambda a: _scale(a[0], -1.0),
    "Mul": lambda a: _multiply([(a[0], 1.0), (a[1], 1.0)]), "Div": lambda a: _multiply([(a[0], 1.0), (a[1], -1.0)]),
    "Reciprocal": lambda a: _multiply([(a[0], -1.0)]), "Sqrt": lambda a: _multiply([(a[0], 0.5)]),
    "Pow": lambda a: _multiply([(a[0], _constant(a[1]))]),
    "Max": lambda a: _max(a[0], _constant(a[1])), "Min": lambda a: _min(a[0], _constant(a[1])),
    "Clip": lambda a: _atom("Clip", a[:1], map(_constant, a[1:])),
    "PRelu": lambda a: _add([_max(a[0], 0.0), _multiply([(a[1], 1.0), (_min(a[0], 0.0), 1.0)])]),
    "Mish": lambda a: _multiply([(a[0], 1.0), (_atom("Tanh", [_atom("Softplus", a)]), 1.0)]),
    **{name: partial(_atom, name) for name in (
        "Abs", "Cos", "Equal", "Erf", "Exp", "Greater", "Less", "Log", "Relu", "Sigmoid", "Sin", "Softplus", "Tanh",
        "Where")},
}  # fmt: skip


def _combined(operator: str, taken: list[Form], attributes: Mapping[str, Any], width: int) -> Form:
    if operator in ("ReduceSum", "ReduceMean"):
        total = _atom("Sum", taken[:1])
        return total if operator == "ReduceSum" else _scale(total, 1 / width)
    if operator not in _COMBINED or attributes:
        raise NoFormError
    return _COMBINED[operator](taken)


# Of the values of a model, and of formulas.


def _of_value(value: Value, start: Value, found: dict[Value, Form]) -> Form:
    """What a value is of another one."""
    if value not in found:
        if value.source is None or value.place < start.place or value.place - start.place > MOST:
            raise NoFormError
        taken = []
        reduced = value.operator in ("ReduceSum", "ReduceMean")
        for one in value.taken[:1] if reduced else value.taken:
            taken.append(_of_value(one, start, found) if isinstance(one, Value) else _of_constant(one, value))
        attributes = {} if reduced else value.attributes
        found[value] = _combined(value.operator, taken, attributes, value.inputs[0].width)
    return found[value]


def _of_constant(array: Any, value: Value) -> Form:
    if array is None or array.dtype.kind != "f":
        raise NoFormError
    if array.size == 1:
        return _number(float(array.reshape(-1)[0]))
    if array.size != value.width or array.size != max(array.shape) or array.ndim > 2:
        raise NoFormError
    return Form("@", arrays=(Held(array.reshape(-1)),))


def _of_formula(formula: Any, width: int = 1) -> Form:
    if formula == formulas.X:
        return X
    if isinstance(formula, str):
        return Form("@", arrays=(Held(formula),))
    if isinstance(formula, float):
        return _number(formula)
    parts = [part for part in formula[1:] if isinstance(part, (str, float)) or isinstance(part[0], str)]
    taken = [_of_formula(part, width) for part in parts]
    return _combined(formula[0], taken, {}, width)


# What is known.


class Known(NamedTuple):
    """A function that was recognised: an activation, or a layer with what it goes by."""

    kind: str
    start: Value
    function: ActivationFunction | None = None
    number: float = 0.0
    array: Any = None


_TANH = ("Tanh", ("Mul", ("Add", "x", ("Mul", ("Mul", ("Mul", "x", "x"), "x"), formulas.CUBIC)), formulas.ROOT))


@cache
def _functions() -> dict[str, list[tuple[Form, ActivationFunction]]]:
    """The activations without a number, by the texts of all their forms."""
    written: dict[str, list[Any]] = {
        "silu": [formulas.SILU], "mish": [formulas.MISH], "softsign": [formulas.SOFTSIGN], "gelu": [formulas.GELU],
        "gelu_tanh": [formulas.GELU_TANH, ("Mul", ("Mul", "x", 0.5), ("Add", _TANH, 1.0))],
        "softplus": [("Where", ("Greater", "x", 20.0), "x", ("Softplus", "x")), ("Log", ("Add", ("Exp", "x"), 1.0))],
        "sigmoid": [("Div", 1.0, ("Add", ("Exp", ("Neg", "x")), 1.0))], "relu": [("Max", "x", 0.0)],
    }  # fmt: skip
    found: dict[str, list[tuple[Form, ActivationFunction]]] = {}
    for name in sorted({*written, *formulas.doubles()}):
        function = getattr(activations, name)
        for formula in [*written.get(name, []), *[one for key, one in formulas.doubles().items() if key == name]]:
            form = _of_formula(formula)
            found.setdefault(form.text, []).append((form, function))
    return found


#: The functions that go by a number, which multiplies a number of their forms.
_BY_NUMBER: dict[str, Callable[[float, int], Form]] = {
    "layer_norm": lambda epsilon, width: _of_formula(formulas.layer_norm(width, epsilon), width),
    "elu": lambda alpha, width: _of_formula(formulas.elu(alpha)),
    "prelu": lambda slope, width: _of_formula(formulas.prelu(slope)),
}


@lru_cache(64)
def _for_two(kind: str, width: int) -> tuple[Form, Form]:
    """The forms for two numbers, which differ where the number is."""
    return _BY_NUMBER[kind](1.0, width), _BY_NUMBER[kind](2.0, width)


def _by_number(form: Form, start: Value) -> Known | None:
    """The function of this form that goes by a number, and the number."""
    for kind, make in _BY_NUMBER.items():
        one, two = _for_two(kind, start.width)
        if form.text == one.text:
            place = next(i for i, pair in enumerate(zip(one.numbers, two.numbers, strict=True)) if pair[0] != pair[1])
            number = float(f"{form.numbers[place] / one.numbers[place]:.15g}")
            if math.isfinite(number) and form.like(make(number, start.width)):
                return Known(kind, start, number=number)
    return None


def _by_array(form: Form, start: Value) -> Known | None:
    """A PReLU with a slope for each number of a row."""
    sign = next((sign for sign in (1, -1) if form.like(_of_slopes(sign))), None)
    return None if sign is None else Known("prelu", start, array=sign * form.arrays[0].array)


@cache
def _of_slopes(sign: int) -> Form:
    return _of_formula(formulas.prelu("slopes" if sign == 1 else ("Neg", "slopes")))


def known(value: Value) -> Known | None:
    """The function that ends in a value, from the nearest value that it may begin at."""
    start = value
    for _ in range(STEPS):
        if start.source is None:
            return None
        start = start.source
        try:
            form = _of_value(value, start, {start: X})
        except (NoFormError, OverflowError, ZeroDivisionError):
            continue
        activation = next((f for other, f in _functions().get(form.text, ()) if form.like(other)), None)
        if activation is not None:
            return Known("activation", start, activation)
        if (found := _by_number(form, start) or _by_array(form, start)) is not None:
            return found
    return None
