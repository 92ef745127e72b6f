/* How the loop sleeps and is woken.
 *
 * Whatever woke it, each round of uv_run passes before_sleep, and only there are jobs run and the timers turned; then
 * it says `asleep` and looks at both once more. Whoever submits a job, or adds a timer that is due sooner than all
 * others, leaves that behind under a mutex, and then looks at `asleep`; whoever is first to find it true takes it back
 * and signals. So while the loop is awake, a submit costs no system call, and while it sleeps only the first one does.
 *
 * No wake-up is lost: before_sleep sets `asleep` and then takes the mutex to look; the other leaves its work under the
 * same mutex and then reads `asleep`. If its turn at the mutex came first, the look finds the work. If the look came
 * first, the mutex makes the store of `asleep` visible to the read that follows. Hence relaxed atomics will do.
 *
 * The uv timer does nothing when it fires: it is there to end the sleep in time. */
#include "run/loop.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>
#include "ground/clock.h"
#include "run/scheduler.h"

typedef struct Job Job;
struct Job {
    Job *next;
    void (*run)(void *);
    void *argument;
};

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
#define SIGNALS (sizeof signals / sizeof signals[0])

/* The loop's thread alone touches these while it lives. */
static uv_loop_t loop;
static uv_async_t waker; /* but for uv_async_send, under wake_lock */
static uv_timer_t alarm_clock;
static uv_prepare_t sleeper;
static uv_signal_t signal_handles[SIGNALS];
static uint64_t planned; /* what alarm_clock was set to, clock_now time */

static LoopCalls calls;  /* written before the thread starts */
/* Who runs the loop leads. A leader that helps the scheduler lays that down meanwhile, and takes it up again unless the
 * other thread has: then it stands by. The lock is what makes the loop's data the next one's. */
static struct {
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    pthread_t threads[2];
    int count;   /* of threads: the second is started when it is needed first */
    bool led, over;
    bool wanted; /* who stands by is to lead, if nobody does */
} lead = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
/* Outlives the loop until the next one opens: a late caller finds it, though nothing fires any more. */
static Timers *timers;
/* Held while the wheel turns: in virtual time it is a worker that turns it, see loop_turn, and the loop's thread may
 * not have heard yet. */
static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;

static pthread_mutex_t jobs_lock = PTHREAD_MUTEX_INITIALIZER; /* holds these */
static Job *jobs, **jobs_end = &jobs;
static bool accepting; /* jobs, that is between open and close */
static bool ending;    /* the loop's thread is to end; set together with the end of accepting */

static pthread_mutex_t wake_lock = PTHREAD_MUTEX_INITIALIZER; /* holds waker_gone, so that no signal follows it */
static bool waker_gone = true;
static atomic_bool asleep;
static _Thread_local bool on_loop; /* the loop need not wake itself: before_sleep is still to come */

static void wake(void) {
    if (on_loop || !atomic_load_explicit(&asleep, memory_order_relaxed)) return;
    if (!atomic_exchange_explicit(&asleep, false, memory_order_relaxed)) return;
    pthread_mutex_lock(&wake_lock);
    if (!waker_gone) uv_async_send(&waker);
    pthread_mutex_unlock(&wake_lock);
}

/* ---- on the loop's thread ---- */

static void on_alarm(uv_timer_t *handle) { (void)handle; }

static void on_wake(uv_async_t *handle) { (void)handle; }

static void on_signal(uv_signal_t *handle, int signum) {
    (void)handle;
    calls.signal(signum);
}

static void on_fire(void *context, uint64_t owner, uint64_t tag) {
    (void)context;
    if (calls.timer != NULL) calls.timer(owner, tag);
}

static void on_sooner(void *context) {
    (void)context;
    wake();
}

/* Runs what was submitted up to now; what these jobs submit is for the next round, so that sockets get their turn.
 * Returns whether the loop is to end: then there will be no more jobs but those already submitted. */
static bool run_jobs(void) {
    pthread_mutex_lock(&jobs_lock);
    bool last = ending;
    Job *job = jobs;
    jobs = NULL;
    jobs_end = &jobs;
    pthread_mutex_unlock(&jobs_lock);
    while (job != NULL) {
        Job *next = job->next;
        job->run(job->argument);
        free(job);
        job = next;
    }
    return last;
}

static bool have_jobs(void) {
    pthread_mutex_lock(&jobs_lock);
    bool have = jobs != NULL || ending;
    pthread_mutex_unlock(&jobs_lock);
    return have;
}

static void close_handle(uv_handle_t *handle, void *unused) {
    (void)unused;
    if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

/* Also what jobs have opened and not closed: uv_run ends when nothing is open. */
static void close_handles(void) {
    pthread_mutex_lock(&wake_lock);
    waker_gone = true;
    pthread_mutex_unlock(&wake_lock);
    uv_walk(&loop, close_handle, NULL);
}

/* Sleep until `next` at most. uv counts in ms from its own idea of now, hence the update; rounded up, since to wake
 * early is to wake twice. */
static void plan(uint64_t next) {
    if (next == planned && (next == UINT64_MAX || uv_is_active((uv_handle_t *)&alarm_clock))) return;
    planned = next;
    if (next == UINT64_MAX) {
        uv_timer_stop(&alarm_clock);
        return;
    }
    uint64_t now = clock_now(), wait = next > now ? next - now : 0;
    uv_update_time(&loop);
    uv_timer_start(&alarm_clock, on_alarm, wait / CLOCK_NS_PER_MS + (wait % CLOCK_NS_PER_MS != 0), 0);
}

static void before_sleep(uv_prepare_t *handle) {
    (void)handle;
    /* Awake, or as good as: what comes from here on is seen below. */
    atomic_store_explicit(&asleep, false, memory_order_relaxed);
    if (run_jobs()) {
        close_handles();
        return;
    }
    pthread_mutex_lock(&turn_lock);
    uint64_t now = clock_tick();
    if (!clock_is_frozen()) timers_turn(timers, now);
    pthread_mutex_unlock(&turn_lock);
    atomic_store_explicit(&asleep, true, memory_order_relaxed);
    bool more = have_jobs();
    plan(more ? 0 : clock_is_frozen() ? UINT64_MAX : timers_next(timers));
}

/* False: the loop has ended. `back`: one that led comes back from helping, and need not be called to lead again. */
static bool take_lead(bool back) {
    pthread_mutex_lock(&lead.lock);
    while (!lead.over && (lead.led || !(back || lead.wanted))) {
        back = back && !lead.led; /* somebody took over: it stands by */
        pthread_cond_wait(&lead.changed, &lead.lock);
    }
    bool leads = !lead.over;
    lead.led = lead.led || leads;
    lead.wanted = false;
    pthread_mutex_unlock(&lead.lock);
    on_loop = leads;
    return leads;
}

static void lay_down_lead(bool over) {
    on_loop = false;
    pthread_mutex_lock(&lead.lock);
    lead.led = false;
    lead.over = lead.over || over;
    if (over) pthread_cond_broadcast(&lead.changed);
    pthread_mutex_unlock(&lead.lock);
}

static void *loop_main(void *back) {
    while (take_lead(back != NULL)) {
        back = NULL;
        bool owed = false, more = true;
        while (more && !owed) {
            more = uv_run(&loop, UV_RUN_ONCE) != 0;
            owed = scheduler_held();
        }
        if (owed && more) atomic_store_explicit(&asleep, false, memory_order_relaxed); /* before_sleep is to come */
        lay_down_lead(!more);
        if (owed) scheduler_help();
        back = &lead;
    }
    if (calls.thread_end != NULL) calls.thread_end();
    return NULL;
}

static int start_thread(bool leads) {
    int err = -pthread_create(&lead.threads[lead.count], NULL, loop_main, leads ? &lead : NULL);
    if (err == 0) pthread_setname_np(lead.threads[lead.count++], leads ? "throng-loop" : "throng-loop2");
    return err;
}

/* ---- what others call ---- */

static int handles_open(void) {
    int err = uv_async_init(&loop, &waker, on_wake);
    if (err < 0) return err;
    uv_timer_init(&loop, &alarm_clock);
    uv_prepare_init(&loop, &sleeper);
    uv_prepare_start(&sleeper, before_sleep);
    planned = UINT64_MAX;
    for (size_t i = 0; calls.signal != NULL && i < SIGNALS; i++) {
        err = uv_signal_init(&loop, &signal_handles[i]);
        if (err == 0) err = uv_signal_start(&signal_handles[i], on_signal, signals[i]);
        if (err < 0) return err;
    }
    return 0;
}

int loop_open(LoopCalls loop_calls) {
    pthread_mutex_lock(&jobs_lock);
    bool running = accepting;
    ending = false;
    pthread_mutex_unlock(&jobs_lock);
    if (running) return UV_EALREADY;

    calls = loop_calls;
    timers_free(timers);
    timers = timers_new(clock_now(), (TimersCalls){.fire = on_fire, .sooner = on_sooner});
    if (timers == NULL) return UV_ENOMEM;
    int err = uv_loop_init(&loop);
    if (err < 0) return err;
    err = handles_open();
    if (err < 0) goto fail;
    signal(SIGPIPE, SIG_IGN); /* who writes to a closed socket or pipe hears EPIPE; for good, also after close */
    atomic_store_explicit(&asleep, false, memory_order_relaxed);
    pthread_mutex_lock(&wake_lock);
    waker_gone = false;
    pthread_mutex_unlock(&wake_lock);
    pthread_mutex_lock(&lead.lock);
    lead.led = lead.over = lead.wanted = false;
    lead.count = 0;
    err = start_thread(true);
    pthread_mutex_unlock(&lead.lock);
    if (err < 0) goto fail;
    pthread_mutex_lock(&jobs_lock);
    accepting = true;
    pthread_mutex_unlock(&jobs_lock);
    return 0;
fail:
    close_handles();
    uv_run(&loop, UV_RUN_DEFAULT); /* lets them close */
    uv_loop_close(&loop);
    return err;
}

void loop_close(void) {
    pthread_mutex_lock(&jobs_lock);
    bool was_open = accepting;
    accepting = false;
    ending = was_open;
    pthread_mutex_unlock(&jobs_lock);
    if (!was_open) return;
    assert(!on_loop);
    wake();
    for (int i = 0; i < 2; i++) {
        /* The first ends when the loop does, and from then on nobody starts another. */
        pthread_mutex_lock(&lead.lock);
        bool there = i < lead.count;
        pthread_mutex_unlock(&lead.lock);
        if (there) pthread_join(lead.threads[i], NULL);
    }
    int err = uv_loop_close(&loop);
    assert(err == 0);
    (void)err;
}

int loop_submit(void (*run)(void *), void *argument) {
    Job *job = malloc(sizeof *job);
    if (job == NULL) return UV_ENOMEM;
    *job = (Job){.run = run, .argument = argument};
    pthread_mutex_lock(&jobs_lock);
    bool too_late = !accepting;
    if (!too_late) {
        *jobs_end = job;
        jobs_end = &job->next;
    }
    pthread_mutex_unlock(&jobs_lock);
    if (too_late) {
        free(job);
        return UV_ECANCELED;
    }
    wake();
    return 0;
}

typedef struct Errand {
    void (*run)(void *);
    void *argument;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool over;
} Errand;

static void run_errand(void *argument) {
    Errand *e = argument;
    e->run(e->argument);
    pthread_mutex_lock(&e->lock);
    e->over = true;
    pthread_cond_signal(&e->done);
    pthread_mutex_unlock(&e->lock);
}

int loop_call(void (*run)(void *), void *argument) {
    if (on_loop) {
        run(argument);
        return 0;
    }
    Errand e = {run, argument, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    int err = loop_submit(run_errand, &e);
    if (err < 0) return err;
    pthread_mutex_lock(&e.lock);
    while (!e.over) pthread_cond_wait(&e.done, &e.lock);
    pthread_mutex_unlock(&e.lock);
    pthread_mutex_destroy(&e.lock);
    pthread_cond_destroy(&e.done);
    return 0;
}

void loop_relieve(void) {
    pthread_mutex_lock(&lead.lock);
    if (!lead.led && !lead.over) {
        lead.wanted = true;
        if (lead.count < 2) start_thread(false); /* no thread to be had: the loop waits for the one it has */
        else pthread_cond_broadcast(&lead.changed);
    }
    pthread_mutex_unlock(&lead.lock);
}

struct uv_loop_s *loop_uv(void) {
    assert(on_loop);
    return &loop;
}

static void be_there(void *unused) { (void)unused; }

void loop_freeze(bool frozen) {
    pthread_mutex_lock(&turn_lock);
    if (frozen) clock_freeze();
    else clock_thaw();
    pthread_mutex_unlock(&turn_lock);
    if (!frozen) loop_submit(be_there, NULL); /* it plans anew; without memory, when it is woken next */
}

uint64_t loop_turn(uint64_t until) {
    pthread_mutex_lock(&turn_lock);
    uint64_t next = timers_next(timers);
    if (next <= until && clock_is_frozen()) {
        clock_advance(next);
        timers_turn(timers, next);
    }
    pthread_mutex_unlock(&turn_lock);
    return next;
}

TimerId loop_timer_add(uint64_t due_ns, uint64_t period_ns, uint64_t owner, uint64_t tag) {
    assert(timers != NULL);
    return timers_add(timers, due_ns, period_ns, owner, tag);
}

bool loop_timer_cancel(TimerId id) {
    assert(timers != NULL);
    return timers_cancel(timers, id);
}
