"""The one gate for what comes from outside: convert and check once, and say what was expected, what came, and the cure.

NumPy lets strings, complex numbers, masks, dates and an overflow to float32 pass in silence; nothing here does.
"""

from __future__ import annotations

import math
import operator
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core, _frames, _words
from ._words import shown as shown

Array = npt.NDArray[Any]
#: What a value passes, beside its name: it returns what is to be kept, or refuses.
Gate = Callable[[Any, str], Any]

#: Bytes that NumPy converts, copies or looks at in one call: between two, Python notices Ctrl-C.
PIECE = 1 << 24


def slices(rows: int, size: int) -> Iterator[slice]:
    """All of so many rows, which are so many bytes together: a piece at a time."""
    step = max(1, PIECE * rows // max(size, 1))
    for start in range(0, rows, step):
        yield slice(start, start + step)


def put(into: Array, values: Array) -> None:
    """Copy and convert what may be large, of the same shape."""
    while into.ndim > 1 and len(into) == 1:
        into, values = into[0], values[0]
    if into.ndim == 0 or into.nbytes <= PIECE:
        into[...] = values
        return
    for rows in slices(len(into), into.nbytes):
        into[rows] = values[rows]


def contiguous(given: Array, dtype: npt.DTypeLike) -> Array:
    """A contiguous, aligned array of this type; not a copy where it is one already."""
    if given.nbytes <= PIECE or (given.dtype == dtype and given.flags.c_contiguous and given.flags.aligned):
        return np.require(given, dtype, ["C", "A"])
    return copied(given, dtype)


def copied(given: Array, dtype: npt.DTypeLike | None = None) -> Array:
    """A copy, contiguous and of this type, by default its own."""
    result = np.empty(given.shape, given.dtype if dtype is None else dtype)
    put(result, given)
    return result


def array(value: Any, name: str) -> Array:
    """`value` as an array of real numbers, of whatever type and layout; only what cannot be one is refused."""
    if type(value) is np.ndarray and value.dtype.kind in "fiub":
        return value
    rows = value if isinstance(value, (list, tuple)) else [value]
    if any(isinstance(row, np.ma.MaskedArray) for row in rows):
        raise TypeError(f"{name}: expected an array without a mask, got a masked array: fill it first, x.filled(...)")
    if hasattr(value, "toarray"):
        raise TypeError(f"{name}: expected a dense array, got {type(value).__name__}: convert it, x.toarray()")
    return _frames.array(value, name)


def real(
    value: Any, name: str, dtype: npt.DTypeLike, first_row: int = 0, later: bool = False, columns: Any = None
) -> Array:
    """A contiguous, finite array of this floating-point type; not a copy where it is one already.

    Then, whoever reads it soon may look for infinities ``later``, and come here again if there are any. A message names
    the columns, where they have names.
    """
    given = value if type(value) is np.ndarray else array(value, name)
    if given.dtype != dtype or not (given.flags.c_contiguous and given.flags.aligned):
        given = array(given, name)
        with np.errstate(over="ignore"):
            result = contiguous(given, dtype)
    else:
        result = given
    if not (later and result is given) and not _core.all_finite(result.reshape(-1)):
        where: tuple[int, ...] = tuple(np.argwhere(~np.isfinite(result))[0].tolist())
        place = ", ".join(map(str, (first_row + where[0], *where[1:]))) if where else ""
        place = place and f" at {'row' if len(where) == 1 else 'row, column'} {place}"
        if columns is not None:
            place = f" at row {first_row + where[0]}, column {columns[where[-1]]!r}"
        cure = "replace or drop it first"
        if np.isfinite(given[where]):
            wider = ', or make the network with dtype="float64"' if np.dtype(dtype) == np.float32 else ""
            cure = f"a number beyond {np.dtype(dtype)}: scale it{wider}"
        raise ValueError(f"{name}: expected finite numbers, got {given[where]!s}{place}: {cure}")
    return result


def matrix(
    value: Any, name: str, columns: int, dtype: npt.DTypeLike, owner: str = "", first_row: int = 0, later: bool = False
) -> Array:
    """A contiguous, finite array (rows, columns), of which a message counts the rows from first_row; see `real`."""
    given = value if type(value) is np.ndarray else array(value, name)
    if given.ndim != 2 or given.shape[1] != columns:
        given = array(given, name)
        cure = _reshaped(given.shape, columns, name)
        who = f"{owner} expected input" if owner else f"{name}: expected an array"
        raise ValueError(f"{who} of shape (batch, {columns}), got {given.shape}{cure}")
    return real(given, name, dtype, first_row, later, _frames.columns(value))


def _reshaped(shape: tuple[int, ...], columns: int, name: str) -> str:
    """What makes rows of so many columns of an array of this shape: the end of a message, or nothing."""
    if shape == (columns,):
        return f": {name}.reshape(1, -1) is one row"
    if len(shape) == 1 and columns == 1:
        return f": {name}.reshape(-1, 1) is one column"
    if len(shape) == 2 and shape[0] == columns:
        return f": {name}.T has its rows and columns the other way round"
    if len(shape) > 2 and math.prod(shape[1:]) == columns:
        return f": {name}.reshape(len({name}), -1) makes a row of each"
    return ""


@contextmanager
def within(place: str) -> Iterator[None]:
    """Let the messages of errors from inside begin with the place."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{place}: {error}") from error


def same_rows(rows: int, **others: Array | None) -> None:
    """All of these have so many rows."""
    for name, other in others.items():
        if other is not None and other.shape[:1] != (rows,):
            got = len(other) if other.ndim else "a single number"
            raise ValueError(f"{name}: expected {rows} rows, as many as x has, got {got}")


def some_rows(x: Any, name: str = "x") -> None:
    if x.shape[:1] in ((), (0,)):
        raise ValueError(f"{name}: expected at least one row, got {'none' if x.ndim else 'a single number'}")


def assign(view: Array, value: Any, name: str) -> None:
    """Copy into an array what shall become its content."""
    if value is view:  # as after view += 1
        return
    given = array(value, name)
    if given.shape != view.shape:
        raise ValueError(f"{name}: expected shape {view.shape}, got {given.shape}")
    put(view, real(given, name, view.dtype))


def names(values: Array, count: int, name: str, first_row: int = 0) -> None:
    """Whole numbers (rows,), 0 to count - 1, which name one of so many things."""
    for rows in slices(len(values), values.nbytes):
        some = values[rows]
        wrong = ~((some >= 0) & (some < count) & (some == np.floor(some)))
        if wrong.any():
            row = rows.start + int(np.argmax(wrong))
            raise ValueError(
                f"{name}: expected labels 0 to {count - 1}, whole numbers, got {values[row]} at row {first_row + row}"
            )


def between(values: Array, low: float, high: float, name: str, cure: str) -> None:
    """All of these lie in [low, high]."""
    if len(values) and not (low <= values.min() and values.max() <= high):
        where = tuple(int(i) for i in np.argwhere(~((values >= low) & (values <= high)))[0])
        got = f"{values[where]!s} at row {where[0]}"
        raise ValueError(f"{name}: expected numbers from {low} to {high}, got {got}: {cure}")


def weights(
    value: Any, rows: int, name: str = "sample_weight", each: str = "row", *, part: bool = False
) -> npt.NDArray[np.float64]:
    """Weights (rows,): none negative, finite as their sum and its inverse; all zero only where they are a part."""
    given = array(value, name)
    if given.shape != (rows,):
        raise ValueError(f"{name}: expected shape ({rows},), one weight for each {each}, got {given.shape}")
    result = real(given, name, np.float64)
    if rows and result.min() < 0:
        raise ValueError(f"{name}: expected no negative weight, got {result.min()} at {each} {int(result.argmin())}")
    if part and not result.any():
        return result
    if rows and not result.any():
        raise ValueError(f"{name}: expected a positive weight, got only zeros")
    with np.errstate(over="ignore"):
        total = float(result.sum())
    if rows and not sys.float_info.min <= total <= sys.float_info.max:
        raise ValueError(f"{name}: expected weights with a sum that can be divided by, got the sum {total}: scale them")
    return result


def integer(value: Any, name: str, least: int = 1, most: int = 2**40) -> int:
    """A whole number in a range; not a bool, not a float."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        result = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected a whole number, got {shown(value)}") from None
    if not least <= result <= most:
        raise ValueError(f"{name}: expected a whole number from {least} to {most}, got {shown(result)}")
    return result


def indices(value: Any, name: str, count: int) -> npt.NDArray[np.int64]:
    """Places in so many rows, at least one."""
    given = array(value, name)
    if given.dtype.kind == "b":
        raise TypeError(f"{name}: expected indices of rows, got a mask: take np.flatnonzero(mask)")
    if given.dtype.kind not in "iu" and given.size:
        raise TypeError(f"{name}: expected indices of rows, whole numbers, got {given.dtype}")
    if given.ndim != 1 or not len(given):
        raise ValueError(f"{name}: expected indices of rows, shape (rows,), at least one, got shape {given.shape}")
    if given.min() < 0 or given.max() >= count:
        got = int(given.min() if given.min() < 0 else given.max())
        raise ValueError(f"{name}: expected indices of rows from 0 to {count - 1}, got {got}")
    return contiguous(given, np.int64)


def number(value: Any, name: str, least: float = -math.inf, below: float = math.inf, above: float = -math.inf) -> float:
    """A finite number with least <= number < below and number > above; not a bool, not a string."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: expected a number, got {shown(value)}")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not (math.isfinite(result) and least <= result < below and result > above):
        low = f" at least {least}" if least > -math.inf else f" above {above}" if above > -math.inf else ""
        high = f"{' and' if low else ''} below {below}" if below < math.inf else ""
        raise ValueError(f"{name}: expected a finite number{low}{high}, got {shown(value)}")
    return result


def share(value: Any, name: str) -> float:
    """At least 0, below 1."""
    return number(value, name, least=0, below=1)


def not_negative(value: Any, name: str) -> float:
    return number(value, name, least=0)


def positive(value: Any, name: str) -> float:
    return number(value, name, above=0)


def optional(gate: Gate) -> Gate:
    """The same gate, through which None goes too."""

    def passed(value: Any, name: str) -> Any:
        return None if value is None else gate(value, name)

    return passed


def flag(value: Any, name: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {shown(value)}")
    return bool(value)


def items(value: Any, name: str) -> list[Any]:
    """What is in a list, or in anything else that has an order."""
    try:
        if isinstance(value, (str, bytes, Mapping, Set)):
            raise TypeError
        found = iter(value)
    except TypeError:
        cure = "" if value is None or isinstance(value, (Mapping, Set)) else f": put it into one, {name}=[...]"
        raise TypeError(f"{name}: expected a list, got {shown(value)}{cure}") from None
    return list(found)


def choice(value: Any, name: str, choices: Iterable[str]) -> str:
    """One of these names; otherwise the nearest is suggested."""
    names = list(choices)
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected one of {', '.join(names)}, got {shown(value)}")
    if value not in names:
        near = _words.meant(value, names)
        hint = f"; did you mean {near!r}?" if near else ""
        raise ValueError(f"{name}: expected one of {', '.join(names)}, got {shown(value)}{hint}")
    return value


def generator(rng: Any) -> np.random.Generator:
    """The generator that `rng` stands for: an int seeds one, None one from the system's entropy."""
    if rng is None or isinstance(rng, np.random.Generator):
        return np.random.default_rng(rng)
    if isinstance(rng, np.random.RandomState):
        raise TypeError(f"rng: expected an int, a Generator or None, got {shown(rng)}: use np.random.default_rng(...)")
    return np.random.default_rng(integer(rng, "rng", 0, 2**128 - 1))


def fits_in_memory(numbers: int, dtype: np.dtype[Any], what: str) -> None:
    """Refuse what this machine cannot hold, before allocating it."""
    try:
        most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        most = 2**40
    size = numbers * dtype.itemsize
    if size > most:
        room = f"the {most:.3g} bytes of this machine's memory"
        raise ValueError(f"{what}: expected at most {room}, got {size:.3g} bytes")
