/* Names of actors: on this node, and whom another node knows by one; and of the whole cluster. */
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
#include "net/titles.h"

static const char *check_name(lua_State *L, int arg, size_t *len) {
    luaL_checktype(L, arg, LUA_TSTRING);
    const char *name = lua_tolstring(L, arg, len);
    luaL_argcheck(L, *len > 0 && *len <= NAMES_TEXT_MAX, arg, "a name has 1 to 200 bytes");
    return name;
}

/* {scope = "cluster"} or {scope = "node"} at `arg`, or nothing: is it the first? */
static bool in_cluster(lua_State *L, int arg, const char *what) {
    static const char *const scopes[] = {"node", "cluster", NULL};
    if (lua_isnoneornil(L, arg)) return false;
    luaL_checktype(L, arg, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, arg) != 0) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING || strcmp(lua_tostring(L, -1), "scope") != 0)
            luaL_error(L, "%s: unknown option '%s' (there is scope)", what, luaL_tolstring(L, -1, NULL));
    }
    if (lua_getfield(L, arg, "scope") == LUA_TNIL) return lua_pop(L, 1), false;
    const char *scope = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : luaL_typename(L, -1);
    lua_pop(L, 1); /* the table keeps it */
    for (int i = 0; scopes[i] != NULL; i++)
        if (strcmp(scope, scopes[i]) == 0) return i == 1;
    return luaL_error(L, "%s: option 'scope' must be \"node\" or \"cluster\", not %s", what, scope);
}

static int no_titles(lua_State *L, const char *what) {
    return errors_raise(L, "no_etcd", "%s: names of the whole cluster are kept in etcd: start this node with --etcd "
                                      "http://HOST:2379", what);
}

/* When an actor that waits for etcd gives up: clock_now. */
static uint64_t patience(const Actor *a) {
    uint64_t limit = fiber_limit(a), deadline = clock_now() + (uint64_t)config.ask_timeout * CLOCK_NS_PER_MS;
    return limit != 0 && limit < deadline ? limit : deadline;
}

static int no(lua_State *L, const char *why) {
    lua_pushboolean(L, 0);
    lua_pushstring(L, why);
    return 2;
}

/* On the stack: the name, the request. */
static int claimed(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    size_t len;
    const char *name = lua_tolstring(L, 1, &len);
    const Message *answer = fiber_answer(L);
    if (answer != NULL && answer->kind == MESSAGE_REPLY && answer->argc == 2) return codec_decode(L, answer);
    int64_t fence = titles_fence(name, len, actor_of(L)->pid);
    if (fence != 0) { /* it has come at the last moment */
        lua_pushboolean(L, 1);
        lua_pushinteger(L, fence);
        return 2;
    }
    titles_cancel(name, len, actor_of(L)->pid, (uint64_t)(uintptr_t)lua_touserdata(L, 2));
    return no(L, "timeout");
}

static int register_title(lua_State *L, const char *name, size_t len) {
    Actor *a = api_actor(L, "register");
    fiber_check_waits(L, "register");
    uint64_t ref = actor_ref(a, REF_REQUEST), deadline = patience(a);
    lua_settop(L, 1);
    api_push_bits(L, ref);
    int err = titles_claim(name, len, a->pid, ref, deadline, a->behaviour->hears_name);
    if (err == UV_ENOTSUP) return no_titles(L, "register");
    if (err < 0) return luaL_error(L, "out of memory");
    return fiber_wait(L, "register", ref, deadline, claimed);
}

static int do_register(lua_State *L) {
    size_t len;
    const char *name = check_name(L, 1, &len);
    if (in_cluster(L, 2, "register")) return register_title(L, name, len);
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
    if (in_cluster(L, 2, "unregister")) {
        int err = titles_release(name, len, api_actor(L, "unregister")->pid);
        if (err == UV_ENOTSUP) return no_titles(L, "unregister");
        lua_pushboolean(L, err == 0);
        return 1;
    }
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
    if (lua_type(L, 2) != LUA_TSTRING) return luaL_typeerror(L, 2, "string or table");
    size_t node_len;
    const char *node = lua_tolstring(L, 2, &node_len);
    luaL_argcheck(L, node_len > 0, 2, "a node has a name");
    if (strcmp(node, api_calls.node_name) == 0) {
        api_push_bits(L, names_find(name, len));
        return 1;
    }
    Actor *a = api_actor(L, "whereis");
    fiber_check_waits(L, "whereis");
    uint64_t ref = actor_ref(a, REF_REQUEST), deadline = patience(a);
    int err = cluster_whereis(node, name, len, a->pid, ref);
    if (err == UV_ENOMEM) return luaL_error(L, "out of memory");
    if (err == 0) return fiber_wait(L, "whereis", ref, deadline, found);
    lua_pushnil(L);
    lua_pushliteral(L, "unreachable");
    return 2;
}

static int title_read(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    const Message *answer = fiber_answer(L);
    if (answer != NULL && answer->kind == MESSAGE_REPLY && answer->argc <= 2) return codec_decode(L, answer);
    lua_pushnil(L);
    lua_pushliteral(L, "timeout");
    return 2;
}

static int whereis_title(lua_State *L, const char *name, size_t len) {
    uint64_t pid = 0;
    int64_t fence = 0;
    int err = titles_find(name, len, &pid, &fence);
    if (err == UV_ENOTSUP) return no_titles(L, "whereis");
    if (err == 0) {
        api_push_bits(L, pid);
        lua_pushinteger(L, fence);
        return 2;
    }
    if (err == UV_EHOSTUNREACH) {
        lua_pushnil(L);
        lua_pushliteral(L, "unreachable");
        return 2;
    }
    Actor *a = api_actor(L, "whereis");
    fiber_check_waits(L, "whereis");
    uint64_t ref = actor_ref(a, REF_REQUEST), deadline = patience(a);
    if (titles_read(name, len, a->pid, ref, deadline) < 0) return luaL_error(L, "out of memory");
    return fiber_wait(L, "whereis", ref, deadline, title_read);
}

static int fence(lua_State *L) {
    size_t len;
    const char *name = check_name(L, 1, &len);
    int64_t number = titles_fence(name, len, api_actor(L, "fence")->pid);
    if (number == 0) lua_pushnil(L);
    else lua_pushinteger(L, number);
    return 1;
}

static int whereis(lua_State *L) {
    vm_of(L)->impure = true;
    size_t len;
    const char *name = check_name(L, 1, &len);
    if (lua_istable(L, 2)) {
        if (in_cluster(L, 2, "whereis")) return whereis_title(L, name, len);
        lua_settop(L, 1);
    }
    if (!lua_isnoneornil(L, 2)) return whereis_there(L, name, len);
    api_push_bits(L, names_find(name, len));
    return 1;
}

const luaL_Reg api_names[] = {{"register", do_register},
                              {"unregister", unregister},
                              {"whereis", whereis},
                              {"fence", fence},
                              {NULL, NULL}};
