/* map.h - a small hash table from 64-bit keys (never 0) to 64-bit values: one owner, no lock.
 * An empty map owns no memory. Linear probing, at most three quarters full; removal shifts back, so there are
 * no tombstones and the order of map_next changes with every write. */
#ifndef GROUND_MAP_H
#define GROUND_MAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct MapPair {
    uint64_t key, value;
} MapPair;

typedef struct Map {
    MapPair *pairs; /* NULL while empty */
    uint32_t room, count;
} Map;

int  map_put(Map *m, uint64_t key, uint64_t value); /* adds or replaces; 0 or UV_ENOMEM */
bool map_get(const Map *m, uint64_t key, uint64_t *value);
bool map_take(Map *m, uint64_t key, uint64_t *value); /* removes; `value` may be NULL */
/* Walks: start with *at = 0; false at the end. No writes in between. */
bool map_next(const Map *m, uint32_t *at, MapPair *out);
void map_clear(Map *m);
#endif
