"""The recipe that preprocesses a table: fitted to one, it serves every table with the same columns."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from reprlib import repr as shortened
from typing import Any

import numpy as np

from .. import _validate
from .cells import PLAIN, Style, Survey, digits, is_missing
from .columns import Reading, readings
from .reader import read
from .table import MOST_CATEGORIES, Table

__all__ = ["Number", "Recipe", "Text"]

Array = _validate.Array


@dataclass(frozen=True)
class Number:
    """A numeric feature, standardised: its mean becomes 0, its standard deviation 1.

    Attributes
    ----------
    name : str
    mean, deviation : float
    style : Style
        How the numbers are written.
    missing : bool
        Whether a second column flags the missing values, in whose place the mean stands.
    """

    name: str
    mean: float
    deviation: float
    style: Style = PLAIN
    missing: bool = False

    @property
    def width(self) -> int:
        """How many columns it becomes."""
        return 1 + self.missing

    @property
    def features(self) -> list[str]:
        """What these columns are called."""
        return [self.name] + [f"{self.name}=missing"] * self.missing

    @classmethod
    def learn(cls, table: Table, name: str, rows: Array, style: Style | None = None) -> "Number":
        """The mean and the standard deviation of some rows; 1, of a column that is constant there."""
        style = table.style(Survey(table.cells(name))) if style is None else style
        cure = f": mend it, or read the column as words (--category {name}), or leave it out (--drop {name})"
        column = table.numbers(name, style, missing=True, cure=cure)
        missing = np.isnan(column)
        numbers = column[rows][~missing[rows]] if not missing[rows].all() else column[~missing]
        if len(numbers) == 0:
            raise ValueError(f"{table.path}, column {name!r}: expected numbers, got only missing ones: leave it out")
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = float(numbers.mean()), float(numbers.std())
        if not math.isfinite(mean + deviation):
            largest = int(np.nanargmax(abs(column)))
            raise table.error(largest, name, f"expected a smaller number, got {digits(column[largest])}")
        deviation = deviation if numbers.min() < numbers.max() and deviation > 0 else 1.0
        return cls(name, mean, deviation, style, bool(missing[rows].any()))

    def encode(self, table: Table) -> Array:
        """The column, standardised: float32 (rows, 1), or (rows, 2) with the flag of those that are missing."""
        numbers = table.numbers(self.name, self.style, missing=True)
        missing = np.isnan(numbers)
        encoded = self._standardised(np.where(missing, self.mean, numbers))
        if not np.isfinite(encoded).all():
            row = int(np.isfinite(encoded).argmin())
            raise table.error(row, self.name, f"expected a number near {digits(self.mean)}, got {digits(numbers[row])}")
        return np.column_stack([encoded, missing.astype(np.float32)][: self.width])

    def _standardised(self, numbers: Array) -> Array:
        with np.errstate(over="ignore"):
            encoded: Array = ((numbers - self.mean) / self.deviation).astype(np.float32)
        return encoded

    def decode(self, encoded: Array) -> Array:
        """What `encode` standardised, in the units of the table: float64."""
        return self.mean + self.deviation * encoded.astype(np.float64)

    def written(self, encoded: Array) -> list[str]:
        """As `decode`, each with the fewest digits of which `encode` makes the same float32 again."""
        numbers = self.decode(encoded)
        best, left = numbers.copy(), np.ones(len(numbers), bool)
        with np.errstate(divide="ignore"):
            room = np.log10(self.deviation * np.spacing(abs(encoded.astype(np.float32))).astype(np.float64))
            needed = np.floor(np.log10(abs(numbers))) + 1 - np.ceil(room)  # fewer places would skip numbers
        for places in range(1, 17):
            rows = np.flatnonzero(left & (needed <= places))
            shorter = np.array([float(f"{number:.{places}g}") for number in numbers[rows].tolist()])
            same = self._standardised(shorter) == encoded[rows].astype(np.float32)
            best[rows[same]], left[rows[same]] = shorter[same], False
        return [digits(number) for number in best.tolist()]

    def remarks(self, table: Table) -> str:
        """What differs from training, to be said beside a prediction."""
        n = 0 if self.missing else sum(is_missing(cell, number=True) for cell in table.cells(self.name))
        return f"{self.name}: {n:,} of {len(table):,} cells missing, taken as the mean" if n else ""


@dataclass(frozen=True)
class Text:
    """A categorical feature, one-hot encoded.

    Attributes
    ----------
    name : str
    categories : list of str
    missing : bool
        Whether missing values are one more category.
    """

    name: str
    categories: list[str]
    missing: bool = False

    @property
    def width(self) -> int:
        """How many columns it becomes."""
        return len(self.categories) + self.missing

    @property
    def features(self) -> list[str]:
        """What these columns are called."""
        return [f"{self.name}={category}" for category in [*self.categories, *["missing"] * self.missing]]

    @classmethod
    def learn(cls, table: Table, name: str, rows: Array) -> "Text":
        """The categories of a column, the most frequent if they are too many."""
        cells = table.cells(name)
        frequent = sorted(Survey(cells).texts.items(), key=lambda item: (-item[1], item[0]))[:MOST_CATEGORIES]
        if not frequent:
            raise ValueError(f"{table.path}, column {name!r}: expected texts, got only missing ones: leave it out")
        return cls(name, sorted(text for text, _ in frequent), any(is_missing(cells[row]) for row in rows))

    def labels(self, table: Table) -> Array:
        """The column as indices of `categories`: int64 (rows,)."""
        labels = self._codes(table)
        if (labels < 0).any() or labels.max() >= len(self.categories):
            row = int(np.argmax((labels < 0) | (labels >= len(self.categories))))
            got = shortened(table.cells(self.name)[row])
            raise table.error(row, self.name, f"expected one of {shortened(self.categories)}, got {got}")
        return labels

    def _codes(self, table: Table) -> Array:
        """The index of each category, of a missing one behind them, and -1 for others."""
        index = {category: i for i, category in enumerate(self.categories)}
        nothing = len(index) if self.missing else -1
        for cell in set(table.cells(self.name)) - index.keys():
            other = cell.removesuffix(".0") if cell.endswith(".0") else f"{cell}.0"  # pandas makes 1.0 of 1
            same = PLAIN.number(cell) is not None and other in self.categories
            index[cell] = index[other] if same else nothing if is_missing(cell) else -1
        return np.array([index[cell] for cell in table.cells(self.name)], np.int64)

    def encode(self, table: Table) -> Array:
        """The column, one-hot: float32 (rows, width); all 0 where it holds none of the categories."""
        return np.vstack([np.eye(self.width, dtype=np.float32), np.zeros((1, self.width), np.float32)])[
            self._codes(table)
        ]

    def remarks(self, table: Table) -> str:
        """What differs from training, to be said beside a prediction."""
        rows = np.flatnonzero(self._codes(table) < 0)
        if len(rows) == 0:
            return ""
        first = shortened(table.cells(self.name)[rows[0]])
        return f"{self.name}: {len(rows):,} of {len(table):,} cells unknown in training, such as {first}"


@dataclass(frozen=True)
class Recipe:
    """The preprocessing of a table: fitted to one, it serves every table with the same columns.

    Attributes
    ----------
    inputs : list of Number and Text
    target : Number or Text
        `Text` where it is classes.
    columns : int
        How many there were in a file without a header; 0 of one with a header.
    """

    inputs: list[Number | Text]
    target: Number | Text
    columns: int = 0

    @classmethod
    def learn(cls, table: Table, target: str, rows: Array, how: Mapping[str, Reading] | None = None) -> "Recipe":
        """Take the columns beside the target as features; the means and standard deviations are those of some rows.

        Parameters
        ----------
        table : Table
        target : str
        rows : numpy.ndarray
            The indices of the training rows.
        how : mapping of str to Reading, optional
            How the columns are read. Default: as `readings` has it.
        """
        how = readings(table, target) if how is None else how
        inputs: list[Number | Text] = []
        for name, reading in how.items():
            if name != target and reading.kind == "number":
                inputs.append(Number.learn(table, name, rows, reading.style))
            elif name != target and reading.kind == "category":
                inputs.append(Text.learn(table, name, rows))
        if not inputs:
            left_out = "; ".join(str(reading) for name, reading in how.items() if name != target)
            got = f", got {shortened(left_out)}" if left_out else ""
            raise ValueError(f"{table.path}: expected at least one column beside the target {target!r}{got}")
        classes, columns = how[target].classes, 0 if table.has_header else len(table.columns)
        goal = Text(target, classes) if classes else Number.learn(table, target, rows, how[target].style)
        return cls(inputs, goal, columns)

    @property
    def n_in(self) -> int:
        """How many features a row becomes."""
        return sum(column.width for column in self.inputs)

    @property
    def features(self) -> list[str]:
        """What they are called."""
        return [name for column in self.inputs for name in column.features]

    def read(self, path: str | os.PathLike[str]) -> Table:
        """Read another file with the same columns, with a header if the first one had one; the target may be absent."""
        table = read(path, header=not self.columns)
        if not self.columns or len(table.columns) == self.columns:
            return table
        names = [str(i + 1) for i in range(self.columns) if str(i + 1) != self.target.name]
        if len(table.columns) != len(names):
            counts = f"{self.columns} columns, or {len(names)} without the target, and no header"
            raise ValueError(f"{table.path}: expected {counts}, got {len(table.columns)} columns")
        cells = dict(zip(names, table.columns.values(), strict=True))
        return Table(table.path, cells, table.lines, table.delimiter, has_header=False)

    def x(self, table: Table) -> Array:
        """The features, as the inputs of a network: float32 (rows, n_in)."""
        if absent := [column.name for column in self.inputs if column.name not in table.columns]:
            got = shortened(list(table.columns))
            raise ValueError(f"{table.path}: expected the columns of the training, got no {shortened(absent)} in {got}")
        return np.hstack([column.encode(table) for column in self.inputs])

    def remarks(self, table: Table) -> list[str]:
        """What differs from training, a line for each column."""
        return [remark for column in self.inputs if (remark := column.remarks(table))]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it; what has its default is left out, as in files of the first version."""
        entries = {"inputs": [_entry(column) for column in self.inputs], "target": _entry(self.target)}
        return entries | ({"columns": self.columns} if self.columns else {})

    @classmethod
    def from_dict(cls, given: Any) -> "Recipe":
        """Read what `to_dict` wrote, and nothing else.

        Raises
        ------
        ValueError
            If it is anything else.
        """
        try:
            columns = _validate.integer(given.get("columns", 0), "columns", 0, 2**20)
            recipe = cls([_column(entry) for entry in given["inputs"]], _column(given["target"]), columns)
            names = {column.name for column in (*recipe.inputs, recipe.target)}
            if not recipe.inputs or len(names) <= len(recipe.inputs) or recipe.to_dict() != given:
                raise ValueError(f"expected inputs and a target, each column once, got {shortened(given)}")
            if columns and not names <= {str(i + 1) for i in range(columns)}:
                raise ValueError(f"expected the names 1 to {columns}, got {shortened(names)}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"recipe: it does not make sense: {error}") from error
        return recipe


def _entry(column: Number | Text) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": column.name}
    if isinstance(column, Text):
        entry["categories"] = column.categories
    else:
        entry |= {"mean": column.mean, "deviation": column.deviation}
        entry |= {key: value for key, value in vars(column.style).items() if value != getattr(PLAIN, key)}
    return entry | ({"missing": True} if column.missing else {})


def _column(entry: Any) -> Number | Text:
    """A column of a recipe; what else its entry may hold is for the caller to see."""
    name, categories = entry["name"], [*entry.get("categories", ())]
    texts = all(isinstance(text, str) and text for text in (name, *categories))
    if not texts or len(set(categories)) < len(categories):
        raise ValueError(f"expected a name, and different categories, got {shortened(entry)}")
    missing = _validate.flag(entry.get("missing", False), "missing")
    if categories:
        return Text(name, categories, missing)
    mean = _validate.number(entry["mean"], "mean")
    deviation = _validate.number(entry["deviation"], "deviation", above=0)
    style = Style(*(entry.get(key, value) for key, value in vars(PLAIN).items()))
    return Number(name, mean, deviation, style, missing)
