"""Callbacks that monitor a loss or a metric."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from .. import _validate, _words, metrics
from .base import Callback, Run

__all__ = ["Monitoring"]


def _name(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a name in the history, such as 'val_loss', got {_validate.shown(value)}")
    return value


class Monitoring(Callback):
    """Keeps the best value of a loss or a metric, and for how long it has not improved."""

    _gates: ClassVar[Mapping[str, _validate.Gate]] = {
        "monitor": _name, "min_delta": _validate.not_negative,
        "mode": partial(_validate.choice, choices=("auto", "min", "max")),
    }  # fmt: skip

    def __init__(self, monitor: str, min_delta: float, mode: str) -> None:
        self.monitor = monitor
        self.min_delta = min_delta
        self.mode = mode
        self.state: dict[str, Any] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "mode" and value == "auto":
            value = metrics.best(self.monitor)
        super().__setattr__(name, value)

    def on_fit_begin(self, run: Run) -> None:
        """Reset the state, unless the run resumes another."""
        if self.monitor not in run.names:
            near = _words.meant(self.monitor, run.names)
            cure = f"; did you mean {near!r}?" if near else ""
            if self.monitor.removeprefix("val_") in run.names:
                cure = ": give the fit validation data"
            raise ValueError(f"monitor: expected one of {', '.join(run.names)}, got {self.monitor!r}{cure}")
        if run.epoch == 0:
            self.state = {"best": None, "best_epoch": 0, "waited": 0}

    def _improved(self, run: Run) -> bool:
        """Whether the last epoch is better than the best before, by more than min_delta."""
        value, best = run.history[self.monitor][-1], self.state["best"]
        gain = 0.0 if best is None else best - value if self.mode == "min" else value - best
        if not (math.isfinite(value) and (best is None or gain > self.min_delta)):
            self.state["waited"] += 1
            return False
        self.state |= {"best": value, "best_epoch": run.epoch, "waited": 0}
        return True

    @classmethod
    def check_state(cls, state: Mapping[str, Any], epoch: int, check_weights: Callable[[dict[str, Any]], None]) -> None:
        """Refuse a state that it cannot have after so many epochs.

        Parameters
        ----------
        state : dict
        epoch : int
        check_weights : callable
            Refuses arrays, by name, that are not those of the network.
        """
        place, gates = f"the state of {cls.__name__}", cls._state_gates(state, epoch)
        if state.keys() != gates.keys():
            raise ValueError(f"{place}: expected {', '.join(gates)}, got {_validate.shown(sorted(state))}")
        for name, gate in gates.items():
            gate(state[name], f"{place}: {name}")
        if "best" in state and (state["best"] is None) != (state["best_epoch"] == 0):
            raise ValueError(f"{place}: expected a best epoch with the best value, got {state['best_epoch']}")

    @classmethod
    def _state_gates(cls, state: Mapping[str, Any], epoch: int) -> dict[str, _validate.Gate]:
        """The names in its state after so many epochs, and what each value passes."""
        count = partial(_validate.integer, least=0, most=epoch)
        return {"best": _validate.optional(_validate.number), "best_epoch": count, "waited": count}
