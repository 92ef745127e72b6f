/* pool.c - see pool.h. Three layers; a block wanders down only when the one above is full.
 *
 * 1. The cache: one a thread and class, no lock. Free blocks hang in a chain through their own first word.
 *    A chain that has grown to a magazine (CHAIN_BYTES of blocks) is set aside whole, so that crossing
 *    the border back and forth costs nothing; a second one moves on.
 * 2. The depot: one a class, under the class's lock. It holds magazines, and moving one in or out touches
 *    only its first block: blocks that one thread takes and another gives back never have their lines
 *    walked through while the lock is held.
 * 3. The slabs: SLAB_BYTES, aligned to their size, so that masking a block's address finds the header.
 *    Each belongs to one class and counts the blocks that are out. Blocks are cut from it as they are needed,
 *    so pages nobody asked for stay untouched; when the last block is home the slab leaves the class.
 *
 * Slabs stay off huge pages: measured with 100,000 spawns on a guest whose host backs memory as it is touched, huge
 * ones gave 20,000 to 166,000 a second depending on what ran before, small ones 76,000 to 89,000; messages among
 * them ran alike.
 * Lock order: a class's lock, then the spares'. */
#include "ground/pool.h"
#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define POOL_PLAIN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define POOL_PLAIN 1
#endif
#endif

#define CLASSES 84

/* In units of 64 bytes: 1, 2, 3, 4; then four to a doubling up to 4096 bytes, sixteen up to 65536, where the VMs of
 * actors are: a class too large costs each of them. With m = units - 1, whose highest bit is k, a class is k and the
 * two or four bits below it. */
#define COARSE 20 /* classes up to 4096 bytes */

static inline unsigned class_of(size_t size) {
    unsigned m = (unsigned)((size - 1) / POOL_ALIGN);
    if (m < 4) return m;
    unsigned k = 31u - (unsigned)__builtin_clz(m);
    return k < 6 ? 4 * (k - 1) + (m >> (k - 2) & 3) : COARSE + 16 * (k - 6) + (m >> (k - 4) & 15);
}

static inline size_t class_size(unsigned c) {
    if (c < 4) return (size_t)POOL_ALIGN * (c + 1);
    if (c < COARSE) return (size_t)POOL_ALIGN * (5 + c % 4) << (c / 4 - 1);
    c -= COARSE;
    return (size_t)POOL_ALIGN * (17 + c % 16) << (c / 16 + 2);
}

static void *large_alloc(size_t size) {
    if (size > PTRDIFF_MAX - POOL_ALIGN) return NULL;
    return aligned_alloc(POOL_ALIGN, (size + POOL_ALIGN - 1) & ~(size_t)(POOL_ALIGN - 1));
}

size_t pool_round(size_t size) {
    if (size == 0) size = 1;
    if (size <= POOL_LARGEST) return class_size(class_of(size));
    if (size > PTRDIFF_MAX - POOL_ALIGN) return size; /* pool_alloc will say no */
    return (size + POOL_ALIGN - 1) & ~(size_t)(POOL_ALIGN - 1);
}

#ifdef POOL_PLAIN

/* Under a sanitizer every block is malloc's, so that each use after free and each leak is seen. */
void *pool_alloc(size_t size) {
    return large_alloc(pool_round(size));
}

void pool_free(void *block, size_t size) {
    (void)size;
    free(block);
}

void pool_thread_end(void) {}

size_t pool_held_bytes(void) {
    return 0;
}

#else

#include <pthread.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#define SLAB_BYTES ((size_t)2 << 20)
#define CHAIN_BYTES 16384  /* a magazine; a thread's cache holds at most two a class */
#define CHAIN_BLOCKS 256   /* ... and at most so many blocks */
#define CUT_BYTES 4096     /* cut from a slab at a time: a page's worth */
#define DEPOT_BYTES 524288 /* a class's depot holds no more */
#define AHEAD_BYTES 131072 /* pages asked for at a time */
#define SPARES 4           /* slabs kept without a class, against thrashing */

typedef struct Block Block;
struct Block {
    Block *next;  /* in its chain, or in its slab's free list */
    Block *below; /* first block of a magazine in the depot: the magazine below it */
};

typedef struct Slab Slab;
struct Slab {
    Slab *prev, *next; /* among its class's slabs that have something to give, or among the spares */
    Block *free;       /* blocks that came home */
    uint32_t uncut;    /* offset of the first block never cut */
    uint32_t out;      /* blocks not here: in use, in caches, in the depot */
    uint32_t class;
    uint32_t ready;    /* offset up to which its pages were asked for ahead */
};
static_assert(sizeof(Slab) <= POOL_ALIGN, "a slab's header takes the place of one small block");

/* room = blocks the chain may still take, so a chain has chain_blocks(class) - room; all zero = never used. */
typedef struct Cache {
    Block *chain;
    Block *magazine; /* a full chain set aside, or NULL */
    size_t room;
} Cache;

typedef struct Store {
    _Alignas(128) pthread_mutex_t lock; /* two lines: the prefetcher takes pairs */
    Block *depot;
    unsigned depot_count; /* magazines */
    Slab *open;           /* slabs with something to give */
} Store;

static _Thread_local Cache caches[CLASSES] __attribute__((tls_model("initial-exec")));

/* Adaptive: what is done under these locks is shorter than a sleep and a wake. */
static Store stores[CLASSES] = {[0 ... CLASSES - 1] = {.lock = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP}};

static pthread_mutex_t spares_lock = PTHREAD_MUTEX_INITIALIZER;
static Slab *spares;
static unsigned spares_count;
static atomic_size_t held; /* relaxed: a figure for people, it orders nothing */

static inline size_t chain_blocks(unsigned c) {
    size_t n = CHAIN_BYTES / class_size(c);
    return n == 0 ? 1 : n > CHAIN_BLOCKS ? CHAIN_BLOCKS : n;
}

static inline size_t depot_limit(unsigned c) {
    return DEPOT_BYTES / (chain_blocks(c) * class_size(c));
}

/* Aligned to its own size. Neighbours of a slab tend to fall into place by themselves; else map twice
 * as much and cut off both ends. */
static Slab *slab_map(void) {
    char *at = mmap(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return NULL;
    if ((uintptr_t)at % SLAB_BYTES != 0) {
        munmap(at, SLAB_BYTES);
        at = mmap(NULL, 2 * SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) return NULL;
        size_t before = -(uintptr_t)at % SLAB_BYTES;
        if (before > 0) munmap(at, before);
        munmap(at + before + SLAB_BYTES, SLAB_BYTES - before);
        at += before;
    }
    atomic_fetch_add_explicit(&held, SLAB_BYTES, memory_order_relaxed);
    return (Slab *)at;
}

static void slab_unmap(Slab *slab) {
    munmap(slab, SLAB_BYTES);
    atomic_fetch_sub_explicit(&held, SLAB_BYTES, memory_order_relaxed);
}

static void open_push(Store *store, Slab *slab) {
    slab->prev = NULL;
    slab->next = store->open;
    if (slab->next != NULL) slab->next->prev = slab;
    store->open = slab;
}

static void open_remove(Store *store, Slab *slab) {
    if (slab->next != NULL) slab->next->prev = slab->prev;
    if (slab->prev != NULL) slab->prev->next = slab->next;
    else store->open = slab->next;
}

/* The pages about to be cut, to be asked for many at a time: one by one, as they are touched, they cost twice as much.
 * Not a slab's first pages, which may be all that is ever used of it. With the lock held; the bytes, 0 = none. */
static size_t pages_ahead(Slab *slab, char **from) {
    if (slab->uncut < AHEAD_BYTES || slab->uncut <= slab->ready) return 0;
    size_t begin = slab->ready < AHEAD_BYTES ? AHEAD_BYTES : slab->ready, end = slab->uncut + AHEAD_BYTES;
    end = end > SLAB_BYTES ? SLAB_BYTES : end & ~(size_t)4095;
    slab->ready = (uint32_t)end;
    *from = (char *)slab + begin;
    return end - begin;
}

static inline bool slab_gives(const Slab *slab) {
    return slab->free != NULL || slab->uncut + class_size(slab->class) <= SLAB_BYTES;
}

/* A fresh slab for the class, with its lock held. */
static Slab *slab_open(Store *store, unsigned c) {
    pthread_mutex_lock(&spares_lock);
    Slab *slab = spares;
    if (slab != NULL) {
        spares = slab->next;
        spares_count--;
    }
    pthread_mutex_unlock(&spares_lock);
    if (slab == NULL) {
        slab = slab_map();
        if (slab == NULL) return NULL;
        madvise(slab, SLAB_BYTES, MADV_NOHUGEPAGE); /* advice only: a kernel without huge pages says no */
    }
    *slab = (Slab){.uncut = POOL_ALIGN, .class = c};
    open_push(store, slab);
    return slab;
}

/* Slabs that left their class, linked by `next`; called without a class's lock, for munmap is slow. */
static void slabs_release(Slab *list) {
    while (list != NULL) {
        Slab *slab = list;
        list = slab->next;
        pthread_mutex_lock(&spares_lock);
        bool keep = spares_count < SPARES;
        if (keep) {
            slab->next = spares;
            spares = slab;
            spares_count++;
        }
        pthread_mutex_unlock(&spares_lock);
        if (!keep) slab_unmap(slab);
    }
}

/* A chain goes home, with the lock held; slabs that are whole again are added to *whole. */
static void chain_home(Store *store, unsigned c, Block *chain, Slab **whole) {
    while (chain != NULL) {
        Block *block = chain;
        chain = block->next;
        Slab *slab = (Slab *)((uintptr_t)block & ~(SLAB_BYTES - 1));
        assert(slab->class == c && slab->out > 0); /* freed with the size it was taken with */
        (void)c;
        if (!slab_gives(slab)) open_push(store, slab);
        block->next = slab->free;
        slab->free = block;
        if (--slab->out == 0) {
            open_remove(store, slab);
            slab->next = *whole;
            *whole = slab;
        }
    }
}

/* Refills an empty cache; false when memory is short. */
static bool __attribute__((noinline)) refill(Cache *cache, unsigned c) {
    Store *store = &stores[c];
    size_t size = class_size(c), full = chain_blocks(c), count = 0;
    Block *chain = NULL;
    char *cut = NULL, *pages = NULL;
    size_t cut_count = 0, ahead = 0;

    assert(cache->chain == NULL);
    if (cache->magazine != NULL) {
        cache->chain = cache->magazine;
        cache->magazine = NULL;
        cache->room = 0;
        return true;
    }
    pthread_mutex_lock(&store->lock);
    if (store->depot != NULL) {
        chain = store->depot;
        store->depot = chain->below;
        store->depot_count--;
        count = full;
    } else {
        Slab *slab = store->open != NULL ? store->open : slab_open(store, c);
        if (slab == NULL) {
            pthread_mutex_unlock(&store->lock);
            return false;
        }
        if (slab->free != NULL) {
            Block *last = slab->free;
            chain = last;
            for (count = 1; count < full && last->next != NULL; count++) last = last->next;
            slab->free = last->next;
            last->next = NULL;
        } else {
            cut_count = (SLAB_BYTES - slab->uncut) / size;
            size_t most = size < CUT_BYTES ? CUT_BYTES / size : 1;
            if (most > full) most = full;
            if (cut_count > most) cut_count = most;
            cut = (char *)slab + slab->uncut;
            slab->uncut += (uint32_t)(cut_count * size);
            ahead = pages_ahead(slab, &pages);
            count = cut_count;
        }
        slab->out += (uint32_t)count;
        if (!slab_gives(slab)) open_remove(store, slab);
    }
    pthread_mutex_unlock(&store->lock);

    /* Outside the lock: it takes a while, and what we cut keeps the slab. Advice only: older kernels say no. */
    if (ahead > 0) madvise(pages, ahead, MADV_POPULATE_WRITE);
    /* What was just cut is chained outside the lock: this is where its pages are touched first. */
    for (size_t i = cut_count; i > 0; i--) {
        Block *block = (Block *)(cut + (i - 1) * size);
        block->next = chain;
        chain = block;
    }
    cache->chain = chain;
    cache->room = full - count;
    return true;
}

/* Makes room in a cache whose chain is full (or that was never used). */
static void __attribute__((noinline)) relieve(Cache *cache, unsigned c) {
    Block *surplus = cache->magazine;
    cache->magazine = cache->chain;
    cache->chain = NULL;
    cache->room = chain_blocks(c);
    if (surplus == NULL) return;

    Store *store = &stores[c];
    Slab *whole = NULL;
    pthread_mutex_lock(&store->lock);
    if (store->depot_count < depot_limit(c)) {
        surplus->below = store->depot;
        store->depot = surplus;
        store->depot_count++;
    } else {
        chain_home(store, c, surplus, &whole);
    }
    pthread_mutex_unlock(&store->lock);
    slabs_release(whole);
}

void *pool_alloc(size_t size) {
    if (size - 1 >= POOL_LARGEST) { /* 0 wraps */
        if (size != 0) return large_alloc(size);
        size = 1;
    }
    unsigned c = class_of(size);
    Cache *cache = &caches[c];
    if (cache->chain == NULL && !refill(cache, c)) return NULL;
    Block *block = cache->chain;
    cache->chain = block->next;
    cache->room++;
    return block;
}

void pool_free(void *memory, size_t size) {
    if (memory == NULL) return;
    if (size - 1 >= POOL_LARGEST) {
        if (size != 0) {
            free(memory);
            return;
        }
        size = 1;
    }
    unsigned c = class_of(size);
    Cache *cache = &caches[c];
    if (cache->room == 0) relieve(cache, c);
    Block *block = memory;
    block->next = cache->chain;
    cache->chain = block;
    cache->room--;
}

/* The depots go home too: who ends, or has nothing to do for long, leaves no free block behind that
 * would keep a slab. The thread may go on; its caches fill anew. */
void pool_thread_end(void) {
    for (unsigned c = 0; c < CLASSES; c++) {
        Cache *cache = &caches[c];
        Store *store = &stores[c];
        Slab *whole = NULL;
        pthread_mutex_lock(&store->lock);
        chain_home(store, c, cache->chain, &whole);
        chain_home(store, c, cache->magazine, &whole);
        while (store->depot != NULL) {
            Block *chain = store->depot;
            store->depot = chain->below;
            store->depot_count--;
            chain_home(store, c, chain, &whole);
        }
        pthread_mutex_unlock(&store->lock);
        *cache = (Cache){0};
        slabs_release(whole);
    }
}

size_t pool_held_bytes(void) {
    return atomic_load_explicit(&held, memory_order_relaxed);
}

#endif
