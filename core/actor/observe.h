/* observe.h - who looks on while an actor handles messages: traces (trace.h) and statistics (gauge.h).
 *
 * What it costs when nobody does: each message tests Actor.watched, a byte beside what is in use anyway, where its
 * handler begins, where it ends and where it sends; each slice compares Actor.epoch with the node's. When somebody
 * begins or ends to look on, the epoch changes, and each actor finds out at its next slice whether it is meant.
 * Threads: the worker that runs the actor; observe_changed from any. */
#ifndef ACTOR_OBSERVE_H
#define ACTOR_OBSERVE_H
#include "actor/actor.h"
#include "actor/trace.h"

enum {
    WATCH_TRACED = 1,
    WATCH_TIMED = 2,
    WATCH_NOTED = 4 /* the watchdog found its handler at work */
};

extern _Atomic uint32_t observe_epoch; /* 0 while nobody looks on; else never the same again */
void observe_changed(void);            /* somebody begins or ends to look on */

void observe_update(Actor *a, uint32_t epoch);
static inline void observe_slice(Actor *a) { /* a slice begins */
    /* acquire: what was written before the epoch changed is seen by observe_update */
    uint32_t epoch = atomic_load_explicit(&observe_epoch, memory_order_acquire);
    if (__builtin_expect(epoch != a->epoch, 0)) observe_update(a, epoch);
}

/* Where Actor.watched is not 0: */
void observe_begin(Actor *a, Fiber *f);                /* its handler is about to be called */
void observe_end(Actor *a, Fiber *f);                  /* ... has returned */
void observe_pause(Actor *a, Fiber *f);                /* ... begins to wait */
static inline void observe_out(Actor *a, const Message *msg) { /* the running code sends; before it does */
    const Fiber *f = a->current; /* NULL: a finalizer, at the very end */
    if (a->watched & WATCH_TRACED && f != NULL && (f->meant != 0 || f->msg == NULL)) trace_out(a, f, msg);
}

void observe_go_on(Fiber *f);                          /* with Fiber.paused: it waits no longer */
void observe_failed(Actor *a, Fiber *f);               /* its handler raised */
void observe_ended(Actor *a, Fiber *f);                /* the actor is dead: what its handler did has no end */
void observe_note(Actor *a);                           /* in the hook: the watchdog found this slice old */
void observe_goes_on(Actor *a, const Fiber *f);                      /* with WATCH_NOTED: it was preempted */
#endif
