"""Callbacks that stop a fit, or lower its learning rate."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from .. import _validate
from .base import Callback, Run, adjustable_rate
from .monitoring import Monitoring

__all__ = ["EarlyStopping", "ReduceOnPlateau", "TerminateOnNaN"]


class EarlyStopping(Monitoring):
    """Stop when a monitored loss or metric has not improved for some epochs, and restore the best weights.

    Parameters
    ----------
    monitor : str, default "val_loss"
        What is monitored: a name in the history.
    patience : int or None, default 10
        How many epochs in a row without improvement end the fit. None: none do; the best weights are restored after
        the last.
    min_delta : float, default 0.0
        By how much more than this an epoch must be better than the best to count as an improvement.
    mode : {"auto", "min", "max"}, default "auto"
        Whether lower or higher is better; "auto" knows that of the loss and of built-in metrics.
    restore_best : bool, default True
        However the fit ends, the network then has the weights of its best epoch. The optimizer stays where it is.
    restore : {"best", "last_best"}, default "best"
        Which of several epochs with the same best value that is: the first, or the last. The last has been trained for
        longer, which pays where the metric has few values, as an accuracy on few rows. It is no improvement.

    Attributes
    ----------
    state : dict
        "best", the value, and "best_epoch", counted from 1; None and 0 where there was none. Beside them what a
        checkpoint needs.
    """

    _gates: ClassVar = {
        "patience": _validate.optional(_validate.integer), "restore_best": _validate.flag,
        "restore": partial(_validate.choice, choices=("best", "last_best")),
    }  # fmt: skip

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int | None = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
        *,
        restore: str = "best",
    ) -> None:
        super().__init__(monitor, min_delta, mode)
        self.patience = patience
        self.restore_best = restore_best
        self.restore = restore

    def on_fit_begin(self, run: Run) -> None:
        """Begin; a run that had stopped when its checkpoint was written stops again."""
        super().on_fit_begin(run)
        self._perhaps_stop(run)

    def _perhaps_stop(self, run: Run) -> None:
        run.stop = run.stop or (self.patience is not None and self.state["waited"] >= self.patience)

    def on_epoch_end(self, run: Run) -> None:
        """Keep the weights, or count."""
        best = self._improved(run)
        self._perhaps_stop(run)
        if not best and self.restore == "last_best" and run.history[self.monitor][-1] == self.state["best"]:
            self.state["best_epoch"], best = run.epoch, True
        if best and self.restore_best:
            self.state |= {f"best.{name}": array.copy() for name, array in run.network.arrays().items()}

    def on_fit_end(self, run: Run) -> None:
        """Restore the best weights."""
        for name, array in run.network.arrays().items():
            array[...] = self.state.pop(f"best.{name}", array)

    @classmethod
    def check_state(cls, state: Mapping[str, Any], epoch: int, check_weights: Callable[[dict[str, Any]], None]) -> None:
        """As that of all, and the best weights are some of this network."""
        weights = {name.removeprefix("best."): value for name, value in state.items() if name.startswith("best.")}
        rest = {name: value for name, value in state.items() if not name.startswith("best.")}
        super().check_state(rest, epoch, check_weights)
        if weights and rest["best"] is None:
            raise ValueError(f"the state of {cls.__name__}: expected no weights, got {_validate.shown([*weights])}")
        if weights:
            with _validate.within(f"the best weights of {cls.__name__}"):
                check_weights(weights)


class ReduceOnPlateau(Monitoring):
    """Reduce the learning rate when a monitored loss or metric has not improved for some epochs.

    Parameters
    ----------
    monitor : str, default "val_loss"
        What is monitored: a name in the history.
    factor : float, default 0.1
        What the learning rate is multiplied by; above 0, below 1.
    patience : int, default 10
        After how many epochs in a row without improvement. PyTorch, which allows so many, waits for one more.
    min_delta : float, default 1e-4
        By how much more than this an epoch must be better than the best to count as an improvement.
    mode : {"auto", "min", "max"}, default "auto"
        As `EarlyStopping` takes it.
    cooldown : int, default 0
        For how many epochs after a reduction none is counted.
    minimum : float, default 0.0
        The lowest learning rate.

    Notes
    -----
    As PyTorch's ReduceLROnPlateau with threshold_mode="abs". The optimizer needs a number for its learning rate, and
    keeps the lowered one: it goes on with that in the next fit. `Rprop` and `LBFGS` choose their step sizes themselves.
    """

    _gates: ClassVar = {
        "factor": partial(_validate.number, above=0, below=1), "patience": _validate.integer,
        "cooldown": partial(_validate.integer, least=0), "minimum": _validate.not_negative,
    }  # fmt: skip

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
        self.factor = factor
        self.patience = patience
        self.cooldown = cooldown
        self.minimum = minimum

    def on_fit_begin(self, run: Run) -> None:
        """Begin."""
        super().on_fit_begin(run)
        rate = adjustable_rate(self, run.optimizer)
        if callable(rate):
            raise TypeError(f"ReduceOnPlateau: expected an optimizer with a number for its learning rate, got {rate!r}")
        if rate == 0:
            raise ValueError("ReduceOnPlateau: expected a learning rate above 0, got 0: there is nothing to reduce")
        self.state.setdefault("cooling", 0)

    def on_epoch_end(self, run: Run) -> None:
        """Count, or reduce the learning rate."""
        self._improved(run)
        if self.state["cooling"]:
            self.state |= {"cooling": self.state["cooling"] - 1, "waited": 0}
        if self.state["waited"] >= self.patience:
            rate = run.optimizer.learning_rate
            run.optimizer.learning_rate = min(rate, max(rate * self.factor, self.minimum))
            self.state |= {"cooling": self.cooldown, "waited": 0}

    @classmethod
    def _state_gates(cls, state: Mapping[str, Any], epoch: int) -> dict[str, _validate.Gate]:
        return {**super()._state_gates(state, epoch), "cooling": partial(_validate.integer, least=0)}


class TerminateOnNaN(Callback):
    """Let the fit end, and return its history, where a loss that is infinite or NaN would raise `DivergedError`.

    The validation loss counts too. The network keeps its last finite weights.

    Attributes
    ----------
    error : DivergedError or None
        What would have been raised, with its epoch and batch.
    """

    error: Exception | None = None

    def on_fit_begin(self, run: Run) -> None:
        """Let divergence raise nothing."""
        run.raises, self.error = False, None

    def on_epoch_end(self, run: Run) -> None:
        """Stop where a loss is not finite."""
        values = [run.history[name][-1] for name in ("loss", "val_loss") if name in run.history]
        run.stop = run.stop or not all(map(math.isfinite, values))

    def on_fit_end(self, run: Run) -> None:
        """Keep the error."""
        self.error = run.error
