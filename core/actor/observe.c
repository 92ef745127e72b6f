#include "actor/observe.h"

#include "actor/gauge.h"
#include "actor/trace.h"
#include "ground/clock.h"
#include "ground/config.h"

#define SLOW_NS CLOCK_NS_PER_MS
#define TIMED_EVERY 8 /* a power of two */

_Atomic uint32_t observe_epoch;

void observe_changed(void) {
    static _Atomic uint32_t last;
    /* relaxed, release: see observe_slice. Two who change it at once leave one of both numbers: new either way, and
     * each looks at who is there after it was counted itself. */
    uint32_t next = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
    if (next == 0) next = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
    atomic_store_explicit(&observe_epoch, trace_any() || gauge_watched() ? next : 0, memory_order_release);
}

void observe_update(Actor *a, uint32_t epoch) {
    a->epoch = epoch;
    a->watched &= WATCH_NOTED;
    a->traces = trace_matches(a);
    if (a->traces != 0) a->watched |= WATCH_TRACED;
    if (gauge_watched()) a->watched |= WATCH_TIMED;
}

static uint32_t handler_of(const Actor *a, const Fiber *f) {
    uint32_t last = atomic_load_explicit(&a->last_atom, memory_order_relaxed);
    if (f->msg == NULL || last == HANDLER_TERMINATE) return last;
    /* Another fiber may have begun another one since. */
    switch ((MessageKind)f->msg->kind) {
    case MESSAGE_START: return HANDLER_INIT;
    case MESSAGE_DOWN: return HANDLER_DOWN;
    case MESSAGE_EXIT: return HANDLER_EXIT;
    default: return f->msg->name != 0 ? f->msg->name : HANDLER_OTHER;
    }
}

void observe_begin(Actor *a, Fiber *f) {
    f->traced = f->meant = 0;
    f->timed = false;
    f->began = f->paused = f->idle = 0;
    if (a->watched & WATCH_TIMED)
        f->timed = atomic_load_explicit(&a->handled, memory_order_relaxed) % TIMED_EVERY == 0;
    if (a->watched & WATCH_TRACED) {
        trace_in(a, f);
    }
    if (f->timed || f->traced != 0) f->began = clock_real();
}

void observe_end(Actor *a, Fiber *f) {
    if (f->began != 0) {
        uint64_t now = clock_real();
        if (f->traced != 0) trace_done(a, f, handler_of(a, f), TRACE_WELL, now - f->began);
        if (f->timed) gauge_timed(a, handler_of(a, f), now - f->began - f->idle);
        f->timed = false;
        f->began = f->idle = 0;
    }
    if (a->watched & WATCH_NOTED) {
        uint64_t now = clock_real();
        a->watched &= (uint8_t)~WATCH_NOTED;
        if (now > a->noted && now - a->noted >= SLOW_NS) gauge_slow_seen(a, handler_of(a, f), now - a->noted, true);
    }
}

void observe_pause(Actor *a, Fiber *f) {
    if (f->began != 0) f->paused = clock_real();
    if (f->msg != NULL && (a->watched & WATCH_NOTED)) { /* what it waits from now on is not its own time */
        uint64_t now = clock_real();
        a->watched &= (uint8_t)~WATCH_NOTED;
        if (now > a->noted && now - a->noted >= SLOW_NS) gauge_slow_seen(a, handler_of(a, f), now - a->noted, true);
    }
}

void observe_go_on(Fiber *f) {
    uint64_t now = clock_real();
    if (f->began != 0 && now > f->paused) f->idle += now - f->paused;
    f->paused = 0;
}

static void cut_off(Actor *a, Fiber *f, TraceEnd end) {
    uint64_t now = clock_real();
    if (f->paused != 0) observe_go_on(f);
    if (f->traced != 0) trace_done(a, f, handler_of(a, f), end, now - f->began);
    f->began = f->idle = 0;
}

void observe_failed(Actor *a, Fiber *f) {
    if (f->began != 0) cut_off(a, f, TRACE_FAILED);
}

void observe_ended(Actor *a, Fiber *f) {
    if (f->began != 0) cut_off(a, f, TRACE_CUT);
}

void observe_note(Actor *a) {
    if (a->watched & WATCH_NOTED || a->current == NULL || a->current->msg == NULL) return;
    uint64_t since = scheduler_slice_since();
    if (since == 0) return;
    /* Others may have come before it in this slice: then all that is known is that it runs now. */
    uint64_t begun =
        atomic_load_explicit(&a->handled, memory_order_relaxed) + (uint64_t)config.slice_messages - a->enough;
    a->noted = begun <= 1 ? since : clock_real();
    a->watched |= WATCH_NOTED;
}

void observe_goes_on(Actor *a, const Fiber *f) {
    uint64_t now = clock_real();
    if (f->msg != NULL && now > a->noted && now - a->noted >= SLOW_NS)
        gauge_slow_seen(a, handler_of(a, f), now - a->noted, false);
}
