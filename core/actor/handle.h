/* handle.h - the Lua side of an actor's work: bringing up its VM, handling messages one after the other, terminate.
 * These are C functions that run inside fibers. Threads: the worker that runs the actor. */
#ifndef ACTOR_HANDLE_H
#define ACTOR_HANDLE_H
#include "actor/actor.h"

/* Pushes, for the next resume of L: */
void handle_make(lua_State *L); /* from the behaviour's table on top, which is popped: what handles, kept by the VM */
void handle_push_birth(lua_State *L, BehaviourOpenLibs open_libs); /* opens libraries, runs the body, makes `self` */
void handle_push(lua_State *L);           /* handles messages until there are none or the slice is over */
/* For a new version, whose table is on top (popped): pushes what handles, and the metatable of `self`. */
void handle_make_next(lua_State *L);
/* Those two, on top, go into use, and the ones that were take their place. `old`: coroutines of the old version go on,
 * and `self` is to lead them to its functions. */
void handle_exchange(lua_State *L, bool old);
void handle_settle(lua_State *L); /* the last of those has ended. Raises nothing */
void handle_push_behaviour(lua_State *L); /* the table of what is in use */
bool handle_push_self(lua_State *L);      /* for guests; false: there is none yet, and nothing is pushed */
bool handle_push_terminate(lua_State *L, int *nargs); /* terminate(self, reason); false: there is none to call */
#endif
