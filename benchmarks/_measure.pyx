# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: nonecheck=False, auto_pickle=False
"""What the processor can do at most, and what the matrix kernel alone makes of it; measured.py builds this."""

include "../src/backprop/kernels/types.pxi"
include "../src/backprop/kernels/matmul.pxi"
include "../src/backprop/kernels/dense.pxi"

from numpy import zeros

cdef extern from "threads.h" nogil:
    double seconds_now()


cdef double fma_seconds(Py_ssize_t repeat, vec *memory) noexcept nogil:
    """Seconds for 12 * repeat multiply-adds of whole registers that do not wait for one another."""
    cdef vec a = memory[0], b = memory[1]
    cdef vec c0 = a, c1 = c0 + a, c2 = c1 + a, c3 = c2 + a, c4 = c3 + a, c5 = c4 + a, c6 = c5 + a
    cdef vec c7 = c6 + a, c8 = c7 + a, c9 = c8 + a, c10 = c9 + a, c11 = c10 + a
    cdef double start = seconds_now()
    cdef Py_ssize_t _
    for _ in range(repeat):
        c0, c1, c2, c3 = c0 * a + b, c1 * a + b, c2 * a + b, c3 * a + b
        c4, c5, c6, c7 = c4 * a + b, c5 * a + b, c6 * a + b, c7 * a + b
        c8, c9, c10, c11 = c8 * a + b, c9 * a + b, c10 * a + b, c11 * a + b
    memory[0] = c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11
    return seconds_now() - start


def peak_flops(real[::1] memory not None, Py_ssize_t repeat):
    """Floating-point operations a second of one thread that only multiplies and adds in registers, in memory's type."""
    cdef double seconds
    if memory.shape[0] < SLACK:
        raise ValueError(f"expected at least {SLACK} numbers, got {memory.shape[0]}")
    with nogil:
        if real is float:
            seconds = fma_seconds(repeat, <vf *> &memory[0])
        else:
            seconds = fma_seconds(repeat, <vd *> &memory[0])
    return 24.0 * lanes(&memory[0]) * repeat / seconds


def product_flops(
    int product, real[:, ::1] x not None, real[:, ::1] w not None, real[:, ::1] y not None, Py_ssize_t repeat,
):
    """Floating-point operations a second of a layer's product, again and again: 0 y = x w, 1 x = y w^T, 2 w = x^T y.

    For x (B, I), w (I, O), y (B, O); I and O are multiples of a register's numbers. The rate is that of a fit where each
    array begins a line of the cache, as its memory does.
    """
    cdef Py_ssize_t rows = x.shape[0], n_in = w.shape[0], n_out = w.shape[1], _
    cdef Py_ssize_t row = (max(n_in, n_out) + SLACK - 1) // SLACK * SLACK
    cdef double seconds
    cdef real[::1] memory = zeros(row + DEPTH * (WIDEST + ROWS) + SLACK, "f" if real is float else "d")
    cdef real *scratch = &memory[0]
    if x.shape[1] != n_in or y.shape[0] != rows or y.shape[1] != n_out or rows * n_in * n_out == 0:
        raise ValueError("expected x (B, I), w (I, O), y (B, O) with at least one number in each")
    if n_in % lanes(scratch) != 0 or n_out % lanes(scratch) != 0:
        raise ValueError(f"expected rows of whole registers ({lanes(scratch)} numbers), got {n_in} and {n_out}")
    while <size_t> scratch % 64 != 0:
        scratch += 1
    with nogil:
        seconds = seconds_now()
        for _ in range(repeat):
            if product == 0:
                dense_forward(
                    rows, n_in, n_out, &x[0, 0], n_in, &w[0, 0], <real *> NULL, &y[0, 0], n_out, scratch,
                    scratch + row)
            elif product == 1:
                dense_input_gradient(
                    rows, n_in, n_out, &y[0, 0], n_out, &w[0, 0], &x[0, 0], n_in, False, scratch, scratch + row)
            else:
                dense_weight_gradient(
                    rows, n_in, n_out, &x[0, 0], n_in, &y[0, 0], n_out, &w[0, 0], n_out, scratch,
                    scratch + row)
        seconds = seconds_now() - seconds
    return 2.0 * rows * n_in * n_out * repeat / seconds
