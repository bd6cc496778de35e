# Many gradients of each row: of its outputs one by one, or along other cotangents; with respect to its inputs, or to
# all parameters.
#
# The rows of a block go forward once, in evaluation mode. Then each is there once for every cotangent, and all of them
# go back together, by the kernels of training, in one product a layer.

cdef enum:
    PULLED = 256                                # rows that go back together, where a row has fewer cotangents

cdef struct Pull:
    const Graph *graph
    const void *parameters
    Pass how
    Py_ssize_t rows, count                      # count: cotangents of a row
    Py_ssize_t at_a_time                        # rows of a block
    const void *x
    const void *dy                              # (rows, count, n_out); NULL: the unit rows, one for each output
    void *dx                                    # (rows, count, n_in), or NULL
    void *dp                                    # (rows, count, n_parameters), or NULL
    double *squares                             # (rows, count), of the norms of dp; or NULL


cdef inline Py_ssize_t pull_scratch(const Pull *it) noexcept nogil:
    """With respect to inputs alone, no gradients of weights."""
    return scratch_size(it.graph) if it.dp == NULL and it.squares == NULL else training_scratch_size(it.graph)


cdef inline double pull_size(const Pull *it) noexcept nogil:
    """Numbers of a thread: inputs, workspace, scratch and, for norms, a gradient."""
    cdef double capacity = it.at_a_time * it.count
    return capacity * (it.graph.n_in + it.graph.width) + it.graph.at_end + pull_scratch(it) + (
        it.graph.n_parameters if it.squares != NULL else 0) + 4 * 64


cdef void repeat_rows(Py_ssize_t rows, Py_ssize_t count, Py_ssize_t n, real *x) noexcept nogil:
    """Each of the rows (rows, n) so many times, in place: from the last to the first."""
    cdef Py_ssize_t r, c
    for r in range(rows - 1, -1, -1):
        for c in range(count - 1, -1, -1):
            if r + c > 0:                               # the first lies where it is
                memcpy(x + (r * count + c) * n, x + r * n, n * sizeof(real))


cdef void pull_forward(const Pull *it, Rows *rows, Pass *how, real *x) noexcept nogil:
    """Some rows, and what they leave, so many times."""
    cdef const Graph *graph = it.graph
    cdef const Op *op
    cdef Py_ssize_t ld = 0
    cdef int s
    for s in range(graph.n_ops):
        if graph.ops[s].operation == BATCH_NORM:
            batch_norm_statistics(rows, &graph.ops[s], 0, graph.ops[s].n_out, x)
    forward_rows(rows, 0, graph.n_ops, <const real *> it.parameters, &ld)
    if it.count > 1:
        repeat_rows(rows.n, it.count, graph.n_in, x)
        for s in range(graph.n_ops):
            op = &graph.ops[s]
            repeat_rows(rows.n, it.count, op.ld, y_of(rows, op, x))
            if op.operation == LAYER_NORM:
                repeat_rows(rows.n, it.count, KEPT, moments_of(rows, op, x))
    rows.n *= it.count
    how.repeats = it.count


cdef void take_cotangents(const Pull *it, const Rows *rows, Py_ssize_t first, real *to) noexcept nogil:
    """Into the gradients of the last output."""
    cdef const Op *last = &it.graph.ops[it.graph.n_ops - 1]
    cdef Py_ssize_t r, n = last.n_out
    if it.dy != NULL:
        copy_rows(rows.n, n, <const real *> it.dy + first * it.count * n, n, to, last.ld)
        return
    memset(to, 0, rows.n * last.ld * sizeof(real))
    for r in range(rows.n):
        to[r * last.ld + r % n] = 1


cdef void row_gradient(Rows *row, int s, real *gradients) noexcept nogil:
    """Of the parameters of an operation, for one row."""
    cdef const Op *op = &row.graph.ops[s]
    cdef Block all = all_of(op)
    cdef Py_ssize_t ldx = 0
    cdef const real *dz = dy_of(row, op, gradients)
    if op.operation == DENSE:
        outer(op.n_in, op.n_out, value_of(row, op.source, &ldx, gradients), dz, gradients + op.weight)
        if op.bias >= 0:
            memcpy(gradients + op.bias, dz, op.n_out * sizeof(real))
        return
    if op.operation == BATCH_NORM:
        batch_norm_sums(row, op, 0, op.n_out, gradients)
    parameter_gradients(row, s, &all, <double *> NULL, gradients)


cdef double row_square(Rows *row, int s, real *gradients) noexcept nogil:
    """The square of its norm. That of a product x^T dz is the product of theirs."""
    cdef const Op *op = &row.graph.ops[s]
    cdef Py_ssize_t ldx = 0
    cdef double sizes = 0, dz = 0, x = 0
    if op.operation == DENSE:
        sums(op.n_out, dy_of(row, op, gradients), &sizes, &dz)
        sums(op.n_in, value_of(row, op.source, &ldx, gradients), &sizes, &x)
        return dz * (x + (1 if op.bias >= 0 else 0))
    row_gradient(row, s, gradients)
    sums(op.n_weights, <const real *> gradients + op.weight, &sizes, &x)
    if op.bias >= 0:
        sums(op.n_biases, <const real *> gradients + op.bias, &sizes, &dz)
    return x + dz


cdef void parameter_rows(const Pull *it, const Rows *rows, Py_ssize_t first, real *gradient) noexcept nogil:
    """The gradients of the parameters for each row, or their norms."""
    cdef Rows row = rows[0]
    cdef Py_ssize_t r
    cdef double total
    cdef int s
    row.n = 1
    for r in range(rows.n):
        row.first, row.x = r, <const real *> rows.x + r * it.graph.n_in
        total = 0
        if it.dp != NULL:
            gradient = <real *> it.dp + (first * it.count + r) * it.graph.n_parameters
        for s in range(it.graph.n_ops):
            if it.graph.ops[s].units == 0:
                continue
            if it.dp != NULL:
                row_gradient(&row, s, gradient)
            else:
                total += row_square(&row, s, gradient)
        if it.squares != NULL:
            it.squares[first * it.count + r] = total


cdef void pull_block(
    const Pull *it, Py_ssize_t first, Py_ssize_t n, char *memory, Watch *watch, real *_,
) noexcept nogil:
    """Some rows there, and all their cotangents back."""
    cdef const Graph *graph = it.graph
    cdef Py_ssize_t capacity = it.at_a_time * it.count
    cdef real *x = <real *> memory
    cdef real *work = x + padded(capacity * graph.n_in, 16)
    cdef real *scratch = work + padded(workspace_size(graph, capacity), 16)
    cdef Pass how = it.how
    cdef Rows rows = Rows(
        graph=graph, how=&how, x=x, work=work, capacity=capacity, first=0, n=n, batch=n, scratch=scratch, watch=NULL)
    cdef real *dx = NULL
    cdef int p
    how.first_row += first
    memset(scratch, 0, zeros_size(graph) * sizeof(real))
    memset(work + padded(capacity * graph.width, 8), 0, graph.at_end * sizeof(real))
    memcpy(x, <const real *> it.x + first * graph.n_in, n * graph.n_in * sizeof(real))
    pull_forward(it, &rows, &how, x)
    take_cotangents(it, &rows, first, dy_of(&rows, &graph.ops[graph.n_ops - 1], x))
    if it.dx != NULL:
        dx = <real *> it.dx + first * it.count * graph.n_in
    for p in range(graph.n_parts - 1, -1, -1):
        backward_part(&rows, p, <const real *> it.parameters, dx)
    if it.dp != NULL or it.squares != NULL:
        parameter_rows(it, &rows, first, scratch + padded(pull_scratch(it), 16))


@cython.final
cdef class Pullback(Blocks):
    """The gradients of rows x (B, n_in) along cotangents dy (B, count, n_out), or, where dy is None, of each output:
    with respect to the inputs, into dx (B, count, n_in), or to the parameters, into dp (B, count, n_parameters), or the
    squares of the norms of those, into squares (B, count). With drops, (seed, step, first row), dropout drops."""
    cdef Pull pull
    cdef double size                                    # bytes of a thread
    cdef char *memory                                   # of all of them

    def __cinit__(
        self, Plan plan not None, x not None, dy=None, dx=None, dp=None, squares=None, *, bint logits=False,
        tuple drops=None, int threads=1,
    ):
        cdef Pull *it = &self.pull
        cdef Graph *graph = &plan.graph
        self.plan, it.graph, it.parameters, it.rows = plan, graph, plan.parameters, len(x)
        it.count = graph.n_out if dy is None else dy.shape[1]
        it.how = in_evaluation(True, logits)
        expect(it.rows > 0 and it.count > 0, "at least one row and one cotangent")
        it.x = self.numbers("x", x, (it.rows, graph.n_in), plan.single)
        it.dy = self.numbers("dy", dy, (it.rows, it.count, graph.n_out), plan.single)
        it.dx = self.numbers("dx", dx, (it.rows, it.count, graph.n_in), plan.single, True)
        it.dp = self.numbers("dp", dp, (it.rows, it.count, graph.n_parameters), plan.single, True)
        it.squares = <double *> self.numbers("squares", squares, (it.rows, it.count), False, True)
        it.at_a_time = min(it.rows, max(1, PULLED // it.count))
        self.threads = max(1, min(threads, (it.rows - 1) // it.at_a_time + 1))
        self.size = pull_size(it) * (4 if plan.single else 8)
        self.reserve(self.room_for_rates() + self.threads * (self.size + 64), False)
        self.ask_for_dropout(&it.how, drops)
        self.memory = <char *> self.take(0)

    cdef void blocks(self, int thread, Watch *watch) noexcept nogil:
        cdef char *memory = self.memory + thread * <Py_ssize_t> (self.size // 64 + 1) * 64
        cdef double effort = self.pull.at_a_time * self.pull.count * (
            2 * self.pull.graph.work + (self.pull.graph.n_parameters if self.pull.dp != NULL else 0)) + 4000
        cdef Py_ssize_t first, n
        while not look_for_signals(watch, effort):
            first = (atomic_add(&self.taken, 1) - 1) * self.pull.at_a_time
            if first >= self.pull.rows:
                break
            n = min(self.pull.at_a_time, self.pull.rows - first)
            if self.plan.single:
                pull_block(&self.pull, first, n, memory, watch, <float *> NULL)
            else:
                pull_block(&self.pull, first, n, memory, watch, <double *> NULL)
