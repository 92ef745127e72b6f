/* tasks.h - the coroutines of an actor and what each waits for: its fibers, the coroutines they stand in, and those
 * of the script that lie in `self`. Threads: the worker that runs the actor, while its VM is at rest (see visit.h). */
#ifndef ACTOR_TASKS_H
#define ACTOR_TASKS_H
#include "actor/actor.h"

#define TASKS_MOST 200

typedef struct ActorTask {
    const char *task;   /* "handler", "fork", "eval", "coroutine" (the script's own), "terminate", "body" */
    const char *handler; /* of a handler: its name; NULL */
    const char *path;   /* of a coroutine: where it was found, "self.jobs[3]"; NULL */
    uint64_t from;      /* of a handler: who sent the message; 0 = nobody */
    const char *state;  /* "waiting", "running" (in the middle of it), "suspended" (the script's own) */
    const char *waits;  /* "ask", "sleep", ...; NULL: for nothing */
    uint64_t whom;      /* for whose answer or end; 0 = nobody's */
    uint64_t since, until; /* clock_now times; 0 = unknown, for ever */
    const char *trace;  /* of Lua; coroutines in coroutines stand one behind the other, the innermost first */
    size_t trace_len;
} ActorTask;

/* Calls `each` for every one that is not done, at most TASKS_MOST; what it gets lives until it returns. False: there
 * are more, or `self` is so large that not all of it was searched. Raises nothing, and changes nothing in the VM. */
bool tasks_list(Actor *a, void (*each)(void *context, const ActorTask *task), void *context);
#endif
