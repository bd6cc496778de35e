# Optimizers: one pass over a range of the flat vectors, reading like the paper.
#
# p parameters, g gradient, m and v the state. Where a new number would not be finite, parameter and state keep their
# old ones, and the kernel returns False: a diverging run ends with weights that can be looked at.

from libc.math cimport pow, sqrt, sqrtf

cdef extern from "simd.h" nogil:
    float choose_f(bint condition, float a, float b)
    double choose_d(bint condition, double a, double b)

cdef enum UpdateKind:
    NO_UPDATE, SGD, ADAM

OPTIMIZERS = {"sgd": SGD, "adam": ADAM}

cdef struct Update:
    int kind
    double learning_rate
    double momentum                             # or beta 1
    double beta2
    double epsilon
    bint nesterov
    int64_t step                                # 1 for the first
    double rate, unbias                         # of Adam: learning_rate / (1 - beta1^t) and 1 / sqrt(1 - beta2^t)


cdef inline real square_root(real x) noexcept nogil:
    return sqrtf(x) if real is float else sqrt(x)


cdef inline real choose(bint condition, real a, real b) noexcept nogil:
    return choose_f(condition, a, b) if real is float else choose_d(condition, a, b)


cdef bint sgd(
    Py_ssize_t n, real learning_rate, real momentum, bint nesterov, real *p, const real *g, real *m,
) noexcept nogil:
    """m = momentum m + g;  p -= learning_rate m, or learning_rate (g + momentum m) looking ahead."""
    cdef Py_ssize_t i
    cdef int broken = 0
    cdef bint finite
    cdef real new_m, new_p, zero = 0                # a literal would make the arithmetic double
    if momentum == 0:
        for i in range(n):
            new_p = p[i] - learning_rate * g[i]
            finite = new_p * zero == zero
            broken |= not finite
            p[i] = choose(finite, new_p, p[i])
    else:
        for i in range(n):
            new_m = momentum * m[i] + g[i]
            new_p = p[i] - learning_rate * (g[i] + momentum * new_m if nesterov else new_m)
            finite = new_p * zero + new_m * zero == zero
            broken |= not finite
            m[i] = choose(finite, new_m, m[i])
            p[i] = choose(finite, new_p, p[i])
    return not broken


cdef bint adam(
    Py_ssize_t n, real rate, real unbias, real b1, real b2, real c2, real epsilon, real *p, const real *g, real *m,
    real *v,
) noexcept nogil:
    """m, v: running means of g and g^2;  p -= learning_rate m' / (sqrt(v') + epsilon), with m', v' unbiased."""
    cdef Py_ssize_t i
    cdef int broken = 0
    cdef bint finite
    cdef real new_m, new_v, new_p, zero = 0
    for i in range(n):
        new_m = m[i] + b1 * (g[i] - m[i])
        new_v = b2 * v[i] + c2 * g[i] * g[i]
        new_p = p[i] - rate * new_m / (square_root(new_v) * unbias + epsilon)
        finite = new_p * zero + (new_m * zero + new_v * zero) == zero
        broken |= not finite
        m[i] = choose(finite, new_m, m[i])
        v[i] = choose(finite, new_v, v[i])
        p[i] = choose(finite, new_p, p[i])
    return not broken


cdef inline bint needs_m(const Update *u) noexcept nogil:
    return u.kind == ADAM or (u.kind == SGD and u.momentum != 0)


cdef inline bint needs_v(const Update *u) noexcept nogil:
    return u.kind == ADAM


cdef void begin_step(Update *u, double learning_rate) noexcept nogil:
    """The next step, and what all parameters share in it."""
    u.step += 1
    u.learning_rate = learning_rate
    if u.kind == ADAM:
        u.rate = learning_rate / (1 - pow(u.momentum, <double> u.step))
        u.unbias = 1 / sqrt(1 - pow(u.beta2, <double> u.step))


cdef bint update(const Update *u, Py_ssize_t n, real *p, const real *g, real *m, real *v) noexcept nogil:
    """Whether every new number is finite."""
    if u.kind == SGD:
        return sgd(n, <real> u.learning_rate, <real> u.momentum, u.nesterov, p, g, m)
    return adam(
        n, <real> u.rate, <real> u.unbias, <real> (1 - u.momentum), <real> u.beta2, <real> (1 - u.beta2),
        <real> max(u.epsilon, smallest(p)), p, g, m, v)
