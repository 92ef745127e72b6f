/* reloading.h - what an actor remembers of a reload that is under way, for the files that do it: reload.c (when),
 * renew.c (in its VM), fresh.c (in a new one). Threads: the worker that runs the actor. */
#ifndef ACTOR_RELOADING_H
#define ACTOR_RELOADING_H
#include "actor/reload.h"
#include "actor/rollout.h"

typedef struct Reload Reload;
struct Reload {
    uint64_t rollout; /* its number */
    uint32_t index;   /* ours in it */
    ReloadTarget target;
    ReloadStep step;
    bool due;      /* `step` is to be done */
    bool running;  /* ... and is being done, on `fiber` */
    bool ready;    /* the stash is whole */
    bool swapped;  /* what is in use is the new, what is in the stash the old */
    bool inside;   /* the globals and package.loaded are the other ones' just now */
    bool touched;  /* a handler has run since the state in the stash was made of it */
    bool carries;  /* `self` had other contents before the exchange: they are exchanged, too */
    bool interrupted; /* what runs is to be given up for what has come meanwhile */
    Queue later;      /* that: messages, in their order */
    bool cancels, as_is, over_time, measures, made; /* made: `fiber` was made for this step */
    ChangeStage stage;
    RolloutAnswer answer;
    Fiber *fiber;
    uint64_t spent, until; /* ns so far; clock_real when it may run no longer */
    uint64_t began;        /* measuring: when the fiber was resumed */
    size_t limit;          /* the arena's, while it is lowered */
    uint64_t given;        /* of the globals in the stash: api/sandbox's */
    /* of fresh.c: */
    Vm *other;      /* the VM that is not in use; as long as it is not, it lies here */
    Message *state; /* `self`, on its way from one to the other */
};

/* renew.c: */
int  renew(lua_State *L); /* a Lua function: the step that is due, in the VM that there is */
void renew_step_over(Actor *a, lua_State *L); /* to the globals and modules of the other version. Raises nothing */
void renew_drop(Actor *a, lua_State *L);      /* the stash; and back, if it had stepped over */

/* fresh.c: the same in a new VM, to which `self` goes through the codec. Nothing of the actor is in the middle of
 * anything then. */
bool fresh_ready(const Actor *a); /* may it begin? */
/* Makes what `main` is to run, in the VM that it is to run in. False: it failed, with `text` saying why; nothing has
 * changed. *done: there is nothing to run. */
bool fresh_begin(Actor *a, char *text, size_t size, bool *done);
void fresh_done(Actor *a);    /* it has run well */
void fresh_give_up(Actor *a); /* it has not: the old VM is in its place again */
void fresh_close(Actor *a);   /* what is not in use any more is freed */
#endif
