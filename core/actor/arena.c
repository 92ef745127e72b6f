#include "actor/arena.h"

#include <stdint.h>
#include <string.h>
#include "ground/pool.h"

/* Where sanitizers watch, every block is one of its own, so that they see what Lua does with it. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ONE_BY_ONE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ONE_BY_ONE 1
#endif
#endif
#ifndef ONE_BY_ONE
#define ONE_BY_ONE 0
#endif

#define FIRST_CHUNK 8192 /* a bare VM takes 5.3 KB, with the libraries' doors 6.5, a small behaviour 2 more */
#define NEXT_CHUNK 1024
#define LARGEST_CHUNK 32768

struct ArenaChunk {
    ArenaChunk *next;
    size_t size;
};

struct ArenaLarge { /* before each large block; 32 bytes, so the block stays 16-aligned */
    ArenaLarge *next, *before;
    size_t size; /* with this head, as asked of the pool */
    size_t unused;
};

/* Classes: 8 by 8 up to 128, where most of Lua's objects are; then steps of 16 up to 256, 64 up to 512, 128 up to
 * 1024, and 256 up to 2048: a bare state's own three blocks (1624, 1024 and 720 bytes) lie in the first chunk with the
 * rest. */
static unsigned class_of(size_t size) {
    if (size <= 128) return (unsigned)((size + 7) / 8 - 1);
    if (size <= 256) return (unsigned)(8 + (size + 15) / 16 - 1);
    if (size <= 512) return (unsigned)(20 + (size + 63) / 64 - 1);
    if (size <= 1024) return (unsigned)(24 + (size + 127) / 128 - 1);
    return (unsigned)(28 + (size + 255) / 256 - 1);
}
static size_t class_size(unsigned class) {
    if (class < 16) return (class + 1) * 8;
    if (class < 24) return (class - 7) * 16;
    if (class < 28) return (class - 19) * 64;
    return class < 32 ? (class - 23) * 128 : (class - 27) * 256;
}

static size_t rounded(size_t size) {
    return size <= ARENA_SMALL && !ONE_BY_ONE ? class_size(class_of(size)) : size + sizeof(ArenaLarge);
}

void arena_open(Arena *a, size_t limit) {
    memset(a, 0, sizeof *a);
    a->limit = limit;
}

void arena_close(Arena *a) {
    for (ArenaLarge *l = a->larges, *next; l != NULL; l = next) {
        next = l->next;
        pool_free(l, l->size);
    }
    for (ArenaChunk *c = a->chunks, *next; c != NULL; c = next) {
        next = c->next;
        pool_free(c, c->size);
    }
    arena_open(a, a->limit);
}

/* A new chunk with room for `need` bytes, growing slowly with what the VM holds already: one that is just over its
 * first chunk shall stay small. What is left of the old chunk goes to the free lists. */
static int add_chunk(Arena *a, size_t need) {
    size_t size = a->chunks == NULL ? FIRST_CHUNK : NEXT_CHUNK;
    while (a->chunks != NULL && size < LARGEST_CHUNK && size * 16 <= a->used) size *= 2;
    if (size < need + sizeof(ArenaChunk)) size = need + sizeof(ArenaChunk);
    size = pool_round(size);
    ArenaChunk *c = pool_alloc(size);
    if (c == NULL) return -1;
    while (a->end - a->at >= 8) {
        size_t left = (size_t)(a->end - a->at);
        unsigned class = left >= ARENA_SMALL ? ARENA_CLASSES - 1 : class_of(left);
        if (class_size(class) > left) class--;
        *(void **)a->at = a->free[class];
        a->free[class] = a->at;
        a->at += class_size(class);
    }
    c->next = a->chunks;
    c->size = size;
    a->chunks = c;
    a->at = (char *)c + sizeof *c;
    a->end = (char *)c + size;
    return 0;
}

static void *small_new(Arena *a, size_t size) {
    unsigned class = class_of(size);
    void *block = a->free[class];
    if (block != NULL) {
        a->free[class] = *(void **)block;
        return block;
    }
    size_t bytes = class_size(class);
    if ((size_t)(a->end - a->at) < bytes && add_chunk(a, bytes) < 0) return NULL;
    block = a->at;
    a->at += bytes;
    return block;
}

static void *large_new(Arena *a, size_t size) {
    if (size > SIZE_MAX - sizeof(ArenaLarge)) return NULL;
    ArenaLarge *l = pool_alloc(size + sizeof *l);
    if (l == NULL) return NULL;
    *l = (ArenaLarge){a->larges, NULL, size + sizeof *l, 0};
    if (a->larges != NULL) a->larges->before = l;
    a->larges = l;
    return l + 1;
}

static void large_free(Arena *a, void *block) {
    ArenaLarge *l = (ArenaLarge *)block - 1;
    if (l->next != NULL) l->next->before = l->before;
    if (l->before != NULL) l->before->next = l->next;
    else a->larges = l->next;
    pool_free(l, l->size);
}

static void *block_new(Arena *a, size_t size) {
    return size <= ARENA_SMALL && !ONE_BY_ONE ? small_new(a, size) : large_new(a, size);
}

static void block_free(Arena *a, void *block, size_t size) {
    if (size > ARENA_SMALL || ONE_BY_ONE) {
        large_free(a, block);
        return;
    }
    unsigned class = class_of(size);
    *(void **)block = a->free[class];
    a->free[class] = block;
}

void *arena_alloc(void *arena, void *block, size_t old_size, size_t size) {
    Arena *a = arena;
    if (block == NULL) { /* old_size is a type tag then */
        if (size == 0 || size > a->limit || a->used + rounded(size) > a->limit) return NULL;
        block = block_new(a, size);
        if (block != NULL) a->used += rounded(size);
        return block;
    }
    if (size == 0) {
        a->used -= rounded(old_size);
        block_free(a, block, old_size);
        return NULL;
    }
    size_t old_bytes = rounded(old_size), bytes = rounded(size);
    if (bytes == old_bytes && size <= ARENA_SMALL && !ONE_BY_ONE) return block;
    if (size > old_size && (size > a->limit || a->used - old_bytes + bytes > a->limit)) return NULL;
    void *moved = block_new(a, size);
    if (moved == NULL) return size > old_size ? NULL : block; /* see below */
    memcpy(moved, block, old_size < size ? old_size : size);
    block_free(a, block, old_size);
    a->used += bytes - old_bytes;
    return moved;
}
/* A block that could not shrink stays, though Lua will free it by its new, smaller size. A small one then serves a
 * smaller class; a large one that should have become small is still chained and freed with the VM, and serves as a
 * small block until then; a large one that stays large remembers its real size. `used` errs by the difference, on the
 * careful side. */
