# Activations: y = f(z), over z; and dz = dy f'(z), over dy, with the derivative taken from the output y.
#
# Three levels: the mathematics of one number; the same over an array, a pair for each activation; the choice by code.
# The functions of one number have no branch and call nothing, so the compiler turns the plain loops into vectors.

from libc.math cimport copysign, copysignf, fabs, fabsf
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from "simd.h" nogil:
    const float MAGIC_F
    const double MAGIC_D
    int32_t exponent_f(float magic)
    int64_t exponent_d(double magic)
    float power_of_two_f(int32_t n)
    double power_of_two_d(int64_t n)

cdef enum Activation:
    IDENTITY, SIGMOID, TANH, RELU, LEAKY_RELU, SOFTMAX

ACTIVATIONS = {
    "identity": IDENTITY, "sigmoid": SIGMOID, "tanh": TANH, "relu": RELU, "leaky_relu": LEAKY_RELU, "softmax": SOFTMAX,
}


# One number. e^x = 2^n e^r with n = round(x / ln 2), r = x - n ln 2; constants from tools/polynomials.py.
#
# Where rounding would add up, a result is corrected by what a sum lost (Dekker, "A floating-point technique for
# extending the available precision", 1971): for s = a + b with |a| >= |b|, that is b - (s - a). Ones and twos are
# variables, since a literal would make the arithmetic double.

cdef inline real absolute(real x) noexcept nogil:
    return fabsf(x) if real is float else fabs(x)


cdef inline real with_sign(real x, real sign) noexcept nogil:
    return copysignf(x, sign) if real is float else copysign(x, sign)


cdef inline real magic_exponent(real x) noexcept nogil:
    """n, as the lowest bits of a number (see simd.h)."""
    if real is float:
        return x * <float> 1.4426950408889634 + MAGIC_F
    else:
        return x * 1.4426950408889634 + MAGIC_D


cdef inline real reduced(real x, real magic) noexcept nogil:
    """r; n times the first part of ln 2 is exact."""
    cdef real n
    if real is float:
        n = magic - MAGIC_F
        return x - n * <float> 0.69317626953125 - n * <float> -0.000029088971304690582768
    else:
        n = magic - MAGIC_D
        return x - n * 0.69314718056011770386 - n * -1.7239444525614834773e-13


cdef inline real expm1_tail(real r) noexcept nogil:
    """e^r - 1 - r for |r| <= ln(2) / 2: a polynomial, its even and its odd powers side by side."""
    cdef real s = r * r, even, odd
    if real is float:
        even = <float> 0.0013814613353220691206
        even = even * s + <float> 0.041668387359455825226
        even = even * s + <float> 0.49999993451717146768
        odd = <float> 0.0083687098259067569207
        odd = odd * s + <float> 0.16666520689815336394
    else:
        even = 2.7630233934148925183e-7
        even = even * s + 0.000024801493136149113597
        even = even * s + 0.0013888888943597725242
        even = even * s + 0.041666666666530265952
        even = even * s + 0.50000000000000106167
        odd = 2.5000071142422296276e-8
        odd = odd * s + 2.7557586270567930537e-6
        odd = odd * s + 0.00019841269506774186082
        odd = odd * s + 0.0083333333334943361036
        odd = odd * s + 0.16666666666666412769
    return s * (odd * r + even)


cdef inline real scaled(real y, real magic) noexcept nogil:
    """2^n y, in halves, which are in range where their product is not."""
    if real is float:
        return y * power_of_two_f(exponent_f(magic) >> 1) * power_of_two_f((exponent_f(magic) + 1) >> 1)
    else:
        return y * power_of_two_d(exponent_d(magic) >> 1) * power_of_two_d((exponent_d(magic) + 1) >> 1)


cdef inline real exponential(real x, real low, real *rest) noexcept nogil:
    """e^(x + low), for a low that x alone has lost, and the rest that the result has lost. A NaN stays one."""
    cdef real magic, r, y, one = 1, most = 89 if real is float else 710, least = -104 if real is float else -746
    x = most if x > most else x
    x = least if x < least else x
    magic = magic_exponent(x)
    r = reduced(x, magic) + low
    r = r + expm1_tail(r)
    y = one + r
    rest[0] = scaled(r - (y - one), magic)
    return scaled(y, magic)


cdef inline real sigmoid(real x) noexcept nogil:
    """1 / (1 + e^-x), by way of e^-|x|, which cannot overflow; then put right to the first order."""
    cdef real one = 1, zero = 0, rest
    cdef real e = exponential(-absolute(x), zero, &rest)
    cdef real d = one + e
    cdef real y = choose(x >= 0, one, e) / d            # by bits, lest the compiler divide twice and choose then
    return y + ((zero if x >= 0 else rest) - y * ((e - (d - one)) + rest)) * (y if x >= 0 else one - y)


cdef inline real hyperbolic_tangent(real x) noexcept nogil:
    """E / (E + 2) with the sign of x, where E = e^2|x| - 1 = 2^n (e^r - 1) + (2^n - 1), in two parts."""
    cdef real two = 2, one = 1, half = 0.5, most = 40
    cdef real z = two * absolute(x), magic, scale, r, tail, high, low, e, d, back, y
    z = most if z > most else z
    magic = magic_exponent(z)
    scale = power_of_two_f(exponent_f(magic)) if real is float else power_of_two_d(exponent_d(magic))
    r = reduced(z, magic)
    tail = expm1_tail(r)
    high = r + tail
    low = tail - (high - r)
    e = scale * high + (scale - one)
    low = scale * high - (e - (scale - one)) + scale * low
    d = e + two
    back = d - e
    y = e / d
    y = y + (low - y * ((e - (d - back)) + (two - back) + low)) * (half - half * y)
    return with_sign(y, x)


# One array of n numbers, a pair for each activation.

cdef void sigmoid_forward(Py_ssize_t n, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = sigmoid(y[i])


cdef void sigmoid_backward(Py_ssize_t n, const real *y, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    cdef real one = 1
    for i in range(n):
        dy[i] = dy[i] * y[i] * (one - y[i])


cdef void tanh_forward(Py_ssize_t n, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = hyperbolic_tangent(y[i])


cdef void tanh_backward(Py_ssize_t n, const real *y, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    cdef real one = 1
    for i in range(n):
        dy[i] = dy[i] * (one - y[i] * y[i])


cdef void relu_forward(Py_ssize_t n, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = 0 if y[i] <= 0 else y[i]                 # a NaN stays one


cdef void relu_backward(Py_ssize_t n, const real *y, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        dy[i] = dy[i] if y[i] > 0 else 0


cdef void leaky_relu_forward(Py_ssize_t n, real slope, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = slope * y[i] if y[i] <= 0 else y[i]


cdef void leaky_relu_backward(Py_ssize_t n, real slope, const real *y, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        dy[i] = dy[i] if y[i] > 0 else slope * dy[i]


# Rows: softmax mixes the numbers of a row, the others do not look at its end.

cdef inline real largest(Py_ssize_t n, const real *x) noexcept nogil:
    cdef Py_ssize_t i
    cdef real top = x[0]
    for i in range(1, n):
        top = x[i] if x[i] > top else top
    return top


cdef inline double sum_row(Py_ssize_t n, const real *x, double *lost) noexcept nogil:
    """The sum of a row, and what it lost: four sums side by side, with Knuth's correction, which needs no order."""
    cdef double s0 = 0, s1 = 0, s2 = 0, s3 = 0, error = 0
    cdef Py_ssize_t i
    for i in range(n // 4):
        s0 = add_to(s0, x[4 * i], &error)
        s1 = add_to(s1, x[4 * i + 1], &error)
        s2 = add_to(s2, x[4 * i + 2], &error)
        s3 = add_to(s3, x[4 * i + 3], &error)
    for i in range(n // 4 * 4, n):
        s0 = add_to(s0, x[i], &error)
    s0 = add_to(add_to(s0, s1, &error), add_to(s2, s3, &error), &error)
    lost[0] = error
    return s0


cdef inline double add_to(double a, double b, double *error) noexcept nogil:
    cdef double s = a + b, back = s - a
    error[0] += (a - (s - back)) + (b - back)
    return s


cdef inline real exponential_below(real x, real top) noexcept nogil:
    """e^(x - top), with what the difference loses, unless it is infinite."""
    cdef real d = x - top, back = d - x, low = (x - (d - back)) - (top + back), zero = 0, one = 1, _
    return exponential(d, low if absolute(low) < one else zero, &_)


cdef void softmax_forward(Py_ssize_t rows, Py_ssize_t n, Py_ssize_t ld, real *y) noexcept nogil:
    """y = e^(z - max z) / sum: nothing overflows, the sum is at least 1."""
    cdef Py_ssize_t r, i
    cdef real top, total
    cdef double lost
    for r in range(rows):
        top = largest(n, y)
        for i in range(n):
            y[i] = exponential_below(y[i], top)
        total = <real> (sum_row(n, y, &lost) + lost)
        for i in range(n):
            y[i] = y[i] / total
        y += ld


cdef void softmax_backward(Py_ssize_t rows, Py_ssize_t n, Py_ssize_t ld, const real *y, real *dy) noexcept nogil:
    """dz = y (dy - sum of dy y)."""
    cdef Py_ssize_t r, i
    cdef real mean
    for r in range(rows):
        mean = 0
        for i in range(n):
            mean = mean + dy[i] * y[i]
        for i in range(n):
            dy[i] = y[i] * (dy[i] - mean)
        y += ld
        dy += ld


cdef inline bint mixes(int activation) noexcept nogil:
    """Whether a number depends on the others of its row."""
    return activation == SOFTMAX


cdef inline bint needs_z(int activation) noexcept nogil:
    """Whether the derivative is taken from z, not from y: then the activation is a step of its own, whose input is z."""
    return False


cdef void activation_forward(
    int activation, real slope, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t ld, real *y,
) noexcept nogil:
    """In place, over the rows and the padding between them."""
    if activation == SIGMOID: sigmoid_forward(rows * ld, y)
    elif activation == TANH: tanh_forward(rows * ld, y)
    elif activation == RELU: relu_forward(rows * ld, y)
    elif activation == LEAKY_RELU: leaky_relu_forward(rows * ld, slope, y)
    elif activation == SOFTMAX: softmax_forward(rows, n, ld, y)


cdef void activation_backward(
    int activation, real slope, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t ld, const real *z, const real *y, real *dy,
) noexcept nogil:
    """From dy to dz, in place; z may be NULL where nothing needs it."""
    if activation == SIGMOID: sigmoid_backward(rows * ld, y, dy)
    elif activation == TANH: tanh_backward(rows * ld, y, dy)
    elif activation == RELU: relu_backward(rows * ld, y, dy)
    elif activation == LEAKY_RELU: leaky_relu_backward(rows * ld, slope, y, dy)
    elif activation == SOFTMAX: softmax_backward(rows, n, ld, y, dy)


NEEDS_Z = {code for code in ACTIVATIONS.values() if needs_z(code)}
