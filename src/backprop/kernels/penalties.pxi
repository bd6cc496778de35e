# Penalties: l1 sum |w| + l2 sum w^2 over a range of the parameters, added to the loss and to its gradient.

cdef struct Penalty:
    Py_ssize_t begin, end                       # of the flat vectors
    double l1, l2


cdef double penalty_forward(int count, const Penalty *penalties, const real *p) noexcept nogil:
    """What they all add to the loss."""
    cdef double total = 0, sizes, squares
    cdef const Penalty *it
    cdef int k
    for k in range(count):
        it = &penalties[k]
        sizes = squares = 0
        sums(it.end - it.begin, p + it.begin, &sizes, &squares)
        total += it.l1 * sizes + it.l2 * squares
    return total


cdef void penalty_backward(
    int count, const Penalty *penalties, double times, Py_ssize_t begin, Py_ssize_t end, const real *p, real *dp,
) noexcept nogil:
    """What they, so many times, add to the gradient of the parameters from begin to end; at 0, a size has the slope 0.
    """
    cdef Py_ssize_t i
    cdef real l1, l2
    cdef int k
    for k in range(count):
        l1, l2 = <real> (times * penalties[k].l1), <real> (times * 2 * penalties[k].l2)
        for i in range(max(begin, penalties[k].begin), min(end, penalties[k].end)):
            dp[i] += l1 * sign(p[i]) + l2 * p[i]
