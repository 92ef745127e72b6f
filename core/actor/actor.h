/* actor.h - one actor: mailbox slot, VM, behaviour, fibers, and its way from birth to death.
 *
 * Life: UNBORN (has a pid, takes messages, no VM yet) -> LIVE (body run, init's message first) -> ENDING (`terminate`
 * runs) -> gone. A newborn's VM is built by the worker that runs it first, so spawn itself is cheap.
 *
 * A fiber is a coroutine of the VM that handles messages or runs a forked function. `main`, the VM's main state,
 * handles messages; while its handler waits, a serial actor handles no others, and a concurrent one goes on with
 * another fiber.
 *
 * Threads: an actor is touched by the worker that runs it alone, but for what says otherwise; everybody else reaches
 * it by messages. It is freed by that worker. */
#ifndef ACTOR_ACTOR_H
#define ACTOR_ACTOR_H
#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "actor/behaviour.h"
#include "actor/vm.h"
#include "actor/watch.h"
#include "ground/map.h"
#include "mail/message.h"
#include "mail/registry.h"
#include "run/scheduler.h"
#include "run/timers.h"

typedef enum { ACTOR_UNBORN, ACTOR_LIVE, ACTOR_ENDING } ActorStage;

typedef enum { FIBER_MAIN, FIBER_EXTRA, FIBER_FORK, FIBER_GUEST } FiberKind;
typedef enum { FIBER_IDLE, FIBER_RUNNABLE, FIBER_RUNNING, FIBER_WAITING } FiberState;

typedef struct Fiber { /* what every message needs comes first: one cache line */
    lua_State *L;
    struct Fiber *next;   /* in the runnable queue, or among the idle */
    Message *msg;         /* being handled: kept until the handler ends, for its asker and for reports */
    Message *answer;      /* what it waited for; NULL with FIBER_RUNNABLE after waiting: time is up */
    uint64_t wait;        /* the request or timer it waits for */
    uint64_t deadline;    /* clock_now time when the waiting ends, or has ended; 0 = no end, or a timer of its own */
    struct Guest *guest;  /* of a FIBER_GUEST: see guest.h */
    int args;             /* values on L for the next resume */
    uint8_t kind, state;  /* FiberKind, FiberState */
    bool old;             /* it began in the version before: see reload.h */
    bool timed;           /* its time goes into the statistics */

    /* How it waits: who looks at the actor from elsewhere reads these of `main` (relaxed: a moment's view). */
    _Atomic(const char *) waits; /* "ask", "sleep", "await" ...; NULL = it does not. Text that stays */
    _Atomic uint64_t whom;       /* for whose answer or end; 0 = nobody's */
    _Atomic uint64_t since, until; /* clock_coarse and clock_now times; until 0 = for ever */
    /* actor/observe's, of the message being handled: */
    uint64_t paused, idle; /* when it began to wait, 0 = it does not; what it has waited before */
    uint64_t began;       /* 0 = nobody took the time; its clock is observe.c's */
    uint32_t began_in;    /* the newest of `traced` */
    uint8_t meant;        /* the traces that it is meant for, as bits */
    uint8_t traced;       /* ... of them those that have recorded its begin */
    struct Fiber *sibling; /* in Actor.others */
} Fiber;

typedef struct Queue { /* of messages, or of fibers' links; oldest first */
    Message *first, *last;
} Queue;

typedef struct ActorName {
    struct ActorName *next;
    uint32_t len;
    char text[];
} ActorName;

/* What others may see of an actor besides, see visit.h. Written by the worker that runs it, at the end of a turn, when
 * it has changed; relaxed: figures for people, of which none speaks for another. */
typedef struct ActorSeen {
    _Atomic uint64_t busy_since; /* clock_coarse when a turn first ended within the handler it is in; 0 = in none */
    _Atomic uint32_t handler;    /* the atom of that handler */
    _Atomic uint8_t stage;       /* ActorStage */
} ActorSeen;

typedef struct Actor { /* what every turn needs comes first */
    Task task; /* first: a Task is an Actor */
    Slot *slot;
    uint64_t pid;
    const Behaviour *behaviour;
    /* messages begun, ever, and the handler that ran last: an atom or a HANDLER_ of gauge.h, 0 = none yet (see
     * handle.c). Others look at both (relaxed: a moment's view). */
    _Atomic uint64_t handled;
    uint64_t enough;   /* the value of `handled` with which the slice is over */
    _Atomic uint32_t last_atom;
    uint32_t epoch;    /* of `watched`, see observe.h */

    uint8_t watched;   /* WATCH_...: who looks on */
    uint8_t stage;     /* ActorStage */
    bool killed;       /* by throng.kill: no terminate */
    bool patient;      /* by throng.stop: what computes may finish first */
    bool saw_timer;    /* the last message was a timer's: a user message goes first now */
    bool traps_exits;
    bool began;        /* init has ended: terminate may be called */
    uint8_t traces;    /* of this actor, as bits */
    Message *start;  /* init's arguments, until init begins */
    Message *ending; /* why it ends, once that is settled: one value */
    struct Reload *reload; /* NULL: none is under way. See reload.h */
    Queue inbox;     /* taken from the mailbox */
    Queue early;     /* notices of exits, each behind the messages its sender had sent before */

    Queue due;       /* timers that went off */
    Queue visits;    /* that wait to be served, see visit.h */
    Fiber *current;        /* runs now */
    Fiber *runnable, **runnable_end;
    uint64_t serial; /* of refs */

    Fiber main;
    ActorSeen seen;
    Fiber *others;         /* all fibers but main */
    Fiber *idle;           /* of those, extra ones with nothing to do */
    Map waiting;           /* request or timer -> Fiber, for fibers but main */
    Map timers;            /* ref -> ActorTimer */
    TimerId alarm;         /* the loop's timer for the nearest deadline of a waiting fiber */
    uint64_t alarm_at;     /* when it goes off; 0 = not set */

    Watch watch;
    Vm vm;

    /* seldom looked at: */
    uint64_t parent;
    ActorName *names;  /* registered ones; the first is for show */
    uint64_t shown;    /* `handled` when `seen` was written last */
    size_t memory_limit;   /* of its VM, as it was born with; never changes */
    bool visited;          /* there was a visitor when it was removed, who may look at it still */
    uint8_t may_grant; /* GRANT_...: what it may hand on */
    ActorName *groups; /* it is a member of */
    uint32_t group_count;
    uint32_t restarts; /* as ActorOptions has it */
    uint64_t born;     /* clock_now time of its spawn */
    const Behaviour *older; /* the version before this one, of fibers that are old */
    uint32_t old_count;     /* how many of them there are */
    struct Foreseen *foreseen; /* fiber.c's */
    uint64_t noted;    /* with WATCH_NOTED: when its handler had begun at the latest */
    _Atomic uint64_t longest;        /* ns of its slowest handler, as far as that is known. See gauge.h */
    _Atomic(struct Timing *) timing; /* NULL until it was timed once */
} Actor;

typedef struct ActorCalls {
    BehaviourOpenLibs open_libs;
    void (*ended)(Actor *a); /* on its worker, after its pid died; `a->ending` says why */
    /* Fresh globals, and exchanging those in use with the ones on top of the stack, for a new version: see
     * api/sandbox.h */
    void (*push_globals)(lua_State *L);
    void (*swap_globals)(lua_State *L, uint64_t *given);
} ActorCalls;

void actor_open(ActorCalls calls); /* before the first spawn */
extern ActorCalls actor_calls;     /* read-only then */
void actor_set_behaviour(Actor *a, const Behaviour *b); /* and tells others in its slot */

typedef struct ActorOptions {
    const char *name; /* to register, not NUL-terminated; NULL = none */
    size_t name_len;
    size_t memory;          /* 0 = the node's default */
    uint32_t mailbox_limit; /* 0 = the behaviour's, or the node's */
    uint8_t mailbox_full;   /* 1 + MailboxFull; 0 = the behaviour's */
    uint8_t grants, may_grant; /* GRANT_...: its own, and besides those what it may hand on */
    bool link, monitor;     /* with the spawner */
    uint32_t restarts;      /* how many it replaces, one after the other: for crash reports */
    uint64_t wait_ref;      /* not 0: a request of the spawner that init's end answers */
    uint64_t parent;        /* if the spawner is NULL: an actor on another node, or 0 */
    /* Called when all is done but its first turn, with a pid that takes messages: nobody runs it yet. Not 0: it is not
     * born. */
    int (*before)(void *context, struct Actor *a);
    void *context;
} ActorOptions;

/* Makes an actor; init gets `start` (kind MESSAGE_START; taken on success). `spawner` may be NULL. *monitor_ref with
 * options->monitor. 0; UV_EAGAIN the limit of actors is reached; UV_EEXIST name taken; UV_EINVAL bad name; UV_ENOMEM */
int actor_spawn(const Behaviour *b, const ActorOptions *options, Actor *spawner, Message *start, uint64_t *pid,
                uint64_t *monitor_ref);

TaskTurn actor_run(Task *task); /* the scheduler's */
void     actor_wake(void *actor); /* the post's: any thread */
void     actor_timer(uint64_t pid, uint64_t tag); /* the loop's: a timer of that actor is due; any thread */

/* The actor ends as soon as it is between two pieces of work; `reason` (one value, any kind) is taken. The first
 * reason stands. */
void actor_end(Actor *a, Message *reason);
/* In the middle of a handler that cannot yield: did a kill come? */
bool actor_must_die(Actor *a);
/* Frees everything without a word to anyone: the node is closed, no worker runs. */
void actor_discard(Actor *a);

static inline uint64_t actor_ref(Actor *a, RefKind kind) {
    return ref_make(kind, (uint64_t)pid_slot(a->pid) << 36 | (++a->serial & ((1ull << 36) - 1)));
}
/* The actor whose code calls; NULL in a body that is tried out. */
static inline Actor *actor_of(lua_State *L) { return vm_of(L)->actor; }
/* "bob <12.1>" or "<12.1>", for the log. Returns `out`, which has ACTOR_WHO_MAX bytes. */
#define ACTOR_WHO_MAX (PID_TEXT_MAX + 64)
const char *actor_who(const Actor *a, char *out);

int  actor_add_name(Actor *a, const char *name, size_t len); /* as names_add */
int  actor_drop_name(Actor *a, const char *name, size_t len); /* as names_remove */

#define ACTOR_GROUPS_MAX 1000
int  actor_join(Actor *a, const char *group, size_t len);  /* as groups_join, but 0 if it is in; UV_EAGAIN too many */
int  actor_leave(Actor *a, const char *group, size_t len); /* as groups_leave */

static inline void actor_count(Actor *a) { /* a message is begun */
    atomic_store_explicit(&a->handled, atomic_load_explicit(&a->handled, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}
static inline bool actor_has_enough(const Actor *a) {
    return atomic_load_explicit(&a->handled, memory_order_relaxed) >= a->enough;
}

static inline void queue_push(Queue *q, Message *msg) {
    msg->next = NULL;
    if (q->last != NULL) q->last->next = msg;
    else q->first = msg;
    q->last = msg;
}
static inline Message *queue_pop(Queue *q) {
    Message *msg = q->first;
    if (msg != NULL && (q->first = msg->next) == NULL) q->last = NULL;
    return msg;
}
#endif
