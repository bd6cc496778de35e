"""What all callbacks have, and what they see of a fit."""

import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from .. import _validate
from .._described import Described

__all__ = ["HOOKS", "Callback", "Run", "adjustable_rate", "as_path", "wants_batches"]


class Run(Protocol):
    """What a callback sees of a fit."""

    network: Any
    optimizer: Any
    #: For each name a list, with a value for each epoch done.
    history: Mapping[str, Sequence[float]]
    #: The names that the history has after an epoch.
    names: Sequence[str]
    #: Epochs done, and to do altogether. At the beginning of a fit that resumes another, some are done.
    epoch: int
    epochs: int
    #: The last batch of this epoch, counted from 0, and its loss; kept where a callback has a hook for batches.
    batch: int
    loss: float
    #: Set it, and this epoch was the last.
    stop: bool
    #: Whether a loss that diverges raises `DivergedError`, or just ends the fit; and that error.
    raises: bool
    error: Exception | None

    def save(self, path: Any) -> None:
        """Write a checkpoint."""

    def check_save(self) -> None:
        """Refuse, before anything is trained, what no checkpoint can hold."""

    def trial(self, rates: Iterable[float]) -> Generator[float]:
        """The losses of the next batches, with a step at each learning rate; then network and optimizer are reset."""
        ...


class Callback(Described, family="Callback"):
    """Base class: subclass it and override what is wanted.

    A callback keeps its state from epoch to epoch in a dictionary ``state`` of numbers, strings and arrays, which its
    constructor creates. Checkpoints save it; where a fit resumes from one, it has been restored before `on_fit_begin`,
    and ``run.epoch`` is above 0 there.
    """

    def on_fit_begin(self, run: Run) -> None:
        """Called before the first epoch."""

    def on_gradients(self, run: Run) -> None:
        """Called for each batch, between its gradients and the step of the optimizer.

        It may change ``run.network.gradients`` in place: the step is made of what is in them then. ``run.loss`` is the
        loss of the batch, ``run.batch`` its number in the epoch. A fit with this hook or the next trains batch by
        batch instead of in one call of the core; a full-batch optimizer, such as `LBFGS`, has neither.
        """

    def on_batch_end(self, run: Run) -> None:
        """Called after each step of the optimizer."""

    def on_epoch_end(self, run: Run) -> None:
        """Called after each epoch, when its losses and metrics are in ``run.history``."""

    def on_fit_end(self, run: Run) -> None:
        """Called after the last epoch, also when the fit was stopped or failed."""

    def epochs_unseen(self, run: Run) -> int:
        """How many of the next epochs may be trained in one call of the core before `on_epoch_end` is called."""
        return 1


#: The methods of a callback, of which it has at least one.
HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


def wants_batches(callbacks: Iterable[Any]) -> bool:
    """Whether one of these has a hook for batches: overrides it, or, where it is no `Callback`, just has it."""
    return any(_brings(callback, hook) for callback in callbacks for hook in ("on_gradients", "on_batch_end"))


def _brings(callback: Any, hook: str) -> bool:
    method = getattr(callback, hook, None)
    return method is not None and getattr(method, "__func__", None) is not getattr(Callback, hook)


def as_path(value: Any, name: str) -> str:
    """The path of a file, as text."""
    return os.fsdecode(value)


class Adjustable(Protocol):
    """What a callback that changes the learning rate asks of an optimizer."""

    learning_rate: Any
    #: Whether a step is the longer, the larger the learning rate is.
    follows_learning_rate: ClassVar[bool]


def adjustable_rate(callback: Callback, optimizer: Adjustable) -> Any:
    """The learning rate of an optimizer; one whose steps do not follow it is refused."""
    if "learning_rate" not in vars(optimizer) or not optimizer.follows_learning_rate:
        raise TypeError(
            f"{type(callback).__name__}: expected an optimizer whose steps grow with its learning rate, "
            f"such as Adam(1e-3), got {_validate.shown(optimizer)}, which chooses its step sizes itself"
        )
    return optimizer.learning_rate
