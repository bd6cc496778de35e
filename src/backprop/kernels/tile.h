/* A tile of a product, c = start + a b: rows x (1 or 2 registers) of c. Its shape is constant at each call, and of the
 * body remains what that shape needs. The sums are named, one line of each macro for a row: an array of them would live
 * in memory, not in registers. The rows of a are reached from three addresses: one for each row would be too many for the
 * registers of the loop, which then loads them again and again. */
#ifndef BACKPROP_TILE_H
#define BACKPROP_TILE_H

#include "simd.h"

#define BEGIN_ROW(r, vec, splat)                              \
    vec c##r, d##r;                                           \
    if (rows > r) {                                           \
        c##r = ((const vec *)(start + r * lds))[0];           \
        if (wide) d##r = ((const vec *)(start + r * lds))[1]; \
    }
#define ADD_TO_ROW(r, vec, splat)                               \
    if (rows > r) {                                             \
        s = splat((r < 3 ? a : r < 6 ? a3 : a6) + r % 3 * row); \
        c##r = c##r + s * b0;                                   \
        if (wide) d##r = d##r + s * b1;                         \
    }
#define END_ROW(r, vec, splat)                      \
    if (rows > r) {                                 \
        ((vec *)(c + r * ldc))[0] = c##r;           \
        if (wide) ((vec *)(c + r * ldc))[1] = d##r; \
    }
#define EACH_ROW(DO, vec, splat)                                            \
    DO(0, vec, splat) DO(1, vec, splat) DO(2, vec, splat) DO(3, vec, splat) \
    DO(4, vec, splat) DO(5, vec, splat) DO(6, vec, splat) DO(7, vec, splat)

#define TILE(name, real, vec, splat)                                                                     \
    static ALWAYS_INLINE void name(int rows, int wide, Py_ssize_t depth, const real *a, Py_ssize_t row,  \
                                   Py_ssize_t step, const real *b, Py_ssize_t ldb, real *c,              \
                                   Py_ssize_t ldc, const real *start, Py_ssize_t lds) {                  \
        vec s, b0, b1;                                                                                   \
        const real *a3 = a + 3 * row, *a6 = a + 6 * row;                                                 \
        in_register(a3);                                                                                 \
        in_register(a6);                                                                                 \
        EACH_ROW(BEGIN_ROW, vec, splat)                                                                  \
        for (Py_ssize_t k = 0; k < depth; k++) {                                                         \
            b0 = ((const vec *)b)[0];                                                                    \
            if (wide) b1 = ((const vec *)b)[1];                                                          \
            EACH_ROW(ADD_TO_ROW, vec, splat)                                                             \
            a += step;                                                                                   \
            a3 += step;                                                                                  \
            a6 += step;                                                                                  \
            b += ldb;                                                                                    \
        }                                                                                                \
        EACH_ROW(END_ROW, vec, splat)                                                                    \
    }
TILE(tile_f, float, vf, splat_f)
TILE(tile_d, double, vd, splat_d)

#endif
