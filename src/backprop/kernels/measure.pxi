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


def product_flops(
    int product, real[:, ::1] x not None, real[:, ::1] w not None, real[:, ::1] y not None, Py_ssize_t repeat,
):
    """Floating-point operations a second of a layer's product, again and again: 0 y = x w, 1 x = y w^T, 2 w = x^T y."""
    cdef Py_ssize_t rows = x.shape[0], n_in = w.shape[0], n_out = w.shape[1], zeros = padded(max(n_in, n_out), SLACK), i
    cdef double seconds
    cdef Memory memory = Memory.__new__(Memory)
    cdef real *scratch
    expect(x.shape[1] == n_in and y.shape[0] == rows and y.shape[1] == n_out, "x (B, I), w (I, O), y (B, O)")
    expect(rows > 0 and n_in > 0 and n_out > 0, "at least one number in each")
    expect(n_in % lanes(&x[0, 0]) == 0 and n_out % lanes(&x[0, 0]) == 0, "rows of whole registers")
    memory.reserve(sizeof(real) * <double> (zeros + DEPTH * (WIDEST + ROWS)))
    scratch = <real *> memory.take(sizeof(real) * <double> zeros)
    with nogil:
        seconds = seconds_now()
        for i in range(repeat):
            if product == 0:
                dense_forward(
                    rows, n_in, n_out, &x[0, 0], n_in, &w[0, 0], <real *> NULL, &y[0, 0], n_out, scratch,
                    scratch + zeros)
            elif product == 1:
                dense_input_gradient(
                    rows, n_in, n_out, &y[0, 0], n_out, &w[0, 0], &x[0, 0], n_in, False, scratch, scratch + zeros)
            else:
                dense_weight_gradient(
                    rows, n_in, n_out, &x[0, 0], n_in, &y[0, 0], n_out, &w[0, 0], scratch, scratch + zeros)
        seconds = seconds_now() - seconds
    return 2.0 * rows * n_in * n_out * repeat / seconds
