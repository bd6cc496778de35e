/* What threads that share a run need: atomic integers, and how to wait. */
#ifndef BACKPROP_THREADS_H
#define BACKPROP_THREADS_H

#if defined(_WIN32)
#  define WIN32_LEAN_AND_MEAN
#  include <windows.h>
#  define give_way() SwitchToThread()
#else
#  include <sched.h>
#  define give_way() sched_yield()
#endif
#include <time.h>

#if defined(__GNUC__)
#  define atomic_get(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#  define atomic_set(p, value) __atomic_store_n((p), (value), __ATOMIC_RELEASE)
#  define atomic_add(p, value) __atomic_add_fetch((p), (value), __ATOMIC_ACQ_REL)
#else
#  include <intrin.h>
#  define atomic_get(p) ((int)_InterlockedOr((volatile long *)(p), 0))
#  define atomic_set(p, value) ((void)_InterlockedExchange((volatile long *)(p), (value)))
#  define atomic_add(p, value) ((int)_InterlockedExchangeAdd((volatile long *)(p), (value)) + (value))
#endif

#if defined(__x86_64__) || defined(_M_X64) || defined(__i386__)
#  include <immintrin.h>
#  define spin_pause() _mm_pause()
#elif defined(__aarch64__)
#  define spin_pause() __asm__ __volatile__("yield")
#else
#  define spin_pause() ((void)0)
#endif

/* Seconds, from a clock that any thread may read. */
static double seconds_now(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
