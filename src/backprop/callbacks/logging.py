"""Callbacks that report progress: to a file, and to the screen."""

import io
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from .. import io as files
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
    """Write the history to a CSV file, a line after each epoch, as `History.to_csv` does at the end.

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
        files.atomic.expect_folder(self.path)
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
    """Show the progress of a fit: a bar where tqdm is installed, else a line an epoch, at most one a second."""

    def on_fit_begin(self, run: Run) -> None:
        """Start the bar, or the clock."""
        self._printed, self._time, self._bar = run.epoch, time.monotonic(), None
        try:
            from tqdm import tqdm
        except ImportError:
            return
        self._bar = tqdm(total=run.epochs, initial=run.epoch, unit="epoch", file=sys.stderr)

    def on_epoch_end(self, run: Run) -> None:
        """Update the bar, or print a line."""
        if self._bar is not None:
            self._bar.set_postfix_str(self._line(run), refresh=False)
            self._bar.update()
        elif time.monotonic() - self._time >= 1:
            self._print(run)

    def on_fit_end(self, run: Run) -> None:
        """Close the bar, or print the last line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        elif run.epoch > self._printed:
            self._print(run)

    def _print(self, run: Run) -> None:
        self._printed, self._time = run.epoch, time.monotonic()
        print(f"epoch {run.epoch}/{run.epochs}  {self._line(run)}", file=sys.stderr, flush=True)

    @staticmethod
    def _line(run: Run) -> str:
        return "  ".join(f"{name} {values[-1]:.4g}" for name, values in run.history.items() if values)
