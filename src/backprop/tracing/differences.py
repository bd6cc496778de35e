"""Central finite differences."""

from collections.abc import Callable

import numpy as np

from .._validate import Array

__all__ = ["central_differences", "relative_errors"]


def central_differences(p: Array, value: Callable[[], float]) -> Array:
    """(L(p + h) - L(p - h)) / 2h for each number of a vector that the value depends on; the vector is as it was."""
    step = float(np.finfo(p.dtype).eps) ** (1 / 3)
    found = np.empty_like(p)
    for i, kept in enumerate(p.tolist()):
        h = step * max(1.0, abs(kept))
        try:
            p[i] = kept + h
            above, up = value(), float(p[i])
            p[i] = kept - h
            found[i] = (above - value()) / (up - float(p[i]))
        finally:
            p[i] = kept
    return found


def relative_errors(gradient: Array, numeric: Array) -> Array:
    """|a - n| / max(|a|, |n|, floor), with a hundredth of the largest for the floor: differences can tell no less."""
    size = np.maximum(abs(gradient), abs(numeric))
    floor = max(size.max(initial=0) / 100, np.finfo(gradient.dtype).tiny)
    found: Array = abs(gradient - numeric) / np.maximum(size, floor)
    return found
