#include "ground/map.h"

#include <stdlib.h>
#include <uv.h>
#include "ground/hash.h"

static uint32_t home(const Map *m, uint64_t key) { return (uint32_t)hash_mix(key) & (m->room - 1); }

static MapPair *find(const Map *m, uint64_t key) {
    if (m->count == 0) return NULL;
    for (uint32_t i = home(m, key);; i = (i + 1) & (m->room - 1)) {
        if (m->pairs[i].key == key) return &m->pairs[i];
        if (m->pairs[i].key == 0) return NULL;
    }
}

static void insert(Map *m, uint64_t key, uint64_t value) {
    uint32_t i = home(m, key);
    while (m->pairs[i].key != 0) i = (i + 1) & (m->room - 1);
    m->pairs[i] = (MapPair){key, value};
    m->count++;
}

static int resize(Map *m, uint32_t room) {
    Map bigger = {calloc(room, sizeof *bigger.pairs), room, 0};
    if (bigger.pairs == NULL) return UV_ENOMEM;
    for (uint32_t i = 0; i < m->room; i++)
        if (m->pairs[i].key != 0) insert(&bigger, m->pairs[i].key, m->pairs[i].value);
    free(m->pairs);
    *m = bigger;
    return 0;
}

int map_put(Map *m, uint64_t key, uint64_t value) {
    MapPair *there = find(m, key);
    if (there != NULL) {
        there->value = value;
        return 0;
    }
    if ((m->count + 1) * 4 > m->room * 3) {
        int err = resize(m, m->room == 0 ? 4 : m->room * 2);
        if (err < 0) return err;
    }
    insert(m, key, value);
    return 0;
}

bool map_get(const Map *m, uint64_t key, uint64_t *value) {
    MapPair *there = find(m, key);
    if (there != NULL && value != NULL) *value = there->value;
    return there != NULL;
}

/* Closes the hole at `i`: whoever probed over it moves back. */
static void remove_at(Map *m, uint32_t i) {
    uint32_t mask = m->room - 1;
    for (uint32_t j = (i + 1) & mask; m->pairs[j].key != 0; j = (j + 1) & mask) {
        uint32_t want = home(m, m->pairs[j].key);
        if (((j - want) & mask) >= ((j - i) & mask)) {
            m->pairs[i] = m->pairs[j];
            i = j;
        }
    }
    m->pairs[i].key = 0;
    m->count--;
    if (m->count == 0) map_clear(m);
    else if (m->room > 64 && m->count * 8 < m->room) resize(m, m->room / 2); /* failing to shrink is fine */
}

bool map_take(Map *m, uint64_t key, uint64_t *value) {
    MapPair *there = find(m, key);
    if (there == NULL) return false;
    if (value != NULL) *value = there->value;
    remove_at(m, (uint32_t)(there - m->pairs));
    return true;
}

bool map_next(const Map *m, uint32_t *at, MapPair *out) {
    while (*at < m->room) {
        MapPair *p = &m->pairs[(*at)++];
        if (p->key != 0) {
            *out = *p;
            return true;
        }
    }
    return false;
}

void map_clear(Map *m) {
    free(m->pairs);
    *m = (Map){0};
}
