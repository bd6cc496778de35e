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
        matmul(1, rows, n_in, w, 0, 1, x, ldx, TRANSPOSED, panel, y, rows, y, rows, True)
    else:
        matmul(
            rows, n_out, n_in, x, ldx, 1, w, n_out, packing_for(rows, n_out, x), panel, y, ldy,
            b if b != NULL else zeros, 0, ldy % lanes(y) != 0)


cdef inlined dense_input_gradient(
    Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t n_out, const real *dz, Py_ssize_t lddz, const real *w,
    real *dx, Py_ssize_t lddx, bint adds, const real *zeros, real *panel,
) noexcept nogil:
    """dx = dz w^T, or added to what is there; the weights of a single output are their own transpose."""
    matmul(
        rows, n_in, n_out, dz, lddz, 1, w, n_out if n_out > 1 else n_in, TRANSPOSED if n_out > 1 else UNPACKED, panel,
        dx, lddx, <const real *> dx if adds else zeros, lddx if adds else 0, lddx % lanes(dx) != 0)


cdef inlined dense_weight_gradient(
    Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t n_out, const real *x, Py_ssize_t ldx, const real *dz,
    Py_ssize_t lddz, real *dw, const real *zeros, real *panel,
) noexcept nogil:
    """dw = x^T dz. For a single output, x is read in whole registers."""
    if n_out == 1 and n_in % lanes(x) == 0 and ldx % lanes(x) == 0:
        matmul(1, n_in, rows, dz, 0, lddz, x, ldx, UNPACKED, panel, dw, n_in, zeros, n_in, True)
    else:
        matmul(
            n_in, n_out, rows, x, 1, ldx, dz, lddz, packing_for(n_in, lddz, x), panel, dw, n_out, zeros, 0, True)


cdef inlined dense_bias_gradient(
    Py_ssize_t rows, Py_ssize_t n_out, const real *dz, Py_ssize_t lddz, real *db, const real *zeros,
) noexcept nogil:
    """db = the sum of the rows of dz, as the product of a row of ones with it."""
    cdef real one = 1
    matmul(1, n_out, rows, &one, 0, 0, dz, lddz, UNPACKED, <real *> NULL, db, n_out, zeros, n_out, True)
