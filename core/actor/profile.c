#include "actor/profile.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/actor.h"
#include "actor/gauge.h"
#include "ground/hash.h"
#include "mail/letter.h"
#include "run/scheduler.h"

#define FRAMES_MOST 60
#define LABEL_MOST 120
#define STACK_MOST ((FRAMES_MOST + 2) * LABEL_MOST)
#define STACKS_ROOM 16384          /* a power of two; half of them are used at most */
#define PLACES_ROOM 8192           /* the same */
#define TEXT_MOST ((size_t)2 << 20)

typedef struct Count { /* a stack, or (with another text behind the first) a function's place and its label */
    uint64_t hash, count;
    uint32_t len, key_len;
    char text[];
} Count;

typedef struct Counts {
    Count **table;
    size_t room, used;
} Counts;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the rest but profile_on */
static struct {
    Counts stacks, places;
    size_t text; /* bytes of all */
    uint64_t pid, samples, lost;
} profile;

_Atomic bool profile_on; /* written under the lock; relaxed: a sample more or less */

/* ---- texts that are counted ---- */

static int counts_open(Counts *c, size_t room) {
    c->table = calloc(room, sizeof *c->table);
    c->room = c->table != NULL ? room : 0;
    c->used = 0;
    return c->table != NULL ? 0 : UV_ENOMEM;
}

static void counts_close(Counts *c) {
    for (size_t i = 0; i < c->room; i++) free(c->table[i]);
    free(c->table);
    *c = (Counts){0};
}

/* The one with that key, made of `text` (of which the key is the beginning) if there is none and it has
 * `len` bytes, not 0; NULL: there is none, or no more room. */
static Count *counts_find(Counts *c, const char *text, size_t key_len, size_t len) {
    uint64_t hash = hash_bytes(text, key_len);
    size_t i = hash & (c->room - 1);
    for (; c->table[i] != NULL; i = (i + 1) & (c->room - 1)) {
        Count *e = c->table[i];
        if (e->hash == hash && e->key_len == key_len && memcmp(e->text, text, key_len) == 0) return e;
    }
    if (len == 0 || 2 * c->used >= c->room || profile.text + len > TEXT_MOST) return NULL;
    Count *e = malloc(sizeof *e + len);
    if (e == NULL) return NULL;
    *e = (Count){.hash = hash, .len = (uint32_t)len, .key_len = (uint32_t)key_len};
    memcpy(e->text, text, len);
    profile.text += len;
    c->used++;
    return c->table[i] = e;
}

/* ---- labels ---- */

/* Scripts have a hand in names: what would break a line of the folded form does not get in. */
static size_t clean(char *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (text[i] == ';' || text[i] == '\n' || text[i] == '\r' || (unsigned char)text[i] < ' ') text[i] = '_';
    return len;
}

/* "tick (guy.lua:12)". A function has many names, as it is called; the first one that is met stays. `otherwise`: what
 * to call it if it was called by C, which says no name, or NULL. */
static size_t label(lua_State *L, lua_Debug *ar, const char *otherwise, char *out) {
    char text[2 * LABEL_MOST];
    lua_getinfo(L, "Sn", ar);
    const char *name = ar->name != NULL ? ar->name : otherwise;
    int key_len, len;
    if (ar->what[0] == 'C') {
        len = snprintf(out, LABEL_MOST, "%s (C)", name != NULL ? name : "?");
        return clean(out, len < LABEL_MOST ? (size_t)len : LABEL_MOST - 1);
    }
    const char *file = strrchr(ar->short_src, '/');
    file = file != NULL ? file + 1 : ar->short_src;
    key_len = snprintf(text, LABEL_MOST, "%.60s:%d", file, ar->linedefined);
    if (ar->what[0] == 'm') name = "main chunk";
    len = key_len + snprintf(text + key_len, LABEL_MOST, "%.40s (%.60s:%d)", name != NULL ? name : "function", file,
                             ar->linedefined); /* all fits */
    Count *place = counts_find(&profile.places, text, (size_t)key_len, name != NULL ? (size_t)len : 0);
    const char *found = place != NULL ? place->text + place->key_len : text + key_len;
    size_t size = place != NULL ? place->len - place->key_len : (size_t)(len - key_len);
    memcpy(out, found, size);
    return clean(out, size);
}

/* The first call of the fiber is the platform's: what is above it are the actor's own, the handler first. */
typedef struct Stack {
    char frames[FRAMES_MOST][LABEL_MOST];
    size_t lens[FRAMES_MOST], count;
    bool cut;
} Stack;

/* The frames of one coroutine, the innermost first. Of a fiber `bottom` is the name of what handle.c called in it, or
 * ""; else NULL. */
static void add_frames(Stack *s, lua_State *L, int level, const char *bottom) {
    lua_Debug ar, next, last;
    for (; lua_getstack(L, level, &ar); level++) {
        bool outermost = !lua_getstack(L, level + 1, &next);
        if (bottom != NULL && outermost) return; /* handle.c's */
        bool first = bottom != NULL && !lua_getstack(L, level + 2, &last);
        if (s->count == FRAMES_MOST) {
            s->cut = true;
            return;
        }
        s->lens[s->count] = label(L, &ar, first && *bottom != '\0' ? bottom : NULL, s->frames[s->count]);
        s->count++;
    }
}

static size_t root(const Actor *a, char *out) {
    const Fiber *f = a->current;
    int name_len = 0;
    const char *name = "", *behaviour = a->behaviour->source->name;
    if (a->stage == ACTOR_ENDING) name = "terminate", name_len = 9;
    else if (f->kind == FIBER_FORK) name = "fork", name_len = 4;
    else if (f->msg == NULL) name = "between messages", name_len = 16;
    else name = letter_name(f->msg, &name_len);
    int len = snprintf(out, LABEL_MOST, "%.80s:%.*s", behaviour, name_len < 36 ? name_len : 36, name);
    return clean(out, len < LABEL_MOST ? (size_t)len : LABEL_MOST - 1);
}

void profile_take(lua_State *L, int event, uint32_t samples) {
    static Stack s; /* under the lock */
    static char text[STACK_MOST];
    Actor *a = actor_of(L);
    if (a->current == NULL) return;
    pthread_mutex_lock(&lock);
    if (!atomic_load_explicit(&profile_on, memory_order_relaxed) || (profile.pid != 0 && profile.pid != a->pid)) {
        pthread_mutex_unlock(&lock);
        return;
    }
    size_t len = root(a, text);
    char handler[LABEL_MOST + 8];
    const char *colon = memchr(text, ':', len);
    const Message *msg = a->current->msg;
    size_t name_len = colon != NULL ? len - (size_t)(colon + 1 - text) : 0;
    snprintf(handler, sizeof handler, "%s%.*s", msg != NULL && msg->kind == MESSAGE_START ? "" : "on_", (int)name_len,
             colon != NULL ? colon + 1 : "");
    if (msg == NULL || a->stage == ACTOR_ENDING) handler[0] = '\0';
    s.count = 0;
    s.cut = false;
    /* A call is heard of when a C function does it: that one was at work, and the new one not yet. */
    int level = event == LUA_HOOKCALL || event == LUA_HOOKTAILCALL;
    for (lua_State *at = L; at != NULL; at = vm_resumer(at)) {
        add_frames(&s, at, level, at == a->current->L ? handler : NULL);
        level = 0;
        if (at == a->current->L) break;
    }
    if (s.cut) len += (size_t)snprintf(text + len, 8, ";...");
    for (size_t i = s.count; i-- > 0;) {
        text[len++] = ';';
        memcpy(text + len, s.frames[i], s.lens[i]);
        len += s.lens[i];
    }
    Count *c = counts_find(&profile.stacks, text, len, len);
    profile.samples += samples;
    if (c != NULL) c->count += samples;
    else profile.lost += samples;
    pthread_mutex_unlock(&lock);
}

/* ---- begin and end ---- */

static void close_all(void) {
    counts_close(&profile.stacks);
    counts_close(&profile.places);
    profile.text = 0;
}

int profile_begin(uint32_t rate, uint64_t pid) {
    int err = UV_EBUSY;
    pthread_mutex_lock(&lock);
    if (!atomic_load_explicit(&profile_on, memory_order_relaxed)) {
        err = counts_open(&profile.stacks, STACKS_ROOM);
        if (err == 0) err = counts_open(&profile.places, PLACES_ROOM);
        if (err < 0) {
            close_all();
        } else {
            profile.pid = pid;
            profile.samples = profile.lost = 0;
            atomic_store_explicit(&profile_on, true, memory_order_relaxed);
            scheduler_sample(rate, pid);
        }
    }
    pthread_mutex_unlock(&lock);
    return err;
}

static int by_text(const void *x, const void *y) {
    const Count *a = *(Count *const *)x, *b = *(Count *const *)y;
    size_t len = a->len < b->len ? a->len : b->len, i = 0;
    while (i < len && a->text[i] == b->text[i]) i++;
    if (i == len) return (a->len > b->len) - (a->len < b->len);
    /* The border of a frame comes first: so stacks that begin with the same frames stand together. */
    int x_is = a->text[i] == ';' ? 0 : (unsigned char)a->text[i];
    int y_is = b->text[i] == ';' ? 0 : (unsigned char)b->text[i];
    return x_is - y_is;
}

/* The lines, sorted. NULL: no memory. */
static char *fold(size_t *size, uint64_t outside) {
    Counts *c = &profile.stacks;
    Count **all = malloc((c->used + 1) * sizeof *all);
    size_t n = 0, room = 128, len = 0;
    for (size_t i = 0; i < c->room && all != NULL; i++)
        if (c->table[i] != NULL) room += (all[n++] = c->table[i])->len + 24;
    char *text = all != NULL ? malloc(room) : NULL;
    if (text != NULL) {
        qsort(all, n, sizeof *all, by_text);
        if (profile.lost > 0) len += (size_t)sprintf(text + len, "(other) %llu\n", (unsigned long long)profile.lost);
        if (outside > 0) len += (size_t)sprintf(text + len, "(outside of Lua) %llu\n", (unsigned long long)outside);
        for (size_t i = 0; i < n; i++)
            len += (size_t)sprintf(text + len, "%.*s %llu\n", (int)all[i]->len, all[i]->text,
                                   (unsigned long long)all[i]->count);
    }
    free(all);
    *size = len;
    return text;
}

void profile_end(ProfileFound *out) {
    pthread_mutex_lock(&lock);
    scheduler_sample(0, 0);
    atomic_store_explicit(&profile_on, false, memory_order_relaxed);
    if (out != NULL) {
        uint64_t wanted = scheduler_samples();
        *out = (ProfileFound){.samples = profile.samples, .lost = profile.lost,
                              .outside = wanted > profile.samples ? wanted - profile.samples : 0};
        out->folded = fold(&out->len, out->outside);
    }
    close_all();
    pthread_mutex_unlock(&lock);
}
