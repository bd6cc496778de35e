"""Tasks in other processes than this one: the workers of joblib, or the ranks of an MPI communicator."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from .distributed import Ranks, current

__all__ = ["Workers", "workers"]


class Workers(Protocol):
    """Who calls functions elsewhere."""

    def call(self, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        """What a function returns for each of these arguments."""
        ...


def workers() -> Workers | None:
    """Those that are asked for: the ranks of `distributed.over`, or joblib's, where its `parallel_config` is active
    with processes. None where there are but threads.
    """
    ranks = current()
    if ranks is not None and ranks.size > 1:
        return _Ranks(ranks)
    joblib = sys.modules.get("joblib")  # whoever has asked for its workers has imported it
    config = {} if joblib is None else getattr(joblib.parallel._backend, "config", {})
    if joblib is None or not isinstance(config.get("backend"), joblib.parallel.ParallelBackendBase):
        return None
    shares_memory = getattr(config["backend"], "supports_sharedmem", False)
    return None if shares_memory else _Joblib(joblib, config["n_jobs"])


class _Joblib:
    def __init__(self, joblib: Any, jobs: Any) -> None:
        self._parallel, self._delayed = joblib.Parallel(n_jobs=jobs if isinstance(jobs, int) else -1), joblib.delayed

    def call(self, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        found: list[Any] = self._parallel(self._delayed(function)(*some) for some in arguments)
        return found


class _Ranks:
    """All of them call this with the same arguments; each does every so many-th, and all have what comes of all."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def call(self, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        rank, size = self._ranks.rank, self._ranks.size
        found = self._ranks.all([function(*some) for i, some in enumerate(arguments) if i % size == rank])
        count = sum(map(len, found))
        return [found[i % size][i // size] for i in range(count)]
