# Normal equations: c += a^T b, and Cholesky's factorization c = l l^T, in double. Our own, so that the bits do not
# depend on a LAPACK, nor on threads: each number is one chain.

cdef enum:
    SIDE = 32                                   # columns that are factored together, and rows of a product
    GRAM_ROWS = 128                             # of a and b that are copied at a time


cdef void copy_doubles(Py_ssize_t n, const void *x, bint single, double *y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = (<const float *> x)[i] if single else (<const double *> x)[i]


@cython.final
cdef class Gram(Blocks):
    """c (n, n) += a^T b for rows a, b (rows, n): of the upper triangle, threads take some rows each."""
    cdef Py_ssize_t rows, n
    cdef double *a
    cdef double *b
    cdef double *panels
    cdef double *c

    def __cinit__(self, a not None, b not None, c not None, int threads=1):
        cdef bint single = memoryview(a).format == "f"
        cdef double size
        self.rows, self.n = a.shape
        size = self.rows * <double> self.n
        expect(size > 0, "at least one row and one column")
        self.threads = max(1, min(threads, <int> ((self.n - 1) // SIDE + 1)))
        self.c = <double *> self.numbers("c", c, (self.n, self.n), False, True)
        self.reserve(8 * (2 * (size + SLACK) + self.threads * <double> (DEPTH * (WIDEST + ROWS))) + 256)
        self.a = <double *> self.take(8 * (size + SLACK))
        self.b = <double *> self.take(8 * (size + SLACK))
        self.panels = <double *> self.take(8.0 * self.threads * DEPTH * (WIDEST + ROWS))
        copy_doubles(<Py_ssize_t> size, self.numbers("a", a, (self.rows, self.n), single), single, self.a)
        copy_doubles(<Py_ssize_t> size, self.numbers("b", b, (self.rows, self.n), single), single, self.b)

    cdef void blocks(self, int thread, Watch *watch) noexcept nogil:
        cdef Py_ssize_t at, m, wide, n = self.n, size = DEPTH * (WIDEST + ROWS)
        cdef double *c
        while not look_for_signals(watch, SIDE * <double> n * self.rows):
            at = (atomic_add(&self.taken, 1) - 1) * SIDE
            if at >= n:
                break
            m, wide = min(SIDE, n - at), n - at
            c = self.c + at * n + at
            matmul(
                Shape(m=m, n=wide, depth=self.rows, row=1, step=n, ldb=n, ldc=n, lds=n, packing=COPIED, exact=True),
                <const double *> self.a + at, <const double *> self.b + at, self.panels + thread * size, c,
                <const double *> c)


cdef bint factor_square(Py_ssize_t n, double *c, Py_ssize_t ldc) noexcept nogil:
    """The lower triangle of a small square becomes that of its factor, row by row; whether it is positive definite."""
    cdef Py_ssize_t i, j, k
    cdef double total
    for i in range(n):
        for j in range(i + 1):
            total = c[i * ldc + j]
            for k in range(j):
                total -= c[i * ldc + k] * c[j * ldc + k]
            if j < i:
                c[i * ldc + j] = total / c[j * ldc + j]
            elif total > 0 and total - total == 0:
                c[i * ldc + i] = sqrt(total)
            else:
                return False
    return True


cdef bint factor_from(
    Py_ssize_t n, Py_ssize_t at, double *c, double *minus, double *panel,
) noexcept nogil:
    """The next SIDE columns, from their products with those before; whether all is positive definite so far."""
    cdef Py_ssize_t m = min(SIDE, n - at), i, k
    cdef double *square = c + at * n + at
    for k in range(at):
        for i in range(m):
            minus[k * SIDE + i] = -c[(at + i) * n + k]
    if at > 0:
        matmul(
            Shape(m=n - at, n=m, depth=at, row=n, step=1, ldb=SIDE, ldc=n, lds=n, packing=UNPACKED, exact=True),
            <const double *> c + at * n, <const double *> minus, panel, square, <const double *> square)
    if not factor_square(m, square, n):
        return False
    if at + m < n:
        factor_rows(n - at - m, m, <const double *> square, square + m * n, n)
    return True


@cython.final
cdef class Cholesky(Blocks):
    """The lower triangle of c (n, n) becomes that of l, c = l l^T; `positive` says whether that is, to rounding."""
    cdef Py_ssize_t n
    cdef double *l
    cdef readonly bint positive

    def __cinit__(self, c not None):
        cdef Py_ssize_t at, n = len(c)
        cdef double *minus
        cdef double *panel
        expect(n > 0, "at least one row")
        self.n, self.l, self.positive = n, <double *> self.numbers("c", c, (n, n), False, True), True
        self.reserve(8.0 * (n * SIDE + SLACK + DEPTH * (WIDEST + ROWS)) + 256)
        minus = <double *> self.take(8.0 * (n * SIDE + SLACK))
        panel = <double *> self.take(8.0 * DEPTH * (WIDEST + ROWS))
        with nogil:
            self.watch = begin_watch(&self.status, mode_now())
            for at in range((n + SIDE - 1) // SIDE):
                if look_for_signals(&self.watch, (n - at * SIDE) * SIDE * <double> (at + 1) * SIDE):
                    break
                self.positive = factor_from(n, at * SIDE, self.l, minus, panel)
                if not self.positive:
                    break
        end_watch(&self.watch)

    def solve(self, b not None):
        """b (n,) becomes x with l l^T x = b."""
        cdef Py_ssize_t i, k, n = self.n
        cdef const double *row
        cdef double *x = <double *> self.numbers("b", b, (n,), False, True)
        for i in range(n):
            row = self.l + i * n
            for k in range(i):
                x[i] -= row[k] * x[k]
            x[i] /= row[i]
        for i in range(n - 1, -1, -1):
            row = self.l + i * n
            x[i] /= row[i]
            for k in range(i):
                x[k] -= row[k] * x[i]

    def inverse_trace(self):
        """The trace of (l l^T)^-1: the sum of the squares of l^-1, eight columns at a time."""
        cdef Py_ssize_t at, n = self.n
        cdef double total = 0
        cdef Memory memory = Memory.__new__(Memory)
        memory.reserve(64.0 * n)
        with nogil:
            self.watch = begin_watch(&self.status, mode_now())
            for at in range((n + 7) // 8):
                if look_for_signals(&self.watch, 4.0 * (n - 8 * at) * (n - 8 * at)):
                    break
                total += inverse_squares(n, 8 * at, <const double *> self.l, <double *> memory.base)
        end_watch(&self.watch)
        return total
