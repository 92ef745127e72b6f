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

/* Classes: 8 by 8 up to 128, where most of Lua's objects are; then steps of 16 up to 256, 64 up to 512; above that few,
 * so that the lists of a small VM stay small, but the three blocks that each bare state has (1624, 1024 and 720 bytes)
 * fit. Looked up, not computed: half of what a block costs was finding its class. */
#define EIGHTH(size) (((size) + 7) / 8)
#define CLASS_OF_EIGHTH(e) \
    ((e) <= 16 ? (e) - 1 : (e) <= 32 ? 8 + ((e) + 1) / 2 - 1 : (e) <= 64 ? 20 + ((e) + 7) / 8 - 1 \
     : (e) <= 80 ? 28 : (e) <= 90 ? 29 : (e) <= 112 ? 30 : (e) <= 128 ? 31 : (e) <= 160 ? 32 : (e) <= 204 ? 33 : 34)
#define C1(e) CLASS_OF_EIGHTH(e)
#define C8(e) C1(e), C1(e + 1), C1(e + 2), C1(e + 3), C1(e + 4), C1(e + 5), C1(e + 6), C1(e + 7)
#define C64(e) C8(e), C8(e + 8), C8(e + 16), C8(e + 24), C8(e + 32), C8(e + 40), C8(e + 48), C8(e + 56)

static const uint8_t classes[ARENA_SMALL / 8 + 1] = {0, C64(1), C64(65), C64(129), C64(193)}; /* by EIGHTH(size) */
static const uint16_t class_sizes[ARENA_CLASSES] = {
    8,   16,  24,  32,  40,  48,  56,  64,  72,  80,  88,  96,  104, 112,  120,  128,  144,
    160, 176, 192, 208, 224, 240, 256, 320, 384, 448, 512, 640, 720, 896,  1024, 1280, 1632, 2048};

static inline unsigned class_of(size_t size) { return classes[EIGHTH(size)]; }
static inline size_t class_size(unsigned class) { return class_sizes[class]; }

static inline size_t rounded(size_t size) {
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

/* The slow ways stay out of arena_alloc, which then needs no stack frame. */
static __attribute__((noinline)) void *new_slow(Arena *a, size_t size) {
    if (size == 0 || size > a->limit || a->used + rounded(size) > a->limit) return NULL;
    void *block = block_new(a, size);
    if (block != NULL) a->used += rounded(size);
    return block;
}

static __attribute__((noinline)) void *free_slow(Arena *a, void *block, size_t old_size) {
    a->used -= rounded(old_size);
    block_free(a, block, old_size);
    return NULL;
}

static __attribute__((noinline)) void *move(Arena *a, void *block, size_t old_size, size_t size) {
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

void *arena_alloc(void *arena, void *block, size_t old_size, size_t size) {
    Arena *a = arena;
    if (block == NULL) { /* old_size is a type tag then */
        if (size - 1 >= ARENA_SMALL || ONE_BY_ONE) return new_slow(a, size); /* 0 wraps */
        unsigned class = class_of(size);
        size_t bytes = class_size(class);
        block = a->free[class];
        if (block == NULL || a->used + bytes > a->limit) return new_slow(a, size);
        a->free[class] = *(void **)block;
        a->used += bytes;
        return block;
    }
    if (size != 0) return move(a, block, old_size, size);
    if (old_size > ARENA_SMALL || ONE_BY_ONE) return free_slow(a, block, old_size);
    unsigned class = class_of(old_size);
    a->used -= class_size(class);
    *(void **)block = a->free[class];
    a->free[class] = block;
    return NULL;
}
/* A block that could not shrink stays, though Lua will free it by its new, smaller size. A small one then serves a
 * smaller class; a large one that should have become small is still chained and freed with the VM, and serves as a
 * small block until then; a large one that stays large remembers its real size. `used` errs by the difference, on the
 * careful side. */

void *arena_alloc_apart(void *arena, void *block, size_t old_size, size_t size) {
    Arena *a = arena;
    void *moved = NULL;
    if (size > 0) {
        size_t more = size + sizeof(ArenaLarge);
        if (size > a->limit || a->used + more > a->limit || (moved = large_new(a, size)) == NULL) return NULL;
        a->used += more;
        memset(moved, 0, size); /* what nobody writes, padding, shall not look like an address */
        if (block != NULL) memcpy(moved, block, old_size < size ? old_size : size);
    }
    if (block != NULL) {
        a->used -= ((ArenaLarge *)block - 1)->size;
        large_free(a, block);
    }
    return moved;
}

size_t arena_small_size(size_t size) { return size <= ARENA_SMALL && !ONE_BY_ONE ? class_size(class_of(size)) : 0; }
