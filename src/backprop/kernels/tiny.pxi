# A few rows through a tiny network, unit-major: the numbers of a unit, for 4 or 8 rows, lie side by side, and are
# whole registers.
#
# The chains of sums are those of dense.pxi, so the bits are too. But every number is loaded as it was stored, in one
# piece, and the loops over rows are as long as a register: a tiny network is mostly calls, loops, and waiting for
# numbers that were stored one by one and are read together.
#
#   unit_major   the inputs, the y of every operation, the dy of every operation; `side` numbers for each unit

cdef enum:
    TINY_WORK = 256                             # multiply-adds of such a batch, at most


cdef bint is_tiny(const Graph *graph, bint logits, Py_ssize_t rows) noexcept nogil:
    """Whether a batch is small enough, and all there is is a chain of dense layers, of which none looks along a row."""
    cdef const Op *op
    cdef int s
    if rows > 8 or graph.work * rows > TINY_WORK:
        return False
    for s in range(graph.n_ops):
        op = &graph.ops[s]
        if op.operation != DENSE or op.source != s - 1 or mixes(activation_of(graph, s, logits)):
            return False
    return True


cdef inline Py_ssize_t units_of(const Graph *graph) noexcept nogil:
    """Outputs of all operations."""
    cdef Py_ssize_t n_units = 0
    cdef int s
    for s in range(graph.n_ops):
        n_units += graph.ops[s].n_out
    return n_units


cdef inlined registers_product(
    int side, Py_ssize_t m, Py_ssize_t depth, const vec *a, Py_ssize_t row, Py_ssize_t step, const vec *b,
    const vec *start, Py_ssize_t lead, vec *c,
) noexcept nogil:
    cdef vec total
    cdef Py_ssize_t i, k
    cdef Py_ssize_t lane = LANES_F if vec is vf else LANES_D, r
    for i in range(m):
        for r in range(side // lane):
            total = splat(start, i * lead)
            for k in range(depth):
                total = total + splat(a, i * row + k * step) * at(b, k * side + r * lane)[0]
            at(c, i * side + r * lane)[0] = total


cdef inlined unit_major_product(
    int side, Py_ssize_t m, Py_ssize_t depth, const real *a, Py_ssize_t row, Py_ssize_t step, const real *b,
    const real *start, Py_ssize_t lead, real *c,
) noexcept nogil:
    """c (m,side) = start + a (m,depth) b (depth,side); start is read by its stride."""
    if real is float:
        registers_product(side, m, depth, <const vf *> a, row, step, <const vf *> b, <const vf *> start, lead, <vf *> c)
    else:
        registers_product(side, m, depth, <const vd *> a, row, step, <const vd *> b, <const vd *> start, lead, <vd *> c)


cdef inlined tiny_forward(
    int side, const Graph *graph, bint logits, const real *parameters, const real *zeros, real *unit_major,
) noexcept nogil:
    """From the inputs to every y."""
    cdef const Op *op
    cdef const real *x
    cdef real *y = unit_major
    cdef int s
    for s in range(graph.n_ops):
        op = &graph.ops[s]
        x, y = y, y + op.n_in * side
        unit_major_product(
            side, op.n_out, op.n_in, parameters + op.weight, 1, op.n_out, x,
            parameters + op.bias if op.bias >= 0 else zeros, op.bias >= 0, y)
        activation_forward(activation_of(graph, s, logits), <real> op.alpha, op.n_out, side, side, y)


cdef inlined sums_over_rows(
    int side, Py_ssize_t rows, const Op *op, const real *x, const real *dy, real *gradients,
) noexcept nogil:
    """The gradients of a layer's weights and bias."""
    cdef real total
    cdef Py_ssize_t i, j, r
    for i in range(op.n_in):
        for j in range(op.n_out):
            one_by_one()
            total = 0
            for r in range(rows):
                total = multiply_add(x[i * side + r], dy[j * side + r], total)
            gradients[op.weight + i * op.n_out + j] = total
    if op.bias >= 0:
        for j in range(op.n_out):
            one_by_one()
            total = 0
            for r in range(rows):
                total += dy[j * side + r]
            gradients[op.bias + j] = total


cdef inlined tiny_backward(
    int side, const Graph *graph, bint logits, Py_ssize_t rows, Py_ssize_t n_units, const real *parameters,
    real *unit_major, const real *zeros, real *gradients,
) noexcept nogil:
    """From the last dy to the gradients of all parameters."""
    cdef const Op *op
    cdef real *x
    cdef real *y = unit_major + (graph.n_in + n_units) * side
    cdef Py_ssize_t apart = n_units * side              # between a y and its dy
    cdef int s
    for s in range(graph.n_ops - 1, -1, -1):
        op = &graph.ops[s]
        y -= op.n_out * side
        x = y - op.n_in * side
        activation_backward(
            activation_of(graph, s, logits), <real> op.alpha, op.n_out, side, side, <const real *> NULL, y,
            y + apart)
        if s > 0:
            unit_major_product(
                side, op.n_in, op.n_out, parameters + op.weight, op.n_out, 1, y + apart, zeros, 0,
                x + apart)
        if rows == 4:
            sums_over_rows(side, 4, op, x, y + apart, gradients)
        else:
            sums_over_rows(side, rows, op, x, y + apart, gradients)


cdef inline void transpose_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t down, Py_ssize_t across, real *y, Py_ssize_t to_down,
    Py_ssize_t to_across,
) noexcept nogil:
    """y = x, each with its own distance from row to row and from number to number."""
    cdef Py_ssize_t r, i
    for r in range(rows):
        for i in range(n):
            y[r * to_down + i * to_across] = x[r * down + i * across]
