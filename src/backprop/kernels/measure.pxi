# For the benchmarks: what the processor can do at most, and what the matrix kernel alone makes of it.

cdef double fma_seconds(Py_ssize_t repeat, vec *memory) noexcept nogil:
    """Seconds for 12 * repeat multiply-adds of whole registers that do not wait for one another."""
    cdef vec a = memory[0], b = memory[1]
    cdef vec c0 = a, c1 = c0 + a, c2 = c1 + a, c3 = c2 + a, c4 = c3 + a, c5 = c4 + a, c6 = c5 + a
    cdef vec c7 = c6 + a, c8 = c7 + a, c9 = c8 + a, c10 = c9 + a, c11 = c10 + a
    cdef double start = seconds_now()
    cdef Py_ssize_t i
    for i in range(repeat):
        c0, c1, c2, c3 = c0 * a + b, c1 * a + b, c2 * a + b, c3 * a + b
        c4, c5, c6, c7 = c4 * a + b, c5 * a + b, c6 * a + b, c7 * a + b
        c8, c9, c10, c11 = c8 * a + b, c9 * a + b, c10 * a + b, c11 * a + b
    memory[0] = c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11
    return seconds_now() - start


def peak_flops(real[::1] memory not None, Py_ssize_t repeat):
    """Floating-point operations a second of one thread that only multiplies and adds in registers, in memory's type."""
    cdef double seconds
    expect(memory.shape[0] >= SLACK, "at least ROOM numbers")
    with nogil:
        if real is float:
            seconds = fma_seconds(repeat, <vf *> &memory[0])
        else:
            seconds = fma_seconds(repeat, <vd *> &memory[0])
    return 24.0 * lanes(&memory[0]) * repeat / seconds


def matmul_flops(
    const real[:, ::1] a not None, const real[:, ::1] b not None, real[:, ::1] c not None,
    real[::1] scratch not None, Py_ssize_t repeat,
):
    """Floating-point operations a second of c = a b, again and again."""
    cdef Py_ssize_t m = a.shape[0], depth = a.shape[1], n = b.shape[1], i
    cdef double seconds
    expect(b.shape[0] == depth and c.shape[0] == m and c.shape[1] == n, "a (m,k), b (k,n), c (m,n)")
    expect(m > 0 and depth > 0 and n > 0 and n % lanes(&c[0, 0]) == 0, "b as wide as whole registers")
    expect(scratch.shape[0] >= n + DEPTH * WIDEST, "scratch for a row of zeros and a panel")
    memset(&scratch[0], 0, n * sizeof(real))
    with nogil:
        seconds = seconds_now()
        for i in range(repeat):
            matmul(m, n, depth, &a[0, 0], depth, 1, &b[0, 0], n, packing_for(m, n, &b[0, 0]), &scratch[n],
                   &c[0, 0], n, &scratch[0], 0, False)
        seconds = seconds_now() - seconds
    return 2.0 * m * n * depth * repeat / seconds
