"""What there is to learn: points that are made, or the rows of a CSV file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import _validate, datasets, tables
from .settings import MOST_SEED, only

__all__ = ["MADE", "Points", "Source", "of_table"]

Array = _validate.Array

#: The data sets that are made, and the noise that each begins with.
MADE = {"xor": 0.0, "circles": 0.1, "moons": 0.2, "spirals": 0.03, "blobs": 0.3, "curve": 0.1}
FEWEST_POINTS, MOST_POINTS, MOST_NOISE = 4, 1000, 1.0
#: Rows that losses are measured on.
MOST_MEASURED = 4096
#: Of a CSV file: what is more cannot be drawn.
MOST_COLUMNS, MOST_CLASSES = 32, 16
#: Of the plane: columns of the grid that a network is drawn on, and of a curve; of a unit's own map.
SIDE, PLACES, SMALL = 48, 200, 20


@dataclass(frozen=True, eq=False)
class Points:
    """Rows to train on and to test on.

    Attributes
    ----------
    settings : dict
        What the page may change: name, noise, seed, points; of a CSV file the name alone.
    x : numpy.ndarray, float32 (rows, columns)
    y : numpy.ndarray, int64 labels or float32 numbers (rows,)
    train, test : numpy.ndarray
        Which rows are for what; the same where there are too few to part them.
    goal : {"binary", "classes", "number"}
    columns, classes : tuple of str
        What the features and the classes are called.
    code : tuple of str
        The lines of Python that make them.
    recipe : Recipe or None
        Of a CSV file.
    axes : tuple of int
        The columns that are drawn; the others are held at their median.
    """

    settings: Mapping[str, Any]
    x: Array
    y: Array
    train: Array
    test: Array
    goal: str
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    code: tuple[str, ...]
    recipe: tables.Recipe | None = None
    axes: tuple[int, ...] = (0, 1)

    @property
    def n_out(self) -> int:
        """Outputs of a network that learns this."""
        return len(self.classes) if self.goal == "classes" else 1

    @property
    def tested(self) -> bool:
        """Whether there are rows to test on that are not trained on."""
        return self.test is not self.train

    def measured(self, rows: Array) -> Array:
        """Those that the losses are measured on: of very many, some from everywhere."""
        some: Array = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_MEASURED)).astype(int)]
        return some

    def target(self, loss: str, rows: Array) -> Array:
        """The targets of some rows, as a loss takes them."""
        y = self.y[rows]
        if self.goal == "classes" and loss == "mse":
            return np.eye(self.n_out, dtype=np.float32)[y]
        return y if self.goal == "classes" else y.astype(np.float32)

    def seen_along(self, axes: Any) -> Points:
        """The same, drawn over other columns."""
        given = [_validate.integer(axis, "axes", 0, len(self.columns) - 1) for axis in _validate.items(axes, "axes")]
        if len(given) != len(self.axes) or len(set(given)) < len(given):
            raise ValueError(f"axes: expected {len(self.axes)} different columns, got {given}")
        return replace(self, axes=tuple(given))

    def extent(self) -> list[float]:
        """Where the drawing begins and ends: across, and up."""
        drawn = self.x[:, list(self.axes)].astype(np.float64)
        low, high = drawn.min(axis=0), drawn.max(axis=0)
        margin = np.where(high > low, 0.1 * (high - low), 1.0)
        return [float(f"{number:.6g}") for number in np.stack([low - margin, high + margin], axis=1).ravel()]

    def grid(self, side: int, places: int) -> Array:
        """Rows to draw a network by: row after row of the plane from its top, or places along the only column."""
        extent = self.extent()
        if len(self.axes) == 1:
            plane = np.linspace(extent[0], extent[1], places)[:, None]
        else:
            across, up = np.linspace(extent[0], extent[1], side), np.linspace(extent[3], extent[2], side)
            plane = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
        grid = np.tile(np.median(self.x, axis=0), (len(plane), 1))
        grid[:, list(self.axes)] = plane
        return np.ascontiguousarray(grid, np.float32)

    @property
    def scaled_target(self) -> str | None:
        """The column of numbers that the network predicts in standard deviations from the mean."""
        return self.recipe.target.name if self.recipe is not None and self.goal == "number" else None

    def to_dict(self) -> dict[str, Any]:
        """As the page reads it: of many rows, some."""
        shown = np.linspace(0, len(self.x) - 1, min(len(self.x), MOST_POINTS)).astype(int)
        parts = self.train, self.test if self.tested else self.test[:0]
        tests = np.zeros(len(self.x), bool)
        tests[parts[1]] = True
        return {
            **self.settings, "goal": self.goal, "rows": [len(rows) for rows in parts],
            "measured": [len(self.measured(rows)) for rows in parts],
            "columns": self.columns, "classes": self.classes, "target": self.scaled_target,
            "axes": self.axes, "extent": self.extent(),
            "shown": shown.tolist(), "x": np.round(self.x[shown][:, list(self.axes)].astype(float), 4).tolist(),
            "y": self.y[shown].tolist() if self.classes else np.round(self.y[shown].astype(float), 4).tolist(),
            "test": tests[shown].astype(int).tolist(), "side": SIDE, "places": PLACES, "small": SMALL,
        }  # fmt: skip


@dataclass(frozen=True)
class Source:
    """What the page may choose among: the data sets that are made, and a CSV file if one was given."""

    table: Points | None = None

    @property
    def names(self) -> list[str]:
        """Of all data sets."""
        return [*MADE, *([] if self.table is None else [self.table.settings["name"]])]

    def choices(self) -> dict[str, Any]:
        """As the page shows it."""
        return {"data": self.names, "noise": MADE, "points": [FEWEST_POINTS, MOST_POINTS], "most_noise": MOST_NOISE}

    def first(self) -> Points:
        """Where one begins: the CSV file, or XOR."""
        return self.made({"name": "xor"}, {}) if self.table is None else self.table

    def made(self, given: Any, before: Mapping[str, Any]) -> Points:
        """The points that the page asks for; what it does not say is as before.

        Raises
        ------
        TypeError, ValueError
            If there is no such data set.
        """
        only(given, ("name", "noise", "seed", "points"), "data")
        name = _validate.choice(given.get("name", before.get("name")), "data", self.names)
        if self.table is not None and name == self.table.settings["name"]:
            return self.table
        anew = name != before.get("name")
        noise = given.get("noise", MADE[name] if anew else before.get("noise"))
        count = given.get("points", before.get("points", 200) if not anew else 4 if name == "xor" else 200)
        return _points(
            name, _validate.number(noise, "noise", 0, below=MOST_NOISE + 1e-9),
            _validate.integer(given.get("seed", before.get("seed", 0)), "seed", 0, MOST_SEED),
            _validate.integer(count, "points", FEWEST_POINTS, MOST_POINTS),
        )  # fmt: skip


def _points(name: str, noise: float, seed: int, count: int) -> Points:
    call = f"datasets.{name}({count}, noise={noise!r}, rng={seed})"
    x, y = getattr(datasets, name)(count, noise, seed)
    goal = {"curve": "number", "blobs": "classes"}.get(name, "binary")
    code = ["from backprop import datasets", f"x, y = {call}"]
    if len(x) < 20:  # too few to part them
        train = test = np.arange(len(x))
    else:
        train, test = datasets.hold_out(np.zeros(len(y)) if goal == "number" else y, np.random.default_rng(seed))
        labels = "np.zeros(len(y))" if goal == "number" else "y"
        code = [
            "import numpy as np", *code, f"train, test = datasets.hold_out({labels}, np.random.default_rng({seed}))",
            "(x, y), (x_test, y_test) = (x[train], y[train]), (x[test], y[test])",
        ]  # fmt: skip
    columns, classes = tuple(f"x{i + 1}" for i in range(x.shape[1])), tuple(map(str, range(int(y.max()) + 1)))
    settings = {"name": name, "noise": noise, "seed": seed, "points": count}
    axes = tuple(range(x.shape[1]))
    return Points(
        settings, x, y, train, test, goal, columns, () if goal == "number" else classes, tuple(code), axes=axes
    )


def of_table(table: tables.Table, options: Mapping[str, Any], target: str) -> tuple[Points, list[str]]:
    """The rows of a CSV file; and how each of its columns is read.

    Parameters
    ----------
    table : Table
    options : dict
        What `tables.prepared` takes beside.
    target : str

    Raises
    ------
    ValueError
        Where there is more than can be drawn.
    """
    rows = tables.prepared(table, target, _split, **options)
    classes, columns = tuple(rows.classes or ()), tuple(rows.recipe.features)
    for what, count, most, cure in (
        ("features", len(columns), MOST_COLUMNS, ": leave columns out (--drop)"),
        ("classes", len(classes), MOST_CLASSES, ""),
    ):
        if count > most:
            raise ValueError(f"{table.path}: expected at most {most} {what} to draw, got {count}{cure}")
    given = [f"{name}={value!r}" for name, value in options.items() if value]
    header = "" if table.has_header else ", header=False"
    code = (
        "import numpy as np", "from backprop import datasets, tables", f"table = tables.read({table.path!r}{header})",
        "split = lambda labels: datasets.hold_out(labels, np.random.default_rng(0))",
        f"rows = tables.prepared({', '.join(['table', repr(target), 'split', *given])})",
        "x, y = rows.x[rows.train], rows.y[rows.train]",
        "x_test, y_test = rows.x[rows.test], rows.y[rows.test]",
    )  # fmt: skip
    y = rows.y if classes else rows.y[:, 0]
    axes = tuple(range(min(2, len(columns))))
    return Points(
        {"name": Path(table.path).name}, rows.x, y, rows.train, rows.test, "classes" if classes else "number", columns,
        classes, code, rows.recipe, axes,
    ), rows.remarks  # fmt: skip


def _split(labels: Array) -> tuple[Array, Array]:
    return datasets.hold_out(labels, np.random.default_rng(0))
