/* Notices of what happens on the node: dead letters, crashes, other nodes that come and go. */
#include <uv.h>
#include "api/api.h"
#include "mail/topic.h"
#include "net/cluster.h"

/* (true|false) for the actor itself, (pid [, true|false]) for any. */
static int subscribe(lua_State *L, Topic topic, const char *what) {
    Actor *a = api_actor(L, what);
    bool own = lua_isboolean(L, 1);
    if (!own && !lua_islightuserdata(L, 1)) return luaL_typeerror(L, 1, "boolean or pid");
    uint64_t pid = own ? a->pid : api_check_pid(L, 1);
    if (!own && !lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TBOOLEAN);
    bool on = own ? lua_toboolean(L, 1) : lua_isnoneornil(L, 2) || lua_toboolean(L, 2);
    int err = !on                  ? topic_unsubscribe(topic, pid)
              : topic == TOPIC_NODE ? cluster_watch(pid)
                                    : topic_subscribe(topic, pid);
    lua_pushboolean(L, err == 0);
    if (err == 0 || !on) return 1;
    lua_pushstring(L, err == UV_EAGAIN ? "limit" : "dead");
    return 2;
}

static int dead_letters(lua_State *L) { return subscribe(L, TOPIC_DEAD_LETTER, "dead_letters"); }

static int crash_reports(lua_State *L) { return subscribe(L, TOPIC_CRASH, "crash_reports"); }

static int watch_nodes(lua_State *L) { return subscribe(L, TOPIC_NODE, "watch_nodes"); }

const luaL_Reg api_notices[] = {{"dead_letters", dead_letters},
                                {"crash_reports", crash_reports},
                                {"watch_nodes", watch_nodes},
                                {NULL, NULL}};
