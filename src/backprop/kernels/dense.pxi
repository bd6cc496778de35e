# The dense layer: its three products are one kernel.
#
#   forward           y  (B,O) = b + x w         a = x
#   weight gradient   dw (I,O) = x^T dz          a = x^T
#   input gradient    dx (B,I) = dz w^T          a = dz, b = w^T packed
#
# They are copied into their callers: a tiny network is mostly calls. `zeros` is a row of them, and behind it the memory
# of a panel.

cdef inline Packing packing_for(Py_ssize_t rows, Py_ssize_t ldb, const real *_) noexcept nogil:
    """A panel that serves enough rows pays for its copy."""
    return COPIED if ldb * <Py_ssize_t> sizeof(real) >= APART and rows >= PACKED_ROWS else UNPACKED


cdef inlined dense_forward(
    Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t n_out, const real *x, Py_ssize_t ldx, const real *w, const real *b,
    real *y, Py_ssize_t ldy, const real *zeros, real *panel,
) noexcept nogil:
    """y = b + x w, where b may be NULL. A single output is transposed to a row: its rows fill the registers."""
    cdef Py_ssize_t r
    if n_out == 1 and ldy == 1 and rows >= TILE_ROWS:
        for r in range(rows):
            y[r] = b[0] if b != NULL else 0
        matmul(
            Shape(m=1, n=rows, depth=n_in, row=0, step=1, ldb=ldx, ldc=rows, lds=rows, packing=TRANSPOSED, exact=True),
            w, x, panel, y, <const real *> y)
    else:
        matmul(
            Shape(
                m=rows, n=n_out, depth=n_in, row=ldx, step=1, ldb=n_out, ldc=ldy, lds=0,
                packing=packing_for(rows, n_out, x), exact=ldy % lanes(y) != 0),
            x, w, panel, y, b if b != NULL else zeros)


cdef inlined dense_input_gradient(
    Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t n_out, const real *dz, Py_ssize_t lddz, const real *w,
    real *dx, Py_ssize_t lddx, bint adds, const real *zeros, real *panel,
) noexcept nogil:
    """dx = dz w^T, or added to what is there; the weights of a single output are their own transpose."""
    matmul(
        Shape(
            m=rows, n=n_in, depth=n_out, row=lddz, step=1, ldb=n_out if n_out > 1 else n_in, ldc=lddx,
            lds=lddx if adds else 0, packing=TRANSPOSED if n_out > 1 else UNPACKED, exact=lddx % lanes(dx) != 0),
        dz, w, panel, dx, <const real *> dx if adds else zeros)


cdef inlined dense_weight_gradient(
    Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t n_out, const real *x, Py_ssize_t ldx, const real *dz,
    Py_ssize_t lddz, real *dw, Py_ssize_t lddw, const real *zeros, real *panel,
) noexcept nogil:
    """dw = x^T dz. For a single output, x is read in whole registers."""
    if lddw == 1 and n_in % lanes(x) == 0 and ldx % lanes(x) == 0:
        matmul(
            Shape(m=1, n=n_in, depth=rows, row=0, step=lddz, ldb=ldx, ldc=n_in, lds=n_in, packing=UNPACKED, exact=True),
            dz, x, panel, dw, zeros)
    else:
        matmul(
            Shape(
                m=n_in, n=n_out, depth=rows, row=1, step=ldx, ldb=lddz, ldc=lddw, lds=0,
                packing=packing_for(n_in, lddz, x), exact=True),
            x, dz, panel, dw, zeros)


cdef inlined dense_bias_gradient(
    Py_ssize_t rows, Py_ssize_t n_out, const real *dz, Py_ssize_t lddz, real *db, const real *zeros,
) noexcept nogil:
    """db = the sum of the rows of dz, as the product of a row of ones with it."""
    cdef real one = 1
    matmul(
        Shape(m=1, n=n_out, depth=rows, row=0, step=0, ldb=lddz, ldc=n_out, lds=n_out, packing=UNPACKED, exact=True),
        <const real *> &one, dz, <real *> NULL, db, zeros)
