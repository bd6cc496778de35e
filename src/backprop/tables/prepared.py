"""The rows of a table, ready to train on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _validate
from .columns import Reading, readings
from .recipe import Number, Recipe
from .table import Table

__all__ = ["Aimed", "Prepared", "aimed", "prepared"]

Array = _validate.Array


@dataclass(frozen=True, eq=False)
class Aimed:
    """The rows of a table in which the target is given, before anything is learned of them.

    Attributes
    ----------
    table : Table
    readings : dict of str to Reading
        How each column is read.
    classes : list of str or None
        What the labels stand for.
    y : numpy.ndarray, shape (rows,)
        Labels, or numbers.
    remarks : list of str
        How each column is read, and which rows were left out.
    """

    table: Table
    readings: dict[str, Reading]
    classes: list[str] | None
    y: Array
    remarks: list[str]

    @property
    def strata(self) -> Array:
        """What parts of the rows are to have alike: the label of each row, or zeros where a number is predicted."""
        return self.y if self.classes else np.zeros(len(self.y))


@dataclass(frozen=True, eq=False)
class Prepared:
    """The rows of a table as a network takes them, and how they came about.

    Attributes
    ----------
    x : numpy.ndarray, float32 (rows, features)
    y : numpy.ndarray
        Labels (rows,), or standardised numbers (rows, 1).
    train, test : numpy.ndarray
        Which rows are for what.
    classes : list of str or None
        What the labels stand for.
    recipe : Recipe
        Learned on the training rows.
    remarks : list of str
        How each column is read, and which rows were left out.
    """

    x: Array
    y: Array
    train: Array
    test: Array
    classes: list[str] | None
    recipe: Recipe
    remarks: list[str]


def aimed(table: Table, target: str, *, task: str | None = None, **options: Any) -> Aimed:
    """Find what is to be predicted, and how the columns are read.

    Parameters
    ----------
    table : Table
    target : str
        The column to predict.
    task, **options
        As `readings` takes them.

    Raises
    ------
    ValueError
        Where columns cannot be read, or the target cannot be predicted.
    """
    whole, table = table, table.where_given(target)
    how = readings(table, target, task=task, **options)
    remarks = [str(reading) for reading in how.values()]
    if len(table) < len(whole):
        remarks.append(f"{len(whole) - len(table):,} of {len(whole):,} rows left out: their {target} is missing")
    goal = how[target]
    classes, y = table.target(goal.name, "classification" if goal.classes else "regression", goal.style)
    return Aimed(table, how, classes, y, remarks)


def prepared(
    table: Table, target: str, split: Callable[[Array], tuple[Array, Array]], *, task: str | None = None, **options: Any
) -> Prepared:
    """Prepare the rows of a table in which the target is given.

    Parameters
    ----------
    table : Table
    target : str
        The column to predict.
    split : callable
        Of the label of each row, or zeros where a number is predicted: the rows to train on, and those to test on.
    task, **options
        As `readings` takes them.

    Raises
    ------
    ValueError
        As `aimed` raises it.
    """
    given = aimed(table, target, task=task, **options)
    train, test = split(given.strata)
    recipe = Recipe.learn(given.table, target, train, given.readings)
    y = recipe.target.encode(given.table) if isinstance(recipe.target, Number) else given.y
    return Prepared(recipe.x(given.table), y, train, test, given.classes, recipe, given.remarks)
