/* pool.h - memory for what comes and goes with every message and actor: blocks by size class.
 *
 * Blocks are 64-byte aligned. Each thread keeps a small cache of free blocks, so that the usual
 * allocation and free touch no lock; caches trade with a shared store in batches. A block may be
 * freed by another thread than the one that took it. Slabs that are free again go back to the system.
 * Sizes over POOL_LARGEST come from malloc. Threads: every function, from any thread.
 * The caller remembers the size: pool_free takes the size that pool_alloc was asked for (or any
 * size with the same pool_round). */
#ifndef GROUND_POOL_H
#define GROUND_POOL_H
#include <stddef.h>
#include <stdint.h>

#define POOL_ALIGN 64
#define POOL_LARGEST 65536

void  *pool_alloc(size_t size);             /* NULL when memory is short; gives */
void   pool_free(void *block, size_t size); /* takes; NULL is fine */
size_t pool_round(size_t size);             /* bytes really usable when asking for `size` */
void   pool_thread_end(void);               /* a thread that ends gives its cache back */
size_t pool_held_bytes(void);               /* taken from the system for slabs just now */
#endif
