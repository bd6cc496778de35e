# Reductions: one number of many, always in the same order.

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


cdef void sums(Py_ssize_t n, const real *x, double *sizes, double *squares) noexcept nogil:
    """Adds |x| to one, x^2 to the other: eight sums side by side, then one after the other, always in this order."""
    cdef double size[8]
    cdef double square[8]
    cdef double one
    cdef Py_ssize_t i, whole = n - n % 8
    cdef int k
    for k in range(8):
        size[k] = square[k] = 0
    for i in range(0, whole, 8):
        for k in range(8):
            one = x[i + k]
            size[k] += fabs(one)
            square[k] += one * one
    for i in range(whole, n):
        one = x[i]
        size[i - whole] += fabs(one)
        square[i - whole] += one * one
    for k in range(8):
        sizes[0] += size[k]
        squares[0] += square[k]


cdef inline Py_ssize_t place_of(Py_ssize_t n, const real *x, real wanted) noexcept nogil:
    """Where it is first; 0 if it is a NaN."""
    cdef Py_ssize_t i
    for i in range(n):
        if x[i] == wanted:
            return i
    return 0


cdef inline double largest_size(Py_ssize_t n, const real *x) noexcept nogil:
    cdef Py_ssize_t i
    cdef real size, top = absolute(x[0])
    for i in range(1, n):
        size = absolute(x[i])
        top = size if size > top else top
    return top


cdef inline double total_of(const double *parts) noexcept nogil:
    """Of eight sums side by side."""
    return ((parts[0] + parts[1]) + (parts[2] + parts[3])) + ((parts[4] + parts[5]) + (parts[6] + parts[7]))


cdef bint is_finite(Py_ssize_t n, const real *x) noexcept nogil:
    """Whether there is no infinity and no NaN."""
    cdef Py_ssize_t i
    cdef int broken = 0
    for i in range(n):
        broken |= x[i] - x[i] != 0
    return not broken
