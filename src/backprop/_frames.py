"""What is no array of numbers yet: tables of other libraries, tensors, and numbers that are Python objects.

Numbers of every kind become an array, a table column by column; what is not a number is refused, and its column named.
No library is imported for that: a table is known by what it offers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ._words import shown

Array = npt.NDArray[Any]

#: What the kinds of dtypes that hold no real numbers are called, and what to do about them.
_KINDS = {
    "O": ("Python objects", ""),
    "U": ("strings", ""),
    "S": ("byte strings", ""),
    "T": ("strings", ""),
    "c": ("complex numbers", "give the real and the imaginary parts as columns of their own"),
    "M": ("dates", "make numbers of them, such as the days since the first"),
    "m": ("time differences", "divide them by a unit, np.timedelta64(1, 's')"),
    "V": ("a structured array", "numpy.lib.recfunctions.structured_to_unstructured(...) makes columns of its fields"),
}
_STRINGS = {
    "x": "encode categories, one-hot or as whole numbers for bp.Columns and bp.Embedding; of numbers in quotes, "
    "x.astype(float)",
    "y": "class labels are whole numbers from 0, classes, y = np.unique(y, return_inverse=True)",
}
_GAPS = ("NoneType", "NAType", "NaTType")


def columns(value: Any) -> list[Any] | None:
    """What a table of another library calls its columns; None for anything else."""
    if isinstance(value, (np.ndarray, list, tuple)):
        return None
    if hasattr(value, "collect") and not hasattr(value, "__len__"):
        raise TypeError(
            f"expected a table, got a {type(value).__name__}, which is yet to be computed: call its collect()"
        )
    found = getattr(value, "column_names", None)  # of PyArrow, whose `columns` are the columns themselves
    if found is None and any(hasattr(value, name) for name in ("dtypes", "schema", "__dataframe__")):
        found = getattr(value, "columns", None)
    return None if found is None or callable(found) else list(found)


def names(value: Any) -> tuple[str, ...] | None:
    """The names of a table's columns, where all of them are strings; None for anything else."""
    found = columns(value)
    return tuple(map(str, found)) if found and all(isinstance(name, str) for name in found) else None


def ordered(value: Any, known: tuple[str, ...] | None, name: str) -> Any:
    """The columns of a table in the order of the names known; what has no names, as it is."""
    given = names(value)
    if known is None or given is None or given == known:
        return value
    place = {column: i for i, column in enumerate(given)}
    missing = [column for column in known if column not in place]
    unknown = [column for column in place if column not in set(known)]
    twice = [column for i, column in enumerate(given) if place[column] != i]
    if missing or unknown or twice:
        faults = {"missing": missing, "not known": unknown, "twice": twice}
        got = ", ".join(f"{fault} {', '.join(map(repr, some[:5]))}" for fault, some in faults.items() if some)
        wanted = f"the {len(known)} columns of the fit, {shown(list(known))}"
        raise ValueError(f"{name}: expected {wanted}, got others: {got}")
    return array(value, name)[:, [place[column] for column in known]]


def array(value: Any, name: str, gaps: bool = False) -> Array:
    """`value` as an array of real numbers; what is none, and where, is said. With gaps, missing values are NaN."""
    labels = columns(value)
    if labels is not None:
        return _table(value, labels, name, gaps)
    result = _as_array(value, name)
    if result.dtype.kind in "fiub":
        return result
    result = filled(result) if gaps else result
    series = hasattr(value, "to_numpy")
    return _numbers(result, name, "" if series else None, value.dtype if hasattr(value, "dtype") else result.dtype)


def _as_array(value: Any, name: str) -> Array:
    """NumPy's array of it, of whatever type."""
    if hasattr(value, "detach"):  # a tensor of PyTorch, perhaps one whose gradients are asked for
        value = value.detach()
    try:
        return np.asarray(value)
    except ValueError as error:
        if isinstance(value, (list, tuple)):
            raise ValueError(f"{name}: expected rows of equal length, got a ragged sequence") from error
        failed: Exception = error
    except (TypeError, RuntimeError) as error:
        failed = error
    try:
        if isinstance(value, (list, tuple)):
            return np.asarray([_as_array(row, name) for row in value])
        return np.asarray(value.float())  # PyTorch's bfloat16, which NumPy does not know
    except (AttributeError, TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name}: expected an array, got {type(value).__name__}: {shown(str(failed))}") from failed


def _table(value: Any, labels: list[Any], name: str, gaps: bool) -> Array:
    """The columns of a table, beside one another."""
    kinds = {dtype.kind if isinstance(dtype, np.dtype) else "" for dtype in getattr(value, "dtypes", [None])}
    if kinds <= set("fiu"):
        result = np.asarray(value)
    else:
        made = [_column(value, i, label, name, gaps) for i, label in enumerate(labels)]
        result = np.empty((len(value), len(made)), np.result_type(*made) if made else np.float64)
        for i, column in enumerate(made):
            result[:, i] = column
    if result.dtype.kind == "f" and not gaps and not np.isfinite(result).all():
        row, at = np.argwhere(~np.isfinite(result))[0].tolist()
        gap = ", a missing value," if np.isnan(result[row, at]) else ""
        where = f"{gap} at row {row}, column {labels[at]!r}"
        raise ValueError(f"{name}: expected finite numbers, got {result[row, at]!s}{where}: replace or drop it first")
    return result


def column(value: Any, i: int, label: Any) -> Any:
    """One column of a table of pandas, Polars, PyArrow, or what is like them, as that library has it."""
    if hasattr(value, "iloc"):
        return value.iloc[:, i]
    if hasattr(value, "to_series"):
        return value.to_series(i)
    return value.column(i) if hasattr(value, "column") else value[label]


def cells(column: Any, name: str, label: Any) -> Array:
    """What such a column holds, whatever it is, as an array (rows,)."""
    values = _as_array(column, name)
    if values.ndim != 1:
        raise TypeError(
            f"{name}: expected a number in each cell, got several in column {label!r} (dtype {_dtype(column)})"
        )
    return values


def filled(values: Array) -> Array:
    """Objects, with NaN in the place of those that say that a value is missing."""
    if values.dtype.kind != "O":
        return values
    kinds = {kind for kind in set(map(type, values.reshape(-1))) if kind.__name__ in _GAPS}
    if not kinds:
        return values
    flat = [np.nan if type(value) in kinds else value for value in values.reshape(-1)]
    result = np.empty(len(flat), object)
    result[:] = flat
    return result.reshape(values.shape)


def _dtype(column: Any) -> Any:
    return getattr(column, "dtype", None) or getattr(column, "type", None)


def _column(value: Any, i: int, label: Any, name: str, gaps: bool) -> Array:
    """One column as numbers."""
    given = column(value, i, label)
    values = cells(given, name, label)
    return _numbers(filled(values) if gaps else values, name, f" in column {label!r}", _dtype(given))


def _numbers(values: Array, name: str, column: str | None, dtype: Any) -> Array:
    """These values as numbers, or why they are none; `column` says which of a table they are, None: no table."""
    kind = values.dtype.kind
    if kind in "fiub":
        return values
    if kind == "V" and not issubclass(values.dtype.type, np.void):  # bfloat16 and others of ml_dtypes
        return values.astype(np.float32)
    if kind == "O":
        return _of_objects(values, name, column, dtype)
    what, cure = _KINDS[kind]
    cure = _STRINGS.get(name, cure) if "strings" in what else cure
    raise TypeError(f"{name}: expected real numbers, got {what}{column or ''} (dtype {dtype}){cure and ': '}{cure}")


def _of_objects(values: Array, name: str, column: str | None, dtype: Any) -> Array:
    """Numbers that are Python objects, as the narrowest type that holds them."""
    from decimal import Decimal
    from numbers import Integral, Real

    flat = values.reshape(-1)
    kinds = set(map(type, flat))
    wrong = {kind for kind in kinds if not issubclass(kind, (Real, Decimal, np.bool_))}
    if wrong:
        at = next(i for i, value in enumerate(flat) if type(value) in wrong)
        raise _not_a_number(flat[at], np.unravel_index(at, values.shape), name, column, dtype)
    whole = all(issubclass(kind, (Integral, np.bool_)) for kind in kinds)
    boolean = all(issubclass(kind, (bool, np.bool_)) for kind in kinds)
    types = [np.bool_] if boolean else [np.int64, np.uint64] if whole else []
    for narrow in [*types, np.float64]:
        try:
            return values.astype(narrow)
        except OverflowError:
            continue
    raise TypeError(f"{name}: expected real numbers, got Python objects{column or ''} (dtype {dtype}), of which one is "
                    "beyond float64: scale them")  # fmt: skip


def _not_a_number(value: Any, place: Any, name: str, column: str | None, dtype: Any) -> Exception:
    where = ", ".join(str(int(i)) for i in place)
    where = where and f" at {'row' if len(place) == 1 else 'row, column'} {where}"
    gap = type(value).__name__ in _GAPS and where
    if gap and column is not None:
        got = f"{value}, a missing value,{where}{column} (dtype {dtype})"
        return ValueError(f"{name}: expected finite numbers, got {got}: replace or drop it first")
    kind = "U" if isinstance(value, str) else "M" if hasattr(value, "isoformat") else "O"
    what, cure = _KINDS[kind]
    cure = "replace or drop it first" if gap else _STRINGS.get(name, cure) if kind == "U" else cure
    if column is None:
        what = _KINDS["O"][0]
    got = f"{what}{column or ''} (dtype {dtype}), such as {shown(value)}{', a missing value,' if gap else ''}{where}"
    return TypeError(f"{name}: expected real numbers, got {got}{cure and ': '}{cure}")
