"""The learning rate range test."""

import math
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import Any, ClassVar

import numpy as np

from .. import _validate
from .base import Callback, Run, adjustable_rate

__all__ = ["LearningRateFinder"]


class LearningRateFinder(Callback):
    """The learning rate range test: raise it from batch to batch, to see where the loss falls and where it diverges.

    Before the first epoch; then network and optimizer are reset, and the fit ends: nothing has been trained.

    Parameters
    ----------
    low, high : float, default 1e-7, 10.0
        The first and the last learning rate; above 0. Between them it grows exponentially.
    steps : int, default 100
        How many batches; fewer where the smoothed loss rises above four times its lowest, or stops being finite.

    Attributes
    ----------
    rates, losses, smoothed : list of float
        Of each batch; smoothed are exponential moving averages of the losses with a decay rate of 0.9, bias corrected.

    References
    ----------
    Smith, "Cyclical learning rates for training neural networks", WACV 2017, section 3.3.
    """

    _gates: ClassVar = {
        "low": _validate.positive, "high": _validate.number, "steps": partial(_validate.integer, least=2),
    }  # fmt: skip

    def __init__(self, low: float = 1e-7, high: float = 10.0, steps: int = 100) -> None:
        self.low = low
        self.high = high
        self.steps = steps
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.smoothed: list[float] = []

    def _check_arguments(self, given: Mapping[str, Any]) -> None:
        _validate.number(given["high"], "high", above=given["low"])

    def on_fit_begin(self, run: Run) -> None:
        """Try the learning rates."""
        adjustable_rate(self, run.optimizer)
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

        A millionth is no fall: equal losses differ by as much from rounding.
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
        from .. import plots

        return plots.range_test(self.rates, self.losses, self.smoothed, self.suggestion, ax)
