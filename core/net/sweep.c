#include "net/sweep.h"

#include <sched.h>
#include <stdatomic.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/config.h"
#include "net/conn.h"
#include "net/members.h"
#include "run/loop.h"
#include "run/scheduler.h"

#define SWEEP_MS 5
#define SWEEPS_IDLE 200   /* sweeps without a stir until they stop */
#define SPIN_WORTH_MOST 8
#define SPIN_SELDOM 16
#define FEW_BYTES 2048    /* that come at once */

static bool running;      /* these: the loop's thread */
static uv_timer_t timer, resume;
static uv_idle_t spin;
static unsigned idle;     /* sweeps */
static uint64_t spin_until, ns_per_us; /* of the setting: more by TLS */
static unsigned spin_worth, spin_skipped; /* of late it ended in time so often; since then so many were not begun */
static atomic_bool sweeping; /* the sweep's timer runs. See sweep_stir */
static atomic_bool stirred;  /* since the last sweep */

/* True: somebody's mailbox here is full, and other nodes wait to hear that it no longer is. */
static bool recheck_links(void) {
    uint32_t most = members_count();
    bool some = false;
    for (uint32_t i = 1; i <= most; i++) some = link_recheck(members_find(i)) || some;
    return some;
}

void sweep_links(void) {
    uint32_t most = members_count();
    for (uint32_t i = 1; i <= most; i++) link_flush(members_find(i));
}

static void on_sweep(uv_timer_t *unused) {
    (void)unused;
    bool waited_for = recheck_links();
    if (atomic_exchange_explicit(&stirred, false, memory_order_relaxed) || waited_for) idle = 0;
    else idle++;
    if (idle > SWEEPS_IDLE) {
        uv_timer_stop(&timer);
        atomic_store_explicit(&sweeping, false, memory_order_relaxed);
    }
    sweep_links();
}

static void start_sweep(void *unused) {
    (void)unused;
    if (!running) return;
    idle = 0;
    uv_timer_start(&timer, on_sweep, SWEEP_MS, SWEEP_MS);
}

/* Somebody put bytes down, under the link's lock, and then looks at `sweeping`; who stops the sweep clears it, and then
 * takes each link's lock to flush it. Whoever has the lock later sees what the other did: no bytes are left behind. */
void sweep_stir(void) {
    if (!atomic_load_explicit(&stirred, memory_order_relaxed))
        atomic_store_explicit(&stirred, true, memory_order_relaxed);
    if (atomic_load_explicit(&sweeping, memory_order_relaxed) ||
        atomic_exchange_explicit(&sweeping, true, memory_order_relaxed))
        return;
    if (loop_submit(start_sweep, NULL) < 0) atomic_store_explicit(&sweeping, false, memory_order_relaxed);
}

static void on_resume(uv_timer_t *unused) {
    (void)unused;
    for (Conn *c = conn_first(), *next; c != NULL; c = next) {
        next = conn_next(c);
        if (conn_link(c) == NULL) continue;
        int err = link_resume(conn_link(c));
        if (err < 0) conn_close(c, err == UV_EPROTO ? link_fault(conn_link(c)) : uv_strerror(err));
    }
    link_flush_all();
}

void sweep_paused(Link *l) {
    (void)l;
    if (!uv_is_active((uv_handle_t *)&resume)) uv_timer_start(&resume, on_resume, 1, 0);
}

/* Something came: more may come soon, so the loop looks again and again for a while, instead of sleeping: a wake costs
 * more than most answers take. Not while any worker is awake, which has better use for the core; and seldom where it
 * did not pay of late. */
static void on_spin(uv_idle_t *handle) {
    sched_yield(); /* on one core it may be the other node that has something to do */
    bool over = clock_now() > spin_until;
    if (!over && scheduler_asleep()) return;
    uv_idle_stop(handle);
    if (over && spin_worth > 0) spin_worth--;
}

void sweep_busy(size_t len) {
    /* A few messages: whom they are for is run by this thread, if nobody else is awake. More are worth waking somebody
     * at once, who takes the first while this one goes on reading. */
    scheduler_hold(len <= FEW_BYTES);
    if (config.net_spin == 0) return;
    if (!uv_is_active((uv_handle_t *)&spin)) {
        if (spin_worth == 0 && ++spin_skipped % SPIN_SELDOM != 0) return;
        uv_idle_start(&spin, on_spin);
    } else if (spin_worth < SPIN_WORTH_MOST) {
        spin_worth++;
    }
    spin_until = clock_now() + (uint64_t)config.net_spin * ns_per_us;
}

void sweep_open(bool tls) {
    /* The setting is enough for an answer of a node that sleeps, if it is plain. By TLS it would be just too short:
     * none would come in time, so both would sleep, and so it would stay. */
    ns_per_us = tls ? 2000 : 1000;
    uv_timer_init(loop_uv(), &timer);
    uv_timer_init(loop_uv(), &resume);
    uv_idle_init(loop_uv(), &spin);
    idle = spin_worth = spin_skipped = 0;
    running = true;
}

void sweep_close(void) {
    running = false;
    uv_close((uv_handle_t *)&timer, NULL);
    uv_close((uv_handle_t *)&resume, NULL);
    uv_close((uv_handle_t *)&spin, NULL);
}
