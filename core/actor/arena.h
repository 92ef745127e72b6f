/* arena.h - the memory of one VM, counted and capped.
 *
 * Small blocks are cut from a few chunks that belong to the VM alone: its objects lie together, and the end of the VM
 * gives the chunks back without visiting a single object. Large blocks come one by one from the pool and are chained.
 * Threads: one at a time, whoever runs the VM. */
#ifndef ACTOR_ARENA_H
#define ACTOR_ARENA_H
#include <stddef.h>

#define ARENA_CLASSES 36
#define ARENA_SMALL 2048 /* bytes; larger blocks are the pool's */

typedef struct ArenaChunk ArenaChunk;
typedef struct ArenaLarge ArenaLarge;

typedef struct Arena {
    char *at, *end; /* what is left of the newest chunk */
    size_t used;    /* bytes in blocks that are in use, rounded to their class */
    size_t limit;   /* `used` never passes it */
    ArenaChunk *chunks;
    ArenaLarge *larges;
    void *free[ARENA_CLASSES]; /* freed small blocks, by class, linked through their first word */
} Arena;

void  arena_open(Arena *a, size_t limit);
void  arena_close(Arena *a); /* frees all blocks at once */
void *arena_alloc(void *arena, void *block, size_t old_size, size_t size); /* a lua_Alloc */
#endif
