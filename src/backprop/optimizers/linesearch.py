"""Line searches: the step size along a descent direction."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .._validate import Array

__all__ = ["Point", "strong_wolfe"]


class Point(NamedTuple):
    """A point on the line: the step to it, the value and the slope along the line there, and the whole gradient."""

    step: float
    value: float
    slope: float
    gradient: Array

    @property
    def finite(self) -> bool:
        """Whether value, slope and gradient are."""
        return math.isfinite(self.value) and math.isfinite(self.slope) and bool(np.isfinite(self.gradient).all())


def strong_wolfe(
    evaluate: Callable[[float], Point],
    start: Point,
    initial_step: float,
    max_evaluations: int,
    *,
    noise: float = 0.0,
    decrease: float = 1e-4,
    curvature: float = 0.9,
) -> Point:
    """Search for a step that meets the strong Wolfe conditions: sufficient decrease and curvature.

    Parameters
    ----------
    evaluate : callable
        The point at a step. Values that are not finite count as too high.
    start : Point
        That at step 0; its slope is negative.
    initial_step : float
        The step to try first.
    max_evaluations : int
        How many to try at most.
    noise : float, default 0
        Below this, differences of values say nothing, and the slopes decide. Near a minimum the value changes with the
        square of the step, and rounding hides it long before the slope is zero.
    decrease, curvature : float, default 1e-4, 0.9
        The value is below start.value + decrease step start.slope, the slope at most curvature times that at the start
        (c1 and c2 of the reference).

    Returns
    -------
    Point
        The first to meet both; the lowest that meets one, if none does; the start, where nothing is lower.

    References
    ----------
    Nocedal and Wright, "Numerical optimization", 2nd ed. 2006, algorithms 3.5 and 3.6 in one: the bracket has no
    upper end yet, and then it has. For noise: Hager and Zhang, "A new conjugate gradient method with
    guaranteed descent and an efficient line search", SIAM J. Optim. 16, 2005, section 4.
    """
    low, high, step = start, None, initial_step
    for _ in range(max_evaluations):
        point = evaluate(step)
        bound = min(low.value, start.value + decrease * step * start.slope) + noise
        if not (point.finite and point.value <= bound):
            high = point
        elif abs(point.slope) <= -curvature * start.slope:
            return point
        else:
            if point.slope * (math.inf if high is None else high.step - low.step) >= 0:
                high = low
            low = point
        step = 4 * step if high is None else _between(low, high)
    return low


def _between(low: Point, high: Point) -> float:
    """The minimizer of the cubic interpolation (eq. 3.59), kept from the ends of the bracket; else its middle."""
    width, fraction = high.step - low.step, 0.5
    if high.finite:
        d = low.slope + high.slope - 3 * (low.value - high.value) / (low.step - high.step)
        root = d * d - low.slope * high.slope
        if root >= 0:
            root = math.copysign(math.sqrt(root), width)
            bottom = high.slope - low.slope + 2 * root
            fraction = 1 - (high.slope + root - d) / bottom if bottom != 0 else 0.5
    return low.step + width * min(max(fraction, 0.1), 0.9)
