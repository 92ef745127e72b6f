/* Names of actors on this node. */
#include "mail/names.h"

#include <uv.h>
#include "api/api.h"

static const char *check_name(lua_State *L, int arg, size_t *len) {
    luaL_checktype(L, arg, LUA_TSTRING);
    const char *name = lua_tolstring(L, arg, len);
    luaL_argcheck(L, *len > 0 && *len <= NAMES_TEXT_MAX, arg, "a name has 1 to 200 bytes");
    return name;
}

static int do_register(lua_State *L) {
    size_t len;
    const char *name = check_name(L, 1, &len);
    int err = actor_add_name(api_actor(L, "register"), name, len);
    if (err == UV_ENOMEM) return luaL_error(L, "out of memory");
    lua_pushboolean(L, err == 0);
    if (err == 0) return 1;
    lua_pushliteral(L, "taken");
    return 2;
}

static int unregister(lua_State *L) {
    size_t len;
    const char *name = check_name(L, 1, &len);
    lua_pushboolean(L, actor_drop_name(api_actor(L, "unregister"), name, len) == 0);
    return 1;
}

static int whereis(lua_State *L) {
    vm_of(L)->impure = true;
    size_t len;
    const char *name = check_name(L, 1, &len);
    api_push_bits(L, names_find(name, len));
    return 1;
}

const luaL_Reg api_names[] = {{"register", do_register},
                              {"unregister", unregister},
                              {"whereis", whereis},
                              {NULL, NULL}};
