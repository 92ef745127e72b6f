/* fiber.h - the coroutines of one actor: which runs, which waits for what, until when.
 * Threads: the worker that runs the actor. Functions that take a lua_State are called from Lua code of the actor. */
#ifndef ACTOR_FIBER_H
#define ACTOR_FIBER_H
#include "actor/actor.h"

/* Runs it until it ends, waits, is preempted or fails; a failure ends the actor. */
void fiber_resume(Actor *a, Fiber *f);

/* One that could begin to handle messages now, or NULL. */
Fiber *fiber_free(Actor *a);
void   fiber_begin(Actor *a, Fiber *f); /* ... and it is made to: resume it */

void   fiber_runnable(Actor *a, Fiber *f); /* behind the others */
Fiber *fiber_next(Actor *a);               /* the first runnable one, taken out; NULL */

/* The running fiber waits for `ref` until `deadline` (clock_now time, 0 = for ever), then continues in `k`, which
 * finds the answer by fiber_answer. Returns what the calling C function must return; raises where it is not possible
 * to wait (`what` says who asks). */
int fiber_wait(lua_State *L, const char *what, uint64_t ref, uint64_t deadline, lua_KFunction k);
/* Before fiber_wait, for those who look on: whose end, and until when, if it is not told there. */
void fiber_expects(Actor *a, uint64_t whom, uint64_t until);
void fiber_check_waits(lua_State *L, const char *what); /* raises if fiber_wait would */
/* The answer to `ref` may come before fiber_wait is called for it: then that does not wait, but continues at once.
 * Until then, or fiber_unforesee. */
int  fiber_foresee(Actor *a, uint64_t ref); /* 0 or UV_ENOMEM */
void fiber_unforesee(Actor *a, uint64_t ref);
/* The answer that ended the wait, NULL when time was up. Lent: it lives until the fiber waits again or ends. */
Message *fiber_answer(lua_State *L);

/* Until when (clock_now time) somebody waits for what the running fiber does: the deadline of the request that it
 * handles. 0: nobody does, or for ever. */
uint64_t fiber_limit(const Actor *a);

/* What `ref` waited for came; takes `answer` (may be NULL) and returns true, or false if nobody waits for it. */
bool fiber_wake(Actor *a, uint64_t ref, Message *answer);
/* Wakes, with nothing, all whose deadline has passed; the next deadline, or 0. */
uint64_t fiber_expire(Actor *a, uint64_t now);

/* One more that could, for who needs its own or can't wait. Unprotected: without memory the process ends.
 * It is among the idle: fiber_drop takes it away. */
Fiber *fiber_spare(Actor *a);
void   fiber_drop(Actor *a, Fiber *f); /* not main: takes it out and frees it; it is not in a queue */
/* Ends all that are in the middle of something, or only those that are old; who waits for their answer hears
 * "reloaded". How many there were. Not from within one. */
uint32_t fiber_cancel(Actor *a, bool old_only);

/* An error is raised in the code that the main fiber runs or waits in: for a test that does not come to its end. */
void fiber_overdue(Actor *a);

/* A new fiber that calls the function below the top `nargs` values; they are popped. Raises when memory is short. */
void fiber_fork(lua_State *L, int nargs);

/* The same for a guest: calls `function` with it. guest.h is the way to it. */
void fiber_guest(lua_State *L, struct Guest *guest, lua_CFunction function);

/* The end: askers of handlers that will not finish are told why; all coroutines are closed. */
void fiber_fail_askers(Actor *a);
void fiber_reset_all(Actor *a);
void fiber_free_all(Actor *a); /* the VM is closed or will be */
#endif
