/* Links and monitors. */
#include "actor/watch.h"

#include "actor/errors.h"
#include "actor/fiber.h"
#include "api/api.h"
#include "ground/clock.h"
#include "mail/codec.h"

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

/* The awaited one is gone, or time is up. The monitor's ref is on top. */
static int awaited(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    const Message *answer = fiber_answer(L);
    if (answer == NULL) {
        watch_demonitor(api_actor(L, "await"), api_check_ref(L, -1, REF_MONITOR, "monitor"));
        lua_pushboolean(L, 0);
        lua_pushliteral(L, "timeout");
        return 2;
    }
    if (answer->flags & MESSAGE_ERRORS) errors_ready(L);
    lua_pushboolean(L, 1);
    return codec_decode(L, answer) == 1 ? 2 : errors_raise(L, "error", "the reason has invalid bytes");
}

static int await(lua_State *L) {
    uint64_t ref, pid = api_check_pid(L, 1), ms = api_check_ms(L, 2, 0);
    Actor *a = api_actor(L, "await");
    luaL_argcheck(L, pid != a->pid, 1, "an actor can't await its own end");
    fiber_check_waits(L, "await");
    if (watch_monitor(a, pid, &ref) < 0) return luaL_error(L, "out of memory");
    api_push_bits(L, ref);
    fiber_expects(a, pid, 0);
    return fiber_wait(L, "await", ref, clock_now() + ms, awaited);
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

const luaL_Reg api_watch[] = {{"monitor", monitor}, {"demonitor", demonitor}, {"await", await},
                              {"link", do_link}, {"unlink", do_unlink}, {"trap_exits", trap_exits}, {NULL, NULL}};
