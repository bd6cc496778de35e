"""A callback that keeps networks of the past."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .. import _validate
from .base import Callback, Run

__all__ = ["Snapshots"]


def _epochs(value: Any, name: str) -> int | tuple[int, ...]:
    """How many, or which."""
    if np.ndim(value) == 0 and not isinstance(value, (str, set, dict)):
        return _validate.integer(value, name)
    return tuple(_validate.integer(each, name, 0) for each in _validate.items(value, name))


class Snapshots(Callback):
    """Keep what the network was at some epochs: what `backprop.plots` shows over the epochs.

    It costs one copy of the network, and of its parameters at each of these epochs; those between are one call of the
    core.

    Parameters
    ----------
    epochs : int or sequence of int, default 10
        How many to keep beside the initial weights, spread evenly over the fit, its last epoch among them; or which, 0
        for the initial weights.

    Attributes
    ----------
    networks : dict of int to Sequential
        Copies by epochs done, made anew each time: `plots.activations`, `plots.gradient_flow`, `plots.decision_surface`
        and `plots.loss_landscape` take them as they are.

    Examples
    --------
    >>> snapshots = bp.Snapshots(epochs=4)
    >>> _ = net.fit(x, y, loss="mse", optimizer="adam", epochs=20, callbacks=[snapshots])
    >>> [*snapshots.networks]
    [0, 5, 10, 15, 20]
    """

    _gates: ClassVar = {"epochs": _epochs}

    def __init__(self, epochs: int | Sequence[int] = 10) -> None:
        self.epochs = epochs
        self._network: Any = None
        self._kept: dict[int, dict[str, Any]] = {}

    @property
    def networks(self) -> dict[int, Any]:
        """Copies by epochs done."""
        found = {epoch: self._network.copy() for epoch in self._kept}
        for epoch, network in found.items():
            for name, value in self._kept[epoch].items():
                setattr(network, name, value)
        return found

    def _wanted(self, run: Run) -> list[int]:
        if not isinstance(self.epochs, int):
            return sorted(self.epochs)
        return [*map(int, np.linspace(0, run.epochs, self.epochs + 1).round())]

    def on_fit_begin(self, run: Run) -> None:
        """Forget those of another fit, and keep the initial weights."""
        self._network, self._kept = run.network.copy(), {}
        self.on_epoch_end(run)

    def on_epoch_end(self, run: Run) -> None:
        """Keep its numbers, if this is an epoch to keep."""
        if run.epoch in self._wanted(run):
            now = run.network
            self._kept[run.epoch] = {
                "parameters": now.parameters.copy(), "buffers": now.buffers.copy(), "epochs": now.epochs,
                "steps": now.steps,
            }  # fmt: skip

    def epochs_unseen(self, run: Run) -> int:
        """As many as there are up to the next one to keep."""
        return min((epoch - run.epoch for epoch in self._wanted(run) if epoch > run.epoch), default=run.epochs)
