"""Callbacks that say how far a fit is: in a file, and on the screen."""

import io
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ..io import atomic
from .base import Callback, Run, as_path

__all__ = ["CSVLogger", "Progress", "table"]


def table(history: Mapping[str, Sequence[float]], first: int = 0) -> str:
    """The epochs of a history after the first so many, as CSV; the first of all comes after a header."""
    import csv

    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    if first == 0:
        out.writerow(["epoch", *history])
    rows = zip(*(values[first:] for values in history.values()), strict=True)
    out.writerows([epoch, *row] for epoch, row in enumerate(rows, first + 1))
    return text.getvalue()


class CSVLogger(Callback):
    """Write the history as a table while it is made: a line an epoch, at once, as `History.to_csv` does at the end.

    Parameters
    ----------
    path : str or path-like
        Overwritten after the first epoch; a fit that resumes another begins with the epochs of that.
    """

    _gates: ClassVar = {"path": as_path}
    _out: Any = None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fsdecode(path)

    def on_fit_begin(self, run: Run) -> None:
        """Open the file, and leave what is in it until there is something to write."""
        atomic.expect_folder(self.path)
        self._out = open(self.path, "a", encoding="utf-8", newline="", buffering=1)  # noqa: PTH123, SIM115 - until on_fit_end
        if run.epoch:
            self._write(run, 0)

    def on_epoch_end(self, run: Run) -> None:
        """Write a line."""
        self._write(run, run.epoch - 1)

    def _write(self, run: Run, first: int) -> None:
        if first == 0 and self._out.seekable():
            self._out.truncate(0)
        self._out.write(table(run.history, first))

    def on_fit_end(self, run: Run) -> None:
        """Close the file."""
        if self._out is not None:
            self._out.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_out": None}  # an open file has no copy


class Progress(Callback):
    """Show how far a fit is: a bar where tqdm is installed, else a line an epoch, never more than one a second."""

    def on_fit_begin(self, run: Run) -> None:
        """Start the bar, or the clock."""
        self._said, self._when, self._bar = run.epoch, time.monotonic(), None
        try:
            from tqdm import tqdm
        except ImportError:
            return
        self._bar = tqdm(total=run.epochs, initial=run.epoch, unit="epoch", file=sys.stderr)

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
            self._bar = None
        elif run.epoch > self._said:
            self._say(run)

    def _say(self, run: Run) -> None:
        self._said, self._when = run.epoch, time.monotonic()
        print(f"epoch {run.epoch}/{run.epochs}  {self._numbers(run)}", file=sys.stderr, flush=True)

    @staticmethod
    def _numbers(run: Run) -> str:
        return "  ".join(f"{name} {values[-1]:.4g}" for name, values in run.history.items() if values)
