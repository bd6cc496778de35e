"""The loop over the epochs of a fit.

Whole runs of epochs are one call of the compiled core; Python is met only where something wants to see an epoch: a
callback, a metric, validation.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ..errors import DivergedError
from ..optimizers import FullBatch
from . import steps

if TYPE_CHECKING:
    from .history import History
    from .run import Run

__all__ = ["fit"]


def fit(run: Run) -> History:
    """Train a network; see `Sequential.fit`."""
    begun: list[Any] = []
    try:
        for callback in run.settings.callbacks:
            steps.call(callback, "on_fit_begin", run)
            begun.append(callback)
        while run.epoch < run.epochs and not run.stop:
            _go_on(run)
            for callback in begun:
                steps.call(callback, "on_epoch_end", run)
            if run.shards is not None:
                run.shards.follow(run)
            if isinstance(run.optimizer, FullBatch) and run.optimizer.over(run):
                run.stop = True
    except DivergedError as error:
        run.error = error
        if run.raises:
            raise
    finally:
        with ExitStack() as ends:  # each that has begun, in their order, whatever the others do
            for callback in reversed(begun):
                ends.callback(steps.call, callback, "on_fit_end", run)
    return run.history


def _go_on(run: Run) -> None:
    """Train for an epoch; or for many, where nobody looks at each and they can be done at once."""
    losses, outputs = steps.epochs(run, _unseen(run))
    run.history.extend({"loss": steps.means(run, losses)})
    if isinstance(run.optimizer, FullBatch):
        run.history.extend(run.optimizer.reported)
    run.history.extend(_look(run, outputs))
    run.epoch += len(losses)


def _unseen(run: Run) -> int:
    """How many epochs may pass before anybody has to see one."""
    settings = run.settings
    if settings.metrics or settings.validation is not None:
        return 1
    asked = [getattr(callback, "epochs_unseen", None) for callback in settings.callbacks]
    return min([run.epochs - run.epoch, *(1 if ask is None else max(1, ask(run)) for ask in asked)])


def _look(run: Run, outputs: steps.Outputs) -> dict[str, list[float]]:
    """The metrics of an epoch, and the loss and the metrics of the validation data."""
    settings = run.settings
    numbers = {}
    if outputs is not None:
        found = settings.objective.measure(settings.metrics, *outputs, settings.meaning)
        numbers = {name: [float(value)] for name, value in found.items()}
    score = run.evaluate()
    if score is not None:
        numbers |= {f"val_{name}": [float(value)] for name, value in score.items()}
    return numbers
