# A few rows through a tiny network, unit-major: the numbers of a unit, for 4 or 8 rows, lie side by side, and are
# whole registers.
#
# The chains of sums are those of dense.pxi, so the bits are too. But every number is loaded as it was stored, in one
# piece, and the loops over rows are as long as a register: a tiny network is mostly calls, loops, and waiting for
# numbers that were stored one by one and are read together. So sigmoids are computed where the product has left them,
# and where the numbers of a layer are is found once a run. A pointer is copied before a loop that stores registers, or
# the compiler has to read it again.
#
#   unit_major   the inputs, the y of every operation, the dy of every operation; `side` numbers for each unit. Behind
#                them, the outputs and their gradients as rows, and the targets

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


cdef inline int side_of(Py_ssize_t batch, const real *_) noexcept nogil:
    """How many numbers of a unit lie side by side: whole registers."""
    if max(batch, lanes(_)) <= 4:
        return 4
    return 16 if lanes(_) > 8 else 8


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


cdef struct TinyLayer:                          # a layer, and where its numbers are
    Py_ssize_t n_in, n_out
    int activation
    double alpha
    const void *weight
    const void *bias
    Py_ssize_t biases                           # from one to the next: 0 where there is none, but a zero
    const void *x
    void *y
    void *dx                                    # NULL where nobody asks
    void *dy
    void *weight_gradient
    void *bias_gradient                         # or NULL


cdef void place_tiny_layers(
    int side, const Graph *graph, bint logits, const real *parameters, const real *zeros, real *unit_major,
    real *gradients, TinyLayer *layers,
) noexcept nogil:
    """Where the numbers of each layer are."""
    cdef const Op *op
    cdef TinyLayer *layer
    cdef real *x = unit_major
    cdef Py_ssize_t apart = units_of(graph) * side              # between a y and its dy
    cdef int s
    for s in range(graph.n_ops):
        op, layer = &graph.ops[s], layers + s
        layer.n_in, layer.n_out = op.n_in, op.n_out
        layer.activation, layer.alpha = activation_of(graph, s, logits), op.alpha
        layer.weight, layer.weight_gradient = parameters + op.weight, gradients + op.weight
        layer.bias, layer.biases, layer.bias_gradient = zeros, 0, NULL
        if op.bias >= 0:
            layer.bias, layer.biases, layer.bias_gradient = parameters + op.bias, 1, gradients + op.bias
        layer.x, layer.dx = x, NULL
        if s > 0:
            layer.dx = x + apart
        x += op.n_in * side
        layer.y, layer.dy = x, x + apart


cdef inlined tiny_forward(int side, const TinyLayer *layer, const real *_) noexcept nogil:
    """From a layer's inputs to its y."""
    cdef Py_ssize_t i, r, n_in = layer.n_in, n_out = layer.n_out, biases = layer.biases
    cdef Py_ssize_t some = n_out if side == 4 else 1            # units: GCC would take a loop of 4 apart
    cdef const real *x = <const real *> layer.x
    cdef const real *weight = <const real *> layer.weight
    cdef const real *bias = <const real *> layer.bias
    cdef real *y = <real *> layer.y
    cdef int activation = layer.activation
    for i in range(n_out // some):
        unit_major_product(side, some, n_in, weight, 1, n_out, x, bias, biases, y)
        if activation == SIGMOID:
            for r in range(some * side):
                y[r] = sigmoid(y[r])
        weight += some
        bias += some * biases
        y += some * side
    if activation != SIGMOID:
        activation_forward(activation, <real> layer.alpha, n_out, side, side, y - n_out * side)


cdef inlined sums_over_rows(int side, Py_ssize_t rows, const TinyLayer *layer, const real *_) noexcept nogil:
    """The gradients of a layer's weights and bias."""
    cdef real total
    cdef const real *x = <const real *> layer.x
    cdef const real *dy
    cdef real *gradient = <real *> layer.weight_gradient
    cdef Py_ssize_t i, j, r, n_out = layer.n_out
    for i in range(layer.n_in):
        dy = <const real *> layer.dy
        for j in range(n_out):
            one_by_one()
            total = 0
            for r in range(rows):
                total = multiply_add(x[r], dy[r], total)
            gradient[0] = total
            gradient += 1
            dy += side
        x += side
    gradient = <real *> layer.bias_gradient
    if gradient != NULL:
        dy = <const real *> layer.dy
        for j in range(n_out):
            one_by_one()
            total = 0
            for r in range(rows):
                total += dy[r]
            gradient[j] = total
            dy += side


cdef inlined registers_sigmoid_backward(int side, const vec *one, const vec *y, vec *dy) noexcept nogil:
    cdef Py_ssize_t lane = LANES_F if vec is vf else LANES_D, r
    for r in range(side // lane):
        at(dy, r * lane)[0] = at(dy, r * lane)[0] * at(y, r * lane)[0] * (splat(one, 0) - at(y, r * lane)[0])


cdef inlined unit_backward(int side, int activation, const real *y, real *dy) noexcept nogil:
    """From the dy of a unit to its dz, where it is a sigmoid's and still in a register."""
    cdef real one = 1
    if activation == SIGMOID:
        if real is float:
            registers_sigmoid_backward(side, <const vf *> &one, <const vf *> y, <vf *> dy)
        else:
            registers_sigmoid_backward(side, <const vd *> &one, <const vd *> y, <vd *> dy)


cdef inlined other_units_backward(int side, const TinyLayer *layer, const real *_) noexcept nogil:
    """From the dy of all units to their dz, where they are another activation's."""
    if layer.activation != SIGMOID:
        activation_backward(
            layer.activation, <real> layer.alpha, layer.n_out, side, side, <const real *> NULL,
            <const real *> layer.y, <real *> layer.dy)


cdef inlined tiny_backward(int side, const TinyLayer *layer, Py_ssize_t rows, const real *zeros) noexcept nogil:
    """From a layer's dz to its gradients, and to the dz before it."""
    cdef Py_ssize_t i, n_in = layer.n_in, n_out = layer.n_out
    cdef const real *x = <const real *> layer.x
    cdef const real *dy = <const real *> layer.dy
    cdef const real *weight = <const real *> layer.weight
    cdef real *dx = <real *> layer.dx
    cdef int before
    if dx != NULL:
        before = (layer - 1).activation
        for i in range(n_in):
            unit_major_product(side, 1, n_out, weight, 0, 1, dy, zeros, 0, dx)
            unit_backward(side, before, x, dx)
            weight += n_out
            x += side
            dx += side
        other_units_backward(side, layer - 1, zeros)
    if rows == 4:
        sums_over_rows(side, 4, layer, zeros)
    else:
        sums_over_rows(side, rows, layer, zeros)


cdef inlined registers_difference(int side, const vec *factor, const vec *a, const vec *b, vec *c) noexcept nogil:
    cdef Py_ssize_t lane = LANES_F if vec is vf else LANES_D, r
    for r in range(side // lane):
        at(c, r * lane)[0] = splat(factor, 0) * (at(a, r * lane)[0] - at(b, r * lane)[0])


cdef inlined squared_errors(
    int side, Py_ssize_t rows, const real *y_hat, const real *y, double scale, double *loss, real *dy,
) noexcept nogil:
    """mean_squared_error of one output, added up, and its gradients."""
    cdef Py_ssize_t r
    cdef double d, zero = 0
    cdef real factor = <real> (2 * scale)
    if real is float:
        registers_difference(side, <const vf *> &factor, <const vf *> y_hat, <const vf *> y, <vf *> dy)
    else:
        registers_difference(side, <const vd *> &factor, <const vd *> y_hat, <const vd *> y, <vd *> dy)
    for r in range(rows):
        d = <double> y_hat[r] - <double> y[r]
        loss[0] += multiply_add(d, d, zero)             # rounded before it is added


cdef inline void transpose_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t down, Py_ssize_t across, real *y, Py_ssize_t to_down,
    Py_ssize_t to_across,
) noexcept nogil:
    """y = x, each with its own distance from row to row and from number to number."""
    cdef Py_ssize_t r, i
    for r in range(rows):
        for i in range(n):
            y[r * to_down + i * to_across] = x[r * down + i * across]
