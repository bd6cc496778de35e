# Random numbers as functions of where they are used, so that they depend on nothing else: no generator has a state.
#
# mix is the finalizer of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014);
# hash32 is the two-round integer hash with the constants of C. Wellons' hash-prospector (bias 0.107).

cdef inline uint64_t mix(uint64_t seed, uint64_t i) noexcept nogil:
    cdef uint64_t z = seed + (i + 1) * <uint64_t> 0x9e3779b97f4a7c15
    z = (z ^ (z >> 30)) * <uint64_t> 0xbf58476d1ce4e5b9
    z = (z ^ (z >> 27)) * <uint64_t> 0x94d049bb133111eb
    return z ^ (z >> 31)


cdef inline uint32_t hash32(uint32_t x) noexcept nogil:
    x = (x ^ (x >> 16)) * <uint32_t> 0x21f0aaad
    x = (x ^ (x >> 15)) * <uint32_t> 0xd35a2d97
    return x ^ (x >> 15)


cdef void shuffle(uint64_t seed, uint64_t epoch, Py_ssize_t begin, Py_ssize_t end, int64_t *order) noexcept nogil:
    """The permutation of this epoch (Fisher and Yates, from the inside out), from its first numbers to `end` of them.
    """
    cdef uint64_t key = mix(seed, epoch)
    cdef int64_t i, j
    for i in range(begin, end):
        j = <int64_t> (<double> (mix(key, <uint64_t> i) >> 11) * 1.1102230246251565e-16 * <double> (i + 1))
        order[i] = order[j]
        order[j] = i


cdef void dropout(
    uint64_t key, double rate, Py_ssize_t from_row, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t ld,
    const real *x, Py_ssize_t ldx, real *y,
) noexcept nogil:
    """y = x / (1 - rate), or 0 with probability rate; forward and backward alike, as the mask is a function."""
    cdef uint32_t threshold = <uint32_t> (rate * 4294967296.0), low, high
    cdef real scale = <real> (1 / (1 - rate))
    cdef Py_ssize_t r, i
    cdef uint64_t row_key
    for r in range(rows):
        row_key = mix(key, <uint64_t> (from_row + r))
        low, high = <uint32_t> row_key, <uint32_t> (row_key >> 32)
        for i in range(n):
            y[i] = x[i] * scale if hash32(hash32(<uint32_t> i + low) + high) >= threshold else 0
        x += ldx
        y += ld
