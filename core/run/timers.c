/* The wheel.
 *
 * Time is cut into slots of 1 ms, numbered since time 0. Eight levels of 64 buckets cover all numbers there are. A
 * timer due in slot D lies, seen from the slot `cur` that the wheel stands at, on the level of the highest group of 6
 * bits in which D and cur differ, in the bucket that this group of D names. It follows that
 *
 *   (a) on every level, what lies there is due after all that lies on the levels below;
 *   (b) on one level, buckets with higher numbers are due later, and none lies behind cur: no wrapping around;
 *   (c) so the next bucket to come is the first one of the lowest level that has any: two ctz on bitmaps. Empty time,
 *       be it days, costs nothing.
 *
 * When cur reaches the start of a bucket of a higher level, its timers move down (each at most 7 times in its life).
 * cur is never moved past a bucket that holds something, which is what keeps (a) and (b).
 *
 * Order within a slot is the order of adding, since lists are appended to, moved down from the front, and a timer can
 * be added to a low bucket directly only after the higher one that covers it has moved down.
 *
 * Moving down a bucket of a million timers takes a while, and so does firing them. Therefore every PORTION timers the
 * lock changes hands, if somebody waits for it. What is added meanwhile for the stretch of time that is moving down
 * queues behind the rest of it, so that the order stays.
 *
 * A turn first gathers all buckets that are due in one list, by splicing, and then fires that list. So a turn ends,
 * also when each `fire` adds a timer that is due at once: that one waits for the next turn.
 *
 * Nodes name each other by index, so that an id needs no look-up. The lists are rings, each with a node of its own as
 * head: to take a timer out one need not know which list it is in. Nodes come from chunks that never move and are kept
 * until timers_free: what a burst took, the next burst uses. */
#include "run/timers.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include "ground/clock.h"

#define SLOT_NS CLOCK_NS_PER_MS
#define LEVEL_BITS 6
#define BUCKETS (1u << LEVEL_BITS) /* a level's, as many as a bitmap has bits */
#define LEVELS 8
#define HEADS (LEVELS * BUCKETS)
#define DUE HEADS                  /* head of the list of what this turn still has to fire */
#define LOWER (HEADS + 1)          /* head of the list of what is moving down just now */
#define FIRST_TIMER (HEADS + 2)
#define PORTION 256                /* timers: 10 to 50 us, as long as a wake-up takes */

#define CHUNK_BITS 10
#define CHUNK_NODES (1u << CHUNK_BITS)
#define INDEX_BITS 28 /* of an id; the 32 above are the generation */
#define INDEX_MASK ((1u << INDEX_BITS) - 1)
#define NONE 0 /* index 0 is a head, and so ends the list of free nodes */

_Static_assert(UINT64_MAX / SLOT_NS < 1ull << (LEVEL_BITS * LEVELS), "the levels cover all of time");
_Static_assert(INDEX_BITS + 32 <= 60, "an id fits the serial number of a ref");
_Static_assert(FIRST_TIMER < CHUNK_NODES, "the heads fit the first chunk");

typedef struct Node {
    uint32_t prev, next; /* a free node: `next` free one, or NONE */
    uint32_t generation; /* from 1; ids of earlier ones are dead. 0: a head */
    bool waits;          /* in a list of timers */
    uint64_t due, period; /* ns */
    uint64_t owner, tag;
} Node;

struct Timers {
    TimersCalls calls;       /* never written after timers_new */
    pthread_mutex_t gate;    /* who holds it is the next to get the lock; taken before the lock, never after */
    pthread_mutex_t lock;    /* holds all below */
    uint64_t cur;            /* the slot the wheel stands at: all before it has fired or is in the list DUE */
    uint64_t lower_end;      /* slots from cur to before this one are moving down; 0: nothing is */
    uint64_t filled[LEVELS]; /* bit b of level l: bucket b is not empty */
    size_t count;
    bool turning;
    uint32_t fresh; /* nodes from here on were never used */
    uint32_t spare; /* free nodes, the last one freed first */
    Node **chunks;
    size_t chunk_count, chunk_room;
};

/* ---- the lock ---- */

static void take_lock(Timers *t) {
    if (pthread_mutex_trylock(&t->lock) == 0) return;
    pthread_mutex_lock(&t->gate);
    pthread_mutex_lock(&t->lock);
    pthread_mutex_unlock(&t->gate);
}

static void drop_lock(Timers *t) { pthread_mutex_unlock(&t->lock); }

/* As take_lock, but behind whoever waits. A mutex alone does not do that: who unlocks it and locks it again is long
 * back before the one that waits has woken up. */
static void take_lock_last(Timers *t) {
    pthread_mutex_lock(&t->gate);
    pthread_mutex_lock(&t->lock);
    pthread_mutex_unlock(&t->gate);
}

/* ---- nodes ---- */

static Node *node_at(const Timers *t, uint32_t index) {
    return &t->chunks[index >> CHUNK_BITS][index & (CHUNK_NODES - 1)];
}

static bool add_chunk(Timers *t) {
    if (t->chunk_count == t->chunk_room) {
        size_t room = t->chunk_room > 0 ? t->chunk_room * 2 : 8;
        Node **chunks = realloc(t->chunks, room * sizeof *chunks);
        if (chunks == NULL) return false;
        t->chunks = chunks;
        t->chunk_room = room;
    }
    Node *chunk = calloc(CHUNK_NODES, sizeof *chunk);
    if (chunk == NULL) return false;
    t->chunks[t->chunk_count++] = chunk;
    return true;
}

/* NONE when memory is short. */
static uint32_t node_take(Timers *t) {
    uint32_t index = t->spare;
    if (index != NONE) {
        t->spare = node_at(t, index)->next;
        return index;
    }
    if (t->fresh > INDEX_MASK) return NONE;
    if (t->fresh >> CHUNK_BITS == t->chunk_count && !add_chunk(t)) return NONE;
    index = t->fresh++;
    node_at(t, index)->generation = 1;
    return index;
}

/* A node whose generation would wrap is never used again, and so no id is. */
static void node_give(Timers *t, uint32_t index) {
    Node *n = node_at(t, index);
    n->waits = false;
    if (n->generation == UINT32_MAX) return;
    n->generation++;
    n->next = t->spare;
    t->spare = index;
}

/* ---- lists ---- */

static void list_clear(Timers *t, uint32_t head) {
    Node *h = node_at(t, head);
    h->prev = h->next = head;
}

static bool list_empty(const Timers *t, uint32_t head) { return node_at(t, head)->next == head; }

static void list_append(Timers *t, uint32_t head, uint32_t index) {
    Node *h = node_at(t, head), *n = node_at(t, index);
    n->prev = h->prev;
    n->next = head;
    node_at(t, h->prev)->next = index;
    h->prev = index;
}

static void list_remove(Timers *t, uint32_t index) {
    Node *n = node_at(t, index);
    node_at(t, n->prev)->next = n->next;
    node_at(t, n->next)->prev = n->prev;
    /* Nobody but a head stands on both sides: that bucket has become empty. */
    if (n->prev == n->next && n->next < HEADS) t->filled[n->next / BUCKETS] &= ~(1ull << n->next % BUCKETS);
}

/* All of `from`, which is not empty, to the end of `to`. */
static void list_splice(Timers *t, uint32_t from, uint32_t to) {
    Node *f = node_at(t, from), *h = node_at(t, to);
    uint32_t first = f->next, last = f->prev;
    node_at(t, h->prev)->next = first;
    node_at(t, first)->prev = h->prev;
    node_at(t, last)->next = to;
    h->prev = last;
    f->prev = f->next = from;
}

/* ---- the wheel ---- */

/* Rounded up: a timer fires in the first slot that begins when it is due or later, never early. */
static uint64_t slot_of(uint64_t ns) { return ns / SLOT_NS + (ns % SLOT_NS != 0); }

/* The start of a slot, in ns. A slot past the end of time never comes. */
static uint64_t slot_start(uint64_t slot) { return slot > UINT64_MAX / SLOT_NS ? UINT64_MAX : slot * SLOT_NS; }

static void wheel_place(Timers *t, uint32_t index) {
    uint64_t slot = slot_of(node_at(t, index)->due);
    if (slot < t->cur) slot = t->cur;
    uint64_t differs = slot ^ t->cur;
    unsigned level = differs == 0 ? 0 : (63 - (unsigned)__builtin_clzll(differs)) / LEVEL_BITS;
    uint32_t bucket = slot >> (level * LEVEL_BITS) & (BUCKETS - 1);
    list_append(t, level * BUCKETS + bucket, index);
    t->filled[level] |= 1ull << bucket;
}

static void wheel_insert(Timers *t, uint32_t index) {
    if (slot_of(node_at(t, index)->due) < t->lower_end) list_append(t, LOWER, index);
    else wheel_place(t, index);
}

/* The bucket to come next and the slot it starts at; false: the wheel is empty. */
static bool wheel_next(const Timers *t, uint32_t *head, uint64_t *slot) {
    for (unsigned level = 0; level < LEVELS; level++) {
        if (t->filled[level] == 0) continue;
        uint32_t bucket = (uint32_t)__builtin_ctzll(t->filled[level]);
        unsigned shift = level * LEVEL_BITS;
        *head = level * BUCKETS + bucket;
        *slot = t->cur >> shift >> LEVEL_BITS << LEVEL_BITS << shift | (uint64_t)bucket << shift;
        return true;
    }
    return false;
}

/* Moves the timers of a bucket that begins now (cur) to lower levels. Nothing lies on those, so the order stays. */
static void wheel_lower(Timers *t, uint32_t head) {
    t->lower_end = t->cur + (1ull << head / BUCKETS * LEVEL_BITS);
    list_splice(t, head, LOWER);
    for (unsigned moved = 1; !list_empty(t, LOWER); moved++) {
        uint32_t index = node_at(t, LOWER)->next;
        list_remove(t, index);
        wheel_place(t, index);
        if (moved % PORTION == 0) {
            drop_lock(t);
            take_lock_last(t);
        }
    }
    t->lower_end = 0;
}

/* Moves all that is due by `slot` to the list DUE, in order, and the wheel to `slot`. */
static void wheel_gather(Timers *t, uint64_t slot) {
    uint32_t head;
    uint64_t start;
    while (wheel_next(t, &head, &start) && start <= slot) {
        t->cur = start;
        t->filled[head / BUCKETS] &= ~(1ull << head % BUCKETS);
        if (head < BUCKETS) list_splice(t, head, DUE);
        else wheel_lower(t, head);
    }
    if (slot > t->cur) t->cur = slot;
}

/* A slot before which nothing is due; UINT64_MAX: nothing waits. */
static uint64_t next_slot(const Timers *t) {
    uint32_t head;
    uint64_t slot;
    if (!list_empty(t, DUE) || !list_empty(t, LOWER)) return t->cur;
    return wheel_next(t, &head, &slot) ? slot : UINT64_MAX;
}

/* The first beat after `now`, in phase: however many were missed, the one that fires now stands for all of them. */
static uint64_t beat_after(uint64_t due, uint64_t period, uint64_t now) {
    uint64_t beats = now >= due ? (now - due) / period + 1 : 1, span, next;
    if (__builtin_mul_overflow(beats, period, &span) || __builtin_add_overflow(due, span, &next)) return UINT64_MAX;
    return next;
}

/* ---- what others call ---- */

Timers *timers_new(uint64_t now_ns, TimersCalls calls) {
    Timers *t = calloc(1, sizeof *t);
    if (t == NULL) return NULL;
    t->calls = calls;
    t->cur = now_ns / SLOT_NS;
    t->fresh = FIRST_TIMER;
    t->spare = NONE;
    if (!add_chunk(t)) {
        free(t->chunks);
        free(t);
        return NULL;
    }
    for (uint32_t head = 0; head < FIRST_TIMER; head++) list_clear(t, head);
    pthread_mutex_init(&t->gate, NULL);
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void timers_free(Timers *t) {
    if (t == NULL) return;
    assert(!t->turning);
    pthread_mutex_destroy(&t->gate);
    pthread_mutex_destroy(&t->lock);
    for (size_t i = 0; i < t->chunk_count; i++) free(t->chunks[i]);
    free(t->chunks);
    free(t);
}

TimerId timers_add(Timers *t, uint64_t due_ns, uint64_t period_ns, uint64_t owner, uint64_t tag) {
    TimerId id = 0;
    bool sooner = false;
    take_lock(t);
    uint32_t index = node_take(t);
    if (index != NONE) {
        Node *n = node_at(t, index);
        n->waits = true;
        n->due = due_ns;
        n->period = period_ns;
        n->owner = owner;
        n->tag = tag;
        id = (uint64_t)n->generation << INDEX_BITS | index;
        t->count++;
        /* A turn that is under way returns a time that counts this one in. */
        sooner = !t->turning && slot_of(due_ns) < next_slot(t);
        wheel_insert(t, index);
    }
    drop_lock(t);
    if (sooner && t->calls.sooner != NULL) t->calls.sooner(t->calls.context);
    return id;
}

bool timers_cancel(Timers *t, TimerId id) {
    uint64_t index = id & INDEX_MASK, generation = id >> INDEX_BITS;
    bool waits = false;
    take_lock(t);
    if (index < t->fresh) { /* heads never wait */
        Node *n = node_at(t, (uint32_t)index);
        waits = n->waits && n->generation == generation;
        if (waits) {
            list_remove(t, (uint32_t)index);
            node_give(t, (uint32_t)index);
            t->count--;
        }
    }
    drop_lock(t);
    return waits;
}

uint64_t timers_turn(Timers *t, uint64_t now_ns) {
    take_lock(t);
    assert(!t->turning);
    t->turning = true;
    wheel_gather(t, now_ns / SLOT_NS);
    for (unsigned fired = 1; !list_empty(t, DUE); fired++) {
        /* Taken out under the lock, right before its fire: whoever cancels it finds it before that or not at all. */
        uint32_t index = node_at(t, DUE)->next;
        Node *n = node_at(t, index);
        uint64_t owner = n->owner, tag = n->tag;
        list_remove(t, index);
        if (n->period > 0) {
            n->due = beat_after(n->due, n->period, now_ns);
            wheel_insert(t, index);
        } else {
            node_give(t, index);
            t->count--;
        }
        drop_lock(t);
        t->calls.fire(t->calls.context, owner, tag);
        if (fired % PORTION == 0) take_lock_last(t);
        else take_lock(t);
    }
    t->turning = false;
    uint64_t next = next_slot(t);
    drop_lock(t);
    return slot_start(next);
}

uint64_t timers_next(Timers *t) {
    take_lock(t);
    uint64_t next = next_slot(t);
    drop_lock(t);
    return slot_start(next);
}

size_t timers_count(Timers *t) {
    take_lock(t);
    size_t count = t->count;
    drop_lock(t);
    return count;
}
