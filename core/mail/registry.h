/* registry.h - from pid to mailbox: slots that are used again, in memory that never goes away.
 *
 * A slot is one cache line. Its pid says whose it is; a sender compares, pushes, and the receiver compares once more
 * (Message.to), so no lock and no reference count is needed on the way of a message.
 * The slot also says whom its actor waits for, while it does nothing else meanwhile: see actor/cycle.h.
 * What is seldom looked at lies apart, in the slot's tally.
 * Threads: find from any, without a lock; add and remove take one. */
#ifndef MAIL_REGISTRY_H
#define MAIL_REGISTRY_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mail/mailbox.h"
#include "mail/pid.h"

typedef struct Slot {
    _Alignas(64) Mailbox box;
    _Atomic uint64_t pid;      /* 0 while nobody lives here; written by registry_add and _remove */
    _Atomic(void *) owner;     /* what `wake` gets; written before pid and before the box opens */
    _Atomic uint64_t asks;  /* the request it waits for: the low 48 bits of its ref | its atom; 0 = none */
    _Atomic uint64_t asked; /* ... and whom it asked. Both written by the owner; an answer takes back `asks` */
} Slot;

typedef struct SlotKind { /* what an actor is, as people call it; it lives as long as the process */
    const char *name, *version;
} SlotKind;

typedef struct SlotTally {
    uint32_t generation; /* under the registry's lock */
    _Atomic uint32_t trimmed; /* when its mailbox was last trimmed by a pusher, as Mailbox.since */
    /* messages that its mailbox let go, and that it did not take; of this owner */
    _Atomic uint64_t dropped, refused;
    _Atomic(const SlotKind *) kind; /* its behaviour's; written by the owner (release), NULL before it is */
    _Atomic uint64_t ran; /* ns on workers, by samples; written by the watchdog. See actor/gauge.h */
} SlotTally;

/* registry.c's. Each is written once, under its lock, with release, and read without it; never freed. */
#define REGISTRY_CHUNK_BITS 12
#define REGISTRY_CHUNK_SLOTS (1u << REGISTRY_CHUNK_BITS)
typedef struct RegistryChunk {
    Slot slots[REGISTRY_CHUNK_SLOTS];
    SlotTally tallies[REGISTRY_CHUNK_SLOTS];
} RegistryChunk;
extern _Atomic(RegistryChunk *) registry_chunks[1u << (PID_SLOT_BITS - REGISTRY_CHUNK_BITS)];

/* Takes a slot for `owner`; its box opens awake (the caller queues the owner for its first turn). UV_EAGAIN: `limit`
 * are alive already; UV_ENOMEM. */
int      registry_add(void *owner, uint32_t mailbox_limit, MailboxFull mailbox_full, size_t limit, Slot **out);
/* From now on the pid is dead. The box must be closed already. The slot may be another's at once. True: there is a
 * visitor, who may have found the owner before, and may look at it until he leaves. */
bool     registry_remove(Slot *slot);
/* One visitor at a time, who looks at owners from outside: whom he finds alive after he came is not gone before he
 * left, in so far as who removes heeds what registry_remove says. */
void     registry_visit(bool comes);
/* The slot of a living actor of this node, or NULL. By the time the caller looks it may be dead, or another's. */
static inline Slot *registry_find(uint64_t pid) {
    if (pid >> 52 != 0 || pid == 0) return NULL; /* a ref, or another node's; or nobody */
    RegistryChunk *chunk =
        atomic_load_explicit(&registry_chunks[pid_slot(pid) >> REGISTRY_CHUNK_BITS], memory_order_acquire);
    if (chunk == NULL) return NULL;
    Slot *slot = &chunk->slots[pid_slot(pid) & (REGISTRY_CHUNK_SLOTS - 1)];
    /* acquire: pairs with registry_add */
    return atomic_load_explicit(&slot->pid, memory_order_acquire) == pid ? slot : NULL;
}
/* The owner of the slot, or NULL if it is not (any more) that pid's. */
static inline void *registry_owner(Slot *slot, uint64_t pid) {
    /* acquire: who reads the next owner reads below that the pid is another */
    void *owner = atomic_load_explicit(&slot->owner, memory_order_acquire);
    return atomic_load_explicit(&slot->pid, memory_order_acquire) == pid ? owner : NULL;
}
size_t   registry_count(void);
SlotTally *registry_tally(uint64_t pid); /* of its slot, whoever lives there now; the pid is, or was, of this node */
/* Walks the living: the pid in the first used slot from *at on, 0 at the end. A moment's view. */
uint64_t registry_next(uint32_t *at);

/* The owner waits from now on for the answer of `whom` to `ref`, and does nothing else. */
static inline void registry_ask(Slot *slot, uint64_t ref, uint64_t whom, uint32_t atom) {
    /* release: who reads this, and not the word it belongs to, finds the former word gone when it looks again */
    atomic_store_explicit(&slot->asked, whom, memory_order_release);
    atomic_store_explicit(&slot->asks, ref << 16 | atom, memory_order_seq_cst); /* see actor/cycle.h, 3 */
}
static inline bool registry_asks_ref(uint64_t asks, uint64_t ref) {
    return asks >> 16 == (ref & ((1ull << 48) - 1));
}
/* An answer to `ref` is about to be delivered. */
static inline void registry_answered(Slot *slot, uint64_t ref) {
    uint64_t asks = atomic_load_explicit(&slot->asks, memory_order_relaxed);
    /* relaxed: who asks because of that answer comes after it by the messages in between. It fails if the owner gave up
     * and asks another: then its word is not ours to take. */
    if (registry_asks_ref(asks, ref))
        atomic_compare_exchange_strong_explicit(&slot->asks, &asks, 0, memory_order_relaxed, memory_order_relaxed);
}
#endif
