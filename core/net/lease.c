#include "net/lease.h"

#include <stdatomic.h>
#include "ground/clock.h"

#define MARGIN 5 /* of so many parts, one */

static int64_t id; /* the loop's thread */
/* 0: there is none. relaxed: who asks holds the lock under which was laid down what the lease is for (titles.c), and
 * that is taken away under the same lock before another lease begins. */
static _Atomic uint64_t until;

uint64_t lease_end(uint64_t asked, int64_t ttl_s) {
    if (ttl_s <= 0) return asked;
    if (ttl_s > 1000000) ttl_s = 1000000;
    uint64_t ns = (uint64_t)ttl_s * CLOCK_NS_PER_S;
    return asked + ns - ns / MARGIN;
}

void lease_begin(int64_t new_id, uint64_t end) {
    id = new_id;
    atomic_store_explicit(&until, end, memory_order_relaxed);
}

bool lease_renew(int64_t which, uint64_t end, uint64_t now) {
    uint64_t old = atomic_load_explicit(&until, memory_order_relaxed);
    if (which != id || id == LEASE_NONE || now >= old || now >= end) return false;
    if (end > old) atomic_store_explicit(&until, end, memory_order_relaxed);
    return true;
}

void lease_drop(void) {
    id = LEASE_NONE;
    atomic_store_explicit(&until, 0, memory_order_relaxed);
}

int64_t lease_id(void) { return id; }

uint64_t lease_until(void) { return atomic_load_explicit(&until, memory_order_relaxed); }

bool lease_good(void) { return clock_boot() < lease_until(); }
