"""Schedules: a learning rate as a function of the number of steps made, which is 0 before the first.

An optimizer takes one where it takes a number, ``bp.Adam(bp.schedules.Cosine(1e-3, 10_000))``, as it takes any function
of the step; its weight decay may be one too, and so may the rate of a `Dropout`, of which the argument `learning_rate`
is the number that varies. These are evaluated for many steps at once, can be compared, and are kept in a file. A step
is a mini-batch: an epoch has ceil(rows / batch_size) of them.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from . import _described, _validate

__all__ = [
    "KINDS", "Constant", "CosLog4", "Cosine", "Exponential", "FlatCosine", "OneCycle", "Polynomial", "Schedule", "Step",
    "from_config",
]  # fmt: skip

Array = _validate.Array


class Schedule(_described.Described, family="Schedule"):
    """Base class of the schedules, and of a custom one; the attributes are the arguments of the constructor."""

    learning_rate: float

    _gates: ClassVar = {"learning_rate": _validate.not_negative}

    def rates(self, steps: Array) -> Array:
        """The learning rates after these numbers of steps, (n,) whole numbers."""
        if type(self).__call__ is not Schedule.__call__:  # a custom schedule
            return np.array([self(int(step)) for step in steps], np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            rates: Array = self._rates(steps)
        return rates

    def _rates(self, steps: Array) -> Any:
        raise NotImplementedError

    def __call__(self, step: int) -> float:
        """The learning rate after so many steps."""
        return float(self.rates(np.array([_validate.integer(step, "step", 0)]))[0])

    def _values(self) -> dict[str, Any]:
        return dict(vars(self))

    def __eq__(self, other: object) -> bool:
        return self._alike(other)

    def __repr__(self) -> str:
        return f"schedules.{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self._values().items())})"


class Constant(Schedule):
    """A constant learning rate.

    Parameters
    ----------
    learning_rate : float
        At least 0.
    """

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate

    def _rates(self, steps: Array) -> Any:
        return np.full(len(steps), self.learning_rate)


class Step(Schedule):
    """learning_rate factor^floor(t / every) at step t: step decay. PyTorch's StepLR.

    Parameters
    ----------
    learning_rate : float
        At the start.
    every : int
        Steps between two decays.
    factor : float, default 0.1
        What the rate is multiplied by at each decay; above 0.
    """

    _gates: ClassVar = {"every": _validate.integer, "factor": _validate.positive}

    def __init__(self, learning_rate: float, every: int, factor: float = 0.1) -> None:
        self.learning_rate = learning_rate
        self.every = every
        self.factor = factor

    def _rates(self, steps: Array) -> Any:
        return self.learning_rate * np.power(self.factor, steps // self.every, dtype=np.float64)


class Exponential(Schedule):
    """learning_rate factor^(t / every) at step t: exponential decay. PyTorch's ExponentialLR, where every is 1.

    Parameters
    ----------
    learning_rate : float
        At the start.
    factor : float
        What the rate is multiplied by over `every` steps; above 0.
    every : int, default 1
        With the number of steps in an epoch, the factor is that of an epoch.
    """

    _gates: ClassVar = {"factor": _validate.positive, "every": _validate.integer}

    def __init__(self, learning_rate: float, factor: float, every: int = 1) -> None:
        self.learning_rate = learning_rate
        self.factor = factor
        self.every = every

    def _rates(self, steps: Array) -> Any:
        return self.learning_rate * np.power(self.factor, steps / self.every)


class Cosine(Schedule):
    """final + (learning_rate - final) (1 + cos(pi t)) / 2, t from 0 to 1: cosine annealing, once or restarted.

    Parameters
    ----------
    learning_rate : float
        The highest.
    steps : int
        Steps until the lowest is reached, the warm-up included.
    final : float, default 0.0
        The lowest.
    warmup : int, default 0
        Steps, fewer than `steps`, of a linear warm-up to the highest, learning_rate (t + 1) / (warmup + 1).
    growth : int or None, default None
        None: after `steps` the rate stays where it is. A number: warm restarts from the highest, each cycle so many
        times as long as the one before.

    References
    ----------
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, eq. 5; `growth` is its
    T_mult. PyTorch's CosineAnnealingLR and CosineAnnealingWarmRestarts, after a LinearLR.
    """

    _gates: ClassVar = {
        "steps": _validate.integer, "final": _validate.not_negative, "warmup": partial(_validate.integer, least=0),
        "growth": _validate.optional(partial(_validate.integer, most=2**20)),
    }  # fmt: skip

    def __init__(
        self, learning_rate: float, steps: int, *, final: float = 0.0, warmup: int = 0, growth: int | None = None
    ) -> None:
        self.learning_rate = learning_rate
        self.steps = steps
        self.final = final
        self.warmup = warmup
        self.growth = growth

    def _check_arguments(self, given: Mapping[str, Any]) -> None:
        _validate.integer(given["warmup"], "warmup", 0, given["steps"] - 1)

    def _rates(self, steps: Array) -> Any:
        cosine = (1 + np.cos(np.pi * self._progress(np.maximum(steps - self.warmup, 0)))) / 2
        rising = self.learning_rate * (steps + 1) / (self.warmup + 1)
        return np.where(steps < self.warmup, rising, self.final + (self.learning_rate - self.final) * cosine)

    def _progress(self, steps: Array) -> Any:
        """The share of its cycle that lies behind each step."""
        length = self.steps - self.warmup
        if self.growth is None:
            return np.minimum(steps / length, 1)
        if self.growth == 1:
            return steps % length / length
        starts = [0, length]
        while starts[-1] <= steps.max(initial=0):
            starts.append(starts[-1] + self.growth * (starts[-1] - starts[-2]))
        cycle = np.searchsorted(starts, steps, side="right")
        begin, end = np.take(starts, cycle - 1), np.take(starts, cycle)
        return (steps - begin) / (end - begin)


class CosLog4(Schedule):
    """learning_rate (1 - cos(2 pi log2(1 + 15 t / steps))) / 2 at step t: four cycles, each twice as long as the last.

    Each begins and ends at 0, and is highest near its middle; after `steps` the rate is 0. RealMLP is trained by it.

    Parameters
    ----------
    learning_rate : float
        The highest.
    steps : int
        Length of the four cycles together.

    References
    ----------
    Holzmueller, Grinsztajn, Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular data",
    NeurIPS 2024, arXiv 2407.04491.
    """

    _gates: ClassVar = {"steps": _validate.integer}

    def __init__(self, learning_rate: float, steps: int) -> None:
        self.learning_rate = learning_rate
        self.steps = steps

    def _rates(self, steps: Array) -> Any:
        cycles = np.log2(1 + 15 * (np.minimum(steps, self.steps) / self.steps))
        return self.learning_rate * (1 - np.cos(2 * np.pi * cycles)) / 2


class FlatCosine(Schedule):
    """learning_rate at first, then cosine annealing to 0: learning_rate (1 + cos(pi s)) / 2, s from 0 to 1 at `steps`.

    Parameters
    ----------
    learning_rate : float
        At the start.
    steps : int
        Steps until 0 is reached, where it stays.
    flat : float, default 0.5
        The share of the steps in which nothing changes; at least 0, below 1.

    References
    ----------
    Holzmueller, Grinsztajn, Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular data",
    NeurIPS 2024, arXiv 2407.04491, where it is that of weight decay and dropout.
    """

    _gates: ClassVar = {"steps": _validate.integer, "flat": _validate.share}

    def __init__(self, learning_rate: float, steps: int, *, flat: float = 0.5) -> None:
        self.learning_rate = learning_rate
        self.steps = steps
        self.flat = flat

    def _rates(self, steps: Array) -> Any:
        share = np.maximum(np.minimum(steps, self.steps) / self.steps - self.flat, 0) / (1 - self.flat)
        return self.learning_rate * (1 + np.cos(np.pi * share)) / 2


class Polynomial(Schedule):
    """final + (learning_rate - final) (1 - t / steps)^power at step t, and final after `steps`. PyTorch's PolynomialLR.

    Parameters
    ----------
    learning_rate : float
        At the start.
    steps : int
        Steps until `final` is reached.
    power : float, default 1.0
        1 is a linear decay; above 0.
    final : float, default 0.0
        Where it ends.
    """

    _gates: ClassVar = {"steps": _validate.integer, "power": _validate.positive, "final": _validate.not_negative}

    def __init__(self, learning_rate: float, steps: int, *, power: float = 1.0, final: float = 0.0) -> None:
        self.learning_rate = learning_rate
        self.steps = steps
        self.power = power
        self.final = final

    def _rates(self, steps: Array) -> Any:
        left = 1 - np.minimum(steps, self.steps) / self.steps
        return self.final + (self.learning_rate - self.final) * np.power(left, self.power)


class OneCycle(Schedule):
    """Cosine annealing up to the highest rate, then down to almost nothing. PyTorch's OneCycleLR, without its momentum.

    Parameters
    ----------
    learning_rate : float
        The highest.
    steps : int
        Length of the cycle; the rate stays where it is afterwards.
    pct_start : float, default 0.3
        The share of the steps in which the rate rises; at least 0, below 1.
    div_factor : float, default 25.0
        The highest rate is this times the initial one; above 0.
    final_div_factor : float, default 1e4
        The initial rate is this times the last one; above 0.

    References
    ----------
    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2018.
    """

    _gates: ClassVar = {
        "steps": _validate.integer, "pct_start": _validate.share, "div_factor": _validate.positive,
        "final_div_factor": _validate.positive,
    }  # fmt: skip

    def __init__(
        self,
        learning_rate: float,
        steps: int,
        *,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        self.learning_rate = learning_rate
        self.steps = steps
        self.pct_start = pct_start
        self.div_factor = div_factor
        self.final_div_factor = final_div_factor

    def _rates(self, steps: Array) -> Any:
        first = self.learning_rate / self.div_factor
        last = first / self.final_div_factor
        peak, end = self.pct_start * self.steps - 1, self.steps - 1
        rising = steps < peak
        share = np.where(rising, steps, np.minimum(steps, end) - peak) / np.where(rising, peak, end - peak)
        begin, final = np.where(rising, first, self.learning_rate), np.where(rising, self.learning_rate, last)
        return final + (begin - final) * (1 + np.cos(np.pi * share)) / 2


#: All of them, by name.
KINDS: dict[str, type[Schedule]] = {
    kind.__name__: kind for kind in (Constant, Cosine, CosLog4, Exponential, FlatCosine, OneCycle, Polynomial, Step)
}


def or_number(gate: _validate.Gate) -> _validate.Gate:
    """The same gate, through which a schedule goes too."""

    def passed(value: Any, name: str) -> Any:
        if not callable(value):
            return gate(value, name)
        if not isinstance(value, Schedule):
            got = _validate.shown(value)
            raise TypeError(f"{name}: expected a number or a schedule from backprop.schedules, got {got}")
        return value

    return passed


def values(given: Any, name: str, first: int, count: int, below: float = math.inf) -> Array:
    """What a number, a schedule or a function of the step comes to in the steps from `first` on.

    One where it is a number, else one for each step; all at least 0 and below this.
    """
    number, steps = partial(_validate.number, name=name, least=0, below=below), range(first, first + count)
    if not callable(given):
        return np.array([number(given)])
    if not isinstance(given, Schedule):  # which knows many at once
        return np.array([number(given(step)) for step in steps])
    rates = np.ascontiguousarray(given.rates(np.arange(steps.start, steps.stop)), np.float64)
    wrong = ~(np.isfinite(rates) & (rates >= 0) & (rates < below))
    if wrong.any():
        number(rates[wrong][0])
    return rates


def from_config(config: dict[str, Any]) -> Schedule:
    """Build a schedule from what its `config` returned: one of this module, and nothing else.

    Parameters
    ----------
    config : dict

    Raises
    ------
    TypeError, ValueError
        If it is not what `config` returns.
    """
    return _described.from_config(config, KINDS)
