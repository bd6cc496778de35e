# The graph: a network lowered to a list of steps over flat memory.
#
# Each step takes the output of an earlier one (or the input), some of two. A workspace holds, for each step, the rows
# of its output y and of the gradient dy (which becomes dz in place), rows padded to whole registers.

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.stdint cimport int8_t, int16_t, int32_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc

from numpy import empty, float64, ndarray

cdef enum Operation:
    DENSE, ACTIVATION, DROPOUT, ADD, JOIN, PRELU, LAYER_NORM, BATCH_NORM, COLUMNS
    OPERATION_COUNT                             # stays the last

OPERATIONS = {
    "dense": DENSE, "activation": ACTIVATION, "dropout": DROPOUT, "add": ADD, "join": JOIN, "prelu": PRELU,
    "layer_norm": LAYER_NORM, "batch_norm": BATCH_NORM, "columns": COLUMNS,
}

cdef enum Columnwise:                           # what a batch norm knows of each column, at the end of a workspace
    MEAN, RSTD, VARIANCE, SUM_DY, SUM_PRODUCT, COLUMNWISE

cdef enum:
    INPUT = -1
    BLOCK = 64                                  # rows whose outputs stay in the first cache
    LITTLE_WORK = 200_000                       # multiply-adds not worth letting another thread run meanwhile
    NEAR = 524_288                              # bytes of a gradient that its update still finds in the second cache
    AHEAD = 8192                                # numbers of the next rows that are asked for, at most
    TURNED_WORK = 256                           # multiply-adds of a batch that is computed turned, at most
    CHUNK = 1024                                # rows whose outputs are kept for the gradients of the weights
    SLICE = 512                                 # rows of a batch beyond a chunk whose gradients are one sum

cdef struct Column:
    Py_ssize_t weight                           # where its table begins in the flat vector; -1: the number goes on
    Py_ssize_t values, n                        # rows of the table, and their length
    Py_ssize_t count                            # of how many columns, side by side, all this holds

cdef struct Step:
    int operation, activation
    double alpha                                # slope of an activation, rate of dropout, epsilon of a norm
    Py_ssize_t n_in, n_out, ld
    Py_ssize_t weight, bias                     # where they begin in the flat vectors; bias -1: none
    Py_ssize_t buffer                           # where running statistics begin: mean, then variance
    int norm                                    # which of the batch norms it is
    Py_ssize_t units, unit                      # what threads share of the weight: so many times so many numbers
    int source, other                           # whose output it takes: the number of a step, or INPUT
    bint adds, adds_other                       # their gradient has been written by a later step
    int key                                     # what a dropout mask depends on
    Py_ssize_t y, dy                            # numbers before theirs in a workspace, for each row of its capacity
    Py_ssize_t statistics                       # the same for KEPT numbers a row; of a batch norm, its place at the end
    Py_ssize_t n_columns
    Column *columns

cdef struct Graph:
    int n_steps
    Step *steps
    Py_ssize_t n_in, n_out, n_parameters, n_buffers
    Py_ssize_t widest, block                    # rows that go through all the steps together
    Py_ssize_t y_width, width                   # numbers in a row of a workspace: outputs; and with the gradients
    Py_ssize_t at_end                           # numbers at the end of a workspace, in which doubles for columns lie
    double work                                 # multiply-adds for one row on the way forward
    void *buffers
    bint tables                                 # some numbers of the input are names, to be looked at first
    int n_penalties, n_norms
    Penalty *penalties

cdef struct Pass:
    uint64_t seed
    uint64_t step                               # which training step: what the dropout masks depend on
    Py_ssize_t first_row                        # which row of its batch is row 0 of the workspace
    bint training                               # dropout drops, batch norms go by their batch
    bint keeps                                  # a backward pass may follow
    bint logits                                 # leave out the last activation: the loss takes logits
    const double *momenta                       # in training, of each batch norm: how fast its statistics follow


cdef inline Py_ssize_t padded(Py_ssize_t n, Py_ssize_t lanes) noexcept nogil:
    return (n + lanes - 1) // lanes * lanes


cdef inline Py_ssize_t distance(Py_ssize_t n, Py_ssize_t lanes) noexcept nogil:
    """Between rows of n numbers: whole registers, unless that were mostly padding."""
    return n if 2 * n <= lanes else padded(n, lanes)


cdef inline int activation_of(const Graph *graph, int s, bint logits) noexcept nogil:
    return IDENTITY if logits and s == graph.n_steps - 1 else graph.steps[s].activation


cdef inline uint64_t dropout_key(const Pass *how, int key) noexcept nogil:
    return mix(mix(how.seed, how.step), <uint64_t> key + 1000)


# Memory that the kernels may read and write beyond: a workspace of rows, and what each thread needs beside it.

# A thread's scratch is a row of zeros, and the memory of a panel; the gradients of weights need a block beside it.

cdef inline Py_ssize_t zeros_size(const Graph *graph) noexcept nogil:
    return padded(graph.widest + SLACK, SLACK)


cdef inline Py_ssize_t scratch_size(const Graph *graph) noexcept nogil:
    return zeros_size(graph) + min(DEPTH, graph.widest) * WIDEST


cdef inline Py_ssize_t training_scratch_size(const Graph *graph) noexcept nogil:
    return zeros_size(graph) + DEPTH * (WIDEST + ROWS)


cdef inline Py_ssize_t workspace_size(const Graph *graph, Py_ssize_t rows) noexcept nogil:
    """Of training; a prediction needs its outputs only, and what lies at the end."""
    return padded(rows * graph.width, 8) + graph.at_end


cdef inline int part_end(const Graph *graph, int s) noexcept nogil:
    """The batch norm that ends the part of the steps that begins with s; or the number of steps."""
    s += 1
    while s < graph.n_steps and graph.steps[s].operation != BATCH_NORM:
        s += 1
    return s


cdef inline int part_before(const Graph *graph, int s) noexcept nogil:
    """Where the part begins that the batch norm s ends."""
    s -= 1
    while s > 0 and graph.steps[s].operation != BATCH_NORM:
        s -= 1
    return max(s, 0)


cdef inline double *columns_of(
    const Graph *graph, const Step *step, real *work, Py_ssize_t capacity, Columnwise which,
) noexcept nogil:
    """Of a batch norm, a number for each column; the sums are those of dy and of dy x'."""
    return <double *> (work + padded(capacity * graph.width, 8) + step.statistics) + which * step.ld


cdef inline const real *value_of(
    const Graph *graph, const Pass *how, int s, const real *x, const real *work, Py_ssize_t capacity,
    Py_ssize_t from_row, Py_ssize_t *ld,
) noexcept nogil:
    """The rows of a step's output, or of the input x."""
    while s != INPUT and graph.steps[s].operation == DROPOUT and not how.training:
        s = graph.steps[s].source
    if s == INPUT:
        ld[0] = graph.n_in
        return x
    ld[0] = graph.steps[s].ld
    return work + graph.steps[s].y * capacity + from_row * ld[0]


cdef inline double pace_of(const Pass *how, const Step *step, Py_ssize_t rows) noexcept nogil:
    """How fast the running statistics of a batch norm follow so many rows. 0: they stay, and these are normalised by
    them. A single row has no variance."""
    return how.momenta[step.norm] if how.training and rows > 1 else 0
