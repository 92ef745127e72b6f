/* embedded.c - a door to actor/embedded: find(module) -> path, bytes | nil; count(). */
#include "actor/embedded.h"
#include <lauxlib.h>

static int embedded_door_find(lua_State *L) {
    const EmbeddedFile *file = embedded_find(luaL_checkstring(L, 1));
    if (file == NULL) return 0;
    lua_pushstring(L, file->path);
    lua_pushlstring(L, file->bytes, file->size);
    return 2;
}

static int embedded_door_count(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)embedded_count);
    return 1;
}

int luaopen_door_embedded(lua_State *L);
int luaopen_door_embedded(lua_State *L) {
    static const luaL_Reg functions[] = {{"find", embedded_door_find}, {"count", embedded_door_count}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
