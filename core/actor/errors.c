#include "actor/errors.h"

#include <lauxlib.h>
#include "actor/actor.h"
#include "mail/codec.h"

static int to_string(lua_State *L) {
    if (lua_istable(L, 1) && lua_getfield(L, 1, "message") == LUA_TSTRING) return 1;
    lua_pushstring(L, "(an error without a message)");
    return 1;
}

void errors_ready(lua_State *L) {
    luaL_checkstack(L, 4, NULL);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &codec_error_key) == LUA_TNIL) {
        lua_createtable(L, 0, 2);
        lua_pushcfunction(L, to_string);
        lua_setfield(L, -2, "__tostring");
        lua_pushstring(L, "throng.error");
        lua_setfield(L, -2, "__name");
        lua_rawsetp(L, LUA_REGISTRYINDEX, &codec_error_key);
    }
    lua_pop(L, 1);
}

int errors_raise(lua_State *L, const char *code, const char *format, ...) {
    va_list args;
    Actor *a = actor_of(L);
    luaL_checkstack(L, 6, NULL);
    lua_createtable(L, 0, 6);
    lua_pushstring(L, code);
    lua_setfield(L, -2, "code");
    va_start(args, format);
    lua_pushvfstring(L, format, args);
    va_end(args);
    lua_setfield(L, -2, "message");
    if (a != NULL) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)a->pid);
        lua_setfield(L, -2, "actor");
        lua_pushstring(L, a->behaviour->source->name);
        lua_setfield(L, -2, "behaviour");
        lua_pushstring(L, a->behaviour->version);
        lua_setfield(L, -2, "version");
    }
    luaL_traceback(L, L, NULL, 1);
    lua_setfield(L, -2, "traceback");
    errors_ready(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &codec_error_key);
    lua_setmetatable(L, -2);
    return lua_error(L);
}
