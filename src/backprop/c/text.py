"""Numbers and arrays as C writes them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from .. import _validate

__all__ = ["Body", "constants", "number"]

Array = _validate.Array

_TYPES = {"float32": "float", "float64": "double", "int8": "int8_t", "uint8": "uint8_t", "int32": "int32_t"}


class Body(NamedTuple):
    """What computes a row: the type of its numbers, constants, statements, functions they call, room they need."""

    real: str
    constants: list[str]
    calls: list[str]
    functions: set[str]
    size: int


def number(value: Any, dtype: str) -> str:
    """The shortest decimals that are read as this number."""
    if dtype == "float32":
        return f"{np.float32(value)!s}f"
    return repr(float(value)) if dtype == "float64" else str(int(value))


def constants(name: str, array: Array, dtype: str) -> str:
    """An array that stays where the program is."""
    numbers = ", ".join(number(value, dtype) for value in array.reshape(-1))
    shape = " x ".join(map(str, array.shape))
    lines = "\n".join(textwrap.wrap(numbers, 116, break_long_words=False, break_on_hyphens=False))
    return (
        f"static const {_TYPES[dtype]} {name}[{array.size}] = {{ /* {shape} */\n{textwrap.indent(lines, '    ')}\n}};\n"
    )


def rows(arrays: Iterable[Array], dtype: str) -> str:
    """Several rows, one after the other, between braces."""
    return ",\n".join("    " + ", ".join(number(value, dtype) for value in row) for row in arrays)
