#include "actor/parcel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define FORMAT 1
#define HEAD 5
#define ITEM_HEAD 24
#define NAME_MOST 200
#define PATH_MOST 4096

/* ---- making ---- */

typedef struct Bytes {
    char *at;
    size_t len, room;
} Bytes;

static char *more(Bytes *b, size_t n) {
    if (b->len + n > b->room) {
        size_t room = (b->len + n) * 2;
        char *at = realloc(b->at, room);
        if (at == NULL) return NULL;
        b->at = at, b->room = room;
    }
    b->len += n;
    return b->at + b->len - n;
}

static void put(char *p, uint64_t n, int bytes) {
    for (int i = 0; i < bytes; i++) p[i] = (char)(n >> 8 * i);
}

static uint64_t get(const char *p, int bytes) {
    uint64_t n = 0;
    while (bytes-- > 0) n = n << 8 | (unsigned char)p[bytes];
    return n;
}

static bool is_in(const Bytes *b, const char *name) {
    size_t at = HEAD, len = strlen(name);
    while (at < b->len) {
        const char *p = b->at + at;
        size_t name_len = (size_t)get(p, 2);
        if (name_len == len && memcmp(p + ITEM_HEAD, name, len) == 0) return true;
        at += ITEM_HEAD + name_len + (size_t)get(p + 2, 2) + (size_t)get(p + 4, 4);
    }
    return false;
}

/* What had the name before. */
static uint64_t was(const Behaviour *from, const char *name) {
    if (strcmp(from->source->name, name) == 0) return from->source->hash;
    for (size_t u = 0; u < from->use_count; u++)
        if (strcmp(from->uses[u]->name, name) == 0) return from->uses[u]->hash;
    return 0;
}

static int add(Bytes *b, const Source *s, const Behaviour *from, char *err, size_t err_size) {
    char *text;
    size_t len, name = strlen(s->name), path = strlen(s->path);
    if (s->built_in || is_in(b, s->name)) return 0;
    int result = source_read(s, &text, &len);
    if (result == UV_EAGAIN) snprintf(err, err_size, "%s: it was changed while it was read", s->path);
    else if (result < 0) snprintf(err, err_size, "%s: %s", s->path, uv_strerror(result));
    if (result < 0) return result;
    if (path > PATH_MOST) path = PATH_MOST;
    if (b->len + ITEM_HEAD + name + path + len > PARCEL_BYTES_MAX || name > NAME_MOST) {
        snprintf(err, err_size, "%s: with it, the files are more than %u bytes", s->path, PARCEL_BYTES_MAX);
        free(text);
        return UV_E2BIG;
    }
    char *p = more(b, ITEM_HEAD + name + path + len);
    if (p != NULL) {
        put(p, name, 2);
        put(p + 2, path, 2);
        put(p + 4, len, 4);
        put(p + 8, s->hash, 8);
        put(p + 16, was(from, s->name), 8);
        memcpy(p + ITEM_HEAD, s->name, name);
        memcpy(p + ITEM_HEAD + name, s->path, path);
        memcpy(p + ITEM_HEAD + name + path, text, len);
    }
    free(text);
    if (p == NULL) snprintf(err, err_size, "out of memory");
    return p != NULL ? 0 : UV_ENOMEM;
}

int parcel_pack(const Change *c, char **bytes, size_t *len, char *err, size_t err_size) {
    Bytes b = {0};
    size_t count = 0, before;
    int result = more(&b, HEAD) != NULL ? 0 : UV_ENOMEM;
    if (result < 0) snprintf(err, err_size, "out of memory");
    for (size_t i = 0; i < c->count && result == 0; i++) {
        const BehaviourPair *p = &c->pairs[i];
        for (size_t u = 0; u <= p->to->use_count && result == 0; u++) {
            before = b.len;
            result = add(&b, u == 0 ? p->to->source : p->to->uses[u - 1], p->from, err, err_size);
            count += b.len > before;
        }
    }
    if (result < 0) {
        free(b.at);
        return result;
    }
    b.at[0] = FORMAT;
    put(b.at + 1, count, 4);
    *bytes = b.at;
    *len = b.len;
    return 0;
}

/* ---- opening ---- */

static char *text_of(const char *bytes, size_t len) {
    return memchr(bytes, '\0', len) == NULL ? strndup(bytes, len) : NULL;
}

static int read_item(ParcelItem *item, const char *p, size_t left, size_t *whole) {
    if (left < ITEM_HEAD) return UV_EINVAL;
    size_t name = (size_t)get(p, 2), path = (size_t)get(p + 2, 2), len = (size_t)get(p + 4, 4);
    if (name == 0 || name > NAME_MOST || path > PATH_MOST || len > PARCEL_BYTES_MAX ||
        ITEM_HEAD + name + path + len > left)
        return UV_EINVAL;
    *item = (ParcelItem){text_of(p + ITEM_HEAD, name), text_of(p + ITEM_HEAD + name, path),
                         p + ITEM_HEAD + name + path, len, get(p + 8, 8), get(p + 16, 8)};
    *whole = ITEM_HEAD + name + path + len;
    return item->name != NULL && item->path != NULL && source_hash(item->text, len) == item->hash ? 0 : UV_EINVAL;
}

int parcel_open(Parcel *p, const char *bytes, size_t len) {
    *p = (Parcel){0};
    size_t count = len >= HEAD && bytes[0] == FORMAT ? (size_t)get(bytes + 1, 4) : PARCEL_MODULES_MAX + 1, at = HEAD;
    if (count > PARCEL_MODULES_MAX || count * ITEM_HEAD > len) return UV_EINVAL;
    p->items = calloc(count + 1, sizeof *p->items);
    if (p->items == NULL) return UV_ENOMEM;
    for (; p->count < count; p->count++) {
        size_t whole = 0;
        ParcelItem *item = &p->items[p->count];
        if (read_item(item, bytes + at, len - at, &whole) < 0 || parcel_find(p, item->name) != NULL) {
            p->count++; /* half of it may be there */
            parcel_close(p);
            return UV_EINVAL;
        }
        at += whole;
    }
    if (at == len) return 0;
    parcel_close(p);
    return UV_EINVAL;
}

void parcel_close(Parcel *p) {
    for (size_t i = 0; i < p->count; i++) {
        free(p->items[i].name);
        free(p->items[i].path);
    }
    free(p->items);
    *p = (Parcel){0};
}

const ParcelItem *parcel_find(const Parcel *p, const char *name) {
    for (size_t i = 0; p != NULL && i < p->count; i++)
        if (strcmp(p->items[i].name, name) == 0) return &p->items[i];
    return NULL;
}
