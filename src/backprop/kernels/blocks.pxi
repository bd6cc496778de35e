# Work that threads share block by block, by an object that owns its memory: what is beside training and prediction.

cdef extern from "Python.h":
    Py_buffer *PyMemoryView_GET_BUFFER(object view)


cdef inline Pass in_evaluation(bint keeps, bint logits) noexcept nogil:
    """How rows go through a network in evaluation mode."""
    cdef Pass how
    memset(&how, 0, sizeof(Pass))
    how.keeps, how.logits = keeps, logits
    return how


cdef class Blocks(Memory):
    """Threads take one block after the other, until there is none."""
    cdef Plan plan
    cdef int status, taken, threads
    cdef Watch watch
    cdef dict arrays                                    # what it reads and writes, by its name

    cdef void *numbers(self, str what, given, tuple shape, bint single, bint writable=False) except? NULL:
        """Where the numbers of an array begin, which must be of this type and shape; NULL for None."""
        cdef object view
        if given is None:
            return NULL
        view = memoryview(given)
        if view.format != ("f" if single else "d") or view.shape != shape or not view.c_contiguous or (
            writable and view.readonly
        ):
            raise ValueError(f"{what}: expected a contiguous array {shape} of this type, got {view.shape}")
        if self.arrays is None:
            self.arrays = {}
        self.arrays[what] = view
        return PyMemoryView_GET_BUFFER(view).buf

    cdef double room_for_rates(self) noexcept:
        return 8.0 * self.plan.graph.n_schedules + 64

    cdef int ask_for_dropout(self, Pass *how, tuple drops) except -1:
        """As it would drop in training, by (seed, step, number of the first row in its batch); None: not at all."""
        if drops is None:
            return 0
        how.seed, how.step, how.first_row = drops
        how.drops, how.rates = True, <double *> self.take(self.room_for_rates())
        return self.plan.read_rates(how.step, 1, <double *> how.rates)

    cdef void blocks(self, int thread, Watch *watch) noexcept nogil:
        pass

    cdef void work(self, int thread) noexcept:
        cdef Watch watch
        cdef float_mode mode
        with nogil:
            mode = flush_subnormals()
            watch = begin_watch(&self.status, mode) if thread == 0 else watch_elsewhere(&self.status)
            self.blocks(thread, &watch)
            restore_mode(mode)
        if thread == 0:
            self.watch = watch

    def run(self):
        """All of them; what a signal handler raised is raised."""
        others = []
        self.status, self.taken = RUNNING, 0
        if self.threads == 1:                           # it is short, mostly
            self.work(0)
            end_watch(&self.watch)
            return
        try:
            start_threads(lambda thread: self.work(thread), self.threads, others)
            self.work(0)
        except BaseException:
            atomic_set(&self.status, INTERRUPTED)
            raise
        finally:
            join_threads(others, &self.status)
        end_watch(&self.watch)
