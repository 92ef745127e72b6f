/* door.rundir - core/ground/rundir.c for specs. */
#include "ground/rundir.h"
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <stdlib.h>
#include <uv.h>

int luaopen_door_rundir(lua_State *L);

/* setenv(name, value or nil) */
static int door_setenv(lua_State *L) {
    const char *name = luaL_checkstring(L, 1), *value = luaL_optstring(L, 2, NULL);
    if (value != NULL) setenv(name, value, 1);
    else unsetenv(name);
    return 0;
}

static int door_path(lua_State *L) {
    char path[PATH_MAX];
    int err = rundir_path(luaL_checkstring(L, 1), path, sizeof path);
    lua_pushstring(L, err < 0 ? uv_err_name(err) : path);
    return 1;
}

/* make() -> "ok", or the error's name and line */
static int door_make(lua_State *L) {
    char line[600] = "";
    int err = rundir_make(line, sizeof line);
    lua_pushstring(L, err < 0 ? uv_err_name(err) : "ok");
    lua_pushstring(L, line);
    return 2;
}

int luaopen_door_rundir(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"setenv", door_setenv}, {"path", door_path}, {"make", door_make}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
