/* guest.h - a stranger's code in an actor's VM, as an eval of the console's: a fiber with budgets, whose failure is not
 * the actor's.
 *
 * It is stopped by `stop`, from any thread: from then on no instruction of it runs any more, whatever it has around it,
 * pcall or coroutines. Only where it can't be preempted, in a C function that calls back, an error is raised that no
 * handler hears, until it is out of there. A stopped one is dropped as it stands: its to-be-closed variables are not
 * closed. What it has done to the actor's state stays done.
 *
 * While it runs the VM may hold `memory` bytes more than when it began, or what the actor may hold, if that is less.
 * Threads: the worker that runs the actor, but for `stop`. */
#ifndef ACTOR_GUEST_H
#define ACTOR_GUEST_H
#include <stdatomic.h>
#include "actor/actor.h"

typedef struct Guest Guest;
struct Guest {
    _Atomic uint8_t stop; /* not 0: stop it, what the number means is its owner's. Relaxed: a wish */
    size_t memory;        /* bytes; guest_begin makes it the limit of the VM's memory while it runs */
    /* Called once, when it is over: `status` LUA_OK; LUA_YIELD: it was stopped, or the actor ended; or an error, on top
     * of L: who wants <close> variables closed then catches errors himself. Nothing may be called there that raises.
     * The guest is the callee's. */
    void (*over)(Guest *guest, Actor *a, lua_State *L, int status);
};

/* A fiber that calls `function` with `guest` as its one argument, a light userdata; next to run. 0, or UV_ENOMEM: the
 * guest is still the caller's. For visits, see visit.h. */
int  guest_begin(Actor *a, Guest *guest, lua_CFunction function);
/* For visits: may it begin? Between two messages, and no code of the actor's is in the middle of something. */
bool guest_may_begin(const Actor *a);
/* Those that are told to stop and wait for something need wait no longer. For visits. */
void guest_stop_waiting(Actor *a);
Guest *guest_of(lua_State *L); /* whose fiber runs: not of what it forked; NULL */

/* ---- for fiber.c and vm.c ---- */

static inline bool guest_stopped(const Fiber *f) {
    return f->guest != NULL && atomic_load_explicit(&f->guest->stop, memory_order_relaxed) != 0;
}

/* `function` with `argument`, a light userdata, in protected mode on the main state, whatever that is in the middle of:
 * for visits. It may use C's interface without metamethods, and no Lua code; nothing is returned. LUA_OK, or how it
 * failed. */
int guest_look(Actor *a, lua_CFunction function, void *argument);
#endif
