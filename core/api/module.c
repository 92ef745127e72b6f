/* require, load: where code comes from. */
#include <lua.h> /* before cjson's header, which does not include it */
#include <lua-cjson.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>
#include "actor/behaviour.h"
#include "actor/source.h"
#include "api/api.h"
#include "api/sandbox.h"
#include "api/testing.h"
#include "api/there.h"

#define ERROR_TEXT 4096

static int open_cjson(lua_State *L) {
    vm_of(L)->has_finalizers = true; /* its configuration holds memory of its own */
    return luaopen_cjson(L);
}

/* Modules made in C. */
static lua_CFunction built_in(const char *name) {
    if (strcmp(name, "throng") == 0) return api_throng;
    if (strcmp(name, "cjson") == 0) return open_cjson;
    if (testing_is_on() && strcmp(name, "throng.testing") == 0) return testing_load;
    return NULL;
}

/* The module's value is on top (nil: it returned nothing), its name at 1, package.loaded at 2. */
static int loaded(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushvalue(L, 1);
        if (lua_rawget(L, 2) != LUA_TNIL) return 1; /* it has put itself there */
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_rawset(L, 2);
    return 1;
}

/* After its node was asked: one of our own files then, or why there is none. */
static int fetched_module(lua_State *L, const char *name, const Source **out, char *err, size_t err_size) {
    size_t len = 0, used;
    const char *why = there_failed(L, &len);
    int result = source_find(name, out, err, err_size);
    if (result < 0 && why != NULL && (used = strlen(err)) < err_size)
        snprintf(err + used, err_size - used, "; and from its node: %.*s", (int)len, why);
    return result;
}

static int required_again(lua_State *L, int status, lua_KContext context);

static int require_module(lua_State *L, bool again) {
    const Source *source;
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    lua_settop(L, 1);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, 2) != LUA_TNIL) return 1;
    lua_settop(L, 2);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, 3) == LUA_TFUNCTION) {
        lua_pushvalue(L, 1);
        lua_callk(L, 1, 1, 0, loaded);
        return loaded(L, LUA_OK, 0);
    }
    lua_settop(L, 2);
    lua_CFunction opener = built_in(name);
    if (opener != NULL) {
        lua_pushcfunction(L, opener);
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
        return loaded(L, LUA_OK, 0);
    }
    if (sandbox_push_library(L, name)) return loaded(L, LUA_OK, 0);
    if (strlen(name) != len) return luaL_error(L, "a module's name has no zero bytes");
    static _Thread_local char text[ERROR_TEXT]; /* large, and needed no longer than this call */
    int err = behaviour_require(L, name, &source, text, sizeof text);
    const Actor *a = actor_of(L);
    if (err == UV_ENOENT && a != NULL && a->behaviour->source->origin != NULL && !again && lua_isyieldable(L))
        return there_fetch(L, "require", name, required_again); /* its node has it, perhaps */
    if (err == UV_ENOENT && again) err = fetched_module(L, name, &source, text, sizeof text);
    if (err < 0) return luaL_error(L, "%s", text);
    lua_settop(L, 2);
    source_push(L, source);
    lua_pushvalue(L, 1);
    lua_pushstring(L, source->path);
    lua_callk(L, 2, 1, 0, loaded);
    return loaded(L, LUA_OK, 0);
}

static int required_again(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return require_module(L, true);
}

static int require(lua_State *L) { return require_module(L, false); }

/* As Lua's, but text only: made-up bytecode can break the VM from inside. A reader function is called to its end
 * first. */
static int load(lua_State *L) {
    size_t len;
    const char *mode = luaL_optstring(L, 3, "bt");
    bool has_env = !lua_isnone(L, 4);
    if (strchr(mode, 't') == NULL) {
        luaL_pushfail(L);
        lua_pushfstring(L, "attempt to load a text chunk (mode is '%s')", mode);
        return 2;
    }
    if (lua_isfunction(L, 1)) {
        luaL_Buffer b;
        luaL_buffinit(L, &b);
        for (;;) {
            lua_pushvalue(L, 1);
            lua_call(L, 0, 1);
            if (lua_isnil(L, -1) || (lua_isstring(L, -1) && lua_rawlen(L, -1) == 0 && lua_type(L, -1) == LUA_TSTRING))
                break;
            if (!lua_isstring(L, -1)) return luaL_error(L, "reader function must return a string");
            luaL_addvalue(&b);
        }
        lua_pop(L, 1);
        luaL_pushresult(&b);
        lua_replace(L, 1);
        if (lua_isnoneornil(L, 2)) {
            lua_settop(L, has_env ? 4 : 3);
            lua_pushliteral(L, "=(load)");
            lua_replace(L, 2);
        }
    }
    const char *text = luaL_checklstring(L, 1, &len);
    const char *name = luaL_optstring(L, 2, text);
    if (luaL_loadbufferx(L, text, len, name, "t") != LUA_OK) {
        luaL_pushfail(L);
        lua_insert(L, -2);
        return 2;
    }
    if (has_env) {
        lua_pushvalue(L, 4);
        if (lua_setupvalue(L, -2, 1) == NULL) lua_pop(L, 1);
    }
    return 1;
}

const luaL_Reg api_module[] = {{"require", require}, {"load", load}, {NULL, NULL}};
