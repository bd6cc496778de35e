"""Numbers and arrays as C writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import _validate

__all__ = ["Body", "constants", "number"]

Array = _validate.Array

_TYPES = {"float32": "float", "float64": "double", "int8": "int8_t", "uint8": "uint8_t", "int32": "int32_t"}


class Body(NamedTuple):
    """What computes a row: types of its numbers and of its room, constants, statements, functions, and that room."""

    real: str
    work: str
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
    numbers = [number(value, dtype) for value in array.reshape(-1)]
    shape = " x ".join(map(str, array.shape))
    lines = "\n".join(_lines(numbers, " " if "float" in dtype else ""))
    return f"static const {_TYPES[dtype]} {name}[{array.size}] = {{ /* {shape} */\n{lines}\n}};\n"


def _lines(numbers: list[str], space: str) -> Iterator[str]:
    """Numbers with commas between them, in lines that a screen is wide enough for."""
    line = ""
    for text in numbers:
        if len(line) + len(text) > 116:
            yield line.rstrip()
            line = ""
        line += f"{text},{space}"
    yield line.rstrip().removesuffix(",")
