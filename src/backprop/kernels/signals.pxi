# Signals: a long call looks for them now and then, so that Ctrl-C need not wait for its end.
#
# Python runs signal handlers in its main thread only. A handler that returns lets the call go on; what one raises sets
# the status that all threads of the call look at, and is raised when they have left.

from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_DECREF, Py_INCREF

cdef extern from "threads.h" nogil:
    int atomic_get(int *p)
    void atomic_set(int *p, int value)
    int atomic_add(int *p, int value)
    void spin_pause()
    void give_way()
    double seconds_now()

cdef extern from "simd.h" nogil:
    ctypedef unsigned long long float_mode
    float_mode flush_subnormals()
    void restore_mode(float_mode mode)

from threading import get_ident, main_thread

cdef enum Status:
    RUNNING, INTERRUPTED, DIVERGED
    LEFT                                        # of a thread alone, which the others do without

cdef enum:
    LONG_WORK = 60_000_000                      # multiply-adds of a lane between two looks at the signals, at most
    PIECE = 200_000                             # numbers that are gone through between two looks, where each is little

cdef struct Watch:
    int *status                                 # of all threads of a call
    int *stop                                   # what another thread sets, for it to end; or NULL
    float_mode mode                             # of the caller, and of signal handlers
    void *raised                                # by a handler, a reference; or NULL
    double effort, looked                       # since the last look at the clock; when handlers could last run
    bint elsewhere                              # than in the main thread


cdef inline Watch begin_watch(int *status, float_mode mode, int *stop=NULL) noexcept nogil:
    return Watch(status=status, stop=stop, mode=mode, raised=NULL, effort=0, looked=0, elsewhere=False)


cdef inline Watch watch_elsewhere(int *status) noexcept nogil:
    """Of a thread in which no handlers run: it only sees when to stop."""
    return Watch(status=status, stop=NULL, mode=0, raised=NULL, effort=0, looked=0, elsewhere=True)


cdef inline float_mode mode_now() noexcept nogil:
    cdef float_mode mode = flush_subnormals()
    restore_mode(mode)
    return mode


cdef void run_signal_handlers(Watch *watch) noexcept with gil:
    cdef float_mode ours = mode_now()
    restore_mode(watch.mode)
    try:
        watch.elsewhere = get_ident() != main_thread().ident
        PyErr_CheckSignals()
    except BaseException as error:
        Py_INCREF(error)
        watch.raised = <void *> error
        atomic_set(watch.status, INTERRUPTED)
    restore_mode(ours)


cdef bint look_for_signals(Watch *watch, double effort) noexcept nogil:
    """Whether to stop here. Ctrl-C is noticed every 50 ms; the clock costs too, so it is read after some effort."""
    cdef double now
    if watch.stop != NULL and atomic_get(watch.stop):
        atomic_set(watch.status, INTERRUPTED)
    watch.effort += effort
    if watch.effort >= 4e6 and not watch.elsewhere:
        watch.effort = 0
        now = seconds_now()
        if watch.looked == 0:
            watch.looked = now
        elif not 0 <= now - watch.looked < 0.05:
            run_signal_handlers(watch)
            watch.looked = seconds_now()
    return atomic_get(watch.status) != RUNNING


cdef int end_watch(Watch *watch) except -1:
    """Raise what a handler raised."""
    cdef object error
    if watch.raised != NULL:
        error = <object> watch.raised
        watch.raised = NULL
        Py_DECREF(error)
        raise error
    return 0


# Threads without `threading`: there, Ctrl-C may come between two lines of start() or join(), and then nobody knows
# whether the thread runs. Each holds a lock as long as it works.

def run_thread(work, int number, lock):
    """What such a thread runs."""
    try:
        work(number)
    finally:
        lock.release()


cdef int start_threads(work, int count, list locks) except -1:
    """Start work(1), work(2)... in threads of their own, put their locks in the list; fewer where there are no more."""
    import _thread
    for i in range(1, count):
        lock = _thread.allocate_lock()
        lock.acquire()
        locks.append(lock)
        try:
            _thread.start_new_thread(run_thread, (work, i, lock))
        except RuntimeError:
            locks.pop()
            break
    return 0


cdef int join_threads(list locks, int *status) except -1:
    """Wait for them all; what a signal handler raises meanwhile stops them, and is raised then."""
    error = None
    for lock in locks:
        done = False
        while not done:
            try:
                done = lock.acquire(timeout=0.05)
                PyErr_CheckSignals()
            except BaseException as raised:
                atomic_set(status, INTERRUPTED)
                error = raised
    if error is not None:
        raise error
    return 0
