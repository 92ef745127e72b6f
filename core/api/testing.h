/* testing.h - what `throng test` needs of C: virtual time, a node at rest, faults, a seed, the files of specs. Lua
 * finds it as "throng.testing", in a node for tests alone; lua/throng/testkit.lua is what users see of it.
 *
 * Virtual time moves while the node is at rest (run/scheduler.h, 7): to the moment when the next timer is due, and so
 * on. While an actor waits in testing.advance, it moves no further than that actor said, and then it goes on.
 * Threads: testing_open before the node has others; testing_at_rest and testing_timer are the scheduler's and the
 * loop's. */
#ifndef API_TESTING_H
#define API_TESTING_H
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include "actor/actor.h"

void testing_open(void);  /* from now on this is a node for tests; time stands still when the loop is there */
void testing_close(void); /* the loop's thread is there; nobody else is */
bool testing_is_on(void);
/* In a node for tests throng.shutdown is a message to who runs the specs. False: it is to be done. */
bool testing_takes_shutdown(Actor *a, int code);
bool testing_at_rest(void);                        /* SchedulerCalls.at_rest */
void testing_timer(uint64_t owner, uint64_t tag);  /* LoopCalls.timer: as actor_timer, and what faults held up */
int  testing_load(lua_State *L);                   /* a luaopen function */
#endif
