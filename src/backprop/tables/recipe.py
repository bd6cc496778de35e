"""The recipe that preprocesses a table: fitted to one, it serves every table with the same columns."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr as shortened
from typing import Any

from .. import _validate
from .columns import Reading, readings
from .features import Date, Feature, Number, Output, Text, encoded, entry, from_entry
from .reader import read
from .table import MOST_CATEGORIES, Table

__all__ = ["Number", "Recipe", "Text", "features_of", "read_as"]

Array = _validate.Array


@dataclass(frozen=True)
class Recipe:
    """The preprocessing of a table: fitted to one, it serves every table with the same columns.

    Attributes
    ----------
    inputs : list of Number, Text and Date
    target : Number or Text
        `Text` where it is classes.
    columns : int
        How many there were in a file without a header; 0 of one with a header.
    """

    inputs: Sequence[Feature]
    target: Number | Text
    columns: int = 0

    @classmethod
    def learn(
        cls, table: Table, target: str, rows: Array, how: Mapping[str, Reading] | None = None, **options: Any
    ) -> "Recipe":
        """Take the columns beside the target as features; the means and standard deviations are those of some rows.

        Parameters
        ----------
        table : Table
        target : str
        rows : numpy.ndarray
            The indices of the training rows.
        how : mapping of str to Reading, optional
            How the columns are read. Default: as `readings` has it.
        **options
            How they are encoded, as `features_of` takes them.
        """
        how = readings(table, target) if how is None else how
        inputs = features_of(table, {name: how[name] for name in how if name != target}, rows, **options)
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
    def outputs(self) -> list[Output]:
        """What they are."""
        return [output for column in self.inputs for output in column.outputs]

    @property
    def features(self) -> list[str]:
        """What they are called."""
        return [output.name for output in self.outputs]

    def read(self, path: str | os.PathLike[str]) -> Table:
        """Read another file with the same columns, with a header if the first one had one; the target may be absent."""
        return read_as(path, self.columns, self.target.name)

    def x(self, table: Table) -> Array:
        """The features, as the inputs of a network: float32 (rows, n_in)."""
        return encoded(self.inputs, table)

    def remarks(self, table: Table) -> list[str]:
        """What differs from training, a line for each column."""
        return [remark for column in self.inputs if (remark := column.remarks(table))]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it; what has its default is left out, as in files of the first version."""
        entries = {"inputs": [entry(column) for column in self.inputs], "target": entry(self.target)}
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
            target = from_entry(given["target"])
            if isinstance(target, Date):
                raise ValueError(f"expected classes or a number as the target, got {shortened(given['target'])}")
            recipe = cls([from_entry(column) for column in given["inputs"]], target, columns)
            names = {column.name for column in (*recipe.inputs, recipe.target)}
            if not recipe.inputs or len(names) <= len(recipe.inputs) or recipe.to_dict() != given:
                raise ValueError(f"expected inputs and a target, each column once, got {shortened(given)}")
            if columns and not names <= {str(i + 1) for i in range(columns)}:
                raise ValueError(f"expected the names 1 to {columns}, got {shortened(names)}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"recipe: it does not make sense: {error}") from error
        return recipe


def read_as(path: str | os.PathLike[str], columns: int, target: str) -> Table:
    """Read a file that has the columns of another; so many, if that had no header. The target may be absent."""
    table = read(path, header=not columns, lenient=True)
    if not columns or len(table.columns) == columns:
        return table
    names = [str(i + 1) for i in range(columns) if str(i + 1) != target]
    if len(table.columns) != len(names):
        counts = f"{columns} columns, or {len(names)} without the target, and no header"
        raise ValueError(f"{table.path}: expected {counts}, got {len(table.columns)} columns")
    cells = dict(zip(names, table.columns.values(), strict=True))
    return Table(table.path, cells, table.lines, table.delimiter, has_header=False)


def features_of(
    table: Table,
    how: Mapping[str, Reading],
    rows: Array,
    *,
    scaler: str | None = "standard",
    binary: str = "onehot",
    categories: str = "onehot",
    most_onehot: int = MOST_CATEGORIES,
    most: int = MOST_CATEGORIES,
    flag: bool = True,
) -> list[Feature]:
    """Learn what a network takes of each column.

    Parameters
    ----------
    table : Table
    how : mapping of str to Reading
    rows : numpy.ndarray
        The indices of the training rows.
    scaler : {"standard", "robust"} or None
    binary : {"onehot", "sign", "index"}
        How two categories are encoded.
    categories : {"onehot", "index"}
        How more than `most_onehot` categories are encoded.
    most_onehot, most : int
        How many categories have a column each; how many are told apart.
    flag : bool
        Whether missing values are flagged, or a category of their own.
    """

    def text(name: str) -> Text:
        n = table.survey(name).different
        coding = binary if min(n, most) == 2 else "onehot" if min(n, most) <= most_onehot else categories
        return Text.learn(table, name, rows, coding=coding, most=most, flag=flag)

    features: list[Feature] = []
    for name, reading in how.items():
        if reading.kind == "number":
            features.append(Number.learn(table, name, rows, reading.style, scaler=scaler, flag=flag))
        elif reading.kind == "category":
            features.append(text(name))
        elif reading.kind == "date":
            features.append(Date.learn(table, name, rows, reading.day_first, scaler=scaler, flag=flag))
    return features
