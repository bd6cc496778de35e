"""Data: what comes from outside becomes rows that the engine takes: inputs, targets or labels, and weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _frames, _validate, metrics, targets

if TYPE_CHECKING:
    from .objective import Objective

__all__ = [
    "Batches", "Data", "Inputs", "Lazy", "Passed", "Prepared", "beside", "count_held_out", "pieces", "prepare", "rows",
    "validation_rows", "weighted_by_class",
]  # fmt: skip

Array = _validate.Array
Names = tuple[str, ...]

#: Bytes that rows of another type or layout take at most if they are converted as a whole;
LARGE = 1 << 26
#: else so many bytes of them are converted at a time.
PIECE = 1 << 24


class Lazy:
    """Many rows of another type or layout, converted where they are taken; a slice of them waits as they do.

    Parameters
    ----------
    given : numpy.ndarray
    convert : callable (numpy.ndarray, int) -> numpy.ndarray
        Some of the rows, of which the first is called so in messages, as the network takes them.
    step : int
        How many to convert at a time.
    """

    def __init__(self, given: Array, convert: Callable[[Array, int], Array], step: int) -> None:
        self.given, self.convert, self.step = given, convert, step

    @property
    def shape(self) -> tuple[int, ...]:
        """That of all rows."""
        return self.given.shape

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, rows: Any) -> Any:
        some = self.given[rows]
        return Lazy(some, self.convert, self.step) if isinstance(rows, slice) else self.convert(some, 0)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self.convert(self.given, 0)

    def piece(self, rows: slice) -> Array:
        """Some of them, converted, and named by their places in messages."""
        return self.convert(self.given[rows], rows.start)


class Chosen(Lazy):
    """Rows by their indices, gathered where they are taken.

    Parameters
    ----------
    given : numpy.ndarray or Lazy
    which : numpy.ndarray of int
    """

    def __init__(self, given: Array | Lazy, which: Array) -> None:
        self.given: Any = given
        self.which, self.step = which, _at_a_time(given)

    @property
    def shape(self) -> tuple[int, ...]:
        """That of all rows."""
        return (len(self.which), *self.given.shape[1:])

    def __len__(self) -> int:
        return len(self.which)

    def __getitem__(self, rows: Any) -> Any:
        some = self.which[rows]
        return Chosen(self.given, some) if isinstance(rows, slice) else self.given[some]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        found: Array = self.given[self.which]
        return found

    def piece(self, rows: slice) -> Array:
        """Some of them, gathered."""
        found: Array = self.given[self.which[rows]]
        return found


def _at_a_time(rows: Array | Lazy) -> int:
    """How many rows to gather at a time."""
    return rows.step if isinstance(rows, Lazy) else max(1, PIECE * len(rows) // max(1, rows.nbytes))


def _gathered(rows: Any) -> Any:
    """Rows by their indices as an array, if they are not many."""
    few = isinstance(rows, Chosen) and len(rows) <= rows.step * (LARGE // PIECE)
    return np.asarray(rows) if few else rows


def _lazy(given: Array, convert: Callable[[Array, int], Array], dtype: np.dtype[Any]) -> Lazy | None:
    """These rows, once each has been looked at; None where there is nothing to convert, or little."""
    size = given.size * dtype.itemsize
    if size <= LARGE or (given.dtype == dtype and given.flags.c_contiguous and given.flags.aligned):
        return None
    rows = Lazy(given, convert, max(1, PIECE * len(given) // size))
    for _ in pieces(rows):
        pass
    return rows


def pieces(rows: Array | Lazy) -> Iterator[tuple[slice, Array]]:
    """All of the rows, converted: at once, or some at a time."""
    if not isinstance(rows, Lazy):
        yield slice(0, len(rows)), rows
        return
    for start in range(0, len(rows), rows.step):
        some = slice(start, start + rows.step)
        yield some, rows.piece(some)


class Data:
    """Rows that have passed the gate.

    Parameters
    ----------
    x, target : numpy.ndarray, Lazy or None
        Inputs, and targets, where the loss takes them.
    labels : numpy.ndarray or None
        Labels, where it takes those.
    weights : numpy.ndarray or None
    y : numpy.ndarray
        The targets as they came, for the metrics.
    """

    def __init__(self, x: Any, target: Any, labels: Array | None, weights: Array | None, y: Any) -> None:
        self.x, self.target, self.labels, self.weights, self.y = x, target, labels, weights, y

    def __repr__(self) -> str:
        kind = "labels" if self.labels is not None else "targets"
        return f"<Data of {len(self)} rows with {kind}{'' if self.weights is None else ' and weights'}>"

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, which: Any) -> Data:
        """Some of the rows."""
        target, labels, weights = (
            None if part is None else part[which] for part in (self.target, self.labels, self.weights)
        )
        return Data(self.x[which], target, labels, weights, self.y[which])

    def chosen(self, which: Any) -> Data:
        """Those of these indices: inputs and targets are gathered later, and what is in one piece never is."""
        indices = _validate.indices(which, "rows", len(self))
        first, count = int(indices[0]), len(indices)
        if np.array_equal(indices, np.arange(first, first + count)):
            found = self.rows(slice(first, first + count))
        else:
            x, target = (None if part is None else Chosen(part, indices) for part in (self.x, self.target))
            labels, weights = (None if part is None else part[indices] for part in (self.labels, self.weights))
            found = Data(x, target, labels, weights, self.y[indices])
        if found.weights is not None:
            _validate.weights(found.weights, count, "sample_weight of these rows")
        return found

    def gathered(self) -> Data:
        """The same, with inputs and targets that were chosen as arrays; where they are many, as they are taken."""
        return Data(_gathered(self.x), _gathered(self.target), self.labels, self.weights, self.y)

    def converted(self) -> Data:
        """All rows as arrays."""
        target = None if self.target is None else np.asarray(self.target)
        return Data(np.asarray(self.x), target, self.labels, self.weights, self.y)

    @property
    def weight(self) -> float:
        """What they count for together."""
        return len(self) if self.weights is None else float(self.weights.sum())

    @property
    def ready(self) -> bool:
        """Whether the core can take them as they are."""
        return not isinstance(self.x, Lazy) and not isinstance(self.target, Lazy)


class Inputs:
    """The gate of a network for its inputs.

    Parameters
    ----------
    n_in : int
        Features of a row.
    dtype : numpy.dtype
    owner : str
        Who takes them, in messages.

    Attributes
    ----------
    names : tuple of str or None
        What the columns of a table are called, in their order; None for no names.
    tables : sequence of (int, int, int)
        The first of some columns that name rows of a table, how many they are, and the rows of the table.
    """

    def __init__(self, n_in: int, dtype: np.dtype[Any], owner: str) -> None:
        self.n_in, self.dtype, self._owner = n_in, dtype, owner
        self.names: Names | None = None
        self.tables: Sequence[tuple[int, int, int]] = ()

    def names_of(self, x: Any) -> Names | None:
        """The names of a table's columns: those known, in their order, where they are the same; None for no table."""
        given = _frames.names(x)
        return self.names if given and self.names and sorted(given) == sorted(self.names) else given

    def in_order(self, x: Any, names: Names | None = None) -> Any:
        """The columns of a table in the order of these names, or of those known."""
        names = names or self.names
        return x if names is None or type(x) is np.ndarray else _frames.ordered(x, names, "x")

    def rows(self, x: Any, first_row: int = 0, later: bool = False, names: Names | None = None) -> Array:
        """Rows as the engine takes them; whether they are finite may be looked at later."""
        found = _validate.matrix(self.in_order(x, names), "x", self.n_in, self.dtype, self._owner, first_row, later)
        for first, count, values in self.tables:
            for column in range(first, first + count):
                _validate.names(found[:, column], values, f"x, column {column}", first_row)
        return found

    def lazy_rows(self, x: Any, names: Names | None = None) -> Array | Lazy:
        """The same; where there are many to convert, they stay what they are for now."""
        x = _validate.array(self.in_order(x, names), "x")
        found = _lazy(x, self.rows, self.dtype) if x.shape[1:] == (self.n_in,) else None
        return self.rows(x) if found is None else found


def rows(
    inputs: Inputs, objective: Objective, x: Any, y: Any, sample_weight: Any = None, *, lazily: bool = False,
    names: Names | None = None, part: bool = False,
) -> Data:  # fmt: skip
    """Rows that pass the gate; lazily, those of which many have to be converted stay what they are for now.

    A part of the rows may count for nothing.
    """
    if y is None:
        raise TypeError("y: expected the targets of x, got None: give both, x and y, or, to fit, batches (x, y)")
    try:
        found = inputs.lazy_rows(x, names) if lazily else inputs.rows(x, names=names)
    except ValueError as error:
        if _shape(x)[1:] != (inputs.n_in,) and _shape(y)[1:] == (inputs.n_in,):
            raise ValueError(f"{error}: are x and y swapped?") from None
        raise
    _validate.some_rows(found)
    y = objective.loss.taken(y, len(found), inputs.n_in, objective.n_out)
    return beside(objective, found, y, sample_weight, inputs.dtype, len(found), lazily=lazily, part=part)


def beside(
    objective: Objective, x: Any, y: Any, sample_weight: Any, dtype: np.dtype[Any], count: int, *,
    lazily: bool = False, part: bool = False,
) -> Data:  # fmt: skip
    """Inputs that have passed the gate, and what belongs to so many rows, which passes it here."""
    y = _validate.array(y, "y")
    target, labels = _targets(objective, y, dtype, lazily)
    y = objective.loss.metric_targets(y)
    _validate.same_rows(count, y=y)
    weights = None if sample_weight is None else _validate.weights(sample_weight, count, part=part)
    return Data(x, target, labels, weights, y)


class Passed:
    """Rows that have passed the gate, for all networks that take them alike: looked at, converted and kept once."""

    def __init__(self) -> None:
        self._inputs: dict[Any, Array] = {}
        self._data: dict[Any, Data] = {}

    def rows(
        self, inputs: Inputs, objective: Objective, x: Any, y: Any, sample_weight: Any = None, *,
        names: Names | None = None,
    ) -> Data:  # fmt: skip
        """As the function `rows`, lazily."""
        loss = objective.loss
        taken = id(x), inputs.n_in, inputs.dtype, names or inputs.names, tuple(inputs.tables)
        asked = *taken, id(y), id(sample_weight), objective.n_out, repr(loss) if objective.compiled else id(loss)
        if asked not in self._data:
            found = rows(inputs, objective, self._inputs.get(taken, x), y, sample_weight, lazily=True, names=names)
            self._data[asked] = found
            if isinstance(found.x, np.ndarray):
                self._inputs[taken] = found.x
        return self._data[asked]


def _shape(value: Any) -> tuple[int, ...]:
    try:
        return np.shape(value)
    except (TypeError, ValueError, RuntimeError):
        return ()


def _targets(
    objective: Objective, y: Array, dtype: np.dtype[Any], lazily: bool
) -> tuple[Array | Lazy | None, Array | None]:
    if not objective.compiled:
        return None, None

    def convert(rows: Array, first: int) -> Array:
        with _validate.within(f"in {len(rows)} rows from row {first} on"):
            target = objective.loss.targets(rows, objective.n_out, dtype)[0]
        assert target is not None  # labels are a column
        return target

    found = _lazy(y, convert, dtype) if lazily and y.ndim == 2 and y.shape[1] > 1 else None
    return objective.loss.targets(y, objective.n_out, dtype) if found is None else (found, None)


def count_held_out(rows: int, share: float) -> int:
    """How many rows, the last ones, are of this share, to validate on."""
    n = round(share * rows)
    if share and not 0 < n < rows:
        raise ValueError(f"validation_split: expected a share with rows on both sides, got {share} of {rows} rows")
    return n


def held_out(data: Data, share: float) -> tuple[Data, Data | None]:
    """The rows to train on, and the last ones, of this share, to validate on."""
    n = count_held_out(len(data), share)
    if n == 0:
        return data, None
    parts = data.rows(slice(None, -n)), data.rows(slice(-n, None))
    for part in parts if data.weights is not None else ():
        _validate.weights(part.weights, len(part), "sample_weight, split for validation")
    return parts


def weighted_by_class(data: Data, given: Any, objective: Objective, *, part: bool = False) -> Data:
    """The same rows, each counting for as much more as its class does."""
    if given is None:
        return data
    n_targets = objective.meaning(data.y).targets or objective.n_out
    with np.errstate(over="ignore"):
        weights = targets.class_weights(data.y, given, n_targets) * (1.0 if data.weights is None else data.weights)
    weights = _validate.weights(weights, len(data), "class_weight", part=part)
    return Data(data.x, data.target, data.labels, weights, data.y)


def validation(
    take: Callable[..., Data], inputs: Inputs, objective: Objective, given: Any, names: Names | None
) -> Data:
    """The data to evaluate on after each epoch, as a fit is given them."""
    given = validation_rows(given)
    with _validate.within("validation_data"):
        return take(inputs, objective, *given, names=names)


def validation_rows(given: Any) -> tuple[Any, ...]:
    """x, y and perhaps weights of validation_data."""
    if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
        raise TypeError(f"validation_data: expected (x, y) or (x, y, sample_weight), got {_validate.shown(given)}")
    return tuple(given)


def is_rows(x: Any) -> bool:
    """Whether what came without y is rows that it was forgotten for, and not batches."""
    if isinstance(x, (list, tuple)) and x:
        first = x[0][0] if isinstance(x[0], (list, tuple)) and x[0] else x[0]
        return np.isscalar(first) or (first is x[0] and hasattr(first, "__array__"))
    return hasattr(x, "__array__") or _frames.columns(x) is not None


class Prepared(NamedTuple):
    """What a fit trains on and validates on, what targets are to the metrics, and what the columns are called."""

    data: Data | Batches
    validation: Data | None
    meaning: targets.Meaning | None
    names: Names | None


def prepare(
    inputs: Inputs, objective: Objective, measured: Mapping[str, Any], x: Any, y: Any, *, epochs: int,
    sample_weight: Any, class_weight: Any, validation_data: Any, validation_split: float, which: Any = None,
    passed: Passed | None = None,
) -> Prepared:  # fmt: skip
    """What a fit is given, through the gate: all rows, or those of these indices."""
    names, meaning, split = inputs.names_of(x), None, None
    take = partial(rows, lazily=True) if passed is None else passed.rows
    data: Data | Batches
    if y is None and not is_rows(x):
        check_batches(x, epochs, sample_weight, class_weight, validation_split)
        if isinstance(validation_data, (tuple, list)) and validation_data:
            names = inputs.names_of(validation_data[0])
        data = batches(inputs, objective, x, measured, class_weight, names)
    else:
        whole = take(inputs, objective, x, y, sample_weight, names=names)
        data, split = held_out(whole if which is None else whole.chosen(which), validation_split)
        data = weighted_by_class(data, class_weight, objective)
        if measured:
            meaning = objective.meaning(data.y)
            metrics.check(measured, data.y, objective.n_out, meaning)
    if validation_data is not None:
        if split is not None:
            raise ValueError("validation_split: expected 0 beside validation_data, got both")
        split = validation(take, inputs, objective, validation_data, names)
    if split is not None and measured:
        metrics.check(measured, split.y, objective.n_out, meaning or objective.meaning(split.y))
    return Prepared(data, split, meaning, names)


# Batches.


class Batches:
    """Batches that come one by one, from what is gone through once an epoch, and pass the gate as they come."""

    def __init__(self, given: Iterable[Any], gate: Callable[[Any], Data]) -> None:
        self.given, self.gate = given, gate

    def __iter__(self) -> Iterator[Data]:
        count = 0
        for batch in self.given:
            with _validate.within(f"batch {count}"):
                data = self.gate(batch)
            yield data
            count += 1
        if not count:
            raise ValueError("x: expected at least one batch, got none: an iterator gives its batches only once")


def batches(
    inputs: Inputs,
    objective: Objective,
    given: Any,
    measured: Mapping[str, Any],
    class_weight: Any,
    names: Names | None,
) -> Batches:
    """Batches that pass the gate as they come; the first that is a table names the columns."""

    def gate(batch: Any) -> Data:
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3) or np.isscalar(batch[0]):
            got = _validate.shown(batch)
            raise TypeError(f"expected (x, y) or (x, y, sample_weight), got {got}: was y forgotten?")
        nonlocal names
        names = names or inputs.names_of(batch[0])
        data = rows(inputs, objective, *batch, names=names, part=True)
        inputs.names = names or inputs.names
        if measured:
            metrics.check(measured, data.y, objective.n_out, objective.meaning(data.y))
        return weighted_by_class(data, class_weight, objective, part=True)

    return Batches(given, gate)


def check_batches(given: Any, epochs: int, sample_weight: Any, class_weight: Any, share: float) -> None:
    """Refuse what goes with whole arrays only beside batches that come one by one."""
    if not hasattr(given, "__iter__"):
        raise TypeError(f"x: expected rows and y, or batches (x, y), got {_validate.shown(given)} without y")
    if epochs > 1 and iter(given) is given:
        cure = "give a list, or an object that begins again each time"
        raise ValueError(f"epochs: expected 1 with batches that come only once, got {epochs}: {cure}")
    if sample_weight is not None:
        raise ValueError("sample_weight: expected none with batches, got some: give batches (x, y, sample_weight)")
    if share:
        raise ValueError(f"validation_split: expected 0 with batches, got {share}: hold out validation_data")
    if isinstance(class_weight, str):
        raise ValueError(f"class_weight: expected numbers with batches, got {class_weight!r}: count the classes")
