"""`fit_many`: many networks trained side by side, each on one thread, to the bits that each would have alone."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from . import _pool, _threads, _validate, _words, callbacks, losses, optimizers, training
from ._workers import Workers, workers
from .errors import BusyError
from .network import Sequential
from .program.data import Data, Passed
from .training import History

__all__ = ["fit_many"]

Array = _validate.Array


@_words.helpful("fit")
def fit_many(
    networks: Iterable[Sequential],
    x: Any,
    y: Any,
    *,
    loss: Any,
    optimizer: Any,
    epochs: Any = 1,
    batch_size: Any = 32,
    rows: Any = None,
    validation_data: Any = None,
    validation_split: Any = 0.0,
    sample_weight: Any = None,
    class_weight: Any = None,
    shuffle: Any = True,
    metrics: Any = (),
    callbacks: Any = (),
    rng: Any = None,
    threads: int | None = None,
    progress: bool = False,
    errors: str = "warn",
) -> list[History]:
    """Train many networks side by side, each on one thread: seeds, folds, bootstraps, a search, a network per sensor.

    Each comes to the bits of the same network trained alone, ``networks[i].fit(x[rows[i]], y[rows[i]], ...)``, whatever
    the number of threads, and the next begins where one stops.

    Parameters
    ----------
    networks : list of Sequential, or an Ensemble
        Of any shapes, each once.
    x, y : array_like
        As `Sequential.fit` takes them, for all networks: not copied where they need no conversion. Or a list with an
        array (x: of two dimensions) for each network.
    loss, optimizer, epochs, batch_size, validation_data, validation_split, sample_weight, class_weight, shuffle, \
metrics, callbacks, rng
        As `Sequential.fit` takes them, one for all; or a list with one for each network, which of metrics and callbacks
        is a list of lists, of validation_data one of tuples. An `Optimizer` for all has made no step: each network
        trains with a copy. So it is with callbacks for all; those that write to a path, and custom ones that have
        attributes, cannot be copied, and come in a list for each network. The fits draw from a Generator for all in the
        order of the networks; an int gives all the same order of rows.
    rows : array_like of int, optional
        Indices of the rows that count as x and y, sample_weight too: one list for all, or one for each network, as a
        list or as a row of a table. Folds, or bootstraps, where an index may come more than once. What takes more than
        64 MiB is never copied as a whole.
    threads : int or None, default None
        How many networks train at a time. None: as many as there are free processors. Where joblib's
        ``parallel_config(backend="loky")`` is active, or "dask" or "ray", its workers train the networks, to the same
        bits; then it is how many threads each has, by default one.
    progress : bool, default False
        Show how many are done: as `Sequential.fit` shows epochs.
    errors : {"warn", "raise"}, default "warn"
        Where a fit diverges or fails: go on with the others, and warn of its number at the end, with the error in
        ``history.error``; if there is no other, raise the first. "raise": stop all, and raise it.

    Returns
    -------
    list of History
        One for each network.

    Raises
    ------
    ValueError, TypeError, BusyError
        Before anything is trained, with the number of the network, where an argument is refused.
    KeyboardInterrupt
        On Ctrl-C, after the batches under way; all networks keep their weights.

    Examples
    --------
    >>> networks = [bp.Sequential([bp.Dense(4, 8, "relu"), bp.Dense(8, 3)], rng=seed) for seed in range(5)]
    >>> histories = bp.fit_many(networks, x, y, loss="mse", optimizer=bp.Adam(1e-3), epochs=3)
    >>> len(histories)
    5
    """
    given = {
        "x": x, "y": y, "loss": loss, "optimizer": optimizer, "epochs": epochs, "batch_size": batch_size, "rows": rows,
        "validation_data": validation_data, "validation_split": validation_split, "sample_weight": sample_weight,
        "class_weight": class_weight, "shuffle": shuffle, "metrics": metrics, "callbacks": callbacks, "rng": rng,
    }  # fmt: skip
    if y is None:
        raise TypeError("y: expected the targets of x, got None: batches that come one by one are for Sequential.fit")
    members = _members(networks)
    stops = _validate.choice(errors, "errors", ("warn", "raise")) == "raise"
    fits = _Fits(members, given, stops)
    threads, progress, others = _threads.checked(threads), _validate.flag(progress, "progress"), workers()
    if others is not None:
        fits.run_in_workers(others, threads or 1)
    else:
        with _threads.take(threads, len(members)) as count:
            fits.run(min(count, len(members)), progress)
    if fits.errors:
        warnings.warn(fits.said(), RuntimeWarning, stacklevel=3)
    return fits.histories


class _Fits:
    """The fits of some networks, each asked for what is its own.

    Each is begun twice: here, so that whatever is refused is refused before anything is trained; and for good by the
    thread that trains it, so that its rows take memory no longer than that takes.
    """

    def __init__(self, members: Sequence[Sequential], given: Mapping[str, Any], stops: bool) -> None:
        each = {name: _each(name, value, len(members)) for name, value in given.items()}
        self._asked = [dict(zip(each, values, strict=True)) for values in zip(*each.values(), strict=True)]
        self._members, self._stops, self._passed = members, stops, Passed()
        self.histories = [History() for _ in members]
        self._done: list[int] = []
        costs = [self._look(i) for i in range(len(members))]
        self._order = sorted(range(len(members)), key=lambda i: -costs[i])  # so that no long one is left for the end

    @property
    def errors(self) -> dict[int, BaseException]:
        """What ended fits, by the numbers of their networks."""
        return {i: history.error for i, history in enumerate(self.histories) if history.error is not None}

    def said(self) -> str:
        """A line of that."""
        found = [f"network {i}: {type(error).__name__}: {error}" for i, error in self.errors.items()]
        more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
        return f"fit_many: {len(found)} of {len(self._members)} fits ended early: {'; '.join(found[:5])}{more}"

    def run(self, threads: int, progress: bool) -> None:
        """Train them all; where none came to its end, raise why the first did not."""
        with closing(callbacks.Counter(len(self._members), "network", progress)) as counter:
            _pool.run([partial(self._fit, i) for i in self._order], threads, lambda: counter.show(len(self._done)))
        self._raise()

    def run_in_workers(self, others: Workers, threads: int) -> None:
        """Train them all in other processes, each on so many threads."""
        tasks = [(self._members[i], self._asked[i], threads) for i in self._order]
        for i, found in zip(self._order, others.call(_alone, tasks), strict=True):
            self._take_over(i, found)
        self._raise()

    def _take_over(self, i: int, found: _Fitted) -> None:
        """Have network, optimizer and callbacks become what a worker has made of their copies."""
        net, asked = self._members[i], self._asked[i]
        for mine, its in zip(net.arrays().values(), found.network.arrays().values(), strict=True):
            mine[...] = its
        net.gradients[...] = found.gradients
        net.epochs, net.steps, net.feature_names = (
            found.network.epochs,
            found.network.steps,
            found.network.feature_names,
        )
        for mine, its in zip(
            [asked["optimizer"], *asked["callbacks"]], [found.optimizer, *found.callbacks], strict=True
        ):
            if hasattr(mine, "__dict__"):
                vars(mine).update(vars(its))
        if isinstance(asked["optimizer"], optimizers.Optimizer):
            asked["optimizer"].bind(net)
        self.histories[i] = found.history
        found.history.error = found.error
        if found.error is not None:
            found.error.add_note(f"in the fit of network {i}")
            if self._stops:
                raise found.error

    def _raise(self) -> None:
        if len(self.errors) == len(self._members):
            raise self.errors[0]

    def _look(self, i: int) -> float:
        """Refuse what its fit cannot be asked for; about how much there is to do."""
        net, asked = self._members[i], self._asked[i]
        try:
            with _validate.within(f"network {i}"), net._training.taken():
                asked["callbacks"] = callbacks.chosen(asked["callbacks"], logs=False)
                asked["seed"], asked["rng"] = training.seed_of(net, asked["rng"]), None
                run = self._begin(i)
        except BusyError as error:
            raise BusyError(f"network {i}: {error}") from None
        assert isinstance(run.data, Data)
        return float(run.epochs * len(run.data) * (run.engine.work + 500))

    def _begin(self, i: int) -> training.Run:
        return training.begin(self._members[i], **self._asked[i], threads=1, passed=self._passed)

    def _fit(self, i: int) -> None:
        try:
            with self._members[i]._training.taken():
                run = self._begin(i)
                self.histories[i] = run.history
                run.gather()
                training.fit(run)
        except Exception as error:
            error.add_note(f"in the fit of network {i}")
            self.histories[i].error = error
            if self._stops:
                raise
        finally:
            self._asked[i] = {}
            self._done.append(i)


class _Fitted(NamedTuple):
    """What a worker returns."""

    network: Sequential
    gradients: Array
    optimizer: Any
    callbacks: list[Any]
    history: History
    error: Exception | None


def _alone(net: Sequential, asked: dict[str, Any], threads: int) -> _Fitted:
    """The fit of a network in a worker, on copies of all that it is given."""
    run, failed = training.begin(net, **asked, threads=threads), None
    try:
        run.gather()
        training.fit(run)
    except Exception as error:  # noqa: BLE001 - raised or told by whoever asked
        failed = error
    return _Fitted(net, net.gradients, run.optimizer, list(asked["callbacks"]), run.history, failed)


def _members(networks: Any) -> list[Sequential]:
    """Networks that can be trained at once."""
    if isinstance(networks, Sequential):
        raise TypeError(f"networks: expected a list of networks, got {_validate.shown(networks)}: put it into one")
    members = _validate.items(networks, "networks")
    if not members:
        raise ValueError("networks: expected at least one, got none")
    places: dict[int, int] = {}
    for i, net in enumerate(members):
        if not isinstance(net, Sequential):
            raise TypeError(f"networks: expected Sequential networks, got {_validate.shown(net)} in place {i}")
        first = places.setdefault(id(net._training), i)
        if first != i:
            raise ValueError(
                f"networks: expected each once, got network {first} again in place {i}, itself or on the same memory: "
                "train a copy(), or build another"
            )
    return members


# One value for all, or a list with one for each.


def _is_array(value: Any, dimensions: int) -> bool:
    """Whether this is an array, or a table, of so many dimensions or more."""
    return hasattr(value, "__array__") and len(getattr(value, "shape", ())) >= dimensions


#: Of arguments that may be lists themselves, what the items of a list with one for each network are.
_ITEMS: dict[str, Callable[[Any], bool]] = {
    "x": lambda item: _is_array(item, 2),
    "y": lambda item: _is_array(item, 1),
    "rows": lambda item: item is None or _is_array(item, 1) or isinstance(item, (list, tuple, range)),
    "validation_data": lambda item: item is None or isinstance(item, tuple),
    "sample_weight": lambda item: item is None or _is_array(item, 1) or isinstance(item, (list, tuple)),
    "class_weight": lambda item: not isinstance(item, (int, float, np.number)),
    "metrics": lambda item: isinstance(item, (list, tuple)),
    "callbacks": lambda item: isinstance(item, (list, tuple)),
}


def _are_apart(name: str, value: Any, count: int) -> bool:
    """Whether this is a list with a value for each network."""
    if name not in _ITEMS:
        return isinstance(value, (list, tuple))
    if name == "rows" and _is_array(value, 2):
        return True
    listed = isinstance(value, list) and bool(value) and all(map(_ITEMS[name], value))
    return listed and (name != "y" or len(value) == count)  # else those are its rows


def _each(name: str, value: Any, count: int) -> list[Any]:
    """The values of an argument, one for each network."""
    if _are_apart(name, value, count):
        if len(value) != count:
            raise ValueError(f"{name}: expected one, or a list with one for each of {count} networks, got {len(value)}")
        _expect_apart(name, value)
        return list(value)
    if name == "loss" and callable(value):
        value = losses.get(value)  # one object, for which rows pass the gate once
    if name == "callbacks":
        return callbacks.for_each(value, count, "networks", "give a list with a list for each network")
    return _copies(value, count) if isinstance(value, optimizers.Optimizer) else [value] * count


def _copies(optimizer: optimizers.Optimizer, count: int) -> list[optimizers.Optimizer]:
    """One that has not begun, for each."""
    if optimizer.steps or vars(optimizer).get("state"):
        raise ValueError(
            f"optimizer: expected a new one for all networks, got {optimizer!r} after {optimizer.steps} steps: give a "
            "list with one for each network"
        )
    return [copy.deepcopy(optimizer) for _ in range(count)]


def _expect_apart(name: str, values: Sequence[Any]) -> None:
    """Refuse what two fits would change at once: the same optimizer, the same callback of a kind that remembers."""
    places: dict[int, int] = {}
    for i, value in enumerate(values):
        for one in value if name == "callbacks" else [value]:
            remembers = isinstance(one, (optimizers.Optimizer, callbacks.Callback)) and bool(vars(one))
            if remembers and places.setdefault(id(one), i) != i:
                first = places[id(one)]
                raise ValueError(f"{name}: expected another for each network, got {one!r} for {first} and for {i}")
