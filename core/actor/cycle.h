/* cycle.h - who waits for whom, so that asks which wait for each other in a circle are found when the last one is made.
 *
 * 1. An actor that waits and begins no other message meanwhile says so in its slot: which request (Slot.asks), and whom
 *    it asked (Slot.asked). Concurrent actors, and forks beside a free `main`, say nothing: they block nobody.
 * 2. Before a request is sent its asker walks from the asked on along these words. If the way leads back to it, none
 *    of those on it can ever answer, and the ask fails; the request is not sent.
 * 3. Each says what it waits for before it walks, both seq_cst: of those who close a circle at the same moment, the
 *    last one in that order sees all the others. Several may be told; never none.
 * 4. Nobody is told of a circle that is none. An answer takes the asker's word back before it is delivered
 *    (registry_answered), and requests have numbers of their own, so a word that is read twice was there in between:
 *    the walk is done once more, and all words are the same, so there was a moment when all of them waited.
 * 5. An actor that says nothing still finds the circle that its own ask closes: the way leads to it by the very request
 *    that the asking fiber handles.
 * 6. A way that leads to another node is followed there, some time after the ask was sent (net/chase.h): who closed
 *    such a circle hears of it by a MESSAGE_CIRCLE.
 * Circles of more than CYCLE_MOST actors, and those closed by others through a concurrent one, end by their deadlines.
 * Threads: the worker that runs the actor. */
#ifndef ACTOR_CYCLE_H
#define ACTOR_CYCLE_H
#include "actor/actor.h"

#define CYCLE_MOST 10000

/* cycle_enter's, where the asked waits itself. */
const char *cycle_closed(Actor *a, uint64_t ref, uint64_t whom, uint32_t name);

/* The running fiber is about to wait for the answer of `whom` to `ref`, a message named by the atom (0 = unknown).
 * NULL: it may, and fiber_wait follows, without fail. Else that would close the circle
 * "bob <1.1> 'x' -> <2.1> 'y' -> bob <1.1>": borrowed, until this thread asks again. */
static inline const char *cycle_enter(Actor *a, uint64_t ref, uint64_t whom, uint32_t name) {
    if (a->current == &a->main && (!a->behaviour->concurrent || a->stage != ACTOR_LIVE))
        registry_ask(a->slot, ref, whom, name);
    atomic_store_explicit(&a->current->whom, whom, memory_order_relaxed);
    const Slot *slot = registry_find(whom);
    if (slot == NULL || atomic_load_explicit(&slot->asks, memory_order_seq_cst) == 0) return NULL; /* as usual */
    return cycle_closed(a, ref, whom, name);
}

/* MESSAGE_CIRCLE came; taken. Its `from` and message_deadline (in place of a deadline: the low 48 bits of a ref, as in
 * Slot.asks) say which request closes the circle: it ends the wait, unless that has ended, or others go on meanwhile
 * and it is not for that request's answer. */
void cycle_came(Actor *a, Message *msg);

static inline void cycle_leave(Actor *a) { /* it waits no longer; nothing if it did not */
    /* relaxed: whoever is to know hears of it by a message */
    if (atomic_load_explicit(&a->slot->asks, memory_order_relaxed) != 0)
        atomic_store_explicit(&a->slot->asks, 0, memory_order_relaxed);
}
#endif
