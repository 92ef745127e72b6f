/* registry.h - from pid to mailbox: slots that are used again, in memory that never goes away.
 *
 * A slot is one cache line. Its pid says whose it is; a sender compares, pushes, and the receiver compares once more
 * (Message.to), so no lock and no reference count is needed on the way of a message.
 * Threads: find from any, without a lock; add and remove take one. */
#ifndef MAIL_REGISTRY_H
#define MAIL_REGISTRY_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "mail/mailbox.h"
#include "mail/pid.h"

typedef struct Slot {
    _Alignas(64) Mailbox box;
    _Atomic uint64_t pid;      /* 0 while nobody lives here; written by registry_add and _remove */
    _Atomic(void *) owner;     /* what `wake` gets; written before pid and before the box opens */
    uint32_t number, generation; /* under the registry's lock */
} Slot;

/* Takes a slot for `owner`; its box opens awake (the caller queues the owner for its first turn). UV_EAGAIN: `limit`
 * are alive already; UV_ENOMEM. */
int      registry_add(void *owner, uint32_t mailbox_limit, size_t limit, Slot **out);
/* From now on the pid is dead. The box must be closed already. The slot may be another's at once. */
void     registry_remove(Slot *slot);
/* The slot of a living actor of this node, or NULL. By the time the caller looks it may be dead, or another's. */
Slot    *registry_find(uint64_t pid);
size_t   registry_count(void);
/* Walks the living: the pid in the first used slot from *at on, 0 at the end. A moment's view. */
uint64_t registry_next(uint32_t *at);
#endif
