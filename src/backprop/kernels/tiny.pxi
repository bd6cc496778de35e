# A few rows through a tiny network, unit-major: the numbers of a unit, for 4 or 8 rows, lie side by side.
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


cdef inlined unit_major_product(
    int side, Py_ssize_t m, Py_ssize_t depth, const real *a, Py_ssize_t row, Py_ssize_t step, const real *b,
    const real *start, real *c,
) noexcept nogil:
    """c (m,side) = start + a (m,depth) b (depth,side); start, where it is given, is (m,)."""
    cdef real total[8]
    cdef Py_ssize_t i, k
    cdef int r
    for i in range(m):
        for r in range(side):
            total[r] = start[i] if start != NULL else 0
        for k in range(depth):
            for r in range(side):
                total[r] = multiply_add(a[i * row + k * step], b[k * side + r], total[r])
        for r in range(side):
            c[i * side + r] = total[r]


cdef inlined tiny_forward(
    int side, const Graph *graph, bint logits, const real *parameters, real *unit_major,
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
            parameters + op.bias if op.bias >= 0 else NULL, y)
        activation_forward(activation_of(graph, s, logits), <real> op.alpha, op.n_out, side, side, y)


cdef inlined tiny_backward(
    int side, const Graph *graph, bint logits, Py_ssize_t rows, Py_ssize_t n_units, const real *parameters,
    real *unit_major, const real *zeros, real *gradients,
) noexcept nogil:
    """From the last dy to the gradients of all parameters."""
    cdef const Op *op
    cdef real *x
    cdef real *y = unit_major + (graph.n_in + n_units) * side
    cdef real one = 1
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
                side, op.n_in, op.n_out, parameters + op.weight, op.n_out, 1, y + apart, <real *> NULL,
                x + apart)
        tiny_product(
            op.n_in, op.n_out, rows, x, side, 1, y + apart, 1, side, gradients + op.weight, op.n_out, zeros, 0)
        if op.bias >= 0:
            tiny_product(
                1, op.n_out, rows, &one, 0, 0, y + apart, 1, side, gradients + op.bias, op.n_out, zeros, 0)


cdef inline void transpose_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t down, Py_ssize_t across, real *y, Py_ssize_t to_down,
    Py_ssize_t to_across,
) noexcept nogil:
    """y = x, each with its own distance from row to row and from number to number."""
    cdef Py_ssize_t r, i
    for r in range(rows):
        for i in range(n):
            y[r * to_down + i * to_across] = x[r * down + i * across]
