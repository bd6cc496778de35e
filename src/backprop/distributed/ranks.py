"""The processes of a fit, and how they keep together.

Whatever they do together begins with a meeting: each says whether it is well. A rank that has failed says so at the
next meeting, wherever it stands, and then what has happened; so all end with that, and none waits for another forever.
Between a meeting and what it begins nothing may fail, nor be interrupted: Ctrl-C is kept until the next meeting.
"""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import RankError
from .tree import blocks, grown

__all__ = ["Ranks", "together"]

Array = npt.NDArray[Any]

#: What a rank says of itself at a meeting.
WELL, INTERRUPTED, FAILED = range(3)

#: Seconds in which a rank that waits asks again and again, since bytes move only while it asks; then how long it sleeps
#: and asks, in turns: its core may be wanted by those it waits for.
EAGER, SLEEP, BETWEEN = 10e-3, 50e-6, 300e-6

#: Bytes of a vector up to which each rank gets all blocks of the others and adds them itself; of a larger one each adds
#: a part, and the parts are handed on.
SMALL = 32_768

#: Numbers that go with a meeting; more are handed on after it.
HEADER = 15


@contextmanager
def together(comm: Any) -> Generator[Ranks]:
    """The ranks of a communicator, or this process alone; what fails on one of them fails on all.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None

    Raises
    ------
    RankError
        On this rank, if another has failed. That one raises what has happened to it.
    """
    if comm is not None and not all(hasattr(comm, name) for name in ("Dup", "Iallgather", "Ialltoallv", "Irecv")):
        raise TypeError(f"comm: expected a communicator of mpi4py, such as MPI.COMM_WORLD, got {type(comm).__name__}")
    ranks = Ranks(comm)
    try:
        with ranks.interruptible():
            yield ranks
            ranks.meet()  # lest one leaves while another fails at its last step
    except BaseException as error:
        ranks.tell(error)
        raise
    finally:
        ranks.free()


class Ranks:
    """Some processes; those of a communicator, or this one alone.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None

    Attributes
    ----------
    rank, size : int
        Which of them this is, and how many there are.
    seconds : float
        Spent in meetings and sums, waiting for others included.
    """

    def __init__(self, comm: Any) -> None:
        self._comm: Any = None if comm is None or comm.Get_size() == 1 else comm.Dup()
        self.rank: int = 0 if self._comm is None else self._comm.Get_rank()
        self.size: int = 1 if self._comm is None else self._comm.Get_size()
        self.seconds = 0.0
        self._interrupted = self._ended = False

    def free(self) -> None:
        """Give the communicator back."""
        if self._comm is not None:
            self._comm.Free()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Within, the first Ctrl-C is kept until the next meeting; a second one is raised at once."""
        if self._comm is None or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def keep(number: int, frame: Any) -> None:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True

        signal.signal(signal.SIGINT, keep)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)

    # Meetings.

    def meet(self, values: Sequence[float] | Array = (), most: int | None = None) -> Array:
        """Each rank's numbers, at most so many of each, as (size, most): with them begins the next step of all.

        Raises
        ------
        RankError
            If another rank has failed.
        KeyboardInterrupt
            If this one was interrupted.
        """
        most = len(values) if most is None else most
        said = self._say(INTERRUPTED if self._interrupted else WELL, values[:HEADER])
        if said[:, 0].any():
            self._fail(said[:, 0])
        if most <= HEADER:
            return said[:, 1 : 1 + most]
        mine, found = np.zeros(most), np.zeros((self.size, most))
        mine[: len(values)] = values
        self._together("Iallgather", mine, found)
        return found

    def tell(self, error: BaseException) -> None:
        """At the next meeting of the others, that this rank has failed, and how; unless they know."""
        if not self._ended:
            self._say(FAILED, ())
            self._gathered(_said(error))

    def _say(self, state: int, values: Sequence[float] | Array) -> Array:
        mine, found = np.zeros(1 + HEADER), np.zeros((self.size, 1 + HEADER))
        mine[0] = state
        mine[1 : 1 + len(values)] = values
        self._together("Iallgather", mine, found)
        return found

    def _fail(self, states: Array) -> None:
        self._ended = True
        reasons = self._gathered(_said(KeyboardInterrupt()) if self._interrupted else b"")
        if self._interrupted:
            raise KeyboardInterrupt
        rank = int(np.flatnonzero(states)[0])
        raise RankError(f"rank {rank} of {self.size} failed: {reasons[rank].decode()}", rank=rank)

    # What meetings begin.

    def all(self, value: Any) -> list[Any]:
        """An object of each rank, in their order."""
        said = pickle.dumps(value)
        self.meet()
        return [pickle.loads(one) for one in self._gathered(said)]

    def from_first(self, value: Any) -> Any:
        """The object of rank 0; those of others are not looked at."""
        return self.all(value if self.rank == 0 else None)[0]

    def agree(self, **said: Any) -> None:
        """Refuse what is not the same on all ranks, on all of them alike."""
        everybody = self.all({name: str(value) for name, value in said.items()})
        for rank, other in enumerate(everybody):
            for name, value in everybody[0].items():
                if other.get(name) != value:
                    raise ValueError(
                        f"{name}: expected the same on all ranks, got {value} on rank 0 and {other.get(name)} on rank "
                        f"{rank}"
                    )

    def joined(self, array: Array, counts: Sequence[int]) -> Array:
        """The rows of all ranks, of which each has so many, in their order."""
        self.meet()
        return self._rows(array, counts)

    def trade(self, sends: Mapping[int, Array], receives: Mapping[int, Array]) -> None:
        """Send contiguous arrays to ranks, and receive from ranks into others."""
        self.meet()
        requests = [self._comm.Irecv(_bytes(array), rank) for rank, array in receives.items() if array.size]
        requests += [self._comm.Isend(_bytes(array), rank) for rank, array in sends.items() if array.size]
        for request in requests:
            self._wait(request)

    def total(self, held: list[Array], shards: Sequence[range]) -> Array:
        """The sum of all shards' vectors in one tree: of the blocks that each rank holds of its shards. No meeting.

        Up to 32 KiB each rank adds all blocks; else each a part of the vector, and the parts are handed on.
        """
        levels = [blocks(some.start, some.stop) for some in shards]
        if self.size == 1:
            return grown(zip(levels[0], held, strict=True))
        together = [level for some in levels for level in some]
        counts = [len(some) for some in levels]
        mine = held[0][None] if len(held) == 1 else np.array(held)
        n = mine.shape[1]
        if mine[0].nbytes <= SMALL:
            return grown(zip(together, self._rows(mine, counts), strict=True))
        cuts = [n * rank // self.size for rank in range(self.size + 1)]
        widths = np.diff(cuts)
        width = int(widths[self.rank])
        packed = (
            mine[0] if len(mine) == 1 else np.concatenate([mine[:, a:b].ravel() for a, b in itertools.pairwise(cuts)])
        )
        parts = np.empty((len(together), width), mine.dtype)
        self._together("Ialltoallv", [packed, _places(widths * len(mine))], [parts, _places(np.array(counts) * width)])
        found = np.empty(n, mine.dtype)
        part = grown(zip(together, parts, strict=True))
        self._together("Iallgatherv", part, [found, _places(widths)])
        return found

    # The calls of MPI.

    def _rows(self, array: Array, counts: Sequence[int]) -> Array:
        if self.size == 1:
            return array
        array = np.ascontiguousarray(array)
        found = np.empty((sum(counts), *array.shape[1:]), array.dtype)
        each = array.dtype.itemsize * int(np.prod(array.shape[1:]))
        self._together("Iallgatherv", _bytes(array), [_bytes(found), _places(np.array(counts) * each)])
        return found

    def _gathered(self, said: bytes) -> list[bytes]:
        mine = np.frombuffer(said, np.uint8)
        lengths = np.zeros((self.size, 1), np.int64)
        self._together("Iallgather", np.array([len(mine)]), lengths)
        found = self._rows(mine, lengths[:, 0].tolist())
        ends = np.cumsum(lengths[:, 0]).tolist()
        return [found[end - length : end].tobytes() for end, length in zip(ends, lengths[:, 0].tolist(), strict=True)]

    def _together(self, call: str, mine: Any, found: Any) -> None:
        """One of the collective calls."""
        if self._comm is None:
            found[...] = mine
        else:
            self._wait(getattr(self._comm, call)(mine, found))

    def _wait(self, request: Any) -> None:
        begun = time.perf_counter()
        until = begun + EAGER
        while not request.Test():
            if time.perf_counter() < until:
                os.sched_yield() if hasattr(os, "sched_yield") else time.sleep(0)
            else:
                time.sleep(SLEEP)
                until = time.perf_counter() + BETWEEN
        self.seconds += time.perf_counter() - begun


def _places(counts: Array) -> tuple[list[int], list[int]]:
    """Counts, and where each begins."""
    return counts.tolist(), (np.cumsum(counts) - counts).tolist()


def _bytes(array: Array) -> Array:
    return array.reshape(-1).view(np.uint8)


def _said(error: BaseException) -> bytes:
    return f"{type(error).__name__}: {error}".rstrip(": ").encode()
