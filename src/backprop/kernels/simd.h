/* A register of floats (vf) or of doubles (vd), as wide as the instruction set this file is compiled for.
 *
 * GCC and Clang vectors take the ordinary operators, so the kernels are written once, in Cython, for every width.
 * Other compilers, and BACKPROP_SCALAR, get registers of one number: the same code, correct and plain. */
#ifndef BACKPROP_SIMD_H
#define BACKPROP_SIMD_H

#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) && !defined(BACKPROP_SCALAR)
#  if defined(__AVX512F__)
#    define VECTOR_BYTES 64
#  elif defined(__AVX__)
#    define VECTOR_BYTES 32
#  else
#    define VECTOR_BYTES 16
#  endif
#  define VECTOR(real) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias))
typedef float vf VECTOR(float);
typedef double vd VECTOR(double);
#  define ALWAYS_INLINE inline __attribute__((always_inline))
/* x - 0 is x for every x, -0 too: the compiler sees a broadcast and nothing else. */
static ALWAYS_INLINE vf splat_f(const float *x) { return *x - (vf){0}; }
static ALWAYS_INLINE vd splat_d(const double *x) { return *x - (vd){0}; }
#else
typedef float vf;
typedef double vd;
#  if defined(_MSC_VER)
#    define ALWAYS_INLINE __forceinline
#  else
#    define ALWAYS_INLINE inline __attribute__((always_inline))
#  endif
static ALWAYS_INLINE vf splat_f(const float *x) { return *x; }
static ALWAYS_INLINE vd splat_d(const double *x) { return *x; }
#endif

#define LANES_F ((Py_ssize_t)(sizeof(vf) / sizeof(float)))
#define LANES_D ((Py_ssize_t)(sizeof(vd) / sizeof(double)))

/* 16 vector registers hold 6 x 2 sums, two columns of b and one element of a; 32 hold 8 x 2 with room to spare. */
#if (defined(__AVX512F__) || defined(__aarch64__)) && !defined(BACKPROP_SCALAR)
#  define TILE_ROWS 8
#else
#  define TILE_ROWS 6
#endif

/* How far beyond the end of a row the kernels may read or write: twice the widest register. */
#define SLACK 64

/* Adding 1.5 * 2^(bits of the mantissa) rounds to an integer and leaves that integer in the lowest bits. */
#define MAGIC_F 12582912.0f
#define MAGIC_D 6755399441055744.0

static ALWAYS_INLINE int32_t exponent_f(float magic) {
    uint32_t bits;
    memcpy(&bits, &magic, sizeof bits);
    return (int32_t)(bits - 0x4b400000u);
}
static ALWAYS_INLINE int64_t exponent_d(double magic) {
    uint64_t bits;
    memcpy(&bits, &magic, sizeof bits);
    return (int64_t)(bits - 0x4338000000000000u);
}

/* 2^n for the exponents of normal numbers; any other n gives some number, and no harm. */
static ALWAYS_INLINE float power_of_two_f(int32_t n) {
    uint32_t bits = ((uint32_t)n + 127u) << 23;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static ALWAYS_INLINE double power_of_two_d(int64_t n) {
    uint64_t bits = ((uint64_t)n + 1023u) << 52;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif
