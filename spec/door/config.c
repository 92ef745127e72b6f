/* door.config - core/ground/config.c for specs, on settings of its own: the runner's are left alone. */
#include "ground/config.h"
#include <lauxlib.h>
#include <lua.h>
#include <string.h>
#include <uv.h>

int luaopen_door_config(lua_State *L);

static Config own;

static int door_preset(lua_State *L) {
    (void)L;
    memset(&own, 0xff, sizeof own);
    config_preset(&own);
    return 0;
}

/* set(assignment [, room for the error]) -> true | nil, error's name, what is wrong */
static int door_set(lua_State *L) {
    char err[512] = "untouched";
    lua_Integer room = luaL_optinteger(L, 2, sizeof err);
    luaL_argcheck(L, room >= 1 && room <= (lua_Integer)sizeof err, 2, "room");
    int result = config_set(&own, luaL_checkstring(L, 1), err, (size_t)room);
    if (result == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, uv_err_name(result));
    lua_pushstring(L, err);
    return 3;
}

static void push(lua_State *L, const Config *c) {
    lua_newtable(L);
#define X(name, key, preset, least, most, text) lua_pushinteger(L, c->name), lua_setfield(L, -2, #name);
    CONFIG(X)
#undef X
}

static int door_get(lua_State *L) {
    push(L, &own);
    return 1;
}

/* what the node's own start as, as long as nobody sets them */
static int door_node(lua_State *L) {
    push(L, &config);
    return 1;
}

/* settings() -> {{name=, key=, preset=, least=, most=, text=}, ...} */
static int door_settings(lua_State *L) {
    lua_newtable(L);
#define X(name, key, preset, least, most, text) \
    lua_newtable(L); \
    lua_pushstring(L, #name), lua_setfield(L, -2, "name"); \
    lua_pushstring(L, key), lua_setfield(L, -2, "key"); \
    lua_pushstring(L, text), lua_setfield(L, -2, "text"); \
    lua_pushinteger(L, preset), lua_setfield(L, -2, "preset"); \
    lua_pushinteger(L, least), lua_setfield(L, -2, "least"); \
    lua_pushinteger(L, most), lua_setfield(L, -2, "most"); \
    lua_rawseti(L, -2, luaL_len(L, -2) + 1);
    CONFIG(X)
#undef X
    return 1;
}

static void add_line(void *context, const char *text) {
    lua_State *L = context;
    lua_pushstring(L, text);
    lua_rawseti(L, -2, luaL_len(L, -2) + 1);
}

static int door_list(lua_State *L) {
    lua_newtable(L);
    config_list(add_line, L);
    return 1;
}

int luaopen_door_config(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"preset", door_preset}, {"set", door_set}, {"get", door_get}, {"node", door_node},
        {"settings", door_settings}, {"list", door_list}, {NULL, NULL},
    };
    luaL_newlib(L, functions);
    return 1;
}
