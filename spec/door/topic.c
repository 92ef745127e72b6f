/* door.topic - core/mail/topic.c for specs; door.registry makes the pids. */
#include "mail/topic.h"
#include <lauxlib.h>
#include <lua.h>
#include <uv.h>

int luaopen_door_topic(lua_State *L);

static Topic check_topic(lua_State *L) {
    static const char *const names[] = {"dead_letter", "crash", NULL};
    return (Topic)luaL_checkoption(L, 1, NULL, names);
}

static int result(lua_State *L, int err) {
    if (err < 0) {
        lua_pushnil(L);
        lua_pushstring(L, uv_err_name(err));
        return 2;
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int door_subscribe(lua_State *L) {
    return result(L, topic_subscribe(check_topic(L), (uint64_t)luaL_checkinteger(L, 2)));
}

static int door_unsubscribe(lua_State *L) {
    return result(L, topic_unsubscribe(check_topic(L), (uint64_t)luaL_checkinteger(L, 2)));
}

static int door_wanted(lua_State *L) {
    lua_pushboolean(L, topic_wanted(check_topic(L)));
    return 1;
}

static int door_has(lua_State *L) {
    lua_pushboolean(L, topic_has(check_topic(L), (uint64_t)luaL_checkinteger(L, 2)));
    return 1;
}

static int door_subscribers(lua_State *L) {
    uint64_t pids[TOPIC_SUBSCRIBERS_MAX];
    size_t count = topic_subscribers(check_topic(L), pids);
    lua_newtable(L);
    for (size_t i = 0; i < count; i++) {
        lua_pushinteger(L, (lua_Integer)pids[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int door_name(lua_State *L) {
    lua_pushstring(L, topic_name(check_topic(L)));
    return 1;
}

int luaopen_door_topic(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"subscribe", door_subscribe}, {"unsubscribe", door_unsubscribe}, {"wanted", door_wanted},
        {"has", door_has},             {"subscribers", door_subscribers}, {"name", door_name},
        {NULL, NULL},
    };
    luaL_newlib(L, functions);
    lua_pushinteger(L, TOPIC_SUBSCRIBERS_MAX);
    lua_setfield(L, -2, "MOST");
    return 1;
}
