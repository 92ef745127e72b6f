/* mailbox.h - letters waiting for one actor: many threads push, one (the owner, whoever runs it) takes.
 *
 * Two lanes. The user lane is a stack of pushed messages that the owner takes whole and turns round; its
 * one word `head` packs the newest message, the count and four flags, so a push is a single compare-and-swap that also
 * enforces the limit and tells who must wake the owner:
 *
 *     63..22: message / 64 | 21..4: count | 3: SYSTEM | 2: CLOSED | 1: HELD | 0: AWAKE
 *
 * AWAKE   the owner is running or queued to run. Whoever sets it must queue the owner.
 * HELD    the owner waits for an answer: user messages are put down without waking it.
 * CLOSED  the owner is dead: nothing goes in.
 * SYSTEM  the system lane may have something.
 *
 * The system lane is a second stack, never full. A system push sets AWAKE whatever HELD says. Since everything that
 * can wake the owner shows in `head`, falling asleep is one compare-and-swap after which the owner touches nothing.
 * Threads: push from any; everything else by the owner alone. A mailbox lives in memory that is never given back
 * (registry), so a push may meet the next owner's box: messages say who they are for (Message.to). */
#ifndef MAIL_MAILBOX_H
#define MAIL_MAILBOX_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mail/message.h"

#define MAILBOX_LIMIT_MAX 250000 /* fits the 18 bits of the count */
#define MAILBOX_SYSTEM 8ull      /* the flag of head */

typedef struct Mailbox {
    _Atomic uint64_t head;
    _Atomic(Message *) system; /* newest first; SYSTEM_CLOSED when closed */
    _Atomic uint32_t taken;    /* messages the owner took and has not begun; written by the owner */
    uint32_t limit;            /* written before the mailbox opens */
} Mailbox;

/* Opens for business. `awake`: born already queued to run. */
void mailbox_open(Mailbox *box, uint32_t limit, bool awake);

#define MAILBOX_CROWDED 1
#define MAILBOX_CROWD 1024       /* so many wait: their sender is ahead of the owner */
#define MAILBOX_CROWD_EVERY 256  /* ... and hears of it with every so many more */

/* Takes `msg`, chooses the lane by its kind. 0, or MAILBOX_CROWDED: taken as well, but the sender had better let others
 * work; UV_ENOBUFS full; UV_ESRCH closed: then the caller still owns it.
 * *wake is true for the one push after which the caller must queue the owner. */
int mailbox_push(Mailbox *box, Message *msg, bool *wake);

/* All user messages pushed so far, oldest first, linked by `next`; NULL = none. Gives. Clears HELD. Adds their number
 * to `taken`. */
Message *mailbox_take(Mailbox *box);
Message *mailbox_take_system(Mailbox *box); /* the same for the system lane */
static inline bool mailbox_has_system(Mailbox *box) {
    return (atomic_load_explicit(&box->head, memory_order_relaxed) & MAILBOX_SYSTEM) != 0; /* just a look */
}
static inline void mailbox_begun(Mailbox *box, uint32_t number) { /* the owner began to handle that many */
    uint32_t taken = atomic_load_explicit(&box->taken, memory_order_relaxed);
    atomic_store_explicit(&box->taken, taken - number, memory_order_relaxed);
}

/* The owner has nothing to do. True: it sleeps, and must not touch itself any more, another thread may be running
 * it. False: something came in between, go on. `held`: user messages shall not wake it (and may be there). */
bool mailbox_sleep(Mailbox *box, bool held);

/* The end: later pushes fail with UV_ESRCH. Gives what is left, each lane oldest first. */
void mailbox_close(Mailbox *box, Message **user, Message **system);

uint32_t mailbox_depth(const Mailbox *box); /* user messages waiting; a moment's view, from any thread */
#endif
