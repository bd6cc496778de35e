# The optimizer of a run.

@cython.final
cdef class Rule(Memory):
    """An optimizer as the engine sees it, read and checked, for n parameters.

    The update is (kind, numbers, weight_decay, clip_value, clip_norm, average), where 0 is none, and, where there are
    groups, for each (factor of the learning rate, of the weight decay, numbers); the state as many vectors (n,) as that
    kind keeps, the average last; the ranges, (begin, end) or (begin, end, group), ascending, are what it may change.
    """
    cdef Update update
    cdef tuple keep

    def __cinit__(
        self, update not None, tuple state not None, tuple ranges not None, int64_t step, Py_ssize_t n,
        bint single,
    ):
        cdef Update *it = &self.update
        cdef tuple numbers, groups, given
        cdef Py_ssize_t i, end = 0
        if not isinstance(update, tuple):               # a named one, too
            raise TypeError(f"expected a tuple, got {type(update).__name__}")
        it.kind, numbers, it.weight_decay, it.clip_value, it.clip_norm, it.average = update[:6]
        groups = update[6] if len(update) > 6 else ()
        if not NO_UPDATE < it.kind < UPDATE_COUNT:
            raise ValueError("an unknown optimizer")
        read_numbers(it, numbers)
        if not 0 <= step < MOST_STEPS:
            raise ValueError(f"expected a number of steps from 0 to 2^62, got {step}")
        it.step = step
        self.keep = tuple([memoryview(vector) for vector in state])
        if single:
            read_state[float](it, state, n, NULL)
        else:
            read_state[double](it, state, n, NULL)
        self.reserve(sizeof(Range) * <double> len(ranges) + sizeof(Update) * <double> len(groups))
        it.ranges = <Range *> self.take(sizeof(Range) * <double> len(ranges))
        for i in range(len(ranges)):
            given = ranges[i] if len(ranges[i]) == 3 else (*ranges[i], -1)
            it.ranges[i].begin, it.ranges[i].end, it.ranges[i].group = given
            if not end <= it.ranges[i].begin <= it.ranges[i].end <= n or it.ranges[i].group >= len(groups):
                raise ValueError("ranges of parameters that overlap, or that there are not")
            end = it.ranges[i].end
        it.n_ranges = len(ranges)
        it.plain = (
            it.n_ranges == 1 and it.ranges[0].begin == 0 and it.ranges[0].end == n and it.ranges[0].group < 0
            and not (it.clip_value > 0 or it.clip_norm > 0 or it.average > 0))
        self.add_groups(groups)

    cdef int add_groups(self, tuple groups) except -1:
        """Each the same update, but for its own numbers."""
        cdef Update *it = &self.update
        cdef Update *group
        cdef int i
        it.groups = <Update *> self.take(sizeof(Update) * <double> len(groups))
        for i in range(<int> len(groups)):
            group = &it.groups[i]
            group[0] = it[0]
            group.rate_factor, group.decay_factor, numbers = groups[i]
            read_numbers(group, numbers)
        it.n_groups = <int> len(groups)
        return 0


cdef int read_numbers(Update *update, tuple numbers) except -1:
    cdef Py_ssize_t i
    if numbers is None or len(numbers) > 8:
        raise ValueError("an unknown optimizer")
    for i in range(len(numbers)):
        update.parameters[i] = numbers[i]
    return 0


cdef int read_state(Update *update, tuple state, Py_ssize_t n, const real *_) except -1:
    cdef real[::1] vector
    cdef int i, given = 0
    for i in range(4):
        if wants(update, i) and given < len(state):
            vector = state[given]
            if vector.shape[0] != n:
                raise ValueError("a state for each parameter")
            update.state[i] = &vector[0]
            given += 1
        elif wants(update, i):
            raise ValueError("too little state for this optimizer")
    if given != len(state):
        raise ValueError("too much state for this optimizer")
    return 0
