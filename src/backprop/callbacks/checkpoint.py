"""Checkpoints, written while a fit goes on."""

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from .. import _validate
from .. import io as files
from .base import Run, as_path
from .monitoring import Monitoring

__all__ = ["Checkpoint"]


def _keep(value: Any, name: str) -> str | int:
    if isinstance(value, str):
        return _validate.choice(value, name, ("last", "best"))
    return _validate.integer(value, name)


class Checkpoint(Monitoring):
    """Write checkpoints, from which `backprop.resume` goes on as if the run had not been stopped.

    A checkpoint is a model file, which `backprop.load` reads, with the optimizer, the history and the state of the
    other callbacks beside the network. It is written atomically, and after all other callbacks have seen the epoch.

    Parameters
    ----------
    path : str or path-like
        The file; to keep several, a pattern with a place for the epoch, such as ``"run-{epoch:03}.safetensors"``.
    keep : "last", "best" or int, default "last"
        What the file holds: the last epoch, or the best so far. A number: that many files, of the last epochs. An
        object keeps its state from fit to fit: a second fit that is worse than the first does not replace the best of
        both, as long as that file is there. A new object begins anew.
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

    _gates: ClassVar = {"path": as_path, "keep": _keep, "every": _validate.integer}

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
        self.keep = keep
        self.every = every

    def _check_arguments(self, given: Mapping[str, Any]) -> None:
        if isinstance(given["keep"], int) and _file(given["path"], 0) == _file(given["path"], 1):
            raise _no_pattern(given["path"])

    def check_resumed(self, state: Mapping[str, Any]) -> None:
        """Refuse the state of one that keeps something else."""
        if ("best" in state) != (self.keep == "best"):
            want = "the best" if "best" in state else "the last"
            raise ValueError(
                f"resume: expected a Checkpoint that keeps {want}, as the run began with, got keep={self.keep!r}"
            )

    def on_fit_begin(self, run: Run) -> None:
        """Begin, if the files can be written."""
        before = self.state
        if self.keep == "best":
            super().on_fit_begin(run)
        if run.epoch == 0 and self.keep == "best" and os.access(self.path, os.F_OK):
            self.state = before if "best" in before else self.state
        elif run.epoch == 0 and self.keep != "best":
            self.state = {"written": before.get("written", [])}
        run.check_save()
        files.atomic.expect_writable(self._due(run))

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
        run.save(_file(self.path, run.epoch))
        for epoch in epochs[:-count]:
            Path(_file(self.path, epoch)).unlink(missing_ok=True)

    def _due(self, run: Run) -> list[str]:
        """The files that it will write, if the fit is not stopped: the first thousand, and the last."""
        if not isinstance(self.keep, int):
            return [self.path]
        epochs = range(run.epoch + self.every - run.epoch % self.every, run.epochs, self.every)
        return [_file(self.path, epoch) for epoch in (*epochs[:1000], run.epochs)]

    @classmethod
    def _state_gates(cls, state: Mapping[str, Any], epoch: int) -> dict[str, _validate.Gate]:
        if "best" not in state:
            return {"written": _epochs}
        return super()._state_gates(state, 2**40)  # it goes on remembering when another fit begins


def _file(path: str, epoch: int) -> str:
    try:
        return path.format(epoch=int(epoch))  # from a checkpoint it may be anything
    except (AttributeError, LookupError, ValueError) as error:
        raise _no_pattern(path) from error


def _no_pattern(path: str) -> ValueError:
    return ValueError(f'path: expected one such as "run-{{epoch:03}}.safetensors", got {path!r}')


def _epochs(value: Any, name: str) -> None:
    """Numbers of epochs, each once: the names of files are made of them."""
    if not isinstance(value, list):
        raise TypeError(f"{name}: expected a list of epochs, got {_validate.shown(value)}")
    if len({_validate.integer(epoch, name) for epoch in value}) < len(value):
        raise ValueError(f"{name}: expected each epoch once, got {_validate.shown(value)}")
