"""A table: the cells of a CSV file or a DataFrame, column by column, as texts, numbers, dates, or classes."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from reprlib import repr as shortened
from typing import Any

import numpy as np

from .. import _validate, _words
from .cells import PLAIN, Style, Survey, is_missing
from .dates import moments
from .typed import Categories, Moments, Numbers, Typed

__all__ = ["MOST_CATEGORIES", "Table"]

Array = _validate.Array

#: More different texts than this are names rather than categories.
MOST_CATEGORIES = 256
#: More different whole numbers than this are amounts rather than classes.
MOST_WHOLE_NUMBERS = 10


@dataclass(frozen=True)
class Table:
    """The cells of a CSV file, or of what else has columns.

    Attributes
    ----------
    path : str
        For the error messages.
    columns : dict of str to sequence of str
        The cells of each column, without the white space around them; of a DataFrame, its numbers and dates as such.
    lines : sequence of int
        The line of the file on which each row begins: the header is on line 1. Of a DataFrame, which row it is.
    delimiter : str
        What divides the cells.
    has_header : bool
        False where the columns are called "1", "2" and so on, as the file does not name them.
    is_file : bool
        Whether somebody reads the messages who has options on the command line, rather than arguments.
    repeated : sequence of str
        Names that the file gives to several columns, of which the first has it here.
    """

    path: str
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]
    delimiter: str = ","
    has_header: bool = True
    is_file: bool = True
    repeated: Sequence[str] = ()
    _known: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.lines)

    def error(self, row: int, name: str, message: str) -> ValueError:
        """An error that says where it is."""
        return ValueError(f"{self.path}, row {self.lines[row]}, column {name!r}: {message}")

    def option(self, name: str, column: str) -> str:
        """How to say of a column how it is to be read."""
        return f"--{name} {column}" if self.is_file else f"{name}={[column]!r}"

    def cells(self, name: str) -> Sequence[str]:
        """The cells of a column, as they stand."""
        return self.columns[self.named(name)]

    def survey(self, name: str) -> Survey:
        """What the cells of a column are."""
        if name not in self._known:
            cells = self.cells(name)
            self._known[name] = cells.survey() if isinstance(cells, Typed) else Survey(cells)
        survey: Survey = self._known[name]
        return survey

    def missing(self, name: str, number: bool = False) -> Array:
        """Which cells of a column are missing: bool (rows,)."""
        cells = self.cells(name)
        if isinstance(cells, Typed):
            return cells.missing
        gaps = {cell for cell in set(cells) if is_missing(cell, number)}
        return np.array([cell in gaps for cell in cells], bool)

    def named(self, name: str) -> str:
        """The name of a column; a word that is none is refused."""
        if name not in self.columns:
            near = _words.meant(name, self.columns)
            names = [*self.columns]
            has = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
            hint = f"; did you mean {near!r}?" if near else ""
            if len(names) == 1 and name in re.split(r"\W", names[0]):
                hint = ": expected commas, semicolons, tabs or | between cells"
            raise ValueError(f"no column {name!r} in {self.path}: it has {has}{hint}")
        return name

    def rows(self, rows: Sequence[int]) -> "Table":
        """Some of the rows."""
        columns = {
            name: cells.take(rows) if isinstance(cells, Typed) else _as_were(cells, map(cells.__getitem__, rows))
            for name, cells in self.columns.items()
        }
        return replace(self, columns=columns, lines=[self.lines[row] for row in rows], _known={})

    def without(self, name: str) -> "Table":
        """All columns but one."""
        return replace(self, columns={key: cells for key, cells in self.columns.items() if key != name})

    def texts(self, name: str) -> Sequence[str]:
        """The cells of a column, none of them empty."""
        cells = self.cells(name)
        if "" in cells:
            raise self.error(cells.index(""), name, "expected a value, got an empty cell: fill it, or drop the row")
        return cells

    def is_numeric(self, name: str) -> bool:
        """Whether most of the cells of a column that are not missing are numbers, however written."""
        return self.survey(name).is_numeric

    def where_given(self, name: str) -> "Table":
        """The rows in which the cell of a column is not missing."""
        rows = np.flatnonzero(~self.missing(name, self.is_numeric(name))).tolist()
        if not rows:
            got = f"got none: all {len(self):,} cells are missing"
            raise ValueError(f"{self.path}, column {name!r}: expected a value in some rows, {got}")
        return self if len(rows) == len(self) else self.rows(rows)

    def style(self, survey: Survey, decimal: str | None = None) -> Style:
        """How the numbers of a column are read.

        Where there are two ways, "1.234" is 1.234 and "1,234" is 1234, or 1.234 where semicolons divide the cells; if
        the decimal mark of the file is known, that decides.
        """
        if decimal is None:
            decimal = "," if survey.style().decimal == "," and self.delimiter == ";" else "."
        return survey.style(decimal)

    def numbers(self, name: str, style: Style | None = None, missing: bool = False, cure: str = "") -> Array:
        """The cells of a column as float64 (rows,), all of them finite; NaN where they are missing, if they may be.

        Parameters
        ----------
        name : str
        style : Style, optional
            How they are written. Default: as most of them are.
        missing : bool, default False
            Whether cells may be empty, or say "NA" or the like.
        cure : str, default ""
            What to do about a cell that is no number.
        """
        style = self.style(self.survey(name)) if style is None else style
        if (name, style, missing) not in self._known:
            self._known[name, style, missing] = self._numbers(name, style, missing, cure)
        numbers: Array = self._known[name, style, missing]
        return numbers

    def _numbers(self, name: str, style: Style, missing: bool, cure: str) -> Array:
        cells = self.cells(name)
        if isinstance(cells, Numbers) and (missing or not cells.missing.any()):
            return self._finite(cells, name, cure)
        given = cells if missing else self.texts(name)
        if style == PLAIN and (plain := _plain(given)) is not None:
            return plain
        known = style.numbers(set(given))
        gaps = {cell for cell, number in known.items() if number is None and missing and is_missing(cell, number=True)}
        known |= dict.fromkeys(gaps, math.nan)
        wrong = {cell for cell in known.keys() - gaps if (number := known[cell]) is None or not math.isfinite(number)}
        if wrong:
            row = next(row for row, cell in enumerate(given) if cell in wrong)
            like = f" ({style})" if style != PLAIN else ""
            raise self.error(row, name, f"expected a finite number{like}, got {shortened(given[row])}{cure}")
        return np.array([known[cell] for cell in given], np.float64)

    def _finite(self, cells: Numbers, name: str, cure: str) -> Array:
        if np.isinf(cells.values).any():
            row = int(np.isinf(cells.values).argmax())
            raise self.error(row, name, f"expected a finite number, got {cells.values[row]}{cure}")
        return cells.values

    def dates(self, name: str, day_first: bool = False, cure: str = "") -> Array:
        """The cells of a column as datetime64 (rows,); NaT where they are missing.

        Parameters
        ----------
        name : str
        day_first : bool, default False
            Of dates such as 03/04/2020, whether they are in April.
        cure : str, default ""
            What to do about a cell that is no date.
        """
        if (name, day_first) not in self._known:
            self._known[name, day_first] = self._dates(name, day_first, cure)
        dates: Array = self._known[name, day_first]
        return dates

    def _dates(self, name: str, day_first: bool, cure: str) -> Array:
        cells = self.cells(name)
        if isinstance(cells, Moments):
            return cells.values
        place = {cell: i for i, cell in enumerate(dict.fromkeys(cells))}
        different = moments([*place], day_first)
        wrong = np.array([not is_missing(cell, number=True) for cell in place], bool) & np.isnat(different)
        found: Array = different[[place[cell] for cell in cells]]
        if wrong.any():
            row = int(wrong[[place[cell] for cell in cells]].argmax())
            like = " (day first)" if day_first else ""
            raise self.error(row, name, f"expected a date{like}, got {shortened(cells[row])}{cure}")
        return found

    def categories(self, name: str) -> list[str]:
        """The different texts of a column, sorted."""
        found = sorted(set(self.texts(name)))
        if len(found) > MOST_CATEGORIES:
            limit = f"expected numbers, or at most {MOST_CATEGORIES} different texts, got {len(found)}"
            raise ValueError(f"{self.path}, column {name!r}: {limit}: leave the column out")
        return found

    def target(self, name: str, task: str | None = None, style: Style | None = None) -> tuple[list[str] | None, Array]:
        """The classes of a target in order, and the label of each row; or None, and its numbers.

        Parameters
        ----------
        name : str
        task : {"classification", "regression"}, optional
            Default: numbers are predicted as numbers, unless they are at most ten whole ones, each twice or more on
            average.
        style : Style, optional
            How numbers are written. Default: as most of them are.
        """
        if task == "regression" or (task is None and self.is_numeric(name)):
            values = self.numbers(name, style, cure=": mend it, or predict classes (--task classification)")
            found = np.unique(values)
            amounts = len(found) > min(MOST_WHOLE_NUMBERS, len(self) / 2) or (found != np.floor(found)).any()
            if (amounts or task) and len(found) > 1:
                return None, values
        classes, labels = self._classes(name)
        if not 1 < len(classes) < len(self):
            limit = f"expected at least 2 classes, and fewer than the {len(self)} rows, got {len(classes)}"
            why = (
                f"all are {shortened(classes[0])}, which leaves nothing to learn"
                if len(classes) == 1
                else "no class twice"
            )
            why = "there is but one row" if len(self) == 1 else why
            raise ValueError(f"{self.path}, column {name!r}: {limit}: {why}")
        return classes, labels

    def _classes(self, name: str) -> tuple[list[str], Array]:
        """The classes in order, and the label of each row: numbers of one value are one class, however spelled."""
        spelled = self.texts(name)
        values: dict[str, Any] = {cell: _value(cell) for cell in set(spelled)}
        if None in values.values():
            values = {cell: cell for cell in values}
        names: dict[Any, str] = {}
        for cell in sorted(values, key=lambda cell: (len(cell), cell)):
            names.setdefault(values[cell], cell)
        if len(names) > MOST_CATEGORIES:
            limit = f"expected at most {MOST_CATEGORIES} classes, got {len(names):,}"
            raise ValueError(f"{self.path}, column {name!r}: {limit}")
        order = {value: i for i, value in enumerate(sorted(names))}
        return [names[value] for value in order], np.array([order[values[cell]] for cell in spelled])


def _as_were(cells: Sequence[str], some: Iterable[str]) -> tuple[str, ...]:
    return Categories(some) if isinstance(cells, Categories) else tuple(some)


def _plain(cells: Sequence[str]) -> Array | None:
    """The numbers of cells that Python reads, an empty one as NaN; None where there are others."""
    try:
        numbers = np.array([float(cell or "nan") for cell in cells])
    except ValueError:
        return None
    empty = sum(not cell for cell in cells)
    return (
        numbers
        if np.isfinite(numbers).sum() + empty == len(numbers) and not any("_" in cell for cell in cells)
        else None
    )


def _value(cell: str) -> int | float | None:
    """The finite number that a cell is, exactly where it is whole."""
    try:
        return int(cell) if "_" not in cell else None
    except ValueError:
        number = PLAIN.number(cell)
        return number if number is not None and math.isfinite(number) else None
