#include "mail/mailbox.h"

#include <assert.h>
#include <sched.h>
#include <uv.h>
#include "ground/clock.h"

#define AWAKE 1ull
#define HELD 2ull
#define CLOSED 4ull
#define SYSTEM MAILBOX_SYSTEM
#define FLAGS 15ull
#define COUNT_SHIFT 4
#define COUNT_MASK 0x3ffffull
#define MESSAGE_SHIFT 22

#define COUNT_MOST COUNT_MASK
#define SEIZED 1 /* in place of the message: somebody has seized what was there */

#define SYSTEM_CLOSED ((Message *)1)

const char *const mailbox_fulls[] = {"refuse", "drop_newest", "drop_oldest", "latest", NULL};

static uint64_t pack(const Message *msg, uint64_t count, uint64_t flags) {
    return ((uint64_t)(uintptr_t)msg >> 6) << MESSAGE_SHIFT | count << COUNT_SHIFT | flags;
}
static Message *newest(uint64_t head) { return (Message *)(uintptr_t)(head >> MESSAGE_SHIFT << 6); }
static bool has_messages(uint64_t head) { return head >> MESSAGE_SHIFT > SEIZED; }
static uint32_t count_of(uint64_t head) { return (uint32_t)(head >> COUNT_SHIFT & COUNT_MASK); }

void mailbox_open(Mailbox *box, uint32_t limit, MailboxFull full, bool awake) {
    assert(limit >= 1 && limit <= MAILBOX_LIMIT_MAX);
    atomic_store_explicit(&box->bound, (uint32_t)full << 24 | limit, memory_order_relaxed);
    atomic_store_explicit(&box->since, 0, memory_order_relaxed);
    atomic_store_explicit(&box->taken_since, 0, memory_order_relaxed);
    atomic_store_explicit(&box->taken, 0, memory_order_relaxed);
    atomic_store_explicit(&box->system, NULL, memory_order_relaxed);
    /* release: who pushes after this sees limit and the empty lanes */
    atomic_store_explicit(&box->head, awake ? AWAKE : 0, memory_order_release);
}

/* For one that has its limit: is there no way in? */
static __attribute__((noinline, cold)) bool is_full(const Mailbox *box, uint64_t head) {
    uint32_t twice = 2 * mailbox_limit(box), bound = twice < COUNT_MOST ? twice : COUNT_MOST;
    return !mailbox_drops_old(box) || count_of(head) >= bound;
}

static inline int push_user(Mailbox *box, Message *msg, bool *wake) {
    /* acquire: pairs with mailbox_open, so that the limit we read is this owner's */
    uint64_t head = atomic_load_explicit(&box->head, memory_order_acquire), want;
    uint32_t waiting;
    do {
        if (head & CLOSED) return UV_ESRCH;
        waiting = count_of(head) + atomic_load_explicit(&box->taken, memory_order_relaxed);
        if (waiting >= mailbox_limit(box) && is_full(box, head)) return UV_ENOBUFS;
        msg->next = newest(head);
        want = pack(msg, count_of(head) + 1, (head & FLAGS) | (head & HELD ? 0 : AWAKE));
        /* release: the owner that takes sees the message; acquire: as above, and for Slot.owner */
    } while (!atomic_compare_exchange_weak_explicit(&box->head, &head, want, memory_order_acq_rel,
                                                    memory_order_acquire));
    if (count_of(head) == 0)
        atomic_store_explicit(&box->since, (uint32_t)(clock_coarse() >> MAILBOX_STAMP_SHIFT), memory_order_relaxed);
    *wake = (want & AWAKE) != 0 && (head & AWAKE) == 0;
    return waiting >= MAILBOX_CROWD && waiting % MAILBOX_CROWD_EVERY == 0 ? MAILBOX_CROWDED : 0;
}

static inline int push_system(Mailbox *box, Message *msg, bool *wake) {
    Message *top = atomic_load_explicit(&box->system, memory_order_relaxed);
    do {
        if (top == SYSTEM_CLOSED) return UV_ESRCH;
        msg->next = top;
        /* release: the owner sees the message */
    } while (!atomic_compare_exchange_weak_explicit(&box->system, &top, msg, memory_order_release,
                                                    memory_order_relaxed));
    /* release: an owner that saw the flag, and then looks into the lane, finds the message there. The owner may have
     * taken it already, or died and left the box to another: then this is a look for nothing. */
    uint64_t head = atomic_fetch_or_explicit(&box->head, AWAKE | SYSTEM, memory_order_acq_rel);
    *wake = (head & (AWAKE | CLOSED)) == 0;
    return 0;
}

int mailbox_push(Mailbox *box, Message *msg, bool *wake) {
    return msg->kind <= MESSAGE_START ? push_user(box, msg, wake) : push_system(box, msg, wake);
}

Message *mailbox_take(Mailbox *box) {
    /* A look first: an exchange dirties the line, and most turns find nothing new. */
    uint64_t head = atomic_load_explicit(&box->head, memory_order_relaxed);
    do {
        if (!has_messages(head)) return NULL;
        /* acquire: pairs with push_user's release */
    } while (!atomic_compare_exchange_weak_explicit(&box->head, &head, AWAKE | (head & SYSTEM), memory_order_acquire,
                                                    memory_order_relaxed));
    uint32_t taken = atomic_load_explicit(&box->taken, memory_order_relaxed);
    atomic_store_explicit(&box->taken, taken + count_of(head), memory_order_relaxed);
    if (taken == 0)
        atomic_store_explicit(&box->taken_since, atomic_load_explicit(&box->since, memory_order_relaxed),
                              memory_order_relaxed);
    return message_reverse(newest(head));
}

Message *mailbox_seize(Mailbox *box) {
    uint64_t head = atomic_load_explicit(&box->head, memory_order_acquire), want; /* acquire: see push_user */
    do {
        if (head & CLOSED || !has_messages(head) || !mailbox_drops_old(box) || !is_full(box, head)) return NULL;
        want = (head & ((1ull << MESSAGE_SHIFT) - 1)) | 1ull * SEIZED << MESSAGE_SHIFT;
        /* acquire: pairs with push_user's release */
    } while (!atomic_compare_exchange_weak_explicit(&box->head, &head, want, memory_order_acq_rel,
                                                    memory_order_acquire));
    return newest(head);
}

bool mailbox_restore(Mailbox *box, Message *newest_first, uint32_t count) {
    uint64_t head = atomic_load_explicit(&box->head, memory_order_relaxed), want;
    do { /* nobody but us takes the mark away; flags may change */
        assert(head >> MESSAGE_SHIFT == SEIZED);
        want = pack(newest_first, count, (head & FLAGS) | (head & HELD || count == 0 ? 0 : AWAKE));
        /* release: the owner that takes sees what we did to the messages; acquire: for Slot.owner */
    } while (!atomic_compare_exchange_weak_explicit(&box->head, &head, want, memory_order_acq_rel,
                                                    memory_order_relaxed));
    return (want & AWAKE) != 0 && (head & AWAKE) == 0;
}

Message *mailbox_take_system(Mailbox *box) {
    if (!mailbox_has_system(box)) return NULL;
    /* The flag goes first: a message pushed after the lane was emptied sets it again. acquire: see push_system. */
    atomic_fetch_and_explicit(&box->head, ~SYSTEM, memory_order_acquire);
    return message_reverse(atomic_exchange_explicit(&box->system, NULL, memory_order_acquire));
}

bool mailbox_sleep(Mailbox *box, bool held) {
    uint64_t head = atomic_load_explicit(&box->head, memory_order_relaxed), want;
    do {
        if (head & SYSTEM || (has_messages(head) && !held)) return false;
        want = (head & ~(AWAKE | HELD)) | (held ? HELD : 0);
        /* release: the next thread to run the owner sees what we did to it */
    } while (!atomic_compare_exchange_weak_explicit(&box->head, &head, want, memory_order_release,
                                                    memory_order_relaxed));
    return true;
}

void mailbox_close(Mailbox *box, Message **user, Message **system) {
    uint64_t head = atomic_load_explicit(&box->head, memory_order_relaxed);
    for (;;) {
        if (head >> MESSAGE_SHIFT == SEIZED) { /* it comes back, soon */
            sched_yield();
            head = atomic_load_explicit(&box->head, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak_explicit(&box->head, &head, CLOSED | AWAKE, memory_order_acquire,
                                                         memory_order_relaxed)) {
            break;
        }
    }
    *user = message_reverse(newest(head));
    *system = message_reverse(atomic_exchange_explicit(&box->system, SYSTEM_CLOSED, memory_order_acquire));
}

uint32_t mailbox_untaken(const Mailbox *box) {
    return count_of(atomic_load_explicit(&box->head, memory_order_relaxed));
}

double mailbox_age(const Mailbox *box) {
    uint32_t taken = atomic_load_explicit(&box->taken, memory_order_relaxed);
    if (taken == 0 && mailbox_untaken(box) == 0) return -1;
    uint32_t stamp = atomic_load_explicit(taken > 0 ? &box->taken_since : &box->since, memory_order_relaxed);
    int32_t age = (int32_t)((uint32_t)(clock_now() >> MAILBOX_STAMP_SHIFT) - stamp);
    return age > 0 ? (double)age * (1 << MAILBOX_STAMP_SHIFT) / (double)CLOCK_NS_PER_MS : 0;
}

MailboxState mailbox_state(const Mailbox *box) {
    uint64_t head = atomic_load_explicit(&box->head, memory_order_relaxed);
    return head & AWAKE ? MAILBOX_AWAKE : head & HELD ? MAILBOX_HELD : MAILBOX_ASLEEP;
}

uint32_t mailbox_depth(const Mailbox *box) {
    return count_of(atomic_load_explicit(&box->head, memory_order_relaxed)) +
           atomic_load_explicit(&box->taken, memory_order_relaxed);
}
