# Losses: for each row its value and the gradient with respect to y_hat, in one place, so that the value is exactly
# the number whose gradient is returned. Outputs are averaged within a row; `scale` is what the row counts for.
#
# y_hat holds probabilities, or (from_logits) the numbers whose sigmoid or softmax they are: there nothing overflows,
# and the gradient is the probability less the target.
#
# Three levels: the loss of one number, with its slope; of a row; the choice by code. A NaN in y_hat shows in the value.

from libc.float cimport DBL_MAX
from libc.math cimport exp, expm1, log, log1p, pow, sqrt

cdef enum LossKind:
    MEAN_SQUARED_ERROR, MEAN_ABSOLUTE_ERROR, HUBER, LOG_COSH, QUANTILE, BINARY_CROSS_ENTROPY, CROSS_ENTROPY, FOCAL,
    HINGE, SQUARED_HINGE, POISSON, GAUSSIAN_NLL, KL_DIVERGENCE, COSINE_SIMILARITY
    LOSS_COUNT                                  # stays the last

LOSSES = {
    "mean_squared_error": MEAN_SQUARED_ERROR, "mean_absolute_error": MEAN_ABSOLUTE_ERROR, "huber": HUBER,
    "log_cosh": LOG_COSH, "quantile": QUANTILE, "binary_cross_entropy": BINARY_CROSS_ENTROPY,
    "cross_entropy": CROSS_ENTROPY, "focal": FOCAL, "hinge": HINGE, "squared_hinge": SQUARED_HINGE,
    "poisson": POISSON, "gaussian_nll": GAUSSIAN_NLL, "kl_divergence": KL_DIVERGENCE,
    "cosine_similarity": COSINE_SIMILARITY,
}

cdef enum:
    NUMBERS = 32                                # that a loss has at most
    LEAST_LOG_VARIANCE = -1400                  # where the inverse of a standard deviation is still a number

LOSS_NUMBERS = NUMBERS

cdef struct Loss:
    int kind
    bint from_logits
    int n_parameters
    # delta; levels; smoothing, and of binary ones, if any, behind it the weights of 1; gamma, weights of 1 and 0,
    # multi_label
    double parameters[NUMBERS]


cdef int read_loss(given, Loss *loss) except -1:
    """Take over a loss from Python, (code, from_logits, (numbers...)): a known one, with as many numbers as it has."""
    cdef tuple numbers
    cdef Py_ssize_t i, n
    if not isinstance(given, tuple):            # a named one, too
        raise TypeError(f"expected a tuple, got {type(given).__name__}")
    loss.kind, loss.from_logits, numbers = given
    if not 0 <= loss.kind < LOSS_COUNT:
        raise ValueError(f"expected a code of LOSSES, got {loss.kind}")
    n = len(numbers)
    if n > NUMBERS or not (
        n >= 1 if loss.kind == QUANTILE else n == numbers_of(loss.kind)
        or (loss.kind == BINARY_CROSS_ENTROPY and n >= 2)
    ):
        raise ValueError(f"expected the numbers of loss {loss.kind}, got {n}")
    loss.n_parameters = <int> n
    for i in range(n):
        loss.parameters[i] = numbers[i]
    return 0


cdef inline int numbers_of(int kind) noexcept nogil:
    return 4 if kind == FOCAL else 1 if kind == HUBER or kind == CROSS_ENTROPY else 0


cdef inline bint takes_labels(const Loss *loss) noexcept nogil:
    """Whether a label will do for a row of targets."""
    return loss.kind == CROSS_ENTROPY or loss.kind == FOCAL or loss.kind == HINGE or loss.kind == SQUARED_HINGE


cdef inline Py_ssize_t target_width(const Loss *loss, Py_ssize_t n) noexcept nogil:
    """How many targets a row of n outputs has; 0 where the outputs do not come out even."""
    cdef Py_ssize_t each = loss.n_parameters if loss.kind == QUANTILE else 2 if loss.kind == GAUSSIAN_NLL else 1
    if loss.kind == BINARY_CROSS_ENTROPY and loss.n_parameters > 2 and n != loss.n_parameters - 1:
        return 0
    if each == 1:                               # a division is dear in a tiny network
        return n
    return n // each if n % each == 0 else 0


# One number: the loss of y_hat where y is the target, and its slope, the derivative with respect to y_hat.

cdef inline double safe_log(double p, double tiny) noexcept nogil:
    """log p, continued by its tangent below tiny, where it would leave the numbers."""
    return log(p) if p > tiny else log(tiny) + (p - tiny) / tiny


cdef inline double safe_log_derivative(double p, double tiny) noexcept nogil:
    return 1 / (p if p > tiny else tiny)


cdef inline double absolute_error(double y_hat, double y, double *slope) noexcept nogil:
    """|d| for d = y_hat - y; where that is 0, so is the slope."""
    cdef double d = y_hat - y
    slope[0] = (d > 0) - (d < 0)
    return fabs(d)


cdef inline double huber(double y_hat, double y, double delta, double *slope) noexcept nogil:
    """d^2 / 2 up to delta, and delta (|d| - delta / 2) beyond."""
    cdef double d = y_hat - y, near = delta if d > delta else -delta if d < -delta else d
    slope[0] = near
    return near * (d - near / 2)


cdef inline double log_cosh(double y_hat, double y, double *slope) noexcept nogil:
    """log cosh d: from its tanh where that is small, as |d| - log 2 and a rest where it is near 1."""
    cdef double d = y_hat - y, t = hyperbolic_tangent(d)
    slope[0] = t
    if fabs(d) < 1:
        return -0.5 * log1p(-t * t)
    return fabs(d) - 0.69314718055994530942 + log1p(exp(-2 * fabs(d)))


cdef inline double pinball(double y_hat, double y, double level, double *slope) noexcept nogil:
    """level |d| where y_hat is too low, (1 - level) |d| where it is too high."""
    cdef double d = y_hat - y
    slope[0] = (1 - level) * (d > 0) - level * (d < 0)
    return slope[0] * d


cdef inline double hinge(double y_hat, double y, double *slope) noexcept nogil:
    """max(0, 1 - s y_hat), with s = 1 where y is positive, else -1."""
    cdef double sign = 1 if y > 0 else -1, short = 1 - sign * y_hat
    slope[0] = -sign if short > 0 else 0
    return 0 if short <= 0 else short


cdef inline double squared_hinge(double y_hat, double y, double *slope) noexcept nogil:
    cdef double short = hinge(y_hat, y, slope)
    slope[0] *= 2 * short
    return short * short


cdef inline double poisson(double y_hat, double y, bint of_log, double tiny, double *slope) noexcept nogil:
    """rate - y log rate, for a rate y_hat or e^y_hat."""
    cdef double rate
    if of_log:
        rate = exp(y_hat)
        slope[0] = rate - y
        return rate - y * y_hat if rate <= DBL_MAX else rate
    slope[0] = 1 - y * safe_log_derivative(y_hat, tiny)
    return y_hat - y * safe_log(y_hat, tiny)


cdef inline double faded(double p, double rest, double log_p, double gamma, double *slope) noexcept nogil:
    """-rest^gamma log p with rest = 1 - p; the slope is that with respect to log p."""
    cdef double fade = pow(rest, gamma)
    slope[0] = fade * (gamma * p * (log_p / rest if rest > 0 else -1) - 1)
    return -fade * log_p


cdef inline double binary_focal(
    double y_hat, double y, bint from_logits, const double *numbers, double tiny, double *slope,
) noexcept nogil:
    """-alpha y (1 - p)^gamma log p - (1 - alpha) (1 - y) p^gamma log(1 - p)."""
    cdef double p, rest, log_p, log_rest, to_p, to_rest, log_sum, value, slope_p = 0, slope_rest = 0
    cdef double one = numbers[1] * y, zero = numbers[2] * (1 - y)
    if from_logits:
        p, rest, log_sum = sigmoid(y_hat), sigmoid(-y_hat), log1p(exp(-fabs(y_hat)))
        log_p, log_rest = (y_hat if y_hat < 0 else 0) - log_sum, (-y_hat if y_hat > 0 else 0) - log_sum
        to_p, to_rest = rest, -p
    else:
        p, rest = y_hat, 1 - y_hat
        log_p, log_rest = safe_log(p, tiny), log1p(-p) if rest > tiny else safe_log(rest, tiny)
        to_p, to_rest = safe_log_derivative(p, tiny), -safe_log_derivative(rest, tiny)
    value = one * faded(p, rest, log_p, numbers[0], &slope_p) + zero * faded(rest, p, log_rest, numbers[0], &slope_rest)
    slope[0] = one * slope_p * to_p + zero * slope_rest * to_rest
    return value


cdef inline double smoothed(double target, double smoothing, Py_ssize_t n) noexcept nogil:
    return target * (1 - smoothing) + smoothing / n


cdef inline double weighted_cross_entropy(
    double y_hat, double y, bint from_logits, double smoothing, double weight, double tiny, double *slope,
) noexcept nogil:
    """-w t log p - (1 - t) log(1 - p), with t = y (1 - smoothing) + smoothing / 2; a large w / p stays a number."""
    cdef double least = tiny * max(weight, 1.0)
    cdef double one = weight * smoothed(y, smoothing, 2), zero = smoothed(1 - y, smoothing, 2)
    cdef double p = y_hat, rest = 1 - y_hat, log_sum
    if from_logits:
        p, rest, log_sum = sigmoid(y_hat), sigmoid(-y_hat), log1p(exp(-fabs(y_hat)))
        slope[0] = zero * p - one * rest
        return (zero * y_hat if y_hat > 0 else -one * y_hat) + (one + zero) * log_sum
    slope[0] = zero * safe_log_derivative(rest, tiny) - one * safe_log_derivative(p, least)
    return -one * safe_log(p, least) - zero * (log1p(-p) if rest > tiny else safe_log(rest, tiny))


# One row of n numbers.

cdef inline double target_at(const real *y, int64_t label, Py_ssize_t i) noexcept nogil:
    """Number i of the row y, or of the row that is 1 at the label."""
    return y[i] if y != NULL else <real> (i == label)


cdef inlined averaged(
    int kind, const Loss *loss, Py_ssize_t n, const real *y_hat, const real *y, int64_t label, double scale,
    double *value, real *dy,
) noexcept nogil:
    """The mean over the numbers. The kind is constant at each call, and of the choice its formula is left."""
    cdef Py_ssize_t i
    cdef double total = 0, slope = 0, factor = scale / n, z, t, tiny = smallest(y_hat), root = sqrt(tiny)
    for i in range(n):
        z, t = y_hat[i], target_at(y, label, i)
        if kind == MEAN_ABSOLUTE_ERROR: total += absolute_error(z, t, &slope)
        elif kind == HUBER: total += huber(z, t, loss.parameters[0], &slope)
        elif kind == LOG_COSH: total += log_cosh(z, t, &slope)
        elif kind == HINGE: total += hinge(z, t, &slope)
        elif kind == SQUARED_HINGE: total += squared_hinge(z, t, &slope)
        elif kind == POISSON: total += poisson(z, t, loss.from_logits, root, &slope)
        elif kind == BINARY_CROSS_ENTROPY:
            total += weighted_cross_entropy(
                z, t, loss.from_logits, loss.parameters[0], loss.parameters[1 + (i if loss.n_parameters > 2 else 0)],
                tiny, &slope)
        else: total += binary_focal(z, t, loss.from_logits, loss.parameters, tiny, &slope)
        dy[i] = <real> (factor * slope)
    value[0] = total / n


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


cdef double quantiles(
    Py_ssize_t n, int n_levels, const double *level, const real *y_hat, const real *y, double scale, real *dy,
) noexcept nogil:
    """The mean over the levels, side by side, of each of n targets."""
    cdef Py_ssize_t i
    cdef int k
    cdef double total = 0, slope = 0, factor = scale / (n * n_levels)
    for i in range(n):
        for k in range(n_levels):
            total += pinball(y_hat[i * n_levels + k], y[i], level[k], &slope)
            dy[i * n_levels + k] = <real> (factor * slope)
    return total / (n * n_levels)


cdef double gaussian_nll(Py_ssize_t n, const real *y_hat, const real *y, double scale, real *dy) noexcept nogil:
    """1/2n sum s + d^2 e^-s, for n targets whose mean and log-variance s lie side by side."""
    cdef Py_ssize_t i
    cdef double total = 0, s, z, inverse, factor = scale / n
    for i in range(n):
        s = y_hat[2 * i + 1]
        inverse = exp(-0.5 * (s if s > LEAST_LOG_VARIANCE else LEAST_LOG_VARIANCE))
        z = (<double> y_hat[2 * i] - <double> y[i]) * inverse
        total += s + z * z
        dy[2 * i] = <real> (factor * z * inverse)
        dy[2 * i + 1] = <real> (0.5 * factor * (1 - (z * z if s > LEAST_LOG_VARIANCE else 0)))
    return 0.5 * total / n


cdef double binary_cross_entropy(
    Py_ssize_t n, const real *y_hat, bint from_logits, const real *y, double scale, real *dy,
) noexcept nogil:
    """-1/n sum y log p + (1 - y) log(1 - p); on logits, max(z, 0) - z y + log(1 + e^-|z|).

    The slope there is (1 - y) p - y (1 - p), where p - y would cancel.
    """
    cdef Py_ssize_t i
    cdef double total = 0, p, t, rest, e, likely, tiny = smallest(y_hat)
    cdef double factor = scale / n
    for i in range(n):
        p, t = y_hat[i], y[i]
        if from_logits:
            e = exp(-fabs(p))
            likely = 1 / (1 + e)                # what |z| says
            total += (p if p > 0 else 0) - p * t + log1p(e)
            p, rest = (likely, e * likely) if p > 0 else (e * likely, likely)
            dy[i] = <real> (factor * ((1 - t) * p - t * rest))
        else:
            rest = 1 - p
            total -= t * safe_log(p, tiny) + (1 - t) * (log1p(-p) if rest > tiny else safe_log(rest, tiny))
            dy[i] = <real> (factor * ((1 - t) * safe_log_derivative(rest, tiny) - t * safe_log_derivative(p, tiny)))
    return total / n


cdef inline double log_sum_exp(
    Py_ssize_t n, const real *z, real top, real *e, Py_ssize_t *likeliest, double *others,
) noexcept nogil:
    """log sum e^(z - top), with its terms e; top is the largest z.

    The term that is 1, and the sum of the others, are told apart: beside it they may be next to nothing.
    """
    cdef Py_ssize_t i
    cdef double lost
    cdef real one = 1
    for i in range(n):
        e[i] = exponential_below(z[i], top)
    likeliest[0] = place_of(n, z, top)
    e[likeliest[0]] = 0 if top == top else top
    others[0] = sum_row(n, e, &lost)
    e[likeliest[0]] = one
    return log1p(others[0]) + lost / (1 + others[0])


cdef inline double log_below(double z, double top) noexcept nogil:
    """z - top, which may leave the numbers: a target of 0 times it is to be 0."""
    cdef double d = z - top
    return -DBL_MAX if d < -DBL_MAX else d


cdef double cross_entropy(
    Py_ssize_t n, const real *y_hat, bint from_logits, const real *y, int64_t label, double smoothing, double scale,
    real *dy,
) noexcept nogil:
    """-sum q log p, where q is the row y, or one at the label, smoothed; on logits, log p = z - log sum e^z.

    The slope there is (sum q) p - q, written as what the others have of q times p, less q times what they have of p.
    """
    cdef Py_ssize_t i, likeliest = 0
    cdef double others = 0, value = 0, mass = 0, q, rest, log_total = 0, tiny = smallest(y_hat)
    cdef real top = 0
    if from_logits:
        top = largest(n, y_hat)
        log_total = log_sum_exp(n, y_hat, top, dy, &likeliest, &others)
    for i in range(n):
        q = smoothed(target_at(y, label, i), smoothing, n)
        mass += q
        if from_logits:
            value += q * (log_total - log_below(y_hat[i], top))
        else:
            value -= q * safe_log(y_hat[i], tiny)
            dy[i] = <real> (-scale * q * safe_log_derivative(y_hat[i], tiny))
    if from_logits:
        scale /= 1 + others
        for i in range(n):
            q = smoothed(target_at(y, label, i), smoothing, n)
            rest = others if i == likeliest else 1 + others - dy[i]
            dy[i] = <real> (scale * ((mass - q) * dy[i] - q * rest))
    return value


cdef double kl_divergence(
    Py_ssize_t n, const real *y_hat, bint from_logits, const real *y, double scale, real *dy,
) noexcept nogil:
    """sum y log(y / p): cross-entropy, less what it is where p = y."""
    cdef Py_ssize_t i
    cdef double value = cross_entropy(n, y_hat, from_logits, y, -1, 0, scale, dy), t
    for i in range(n):
        t = y[i]
        value += t * log(t if t > 0 else 1)
    return value


cdef double focal(
    Py_ssize_t n, const real *y_hat, bint from_logits, const real *y, int64_t label, double gamma, double scale,
    real *dy,
) noexcept nogil:
    """-sum q (1 - p)^gamma log p, where q is the row y, or one at the label."""
    cdef Py_ssize_t i, likeliest = 0
    cdef double q, p, rest, log_p, others = 0, log_total = 0, value = 0, slope = 0, slopes = 0, tiny = smallest(y_hat)
    cdef real top = 0
    if from_logits:
        top = largest(n, y_hat)
        log_total = log_sum_exp(n, y_hat, top, dy, &likeliest, &others)
    for i in range(n):
        q = target_at(y, label, i)
        if from_logits:
            log_p = log_below(y_hat[i], top) - log_total
            p, rest = exp(log_p), -expm1(log_p)
        else:
            p, rest, log_p = y_hat[i], 1 - <double> y_hat[i], safe_log(y_hat[i], tiny)
        value += q * faded(p, rest, log_p, gamma, &slope)
        slope *= q
        dy[i] = <real> (slope if from_logits else scale * slope * safe_log_derivative(p, tiny))
        slopes += dy[i]
    if from_logits:
        scale /= 1 + others
        for i in range(n):
            p = exponential_below(y_hat[i], top)
            rest = others if i == likeliest else 1 + others - p
            dy[i] = <real> (scale * (dy[i] * rest - (slopes - dy[i]) * p))
    return value


cdef double cosine_similarity(Py_ssize_t n, const real *y_hat, const real *y, double scale, real *dy) noexcept nogil:
    """1 - cos of the angle between the rows; where one has no direction, since all of it is below tiny, 1."""
    cdef Py_ssize_t i
    cdef double a = largest_size(n, y_hat), b = largest_size(n, y), aa = 0, bb = 0, ab = 0, u, v
    cdef double tiny = smallest(y_hat)
    if a < tiny or b < tiny:
        memset(dy, 0, n * sizeof(real))
        return 1
    for i in range(n):
        u, v = y_hat[i] / a, y[i] / b           # their squares neither vanish nor overflow
        aa += u * u
        bb += v * v
        ab += u * v
    ab /= sqrt(aa) * sqrt(bb)
    for i in range(n):
        dy[i] = <real> (scale / a / sqrt(aa) * (ab * (y_hat[i] / a) / sqrt(aa) - (y[i] / b) / sqrt(bb)))
    return 1 - ab


# The choice.

cdef outlined loss_row(
    const Loss *loss, Py_ssize_t n, const real *y_hat, const real *y, int64_t label, double scale, double *value,
    real *dy,
) noexcept nogil:
    """The losses that are met less often: apart, lest they take the registers of the others."""
    cdef int kind = loss.kind, levels = loss.n_parameters
    cdef bint logits = loss.from_logits
    if kind == MEAN_ABSOLUTE_ERROR: averaged(MEAN_ABSOLUTE_ERROR, loss, n, y_hat, y, label, scale, value, dy)
    elif kind == HUBER: averaged(HUBER, loss, n, y_hat, y, label, scale, value, dy)
    elif kind == LOG_COSH: averaged(LOG_COSH, loss, n, y_hat, y, label, scale, value, dy)
    elif kind == HINGE: averaged(HINGE, loss, n, y_hat, y, label, scale, value, dy)
    elif kind == SQUARED_HINGE: averaged(SQUARED_HINGE, loss, n, y_hat, y, label, scale, value, dy)
    elif kind == POISSON: averaged(POISSON, loss, n, y_hat, y, label, scale, value, dy)
    elif kind == BINARY_CROSS_ENTROPY: averaged(BINARY_CROSS_ENTROPY, loss, n, y_hat, y, label, scale, value, dy)
    elif kind == FOCAL and (n == 1 or loss.parameters[3] != 0):
        averaged(FOCAL, loss, n, y_hat, y, label, scale, value, dy)
    elif kind == FOCAL: value[0] = focal(n, y_hat, logits, y, label, loss.parameters[0], scale, dy)
    elif kind == QUANTILE: value[0] = quantiles(n // levels, levels, loss.parameters, y_hat, y, scale, dy)
    elif kind == GAUSSIAN_NLL: value[0] = gaussian_nll(n // 2, y_hat, y, scale, dy)
    elif kind == KL_DIVERGENCE: value[0] = kl_divergence(n, y_hat, logits, y, scale, dy)
    else: value[0] = cosine_similarity(n, y_hat, y, scale, dy)


cdef void loss_rows(
    const Loss *loss, Py_ssize_t rows, Py_ssize_t n, const real *y_hat, Py_ssize_t ld, const real *y,
    const int64_t *labels, const int64_t *order, const double *weight, double norm, double *values, real *dy,
    Py_ssize_t ldd,
) noexcept nogil:
    """The values of the rows, unweighted, and their gradients, each times weight * norm.

    Row r has the target, label and weight number order[r], or r where there is no order.
    """
    cdef Py_ssize_t r, width = target_width(loss, n)
    cdef int kind = loss.kind
    cdef int64_t at, label
    cdef double scale
    cdef const real *target
    for r in range(rows):
        at = order[r] if order != NULL else r
        scale = norm * weight[at] if weight != NULL else norm
        target = y + at * width if y != NULL else NULL
        label = labels[at] if labels != NULL else -1
        if kind == MEAN_SQUARED_ERROR:
            values[r] = mean_squared_error(n, y_hat, target, scale, dy)
        elif kind == BINARY_CROSS_ENTROPY and loss.n_parameters == 0:
            values[r] = binary_cross_entropy(n, y_hat, loss.from_logits, target, scale, dy)
        elif kind == CROSS_ENTROPY:
            values[r] = cross_entropy(n, y_hat, loss.from_logits, target, label, loss.parameters[0], scale, dy)
        else:
            loss_row(loss, n, y_hat, target, label, scale, values + r, dy)
        y_hat += ld
        dy += ldd
