#include "mail/groups.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "ground/hash.h"
#include "ground/map.h"
#include "mail/pid.h"

#define SHARDS 16
#define PIDS_FIRST 4

typedef struct Snapshot {
    _Atomic size_t holders; /* the group itself is one, while it keeps it */
    GroupMembers members;
} Snapshot;

/* Members stand in `pids` in the order of joining. Who leaves leaves a gap (0) behind; gaps go when they are as many
 * as the members. */
typedef struct Group {
    struct Group *next;
    uint64_t hash;
    uint64_t *pids;
    size_t used, room;  /* of `pids`, gaps among the used */
    Map places;         /* pid -> index in `pids` */
    Snapshot *snapshot; /* of the members as they are now, NULL until somebody wants one */
    size_t len;
    char name[];
} Group;

typedef struct Shard {
    pthread_mutex_t lock; /* guards the rest */
    Group **buckets;
    size_t room, count;
} Shard;

static Shard shards[SHARDS] = {[0 ... SHARDS - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

/* ---- finding; under the shard's lock ---- */

static Shard *enter(uint64_t hash) {
    Shard *s = &shards[hash >> 60];
    pthread_mutex_lock(&s->lock);
    return s;
}

/* Where the group's pointer is, or would be; the shard has buckets. */
static Group **place(Shard *s, uint64_t hash, const char *name, size_t len) {
    Group **at = &s->buckets[hash & (s->room - 1)];
    while (*at != NULL && !((*at)->hash == hash && (*at)->len == len && memcmp((*at)->name, name, len) == 0))
        at = &(*at)->next;
    return at;
}

static Group *find(Shard *s, uint64_t hash, const char *name, size_t len) {
    return s->room > 0 ? *place(s, hash, name, len) : NULL;
}

static int make_room(Shard *s) {
    if (s->count < s->room) return 0;
    size_t room = s->room == 0 ? 16 : s->room * 2;
    Group **buckets = calloc(room, sizeof *buckets);
    if (buckets == NULL) return s->room == 0 ? UV_ENOMEM : 0; /* longer chains work too */
    for (size_t i = 0; i < s->room; i++)
        for (Group *g = s->buckets[i], *next; g != NULL; g = next) {
            next = g->next;
            g->next = buckets[g->hash & (room - 1)];
            buckets[g->hash & (room - 1)] = g;
        }
    free(s->buckets);
    s->buckets = buckets;
    s->room = room;
    return 0;
}

/* ---- one group; under the shard's lock ---- */

static void snapshot_drop(Snapshot *s) {
    /* release: our reads are over before it is freed; acquire: so are everybody else's */
    if (s != NULL && atomic_fetch_sub_explicit(&s->holders, 1, memory_order_acq_rel) == 1) free(s);
}

static void group_changed(Group *g) {
    snapshot_drop(g->snapshot);
    g->snapshot = NULL;
}

/* Writes at most `room` members. */
static void group_copy(const Group *g, uint64_t *out, size_t room) {
    size_t count = 0;
    for (size_t i = 0; i < g->used && count < room; i++)
        if (g->pids[i] != 0) out[count++] = g->pids[i];
}

static void close_gaps(Group *g) {
    size_t used = 0;
    for (size_t i = 0; i < g->used; i++) {
        if (g->pids[i] == 0) continue;
        g->pids[used] = g->pids[i];
        map_put(&g->places, g->pids[used], used); /* the key is there: nothing is allocated */
        used++;
    }
    g->used = used;
}

static int group_add(Group *g, uint64_t pid) {
    if (map_get(&g->places, pid, NULL)) return UV_EEXIST;
    if (g->used == g->room) {
        size_t room = g->room == 0 ? PIDS_FIRST : g->room * 2;
        uint64_t *pids = realloc(g->pids, room * sizeof *pids);
        if (pids == NULL) return UV_ENOMEM;
        g->pids = pids;
        g->room = room;
    }
    int err = map_put(&g->places, pid, g->used);
    if (err < 0) return err;
    g->pids[g->used++] = pid;
    group_changed(g);
    return 0;
}

static int group_remove(Group *g, uint64_t pid) {
    uint64_t index;
    if (!map_take(&g->places, pid, &index)) return UV_ENOENT;
    g->pids[index] = 0;
    if (g->used >= 2 * PIDS_FIRST && g->used >= 2 * (size_t)g->places.count) close_gaps(g);
    group_changed(g);
    return 0;
}

static void group_free(Group *g) {
    snapshot_drop(g->snapshot);
    map_clear(&g->places);
    free(g->pids);
    free(g);
}

/* ---- what others call ---- */

static GroupsChanged changed; /* written before other threads exist */

void groups_open(GroupsChanged call) { changed = call; }

static void tell_change(int err, const char *name, size_t len, uint64_t pid, bool joined) {
    if (changed != NULL && err == 0 && pid_node(pid) == 0) changed(name, len, pid, joined);
}

int groups_join(const char *name, size_t len, uint64_t pid) {
    assert(pid != 0);
    if (len == 0 || len > GROUPS_TEXT_MAX) return UV_EINVAL;
    uint64_t hash = hash_bytes(name, len);
    Shard *s = enter(hash);
    int err = make_room(s);
    if (err == 0) {
        Group **at = place(s, hash, name, len), *g = *at;
        if (g != NULL) {
            err = group_add(g, pid);
        } else if ((g = calloc(1, sizeof *g + len)) == NULL) {
            err = UV_ENOMEM;
        } else {
            g->hash = hash;
            g->len = len;
            memcpy(g->name, name, len);
            if ((err = group_add(g, pid)) == 0) {
                *at = g;
                s->count++;
            } else {
                group_free(g);
            }
        }
    }
    tell_change(err, name, len, pid, true);
    pthread_mutex_unlock(&s->lock);
    return err;
}

int groups_leave(const char *name, size_t len, uint64_t pid) {
    uint64_t hash = hash_bytes(name, len);
    int err = UV_ENOENT;
    Shard *s = enter(hash);
    if (s->room > 0) {
        Group **at = place(s, hash, name, len), *g = *at;
        if (g != NULL) err = group_remove(g, pid);
        if (err == 0 && g->places.count == 0) {
            *at = g->next;
            s->count--;
            group_free(g);
        }
    }
    tell_change(err, name, len, pid, false);
    pthread_mutex_unlock(&s->lock);
    return err;
}

void groups_tell(void (*joined)(void *context, const char *name, size_t len, uint64_t pid), void *context) {
    for (size_t i = 0; i < SHARDS; i++) {
        Shard *s = &shards[i];
        pthread_mutex_lock(&s->lock);
        for (size_t b = 0; b < s->room; b++)
            for (const Group *g = s->buckets[b]; g != NULL; g = g->next)
                for (size_t m = 0; m < g->used; m++)
                    if (g->pids[m] != 0 && pid_node(g->pids[m]) == 0) joined(context, g->name, g->len, g->pids[m]);
        pthread_mutex_unlock(&s->lock);
    }
}

void groups_forget_node(uint32_t node) {
    for (size_t i = 0; i < SHARDS; i++) {
        Shard *s = &shards[i];
        pthread_mutex_lock(&s->lock);
        for (size_t b = 0; b < s->room; b++)
            for (Group **at = &s->buckets[b], *g; (g = *at) != NULL;) {
                for (size_t m = g->used; m-- > 0;) /* from behind: a removal may close gaps, but behind m none stay */
                    if (m < g->used && g->pids[m] != 0 && pid_node(g->pids[m]) == node) group_remove(g, g->pids[m]);
                if (g->places.count > 0) {
                    at = &g->next;
                    continue;
                }
                *at = g->next;
                s->count--;
                group_free(g);
            }
        pthread_mutex_unlock(&s->lock);
    }
}

int groups_hold(const char *name, size_t len, const GroupMembers **out) {
    uint64_t hash = hash_bytes(name, len);
    int err = 0;
    *out = NULL;
    Shard *s = enter(hash);
    Group *g = find(s, hash, name, len);
    if (g != NULL) {
        size_t count = g->places.count;
        Snapshot *snapshot = g->snapshot;
        if (snapshot == NULL && (snapshot = malloc(sizeof *snapshot + count * sizeof(uint64_t))) != NULL) {
            atomic_init(&snapshot->holders, 1);
            snapshot->members.count = count;
            group_copy(g, snapshot->members.pids, count);
            g->snapshot = snapshot;
        }
        if (snapshot == NULL) {
            err = UV_ENOMEM;
        } else {
            /* relaxed: the group holds it, under the lock, so it can't go meanwhile */
            atomic_fetch_add_explicit(&snapshot->holders, 1, memory_order_relaxed);
            *out = &snapshot->members;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}

void groups_drop(const GroupMembers *members) {
    if (members != NULL) snapshot_drop((Snapshot *)((char *)(uintptr_t)members - offsetof(Snapshot, members)));
}

size_t groups_copy(const char *name, size_t len, uint64_t *out, size_t room) {
    uint64_t hash = hash_bytes(name, len);
    size_t count = 0;
    Shard *s = enter(hash);
    Group *g = find(s, hash, name, len);
    if (g != NULL) {
        count = g->places.count;
        group_copy(g, out, room);
    }
    pthread_mutex_unlock(&s->lock);
    return count;
}

size_t groups_list(void *out, size_t room) {
    size_t used = 0;
    for (size_t i = 0; i < SHARDS; i++) {
        Shard *s = &shards[i];
        pthread_mutex_lock(&s->lock);
        for (size_t b = 0; b < s->room; b++)
            for (const Group *g = s->buckets[b]; g != NULL; g = g->next) {
                size_t size = GROUP_ENTRY_SIZE(g->len);
                if (used + size <= room) {
                    GroupEntry *e = (GroupEntry *)((char *)out + used);
                    e->count = g->places.count;
                    e->len = g->len;
                    memcpy(e->name, g->name, g->len);
                }
                used += size;
            }
        pthread_mutex_unlock(&s->lock);
    }
    return used;
}
