# The first three derivatives of the activations, s1, s2 and s3, at z. Those that are met most are taken from the
# output, in the network's own type; all others from z, in double, some numbers at a time, for both types.

# Whether the second derivative is zero wherever there is one.
CURVELESS = {IDENTITY, RELU, LEAKY_RELU, HARD_SIGMOID, HARD_TANH}


cdef inline void sigmoid_slopes(double x, double *s) noexcept nogil:
    """Of the sigmoid: itself, and its derivatives."""
    s[0] = sigmoid_and_slope(x, &s[1])
    s[2] = s[1] * (1 - 2 * s[0])
    s[3] = s[1] * (1 - 6 * s[1])


cdef inline void factor_slopes(double z, const double *u, double *s) noexcept nogil:
    """Of z u(z), from u and its derivatives."""
    s[0], s[1], s[2] = u[0] + z * u[1], 2 * u[1] + z * u[2], 3 * u[2] + z * u[3]


cdef inline void curved_slopes(int activation, double alpha, double z, double *s) noexcept nogil:
    """s1, s2 and s3 of one number."""
    cdef double u[4]
    cdef double g[4]
    cdef double v1, v2, a = fabs(z), zero = 0, _
    if activation == ELU or activation == SELU:
        s[1] = exponential(z, zero, &_) * (SELU_LEFT if activation == SELU else alpha)
        s[0], s[2] = s[1], s[1]
        if z > 0:
            s[0], s[1], s[2] = (SELU_RIGHT if activation == SELU else 1), 0, 0
    elif activation == SOFTPLUS:
        sigmoid_slopes(z, u)
        s[0], s[1], s[2] = u[0], u[1], u[2]
    elif activation == SOFTSIGN:
        s[0] = 1 / ((1 + a) * (1 + a))
        s[1] = copysign(2, -z) * s[0] / (1 + a)
        s[2] = 6 * s[0] * s[0]
    elif activation == EXP:
        s[0] = s[1] = s[2] = exponential(z, zero, &_)
    elif activation == GELU:                            # phi is 0.3989... e^(-z^2/2)
        z = z if a < 40 else copysign(40, z)
        u[0] = 0.398942280401432677939946059934 * exponential(-0.5 * z * z, zero, &_)
        s[0], s[1], s[2] = gelu_derivative(z), u[0] * (2 - z * z), u[0] * z * (z * z - 4)
    elif activation == MISH:                            # u = tanh(softplus), whose argument has the derivatives g
        sigmoid_slopes(z, g)
        u[0] = hyperbolic_tangent(softplus(z))
        v1 = 1 - u[0] * u[0]
        u[1] = v1 * g[0]
        u[2] = v1 * g[1] - 2 * u[0] * u[1] * g[0]
        u[3] = v1 * g[2] - 4 * u[0] * u[1] * g[1] - 2 * (u[1] * u[1] + u[0] * u[2]) * g[0]
        factor_slopes(z, u, s)
    else:                                               # SILU and GELU_TANH: u = sigmoid(v)
        if activation == GELU_TANH:
            z = z if a < 40 else copysign(40, z)
            v1, v2 = 1.5957691216057308 + 0.21406444881780074 * z * z, 0.42812889763560148 * z
            sigmoid_slopes(z * (1.5957691216057308 + 0.07135481627260025 * z * z), g)
        else:
            v1, v2 = 1, 0
            sigmoid_slopes(z, g)
        u[0], u[1], u[2] = g[0], g[1] * v1, g[2] * v1 * v1 + g[1] * v2
        u[3] = g[3] * v1 * v1 * v1 + 3 * g[2] * v1 * v2 + (g[1] * 0.42812889763560148 if activation == GELU_TANH else 0)
        factor_slopes(z, u, s)


cdef void straight_slopes(
    int activation, real alpha, Py_ssize_t n, const real *z, real *s1, real *s2, real *s3,
) noexcept nogil:
    """Of those that are straight on either side of a kink."""
    cdef Py_ssize_t i
    cdef bint inside
    for i in range(n):
        if activation == HARD_SIGMOID:
            inside = z[i] > -3 and z[i] < 3
            s1[i] = <real> (1.0 / 6) if inside else 0
        elif activation == HARD_TANH:
            inside = z[i] > -1 and z[i] < 1
            s1[i] = 1 if inside else 0
        else:
            s1[i] = 1 if z[i] > 0 or activation == IDENTITY else alpha if activation == LEAKY_RELU else 0
        s2[i] = s3[i] = 0


cdef outlined activation_slopes(
    int activation, real alpha, Py_ssize_t n, const real *z, const real *y, real *s1, real *s2, real *s3,
) noexcept nogil:
    """From z and y = f(z)."""
    cdef Py_ssize_t i
    cdef double s[3]
    cdef real one = 1, two = 2, six = 6
    if activation == TANH:
        for i in range(n):
            s1[i] = one - y[i] * y[i]
            s2[i] = -two * y[i] * s1[i]
            s3[i] = s1[i] * (six * y[i] * y[i] - two)
    elif activation == SIGMOID:
        for i in range(n):
            s1[i] = y[i] * (one - y[i])
            s2[i] = s1[i] * (one - two * y[i])
            s3[i] = s1[i] * (one - six * s1[i])
    elif activation == SIN or activation == COS:
        memcpy(s1, z, n * sizeof(real))
        sine_forward(n, 1 if activation == SIN else 2, s1)
        for i in range(n):
            s2[i] = -y[i]
            s3[i] = -s1[i]
    elif activation in (IDENTITY, RELU, LEAKY_RELU, HARD_SIGMOID, HARD_TANH):
        straight_slopes(activation, alpha, n, z, s1, s2, s3)
    else:
        for i in range(n):
            curved_slopes(activation, alpha, z[i], s)
            s1[i], s2[i], s3[i] = <real> s[0], <real> s[1], <real> s[2]


# What is gone through for each of many rows: here, where the compiler makes vectors of it.

cdef void multiply(Py_ssize_t n, const real *x, real *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = x[i] * y[i]


cdef void derivatives_forward(
    Py_ssize_t n, const real *slopes, const real *z, real *y, Py_ssize_t second,
) noexcept nogil:
    """y' = s1 z', and, where they lie so far behind it (0: nowhere), y'' = s2 z'^2 + s1 z''."""
    cdef Py_ssize_t i
    cdef const real *s2 = slopes + n
    cdef const real *z2 = z + second
    cdef real *y2 = y + second
    for i in range(n):
        y[i] = slopes[i] * z[i]
    for i in range(n if second > 0 else 0):
        y2[i] = s2[i] * z[i] * z[i] + slopes[i] * z2[i]


cdef void derivatives_backward(
    Py_ssize_t n, const real *slopes, const real *z, real *a, Py_ssize_t second, real *to,
) noexcept nogil:
    """Adjoints in place, and what they add to those of z: s2 z' Y' + (s3 z'^2 + s2 z'') Y''."""
    cdef Py_ssize_t i
    cdef const real *s2 = slopes + n
    cdef const real *s3 = slopes + 2 * n
    cdef const real *z2 = z + second
    cdef real *a2 = a + second
    if second == 0:
        for i in range(n):
            to[i] = to[i] + s2[i] * z[i] * a[i]
            a[i] = slopes[i] * a[i]
        return
    for i in range(n):
        to[i] = to[i] + s2[i] * z[i] * a[i] + (s3[i] * z[i] * z[i] + s2[i] * z2[i]) * a2[i]
    for i in range(n):
        a[i] = slopes[i] * a[i] + s2[i] * z[i] * (a2[i] + a2[i])
        a2[i] = slopes[i] * a2[i]


cdef void add_to_sums(Py_ssize_t n, const real *x, double *sums) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        sums[i] += x[i]


cdef void outer(Py_ssize_t n_in, Py_ssize_t n_out, const real *x, const real *dz, real *dw) noexcept nogil:
    cdef Py_ssize_t i, j
    if n_out == 1:
        for i in range(n_in):
            dw[i] = x[i] * dz[0]
        return
    for i in range(n_in):
        for j in range(n_out):
            dw[i * n_out + j] = x[i] * dz[j]


cdef void factor_rows(Py_ssize_t rows, Py_ssize_t n, const double *l, double *c, Py_ssize_t ld) noexcept nogil:
    """The rows below it: c l^-T."""
    cdef Py_ssize_t r, j, k
    cdef double total
    for r in range(rows):
        for j in range(n):
            total = c[j]
            for k in range(j):
                total -= c[k] * l[j * ld + k]
            c[j] = total / l[j * ld + j]
        c += ld


cdef double inverse_squares(Py_ssize_t n, Py_ssize_t at, const double *l, double *x) noexcept nogil:
    """Of eight columns of l^-1 from `at` on."""
    cdef double s[8]
    cdef double total = 0
    cdef Py_ssize_t i, j, k
    for i in range(at, n):
        for j in range(8):
            s[j] = 1 if i == at + j else 0
        for k in range(at, i):
            for j in range(8):
                s[j] -= l[i * n + k] * x[8 * k + j]
        for j in range(8):
            x[8 * i + j] = s[j] / l[i * n + i]
            total += x[8 * i + j] * x[8 * i + j]
    return total
