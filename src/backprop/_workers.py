"""Tasks in the workers of joblib, where its `parallel_config` is active: other processes, or other machines."""

import sys
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["call", "engine"]


def engine() -> Any:
    """joblib, where its `parallel_config` asks for processes by a backend; None where it does not.

    It is not imported: whoever has asked has done that. Threads of this process are what there is without it.
    """
    joblib = sys.modules.get("joblib")
    if joblib is None:
        return None
    config = getattr(joblib.parallel._backend, "config", {})
    backend = config.get("backend")
    asked = isinstance(backend, joblib.parallel.ParallelBackendBase)
    return joblib if asked and not getattr(backend, "supports_sharedmem", False) else None


def call(joblib: Any, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
    """What a function returns for each of these arguments, each called by a worker."""
    jobs = joblib.parallel._backend.config["n_jobs"]
    parallel = joblib.Parallel(n_jobs=jobs if isinstance(jobs, int) else -1)
    found: list[Any] = parallel(joblib.delayed(function)(*some) for some in arguments)
    return found
