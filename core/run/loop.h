/* loop.h - the uv loop on its own thread: timers, signals, sockets.
 *
 * uv handles are touched on this thread alone; loop_submit is the only door to it. One loop a process. (Which thread
 * that is may change between two rounds of the loop, see loop_relieve; all that one did is the next one's.)
 * Threads: loop_open and loop_close from the thread that builds the node; the rest from any. */
#ifndef RUN_LOOP_H
#define RUN_LOOP_H
#include <stdbool.h>
#include <stdint.h>
#include "run/timers.h"

typedef struct LoopCalls {
    void (*timer)(uint64_t owner, uint64_t tag); /* on the loop's thread */
    void (*signal)(int signum);                  /* SIGINT, SIGTERM, SIGHUP; on the loop's thread */
    void (*thread_end)(void);                    /* last thing on the loop's thread */
} LoopCalls;

int  loop_open(LoopCalls calls); /* starts the thread; 0 or a negative libuv error */
void loop_close(void);           /* ends it: handles closed, jobs that were submitted have run */
int  loop_submit(void (*job)(void *), void *argument); /* UV_ENOMEM, UV_ECANCELED after close; in order per caller */
/* The same, and returns when the job has run. For building and ending rooms: nothing the job does may wait for the
 * caller. From the loop's own thread it runs at once. */
int  loop_call(void (*job)(void *), void *argument);

/* For handles of one's own, in jobs and callbacks: on the loop's thread alone. Whoever opened a handle closes it before
 * loop_close, which closes what is left without a callback. */
struct uv_loop_s *loop_uv(void);

/* Virtual time (see ground/clock.h): while it is frozen, the loop's thread fires no timers, and loop_turn does: it
 * moves time to the next moment at which something may be due, if that is not past `until`, and fires what is. When
 * that moment is, or was; UINT64_MAX if nothing waits. From any thread. */
void     loop_freeze(bool frozen);
uint64_t loop_turn(uint64_t until);

/* The watchdog's: the thread that runs the loop helps the scheduler (scheduler_help) and does not come back; another
 * one takes the loop over, and the first is the next to stand by. "The loop's thread" is whoever runs it. From any
 * thread. */
void loop_relieve(void);

/* In clock_now time; 0 = no memory. */
TimerId loop_timer_add(uint64_t due_ns, uint64_t period_ns, uint64_t owner, uint64_t tag);
bool    loop_timer_cancel(TimerId id);
#endif
