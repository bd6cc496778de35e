"""Mean and variance of what some operations make of many rows: the running statistics of a batch norm."""

from __future__ import annotations

import numpy as np

from .. import _threads, _validate
from . import data
from .data import Lazy
from .engine import Chain

__all__ = ["of"]

Array = _validate.Array

#: Rows whose moments are taken at a time, and put together in double.
SLICE = 1024


def of(x: Array | Lazy, before: Chain, n: int, step: int | None, threads: int | None) -> tuple[Array, Array]:
    """Mean and variance, divided by the number of rows, of the n numbers that an engine makes of each row.

    The bits do not depend on how many rows are computed at once.
    """
    if len(x) < 2:
        raise ValueError(f"x: expected at least 2 rows to take a variance of, got {len(x)}")
    dtype = before.dtype
    slices = data.PIECE // (SLICE * n * dtype.itemsize) if step is None else -(-step // SLICE)
    step, count = SLICE * max(1, slices), 0
    mean, squares = np.zeros((2, n))
    for start in range(0, len(x), step):
        some = np.asarray(x[start : start + step])
        y = np.empty((len(some), n), dtype)
        with _threads.take(threads, _threads.worth_starting(before.work * len(some))) as workers:
            before.predict(some, y, False, workers)
        with np.errstate(all="ignore"):  # what is not finite is seen at the end
            for part in np.split(y, range(SLICE, len(y), SLICE)):
                middle = part.mean(axis=0, dtype=np.float64)
                apart, count = middle - mean, count + len(part)
                squares += ((part - middle) ** 2).sum(axis=0) + apart**2 * (len(part) * (count - len(part)) / count)
                mean += apart * (len(part) / count)
    with np.errstate(over="ignore", invalid="ignore"):
        found = mean.astype(dtype), (squares / count).astype(dtype)
    if not np.isfinite(found).all():
        raise ValueError("x: expected rows whose numbers before each batch norm have a finite variance: scale them")
    return found
