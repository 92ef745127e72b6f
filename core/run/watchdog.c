/* The watchdog: once a millisecond, while any worker is busy, it ticks the clock and looks at how old each slice is
 * and at who has work to share. It never touches a task. See scheduler.h, 3 and 4. */
#include <errno.h>
#include <time.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/metrics.h"
#include "run/interrupt.h"
#include "run/worker.h"

#define TICK_NS 1000000
#define QUIET_TICKS 10  /* without a busy worker, before it sleeps */
#define LONG_TICKS 10   /* a slice this old is ended though nobody waits, so that a kill is noticed */
#define STUCK_TICKS 20  /* a slice this old, though told to end, is stuck in C */
#define ENDLESS_TICKS 100 /* in a node for tests a slice this old is ended, and no younger one */
#define LATE_TICKS 4    /* the late ones get a turn at least this often */

static pthread_t thread;

void watchdog_rouse(void) {
    /* seq_cst: whoever got busy wrote `idle` before; the watchdog reads it after it wrote `watchdog_sleeps` */
    if (atomic_load_explicit(&workers.watchdog_sleeps, memory_order_seq_cst) &&
        atomic_exchange_explicit(&workers.watchdog_sleeps, false, memory_order_seq_cst))
        sem_post(&workers.watchdog_wake);
}

static bool all_idle(void) { return atomic_load_explicit(&workers.idle, memory_order_seq_cst) == workers.count; }

static void sleep_until_busy(void) {
    atomic_store_explicit(&workers.watchdog_sleeps, true, memory_order_seq_cst);
    if ((!all_idle() || atomic_load_explicit(&workers.stopping, memory_order_seq_cst)) &&
        atomic_exchange_explicit(&workers.watchdog_sleeps, false, memory_order_seq_cst))
        return; /* else a post is on its way */
    while (sem_wait(&workers.watchdog_wake) != 0 && errno == EINTR) {}
}

/* Does somebody want this worker's time? */
static bool wanted(Worker *w, bool sharing) {
    return sharing || worker_has_work(w) ||
           atomic_load_explicit(&workers.handed_in, memory_order_relaxed) != NULL;
}

static void end_slice(Worker *w) {
    atomic_store_explicit(&w->expired, true, memory_order_relaxed);
    metrics_add(METRIC_preempted, 1);
    interrupt_send(w->thread);
}

/* One worker, once a tick. True: it is stuck. */
static bool look_at(Worker *w, bool sharing, bool *help) {
    uint32_t slice = atomic_load_explicit(&w->slice, memory_order_relaxed);
    bool in_slice = atomic_load_explicit(&w->in_slice, memory_order_relaxed) != 0;
    w->age = in_slice && slice == w->seen ? w->age + 1 : 0;
    w->seen = slice;
    bool tests = workers.calls.at_rest != NULL;
    if (tests ? w->age >= ENDLESS_TICKS && w->age % LONG_TICKS == 0
              : w->age >= 1 && (wanted(w, sharing) || w->age % LONG_TICKS == 0))
        end_slice(w);

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
    pthread_setname_np(pthread_self(), "throng-watch");
    while (!atomic_load_explicit(&workers.stopping, memory_order_relaxed)) {
        struct timespec tick = {0, TICK_NS};
        nanosleep(&tick, NULL);
        clock_tick();
        bool sharing = help;
        int stuck = 0;
        help = false;
        for (int i = 0; i < workers.count + workers.spares; i++)
            if (atomic_load_explicit(&workers.all[i].state, memory_order_relaxed) == WORKER_RUNNING)
                stuck += look_at(&workers.all[i], sharing, &help);
        match_spares(stuck);
        if (help || atomic_load_explicit(&workers.handed_in, memory_order_relaxed) != NULL) worker_wake_one();
        quiet = all_idle() && stuck == 0 ? quiet + 1 : 0;
        if (quiet >= QUIET_TICKS) {
            sleep_until_busy();
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
