/* gauge.h - what an actor has done so far, in figures that others may read while it works.
 *
 * Counted always: messages begun (Actor.handled), memory, the handler that ran last, and how long it ran, which the
 * watchdog samples about a thousand times a second (SlotTally.ran). A handler that the watchdog finds at work for a
 * millisecond or more is measured from then on: it goes into the table of slow handlers, with a time that is never too
 * long and at most 3 ms too short. Handlers over 3 ms are always found, shorter ones perhaps.
 * While somebody watches (gauge_watch), every eighth message is timed, too: only then there are percentiles.
 * A handler's time is from its begin to its end, without what it waits in ask, sleep or await, but with the turns of
 * others that come in between when it is preempted.
 * Threads: from any, but for what takes an Actor: its worker. */
#ifndef ACTOR_GAUGE_H
#define ACTOR_GAUGE_H
#include "actor/actor.h"
#include "mail/atom.h"
#include "mail/names.h"

/* Besides atoms, what an actor may be doing (Actor.last_atom). */
enum { HANDLER_INIT = ATOM_MAX + 1, HANDLER_OTHER, HANDLER_DOWN, HANDLER_EXIT, HANDLER_TERMINATE };

const char *gauge_handler(uint32_t handler); /* "tick", "init", "other", ...; "" for 0. Borrowed for ever */
uint32_t    gauge_handler_find(const char *name, size_t len); /* 0: no loaded behaviour has one of that name */

static inline void gauge_handles(Actor *a, uint32_t handler) {
    atomic_store_explicit(&a->last_atom, handler, memory_order_relaxed);
}

typedef struct Gauge { /* besides what a VisitView has */
    uint32_t handler;      /* that runs or waits, or ran last; 0 = none yet */
    bool running;          /* on a worker, just now */
    uint64_t since;        /* when that slice, or the waiting, began: clock_now time, to some ms; 0 = neither */
    const char *waits;     /* "ask", "sleep", "await", ...: what its handler waits in; NULL: it does not */
    uint64_t whom, until;  /* ... for whose answer or end, and until when; 0 = nobody's, for ever */
    uint64_t handled, ran; /* messages begun; ns on workers */
    uint64_t longest, p99; /* ns; 0 = unknown */
} Gauge;

/* Between visit_begin and visit_end. False: it is dead, or no pid of this node. Of a concurrent actor, what its first
 * handler waits for is told, no other's. */
bool gauge_read(uint64_t pid, Gauge *out);

/* So many watch (it counts): every eighth message is timed while any does. */
void gauge_watch(bool on);
bool gauge_watched(void);
void gauge_ran(uint64_t pid, uint64_t ns); /* the watchdog's alone: see SchedulerCalls */

typedef struct Slow {
    char behaviour[NAMES_TEXT_MAX + 1];
    uint32_t handler;
    uint64_t took, pid, at; /* its slowest run: ns, by whom, when it ended (clock_wall; or was seen last: `running`) */
    bool running;
    uint64_t times;         /* how many runs were slow */
    uint64_t timed, p99;    /* how many were timed while somebody watched, and of those; 0 = nobody did */
} Slow;

#define SLOW_MOST 512 /* handlers that are remembered: the slowest, if there are more */
/* The slowest handlers since the node began, one entry for each handler of each behaviour, slowest first. How many. */
size_t gauge_slow(Slow *out, size_t most);

/* For actor/observe: the actor's handler took that long, by the clock (`timed`) or as the watchdog found. */
void gauge_timed(Actor *a, uint32_t handler, uint64_t took);
void gauge_slow_seen(Actor *a, uint32_t handler, uint64_t took, bool ended);
void gauge_free(Actor *a);
#endif
