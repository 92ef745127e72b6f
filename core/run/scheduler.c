#include "run/scheduler.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/hash.h"
#include "ground/metrics.h"
#include "run/interrupt.h"
#include "run/worker.h"

#define SPIN_NS 30000      /* before sleeping: about what a wake costs the woken */
#define STEAL_MOST 128     /* tasks a thief takes at once */
#define JOIN_SECONDS 2
#define HELP_NS 100000     /* the loop's thread gives so much of its time to tasks, then others must wake up */
#define HELP_DEAR_NS 40000 /* turns that last longer on average are better left to a worker, though a wake costs both */

Workers workers;

static _Thread_local Worker *self __attribute__((tls_model("initial-exec"))); /* NULL on other threads */
static _Thread_local bool holding __attribute__((tls_model("initial-exec"))); /* see scheduler_hold */
static _Thread_local int held __attribute__((tls_model("initial-exec")));     /* tasks nobody was woken for */
static pthread_mutex_t idle_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the ways into and out of WORKER_IDLE */

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- the newborn ---- */

static int newborn_push(Newborn *n, Task *task) {
    int err = 0;
    pthread_mutex_lock(&n->lock);
    size_t count = atomic_load_explicit(&n->count, memory_order_relaxed);
    if (count == n->room) {
        size_t room = n->room == 0 ? 64 : n->room * 2;
        Task **tasks = malloc(room * sizeof *tasks);
        if (tasks == NULL) {
            err = UV_ENOMEM;
        } else {
            for (size_t i = 0; i < count; i++) tasks[i] = n->tasks[(n->first + i) & (n->room - 1)];
            free(n->tasks);
            n->tasks = tasks, n->room = room, n->first = 0;
        }
    }
    if (err == 0) {
        n->tasks[(n->first + count) & (n->room - 1)] = task;
        atomic_store_explicit(&n->count, count + 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&n->lock);
    return err;
}

/* Up to half (a thief, the oldest), or the newest one (the owner). */
static size_t newborn_take(Newborn *n, bool thief, Task **out, size_t most) {
    if (atomic_load_explicit(&n->count, memory_order_relaxed) == 0) return 0;
    pthread_mutex_lock(&n->lock);
    size_t count = atomic_load_explicit(&n->count, memory_order_relaxed);
    size_t take = !thief ? count > 0 : (count + 1) / 2;
    if (take > most) take = most;
    for (size_t i = 0; i < take; i++)
        out[i] = n->tasks[(thief ? n->first + i : n->first + count - 1 - i) & (n->room - 1)];
    if (thief && take > 0) n->first = (n->first + take) & (n->room - 1);
    atomic_store_explicit(&n->count, count - take, memory_order_relaxed);
    pthread_mutex_unlock(&n->lock);
    return take;
}

/* ---- ways in ---- */

static void hand_in(Task *task) {
    Task *top = atomic_load_explicit(&workers.handed_in, memory_order_relaxed);
    do task->next = top;
    /* seq_cst, with the load of `idle` below against fall_asleep's: either it sees our task or we see it idle */
    while (!atomic_compare_exchange_weak_explicit(&workers.handed_in, &top, task, memory_order_seq_cst,
                                                  memory_order_relaxed));
    if (holding) {
        held++; /* scheduler_help looks at `idle` */
        return;
    }
    if (atomic_load_explicit(&workers.idle, memory_order_seq_cst) > 0) worker_wake_one();
}

void scheduler_ready(Task *task) {
    /* Out of memory for a longer queue: the shared list needs none. */
    if (self == NULL || ring_push(&self->ready, task) < 0) hand_in(task);
}

void scheduler_born(Task *task) {
    if (self == NULL || newborn_push(&self->newborn, task) < 0) hand_in(task);
    else if (workers_shuffle(&workers)) worker_wake_one(); /* then everybody steals, however short the work */
}

/* May thieves take from its queues? */
static bool shares(const Worker *w) {
    return workers_shuffle(&workers) || atomic_load_explicit(&w->share, memory_order_relaxed);
}

/* All that was handed in goes to this worker; gives the first. */
static Task *take_handed_in(Worker *w) {
    if (atomic_load_explicit(&workers.handed_in, memory_order_relaxed) == NULL) return NULL;
    Task *newest = atomic_exchange_explicit(&workers.handed_in, NULL, memory_order_acquire); /* pairs with hand_in */
    Task *oldest = NULL;
    while (newest != NULL) {
        Task *older = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = older;
    }
    if (oldest == NULL) return NULL;
    for (Task *t = oldest->next, *next; t != NULL; t = next) {
        next = t->next;
        if (ring_push(&w->ready, t) < 0) hand_in(t);
    }
    return oldest;
}

/* ---- choosing ---- */

static void sow(Worker *w, uint64_t seed) {
    w->sown = seed;
    w->random = hash_mix(seed + (uint64_t)w->number + 1);
    w->picks = 0;
}

static uint64_t draw(Worker *w) {
    uint64_t seed = atomic_load_explicit(&workers.seed, memory_order_relaxed);
    if (__builtin_expect(seed != w->sown, 0)) sow(w, seed);
    return hash_mix(w->random += 0x9e3779b97f4a7c15u);
}

static Task *keep_rest(Worker *w, Task **tasks, size_t count) {
    if (count == 0) return NULL;
    metrics_add(METRIC_stolen, count);
    for (size_t i = 1; i < count; i++) scheduler_ready(tasks[i]);
    (void)w;
    return tasks[0];
}

static Task *steal(Worker *w) {
    Task *loot[STEAL_MOST];
    int all = workers_all(&workers);
    int start = (int)(draw(w) % (unsigned)all);
    for (int i = 0; i < all; i++) {
        Worker *v = &workers.all[(start + i) % all];
        /* acquire pairs with worker_start: the queues of a spare are there once it is on */
        if (v == w || atomic_load_explicit(&v->state, memory_order_acquire) == WORKER_OFF) continue;
        Task *task = ring_length(&v->late) > 0 ? ring_take(&v->late) : NULL;
        if (task != NULL) return keep_rest(w, &task, 1);
        if (!shares(v)) continue;
        size_t count = newborn_take(&v->newborn, true, loot, STEAL_MOST);
        if (count == 0) count = ring_take_half(&v->ready, loot, STEAL_MOST);
        if (count > 0) return keep_rest(w, loot, count);
    }
    return NULL;
}

static Task *pop_newborn(Worker *w) {
    Task *task;
    if (atomic_load_explicit(&w->newborn.count, memory_order_relaxed) == 0) return NULL; /* nearly always */
    return newborn_take(&w->newborn, false, &task, 1) == 1 ? task : NULL;
}

static Task *next_task(Worker *w) {
    Task *task = NULL;
    w->picks++;
    if (workers_shuffle(&workers)) { /* a shuffled schedule: any order is right */
        uint64_t whim = draw(w);
        if (whim % 4 == 0 && (task = ring_take(&w->ready)) != NULL) ring_push(&w->ready, task), task = NULL;
        if (whim % 7 == 0 && (task = ring_take(&w->late)) != NULL) return task;
        if (whim % 5 == 0 && (task = take_handed_in(w)) != NULL) return task;
        if (whim % 3 == 0 && (task = ring_take(&w->ready)) != NULL) return task;
    }
    if (atomic_load_explicit(&w->late_due, memory_order_relaxed)) {
        atomic_store_explicit(&w->late_due, false, memory_order_relaxed);
        if ((task = ring_take(&w->late)) != NULL) return task;
    }
    if (w->picks % 32 == 0 && (task = take_handed_in(w)) != NULL) return task;
    /* A storm of births must not starve the rest: every 16th turn the ready go first. */
    if (w->picks % 16 != 0 && (task = pop_newborn(w)) != NULL) return task;
    if ((task = ring_take(&w->ready)) != NULL) return task;
    if ((task = pop_newborn(w)) != NULL) return task;
    atomic_store_explicit(&w->drained, true, memory_order_relaxed);
    if (atomic_load_explicit(&w->share, memory_order_relaxed))
        atomic_store_explicit(&w->share, false, memory_order_relaxed);
    if ((task = take_handed_in(w)) != NULL) return task;
    if ((task = steal(w)) != NULL) return task;
    return ring_take(&w->late);
}

bool worker_has_work(const Worker *w) {
    return ring_length((Ring *)&w->ready) > 0 || ring_length((Ring *)&w->late) > 0 ||
           atomic_load_explicit(&w->newborn.count, memory_order_relaxed) > 0;
}

/* ---- sleeping and waking ---- */

/* IDLE -> RUNNING; false: somebody else was faster. Under idle_lock. */
static bool rouse(Worker *w) {
    if (atomic_load_explicit(&w->state, memory_order_relaxed) != WORKER_IDLE) return false;
    atomic_store_explicit(&w->state, WORKER_RUNNING, memory_order_relaxed);
    if (!w->spare) atomic_fetch_sub_explicit(&workers.idle, 1, memory_order_seq_cst);
    return true;
}

bool worker_wake_one(void) {
    Worker *woken = NULL;
    pthread_mutex_lock(&idle_lock);
    for (int i = 0; i < workers.count && woken == NULL; i++)
        if (rouse(&workers.all[i])) woken = &workers.all[i];
    pthread_mutex_unlock(&idle_lock);
    if (woken == NULL) return false;
    sem_post(&woken->wake);
    return true;
}

static void wait_for(sem_t *s) {
    while (sem_wait(s) != 0 && errno == EINTR) {}
}

static bool anything_to_take(void) {
    if (atomic_load_explicit(&workers.handed_in, memory_order_seq_cst) != NULL) return true;
    for (int i = 0; i < workers_all(&workers); i++) {
        Worker *v = &workers.all[i];
        if (atomic_load_explicit(&v->state, memory_order_acquire) == WORKER_OFF) continue;
        if (ring_length(&v->late) > 0 || (shares(v) && worker_has_work(v))) return true;
    }
    return false;
}

/* Nobody runs but this worker, which has nothing to do, and nothing is queued anywhere. Whoever else could make work of
 * himself is the loop's thread (signals and jobs): that counts as from outside. Under idle_lock: so of those who find
 * nothing at the same moment the last one sees that all others sleep. */
static bool all_rest(Worker *w) {
    bool rest = !w->spare && atomic_load_explicit(&workers.handed_in, memory_order_acquire) == NULL;
    for (int i = 0; i < workers_all(&workers) && rest; i++) {
        Worker *v = &workers.all[i];
        if (v != w) rest = atomic_load_explicit(&v->state, memory_order_acquire) != WORKER_RUNNING;
        rest = rest && !worker_has_work(v);
    }
    return rest;
}

/* In a node for tests, before it sleeps. True: there is work again. */
static bool rests(Worker *w) {
    pthread_mutex_lock(&idle_lock);
    bool rest = all_rest(w);
    pthread_mutex_unlock(&idle_lock);
    return rest && workers.calls.at_rest();
}

static void fall_asleep(Worker *w) {
    bool looked = workers.calls.at_rest == NULL;
    for (;;) {
        pthread_mutex_lock(&idle_lock);
        bool last = !looked && all_rest(w);
        if (!last) {
            atomic_store_explicit(&w->state, WORKER_IDLE, memory_order_relaxed);
            if (!w->spare) atomic_fetch_add_explicit(&workers.idle, 1, memory_order_seq_cst);
        }
        pthread_mutex_unlock(&idle_lock);
        if (!last) break;
        if (workers.calls.at_rest()) return;
        looked = true;
    }
    /* seq_cst against hand_in and scheduler_close: what they did before they looked at `idle` is seen here */
    if ((!w->spare && anything_to_take()) || atomic_load_explicit(&workers.stopping, memory_order_seq_cst)) {
        pthread_mutex_lock(&idle_lock);
        bool mine = rouse(w);
        pthread_mutex_unlock(&idle_lock);
        if (mine) {
            watchdog_rouse(); /* it may have seen us idle and gone to sleep in between */
            return;
        }
        /* else a waker's post is on its way */
    }
    wait_for(&w->wake);
    clock_tick();
    watchdog_rouse();
}

/* Spins a little, then sleeps. NULL: look everywhere again. */
static Task *idle(Worker *w) {
    uint64_t end = 0;
    if (workers.calls.at_rest != NULL && rests(w)) return NULL;
    for (int i = 1;; i++) {
        Task *task = take_handed_in(w);
        if (task != NULL || (task = steal(w)) != NULL) return task;
        if (atomic_load_explicit(&workers.stopping, memory_order_relaxed)) return NULL;
        if (i % 16 == 0) {
            uint64_t now = clock_real();
            if (end == 0) end = now + SPIN_NS;
            else if (now >= end) break;
        }
        for (int pause = 0; pause < 20; pause++) relax();
    }
    fall_asleep(w);
    return NULL;
}

/* Its tasks go to all others. */
static void give_up_tasks(Worker *w) {
    Task *task;
    while ((task = ring_take(&w->ready)) != NULL || (task = ring_take(&w->late)) != NULL ||
           (task = pop_newborn(w)) != NULL)
        hand_in(task);
}

/* Nobody is stuck any more: a spare sleeps. */
static void retire(Worker *w) {
    give_up_tasks(w);
    if (workers.calls.at_rest != NULL) worker_wake_one(); /* those who rest were not all that there was */
    fall_asleep(w);
}

/* ---- turns ---- */

/* Inlined, for each message that is alone in its turn pays for the call. */
static inline __attribute__((always_inline)) void turn(Worker *w, Task *task) {
    uint32_t slice = atomic_load_explicit(&w->slice, memory_order_relaxed);
    atomic_store_explicit(&w->slice, slice + 1, memory_order_relaxed);
    atomic_store_explicit(&w->running, task->id, memory_order_relaxed);
    if (atomic_load_explicit(&w->expired, memory_order_relaxed))
        atomic_store_explicit(&w->expired, false, memory_order_relaxed);
    metrics_add(METRIC_slices, 1);
    TaskTurn how = workers.calls.run(task);
    atomic_store_explicit(&w->running, 0, memory_order_relaxed);
    if (how == TASK_AGAIN) scheduler_ready(task);
    else if (how == TASK_LATE && ring_push(&w->late, task) < 0) hand_in(task);
}

/* ---- help ---- */

void scheduler_hold(bool hold) {
    /* relaxed: the helper is this thread, or one that has lost the loop to it, under the lock that goes with that */
    holding = hold && workers.all != NULL && workers.calls.at_rest == NULL && !workers_shuffle(&workers) &&
              atomic_load_explicit(&workers_helper(&workers)->state, memory_order_relaxed) == WORKER_OFF;
}

bool scheduler_held(void) {
    holding = false;
    return held > 0;
}

/* One task, while all workers sleep, and turns are short: any other is better off with a worker, for it would keep the
 * loop's thread from the loop, or have it do alone what several could. */
static bool may_help(Worker *w) {
    if (held != 1) return false;
    if (atomic_load_explicit(&workers.idle, memory_order_seq_cst) < workers.count) return false;
    if (w->dear <= HELP_DEAR_NS) return true;
    w->dear -= w->dear / 16; /* so that it is tried again */
    return false;
}

void scheduler_help(void) {
    Worker *w = workers_helper(&workers);
    Task *task = NULL;
    if (may_help(w)) {
        atomic_store_explicit(&workers.helping, pthread_self(), memory_order_relaxed);
        /* seq_cst: either we see `stopping`, or scheduler_close sees us. Who sees it finds the thread to interrupt. */
        atomic_store_explicit(&w->state, WORKER_RUNNING, memory_order_seq_cst);
        if (!atomic_load_explicit(&workers.stopping, memory_order_seq_cst)) task = take_handed_in(w);
        if (task == NULL) atomic_store_explicit(&w->state, WORKER_OFF, memory_order_release);
    }
    held = 0;
    if (task == NULL) {
        /* seq_cst: see hand_in */
        if (atomic_load_explicit(&workers.handed_in, memory_order_seq_cst) != NULL &&
            atomic_load_explicit(&workers.idle, memory_order_seq_cst) > 0)
            worker_wake_one();
        return;
    }
    uint64_t began = clock_real(), now;
    self = w;
    watchdog_rouse();
    do {
        turn(w, task);
        now = clock_real();
    } while (now - began < HELP_NS && !atomic_load_explicit(&workers.stopping, memory_order_relaxed) &&
             ((task = ring_take(&w->ready)) != NULL || (task = pop_newborn(w)) != NULL));
    w->dear = (7 * w->dear + (now - began)) / 8;
    self = NULL;
    give_up_tasks(w);
    /* release: who sees it off finds nothing left */
    atomic_store_explicit(&w->state, WORKER_OFF, memory_order_release);
}

/* ---- the thread ---- */

static void *work(void *argument) {
    Worker *w = argument;
    char name[16];
    snprintf(name, sizeof name, "throng-%s%d", w->spare ? "s" : "w", w->number % 1000);
    pthread_setname_np(pthread_self(), name);
    self = w;
    watchdog_rouse();
    while (!atomic_load_explicit(&workers.stopping, memory_order_relaxed)) {
        if (w->spare && atomic_load_explicit(&workers.stuck, memory_order_relaxed) == 0) {
            retire(w);
            continue;
        }
        Task *task = next_task(w);
        if (task == NULL) task = idle(w);
        if (task != NULL) turn(w, task);
    }
    self = NULL;
    workers.calls.thread_end();
    return NULL;
}

int worker_start(Worker *w) {
    if (atomic_load_explicit(&w->state, memory_order_relaxed) == WORKER_OFF) {
        /* release: thieves look at the queues once they see it on */
        atomic_store_explicit(&w->state, WORKER_RUNNING, memory_order_release);
        int err = pthread_create(&w->thread, NULL, work, w);
        if (err != 0) atomic_store_explicit(&w->state, WORKER_OFF, memory_order_relaxed);
        return uv_translate_sys_error(err);
    }
    pthread_mutex_lock(&idle_lock);
    bool slept = rouse(w);
    pthread_mutex_unlock(&idle_lock);
    if (slept) sem_post(&w->wake);
    return slept ? 0 : UV_EALREADY;
}

void scheduler_free(void) {
    for (int i = 0; workers.all != NULL && i < workers_all(&workers); i++) {
        Worker *w = &workers.all[i];
        ring_close(&w->ready);
        ring_close(&w->late);
        free(w->newborn.tasks);
        pthread_mutex_destroy(&w->newborn.lock);
        sem_destroy(&w->wake);
    }
    free(workers.all);
    sem_destroy(&workers.watchdog_wake);
    workers = (Workers){0};
}

int scheduler_open(int count, int spares, uint64_t seed, SchedulerCalls calls) {
    int err = UV_ENOMEM;
    size_t size = (size_t)(count + spares + 1) * sizeof(Worker);
    clock_tick(); /* the watchdog's first is still to come */
    workers = (Workers){.all = aligned_alloc(_Alignof(Worker), size), .seed = seed, .calls = calls};
    sem_init(&workers.watchdog_wake, 0, 0);
    if (workers.all == NULL) goto fail;
    memset(workers.all, 0, size);
    for (int i = 0; i <= count + spares; i++) { /* the last one is the helper */
        Worker *w = &workers.all[i];
        w->number = i;
        w->spare = i >= count;
        sow(w, seed);
        pthread_mutex_init(&w->newborn.lock, NULL);
        sem_init(&w->wake, 0, 0);
        *(i < count ? &workers.count : i < count + spares ? &workers.spares : &workers.helpers) += 1;
        if ((err = ring_open(&w->ready)) < 0 || (err = ring_open(&w->late)) < 0) goto fail;
    }
    if ((err = interrupt_open(calls.interrupt)) < 0) goto fail;
    if ((err = watchdog_open()) < 0) goto fail;
    for (int i = 0; i < count; i++)
        if ((err = worker_start(&workers.all[i])) < 0) {
            scheduler_close();
            return err;
        }
    return 0;
fail:
    scheduler_free();
    return err;
}

/* The loop's thread is in a turn. False: it does not come out of it until then. */
static bool helper_ended(const struct timespec *deadline) {
    Worker *w = workers_helper(&workers);
    while (workers.helpers > 0 && atomic_load_explicit(&w->state, memory_order_seq_cst) != WORKER_OFF) {
        struct timespec now, soon = {0, (long)CLOCK_NS_PER_MS};
        atomic_store_explicit(&w->expired, true, memory_order_relaxed);
        interrupt_send(worker_thread(&workers, w));
        nanosleep(&soon, NULL);
        clock_gettime(CLOCK_REALTIME, &now);
        if (now.tv_sec > deadline->tv_sec) return false;
    }
    return true;
}

int scheduler_close(void) {
    struct timespec deadline;
    bool stuck = false;
    atomic_store_explicit(&workers.stopping, true, memory_order_seq_cst); /* against fall_asleep */
    watchdog_close();
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += JOIN_SECONDS;
    for (int i = 0; i < workers.count + workers.spares; i++) {
        Worker *w = &workers.all[i];
        if (atomic_load_explicit(&w->state, memory_order_relaxed) == WORKER_OFF) continue;
        int err;
        do { /* a slice in an endless loop wants to be told, and may have to be told again */
            worker_start(w);
            atomic_store_explicit(&w->expired, true, memory_order_relaxed);
            interrupt_send(w->thread);
            struct timespec soon;
            clock_gettime(CLOCK_REALTIME, &soon);
            soon.tv_nsec += 10 * (long)CLOCK_NS_PER_MS;
            if (soon.tv_nsec >= (long)CLOCK_NS_PER_S) soon.tv_sec++, soon.tv_nsec -= (long)CLOCK_NS_PER_S;
            err = pthread_timedjoin_np(w->thread, NULL, &soon);
            clock_gettime(CLOCK_REALTIME, &soon);
            if (err != 0 && soon.tv_sec > deadline.tv_sec) break;
        } while (err != 0);
        stuck = stuck || err != 0;
    }
    stuck = !helper_ended(&deadline) || stuck;
    return stuck ? UV_ETIMEDOUT : 0;
}

/* ---- for running tasks ---- */

static __attribute__((noinline, cold)) bool expires_by_whim(void) { return draw(self) % 16 == 0; }

bool scheduler_expired(void) { /* small: asked several times a message */
    if (self == NULL) return false;
    if (__builtin_expect(workers_shuffle(&workers), 0) && expires_by_whim()) return true;
    return atomic_load_explicit(&self->expired, memory_order_relaxed);
}

void scheduler_expire(void) {
    if (self != NULL) atomic_store_explicit(&self->expired, true, memory_order_relaxed);
}

int scheduler_whim(int n) {
    return !workers_shuffle(&workers) || self == NULL ? -1 : (int)(draw(self) % (unsigned)n);
}

void scheduler_reseed(uint64_t seed) {
    atomic_store_explicit(&workers.seed, seed, memory_order_relaxed);
    if (self != NULL) sow(self, seed);
}

uint64_t scheduler_seed(void) { return atomic_load_explicit(&workers.seed, memory_order_relaxed); }

uint64_t scheduler_slice_since(void) {
    /* relaxed: for an estimate. A stale `aged` is another slice's number. */
    if (self == NULL || atomic_load_explicit(&self->aged, memory_order_relaxed) !=
                            atomic_load_explicit(&self->slice, memory_order_relaxed))
        return 0;
    return atomic_load_explicit(&self->since, memory_order_relaxed);
}

uint32_t scheduler_sampled(void) {
    if (self == NULL || atomic_load_explicit(&self->sampled, memory_order_relaxed) == 0) return 0;
    return atomic_exchange_explicit(&self->sampled, 0, memory_order_relaxed);
}

bool scheduler_runs(uint64_t id, uint64_t *since) {
    for (int i = 0; i < workers_all(&workers); i++) {
        Worker *w = &workers.all[i];
        if (atomic_load_explicit(&w->running, memory_order_relaxed) != id) continue;
        *since = atomic_load_explicit(&w->since, memory_order_relaxed);
        return true;
    }
    return false;
}

void scheduler_sample(uint32_t rate, uint64_t id) {
    /* relaxed: the watchdog may see it a tick late; a sample of another is sorted out by who takes it */
    if (rate != 0) atomic_store_explicit(&workers.samples, 0, memory_order_relaxed);
    atomic_store_explicit(&workers.sample_id, id, memory_order_relaxed);
    atomic_store_explicit(&workers.sample_rate, rate, memory_order_relaxed);
}

uint64_t scheduler_samples(void) { return atomic_load_explicit(&workers.samples, memory_order_relaxed); }

bool scheduler_asleep(void) {
    return atomic_load_explicit(&workers.idle, memory_order_relaxed) == workers.count; /* a moment's view */
}

int scheduler_workers(void) { return workers.count; }
