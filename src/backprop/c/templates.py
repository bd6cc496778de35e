"""The text around the numbers and the calls of an exported file."""

__all__ = [
    "CLASSIFIES",
    "CLASSIFY",
    "CONTRACT",
    "DECLARATIONS",
    "HEAD",
    "INCLUDES",
    "MEMBER",
    "MODE",
    "PREDICT",
    "TEST",
]

HEAD = """\
/* {name}: {n_in} -> {n_out} in {dtype}, written by backprop {version}.
 *
 * C99, and C++; without malloc, without stdio, without a variable that outlives a call. Compile it with -std=c99 or
 * -ffp-contract=off, so that each operation is rounded as it is written: then the outputs have the bits of backprop's
 * build without wide registers. -lm is for LayerNorm, log_softmax, and tables. -D{name}_TEST adds a main that
 * returns how many of the rows stored at the end come out otherwise. */
"""
DECLARATIONS = """\
#define {name}_N_IN {n_in}
#define {name}_N_OUT {n_out}
#define {name}_WORK_SIZE {work} /* numbers in the work buffer */
{macros}
#ifdef __cplusplus
extern "C" {{
#endif
/* The outputs y for a row x; {work_bytes} bytes of the stack are the work buffer. */
void {name}_predict(const {real} x[{name}_N_IN], {real} y[{name}_N_OUT]);
/* The same in a work buffer of the caller's. */
void {name}_predict_in(const {real} x[{name}_N_IN], {real} y[{name}_N_OUT], {room} work[{name}_WORK_SIZE]);
{classify}#ifdef __cplusplus
}}
#endif
"""
INCLUDES = """
#include <math.h>
#include <stdint.h>
#include <string.h>

"""
CONTRACT = """
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

"""
MEMBER = """\
static void {name}_member_{i}(const {real} *x, {real} *y, {room} *work)
{{
{unused}{calls}}}

"""
CLASSIFY = """\
/* The most likely class of a row x, by its place in {name}_CLASSES. */
int {name}_classify(const {real} x[{name}_N_IN]);
"""
#: Numbers below the smallest normal one are zero in the core, since they would cost a hundred times as much.
MODE = """\
/* While it computes, numbers below the smallest normal one are zero, where the processor can do that. */
#if defined(__GNUC__)
#define {name}_APART __attribute__((noinline))
#else
#define {name}_APART
#endif
#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
typedef unsigned int {name}_mode;
static {name}_mode {name}_flush(void)
{{
    const {name}_mode mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040u);
    return mode;
}}
static void {name}_restore({name}_mode mode) {{ _mm_setcsr(mode); }}
#elif defined(__aarch64__) && defined(__GNUC__)
typedef uint64_t {name}_mode;
static void {name}_restore({name}_mode mode) {{ __asm__ __volatile__("msr fpcr, %0" : : "r"(mode)); }}
static {name}_mode {name}_flush(void)
{{
    {name}_mode mode;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
    {name}_restore(mode | (1u << 24));
    return mode;
}}
#else
typedef int {name}_mode;
static {name}_mode {name}_flush(void) {{ return 0; }}
static void {name}_restore({name}_mode mode) {{ (void)mode; }}
#endif
"""
PREDICT = """\
static {name}_APART void {name}_run(const {real} *x, {real} *y, {room} *work)
{{
{calls}}}

void {name}_predict_in(const {real} x[{name}_N_IN], {real} y[{name}_N_OUT], {room} work[{name}_WORK_SIZE])
{{
    const {name}_mode mode = {name}_flush();
    {name}_run(x, y, work);
    {name}_restore(mode);
}}

void {name}_predict(const {real} x[{name}_N_IN], {real} y[{name}_N_OUT])
{{
    {room} work[{name}_WORK_SIZE];
    {name}_predict_in(x, y, work);
}}
"""
CLASSIFIES = """\
int {name}_classify(const {real} x[{name}_N_IN])
{{
    {real} y[{name}_N_OUT];
    int best = 0, i;
    {name}_predict(x, y);
    for (i = 1; i < {name}_N_OUT; i++) {{
        if (y[i] > y[best]) best = i;
    }}
    return best;
}}

"""
TEST = """\
#if defined({name}_TEST) || defined({upper}_TEST)
{x}{y}
int main(void)
{{
    {real} found[{name}_N_OUT], error, size;
    int wrong = 0, r, i, off;
    for (r = 0; r < {rows}; r++) {{
        off = 0;
        {name}_predict({name}_test_x + r * {name}_N_IN, found);
        for (i = 0; i < {name}_N_OUT; i++) {{
            size = {name}_test_y[r * {name}_N_OUT + i];
            error = found[i] - size;
            error = error < 0 ? -error : error;
            size = size < 0 ? -size : size;
            if (!(error <= {tolerance} * (1 + size))) off = 1;
        }}
        wrong += off;
    }}
    return wrong;
}}
#endif
"""
