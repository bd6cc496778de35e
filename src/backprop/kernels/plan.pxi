# The plan: a network lowered to a list of steps over flat memory, and what runs it without the interpreter.
#
# A workspace holds, for each step, the rows of its output y and of the gradient dy (which becomes dz in place), rows
# padded to whole registers. Rows are independent of one another on the way forward and back, weights of one
# another in their gradients and updates. So a batch has two phases, with a meeting of the threads after each part:
#
#   rows      gather, forward, loss, backward to every dz     threads share the rows
#   weights   dw and db, then the update                      threads share the rows of each weight, then all parameters
#
# and every number is computed by one thread, in an order that does not depend on how many there are.

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport calloc, free, malloc

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

from numpy import empty, ndarray

cdef enum Operation:
    DENSE, ACTIVATION, DROPOUT

OPERATIONS = {"dense": DENSE, "activation": ACTIVATION, "dropout": DROPOUT}

cdef enum Status:
    RUNNING, INTERRUPTED, DIVERGED

cdef enum:
    BLOCK = 64                                  # rows whose outputs stay in the first cache
    LITTLE_WORK = 200_000                       # multiply-adds not worth letting another thread run meanwhile
    LONG_WORK = 1_000_000_000                   # multiply-adds between two looks at the signals, at most
    NEAR = 524_288                              # bytes of a gradient that its update still finds in the second cache
    AHEAD = 8192                                # numbers of the next rows that are asked for, at most
    TURNED_WORK = 256                           # multiply-adds of a batch that is computed turned, at most
    CHUNK = 1024                                # rows whose outputs are kept for the gradients of the weights

cdef struct Step:
    int operation, activation
    double alpha                                # slope of leaky_relu, rate of dropout
    Py_ssize_t n_in, n_out, ld
    Py_ssize_t weight, bias                     # where they begin in the flat vectors; bias -1: none
    Py_ssize_t y, dy                            # numbers before theirs in a workspace, for each row of its capacity

cdef struct Graph:
    int n_steps
    Step *steps
    Py_ssize_t n_in, n_out, n_parameters
    Py_ssize_t widest, block                    # rows that go through all the steps together
    Py_ssize_t y_width, width                   # numbers in a row of a workspace: outputs; and with the gradients
    double work                                 # multiply-adds for one row on the way forward
    int n_penalties
    Penalty *penalties

cdef struct Pass:
    uint64_t seed
    int64_t step                                # which training step: what the dropout masks depend on
    Py_ssize_t first_row                        # which row of its batch is row 0 of the workspace
    bint training                               # dropout drops
    bint logits                                 # leave out the last activation: the loss works on what is beneath it


cdef inline Py_ssize_t padded(Py_ssize_t n, Py_ssize_t lanes) noexcept nogil:
    return (n + lanes - 1) // lanes * lanes


cdef inline Py_ssize_t distance(Py_ssize_t n, Py_ssize_t lanes) noexcept nogil:
    """Between rows of n numbers: whole registers, unless that were mostly padding."""
    return n if 2 * n <= lanes else padded(n, lanes)


cdef inline int activation_of(const Graph *graph, int s, bint logits) noexcept nogil:
    return IDENTITY if logits and s == graph.n_steps - 1 else graph.steps[s].activation


cdef inline uint64_t dropout_key(const Pass *how, int s) noexcept nogil:
    return mix(mix(how.seed, <uint64_t> how.step), <uint64_t> s + 1000)


# Memory that the kernels may read and write beyond: a workspace of rows, and what each thread needs beside it.

# A thread's scratch is a row of zeros, and the memory of a panel; the gradients of weights need a block beside it.

cdef inline Py_ssize_t zeros_size(const Graph *graph) noexcept nogil:
    return padded(graph.widest + SLACK, SLACK)


cdef inline Py_ssize_t scratch_size(const Graph *graph) noexcept nogil:
    return zeros_size(graph) + min(DEPTH, graph.widest) * WIDEST


cdef inline Py_ssize_t training_scratch_size(const Graph *graph) noexcept nogil:
    return zeros_size(graph) + DEPTH * (WIDEST + ROWS)


cdef void copy_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, real *y, Py_ssize_t ldy,
) noexcept nogil:
    cdef Py_ssize_t r
    for r in range(rows):
        copy_row(n, x + r * ldx, y + r * ldy)


cdef void gather_rows(Py_ssize_t rows, Py_ssize_t n, const real *x, const int64_t *order, real *y) noexcept nogil:
    """Rows from all over x; the row after the next is asked for while this one is copied."""
    cdef Py_ssize_t r
    for r in range(rows):
        if r + 2 < rows:
            prefetch_panel(UNPACKED, 1, n, x + order[r + 2] * n, n, 0, 1)
        copy_row(n, x + order[r] * n, y + r * n)


cdef const real *forward_rows(
    const Graph *graph, const Pass *how, const real *parameters, Py_ssize_t from_row, Py_ssize_t rows,
    const real *x, real *work, Py_ssize_t capacity, real *scratch, Py_ssize_t *ld,
) noexcept nogil:
    """Rows from_row... of a workspace: x (rows, n_in) to the outputs of every step. Returns the last ones."""
    cdef Py_ssize_t ldx = graph.n_in
    cdef const Step *step
    cdef real *y
    cdef int s
    for s in range(graph.n_steps):
        step = &graph.steps[s]
        if step.operation == DROPOUT and not how.training:
            continue
        y = work + step.y * capacity + from_row * step.ld
        if step.operation == DENSE:
            dense_forward(
                rows, step.n_in, step.n_out, x, ldx, parameters + step.weight,
                parameters + step.bias if step.bias >= 0 else NULL, y, step.ld, scratch, scratch + zeros_size(graph))
        elif step.operation == DROPOUT:
            dropout(dropout_key(how, s), step.alpha, how.first_row + from_row, rows, step.n_out, step.ld, x, ldx, y)
        else:
            copy_rows(rows, step.n_out, x, ldx, y, step.ld)
        activation_forward(
            activation_of(graph, s, how.logits), <real> step.alpha, rows, step.n_out, step.ld, y)
        x, ldx = y, step.ld
    ld[0] = ldx
    return x


cdef void backward_rows(
    const Graph *graph, const Pass *how, const real *parameters, Py_ssize_t from_row, Py_ssize_t rows,
    real *work, Py_ssize_t capacity, real *scratch, real *dx,
) noexcept nogil:
    """From the last step's dy, already in the workspace, to the dz of every step, and to dx (rows, n_in) if wanted."""
    cdef const Step *step
    cdef const real *y
    cdef real *dy
    cdef real *to
    cdef Py_ssize_t ld
    cdef int s
    for s in range(graph.n_steps - 1, -1, -1):
        step = &graph.steps[s]
        y = work + step.y * capacity + from_row * step.ld
        dy = work + step.dy * capacity + from_row * step.ld
        activation_backward(
            activation_of(graph, s, how.logits), <real> step.alpha, rows, step.n_out, step.ld, y, dy)
        if s > 0:
            ld = graph.steps[s - 1].ld
            to = work + graph.steps[s - 1].dy * capacity + from_row * ld
        else:
            ld, to = graph.n_in, dx
            if dx == NULL:
                return
        if step.operation == DENSE:
            dense_input_gradient(
                rows, step.n_in, step.n_out, dy, step.ld, parameters + step.weight, to, ld, scratch,
                scratch + zeros_size(graph))
        elif step.operation == DROPOUT and how.training:
            dropout(dropout_key(how, s), step.alpha, how.first_row + from_row, rows, step.n_out, ld, dy, step.ld, to)
        else:
            copy_rows(rows, step.n_out, dy, step.ld, to, ld)


cdef inline inlined weight_gradients(
    const Graph *graph, int s, Py_ssize_t from_in, Py_ssize_t to_in, Py_ssize_t rows, const real *x,
    const real *work, Py_ssize_t capacity, real *scratch, bint accumulate, real *gradients,
) noexcept nogil:
    """dw = x^T dz for the inputs from_in...to_in of a dense step, and with the first of them db = the sum of dz."""
    cdef const Step *step = &graph.steps[s]
    cdef const real *dz = work + step.dy * capacity
    cdef Py_ssize_t ldx = graph.n_in
    if s > 0:
        x, ldx = work + graph.steps[s - 1].y * capacity, graph.steps[s - 1].ld
    dense_weight_gradient(
        rows, to_in - from_in, step.n_out, x + from_in, ldx, dz, step.ld,
        gradients + step.weight + from_in * step.n_out, accumulate, scratch, scratch + zeros_size(graph))
    if from_in == 0 and step.bias >= 0:
        dense_bias_gradient(rows, step.n_out, dz, step.ld, gradients + step.bias, accumulate, scratch)


cdef bint is_finite(Py_ssize_t n, const real *x) noexcept nogil:
    """Whether there is no infinity and no NaN."""
    cdef Py_ssize_t i
    cdef int broken = 0
    for i in range(n):
        broken |= x[i] - x[i] != 0
    return not broken


cdef bint predict_rows(
    const Graph *graph, const real *parameters, const real *x, real *out, Py_ssize_t rows, bint logits, real *work,
    Py_ssize_t capacity, real *scratch,
) noexcept nogil:
    """The outputs (rows, n_out) for x (rows, n_in), a block of `capacity` rows at a time; whether x is finite."""
    cdef Pass how = Pass(seed=0, step=0, first_row=0, training=False, logits=logits)
    cdef Py_ssize_t done = 0, n, ahead, ld
    cdef const real *y
    memset(scratch, 0, zeros_size(graph) * sizeof(real))
    while done < rows:
        n = min(rows - done, capacity)
        if not is_finite(n * graph.n_in, x + done * graph.n_in):
            return False
        ahead = min(AHEAD, (rows - done - n) * graph.n_in)
        prefetch_panel(UNPACKED, 1, ahead, x + (done + n) * graph.n_in, 0, 0, 1)
        y = forward_rows(graph, &how, parameters, 0, n, x + done * graph.n_in, work, capacity, scratch, &ld)
        copy_rows(n, graph.n_out, y, ld, out + done * graph.n_out, graph.n_out)
        done += n
    return True
