/* canary.h - are the actors that have the new code worse than those that have the old one? Figures of both, and the
 * verdict. Who is a canary, and for how long, is the rollout's. Threads: the caller's lock. */
#ifndef ACTOR_CANARY_H
#define ACTOR_CANARY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CANARY_BUCKETS 256 /* four to an octave of ns */
#define CANARY_VERDICT_MAX 256

typedef struct CanaryTimes { /* of one side's handlers; {0} to begin with */
    uint64_t count, crashes, bucket[CANARY_BUCKETS];
} CanaryTimes;

void canary_measured(CanaryTimes *t, uint64_t ns); /* a handler took so long; who counts a crash adds to `crashes` */

/* More crashes, or much slower? Writes what was seen, a line, to `verdict`: CANARY_VERDICT_MAX bytes. */
bool canary_worse(const CanaryTimes *canaries, const CanaryTimes *rest, size_t count, char *verdict);
#endif
