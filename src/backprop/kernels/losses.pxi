# Losses: for each row its value and the gradient with respect to y_hat, in one place, so that the value is exactly
# the number whose gradient is returned. Outputs are averaged within a row; `scale` is what the row counts for.
#
# y_hat holds probabilities, or (from_logits) the numbers whose sigmoid or softmax they are: there nothing overflows,
# and the gradient is the probability less the target.

from libc.math cimport exp, log, log1p

cdef enum LossKind:
    MEAN_SQUARED_ERROR, BINARY_CROSS_ENTROPY, CROSS_ENTROPY

LOSSES = {
    "mean_squared_error": MEAN_SQUARED_ERROR, "binary_cross_entropy": BINARY_CROSS_ENTROPY,
    "cross_entropy": CROSS_ENTROPY,
}

cdef struct Loss:
    int kind
    bint from_logits
    double smoothing                            # of cross-entropy's targets, towards 1 / n


cdef inline double smallest(const real *_) noexcept nogil:
    """The smallest normal number of this type."""
    return 1.1754943508222875e-38 if real is float else 2.2250738585072014e-308


cdef inline double safe_log(double p, double tiny) noexcept nogil:
    """log p, continued by its tangent below tiny, where it would leave the numbers."""
    return log(p) if p > tiny else log(tiny) + (p - tiny) / tiny


cdef inline double safe_log_derivative(double p, double tiny) noexcept nogil:
    return 1 / (p if p > tiny else tiny)


cdef inline double mean_squared_error(
    Py_ssize_t n, const real *y_hat, const real *y, double scale, real *dy,
) noexcept nogil:
    """1/n sum (y_hat - y)^2"""
    cdef Py_ssize_t i
    cdef double total = 0, d
    cdef real factor = <real> (2 * scale / n)
    for i in range(n):
        d = <double> y_hat[i] - <double> y[i]
        total += d * d
        dy[i] = factor * (y_hat[i] - y[i])
    return total / n


cdef double binary_cross_entropy(
    Py_ssize_t n, const real *y_hat, bint from_logits, const real *y, double scale, real *dy,
) noexcept nogil:
    """-1/n sum y log p + (1 - y) log(1 - p); on logits, max(z, 0) - z y + log(1 + e^-|z|)."""
    cdef Py_ssize_t i
    cdef double total = 0, p, t, tiny = smallest(y_hat)
    cdef double factor = scale / n
    for i in range(n):
        p, t = y_hat[i], y[i]
        if from_logits:
            total += (p if p > 0 else 0) - p * t + log1p(exp(-fabs(p)))
            dy[i] = <real> factor * (sigmoid(y_hat[i]) - y[i])
        else:
            total -= t * safe_log(p, tiny) + (1 - t) * safe_log(1 - p, tiny)
            dy[i] = <real> (factor * ((1 - t) * safe_log_derivative(1 - p, tiny) - t * safe_log_derivative(p, tiny)))
    return total / n


cdef inline double smoothed(double target, double smoothing, Py_ssize_t n) noexcept nogil:
    return target * (1 - smoothing) + smoothing / n


cdef double cross_entropy(
    Py_ssize_t n, const real *y_hat, bint from_logits, const real *y, int64_t label, double smoothing, double scale,
    real *dy,
) noexcept nogil:
    """-sum q log p, where q is the row y, or one at the label, smoothed; on logits, log p = z - log sum e^z."""
    cdef Py_ssize_t i
    cdef double total, lost, value = 0, mass = 0, q, log_total = 0, tiny = smallest(y_hat)
    cdef real top = 0
    if from_logits:
        top = largest(n, y_hat)
        for i in range(n):
            dy[i] = exponential_below(y_hat[i], top)
        total = sum_row(n, dy, &lost)
        log_total = log(total) + lost / total
    for i in range(n):
        q = smoothed(y[i] if y != NULL else <real> (i == label), smoothing, n)
        mass += q
        if from_logits:
            value += q * (log_total + (<double> top - y_hat[i]))
        else:
            value -= q * safe_log(y_hat[i], tiny)
            dy[i] = <real> (-scale * q * safe_log_derivative(y_hat[i], tiny))
    if from_logits:
        total = mass / total
        for i in range(n):
            q = smoothed(y[i] if y != NULL else <real> (i == label), smoothing, n)
            dy[i] = <real> (scale * (dy[i] * total - q))
    return value


cdef void loss_rows(
    const Loss *loss, Py_ssize_t rows, Py_ssize_t n, const real *y_hat, Py_ssize_t ld, const real *y,
    const int64_t *labels, const int64_t *order, const double *weight, double norm, double *values, real *dy,
    Py_ssize_t ldd,
) noexcept nogil:
    """The values of the rows, unweighted, and their gradients, each times weight * norm.

    Row r has the target, label and weight number order[r], or r where there is no order.
    """
    cdef Py_ssize_t r
    cdef int64_t at
    cdef double scale
    cdef const real *target
    for r in range(rows):
        at = order[r] if order != NULL else r
        scale = norm * weight[at] if weight != NULL else norm
        target = y + at * n if y != NULL else NULL
        if loss.kind == MEAN_SQUARED_ERROR:
            values[r] = mean_squared_error(n, y_hat, target, scale, dy)
        elif loss.kind == BINARY_CROSS_ENTROPY:
            values[r] = binary_cross_entropy(n, y_hat, loss.from_logits, target, scale, dy)
        else:
            values[r] = cross_entropy(
                n, y_hat, loss.from_logits, target, labels[at] if labels != NULL else -1, loss.smoothing, scale, dy)
        y_hat += ld
        dy += ldd
