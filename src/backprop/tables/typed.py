"""Columns that hold numbers or dates before anybody reads them, as those of a DataFrame; as texts, where asked.

A column of texts is a tuple of cells, and what they say is found by a `Survey`; here that is known.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np

from .. import _validate
from .cells import PLAIN, Style, Survey, digits
from .dates import is_compact

__all__ = ["Categories", "Moments", "Numbers", "Truths", "Typed"]

Array = _validate.Array


class Categories(tuple[str, ...]):
    """A column of texts that somebody has called categories, numbers among them."""

    __slots__ = ()


class Typed(Sequence[str]):
    """A column of values, each of which is spelled where its text is wanted; a missing one is an empty cell.

    Parameters
    ----------
    values : numpy.ndarray, shape (rows,)
    """

    def __init__(self, values: Array) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> tuple[str, ...]: ...
    def __getitem__(self, row: int | slice) -> str | tuple[str, ...]:
        if isinstance(row, slice):
            return tuple(map(self._spelled, self.values[row].tolist()))
        return self._spelled(self.values[row].item())

    def __iter__(self) -> Any:
        return iter(self[:])

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Typed)
            and type(self) is type(other)
            and np.array_equal(self.values, other.values, equal_nan=True)
        )

    __hash__ = None  # type: ignore[assignment]  # what has == and can change

    def take(self, rows: Sequence[int]) -> "Typed":
        """Some of the rows."""
        return type(self)(self.values[np.asarray(rows, np.int64)])

    @property
    def missing(self) -> Array:
        """Which values are missing."""
        return np.isnan(self.values)

    def survey(self) -> Survey:
        """What the cells are."""
        return _Known(self)

    @staticmethod
    def _spelled(value: Any) -> str:
        raise NotImplementedError


class Numbers(Typed):
    """Numbers: float64, NaN where they are missing."""

    @staticmethod
    def _spelled(value: Any) -> str:
        return "" if value != value else digits(value)


class Truths(Numbers):
    """Booleans: categories, and 0 and 1 where numbers are wanted."""

    @staticmethod
    def _spelled(value: Any) -> str:
        return "" if value != value else str(value == 1)


class Moments(Typed):
    """Dates: datetime64 of microseconds, NaT where they are missing."""

    @staticmethod
    def _spelled(value: Any) -> str:
        return "" if value is None else value.isoformat(" ").removesuffix(" 00:00:00")


class _Known(Survey):
    """The survey of such a column, without looking at its texts."""

    def __init__(self, column: Typed) -> None:
        self._column = column
        self._given = column.values[~column.missing]
        self._different = np.unique(self._given)
        self.of_numbers = self.of_texts = len(self._given)
        self.is_numeric = type(column) is Numbers
        self.are_dates = type(column) is Moments
        self.are_names = self.are_phrases = self.has_leading_zeros = self.has_parentheses = False
        self.decimal = None

    @cached_property
    def texts(self) -> Counter[str]:
        """The different values, spelled."""
        return Counter(filter(None, self._column[:]))

    @cached_property
    def numbers(self) -> Counter[str]:
        """The same."""
        return self.texts

    @property
    def different(self) -> int:
        """How many different cells there are."""
        return len(self._different)

    @cached_property
    def are_numbered(self) -> bool:
        """Whether the cells are whole numbers, and all of them different."""
        given = self._different
        return self.is_numeric and len(given) == self.of_numbers >= 10 and bool((given == np.floor(given)).all())

    @cached_property
    def are_compact_dates(self) -> bool:
        """Whether the cells are dates in eight digits."""
        found = self._different
        plausible = self.is_numeric and len(found) > 4 and found[0] >= 19000101 and found[-1] <= 21001231
        return plausible and all(is_compact(digits(number)) for number in found.tolist())

    @property
    def doubtful(self) -> bool:
        """Whether there are two ways to read the numbers."""
        return False

    def style(self, decimal: str | None = None) -> Style:
        """How the numbers are written."""
        return PLAIN
