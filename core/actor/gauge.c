#include "actor/gauge.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "actor/observe.h"
#include "ground/clock.h"
#include "ground/hash.h"
#include "ground/pool.h"

#define BUCKETS 128     /* four to a doubling, from 64 ns on: a time is off by an eighth at most */
#define FIRST_BIT 6
#define FORGET 1024     /* so many samples of an actor, and the older ones count half */
#define TABLE_ROOM 1024 /* a power of two; twice SLOW_MOST, so that a probe ends */

struct Timing { /* of one actor; written by its worker, relaxed */
    _Atomic uint16_t count, buckets[BUCKETS];
};

/* A handler of a behaviour. Its key is written before it is in the table and changes no more; the rest is guarded by
 * the lock but `buckets`, `timed`: relaxed, added to by whoever times. */
typedef struct Entry {
    uint64_t hash;
    Slow slow;
    _Atomic uint64_t timed, most; /* most: slow.took, to be looked at without the lock */
    _Atomic uint32_t buckets[BUCKETS];
} Entry;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(Entry *) table[TABLE_ROOM]; /* set under the lock, with release; entries stay */
static size_t entries;                     /* under the lock */
static _Atomic int watchers;

const char *gauge_handler(uint32_t handler) {
    switch (handler) {
    case HANDLER_INIT: return "init";
    case HANDLER_OTHER: return "other";
    case HANDLER_DOWN: return "down";
    case HANDLER_EXIT: return "exit";
    case HANDLER_TERMINATE: return "terminate";
    default: return atom_text(handler, NULL);
    }
}

uint32_t gauge_handler_find(const char *name, size_t len) {
    for (uint32_t h = HANDLER_INIT; h <= HANDLER_TERMINATE; h++)
        if (strlen(gauge_handler(h)) == len && memcmp(gauge_handler(h), name, len) == 0 && atom_find(name, len) == 0)
            return h;
    return atom_find(name, len);
}

/* ---- histograms ---- */

static unsigned bucket_of(uint64_t ns) {
    if (ns < 1ull << FIRST_BIT) return 0;
    unsigned bit = 63 - (unsigned)__builtin_clzll(ns), quarter = (unsigned)(ns >> (bit - 2)) & 3;
    unsigned bucket = (bit - FIRST_BIT) * 4 + quarter;
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static uint64_t middle_of(unsigned bucket) {
    uint64_t quarter = 1ull << (bucket / 4 + FIRST_BIT - 2);
    return (4 + bucket % 4) * quarter + quarter / 2;
}

/* The bucket that 99 of 100 do not pass, given a function that reads one. */
#define P99(total, count_of)                                                                                          \
    do {                                                                                                              \
        uint64_t below = 0;                                                                                           \
        for (unsigned i = 0; i < BUCKETS; i++)                                                                        \
            if ((below += (count_of)) * 100 >= (total)*99) return middle_of(i);                                       \
        return middle_of(BUCKETS - 1);                                                                                \
    } while (0)

static uint64_t timing_p99(struct Timing *t) {
    uint64_t total = 0;
    for (unsigned i = 0; i < BUCKETS; i++) total += atomic_load_explicit(&t->buckets[i], memory_order_relaxed);
    if (total == 0) return 0;
    P99(total, atomic_load_explicit(&t->buckets[i], memory_order_relaxed));
}

static uint64_t entry_p99(Entry *e) {
    uint64_t total = 0;
    for (unsigned i = 0; i < BUCKETS; i++) total += atomic_load_explicit(&e->buckets[i], memory_order_relaxed);
    if (total == 0) return 0;
    P99(total, atomic_load_explicit(&e->buckets[i], memory_order_relaxed));
}

static struct Timing *timing_of(Actor *a) {
    struct Timing *t = atomic_load_explicit(&a->timing, memory_order_relaxed);
    if (t != NULL) return t;
    if ((t = pool_alloc(sizeof *t)) == NULL) return NULL;
    memset(t, 0, sizeof *t);
    atomic_store_explicit(&a->timing, t, memory_order_release); /* who finds it finds it clean */
    return t;
}

static void add(_Atomic uint16_t *n, int more) {
    atomic_store_explicit(n, (uint16_t)(atomic_load_explicit(n, memory_order_relaxed) + more), memory_order_relaxed);
}

static void timing_add(struct Timing *t, uint64_t took) {
    add(&t->buckets[bucket_of(took)], 1);
    add(&t->count, 1);
    if (atomic_load_explicit(&t->count, memory_order_relaxed) < FORGET) return;
    int left = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        int n = atomic_load_explicit(&t->buckets[i], memory_order_relaxed);
        add(&t->buckets[i], n / 2 - n);
        left += n / 2;
    }
    atomic_store_explicit(&t->count, (uint16_t)left, memory_order_relaxed);
}

void gauge_free(Actor *a) {
    struct Timing *t = atomic_load_explicit(&a->timing, memory_order_relaxed);
    if (t != NULL) pool_free(t, sizeof *t);
}

/* ---- the table of handlers ---- */

static bool is(const Entry *e, uint64_t hash, const char *behaviour, uint32_t handler) {
    return e->hash == hash && e->slow.handler == handler && strcmp(e->slow.behaviour, behaviour) == 0;
}

/* A full table takes no more handlers: those that came first stay. NULL then, or without memory. */
static Entry *entry_find(const char *behaviour, uint32_t handler) {
    uint64_t hash = hash_mix(hash_bytes(behaviour, strlen(behaviour)) ^ handler);
    for (size_t i = hash, n = 0; n < TABLE_ROOM; i++, n++) {
        /* acquire: pairs with the release below */
        Entry *e = atomic_load_explicit(&table[i & (TABLE_ROOM - 1)], memory_order_acquire);
        if (e == NULL) break;
        if (is(e, hash, behaviour, handler)) return e;
    }
    Entry *made = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = hash; made == NULL; i++) {
        _Atomic(Entry *) *at = &table[i & (TABLE_ROOM - 1)];
        Entry *e = atomic_load_explicit(at, memory_order_relaxed);
        if (e != NULL) {
            if (is(e, hash, behaviour, handler)) made = e;
            continue;
        }
        if (entries >= SLOW_MOST || (made = calloc(1, sizeof *made)) == NULL) break;
        made->hash = hash;
        made->slow.handler = handler;
        strncpy(made->slow.behaviour, behaviour, sizeof made->slow.behaviour - 1);
        atomic_store_explicit(at, made, memory_order_release);
        entries++;
    }
    pthread_mutex_unlock(&lock);
    return made;
}

static void longest(Actor *a, uint64_t took) {
    if (took > atomic_load_explicit(&a->longest, memory_order_relaxed))
        atomic_store_explicit(&a->longest, took, memory_order_relaxed);
}

/* It may be the slowest of its kind. */
static void record(Entry *e, const Actor *a, uint64_t took, bool running) {
    pthread_mutex_lock(&lock);
    if (took > e->slow.took) {
        e->slow.took = took;
        atomic_store_explicit(&e->most, took, memory_order_relaxed);
        e->slow.pid = a->pid;
        e->slow.at = clock_wall();
        e->slow.running = running;
    }
    pthread_mutex_unlock(&lock);
}

void gauge_timed(Actor *a, uint32_t handler, uint64_t took) {
    struct Timing *t = timing_of(a);
    Entry *e = entry_find(a->behaviour->source->name, handler);
    longest(a, took);
    if (t != NULL) timing_add(t, took);
    if (e == NULL) return;
    atomic_fetch_add_explicit(&e->buckets[bucket_of(took)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&e->timed, 1, memory_order_relaxed);
    if (took > atomic_load_explicit(&e->most, memory_order_relaxed)) record(e, a, took, false);
}

void gauge_slow_seen(Actor *a, uint32_t handler, uint64_t took, bool ended) {
    Entry *e = entry_find(a->behaviour->source->name, handler);
    longest(a, took);
    if (e == NULL) return;
    record(e, a, took, !ended);
    if (!ended) return;
    pthread_mutex_lock(&lock);
    e->slow.times++;
    if (e->slow.pid == a->pid) e->slow.running = false;
    pthread_mutex_unlock(&lock);
}

static int slower(const void *x, const void *y) {
    uint64_t a = ((const Slow *)x)->took, b = ((const Slow *)y)->took;
    return a < b ? 1 : a > b ? -1 : 0;
}

size_t gauge_slow(Slow *out, size_t most) {
    size_t n = 0;
    Slow *all = malloc(SLOW_MOST * sizeof *all);
    if (all == NULL) return 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < TABLE_ROOM; i++) {
        Entry *e = atomic_load_explicit(&table[i], memory_order_relaxed);
        if (e == NULL) continue;
        all[n] = e->slow;
        all[n].timed = atomic_load_explicit(&e->timed, memory_order_relaxed);
        all[n++].p99 = entry_p99(e);
    }
    pthread_mutex_unlock(&lock);
    qsort(all, n, sizeof *all, slower);
    if (n > most) n = most;
    memcpy(out, all, n * sizeof *all);
    free(all);
    return n;
}

/* ---- from elsewhere ---- */

void gauge_watch(bool on) {
    atomic_fetch_add_explicit(&watchers, on ? 1 : -1, memory_order_relaxed);
    observe_changed();
}

bool gauge_watched(void) { return atomic_load_explicit(&watchers, memory_order_relaxed) > 0; }

void gauge_ran(uint64_t pid, uint64_t ns) {
    if (registry_find(pid) == NULL) return; /* it died meanwhile, and its slot may be another's */
    SlotTally *tally = registry_tally(pid);
    atomic_store_explicit(&tally->ran, atomic_load_explicit(&tally->ran, memory_order_relaxed) + ns,
                          memory_order_relaxed);
}

bool gauge_read(uint64_t pid, Gauge *out) {
    Slot *slot = registry_find(pid);
    Actor *a = slot != NULL ? registry_owner(slot, pid) : NULL;
    if (a == NULL) return false;
    /* acquire: pairs with timing_of */
    struct Timing *timing = atomic_load_explicit(&a->timing, memory_order_acquire);
    const Fiber *f = &a->main;
    *out = (Gauge){
        .handler = atomic_load_explicit(&a->last_atom, memory_order_relaxed),
        .handled = atomic_load_explicit(&a->handled, memory_order_relaxed),
        .longest = atomic_load_explicit(&a->longest, memory_order_relaxed),
        .p99 = timing != NULL ? timing_p99(timing) : 0,
        .ran = atomic_load_explicit(&registry_tally(pid)->ran, memory_order_relaxed),
        .waits = atomic_load_explicit(&f->waits, memory_order_relaxed),
    };
    if ((out->running = scheduler_runs(pid, &out->since))) return true;
    if (out->waits == NULL) return true;
    out->since = atomic_load_explicit(&f->since, memory_order_relaxed);
    out->whom = atomic_load_explicit(&f->whom, memory_order_relaxed);
    out->until = atomic_load_explicit(&f->until, memory_order_relaxed);
    return true;
}
