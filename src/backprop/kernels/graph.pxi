# The graph: a network lowered to a list of operations over flat memory.
#
# Each operation takes the output of an earlier one (or the input), some of two. A workspace holds, for each operation,
# the rows of its output y and of the gradient dy (which becomes dz in place), rows padded to whole registers. What
# looks along the columns, a batch norm, begins a new part of the operations, before which all rows must be there.

cdef enum Operation:
    DENSE, ACTIVATION, DROPOUT, CLIP, ADD, JOIN, PRELU, SCALE, LAYER_NORM, BATCH_NORM, COLUMNS, LERP, PERIODIC
    PIECEWISE, GROUPED
    OPERATION_COUNT                             # stays the last

cdef enum:
    INPUT = -1
    BLOCK = 64                                  # rows whose outputs stay in the first cache

cdef struct Column:
    Py_ssize_t weight                           # where its table begins in the flat vector; -1: the number goes on
    Py_ssize_t values, n                        # rows of the table, and their length
    Py_ssize_t count                            # of how many columns, side by side, all this holds

cdef struct Group:                              # some outputs of an operation, and what they are made of
    Py_ssize_t input, n                         # inputs: the first, and how many
    Py_ssize_t source                           # the first that it is computed from: of an encoding, its column
    Py_ssize_t to, n_out                        # outputs: the first, and how many
    Py_ssize_t row                              # of the weight: the first of its rows
    Py_ssize_t bias                             # before its own, of all groups; from there to that of the next
    Py_ssize_t bins, edges                      # of an encoding, and where its bins + 1 edges begin in the buffers
    Py_ssize_t quarters                         # of a turn, by which waves are ahead
    bint passes                                 # its inputs go on as they are
    bint begins                                 # nothing has been written to its outputs

cdef struct Op:
    int operation, activation
    double alpha                                # slope of an activation, rate of dropout, epsilon of a norm, a bound
    double most                                 # output of a clip
    Py_ssize_t n_in, n_out, ld                  # ld: the distance between the rows of its output
    Py_ssize_t weight, bias                     # where they begin in the flat vectors; bias -1: none
    Py_ssize_t buffer                           # where running statistics begin: mean, then variance
    int norm                                    # which of the batch norms it is
    Py_ssize_t units, unit                      # what threads share of the weight: so many times so many numbers
    Py_ssize_t n_weights, n_biases
    int source, other                           # whose output it takes: the number of an operation, or INPUT
    bint two                                    # it takes another output, too
    Py_ssize_t other_at                         # the column of its own output at which that begins
    bint adds, adds_other                       # their gradient has been written by a later operation
    int key                                     # what a dropout mask depends on
    int schedule                                # which of the dropouts with a schedule it is, from 1; 0: none of them
    Py_ssize_t y, dy                            # numbers before theirs in a workspace, for each row of its capacity
    Py_ssize_t statistics                       # the same for KEPT numbers a row; of a batch norm, its place at the end
    Py_ssize_t n_columns
    Column *columns
    Py_ssize_t n_groups
    Group *groups                               # one more: where they end
    int encoding                                # which of the operations it is a copy of, or takes, if encoded; or -1
    bint encoded                                # its groups are bins of columns, whose encoding is not written out
    bint dropped                                # but in training, where dropout lies between
    bint implied                                # an encoding: whoever takes it is encoded
    bint wanted                                 # parameters depend on its gradient

cdef struct Part:
    int begin, end                              # operations; all parts but the first begin with a batch norm

cdef struct Graph:
    int n_ops, n_parts
    Op *ops
    Part *parts
    Py_ssize_t n_in, n_out, n_parameters, n_buffers
    Py_ssize_t begin, end                       # which of the parameters are those of its operations
    Py_ssize_t widest                           # row of an input or output
    Py_ssize_t block                            # rows that go through all the operations together
    Py_ssize_t y_width, width                   # numbers in a row of a workspace: outputs; and with the gradients
    Py_ssize_t at_end                           # numbers at the end of a workspace, in which doubles for columns lie
    double work                                 # multiply-adds for one row on the way forward
    void *buffers
    bint tables                                 # some numbers of the input are names, to be looked at first
    int n_penalties, n_norms, n_schedules
    Penalty *penalties

cdef struct Pass:
    uint64_t seed
    uint64_t step                               # which training step: what the dropout masks depend on
    Py_ssize_t first_row                        # which row of its batch is row 0 of the workspace
    bint training                               # batch norms go by their batch, a clip lets everything through
    bint drops                                  # dropout drops: in training, or where a derivative asks for it
    Py_ssize_t repeats                          # rows of the workspace for each row of the batch; 0: one
    bint keeps                                  # a backward pass may follow
    bint logits                                 # leave out the last activation: the loss takes logits
    const double *momenta                       # in training, of each batch norm: how fast its statistics follow
    const double *rates                         # in training, of each dropout with a schedule

cdef struct Rows:                               # some rows of a batch on their way through a graph
    const Graph *graph
    const Pass *how
    const void *x                               # their inputs
    void *work                                  # the workspace
    Py_ssize_t capacity                         # how many rows it holds
    Py_ssize_t first, n                         # at which of them these begin, and how many they are
    Py_ssize_t batch                            # rows over which a batch norm takes its statistics
    void *scratch                               # of this thread: a row of zeros, and behind it the memory of a panel
    Watch *watch                                # looked at on the way; NULL: not


cdef inline Py_ssize_t padded(Py_ssize_t n, Py_ssize_t lanes) noexcept nogil:
    return (n + lanes - 1) // lanes * lanes


cdef inline Py_ssize_t distance(Py_ssize_t n, Py_ssize_t lanes) noexcept nogil:
    """Between rows of n numbers: whole registers, unless that were mostly padding."""
    return n if 2 * n <= lanes else padded(n, lanes)


cdef inline int activation_of(const Graph *graph, int s, bint logits) noexcept nogil:
    return IDENTITY if logits and s == graph.n_ops - 1 else graph.ops[s].activation


cdef inline Py_ssize_t share(Py_ssize_t n, int thread, int threads) noexcept nogil:
    """Where a thread's part of n begins, and the one before it ends. A division is dear in a tiny network."""
    return n * thread if threads == 1 else n * thread // threads


# Memory that the kernels may read and write beyond: a workspace of rows, and what each thread needs beside it.

cdef inline Py_ssize_t zeros_size(const Graph *graph) noexcept nogil:
    return padded(graph.widest + SLACK, SLACK)


cdef inline Py_ssize_t scratch_size(const Graph *graph) noexcept nogil:
    return zeros_size(graph) + min(DEPTH, graph.widest) * WIDEST


cdef inline Py_ssize_t training_scratch_size(const Graph *graph) noexcept nogil:
    """The gradients of weights need a block beside the panel."""
    return zeros_size(graph) + DEPTH * (WIDEST + ROWS)


cdef inline Py_ssize_t workspace_size(const Graph *graph, Py_ssize_t rows) noexcept nogil:
    """Of training; a prediction needs its outputs only, and what lies at the end."""
    return padded(rows * graph.width, 8) + graph.at_end


# Where things are. The last argument only names the type.

cdef inline const real *zeros_of(const Rows *rows, const real *_) noexcept nogil:
    return <const real *> rows.scratch


cdef inline real *panel_of(const Rows *rows, const real *_) noexcept nogil:
    return <real *> rows.scratch + zeros_size(rows.graph)


cdef inline real *y_of(const Rows *rows, const Op *op, const real *_) noexcept nogil:
    return <real *> rows.work + op.y * rows.capacity + rows.first * op.ld


cdef inline real *dy_of(const Rows *rows, const Op *op, const real *_) noexcept nogil:
    return <real *> rows.work + op.dy * rows.capacity + rows.first * op.ld


cdef inline const real *value_of(const Rows *rows, int s, Py_ssize_t *ld, const real *_) noexcept nogil:
    """The output of an operation, or the input."""
    cdef const Graph *graph = rows.graph
    while s != INPUT and graph.ops[s].operation == DROPOUT and not rows.how.drops:
        s = graph.ops[s].source
    if s == INPUT:
        ld[0] = graph.n_in
        return <const real *> rows.x
    ld[0] = graph.ops[s].ld
    return y_of(rows, &graph.ops[s], _)


cdef inline real *gradient_of(const Rows *rows, int s, real *dx, Py_ssize_t *ld) noexcept nogil:
    """Where the gradient of an operation's output belongs, or that of the input: dx, which may be NULL. Then NULL too
    for what only dx depends on."""
    if s == INPUT:
        ld[0] = rows.graph.n_in
        return dx
    if dx == NULL and not rows.graph.ops[s].wanted:
        return NULL
    ld[0] = rows.graph.ops[s].ld
    return dy_of(rows, &rows.graph.ops[s], dx)
