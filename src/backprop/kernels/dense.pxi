# The three matrix products of a dense layer, one kernel: c = start + a b, with a read by its two strides.
#
#   forward           y  (B,O) = b + x w         a = x
#   weight gradient   dw (I,O) = x^T dz          a = x^T
#   input gradient    dx (B,I) = dz w^T          a = dz, b = w^T packed
#
# Each element of c is one chain of multiply-adds over k in ascending order, whatever tile it falls into: the bits
# depend neither on the number of threads nor on which rows are computed together.
#
# b and start are read, and c is written, in whole registers: up to a tile's width beyond the end of a row. Whoever
# owns that memory leaves the room (SLACK); what is computed there is never used. Where c has none, it is `exact`.

from libc.string cimport memcpy, memset

cdef extern from "simd.h" nogil:
    ctypedef float vf                           # a register of floats
    ctypedef double vd                          # a register of doubles
    ctypedef void inlined "ALWAYS_INLINE void"
    const Py_ssize_t LANES_F, LANES_D
    const int TILE_ROWS, SLACK
    float multiply_add_f(float a, float b, float c)
    double multiply_add_d(double a, double b, double c)
    void transpose_f(const float *b, Py_ssize_t ldb, float *c, Py_ssize_t ldc)
    void transpose_d(const double *b, Py_ssize_t ldb, double *c, Py_ssize_t ldc)
    vf splat_f(const float *x)
    vd splat_d(const double *x)

ctypedef fused vec:
    vf
    vd

ctypedef fused real:
    float
    double

cdef enum:
    DEPTH = 256                                 # rows of b whose panel stays in the first cache
    TINY = 64                                   # multiply-adds that are over before a tile has begun
    WIDEST = 32                                 # the width of the widest tile: 2 registers of 16 floats

cdef enum Packing:
    UNPACKED, COPIED, TRANSPOSED


cdef inline Py_ssize_t lanes(const real *_) noexcept nogil:
    return LANES_F if real is float else LANES_D


cdef inline vec *at(const vec *p, Py_ssize_t i) noexcept nogil:
    """The register that begins at number i of p."""
    if vec is vf:
        return <vf *> (<float *> p + i)
    else:
        return <vd *> (<double *> p + i)


cdef inline vec splat(const vec *p, Py_ssize_t i) noexcept nogil:
    """Number i of p, in every lane."""
    if vec is vf:
        return splat_f(<const float *> p + i)
    else:
        return splat_d(<const double *> p + i)


cdef inline inlined tile(
    int rows, bint wide, Py_ssize_t depth, const vec *a, Py_ssize_t row, Py_ssize_t step, const vec *b, Py_ssize_t ldb,
    vec *c, Py_ssize_t ldc, const vec *start, Py_ssize_t lds,
) noexcept nogil:
    """Rows x (1 or 2 registers) of c. The sums are named: an array of them would live in memory, not in registers."""
    cdef vec s, b0, b1, c00, c01, c10, c11, c20, c21, c30, c31, c40, c41, c50, c51, c60, c61, c70, c71
    cdef Py_ssize_t k
    c00 = start[0]
    if wide:
        c01 = start[1]
    if rows > 1:
        c10 = at(start, 1 * lds)[0]
        if wide:
            c11 = at(start, 1 * lds)[1]
    if rows > 2:
        c20 = at(start, 2 * lds)[0]
        if wide:
            c21 = at(start, 2 * lds)[1]
    if rows > 3:
        c30 = at(start, 3 * lds)[0]
        if wide:
            c31 = at(start, 3 * lds)[1]
    if rows > 4:
        c40 = at(start, 4 * lds)[0]
        if wide:
            c41 = at(start, 4 * lds)[1]
    if rows > 5:
        c50 = at(start, 5 * lds)[0]
        if wide:
            c51 = at(start, 5 * lds)[1]
    if rows > 6:
        c60 = at(start, 6 * lds)[0]
        if wide:
            c61 = at(start, 6 * lds)[1]
    if rows > 7:
        c70 = at(start, 7 * lds)[0]
        if wide:
            c71 = at(start, 7 * lds)[1]
    for k in range(depth):
        b0 = b[0]
        if wide:
            b1 = b[1]
        s = splat(a, 0)
        c00 = c00 + s * b0
        if wide:
            c01 = c01 + s * b1
        if rows > 1:
            s = splat(a, 1 * row)
            c10 = c10 + s * b0
            if wide:
                c11 = c11 + s * b1
        if rows > 2:
            s = splat(a, 2 * row)
            c20 = c20 + s * b0
            if wide:
                c21 = c21 + s * b1
        if rows > 3:
            s = splat(a, 3 * row)
            c30 = c30 + s * b0
            if wide:
                c31 = c31 + s * b1
        if rows > 4:
            s = splat(a, 4 * row)
            c40 = c40 + s * b0
            if wide:
                c41 = c41 + s * b1
        if rows > 5:
            s = splat(a, 5 * row)
            c50 = c50 + s * b0
            if wide:
                c51 = c51 + s * b1
        if rows > 6:
            s = splat(a, 6 * row)
            c60 = c60 + s * b0
            if wide:
                c61 = c61 + s * b1
        if rows > 7:
            s = splat(a, 7 * row)
            c70 = c70 + s * b0
            if wide:
                c71 = c71 + s * b1
        a = at(a, step)
        b = at(b, ldb)
    c[0] = c00
    if wide:
        c[1] = c01
    if rows > 1:
        at(c, 1 * ldc)[0] = c10
        if wide:
            at(c, 1 * ldc)[1] = c11
    if rows > 2:
        at(c, 2 * ldc)[0] = c20
        if wide:
            at(c, 2 * ldc)[1] = c21
    if rows > 3:
        at(c, 3 * ldc)[0] = c30
        if wide:
            at(c, 3 * ldc)[1] = c31
    if rows > 4:
        at(c, 4 * ldc)[0] = c40
        if wide:
            at(c, 4 * ldc)[1] = c41
    if rows > 5:
        at(c, 5 * ldc)[0] = c50
        if wide:
            at(c, 5 * ldc)[1] = c51
    if rows > 6:
        at(c, 6 * ldc)[0] = c60
        if wide:
            at(c, 6 * ldc)[1] = c61
    if rows > 7:
        at(c, 7 * ldc)[0] = c70
        if wide:
            at(c, 7 * ldc)[1] = c71


cdef void tile_of(
    int rows, bint wide, Py_ssize_t depth, const vec *a, Py_ssize_t row, Py_ssize_t step, const vec *b, Py_ssize_t ldb,
    vec *c, Py_ssize_t ldc, const vec *start, Py_ssize_t lds,
) noexcept nogil:
    """The tile of this shape: each call below is a copy of `tile` with its shape constant."""
    if wide:
        if rows == 1: tile(1, True, depth, a, row, step, b, ldb, c, ldc, start, lds)
        elif rows == 2: tile(2, True, depth, a, row, step, b, ldb, c, ldc, start, lds)
        elif rows == 3: tile(3, True, depth, a, row, step, b, ldb, c, ldc, start, lds)
        elif rows == 4: tile(4, True, depth, a, row, step, b, ldb, c, ldc, start, lds)
        elif rows == 5: tile(5, True, depth, a, row, step, b, ldb, c, ldc, start, lds)
        elif rows == 6: tile(6, True, depth, a, row, step, b, ldb, c, ldc, start, lds)
        elif rows == 7: tile(7, True, depth, a, row, step, b, ldb, c, ldc, start, lds)
        else: tile(8, True, depth, a, row, step, b, ldb, c, ldc, start, lds)
    else:
        if rows == 1: tile(1, False, depth, a, row, step, b, ldb, c, ldc, start, lds)
        elif rows == 2: tile(2, False, depth, a, row, step, b, ldb, c, ldc, start, lds)
        elif rows == 3: tile(3, False, depth, a, row, step, b, ldb, c, ldc, start, lds)
        elif rows == 4: tile(4, False, depth, a, row, step, b, ldb, c, ldc, start, lds)
        elif rows == 5: tile(5, False, depth, a, row, step, b, ldb, c, ldc, start, lds)
        elif rows == 6: tile(6, False, depth, a, row, step, b, ldb, c, ldc, start, lds)
        elif rows == 7: tile(7, False, depth, a, row, step, b, ldb, c, ldc, start, lds)
        else: tile(8, False, depth, a, row, step, b, ldb, c, ldc, start, lds)


cdef void tile_at(
    int rows, Py_ssize_t width, Py_ssize_t depth, const real *a, Py_ssize_t row, Py_ssize_t step, const real *b,
    Py_ssize_t ldb, real *c, Py_ssize_t ldc, const real *start, Py_ssize_t lds, bint exact,
) noexcept nogil:
    """One tile of c. Where c is exact and the tile hangs over its edge, it is computed aside and its part copied."""
    cdef bint wide = width > lanes(c)
    cdef real aside[8 * WIDEST]
    cdef real *to = c
    cdef Py_ssize_t ldt = ldc, r, n
    if exact and width < (2 * lanes(c) if wide else lanes(c)):
        to, ldt = aside, WIDEST
        if lds == ldc and start != NULL and start == c:
            for r in range(rows):
                for n in range(width):
                    aside[r * WIDEST + n] = start[r * lds + n]
            start, lds = aside, WIDEST
    if real is float:
        tile_of[vf](rows, wide, depth, <vf *> a, row, step, <vf *> b, ldb, <vf *> to, ldt, <vf *> start, lds)
    else:
        tile_of[vd](rows, wide, depth, <vd *> a, row, step, <vd *> b, ldb, <vd *> to, ldt, <vd *> start, lds)
    if to != c:
        for r in range(rows):
            for n in range(width):
                c[r * ldc + n] = aside[r * WIDEST + n]


cdef inline void transpose(const real *b, Py_ssize_t ldb, real *c, Py_ssize_t ldc) noexcept nogil:
    """c = b^T, a square as wide as a register."""
    if real is float:
        transpose_f(b, ldb, c, ldc)
    else:
        transpose_d(b, ldb, c, ldc)


cdef void pack_transposed(
    Py_ssize_t depth, Py_ssize_t width, const real *b, Py_ssize_t ldb, real *panel, Py_ssize_t ldp,
) noexcept nogil:
    """panel (depth, width) = b^T, squares first."""
    cdef Py_ssize_t side = lanes(b), k, n, across = width // side * side, down = depth // side * side
    for k in range(down // side):
        for n in range(across // side):
            transpose(b + side * (n * ldb + k), ldb, panel + side * (k * ldp + n), ldp)
    for n in range(width):
        for k in range(down if n < across else 0, depth):
            panel[k * ldp + n] = b[n * ldb + k]


cdef void pack(
    Packing packing, Py_ssize_t depth, Py_ssize_t width, const real *b, Py_ssize_t ldb, real *panel, Py_ssize_t ldp,
) noexcept nogil:
    """Depth x width of b (of b transposed) side by side in a panel, so that its rows do not collide in the cache."""
    cdef Py_ssize_t k
    if packing == TRANSPOSED:
        pack_transposed(depth, width, b, ldb, panel, ldp)
    else:
        for k in range(depth):
            memcpy(panel + k * ldp, b + k * ldb, width * sizeof(real))
    if width < ldp:
        for k in range(depth):
            memset(panel + k * ldp + width, 0, (ldp - width) * sizeof(real))


cdef inline real multiply_add(real a, real b, real c) noexcept nogil:
    return multiply_add_f(a, b, c) if real is float else multiply_add_d(a, b, c)


cdef void tiny_matmul(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t depth, const real *a, Py_ssize_t row, Py_ssize_t step,
    const real *b, Py_ssize_t down, Py_ssize_t across, real *c, Py_ssize_t ldc, const real *start, Py_ssize_t lds,
) noexcept nogil:
    """The same chains, one number at a time; b is read by its two strides."""
    cdef Py_ssize_t i, j, k
    cdef real total
    for i in range(m):
        for j in range(n):
            total = start[i * lds + j]
            for k in range(depth):
                total = multiply_add(a[i * row + k * step], b[k * down + j * across], total)
            c[i * ldc + j] = total


cdef void matmul(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t depth, const real *a, Py_ssize_t row, Py_ssize_t step,
    const real *b, Py_ssize_t ldb, Packing packing, real *panel,
    real *c, Py_ssize_t ldc, const real *start, Py_ssize_t lds, bint exact,
) noexcept nogil:
    """c (m,n) = start + a (m,depth) b (depth,n): panels of b, two registers wide, against tiles of rows of a."""
    cdef Py_ssize_t wide = 2 * lanes(c), tiles = (m + TILE_ROWS - 1) // TILE_ROWS
    cdef Py_ssize_t from_n, width, from_k, deep, from_m, p, t, ldp
    cdef const real *right
    cdef int rows
    if m * n * depth <= TINY:
        if packing == TRANSPOSED:
            tiny_matmul(m, n, depth, a, row, step, b, 1, ldb, c, ldc, start, lds)
        else:
            tiny_matmul(m, n, depth, a, row, step, b, ldb, 1, c, ldc, start, lds)
        return
    from_k = 0
    while True:
        deep = min(depth - from_k, DEPTH)
        for p in range((n + wide - 1) // wide):
            from_n = p * wide
            width = min(n - from_n, wide)
            if packing == UNPACKED:
                right, ldp = b + from_k * ldb + from_n, ldb
            else:
                right, ldp = panel, wide
                if packing == COPIED:
                    pack(packing, deep, width, b + from_k * ldb + from_n, ldb, panel, ldp)
                else:
                    pack(packing, deep, width, b + from_n * ldb + from_k, ldb, panel, ldp)
            from_m = 0
            for t in range(tiles):
                rows = <int> ((m - from_m + tiles - t - 1) // (tiles - t))
                tile_at(
                    rows, width, deep, a + from_m * row + from_k * step, row, step, right, ldp,
                    c + from_m * ldc + from_n, ldc, start + from_m * lds + from_n, lds, exact)
                from_m += rows
        from_k += deep
        if from_k >= depth:
            return
        start, lds = c, ldc
