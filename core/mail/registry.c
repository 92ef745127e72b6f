#include "mail/registry.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <uv.h>

#define NONE UINT32_MAX
#define CHUNKS (1u << (PID_SLOT_BITS - REGISTRY_CHUNK_BITS))

static_assert(sizeof(Slot) == 64, "a slot is one cache line");

_Atomic(RegistryChunk *) registry_chunks[CHUNKS];
static _Atomic uint32_t used; /* slots that were ever taken; written under the lock */
static _Atomic size_t alive;  /* written under the lock */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t *spare; /* under the lock: numbers of free slots, last freed on top, while its memory is warm */
static size_t spare_count, spare_room;
static bool visiting; /* under the lock */

/* Of a slot that was taken once. */
static RegistryChunk *chunk_of(uint32_t number) {
    return atomic_load_explicit(&registry_chunks[number >> REGISTRY_CHUNK_BITS], memory_order_acquire);
}
static SlotTally *tally_at(uint32_t number) {
    return &chunk_of(number)->tallies[number & (REGISTRY_CHUNK_SLOTS - 1)];
}

/* The number of a slot that was never used, making its chunk if need be; NONE: no more, or no memory. Under the
 * lock. */
static uint32_t fresh(void) {
    uint32_t number = atomic_load_explicit(&used, memory_order_relaxed);
    if (number >= CHUNKS * REGISTRY_CHUNK_SLOTS) return NONE;
    RegistryChunk *chunk = atomic_load_explicit(&registry_chunks[number >> REGISTRY_CHUNK_BITS], memory_order_relaxed);
    if (chunk == NULL) {
        chunk = aligned_alloc(_Alignof(RegistryChunk), sizeof *chunk);
        if (chunk == NULL) return NONE;
        for (uint32_t i = 0; i < REGISTRY_CHUNK_SLOTS; i++) {
            Message *user, *system;
            chunk->slots[i] = (Slot){0};
            chunk->tallies[i] = (SlotTally){0};
            mailbox_close(&chunk->slots[i].box, &user, &system);
        }
        atomic_store_explicit(&registry_chunks[number >> REGISTRY_CHUNK_BITS], chunk, memory_order_release);
    }
    atomic_store_explicit(&used, number + 1, memory_order_release);
    return number;
}

int registry_add(void *owner, uint32_t mailbox_limit, MailboxFull mailbox_full, size_t limit, Slot **out) {
    Slot *slot = NULL;
    uint32_t number = NONE;
    pthread_mutex_lock(&lock);
    size_t count = atomic_load_explicit(&alive, memory_order_relaxed);
    int err = count >= limit ? UV_EAGAIN : 0;
    if (err == 0) {
        number = spare_count > 0 ? spare[--spare_count] : fresh();
        if (number == NONE) err = UV_ENOMEM;
    }
    if (err == 0) {
        RegistryChunk *chunk = chunk_of(number);
        SlotTally *tally = &chunk->tallies[number & (REGISTRY_CHUNK_SLOTS - 1)];
        slot = &chunk->slots[number & (REGISTRY_CHUNK_SLOTS - 1)];
        tally->generation++;
        atomic_store_explicit(&alive, count + 1, memory_order_relaxed);
        /* release: see registry_owner */
        atomic_store_explicit(&slot->owner, owner, memory_order_release);
        atomic_store_explicit(&slot->asks, 0, memory_order_relaxed); /* the former owner may have died waiting */
        atomic_store_explicit(&tally->dropped, 0, memory_order_relaxed);
        atomic_store_explicit(&tally->refused, 0, memory_order_relaxed);
        atomic_store_explicit(&tally->kind, NULL, memory_order_relaxed);
        atomic_store_explicit(&tally->ran, 0, memory_order_relaxed);
        mailbox_open(&slot->box, mailbox_limit, mailbox_full, true);
        /* release: who finds the pid finds the owner and an open box */
        atomic_store_explicit(&slot->pid, pid_make(number, tally->generation), memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    *out = slot;
    return err;
}

bool registry_remove(Slot *slot) {
    pthread_mutex_lock(&lock);
    bool visited = visiting;
    uint32_t number = pid_slot(atomic_load_explicit(&slot->pid, memory_order_relaxed));
    atomic_store_explicit(&slot->pid, 0, memory_order_relaxed);
    atomic_store_explicit(&alive, atomic_load_explicit(&alive, memory_order_relaxed) - 1, memory_order_relaxed);
    if (tally_at(number)->generation < PID_GENERATION_MAX) { /* else it is never used again: pids do not alias */
        if (spare_count == spare_room) {
            size_t room = spare_room == 0 ? 1024 : spare_room * 2;
            uint32_t *more = realloc(spare, room * sizeof *spare);
            if (more != NULL) spare = more, spare_room = room;
        }
        if (spare_count < spare_room)
            spare[spare_count++] = number; /* without memory the slot is lost, not wrong */
    }
    pthread_mutex_unlock(&lock);
    return visited;
}

/* Under the lock: whoever was removed before is not found any more, and who is removed from now on hears of us. */
void registry_visit(bool comes) {
    pthread_mutex_lock(&lock);
    visiting = comes;
    pthread_mutex_unlock(&lock);
}

SlotTally *registry_tally(uint64_t pid) { return tally_at(pid_slot(pid)); }

size_t registry_count(void) { return atomic_load_explicit(&alive, memory_order_relaxed); }

uint64_t registry_next(uint32_t *at) {
    uint32_t end = atomic_load_explicit(&used, memory_order_acquire);
    while (*at < end) {
        const Slot *slot = &chunk_of(*at)->slots[*at & (REGISTRY_CHUNK_SLOTS - 1)];
        uint64_t pid = atomic_load_explicit(&slot->pid, memory_order_acquire);
        ++*at;
        if (pid != 0) return pid;
    }
    return 0;
}
