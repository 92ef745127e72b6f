#include "mail/names.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "ground/hash.h"

#define SHARDS 16

typedef struct Entry {
    struct Entry *next;
    uint64_t hash, pid;
    size_t len;
    char name[];
} Entry;

typedef struct Shard {
    pthread_mutex_t lock; /* guards the rest */
    Entry **buckets;
    size_t room, count;
} Shard;

static Shard shards[SHARDS] = {[0 ... SHARDS - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

static Shard *enter(uint64_t hash) {
    Shard *s = &shards[hash >> 60];
    pthread_mutex_lock(&s->lock);
    return s;
}

/* Where the entry's pointer is, or would be. */
static Entry **place(Shard *s, uint64_t hash, const char *name, size_t len) {
    Entry **at = &s->buckets[hash & (s->room - 1)];
    while (*at != NULL && !((*at)->hash == hash && (*at)->len == len && memcmp((*at)->name, name, len) == 0))
        at = &(*at)->next;
    return at;
}

static int make_room(Shard *s) {
    if (s->count < s->room) return 0;
    size_t room = s->room == 0 ? 16 : s->room * 2;
    Entry **buckets = calloc(room, sizeof *buckets);
    if (buckets == NULL) return s->room == 0 ? UV_ENOMEM : 0; /* longer chains work too */
    for (size_t i = 0; i < s->room; i++)
        for (Entry *e = s->buckets[i], *next; e != NULL; e = next) {
            next = e->next;
            e->next = buckets[e->hash & (room - 1)];
            buckets[e->hash & (room - 1)] = e;
        }
    free(s->buckets);
    s->buckets = buckets;
    s->room = room;
    return 0;
}

int names_add(const char *name, size_t len, uint64_t pid) {
    if (len == 0 || len > NAMES_TEXT_MAX) return UV_EINVAL;
    uint64_t hash = hash_bytes(name, len);
    Shard *s = enter(hash);
    int err = make_room(s);
    if (err == 0) {
        Entry **at = place(s, hash, name, len);
        Entry *e;
        if (*at != NULL) {
            err = UV_EEXIST;
        } else if ((e = malloc(sizeof *e + len)) == NULL) {
            err = UV_ENOMEM;
        } else {
            *e = (Entry){NULL, hash, pid, len};
            memcpy(e->name, name, len);
            *at = e;
            s->count++;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}

uint64_t names_find(const char *name, size_t len) {
    uint64_t hash = hash_bytes(name, len), pid = 0;
    Shard *s = enter(hash);
    if (s->room > 0) {
        Entry *e = *place(s, hash, name, len);
        if (e != NULL) pid = e->pid;
    }
    pthread_mutex_unlock(&s->lock);
    return pid;
}

void names_of(uint64_t pid, char *out) {
    *out = '\0';
    for (size_t i = 0; i < SHARDS && *out == '\0'; i++) {
        Shard *s = &shards[i];
        pthread_mutex_lock(&s->lock);
        for (size_t b = 0; b < s->room && *out == '\0'; b++)
            for (Entry *e = s->buckets[b]; e != NULL; e = e->next)
                if (e->pid == pid) {
                    memcpy(out, e->name, e->len);
                    out[e->len] = '\0';
                    break;
                }
        pthread_mutex_unlock(&s->lock);
    }
}

bool names_list(unsigned part, void (*each)(void *context, const char *name, size_t len, uint64_t pid),
                void *context) {
    if (part >= SHARDS) return false;
    Shard *s = &shards[part];
    pthread_mutex_lock(&s->lock);
    for (size_t b = 0; b < s->room; b++)
        for (Entry *e = s->buckets[b]; e != NULL; e = e->next) each(context, e->name, e->len, e->pid);
    pthread_mutex_unlock(&s->lock);
    return true;
}

int names_remove(const char *name, size_t len, uint64_t pid) {
    uint64_t hash = hash_bytes(name, len);
    int err = UV_ENOENT;
    Shard *s = enter(hash);
    if (s->room > 0) {
        Entry **at = place(s, hash, name, len), *e = *at;
        if (e != NULL && e->pid == pid) {
            *at = e->next;
            free(e);
            s->count--;
            err = 0;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}
