/* What this processor can run, by the compiler's own check, which asks the operating system too. */
#ifndef BACKPROP_ISA_H
#define BACKPROP_ISA_H

#if defined(__GNUC__) && defined(__x86_64__)
static int runs_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static int runs_avx512(void) {
    return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}
#else
static int runs_avx2(void) { return 0; }
static int runs_avx512(void) { return 0; }
#endif

#endif
