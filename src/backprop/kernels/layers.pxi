# Layers beside the dense one. Adding one is a pair of kernels (three, if it has parameters) and a row in the table at
# the end.
#
#   forward    y from x
#   backward   dy to dx, added to what is there if op.adds; dy stays, for
#   gradient   dw, the gradients of the parameters of n columns from number `at` on, summed over the rows
#
# x and dx have rows of their own distance; those of y and dy are op.ld apart. `parameters` and `gradients` are the flat
# vectors. So that the bits do not depend on threads or columns, each sum over the rows is a chain in their order.

cdef enum:
    KEPT = 4                                    # numbers that a layer norm keeps of each row

cdef enum Columnwise:                           # what a batch norm knows of each column, at the end of a workspace
    MEAN, RSTD, VARIANCE, SUM_DY, SUM_PRODUCT, COLUMNWISE


cdef inline void store(real *to, real value, bint adds) noexcept nogil:
    to[0] = to[0] + value if adds else value


cdef void copy_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, real *y, Py_ssize_t ldy,
) noexcept nogil:
    cdef Py_ssize_t r
    for r in range(rows):
        copy_row(n, x + r * ldx, y + r * ldy)


cdef void add_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *dy, Py_ssize_t lddy, real *dx, Py_ssize_t lddx, bint adds,
) noexcept nogil:
    """dx = dy, or dx += dy."""
    cdef Py_ssize_t r, i
    if not adds:
        copy_rows(rows, n, dy, lddy, dx, lddx)
        return
    for r in range(rows):
        for i in range(n):
            dx[i] = dx[i] + dy[i]
        dx += lddx
        dy += lddy


# Operations without parameters: an activation (which follows), and two outputs added or joined side by side.

cdef void copy_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *y,
) noexcept nogil:
    copy_rows(rows.n, op.n_out, x, ldx, y, op.ld)


cdef void copy_backward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *dy, real *dx,
    Py_ssize_t lddx,
) noexcept nogil:
    """To the first of what it takes; the pass itself sees to the other."""
    add_rows(rows.n, op.n_in, dy, op.ld, dx, lddx, op.adds)


cdef void add_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *y,
) noexcept nogil:
    cdef Py_ssize_t r, i, ldo = 0, n = op.n_out, ldy = op.ld
    cdef const real *other = value_of(rows, op.other, &ldo, x)
    for r in range(rows.n):
        for i in range(n):
            y[i] = x[i] + other[i]
        x += ldx
        other += ldo
        y += ldy


cdef void join_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *y,
) noexcept nogil:
    cdef Py_ssize_t ldo = 0
    cdef const real *other = value_of(rows, op.other, &ldo, x)
    copy_rows(rows.n, op.n_in, x, ldx, y, op.ld)
    copy_rows(rows.n, op.n_out - op.n_in, other, ldo, y + op.n_in, op.ld)


# Dropout: the mask is a function of the pass, the operation, the row and the column, so backward finds it again.

cdef inline uint64_t dropout_key(const Pass *how, int key) noexcept nogil:
    return mix(mix(how.seed, how.step), <uint64_t> key + 1000)


cdef inline double dropout_rate(const Pass *how, const Op *op) noexcept nogil:
    return how.rates[op.schedule - 1] if op.schedule > 0 else op.alpha


cdef void drop(const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, real *y) noexcept nogil:
    cdef Py_ssize_t first = rows.how.first_row + rows.first, several = rows.how.repeats, r
    if several < 2:
        dropout(
            dropout_key(rows.how, op.key), dropout_rate(rows.how, op), first, rows.n, op.n_out, op.ld, x, ldx, y)
    for r in range(rows.n if several > 1 else 0):
        dropout(
            dropout_key(rows.how, op.key), dropout_rate(rows.how, op), first + r // several, 1, op.n_out, op.ld,
            x + r * ldx, ldx, y + r * op.ld)


cdef void dropout_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *y,
) noexcept nogil:
    """Only where it drops: else the output is that of the operation before."""
    drop(rows, op, x, ldx, y)


cdef void dropout_backward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *dy, real *dx,
    Py_ssize_t lddx,
) noexcept nogil:
    if rows.how.drops:
        drop(rows, op, <const real *> dy, op.ld, dy)
    add_rows(rows.n, op.n_in, dy, op.ld, dx, lddx, op.adds)


# Clip: only in evaluation mode, so that in training each row has a gradient.

cdef void clip_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *y,
) noexcept nogil:
    cdef real low = <real> op.alpha, high = <real> op.most
    cdef Py_ssize_t r, i
    copy_rows(rows.n, op.n_out, x, ldx, y, op.ld)
    for r in range(rows.n if not rows.how.training else 0):
        for i in range(r * op.ld, r * op.ld + op.n_out):
            y[i] = low if y[i] < low else high if y[i] > high else y[i]


cdef void clip_backward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *dy, real *dx,
    Py_ssize_t lddx,
) noexcept nogil:
    cdef real low = <real> op.alpha, high = <real> op.most
    cdef Py_ssize_t r, i
    for r in range(rows.n if not rows.how.training else 0):
        for i in range(op.n_out):
            if x[r * ldx + i] < low or x[r * ldx + i] > high:
                dy[r * op.ld + i] = 0
    add_rows(rows.n, op.n_in, dy, op.ld, dx, lddx, op.adds)


# PReLU: y = x where x > 0, else a x, with a slope for each column.

cdef void prelu_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *y,
) noexcept nogil:
    cdef Py_ssize_t r, i, n = op.n_out, ldy = op.ld
    cdef const real *slope = parameters + op.weight
    for r in range(rows.n):
        for i in range(n):
            y[i] = slope[i] * x[i] if x[i] <= 0 else x[i]
        x += ldx
        y += ldy


cdef void prelu_backward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *dy, real *dx,
    Py_ssize_t lddx,
) noexcept nogil:
    cdef Py_ssize_t r, i, n = op.n_out, lddy = op.ld
    cdef bint adds = op.adds
    cdef const real *slope = parameters + op.weight
    cdef real one = 1
    for r in range(rows.n):
        for i in range(n):
            store(dx + i, (one if x[i] > 0 else slope[i]) * dy[i], adds)
        x += ldx
        dy += lddy
        dx += lddx


cdef void prelu_gradient(
    const Rows *rows, const Op *op, Py_ssize_t at, Py_ssize_t n, const real *x, Py_ssize_t ldx, const real *dy,
    double *sums, real *gradients,
) noexcept nogil:
    """The sum of dy x over the rows where x <= 0."""
    cdef Py_ssize_t r, i, lddy = op.ld
    cdef real *dslope = gradients + op.weight + at
    cdef real zero = 0
    x += at
    dy += at
    memset(dslope, 0, n * sizeof(real))
    for r in range(rows.n):
        for i in range(n):
            dslope[i] = multiply_add(dy[i], zero if x[i] > 0 else x[i], dslope[i])
        x += ldx
        dy += lddy


# Scale: y = w x, with a factor for each column.

cdef void scale_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *y,
) noexcept nogil:
    cdef Py_ssize_t r, i, n = op.n_out, ldy = op.ld
    cdef const real *weight = parameters + op.weight
    for r in range(rows.n):
        for i in range(n):
            y[i] = weight[i] * x[i]
        x += ldx
        y += ldy


cdef void scale_backward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *dy, real *dx,
    Py_ssize_t lddx,
) noexcept nogil:
    cdef Py_ssize_t r, i, n = op.n_out, lddy = op.ld
    cdef bint adds = op.adds
    cdef const real *weight = parameters + op.weight
    for r in range(rows.n):
        for i in range(n):
            store(dx + i, weight[i] * dy[i], adds)
        dy += lddy
        dx += lddx


cdef void scale_gradient(
    const Rows *rows, const Op *op, Py_ssize_t at, Py_ssize_t n, const real *x, Py_ssize_t ldx, const real *dy,
    double *sums, real *gradients,
) noexcept nogil:
    """The sum of dy x."""
    cdef Py_ssize_t r, i, lddy = op.ld
    cdef real *dw = gradients + op.weight + at
    x += at
    dy += at
    memset(dw, 0, n * sizeof(real))
    for r in range(rows.n):
        for i in range(n):
            dw[i] = multiply_add(dy[i], x[i], dw[i])
        x += ldx
        dy += lddy


# Interpolation between two outputs: y = (1 - w) x + w other, with a weight for each column.

cdef void lerp_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *y,
) noexcept nogil:
    cdef Py_ssize_t r, i, ldo = 0, n = op.n_out, ldy = op.ld
    cdef const real *weight = parameters + op.weight
    cdef const real *other = value_of(rows, op.other, &ldo, x)
    cdef real one = 1
    for r in range(rows.n):
        for i in range(n):
            y[i] = (one - weight[i]) * x[i] + weight[i] * other[i]
        x += ldx
        other += ldo
        y += ldy


cdef void lerp_backward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *dy, real *dx,
    Py_ssize_t lddx,
) noexcept nogil:
    """To the first of what it takes; to the other, it is a scale."""
    cdef Py_ssize_t r, i, n = op.n_out, lddy = op.ld
    cdef bint adds = op.adds
    cdef const real *weight = parameters + op.weight
    cdef real one = 1
    for r in range(rows.n):
        for i in range(n):
            store(dx + i, (one - weight[i]) * dy[i], adds)
        dy += lddy
        dx += lddx


cdef void lerp_gradient(
    const Rows *rows, const Op *op, Py_ssize_t at, Py_ssize_t n, const real *x, Py_ssize_t ldx, const real *dy,
    double *sums, real *gradients,
) noexcept nogil:
    """The sum of dy (other - x)."""
    cdef Py_ssize_t r, i, ldo = 0, lddy = op.ld
    cdef real *dw = gradients + op.weight + at
    cdef const real *other = value_of(rows, op.other, &ldo, x) + at
    x += at
    dy += at
    memset(dw, 0, n * sizeof(real))
    for r in range(rows.n):
        for i in range(n):
            dw[i] = multiply_add(dy[i], other[i] - x[i], dw[i])
        x += ldx
        other += ldo
        dy += lddy


# Normalization: x' = (x - mean) rstd, with rstd = 1 / sqrt(variance + epsilon); y = weight x' + bias. A layer norm
# takes mean and variance over a row, a batch norm over a column. With g = weight dy,
# dx = rstd (g - mean g - x' mean (g x')).
#
# All of that is in double and rounded once, at its end: where x is close to the mean, or the bias to what it is added
# to, little is left of digits that were rounded before.

cdef struct Moments:
    double mean, rstd


cdef inline Moments moments(Py_ssize_t n, const real *x, double epsilon) noexcept nogil:
    """Of a row, in two passes."""
    cdef double parts[8]
    cdef double d
    cdef Moments row
    cdef Py_ssize_t i, k, whole = n - n % 8
    for k in range(8):
        parts[k] = x[whole + k] if whole + k < n else 0
    for i in range(0, whole, 8):
        for k in range(8):
            parts[k] += x[i + k]
    row.mean = total_of(parts) / n
    for k in range(8):
        d = x[whole + k] - row.mean if whole + k < n else 0
        parts[k] = d * d
    for i in range(0, whole, 8):
        for k in range(8):
            d = x[i + k] - row.mean
            parts[k] += d * d
    row.rstd = 1 / sqrt(total_of(parts) / n + epsilon)
    return row


cdef inline void keep_moments(Moments row, real *kept) noexcept nogil:
    """Each as two numbers, the second what the first has lost."""
    kept[0], kept[1] = <real> row.mean, <real> (row.mean - <real> row.mean)
    kept[2], kept[3] = <real> row.rstd, <real> (row.rstd - <real> row.rstd)


cdef inline Moments kept_moments(const real *kept) noexcept nogil:
    cdef Moments row
    row.mean, row.rstd = <double> kept[0] + kept[1], <double> kept[2] + kept[3]
    return row


cdef inline real *moments_of(const Rows *rows, const Op *op, const real *_) noexcept nogil:
    """Those of each row, kept as (rows, KEPT)."""
    return <real *> rows.work + op.statistics * rows.capacity + KEPT * rows.first


cdef void layer_norm_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *y,
) noexcept nogil:
    cdef Py_ssize_t r, i, n = op.n_out, ldy = op.ld
    cdef const real *weight = parameters + op.weight
    cdef const real *bias = parameters + op.bias
    cdef real *kept = moments_of(rows, op, x) if rows.how.keeps else NULL
    cdef Moments row
    for r in range(rows.n):
        row = moments(n, x, op.alpha)
        for i in range(n):
            y[i] = <real> ((x[i] - row.mean) * row.rstd * weight[i] + bias[i])
        if kept != NULL:
            keep_moments(row, kept + r * KEPT)
        x += ldx
        y += ldy


cdef void layer_norm_backward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *dy, real *dx,
    Py_ssize_t lddx,
) noexcept nogil:
    cdef Py_ssize_t r, i, k, n = op.n_out, whole = n - n % 8, lddy = op.ld
    cdef bint adds = op.adds
    cdef const real *weight = parameters + op.weight
    cdef const real *kept = moments_of(rows, op, x)
    cdef double sums[8]
    cdef double products[8]
    cdef double g, shift, slope
    cdef Moments row
    for r in range(rows.n):
        row = kept_moments(kept + r * KEPT)
        for k in range(8):
            i = min(whole + k, n - 1)
            g = <double> weight[i] * dy[i] if whole + k < n else 0
            sums[k], products[k] = g, g * ((x[i] - row.mean) * row.rstd)
        for i in range(0, whole, 8):
            for k in range(8):
                g = <double> weight[i + k] * dy[i + k]
                sums[k] += g
                products[k] += g * ((x[i + k] - row.mean) * row.rstd)
        shift, slope = total_of(sums) / n, total_of(products) / n
        for i in range(n):
            store(dx + i, <real> (
                row.rstd * (<double> weight[i] * dy[i] - shift - (x[i] - row.mean) * row.rstd * slope)), adds)
        x += ldx
        dy += lddy
        dx += lddx


cdef void layer_norm_gradient(
    const Rows *rows, const Op *op, Py_ssize_t at, Py_ssize_t n, const real *x, Py_ssize_t ldx, const real *dy,
    double *sums, real *gradients,
) noexcept nogil:
    """dweight = the sum of dy x', dbias = the sum of dy; a few columns at a time, whose sums stay in registers."""
    cdef double totals[8]
    cdef double products[8]
    cdef Py_ssize_t r, i, c, wide, lddy = op.ld
    cdef const real *kept = moments_of(rows, op, x)
    cdef Moments row
    for c in range(at, at + n, 8):
        wide = min(8, at + n - c)
        for i in range(wide):
            totals[i] = products[i] = 0
        for r in range(rows.n):
            row = kept_moments(kept + r * KEPT)
            for i in range(wide):
                totals[i] += dy[r * lddy + c + i]
                products[i] += dy[r * lddy + c + i] * ((x[r * ldx + c + i] - row.mean) * row.rstd)
        for i in range(wide):
            gradients[op.weight + c + i], gradients[op.bias + c + i] = <real> products[i], <real> totals[i]


# A batch norm's statistics, and in the backward pass its sums, are taken over all rows of a batch before the pass goes
# on: those functions are called between the parts of a graph.

cdef inline double *columns_of(const Rows *rows, const Op *op, Columnwise which, const real *_) noexcept nogil:
    """Of a batch norm, a number for each column; the sums are those of dy and of dy x'."""
    cdef real *end = <real *> rows.work + padded(rows.capacity * rows.graph.width, 8)
    return <double *> (end + op.statistics) + which * op.ld


cdef inline double pace_of(const Rows *rows, const Op *op) noexcept nogil:
    """How fast the running statistics of a batch norm follow so many rows. 0: they stay, and these are normalized by
    them. A single row has no variance."""
    return rows.how.momenta[op.norm] if rows.how.training and rows.batch > 1 else 0


cdef inline void running_moments(
    const Rows *rows, const Op *op, Py_ssize_t at, Py_ssize_t n, double *mean, double *rstd, const real *_,
) noexcept nogil:
    """What the running statistics of n columns say."""
    cdef const real *running = <const real *> rows.graph.buffers + op.buffer + at
    cdef Py_ssize_t i
    for i in range(n):
        mean[i], rstd[i] = running[i], 1 / sqrt(running[op.n_out + i] + op.alpha)


# Sums over rows of a few columns, at most 8, which stay in registers.

cdef inlined add_columns(Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, double *sums) noexcept nogil:
    cdef Py_ssize_t r, i
    for r in range(rows):
        for i in range(n):
            sums[i] += x[r * ldx + i]


cdef inlined add_squares(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, const double *mean, double *sums,
) noexcept nogil:
    cdef Py_ssize_t r, i
    cdef double d
    for r in range(rows):
        for i in range(n):
            d = x[r * ldx + i] - mean[i]
            sums[i] += d * d


cdef inlined add_products(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, const real *dy, Py_ssize_t lddy, const double *mean,
    const double *rstd, double *sums,
) noexcept nogil:
    """Of dy x'."""
    cdef Py_ssize_t r, i
    for r in range(rows):
        for i in range(n):
            sums[i] += dy[r * lddy + i] * ((x[r * ldx + i] - mean[i]) * rstd[i])


cdef void batch_norm_statistics(
    const Rows *rows, const Op *op, Py_ssize_t from_n, Py_ssize_t to_n, const real *_,
) noexcept nogil:
    """Mean and variance of some columns, in two passes, a few columns at a time, whose sums stay in registers; or the
    running ones, where those stay."""
    cdef double *mean = columns_of(rows, op, MEAN, _)
    cdef double *rstd = columns_of(rows, op, RSTD, _)
    cdef double *variance = columns_of(rows, op, VARIANCE, _)
    cdef double total[8]
    cdef double squares[8]
    cdef Py_ssize_t i, c, wide, ldx = 0
    cdef const real *x = value_of(rows, op.source, &ldx, _)
    if not pace_of(rows, op) > 0:
        running_moments(rows, op, from_n, to_n - from_n, mean + from_n, rstd + from_n, _)
        return
    for c in range(from_n, to_n, 8):
        wide = min(8, to_n - c)
        for i in range(wide):
            total[i] = squares[i] = 0
        add_columns(rows.n, wide, x + c, ldx, total)
        for i in range(wide):
            total[i] /= rows.n
        add_squares(rows.n, wide, x + c, ldx, total, squares)
        for i in range(wide):
            mean[c + i], variance[c + i] = total[i], squares[i] / rows.n
            rstd[c + i] = 1 / sqrt(variance[c + i] + op.alpha)


cdef void batch_norm_sums(
    const Rows *rows, const Op *op, Py_ssize_t from_n, Py_ssize_t to_n, const real *_,
) noexcept nogil:
    """Over some columns, the sums of dy and of dy x'."""
    cdef const double *mean = columns_of(rows, op, MEAN, _)
    cdef const double *rstd = columns_of(rows, op, RSTD, _)
    cdef double *sum_dy = columns_of(rows, op, SUM_DY, _)
    cdef double *sum_product = columns_of(rows, op, SUM_PRODUCT, _)
    cdef double total[8]
    cdef double product[8]
    cdef Py_ssize_t i, c, wide, ldx = 0, lddy = op.ld
    cdef const real *x = value_of(rows, op.source, &ldx, _)
    cdef const real *dy = dy_of(rows, op, _)
    for c in range(from_n, to_n, 8):
        wide = min(8, to_n - c)
        for i in range(wide):
            total[i] = product[i] = 0
        add_columns(rows.n, wide, dy + c, lddy, total)
        add_products(rows.n, wide, x + c, ldx, dy + c, lddy, mean + c, rstd + c, product)
        for i in range(wide):
            sum_dy[c + i], sum_product[c + i] = total[i], product[i]


cdef void normalize(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, const double *mean, const double *rstd,
    const real *weight, const real *bias, real *y, Py_ssize_t ldy,
) noexcept nogil:
    cdef Py_ssize_t r, i
    for r in range(rows):
        for i in range(n):
            y[i] = <real> ((x[i] - mean[i]) * rstd[i] * weight[i] + bias[i])
        x += ldx
        y += ldy


cdef void batch_norm_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *y,
) noexcept nogil:
    """By what `batch_norm_statistics` has found, where a backward pass may follow; else by the running statistics, a
    few columns at a time."""
    cdef const real *weight = parameters + op.weight
    cdef const real *bias = parameters + op.bias
    cdef double mean[WIDEST]
    cdef double rstd[WIDEST]
    cdef Py_ssize_t p, at, n
    if rows.how.keeps:
        normalize(
            rows.n, op.n_out, x, ldx, columns_of(rows, op, MEAN, x), columns_of(rows, op, RSTD, x), weight, bias, y,
            op.ld)
        return
    for p in range((op.n_out + WIDEST - 1) // WIDEST):
        at = p * WIDEST
        n = min(WIDEST, op.n_out - at)
        running_moments(rows, op, at, n, mean, rstd, x)
        normalize(rows.n, n, x + at, ldx, mean, rstd, weight + at, bias + at, y + at, op.ld)


cdef void batch_norm_backward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *dy, real *dx,
    Py_ssize_t lddx,
) noexcept nogil:
    """Each row has its share of mean and variance; none where those are fixed."""
    cdef const real *weight = parameters + op.weight
    cdef const double *mean = columns_of(rows, op, MEAN, x)
    cdef const double *rstd = columns_of(rows, op, RSTD, x)
    cdef const double *sum_dy = columns_of(rows, op, SUM_DY, x)
    cdef const double *sum_product = columns_of(rows, op, SUM_PRODUCT, x)
    cdef double share = 1 / <double> rows.batch if pace_of(rows, op) > 0 else 0
    cdef Py_ssize_t r, i, n = op.n_out, lddy = op.ld
    cdef bint adds = op.adds
    for r in range(rows.n):
        for i in range(n):
            store(dx + i, <real> (weight[i] * rstd[i] * (
                dy[i] - share * sum_dy[i] - (x[i] - mean[i]) * rstd[i] * (share * sum_product[i]))), adds)
        x += ldx
        dy += lddy
        dx += lddx


cdef void batch_norm_gradient(
    const Rows *rows, const Op *op, Py_ssize_t at, Py_ssize_t n, const real *x, Py_ssize_t ldx, const real *dy,
    double *sums, real *gradients,
) noexcept nogil:
    """What `batch_norm_sums` has found."""
    cdef const double *sum_dy = columns_of(rows, op, SUM_DY, x)
    cdef const double *sum_product = columns_of(rows, op, SUM_PRODUCT, x)
    cdef Py_ssize_t i
    for i in range(at, at + n):
        gradients[op.weight + i], gradients[op.bias + i] = <real> sum_product[i], <real> sum_dy[i]


cdef bint batch_norm_follow(const Rows *rows, const Op *op, const real *_) noexcept nogil:
    """running += momentum (batch - running), the variance as estimated from so many rows (at least 2). What would not
    be finite keeps its last value; whether there was nothing like that."""
    cdef const double *mean = columns_of(rows, op, MEAN, _)
    cdef const double *variance = columns_of(rows, op, VARIANCE, _)
    cdef real *running_mean = <real *> rows.graph.buffers + op.buffer
    cdef real *running_variance = running_mean + op.n_out
    cdef double momentum = pace_of(rows, op), unbiased = rows.batch / <double> (rows.batch - 1)
    cdef Py_ssize_t i
    cdef real middle, spread
    cdef bint finite = True
    for i in range(op.n_out):
        middle = <real> (running_mean[i] + momentum * (mean[i] - running_mean[i]))
        spread = <real> (running_variance[i] + momentum * (variance[i] * unbiased - running_variance[i]))
        if middle - middle == 0 and spread - spread == 0:
            running_mean[i], running_variance[i] = middle, spread
        else:
            finite = False
    return finite


# Columns: each number of x goes on as it is, or as the row of a table that it names.

cdef inline Py_ssize_t row_named(real x, Py_ssize_t values) noexcept nogil:
    """Validation has seen to it that there is one; nothing else reaches beyond the table."""
    return <Py_ssize_t> x if x >= 0 and x < values else 0


cdef void columns_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *y,
) noexcept nogil:
    cdef Py_ssize_t r, c, i, at, first
    cdef const Column *column
    for r in range(rows.n):
        at = first = 0
        for c in range(op.n_columns):
            column = &op.columns[c]
            if column.weight < 0:
                copy_row(column.count, x + first, y + at)
            else:
                for i in range(column.count):
                    copy_row(
                        column.n, parameters + column.weight + row_named(x[first + i], column.values) * column.n,
                        y + at + i * column.n)
            first += column.count
            at += column.count * column.n
        x += ldx
        y += op.ld


cdef void columns_backward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *dy, real *dx,
    Py_ssize_t lddx,
) noexcept nogil:
    """To the numbers that went on; one that names a row has no gradient."""
    cdef Py_ssize_t r, c, i, at, first
    cdef bint adds = op.adds
    cdef const Column *column
    for r in range(rows.n):
        at = first = 0
        for c in range(op.n_columns):
            column = &op.columns[c]
            for i in range(column.count):
                store(dx + first + i, dy[at + i] if column.weight < 0 else 0, adds)
            first += column.count
            at += column.count * column.n
        dy += op.ld
        dx += lddx


cdef void columns_gradient(
    const Rows *rows, const Op *op, Py_ssize_t at, Py_ssize_t n, const real *x, Py_ssize_t ldx, const real *dy,
    double *sums, real *gradients,
) noexcept nogil:
    """Of n numbers of the tables: the dy of every row that names them is added, to the sums where they are given."""
    cdef Py_ssize_t r, c, k, i, here, first, place, from_at = op.weight + at, to_at = from_at + n
    cdef const Column *column
    if sums == NULL:
        memset(gradients + from_at, 0, n * sizeof(real))
    for r in range(rows.n):
        here = first = 0
        for c in range(op.n_columns):
            column = &op.columns[c]
            for k in range(column.count if column.weight >= 0 else 0):
                place = column.weight + row_named(x[first + k], column.values) * column.n
                for i in range(max(0, from_at - place), min(column.n, to_at - place)):
                    if sums != NULL:
                        sums[place + i] += dy[here + k * column.n + i]
                    else:
                        gradients[place + i] = gradients[place + i] + dy[here + k * column.n + i]
            first += column.count
            here += column.count * column.n
        x += ldx
        dy += op.ld


# The table.

cdef enum Wants:                                # what an operation wants, beside its source
    AS_WIDE = 1                                 # as many outputs as inputs
    OTHER_AS_WIDE = 2                           # another output, as wide as its own
    OTHER_BESIDE = 4                            # another output, as wide as what the source leaves of its own
    FROM_INPUT = 8                              # the input as its source
    RATE = 16                                   # an alpha from 0 to 1
    EPSILON = 32                                # an alpha of at least 0
    WEIGHT = 64                                 # a parameter for each column
    BIAS = 128                                  # and another one
    GROUPS = 256                                # groups of inputs and outputs
    PLAIN = 512                                 # the identity for its activation

ctypedef void (*ForwardF)(const Rows *, const Op *, const float *, Py_ssize_t, const float *, float *) noexcept nogil
ctypedef void (*ForwardD)(const Rows *, const Op *, const double *, Py_ssize_t, const double *, double *) noexcept nogil
ctypedef void (*BackwardF)(
    const Rows *, const Op *, const float *, Py_ssize_t, const float *, float *, float *, Py_ssize_t,
) noexcept nogil
ctypedef void (*BackwardD)(
    const Rows *, const Op *, const double *, Py_ssize_t, const double *, double *, double *, Py_ssize_t,
) noexcept nogil
ctypedef void (*GradientF)(
    const Rows *, const Op *, Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, const float *, double *, float *,
) noexcept nogil
ctypedef void (*GradientD)(
    const Rows *, const Op *, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, const double *, double *, double *,
) noexcept nogil

cdef struct Kind:                               # a row of the table
    int wants
    ForwardF forward_f
    ForwardD forward_d
    BackwardF backward_f
    BackwardD backward_d
    GradientF gradient_f                        # NULL: no parameters
    GradientD gradient_d

cdef Kind KINDS[<int> OPERATION_COUNT]

OPERATIONS = {}


cdef void kind(
    int operation, str name, int wants, ForwardF forward_f=NULL, ForwardD forward_d=NULL,
    BackwardF backward_f=NULL, BackwardD backward_d=NULL, GradientF gradient_f=NULL, GradientD gradient_d=NULL,
):
    OPERATIONS[name] = operation
    KINDS[operation] = Kind(wants, forward_f, forward_d, backward_f, backward_d, gradient_f, gradient_d)


# A dense layer's products are called where they are, so that they are inlined.
kind(DENSE, "dense", 0)
kind(ACTIVATION, "activation", AS_WIDE,
     copy_forward[float], copy_forward[double], copy_backward[float], copy_backward[double])
kind(DROPOUT, "dropout", AS_WIDE | RATE | PLAIN,
     dropout_forward[float], dropout_forward[double], dropout_backward[float], dropout_backward[double])
kind(CLIP, "clip", AS_WIDE,
     clip_forward[float], clip_forward[double], clip_backward[float], clip_backward[double])
kind(ADD, "add", AS_WIDE | OTHER_AS_WIDE,
     add_forward[float], add_forward[double], copy_backward[float], copy_backward[double])
kind(JOIN, "join", OTHER_BESIDE,
     join_forward[float], join_forward[double], copy_backward[float], copy_backward[double])
kind(PRELU, "prelu", AS_WIDE | WEIGHT,
     prelu_forward[float], prelu_forward[double], prelu_backward[float], prelu_backward[double],
     prelu_gradient[float], prelu_gradient[double])
kind(SCALE, "scale", AS_WIDE | WEIGHT,
     scale_forward[float], scale_forward[double], scale_backward[float], scale_backward[double],
     scale_gradient[float], scale_gradient[double])
kind(LERP, "lerp", AS_WIDE | OTHER_AS_WIDE | WEIGHT,
     lerp_forward[float], lerp_forward[double], lerp_backward[float], lerp_backward[double],
     lerp_gradient[float], lerp_gradient[double])
kind(LAYER_NORM, "layer_norm", AS_WIDE | EPSILON | WEIGHT | BIAS,
     layer_norm_forward[float], layer_norm_forward[double], layer_norm_backward[float], layer_norm_backward[double],
     layer_norm_gradient[float], layer_norm_gradient[double])
kind(BATCH_NORM, "batch_norm", AS_WIDE | EPSILON | WEIGHT | BIAS,
     batch_norm_forward[float], batch_norm_forward[double], batch_norm_backward[float], batch_norm_backward[double],
     batch_norm_gradient[float], batch_norm_gradient[double])
kind(COLUMNS, "columns", FROM_INPUT,
     columns_forward[float], columns_forward[double], columns_backward[float], columns_backward[double],
     columns_gradient[float], columns_gradient[double])


cdef inline void op_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *y,
) noexcept nogil:
    if real is float:
        KINDS[op.operation].forward_f(rows, op, x, ldx, parameters, y)
    else:
        KINDS[op.operation].forward_d(rows, op, x, ldx, parameters, y)


cdef inline void op_backward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *dy, real *dx,
    Py_ssize_t lddx,
) noexcept nogil:
    if real is float:
        KINDS[op.operation].backward_f(rows, op, x, ldx, parameters, dy, dx, lddx)
    else:
        KINDS[op.operation].backward_d(rows, op, x, ldx, parameters, dy, dx, lddx)


cdef inline void op_gradient(
    const Rows *rows, const Op *op, Py_ssize_t at, Py_ssize_t n, const real *x, Py_ssize_t ldx, const real *dy,
    double *sums, real *gradients,
) noexcept nogil:
    if real is float:
        KINDS[op.operation].gradient_f(rows, op, at, n, x, ldx, dy, sums, gradients)
    else:
        KINDS[op.operation].gradient_d(rows, op, at, n, x, ldx, dy, sums, gradients)
