"""Tasks side by side, each on one of a few threads, until Ctrl-C."""

import _thread
import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from . import _threads

__all__ = ["run"]

#: Seconds between two looks of the thread that waits.
PATIENCE = 0.05


def run(tasks: Iterable[Callable[[], Any]], threads: int, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Call all of these, in their order, on so many threads: the next begins where one ends.

    What one of them raises stops the others as Ctrl-C does, and is raised once all have stopped.

    Parameters
    ----------
    tasks : iterable of callable () -> None
    threads : int
    meanwhile : callable () -> None
        Called now and then by the thread that waits, and at the end.
    """
    pool = _Pool(tasks)
    try:
        pool.start(threads)
        while pool.wait(PATIENCE):
            _threads.go_on()  # where this thread is one of another pool
            meanwhile()
    finally:
        pool.stop()
    if pool.error is not None:
        raise pool.error
    meanwhile()


class _Pool:
    """The threads of a `run`, which signals do not reach: handlers run in the main thread."""

    def __init__(self, tasks: Iterable[Callable[[], Any]]) -> None:
        self._left, self._stop, self._changed = deque(tasks), _threads.Stop(), threading.Condition()
        self._busy = 0
        #: What a task raised, if not because it had to stop.
        self.error: BaseException | None = None

    def start(self, threads: int) -> None:
        """Without `threading.Thread`: there, Ctrl-C may come between two lines of start()."""
        context = contextvars.copy_context()
        for i in range(threads):
            try:
                _thread.start_new_thread(context.copy().run, (self._work,))
            except RuntimeError:  # there are no more
                if i == 0:
                    self._work()
                return

    def wait(self, seconds: float) -> bool:
        """Wait; whether there is something left to wait for."""
        with self._changed:
            if not self._over():
                self._changed.wait(seconds)
            return not self._over()

    def stop(self) -> None:
        """Wait for those under way, which notice it soon; Ctrl-C is raised then."""
        raised: BaseException | None = None
        while True:
            try:
                self._stop.ask()
                if not self.wait(PATIENCE):
                    break
            except BaseException as error:  # noqa: BLE001 - raised below, whatever a signal handler raised
                raised = error
        if raised is not None:
            raise raised

    def _over(self) -> bool:
        return not self._busy and (not self._left or self._stop.asked)

    def _work(self) -> None:
        with self._changed:
            if self._stop.asked:
                return
            self._busy += 1
        try:
            with self._stop.heard():
                self._go_through()
        except BaseException as error:  # noqa: BLE001 - raised by the thread that waits
            if not self._stop.asked:
                self.error = error
            self._stop.ask()
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify()

    def _go_through(self) -> None:
        while not self._stop.asked:
            try:
                task = self._left.popleft()
            except IndexError:
                return
            task()
