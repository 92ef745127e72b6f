#include "mail/atom.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "ground/hash.h"

#define TABLE_SIZE (2u * (ATOM_MAX + 1)) /* at most half full, so a probe always ends */

typedef struct Atom {
    uint64_t hash;
    uint32_t id;
    uint32_t len;
    char text[];
} Atom;

/* Written under `adding`, with release: who sees the pointer sees the atom, which never changes. */
static _Atomic(Atom *) table[TABLE_SIZE];
static _Atomic(Atom *) by_id[ATOM_MAX + 1];
static uint32_t last_id; /* under `adding` */
static pthread_mutex_t adding = PTHREAD_MUTEX_INITIALIZER;

/* The atom, or NULL with *at the place it would take. */
static Atom *probe(uint64_t hash, const char *text, size_t len, uint32_t *at) {
    for (uint32_t i = (uint32_t)hash & (TABLE_SIZE - 1);; i = (i + 1) & (TABLE_SIZE - 1)) {
        Atom *a = atomic_load_explicit(&table[i], memory_order_acquire); /* pairs with the release in atom_intern */
        if (a == NULL || (a->hash == hash && a->len == len && memcmp(a->text, text, len) == 0)) {
            *at = i;
            return a;
        }
    }
}

uint32_t atom_find(const char *text, size_t len) {
    uint32_t at;
    if (len > ATOM_TEXT_MAX) return 0;
    Atom *a = probe(hash_bytes(text, len), text, len, &at);
    return a != NULL ? a->id : 0;
}

uint32_t atom_intern(const char *text, size_t len) {
    uint32_t at, id = 0;
    if (len > ATOM_TEXT_MAX) return 0;
    uint64_t hash = hash_bytes(text, len);
    pthread_mutex_lock(&adding);
    Atom *a = probe(hash, text, len, &at);
    if (a != NULL) {
        id = a->id;
    } else if (last_id < ATOM_MAX && (a = malloc(sizeof *a + len + 1)) != NULL) {
        a->hash = hash;
        a->id = id = ++last_id;
        a->len = (uint32_t)len;
        memcpy(a->text, text, len);
        a->text[len] = '\0';
        atomic_store_explicit(&by_id[id], a, memory_order_release);
        atomic_store_explicit(&table[at], a, memory_order_release);
    }
    pthread_mutex_unlock(&adding);
    return id;
}

const char *atom_text(uint32_t atom, size_t *len) {
    Atom *a = atom != 0 && atom <= ATOM_MAX ? atomic_load_explicit(&by_id[atom], memory_order_acquire) : NULL;
    if (len != NULL) *len = a != NULL ? a->len : 0;
    return a != NULL ? a->text : "";
}
