"""Checkpoints, written while a fit goes on; and what callbacks remember in one."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .. import _validate
from ..io import atomic
from .base import Run, Watching

__all__ = ["Checkpoint", "check_state"]


class Checkpoint(Watching):
    """Write checkpoints, from which `backprop.resume` goes on as if the run had not been stopped.

    A checkpoint is a model file, which `backprop.load` reads, with the optimizer, the history and what the other
    callbacks remember beside the network. It is written wholly or not at all, and after all other callbacks have seen
    the epoch.

    Parameters
    ----------
    path : str or path-like
        The file; to keep several, a pattern with a place for the epoch, such as ``"run-{epoch:03}.safetensors"``.
    keep : "last", "best" or int, default "last"
        What the file holds: the last epoch, or the best so far. A number: that many files, of the last epochs. What it
        has written is what one object remembers from fit to fit: a second fit that is worse than the first does not
        replace the best of both, as long as that file is there. A new object begins anew.
    monitor : str, default "val_loss"
        Of "best": a name in the history.
    mode : {"auto", "min", "max"}, default "auto"
        Of "best": as `EarlyStopping` takes it.
    every : int, default 1
        Of the others: write only after each so many epochs, and after the last.

    Raises
    ------
    OSError
        Before anything is trained: if a folder is not there, or no file can be written into it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keep: str | int = "last",
        monitor: str = "val_loss",
        mode: str = "auto",
        every: int = 1,
    ) -> None:
        super().__init__(monitor, 0.0, mode)
        self.path = os.fsdecode(path)
        words = isinstance(keep, str)
        self.keep = _validate.choice(keep, "keep", ("last", "best")) if words else _validate.integer(keep, "keep")
        self.every = _validate.integer(every, "every")
        if not words and self._file(0) == self._file(1):
            raise self._wrong()

    def check_resumed(self, state: Mapping[str, Any]) -> None:
        """Refuse what one that keeps something else remembers."""
        if ("best" in state) != (self.keep == "best"):
            want = "the best" if "best" in state else "the last"
            raise ValueError(
                f"resume: expected a Checkpoint that keeps {want}, as the run began with, got keep={self.keep!r}"
            )

    def on_fit_begin(self, run: Run) -> None:
        """Begin, where all that is asked for can be written."""
        before = self.state
        if self.keep == "best":
            super().on_fit_begin(run)
        if run.epoch == 0 and self.keep == "best" and os.access(self.path, os.F_OK):
            self.state = before if "best" in before else self.state
        elif run.epoch == 0 and self.keep != "best":
            self.state = {"written": before.get("written", [])}
        run.check_save()
        atomic.expect_writable(self._due(run))

    def on_epoch_end(self, run: Run) -> None:
        """Write, where one is due."""
        if self.keep == "best":
            if self._improved(run):
                run.save(self.path)
        elif run.epoch % self.every == 0 or run.epoch == run.epochs or run.stop:
            if isinstance(self.keep, int):
                self._keep_some(run, self.keep)
            else:
                run.save(self.path)

    def _keep_some(self, run: Run, count: int) -> None:
        from pathlib import Path  # here, since it takes a fifth of the import of the package

        epochs = [*(epoch for epoch in self.state["written"] if epoch != run.epoch), run.epoch]
        self.state["written"] = epochs[-count:]
        run.save(self._file(run.epoch))
        for epoch in epochs[:-count]:
            Path(self._file(epoch)).unlink(missing_ok=True)

    def _due(self, run: Run) -> list[str]:
        """The files that it will write, if the fit is not stopped: the first thousand, and the last."""
        if not isinstance(self.keep, int):
            return [self.path]
        epochs = range(run.epoch + self.every - run.epoch % self.every, run.epochs, self.every)
        return [self._file(epoch) for epoch in (*epochs[:1000], run.epochs)]

    def _file(self, epoch: int) -> str:
        try:
            return self.path.format(epoch=int(epoch))  # from a checkpoint it may be anything
        except (AttributeError, LookupError, ValueError) as error:
            raise self._wrong() from error

    def _wrong(self) -> ValueError:
        return ValueError(f'path: expected one such as "run-{{epoch:03}}.safetensors", got {self.path!r}')


def check_state(
    kind: str, state: Mapping[str, Any], epoch: int, check_weights: Callable[[dict[str, Any]], None]
) -> None:
    """Refuse what a callback of this module cannot remember after so many epochs; of one's own nothing is known.

    Parameters
    ----------
    kind : str
        The name of its class.
    state : dict
    epoch : int
    check_weights : callable
        Refuses arrays, by name, that are not those of the network.
    """
    if kind not in ("EarlyStopping", "ReduceOnPlateau", "Checkpoint"):
        return
    best = {name.removeprefix("best."): value for name, value in state.items() if name.startswith("best.")}
    rest = {name: value for name, value in state.items() if not name.startswith("best.")}
    most = 2**40 if kind == "Checkpoint" else epoch  # it goes on remembering when another fit begins
    upto: _validate.Gate = partial(_validate.integer, least=0, most=most)
    gates = {"best": _validate.optional(_validate.number), "best_epoch": upto, "waited": upto}
    if kind == "ReduceOnPlateau":
        gates["cooling"] = partial(_validate.integer, least=0)
    elif kind == "Checkpoint" and "best" not in rest:
        gates = {"written": _epochs}
    if rest.keys() != gates.keys():
        raise ValueError(f"the state of {kind}: expected {', '.join(gates)}, got {_validate.shown(sorted(rest))}")
    for name, gate in gates.items():
        gate(rest[name], f"the state of {kind}: {name}")
    if "best" in rest and (rest["best"] is None) != (rest["best_epoch"] == 0):
        raise ValueError(f"the state of {kind}: expected a best epoch with the best value, got {rest['best_epoch']}")
    if best:
        if kind != "EarlyStopping" or rest["best"] is None:
            raise ValueError(f"the state of {kind}: expected no weights, got {_validate.shown(sorted(best))}")
        with _validate.within(f"the best weights of {kind}"):
            check_weights(best)


def _epochs(value: Any, name: str) -> None:
    """Numbers of epochs, each once: the names of files are made of them."""
    if not isinstance(value, list):
        raise TypeError(f"{name}: expected a list of epochs, got {_validate.shown(value)}")
    if len({_validate.integer(epoch, name) for epoch in value}) < len(value):
        raise ValueError(f"{name}: expected each epoch once, got {_validate.shown(value)}")
