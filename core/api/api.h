/* api.h - what Lua can touch: one file and one luaL_Reg per subject.
 *
 * Functions raise on misuse (wrong arguments, a value that can't be sent, no actor to act) and return false or nil
 * with a word on what may happen (a dead pid, a full mailbox, a taken name). lua/meta/throng.lua documents each for
 * editors; a spec compares. Threads: whoever runs the VM, but for api_open and api_close: the thread that builds the
 * node. */
#ifndef API_API_H
#define API_API_H
#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include "actor/actor.h"
#include "ground/json.h"

struct RolloutOptions;

typedef struct ApiCalls {
    void (*shutdown)(int exit_code); /* end the node, soon; any thread */
    const char *node_name;
    /* A change of code for all nodes: ops/concert.h. On the loop's thread; NULL: there is no such thing here */
    int (*reload_all)(const struct RolloutOptions *o, uint32_t within_ms,
                      void (*done)(void *context, bool good, Text *report), void *context);
} ApiCalls;

int  api_open(ApiCalls calls); /* looks up the standard library's functions, once; 0 or UV_ENOMEM */
extern ApiCalls api_calls;
int  api_open_vm(lua_State *L); /* a BehaviourOpenLibs: what a fresh VM gets */

/* The functions of `throng`, by subject, each ended by {NULL, NULL}. */
extern const luaL_Reg api_message[], api_life[], api_names[], api_timer[], api_watch[], api_groups[],
    api_notices[], api_node[], api_reload[];
extern const luaL_Reg api_log[];       /* of throng.log */
extern const luaL_Reg api_coroutine[]; /* of coroutine */
extern const luaL_Reg api_module[];    /* require, load */
extern const luaL_Reg api_pid[];       /* methods of pids */

int  api_throng(lua_State *L); /* a luaopen function: pushes the table `throng` */

/* For the API's functions: */
Actor   *api_actor(lua_State *L, const char *what); /* raises in a module's body that is tried out */
uint64_t api_check_pid(lua_State *L, int arg);
uint64_t api_check_ref(lua_State *L, int arg, RefKind kind, const char *what);
uint64_t api_check_ms(lua_State *L, int arg, double least); /* milliseconds -> ns */
void     api_push_bits(lua_State *L, uint64_t bits);        /* a pid or ref; 0 = nil */
/* A message named by the string at `name`, with the values from `first` to the top. Raises; gives. */
Message *api_letter(lua_State *L, MessageKind kind, int name, int first);
/* After MAILBOX_CROWDED: who sends faster than others can receive lets them work, his slice ends after this call. So
 * mailboxes stay short, which also keeps what waits in them in the caches. */
void api_give_way(lua_State *L);
int api_sent(lua_State *L, int err, Message *msg); /* true, or false and why; what failed becomes a dead letter */
#endif
