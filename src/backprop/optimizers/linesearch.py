"""Line searches: how far to go along a direction that leads down."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .._validate import Array

__all__ = ["Point", "strong_wolfe"]


class Point(NamedTuple):
    """A point on the line: how far along it, the value and the slope there, and the whole gradient."""

    step: float
    value: float
    slope: float
    gradient: Array

    @property
    def finite(self) -> bool:
        """Whether all of it is."""
        return math.isfinite(self.value) and math.isfinite(self.slope) and bool(np.isfinite(self.gradient).all())


def strong_wolfe(
    look: Callable[[float], Point],
    start: Point,
    first: float,
    most: int,
    *,
    noise: float = 0.0,
    decrease: float = 1e-4,
    curvature: float = 0.9,
) -> Point:
    """Look for a point that is low and level enough: the strong Wolfe conditions.

    Parameters
    ----------
    look : callable
        The point at some step. Values that are not finite count as too high.
    start : Point
        That at step 0; its slope is negative.
    first : float
        The step to try first.
    most : int
        How many to try.
    noise : float, default 0
        Below this, differences of values say nothing, and the slopes decide. Near a minimum the value changes with the
        square of the step, and rounding hides it long before the slope is zero.
    decrease, curvature : float, default 1e-4, 0.9
        The value is below start.value + decrease step start.slope, the slope at most curvature times that at the start.

    Returns
    -------
    Point
        The first to meet both; the lowest that meets one, if none does; the start, where nothing is lower.

    References
    ----------
    Nocedal and Wright, "Numerical optimization", 2nd ed. 2006, algorithms 3.5 and 3.6 in one: there is no point yet
    beyond which not to look, and then there is. For noise: Hager and Zhang, "A new conjugate gradient method with
    guaranteed descent and an efficient line search", SIAM J. Optim. 16, 2005, section 4.
    """
    low, high, step = start, None, first
    for _ in range(most):
        point = look(step)
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
    """Where the cubic through both points and slopes is least (eq. 3.59), well within; else in the middle."""
    width, share = high.step - low.step, 0.5
    if high.finite:
        d = low.slope + high.slope - 3 * (low.value - high.value) / (low.step - high.step)
        root = d * d - low.slope * high.slope
        if root >= 0:
            root = math.copysign(math.sqrt(root), width)
            bottom = high.slope - low.slope + 2 * root
            share = 1 - (high.slope + root - d) / bottom if bottom != 0 else 0.5
    return low.step + width * min(max(share, 0.1), 0.9)
