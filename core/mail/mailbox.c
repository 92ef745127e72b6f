#include "mail/mailbox.h"

#include <assert.h>
#include <uv.h>

#define AWAKE 1ull
#define HELD 2ull
#define CLOSED 4ull
#define SYSTEM MAILBOX_SYSTEM
#define FLAGS 15ull
#define COUNT_SHIFT 4
#define COUNT_MASK 0x3ffffull
#define MESSAGE_SHIFT 22

#define SYSTEM_CLOSED ((Message *)1)

static uint64_t pack(const Message *msg, uint64_t count, uint64_t flags) {
    return ((uint64_t)(uintptr_t)msg >> 6) << MESSAGE_SHIFT | count << COUNT_SHIFT | flags;
}
static Message *newest(uint64_t head) { return (Message *)(uintptr_t)(head >> MESSAGE_SHIFT << 6); }
static uint32_t count_of(uint64_t head) { return (uint32_t)(head >> COUNT_SHIFT & COUNT_MASK); }

static Message *turn_round(Message *newest_first) {
    Message *oldest_first = NULL;
    while (newest_first != NULL) {
        Message *older = newest_first->next;
        newest_first->next = oldest_first;
        oldest_first = newest_first;
        newest_first = older;
    }
    return oldest_first;
}

void mailbox_open(Mailbox *box, uint32_t limit, bool awake) {
    assert(limit >= 1 && limit <= MAILBOX_LIMIT_MAX);
    box->limit = limit;
    atomic_store_explicit(&box->taken, 0, memory_order_relaxed);
    atomic_store_explicit(&box->system, NULL, memory_order_relaxed);
    /* release: who pushes after this sees limit and the empty lanes */
    atomic_store_explicit(&box->head, awake ? AWAKE : 0, memory_order_release);
}

static int push_user(Mailbox *box, Message *msg, bool *wake) {
    /* acquire: pairs with mailbox_open, so that the limit we read is this owner's */
    uint64_t head = atomic_load_explicit(&box->head, memory_order_acquire), want;
    uint32_t waiting;
    do {
        if (head & CLOSED) return UV_ESRCH;
        waiting = count_of(head) + atomic_load_explicit(&box->taken, memory_order_relaxed);
        if (waiting >= box->limit) return UV_ENOBUFS;
        msg->next = newest(head);
        want = pack(msg, count_of(head) + 1, (head & FLAGS) | (head & HELD ? 0 : AWAKE));
        /* release: the owner that takes sees the message; acquire: as above, and for Slot.owner */
    } while (!atomic_compare_exchange_weak_explicit(&box->head, &head, want, memory_order_acq_rel,
                                                    memory_order_acquire));
    *wake = (want & AWAKE) != 0 && (head & AWAKE) == 0;
    return waiting >= MAILBOX_CROWD && waiting % MAILBOX_CROWD_EVERY == 0 ? MAILBOX_CROWDED : 0;
}

static int push_system(Mailbox *box, Message *msg, bool *wake) {
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
        if (newest(head) == NULL) return NULL;
        /* acquire: pairs with push_user's release */
    } while (!atomic_compare_exchange_weak_explicit(&box->head, &head, AWAKE | (head & SYSTEM), memory_order_acquire,
                                                    memory_order_relaxed));
    uint32_t taken = atomic_load_explicit(&box->taken, memory_order_relaxed);
    atomic_store_explicit(&box->taken, taken + count_of(head), memory_order_relaxed);
    return turn_round(newest(head));
}

Message *mailbox_take_system(Mailbox *box) {
    if (!mailbox_has_system(box)) return NULL;
    /* The flag goes first: a message pushed after the lane was emptied sets it again. acquire: see push_system. */
    atomic_fetch_and_explicit(&box->head, ~SYSTEM, memory_order_acquire);
    return turn_round(atomic_exchange_explicit(&box->system, NULL, memory_order_acquire));
}

bool mailbox_sleep(Mailbox *box, bool held) {
    uint64_t head = atomic_load_explicit(&box->head, memory_order_relaxed), want;
    do {
        if (head & SYSTEM || (newest(head) != NULL && !held)) return false;
        want = (head & ~(AWAKE | HELD)) | (held ? HELD : 0);
        /* release: the next thread to run the owner sees what we did to it */
    } while (!atomic_compare_exchange_weak_explicit(&box->head, &head, want, memory_order_release,
                                                    memory_order_relaxed));
    return true;
}

void mailbox_close(Mailbox *box, Message **user, Message **system) {
    uint64_t head = atomic_exchange_explicit(&box->head, CLOSED | AWAKE, memory_order_acquire);
    *user = turn_round(newest(head));
    *system = turn_round(atomic_exchange_explicit(&box->system, SYSTEM_CLOSED, memory_order_acquire));
}

uint32_t mailbox_depth(const Mailbox *box) {
    return count_of(atomic_load_explicit(&box->head, memory_order_relaxed)) +
           atomic_load_explicit(&box->taken, memory_order_relaxed);
}
