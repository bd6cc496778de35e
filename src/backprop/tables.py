"""Tables: a CSV file, read strictly; and the recipe that makes numbers of it, the same ones in training and after.

A column is numeric if more than half of its cells are numbers; then one that is not is an error, and no text. A target
is a number to predict if it is numeric, unless it holds at most ten whole numbers, each twice or more on average: those
are classes, as texts are.
"""

import csv
import io
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import numpy as np

from . import _validate

__all__ = ["Number", "Recipe", "Table", "Text", "read"]

Array = _validate.Array

#: More different texts than this are names rather than categories.
MOST_CATEGORIES = 256
#: More different whole numbers than this are amounts rather than classes.
MOST_WHOLE_NUMBERS = 10


@dataclass(frozen=True)
class Table:
    """The cells of a CSV file.

    Attributes
    ----------
    path : str
        For the error messages.
    columns : dict of str to sequence of str
        The cells of each column, without the white space around them.
    lines : list of int
        The line of the file on which each row begins: the header is on line 1.
    """

    path: str
    columns: dict[str, tuple[str, ...]]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.lines)

    def error(self, row: int, name: str, message: str) -> ValueError:
        """An error that says where it is."""
        return ValueError(f"{self.path}, row {self.lines[row]}, column {name!r}: {message}")

    def texts(self, name: str) -> tuple[str, ...]:
        """The cells of a column, none of them empty."""
        cells = self.columns[_validate.choice(name, f"{self.path}: column", self.columns)]
        if "" in cells:
            raise self.error(cells.index(""), name, "expected a value, got an empty cell: fill it, or drop the row")
        return cells

    def is_numeric(self, name: str) -> bool:
        """Whether most of the cells of a column are numbers."""
        return sum(_number(cell) is not None for cell in self.texts(name)) > len(self) / 2

    def numbers(self, name: str) -> Array:
        """The cells of a column as float64 (rows,), all of them finite."""
        numbers = np.empty(len(self))
        for row, cell in enumerate(self.texts(name)):
            number = _number(cell)
            if number is None or not math.isfinite(number):
                raise self.error(row, name, f"expected a finite number, got {shortened(cell)}")
            numbers[row] = number
        return numbers

    def categories(self, name: str) -> list[str]:
        """The different texts of a column, sorted."""
        found = sorted(set(self.texts(name)))
        if len(found) > MOST_CATEGORIES:
            limit = f"expected numbers, or at most {MOST_CATEGORIES} different texts, got {len(found)}"
            raise ValueError(f"{self.path}, column {name!r}: {limit}: leave the column out")
        return found

    def target(self, name: str) -> tuple[list[str] | None, Array]:
        """The classes of a target in order, and the label of each row; or None, and its numbers."""
        if self.is_numeric(name):
            values = self.numbers(name)
            found, labels = np.unique(values, return_inverse=True)
            amounts = len(found) > min(MOST_WHOLE_NUMBERS, len(self) / 2) or (found != np.floor(found)).any()
            if amounts and len(found) > 1:
                return None, values
            classes = [str(int(number)) for number in found]
        else:
            classes = self.categories(name)
            labels = Text(name, classes).labels(self)
        if not 1 < len(classes) < len(self):
            limit = f"expected at least 2 classes, and fewer than the {len(self)} rows, got {len(classes)}"
            raise ValueError(f"{self.path}, column {name!r}: {limit}")
        return classes, labels


def _number(cell: str) -> float | None:
    """The number that a cell holds; Python's own 1_000 is none."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def read(path: str | os.PathLike[str]) -> Table:
    """Read a CSV file.

    Parameters
    ----------
    path : str or path-like
        UTF-8, with a header; cells are divided by commas, semicolons or tabs, whichever divide the header most.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        With the file and, where there is one, the row and the column.
    """
    source = os.fsdecode(path)
    records = _records(_text(Path(path).read_bytes(), source), source)
    first, names = next(records, (0, []))
    if not names:
        raise ValueError(f"{source}: expected a header and rows, got an empty file")
    for i, name in enumerate(names):
        if not name or name in names[:i]:
            got = f"{name!r} a second time" if name else "an empty cell"
            raise ValueError(f"{source}, row {first}, column {i + 1}: expected a name of its own, got {got}")
    if all(_number(name) is not None for name in names):
        raise ValueError(f"{source}, row {first}: expected a header of column names, got only numbers")
    lines, rows = [], []
    for line, cells in records:
        if len(cells) != len(names):
            raise ValueError(f"{source}, row {line}: expected {len(names)} cells, as in the header, got {len(cells)}")
        lines.append(line)
        rows.append(cells)
    if not rows:
        raise ValueError(f"{source}: expected rows beneath the header, got none")
    return Table(source, dict(zip(names, zip(*rows, strict=True), strict=True)), lines)


def _text(data: bytes, source: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = error.object.count(b"\n", 0, error.start) + 1, error.object[error.start]
        raise ValueError(f"{source}, row {line}: expected UTF-8, got the byte {byte:#04x}") from error
    if "\0" in text:  # the csv module of Python 3.11 and later lets it pass
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{source}, row {line}: expected text, got a NUL byte")
    return text


def _records(text: str, source: str) -> Iterator[tuple[int, list[str]]]:
    """The records that are not blank, each after the line on which it begins."""
    lines, begin = io.StringIO(text, newline=""), 1
    try:
        header = lines.readline()
        delimiter = max(",;\t", key=lambda d: len(next(csv.reader([header], delimiter=d), ())))
        lines.seek(0)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        for cells in reader:
            if cells:
                yield begin, [cell.strip() for cell in cells]
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{source}, row {begin}: expected CSV: {error}") from error


@dataclass(frozen=True)
class Number:
    """A column of numbers, standardised: their mean becomes 0, their standard deviation 1."""

    name: str
    mean: float
    deviation: float

    width = 1

    @classmethod
    def learn(cls, table: Table, name: str, rows: Array) -> "Number":
        """The mean and the deviation of some rows; of a column that is constant there, the deviation is taken as 1."""
        numbers = table.numbers(name)[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = float(numbers.mean()), float(numbers.std())
        if not math.isfinite(mean + deviation):
            largest = int(abs(numbers).argmax())
            raise table.error(rows[largest], name, f"expected a smaller number, got {numbers[largest]:g}")
        return cls(name, mean, deviation if numbers.min() < numbers.max() and deviation > 0 else 1.0)

    def encode(self, table: Table) -> Array:
        """The column, standardised: float32 (rows, 1)."""
        numbers = table.numbers(self.name)
        with np.errstate(over="ignore"):
            encoded = ((numbers - self.mean) / self.deviation).astype(np.float32)
        if not np.isfinite(encoded).all():
            row = int(np.isfinite(encoded).argmin())
            raise table.error(row, self.name, f"expected a number near {self.mean:g}, got {numbers[row]:g}")
        return encoded.reshape(-1, 1)

    def decode(self, encoded: Array) -> Array:
        """What `encode` standardised, in the units of the table: float64."""
        return self.mean + self.deviation * encoded.astype(np.float64)


@dataclass(frozen=True)
class Text:
    """A column of texts: a number for each category, 1 for the one that stands there and 0 for the others."""

    name: str
    categories: list[str]

    @property
    def width(self) -> int:
        """How many numbers it becomes."""
        return len(self.categories)

    def labels(self, table: Table) -> Array:
        """The column as places in `categories`: int64 (rows,)."""
        index = {category: i for i, category in enumerate(self.categories)}
        labels = np.empty(len(table), np.int64)
        for row, cell in enumerate(table.texts(self.name)):
            if cell not in index:
                known = shortened(self.categories)
                raise table.error(row, self.name, f"expected one of {known}, got {shortened(cell)}")
            labels[row] = index[cell]
        return labels

    def encode(self, table: Table) -> Array:
        """The column, one-hot: float32 (rows, categories)."""
        return np.eye(self.width, dtype=np.float32)[self.labels(table)]


@dataclass(frozen=True)
class Recipe:
    """How a table becomes numbers: learned from one, it serves every table with the same columns.

    Attributes
    ----------
    inputs : list of Number and Text
    target : Number or Text
        `Text` where it is classes.
    """

    inputs: list[Number | Text]
    target: Number | Text

    @classmethod
    def learn(cls, table: Table, target: str, rows: Array) -> "Recipe":
        """Take every column but the target as an input; the means and deviations are those of some rows."""
        classes, _ = table.target(target)
        columns = [
            Number.learn(table, name, rows) if table.is_numeric(name) else Text(name, table.categories(name))
            for name in table.columns
            if name != target
        ]
        if not columns:
            raise ValueError(f"{table.path}: expected at least one column beside the target {target!r}")
        return cls(columns, Text(target, classes) if classes else Number.learn(table, target, rows))

    @property
    def n_in(self) -> int:
        """How many numbers a row becomes."""
        return sum(column.width for column in self.inputs)

    def x(self, table: Table) -> Array:
        """The inputs of a network: float32 (rows, n_in)."""
        return np.hstack([column.encode(table) for column in self.inputs])

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Any) -> "Recipe":
        """Read what `to_dict` wrote, and nothing else.

        Raises
        ------
        ValueError
            If it is anything else.
        """
        try:
            recipe = cls([_column(entry) for entry in given["inputs"]], _column(given["target"]))
            names = [column.name for column in (*recipe.inputs, recipe.target)]
            if not recipe.inputs or len(set(names)) < len(names) or recipe.to_dict() != given:
                raise ValueError(f"expected inputs and a target, each column once, got {shortened(given)}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"recipe: it does not make sense: {error}") from error
        return recipe


def _column(entry: Any) -> Number | Text:
    """A column of a recipe; what else its entry may hold is for the caller to see."""
    name, categories = entry["name"], [*entry.get("categories", ())]
    texts = all(isinstance(text, str) and text for text in (name, *categories))
    if not texts or len(set(categories)) < len(categories):
        raise ValueError(f"expected a name, and different categories, got {shortened(entry)}")
    if categories:
        return Text(name, categories)
    mean = _validate.number(entry["mean"], "mean")
    return Number(name, mean, _validate.number(entry["deviation"], "deviation", above=0))
