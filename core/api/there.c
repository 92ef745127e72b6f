#include "api/there.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/cycle.h"
#include "actor/errors.h"
#include "actor/fiber.h"
#include "api/delivery.h"
#include "ground/clock.h"
#include "ground/config.h"
#include "ground/log.h"
#include "mail/atom.h"
#include "mail/codec.h"
#include "mail/mailbox.h"
#include "mail/payload.h"
#include "mail/post.h"
#include "net/cluster.h"
#include "net/members.h"
#include "run/loop.h"

#define ERROR_TEXT 4096
#define GRACE_MS 1000 /* after the spawner's deadline: then whoever is born is killed */

/* ---- for others: on the loop's thread ---- */

typedef struct Guest {
    CallFrom from;
    uint64_t asker, monitor;
    bool link;
    ActorOptions options;
    Message *start;
    char *name;
} Guest;

static bool ending;

static void free_guest(Guest *g) {
    message_free(g->start);
    free(g->name);
    free(g);
}

static void refuse(CallFrom from, const char *code, const char *text) {
    Bytes out = {0};
    if (spawn_put_answer(&out, &(SpawnAnswer){.code = code, .text = text}) == 0)
        call_answer(from, bytes_first(&out), bytes_len(&out));
    bytes_clear(&out);
}

/* It has a pid, and nobody runs it yet: its asker hears of it before it can say or end anything. */
static int tie(void *guest, Actor *a) {
    Guest *g = guest;
    Bytes out = {0};
    Link *l = members_find(g->from.node);
    uint64_t none = 0;
    int err = 0;
    if (l == NULL || link_session(l) != g->from.session) return UV_EHOSTUNREACH;
    if (g->link && (err = link_bind(l, false, MESSAGE_LINK, g->asker, a->pid, &none)) == 0)
        err = map_put(&a->watch.links, g->asker, 1);
    if (err == 0 && g->monitor != 0 &&
        (err = link_bind(l, false, MESSAGE_MONITOR, g->asker, a->pid, &g->monitor)) == 0)
        err = map_put(&a->watch.watchers, g->monitor, g->asker);
    if (err == 0 && (err = spawn_put_answer(&out, &(SpawnAnswer){.pid = a->pid})) == 0)
        call_answer(g->from, bytes_first(&out), bytes_len(&out));
    bytes_clear(&out);
    return err;
}

static void code_came(void *guest, const Behaviour *b, const char *code, const char *text) {
    Guest *g = guest;
    char why[400];
    uint64_t pid;
    if (b == NULL || ending) {
        refuse(g->from, b == NULL ? code : "refused", b == NULL ? text : "it is about to end");
        free_guest(g);
        return;
    }
    g->options.before = tie;
    g->options.context = g;
    int err = actor_spawn(b, &g->options, NULL, g->start, &pid, NULL);
    if (err == 0) g->start = NULL;
    if (err == UV_EAGAIN) {
        snprintf(why, sizeof why, "%lld actors are alive there, the limit (actors.limit) is reached",
                 (long long)config.actors_limit);
        refuse(g->from, "limit", why);
    } else if (err == UV_EEXIST) {
        snprintf(why, sizeof why, "the name '%.200s' is taken there", g->name != NULL ? g->name : "");
        refuse(g->from, "name_taken", why);
    } else if (err < 0 && err != UV_EHOSTUNREACH) {
        refuse(g->from, "memory", "out of memory");
    }
    free_guest(g);
}

static bool take_order(Guest *g, const SpawnOrder *o) {
    Link *l = members_find(g->from.node);
    g->asker = o->asker;
    g->monitor = o->monitor;
    g->link = o->link;
    g->options = (ActorOptions){.memory = (size_t)o->memory, .mailbox_limit = o->mailbox_limit,
                                .mailbox_full = o->mailbox_full, .grants = o->grants, .restarts = o->restarts,
                                .wait_ref = o->wait};
    if (l == NULL || !link_adopt(l, &g->asker) || o->grants & ~GRANT_ALL || o->mailbox_limit > MAILBOX_LIMIT_MAX ||
        (o->memory != 0 && (o->memory < 65536 || o->memory > 1ull << 40)) || o->mailbox_full > 1 + MAILBOX_LATEST)
        return false;
    g->options.parent = g->asker;
    if ((g->start = message_new(MESSAGE_START, o->args_size)) == NULL) return false;
    if (o->args_size > 0) memcpy(g->start->bytes, o->args, o->args_size);
    g->start->size = (uint32_t)o->args_size;
    g->start->argc = o->argc;
    g->start->flags = o->arg_flags;
    if (!link_adopt_values(l, g->start)) return false;
    if (o->name_len == 0) return true;
    if ((g->name = malloc(o->name_len + 1)) == NULL) return false;
    memcpy(g->name, o->name, o->name_len + 1);
    g->options.name = g->name;
    g->options.name_len = o->name_len;
    return true;
}

static void spawn_wanted(CallFrom from, const unsigned char *body, size_t len) {
    static SpawnOrder order; /* the loop's thread */
    Guest *g = calloc(1, sizeof *g);
    if (g == NULL || !spawn_read_order(body, len, &order)) {
        free(g);
        refuse(from, "error", "it could not read what was asked of it");
        return;
    }
    g->from = from;
    if (ending || !take_order(g, &order)) {
        refuse(from, ending ? "refused" : "error",
               ending ? "it is about to end" : "it could not read what was asked of it, or is out of memory");
        free_guest(g);
        return;
    }
    DeliveryWant want = {.node = from.node, .origin = *order.origin != '\0' ? order.origin : members_name(from.node),
                         .module = order.module, .code = (SpawnCode)order.code, .done = code_came, .context = g};
    if (want.code == SPAWN_THESE) want.files = &order.files;
    delivery_want(&want);
}

void there_open(void) { call_serve(CALL_SPAWN, spawn_wanted); }

static void end_now(void *unused) {
    (void)unused;
    ending = true;
}

void there_end(void) {
    cluster_leave();
    loop_call(end_now, NULL);
}

/* ---- for ours ---- */

/* How far it is. The loop's thread and the spawner's worker both go from GOING on; release and acquire: with what goes
 * before in the struct. */
typedef enum { TRIP_GOING, TRIP_BORN, TRIP_FAILED, TRIP_LEFT } TripState;

typedef struct Trip { /* two own it: the spawner's VM, and the loop */
    _Atomic int state;
    atomic_int owners; /* acq_rel: the last one frees */
    uint32_t node;
    uint64_t asker, ref, monitor, wait, deadline;
    bool link;
    lua_KFunction started;
    uint64_t pid;
    char code[100], node_name[FRAME_NAME_MAX + 1];
    char *text; /* of a failure, may be NULL */
    Bytes order;
} Trip;

static void drop(Trip *t) {
    if (atomic_fetch_sub_explicit(&t->owners, 1, memory_order_acq_rel) > 1) return;
    bytes_clear(&t->order);
    free(t->text);
    free(t);
}

static int collect(lua_State *L) {
    Trip **at = lua_touserdata(L, 1);
    if (*at != NULL) drop(*at);
    *at = NULL;
    return 0;
}

/* Who waits goes on, and looks at the trip. */
static void wake(const Trip *t) {
    Message *msg = message_new(MESSAGE_REPLY, 0);
    if (msg == NULL) return; /* its deadline wakes it */
    msg->to = t->asker;
    msg->ref = t->ref;
    post_deliver(msg);
}

static void fail(Trip *t, const char *code, const char *text) {
    int going = TRIP_GOING;
    snprintf(t->code, sizeof t->code, "%s", code);
    t->text = strdup(text);
    if (atomic_compare_exchange_strong_explicit(&t->state, &going, TRIP_FAILED, memory_order_release,
                                                memory_order_relaxed))
        wake(t);
}

static void send_to(MessageKind kind, uint64_t from, uint64_t to, uint64_t ref) {
    Message *msg = message_new(kind, 0);
    if (msg == NULL) {
        log_format(LOG_ERROR, "", "out of memory: a notice about a new actor was lost");
        return;
    }
    msg->from = from;
    msg->to = to;
    msg->ref = ref;
    post_deliver(msg);
}

/* It lives there. What ties it to its spawner is known here before anything can come from it. */
static void born(Trip *t, Link *l, uint64_t pid) {
    int going = TRIP_GOING;
    uint64_t none = 0, monitor = t->monitor, wait = t->wait; /* its own copies: the worker may read those */
    t->pid = pid;
    if (!atomic_compare_exchange_strong_explicit(&t->state, &going, TRIP_BORN, memory_order_release,
                                                 memory_order_relaxed)) {
        send_to(MESSAGE_KILL, t->asker, pid, 0); /* it came too late */
        return;
    }
    if (t->link) {
        link_bind(l, true, MESSAGE_LINK, t->asker, pid, &none);
        send_to(MESSAGE_LINK, pid, t->asker, 0); /* if that one is dead, the other hears so */
    }
    if (monitor != 0) {
        link_bind(l, true, MESSAGE_MONITOR, t->asker, pid, &monitor);
        if (registry_find(t->asker) == NULL) send_to(MESSAGE_DEMONITOR, t->asker, pid, monitor);
    }
    if (wait != 0) link_bind(l, true, MESSAGE_ASK, t->asker, pid, &wait);
    wake(t);
}

static void answered(void *trip, int err, const unsigned char *body, size_t len) {
    Trip *t = trip;
    Link *l = members_find(t->node);
    SpawnAnswer answer;
    char text[ERROR_TEXT + 128];
    if (err == UV_ETIMEDOUT) {
        fail(t, "timeout", "it did not answer in time");
    } else if (err == UV_E2BIG) {
        snprintf(text, sizeof text, "init's arguments are too large for it: %zu bytes", bytes_len(&t->order));
        fail(t, "too_large", text);
    } else if (err == UV_EHOSTUNREACH) {
        fail(t, "down", "the connection to it was lost; the actor may have been made");
    } else if (err < 0) {
        fail(t, "refused", err == UV_ENOTSUP ? "it makes no actors for others" : uv_strerror(err));
    } else if (l == NULL || !spawn_read_answer(body, len, &answer)) {
        fail(t, "error", "it answered with bytes that make no sense");
    } else if (answer.pid == 0) {
        fail(t, answer.code, answer.text);
    } else if (!link_adopt(l, &answer.pid)) {
        fail(t, "error", "it answered with a pid that is none");
    } else {
        born(t, l, answer.pid);
    }
    bytes_clear(&t->order); /* up to a megabyte: it need not wait for the spawner's garbage collector */
    drop(t);
}

static void set_out(void *trip) {
    Trip *t = trip;
    uint64_t now = clock_now(), left = t->deadline > now ? (t->deadline - now) / CLOCK_NS_PER_MS : 0;
    Link *l = members_find(t->node);
    if (l == NULL || !link_is_up(l)) {
        fail(t, "unreachable", "it is not up any more");
        drop(t);
        return;
    }
    able_sent(t->node);
    call_ask(t->node, CALL_SPAWN, bytes_first(&t->order), bytes_len(&t->order), left + GRACE_MS, answered, t);
    link_flush_all(); /* nobody else does, after a job */
}

/* ---- on the spawner's worker ---- */

/* An option that names what a node must be able to. */
static size_t read_requires(lua_State *L, Able items[ABLE_MOST]) {
    size_t count = 0;
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        Able *a = &items[count];
        if (lua_type(L, -2) != LUA_TSTRING || lua_rawlen(L, -2) == 0 || lua_rawlen(L, -2) > ABLE_KEY_MAX)
            luaL_error(L, "spawn_with: option 'requires' is a table such as {gpu = true, zone = \"eu\"}");
        if (count == ABLE_MOST) luaL_error(L, "spawn_with: option 'requires' names more than %d", ABLE_MOST);
        *a = (Able){.key = lua_tolstring(L, -2, NULL), .key_len = lua_rawlen(L, -2)};
        if (lua_isboolean(L, -1)) a->kind = ABLE_BOOLEAN, a->yes = lua_toboolean(L, -1);
        else if (lua_isinteger(L, -1)) a->kind = ABLE_INTEGER, a->number = lua_tointeger(L, -1);
        else if (lua_type(L, -1) == LUA_TSTRING) a->kind = ABLE_STRING, a->text = lua_tolstring(L, -1, &a->len);
        else
            luaL_error(L, "spawn_with: what 'requires.%s' asks for must be true, false, a whole number or a string, "
                       "not a %s", a->key, luaL_typename(L, -1));
        count++;
        lua_pop(L, 1); /* its text stays in the table */
    }
    return count;
}

static const char *who_is_up(lua_State *L) {
    uint32_t at = 0;
    const char *name;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addstring(&b, api_calls.node_name);
    while ((name = cluster_next(&at)) != NULL) {
        luaL_addstring(&b, ", ");
        luaL_addstring(&b, name);
    }
    luaL_pushresult(&b);
    return lua_tostring(L, -1);
}

static bool fits(uint32_t node, const Able *items, size_t count) {
    char set[ABLE_TEXT_MAX + 1];
    uint64_t actors;
    if (!able_takes(node) || able_of(node, set, &actors) < 0) return false;
    for (size_t i = 0; i < count; i++)
        if (!able_is(set, &items[i])) return false;
    return true;
}

uint32_t there_pick(lua_State *L) {
    Able items[ABLE_MOST];
    size_t count = 0, len;
    char can[1024], wanted[512];
    bool requires = lua_getfield(L, 1, "requires") != LUA_TNIL;
    if (requires && !lua_istable(L, -1))
        luaL_error(L, "spawn_with: option 'requires' must be a table, not a %s", luaL_typename(L, -1));
    if (requires) count = read_requires(L, items);
    int type = lua_getfield(L, 1, "node");
    if (type != LUA_TNIL) {
        if (type != LUA_TSTRING)
            luaL_error(L, "spawn_with: option 'node' must be a string, not a %s", luaL_typename(L, -1));
        const char *name = lua_tolstring(L, -1, &len);
        bool own = strcmp(name, api_calls.node_name) == 0;
        uint32_t node = strlen(name) != len ? UINT32_MAX : own ? 0 : cluster_find(name);
        if (node != UINT32_MAX && fits(node, items, count)) {
            lua_pop(L, 2);
            return node;
        }
        if (!requires) {
            errors_raise(L, "unreachable", "spawn_with: no node '%s' is up; there %s", name,
                         lua_pushfstring(L, cluster_next(&(uint32_t){0}) != NULL ? "are %s" : "is only %s",
                                         who_is_up(L)));
        }
    } else if (!requires) {
        lua_pop(L, 2);
        return 0;
    }
    uint32_t node = able_pick(items, count, can, sizeof can);
    if (node == UINT32_MAX) {
        able_show(items, count, wanted, sizeof wanted);
        errors_raise(L, "no_node", "spawn_with: no node can do what is required, %s (%s)", wanted, can);
    }
    lua_pop(L, 2);
    return node;
}

/* The trip is over, or time is up. Stack: options, module, trip. */
static int arrived(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    Trip *t = *(Trip **)lua_touserdata(L, 3);
    Actor *a = actor_of(L);
    int state = TRIP_GOING;
    bool left = fiber_answer(L) == NULL &&
                atomic_compare_exchange_strong_explicit(&t->state, &state, TRIP_LEFT, memory_order_acquire,
                                                        memory_order_acquire);
    if (!left) state = atomic_load_explicit(&t->state, memory_order_acquire);
    if (left || state != TRIP_BORN) {
        if (t->monitor != 0) watch_expected(a, t->monitor, 0);
        if (t->wait != 0) fiber_unforesee(a, t->wait);
        if (left && t->deadline == fiber_limit(a))
            return errors_raise(L, "timeout",
                                "spawn_with: node %s made no actor in the time that was left: our own asker waits no "
                                "longer", t->node_name);
        if (left) return errors_raise(L, "timeout", "spawn_with: node %s made no actor in time", t->node_name);
        return errors_raise(L, t->code, "spawn_with: node %s: %s", t->node_name,
                            t->text != NULL ? t->text : "out of memory");
    }
    if (t->monitor != 0) watch_expected(a, t->monitor, t->pid);
    lua_pushliteral(L, "pid");
    api_push_bits(L, t->pid);
    lua_rawset(L, 1);
    lua_settop(L, 3);
    api_push_bits(L, t->pid);
    api_push_bits(L, t->monitor);
    if (t->wait == 0) return t->monitor != 0 ? 2 : (lua_pop(L, 1), 1);
    const char *circle = cycle_enter(a, t->wait, t->pid, atom_intern("init", 4));
    if (circle != NULL)
        return errors_raise(L, "deadlock", "spawn_with{wait}: they would wait for each other for ever: %s", circle);
    return fiber_wait(L, "spawn_with{wait}", t->wait, t->deadline, t->started);
}

static int put_order(lua_State *L, Trip *t, const Behaviour *b, const ActorOptions *o, const Message *args, char *err,
                     size_t err_size) {
    static _Thread_local SpawnOrder order; /* large */
    order = (SpawnOrder){.asker = t->asker, .monitor = t->monitor, .wait = t->wait, .memory = o->memory,
                         .mailbox_limit = o->mailbox_limit, .restarts = o->restarts, .mailbox_full = o->mailbox_full,
                         .grants = o->grants, .link = o->link, .name = o->name, .name_len = o->name_len,
                         .module = lua_tostring(L, 2), .origin = "", .code = SPAWN_THESE, .argc = args->argc,
                         .arg_flags = args->flags & MESSAGE_ERRORS, .args = args->bytes, .args_size = args->size};
    if (b == NULL) order.code = SPAWN_YOURS;
    else if (b->source->built_in) order.code = SPAWN_PROGRAM;
    else if (!delivery_files(b, &order.files, err, err_size)) return UV_EINVAL;
    if (b != NULL && b->source->origin != NULL) order.origin = b->source->origin;
    int result = spawn_put_order(&t->order, &order);
    if (result == UV_E2BIG)
        snprintf(err, err_size, "init's arguments are too large: %u bytes, and 1 MB with all the rest is the most",
                 args->size);
    else if (result < 0) snprintf(err, err_size, "out of memory");
    return result;
}

int there_spawn(lua_State *L, uint32_t node, const Behaviour *b, const ActorOptions *o, uint64_t wait,
                lua_KFunction started) {
    static _Thread_local char text[ERROR_TEXT]; /* large, and needed no longer than this call */
    CodecError why;
    Actor *a = api_actor(L, "spawn_with");
    fiber_check_waits(L, "spawn_with{node}");
    if (o->wait_ref == 0) wait = (uint64_t)config.ask_timeout * CLOCK_NS_PER_MS;
    uint64_t deadline = clock_now() + wait, limit = fiber_limit(a);
    if (limit != 0 && limit < deadline) deadline = limit;
    Trip **held = lua_newuserdatauv(L, sizeof *held, 0);
    *held = NULL;
    if (luaL_newmetatable(L, "throng.trip")) {
        vm_of(L)->has_finalizers = true;
        lua_pushcfunction(L, collect);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    lua_insert(L, 3); /* before the arguments */
    Message *args = message_new(MESSAGE_START, 0);
    Trip *t = args != NULL ? calloc(1, sizeof *t) : NULL;
    if (t == NULL) {
        message_free(args);
        return luaL_error(L, "out of memory");
    }
    *held = t;
    atomic_init(&t->owners, 1);
    t->node = node;
    t->asker = a->pid;
    t->deadline = deadline;
    t->link = o->link;
    t->started = started;
    snprintf(t->node_name, sizeof t->node_name, "%s", members_name(node));
    int err = codec_encode(L, 4, lua_gettop(L), &args, &why);
    if (err < 0) {
        message_free(args);
        if (err == UV_ENOMEM) return luaL_error(L, "out of memory");
        return luaL_error(L, "spawn_with '%s': %s", lua_tostring(L, 2), why.text);
    }
    t->ref = actor_ref(a, REF_REQUEST);
    if (o->wait_ref != 0 && (err = fiber_foresee(a, o->wait_ref)) == 0) t->wait = o->wait_ref;
    if (err == 0 && o->monitor) err = watch_expect(a, &t->monitor);
    snprintf(text, sizeof text, "%s", "out of memory");
    if (err == 0) err = put_order(L, t, b, o, args, text, sizeof text);
    message_free(args);
    if (err == 0) {
        atomic_store_explicit(&t->owners, 2, memory_order_relaxed); /* loop_submit hands it on */
        if ((err = loop_submit(set_out, t)) < 0) atomic_store_explicit(&t->owners, 1, memory_order_relaxed);
    }
    if (err < 0) {
        if (t->monitor != 0) watch_expected(a, t->monitor, 0);
        if (t->wait != 0) fiber_unforesee(a, t->wait);
        return errors_raise(L, err == UV_ENOMEM ? "memory" : "too_large", "spawn_with: node %s: %s", t->node_name,
                            text);
    }
    lua_settop(L, 3);
    return fiber_wait(L, "spawn_with{node}", t->ref, deadline, arrived);
}

/* ---- modules that have not come yet ---- */

typedef struct Errand {
    uint64_t asker, ref;
    char origin[FRAME_NAME_MAX + 1], module[201];
} Errand;

static void fetched(void *errand, const Behaviour *b, const char *code, const char *text) {
    Errand *e = errand;
    Message *msg = b != NULL ? message_new(MESSAGE_REPLY, 0) : NULL;
    if (b == NULL) {
        post_fail(e->asker, e->ref, 0, code, text, NULL);
    } else if (msg != NULL) {
        msg->to = e->asker;
        msg->ref = e->ref;
        post_deliver(msg);
    }
    free(e);
}

static void fetch(void *errand) {
    Errand *e = errand;
    uint32_t node = cluster_find(e->origin);
    char text[160];
    if (node == UINT32_MAX) {
        snprintf(text, sizeof text, "node %s, whose code names it, is not up", e->origin);
        fetched(e, NULL, "unreachable", text);
        return;
    }
    DeliveryWant want = {.node = node, .origin = e->origin, .module = e->module, .code = SPAWN_THESE, .done = fetched,
                         .context = e};
    delivery_want(&want);
    link_flush_all();
}

int there_fetch(lua_State *L, const char *what, const char *module, lua_KFunction k) {
    Actor *a = api_actor(L, what);
    fiber_check_waits(L, what);
    Errand *e = calloc(1, sizeof *e);
    if (e == NULL) return luaL_error(L, "out of memory");
    e->asker = a->pid;
    e->ref = actor_ref(a, REF_REQUEST);
    snprintf(e->origin, sizeof e->origin, "%s", a->behaviour->source->origin);
    snprintf(e->module, sizeof e->module, "%s", module);
    uint64_t ref = e->ref, limit = fiber_limit(a),
             deadline = clock_now() + (uint64_t)config.ask_timeout * CLOCK_NS_PER_MS;
    if (limit != 0 && limit < deadline) deadline = limit;
    if (loop_submit(fetch, e) < 0) {
        free(e);
        return luaL_error(L, "out of memory");
    }
    return fiber_wait(L, what, ref, deadline, k);
}

const char *there_failed(lua_State *L, size_t *len) {
    static const char late[] = "its node did not send it in time";
    const Message *answer = fiber_answer(L);
    if (answer != NULL && answer->kind != MESSAGE_FAIL) return NULL;
    const char *text = answer != NULL ? payload_first_field(answer, "message", len) : NULL;
    if (text == NULL) *len = sizeof late - 1, text = late;
    return text;
}
