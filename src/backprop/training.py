"""Training: the loop over epochs, for a network that is given.

Whole runs of epochs are one call of the compiled core; Python is met only where something wants to see an epoch: a
callback, a metric, validation. Rows that are not converted yet, and batches that come one by one, are given to the core
some at a time. A loss, or a layer, that is not one of ours is called batch by batch.
"""

import copy
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import _core, _threads, _validate, callbacks, checkpoints, files, plots
from .errors import DivergedError
from .optimizers import FullBatch

__all__ = ["Batches", "Data", "History", "Lazy", "Run", "Settings", "fit"]

Array = _validate.Array

#: Batches that one call of the core trains on at most: their rates and losses are held in memory.
AT_ONCE = 1_000_000
#: Bytes that rows of another type or layout take at most if they are converted as a whole;
LARGE = 1 << 26
#: else so many bytes of them are converted at a time.
PIECE = 1 << 24


class History(Mapping[str, list[float]]):
    """What a fit came to: lists with one number for each epoch.

    ``history["loss"]`` is the mean over the epoch (or the sum, where the loss is reduced by one), while the weights
    changed; each metric stands under its name; ``val_`` before a name means on the validation data, at the epoch's end.
    """

    def __init__(self) -> None:
        self._parts: dict[str, list[Any]] = {}

    def extend(self, numbers: Mapping[str, Sequence[float] | Array]) -> None:
        """Add some epochs."""
        for name, values in numbers.items():
            self._parts.setdefault(name, [[]]).append(values)

    def to_csv(self, path: Any) -> None:
        """Write it as a table: a column "epoch", counted from 1, and one for each name.

        Parameters
        ----------
        path : str or path-like
            An existing file is replaced only once the new one is safe on the disk.
        """
        files.write(path, callbacks.table(self).encode())

    def plot(self, ax: Any = None) -> Any:
        """Draw its curves. Needs matplotlib, ``pip install "backprop-nn[plot]"``.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw the loss. Default: a new figure, with the loss and a panel for each metric.

        Returns
        -------
        matplotlib.figure.Figure
            The one drawn in; ``savefig`` makes a file of it.
        """
        return plots.curves(self, ax)

    def __getitem__(self, name: str) -> list[float]:
        whole: list[float]
        whole, *parts = self._parts[name]
        for part in parts:  # made numbers of Python's only now: 10,000 take longer than some networks do to train
            whole.extend(part.tolist() if isinstance(part, np.ndarray) else part)
        del self._parts[name][1:]
        return whole

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        epochs = max(map(len, self.values()), default=0)
        last = ", ".join(f"{name}={float(values[-1])!r}" for name, values in self.items())
        return f"<History of {epochs} epochs{': ' + last if last else ''}>"


# What there is to train on.


@dataclass(eq=False, repr=False, slots=True)
class Lazy:
    """Many rows of another type or layout, converted where they are taken; a slice of them waits as they do."""

    given: Array
    #: Some of the rows, of which the first is called so in messages, as the network takes them.
    convert: Callable[[Array, int], Array]
    #: How many to convert at a time.
    step: int

    @property
    def shape(self) -> tuple[int, ...]:
        """That of all rows."""
        return self.given.shape

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, rows: Any) -> Any:
        return replace(self, given=self.given[rows]) if isinstance(rows, slice) else self.convert(self.given[rows], 0)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self.convert(self.given, 0)


def lazy(given: Array, convert: Callable[[Array, int], Array], dtype: np.dtype[Any]) -> Lazy | None:
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
        yield some, rows.convert(rows.given[some], start)


@dataclass(eq=False, repr=False, slots=True)
class Data:
    """Rows that have passed the gate: inputs, targets or labels, weights; and y as it came, for the metrics."""

    #: An array, or `Lazy`; so is the target.
    x: Any
    target: Any
    labels: Array | None
    weights: Array | None
    y: Any

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, which: Any) -> "Data":
        """Some of the rows."""
        target, labels, weights = (
            None if part is None else part[which] for part in (self.target, self.labels, self.weights)
        )
        return Data(self.x[which], target, labels, weights, self.y[which])

    def converted(self) -> "Data":
        """All rows as arrays."""
        return replace(self, x=np.asarray(self.x), target=None if self.target is None else np.asarray(self.target))

    @property
    def weight(self) -> float:
        """What they count for together."""
        return len(self) if self.weights is None else float(self.weights.sum())

    @property
    def ready(self) -> bool:
        """Whether the core can take them as they are."""
        return not isinstance(self.x, Lazy) and not isinstance(self.target, Lazy)


@dataclass(eq=False, repr=False, slots=True)
class Batches:
    """Batches that come one by one, from what is gone through once an epoch, and pass the gate as they come."""

    given: Iterable[Any]
    gate: Callable[[Any], Data]

    def __iter__(self) -> Iterator[Data]:
        count = 0
        for batch in self.given:
            with _validate.within(f"batch {count}"):
                data = self.gate(batch)
            yield data
            count += 1
        if not count:
            raise ValueError("x: expected at least one batch, got none: an iterator gives its batches only once")


# A fit.


@dataclass(eq=False, repr=False)
class Settings:
    """How to train: everything a fit was asked for that does not change while it runs."""

    loss: Any
    optimizer: Any
    batch_size: int
    shuffle: bool
    metrics: Mapping[str, Callable[[Any, Any], float]]
    #: What the targets are to these; None: batches will tell.
    meaning: Any
    validation: Data | None
    callbacks: Sequence[Any]
    threads: int | None

    @property
    def averages(self) -> bool:
        """Whether the loss of some rows is their mean, not their sum."""
        return bool(self.loss.reduction == "mean")


@dataclass(eq=False, repr=False)
class Run:
    """A fit under way: what callbacks see."""

    network: Any
    data: Data | Batches
    settings: Settings
    epochs: int
    seed: int
    history: History = field(default_factory=History)
    epoch: int = 0
    stop: bool = False
    raises: bool = True
    error: DivergedError | None = None

    @property
    def optimizer(self) -> Any:
        """What makes the steps."""
        return self.settings.optimizer

    @property
    def compiled(self) -> bool:
        """Whether the core does all of a step."""
        return bool(self.optimizer.compiled and self.network.compiles(self.settings.loss))

    @property
    def names(self) -> list[str]:
        """What the history has, or will have."""
        names = ["loss", *self.settings.metrics]
        return names + [f"val_{name}" for name in names if self.settings.validation is not None]

    def save(self, path: Any) -> None:
        """Write a checkpoint: the network, and all that `backprop.resume` needs to go on from here."""
        files.write(path, self.network.to_bytes(*checkpoints.of(self).pack()))

    def check_save(self) -> None:
        """Refuse what no checkpoint can hold, such as a layer of one's own."""
        checkpoints.of(self)
        self.network.to_bytes()

    def trial(self, rates: Iterable[float]) -> Generator[float]:
        """The losses of the coming batches, one trained on at each learning rate; afterwards all is as it was."""
        net, optimizer = self.network, self.optimizer
        counters = net.steps, net.epochs, optimizer.steps, optimizer.learning_rate
        arrays = [*net.arrays().values(), net.gradients, *optimizer.state.values()]
        kept = [array.copy() for array in arrays]
        own, owner = None if optimizer.compiled else copy.deepcopy(optimizer), optimizer._owner
        try:
            for rate, batch in zip(rates, self._batches(), strict=False):
                optimizer.learning_rate, losses = rate, np.zeros((1, 2))
                if not _train(self, batch, losses):
                    return
                yield float(_means(self, losses)[0])
        finally:
            if own is not None:
                vars(optimizer).clear()
                vars(optimizer).update(vars(own), _owner=owner)
            net.steps, net.epochs, optimizer.steps, optimizer.learning_rate = counters
            for array, values in zip(arrays, kept, strict=True):
                array[...] = values

    def _batches(self) -> Iterator[Data]:
        """Those of the coming epochs, one after the other, that count for anything."""
        while True:
            weight = 0.0
            for _, batch in _parts(self, self.settings.batch_size):
                weight += batch.weight
                if batch.weight:
                    yield batch
            _some_weight(weight)
            self.network.epochs += 1


def fit(run: Run) -> History:
    """Train a network; see `Sequential.fit`."""
    begun: list[Any] = []
    try:
        for callback in run.settings.callbacks:
            _call(callback, "on_fit_begin", run)
            begun.append(callback)
        while run.epoch < run.epochs and not run.stop:
            _go_on(run)
            for callback in begun:
                _call(callback, "on_epoch_end", run)
    except DivergedError as error:
        run.error = error
        if run.raises:
            raise
    finally:
        with ExitStack() as ends:  # each that has begun, in their order, whatever the others do
            for callback in reversed(begun):
                ends.callback(_call, callback, "on_fit_end", run)
    return run.history


def _call(callback: Any, hook: str, run: Run) -> None:
    method = getattr(callback, hook, None)
    if method is not None:
        method(run)


def _go_on(run: Run) -> None:
    """Train for an epoch; or for many, where nobody looks at each and they can be done at once."""
    settings, count = run.settings, _unseen(run)
    if isinstance(run.optimizer, FullBatch):
        losses, answers = _in_full(run, count)
    elif run.compiled and isinstance(run.data, Data) and run.data.ready:
        count = min(count, max(1, AT_ONCE * settings.batch_size // len(run.data)))
        losses, answers = _together(run, run.data, count)
    else:
        losses, answers = _in_parts(run)
        count = 1
    run.history.extend({"loss": _means(run, losses)})
    run.history.extend(_look(run, answers))
    run.epoch += count


def _unseen(run: Run) -> int:
    """How many epochs may pass before anybody has to see one."""
    settings = run.settings
    if settings.metrics or settings.validation is not None:
        return 1
    asked = [getattr(callback, "epochs_unseen", None) for callback in settings.callbacks]
    return min([run.epochs - run.epoch, *(1 if ask is None else max(1, ask(run)) for ask in asked)])


def _means(run: Run, losses: Array) -> Array:
    """The loss of each epoch, from the sums of its losses and of its weights."""
    values: Array = losses[:, 0]
    if run.settings.averages:
        values /= losses[:, 1]
    return values


def _look(run: Run, answers: tuple[Array, Any] | None) -> dict[str, list[float]]:
    """The metrics of an epoch, and the loss and the metrics of the validation data."""
    net, settings, numbers = run.network, run.settings, {}
    if answers is not None:
        measured = net.measure(*answers, settings.loss, settings.metrics, settings.meaning)
        numbers = {name: [float(value)] for name, value in measured.items()}
    if settings.validation is not None:
        score = net.score(settings.validation, settings.loss, settings.metrics, settings.meaning, settings.threads)
        numbers |= {f"val_{name}": [float(value)] for name, value in score.items()}
    return numbers


# An epoch: its losses as sums (epochs, 2) of losses and weights; for the metrics, the network's answers beside y.


def _together(run: Run, data: Data, epochs: int) -> tuple[Array, tuple[Array, Any] | None]:
    """Some epochs in one call of the core."""
    net, settings, losses = run.network, run.settings, np.zeros((epochs, 2))
    outputs = np.empty((len(data), net.n_out), net.dtype) if settings.metrics else None
    begun, batches = net.steps, -(-len(data) // settings.batch_size)
    try:
        finite = _compiled(run, data, losses, outputs, settings.batch_size, settings.shuffle)
    except BaseException:  # Ctrl-C: what is done counts
        done = (net.steps - begun) // batches
        run.history.extend({"loss": _means(run, losses[:done])})
        run.epoch += done
        raise
    finally:
        net.epochs += (net.steps - begun) // batches
    if not finite:
        epoch, batch = divmod(net.steps - begun, batches)
        raise _diverged(run.epoch + epoch, batch, settings.optimizer)
    return losses, None if outputs is None else (outputs, data.y)


def _in_full(run: Run, count: int) -> tuple[Array, tuple[Array, Any] | None]:
    """Some iterations of an optimizer that asks for all rows as often as it likes; the losses before them."""
    net, settings, optimizer = run.network, run.settings, run.optimizer
    begun = optimizer.steps
    if not isinstance(run.data, Data):
        raise TypeError(f"x: expected all rows at once with {optimizer!r}, got batches")
    data = run.data if run.data.ready else run.data.converted()
    outputs = np.empty((len(data), net.n_out), net.dtype) if settings.metrics else None
    if outputs is not None:
        net.update_statistics(data.x, threads=settings.threads)  # before the first, they may be of anything
        net.predict(data.x, threads=settings.threads, out=outputs)

    def evaluate() -> tuple[float, Array]:
        found: tuple[float, Array] = net.slope(data, settings.loss, run.seed, settings.threads)
        return found

    try:
        losses = optimizer.minimize(net, evaluate, count)
    except DivergedError:
        raise _diverged(run.epoch, 0, optimizer) from None
    finally:
        net.epochs += optimizer.steps - begun
    return np.array([[loss, 1.0] for loss in losses]), None if outputs is None else (outputs, data.y)


def _in_parts(run: Run) -> tuple[Array, tuple[Array, Any] | None]:
    """One epoch, some rows at a time."""
    net, settings, losses = run.network, run.settings, np.zeros((1, 2))
    begun, size, seen, most = net.steps, settings.batch_size, [], 0
    if run.compiled:  # as many whole batches as fit
        size *= max(1, PIECE // (size * net.n_in * net.dtype.itemsize))
    for rows, part in _parts(run, size):
        outputs = np.empty((len(part), net.n_out), net.dtype) if settings.metrics else None
        if not _train(run, part, losses, outputs):
            raise _diverged(run.epoch, net.steps - begun, settings.optimizer)
        if outputs is not None:
            seen.append((rows, outputs, part.y))
        most = max(most, len(part))
    _some_weight(losses[0, 1])
    net.check_batch(most)
    net.epochs += 1
    return losses, _gathered(run.data, seen) if seen else None


def _some_weight(weight: float) -> None:
    """Refuse batches of which none counts for anything, as rows are refused of which none does."""
    if not weight > 0:
        raise ValueError("sample_weight: expected a positive weight in some batch, got only zeros")


def _gathered(data: Data | Batches, seen: list[tuple[Any, Array, Any]]) -> tuple[Array, Any]:
    """The answers to all rows, each in its place, beside y."""
    places, parts, y = zip(*seen, strict=True)
    answers = np.concatenate(parts)
    if isinstance(data, Batches):
        if any(part.ndim != y[0].ndim for part in y):  # columns beside rows of one
            y = tuple(part.reshape(len(part), -1) for part in y)
        return answers, np.concatenate(y)
    in_place = np.empty_like(answers)
    in_place[np.concatenate(places)] = answers
    return in_place, data.y


def _parts(run: Run, size: int) -> Iterator[tuple[Any, Data]]:
    """The coming epoch, so many rows at a time, and where they come from; or the batches, as they come."""
    if isinstance(run.data, Batches):
        for batch in run.data:
            yield None, batch
        return
    order = np.arange(len(run.data))
    if run.settings.shuffle:
        _core.permutation(run.seed, run.network.epochs, order)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        yield rows, run.data.rows(rows)


# Some rows: add to the losses of the epoch, and say whether all stayed finite.


def _train(run: Run, part: Data, losses: Array, outputs: Array | None = None) -> bool:
    """Train on them in their order."""
    if not run.compiled:
        return _by_hand(run, part, losses, outputs)
    size = len(part) if isinstance(run.data, Batches) else run.settings.batch_size
    return _compiled(run, part, losses, outputs, size, shuffle=False)


def _compiled(run: Run, data: Data, losses: Array, outputs: Array | None, batch_size: int, shuffle: bool) -> bool:
    """In one call of the core, which goes through them once for each row of `losses`."""
    net, settings, optimizer = run.network, run.settings, run.optimizer
    rule = optimizer.rule(net)
    batches = -(-len(data) // batch_size) * len(losses)
    work = net.engine.work * min(batch_size, len(data))
    with _threads.take(settings.threads, work, _threads.WORTH_MEETING) as threads:
        training = _core.Training(
            net.plan, data.x, data.target, data.labels, data.weights,
            **net.objective(settings.loss), update=rule.update, state=rule.state, ranges=rule.ranges,
            update_step=rule.steps, rates=optimizer.rates(batches), batch_size=batch_size, losses=losses,
            outputs=outputs, shuffle=shuffle, seed=run.seed, first_epoch=net.epochs, first_step=net.steps,
            threads=threads,
        )  # fmt: skip
        try:
            return training.run()
        finally:
            optimizer.steps += training.steps
            net.steps += training.steps


def _by_hand(run: Run, batch: Data, losses: Array, outputs: Array | None) -> bool:
    """As one batch, with a layer, a loss or an optimizer of one's own: the four lines."""
    net, begun = run.network, run.network.steps
    statistics = net.buffers.copy()
    try:
        value = net.backpropagate(batch, run.settings.loss, run.seed, outputs)
        if not np.isfinite(value) or not _step(run.optimizer, net):
            return False
        net.steps += 1
    finally:
        if net.steps == begun:  # they follow whole steps only
            net.buffers[...] = statistics
    losses[0] += value * batch.weight if run.settings.averages else value, batch.weight
    return True


def _step(optimizer: Any, net: Any) -> bool:
    """A step, after which what is frozen is as it was, and all is finite; one of one's own is held to that."""
    before = None if optimizer.compiled else net.parameters.copy()
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # it is looked for
            optimizer.step(net)
    except DivergedError:
        return False
    if before is None:
        return True
    frozen = np.ones(len(before), bool)
    for begin, end in net.trainable_ranges:
        frozen[begin:end] = False
    net.parameters[frozen] = before[frozen]
    if not np.isfinite(net.parameters).all():
        net.parameters[...] = before
        return False
    return True


def _diverged(epoch: int, batch: int, optimizer: Any) -> DivergedError:
    return DivergedError(
        f"the loss stopped being finite in epoch {epoch}, batch {batch} (counted from 0); the network keeps its last "
        f"finite weights: lower the learning rate of {optimizer!r}, or scale the inputs",
        epoch=epoch, batch=batch,
    )  # fmt: skip
