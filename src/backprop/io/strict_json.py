"""JSON in which each key stands once, all numbers are finite and all text is Unicode."""

from __future__ import annotations

import json
import math
from reprlib import repr as shortened
from typing import Any, TypeAlias

from ..errors import FormatError

__all__ = ["check_json", "decode"]

MAX_HEADER = 1 << 20  # bytes of JSON in a file
MAX_DEPTH = 256  # of lists and objects within one another
MAX_INTEGER = 1 << 1024  # that of a float; a reader of JSON may stop at 640 digits

#: Where a value lies: in what, and under which key.
_Place: TypeAlias = tuple[Any, Any]


def decode(text: str, name: str) -> Any:
    """Parse JSON in which each key stands once, all numbers are finite and all text is Unicode.

    Parameters
    ----------
    text : str
    name : str
        What to call it in an error message.

    Raises
    ------
    FormatError
        If it is not that, or its lists and objects are more than 256 deep.
    """
    try:
        value = json.loads(text, object_pairs_hook=without_duplicates, parse_constant=_no_constant, parse_float=_finite)
        check_json(value, name)
    except (TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"expected {name} to be JSON, got an error: {error}") from error
    return value


def check_json(value: object, name: str) -> None:
    """Refuse what would not come back as it is from a file that holds it as JSON.

    Parameters
    ----------
    value : object
        None, True, False, a str, an int, a finite float, or a list or a dict of such, with strings for keys.
    name : str
        What to call it in an error message, which goes on with the place: ``name['key'][3]``.

    Raises
    ------
    TypeError, ValueError
        For what is of another type, or not a value that JSON has.
    """
    waiting: list[tuple[Any, _Place, int]] = [(value, (None, None), 1)]
    count = 0
    while waiting:
        value, place, depth = waiting.pop()
        count += 1
        if type(value) is list or type(value) is dict:
            if depth > MAX_DEPTH:
                raise ValueError(f"{name}: expected lists and dicts at most {MAX_DEPTH} deep, got deeper ones")
            entries: list[tuple[Any, Any]] = [*value.items()] if type(value) is dict else [*enumerate(value)]
            for key, _ in entries if type(value) is dict else ():
                fault = _fault(key) if isinstance(key, str) else TypeError(_unlike("strings for keys", key))
                if fault is not None:
                    raise type(fault)(f"{_where(name, place)}: {fault}")
            waiting += [(entry, (place, key), depth + 1) for key, entry in reversed(entries)]
        elif value is not None and type(value) is not bool and (fault := _fault(value)) is not None:
            raise type(fault)(f"{_where(name, place)}: {fault}")
        if count + len(waiting) > MAX_HEADER // 2:  # which some lists within one another, each twice, soon come to
            raise ValueError(f"{name}: expected what fits a header of {MAX_HEADER} bytes as JSON, got more")


def _where(name: str, place: _Place) -> str:
    keys: list[str] = []
    while place[0] is not None:
        place, key = place
        keys.append(f"[{shortened(key)}]")
    return name + "".join(reversed(keys))


def _fault(value: object) -> TypeError | ValueError | None:
    """What is wrong with a value that is no list and no dict."""
    if type(value) is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            return ValueError(f"expected text, got half a surrogate pair in {shortened(value)}")
    elif type(value) is int:
        if not -MAX_INTEGER < value < MAX_INTEGER:
            return ValueError(f"expected a whole number below 2**1024, got one of {value.bit_length()} bits")
    elif type(value) is float:
        if not math.isfinite(value):
            return ValueError(f"expected a finite number, got {value}")
    else:
        return TypeError(_unlike("None, a bool, an int, a float, a str, a list or a dict", value))
    return None


def _unlike(expected: str, value: object) -> str:
    cures = {"tuple": "list(...)", "set": "sorted(...)", "frozenset": "sorted(...)", "bytes": "str"}
    kind = type(value).__name__
    cure = (
        "convert it, .tolist()" if hasattr(value, "tolist") else f"convert it, {cures[kind]}" if kind in cures else ""
    )
    return f"expected {expected}, got {shortened(value)} of type {kind}{cure and ': '}{cure}"


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its keys and values, each key once."""
    unique: dict[str, Any] = {}
    for key, value in pairs:
        if key in unique:
            raise ValueError(f"duplicate key {shortened(key)}")
        unique[key] = value
    return unique


def _no_constant(text: str) -> None:
    raise ValueError(f"{text}, which JSON has not")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {shortened(text)}")
    return value
