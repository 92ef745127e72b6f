/* door.able - core/net/able and core/net/spawn for specs: what turns bytes from outside into something. */
#include "net/able.h"
#include <lauxlib.h>
#include <lua.h>
#include <string.h>
#include <uv.h>
#include "mail/pid.h"
#include "net/spawn.h"

int luaopen_door_able(lua_State *L);

/* add(set, text) -> the set with it; or nil and one line */
static int door_add(lua_State *L) {
    char set[ABLE_TEXT_MAX + 1], err[512];
    strncpy(set, luaL_checkstring(L, 1), ABLE_TEXT_MAX);
    set[ABLE_TEXT_MAX] = '\0';
    if (able_add(set, luaL_checkstring(L, 2), err, sizeof err) == 0) {
        lua_pushstring(L, set);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, err);
    return 2;
}

/* is(set, key, value) -> boolean */
static int door_is(lua_State *L) {
    Able a = {.key = luaL_checkstring(L, 2)};
    a.key_len = strlen(a.key);
    if (lua_isboolean(L, 3)) a.kind = ABLE_BOOLEAN, a.yes = lua_toboolean(L, 3);
    else if (lua_isinteger(L, 3)) a.kind = ABLE_INTEGER, a.number = lua_tointeger(L, 3);
    else a.kind = ABLE_STRING, a.text = luaL_checklstring(L, 3, &a.len);
    lua_pushboolean(L, able_is(luaL_checkstring(L, 1), &a));
    return 1;
}

static int door_good(lua_State *L) {
    lua_pushboolean(L, able_good(luaL_checkstring(L, 1)));
    return 1;
}

static lua_Integer number(lua_State *L, const char *key) {
    lua_getfield(L, 1, key);
    lua_Integer n = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return n;
}

static const char *text(lua_State *L, const char *key, size_t *len) {
    const char *s = lua_getfield(L, 1, key) == LUA_TSTRING ? lua_tolstring(L, -1, len) : "";
    if (*s == '\0') *len = 0;
    lua_pop(L, 1); /* it stays in the table */
    return s;
}

/* The list `files`, of {name, path, hash, size}. */
static void read_files(lua_State *L, SpawnFiles *out) {
    out->count = 0;
    if (lua_getfield(L, 1, "files") == LUA_TTABLE)
        for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TTABLE && out->count < SPAWN_FILES_MAX; i++) {
            SpawnFile *f = &out->at[out->count++];
            lua_rawgeti(L, -1, 1), lua_rawgeti(L, -2, 2), lua_rawgeti(L, -3, 3), lua_rawgeti(L, -4, 4);
            *f = (SpawnFile){lua_tostring(L, -4), lua_tostring(L, -3), (uint64_t)lua_tointeger(L, -2),
                             (uint32_t)lua_tointeger(L, -1)};
            lua_pop(L, 5);
        }
    lua_settop(L, 1);
}

static int give(lua_State *L, Bytes *b, int err) {
    if (err == 0) lua_pushlstring(L, (const char *)bytes_first(b), bytes_len(b));
    else lua_pushnil(L), lua_pushstring(L, uv_err_name(err));
    bytes_clear(b);
    return err == 0 ? 1 : 2;
}

/* order{asker=, monitor=, wait=, memory=, name=, module=, origin=, code=, files=, argc=, flags=, args=, link=}
 * -> bytes */
static int door_order(lua_State *L) {
    static SpawnOrder o;
    Bytes b = {0};
    size_t unused;
    luaL_checktype(L, 1, LUA_TTABLE);
    o = (SpawnOrder){.asker = (uint64_t)number(L, "asker"), .monitor = (uint64_t)number(L, "monitor"),
                     .wait = (uint64_t)number(L, "wait"), .memory = (uint64_t)number(L, "memory"),
                     .link = (uint8_t)number(L, "link"), .code = (uint8_t)number(L, "code"),
                     .argc = (uint8_t)number(L, "argc"), .arg_flags = (uint8_t)number(L, "flags")};
    o.name = text(L, "name", &o.name_len);
    o.module = text(L, "module", &unused);
    o.origin = text(L, "origin", &unused);
    o.args = (const unsigned char *)text(L, "args", &o.args_size);
    read_files(L, &o.files);
    return give(L, &b, spawn_put_order(&b, &o));
}

/* read_order(bytes) -> {asker=, name=, module=, origin=, files=, args=}, or nil */
static int door_read_order(lua_State *L) {
    static SpawnOrder o;
    size_t len;
    const char *bytes = luaL_checklstring(L, 1, &len);
    if (!spawn_read_order((const unsigned char *)bytes, len, &o)) return 0;
    lua_newtable(L);
    lua_pushinteger(L, (lua_Integer)o.asker), lua_setfield(L, -2, "asker");
    lua_pushlstring(L, o.name, o.name_len), lua_setfield(L, -2, "name");
    lua_pushstring(L, o.module), lua_setfield(L, -2, "module");
    lua_pushstring(L, o.origin), lua_setfield(L, -2, "origin");
    lua_pushlstring(L, (const char *)o.args, o.args_size), lua_setfield(L, -2, "args");
    lua_newtable(L);
    for (uint32_t i = 0; i < o.files.count; i++) {
        const SpawnFile *f = &o.files.at[i];
        lua_newtable(L);
        lua_pushstring(L, f->name), lua_rawseti(L, -2, 1);
        lua_pushstring(L, f->path), lua_rawseti(L, -2, 2);
        lua_pushinteger(L, (lua_Integer)f->hash), lua_rawseti(L, -2, 3);
        lua_pushinteger(L, f->size), lua_rawseti(L, -2, 4);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "files");
    return 1;
}

/* answer(pid, code, text) -> bytes; read_answer(bytes) -> pid, code, text, or nil */
static int door_answer(lua_State *L) {
    Bytes b = {0};
    SpawnAnswer a = {(uint64_t)luaL_checkinteger(L, 1), luaL_optstring(L, 2, ""), luaL_optstring(L, 3, "")};
    return give(L, &b, spawn_put_answer(&b, &a));
}

static int door_read_answer(lua_State *L) {
    size_t len;
    const char *bytes = luaL_checklstring(L, 1, &len);
    SpawnAnswer a;
    if (!spawn_read_answer((const unsigned char *)bytes, len, &a)) return 0;
    lua_pushinteger(L, (lua_Integer)a.pid);
    lua_pushstring(L, a.code);
    lua_pushstring(L, a.text);
    return 3;
}

int luaopen_door_able(lua_State *L) {
    static const luaL_Reg functions[] = {{"add", door_add}, {"is", door_is}, {"good", door_good},
                                         {"order", door_order}, {"read_order", door_read_order},
                                         {"answer", door_answer}, {"read_answer", door_read_answer}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
