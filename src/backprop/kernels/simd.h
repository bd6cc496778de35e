/* A register of floats (vf) or of doubles (vd), as wide as the instruction set this file is compiled for.
 *
 * GCC and Clang vectors take the ordinary operators, so the kernels are written once, in Cython, for every width.
 * Other compilers, and BACKPROP_SCALAR, get registers of one number: the same code, correct and plain. */
#ifndef BACKPROP_SIMD_H
#define BACKPROP_SIMD_H

#include <Python.h>
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
/* Large functions, of which there shall not be copies for some of their callers either. */
#  if defined(__clang__)
#    define NEVER_INLINE __attribute__((noinline))
#  else
#    define NEVER_INLINE __attribute__((noinline, noclone))
#  endif
/* x - 0 is x for every x, -0 too: the compiler sees a broadcast and nothing else. */
static ALWAYS_INLINE vf splat_f(const float *x) { return *x - (vf){0}; }
static ALWAYS_INLINE vd splat_d(const double *x) { return *x - (vd){0}; }
#else
typedef float vf;
typedef double vd;
#  if defined(_MSC_VER)
#    define ALWAYS_INLINE __forceinline
#    define NEVER_INLINE __declspec(noinline)
#  else
#    define ALWAYS_INLINE inline __attribute__((always_inline))
#    define NEVER_INLINE __attribute__((noinline))
#  endif
static ALWAYS_INLINE vf splat_f(const float *x) { return *x; }
static ALWAYS_INLINE vd splat_d(const double *x) { return *x; }
#endif

#define LANES_F ((Py_ssize_t)(sizeof(vf) / sizeof(float)))
#define LANES_D ((Py_ssize_t)(sizeof(vd) / sizeof(double)))

/* A square of registers is transposed in log2(lanes) rounds. In each, a register and the one half of them further on become
 * two neighbours: first their numbers are interleaved within each 16 bytes (low halves, high halves), then blocks of 16
 * bytes are picked (even ones, odd ones). Each is one instruction, where numbers that cross 16 bytes would take a table of
 * them, and more time. Row i begins, and column i ends, at PLACE(i). Compilers without shuffles do it number by number. */
#if defined(VECTOR_BYTES) && defined(__has_builtin)
#  if __has_builtin(__builtin_shufflevector)
#    define SHUFFLES
#  endif
#endif
#ifdef SHUFFLES
#  if VECTOR_BYTES == 64
#    define LOW_F 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#    define HIGH_F 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#    define EVEN_F 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#    define ODD_F 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31
#    define LOW_D 0, 8, 2, 10, 4, 12, 6, 14
#    define HIGH_D 1, 9, 3, 11, 5, 13, 7, 15
#    define EVEN_D 0, 1, 4, 5, 8, 9, 12, 13
#    define ODD_D 2, 3, 6, 7, 10, 11, 14, 15
#    define TURNED(block) ((block) % 2 * 2 + (block) / 2)
#  elif VECTOR_BYTES == 32
#    define LOW_F 0, 8, 1, 9, 4, 12, 5, 13
#    define HIGH_F 2, 10, 3, 11, 6, 14, 7, 15
#    define EVEN_F 0, 1, 2, 3, 8, 9, 10, 11
#    define ODD_F 4, 5, 6, 7, 12, 13, 14, 15
#    define LOW_D 0, 4, 2, 6
#    define HIGH_D 1, 5, 3, 7
#    define EVEN_D 0, 1, 4, 5
#    define ODD_D 2, 3, 6, 7
#    define TURNED(block) (block)
#  else
#    define LOW_F 0, 4, 1, 5
#    define HIGH_F 2, 6, 3, 7
#    define EVEN_F LOW_F
#    define ODD_F HIGH_F
#    define LOW_D 0, 2
#    define HIGH_D 1, 3
#    define EVEN_D LOW_D
#    define ODD_D HIGH_D
#    define TURNED(block) (block)
#  endif
/* The place in a block of 16 bytes, then the number of the block, its bits turned round. */
#  define PLACE(i, inner) ((i) % (inner) * (VECTOR_BYTES / 16) + TURNED((i) / (inner)))
#  define SHUFFLED(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#  define TRANSPOSE(name, real, vec, lanes, inner, low, high, even, odd)                         \
    static ALWAYS_INLINE void name(const real *b, Py_ssize_t ldb, real *c, Py_ssize_t ldc) {     \
        vec r[lanes], t[lanes];                                                                  \
        for (int i = 0; i < lanes; i++) r[PLACE(i, inner)] = *(const vec *)(b + i * ldb);        \
        for (int n = 1; n < lanes; n *= 2) {                                                     \
            for (int i = 0; i < lanes / 2; i++) {                                                \
                vec x = r[i], y = r[i + lanes / 2];                                              \
                t[2 * i] = n < inner ? SHUFFLED(x, y, low) : SHUFFLED(x, y, even);               \
                t[2 * i + 1] = n < inner ? SHUFFLED(x, y, high) : SHUFFLED(x, y, odd);           \
            }                                                                                    \
            for (int i = 0; i < lanes; i++) r[i] = t[i];                                         \
        }                                                                                        \
        for (int i = 0; i < lanes; i++) *(vec *)(c + i * ldc) = r[PLACE(i, inner)];              \
    }
TRANSPOSE(transpose_f, float, vf, VECTOR_BYTES / 4, 4, LOW_F, HIGH_F, EVEN_F, ODD_F)
TRANSPOSE(transpose_d, double, vd, VECTOR_BYTES / 8, 2, LOW_D, HIGH_D, EVEN_D, ODD_D)
#else
#  define TRANSPOSE(name, real, lanes)                                                       \
    static ALWAYS_INLINE void name(const real *b, Py_ssize_t ldb, real *c, Py_ssize_t ldc) { \
        for (Py_ssize_t i = 0; i < lanes; i++)                                               \
            for (Py_ssize_t j = 0; j < lanes; j++) c[j * ldc + i] = b[i * ldb + j];          \
    }
TRANSPOSE(transpose_f, float, LANES_F)
TRANSPOSE(transpose_d, double, LANES_D)
#endif

/* 16 vector registers hold 6 x 2 sums, two columns of b and one element of a; 32 hold 8 x 2 with room to spare. */
#if (defined(__AVX512F__) || defined(__aarch64__)) && !defined(BACKPROP_SCALAR)
#  define TILE_ROWS 8
#else
#  define TILE_ROWS 6
#endif

/* Bytes between rows that collide in the first cache. Where two registers are a line of it or less, half of that is too
 * much: each line would be fetched from the second cache for every tile. */
#define APART (sizeof(vf) == 64 ? 2048 : 1024)

#if defined(__GNUC__)
#  define prefetch(p) __builtin_prefetch((p), 0, 2)
/* In a loop of two or three rounds, vectors cost more than they save. */
#  define one_by_one() __asm__ __volatile__("")
/* An address that the compiler does not know to be another one and a distance, which it would keep instead. */
#  define in_register(p) __asm__("" : "+r"(p))
#else
#  define one_by_one() ((void)0)
#  define in_register(p) ((void)(p))
#  define prefetch(p) ((void)(p))
#endif

/* Numbers below the smallest normal one cost up to a hundred times as much: while the engine runs, they are zero. The mode
 * is the thread's, so whoever sets it puts the old one back before anything else runs. */
#if defined(__SSE2__) || defined(_M_X64)
#  include <xmmintrin.h>
typedef unsigned int float_mode;
static ALWAYS_INLINE float_mode flush_subnormals(void) {
    float_mode mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040u); /* flush to zero, denormals are zero */
    return mode;
}
static ALWAYS_INLINE void restore_mode(float_mode mode) { _mm_setcsr(mode); }
#elif defined(__aarch64__) && defined(__GNUC__)
typedef uint64_t float_mode;
static ALWAYS_INLINE void restore_mode(float_mode mode) { __asm__ __volatile__("msr fpcr, %0" : : "r"(mode)); }
static ALWAYS_INLINE float_mode flush_subnormals(void) {
    float_mode mode;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
    restore_mode(mode | (1u << 24));
    return mode;
}
#else
typedef int float_mode;
static ALWAYS_INLINE float_mode flush_subnormals(void) { return 0; }
static ALWAYS_INLINE void restore_mode(float_mode mode) { (void)mode; }
#endif

/* How far beyond the end of a row the kernels may read or write: twice the widest register. */
#define SLACK 64

/* c + a b of single numbers, rounded as the tiles round it: once, where the processor has an instruction for that. Left
 * to itself, the compiler may multiply in vectors and add one by one. */
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
static ALWAYS_INLINE float multiply_add_f(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static ALWAYS_INLINE double multiply_add_d(double a, double b, double c) { return __builtin_fma(a, b, c); }
#else
static ALWAYS_INLINE float multiply_add_f(float a, float b, float c) { return c + a * b; }
static ALWAYS_INLINE double multiply_add_d(double a, double b, double c) { return c + a * b; }
#endif

/* What the product p of a and b has lost, exactly. Without a fused multiply-add, each factor is split in two halves whose
 * products are exact, and so are their sums in this order (Dekker, "A floating-point technique for extending the available
 * precision", 1971). */
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
static ALWAYS_INLINE float product_error_f(float a, float b, float p) { return __builtin_fmaf(a, b, -p); }
static ALWAYS_INLINE double product_error_d(double a, double b, double p) { return __builtin_fma(a, b, -p); }
#else
#  define PRODUCT_ERROR(name, real, bits, upper_half)                                             \
    static ALWAYS_INLINE real name(real a, real b, real p) {                                      \
        bits x, y;                                                                                \
        real ah, bh;                                                                              \
        memcpy(&x, &a, sizeof x);                                                                 \
        memcpy(&y, &b, sizeof y);                                                                 \
        x &= upper_half;                                                                          \
        y &= upper_half;                                                                          \
        memcpy(&ah, &x, sizeof ah);                                                               \
        memcpy(&bh, &y, sizeof bh);                                                               \
        return (((ah * bh - p) + ah * (b - bh)) + (a - ah) * bh) + (a - ah) * (b - bh);           \
    }
PRODUCT_ERROR(product_error_f, float, uint32_t, 0xfffff000u)
PRODUCT_ERROR(product_error_d, double, uint64_t, 0xfffffffff8000000u)
#endif

/* a - y d, where y is close to a / d. Then a - p is exact, and so is what p has lost: there is one rounding, which is
 * that of a fused multiply-add. */
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
static ALWAYS_INLINE float remainder_f(float a, float y, float d) { return __builtin_fmaf(-y, d, a); }
static ALWAYS_INLINE double remainder_d(double a, double y, double d) { return __builtin_fma(-y, d, a); }
#else
#  define REMAINDER(name, real, product_error)                                               \
    static ALWAYS_INLINE real name(real a, real y, real d) {                                 \
        real p = y * d;                                                                      \
        return (a - p) - product_error(y, d, p);                                             \
    }
REMAINDER(remainder_f, float, product_error_f)
REMAINDER(remainder_d, double, product_error_d)
#endif

/* condition ? a : b, by bits. Written as a choice between a new number and the one in memory, compilers make it a store
 * under a mask, which is slow on some processors and which SSE2 lacks. */
static ALWAYS_INLINE float choose_f(int condition, float a, float b) {
    uint32_t keep = 0 - (uint32_t)condition, x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    x = (x & keep) | (y & ~keep);
    memcpy(&a, &x, sizeof a);
    return a;
}
static ALWAYS_INLINE double choose_d(int condition, double a, double b) {
    uint64_t keep = 0 - (uint64_t)condition, x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    x = (x & keep) | (y & ~keep);
    memcpy(&a, &x, sizeof a);
    return a;
}

/* right where x has no sign, left where it has one, by bits: so that a division by the choice is not made two divisions.
 * The mask is the sign itself, since SSE2 makes no mask for doubles of a comparison. */
static ALWAYS_INLINE float by_sign_f(float x, float right, float left) {
    uint32_t sign, r, l;
    memcpy(&sign, &x, sizeof sign);
    memcpy(&r, &right, sizeof r);
    memcpy(&l, &left, sizeof l);
    sign = 0 - (sign >> 31);
    r = (r & ~sign) | (l & sign);
    memcpy(&right, &r, sizeof right);
    return right;
}
static ALWAYS_INLINE double by_sign_d(double x, double right, double left) {
    uint64_t sign, r, l;
    memcpy(&sign, &x, sizeof sign);
    memcpy(&r, &right, sizeof r);
    memcpy(&l, &left, sizeof l);
    sign = 0 - (sign >> 63);
    r = (r & ~sign) | (l & sign);
    memcpy(&right, &r, sizeof right);
    return right;
}

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
