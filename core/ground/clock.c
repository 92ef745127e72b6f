#include "ground/clock.h"

#include <time.h>

/* These clocks exist on every Linux we run on; clock_gettime on them can't fail. */
static uint64_t read_clock(clockid_t which) {
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * CLOCK_NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t clock_real(void) { return read_clock(CLOCK_MONOTONIC); }

/* relaxed, all of them: a time guards no other memory. Whoever runs because time moved on was sent a message by who
 * moved it, and that carries the new time along. */
_Atomic uint64_t clock_still;
static _Atomic uint64_t ahead; /* of the real one, after virtual time went by; written by clock_thaw */

uint64_t clock_now(void) {
    uint64_t still = atomic_load_explicit(&clock_still, memory_order_relaxed);
    if (__builtin_expect(still != 0, 0)) return still;
    return read_clock(CLOCK_MONOTONIC) + atomic_load_explicit(&ahead, memory_order_relaxed);
}

/* On a whole millisecond, as timers are: then one of so many milliseconds is due when so many have passed. */
void clock_freeze(void) {
    uint64_t now = clock_now() + CLOCK_NS_PER_MS - 1;
    if (!clock_is_frozen()) atomic_store_explicit(&clock_still, now - now % CLOCK_NS_PER_MS, memory_order_relaxed);
}

void clock_advance(uint64_t now) {
    if (now > atomic_load_explicit(&clock_still, memory_order_relaxed))
        atomic_store_explicit(&clock_still, now, memory_order_relaxed);
    clock_tick();
}

void clock_thaw(void) {
    uint64_t still = atomic_load_explicit(&clock_still, memory_order_relaxed), real = clock_real(),
             before = atomic_load_explicit(&ahead, memory_order_relaxed);
    if (still == 0) return;
    /* Frozen time may have fallen behind the real one: then it jumps, as it does for a machine that slept. */
    if (still > real + before) atomic_store_explicit(&ahead, still - real, memory_order_relaxed);
    atomic_store_explicit(&clock_still, 0, memory_order_relaxed);
}

_Atomic uint64_t clock_ticked;

uint64_t clock_tick(void) {
    uint64_t now = clock_now(), old = atomic_load_explicit(&clock_ticked, memory_order_relaxed);
    /* The later of two that tick at once stays. relaxed: a time guards no other memory, and messages carry it on. */
    while (old < now && !atomic_compare_exchange_weak_explicit(&clock_ticked, &old, now, memory_order_relaxed,
                                                               memory_order_relaxed)) {}
    return now;
}

uint64_t clock_boot(void) { return read_clock(CLOCK_BOOTTIME); }

uint64_t clock_wall(void) { return read_clock(CLOCK_REALTIME); }

uint64_t clock_cpu(void) { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }
