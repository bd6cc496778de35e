# Activations: y = f(z), over z; and dz = dy f'(z), over dy, with the derivative taken from the output y, or from z
# where y does not tell.
#
# Two levels above the functions of elementary.pxi: loops over an array, a pair for each activation; the choice by code.

cdef enum Activation:
    IDENTITY, SIGMOID, TANH, RELU, LEAKY_RELU, SOFTMAX, ELU, SELU, GELU, GELU_TANH, SILU, MISH, SOFTPLUS, SOFTSIGN
    HARD_SIGMOID, HARD_TANH, EXP, LOG_SOFTMAX, SIN, COS
    ACTIVATION_COUNT                            # stays the last

ACTIVATIONS = {
    "identity": IDENTITY, "sigmoid": SIGMOID, "tanh": TANH, "relu": RELU, "leaky_relu": LEAKY_RELU, "softmax": SOFTMAX,
    "elu": ELU, "selu": SELU, "gelu": GELU, "gelu_tanh": GELU_TANH, "silu": SILU, "mish": MISH, "softplus": SOFTPLUS,
    "softsign": SOFTSIGN, "hard_sigmoid": HARD_SIGMOID, "hard_tanh": HARD_TANH, "exp": EXP, "log_softmax": LOG_SOFTMAX,
    "sin": SIN, "cos": COS,
}

# Of SELU: lambda, and lambda times alpha.
cdef double SELU_RIGHT = 1.0507009873554804934193349852946
cdef double SELU_LEFT = 1.7580993408473768599402175208123


# One array of n numbers, a pair for each activation.

cdef outlined sigmoid_forward(Py_ssize_t n, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = sigmoid(y[i])


cdef outlined sigmoid_backward(Py_ssize_t n, const real *y, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    cdef real one = 1
    for i in range(n):
        dy[i] = dy[i] * y[i] * (one - y[i])


cdef outlined tanh_forward(Py_ssize_t n, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = hyperbolic_tangent(y[i])


cdef outlined tanh_backward(Py_ssize_t n, const real *y, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    cdef real one = 1
    for i in range(n):
        dy[i] = dy[i] * (one - y[i] * y[i])


cdef outlined relu_forward(Py_ssize_t n, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = 0 if y[i] <= 0 else y[i]                 # a NaN stays one


cdef outlined relu_backward(Py_ssize_t n, const real *y, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        dy[i] = dy[i] if y[i] > 0 else 0


cdef outlined leaky_relu_forward(Py_ssize_t n, real slope, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = slope * y[i] if y[i] <= 0 else y[i]


cdef outlined leaky_relu_backward(Py_ssize_t n, real slope, const real *y, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        dy[i] = dy[i] if y[i] > 0 else slope * dy[i]


cdef outlined elu_forward(Py_ssize_t n, real right, real left, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = elu(y[i], right, left)


cdef outlined elu_backward(Py_ssize_t n, real right, real left, const real *y, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        dy[i] = dy[i] * (right if y[i] > 0 else y[i] + left)


cdef outlined gelu_forward(Py_ssize_t n, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = gelu(y[i])


cdef outlined gelu_backward(Py_ssize_t n, const real *z, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        dy[i] = dy[i] * gelu_derivative(z[i])


cdef outlined gelu_tanh_forward(Py_ssize_t n, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = gelu_tanh(y[i])


cdef outlined gelu_tanh_backward(Py_ssize_t n, const real *z, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        dy[i] = dy[i] * gelu_tanh_derivative(z[i])


cdef outlined silu_forward(Py_ssize_t n, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = silu(y[i])


cdef outlined silu_backward(Py_ssize_t n, const real *z, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        dy[i] = dy[i] * silu_derivative(z[i])


cdef outlined mish_forward(Py_ssize_t n, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = mish(y[i])


cdef outlined mish_backward(Py_ssize_t n, const real *z, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        dy[i] = dy[i] * mish_derivative(z[i])


cdef outlined softplus_forward(Py_ssize_t n, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = softplus(y[i])


cdef outlined softplus_backward(Py_ssize_t n, const real *y, real *dy) noexcept nogil:
    """sigmoid(z) = 1 - e^-y"""
    cdef Py_ssize_t i
    cdef real most = 40, low, minus
    for i in range(n):
        minus = exponential_minus_one(-at_most(most, y[i]), &low)
        dy[i] = -dy[i] * (minus + low)


cdef outlined softsign_forward(Py_ssize_t n, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = softsign(y[i])


cdef outlined softsign_backward(Py_ssize_t n, const real *y, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    cdef real one = 1, d
    for i in range(n):
        d = one - absolute(y[i])
        dy[i] = dy[i] * (d * d)


cdef outlined hard_sigmoid_forward(Py_ssize_t n, real *y) noexcept nogil:
    cdef Py_ssize_t i
    cdef real zero = 0, three = 3, six = 6
    for i in range(n):
        y[i] = at_least(zero, at_most(six, y[i] + three)) / six


cdef outlined hard_sigmoid_backward(Py_ssize_t n, const real *y, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    cdef real six = 6
    for i in range(n):
        dy[i] = dy[i] / six if (y[i] > 0) & (y[i] < 1) else 0


cdef outlined hard_tanh_forward(Py_ssize_t n, real *y) noexcept nogil:
    cdef Py_ssize_t i
    cdef real one = 1
    for i in range(n):
        y[i] = at_least(-one, at_most(one, y[i]))


cdef outlined hard_tanh_backward(Py_ssize_t n, const real *y, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        dy[i] = dy[i] if (y[i] > -1) & (y[i] < 1) else 0


cdef outlined exp_forward(Py_ssize_t n, real *y) noexcept nogil:
    cdef Py_ssize_t i
    cdef real zero = 0, _
    for i in range(n):
        y[i] = exponential(y[i], zero, &_)


cdef outlined exp_backward(Py_ssize_t n, const real *y, real *dy) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        dy[i] = dy[i] * y[i]


cdef inline double sine(double x, int quarters) noexcept nogil:
    """sin(x + quarters pi/2) for every x."""
    return (-1 if (quarters >> 1) & 1 else 1) * (cos(x) if quarters & 1 else sin(x))


cdef void sine_forward(Py_ssize_t n, int quarters, real *y) noexcept nogil:
    """y = sin(y + quarters pi/2); what is far away, of which there is little, apart."""
    cdef Py_ssize_t i, j, some
    cdef double z[64]
    cdef int far
    for i in range((n + 63) // 64):
        some, far = min(64, n - 64 * i), 0
        for j in range(some):
            z[j] = y[64 * i + j]
            far += fabs(z[j]) > 1e6
            y[64 * i + j] = <real> turned(z[j], quarters)
        for j in range(some if far else 0):
            y[64 * i + j] = <real> (sine(z[j], quarters) if fabs(z[j]) > 1e6 else y[64 * i + j])


cdef void sine_backward(Py_ssize_t n, int quarters, const real *z, real *dy) noexcept nogil:
    """The derivative is a quarter of a turn ahead."""
    cdef Py_ssize_t i, j, some
    cdef real slope[64]
    for i in range((n + 63) // 64):
        some = min(64, n - 64 * i)
        for j in range(some):
            slope[j] = z[64 * i + j]
        sine_forward(some, quarters + 1, slope)
        for j in range(some):
            dy[64 * i + j] = dy[64 * i + j] * slope[j]


# Rows: softmax and its logarithm mix the numbers of a row, the others do not look at its end.


cdef outlined softmax_forward(Py_ssize_t rows, Py_ssize_t n, Py_ssize_t ld, real *y) noexcept nogil:
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


cdef outlined softmax_backward(Py_ssize_t rows, Py_ssize_t n, Py_ssize_t ld, const real *y, real *dy) noexcept nogil:
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


cdef outlined log_softmax_forward(Py_ssize_t rows, Py_ssize_t n, Py_ssize_t ld, real *y) noexcept nogil:
    """y = (z - max z) - log sum e^(z - max z), a piece of the row at a time."""
    cdef Py_ssize_t r, i, j, piece
    cdef real top
    cdef real e[64]
    cdef double total, error, lost, log_total
    for r in range(rows):
        top, total, error = largest(n, y), 0, 0
        for i in range(0, n, 64):
            piece = min(n - i, 64)
            for j in range(piece):
                e[j] = exponential_below(y[i + j], top)
            total = add_to(total, sum_row(piece, e, &lost), &error)
            error += lost
        log_total = log(total) + error / total
        for i in range(n):
            y[i] = <real> ((<double> y[i] - top) - log_total)
        y += ld


cdef outlined log_softmax_backward(
    Py_ssize_t rows, Py_ssize_t n, Py_ssize_t ld, const real *y, real *dy,
) noexcept nogil:
    """dz = dy - e^y sum of dy."""
    cdef Py_ssize_t r, i
    cdef real zero = 0, total, _
    cdef double lost
    for r in range(rows):
        total = <real> (sum_row(n, dy, &lost) + lost)
        for i in range(n):
            dy[i] = dy[i] - exponential(y[i], zero, &_) * total
        y += ld
        dy += ld


cdef inline bint mixes(int activation) noexcept nogil:
    """Whether a number depends on the others of its row."""
    return activation == SOFTMAX or activation == LOG_SOFTMAX


cdef inline bint needs_z(int activation) noexcept nogil:
    """Whether the derivative is taken from z, not y: then the activation is a step of its own, whose input is z."""
    return activation == GELU or activation == GELU_TANH or activation == SILU or activation == MISH or (
        activation == SIN or activation == COS)


cdef outlined activation_forward(
    int activation, real slope, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t ld, real *y,
) noexcept nogil:
    """In place, over the rows and the padding between them."""
    if activation == SIGMOID: sigmoid_forward(rows * ld, y)
    elif activation == TANH: tanh_forward(rows * ld, y)
    elif activation == RELU: relu_forward(rows * ld, y)
    elif activation == LEAKY_RELU: leaky_relu_forward(rows * ld, slope, y)
    elif activation == SOFTMAX: softmax_forward(rows, n, ld, y)
    elif activation == ELU: elu_forward(rows * ld, <real> 1, slope, y)
    elif activation == SELU: elu_forward(rows * ld, <real> SELU_RIGHT, <real> SELU_LEFT, y)
    elif activation == GELU: gelu_forward(rows * ld, y)
    elif activation == GELU_TANH: gelu_tanh_forward(rows * ld, y)
    elif activation == SILU: silu_forward(rows * ld, y)
    elif activation == MISH: mish_forward(rows * ld, y)
    elif activation == SOFTPLUS: softplus_forward(rows * ld, y)
    elif activation == SOFTSIGN: softsign_forward(rows * ld, y)
    elif activation == HARD_SIGMOID: hard_sigmoid_forward(rows * ld, y)
    elif activation == HARD_TANH: hard_tanh_forward(rows * ld, y)
    elif activation == EXP: exp_forward(rows * ld, y)
    elif activation == LOG_SOFTMAX: log_softmax_forward(rows, n, ld, y)
    elif activation == SIN: sine_forward(rows * ld, 0, y)
    elif activation == COS: sine_forward(rows * ld, 1, y)


cdef outlined activation_backward(
    int activation, real slope, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t ld, const real *z, const real *y, real *dy,
) noexcept nogil:
    """From dy to dz, in place; z may be NULL where nothing needs it."""
    if activation == SIGMOID: sigmoid_backward(rows * ld, y, dy)
    elif activation == TANH: tanh_backward(rows * ld, y, dy)
    elif activation == RELU: relu_backward(rows * ld, y, dy)
    elif activation == LEAKY_RELU: leaky_relu_backward(rows * ld, slope, y, dy)
    elif activation == SOFTMAX: softmax_backward(rows, n, ld, y, dy)
    elif activation == ELU: elu_backward(rows * ld, <real> 1, slope, y, dy)
    elif activation == SELU: elu_backward(rows * ld, <real> SELU_RIGHT, <real> SELU_LEFT, y, dy)
    elif activation == GELU: gelu_backward(rows * ld, z, dy)
    elif activation == GELU_TANH: gelu_tanh_backward(rows * ld, z, dy)
    elif activation == SILU: silu_backward(rows * ld, z, dy)
    elif activation == MISH: mish_backward(rows * ld, z, dy)
    elif activation == SOFTPLUS: softplus_backward(rows * ld, y, dy)
    elif activation == SOFTSIGN: softsign_backward(rows * ld, y, dy)
    elif activation == HARD_SIGMOID: hard_sigmoid_backward(rows * ld, y, dy)
    elif activation == HARD_TANH: hard_tanh_backward(rows * ld, y, dy)
    elif activation == EXP: exp_backward(rows * ld, y, dy)
    elif activation == LOG_SOFTMAX: log_softmax_backward(rows, n, ld, y, dy)
    elif activation == SIN: sine_backward(rows * ld, 0, z, dy)
    elif activation == COS: sine_backward(rows * ld, 1, z, dy)


NEEDS_Z = {code for code in ACTIVATIONS.values() if needs_z(code)}
