#include "actor/trace.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/gauge.h"
#include "actor/observe.h"
#include "ground/clock.h"
#include "mail/letter.h"

typedef struct Trace {
    pthread_mutex_t lock; /* guards what is not atomic */
    uint64_t pid;         /* of whom, or 0 */
    char behaviour[NAMES_TEXT_MAX + 1]; /* ... or of which */
    uint32_t number;      /* of all that were opened */
    /* written under `opening` and `lock`; looked at by workers without, to save them the lock */
    _Atomic bool on, alone; /* alone: it is one actor's */
    _Atomic uint32_t handler;
    _Alignas(64) _Atomic uint32_t taken; /* room that is used or promised to a `done` */
    _Atomic uint64_t dropped;
    uint32_t first, count;
    TraceEvent *events;     /* TRACE_ROOM of them; kept when it is off */
} Trace;

static Trace traces[TRACES_MOST] = {[0 ... TRACES_MOST - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
static uint32_t opened; /* under it */

const char *const trace_ways[] = {"in", "out", "done"};
const char *const trace_ends[] = {"well", "failed", "ended"};

/* ---- opening and closing ---- */

bool trace_any(void) {
    for (unsigned i = 0; i < TRACES_MOST; i++)
        if (atomic_load_explicit(&traces[i].on, memory_order_relaxed)) return true;
    return false;
}

int trace_open(const TraceFilter *filter, unsigned *id) {
    int err = UV_EAGAIN;
    pthread_mutex_lock(&opening);
    for (unsigned i = 0; i < TRACES_MOST && err == UV_EAGAIN; i++) {
        Trace *t = &traces[i];
        if (atomic_load_explicit(&t->on, memory_order_relaxed)) continue;
        if (t->events == NULL && (t->events = malloc(TRACE_ROOM * sizeof *t->events)) == NULL) {
            err = UV_ENOMEM;
            break;
        }
        pthread_mutex_lock(&t->lock);
        t->pid = filter->pid;
        atomic_store_explicit(&t->alone, filter->pid != 0, memory_order_relaxed);
        memset(t->behaviour, 0, sizeof t->behaviour);
        if (filter->behaviour != NULL) strncpy(t->behaviour, filter->behaviour, sizeof t->behaviour - 1);
        t->first = t->count = 0;
        atomic_store_explicit(&t->taken, 0, memory_order_relaxed);
        atomic_store_explicit(&t->dropped, 0, memory_order_relaxed);
        t->number = ++opened;
        atomic_store_explicit(&t->handler, filter->handler, memory_order_relaxed);
        atomic_store_explicit(&t->on, true, memory_order_relaxed);
        pthread_mutex_unlock(&t->lock);
        observe_changed();
        *id = i;
        err = 0;
    }
    pthread_mutex_unlock(&opening);
    return err;
}

void trace_close(unsigned id) {
    pthread_mutex_lock(&opening);
    pthread_mutex_lock(&traces[id].lock);
    atomic_store_explicit(&traces[id].on, false, memory_order_relaxed);
    pthread_mutex_unlock(&traces[id].lock);
    observe_changed();
    pthread_mutex_unlock(&opening);
}

size_t trace_take(unsigned id, TraceEvent *out, size_t most, uint64_t *dropped) {
    Trace *t = &traces[id];
    size_t n = 0;
    pthread_mutex_lock(&t->lock);
    for (; n < most && t->count > 0; n++, t->count--) {
        out[n] = t->events[t->first];
        t->first = (t->first + 1) % TRACE_ROOM;
    }
    atomic_fetch_sub_explicit(&t->taken, (uint32_t)n, memory_order_relaxed);
    *dropped = atomic_load_explicit(&t->dropped, memory_order_relaxed);
    pthread_mutex_unlock(&t->lock);
    return n;
}

/* ---- from the workers ---- */

uint8_t trace_matches(const Actor *a) {
    uint8_t bits = 0;
    for (unsigned i = 0; i < TRACES_MOST; i++) {
        Trace *t = &traces[i];
        if (!atomic_load_explicit(&t->on, memory_order_relaxed)) continue;
        pthread_mutex_lock(&t->lock);
        if (t->pid != 0 ? t->pid == a->pid : strcmp(t->behaviour, a->behaviour->source->name) == 0)
            bits |= (uint8_t)(1u << i);
        pthread_mutex_unlock(&t->lock);
    }
    return bits;
}

static inline bool wants(const Trace *t, uint32_t handler) {
    uint32_t only = atomic_load_explicit(&t->handler, memory_order_relaxed);
    return only == 0 || only == handler;
}

/* Is there room for so many? Else they are counted as dropped. Without the lock: when a trace is full, as it is most of
 * the time under load, nothing is to be waited for. */
static inline bool has_room(Trace *t, uint32_t events) {
    if (atomic_load_explicit(&t->taken, memory_order_relaxed) + events <= TRACE_ROOM) return true;
    if (atomic_load_explicit(&t->alone, memory_order_relaxed)) /* one actor's, so one worker at a time writes it */
        atomic_store_explicit(&t->dropped, atomic_load_explicit(&t->dropped, memory_order_relaxed) + events,
                              memory_order_relaxed);
    else
        atomic_fetch_add_explicit(&t->dropped, events, memory_order_relaxed);
    return false;
}

/* Under its lock: a place for an event, the room for which was promised before. */
static TraceEvent *place(Trace *t, const Actor *a, TraceWay way, const Message *msg) {
    TraceEvent *e = &t->events[(t->first + t->count++) % TRACE_ROOM];
    e->at = clock_wall();
    e->pid = a->pid;
    e->took = e->waited = 0;
    e->way = (uint8_t)way;
    e->end = TRACE_WELL;
    e->kind = msg->kind;
    e->other = way == TRACE_OUT ? msg->to : msg->from;
    return e;
}

/* Takes the lock if there is room for `events` more; promises it. */
static __attribute__((noinline)) bool enter(Trace *t, uint32_t events) {
    pthread_mutex_lock(&t->lock);
    if (atomic_load_explicit(&t->on, memory_order_relaxed) && has_room(t, events)) {
        atomic_fetch_add_explicit(&t->taken, events, memory_order_relaxed);
        return true;
    }
    pthread_mutex_unlock(&t->lock);
    return false;
}

void trace_in(const Actor *a, Fiber *f) {
    uint32_t handler = atomic_load_explicit(&a->last_atom, memory_order_relaxed);
    f->began_in = 0;
    for (unsigned bits = a->traces; bits != 0; bits &= bits - 1) {
        Trace *t = &traces[__builtin_ctz(bits)];
        if (!wants(t, handler)) continue;
        f->meant |= (uint8_t)(bits & -bits);
        if (!has_room(t, 2) || !enter(t, 2)) continue;
        letter_show(f->msg, 2, place(t, a, TRACE_IN, f->msg)->text, TRACE_TEXT);
        if (t->number > f->began_in) f->began_in = t->number;
        f->traced |= (uint8_t)(bits & -bits);
        pthread_mutex_unlock(&t->lock);
    }
}

void trace_out(const Actor *a, const Fiber *f, const Message *msg) {
    /* What a fork sends is no handler's. One that began before the trace is not the trace's. */
    for (unsigned bits = f->msg != NULL ? f->meant : a->traces; bits != 0; bits &= bits - 1) {
        Trace *t = &traces[__builtin_ctz(bits)];
        if ((f->msg == NULL && !wants(t, 0)) || !has_room(t, 1) || !enter(t, 1)) continue;
        letter_show(msg, 2, place(t, a, TRACE_OUT, msg)->text, TRACE_TEXT);
        pthread_mutex_unlock(&t->lock);
    }
}

void trace_done(const Actor *a, Fiber *f, uint32_t handler, TraceEnd end, uint64_t took) {
    for (unsigned i = 0; i < TRACES_MOST; i++) {
        Trace *t = &traces[i];
        if (!(f->traced & 1u << i)) continue;
        pthread_mutex_lock(&t->lock);
        /* One that was opened in its place since then knows nothing of the begin. */
        if (atomic_load_explicit(&t->on, memory_order_relaxed) && t->number <= f->began_in) {
            TraceEvent *e = place(t, a, TRACE_DONE, f->msg);
            e->end = (uint8_t)end;
            e->took = took;
            e->waited = f->idle;
            strncpy(e->text, gauge_handler(handler), TRACE_TEXT - 1);
            e->text[TRACE_TEXT - 1] = '\0';
        }
        pthread_mutex_unlock(&t->lock);
    }
    f->traced = 0;
}
