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
 * What happens when it is full is its MailboxFull. REFUSE and DROP_NEWEST bound what waits: in the lane and taken, but
 * not begun. DROP_OLDEST and LATEST let messages in up to twice the limit, and the owner drops what is too old before
 * it begins the next; if it does not come to that, the pusher that finds the lane full seizes what is there, drops the
 * oldest and puts the rest back. Meanwhile the message in `head` is a mark and the count stays: others find the lane
 * full and wait for the pusher, while the owner finds it empty and may sleep: it is woken when the rest is back.
 * So at most three times the limit wait: the owner's own limit, and twice that in the lane.
 *
 * Threads: push and seize from any; everything else by the owner alone. A mailbox lives in memory that is never given
 * back (registry), so a push may meet the next owner's box: messages say who they are for (Message.to). */
#ifndef MAIL_MAILBOX_H
#define MAIL_MAILBOX_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mail/message.h"

#define MAILBOX_LIMIT_MAX 250000 /* fits the 18 bits of the count */
#define MAILBOX_SYSTEM 8ull      /* the flag of head */

typedef enum {
    MAILBOX_REFUSE,      /* the sender hears of it */
    MAILBOX_DROP_NEWEST, /* the sender does not; what waits stays */
    MAILBOX_DROP_OLDEST, /* what has waited longest goes */
    MAILBOX_LATEST       /* of each name only the newest send stays; requests do, too */
} MailboxFull;

typedef struct Mailbox {
    _Atomic uint64_t head;
    _Atomic(Message *) system; /* newest first; SYSTEM_CLOSED when closed */
    _Atomic uint32_t taken;    /* messages the owner took and has not begun; written by the owner */
    _Atomic uint32_t bound;    /* MailboxFull << 24 | limit; written before the mailbox opens */
    /* clock_coarse >> MAILBOX_STAMP_SHIFT: when the lane was last no longer empty, written by the push, and the same of
     * what the owner took. Between threads that push they may be some time off. */
    _Atomic uint32_t since, taken_since;
} Mailbox;

/* relaxed: who knows the owner has seen the box open; who looks at a slot taken over meanwhile sees either's */
static inline uint32_t mailbox_limit(const Mailbox *box) {
    return atomic_load_explicit(&box->bound, memory_order_relaxed) & 0xffffff;
}
static inline MailboxFull mailbox_full(const Mailbox *box) {
    return (MailboxFull)(atomic_load_explicit(&box->bound, memory_order_relaxed) >> 24);
}
static inline bool mailbox_drops_old(const Mailbox *box) { return mailbox_full(box) >= MAILBOX_DROP_OLDEST; }

#define MAILBOX_STAMP_SHIFT 20 /* 1.05 ms; 52 days until they wrap */

/* Opens for business. `awake`: born already queued to run. */
void mailbox_open(Mailbox *box, uint32_t limit, MailboxFull full, bool awake);

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

/* For who found a box of DROP_OLDEST or LATEST full: all that waits in the lane, newest first, to be put back with
 * mailbox_restore, soon and without fail. NULL: it is full no longer, or somebody else is at it. Gives. */
Message *mailbox_seize(Mailbox *box);
/* Takes `count` of them back, fewer than the limit. True: the caller must queue the owner. */
bool mailbox_restore(Mailbox *box, Message *newest_first, uint32_t count);

/* The owner has nothing to do. True: it sleeps, and must not touch itself any more, another thread may be running
 * it. False: something came in between, go on. `held`: user messages shall not wake it (and may be there). */
bool mailbox_sleep(Mailbox *box, bool held);

/* The end: later pushes fail with UV_ESRCH. Gives what is left, each lane oldest first. */
void mailbox_close(Mailbox *box, Message **user, Message **system);

/* A moment's view, from any thread: */
uint32_t mailbox_depth(const Mailbox *box);   /* user messages that wait */
typedef enum { MAILBOX_ASLEEP, MAILBOX_AWAKE, MAILBOX_HELD } MailboxState;
MailboxState mailbox_state(const Mailbox *box); /* the owner sleeps; runs, or is queued to; waits in a handler */
uint32_t mailbox_untaken(const Mailbox *box); /* those of them that the owner has not taken yet */
/* No message that waits has waited longer than this, in ms: the oldest of those taken together, or else of those not
 * yet taken, give or take what clock_coarse is behind. Negative: none waits. */
double   mailbox_age(const Mailbox *box);

extern const char *const mailbox_fulls[]; /* "refuse", ...: the names of MailboxFull, then NULL */
#endif
