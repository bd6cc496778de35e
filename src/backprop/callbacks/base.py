"""Callbacks: what happens between the epochs of a fit.

A callback is an object with any of the three methods of `Callback`, each of which is given the run: its network,
optimizer, history, and how far it is. Setting ``run.stop = True`` ends the fit after this epoch.
"""

import io
import math
import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Protocol

import numpy as np

from .. import _validate, _words, files, metrics, plots

__all__ = [
    "CSVLogger", "Callback", "Checkpoint", "EarlyStopping", "LearningRateFinder", "Progress", "ReduceOnPlateau",
    "TerminateOnNaN",
]  # fmt: skip


class Run(Protocol):
    """What a callback sees of a fit."""

    network: Any
    optimizer: Any
    #: One list for each name, one number for each epoch done.
    history: Mapping[str, Sequence[float]]
    #: The names that the history has after an epoch.
    names: Sequence[str]
    #: Epochs done, and wanted. At the beginning of a fit that resumes another, some are done.
    epoch: int
    epochs: int
    #: Set it, and this epoch was the last.
    stop: bool
    #: Whether a loss that stops being finite raises `DivergedError`, or just ends the fit; and that error.
    raises: bool
    error: Exception | None

    def save(self, path: Any) -> None:
        """Write a checkpoint."""

    def check_save(self) -> None:
        """Refuse, before anything is trained, what no checkpoint can hold."""

    def trial(self, rates: Iterable[float]) -> Generator[float]:
        """The losses of the coming batches, one trained on at each learning rate; afterwards all is as it was."""
        ...


class Callback(_words.Helped, family="Callback"):
    """Base class: subclass it and override what is wanted.

    A callback that has to remember something from epoch to epoch does so in a dictionary ``state`` of numbers, strings
    and arrays, which it has from its beginning. A checkpoint keeps it; where a fit goes on from one, it has been put
    back before `on_fit_begin`, and ``run.epoch`` is above 0 there.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        ours = type(self).__module__ == __name__
        super().__setattr__(name, _validate.reassigned(self, name, value) if ours else value)

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


def _rate_to_turn(callback: Callback, optimizer: Any) -> Any:
    """The learning rate of an optimizer; one whose steps do not follow it is refused."""
    if "learning_rate" not in vars(optimizer) or not getattr(optimizer, "adjustable", True):
        raise TypeError(
            f"{type(callback).__name__}: expected an optimizer whose steps grow with its learning rate, "
            f"such as Adam(1e-3), got {_validate.shown(optimizer)}, which finds its steps itself"
        )
    return optimizer.learning_rate


# Callbacks that watch a number.


class _Watching(Callback):
    """Remembers the best value of one number of the history."""

    def __init__(self, monitor: str, min_delta: float, mode: str) -> None:
        if not isinstance(monitor, str):
            raise TypeError(
                f"monitor: expected a name in the history, such as 'val_loss', got {_validate.shown(monitor)}"
            )
        self.monitor = monitor
        self.min_delta = _validate.number(min_delta, "min_delta", least=0)
        self.mode = _validate.choice(mode, "mode", ("auto", "min", "max"))
        if mode == "auto":
            self.mode = metrics.best(monitor)
        self.state: dict[str, Any] = {}

    def on_fit_begin(self, run: Run) -> None:
        """Begin anew, unless the run goes on."""
        if self.monitor not in run.names:
            near = _words.meant(self.monitor, run.names)
            cure = f"; did you mean {near!r}?" if near else ""
            if self.monitor.removeprefix("val_") in run.names:
                cure = ": give the fit validation data"
            raise ValueError(f"monitor: expected one of {', '.join(run.names)}, got {self.monitor!r}{cure}")
        if run.epoch == 0:
            self.state = {"best": None, "best_epoch": 0, "waited": 0}

    def _improved(self, run: Run) -> bool:
        """Whether the last epoch is better than all before, by more than min_delta."""
        value, best = run.history[self.monitor][-1], self.state["best"]
        gain = 0.0 if best is None else best - value if self.mode == "min" else value - best
        if not (math.isfinite(value) and (best is None or gain > self.min_delta)):
            self.state["waited"] += 1
            return False
        self.state |= {"best": value, "best_epoch": run.epoch, "waited": 0}
        return True


class EarlyStopping(_Watching):
    """End the fit when a number has not improved for some epochs, and give the network its best weights back.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A name in the history.
    patience : int, default 10
        How many epochs in a row without improvement end the fit.
    min_delta : float, default 0.0
        By how much more than this an epoch must be better than the best to count as an improvement.
    mode : {"auto", "min", "max"}, default "auto"
        Whether lower or higher is better; "auto" knows that of the loss and the metrics of `backprop.metrics`.
    restore_best : bool, default True
        However the fit ends, the network then has the weights of its best epoch. The optimizer stays where it is.

    Attributes
    ----------
    state : dict
        "best", the value, and "best_epoch", counted from 1; None and 0 where there was none. Beside them what a
        checkpoint needs.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, min_delta, mode)
        self.patience = _validate.integer(patience, "patience")
        self.restore_best = _validate.flag(restore_best, "restore_best")

    def on_fit_begin(self, run: Run) -> None:
        """Begin; a run that was at its end when its checkpoint was written is there again."""
        super().on_fit_begin(run)
        run.stop = run.stop or self.state["waited"] >= self.patience

    def on_epoch_end(self, run: Run) -> None:
        """Keep the weights, or count."""
        if not self._improved(run):
            run.stop = run.stop or self.state["waited"] >= self.patience
        elif self.restore_best:
            self.state |= {f"best.{name}": array.copy() for name, array in run.network.arrays().items()}

    def on_fit_end(self, run: Run) -> None:
        """Give the weights back."""
        for name, array in run.network.arrays().items():
            array[...] = self.state.pop(f"best.{name}", array)


class ReduceOnPlateau(_Watching):
    """Lower the learning rate when a number has not improved for some epochs.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A name in the history.
    factor : float, default 0.1
        What the learning rate is multiplied by; above 0, below 1.
    patience : int, default 10
        After how many epochs in a row without improvement. PyTorch, which allows so many, waits for one more.
    min_delta : float, default 1e-4
        By how much more than this an epoch must be better than the best to count as an improvement.
    mode : {"auto", "min", "max"}, default "auto"
        As `EarlyStopping` takes it.
    cooldown : int, default 0
        For how many epochs after that none is counted.
    minimum : float, default 0.0
        The lowest learning rate.

    Notes
    -----
    As PyTorch's ReduceLROnPlateau with threshold_mode="abs". The optimizer needs a number for its learning rate, and
    keeps the lowered one: it goes on with that in the next fit. `Rprop` and `LBFGS` find their steps themselves.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        mode: str = "auto",
        cooldown: int = 0,
        minimum: float = 0.0,
    ) -> None:
        super().__init__(monitor, min_delta, mode)
        self.factor = _validate.number(factor, "factor", above=0, below=1)
        self.patience = _validate.integer(patience, "patience")
        self.cooldown = _validate.integer(cooldown, "cooldown", 0)
        self.minimum = _validate.number(minimum, "minimum", least=0)

    def on_fit_begin(self, run: Run) -> None:
        """Begin."""
        super().on_fit_begin(run)
        rate = _rate_to_turn(self, run.optimizer)
        if callable(rate):
            raise TypeError(f"ReduceOnPlateau: expected an optimizer with a number for its learning rate, got {rate!r}")
        if rate == 0:
            raise ValueError("ReduceOnPlateau: expected a learning rate above 0, got 0: there is nothing to lower")
        self.state.setdefault("cooling", 0)

    def on_epoch_end(self, run: Run) -> None:
        """Count, or lower the learning rate."""
        self._improved(run)
        if self.state["cooling"]:
            self.state |= {"cooling": self.state["cooling"] - 1, "waited": 0}
        if self.state["waited"] >= self.patience:
            rate = run.optimizer.learning_rate
            run.optimizer.learning_rate = min(rate, max(rate * self.factor, self.minimum))
            self.state |= {"cooling": self.cooldown, "waited": 0}


class Checkpoint(_Watching):
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
        files.expect_writable(self._due(run))

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


# Callbacks that write, end, or find.


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

    _out: Any = None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fsdecode(path)

    def on_fit_begin(self, run: Run) -> None:
        """Open the file, and leave what is in it until there is something to write."""
        files.expect_folder(self.path)
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


class TerminateOnNaN(Callback):
    """Let the fit end, and return its history, where a loss that stops being finite would raise `DivergedError`.

    The loss of the validation data counts too. The network keeps its last finite weights.

    Attributes
    ----------
    error : DivergedError or None
        What would have been raised, with its epoch and batch.
    """

    error: Exception | None = None

    def on_fit_begin(self, run: Run) -> None:
        """Say so."""
        run.raises, self.error = False, None

    def on_epoch_end(self, run: Run) -> None:
        """Look at the losses."""
        values = [run.history[name][-1] for name in ("loss", "val_loss") if name in run.history]
        run.stop = run.stop or not all(map(math.isfinite, values))

    def on_fit_end(self, run: Run) -> None:
        """Keep the error."""
        self.error = run.error


class LearningRateFinder(Callback):
    """Raise the learning rate from batch to batch, to see where the loss falls and where it bursts.

    Before the first epoch; then network and optimizer are as they were, and the fit ends: nothing has been trained.

    Parameters
    ----------
    low, high : float, default 1e-7, 10.0
        The first and the last learning rate; above 0. Between them it is multiplied by the same factor each time.
    steps : int, default 100
        How many batches; fewer where the smoothed loss rises above four times its lowest, or stops being finite.

    Attributes
    ----------
    rates, losses, smoothed : list of float
        Of each batch; smoothed are running means of the losses, in which each counts for 0.9 of the one after it.

    References
    ----------
    Smith, "Cyclical learning rates for training neural networks", WACV 2017, section 3.3.
    """

    def __init__(self, low: float = 1e-7, high: float = 10.0, steps: int = 100) -> None:
        self.low = _validate.number(low, "low", above=0)
        self.high = _validate.number(high, "high", above=self.low)
        self.steps = _validate.integer(steps, "steps", 2)
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.smoothed: list[float] = []

    def on_fit_begin(self, run: Run) -> None:
        """Try the learning rates."""
        _rate_to_turn(self, run.optimizer)
        rates = np.geomspace(self.low, self.high, self.steps).tolist()
        self.rates, self.losses, self.smoothed = [], [], []
        total, weight, lowest = 0.0, 0.0, math.inf
        with closing(run.trial(rates)) as losses:
            for rate, loss in zip(rates, losses, strict=False):
                total, weight = 0.9 * total + loss, 0.9 * weight + 1
                self.rates.append(rate)
                self.losses.append(loss)
                self.smoothed.append(total / weight)
                lowest = min(lowest, total / weight)
                if total / weight > lowest + 3 * abs(lowest):
                    break
        run.stop = True

    @property
    def suggestion(self) -> float | None:
        """A tenth of the learning rate at which the smoothed loss was lowest; None where it never fell.

        A millionth is no fall: losses that are all the same differ by as much in how they are rounded.
        """
        if not self.smoothed:
            return None
        first, lowest = self.smoothed[0], min(self.smoothed)
        fell = first - lowest > 1e-6 * abs(first)
        return self.rates[self.smoothed.index(lowest)] / 10 if fell else None

    def plot(self, ax: Any = None) -> Any:
        """Draw the losses over the learning rates. Needs matplotlib, ``pip install "backprop-nn[plot]"``.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.

        Returns
        -------
        matplotlib.figure.Figure
        """
        return plots.range_test(self.rates, self.losses, self.smoothed, self.suggestion, ax)


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
