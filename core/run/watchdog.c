/* The watchdog: once a millisecond, while any worker is busy, it ticks the clock and looks at how old each slice is
 * and at who has work to share. It never touches a task. See scheduler.h, 3 and 4. */
#include <errno.h>
#include <time.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/metrics.h"
#include "run/interrupt.h"
#include "run/loop.h"
#include "run/worker.h"

#define TICK_NS 1000000
#define QUIET_TICKS 10  /* without a busy worker, before it sleeps */
#define LONG_TICKS 10   /* a slice this old is ended though nobody waits, so that a kill is noticed */
#define STUCK_TICKS 20  /* a slice this old, though told to end, is stuck in C */
#define ENDLESS_TICKS 100 /* in a node for tests a slice this old is ended, and no younger one */
#define RELIEVE_TICKS 3 /* a slice this old keeps the loop's thread from the loop: another takes over */
#define LATE_TICKS 4    /* the late ones get a turn at least this often */

static pthread_t thread;

void watchdog_rouse(void) {
    /* seq_cst: whoever got busy wrote `idle` before; the watchdog reads it after it wrote `watchdog_sleeps` */
    if (atomic_load_explicit(&workers.watchdog_sleeps, memory_order_seq_cst) &&
        atomic_exchange_explicit(&workers.watchdog_sleeps, false, memory_order_seq_cst))
        sem_post(&workers.watchdog_wake);
}

static bool all_idle(void) {
    return atomic_load_explicit(&workers.idle, memory_order_seq_cst) == workers.count &&
           atomic_load_explicit(&workers_helper(&workers)->state, memory_order_seq_cst) == WORKER_OFF;
}

static void sleep_until_busy(void) {
    atomic_store_explicit(&workers.watchdog_sleeps, true, memory_order_seq_cst);
    if ((!all_idle() || atomic_load_explicit(&workers.stopping, memory_order_seq_cst)) &&
        atomic_exchange_explicit(&workers.watchdog_sleeps, false, memory_order_seq_cst))
        return; /* else a post is on its way */
    while (sem_wait(&workers.watchdog_wake) != 0 && errno == EINTR) {}
}

/* Does somebody want this worker's time? */
static bool wanted(Worker *w, bool sharing) {
    return sharing || worker_has_work(w) || w == workers_helper(&workers) ||
           atomic_load_explicit(&workers.handed_in, memory_order_relaxed) != NULL;
}

static void end_slice(Worker *w) {
    atomic_store_explicit(&w->expired, true, memory_order_relaxed);
    metrics_add(METRIC_preempted, 1);
    interrupt_send(worker_thread(&workers, w));
}

/* Ticks are about as often as samples can be had: with a rate below, every so many have one. */
static bool sample_is_due(uint32_t rate, uint64_t passed) {
    static uint64_t owed;
    if (rate == 0) return false;
    owed += passed * rate;
    if (rate < 1000 && owed < CLOCK_NS_PER_S) return false;
    owed = rate < 1000 ? owed % CLOCK_NS_PER_S : 0;
    return true;
}

/* One worker, once a tick, `passed` ns after the last. True: it is stuck. */
static bool look_at(Worker *w, uint64_t now, uint64_t passed, bool sample, bool sharing, bool *help) {
    uint32_t slice = atomic_load_explicit(&w->slice, memory_order_relaxed);
    uint64_t task = atomic_load_explicit(&w->running, memory_order_relaxed);
    w->age = task != 0 && slice == w->seen ? w->age + 1 : 0;
    w->seen = slice;
    bool tests = workers.calls.at_rest != NULL;
    if (w->age == 0) atomic_store_explicit(&w->since, now, memory_order_relaxed);
    else if (w->age == 1) atomic_store_explicit(&w->aged, slice, memory_order_relaxed);
    if (task != 0 && workers.calls.ran != NULL) workers.calls.ran(task, passed);
    uint64_t only = atomic_load_explicit(&workers.sample_id, memory_order_relaxed);
    sample = sample && task != 0 && (only == 0 || only == task);
    if (sample) {
        atomic_fetch_add_explicit(&w->sampled, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&workers.samples, 1, memory_order_relaxed);
    }
    if (tests ? w->age >= ENDLESS_TICKS && w->age % LONG_TICKS == 0
              : w->age >= 1 && (wanted(w, sharing) || w->age % LONG_TICKS == 0))
        end_slice(w);
    else if ((sample || w->age == 1) && !tests)
        interrupt_send(worker_thread(&workers, w)); /* to be seen: see scheduler_slice_since */

    bool late = ring_length(&w->late) > 0;
    w->late_age = late ? w->late_age + 1 : 0;
    if (w->late_age >= LATE_TICKS && !tests) {
        w->late_age = 0;
        atomic_store_explicit(&w->late_due, true, memory_order_relaxed);
    }

    bool stuck = w->age >= STUCK_TICKS + (tests ? ENDLESS_TICKS : 0);
    bool standing = !atomic_load_explicit(&w->drained, memory_order_relaxed) && worker_has_work(w);
    atomic_store_explicit(&w->drained, false, memory_order_relaxed);
    if (standing || (stuck && worker_has_work(w))) atomic_store_explicit(&w->share, true, memory_order_relaxed);
    if (standing || late || (stuck && worker_has_work(w))) *help = true;
    return stuck;
}

/* The loop's thread, if it is in a turn; true: it has been, since the last look. */
static bool look_at_helper(uint64_t now, uint64_t passed, bool sample, bool sharing, bool *help, int *stuck) {
    Worker *w = workers_helper(&workers);
    bool helped = atomic_load_explicit(&w->slice, memory_order_relaxed) != w->seen;
    /* acquire: its thread is the one that set this */
    if (atomic_load_explicit(&w->state, memory_order_acquire) == WORKER_OFF) {
        w->seen = atomic_load_explicit(&w->slice, memory_order_relaxed);
        return helped;
    }
    *stuck += look_at(w, now, passed, sample, sharing, help);
    if (w->age > 0 && w->age % RELIEVE_TICKS == 0) loop_relieve(); /* nothing, if somebody leads */
    return true;
}

/* As many spares on as there are workers stuck. */
static void match_spares(int stuck) {
    atomic_store_explicit(&workers.stuck, stuck, memory_order_relaxed);
    int on = 0;
    for (int i = workers.count; i < workers.count + workers.spares; i++)
        on += atomic_load_explicit(&workers.all[i].state, memory_order_relaxed) == WORKER_RUNNING;
    for (int i = workers.count; i < workers.count + workers.spares && on < stuck; i++)
        if (atomic_load_explicit(&workers.all[i].state, memory_order_relaxed) != WORKER_RUNNING)
            on += worker_start(&workers.all[i]) == 0;
}

static void *watch(void *unused) {
    (void)unused;
    int quiet = 0;
    bool help = false;
    uint64_t before = clock_real(), now;
    pthread_setname_np(pthread_self(), "throng-watch");
    while (!atomic_load_explicit(&workers.stopping, memory_order_relaxed)) {
        struct timespec tick = {0, TICK_NS};
        nanosleep(&tick, NULL);
        clock_tick();
        now = clock_real();
        bool sample = sample_is_due(atomic_load_explicit(&workers.sample_rate, memory_order_relaxed), now - before);
        bool sharing = help;
        int stuck = 0;
        help = false;
        for (int i = 0; i < workers.count + workers.spares; i++)
            if (atomic_load_explicit(&workers.all[i].state, memory_order_relaxed) == WORKER_RUNNING)
                stuck += look_at(&workers.all[i], now, now - before, sample, sharing, &help);
        bool helped = look_at_helper(now, now - before, sample, sharing, &help, &stuck);
        match_spares(stuck);
        before = now;
        if (help || atomic_load_explicit(&workers.handed_in, memory_order_relaxed) != NULL) worker_wake_one();
        quiet = all_idle() && stuck == 0 && !helped ? quiet + 1 : 0;
        if (quiet >= QUIET_TICKS) {
            sleep_until_busy();
            before = clock_real();
            quiet = 0;
        }
    }
    return NULL;
}

int watchdog_open(void) { return uv_translate_sys_error(pthread_create(&thread, NULL, watch, NULL)); }

void watchdog_close(void) {
    watchdog_rouse();
    pthread_join(thread, NULL);
}
