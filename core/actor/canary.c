#include "actor/canary.h"

#include <stdio.h>

#define SAMPLES_LEAST 100 /* of handlers, on both sides, before their times say anything */

static unsigned bucket_of(uint64_t ns) {
    unsigned log = 63 - (unsigned)__builtin_clzll(ns | 4);
    return log * 4 + (unsigned)(ns >> (log - 2) & 3);
}

static uint64_t bucket_least(unsigned bucket) { return (4ull + bucket % 4) << (bucket / 4) >> 2; }

void canary_measured(CanaryTimes *t, uint64_t ns) {
    t->count++;
    t->bucket[bucket_of(ns)]++;
}

static double p99_us(const CanaryTimes *t) {
    uint64_t left = t->count - t->count / 100, seen = 0;
    for (unsigned b = 0; b < CANARY_BUCKETS; b++)
        if ((seen += t->bucket[b]) >= left) return (double)bucket_least(b + 1) / 1000;
    return 0;
}

static double crash_rate(const CanaryTimes *t) {
    return (double)t->crashes / (double)(t->count > 0 ? t->count : 1);
}

bool canary_worse(const CanaryTimes *c, const CanaryTimes *r, size_t count, char *verdict) {
    double p = p99_us(c), q = p99_us(r);
    bool crash = c->crashes > 0 && crash_rate(c) > 2 * crash_rate(r),
         slow = c->count >= SAMPLES_LEAST && r->count >= SAMPLES_LEAST && p > 2 * q && p > q + 1000;
    snprintf(verdict, CANARY_VERDICT_MAX,
             "%zu canaries: %llu messages, %llu crashes, p99 %.1f us; the rest: %llu messages, %llu crashes, "
             "p99 %.1f us%s", count, (unsigned long long)c->count, (unsigned long long)c->crashes, p,
             (unsigned long long)r->count, (unsigned long long)r->crashes, q,
             crash ? ": they crash more often" : slow ? ": they are slower" : "");
    return crash || slow;
}
