/* door.json - core/ops/json.c for specs. */
#include "ground/json.h"
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

int luaopen_door_json(lua_State *L);

/* parse(text) -> it written again; or nil, why */
static int door_parse(lua_State *L) {
    size_t len;
    const char *why, *text = luaL_checklstring(L, 1, &len);
    Json *values;
    Text out = {0};
    char *copy = malloc(len + 1);
    memcpy(copy, text, len);
    if (json_parse(copy, len, &values, &why) < 0) {
        free(copy);
        lua_pushnil(L);
        lua_pushstring(L, why);
        return 2;
    }
    json_write(&out, values);
    lua_pushlstring(L, out.bytes, out.len);
    text_free(&out);
    free(values);
    free(copy);
    return 1;
}

/* get(text, key) -> the value written, or nil */
static int door_get(lua_State *L) {
    size_t len;
    const char *why, *text = luaL_checklstring(L, 1, &len);
    Json *values;
    Text out = {0};
    char *copy = malloc(len + 1);
    memcpy(copy, text, len);
    if (json_parse(copy, len, &values, &why) < 0) {
        free(copy);
        return luaL_error(L, "%s", why);
    }
    const Json *found = json_get(values, luaL_checkstring(L, 2));
    if (found != NULL) {
        json_write(&out, found);
        lua_pushlstring(L, out.bytes, out.len);
    } else {
        lua_pushnil(L);
    }
    text_free(&out);
    free(values);
    free(copy);
    return 1;
}

int luaopen_door_json(lua_State *L) {
    static const luaL_Reg functions[] = {{"parse", door_parse}, {"get", door_get}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
