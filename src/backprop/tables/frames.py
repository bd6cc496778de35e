"""DataFrames, arrays and columns by name, as tables: what each column holds is found from its values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from .. import _frames, _validate
from .._words import shown
from .table import Table
from .typed import Categories, Moments, Numbers, Truths

__all__ = ["of"]

Array = _validate.Array


def of(given: Any, name: str = "X") -> Table:
    """A table of what has columns: numbers, texts, booleans and dates; what is missing among them stays missing.

    Parameters
    ----------
    given : DataFrame, dict of columns, array or nested list
        Of pandas, Polars or PyArrow; columns by name; or rows (rows, columns), whose columns are called "0", "1", ...
        A `Table` is returned as it is.
    name : str, default "X"
        For the error messages.

    Returns
    -------
    Table

    Raises
    ------
    TypeError, ValueError
        Where a cell holds something else, with its row and its column.
    """
    if isinstance(given, Table):
        return given
    columns, named = _columns(given, name)
    if not columns:
        raise ValueError(f"{name}: expected at least one column, got none")
    lengths = {label: len(column) for label, column in columns.items()}
    first = next(iter(lengths.values()))
    if odd := next((label for label, length in lengths.items() if length != first), None):
        raise ValueError(f"{name}: expected columns of one length, got {first:,} rows, and {lengths[odd]:,} in {odd!r}")
    cells = {label: _read(column, name, label) for label, column in columns.items()}
    return Table(name, cells, range(first), has_header=named, is_file=False)


def _columns(given: Any, name: str) -> tuple[dict[str, Any], bool]:
    """The columns by name, and whether the names are theirs."""
    labels = _frames.columns(given)
    if labels is not None:
        found = [_frames.column(given, i, label) for i, label in enumerate(labels)]
    elif isinstance(given, Mapping):
        labels, found = list(given), list(given.values())
    else:
        return _of_array(given, name), False
    names = [str(label) for label in labels]
    if len(set(names)) < len(names):
        twice = next(label for i, label in enumerate(names) if label in names[:i])
        raise ValueError(f"{name}: expected a name of its own for each column, got {twice!r} twice")
    return dict(zip(names, found, strict=True)), True


def _of_array(given: Any, name: str) -> dict[str, Any]:
    if hasattr(given, "toarray"):
        raise TypeError(f"{name}: expected a dense array, got {type(given).__name__}: convert it, {name}.toarray()")
    if isinstance(given, (list, tuple)) and any(isinstance(cell, str) for row in given[:100] for cell in _row(row)):
        if {len(_row(row)) for row in given} != {len(_row(given[0]))}:
            raise ValueError(f"{name}: expected rows of equal length, got a ragged sequence")
        made = np.empty((len(given), len(given[0])), object)
        made[:] = given
        given = made
    array = given if isinstance(given, np.ndarray) else np.asarray(_frames.array(given, name, gaps=True))
    if array.ndim != 2:
        cure = f": {name}.reshape(-1, 1) is one column, {name}.reshape(1, -1) one row" if array.ndim == 1 else ""
        raise ValueError(f"{name}: expected an array of shape (rows, columns), got {array.shape}{cure}")
    return {str(i): array[:, i] for i in range(array.shape[1])}


def _row(row: Any) -> Sequence[Any]:
    return row if isinstance(row, (list, tuple)) else ()


def _read(column: Any, name: str, label: str) -> Sequence[str]:
    """A column as numbers, dates or texts."""
    kinds = getattr(getattr(column, "dtype", None), "categories", None)
    if kinds is not None and hasattr(column, "cat") and hasattr(column.cat, "codes"):  # of pandas
        texts = np.array([*_texts(list(kinds), name, label), ""], object)
        return Categories(texts[np.asarray(column.cat.codes)].tolist())
    if hasattr(getattr(column, "dt", None), "to_timestamp"):  # periods of pandas
        column = column.dt.to_timestamp()
    values = _values(column, name, label)
    kind = values.dtype.kind
    if kind == "b":
        return Truths(values.astype(np.float64))
    if kind in "fiu":
        numbers = values.astype(np.float64)
        names = kind != "f" and (abs(numbers) > 2**53).any()  # float64 cannot tell them from their neighbours
        return tuple(map(str, values.tolist())) if names else Numbers(numbers)
    if kind == "M":
        return Moments(values.astype("M8[us]"))
    if kind == "m":
        return Numbers(np.where(np.isnat(values), np.nan, values.astype("m8[us]").astype(np.int64) / 8.64e10))
    if kind == "V" and not issubclass(values.dtype.type, np.void):  # of ml_dtypes
        return Numbers(values.astype(np.float64))
    if kind in "cV":
        raise TypeError(f"{name}: expected numbers, texts or dates in column {label!r}, got dtype {values.dtype}")
    return _of_objects(values.tolist(), name, label)


def _values(column: Any, name: str, label: str) -> Array:
    """What a column holds; of a list its own objects, since NumPy would make texts of what stands beside texts."""
    if isinstance(column, np.ma.MaskedArray):
        got = f"a masked array in column {label!r}"
        raise TypeError(f"{name}: expected an array without a mask, got {got}: fill it first")
    if not isinstance(column, (list, tuple)):
        return _frames.cells(column, name, label)
    with suppress(ValueError):  # where there are lists in it
        values = np.asarray(column)
        mixed = values.dtype.kind != "b" and bool in set(map(type, column))
        if values.ndim == 1 and values.dtype.kind in "bfiuMmc" and not mixed:
            return values
    return np.fromiter(column, object, len(column))


def _of_objects(values: list[Any], name: str, label: str) -> Sequence[str]:
    """Python's objects: numbers where all are, dates where all are, else texts."""
    from datetime import date
    from decimal import Decimal
    from numbers import Real

    values = [None if type(value) is float and value != value else value for value in values]
    kinds = {kind for kind in set(map(type, values)) if not _is_gap(kind)}
    if kinds and kinds <= {bool, np.bool_}:
        return Truths(np.array([math.nan if _is_gap(type(value)) else value for value in values], np.float64))
    if kinds and all(issubclass(kind, (Real, Decimal)) and not issubclass(kind, (bool, np.bool_)) for kind in kinds):
        numbers = _numbers(values)
        if numbers is not None and not np.isnan(numbers).all():
            return Numbers(numbers)
    if date in kinds or any(issubclass(kind, date) for kind in kinds):
        return _dates(values, name, label)
    return tuple(_texts(values, name, label))


def _numbers(values: list[Any]) -> Array | None:
    """Numbers as float64; None where that cannot tell whole ones from their neighbours, which are names then."""
    if any(isinstance(value, int) and abs(value) > 2**53 for value in values):
        return None
    with suppress(OverflowError):
        return np.array([math.nan if _is_gap(type(value)) else value for value in values], np.float64)
    return None


def _dates(values: list[Any], name: str, label: str) -> Moments:
    """Dates, with and without a time; those of a zone in UTC, as pandas has them."""
    made = np.full(len(values), np.datetime64("NaT", "us"))
    for row, value in enumerate(values):
        if _is_gap(type(value)) or value != value:
            continue
        if hasattr(value, "isoformat"):
            offset = value.utcoffset() if hasattr(value, "utcoffset") else None
            local = value.replace(tzinfo=None) if offset is not None else value
            moment: Any = np.datetime64(local.isoformat(), "us")
            made[row] = moment - np.timedelta64(offset or 0, "us")
        else:
            raise TypeError(
                f"{name}: expected a date at row {row}, column {label!r}, as in other rows, got {shown(value)}: make "
                "texts of all, or drop the column"
            )
    return Moments(made)


def _texts(values: list[Any], name: str, label: str) -> list[str]:
    """Each value as a text, an empty one where it is missing."""
    from .cells import digits

    known: dict[Any, str] = {}
    made = []
    for row, value in enumerate(values):
        if type(value) is str:
            made.append(value.strip())
            continue
        try:
            text = known.get((type(value), value))
        except TypeError:  # as a list, which has no hash
            raise _no_cell(value, name, row, label) from None
        if text is None:
            text = _text(value, digits)
            if text is None:
                raise _no_cell(value, name, row, label)
            known[type(value), value] = text
        made.append(text)
    return made


def _no_cell(value: Any, name: str, row: int, label: str) -> TypeError:
    got = f"got {shown(value)}, a {type(value).__name__}: make numbers or texts of the column, or drop it"
    return TypeError(f"{name}: expected a number, a text or a date at row {row}, column {label!r}, {got}")


def _text(value: Any, digits: Any) -> str | None:
    """What stands for a value; None where nothing does. Beside numbers, UUIDs and decimals have a text of their own."""
    if _is_gap(type(value)):
        return ""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value)) if int(value).bit_length() < 10_000 else None
    if isinstance(value, (float, np.floating)):
        return "" if value != value else digits(float(value))
    if isinstance(value, (bytes, complex, np.complexfloating, tuple, frozenset)):
        return None
    has_text = isinstance(value, str) or any(hasattr(value, name) for name in ("hex", "as_tuple", "isoformat"))
    return str(value).strip() if has_text else None


def _is_gap(kind: type) -> bool:
    return kind.__name__ in ("NoneType", "NAType", "NaTType")
