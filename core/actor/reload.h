/* reload.h - one actor takes a new version of its code, between two messages.
 *
 * 1. A step of a rollout (actor/rollout) comes as MESSAGE_RELOAD and is done where the next message would begin: on a
 *    fiber that is free, preemptible, in a budget of time and memory. While the code that is tried out runs, nothing
 *    else of the actor does.
 * 2. PREPARE runs the new body in this VM in fresh globals, and what the rollout needs of migrate, downgrade and check
 *    on a copy of `self`. What comes of it lies in the stash, a table of the VM; the actor goes on as it was.
 * 3. COMMIT exchanges the stash and what is in use: the handling function, the globals, package.loaded, the metatable
 *    of `self`, the contents of `self`. If the actor did anything in between, migrate and check run again first.
 *    `self` stays the same table: coroutines of the old version, and whoever else holds it, see the new contents.
 * 4. BACK exchanges them once more. If the actor has worked since with a state that was migrated, `downgrade` makes
 *    the old state of it, or it stays as it is.
 * 5. FORGET drops the stash, whatever is in it.
 * 6. Coroutines that wait at a COMMIT finish in the old code (Fiber.old), and `self` leads them to its functions, until
 *    the last of them ends. Those that are old at the next COMMIT, and all that are in the way past the deadline, are
 *    cancelled: at most two versions live in one actor.
 *
 * Threads: the worker that runs the actor. */
#ifndef ACTOR_RELOAD_H
#define ACTOR_RELOAD_H
#include "actor/actor.h"

typedef enum {
    RELOAD_PREPARE,
    RELOAD_COMMIT,
    RELOAD_BACK,
    RELOAD_FORGET,
    RELOAD_CANCEL, /* do not wait for handlers any longer */
    RELOAD_MEASURE /* tell how long handlers take, until FORGET */
} ReloadStep;

typedef struct ReloadTarget { /* what an actor is to do, as the rollout has it */
    const Behaviour *from, *to;
    bool back;    /* `from` has downgrade, instead of `to` migrate */
    bool cancels; /* handlers that wait are not waited for */
    bool fresh;   /* in a new VM, see fresh.c */
} ReloadTarget;

void reload_came(Actor *a, Message *msg); /* MESSAGE_RELOAD; taken */
/* Does what is to be done and can be done now. False: nothing. Not in the middle of a handler. */
bool reload_turn(Actor *a);
bool reload_is_running(const Actor *a);   /* code is tried out, and was preempted: its VM is not as it seems */
bool reload_is_over_time(const Actor *a); /* the code that is tried out now, in the middle of it */
void reload_failed(Actor *a);             /* a handler has crashed: for who measures */
void reload_old_ended(Actor *a, Fiber *f); /* a coroutine of the old version ended; f->L is free */
void reload_abort(Actor *a);              /* the actor ends: its VM is put in order again */
void reload_free(Actor *a);
const Behaviour *reload_version(const Actor *a); /* whose modules its code gets: of the version tried out, if any */
/* Before and after a fiber is resumed, if there is a reload: */
void reload_resumes(Actor *a);
void reload_resumed(Actor *a);
#endif
