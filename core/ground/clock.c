#include "ground/clock.h"

#include <time.h>

/* These clocks exist on every Linux we run on; clock_gettime on them can't fail. */
static uint64_t read_clock(clockid_t which) {
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * CLOCK_NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t clock_now(void) { return read_clock(CLOCK_MONOTONIC); }

uint64_t clock_wall(void) { return read_clock(CLOCK_REALTIME); }

uint64_t clock_cpu(void) { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }
