# Layers beside the dense one, a pair for each: forward writes y from x; backward passes dy on to dx, added to what is
# there if it `adds`, and leaves dy, from which the gradients of the parameters are summed afterwards, column by column.

cdef enum:
    KEPT = 4                                    # numbers that a layer norm keeps of each row


cdef inline void store(real *to, real value, bint adds) noexcept nogil:
    to[0] = to[0] + value if adds else value


cdef void pass_on(
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


cdef void add_forward(
    Py_ssize_t rows, Py_ssize_t n, const real *a, Py_ssize_t lda, const real *b, Py_ssize_t ldb, real *y,
    Py_ssize_t ldy,
) noexcept nogil:
    """y = a + b"""
    cdef Py_ssize_t r, i
    for r in range(rows):
        for i in range(n):
            y[i] = a[i] + b[i]
        a += lda
        b += ldb
        y += ldy


# PReLU: y = x where x > 0, else a x, with a slope for each column.

cdef void prelu_forward(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, const real *slope, real *y, Py_ssize_t ldy,
) noexcept nogil:
    cdef Py_ssize_t r, i
    for r in range(rows):
        for i in range(n):
            y[i] = slope[i] * x[i] if x[i] <= 0 else x[i]
        x += ldx
        y += ldy


cdef void prelu_backward(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, const real *slope, const real *dy, Py_ssize_t lddy,
    real *dx, Py_ssize_t lddx, bint adds,
) noexcept nogil:
    cdef Py_ssize_t r, i
    cdef real one = 1
    for r in range(rows):
        for i in range(n):
            store(dx + i, (one if x[i] > 0 else slope[i]) * dy[i], adds)
        x += ldx
        dy += lddy
        dx += lddx


cdef void prelu_gradient(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, const real *dy, Py_ssize_t lddy, real *dslope,
) noexcept nogil:
    """dslope += the sum of dy x over the rows where x <= 0."""
    cdef Py_ssize_t r, i
    cdef real zero = 0
    for r in range(rows):
        for i in range(n):
            dslope[i] = multiply_add(dy[i], zero if x[i] > 0 else x[i], dslope[i])
        x += ldx
        dy += lddy


# Normalisation: x' = (x - mean) rstd, with rstd = 1 / sqrt(variance + epsilon); y = weight x' + bias. A layer norm
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


cdef void layer_norm_forward(
    Py_ssize_t rows, Py_ssize_t n, double epsilon, const real *x, Py_ssize_t ldx, const real *weight, const real *bias,
    real *y, Py_ssize_t ldy, real *statistics,
) noexcept nogil:
    """The moments of each row are kept as statistics (rows, KEPT), unless that is NULL."""
    cdef Py_ssize_t r, i
    cdef Moments row
    for r in range(rows):
        row = moments(n, x, epsilon)
        for i in range(n):
            y[i] = <real> ((x[i] - row.mean) * row.rstd * weight[i] + bias[i])
        if statistics != NULL:
            keep_moments(row, statistics + r * KEPT)
        x += ldx
        y += ldy


cdef void layer_norm_backward(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, const real *weight, const real *statistics,
    const real *dy, Py_ssize_t lddy, real *dx, Py_ssize_t lddx, bint adds,
) noexcept nogil:
    cdef Py_ssize_t r, i, k, whole = n - n % 8
    cdef double sums[8]
    cdef double products[8]
    cdef double g, shift, slope
    cdef Moments row
    for r in range(rows):
        row = kept_moments(statistics + r * KEPT)
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
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, const real *statistics, const real *dy,
    Py_ssize_t lddy, real *dweight, real *dbias,
) noexcept nogil:
    """dweight = the sum of dy x', dbias = the sum of dy; a few columns at a time, whose sums stay in registers."""
    cdef double totals[8]
    cdef double products[8]
    cdef Py_ssize_t r, i, at, wide
    cdef Moments row
    for at in range(0, n, 8):
        wide = min(8, n - at)
        for i in range(wide):
            totals[i] = products[i] = 0
        for r in range(rows):
            row = kept_moments(statistics + r * KEPT)
            for i in range(wide):
                totals[i] += dy[r * lddy + at + i]
                products[i] += dy[r * lddy + at + i] * ((x[r * ldx + at + i] - row.mean) * row.rstd)
        for i in range(wide):
            dweight[at + i], dbias[at + i] = <real> products[i], <real> totals[i]


cdef void column_moments(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, double epsilon, double *mean, double *rstd,
    double *variance,
) noexcept nogil:
    """Of each column, in two passes; a few columns at a time, whose sums stay in registers."""
    cdef double total[8]
    cdef double squares[8]
    cdef double d
    cdef Py_ssize_t r, i, at, wide
    for at in range(0, n, 8):
        wide = min(8, n - at)
        for i in range(wide):
            total[i] = squares[i] = 0
        for r in range(rows):
            for i in range(wide):
                total[i] += x[r * ldx + at + i]
        for i in range(wide):
            total[i] /= rows
        for r in range(rows):
            for i in range(wide):
                d = x[r * ldx + at + i] - total[i]
                squares[i] += d * d
        for i in range(wide):
            mean[at + i], variance[at + i] = total[i], squares[i] / rows
            rstd[at + i] = 1 / sqrt(variance[at + i] + epsilon)


cdef void batch_norm_forward(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, const double *mean, const double *rstd,
    const real *weight, const real *bias, real *y, Py_ssize_t ldy,
) noexcept nogil:
    cdef Py_ssize_t r, i
    for r in range(rows):
        for i in range(n):
            y[i] = <real> ((x[i] - mean[i]) * rstd[i] * weight[i] + bias[i])
        x += ldx
        y += ldy


cdef inline void running_moments(
    Py_ssize_t n, double epsilon, const real *running_mean, const real *running_variance, double *mean, double *rstd,
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        mean[i], rstd[i] = running_mean[i], 1 / sqrt(running_variance[i] + epsilon)


cdef bint batch_norm_running(
    Py_ssize_t rows, Py_ssize_t n, double momentum, const double *mean, const double *variance, real *running_mean,
    real *running_variance,
) noexcept nogil:
    """running += momentum (batch - running), the variance as estimated from so many rows (at least 2). What would not
    be finite keeps its last value; whether there was nothing like that."""
    cdef Py_ssize_t i
    cdef double unbias = rows / <double> (rows - 1)
    cdef real middle, spread
    cdef bint finite = True
    for i in range(n):
        middle = <real> (running_mean[i] + momentum * (mean[i] - running_mean[i]))
        spread = <real> (running_variance[i] + momentum * (variance[i] * unbias - running_variance[i]))
        if middle - middle == 0 and spread - spread == 0:
            running_mean[i], running_variance[i] = middle, spread
        else:
            finite = False
    return finite


cdef void batch_norm_sums(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, const double *mean, const double *rstd,
    const real *dy, Py_ssize_t lddy, double *sum_dy, double *sum_product,
) noexcept nogil:
    """Over each column, the sums of dy and of dy x'."""
    cdef double total[8]
    cdef double product[8]
    cdef Py_ssize_t r, i, at, wide
    for at in range(0, n, 8):
        wide = min(8, n - at)
        for i in range(wide):
            total[i] = product[i] = 0
        for r in range(rows):
            for i in range(wide):
                total[i] += dy[r * lddy + at + i]
                product[i] += dy[r * lddy + at + i] * ((x[r * ldx + at + i] - mean[at + i]) * rstd[at + i])
        for i in range(wide):
            sum_dy[at + i], sum_product[at + i] = total[i], product[i]


cdef void batch_norm_backward(
    double share, Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, const double *mean,
    const double *rstd, const real *weight, const double *sum_dy, const double *sum_product, const real *dy,
    Py_ssize_t lddy, real *dx, Py_ssize_t lddx, bint adds,
) noexcept nogil:
    """For some rows of a batch, of which each has so much of mean and variance: 0 where those are fixed."""
    cdef Py_ssize_t r, i
    for r in range(rows):
        for i in range(n):
            store(dx + i, <real> (weight[i] * rstd[i] * (
                dy[i] - share * sum_dy[i] - (x[i] - mean[i]) * rstd[i] * (share * sum_product[i]))), adds)
        x += ldx
        dy += lddy
        dx += lddx


# Columns: each number of x goes on as it is, or as the row of a table that it names.

cdef inline Py_ssize_t row_named(real x, Py_ssize_t values) noexcept nogil:
    """The gate has seen to it that there is one; nothing else reaches beyond the table."""
    return <Py_ssize_t> x if x >= 0 and x < values else 0


cdef void columns_forward(
    Py_ssize_t rows, Py_ssize_t n_columns, const Column *columns, const real *parameters, const real *x, Py_ssize_t ldx,
    real *y, Py_ssize_t ldy,
) noexcept nogil:
    cdef Py_ssize_t r, c, i, at, first
    cdef const Column *column
    for r in range(rows):
        at = first = 0
        for c in range(n_columns):
            column = &columns[c]
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
        y += ldy


cdef void columns_backward(
    Py_ssize_t rows, Py_ssize_t n_columns, const Column *columns, const real *dy, Py_ssize_t lddy, real *dx,
    Py_ssize_t lddx, bint adds,
) noexcept nogil:
    """To the numbers that went on; one that names a row has no gradient."""
    cdef Py_ssize_t r, c, i, at, first
    cdef const Column *column
    for r in range(rows):
        at = first = 0
        for c in range(n_columns):
            column = &columns[c]
            for i in range(column.count):
                store(dx + first + i, dy[at + i] if column.weight < 0 else 0, adds)
            first += column.count
            at += column.count * column.n
        dy += lddy
        dx += lddx


cdef void columns_gradient(
    Py_ssize_t rows, Py_ssize_t n_columns, const Column *columns, const real *x, Py_ssize_t ldx, const real *dy,
    Py_ssize_t lddy, Py_ssize_t from_at, Py_ssize_t to_at, real *gradients, double *sums,
) noexcept nogil:
    """Of the places from_at...to_at of the flat vector: the dy of every row that names them is added, to the sums where
    they are given."""
    cdef Py_ssize_t r, c, k, i, at, first, place
    cdef const Column *column
    for r in range(rows):
        at = first = 0
        for c in range(n_columns):
            column = &columns[c]
            for k in range(column.count if column.weight >= 0 else 0):
                place = column.weight + row_named(x[first + k], column.values) * column.n
                for i in range(max(0, from_at - place), min(column.n, to_at - place)):
                    if sums != NULL:
                        sums[place + i] += dy[at + k * column.n + i]
                    else:
                        gradients[place + i] = gradients[place + i] + dy[at + k * column.n + i]
            first += column.count
            at += column.count * column.n
        x += ldx
        dy += lddy
