"""Tables as the inputs of a network: an encoder of whole tables, and small ones for columns of one kind."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np

from .. import _validate
from ..tables.columns import Reading, readings
from ..tables.features import Feature, Output, encoded, entry, from_entry
from ..tables.frames import of
from ..tables.recipe import features_of
from ..tables.table import MOST_CATEGORIES, Table

__all__ = [
    "DateEncoder", "Encoder", "OneHotEncoder", "OrdinalEncoder", "SimpleImputer", "TableEncoder",
]  # fmt: skip

Array = _validate.Array


class Encoder:
    """What makes numbers of the columns of a table: fitted once, the same for all others.

    Columns are found by name, in whatever order, and further ones are ignored; of arrays, and of a table whose columns
    have no names, they are taken in their order.

    Attributes
    ----------
    columns_ : list of str
        The columns of the fit; of an array they are called "0", "1" and so on.
    readings_ : dict of str to Reading
        How each of them is read, which `str` says in a line.
    features_ : list of Number, Text and Date
        What is made of those that are not dropped.
    """

    columns_: list[str]
    readings_: dict[str, Reading]
    features_: list[Feature]

    def __init__(
        self, *, max_categories: int = MOST_CATEGORIES, flag_missing: bool = True, dtype: str = "float32"
    ) -> None:
        self.max_categories = _validate.integer(max_categories, "max_categories", 1, 2**20)
        self.flag_missing = _validate.flag(flag_missing, "flag_missing")
        self.dtype = _validate.choice(dtype, "dtype", ("float32", "float64"))

    def fit(self, X: Any, y: Any = None, readings: Mapping[str, Reading] | None = None) -> Self:
        """Learn from the rows of X.

        Parameters
        ----------
        X : DataFrame, dict of columns, or array (rows, columns)
            Numbers, texts, booleans and dates; missing values among them.
        y : object, optional
            Ignored.
        readings : dict of str to Reading, optional
            How the columns are read. Default: as they look, but for what the encoder was asked.

        Returns
        -------
        Encoder
            Itself.
        """
        self._fit(of(X), readings)
        return self

    def transform(self, X: Any) -> Array:
        """The rows of X, encoded: an array (rows, len(outputs)).

        Raises
        ------
        ValueError
            Where a column is missing, or a cell does not fit its column.
        """
        return encoded(self._fitted(), self._table(X), self.dtype)

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """Learn from the rows of X, and encode them."""
        table = of(X)
        self._fit(table)
        return encoded(self.features_, table, self.dtype)

    @property
    def outputs(self) -> list[Output]:
        """What each column of `transform` is: its name, the column it is made of, its kind, and its cardinality."""
        return [output for feature in self._fitted() for output in feature.outputs]

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """What the columns of `transform` are called."""
        return np.array([output.name for output in self.outputs], object)

    def remarks(self, X: Any) -> list[str]:
        """What in X was not there in the fit, such as unknown categories: a line for each column."""
        table = self._table(X)
        return [remark for feature in self._fitted() if (remark := feature.remarks(table))]

    def to_dict(self) -> dict[str, Any]:
        """What was learned, as JSON can hold it: as ``net.metadata["preprocessing"]`` it travels in a model file."""
        said = {"name": type(self).__name__, "columns": self.columns_, "features": [*map(entry, self._fitted())]}
        return said | ({} if self.dtype == "float32" else {"dtype": self.dtype})

    @staticmethod
    def from_dict(given: Any) -> Encoder:
        """The encoder that `to_dict` described.

        Raises
        ------
        ValueError
            If the description is not one that `to_dict` writes.
        """
        try:
            encoder = _ENCODERS[given["name"]](dtype=given.get("dtype", "float32"))
            encoder.columns_ = [*map(str, _validate.items(given["columns"], "columns"))]
            encoder.features_ = [*map(from_entry, _validate.items(given["features"], "features"))]
            encoder.readings_ = {}
            names = [feature.name for feature in encoder.features_]
            if not names or len(set(names)) < len(names) or not set(names) <= set(encoder.columns_):
                raise ValueError(f"expected features of the columns, each once, got {_validate.shown(names)}")
            if encoder.to_dict() != given or len(set(encoder.columns_)) < len(encoder.columns_):
                raise ValueError(f"expected what an encoder wrote, got {_validate.shown(given)}")
        except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"encoder: it does not make sense: {error}") from error
        return encoder

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Encoder) and vars(self).get("features_") == vars(other).get("features_")

    __hash__ = None  # type: ignore[assignment]  # what has == and can change

    def _read(self, table: Table) -> dict[str, Reading]:
        """How the columns are read."""
        raise NotImplementedError

    def _options(self) -> dict[str, Any]:
        """How they are encoded, as `features_of` takes it."""
        return {}

    def _fit(self, table: Table, known: Mapping[str, Reading] | None = None) -> None:
        if not len(table):
            raise ValueError(f"{table.path}: expected at least one row, got none")
        how = self._read(table) if known is None else {name: known[name] for name in table.columns}
        rows = np.arange(len(table))
        features = features_of(table, how, rows, most=self.max_categories, flag=self.flag_missing, **self._options())
        if not features:
            got = "; ".join(map(str, how.values()))
            raise ValueError(f"{table.path}: expected at least one column to learn from, got {_validate.shown(got)}")
        self.columns_, self.readings_, self.features_ = [*table.columns], how, features
        self._named = table.has_header

    def _fitted(self) -> list[Feature]:
        if not hasattr(self, "features_"):
            raise ValueError(f"{type(self).__name__}: expected to be fitted first, call fit(X)")
        return self.features_

    def _table(self, X: Any) -> Table:
        """X, its columns called as in the fit."""
        self._fitted()
        table = of(X)
        named = getattr(self, "_named", any(not name.isdecimal() for name in self.columns_))
        if (table.has_header and named) or (table.is_file and {*self.columns_} <= {*table.columns}):
            return table
        if len(table.columns) != len(self.columns_):
            raise ValueError(
                f"{table.path}: expected the {len(self.columns_)} columns of the fit, got {len(table.columns)}"
            )
        return replace(table, columns=dict(zip(self.columns_, table.columns.values(), strict=True)), _known={})


class TableEncoder(Encoder):
    """A whole table as the inputs of a network: it looks at each column, and makes of it what suits it.

    Numbers are scaled, and so are the parts of dates (year, month, day, weekday, hour, days since 1970); a missing one
    becomes the median, and a flag. Two categories become -1 and 1, more a column each, all 0 for a category that was
    not there in the fit. Numbers in texts are read however people write them, as in CSV files: decimal commas, marks
    between thousands, currencies, percent. Left out are identifiers, constants, empty columns and, with a warning, text
    of too many different values: `readings_` says so in a line for each column.

    Parameters
    ----------
    numeric, category, date, drop, id : sequence of str
        Columns that are to be read so, whatever they look like; identifiers are dropped too.
    decimal : {".", ","}, optional
        The decimal mark of numbers that can be read in two ways, such as "1,234". Default: that of the other columns.
    scaler : {"robust", "standard"} or None, default "robust"
        As `RobustScaler` or `StandardScaler` scale; None: numbers stay as they are.
    binary : {"sign", "onehot"}, default "sign"
        Whether two categories become one column of -1 and 1, or two.
    categories : {"onehot", "index"}, default "onehot"
        What more than `max_onehot` categories become: a column each; or one column with the index of the category, from
        1, and 0 for missing and unknown ones, which an `Embedding` takes.
    max_onehot : int, default 256
        How many categories always have a column each.
    max_categories : int, default 256
        How many are told apart; rarer ones are as those that are not known.
    flag_missing : bool, default True
        Whether a column says that a value was missing, where some were.
    dtype : {"float32", "float64"}, default "float32"

    Examples
    --------
    >>> from backprop.preprocessing import TableEncoder
    >>> encoder = TableEncoder()
    >>> encoder.fit_transform({"size": [30, 50, None, 80], "town": ["Bonn", "Bonn", "Aachen", "Bonn"]})
    array([[-0.78, -0.  ,  1.  ]...
    """

    def __init__(
        self,
        *,
        numeric: Iterable[str] = (),
        category: Iterable[str] = (),
        date: Iterable[str] = (),
        drop: Iterable[str] = (),
        id: Iterable[str] = (),  # noqa: A002 - as on the command line
        decimal: str | None = None,
        scaler: str | None = "robust",
        binary: str = "sign",
        categories: str = "onehot",
        max_onehot: int = MOST_CATEGORIES,
        max_categories: int = MOST_CATEGORIES,
        flag_missing: bool = True,
        dtype: str = "float32",
    ) -> None:
        super().__init__(max_categories=max_categories, flag_missing=flag_missing, dtype=dtype)
        kinds = {"numeric": numeric, "category": category, "date": date, "drop": drop, "id": id}
        self.kinds = {name: [*map(str, _validate.items(given, name))] for name, given in kinds.items()}
        self.decimal = None if decimal is None else _validate.choice(decimal, "decimal", (".", ","))
        self.scaler = None if scaler is None else _validate.choice(scaler, "scaler", ("robust", "standard"))
        self.binary = _validate.choice(binary, "binary", ("sign", "onehot"))
        self.categories = _validate.choice(categories, "categories", ("onehot", "index"))
        self.max_onehot = _validate.integer(max_onehot, "max_onehot", 2, 2**20)

    def _read(self, table: Table) -> dict[str, Reading]:
        how = readings(table, None, options=self.kinds, decimal=self.decimal)
        if lost := [str(reading) for reading in how.values() if reading.is_lost]:
            warnings.warn(f"{table.path}: text is left out: {'; '.join(lost)}", UserWarning, stacklevel=4)
        return how

    def _options(self) -> dict[str, Any]:
        return {
            "scaler": self.scaler, "binary": self.binary, "categories": self.categories, "most_onehot": self.max_onehot,
        }  # fmt: skip


class _OfOneKind(Encoder):
    """An encoder that reads all columns in one way."""

    _kind: str

    def _read(self, table: Table) -> dict[str, Reading]:
        how = readings(table, None, options={self._kind: [*table.columns]})
        if empty := [name for name, reading in how.items() if reading.kind == "dropped"]:
            raise ValueError(f"{table.path}: expected values in each column, got only missing ones in {empty[0]!r}")
        return how


class SimpleImputer(_OfOneKind):
    """Numbers as they are, with the median in the place of missing ones, and a flag beside it.

    Parameters
    ----------
    flag_missing : bool, default True
    dtype : {"float32", "float64"}, default "float32"
    """

    _kind = "numeric"

    def _options(self) -> dict[str, Any]:
        return {"scaler": None}


class OneHotEncoder(_OfOneKind):
    """A column for each category, one of -1 and 1 for two; all 0 where a category is unknown.

    Parameters
    ----------
    binary : {"sign", "onehot"}, default "sign"
        Whether two categories become one column or two.
    max_categories : int, default 256
        The most frequent ones; others are as those that are not known.
    flag_missing : bool, default True
        Whether missing values are a category of their own.
    dtype : {"float32", "float64"}, default "float32"
    """

    _kind = "category"

    def __init__(
        self,
        *,
        binary: str = "sign",
        max_categories: int = MOST_CATEGORIES,
        flag_missing: bool = True,
        dtype: str = "float32",
    ) -> None:
        super().__init__(max_categories=max_categories, flag_missing=flag_missing, dtype=dtype)
        self.binary = _validate.choice(binary, "binary", ("sign", "onehot"))

    def _options(self) -> dict[str, Any]:
        return {"binary": self.binary, "most_onehot": 2**20}


class OrdinalEncoder(_OfOneKind):
    """The index of each category from 1, as `Embedding` takes it; 0 where it is missing or unknown.

    Parameters
    ----------
    max_categories : int, default 256
        The most frequent ones; others are as those that are not known.
    dtype : {"float32", "float64"}, default "float32"
    """

    _kind = "category"

    def _options(self) -> dict[str, Any]:
        return {"binary": "index", "categories": "index", "most_onehot": 0}


class DateEncoder(_OfOneKind):
    """Dates as numbers: year, month, day, weekday (Monday is 0), hour, and the days since 1970, of these what varies.

    Parameters
    ----------
    scaler : {"standard", "robust"} or None, default None
        How the numbers are scaled; None: not at all.
    flag_missing : bool, default True
    dtype : {"float32", "float64"}, default "float32"
    """

    _kind = "date"

    def __init__(self, *, scaler: str | None = None, flag_missing: bool = True, dtype: str = "float32") -> None:
        super().__init__(flag_missing=flag_missing, dtype=dtype)
        self.scaler = None if scaler is None else _validate.choice(scaler, "scaler", ("robust", "standard"))

    def _options(self) -> dict[str, Any]:
        return {"scaler": self.scaler}


_ENCODERS: dict[str, type[Encoder]] = {
    kind.__name__: kind for kind in (TableEncoder, SimpleImputer, OneHotEncoder, OrdinalEncoder, DateEncoder)
}
