/* door.map - core/ground/map.c for specs. Keys and values are integers. */
#include "ground/map.h"
#include <lauxlib.h>
#include <lua.h>

int luaopen_door_map(lua_State *L);

#define TYPE "door.map"

static Map *check(lua_State *L) { return luaL_checkudata(L, 1, TYPE); }

static uint64_t check_key(lua_State *L) {
    lua_Integer key = luaL_checkinteger(L, 2);
    luaL_argcheck(L, key != 0, 2, "a key is never 0");
    return (uint64_t)key;
}

static int door_new(lua_State *L) {
    Map *m = lua_newuserdatauv(L, sizeof *m, 0);
    *m = (Map){0};
    luaL_setmetatable(L, TYPE);
    return 1;
}

static int door_put(lua_State *L) {
    lua_pushinteger(L, map_put(check(L), check_key(L), (uint64_t)luaL_checkinteger(L, 3)));
    return 1;
}

static int push_value(lua_State *L, bool there, uint64_t value) {
    if (there) lua_pushinteger(L, (lua_Integer)value);
    else lua_pushnil(L);
    return 1;
}

static int door_get(lua_State *L) {
    uint64_t value = 0;
    bool there = map_get(check(L), check_key(L), &value);
    if (there != map_get(check(L), check_key(L), NULL)) return luaL_error(L, "with NULL it is another answer");
    return push_value(L, there, value);
}

/* map:take(key [, blind]): blind = the value is not wanted, true for it */
static int door_take(lua_State *L) {
    uint64_t value = 1;
    bool blind = lua_toboolean(L, 3), there = map_take(check(L), check_key(L), blind ? NULL : &value);
    return push_value(L, there, value);
}

static int push_pair(lua_State *L, const MapPair *pair) {
    lua_pushinteger(L, (lua_Integer)pair->key);
    lua_pushinteger(L, (lua_Integer)pair->value);
    return 2;
}

/* map:all() -> table of all pairs, and how many the walk came by */
static int door_all(lua_State *L) {
    uint32_t at = 0;
    lua_Integer count = 0;
    MapPair pair;
    Map *m = check(L);
    lua_newtable(L);
    for (; map_next(m, &at, &pair); count++) {
        push_pair(L, &pair);
        lua_rawset(L, -3);
    }
    lua_pushinteger(L, count);
    return 2;
}

static int door_count(lua_State *L) {
    lua_pushinteger(L, check(L)->count);
    return 1;
}

static int door_room(lua_State *L) {
    lua_pushinteger(L, check(L)->pairs == NULL ? 0 : check(L)->room);
    return 1;
}

static int door_clear(lua_State *L) {
    map_clear(check(L));
    return 0;
}

int luaopen_door_map(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"put", door_put}, {"get", door_get},     {"take", door_take},    {"all", door_all},
        {"count", door_count}, {"room", door_room}, {"clear", door_clear}, {"__gc", door_clear}, {NULL, NULL},
    };
    static const luaL_Reg functions[] = {{"new", door_new}, {NULL, NULL}};
    luaL_newmetatable(L, TYPE);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, functions);
    return 1;
}
