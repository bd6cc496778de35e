"""What a network takes of each column of a table: numbers, categories, dates; learned on one, it serves others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from reprlib import repr as shortened
from typing import Any, NamedTuple

import numpy as np

from .. import _validate
from ..preprocessing.scalers import RobustScaler, StandardScaler, smooth_clip
from .cells import PLAIN, Style, digits, is_missing
from .dates import PARTS, order_of, parts
from .table import MOST_CATEGORIES, Table

__all__ = ["CODINGS", "Date", "Feature", "Number", "Output", "Text", "encoded", "entry", "from_entry"]

Array = _validate.Array

#: How a categorical feature is encoded: a column for each category; -1 and 1 where there are two; or the index of the
#: category, from 1.
CODINGS = ("onehot", "sign", "index")


#: What else stands for a truth value.
_TRUTHS = {"1": "true", "1.0": "true", "0": "false", "0.0": "false"}


class Output(NamedTuple):
    """A column of what an encoder makes.

    Attributes
    ----------
    name : str
    column : str
        The column of the table that it is made of.
    kind : {"number", "missing", "onehot", "sign", "index"}
        A number; a flag of missing values; one category of several; -1 or 1; a category's index.
    cardinality : int
        Of an index: how many there are, that of 0 for missing and unknown ones among them; else 0.
    """

    name: str
    column: str
    kind: str
    cardinality: int = 0


class _Feature:
    """What a column of a table becomes."""

    @property
    def outputs(self) -> list[Output]:
        """What these columns are."""
        raise NotImplementedError

    @property
    def features(self) -> list[str]:
        """What these columns are called."""
        return [output.name for output in self.outputs]


@dataclass(frozen=True)
class Number(_Feature):
    """A numeric feature, scaled: by default its mean becomes 0, its standard deviation 1.

    Attributes
    ----------
    name : str
    mean, deviation : float
        What is taken off, and what is divided by: mean and standard deviation, or median and distance of the quartiles.
    style : Style
        How the numbers are written.
    missing : bool
        Whether a second column flags the missing values.
    fill : float, optional
        What stands in the place of missing values. Default: the mean.
    clip : float
        The limit of a smooth clip; 0: there is none.
    """

    name: str
    mean: float
    deviation: float
    style: Style = PLAIN
    missing: bool = False
    fill: float | None = None
    clip: float = 0.0

    @property
    def width(self) -> int:
        """How many columns it becomes."""
        return 1 + self.missing

    @property
    def outputs(self) -> list[Output]:
        """What these columns are."""
        flag = Output(f"{self.name}=missing", self.name, "missing")
        return [Output(self.name, self.name, "number"), flag][: self.width]

    @classmethod
    def learn(
        cls,
        table: Table,
        name: str,
        rows: Array,
        style: Style | None = None,
        *,
        scaler: str | None = "standard",
        flag: bool = True,
    ) -> Number:
        """Center and scale of some rows.

        Parameters
        ----------
        table : Table
        name : str
        rows : numpy.ndarray
            The indices of the rows.
        style : Style, optional
            How the numbers are written. Default: as most are.
        scaler : {"standard", "robust"} or None
            `StandardScaler`, after which missing values are the mean; `RobustScaler`, after which they are the median;
            or none.
        flag : bool, default True
            Whether a column flags missing values, if some are.
        """
        style = table.style(table.survey(name)) if style is None else style
        cure = (
            f": mend it, or read the column as words ({table.option('category', name)}), or leave it out "
            f"({table.option('drop', name)})"
        )
        column = table.numbers(name, style, missing=True, cure=cure)
        missing = np.isnan(column)
        numbers = column[rows][~missing[rows]] if not missing[rows].all() else column[~missing]
        if len(numbers) == 0:
            raise ValueError(f"{table.path}, column {name!r}: expected numbers, got only missing ones: leave it out")
        try:
            return cls.of(name, numbers, scaler, style, flag and bool(missing[rows].any()))
        except ValueError:  # whose words know no rows
            largest = int(np.nanargmax(abs(column)))
            got = digits(column[largest])
            raise table.error(largest, name, f"expected a smaller number, got {got}") from None

    @classmethod
    def of(cls, name: str, numbers: Array, scaler: str | None, style: Style = PLAIN, missing: bool = False) -> Number:
        """Center and scale of some numbers."""
        column = numbers[:, None]
        if scaler == "standard":
            standard = StandardScaler().fit(column)
            return cls(name, float(standard.mean_[0]), float(standard.scale_[0]), style, missing)
        robust = RobustScaler().fit(column)
        median = float(robust.center_[0])
        if scaler is None:
            return cls(name, 0.0, 1.0, style, missing, fill=median)
        return cls(name, median, float(robust.scale_[0]), style, missing, clip=robust.clip)

    def read(self, table: Table) -> tuple[Array, Array]:
        """The column, filled; and which of its cells were missing."""
        numbers = table.numbers(self.name, self.style, missing=True)
        missing = np.isnan(numbers)
        return np.where(missing, self.mean if self.fill is None else self.fill, numbers), missing

    def encode(self, table: Table, dtype: Any = np.float32) -> Array:
        """The column, scaled: (rows, 1), or (rows, 2) with the flag of those that are missing."""
        numbers, missing = self.read(table)
        encoded = self.scale(numbers, dtype)
        if not np.isfinite(encoded).all():
            row = int(np.isfinite(encoded).argmin())
            raise table.error(row, self.name, f"expected a number near {digits(self.mean)}, got {digits(numbers[row])}")
        return np.column_stack([encoded, missing.astype(encoded.dtype)][: self.width])

    def scale(self, numbers: Array, dtype: Any = np.float32) -> Array:
        """Numbers, scaled."""
        with np.errstate(over="ignore"):
            scaled = (numbers - self.mean) / self.deviation
            encoded: Array = (smooth_clip(scaled, self.clip) if self.clip else scaled).astype(dtype)
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
            same = self.scale(shorter) == encoded[rows].astype(np.float32)
            best[rows[same]], left[rows[same]] = shorter[same], False
        return [digits(number) for number in best.tolist()]

    def remarks(self, table: Table) -> str:
        """What differs from training, to be said beside a prediction."""
        n = 0 if self.missing else int(table.missing(self.name, number=True).sum())
        stand_in = "mean" if self.fill is None and not self.clip else "median"
        return f"{self.name}: {n:,} of {len(table):,} cells missing, taken as the {stand_in}" if n else ""


@dataclass(frozen=True)
class Text(_Feature):
    """A categorical feature, by default one-hot encoded.

    Attributes
    ----------
    name : str
    categories : list of str
    missing : bool
        Whether missing values are one more category; else they are as one that is not known.
    coding : {"onehot", "sign", "index"}
        A column for each category, all 0 for one that is not known; -1 and 1 for two categories, 0 for others; or the
        index of the category from 1, 0 for others.
    """

    name: str
    categories: list[str]
    missing: bool = False
    coding: str = "onehot"

    @property
    def width(self) -> int:
        """How many columns it becomes."""
        return len(self.outputs)

    @property
    def outputs(self) -> list[Output]:
        """What these columns are."""
        flag = [Output(f"{self.name}=missing", self.name, "missing")] * self.missing
        if self.coding == "index":
            return [Output(self.name, self.name, "index", len(self.categories) + 1)]
        if self.coding == "sign":
            return [Output(f"{self.name}={self.categories[1]}", self.name, "sign"), *flag]
        return [Output(f"{self.name}={category}", self.name, "onehot") for category in self.categories] + flag

    @classmethod
    def learn(
        cls,
        table: Table,
        name: str,
        rows: Array,
        *,
        coding: str = "onehot",
        most: int = MOST_CATEGORIES,
        flag: bool = True,
    ) -> Text:
        """The categories of a column, the most frequent if they are too many.

        Parameters
        ----------
        table : Table
        name : str
        rows : numpy.ndarray
            Where missing values are looked for.
        coding : {"onehot", "sign", "index"}
        most : int
            How many categories there are at most; the rarer ones are as those that are not known.
        flag : bool, default True
            Whether missing values are a category of their own, if some are.
        """
        frequent = sorted(table.survey(name).texts.items(), key=lambda item: (-item[1], item[0]))[:most]
        if not frequent:
            raise ValueError(f"{table.path}, column {name!r}: expected texts, got only missing ones: leave it out")
        missing = flag and coding != "index" and bool(table.missing(name)[rows].any())
        categories = sorted(text for text, _ in frequent)
        return cls(name, categories, missing, coding)

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
        cells = table.cells(self.name)[:]
        missing = {cell for cell in set(cells) - index.keys() if is_missing(cell)}
        truths = {category.casefold(): i for category, i in index.items() if category.casefold() in ("true", "false")}
        for cell in set(cells) - index.keys():
            other = cell.removesuffix(".0") if cell.endswith(".0") else f"{cell}.0"  # pandas makes 1.0 of 1
            if cell in missing:
                index[cell] = nothing
            elif other in self.categories and PLAIN.number(cell) is not None:
                index[cell] = index[other]
            else:
                index[cell] = truths.get(_TRUTHS.get(cell, cell.casefold()), -1)
        return np.array([index[cell] for cell in cells], np.int64)

    @cached_property
    def _code(self) -> Array:
        """A row for each category, for a missing value if that is one, and last for any other."""
        n = len(self.categories)
        if self.coding == "index":
            return np.array([*range(1, n + 1), 0.0])[:, None]
        code = np.array([[-1.0], [1.0]]) if self.coding == "sign" else np.eye(n)
        if self.missing:
            code = np.pad(code, ((0, 1), (0, 1)))
            code[-1, -1] = 1
        return np.vstack([code, np.zeros((1, code.shape[1]))])

    def encode(self, table: Table, dtype: Any = np.float32) -> Array:
        """The column, encoded: (rows, width)."""
        code: Array = self._code.astype(dtype)[self._codes(table)]
        return code

    def remarks(self, table: Table) -> str:
        """What differs from training, to be said beside a prediction."""
        rows = np.flatnonzero(self._codes(table) < 0)
        if len(rows) == 0:
            return ""
        first = shortened(table.cells(self.name)[rows[0]])
        rare = "rare or " if len(self.categories) >= MOST_CATEGORIES else ""
        return f"{self.name}: {len(rows):,} of {len(table):,} cells {rare}unknown in training, such as {first}"


@dataclass(frozen=True)
class Date(_Feature):
    """A date, or a time, as numbers: the year, the month, the day, the weekday, the hour, and the days since 1970.

    Attributes
    ----------
    name : str
    parts : dict of str to Number
        Those of these numbers that are not constant, and how they are scaled.
    day_first : bool
        Whether 03/04/2020 is in April.
    missing : bool
        Whether a column flags missing dates.
    """

    name: str
    parts: dict[str, Number] = field(default_factory=dict)
    day_first: bool = False
    missing: bool = False

    @property
    def width(self) -> int:
        """How many columns it becomes."""
        return len(self.parts) + self.missing

    @property
    def outputs(self) -> list[Output]:
        """What these columns are."""
        flag = [Output(f"{self.name}=missing", self.name, "missing")] * self.missing
        return [Output(part.name, self.name, "number") for part in self.parts.values()] + flag

    @classmethod
    def learn(
        cls,
        table: Table,
        name: str,
        rows: Array,
        day_first: bool | None = None,
        *,
        scaler: str | None = "standard",
        flag: bool = True,
    ) -> Date:
        """The parts of a column of dates, scaled by some rows; see `Number.learn`."""
        if day_first is None:
            day_first = order_of(table.survey(name).texts).day_first
        cure = f": mend it, or read the column as words ({table.option('category', name)})"
        moments = table.dates(name, day_first, cure)
        if np.isnat(moments).all():
            raise ValueError(f"{table.path}, column {name!r}: expected dates, got only missing ones: leave it out")
        some = moments[rows] if not np.isnat(moments[rows]).all() else moments
        some, learned = some[~np.isnat(some)], {}
        for part, numbers in parts(some).items():
            if numbers.min() < numbers.max():
                learned[part] = Number.of(f"{name}.{part}", numbers, scaler)
        if not learned:
            learned["elapsed"] = Number.of(f"{name}.elapsed", parts(some)["elapsed"], scaler)
        if set(learned) == {"hour", "elapsed"} and len(np.unique(some.astype("M8[D]"))) == 1:
            del learned["elapsed"]  # of a time alone it is the hour again
        return cls(name, learned, day_first, flag and bool(np.isnat(moments[rows]).any()))

    def encode(self, table: Table, dtype: Any = np.float32) -> Array:
        """The parts, scaled, and the flag of those that are missing: (rows, width)."""
        moments = table.dates(self.name, self.day_first)
        missing = np.isnat(moments)
        found = parts(moments)
        made = []
        for name, part in self.parts.items():
            numbers = np.where(missing, part.mean if part.fill is None else part.fill, found[name])
            made.append(part.scale(numbers, dtype))
        return np.column_stack([*made, *[missing.astype(dtype)] * self.missing])

    def remarks(self, table: Table) -> str:
        """What differs from training, to be said beside a prediction."""
        n = 0 if self.missing else int(table.missing(self.name, number=True).sum())
        return f"{self.name}: {n:,} of {len(table):,} cells missing, taken as the middle" if n else ""


Feature = Number | Text | Date


def encoded(features: Sequence[Feature], table: Table, dtype: Any = np.float32) -> Array:
    """The columns that features make of a table, side by side: (rows, columns)."""
    if absent := [feature.name for feature in features if feature.name not in table.columns]:
        got = shortened(list(table.columns))
        raise ValueError(f"{table.path}: expected the columns of the training, got no {shortened(absent)} in {got}")
    return np.hstack([feature.encode(table, dtype) for feature in features])


# As JSON can hold it; what has its default is left out, as in files of the first version.


def entry(feature: Feature) -> dict[str, Any]:
    """What a file says of a feature."""
    said: dict[str, Any] = {"name": feature.name}
    if isinstance(feature, Text):
        said["categories"] = feature.categories
        said |= {} if feature.coding == "onehot" else {"coding": feature.coding}
    elif isinstance(feature, Date):
        said["parts"] = {name: _scale(part) for name, part in feature.parts.items()}
        said |= {"day_first": True} if feature.day_first else {}
    else:
        said |= _scale(feature)
        said |= feature.style.said()
    return said | ({"missing": True} if feature.missing else {})


def _scale(number: Number) -> dict[str, Any]:
    said: dict[str, Any] = {"mean": number.mean, "deviation": number.deviation}
    said |= {} if number.fill is None else {"fill": number.fill}
    return said | ({"clip": number.clip} if number.clip else {})


def from_entry(given: Any) -> Feature:
    """The feature that an entry describes; what else it may hold is for the caller to see."""
    name, categories = given["name"], [*given.get("categories", ())]
    texts = all(isinstance(text, str) and text for text in (name, *categories))
    if not texts or len(set(categories)) < len(categories):
        raise ValueError(f"expected a name, and different categories, got {shortened(given)}")
    missing = _validate.flag(given.get("missing", False), "missing")
    if categories:
        return _text(given, name, categories, missing)
    if "parts" in given:
        part_names = [name for name in PARTS if name in given["parts"]]
        learned = {part: _number(given["parts"][part], f"{name}.{part}") for part in part_names}
        if not learned:
            raise ValueError(f"expected parts of a date, got {shortened(given)}")
        return Date(name, learned, _validate.flag(given.get("day_first", False), "day_first"), missing)
    style = Style(*(given.get(key, value) for key, value in vars(PLAIN).items()))
    return _number(given, name, style, missing)


def _text(given: Mapping[str, Any], name: str, categories: list[str], missing: bool) -> Text:
    coding = _validate.choice(given.get("coding", "onehot"), "coding", CODINGS)
    if coding == "sign" and len(categories) != 2:
        raise ValueError(f"expected two categories with the coding 'sign', got {len(categories)}")
    return Text(name, categories, missing, coding)


def _number(given: Mapping[str, Any], name: str, style: Style = PLAIN, missing: bool = False) -> Number:
    mean = _validate.number(given["mean"], "mean")
    deviation = _validate.number(given["deviation"], "deviation", above=0)
    fill = _validate.number(given["fill"], "fill") if "fill" in given else None
    clip = _validate.number(given.get("clip", 0.0), "clip", least=0)
    return Number(name, mean, deviation, style, missing, fill, clip)
