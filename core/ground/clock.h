/* clock.h - time. All in nanoseconds; monotonic unless it says wall. From any thread. */
#ifndef GROUND_CLOCK_H
#define GROUND_CLOCK_H
#include <stdint.h>

#define CLOCK_NS_PER_MS 1000000ull
#define CLOCK_NS_PER_S 1000000000ull

uint64_t clock_now(void);  /* monotonic, CLOCK_MONOTONIC */
uint64_t clock_wall(void); /* since 1970, CLOCK_REALTIME */
uint64_t clock_cpu(void);  /* CPU time this process has used */
#endif
