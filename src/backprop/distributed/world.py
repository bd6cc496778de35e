"""The processes that an MPI launcher has started, for a program that does everything in all of them."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .ranks import Ranks, together

__all__ = ["current", "launched", "over"]

_current: ContextVar[Ranks | None] = ContextVar("ranks", default=None)

#: Where launchers say how many processes there are: MPICH and Intel MPI, Open MPI, PMIx.
SIZES = "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_SIZE"


def launched() -> Any:
    """The communicator of all processes, where an MPI launcher has started several of this program; else None.

    Raises
    ------
    ImportError
        If it has, and mpi4py is missing.
    """
    if not any(os.environ.get(name, "1") not in ("", "1") for name in SIZES):
        return None
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ImportError(f'mpiexec needs mpi4py: pip install "backprop-nn[mpi]" ({error})') from error
    return MPI.COMM_WORLD


@contextmanager
def over(comm: Any) -> Generator[Ranks]:
    """As `together`; within, `current` tells the ranks to whoever reads files or trains several networks."""
    with together(comm) as ranks:
        token = _current.set(ranks)
        try:
            yield ranks
        finally:
            _current.reset(token)


def current() -> Ranks | None:
    """The ranks of the `over` that this runs in, if there is one."""
    return _current.get()
