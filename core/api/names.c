/* Names of actors: on this node; and whom another node knows by one. */
#include "mail/names.h"

#include <string.h>
#include <uv.h>
#include "actor/errors.h"
#include "actor/fiber.h"
#include "api/api.h"
#include "ground/clock.h"
#include "ground/config.h"
#include "mail/codec.h"
#include "net/cluster.h"

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

/* Another node has answered, or not in time. */
static int found(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    const Message *answer = fiber_answer(L);
    if (answer != NULL && answer->kind == MESSAGE_REPLY && answer->argc == 1) {
        if (codec_decode(L, answer) != 1) return errors_raise(L, "error", "the answer has invalid bytes");
        if (lua_touserdata(L, -1) == NULL) lua_pushnil(L);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, answer == NULL ? "timeout" : "unreachable");
    return 2;
}

static int whereis_there(lua_State *L, const char *name, size_t len) {
    luaL_checktype(L, 2, LUA_TSTRING);
    size_t node_len;
    const char *node = lua_tolstring(L, 2, &node_len);
    luaL_argcheck(L, node_len > 0, 2, "a node has a name");
    if (strcmp(node, api_calls.node_name) == 0) {
        api_push_bits(L, names_find(name, len));
        return 1;
    }
    Actor *a = api_actor(L, "whereis");
    fiber_check_waits(L, "whereis");
    uint64_t ref = actor_ref(a, REF_REQUEST), limit = fiber_limit(a),
             deadline = clock_now() + (uint64_t)config.ask_timeout * CLOCK_NS_PER_MS;
    if (limit != 0 && limit < deadline) deadline = limit;
    int err = cluster_whereis(node, name, len, a->pid, ref);
    if (err == UV_ENOMEM) return luaL_error(L, "out of memory");
    if (err == 0) return fiber_wait(L, "whereis", ref, deadline, found);
    lua_pushnil(L);
    lua_pushliteral(L, "unreachable");
    return 2;
}

static int whereis(lua_State *L) {
    vm_of(L)->impure = true;
    size_t len;
    const char *name = check_name(L, 1, &len);
    if (!lua_isnoneornil(L, 2)) return whereis_there(L, name, len);
    api_push_bits(L, names_find(name, len));
    return 1;
}

const luaL_Reg api_names[] = {{"register", do_register},
                              {"unregister", unregister},
                              {"whereis", whereis},
                              {NULL, NULL}};
