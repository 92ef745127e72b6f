/* there.h - actors that are born on another node than who spawns them.
 *
 * The spawner waits, as in an ask, until the other node says that the actor has its pid there, or why not
 * (net/spawn.h). Its name, its monitor, its link and its parent are set before it runs or anybody hears of it: there is
 * no gap in which it could end unseen. Whose spawner gave up before that is killed as soon as it is heard of.
 * Threads: what takes a lua_State from the worker of its actor, the rest from the thread that builds the node. */
#ifndef API_THERE_H
#define API_THERE_H
#include "api/api.h"
#include "net/able.h"

void there_open(void);  /* before the cluster starts */
void there_end(void);   /* the node ends: no actor is made for others any more */

/* The node that spawn_with's options at stack index 1 (`node`, `requires`) lead to; 0: this one. Raises. */
uint32_t there_pick(lua_State *L);

/* spawn_with on that node: its options (the table at 1 gets `pid`), the module's name at 2, init's arguments from 3 on.
 * `b`: what the name means here, NULL: nothing. `wait` (ns) with options->wait_ref. `started` goes on when init has
 * ended, or not in time: the pid and the monitor's ref or nil are on top. */
int there_spawn(lua_State *L, uint32_t node, const Behaviour *b, const ActorOptions *options, uint64_t wait,
                lua_KFunction started);

/* An actor whose code came from another node names a module that did not come with it: waits until it is here, then
 * goes on with `k`, where delivery_meaning finds it, or there_failed says why not. */
int there_fetch(lua_State *L, const char *what, const char *module, lua_KFunction k);
/* In `k`: NULL, or why it could not be fetched. Borrowed until the fiber waits again. */
const char *there_failed(lua_State *L, size_t *len);
#endif
