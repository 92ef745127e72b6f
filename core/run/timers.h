/* timers.h - what is due when: a hierarchical timing wheel (Varghese and Lauck, 1987) of 1 ms slots.
 *
 * A timer names who it is for (an opaque `owner`, `tag`) and fires `fire(owner, tag)`, never early. A periodic timer
 * keeps its phase: the next beat is the last due time plus the period, and beats that were missed while nobody turned
 * the wheel are one beat. Time comes from outside (timers_turn), so that specs use virtual time.
 * Threads: all functions from any thread; one mutex inside. `fire` is called without it, by the thread that turns; a
 * timer cancelled before its `fire` began never fires; timers_cancel does not wait for one that has begun. */
#ifndef RUN_TIMERS_H
#define RUN_TIMERS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Timers Timers;
typedef uint64_t TimerId; /* never 0, never used again */

typedef struct TimersCalls {
    void (*fire)(void *context, uint64_t owner, uint64_t tag);
    void (*sooner)(void *context); /* a timer was added that is due before all others: turn earlier than planned */
    void *context;
} TimersCalls;

Timers *timers_new(uint64_t now_ns, TimersCalls calls); /* NULL when memory is short */
void    timers_free(Timers *t);

/* Due at `due_ns` (the past is now); `period_ns` 0 = once. 0 when memory is short. */
TimerId timers_add(Timers *t, uint64_t due_ns, uint64_t period_ns, uint64_t owner, uint64_t tag);
bool    timers_cancel(Timers *t, TimerId id); /* false: it is not there (any more) */

/* Fires what is due by now_ns; returns when to come again (ns), or UINT64_MAX if nothing waits. */
uint64_t timers_turn(Timers *t, uint64_t now_ns);
uint64_t timers_next(Timers *t); /* a bound: nothing is due before it (ns); UINT64_MAX */
size_t   timers_count(Timers *t);
#endif
