"""How many threads to use: what the caller says, else as many as pay for themselves and are free."""

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from . import _validate
from .errors import BusyError

#: Multiply-adds that a prediction must hold for each thread, where it has to be started: two come out even at 5 to 7
#: million each. Of many threads each waits for those started before it: n pay where there are so many times n * n.
#: Those of a row in a fit are three times as many.
WORTH_STARTING, STARTED_BEFORE, THERE_AND_BACK = 8_000_000, 1_600_000, 3
#: Multiply-adds that a batch must hold for n threads that meet in a fit are n * n times so many, since a meeting costs
#: more with more of them: where they share its slices, and where they share weights. In a slice a row costs as much as
#: so many more, which is most of what it costs in the smallest networks.
BY_SLICES, BY_WEIGHTS, OF_A_ROW = 100_000, 250_000, 3000
#: More threads that share slices were slower.
MOST_BY_SLICES = 8
#: Two or three threads that share weights change half of them hands: it takes so many multiply-adds, of so many rows;
#: with fewer rows, the more of them. And rows of which several threads were not tried.
FEW_BY_WEIGHTS, ROWS_BY_WEIGHTS, TOO_FEW_ROWS = 10_000_000, 128, 16

#: What may stop this thread, where it runs tasks of a pool.
_stop: ContextVar["Stop | None"] = ContextVar("stop", default=None)

_limit: int | None = None
_lock = threading.Lock()
_active = 0


@cache
def _quota(root: str = "/sys/fs/cgroup") -> float:
    """How many processors' time a container may use (control groups, version 2 or 1)."""
    from pathlib import Path

    try:
        quota, period = Path(root, "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = (Path(root, "cpu", f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except (OSError, ValueError):
            return math.inf
    try:
        found = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return math.inf
    return found if found > 0 else math.inf


def _told() -> float:
    """What OMP_NUM_THREADS says: joblib sets it in its workers, so that together they use each processor once."""
    try:
        told = int(os.environ["OMP_NUM_THREADS"].split(",")[0])
    except (KeyError, ValueError):
        return math.inf
    return told if told > 0 else math.inf


def available() -> int:
    """How many processors this process may use: those it may run on, within what its container and its caller allow."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(_quota(), processors, _told())))


def checked(threads: Any) -> int | None:
    """A number of threads, or None."""
    return None if threads is None else _validate.integer(threads, "threads", 1, 1024)


def set_num_threads(threads: int | None) -> None:
    """Set how many threads `fit`, `predict` and `evaluate` use at most where ``threads`` is not given.

    Parameters
    ----------
    threads : int or None
        None is the default: as many as this process may use processors, and ``OMP_NUM_THREADS`` allows.
    """
    global _limit
    _limit = checked(threads)


def get_num_threads() -> int:
    """How many threads are used at most where ``threads`` is not given."""
    return available() if _limit is None else _limit


class Stop:
    """Ends what some threads compute, as Ctrl-C does in the main thread: only there do signal handlers run."""

    def __init__(self) -> None:
        self.asked = False
        self._under_way: set[Any] = set()

    def ask(self) -> None:
        """Let them end, at once where they are within a call of the core."""
        self.asked = True
        for call in self._under_way.copy():
            call.stop()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """In a block, by whatever this thread computes."""
        before = _stop.set(self)
        try:
            yield
        finally:
            _stop.reset(before)

    def run(self, call: Any) -> Any:
        """Its run(), which its stop() ends."""
        self._under_way.add(call)  # whoever asks finds it there; or has asked before, which is seen here
        try:
            go_on()
            return call.run()
        finally:
            self._under_way.discard(call)


def in_pool() -> bool:
    """Whether this thread does a task of a pool: alone, and looking now and then, by `go_on`, whether to stop."""
    return _stop.get() is not None


def go_on() -> None:
    """Raise what Ctrl-C would, where this thread is to stop."""
    stop = _stop.get()
    if stop is not None and stop.asked:
        raise KeyboardInterrupt


def run(call: Any) -> Any:
    """The run() of a call of the core, which ends early where this thread is to stop."""
    stop = _stop.get()
    return call.run() if stop is None else stop.run(call)


def worth_starting(work: float) -> int:
    """How many threads pay that have to be started for so many multiply-adds."""
    return 1 if work < 2 * WORTH_STARTING else min(int(work / WORTH_STARTING), math.isqrt(int(work / STARTED_BEFORE)))


def worth_meeting(work: float, rows: int, slices: int, batches: int) -> int:
    """How many threads pay in a fit of so many batches, of so many rows and slices each; work is that of a row."""
    if slices > 1:
        # of three slices, two threads leave two to one of them; four threads that have one each are the fastest
        most = min(max(4, slices // 2), MOST_BY_SLICES) if slices > 3 else 1
        pay = min(most, math.isqrt(int((work + OF_A_ROW) * rows) // BY_SLICES))
    else:
        pay = math.isqrt(int(work * rows) // BY_WEIGHTS) if rows >= TOO_FEW_ROWS else 1
        few = work * min(rows, rows * rows / ROWS_BY_WEIGHTS) < FEW_BY_WEIGHTS
        if few and pay > 1 and min(pay, get_num_threads()) < 4:
            pay = 1
    return max(1, min(pay, worth_starting(THERE_AND_BACK * work * rows * batches)))


def for_several(threads: int | None, pay: int) -> bool:
    """Whether a call may be for more than one thread: as asked, or where so many pay."""
    return threads != 1 if threads else pay > 1 and not in_pool()


@contextmanager
def take(threads: int | None, pay: int) -> Iterator[int]:
    """A number of threads: as asked, or as many as pay, where so many are free.

    Threads that other calls of this process have taken are not free: when many predict at once, each uses its own.
    A task of a pool has been given one, and takes no more by itself.
    """
    global _active
    go_on()
    most = get_num_threads() if for_several(threads, pay) else 1
    with _lock:
        count = threads or max(1, min(most - _active, pay))
        _active += count
    try:
        yield count
    finally:
        with _lock:
            _active -= count


def _forget() -> None:
    """A child of a fork has none of its parent's threads."""
    global _lock, _active
    _lock, _active = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Turn:
    """Which thread trains a network: one at a time, and one fit."""

    def __init__(self) -> None:
        self._lock, self._thread = threading.Lock(), 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take it for a block; refused while another fit has it."""
        if not self._lock.acquire(blocking=False):
            raise BusyError("this network is being trained: wait for that fit to end, or train a copy")
        self._thread = threading.get_ident()
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Let no other thread have it in a block; a callback of this thread's own fit goes on."""
        if self._lock.locked() and self._thread == threading.get_ident():
            yield
        else:
            with self.taken():
                yield
