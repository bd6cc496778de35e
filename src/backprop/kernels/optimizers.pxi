# Optimizers: one pass over a range of the flat vectors, reading like the paper.
#
# p parameters, g gradient, m and v the state. Where a new number would not be finite, parameter and state keep their
# old ones, and the kernel returns False: a diverging run ends with weights that can be looked at.

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
    cdef bint finite
    cdef real new_m, new_p
    if momentum == 0:
        for i in range(n):
            new_p = p[i] - learning_rate * g[i]
            finite = new_p - new_p == 0
            broken |= not finite
            p[i] = new_p if finite else p[i]
    else:
        for i in range(n):
            new_m = momentum * m[i] + g[i]
            new_p = p[i] - learning_rate * (g[i] + momentum * new_m if nesterov else new_m)
            finite = (new_p - new_p) + (new_m - new_m) == 0
            broken |= not finite
            m[i] = new_m if finite else m[i]
            p[i] = new_p if finite else p[i]
    return not broken


cdef bint adam(
    Py_ssize_t n, double learning_rate, double beta1, double beta2, double epsilon, int64_t step, real *p,
    const real *g, real *m, real *v,
) noexcept nogil:
    """m, v: running means of g and g^2;  p -= learning_rate m' / (sqrt(v') + epsilon), with m', v' unbiased."""
    cdef Py_ssize_t i
    cdef int broken = 0
    cdef bint finite
    cdef real b1 = <real> (1 - beta1), b2 = <real> beta2, c2 = <real> (1 - beta2)
    cdef real e = <real> max(epsilon, smallest(p))
    cdef real rate = <real> (learning_rate / (1 - pow(beta1, step)))
    cdef real unbias = <real> (1 / sqrt(1 - pow(beta2, step)))
    cdef real new_m, new_v, new_p
    for i in range(n):
        new_m = m[i] + b1 * (g[i] - m[i])
        new_v = b2 * v[i] + c2 * g[i] * g[i]
        new_p = p[i] - rate * new_m / (square_root(new_v) * unbias + e)
        finite = (new_p - new_p) + (new_m - new_m) + (new_v - new_v) == 0
        broken |= not finite
        m[i] = new_m if finite else m[i]
        v[i] = new_v if finite else v[i]
        p[i] = new_p if finite else p[i]
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
