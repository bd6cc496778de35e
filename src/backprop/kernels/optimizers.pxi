# Optimizers: one pass over a range of the flat vectors, reading like the paper.
#
# p parameters, g gradient, m and v the state. A number that would leave the finite ones keeps its last value, and the
# kernel returns False: a diverging run ends with weights that can be looked at.

from libc.math cimport pow, sqrt, sqrtf

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


cdef inline real square_root(real x) noexcept nogil:
    return sqrtf(x) if real is float else sqrt(x)


cdef bint sgd(
    Py_ssize_t n, real learning_rate, real momentum, bint nesterov, real *p, const real *g, real *m,
) noexcept nogil:
    """m = momentum m + g;  p -= learning_rate m, or learning_rate (g + momentum m) looking ahead."""
    cdef Py_ssize_t i
    cdef int broken = 0
    cdef real d
    if momentum == 0:
        for i in range(n):
            d = p[i] - learning_rate * g[i]
            broken |= d - d != 0
            p[i] = d if d - d == 0 else p[i]
    else:
        for i in range(n):
            m[i] = momentum * m[i] + g[i]
            d = g[i] + momentum * m[i] if nesterov else m[i]
            d = p[i] - learning_rate * d
            broken |= d - d != 0
            p[i] = d if d - d == 0 else p[i]
    return not broken


cdef bint adam(
    Py_ssize_t n, double learning_rate, double beta1, double beta2, double epsilon, int64_t step, real *p,
    const real *g, real *m, real *v,
) noexcept nogil:
    """m, v: running means of g and g^2;  p -= learning_rate m' / (sqrt(v') + epsilon), with m', v' unbiased."""
    cdef Py_ssize_t i
    cdef int broken = 0
    cdef real b1 = <real> (1 - beta1), b2 = <real> beta2, c2 = <real> (1 - beta2), e = <real> epsilon
    cdef real rate = <real> (learning_rate / (1 - pow(beta1, step)))
    cdef real unbias = <real> (1 / sqrt(1 - pow(beta2, step)))
    cdef real d
    for i in range(n):
        m[i] = m[i] + b1 * (g[i] - m[i])
        v[i] = b2 * v[i] + c2 * g[i] * g[i]
        d = p[i] - rate * m[i] / (square_root(v[i]) * unbias + e)
        broken |= d - d != 0
        p[i] = d if d - d == 0 else p[i]
    return not broken


cdef inline bint needs_m(const Update *u) noexcept nogil:
    return u.kind == ADAM or (u.kind == SGD and u.momentum != 0)


cdef inline bint needs_v(const Update *u) noexcept nogil:
    return u.kind == ADAM


cdef bint update(const Update *u, Py_ssize_t n, real *p, const real *g, real *m, real *v) noexcept nogil:
    """Whether every new number is finite."""
    if u.kind == SGD:
        return sgd(n, <real> u.learning_rate, <real> u.momentum, u.nesterov, p, g, m)
    return adam(n, u.learning_rate, u.momentum, u.beta2, u.epsilon, u.step, p, g, m, v)
