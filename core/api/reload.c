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
#include "mail/payload.h"
#include "mail/post.h"
#include "run/loop.h"

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

/* ---- on all nodes ---- */

typedef struct Everywhere { /* on its way to the loop's thread, and until the report comes */
    Asked asked;
    uint32_t within;
    RolloutOptions options;
    char *names[];
} Everywhere;

static void everywhere_free(Everywhere *e) {
    for (size_t i = 0; i < e->options.name_count; i++) free(e->names[i]);
    free(e);
}

/* `failed`: a table, with ok = false in front of all its own. */
static int put_json(Message **msg, const Json *v, bool failed) {
    size_t mark;
    int err;
    switch ((JsonType)v->type) {
    case JSON_FALSE:
    case JSON_TRUE: return payload_put_boolean(msg, v->type == JSON_TRUE);
    case JSON_INTEGER: return payload_put_integer(msg, v->integer);
    case JSON_NUMBER: return payload_put_number(msg, v->number);
    case JSON_STRING: return payload_put_string(msg, v->text, v->len);
    case JSON_ARRAY:
    case JSON_OBJECT: break;
    default: return payload_put_nil(msg);
    }
    unsigned pairs = 0;
    err = payload_open_table(msg, false, &mark);
    if (failed && err == 0) err = payload_put_string(msg, "ok", 2);
    if (failed && err == 0) err = payload_put_boolean(msg, false);
    pairs += failed;
    const Json *at = json_first(v);
    for (uint32_t i = 0; i < v->len && err == 0; i++) {
        const Json *value = v->type == JSON_OBJECT ? at + 1 : at;
        if (value->type != JSON_NULL) {
            err = v->type == JSON_OBJECT ? payload_put_string(msg, at->text, at->len)
                                         : payload_put_integer(msg, (int64_t)i + 1);
            if (err == 0) err = put_json(msg, value, false);
            pairs++;
        }
        at = json_next(value);
    }
    return err == 0 ? payload_close_table(msg, mark, pairs) : err;
}

static void everywhere_done(void *context, bool good, Text *report) { /* on the loop's thread */
    Everywhere *e = context;
    Json *values = NULL;
    const char *why;
    Message *msg = message_new(MESSAGE_REPLY, 512);
    if (msg == NULL || report->failed || json_parse(report->bytes, report->len, &values, &why) < 0 ||
        put_json(&msg, values, !good) < 0) {
        message_free(msg);
        post_fail(e->asked.pid, e->asked.ref, 0, "reload", "the report of the reload on all nodes is too large, or "
                  "memory is short: see the log", NULL);
    } else {
        msg->to = e->asked.pid;
        msg->ref = e->asked.ref;
        post_deliver(msg);
    }
    free(values);
    text_free(report);
    everywhere_free(e);
}

static void everywhere_start(void *everywhere) { /* on the loop's thread */
    Everywhere *e = everywhere;
    int err = api_calls.reload_all(&e->options, e->within, everywhere_done, e);
    if (err == 0) return;
    post_fail(e->asked.pid, e->asked.ref, 0, err == UV_EBUSY ? "busy" : "reload",
              err == UV_EBUSY ? "another reload is under way" : uv_strerror(err), NULL);
    everywhere_free(e);
}

static int ask_everywhere(const RolloutOptions *o, Asked asked, uint32_t within) {
    if (api_calls.reload_all == NULL) return UV_ENOTSUP;
    Everywhere *e = calloc(1, sizeof *e + o->name_count * sizeof e->names[0]);
    int err = e != NULL ? 0 : UV_ENOMEM;
    if (err == 0) {
        e->asked = asked;
        e->within = within;
        e->options = *o;
        e->options.name_count = 0;
        e->options.names = (const char *const *)e->names;
        for (size_t i = 0; i < o->name_count && err == 0; i++, e->options.name_count++)
            if ((e->names[i] = strdup(o->names[i])) == NULL) err = UV_ENOMEM;
        if (err == 0) err = loop_submit(everywhere_start, e);
        if (err < 0) everywhere_free(e);
    }
    return err;
}

/* ---- waiting for the report ---- */

static int reported(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    const Message *answer = fiber_answer(L);
    if (answer == NULL) return luaL_error(L, "the reload's report was lost");
    if (answer->flags & MESSAGE_ERRORS) errors_ready(L);
    bool failed = answer->kind == MESSAGE_FAIL;
    if (codec_decode(L, answer) != 1) return luaL_error(L, "the reload's report has invalid bytes");
    return failed ? lua_error(L) : 1;
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
    static const char *const known[] = {"in_flight", "drain", "canary", "watch", "force", "mode", "all",
                                        "within"};
    if (lua_isnoneornil(L, 2)) return;
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, 2) != 0) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            found = found || (lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), known[i]) == 0);
        if (!found)
            luaL_error(L, "%s: unknown option '%s' (there are in_flight, drain, canary, watch, force, mode, all, "
                          "within)", what,
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
    bool options = lua_istable(L, 2), all = options && option_flag(L, what, "all");
    uint32_t within = options ? option_ms(L, what, "within") : 0;
    fiber_check_waits(L, what);
    Asked *asked = malloc(sizeof *asked);
    if (asked == NULL) return luaL_error(L, "out of memory");
    uint64_t ref = actor_ref(a, REF_REQUEST);
    *asked = (Asked){a->pid, ref};
    o->asker = a->pid;
    o->asker_waits = a->current == &a->main && !a->behaviour->concurrent;
    o->done = report_done;
    o->context = asked;
    int err = all ? ask_everywhere(o, *asked, within) : rollout_start(o);
    if (err < 0 || all) {
        free(asked);
        if (err == 0) return fiber_wait(L, what, ref, 0, reported);
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
