"""Training: the loop over epochs, for a network that is given.

Whole runs of epochs are one call of the compiled core; Python is met only where something wants to see an epoch: a
callback, a metric, validation. A loss that is not one of ours is called batch by batch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import _core, _threads, _validate
from .errors import DivergedError

__all__ = ["Data", "History", "fit"]

Array = _validate.Array

#: Batches that one call of the core trains on at most: their rates and losses are held in memory.
AT_ONCE = 1_000_000


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
        last = ", ".join(f"{name}={values[-1]:.6g}" for name, values in self.items())
        return f"<History of {epochs} epochs{': ' + last if last else ''}>"


@dataclass(frozen=True, slots=True)
class Data:
    """Rows that have passed the gate: inputs, targets or labels, weights; and y as it came, for the metrics."""

    x: Array
    target: Array | None
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


@dataclass
class Run:
    """A fit under way: what callbacks see."""

    network: Any
    optimizer: Any
    epochs: int
    history: History = field(default_factory=History)
    epoch: int = 0
    stop: bool = False


@dataclass(frozen=True)
class Settings:
    """How to train: everything a fit was asked for that does not change while it runs."""

    loss: Any
    optimizer: Any
    batch_size: int
    shuffle: bool
    seed: int
    metrics: Mapping[str, Callable[[Any, Any], float]]
    validation: Data | None
    callbacks: Sequence[Any]
    threads: int | None


def fit(net: Any, data: Data, settings: Settings, epochs: int) -> History:
    """Train a network; see `Sequential.fit`."""
    run = Run(net, settings.optimizer, epochs)
    at_once = max(1, AT_ONCE * settings.batch_size // len(data))
    try:
        _call(settings.callbacks, "on_fit_begin", run)
        while run.epoch < epochs and not run.stop:
            compiled = net.compiles(settings.loss)
            count = min(_unseen(settings, run), at_once) if compiled else 1
            outputs = np.empty((len(data), net.n_out), net.dtype) if settings.metrics else None
            train = _compiled if compiled else _by_hand
            train = _in_full if hasattr(settings.optimizer, "minimize") else train
            losses = train(net, data, settings, count, outputs, run.epoch)
            run.history.extend({"loss": losses})
            run.history.extend(_look(net, data, settings, outputs))
            run.epoch += count
            _call(settings.callbacks, "on_epoch_end", run)
    finally:
        _call(settings.callbacks, "on_fit_end", run)
    return run.history


def _unseen(settings: Settings, run: Run) -> int:
    """How many epochs may pass before anybody has to see one."""
    if settings.metrics or settings.validation is not None:
        return 1
    asked = [getattr(callback, "epochs_unseen", None) for callback in settings.callbacks]
    return min([run.epochs - run.epoch, *(1 if ask is None else max(1, ask(run)) for ask in asked)])


def _call(callbacks: Sequence[Any], hook: str, run: Run) -> None:
    for callback in callbacks:
        method = getattr(callback, hook, None)
        if method is not None:
            method(run)


def _look(net: Any, data: Data, settings: Settings, outputs: Array | None) -> dict[str, list[float]]:
    """The metrics of an epoch, and the loss and the metrics of the validation data."""
    answers = None if outputs is None else net.answers(outputs, settings.loss)
    numbers = {name: [float(metric(answers, data.y))] for name, metric in settings.metrics.items()}
    if settings.validation is not None:
        score = net.score(settings.validation, settings.loss, settings.metrics, settings.threads)
        numbers |= {f"val_{name}": [float(value)] for name, value in score.items()}
    return numbers


def _compiled(net: Any, data: Data, settings: Settings, epochs: int, outputs: Array | None, done: int) -> Array:
    """Some epochs in one call; their losses."""
    optimizer, losses = settings.optimizer, np.zeros(epochs)
    state = optimizer.bind(net)
    batches = -(-len(data) // settings.batch_size)
    work = net.plan.work * min(settings.batch_size, len(data))
    with _threads.take(settings.threads, work, _threads.WORTH_MEETING) as threads:
        training = _core.Training(
            net.plan, data.x, data.target, data.labels, data.weights,
            **net.objective(settings.loss), update=optimizer.lower(), state=state, ranges=net.trainable_ranges,
            update_step=optimizer.steps, rates=optimizer.rates(batches * epochs), batch_size=settings.batch_size,
            losses=losses, outputs=outputs, shuffle=settings.shuffle, seed=settings.seed, first_epoch=net.epochs,
            first_step=net.steps, threads=threads,
        )  # fmt: skip
        try:
            finite = training.run()
        finally:
            optimizer.steps += training.steps
            net.steps += training.steps
            net.epochs += training.steps // batches
    if not finite:
        epoch, batch = divmod(training.steps, batches)
        raise _diverged(done + epoch, batch, optimizer)
    return losses


def _by_hand(net: Any, data: Data, settings: Settings, epochs: int, outputs: Array | None, done: int) -> list[float]:
    """One epoch under a loss that is any callable: the four lines, batch by batch; its loss."""
    order = np.arange(len(data))
    if settings.shuffle:
        _core.permutation(settings.seed, net.epochs, order)
    total = weight = 0.0
    for batch, start in enumerate(range(0, len(data), settings.batch_size)):
        rows = order[start : start + settings.batch_size]
        part = data.rows(rows)
        y_hat = np.empty((len(rows), net.n_out), net.dtype)
        net.engine.forward(part.x, y_hat, settings.seed, net.steps)
        if outputs is not None:
            outputs[rows] = y_hat
        value, dy = net.call(settings.loss, y_hat, part) if np.isfinite(y_hat).all() else (np.nan, None)
        value += net.penalty()
        if not np.isfinite(value):
            raise _diverged(done, batch, settings.optimizer)
        net.backward(dy)
        try:
            settings.optimizer.step(net)
        except DivergedError:
            raise _diverged(done, batch, settings.optimizer) from None
        net.steps += 1
        counts_for = len(rows) if part.weights is None else part.weights.sum()
        total += value * counts_for
        weight += counts_for
    net.epochs += 1
    return [total / weight]


def _in_full(net: Any, data: Data, settings: Settings, epochs: int, outputs: Array | None, done: int) -> list[float]:
    """Iterations of an optimizer that asks for all rows as often as it likes; the losses before them."""
    optimizer, before = settings.optimizer, settings.optimizer.steps
    if outputs is not None:
        net.engine.predict(data.x, outputs)

    def evaluate() -> tuple[float, Array]:
        found: tuple[float, Array] = net.slope(data, settings.loss, settings.seed, settings.threads)
        return found

    try:
        losses: list[float] = optimizer.minimize(net, evaluate, epochs)
    except DivergedError:
        raise _diverged(done, 0, optimizer) from None
    finally:
        net.epochs += optimizer.steps - before
    return losses


def _diverged(epoch: int, batch: int, optimizer: Any) -> DivergedError:
    return DivergedError(
        f"the loss stopped being finite in epoch {epoch}, batch {batch} (counted from 0); the network keeps its last "
        f"finite weights: lower the learning rate of {optimizer!r}, or scale the inputs",
        epoch=epoch, batch=batch,
    )  # fmt: skip
