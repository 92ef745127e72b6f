#include "run/ring.h"

#include <stdlib.h>
#include <uv.h>

#define FIRST_ROOM 256

struct RingArray {
    RingArray *older;
    size_t mask;
    _Atomic(Task *) slots[];
};

static RingArray *array_new(size_t room, RingArray *older) {
    RingArray *a = malloc(sizeof *a + room * sizeof a->slots[0]);
    if (a == NULL) return NULL;
    a->older = older;
    a->mask = room - 1;
    for (size_t i = 0; i < room; i++) atomic_init(&a->slots[i], NULL);
    return a;
}

int ring_open(Ring *r) {
    RingArray *a = array_new(FIRST_ROOM, NULL);
    if (a == NULL) return UV_ENOMEM;
    atomic_init(&r->head, 0);
    atomic_init(&r->tail, 0);
    atomic_init(&r->array, a);
    return 0;
}

void ring_close(Ring *r) {
    RingArray *a = atomic_load_explicit(&r->array, memory_order_relaxed);
    while (a != NULL) {
        RingArray *older = a->older;
        free(a);
        a = older;
    }
    atomic_store_explicit(&r->array, NULL, memory_order_relaxed);
}

static RingArray *grow(Ring *r, RingArray *a, uint64_t head, uint64_t tail) {
    RingArray *bigger = array_new((a->mask + 1) * 2, a);
    if (bigger == NULL) return NULL;
    for (uint64_t i = head; i < tail; i++)
        atomic_store_explicit(&bigger->slots[i & bigger->mask],
                              atomic_load_explicit(&a->slots[i & a->mask], memory_order_relaxed), memory_order_relaxed);
    atomic_store_explicit(&r->array, bigger, memory_order_release); /* with what was copied */
    return bigger;
}

int ring_push(Ring *r, Task *task) {
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    /* acquire: a slot is written again only after its reader has moved the head past it */
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    RingArray *a = atomic_load_explicit(&r->array, memory_order_relaxed);
    if (tail - head > a->mask && (a = grow(r, a, head, tail)) == NULL) return UV_ENOMEM;
    atomic_store_explicit(&a->slots[tail & a->mask], task, memory_order_relaxed);
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release); /* the slot, and what the task points to */
    return 0;
}

/* A slot that was overwritten while we read it belongs to a head that has moved on: then the exchange fails and
 * what was read is thrown away. */
Task *ring_take(Ring *r) {
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    for (;;) {
        if (head >= atomic_load_explicit(&r->tail, memory_order_acquire)) return NULL; /* pairs with ring_push */
        RingArray *a = atomic_load_explicit(&r->array, memory_order_acquire);         /* pairs with grow */
        Task *task = atomic_load_explicit(&a->slots[head & a->mask], memory_order_relaxed);
        /* release: our read of the slot comes before the owner writes it again */
        if (atomic_compare_exchange_weak_explicit(&r->head, &head, head + 1, memory_order_acq_rel,
                                                  memory_order_acquire))
            return task;
    }
}

size_t ring_take_half(Ring *r, Task **out, size_t most) {
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    for (;;) {
        uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
        if (head >= tail) return 0;
        size_t n = (size_t)(tail - head + 1) / 2;
        if (n > most) n = most;
        RingArray *a = atomic_load_explicit(&r->array, memory_order_acquire);
        if (n > a->mask + 1) { /* torn: tail is newer than the array we see */
            head = atomic_load_explicit(&r->head, memory_order_acquire);
            continue;
        }
        for (size_t i = 0; i < n; i++)
            out[i] = atomic_load_explicit(&a->slots[(head + i) & a->mask], memory_order_relaxed);
        if (atomic_compare_exchange_weak_explicit(&r->head, &head, head + n, memory_order_acq_rel,
                                                  memory_order_acquire))
            return n;
    }
}
