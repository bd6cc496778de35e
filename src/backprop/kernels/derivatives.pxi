# Derivatives along directions, and their adjoints.
#
# Along a direction d of the inputs, or a tangent V of the parameters, each number a of the network has a first
# derivative a', and along a direction a second, a''. They go through the network beside the values, as more rows,
# which are called streams here: the values, then K first derivatives, then K second ones, each of all rows of a block.
# A dense layer is one product over all of them (x' w + x V, in a tangent). For an activation y = f(z),
#
#   y' = s1 z'                  y'' = s2 z'^2 + s1 z''
#
# and back, from adjoints Y, Y', Y'' of y, y', y'',
#
#   Z = s1 Y + s2 z' Y' + (s3 z'^2 + s2 z'') Y''        Z' = s1 Y' + 2 s2 z' Y''        Z'' = s1 Y''
#
# so that dw = Z^T x + Z'^T x' + Z''^T x'' is one product too. With K = 1 and first derivatives along a tangent, that
# is a product with the Hessian (Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6, 1994).
#
# What mixes the numbers of a row, or has a parameter for each column, is computed row by row, in double.

cdef enum:
    STREAM_ROWS = 192                           # rows of a block, of all its streams together
    ROWS_ASIDE = 8                              # of doubles, that a thread has for a row

cdef struct Streams:
    const Graph *graph
    const void *parameters
    const void *tangents                        # of the parameters; NULL: none
    const void *x
    const void *directions                      # (k, n_in); NULL: none
    Pass how
    int order
    Py_ssize_t k, count                         # directions; streams, 1 + order k
    Py_ssize_t rows, at_a_time
    Py_ssize_t size                             # numbers that a block keeps
    void *work                                  # those of all blocks

cdef struct Bundle:                             # a block on its way
    const Streams *of
    const Graph *graph
    Py_ssize_t n                                # its rows
    void *work
    void *scratch                               # of the thread: zeros, and behind them a panel
    double *aside
    double *sums                                # of the gradients, on the way back
    void *gradients                             # room for those of a block


# Where things are: the streams of x, and of each operation those of z, of y, of their adjoints, and the slopes.

cdef inline double bundle_size(const Streams *it) noexcept nogil:
    return padded(it.at_a_time * it.count * it.graph.n_in, 16) + (
        3.0 * it.count + 3) * padded(it.at_a_time, 8) * it.graph.y_width + 64


cdef inline real *streams_of(const Bundle *b, int s, int which, const real *_) noexcept nogil:
    """Of an operation: y (0), z, where that is another (1), adjoints (2) or slopes (3)."""
    cdef const Streams *it = b.of
    cdef const Op *op = &it.graph.ops[s]
    cdef real *begin = <real *> b.work + padded(it.at_a_time * it.count * it.graph.n_in, 16)
    return begin + padded(it.at_a_time, 8) * (op.y * (3 * it.count + 3) + which * it.count * op.ld)


cdef inline int ends_in(const Bundle *b, int s) noexcept nogil:
    """Its activation; waves are one of their angles."""
    return COS if b.graph.ops[s].operation == PERIODIC else activation_of(b.graph, s, b.of.how.logits)


cdef inline const real *streams_taken(const Bundle *b, int s, Py_ssize_t *ld, const real *_) noexcept nogil:
    """The outputs of an operation, or the inputs."""
    if s == INPUT:
        ld[0] = b.graph.n_in
        return <const real *> b.work
    ld[0] = b.graph.ops[s].ld
    return streams_of(b, s, 0, _)


cdef inline real *adjoints_taken(const Bundle *b, int s, Py_ssize_t *ld, const real *_) noexcept nogil:
    """Where the adjoints of an operation's outputs belong; NULL for the inputs, whose adjoints nobody wants."""
    if s == INPUT:
        return NULL
    ld[0] = b.graph.ops[s].ld
    return streams_of(b, s, 2, _)


# Activations.

cdef void wave_slopes(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, const real *y, real *slopes,
    Py_ssize_t m,
) noexcept nogil:
    """The first three derivatives with respect to the angle, m numbers apart."""
    cdef Py_ssize_t i, r, g, at
    turned_waves(rows, op, x, ldx, parameters, 1, slopes)
    for i in range(m):
        slopes[m + i], slopes[2 * m + i] = -y[i], -slopes[i]
    for g in range(op.n_groups):
        for r in range(rows.n if op.groups[g].passes else 0):
            at = m + r * op.ld + op.groups[g].to
            slopes[at] = slopes[at + m] = 0


cdef void elementwise_forward(
    const Bundle *b, const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *z, real *y,
    real *slopes,
) noexcept nogil:
    cdef Py_ssize_t m = b.n * op.ld, d, at
    cdef Py_ssize_t second = b.of.k * m if b.of.order == 2 else 0
    if op.operation == PERIODIC:
        wave_slopes(rows, op, x, ldx, <const real *> b.of.parameters, <const real *> y, slopes, m)
    else:
        activation_slopes(op.activation, <real> op.alpha, m, z, <const real *> y, slopes, slopes + m, slopes + 2 * m)
    for d in range(b.of.k):
        at = (1 + d) * m
        derivatives_forward(m, <const real *> slopes, z + at, y + at, second)


cdef void elementwise_backward(
    const Bundle *b, const Op *op, const real *z, const real *slopes, real *a,
) noexcept nogil:
    """In place, over the adjoints."""
    cdef Py_ssize_t m = b.n * op.ld, d, at
    cdef Py_ssize_t second = b.of.k * m if b.of.order == 2 else 0
    multiply(m, slopes, a)
    for d in range(b.of.k):
        at = (1 + d) * m
        derivatives_backward(m, slopes, z + at, a + at, second, a)


# A softmax is e^l of the log-softmax l = z - c, with c = log sum e^z and p = e^l:
# c' = sum p z', c'' = sum p z'' + sum p l'^2, with l' = z' - c'.

cdef struct Mixed:
    double first, mean, spread                  # c', sum p z'', sum p l'^2


cdef inline Mixed mixed_row(Py_ssize_t n, const double *p, const real *z1, const real *z2) noexcept nogil:
    cdef Mixed c = Mixed(first=0, mean=0, spread=0)
    cdef Py_ssize_t i
    for i in range(n):
        c.first += p[i] * z1[i]
        if z2 != NULL:
            c.mean += p[i] * z2[i]
    for i in range(n):
        c.spread += p[i] * (z1[i] - c.first) * (z1[i] - c.first)
    return c


cdef void take_probabilities(const Op *op, const real *y, double *p) noexcept nogil:
    cdef Py_ssize_t i
    cdef double zero = 0, _
    for i in range(op.n_out):
        p[i] = y[i] if op.activation == SOFTMAX else exponential(<double> y[i], zero, &_)


cdef void softmax_streams(const Bundle *b, const Op *op, const real *z, real *y) noexcept nogil:
    """From those of z, and the values of y."""
    cdef Py_ssize_t m = b.n * op.ld, k = b.of.k, r, d, i, at
    cdef double *p = b.aside
    cdef bint two = b.of.order == 2, soft = op.activation == SOFTMAX
    cdef Mixed c
    cdef double l1, l2
    for r in range(b.n):
        take_probabilities(op, <const real *> y + r * op.ld, p)
        for d in range(k):
            at = (1 + d) * m + r * op.ld
            c = mixed_row(op.n_out, p, z + at, z + at + k * m if two else NULL)
            for i in range(op.n_out):
                l1 = z[at + i] - c.first
                y[at + i] = <real> (p[i] * l1 if soft else l1)
                if two:
                    l2 = z[at + k * m + i] - c.mean - c.spread
                    y[at + k * m + i] = <real> (p[i] * (l1 * l1 + l2) if soft else l2)


cdef void softmax_adjoints(const Bundle *b, const Op *op, const real *z, const real *y, real *a) noexcept nogil:
    """In place. The adjoints of l are found first, then those of c are what they sum to."""
    cdef Py_ssize_t m = b.n * op.ld, k = b.of.k, n = op.n_out, wide = b.graph.widest, r, d, i, at
    cdef double *p = b.aside
    cdef double *l0 = p + wide
    cdef double *more = l0 + wide
    cdef bint two = b.of.order == 2, soft = op.activation == SOFTMAX
    cdef Mixed c
    cdef double l1, l2, first, second, sum0, sum1, sum2
    for r in range(b.n):
        take_probabilities(op, y + r * op.ld, p)
        for i in range(n):
            l0[i] = a[r * op.ld + i] * (p[i] if soft else 1)
            more[i] = 0
        for d in range(k):
            at = (1 + d) * m + r * op.ld
            c = mixed_row(n, p, z + at, z + at + k * m if two else NULL)
            sum1 = sum2 = 0
            for i in range(n):
                l1 = z[at + i] - c.first
                first, second = a[at + i], a[at + k * m + i] if two else 0
                if soft:
                    l2 = z[at + k * m + i] - c.mean - c.spread if two else 0
                    l0[i] += p[i] * (l1 * first + (l1 * l1 + l2) * second)
                    first, second = p[i] * (first + 2 * l1 * second), p[i] * second
                a[at + i] = <real> first
                if two:
                    a[at + k * m + i] = <real> second
                sum1 -= first
                sum2 -= second
            for i in range(n):
                l1 = z[at + i] - c.first
                more[i] += p[i] * (sum1 * l1 + (
                    sum2 * (z[at + k * m + i] - c.mean + l1 * l1 - c.spread) if two else 0))
                a[at + i] = <real> (a[at + i] + p[i] * (sum1 + 2 * sum2 * l1))
                if two:
                    a[at + k * m + i] = <real> (a[at + k * m + i] + sum2 * p[i])
        sum0 = 0
        for i in range(n):
            sum0 -= l0[i]
        for i in range(n):
            a[r * op.ld + i] = <real> (l0[i] + sum0 * p[i] + more[i])


# A parameter for each column: y = w f(x, o) + g x + b, where o is another output, or not there.

cdef inline void column_slopes(
    const Bundle *b, const Op *op, Py_ssize_t i, double x, double o, double *f, double *g,
) noexcept nogil:
    """f and its two derivatives, and g."""
    cdef const double *running = b.aside + 6 * b.graph.widest
    g[0] = f[2] = 0
    if op.operation == PRELU:
        f[1], g[0] = not x > 0, x > 0
        f[0] = x * f[1]
    elif op.operation == LERP:
        f[0], f[1], f[2], g[0] = o - x, -1, 1, 1
    elif op.operation == SCALE:
        f[0], f[1] = x, 1
    else:                                               # BATCH_NORM, by its running statistics
        f[0], f[1] = (x - running[i]) * running[b.graph.widest + i], running[b.graph.widest + i]


cdef inline void look_up_statistics(const Bundle *b, const Op *op, const real *_) noexcept nogil:
    cdef double *running = b.aside + 6 * b.graph.widest
    cdef Rows rows
    if op.operation == BATCH_NORM:
        rows.graph = b.graph
        running_moments(&rows, op, 0, op.n_out, running, running + b.graph.widest, _)


cdef void columnwise_forward(const Bundle *b, const Op *op, const real *x, Py_ssize_t ldx, real *y) noexcept nogil:
    """The derivatives."""
    cdef const real *w = <const real *> b.of.parameters + op.weight
    cdef const real *v = <const real *> b.of.tangents
    cdef Py_ssize_t r, i, s, at, ldo = 0
    cdef const real *o = streams_taken(b, op.other if op.two else op.source, &ldo, x)
    cdef double f[3]
    cdef double g = 0, more
    look_up_statistics(b, op, x)
    for r in range(b.n):
        for i in range(op.n_out):
            column_slopes(b, op, i, x[r * ldx + i], o[r * ldo + i], f, &g)
            more = 0 if v == NULL else v[op.weight + i] * f[0] + (v[op.bias + i] if op.bias >= 0 else 0)
            for s in range(1, b.of.count):
                at = s * b.n + r
                y[at * op.ld + i] = <real> (
                    (w[i] * f[1] + g) * x[at * ldx + i] + w[i] * f[2] * o[at * ldo + i] + more)


cdef void columnwise_backward(
    const Bundle *b, const Op *op, const real *x, Py_ssize_t ldx, real *a, real *to, Py_ssize_t ldto,
) noexcept nogil:
    """In the place of the adjoints are those of the other output then, if there is one."""
    cdef const real *w = <const real *> b.of.parameters + op.weight
    cdef const real *v = <const real *> b.of.tangents
    cdef double *dw = b.sums + op.weight
    cdef Py_ssize_t r, i, s, at, ldo = 0
    cdef const real *o = streams_taken(b, op.other if op.two else op.source, &ldo, x)
    cdef double f[3]
    cdef double g = 0, more, own
    look_up_statistics(b, op, x)
    for r in range(b.n):
        for i in range(op.n_out):
            column_slopes(b, op, i, x[r * ldx + i], o[r * ldo + i], f, &g)
            more = 0 if v == NULL else v[op.weight + i] * <double> a[(b.n + r) * op.ld + i]
            dw[i] += a[r * op.ld + i] * f[0]
            if op.bias >= 0:
                b.sums[op.bias + i] += a[r * op.ld + i]
            for s in range(b.of.count):
                at = s * b.n + r
                own = a[at * op.ld + i]
                if s > 0:
                    dw[i] += own * (f[1] * x[at * ldx + i] + f[2] * o[at * ldo + i])
                    more = 0
                if to != NULL:
                    store(to + at * ldto + i, <real> ((w[i] * f[1] + g) * own + more * f[1]), op.adds)
                a[at * op.ld + i] = <real> (f[2] * (w[i] * own + more))


# A layer norm: with c = x - mean x and v = mean c^2 + epsilon, y = w c r + b, r = v^(-1/2). c' and c'' are centred too;
# v' = 2 mean c c', v'' = 2 mean (c'^2 + c c''), r' = -r^3 v' / 2, r'' = 3 r^5 v'^2 / 4 - r^3 v'' / 2.

cdef struct Normed:
    double m1, m2, v1, v2, r1, r2


cdef inline Normed normed_row(
    Py_ssize_t n, const double *c, double r, const real *x1, const real *x2, double *c1, double *c2,
) noexcept nogil:
    """Along a direction, with c' and c''."""
    cdef Normed it = Normed(m1=0, m2=0, v1=0, v2=0, r1=0, r2=0)
    cdef Py_ssize_t i
    for i in range(n):
        it.m1 += x1[i]
        it.m2 += x2[i] if x2 != NULL else 0
    for i in range(n):
        c1[i] = x1[i] - it.m1 / n
        c2[i] = x2[i] - it.m2 / n if x2 != NULL else 0
        it.v1 += 2 * c[i] * c1[i] / n
        it.v2 += 2 * (c1[i] * c1[i] + c[i] * c2[i]) / n
    it.r1 = -0.5 * r * r * r * it.v1
    it.r2 = 0.75 * r * r * r * r * r * it.v1 * it.v1 - 0.5 * r * r * r * it.v2
    return it


cdef void norm_forward(const Bundle *b, const Op *op, const real *x, Py_ssize_t ldx, real *y) noexcept nogil:
    """The derivatives."""
    cdef const real *w = <const real *> b.of.parameters + op.weight
    cdef const real *v = <const real *> b.of.tangents
    cdef Py_ssize_t n = op.n_out, k = b.of.k, wide = b.graph.widest, row, d, i, at
    cdef double *c = b.aside
    cdef double *c1 = c + wide
    cdef double *c2 = c1 + wide
    cdef double more
    cdef bint two = b.of.order == 2
    cdef Moments own
    cdef Normed it
    for row in range(b.n):
        own = moments(n, x + row * ldx, op.alpha)
        for i in range(n):
            c[i] = x[row * ldx + i] - own.mean
        for d in range(k):
            at = (1 + d) * b.n + row
            it = normed_row(
                n, c, own.rstd, x + at * ldx, x + (at + k * b.n) * ldx if two else NULL, c1, c2)
            for i in range(n):
                more = 0 if v == NULL else v[op.weight + i] * c[i] * own.rstd + v[op.bias + i]
                y[at * op.ld + i] = <real> (w[i] * (c1[i] * own.rstd + c[i] * it.r1) + more)
                if two:
                    y[(at + k * b.n) * op.ld + i] = <real> (
                        w[i] * (c2[i] * own.rstd + 2 * c1[i] * it.r1 + c[i] * it.r2))


cdef void norm_backward(
    const Bundle *b, const Op *op, const real *x, Py_ssize_t ldx, const real *a, real *to, Py_ssize_t ldto,
) noexcept nogil:
    cdef const real *w = <const real *> b.of.parameters + op.weight
    cdef const real *v = <const real *> b.of.tangents
    cdef double *dw = b.sums + op.weight
    cdef double *db = b.sums + op.bias
    cdef Py_ssize_t n = op.n_out, k = b.of.k, wide = b.graph.widest, row, d, i, at
    cdef double *c = b.aside
    cdef double *c1 = c + wide
    cdef double *c2 = c1 + wide
    cdef double *to0 = c2 + wide                        # adjoints of c, of c' and of c''
    cdef double *to1 = to0 + wide
    cdef double *to2 = to1 + wide
    cdef const real *a1
    cdef const real *a2
    cdef bint two = b.of.order == 2
    cdef double g1, g2, r, r3, all_r, all_v, of_r1, of_r2, of_v1, of_v2
    cdef Moments own
    cdef Normed it
    for row in range(b.n):
        own = moments(n, x + row * ldx, op.alpha)
        r, all_r, all_v = own.rstd, 0, 0
        r3 = r * r * r
        for i in range(n):
            c[i] = x[row * ldx + i] - own.mean
            dw[i] += a[row * op.ld + i] * c[i] * r
            db[i] += a[row * op.ld + i]
            g1 = w[i] * <double> a[row * op.ld + i]
            if v != NULL:
                g1 += v[op.weight + i] * <double> a[(b.n + row) * op.ld + i]
            all_r += g1 * c[i]
            to0[i] = g1 * r
        for d in range(k):
            at = (1 + d) * b.n + row
            it = normed_row(n, c, r, x + at * ldx, x + (at + k * b.n) * ldx if two else NULL, c1, c2)
            a1, a2 = a + at * op.ld, a + (at + k * b.n) * op.ld
            of_r1 = of_r2 = 0
            for i in range(n):
                g1, g2 = a1[i], a2[i] if two else 0
                dw[i] += g1 * (c1[i] * r + c[i] * it.r1) + g2 * (c2[i] * r + 2 * c1[i] * it.r1 + c[i] * it.r2)
                g1, g2 = w[i] * g1, w[i] * g2
                of_r2 += g2 * c[i]
                of_r1 += g1 * c[i] + 2 * g2 * c1[i]
                all_r += g1 * c1[i] + g2 * c2[i]
                to2[i] = g2 * r
                to1[i] = g1 * r + 2 * g2 * it.r1
                to0[i] += g1 * it.r1 + g2 * it.r2
            of_v2 = -0.5 * r3 * of_r2
            of_v1 = 1.5 * r3 * r * r * it.v1 * of_r2 - 0.5 * r3 * of_r1
            all_v += of_r2 * r3 * r * r * (0.75 * it.v2 - 1.875 * r * r * it.v1 * it.v1) + (
                0.75 * r3 * r * r * it.v1 * of_r1)
            for i in range(n):
                to0[i] += 2 * (of_v1 * c1[i] + of_v2 * c2[i]) / n
                to1[i] += (2 * of_v1 * c[i] + 4 * of_v2 * c1[i]) / n
                to2[i] += 2 * of_v2 * c[i] / n
            if to != NULL:
                store_centred(n, to1, to + at * ldto, op.adds)
                if two:
                    store_centred(n, to2, to + (at + k * b.n) * ldto, op.adds)
        all_v -= 0.5 * r3 * all_r
        for i in range(n):
            to0[i] += 2 * all_v * c[i] / n
        if to != NULL:
            store_centred(n, to0, to + row * ldto, op.adds)


cdef inline void store_centred(Py_ssize_t n, const double *x, real *to, bint adds) noexcept nogil:
    cdef Py_ssize_t i
    cdef double mean = 0
    for i in range(n):
        mean += x[i] / n
    for i in range(n):
        store(to + i, <real> (x[i] - mean), adds)


# Operations.

cdef void dense_streams(const Bundle *b, const Op *op, const real *x, Py_ssize_t ldx, real *z) noexcept nogil:
    """The values have a bias; a tangent adds x V and its own."""
    cdef const real *parameters = <const real *> b.of.parameters
    cdef const real *zeros = <const real *> b.scratch
    cdef real *panel = <real *> b.scratch + zeros_size(b.graph)
    cdef const real *v
    cdef real *first = z + b.n * op.ld
    cdef Py_ssize_t r, i, ldx1 = b.n * ldx
    dense_forward(
        b.n, op.n_in, op.n_out, x, ldx, parameters + op.weight, parameters + op.bias if op.bias >= 0 else NULL,
        z, op.ld,
        zeros, panel)
    if b.of.count == 1:
        return
    dense_forward(
        (b.of.count - 1) * b.n, op.n_in, op.n_out, x + ldx1, ldx, parameters + op.weight, NULL, first, op.ld, zeros,
        panel)
    if b.of.tangents != NULL:
        v = <const real *> b.of.tangents
        if op.bias >= 0:
            for r in range(b.n):
                for i in range(op.n_out):
                    first[r * op.ld + i] = first[r * op.ld + i] + v[op.bias + i]
        matmul(
            Shape(
                m=b.n, n=op.n_out, depth=op.n_in, row=ldx, step=1, ldb=op.n_out, ldc=op.ld, lds=op.ld,
                packing=packing_for(b.n, op.n_out, x), exact=op.ld % lanes(z) != 0),
            x, v + op.weight, panel, first, <const real *> first)


cdef void dense_adjoints(
    const Bundle *b, const Op *op, const real *x, Py_ssize_t ldx, const real *a, real *to, Py_ssize_t ldto,
) noexcept nogil:
    cdef const real *parameters = <const real *> b.of.parameters
    cdef const real *zeros = <const real *> b.scratch
    cdef real *panel = <real *> b.scratch + zeros_size(b.graph)
    cdef real *gradients = <real *> b.gradients
    cdef Py_ssize_t rows = b.of.count * b.n
    dense_weight_gradient(rows, op.n_in, op.n_out, x, ldx, a, op.ld, gradients, op.n_out, zeros, panel)
    add_to_sums(op.n_in * op.n_out, <const real *> gradients, b.sums + op.weight)
    if op.bias >= 0:
        dense_bias_gradient(b.n, op.n_out, a, op.ld, gradients, zeros)
        add_to_sums(op.n_out, <const real *> gradients, b.sums + op.bias)
    if to != NULL:
        dense_input_gradient(
            rows, op.n_in, op.n_out, a, op.ld, parameters + op.weight, to, ldto, op.adds, zeros, panel)
        if b.of.tangents != NULL:
            dense_input_gradient(
                b.n, op.n_in, op.n_out, a + b.n * op.ld, op.ld, <const real *> b.of.tangents + op.weight, to, ldto,
                True,
                zeros, panel)


cdef void columns_streams(const Bundle *b, const Op *op, const real *x, Py_ssize_t ldx, real *y) noexcept nogil:
    """The derivatives: a number that goes on takes its own with it, one that names a row has that of the table."""
    cdef const Column *column
    cdef Py_ssize_t s, r, c, i, j, at, first
    cdef const real *from_x
    cdef const real *table
    for s in range(1, b.of.count):
        for r in range(b.n):
            from_x, at, first = x + (s * b.n + r) * ldx, (s * b.n + r) * op.ld, 0
            for c in range(op.n_columns):
                column = &op.columns[c]
                for i in range(column.count):
                    table = NULL
                    if b.of.tangents != NULL and column.weight >= 0:
                        table = <const real *> b.of.tangents + column.weight + column.n * row_named(
                            x[r * ldx + first + i], column.values)
                    for j in range(column.n):
                        y[at + j] = from_x[first + i] if column.weight < 0 else table[j] if table != NULL else 0
                    at += column.n
                first += column.count


cdef void bin_streams(
    const Bundle *b, const Op *op, const Rows *rows, const real *x, Py_ssize_t ldx, real *y,
) noexcept nogil:
    """The derivatives: those of the share of the bin that x is in."""
    cdef Py_ssize_t s, r, g, at
    cdef const Group *group
    cdef int bin
    cdef real wide
    memset(y + b.n * op.ld, 0, (b.of.count - 1) * b.n * op.ld * sizeof(real))
    for r in range(b.n):
        for g in range(op.n_groups):
            group = &op.groups[g]
            wide = width_of_bin(group, edges_of(rows, group, x), x[r * ldx + group.source], &bin)
            for s in range(1, b.of.count if wide > 0 else 0):
                at = s * b.n + r
                y[at * op.ld + group.to + bin] = x[at * ldx + group.source] / wide


# Groups of dense layers, and the angles of waves, of which the activation is the rest: linear in their inputs and in
# their parameters. So the derivatives have no bias, and along tangents what those make of the values is added.

cdef void angles_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *z,
) noexcept nogil:
    """2 pi w x + b, and what goes on."""
    cdef Py_ssize_t r, g, i
    cdef const Group *group
    cdef const real *w
    cdef const real *b
    cdef real angle
    for r in range(rows.n):
        for g in range(op.n_groups):
            group = &op.groups[g]
            w, b = parameters + op.weight + group.row * op.unit, phases_of(rows, op, group, parameters)
            angle = x[group.source] * <real> TURN
            for i in range(op.unit if not group.passes else 0):
                z[group.to + i] = multiply_add(angle, w[i], b[i])
            if group.passes:
                z[group.to] = x[group.source]
        x += ldx
        z += op.ld


cdef inline void linear_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *z,
) noexcept nogil:
    if op.operation == PERIODIC:
        angles_forward(rows, op, x, ldx, parameters, z)
    else:
        op_forward(rows, op, x, ldx, parameters, z)


cdef inline void linear_backward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *dz, real *dx,
    Py_ssize_t lddx,
) noexcept nogil:
    if op.operation == PERIODIC:
        angles_backward(rows, op, parameters, dz, dx, lddx)
    else:
        op_backward(rows, op, x, ldx, parameters, dz, dx, lddx)


cdef void blank_passed(const Op *op, Py_ssize_t n, real *z) noexcept nogil:
    """What goes on as it is has no parameters."""
    cdef Py_ssize_t r, g, i
    for g in range(op.n_groups):
        for r in range(n if op.groups[g].passes else 0):
            for i in range(op.groups[g].n_out):
                z[r * op.ld + op.groups[g].to + i] = 0


cdef void grouped_streams(
    const Bundle *b, const Rows *rows, int s, const real *x, Py_ssize_t ldx, real *z,
) noexcept nogil:
    cdef const Op *op = &b.graph.ops[s]
    cdef Op linear = op[0]
    cdef Rows others = rows[0]
    cdef Py_ssize_t at = b.n * op.ld
    cdef real *y = streams_of(b, s, 0, x)
    cdef real *aside = streams_of(b, s, 0 if z != y else 1, x) + at
    op_forward(rows, op, x, ldx, <const real *> b.of.parameters, y if op.operation == PERIODIC else z)
    others.n, linear.bias, linear.encoded = (b.of.count - 1) * b.n, -1, False
    linear_forward(&others, &linear, x + b.n * ldx, ldx, <const real *> b.of.parameters, z + at)
    if b.of.tangents != NULL:
        linear_forward(rows, op, x, ldx, <const real *> b.of.tangents, aside)
        blank_passed(op, b.n, aside)
        add_rows(b.n, op.n_out, aside, op.ld, z + at, op.ld, True)


cdef void grouped_adjoints(
    const Bundle *b, const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, real *a, real *to, Py_ssize_t ldto,
) noexcept nogil:
    cdef Op linear = op[0]
    cdef Rows others = rows[0]
    cdef real *gradients = <real *> b.gradients
    cdef Py_ssize_t at = b.n * op.ld
    op_gradient(rows, op, 0, op.units, x, ldx, a, <double *> NULL, gradients)
    add_to_sums(op.n_weights, <const real *> gradients + op.weight, b.sums + op.weight)
    if op.bias >= 0:
        add_to_sums(op.n_biases, <const real *> gradients + op.bias, b.sums + op.bias)
    others.n, linear.bias, linear.encoded = (b.of.count - 1) * b.n, -1, False
    op_gradient(&others, &linear, 0, op.units, x + b.n * ldx, ldx, a + at, <double *> NULL, gradients)
    add_to_sums(op.n_weights, <const real *> gradients + op.weight, b.sums + op.weight)
    if to != NULL:
        others.n += b.n
        linear_backward(&others, op, x, ldx, <const real *> b.of.parameters, a, to, ldto)
    if to != NULL and b.of.tangents != NULL:
        linear.adds = True
        blank_passed(op, b.n, a + at)
        linear_backward(rows, &linear, x, ldx, <const real *> b.of.tangents, a + at, to, ldto)


cdef void clip_streams(
    const Bundle *b, const Op *op, const real *x, Py_ssize_t ldx, Py_ssize_t first, real *z,
) noexcept nogil:
    """Zeros, from this stream on, where a value is beyond the bounds."""
    cdef real low = <real> op.alpha, high = <real> op.most
    cdef Py_ssize_t s, r, i
    for s in range(first, b.of.count if not b.of.how.training else 0):
        for r in range(b.n):
            for i in range(op.n_out):
                if x[r * ldx + i] < low or x[r * ldx + i] > high:
                    z[(s * b.n + r) * op.ld + i] = 0


cdef void streams_forward(const Bundle *b, Rows *rows, const real *_) noexcept nogil:
    """From those of the inputs to those of the outputs."""
    cdef const Graph *graph = b.graph
    cdef const real *parameters = <const real *> b.of.parameters
    cdef const Op *op
    cdef const real *x
    cdef const real *other
    cdef real *z
    cdef real *y
    cdef Py_ssize_t ldx = 0, ldo = 0, all_rows = b.of.count * b.n, r, i
    cdef int s, kind
    rows.n = rows.batch = b.n
    for s in range(graph.n_ops):
        op = &graph.ops[s]
        kind = op.operation
        y = streams_of(b, s, 0, _)
        x, z = streams_taken(b, op.source, &ldx, _), y if ends_in(b, s) == IDENTITY else streams_of(b, s, 1, _)
        if kind == DENSE:
            dense_streams(b, op, x, ldx, z)
        elif kind == GROUPED or kind == PERIODIC:
            grouped_streams(b, rows, s, x, ldx, z)
        elif kind == DROPOUT and rows.how.drops:
            for r in range(b.of.count):
                drop(rows, op, x + r * b.n * ldx, ldx, z + r * b.n * op.ld)
        elif kind == ACTIVATION or kind == DROPOUT:
            copy_rows(all_rows, op.n_out, x, ldx, z, op.ld)
        elif kind == ADD or kind == JOIN:
            other = streams_taken(b, op.other, &ldo, _)
            copy_rows(all_rows, op.n_in, x, ldx, z, op.ld)
            add_rows(all_rows, op.n_out - op.other_at, other, ldo, z + op.other_at, op.ld, kind == ADD)
        elif kind == CLIP:
            copy_rows(all_rows, op.n_out, x, ldx, z, op.ld)
            clip_streams(b, op, x, ldx, 1, z)
            op_forward(rows, op, x, ldx, parameters, z)
        else:
            op_forward(rows, op, x, ldx, parameters, z)
            if kind == COLUMNS: columns_streams(b, op, x, ldx, z)
            elif kind == PIECEWISE: bin_streams(b, op, rows, x, ldx, z)
            elif kind == LAYER_NORM: norm_forward(b, op, x, ldx, z)
            else: columnwise_forward(b, op, x, ldx, z)
        kind = ends_in(b, s)
        if kind == IDENTITY:
            continue
        if op.operation != PERIODIC:
            memcpy(y, z, b.n * op.ld * sizeof(real))
            activation_forward(kind, <real> op.alpha, b.n, op.n_out, op.ld, y)
        if mixes(kind):
            softmax_streams(b, op, z, y)
        else:
            elementwise_forward(b, rows, op, x, ldx, z, y, streams_of(b, s, 3, _))


cdef void streams_backward(const Bundle *b, Rows *rows, const real *_) noexcept nogil:
    """From the adjoints of the outputs to the sums of the gradients."""
    cdef const Graph *graph = b.graph
    cdef const Op *op
    cdef const real *x
    cdef real *a
    cdef real *to
    cdef Py_ssize_t ldx = 0, ldto = 0, all_rows = b.of.count * b.n, r
    cdef int s, kind
    rows.n = rows.batch = b.n
    for s in range(graph.n_ops - 1, -1, -1):
        op = &graph.ops[s]
        kind, a = ends_in(b, s), streams_of(b, s, 2, _)
        if mixes(kind):
            softmax_adjoints(b, op, streams_of(b, s, 1, _), streams_of(b, s, 0, _), a)
        elif kind != IDENTITY:
            elementwise_backward(b, op, streams_of(b, s, 1, _), streams_of(b, s, 3, _), a)
        kind = op.operation
        x, to = streams_taken(b, op.source, &ldx, _), adjoints_taken(b, op.source, &ldto, _)
        if kind == DENSE:
            dense_adjoints(b, op, x, ldx, a, to, ldto)
        elif kind == GROUPED or kind == PERIODIC:
            grouped_adjoints(b, rows, op, x, ldx, a, to, ldto)
        elif kind == COLUMNS:
            columns_gradient(rows, op, 0, op.units, x, ldx, a, b.sums, <real *> b.gradients)
        elif kind == LAYER_NORM:
            norm_backward(b, op, x, ldx, a, to, ldto)
        elif kind == PRELU or kind == SCALE or kind == BATCH_NORM or kind == LERP:
            columnwise_backward(b, op, x, ldx, a, to, ldto)
        elif kind == PIECEWISE:
            for r in range(b.of.count if to != NULL else 0):
                op_backward(
                    rows, op, x, ldx, <const real *> b.of.parameters, a + r * b.n * op.ld, to + r * b.n * ldto, ldto)
        elif to != NULL:
            if kind == CLIP:
                clip_streams(b, op, x, ldx, 0, a)
            for r in range(b.of.count if kind == DROPOUT and rows.how.drops else 0):
                drop(rows, op, <const real *> a + r * b.n * op.ld, op.ld, a + r * b.n * op.ld)
            add_rows(all_rows, op.n_in, a, op.ld, to, ldto, op.adds)
        if op.two:
            to = adjoints_taken(b, op.other, &ldto, _)
            if to != NULL:
                add_rows(all_rows, op.n_out - op.other_at, a + op.other_at, op.ld, to, ldto, op.adds_other)


# Blocks.

cdef void begin_bundle(const Bundle *b, Py_ssize_t first, const real *_) noexcept nogil:
    """The streams of its inputs: rows, directions, and zeros."""
    cdef const Streams *it = b.of
    cdef Py_ssize_t n = b.graph.n_in, d, r
    cdef real *x = <real *> b.work
    memcpy(x, <const real *> it.x + first * n, b.n * n * sizeof(real))
    x += b.n * n
    memset(x, 0, (it.count - 1) * b.n * n * sizeof(real))
    if it.directions != NULL:
        for d in range(it.k):
            for r in range(b.n):
                memcpy(x, <const real *> it.directions + d * n, n * sizeof(real))
                x += n


cdef void give_streams(const Bundle *b, Py_ssize_t first, int which, const real *from_y, real *to) noexcept nogil:
    """The values of the outputs (which = 0), into to (rows, n_out), or their derivatives of an order, into to
    (rows, n_out, k)."""
    cdef const Op *last = &b.graph.ops[b.graph.n_ops - 1]
    cdef Py_ssize_t k = 1 if which == 0 else b.of.k, n = last.n_out, r, d, i
    cdef const real *y
    if which > 0:
        from_y += (1 + (which - 1) * k) * b.n * last.ld
    for d in range(k):
        for r in range(b.n):
            y = from_y + (d * b.n + r) * last.ld
            for i in range(n):
                to[((first + r) * n + i) * k + d] = y[i]


cdef void take_adjoints(const Bundle *b, Py_ssize_t first, int which, const real *given, real *to) noexcept nogil:
    """The other way round; NULL: zeros."""
    cdef const Op *last = &b.graph.ops[b.graph.n_ops - 1]
    cdef Py_ssize_t k = 1 if which == 0 else b.of.k, n = last.n_out, r, d, i
    cdef real *a
    if which > 0:
        to += (1 + (which - 1) * k) * b.n * last.ld
    for d in range(k):
        for r in range(b.n):
            a = to + (d * b.n + r) * last.ld
            for i in range(n):
                a[i] = given[((first + r) * n + i) * k + d] if given != NULL else 0


@cython.final
cdef class Derivatives(Blocks):
    """Values and derivatives of the outputs for rows x (B, n_in), in evaluation mode: along directions (k, n_in), up to
    an order of 1 or 2, or of order 0, the values alone; or along tangents (n_parameters + ROOM,) of the parameters,
    of order 1. run() writes those that are asked for, into value (B, n_out), first and second (B, n_out, k). After it,
    backward() takes adjoints of the same shapes, and run() adds the gradients of the parameters to sums (slices,
    n_parameters). With drops, (seed, step, first row), dropout drops."""
    cdef Streams streams
    cdef void *given[3]                                 # results to write, or adjoints to read
    cdef double *sums
    cdef int slices
    cdef char *scratch
    cdef Py_ssize_t scratch_bytes
    cdef bint back

    def __cinit__(
        self, Plan plan not None, x not None, directions=None, tangents=None, value=None, first=None, second=None, *,
        bint logits=False, tuple drops=None, int threads=1,
    ):
        cdef Streams *it = &self.streams
        cdef Graph *graph = &plan.graph
        cdef Py_ssize_t size = 4 if plan.single else 8
        self.plan, it.graph, it.parameters = plan, graph, plan.parameters
        it.order = 2 if second is not None else 1 if first is not None or tangents is not None else 0
        it.how = in_evaluation(False, logits)
        it.rows, it.k = len(x), 0 if it.order == 0 else 1 if directions is None else len(directions)
        expect(it.order == 0 or ((directions is None) != (tangents is None) and (it.order == 1 or tangents is None)),
               "directions, or tangents and no second derivatives")
        expect(it.rows > 0 and (it.k > 0 or it.order == 0), "at least one row and one direction")
        if it.order > 0:
            it.directions = self.numbers("directions", directions, (it.k, graph.n_in), plan.single)
        it.tangents = self.numbers("tangents", tangents, (graph.n_parameters + SLACK,), plan.single)
        it.count = 1 + it.order * it.k
        it.at_a_time = min(it.rows, max(4, STREAM_ROWS // it.count // 4 * 4))
        self.forward(x, value, first, second)
        self.threads = max(1, min(threads, self.n_blocks()))
        expect(bundle_size(it) * it.rows < 2.0 ** 58, "fewer rows or directions")
        it.size = padded(<Py_ssize_t> bundle_size(it), 16)
        self.scratch_bytes = padded(
            size * padded(training_scratch_size(graph), 16) + 8 * ROWS_ASIDE * graph.widest
            + size * (graph.n_parameters + SLACK), 64)
        self.reserve(
            size * it.size * <double> self.n_blocks() + self.threads * <double> self.scratch_bytes
            + self.room_for_rates() + 256, False)
        self.ask_for_dropout(&it.how, drops)
        it.work = self.take(size * it.size * <double> self.n_blocks())
        self.scratch = <char *> self.take(self.threads * <double> self.scratch_bytes)

    cdef int n_blocks(self) noexcept nogil:
        return <int> ((self.streams.rows - 1) // self.streams.at_a_time + 1)

    cdef int take_arrays(self, value, first, second, bint writable) except -1:
        cdef Streams *it = &self.streams
        cdef tuple shape = (it.rows, it.graph.n_out, it.k)
        expect((second is None or it.order == 2) and (first is None or it.order > 0), "derivatives up to its order")
        self.given[0] = self.numbers("value", value, shape[:2], self.plan.single, writable)
        self.given[1] = self.numbers("first", first, shape, self.plan.single, writable)
        self.given[2] = self.numbers("second", second, shape, self.plan.single, writable)
        return 0

    def forward(self, x not None, value, first, second=None):
        """The same for other rows, as many, with these results; to run()."""
        self.streams.x = self.numbers("x", x, (self.streams.rows, self.streams.graph.n_in), self.plan.single)
        self.take_arrays(value, first, second, True)
        self.back = False

    def backward(self, value, first, second, sums not None):
        """Take adjoints, of which each may be None; to run()."""
        self.take_arrays(value, first, second, False)
        self.slices = len(sums)
        self.sums = <double *> self.numbers(
            "sums", sums, (self.slices, self.streams.graph.n_parameters), False, True)
        self.back = True

    cdef void blocks(self, int thread, Watch *watch) noexcept nogil:
        cdef int i, block, slices = self.slices if self.back else self.n_blocks()
        while True:
            i = atomic_add(&self.taken, 1) - 1
            if i >= slices:
                break
            if not self.back:
                if look_for_signals(watch, self.effort()):
                    break
                self.block(i, i, thread)
                continue
            for block in range(self.n_blocks() * i // slices, self.n_blocks() * (i + 1) // slices):
                if look_for_signals(watch, 3 * self.effort()):
                    return
                self.block(block, i, thread)

    cdef double effort(self) noexcept nogil:
        return self.streams.at_a_time * self.streams.count * self.plan.graph.work + 4000

    cdef void block(self, int number, int slice, int thread) noexcept nogil:
        if self.plan.single:
            block_of_streams(self, number, slice, thread, <float *> NULL)
        else:
            block_of_streams(self, number, slice, thread, <double *> NULL)


cdef void block_of_streams(Derivatives it, int number, int slice, int thread, real *_) noexcept nogil:
    """A block on its way forward or back."""
    cdef const Graph *graph = it.streams.graph
    cdef Bundle b
    cdef Rows rows
    cdef Pass how = it.streams.how
    cdef Py_ssize_t first = number * it.streams.at_a_time, ld = 0
    cdef int i, last = graph.n_ops - 1
    b.of, b.graph, b.n = &it.streams, graph, min(it.streams.at_a_time, it.streams.rows - first)
    b.work = <real *> it.streams.work + number * it.streams.size
    b.scratch = it.scratch + thread * it.scratch_bytes
    b.aside = <double *> (<real *> b.scratch + padded(training_scratch_size(graph), 16))
    b.gradients = b.aside + ROWS_ASIDE * graph.widest
    memset(b.scratch, 0, zeros_size(graph) * sizeof(real))
    how.first_row += first
    rows = Rows(                                        # where y_of finds the values
        graph=graph, how=&how, x=b.work,
        work=<real *> b.work + padded(it.streams.at_a_time * it.streams.count * graph.n_in, 16),
        capacity=padded(it.streams.at_a_time, 8) * (3 * it.streams.count + 3), first=0, n=b.n, batch=b.n,
        scratch=b.scratch, watch=NULL)
    if not it.back:
        begin_bundle(&b, first, _)
        streams_forward(&b, &rows, _)
        for i in range(1 + it.streams.order):
            if it.given[i] != NULL:
                give_streams(&b, first, i, streams_taken(&b, last, &ld, _), <real *> it.given[i])
        return
    b.sums = it.sums + slice * graph.n_parameters
    for i in range(1 + it.streams.order):
        take_adjoints(&b, first, i, <const real *> it.given[i], streams_of(&b, last, 2, _))
    streams_backward(&b, &rows, _)
