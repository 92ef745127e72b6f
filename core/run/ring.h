/* ring.h - a queue of tasks: its owner pushes at the tail, its owner and thieves take from the head, in order.
 *
 * It grows as needed; old arrays stay until ring_close, since a thief may still be reading one (together
 * they are smaller than the newest). Threads: ring_push by the owner; ring_take, ring_length from any. */
#ifndef RUN_RING_H
#define RUN_RING_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Task Task;
typedef struct RingArray RingArray;

typedef struct Ring {
    _Alignas(64) _Atomic uint64_t head; /* next to take; advanced by who takes */
    _Alignas(64) _Atomic uint64_t tail; /* next to fill; written by the owner */
    _Atomic(RingArray *) array;         /* written by the owner */
} Ring;

int    ring_open(Ring *r); /* 0 or UV_ENOMEM */
void   ring_close(Ring *r);
int    ring_push(Ring *r, Task *task); /* 0, or UV_ENOMEM if it had to grow and could not */
Task  *ring_take(Ring *r);             /* NULL: empty, or (for a thief) lost a race */
size_t ring_take_half(Ring *r, Task **out, size_t most); /* a thief's: up to half of what is there, in order */
static inline size_t ring_length(Ring *r) {
    /* relaxed: a guess from outside; the owner's own pushes are exact */
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    return tail > head ? (size_t)(tail - head) : 0;
}
#endif
