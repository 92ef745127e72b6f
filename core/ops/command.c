#include "ops/command.h"

#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <lua-cjson.h>
#include <lualib.h>
#include <stdio.h>
#include <unistd.h>
#include "actor/embedded.h"
#include "ops/editor.h"
#include "ops/probe.h"
#include "ops/terminal.h"

typedef struct Call {
    const char *module, *version;
    char **args;
    int arg_count;
} Call;

/* What is C, opened when it is required. */
static const luaL_Reg parts[] = {
    {"throng.editor", editor_open}, {"throng.probe", probe_open}, {"throng.terminal", terminal_open}, {NULL, NULL},
};

/* A searcher for require: the modules of the program. */
static int find_embedded(lua_State *L) {
    char chunk[256];
    const char *name = luaL_checkstring(L, 1);
    const EmbeddedFile *file = embedded_find(name);
    if (file == NULL) {
        lua_pushfstring(L, "no module '%s' in the program", name);
        return 1;
    }
    snprintf(chunk, sizeof chunk, "@%s", file->path);
    if (luaL_loadbufferx(L, file->bytes, file->size, chunk, "t") != LUA_OK) return lua_error(L);
    lua_pushstring(L, file->path);
    return 2;
}

/* Ours come first: no file in the folder one happens to stand in takes their place. */
static void add_searcher(lua_State *L) {
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchers");
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, -1); i >= 2; i--) {
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, find_embedded);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);
}

static int traceback(lua_State *L) {
    luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
    return 1;
}

static int protected_run(lua_State *L) {
    const Call *call = lua_touserdata(L, 1);
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path);
    if (len < 0) return luaL_error(L, "can't find out where this program lies: /proc is not mounted");
    luaL_openlibs(L);
    luaL_requiref(L, "cjson", luaopen_cjson, 0);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    luaL_setfuncs(L, parts, 0);
    lua_pop(L, 1);
    add_searcher(L);
    lua_getglobal(L, "require");
    lua_pushstring(L, call->module);
    lua_call(L, 1, 1);
    lua_createtable(L, 0, 2);
    lua_pushlstring(L, path, (size_t)len);
    lua_setfield(L, -2, "program");
    lua_pushstring(L, call->version);
    lua_setfield(L, -2, "version");
    luaL_checkstack(L, call->arg_count, "too many arguments");
    for (int i = 0; i < call->arg_count; i++) lua_pushstring(L, call->args[i]);
    lua_call(L, 1 + call->arg_count, 1);
    return 1;
}

int command_run(const char *module, const char *version, char **args, int arg_count) {
    int code = 1;
    Call call = {module, version, args, arg_count};
    lua_State *L = luaL_newstate();
    if (L == NULL) {
        fputs("throng: out of memory\n", stderr);
        return 1;
    }
    lua_pushcfunction(L, traceback);
    lua_pushcfunction(L, protected_run);
    lua_pushlightuserdata(L, &call);
    if (lua_pcall(L, 1, 1, 1) == LUA_OK) code = (int)lua_tointeger(L, -1);
    else fprintf(stderr, "throng: %s\n", lua_tostring(L, -1));
    lua_close(L);
    return code;
}
