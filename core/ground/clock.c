#include "ground/clock.h"

#include <time.h>

/* These clocks exist on every Linux we run on; clock_gettime on them can't fail. */
static uint64_t read_clock(clockid_t which) {
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * CLOCK_NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t clock_now(void) { return read_clock(CLOCK_MONOTONIC); }

_Atomic uint64_t clock_ticked;

uint64_t clock_tick(void) {
    uint64_t now = clock_now(), old = atomic_load_explicit(&clock_ticked, memory_order_relaxed);
    /* The later of two that tick at once stays. relaxed: a time guards no other memory, and messages carry it on. */
    while (old < now && !atomic_compare_exchange_weak_explicit(&clock_ticked, &old, now, memory_order_relaxed,
                                                               memory_order_relaxed)) {}
    return now;
}

uint64_t clock_wall(void) { return read_clock(CLOCK_REALTIME); }

uint64_t clock_cpu(void) { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }
