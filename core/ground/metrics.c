#include "ground/metrics.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define CACHE_LINE 64

/* One thread's counters. Only the thread that holds the block writes it, so adding is a plain load and store, both
 * relaxed: atomics only because readers look at any time. A block is never reset and never freed: the next thread
 * that takes it counts on from where the last one stopped, and so the sums stay right. */
typedef struct Block Block;
struct Block {
    _Alignas(CACHE_LINE) _Atomic uint64_t counts[METRICS_COUNT];
    Block *next;  /* in `blocks`; set before the block is published, never after */
    Block *spare; /* in `spares`; under the lock */
};

static _Atomic(Block *) blocks; /* all there are; pushed under the lock, walked without it */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Block *spares; /* under the lock: blocks whose threads have ended */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key; /* only for its destructor: it tells us that a thread ends */
static bool have_key;

/* Where threads without a block count together: memory was short. */
static _Atomic uint64_t shared[METRICS_COUNT];

/* initial-exec: no call to find the thread's own, whether we are the program or a module of the specs. */
static _Thread_local __attribute__((tls_model("initial-exec"))) Block *mine;

/* The lock orders the old owner's last store before the new owner's first load. */
static void block_give(void *block) {
    Block *b = block;
    mine = NULL; /* another destructor may count still: it takes a block again, and this runs once more */
    pthread_mutex_lock(&lock);
    b->spare = spares;
    spares = b;
    pthread_mutex_unlock(&lock);
}

static void key_make(void) { have_key = pthread_key_create(&key, block_give) == 0; }

static Block *block_take(void) {
    pthread_once(&once, key_make);
    pthread_mutex_lock(&lock);
    Block *b = spares;
    if (b != NULL) {
        spares = b->spare;
    } else if ((b = aligned_alloc(CACHE_LINE, sizeof *b)) != NULL) {
        memset(b, 0, sizeof *b);
        b->next = atomic_load_explicit(&blocks, memory_order_relaxed); /* the lock keeps other pushers out */
        /* release: who finds the block finds zeros and `next` */
        atomic_store_explicit(&blocks, b, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    /* If this fails, the block is not taken over when the thread ends. Its counts stay all the same. */
    if (b != NULL && have_key) pthread_setspecific(key, b);
    return b;
}

/* Kept out of metrics_add, which then needs no stack frame. */
static __attribute__((noinline)) void add_first(Metric which, uint64_t by) {
    mine = block_take();
    if (mine != NULL) metrics_add(which, by);
    else atomic_fetch_add_explicit(&shared[which], by, memory_order_relaxed);
}

void metrics_add(Metric which, uint64_t by) {
    assert(which < METRICS_COUNT);
    Block *b = mine;
    if (__builtin_expect(b == NULL, 0)) {
        add_first(which, by);
        return;
    }
    uint64_t old = atomic_load_explicit(&b->counts[which], memory_order_relaxed);
    atomic_store_explicit(&b->counts[which], old + by, memory_order_relaxed);
}

uint64_t metrics_sum(Metric which) {
    assert(which < METRICS_COUNT);
    uint64_t sum = atomic_load_explicit(&shared[which], memory_order_relaxed);
    for (Block *b = atomic_load_explicit(&blocks, memory_order_acquire); b != NULL; b = b->next)
        sum += atomic_load_explicit(&b->counts[which], memory_order_relaxed);
    return sum;
}

const char *metrics_name(Metric which) {
    static const char *const names[] = {
#define X(name, text) #name,
        METRICS(X)
#undef X
    };
    assert(which < METRICS_COUNT);
    return names[which];
}

const char *metrics_text(Metric which) {
    static const char *const texts[] = {
#define X(name, text) text,
        METRICS(X)
#undef X
    };
    assert(which < METRICS_COUNT);
    return texts[which];
}

/* The text of a file of /proc, cut at `room` - 1 bytes; "" if it can't be read. */
static void read_text(const char *path, char *out, size_t room) {
    size_t used = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && used < room - 1) {
        ssize_t n = read(fd, out + used, room - 1 - used);
        if (n <= 0) break;
        used += (size_t)n;
    }
    if (fd >= 0) close(fd);
    out[used] = '\0';
}

/* "size resident shared ...", in pages */
uint64_t metrics_rss(void) {
    char text[128];
    read_text("/proc/self/statm", text, sizeof text);
    char *resident = strchr(text, ' ');
    return resident != NULL ? strtoull(resident, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* Not getrusage first: its figure counts what the process was before exec as well. */
uint64_t metrics_rss_peak(void) {
    char text[4096];
    read_text("/proc/self/status", text, sizeof text);
    const char *line = strstr(text, "\nVmHWM:");
    if (line != NULL) return strtoull(line + strlen("\nVmHWM:"), NULL, 10) * 1024;
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}
