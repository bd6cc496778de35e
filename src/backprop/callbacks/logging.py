"""Callbacks that report progress: to a file, and to the screen."""

import io
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from .. import io as files
from .base import Callback, Run, as_path

__all__ = ["CSVLogger", "Counter", "Progress", "log", "table"]


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


class Lines(Callback):
    """Say how far a fit is: a line after an epoch, at most one a second, and after the last."""

    def on_fit_begin(self, run: Run) -> None:
        """Start the clock."""
        self._said, self._time = run.epoch, time.monotonic()

    def on_epoch_end(self, run: Run) -> None:
        """Say it, if a second has passed."""
        if time.monotonic() - self._time >= 1:
            self._say(run)

    def on_fit_end(self, run: Run) -> None:
        """Say the last line."""
        if run.epoch > self._said:
            self._say(run)

    def _say(self, run: Run) -> None:
        self._said, self._time = run.epoch, time.monotonic()
        self.write(f"epoch {run.epoch}/{run.epochs}  {_numbers(run)}")

    def write(self, line: str) -> None:
        """Where the lines go."""
        raise NotImplementedError


def _numbers(run: Run) -> str:
    return "  ".join(f"{name} {values[-1]:.4g}" for name, values in run.history.items() if values)


class Log(Lines):
    """The lines of `Progress` for the logger "backprop", at the level INFO."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def epochs_unseen(self, run: Run) -> int:
        """None, where the level is the logger's own; where it is the root's, nothing is slowed down for the lines."""
        return 1 if self._logger.level else run.epochs

    def write(self, line: str) -> None:
        """Log a line."""
        self._logger.info(line)


def log() -> list[Log]:
    """What logs a fit, where the process uses the standard library's logging at all, and wants to know."""
    logging = sys.modules.get("logging")
    if logging is None:
        return []
    logger = logging.getLogger("backprop")
    return [Log(logger)] if logger.isEnabledFor(logging.INFO) else []


class Progress(Lines):
    """Show the progress of a fit: a bar in a terminal or a notebook where tqdm is installed, else a line now and then.

    Lines come at most once a second, and after the last epoch.
    """

    _bar: Any = None

    def on_fit_begin(self, run: Run) -> None:
        """Start the bar, or the clock."""
        super().on_fit_begin(run)
        tqdm = _bars()
        if tqdm is not None:
            self._bar = tqdm(total=run.epochs, initial=run.epoch, unit="epoch", file=sys.stderr)

    def on_epoch_end(self, run: Run) -> None:
        """Update the bar, or print a line."""
        if self._bar is None:
            super().on_epoch_end(run)
            return
        self._bar.set_postfix_str(_numbers(run), refresh=False)
        self._bar.update()

    def on_fit_end(self, run: Run) -> None:
        """Close the bar, or print the last line."""
        if self._bar is None:
            super().on_fit_end(run)
            return
        self._bar.close()
        self._bar = None

    def write(self, line: str) -> None:
        """Print a line."""
        print(line, file=sys.stderr, flush=True)


class Counter:
    """Show how many of some fits are done, and log it: a bar, or a line now and then, as `Progress` does.

    Parameters
    ----------
    total : int
    unit : str
        What is counted.
    progress : bool
        Whether to show it.
    """

    def __init__(self, total: int, unit: str, progress: bool) -> None:
        self._total, self._unit, self._time, self._said = total, unit, time.monotonic(), 0
        self._writers = [Progress().write] * progress + [line.write for line in log()]
        tqdm = _bars() if progress else None
        self._bar = None if tqdm is None else tqdm(total=total, unit=unit, file=sys.stderr)
        if self._bar is not None:
            self._writers = self._writers[1:]

    def show(self, done: int) -> None:
        """So many are done."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        if done > self._said and (done == self._total or time.monotonic() - self._time >= 1):
            self._said, self._time = done, time.monotonic()
            for write in self._writers:
                write(f"{self._unit} {done}/{self._total}")

    def close(self) -> None:
        """There will be no more."""
        if self._bar is not None:
            self._bar.close()


def _bars() -> Any:
    """What makes bars where they can be drawn: in a notebook with widgets, and in a terminal; else None."""
    from importlib.util import find_spec

    notebook = getattr(getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)(), "kernel", None) is not None
    needed = "ipywidgets" if notebook else "tqdm"
    try:
        if not (notebook or sys.stderr.isatty()) or find_spec(needed) is None:
            return None
        from tqdm.auto import tqdm
    except (ImportError, ValueError):  # not installed, or half of it
        return None
    return tqdm
