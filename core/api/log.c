/* throng.log: a message and fields, as one line of the node's log. */
#include "ground/log.h"

#include <string.h>
#include "api/api.h"

/* Values that have blanks or quotes in them are quoted, so that a line can be taken apart again. */
static void add_value(luaL_Buffer *b, const char *text, size_t len) {
    bool plain = len > 0 && strpbrk(text, " \t\n\"=") == NULL && strlen(text) == len;
    if (!plain) luaL_addchar(b, '"');
    for (size_t i = 0; i < len; i++) {
        if (!plain && (text[i] == '"' || text[i] == '\\')) luaL_addchar(b, '\\');
        luaL_addchar(b, text[i]);
    }
    if (!plain) luaL_addchar(b, '"');
}

/* Pushes the keys of the table at `fields`, in order, so that lines of one kind look alike. */
static int push_keys(lua_State *L, int fields) {
    int count = 0;
    lua_newtable(L);
    int keys = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, fields) != 0) {
        lua_pop(L, 1);
        luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, fields, "fields are named by strings");
        int at = count++;
        for (; at > 0; at--) { /* insertion: they are few */
            lua_rawgeti(L, keys, at);
            if (!lua_compare(L, -2, -1, LUA_OPLT)) {
                lua_pop(L, 1);
                break;
            }
            lua_rawseti(L, keys, at + 1);
        }
        lua_pushvalue(L, -1);
        lua_rawseti(L, keys, at + 1);
    }
    return count;
}

/* The string at [index] of the table at stack index `table`, which keeps it alive. */
static const char *string_at(lua_State *L, int table, int index, size_t *len) {
    lua_rawgeti(L, table, index);
    const char *text = lua_tolstring(L, -1, len);
    lua_pop(L, 1);
    return text;
}

static int write_line(lua_State *L, LogLevel level) {
    vm_of(L)->impure = true;
    char who[ACTOR_WHO_MAX] = "";
    size_t len;
    luaL_checkany(L, 1);
    if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TTABLE);
    if (!log_enabled(level)) return 0;
    lua_settop(L, 2);
    luaL_tolstring(L, 1, NULL);
    lua_replace(L, 1);
    if (lua_istable(L, 2)) {
        int count = push_keys(L, 2); /* at 3 */
        lua_createtable(L, count, 0);
        for (int i = 1; i <= count; i++) { /* the values' texts, at 4 */
            lua_rawgeti(L, 3, i);
            lua_rawget(L, 2);
            luaL_tolstring(L, -1, NULL);
            lua_rawseti(L, 4, i);
            lua_pop(L, 1);
        }
        luaL_Buffer b;
        luaL_buffinit(L, &b);
        const char *text = lua_tolstring(L, 1, &len);
        luaL_addlstring(&b, text, len);
        for (int i = 1; i <= count; i++) {
            luaL_addchar(&b, ' ');
            text = string_at(L, 3, i, &len);
            luaL_addlstring(&b, text, len);
            luaL_addchar(&b, '=');
            text = string_at(L, 4, i, &len);
            add_value(&b, text, len);
        }
        luaL_pushresult(&b);
    }
    const char *text = lua_tolstring(L, lua_istable(L, 2) ? -1 : 1, &len);
    if (actor_of(L) != NULL) actor_who(actor_of(L), who);
    log_write(level, who, text, len);
    return 0;
}

static int debug(lua_State *L) { return write_line(L, LOG_DEBUG); }
static int info(lua_State *L) { return write_line(L, LOG_INFO); }
static int warn(lua_State *L) { return write_line(L, LOG_WARN); }
static int error(lua_State *L) { return write_line(L, LOG_ERROR); }

const luaL_Reg api_log[] = {{"debug", debug}, {"info", info}, {"warn", warn}, {"error", error}, {NULL, NULL}};
