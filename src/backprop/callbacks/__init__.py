"""Callbacks: what happens between the epochs of a fit, or between its batches.

A callback is an object with any of the methods ``on_...`` of `Callback`, each of which is given the run: its network,
optimizer, history, and how far it is. Setting ``run.stop = True`` ends the fit after this epoch.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from .. import _validate
from .base import HOOKS as HOOKS
from .base import Callback
from .base import Run as Run
from .base import wants_batches as wants_batches
from .checkpoint import Checkpoint
from .finder import LearningRateFinder
from .logging import Counter as Counter
from .logging import CSVLogger, Progress
from .logging import log as log
from .logging import table as table
from .snapshots import Snapshots
from .stopping import EarlyStopping, ReduceOnPlateau, TerminateOnNaN

__all__ = [
    "CSVLogger", "Callback", "Checkpoint", "EarlyStopping", "LearningRateFinder", "Progress", "ReduceOnPlateau",
    "Snapshots", "TerminateOnNaN",
]  # fmt: skip

#: Those whose state a checkpoint keeps under the name of the class alone.
REMEMBERING = {kind.__name__: kind for kind in (Checkpoint, EarlyStopping, ReduceOnPlateau)}


def chosen(given: Any, progress: Any = False, logs: bool = True) -> list[Any]:
    """The callbacks of a fit, from what it was given, in the order in which they are called."""
    found = _validate.items(given, "callbacks")
    for callback in found:
        if isinstance(callback, type) or not any(callable(getattr(callback, hook, None)) for hook in HOOKS):
            got = _validate.shown(callback)
            raise TypeError(f"callbacks: expected objects with any of {', '.join(HOOKS)}, got {got}")
    found.sort(key=lambda callback: isinstance(callback, Checkpoint))  # it keeps what the others remember
    return found + [Progress()] * _validate.flag(progress, "progress") + (log() if logs else [])


def for_each(given: Any, count: int, whom: str, cure: str) -> list[list[Any]]:
    """One list of callbacks, as so many fits at once have it: what remembers something is another in each."""
    found = chosen(given, logs=False)
    for callback in found:
        copied = type(callback).__module__.startswith(f"{__name__}.") and not hasattr(callback, "path")
        if not copied and getattr(callback, "__dict__", {}):
            raise ValueError(
                f"callbacks: expected for all {whom} those that can be copied, such as EarlyStopping, got "
                f"{_validate.shown(callback)}: {cure}"
            )
    return [copy.deepcopy(found) for _ in range(count)]


def check_state(
    kind: str, state: Mapping[str, Any], epoch: int, check_weights: Callable[[dict[str, Any]], None]
) -> None:
    """Refuse what a callback of this name cannot remember, if it is one of these; see `Monitoring.check_state`."""
    if kind in REMEMBERING:
        REMEMBERING[kind].check_state(state, epoch, check_weights)
