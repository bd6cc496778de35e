"""Callbacks: what happens between the epochs of a fit.

A callback is an object with any of the three methods of `Callback`, each of which is given the run: its network,
optimizer, history, and how far it is. Setting ``run.stop = True`` ends the fit after this epoch.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

__all__ = ["Callback", "Progress"]


class Run(Protocol):
    """What a callback sees of a fit."""

    network: Any
    optimizer: Any
    #: One list for each name, one number for each epoch done.
    history: Mapping[str, Sequence[float]]
    #: Epochs done, and wanted.
    epoch: int
    epochs: int
    #: Set it, and this epoch was the last.
    stop: bool


class Callback:
    """Base class: subclass it and override what is wanted."""

    def on_fit_begin(self, run: Run) -> None:
        """Called before the first epoch."""

    def on_epoch_end(self, run: Run) -> None:
        """Called after each epoch, when its numbers are in ``run.history``."""

    def on_fit_end(self, run: Run) -> None:
        """Called after the last epoch, also when the fit was stopped or failed."""

    def epochs_unseen(self, run: Run) -> int:
        """How many of the coming epochs may pass in one call of the core before `on_epoch_end` has to see them."""
        return 1


#: The methods of a callback, of which it has at least one.
HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


class Progress(Callback):
    """Show how far a fit is: a bar where tqdm is installed, else a line an epoch, never more than one a second."""

    def on_fit_begin(self, run: Run) -> None:
        """Start the bar, or the clock."""
        self._said, self._when, self._bar = 0, time.monotonic(), None
        try:
            from tqdm import tqdm
        except ImportError:
            return
        self._bar = tqdm(total=run.epochs, unit="epoch", file=sys.stderr)

    def on_epoch_end(self, run: Run) -> None:
        """Move on."""
        if self._bar is not None:
            self._bar.set_postfix_str(self._numbers(run), refresh=False)
            self._bar.update()
        elif time.monotonic() - self._when >= 1:
            self._say(run)

    def on_fit_end(self, run: Run) -> None:
        """Leave the bar where it is, or say how it ended."""
        if self._bar is not None:
            self._bar.close()
        elif run.epoch > self._said:
            self._say(run)

    def _say(self, run: Run) -> None:
        self._said, self._when = run.epoch, time.monotonic()
        print(f"epoch {run.epoch}/{run.epochs}  {self._numbers(run)}", file=sys.stderr, flush=True)

    @staticmethod
    def _numbers(run: Run) -> str:
        return "  ".join(f"{name} {values[-1]:.4g}" for name, values in run.history.items() if values)
