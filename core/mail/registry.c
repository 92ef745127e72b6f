#include "mail/registry.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <uv.h>

#define CHUNK_BITS 12
#define CHUNK_SLOTS (1u << CHUNK_BITS)
#define NONE UINT32_MAX
#define CHUNKS (1u << (PID_SLOT_BITS - CHUNK_BITS))

typedef struct Chunk {
    Slot slots[CHUNK_SLOTS];
    SlotTally tallies[CHUNK_SLOTS];
} Chunk;
static_assert(sizeof(Slot) == 64, "a slot is one cache line");

/* Written once each, under the lock, with release; read without it. Never freed while the process runs. */
static _Atomic(Chunk *) chunks[CHUNKS];
static _Atomic uint32_t used; /* slots that were ever taken; written under the lock */
static _Atomic size_t alive;  /* written under the lock */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t *spare; /* under the lock: numbers of free slots, last freed on top, while its memory is warm */
static size_t spare_count, spare_room;

static Slot *slot_at(uint32_t number) {
    Chunk *chunk = atomic_load_explicit(&chunks[number >> CHUNK_BITS], memory_order_acquire);
    return chunk != NULL ? &chunk->slots[number & (CHUNK_SLOTS - 1)] : NULL;
}

/* Of a slot that was taken once: its chunk is there. */
static SlotTally *tally_at(uint32_t number) {
    Chunk *chunk = atomic_load_explicit(&chunks[number >> CHUNK_BITS], memory_order_acquire);
    return &chunk->tallies[number & (CHUNK_SLOTS - 1)];
}

/* The number of a slot that was never used, making its chunk if need be; NONE: no more, or no memory. Under the
 * lock. */
static uint32_t fresh(void) {
    uint32_t number = atomic_load_explicit(&used, memory_order_relaxed);
    if (number >= CHUNKS * CHUNK_SLOTS) return NONE;
    Chunk *chunk = atomic_load_explicit(&chunks[number >> CHUNK_BITS], memory_order_relaxed);
    if (chunk == NULL) {
        chunk = aligned_alloc(_Alignof(Chunk), sizeof *chunk);
        if (chunk == NULL) return NONE;
        for (uint32_t i = 0; i < CHUNK_SLOTS; i++) {
            Message *user, *system;
            chunk->slots[i] = (Slot){0};
            chunk->tallies[i] = (SlotTally){0};
            mailbox_close(&chunk->slots[i].box, &user, &system);
        }
        atomic_store_explicit(&chunks[number >> CHUNK_BITS], chunk, memory_order_release);
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
        Chunk *chunk = atomic_load_explicit(&chunks[number >> CHUNK_BITS], memory_order_relaxed); /* under the lock */
        SlotTally *tally = &chunk->tallies[number & (CHUNK_SLOTS - 1)];
        slot = &chunk->slots[number & (CHUNK_SLOTS - 1)];
        tally->generation++;
        atomic_store_explicit(&alive, count + 1, memory_order_relaxed);
        atomic_store_explicit(&slot->owner, owner, memory_order_relaxed);
        atomic_store_explicit(&slot->asks, 0, memory_order_relaxed); /* the former owner may have died waiting */
        atomic_store_explicit(&tally->dropped, 0, memory_order_relaxed);
        atomic_store_explicit(&tally->refused, 0, memory_order_relaxed);
        mailbox_open(&slot->box, mailbox_limit, mailbox_full, true);
        /* release: who finds the pid finds the owner and an open box */
        atomic_store_explicit(&slot->pid, pid_make(number, tally->generation), memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    *out = slot;
    return err;
}

void registry_remove(Slot *slot) {
    pthread_mutex_lock(&lock);
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
}

Slot *registry_find(uint64_t pid) {
    if (pid >> 52 != 0) return NULL; /* a ref, or another node's */
    Slot *slot = slot_at(pid_slot(pid));
    if (slot == NULL || pid == 0) return NULL;
    /* acquire: pairs with registry_add */
    return atomic_load_explicit(&slot->pid, memory_order_acquire) == pid ? slot : NULL;
}

SlotTally *registry_tally(uint64_t pid) { return tally_at(pid_slot(pid)); }

size_t registry_count(void) { return atomic_load_explicit(&alive, memory_order_relaxed); }

uint64_t registry_next(uint32_t *at) {
    uint32_t end = atomic_load_explicit(&used, memory_order_acquire);
    while (*at < end) {
        uint64_t pid = atomic_load_explicit(&slot_at((*at)++)->pid, memory_order_acquire);
        if (pid != 0) return pid;
    }
    return 0;
}
