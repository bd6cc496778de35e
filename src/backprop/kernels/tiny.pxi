# A few rows through a tiny network, turned: the numbers of a unit, for 4 or 8 rows, lie side by side.
#
# The chains of sums are those of plan.pxi, so the bits are too. But every number is loaded as it was stored, in one
# piece, and the loops over rows are as long as a register: a tiny network is mostly calls, loops, and waiting for
# numbers that were stored one by one and are read together.
#
#   turned   the inputs, the y of every step, the dy of every step; `side` numbers for each unit

cdef bint can_turn(const Graph *graph, bint logits, Py_ssize_t rows) noexcept nogil:
    """Whether a batch is small enough, and no step looks along a row."""
    cdef int s
    if rows > 8 or graph.work * rows > TURNED_WORK:
        return False
    for s in range(graph.n_steps):
        if graph.steps[s].operation != DENSE or mixes(activation_of(graph, s, logits)):
            return False
    return True


cdef inline Py_ssize_t units_of(const Graph *graph) noexcept nogil:
    """Outputs of all steps."""
    cdef Py_ssize_t units = 0
    cdef int s
    for s in range(graph.n_steps):
        units += graph.steps[s].n_out
    return units


cdef inlined turned_product(
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


cdef inlined turned_forward(
    int side, const Graph *graph, bint logits, const real *parameters, real *turned,
) noexcept nogil:
    """From the inputs to every y."""
    cdef const Step *step
    cdef const real *x
    cdef real *y = turned
    cdef int s
    for s in range(graph.n_steps):
        step = &graph.steps[s]
        x, y = y, y + step.n_in * side
        turned_product(
            side, step.n_out, step.n_in, parameters + step.weight, 1, step.n_out, x,
            parameters + step.bias if step.bias >= 0 else NULL, y)
        activation_forward(activation_of(graph, s, logits), <real> step.alpha, step.n_out, side, side, y)


cdef inlined turned_backward(
    int side, const Graph *graph, bint logits, Py_ssize_t rows, Py_ssize_t units, const real *parameters, real *turned,
    const real *zeros, real *gradients,
) noexcept nogil:
    """From the last dy to the gradients of all parameters."""
    cdef const Step *step
    cdef real *x
    cdef real *y = turned + (graph.n_in + units) * side
    cdef real one = 1
    cdef Py_ssize_t apart = units * side                # between a y and its dy
    cdef int s
    for s in range(graph.n_steps - 1, -1, -1):
        step = &graph.steps[s]
        y -= step.n_out * side
        x = y - step.n_in * side
        activation_backward(
            activation_of(graph, s, logits), <real> step.alpha, step.n_out, side, side, <const real *> NULL, y,
            y + apart)
        if s > 0:
            turned_product(
                side, step.n_in, step.n_out, parameters + step.weight, step.n_out, 1, y + apart, <real *> NULL,
                x + apart)
        tiny_product(
            step.n_in, step.n_out, rows, x, side, 1, y + apart, 1, side, gradients + step.weight, step.n_out, zeros, 0)
        if step.bias >= 0:
            tiny_product(
                1, step.n_out, rows, &one, 0, 0, y + apart, 1, side, gradients + step.bias, step.n_out, zeros, 0)


cdef inline void turn(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t down, Py_ssize_t across, real *y, Py_ssize_t to_down,
    Py_ssize_t to_across,
) noexcept nogil:
    """y = x, each with its own distance from row to row and from number to number."""
    cdef Py_ssize_t r, i
    for r in range(rows):
        for i in range(n):
            y[r * to_down + i * to_across] = x[r * down + i * across]
