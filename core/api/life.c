/* Spawning and ending actors, and forks of one. */
#include <stdio.h>
#include <string.h>
#include <uv.h>
#include "actor/cycle.h"
#include "actor/embedded.h"
#include "actor/errors.h"
#include "actor/fiber.h"
#include "api/api.h"
#include "api/delivery.h"
#include "api/there.h"
#include "ground/clock.h"
#include "ground/config.h"
#include "mail/atom.h"
#include "mail/codec.h"
#include "mail/names.h"
#include "mail/payload.h"
#include "mail/post.h"

#define ERROR_TEXT 4096

static const struct {
    const char *name;
    uint8_t grant;
} grants[] = {{"io", GRANT_IO}, {"os", GRANT_OS}, {"debug", GRANT_DEBUG}, {"package", GRANT_PACKAGE},
              {"reload", GRANT_RELOAD}};

typedef enum { FOUND, ABSENT, FETCH } Finding;

/* What the module's name means to the actor that calls. ABSENT: nothing. FETCH: its code came from another node, which
 * must be asked first; `again`: it was. Raises for all that may not be. */
static Finding find(lua_State *L, const char *what, int module, bool again, const Behaviour **out, const char **why) {
    static _Thread_local char text[ERROR_TEXT]; /* large, and needed no longer than this call */
    Actor *a = api_actor(L, what);
    luaL_checktype(L, module, LUA_TSTRING);
    const char *name = lua_tostring(L, module), *origin = a->behaviour->source->origin, *failed = NULL;
    size_t len = 0, used;
    *why = text;
    if (strlen(name) != lua_rawlen(L, module)) errors_raise(L, "spawn", "%s: a module's name has no zero bytes", what);
    if (origin != NULL && embedded_find(name) == NULL && source_good_name(name)) {
        if ((*out = delivery_meaning(origin, name)) != NULL) {
            *out = behaviour_newest(*out);
            return FOUND;
        }
        if (!again) return FETCH;
        failed = there_failed(L, &len);
    }
    int err = behaviour_find(name, out, text, sizeof text);
    if (err == 0) return FOUND;
    if (failed != NULL && (used = strlen(text)) < sizeof text)
        snprintf(text + used, sizeof text - used, "; and at node %s: %.*s", origin, (int)len, failed);
    if (err != UV_ENOENT) errors_raise(L, "spawn", "%s: %s", what, text);
    return ABSENT;
}

/* Makes the actor with the values from `first` on. The actor's pid, and the monitor's ref. */
static uint64_t make(lua_State *L, const char *what, const Behaviour *b, const ActorOptions *options, int first,
                     uint64_t *ref) {
    CodecError why;
    uint64_t pid;
    Actor *a = api_actor(L, what);
    int err;
    Message *start = message_new(MESSAGE_START, 0);
    if (start == NULL) luaL_error(L, "out of memory");
    err = codec_encode(L, first, lua_gettop(L), &start, &why);
    if (err == 0) err = actor_spawn(b, options, a, start, &pid, ref);
    else if (err != UV_ENOMEM) {
        message_free(start);
        luaL_error(L, "%s '%s': %s", what, b->source->name, why.text);
    }
    if (err == 0) return pid;
    message_free(start);
    if (err == UV_EAGAIN)
        errors_raise(L, "limit", "%s: %I actors are alive, the limit (actors.limit) is reached", what,
                     (LUAI_UACINT)config.actors_limit);
    if (err == UV_EEXIST) {
        lua_pushlstring(L, options->name, options->name_len);
        errors_raise(L, "name_taken", "%s: the name '%s' is taken", what, lua_tostring(L, -1));
    }
    errors_raise(L, "memory", "%s: out of memory", what);
    return 0;
}

static int spawn_again(lua_State *L, int status, lua_KContext context);

static int spawn_one(lua_State *L, bool again) {
    const ActorOptions options = {0};
    const Behaviour *b;
    const char *why;
    Finding finding = find(L, "spawn", 1, again, &b, &why);
    if (finding == FETCH) return there_fetch(L, "spawn", lua_tostring(L, 1), spawn_again);
    if (finding == ABSENT) return errors_raise(L, "spawn", "spawn: %s", why);
    api_push_bits(L, make(L, "spawn", b, &options, 2, NULL));
    return 1;
}

static int spawn_again(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return spawn_one(L, true);
}

static int spawn(lua_State *L) { return spawn_one(L, false); }

/* Is the value that string? Zero bytes are bytes as others. */
static bool same(lua_State *L, int index, const char *text) {
    return lua_type(L, index) == LUA_TSTRING && lua_rawlen(L, index) == strlen(text) &&
           strcmp(lua_tostring(L, index), text) == 0;
}

/* One field of spawn_with's options on top of the stack, of the right type or absent (then popped: false). */
static bool option(lua_State *L, const char *key, int type) {
    int is = lua_getfield(L, 1, key);
    if (is == LUA_TNIL) {
        lua_pop(L, 1);
        return false;
    }
    if (is != type)
        luaL_error(L, "spawn_with: option '%s' must be a %s, not a %s", key, lua_typename(L, type),
                   lua_typename(L, is));
    return true;
}

static bool flag(lua_State *L, const char *key) {
    if (!option(L, key, LUA_TBOOLEAN)) return false;
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

static lua_Integer whole(lua_State *L, const char *key, lua_Integer least, lua_Integer most) {
    int ok;
    lua_Integer value = lua_tointegerx(L, -1, &ok);
    if (!ok || value < least || value > most)
        luaL_error(L, "spawn_with: option '%s' must be a whole number from %I to %I", key, (LUAI_UACINT)least,
                   (LUAI_UACINT)most);
    lua_pop(L, 1);
    return value;
}

static uint8_t allow(lua_State *L, const Actor *a) {
    uint8_t all = 0;
    if (!option(L, "allow", LUA_TTABLE)) return 0;
    for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
        uint8_t grant = 0;
        for (size_t g = 0; g < sizeof grants / sizeof grants[0]; g++)
            if (same(L, -1, grants[g].name))
                grant = grants[g].grant;
        if (grant == 0)
            luaL_error(L, "spawn_with: allow[%I] must be one of \"io\", \"os\", \"debug\", \"package\", "
                          "\"reload\"",
                       (LUAI_UACINT)i);
        if (!(a->may_grant & grant))
            luaL_error(L, "spawn_with: this actor may not allow \"%s\": it was not allowed it itself",
                       lua_tostring(L, -1));
        all |= grant;
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
    return all;
}

static void check_keys(lua_State *L) {
    static const char *const known[] = {"name", "monitor", "link",     "memory", "mailbox", "allow",
                                        "wait", "pid",     "restarts", "node",   "requires"};
    lua_pushnil(L);
    while (lua_next(L, 1) != 0) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            found = found || same(L, -2, known[i]);
        if (!found)
            luaL_error(L,
                       "spawn_with: unknown option '%s' (there are name, monitor, link, memory, mailbox, allow, wait, "
                       "restarts, node, requires, pid)",
                       luaL_tolstring(L, -2, NULL));
        lua_pop(L, 1);
    }
}

static void mailbox(lua_State *L, ActorOptions *options) {
    if (!option(L, "mailbox", LUA_TTABLE)) return;
    if (lua_getfield(L, -1, "limit") != LUA_TNIL)
        options->mailbox_limit = (uint32_t)whole(L, "mailbox.limit", 1, MAILBOX_LIMIT_MAX);
    else lua_pop(L, 1);
    if (lua_getfield(L, -1, "full") != LUA_TNIL) {
        for (uint8_t i = 0; mailbox_fulls[i] != NULL; i++)
            if (same(L, -1, mailbox_fulls[i])) options->mailbox_full = i + 1;
        if (options->mailbox_full == 0)
            luaL_error(L, "spawn_with: option 'mailbox.full' must be \"refuse\", \"drop_newest\", \"drop_oldest\" or "
                          "\"latest\"");
    }
    lua_pop(L, 2);
}

/* init has ended, or not in time. The pid and ref (or nil) are on top. */
static int started(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    const Message *answer = fiber_answer(L);
    if (answer == NULL) {
        char who[PID_TEXT_MAX];
        pid_text(api_check_pid(L, -2), who);
        Actor *a = actor_of(L);
        if (a->current->deadline == fiber_limit(a))
            return errors_raise(L, "timeout",
                                "spawn_with: the init of %s did not end in the time that was left: our own asker "
                                "waits no longer", who);
        return errors_raise(L, "timeout", "spawn_with: the init of %s did not end in time", who);
    }
    if (answer->kind == MESSAGE_FAIL) {
        errors_ready(L);
        if (codec_decode(L, answer) != 1) return errors_raise(L, "error", "the answer has invalid bytes");
        return lua_error(L);
    }
    return lua_isnil(L, -1) ? (lua_pop(L, 1), 1) : 2;
}

static int spawn_with_again(lua_State *L, int status, lua_KContext context);

static int spawn_with_options(lua_State *L, bool again) {
    ActorOptions options = {0};
    const Behaviour *b;
    const char *why;
    uint64_t wait = 0, ref = 0;
    Actor *a = api_actor(L, "spawn_with");
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TSTRING);
    check_keys(L);
    if (option(L, "memory", LUA_TNUMBER)) options.memory = (size_t)whole(L, "memory", 65536, 1ll << 40);
    options.link = flag(L, "link");
    options.monitor = flag(L, "monitor");
    options.grants = allow(L, a);
    mailbox(L, &options);
    if (option(L, "restarts", LUA_TNUMBER)) options.restarts = (uint32_t)whole(L, "restarts", 0, INT32_MAX);
    if (option(L, "wait", LUA_TNUMBER)) {
        lua_Number ms = lua_tonumber(L, -1);
        if (!(ms >= 0 && ms <= 1e12)) return luaL_error(L, "spawn_with: option 'wait' must be milliseconds, 0 or more");
        wait = (uint64_t)(ms * (lua_Number)CLOCK_NS_PER_MS);
        lua_pop(L, 1);
        fiber_check_waits(L, "spawn_with{wait}");
        options.wait_ref = actor_ref(a, REF_REQUEST);
    }
    if (option(L, "name", LUA_TSTRING)) {
        options.name = lua_tolstring(L, -1, &options.name_len); /* lives on in the options' table */
        if (options.name_len == 0 || options.name_len > NAMES_TEXT_MAX)
            return luaL_error(L, "spawn_with: a name has 1 to %d bytes", NAMES_TEXT_MAX);
        lua_pop(L, 1);
    }
    uint32_t node = there_pick(L);
    Finding finding = find(L, "spawn_with", 2, again, &b, &why);
    if (finding == FETCH) return there_fetch(L, "spawn_with", lua_tostring(L, 2), spawn_with_again);
    if (node != 0) return there_spawn(L, node, finding == FOUND ? b : NULL, &options, wait, started);
    if (finding == ABSENT) return errors_raise(L, "spawn", "spawn_with: %s", why);
    uint64_t pid = make(L, "spawn_with", b, &options, 3, &ref);
    lua_settop(L, 2);
    api_push_bits(L, pid);
    api_push_bits(L, ref);
    if (options.wait_ref != 0) { /* whoever is to end it while it waits, or when init failed, finds it here */
        uint64_t deadline = clock_now() + wait, limit = fiber_limit(a);
        if (limit != 0 && limit < deadline) deadline = limit;
        lua_pushliteral(L, "pid");
        api_push_bits(L, pid);
        lua_rawset(L, 1);
        const char *circle = cycle_enter(a, options.wait_ref, pid, atom_intern("init", 4));
        if (circle != NULL)
            return errors_raise(L, "deadlock", "spawn_with{wait}: they would wait for each other for ever: %s", circle);
        return fiber_wait(L, "spawn_with{wait}", options.wait_ref, deadline, started);
    }
    return ref != 0 ? 2 : (lua_pop(L, 1), 1);
}

static int spawn_with_again(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return spawn_with_options(L, true);
}

static int spawn_with(lua_State *L) { return spawn_with_options(L, false); }

static int self(lua_State *L) {
    api_push_bits(L, api_actor(L, "self")->pid);
    return 1;
}

static int parent(lua_State *L) {
    api_push_bits(L, api_actor(L, "parent")->parent);
    return 1;
}

/* A message of that kind with the reason at `arg`, "normal" if there is none. */
static Message *reason_at(lua_State *L, MessageKind kind, int arg, const char *what) {
    CodecError why;
    Message *msg = message_new(kind, 16);
    int err = msg == NULL ? UV_ENOMEM : lua_isnoneornil(L, arg) ? payload_put_string(&msg, "normal", 6)
                                                                : codec_encode(L, arg, arg, &msg, &why);
    if (err == 0) return msg;
    message_free(msg);
    luaL_error(L, "%s: %s", what, err == UV_ENOMEM ? "out of memory" : why.text);
    return NULL;
}

static int leave(lua_State *L, Actor *a) {
    if (!lua_isyieldable(L)) return vm_doom(L);
    a->vm.yielding = YIELD_EXIT;
    return lua_yield(L, 0);
}

static int do_exit(lua_State *L) {
    Actor *a = api_actor(L, "exit");
    actor_end(a, reason_at(L, MESSAGE_EXIT, 1, "exit"));
    return leave(L, a);
}

static int do_kill(lua_State *L) {
    uint64_t pid = api_check_pid(L, 1);
    Actor *a = api_actor(L, "kill");
    Message *msg = message_new(MESSAGE_KILL, 0);
    if (msg == NULL) return luaL_error(L, "out of memory");
    msg->to = pid;
    msg->from = a->pid;
    int err = post_send(msg);
    if (err >= 0 && pid == a->pid) return leave(L, a);
    return api_sent(L, err, msg);
}

static int stop(lua_State *L) {
    uint64_t pid = api_check_pid(L, 1);
    Actor *a = api_actor(L, "stop");
    Message *msg = reason_at(L, MESSAGE_STOP, 2, "stop");
    msg->to = pid;
    msg->from = a->pid;
    return api_sent(L, post_send(msg), msg);
}

static int do_fork(lua_State *L) {
    api_actor(L, "fork");
    luaL_checktype(L, 1, LUA_TFUNCTION);
    fiber_fork(L, lua_gettop(L) - 1);
    return 0;
}

const luaL_Reg api_life[] = {{"spawn", spawn}, {"spawn_with", spawn_with}, {"self", self}, {"parent", parent},
                             {"exit", do_exit}, {"kill", do_kill}, {"stop", stop}, {"fork", do_fork}, {NULL, NULL}};
