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


cdef inline real expm1_reduced(real r) noexcept nogil:
    """e^r - 1 for |r| <= ln(2) / 2."""
    cdef real q
    if real is float:
        q = <float> 0.0013814613353220691206
        q = q * r + <float> 0.0083687098259067569207
        q = q * r + <float> 0.041668387359455825226
        q = q * r + <float> 0.16666520689815336394
        q = q * r + <float> 0.49999993451717146768
    else:
        q = 2.5000071142422296276e-8
        q = q * r + 2.7630233934148925183e-7
        q = q * r + 2.7557586270567930537e-6
        q = q * r + 0.000024801493136149113597
        q = q * r + 0.00019841269506774186082
        q = q * r + 0.0013888888943597725242
        q = q * r + 0.0083333333334943361036
        q = q * r + 0.041666666666530265952
        q = q * r + 0.16666666666666412769
        q = q * r + 0.50000000000000106167
    return r + r * r * q


cdef inline real exponential(real x) noexcept nogil:
    """e^x, with the power of two applied in halves, which are in range where their product is not. A NaN stays one."""
    cdef real magic, y
    if real is float:
        x = 89 if x > 89 else x
        x = -104 if x < -104 else x
        magic = magic_exponent(x)
        y = 1 + expm1_reduced(reduced(x, magic))
        return y * power_of_two_f(exponent_f(magic) >> 1) * power_of_two_f((exponent_f(magic) + 1) >> 1)
    else:
        x = 710 if x > 710 else x
        x = -746 if x < -746 else x
        magic = magic_exponent(x)
        y = 1 + expm1_reduced(reduced(x, magic))
        return y * power_of_two_d(exponent_d(magic) >> 1) * power_of_two_d((exponent_d(magic) + 1) >> 1)


cdef inline real sigmoid(real x) noexcept nogil:
    """1 / (1 + e^-x), by way of e^-|x|, which cannot overflow."""
    cdef real e = exponential(-absolute(x))
    return (1 if x >= 0 else e) / (1 + e)


cdef inline real hyperbolic_tangent(real x) noexcept nogil:
    """(e^2|x| - 1) / (e^2|x| + 1) with the sign of x, where e^2|x| - 1 = 2^n (e^r - 1) + (2^n - 1)."""
    cdef real y = 2 * absolute(x), magic, scale
    y = 40 if y > 40 else y
    magic = magic_exponent(y)
    if real is float:
        scale = power_of_two_f(exponent_f(magic))
    else:
        scale = power_of_two_d(exponent_d(magic))
    y = scale * expm1_reduced(reduced(y, magic)) + (scale - 1)
    return with_sign(y / (y + 2), x)


# One array of n numbers, a pair for each activation.

cdef void sigmoid_forward(Py_ssize_t n, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = sigmoid(y[i])


cdef void sigmoid_backward(Py_ssize_t n, const real *y, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        dy[i] = dy[i] * y[i] * (1 - y[i])


cdef void tanh_forward(Py_ssize_t n, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = hyperbolic_tangent(y[i])


cdef void tanh_backward(Py_ssize_t n, const real *y, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        dy[i] = dy[i] * (1 - y[i] * y[i])


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

cdef void softmax_forward(Py_ssize_t rows, Py_ssize_t n, Py_ssize_t ld, real *y) noexcept nogil:
    """y = e^(z - max z) / sum: nothing overflows, the sum is at least 1."""
    cdef Py_ssize_t r, i
    cdef real top, total
    for r in range(rows):
        top = y[0]
        for i in range(1, n):
            top = y[i] if y[i] > top else top
        for i in range(n):
            y[i] = exponential(y[i] - top)
        total = 0
        for i in range(n):
            total = total + y[i]
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
    int activation, real slope, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t ld, const real *y, real *dy,
) noexcept nogil:
    """From dy to dz, in place."""
    if activation == SIGMOID: sigmoid_backward(rows * ld, y, dy)
    elif activation == TANH: tanh_backward(rows * ld, y, dy)
    elif activation == RELU: relu_backward(rows * ld, y, dy)
    elif activation == LEAKY_RELU: leaky_relu_backward(rows * ld, slope, y, dy)
    elif activation == SOFTMAX: softmax_backward(rows, n, ld, y, dy)
