/* arena.h - the memory of one VM, counted and capped.
 *
 * Small blocks are cut from a few chunks that belong to the VM alone: its objects lie together, and the end of the VM
 * gives the chunks back without visiting a single object. Large blocks come one by one from the pool and are chained.
 * Threads: one at a time, whoever runs the VM. */
#ifndef ACTOR_ARENA_H
#define ACTOR_ARENA_H
#include <stddef.h>

#define ARENA_CLASSES 35
#define ARENA_SMALL 2048 /* bytes; larger blocks are the pool's */

typedef struct ArenaChunk ArenaChunk;
struct ArenaChunk { /* its blocks follow */
    ArenaChunk *next;
    size_t size; /* with this head */
};

typedef struct ArenaLarge ArenaLarge;
struct ArenaLarge { /* before each large block; 32 bytes, so the block stays 16-aligned */
    ArenaLarge *next, *before;
    size_t size; /* with this head, as asked of the pool */
    size_t unused;
};

typedef struct Arena {
    char *at, *end; /* what is left of the newest chunk */
    size_t used;    /* bytes in blocks that are in use, rounded to their class */
    _Atomic size_t shown; /* what others may know of `used`: written at times by the owner, relaxed */
    size_t limit;   /* `used` never passes it */
    ArenaChunk *chunks;
    ArenaLarge *larges;
    void *free[ARENA_CLASSES]; /* freed small blocks, by class, linked through their first word */
} Arena;

void  arena_open(Arena *a, size_t limit);
void  arena_close(Arena *a); /* frees all blocks at once */
void *arena_alloc(void *arena, void *block, size_t old_size, size_t size); /* a lua_Alloc */
/* The same with every block a large one, so that it is known which there are: for a VM that becomes an image. */
void *arena_alloc_apart(void *arena, void *block, size_t old_size, size_t size);

/* What a block of that size takes of a chunk, or 0: it is a large one. */
size_t arena_small_size(size_t size);
#endif
