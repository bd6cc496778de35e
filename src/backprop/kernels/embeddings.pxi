# What becomes of the numeric columns of a table: waves of them, or the bins they lie in, and small dense layers apart.
# Each of these operations is made of groups, which say which of its inputs become which of its outputs.

cdef enum:
    MOST_BINS = 1024                            # of a column
    BINNED = 256                                # rows whose bins are found together
    STRIP = 128                                 # outputs whose sums are kept together
    WAVES = 64                                  # computed at a time


# Periodic: y = cos(2 pi w x + b) for several w and b, and for the same w a quarter of a turn behind: sin(2 pi w x).

cdef const double TURN = 6.2831853071795864769

cdef outlined waves(
    Py_ssize_t n, const real *w, const real *b, real x, real turns, real *y,
) noexcept nogil:
    """y = cos(2 pi (w x + turns) + b), for n of them."""
    cdef Py_ssize_t i
    cdef real turn
    if real is float:
        turn = <float> 0.15915494309189533577
    else:
        turn = 0.15915494309189533577
    for i in range(n):
        y[i] = cosine_of_turns(fraction_of(fraction_of(w[i] * x) + fraction_of(b[i] * turn + turns)))


cdef inline const real *phases_of(
    const Rows *rows, const Op *op, const Group *group, const real *parameters,
) noexcept nogil:
    return parameters + op.bias + group.bias if op.bias >= 0 else zeros_of(rows, parameters)


cdef void turned_waves(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, int ahead, real *y,
) noexcept nogil:
    """Those, or, a quarter of a turn ahead, their derivatives with respect to the angle."""
    cdef Py_ssize_t r, g
    cdef const Group *group
    cdef real quarter = 0.25
    for r in range(rows.n):
        for g in range(op.n_groups):
            group = &op.groups[g]
            if group.passes:
                y[group.to] = 1 if ahead else x[group.source]
            else:
                waves(
                    op.unit, parameters + op.weight + group.row * op.unit, phases_of(rows, op, group, parameters),
                    x[group.source], quarter * (group.quarters + ahead), y + group.to)
        x += ldx
        y += op.ld


cdef void periodic_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *y,
) noexcept nogil:
    turned_waves(rows, op, x, ldx, parameters, 0, y)


cdef void angles_backward(
    const Rows *rows, const Op *op, const real *parameters, const real *dz, real *dx, Py_ssize_t lddx,
) noexcept nogil:
    """From the gradient with respect to the angles to dx."""
    cdef Py_ssize_t r, g, i
    cdef const Group *group
    cdef const real *w
    cdef real total
    for r in range(rows.n):
        for i in range(op.n_in if not op.adds else 0):
            dx[i] = 0
        for g in range(op.n_groups):
            group, total = &op.groups[g], dz[op.groups[g].to]
            if not group.passes:
                w, total = parameters + op.weight + group.row * op.unit, 0
                for i in range(op.unit):
                    total = multiply_add(w[i], dz[group.to + i], total)
                total = total * <real> TURN
            dx[group.source] = dx[group.source] + total
        dz += op.ld
        dx += lddx


cdef void periodic_backward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *dy, real *dx,
    Py_ssize_t lddx,
) noexcept nogil:
    """dy becomes the gradient with respect to the angle, -sin dy, of which the gradients of w and b are made."""
    cdef Py_ssize_t r, g, i, k, p, some
    cdef const Group *group
    cdef real *dz
    cdef real slope[WAVES]
    cdef real quarter = 0.25
    for r in range(rows.n):
        for g in range(op.n_groups):
            group, dz = &op.groups[g], dy + r * op.ld + op.groups[g].to
            for p in range((op.unit + WAVES - 1) // WAVES if not group.passes else 0):
                i = p * WAVES
                some = min(WAVES, op.unit - i)
                waves(
                    some, parameters + op.weight + group.row * op.unit + i,
                    phases_of(rows, op, group, parameters) + i, x[r * ldx + group.source],
                    quarter * (group.quarters + 1), slope)
                for k in range(some):
                    dz[i + k] = dz[i + k] * slope[k]
    if dx != NULL:
        angles_backward(rows, op, parameters, <const real *> dy, dx, lddx)


cdef void periodic_gradient(
    const Rows *rows, const Op *op, Py_ssize_t at, Py_ssize_t n, const real *x, Py_ssize_t ldx, const real *dy,
    double *sums, real *gradients,
) noexcept nogil:
    """The sums of 2 pi x dz and of dz."""
    cdef Py_ssize_t r, g, i
    cdef const Group *group
    cdef real *dw
    cdef real *db
    cdef real angle
    memset(gradients + op.weight + at * op.unit, 0, n * op.unit * sizeof(real))
    if op.bias >= 0:
        memset(gradients + op.bias + at * op.unit, 0, n * op.unit * sizeof(real))
    for r in range(rows.n):
        for g in range(op.n_groups):
            group = &op.groups[g]
            if group.passes or group.row < at or group.row >= at + n:
                continue
            dw, angle = gradients + op.weight + group.row * op.unit, x[group.source] * <real> TURN
            for i in range(op.unit):
                dw[i] = multiply_add(angle, dy[group.to + i], dw[i])
            if op.bias >= 0:
                db = gradients + op.bias + group.bias
                for i in range(op.unit):
                    db[i] = db[i] + dy[group.to + i]
        x += ldx
        dy += op.ld


# Piecewise linear: of a column, a number for each bin: 1 where x is beyond it, 0 before it, and the share of it that
# lies below x where x is in it. The first and the last bin reach as far as x does.

cdef inline const real *edges_of(const Rows *rows, const Group *group, const real *_) noexcept nogil:
    return <const real *> rows.graph.buffers + group.edges


cdef void find_bins(
    Py_ssize_t n, const real *x, Py_ssize_t ldx, Py_ssize_t bins, const real *edges, int *bin, real *share,
) noexcept nogil:
    """The bins of up to BINNED numbers of a column, and the share of each; without bins, x itself."""
    cdef real value[BINNED]
    cdef real beyond[BINNED]
    cdef Py_ssize_t r, k
    cdef real edge, wide, one = 1, zero = 0
    for r in range(n):
        value[r], beyond[r] = x[r * ldx], 0
    for k in range(1, bins):
        edge = edges[k]
        for r in range(n):
            beyond[r] = beyond[r] + (one if value[r] >= edge else zero)
    for r in range(n):
        bin[r], share[r] = <int> beyond[r], value[r]
        if bins > 0:
            wide = edges[bin[r] + 1] - edges[bin[r]]
            share[r] = (value[r] - edges[bin[r]]) / wide if wide > 0 else zero


cdef void piecewise_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *y,
) noexcept nogil:
    cdef Py_ssize_t p, from_row, some, r, g, k
    cdef const Group *group
    cdef int bin[BINNED]
    cdef real share[BINNED]
    cdef real *to
    for p in range((rows.n + BINNED - 1) // BINNED):
        from_row = p * BINNED
        some = min(BINNED, rows.n - from_row)
        for g in range(op.n_groups):
            group = &op.groups[g]
            find_bins(
                some, x + from_row * ldx + group.source, ldx, group.bins, edges_of(rows, group, x), bin, share)
            to = y + from_row * op.ld + group.to
            for r in range(some):
                for k in range(group.n_out):
                    to[k] = 1 if k < bin[r] else 0
                to[bin[r]] = share[r]
                to += op.ld


cdef inline real width_of_bin(const Group *group, const real *edges, real x, int *bin) noexcept nogil:
    """Of the bin that x is in; without bins, 1."""
    cdef real share
    bin[0] = 0
    if group.bins == 0:
        return 1
    find_bins(1, &x, 0, group.bins, edges, bin, &share)
    return edges[bin[0] + 1] - edges[bin[0]]


cdef void piecewise_backward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *dy, real *dx,
    Py_ssize_t lddx,
) noexcept nogil:
    """Through the share of the bin that x is in."""
    cdef Py_ssize_t r, g, i
    cdef const Group *group
    cdef int bin
    cdef real wide
    for r in range(rows.n):
        for i in range(op.n_in if not op.adds else 0):
            dx[i] = 0
        for g in range(op.n_groups):
            group = &op.groups[g]
            wide = width_of_bin(group, edges_of(rows, group, x), x[group.source], &bin)
            if wide > 0:
                dx[group.source] = dx[group.source] + dy[group.to + bin] / wide
        x += ldx
        dy += op.ld
        dx += lddx


# Grouped: a dense layer for each of some groups of inputs, with outputs of its own; or one for all groups together, if
# they are bins of columns. Of such a group little has to be multiplied: the rows of its weight that x is beyond are
# added up once, from bin to bin, for all the rows of x.

cdef Py_ssize_t sort_by_bin(Py_ssize_t n, const int *bin, Py_ssize_t bins, int *first, int *following) noexcept nogil:
    """The first row of x in each bin and the one that follows each, in their order; -1: none. How many bins there are
    as far as the last in use."""
    cdef Py_ssize_t r, k, used = 0
    for k in range(bins):
        first[k] = -1
    for r in range(n - 1, -1, -1):
        following[r] = first[bin[r]]
        first[bin[r]] = <int> r
        used = max(used, bin[r] + 1)
    return used


cdef void binned_forward(
    Py_ssize_t n, const int *bin, const real *share, Py_ssize_t bins, Py_ssize_t n_out, const real *w, real *y,
    Py_ssize_t ldy,
) noexcept nogil:
    """y += what the encoding of a column adds to a dense layer with this weight (bins, n_out)."""
    cdef int first[MOST_BINS]
    cdef int following[BINNED]
    cdef real sum[STRIP]
    cdef Py_ssize_t used = sort_by_bin(n, bin, bins, first, following), p, at, some, k, i
    cdef const real *weight
    cdef real *to
    cdef int r
    for p in range((n_out + STRIP - 1) // STRIP):
        at = p * STRIP
        some = min(STRIP, n_out - at)
        memset(sum, 0, some * sizeof(real))
        for k in range(used):
            weight, r = w + k * n_out + at, first[k]
            while r >= 0:
                to = y + r * ldy + at
                for i in range(some):
                    to[i] = to[i] + multiply_add(share[r], weight[i], sum[i])
                r = following[r]
            for i in range(some):
                sum[i] = sum[i] + weight[i]


cdef void binned_gradient(
    Py_ssize_t n, const int *bin, const real *share, Py_ssize_t bins, Py_ssize_t n_out, const real *dz,
    Py_ssize_t lddz, bint adds, real *dw,
) noexcept nogil:
    """dw (bins, n_out), or added to what is there: the dz of all rows of x beyond a bin, and shares of those in it."""
    cdef int first[MOST_BINS]
    cdef int following[BINNED]
    cdef real sum[STRIP]
    cdef Py_ssize_t p, at, some, k, i
    cdef const real *from_dz
    cdef real *to
    cdef int r
    sort_by_bin(n, bin, bins, first, following)
    for p in range((n_out + STRIP - 1) // STRIP):
        at = p * STRIP
        some = min(STRIP, n_out - at)
        memset(sum, 0, some * sizeof(real))
        for k in range(bins - 1, -1, -1):
            to = dw + k * n_out + at
            for i in range(some):
                store(to + i, sum[i], adds)
            r = first[k]
            while r >= 0:
                from_dz = dz + r * lddz + at
                for i in range(some):
                    to[i] = multiply_add(share[r], from_dz[i], to[i])
                    sum[i] = sum[i] + from_dz[i]
                r = following[r]


cdef inline bint is_encoded(const Rows *rows, const Op *op) noexcept nogil:
    """Whether it is computed from the columns behind an encoding: not where numbers of that are dropped."""
    return op.encoded and not (op.dropped and rows.how.drops)


cdef inline const real *encoded_source(const Rows *rows, const Op *op, Py_ssize_t *ldx, const real *_) noexcept nogil:
    """The columns behind an encoding."""
    return value_of(rows, rows.graph.ops[op.encoding].source, ldx, _)


cdef void encoded_forward(
    const Rows *rows, const Op *op, const Group *group, const real *parameters, real *y,
) noexcept nogil:
    cdef Py_ssize_t p, from_row, some, r, ldx = 0
    cdef const real *x = encoded_source(rows, op, &ldx, parameters)
    cdef int bin[BINNED]
    cdef real share[BINNED]
    for p in range((rows.n + BINNED - 1) // BINNED):
        from_row = p * BINNED
        some = min(BINNED, rows.n - from_row)
        find_bins(
            some, x + from_row * ldx + group.source, ldx, group.bins, edges_of(rows, group, x), bin, share)
        if group.passes:
            for r in range(some):
                y[(from_row + r) * op.ld + group.to] = share[r]
        else:
            binned_forward(
                some, bin, share, group.n, group.n_out, parameters + op.weight + group.row * op.unit,
                y + from_row * op.ld + group.to, op.ld)


cdef void grouped_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *y,
) noexcept nogil:
    cdef Py_ssize_t r, g
    cdef bint encoded = is_encoded(rows, op)
    cdef const Group *group
    cdef const real *b
    for g in range(op.n_groups):
        group = &op.groups[g]
        b = parameters + op.bias + group.bias if op.bias >= 0 else zeros_of(rows, x)
        if encoded and group.begins and not group.passes:
            for r in range(rows.n):
                memcpy(y + r * op.ld + group.to, b, group.n_out * sizeof(real))
        if encoded:
            encoded_forward(rows, op, group, parameters, y)
        elif group.passes:
            copy_some(rows.n, group.n, x + group.input, ldx, y + group.to, op.ld, False)
        else:
            matmul(
                Shape(
                    m=rows.n, n=group.n_out, depth=group.n, row=ldx, step=1, ldb=op.unit, ldc=op.ld,
                    lds=0 if group.begins else op.ld, packing=UNPACKED, exact=True),
                x + group.input, parameters + op.weight + group.row * op.unit, panel_of(rows, x), y + group.to,
                b if group.begins else <const real *> y + group.to)


cdef inline void copy_some(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, real *y, Py_ssize_t ldy, bint adds,
) noexcept nogil:
    """Nothing beyond them."""
    cdef Py_ssize_t r, i
    for r in range(rows):
        for i in range(n):
            store(y + r * ldy + i, x[r * ldx + i], adds)


cdef void grouped_backward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *dy, real *dx,
    Py_ssize_t lddx,
) noexcept nogil:
    """To all numbers of an encoding, too."""
    cdef Py_ssize_t g
    cdef const Group *group
    for g in range(op.n_groups):
        group = &op.groups[g]
        if group.passes:
            copy_some(rows.n, group.n, <const real *> dy + group.to, op.ld, dx + group.input, lddx, op.adds)
        else:
            matmul(
                Shape(
                    m=rows.n, n=group.n, depth=group.n_out, row=op.ld, step=1,
                    ldb=op.unit if op.unit > 1 else group.n, ldc=lddx, lds=lddx if op.adds else 0,
                    packing=TRANSPOSED if op.unit > 1 else UNPACKED, exact=True),
                <const real *> dy + group.to, parameters + op.weight + group.row * op.unit, panel_of(rows, x),
                dx + group.input, <const real *> dx + group.input if op.adds else zeros_of(rows, x))


cdef void encoded_gradient(
    const Rows *rows, const Op *op, const Group *group, const real *dy, real *gradients,
) noexcept nogil:
    cdef Py_ssize_t p, from_row, some, ldx = 0
    cdef const real *x = encoded_source(rows, op, &ldx, dy)
    cdef int bin[BINNED]
    cdef real share[BINNED]
    for p in range((rows.n + BINNED - 1) // BINNED):
        from_row = p * BINNED
        some = min(BINNED, rows.n - from_row)
        find_bins(
            some, x + from_row * ldx + group.source, ldx, group.bins, edges_of(rows, group, x), bin, share)
        binned_gradient(
            some, bin, share, group.n, group.n_out, dy + from_row * op.ld + group.to, op.ld, from_row > 0,
            gradients + op.weight + group.row * op.unit)


cdef void grouped_gradient(
    const Rows *rows, const Op *op, Py_ssize_t at, Py_ssize_t n, const real *x, Py_ssize_t ldx, const real *dy,
    double *sums, real *gradients,
) noexcept nogil:
    """Of n groups: dw = x^T dy, db = the sum of dy."""
    cdef Py_ssize_t g
    cdef const Group *group
    cdef real *dw
    for g in range(at, at + n):
        group, dw = &op.groups[g], gradients + op.weight + op.groups[g].row * op.unit
        if group.passes:
            continue
        if is_encoded(rows, op) and rows.n > 0:
            encoded_gradient(rows, op, group, dy, gradients)
        else:
            dense_weight_gradient(
                rows.n, group.n, group.n_out, x + group.input, ldx, dy + group.to, op.ld, dw, op.unit,
                zeros_of(rows, x), panel_of(rows, x))
        if op.bias >= 0 and op.groups[g + 1].bias > group.bias:
            dense_bias_gradient(
                rows.n, group.n_out, dy + group.to, op.ld, gradients + op.bias + group.bias, zeros_of(rows, x))


kind(PERIODIC, "periodic", GROUPS | PLAIN,
     periodic_forward[float], periodic_forward[double], periodic_backward[float], periodic_backward[double],
     periodic_gradient[float], periodic_gradient[double])
kind(PIECEWISE, "piecewise_linear", GROUPS | PLAIN,
     piecewise_forward[float], piecewise_forward[double], piecewise_backward[float], piecewise_backward[double])
kind(GROUPED, "grouped_dense", GROUPS,
     grouped_forward[float], grouped_forward[double], grouped_backward[float], grouped_backward[double],
     grouped_gradient[float], grouped_gradient[double])
