/* Reloading: new code for living actors, asked for by a script. See actor/rollout. */
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/errors.h"
#include "actor/fiber.h"
#include "actor/outcome.h"
#include "actor/rollout.h"
#include "api/api.h"
#include "ground/clock.h"
#include "ground/log.h"
#include "mail/codec.h"
#include "mail/post.h"

#define NAMES_MOST 250

typedef struct Asked {
    uint64_t pid, ref;
} Asked;

static void report_done(void *context, const Outcome *report) {
    Asked *asked = context;
    Message *msg = message_new(MESSAGE_REPLY, 512);
    if (msg == NULL || outcome_put(&msg, report) < 0) {
        message_free(msg);
        log_format(LOG_ERROR, "", "out of memory: a reload's report was lost");
    } else {
        msg->to = asked->pid;
        msg->ref = asked->ref;
        post_deliver(msg);
    }
    free(asked);
}

static int reported(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    const Message *answer = fiber_answer(L);
    if (answer == NULL) return luaL_error(L, "the reload's report was lost");
    if (codec_decode(L, answer) != 1) return luaL_error(L, "the reload's report has invalid bytes");
    return 1;
}

static Actor *allowed(lua_State *L, const char *what) {
    Actor *a = api_actor(L, what);
    if (!((a->vm.grants | a->may_grant) & GRANT_RELOAD))
        luaL_error(L, "throng.%s: this actor may not: it is for the root, and for whom was spawned with "
                      "allow = {\"reload\"}", what);
    return a;
}

static int raw_field(lua_State *L, const char *key) { /* of the options */
    lua_pushstring(L, key);
    return lua_rawget(L, 2);
}

static uint32_t option_ms(lua_State *L, const char *what, const char *key) {
    uint32_t ms = 0;
    if (raw_field(L, key) != LUA_TNIL) {
        lua_Number n = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
        if (!(n >= 1 && n <= 86400000)) luaL_error(L, "%s: option '%s' must be milliseconds, at least 1", what, key);
        ms = (uint32_t)n;
    }
    lua_pop(L, 1);
    return ms;
}

static bool option_flag(lua_State *L, const char *what, const char *key) {
    int type = raw_field(L, key);
    if (type != LUA_TNIL && type != LUA_TBOOLEAN) luaL_error(L, "%s: option '%s' must be a boolean", what, key);
    bool flag = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return flag;
}

static void option_canary(lua_State *L, const char *what, RolloutOptions *o) {
    bool good = true;
    if (raw_field(L, "canary") == LUA_TNUMBER) {
        lua_Number n = lua_tonumber(L, -1);
        good = n >= 1 && n <= 1e9;
        if (good) o->canary_count = (uint32_t)n;
    } else if (lua_type(L, -1) == LUA_TSTRING) {
        char *end;
        o->canary_percent = strtod(lua_tostring(L, -1), &end);
        good = strcmp(end, "%") == 0 && o->canary_percent > 0 && o->canary_percent <= 100;
    } else {
        good = lua_isnil(L, -1);
    }
    if (!good) luaL_error(L, "%s: option 'canary' must be a number of actors, or a share as \"5%%\"", what);
    lua_pop(L, 1);
}

static void read_options(lua_State *L, const char *what, RolloutOptions *o) {
    static const char *const known[] = {"in_flight", "drain", "canary", "watch", "force", "mode"};
    if (lua_isnoneornil(L, 2)) return;
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, 2) != 0) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            found = found || (lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), known[i]) == 0);
        if (!found)
            luaL_error(L, "%s: unknown option '%s' (there are in_flight, drain, canary, watch, force, mode)", what,
                       luaL_tolstring(L, -2, NULL));
        lua_pop(L, 1);
    }
    if (raw_field(L, "in_flight") != LUA_TNIL) {
        const char *word = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
        o->cancels = strcmp(word, "cancel") == 0;
        if (!o->cancels && strcmp(word, "drain") != 0)
            luaL_error(L, "%s: option 'in_flight' must be \"drain\" or \"cancel\"", what);
    }
    lua_pop(L, 1);
    if (raw_field(L, "mode") != LUA_TNIL) {
        const char *word = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
        o->fresh = strcmp(word, "vm") == 0;
        if (!o->fresh && strcmp(word, "code") != 0) luaL_error(L, "%s: option 'mode' must be \"code\" or \"vm\"", what);
    }
    lua_pop(L, 1);
    o->drain_ms = option_ms(L, what, "drain");
    o->watch_ms = option_ms(L, what, "watch");
    o->force = option_flag(L, what, "force") || o->fresh;
    option_canary(L, what, o);
}

/* With the modules' names in `names`; waits for the report. */
static int start(lua_State *L, Actor *a, const char *what, RolloutOptions *o) {
    fiber_check_waits(L, what);
    Asked *asked = malloc(sizeof *asked);
    if (asked == NULL) return luaL_error(L, "out of memory");
    uint64_t ref = actor_ref(a, REF_REQUEST);
    *asked = (Asked){a->pid, ref};
    o->asker = a->pid;
    o->asker_waits = a->current == &a->main && !a->behaviour->concurrent;
    o->done = report_done;
    o->context = asked;
    int err = rollout_start(o);
    if (err < 0) {
        free(asked);
        if (err == UV_EBUSY) return errors_raise(L, "busy", "%s: another reload is under way", what);
        return errors_raise(L, "reload", "%s: %s", what, uv_strerror(err));
    }
    return fiber_wait(L, what, ref, 0, reported);
}

static const char *module_name(lua_State *L, int index, const char *what) {
    if (lua_type(L, index) != LUA_TSTRING || strlen(lua_tostring(L, index)) != lua_rawlen(L, index))
        luaL_error(L, "%s: a module's name, or a list of them", what);
    return lua_tostring(L, index);
}

static int reload(lua_State *L) {
    RolloutOptions o = {0};
    Actor *a = allowed(L, "reload");
    const char *names[NAMES_MOST];
    lua_settop(L, 2);
    if (lua_istable(L, 1)) {
        for (lua_Integer i = 1; lua_rawgeti(L, 1, i) != LUA_TNIL; i++) {
            if (o.name_count == NAMES_MOST) return luaL_error(L, "reload: at most %d modules", NAMES_MOST);
            names[o.name_count++] = module_name(L, -1, "reload"); /* lives on in the table */
            lua_pop(L, 1);
        }
        lua_settop(L, 2);
    } else if (!lua_isnil(L, 1)) {
        names[o.name_count++] = module_name(L, 1, "reload");
    }
    o.names = names;
    read_options(L, "reload", &o);
    return start(L, a, "reload", &o);
}

static int rollback(lua_State *L) {
    RolloutOptions o = {.back = true};
    Actor *a = allowed(L, "rollback");
    lua_settop(L, 2);
    const char *name = module_name(L, 1, "rollback");
    o.names = &name;
    o.name_count = 1;
    read_options(L, "rollback", &o);
    return start(L, a, "rollback", &o);
}

static int versions(lua_State *L) {
    const char *name = luaL_optstring(L, 1, NULL);
    lua_Integer count = 0;
    vm_of(L)->impure = true;
    lua_createtable(L, 0, 0);
    for (const Behaviour *b = behaviour_next(NULL); b != NULL; b = behaviour_next(b)) {
        if (name != NULL && strcmp(b->source->name, name) != 0) continue;
        BehaviourState state = behaviour_state(b);
        lua_createtable(L, 0, 6);
        lua_pushstring(L, b->source->name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, b->source->path);
        lua_setfield(L, -2, "file");
        lua_pushstring(L, b->version);
        lua_setfield(L, -2, "version");
        lua_pushboolean(L, state.current);
        lua_setfield(L, -2, "current");
        lua_pushinteger(L, rollout_actors(b));
        lua_setfield(L, -2, "actors");
        if (state.before != NULL) {
            lua_pushstring(L, state.before->version);
            lua_setfield(L, -2, "before");
        }
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

const luaL_Reg api_reload[] = {{"reload", reload}, {"rollback", rollback}, {"versions", versions}, {NULL, NULL}};
