"""How many threads to use: what the caller says, else as many as pay for themselves."""

import os
from typing import Any

from . import _validate

#: Multiply-adds that each thread must find in a batch, or two cost more than they save.
WORTH_A_THREAD = 1_000_000

_limit: int | None = None


def available() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_num_threads(threads: int | None) -> None:
    """Set how many threads `fit`, `predict` and `evaluate` use at most where ``threads`` is not given.

    Parameters
    ----------
    threads : int or None
        None is the default: as many as this process may use processors.
    """
    global _limit
    _limit = None if threads is None else _validate.integer(threads, "threads", 1, 1024)


def get_num_threads() -> int:
    """How many threads are used at most where ``threads`` is not given."""
    return available() if _limit is None else _limit


def choose(threads: Any, work: float) -> int:
    """The number of threads for a batch of so many multiply-adds."""
    if threads is not None:
        return _validate.integer(threads, "threads", 1, 1024)
    return max(1, min(get_num_threads(), int(work / WORTH_A_THREAD)))
