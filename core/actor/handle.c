#include "actor/handle.h"

#include <lauxlib.h>
#include <string.h>
#include <uv.h>
#include "actor/errors.h"
#include "actor/fiber.h"
#include "actor/gauge.h"
#include "actor/inbox.h"
#include "actor/observe.h"
#include "actor/reload.h"
#include "actor/report.h"
#include "mail/atom.h"
#include "mail/codec.h"
#include "mail/payload.h"
#include "mail/post.h"

/* The registry keeps the handling function under this key. Its upvalues: */
static const char handle_key;
enum {
    UP_HANDLERS = 1, /* functions by atom, as they were met */
    UP_SELF,
    UP_BEHAVIOUR,
    UP_LAST /* the handler of Actor.last_atom: many an actor hears little else, and looks no further */
};

/* ---- finding handlers ---- */

/* Pushes on_<name> of the behaviour, or nil. */
static int find(lua_State *L, const char *name, size_t len) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addlstring(&b, "on_", 3);
    luaL_addlstring(&b, name, len);
    luaL_pushresult(&b);
    int type = lua_gettable(L, lua_upvalueindex(UP_BEHAVIOUR));
    return type == LUA_TFUNCTION ? type : (lua_pop(L, 1), lua_pushnil(L), LUA_TNIL);
}

/* The same by atom, looked up once a VM: the handlers' table is filled as names are first met. */
static __attribute__((noinline)) int find_atom_slow(lua_State *L, Actor *a, uint32_t atom) {
    int type = lua_rawgeti(L, lua_upvalueindex(UP_HANDLERS), atom);
    if (type == LUA_TNIL) {
        size_t len;
        const char *name = atom_text(atom, &len);
        lua_pop(L, 1);
        type = find(L, name, len);
        if (type == LUA_TNIL) return type;
        lua_pushvalue(L, -1);
        lua_rawseti(L, lua_upvalueindex(UP_HANDLERS), atom);
    }
    lua_copy(L, -1, lua_upvalueindex(UP_LAST));
    gauge_handles(a, atom);
    return type;
}

static inline int find_atom(lua_State *L, Actor *a, uint32_t atom) {
    if (atom != atomic_load_explicit(&a->last_atom, memory_order_relaxed)) return find_atom_slow(L, a, atom);
    lua_pushvalue(L, lua_upvalueindex(UP_LAST));
    return LUA_TFUNCTION;
}

static bool find_field(lua_State *L, const char *key) {
    if (lua_getfield(L, lua_upvalueindex(UP_BEHAVIOUR), key) == LUA_TFUNCTION) return true;
    lua_pop(L, 1);
    return false;
}

static void push_bits(lua_State *L, uint64_t bits) { lua_pushlightuserdata(L, (void *)(uintptr_t)bits); }

static int decode(lua_State *L, const Message *msg) {
    if (msg->flags & MESSAGE_ERRORS) errors_ready(L);
    int count = codec_decode(L, msg);
    if (count < 0) luaL_error(L, "a message with invalid bytes came from %I", (LUAI_UACINT)msg->from);
    return count;
}

/* On an empty stack: the handler, self and the arguments. How many arguments, or -1: nobody hears it. */
static int push_call(lua_State *L, Actor *a, const Message *msg) {
    int count;
    if (msg->kind <= MESSAGE_ASK && !(msg->flags & MESSAGE_NAMED)) { /* what nearly all are */
        if (find_atom(L, a, msg->name) != LUA_TNIL) {
            lua_pushvalue(L, lua_upvalueindex(UP_SELF));
            return 1 + decode(L, msg);
        }
        lua_settop(L, 0);
        if (!find_field(L, "on_other")) return -1;
        gauge_handles(a, HANDLER_OTHER);
        size_t len;
        const char *name = atom_text(msg->name, &len);
        lua_pushvalue(L, lua_upvalueindex(UP_SELF));
        lua_pushlstring(L, name, len);
        return 2 + decode(L, msg);
    }
    switch ((MessageKind)msg->kind) {
    case MESSAGE_START:
        if (!find_field(L, "init")) return -1;
        gauge_handles(a, HANDLER_INIT);
        lua_pushvalue(L, lua_upvalueindex(UP_SELF));
        return 1 + decode(L, msg);
    case MESSAGE_DOWN:
        if (!find_field(L, "on_down")) return -1;
        gauge_handles(a, HANDLER_DOWN);
        lua_pushvalue(L, lua_upvalueindex(UP_SELF));
        push_bits(L, msg->from);
        count = decode(L, msg);
        push_bits(L, msg->ref);
        return 3 + count;
    case MESSAGE_EXIT:
        if (!find_field(L, "on_exit")) return -1;
        gauge_handles(a, HANDLER_EXIT);
        lua_pushvalue(L, lua_upvalueindex(UP_SELF));
        push_bits(L, msg->from);
        return 2 + decode(L, msg);
    default: break;
    }
    /* No loaded behaviour has such a handler; this one may have it by other ways. */
    gauge_handles(a, HANDLER_OTHER);
    size_t len;
    const char *name = payload_first_string(msg, &len);
    if (name != NULL && find(L, name, len) == LUA_TFUNCTION) {
        lua_pushvalue(L, lua_upvalueindex(UP_SELF));
        count = decode(L, msg);
        lua_remove(L, 3);
        return count;
    }
    lua_settop(L, 0);
    if (!find_field(L, "on_other")) return -1;
    lua_pushvalue(L, lua_upvalueindex(UP_SELF));
    return 1 + decode(L, msg);
}

/* ---- handling ---- */

static bool is_asked(const Message *msg) {
    return msg->ref != 0 && (msg->kind == MESSAGE_ASK || msg->kind == MESSAGE_START);
}

/* All values on the stack are the reply. */
static void reply(lua_State *L, Actor *a, const Message *msg) {
    CodecError why;
    Message *answer = message_new(MESSAGE_REPLY, 0);
    int err = answer != NULL ? codec_encode(L, 1, lua_gettop(L), &answer, &why) : UV_ENOMEM;
    if (err < 0) {
        message_free(answer);
        char text[sizeof why.text + 64];
        snprintf(text, sizeof text, "the reply can't be sent: %s", err == UV_ENOMEM ? "out of memory" : why.text);
        answer = report_make(a, "reply", text);
        if (answer == NULL) {
            post_fail(msg->from, msg->ref, a->pid, "reply", "out of memory", NULL);
            return;
        }
    }
    answer->to = msg->from;
    answer->from = a->pid;
    answer->ref = msg->ref;
    post_deliver(answer);
}

static inline __attribute__((always_inline)) void finish(lua_State *L, Actor *a, Fiber *f) {
    Message *msg = f->msg;
    if (msg->kind == MESSAGE_START) a->began = true;
    if (__builtin_expect(a->watched != 0, 0)) observe_end(a, f);
    if (is_asked(msg)) reply(L, a, msg);
    f->msg = NULL;
    message_free(msg);
}

static int handle_on(lua_State *L, int status, lua_KContext context);

static int handle(lua_State *L) {
    Actor *a = actor_of(L);
    Fiber *f = a->current;
    Message *msg;
    while ((msg = inbox_next(a)) != NULL) {
        f->msg = msg;
        lua_settop(L, 0);
        int nargs = push_call(L, a, msg);
        if (nargs < 0) {
            if (msg->kind == MESSAGE_START) { /* no init is fine */
                finish(L, a, f);
            } else {
                f->msg = NULL;
                post_refuse(msg, UV_ENOENT);
            }
            continue;
        }
        if (__builtin_expect(a->watched != 0, 0)) observe_begin(a, f);
        lua_callk(L, nargs, is_asked(msg) ? LUA_MULTRET : 0, 0, handle_on);
        finish(L, a, f);
    }
    return 0;
}

/* A handler ended that had waited or was preempted. */
static int handle_on(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    Actor *a = actor_of(L);
    finish(L, a, a->current);
    /* Old: the next message is for the new version; and one that is to come comes between two messages. */
    return a->current->old || a->reload != NULL ? 0 : handle(L);
}

/* It stays at the bottom of the fiber's stack: found there without a look into the registry. */
void handle_push(lua_State *L) {
    if (lua_gettop(L) == 0) lua_rawgetp(L, LUA_REGISTRYINDEX, &handle_key);
    lua_pushvalue(L, 1);
}

/* ---- birth ---- */

void handle_make(lua_State *L) {
    lua_createtable(L, 0, 0); /* handlers, by atom */
    lua_createtable(L, 0, 0); /* self */
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, -4);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -3);
    lua_pushnil(L);
    lua_pushcclosure(L, handle, 4);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &handle_key);
    lua_pop(L, 1);
}

bool handle_push_self(lua_State *L) {
    bool there = lua_rawgetp(L, LUA_REGISTRYINDEX, &handle_key) == LUA_TFUNCTION &&
                 lua_getupvalue(L, -1, UP_SELF) != NULL;
    if (there) lua_remove(L, -2);
    return there || (lua_pop(L, 1), false);
}

static int born(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    const Source *s = reload_version(actor_of(L))->source;
    if (!lua_istable(L, -1)) return luaL_error(L, "%s returned no table this time", s->path);
    handle_make(L);
    return 0;
}

static int birth(lua_State *L) {
    const Source *s = reload_version(actor_of(L))->source;
    BehaviourOpenLibs open_libs = (BehaviourOpenLibs)lua_tocfunction(L, 1);
    open_libs(L);
    lua_settop(L, 0);
    source_push(L, s);
    lua_pushstring(L, s->name);
    lua_pushstring(L, s->path);
    lua_callk(L, 2, 1, 0, born);
    return born(L, LUA_OK, 0);
}

void handle_push_birth(lua_State *L, BehaviourOpenLibs open_libs) {
    lua_pushcfunction(L, birth);
    lua_pushcfunction(L, open_libs);
}

/* ---- versions ---- */

static void push_upvalue(lua_State *L, int which) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &handle_key);
    lua_getupvalue(L, -1, which);
    lua_remove(L, -2);
}

void handle_push_behaviour(lua_State *L) { push_upvalue(L, UP_BEHAVIOUR); }

void handle_make_next(lua_State *L) {
    int table = lua_gettop(L);
    lua_createtable(L, 0, 0); /* handlers, by atom */
    handle_push_self(L);
    lua_pushvalue(L, table);
    lua_pushnil(L);
    lua_pushcclosure(L, handle, 4);
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, table);
    lua_setfield(L, -2, "__index");
    lua_remove(L, table);
}

/* The __index of `self` while two versions live in one actor: each coroutine finds the functions of its own. Upvalues:
 * the old one's table, the new one's. */
static int index_of_two(lua_State *L) {
    const Fiber *f = actor_of(L)->current;
    lua_settop(L, 2);
    lua_gettable(L, lua_upvalueindex(f != NULL && f->old ? 1 : 2));
    return 1;
}

void handle_exchange(lua_State *L, bool old) {
    int meta = lua_gettop(L), handler = meta - 1;
    lua_getupvalue(L, handler, UP_BEHAVIOUR);
    if (old) {
        handle_push_behaviour(L);
        lua_insert(L, -2);
        lua_pushcclosure(L, index_of_two, 2);
    }
    lua_setfield(L, meta, "__index"); /* the key is there */
    handle_push_self(L);
    if (!lua_getmetatable(L, -1)) lua_createtable(L, 0, 0); /* its script took it away */
    lua_rawgetp(L, LUA_REGISTRYINDEX, &handle_key);
    /* self, the old metatable, the old handler */
    lua_pushvalue(L, meta);
    lua_setmetatable(L, meta + 1);
    lua_pushvalue(L, handler);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &handle_key);
    lua_replace(L, handler);
    lua_replace(L, meta);
    lua_settop(L, meta);
}

void handle_settle(lua_State *L) {
    int top = lua_gettop(L);
    handle_push_self(L);
    if (lua_getmetatable(L, -1)) {
        handle_push_behaviour(L);
        lua_setfield(L, -2, "__index");
    }
    lua_settop(L, top);
}

/* ---- terminate ---- */

static int terminated(lua_State *L, int status, lua_KContext context) {
    (void)L, (void)status, (void)context;
    return 0;
}

static int terminate(lua_State *L) {
    lua_getupvalue(L, 1, UP_BEHAVIOUR);
    if (lua_getfield(L, -1, "terminate") != LUA_TFUNCTION) return 0;
    lua_getupvalue(L, 1, UP_SELF);
    int count = decode(L, actor_of(L)->ending);
    lua_callk(L, 1 + count, 0, 0, terminated);
    return 0;
}

bool handle_push_terminate(lua_State *L, int *nargs) {
    lua_settop(L, 0);
    lua_pushcfunction(L, terminate);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &handle_key) != LUA_TFUNCTION) { /* its body never came to the end */
        lua_settop(L, 0);
        return false;
    }
    *nargs = 1;
    return true;
}
