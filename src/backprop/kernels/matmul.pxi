# The matrix product: c = start + a b, with a read by its two strides.
#
# Each element of c is one chain of multiply-adds over k in ascending order, whatever tile it falls into: the bits
# depend neither on the number of threads nor on which rows are computed together.
#
# A product goes block by block, a block panel by panel of b, a panel tile by tile of c:
#
#   block    ROWS x DEPTH of a                  stays in the second cache
#   panel    DEPTH x 2 registers of b           streams through the first
#   tile     TILE_ROWS x 2 registers of c       stays in registers
#
# b and start are read, and c is written, in whole registers: up to a tile's width beyond the end of a row. Whoever
# owns that memory leaves SLACK numbers there; what is computed there is never used. Where c has none, it is `exact`.

cdef enum:
    DEPTH = 512                                 # the longest part of a sum before c is stored
    ROWS = 256                                  # of a, which each panel of b serves
    FAR = 262_144                               # bytes of b that are no longer near
    PACKED_ROWS = 32                            # fewer do not pay for the copy of a panel
    TINY = 64                                   # multiply-adds that are over before a tile has begun
    WIDEST = 32                                 # the width of the widest tile: 2 registers of 16 floats

cdef extern from "tile.h" nogil:
    void tile_f(
        int rows, bint wide, Py_ssize_t depth, const float *a, Py_ssize_t row, Py_ssize_t step, const float *b,
        Py_ssize_t ldb, float *c, Py_ssize_t ldc, const float *start, Py_ssize_t lds)
    void tile_d(
        int rows, bint wide, Py_ssize_t depth, const double *a, Py_ssize_t row, Py_ssize_t step, const double *b,
        Py_ssize_t ldb, double *c, Py_ssize_t ldc, const double *start, Py_ssize_t lds)

cdef enum Packing:
    UNPACKED, COPIED, TRANSPOSED                # whether panels of b are copied, or b transposed

cdef struct Shape:                              # of a product, and the distances between its numbers
    Py_ssize_t m, n, depth                      # rows and columns of c, length of its sums
    Py_ssize_t row, step                        # in a, from row to row, and from one number of a sum to the next
    Py_ssize_t ldb, ldc, lds                    # between the rows of b, c and start
    Packing packing
    bint exact                                  # nothing beyond the ends of c's rows may be written


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


cdef inlined tile(
    int rows, bint wide, Py_ssize_t depth, const real *a, Py_ssize_t row, Py_ssize_t step, const real *b,
    Py_ssize_t ldb, real *c, Py_ssize_t ldc, const real *start, Py_ssize_t lds,
) noexcept nogil:
    if real is float:
        tile_f(rows, wide, depth, a, row, step, b, ldb, c, ldc, start, lds)
    else:
        tile_d(rows, wide, depth, a, row, step, b, ldb, c, ldc, start, lds)


cdef void tile_of(
    int rows, bint wide, Py_ssize_t depth, const real *a, Py_ssize_t row, Py_ssize_t step, const real *b,
    Py_ssize_t ldb, real *c, Py_ssize_t ldc, const real *start, Py_ssize_t lds,
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


cdef inlined strip(
    int registers, Py_ssize_t depth, const vec *a, Py_ssize_t step, const vec *b, Py_ssize_t ldb, vec *c,
    const vec *start,
) noexcept nogil:
    """One row of c, up to 8 registers: a sum waits for itself, so the more of them the better."""
    cdef vec s, c0, c1, c2, c3, c4, c5, c6, c7
    cdef Py_ssize_t k
    c0 = start[0]
    if registers > 1:
        c1 = start[1]
    if registers > 2:
        c2, c3 = start[2], start[3]
    if registers > 4:
        c4, c5, c6, c7 = start[4], start[5], start[6], start[7]
    for k in range(depth):
        s = splat(a, 0)
        c0 = c0 + s * b[0]
        if registers > 1:
            c1 = c1 + s * b[1]
        if registers > 2:
            c2 = c2 + s * b[2]
            c3 = c3 + s * b[3]
        if registers > 4:
            c4 = c4 + s * b[4]
            c5 = c5 + s * b[5]
            c6 = c6 + s * b[6]
            c7 = c7 + s * b[7]
        a = at(a, step)
        b = at(b, ldb)
    c[0] = c0
    if registers > 1:
        c[1] = c1
    if registers > 2:
        c[2], c[3] = c2, c3
    if registers > 4:
        c[4], c[5], c[6], c[7] = c4, c5, c6, c7


cdef void strip_of(
    Py_ssize_t registers, Py_ssize_t depth, const vec *a, Py_ssize_t step, const vec *b, Py_ssize_t ldb, vec *c,
    const vec *start,
) noexcept nogil:
    if registers == 8: strip(8, depth, a, step, b, ldb, c, start)
    elif registers == 4: strip(4, depth, a, step, b, ldb, c, start)
    elif registers == 2: strip(2, depth, a, step, b, ldb, c, start)
    else: strip(1, depth, a, step, b, ldb, c, start)


cdef void tile_at(
    int rows, Py_ssize_t width, const Shape *s, const real *a, const real *b, real *c, const real *start,
) noexcept nogil:
    """One tile of c. Where c is exact and the tile hangs over its edge, it is computed aside and its part copied."""
    cdef bint wide = width > lanes(c)
    cdef real aside[8 * WIDEST]
    cdef real *to = c
    cdef Py_ssize_t ldt = s.ldc, lds = s.lds, r, n
    if s.exact and width < (2 * lanes(c) if wide else lanes(c)):
        to, ldt = aside, WIDEST
        if s.lds == s.ldc and start != NULL and start == c:
            for r in range(rows):
                for n in range(width):
                    aside[r * WIDEST + n] = start[r * lds + n]
            start, lds = aside, WIDEST
    tile_of(rows, wide, s.depth, a, s.row, s.step, b, s.ldb, to, ldt, start, lds)
    if to != c:
        for r in range(rows):
            for n in range(width):
                c[r * s.ldc + n] = aside[r * WIDEST + n]


cdef void row_product(
    Py_ssize_t n, Py_ssize_t depth, const real *a, Py_ssize_t step, const real *b, Py_ssize_t ldb, real *c,
    const real *start, bint exact,
) noexcept nogil:
    """A single row of c. It is met most in the shortest calls, where filling a Shape would cost."""
    cdef Py_ssize_t left = n // lanes(c) if exact else (n + lanes(c) - 1) // lanes(c), from_n = 0, registers
    cdef Shape rest
    while left > 0:
        registers = 8 if left >= 8 else 4 if left >= 4 else 2 if left >= 2 else 1
        if real is float:
            strip_of[vf](registers, depth, <vf *> a, step, <vf *> (b + from_n), ldb, <vf *> (c + from_n),
                         <vf *> (start + from_n))
        else:
            strip_of[vd](registers, depth, <vd *> a, step, <vd *> (b + from_n), ldb, <vd *> (c + from_n),
                         <vd *> (start + from_n))
        from_n += registers * lanes(c)
        left -= registers
    if from_n < n:
        rest = Shape(
            m=1, n=n - from_n, depth=depth, row=0, step=step, ldb=ldb, ldc=0, lds=0, packing=UNPACKED, exact=True)
        tile_at(1, rest.n, &rest, a, b + from_n, c + from_n, start + from_n)


cdef inline void copy_row(Py_ssize_t n, const real *x, real *y) noexcept nogil:
    """y = x, register by register; the last one overlaps the one before."""
    cdef Py_ssize_t i = 0
    if n < lanes(x):
        for i in range(n):
            y[i] = x[i]
        return
    while i < n:
        i = min(i, n - lanes(x))
        if real is float:
            (<vf *> (y + i))[0] = (<const vf *> (x + i))[0]
        else:
            (<vd *> (y + i))[0] = (<const vd *> (x + i))[0]
        i += lanes(x)


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
    for n in range(across if down == depth else 0, width):
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
            copy_row(width, b + k * ldb, panel + k * ldp)
    if width < ldp:
        for k in range(depth):
            memset(panel + k * ldp + width, 0, (ldp - width) * sizeof(real))


cdef void prefetch_panel(
    Packing packing, Py_ssize_t depth, Py_ssize_t width, const real *b, Py_ssize_t ldb, Py_ssize_t part,
    Py_ssize_t parts,
) noexcept nogil:
    """Ask memory for one of the parts of what `pack` will read."""
    cdef Py_ssize_t line = 64 // <Py_ssize_t> sizeof(real), k, i
    if packing == TRANSPOSED:
        depth, width = width, depth
    for k in range(depth * part // parts, depth * (part + 1) // parts):
        for i in range((width + line - 1) // line):
            prefetch(b + k * ldb + i * line)


cdef inline Py_ssize_t tiles_of(Py_ssize_t m) noexcept nogil:
    return (m + TILE_ROWS - 1) // TILE_ROWS


cdef inline int next_rows(Py_ssize_t m, Py_ssize_t tiles) noexcept nogil:
    """How many of m rows the next of so many tiles takes: nearly equal parts, as a last one of one row is slow."""
    return <int> ((m + tiles - 1) // tiles)


cdef void pack_columns(Py_ssize_t m, Py_ssize_t depth, const real *a, Py_ssize_t step, real *packed) noexcept nogil:
    """a, whose columns are far apart in memory, tile by tile: each (depth, rows)."""
    cdef Py_ssize_t t, k, i, tiles = tiles_of(m)
    cdef int rows
    for t in range(tiles):
        rows = next_rows(m, tiles - t)
        for k in range(depth):
            if rows == TILE_ROWS:
                memcpy(packed + k * TILE_ROWS, a + k * step, TILE_ROWS * sizeof(real))
            else:
                for i in range(rows):
                    packed[k * rows + i] = a[k * step + i]
        a += rows
        packed += rows * depth
        m -= rows


cdef void block_product(
    const Shape *s, bint far, const real *a, const real *b, real *panel, real *c, const real *start,
) noexcept nogil:
    """A product whose a fits into the second cache. While a panel of b serves, the next one is on its way."""
    cdef Py_ssize_t wide = 2 * lanes(c), across = s.ldb if s.packing == TRANSPOSED else 1, tiles = tiles_of(s.m)
    cdef Py_ssize_t from_n, width, from_m, p, t, r
    cdef const real *right
    cdef const real *left
    cdef real *packed = panel + DEPTH * WIDEST
    cdef bint columns = s.packing == COPIED and s.step != 1
    cdef Shape one = s[0]                       # of a tile
    cdef int rows
    if s.packing != UNPACKED:
        one.ldb = wide
    if columns:
        pack_columns(s.m, s.depth, a, s.step, packed)
    for p in range((s.n + wide - 1) // wide):
        from_n = p * wide
        width = min(s.n - from_n, wide)
        right = b + from_n * across
        if s.packing != UNPACKED:
            pack(s.packing, s.depth, width, right, s.ldb, panel, wide)
            right = panel
        from_m = 0
        for t in range(tiles):
            rows = next_rows(s.m - from_m, tiles - t)
            left = a + from_m * s.row
            if columns:
                left, one.step = <const real *> packed + from_m * s.depth, rows
            if far and from_n + wide < s.n:
                prefetch_panel(
                    s.packing, s.depth, min(s.n - from_n - wide, wide), b + (from_n + wide) * across, s.ldb, t, tiles)
            if far:
                for r in range(from_m + rows, min(from_m + 2 * rows, s.m)):
                    prefetch(c + r * s.ldc + from_n)
                    prefetch(c + r * s.ldc + from_n + width - 1)
            tile_at(
                rows, width, &one, left, right, c + from_m * s.ldc + from_n, start + from_m * s.lds + from_n)
            from_m += rows


cdef inlined tiny_chains(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t depth, const real *a, Py_ssize_t row, Py_ssize_t step,
    const real *b, Py_ssize_t down, Py_ssize_t across, real *c, Py_ssize_t ldc, const real *start, Py_ssize_t lds,
) noexcept nogil:
    cdef Py_ssize_t i, j, k
    cdef const real *q
    cdef real total
    for i in range(m):
        q = b
        for j in range(n):
            one_by_one()
            total = start[j]
            for k in range(depth):
                total = multiply_add(a[k * step], q[k * down], total)
            c[j] = total
            q += across
        a += row
        c += ldc
        start += lds


cdef void tiny_product(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t depth, const real *a, Py_ssize_t row, Py_ssize_t step,
    const real *b, Py_ssize_t down, Py_ssize_t across, real *c, Py_ssize_t ldc, const real *start, Py_ssize_t lds,
) noexcept nogil:
    """The same chains, one number at a time, the shortest without a loop; b is read by its two strides."""
    if depth == 1: tiny_chains(m, n, 1, a, row, step, b, down, across, c, ldc, start, lds)
    elif depth == 2: tiny_chains(m, n, 2, a, row, step, b, down, across, c, ldc, start, lds)
    elif depth == 3: tiny_chains(m, n, 3, a, row, step, b, down, across, c, ldc, start, lds)
    elif depth == 4: tiny_chains(m, n, 4, a, row, step, b, down, across, c, ldc, start, lds)
    else: tiny_chains(m, n, depth, a, row, step, b, down, across, c, ldc, start, lds)


cdef void blocked_product(
    Shape s, const real *a, const real *b, real *panel, real *c, const real *start,
) noexcept nogil:
    """In blocks of nearly equal size."""
    cdef Py_ssize_t down = 1 if s.packing == TRANSPOSED else s.ldb
    cdef Py_ssize_t blocks = (s.m + ROWS - 1) // ROWS, depths = (s.depth + DEPTH - 1) // DEPTH
    cdef Py_ssize_t i, q, from_m, from_k
    cdef bint far = s.n * s.depth * <Py_ssize_t> sizeof(real) > FAR
    cdef const real *begin
    cdef Shape block = s
    for i in range(blocks):
        from_m = s.m * i // blocks
        block.m = s.m * (i + 1) // blocks - from_m
        block.lds, begin = s.lds, start + from_m * s.lds
        for q in range(depths):
            from_k = s.depth * q // depths
            block.depth = s.depth * (q + 1) // depths - from_k
            block_product(
                &block, far, a + from_m * s.row + from_k * s.step, b + from_k * down, panel, c + from_m * s.ldc, begin)
            block.lds, begin = s.ldc, c + from_m * s.ldc


cdef inlined matmul(
    Shape s, const real *a, const real *b, real *panel, real *c, const real *start,
) noexcept nogil:
    """c (m,n) = start + a (m,depth) b (depth,n)."""
    if s.m * s.n * s.depth <= TINY:
        if s.packing == TRANSPOSED:
            tiny_product(s.m, s.n, s.depth, a, s.row, s.step, b, 1, s.ldb, c, s.ldc, start, s.lds)
        else:
            tiny_product(s.m, s.n, s.depth, a, s.row, s.step, b, s.ldb, 1, c, s.ldc, start, s.lds)
    elif s.m == 1 and s.packing == UNPACKED:
        row_product(s.n, s.depth, a, s.step, b, s.ldb, c, start, s.exact)
    else:
        blocked_product(s, a, b, panel, c, start)
