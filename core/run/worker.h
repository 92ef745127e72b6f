/* worker.h - one worker thread's data, between scheduler.c (which runs it) and watchdog.c (which watches it). */
#ifndef RUN_WORKER_H
#define RUN_WORKER_H
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include "run/ring.h"
#include "run/scheduler.h"

/* The newborn: the owner pushes and pops the newest, thieves take the oldest. A lock will do: a birth costs
 * microseconds. */
typedef struct Newborn {
    pthread_mutex_t lock; /* guards the rest but `count`, which is written under it and may be looked at without */
    Task **tasks;
    size_t first, room; /* a ring of `room`, a power of two */
    _Atomic size_t count;
} Newborn;

typedef enum {
    WORKER_OFF,     /* no thread (a spare not needed yet) */
    WORKER_RUNNING,
    WORKER_IDLE     /* asleep, or about to be; waiting for `wake` */
} WorkerState;

typedef struct Worker {
    Ring ready, late;
    Newborn newborn;
    /* written by the owner, relaxed: the watchdog only compares with what it saw last time */
    _Alignas(64) _Atomic uint32_t slice;
    _Atomic uint64_t running; /* the id of the task that runs; 0 = none */
    /* written by the owner (true) and the watchdog (false), relaxed: hints */
    _Atomic bool drained;
    _Alignas(64) _Atomic bool share; /* thieves welcome; set by the watchdog, cleared by the owner; a hint */
    _Atomic bool expired;   /* set by the watchdog, cleared by the owner at the start of a slice */
    _Atomic bool late_due;  /* the late ones have waited long enough; set by the watchdog, cleared by the owner */
    _Atomic uint32_t sampled; /* samples that are wanted; added to by the watchdog, cleared by the owner */
    /* written by the watchdog, relaxed: the slice that it found old, and when it saw that one first (written before) */
    _Atomic uint32_t aged;
    _Atomic uint64_t since;
    _Atomic int state; /* WorkerState; RUNNING -> IDLE by the owner, back by who wakes it; under the idle lock */
    sem_t wake;
    pthread_t thread;
    int number;
    bool spare;
    uint64_t random; /* the owner's */
    uint64_t sown;   /* the owner's: the seed that `random` began with */
    uint32_t picks;  /* the owner's */
    uint64_t dear;   /* the helper's: ns of its turns, on average */
    /* the watchdog's own */
    uint32_t seen, age, late_age;
} Worker;

typedef struct Workers {
    Worker *all;
    int count, spares, helpers; /* ordinary workers first, then spares, then the one helper: see scheduler_help */
    SchedulerCalls calls;
    _Atomic(Task *) handed_in;   /* from other threads, newest first */
    _Atomic int idle;            /* workers in state IDLE, spares not counted */
    _Atomic int stuck;           /* workers that the watchdog found stuck; written by it */
    _Atomic bool stopping;       /* written by scheduler_close */
    _Atomic uint32_t sample_rate; /* a second; 0 = nobody wants samples. These three by scheduler_sample */
    _Atomic uint64_t sample_id;   /* of that task alone; 0 = all */
    _Atomic uint64_t samples;     /* asked for; added to by the watchdog */
    _Atomic bool watchdog_sleeps; /* written by the watchdog (true) and who wakes it (false) */
    /* the loop's thread that helps, or helped last; relaxed: an interrupt that comes too late finds nothing to end */
    _Atomic pthread_t helping;
    sem_t watchdog_wake;
    /* Written by who opens, and by a worker in scheduler_reseed; relaxed: each takes it up when it draws next. */
    _Atomic uint64_t seed;
} Workers;

static inline int     workers_all(const Workers *all) { return all->count + all->spares + all->helpers; }
static inline Worker *workers_helper(const Workers *all) { return &all->all[all->count + all->spares]; }

static inline pthread_t worker_thread(const Workers *all, const Worker *w) {
    return w == workers_helper(all) ? atomic_load_explicit(&all->helping, memory_order_relaxed) : w->thread;
}

/* Is the schedule shuffled? */
static inline bool workers_shuffle(const Workers *all) {
    return atomic_load_explicit(&all->seed, memory_order_relaxed) != 0;
}

extern Workers workers;

bool worker_wake_one(void);          /* an idle worker, the lowest number first; false: nobody idles */
int  worker_start(Worker *w);        /* starts its thread */
bool worker_has_work(const Worker *w);

int  watchdog_open(void);
void watchdog_close(void);
void watchdog_rouse(void); /* somebody got busy: look again every millisecond */
#endif
