#include "api/api.h"

#include <math.h>
#include <string.h>
#include "api/sandbox.h"
#include "ground/clock.h"
#include "mail/pid.h"

ApiCalls api_calls;

int api_open(ApiCalls calls) {
    api_calls = calls;
    return sandbox_open();
}

static int pid_to_string(lua_State *L) {
    char text[PID_TEXT_MAX];
    luaL_checktype(L, 1, LUA_TLIGHTUSERDATA);
    pid_text((uint64_t)(uintptr_t)lua_touserdata(L, 1), text);
    lua_pushstring(L, text);
    return 1;
}

/* Pids and refs are light userdata, which have one metatable a VM. Its methods come as they are used. */
static void open_pids(lua_State *L) {
    lua_pushlightuserdata(L, NULL);
    sandbox_push_pids(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, pid_to_string);
    lua_setfield(L, -2, "__tostring");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

int api_open_vm(lua_State *L) {
    sandbox_open_vm(L);
    open_pids(L);
    return 0;
}

Actor *api_actor(lua_State *L, const char *what) {
    Actor *a = actor_of(L);
    if (a == NULL)
        luaL_error(L, "throng.%s: a module's body runs without an actor; call it in init or a handler", what);
    return a;
}

uint64_t api_check_pid(lua_State *L, int arg) {
    uint64_t bits = (uint64_t)(uintptr_t)lua_touserdata(L, arg);
    if (lua_type(L, arg) != LUA_TLIGHTUSERDATA || bits == 0 || bits_are_ref(bits)) luaL_typeerror(L, arg, "pid");
    return bits;
}

uint64_t api_check_ref(lua_State *L, int arg, RefKind kind, const char *what) {
    uint64_t bits = (uint64_t)(uintptr_t)lua_touserdata(L, arg);
    if (lua_type(L, arg) != LUA_TLIGHTUSERDATA || !bits_are_ref(bits) || ref_kind(bits) != kind)
        luaL_argerror(L, arg, lua_pushfstring(L, "the ref of a %s expected", what));
    return bits;
}

uint64_t api_check_ms(lua_State *L, int arg, double least) {
    lua_Number ms = luaL_checknumber(L, arg);
    if (!(ms >= least && ms <= 1e12)) /* NaN too */
        luaL_argerror(L, arg, least > 0 ? "milliseconds, at least 1" : "milliseconds, 0 or more");
    return (uint64_t)ceil(ms * (lua_Number)CLOCK_NS_PER_MS);
}

void api_push_bits(lua_State *L, uint64_t bits) {
    if (bits != 0) lua_pushlightuserdata(L, (void *)(uintptr_t)bits);
    else lua_pushnil(L);
}
