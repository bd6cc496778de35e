# The types: numbers of two precisions, and registers of them.

from libc.string cimport memcpy, memset

cdef extern from "simd.h" nogil:
    ctypedef float vf                           # a register of floats
    ctypedef double vd                          # a register of doubles
    ctypedef void inlined "ALWAYS_INLINE void"
    ctypedef void outlined "NEVER_INLINE void"
    const Py_ssize_t LANES_F, LANES_D
    const int TILE_ROWS, SLACK, APART
    float multiply_add_f(float a, float b, float c)
    double multiply_add_d(double a, double b, double c)
    void prefetch(const void *p)
    void one_by_one()
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


cdef inline Py_ssize_t lanes(const real *_) noexcept nogil:
    return LANES_F if real is float else LANES_D


cdef inline real multiply_add(real a, real b, real c) noexcept nogil:
    return multiply_add_f(a, b, c) if real is float else multiply_add_d(a, b, c)
