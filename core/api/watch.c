/* Links and monitors. */
#include "actor/watch.h"

#include "api/api.h"

static int monitor(lua_State *L) {
    uint64_t ref, pid = api_check_pid(L, 1);
    if (watch_monitor(api_actor(L, "monitor"), pid, &ref) < 0) return luaL_error(L, "out of memory");
    api_push_bits(L, ref);
    return 1;
}

static int demonitor(lua_State *L) {
    Actor *a = api_actor(L, "demonitor");
    lua_pushboolean(L, watch_demonitor(a, api_check_ref(L, 1, REF_MONITOR, "monitor")));
    return 1;
}

static int do_link(lua_State *L) {
    uint64_t pid = api_check_pid(L, 1);
    Actor *a = api_actor(L, "link");
    luaL_argcheck(L, pid != a->pid, 1, "an actor can't be linked to itself");
    if (watch_link(a, pid) < 0) return luaL_error(L, "out of memory");
    return 0;
}

static int do_unlink(lua_State *L) {
    uint64_t pid = api_check_pid(L, 1);
    watch_unlink(api_actor(L, "unlink"), pid);
    return 0;
}

static int trap_exits(lua_State *L) {
    Actor *a = api_actor(L, "trap_exits");
    luaL_checktype(L, 1, LUA_TBOOLEAN);
    lua_pushboolean(L, a->traps_exits);
    a->traps_exits = lua_toboolean(L, 1);
    return 1;
}

const luaL_Reg api_watch[] = {{"monitor", monitor}, {"demonitor", demonitor}, {"link", do_link},
                              {"unlink", do_unlink}, {"trap_exits", trap_exits}, {NULL, NULL}};
