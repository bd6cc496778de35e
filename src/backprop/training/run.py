"""A fit under way: what it was asked for, and how far it is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import io as files
from ..errors import DivergedError
from ..program.data import Batches, Data
from ..program.engine import Engine
from ..program.objective import Objective
from . import evaluation, steps
from .history import History

__all__ = ["Run", "Settings"]


@dataclass(eq=False, repr=False)
class Settings:
    """How to train: everything a fit was asked for that does not change while it runs."""

    objective: Objective
    optimizer: Any
    batch_size: int
    shuffle: bool
    metrics: Mapping[str, Callable[[Any, Any], float]]
    #: What the targets are to these; None: batches will tell.
    meaning: Any
    validation: Data | None
    callbacks: Sequence[Any]
    threads: int | None


@dataclass(eq=False, repr=False)
class Run:
    """A fit under way: what callbacks see."""

    network: Any
    engine: Engine
    data: Data | Batches
    settings: Settings
    epochs: int
    seed: int
    history: History = field(default_factory=History)
    epoch: int = 0
    #: Of the step under way: its place in the epoch, from 0, and its loss. They are kept where a callback sees steps.
    batch: int = 0
    loss: float = 0.0
    stop: bool = False
    raises: bool = True
    error: DivergedError | None = None
    #: Where batches are cut into shards: those of this process.
    shards: Any = None

    @property
    def optimizer(self) -> Any:
        """What makes the steps."""
        return self.settings.optimizer

    @property
    def rows(self) -> int | None:
        """How many there are, in all processes; None: batches come one by one."""
        data: Any = self.data if self.shards is None else self.shards
        return len(data) if hasattr(data, "__len__") else None

    @property
    def names(self) -> list[str]:
        """What the history has, or will have."""
        names = ["loss", *self.settings.metrics]
        names += [f"val_{name}" for name in names if self.settings.validation is not None]
        return [*names, *getattr(self.optimizer, "reports", ())]

    def evaluate(self) -> dict[str, float] | None:
        """The loss and the metrics of the validation data, where there are any."""
        settings = self.settings
        if self.shards is not None:
            found: dict[str, float] | None = self.shards.evaluate(self)
            return found
        if settings.validation is None:
            return None
        return evaluation.evaluate(
            self.network, settings.validation, settings.objective, settings.metrics, settings.meaning, settings.threads
        )

    def gather(self) -> None:
        """Have rows that were chosen by their indices as arrays, unless they are many."""
        if isinstance(self.data, Data):
            self.data = self.data.gathered()
        if self.settings.validation is not None:
            self.settings.validation = self.settings.validation.gathered()

    def save(self, path: Any) -> None:
        """Write a checkpoint: the network, and all that `backprop.resume` needs to go on from here."""
        files.atomic.write(path, self.network.to_bytes(*files.checkpoint.of(self).pack()))

    def check_save(self) -> None:
        """Refuse what no checkpoint can hold, such as a custom layer."""
        files.checkpoint.of(self)
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
                if not steps.train(self, batch, losses):
                    return
                yield float(steps.means(self, losses)[0])
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
            for _, batch in steps.parts(self, self.settings.batch_size):
                weight += batch.weight
                if batch.weight:
                    yield batch
            steps.some_weight(weight)
            self.network.epochs += 1
