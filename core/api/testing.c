#include "api/testing.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>
#include "actor/alarm.h"
#include "actor/faults.h"
#include "actor/fiber.h"
#include "actor/source.h"
#include "api/api.h"
#include "ground/clock.h"
#include "mail/atom.h"
#include "mail/names.h"
#include "mail/payload.h"
#include "mail/post.h"
#include "run/loop.h"
#include "run/scheduler.h"

#define AGAIN_MS 1000 /* who caught the error that his time is up hears it again */
#define ERROR_TEXT 4096

static bool on; /* written by testing_open before there are other threads */

static _Atomic uint64_t runner; /* who runs the specs; relaxed: all others are spawned by him, or by those he spawned */

/* Who waits for the node to rest, and for time to have come to `until`. */
static struct {
    pthread_mutex_t lock; /* guards the rest */
    uint64_t pid, ref, until; /* ref 0: nobody */
} waiter = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* How long a test may take, in real time. The loop's thread alone touches it. */
static struct {
    uv_timer_t timer;
    bool open;
    uint64_t pid;
} limit;

void testing_open(void) { on = true; }

bool testing_is_on(void) { return on; }

void testing_timer(uint64_t owner, uint64_t tag) {
    if (owner == 0) faults_due(tag);
    else actor_timer(owner, tag);
}

/* ---- time ---- */

bool testing_at_rest(void) {
    bool frozen = clock_is_frozen(), made = false;
    pthread_mutex_lock(&waiter.lock);
    uint64_t until = waiter.ref != 0 ? waiter.until : UINT64_MAX - 1;
    if (frozen) made = loop_turn(until) <= until;
    if (!made && waiter.ref != 0 && (frozen || until <= clock_now())) {
        if (frozen) clock_advance(until);
        actor_timer(waiter.pid, waiter.ref);
        waiter.ref = 0;
        made = true;
    }
    pthread_mutex_unlock(&waiter.lock);
    return made;
}

static int advanced(lua_State *L, int status, lua_KContext context) {
    (void)L, (void)status, (void)context;
    return 0;
}

/* (ms): waits until that time is there, all that was due by then has happened, and the node is at rest. */
static int advance(lua_State *L) {
    uint64_t ns = api_check_ms(L, 1, 0);
    Actor *a = api_actor(L, "testing.advance");
    fiber_check_waits(L, "advance");
    ns = (ns + CLOCK_NS_PER_MS - 1) / CLOCK_NS_PER_MS * CLOCK_NS_PER_MS; /* timers are due at whole ones */
    uint64_t ref = actor_ref(a, REF_TIMER);
    pthread_mutex_lock(&waiter.lock);
    bool taken = waiter.ref != 0 && registry_find(waiter.pid) != NULL;
    if (!taken) waiter.pid = a->pid, waiter.ref = ref, waiter.until = clock_now() + ns;
    pthread_mutex_unlock(&waiter.lock);
    if (taken) return luaL_error(L, "advance: somebody moves the time already");
    return fiber_wait(L, "advance", ref, 0, advanced);
}

/* After an error that ended the wait in advance: nobody waits there any more. */
static int forget(lua_State *L) {
    (void)L;
    pthread_mutex_lock(&waiter.lock);
    waiter.ref = 0;
    pthread_mutex_unlock(&waiter.lock);
    return 0;
}

static int real_time(lua_State *L) {
    if (!lua_isnoneornil(L, 1)) loop_freeze(!lua_toboolean(L, 1));
    lua_pushboolean(L, !clock_is_frozen());
    return 1;
}

static int seconds(lua_State *L) {
    lua_pushnumber(L, (lua_Number)clock_real() / 1e9);
    return 1;
}

static int wall(lua_State *L) {
    lua_pushnumber(L, (lua_Number)clock_wall() / 1e9);
    return 1;
}

/* ---- waiting for each other in one actor ---- */

static int ticket(lua_State *L) {
    api_push_bits(L, actor_ref(api_actor(L, "testing.ticket"), REF_TIMER));
    return 1;
}

/* (ticket, ms): until somebody calls unpark(ticket), or time is up. */
static int park(lua_State *L) {
    uint64_t ref = api_check_ref(L, 1, REF_TIMER, "timer"), ms = api_check_ms(L, 2, 0), now = clock_now();
    api_actor(L, "testing.park");
    return fiber_wait(L, "expect", ref, ms < UINT64_MAX - now ? now + ms : UINT64_MAX, advanced);
}

static int unpark(lua_State *L) {
    Actor *a = api_actor(L, "testing.unpark");
    lua_pushboolean(L, fiber_wake(a, api_check_ref(L, 1, REF_TIMER, "timer"), NULL));
    return 1;
}

/* ---- a test's limit ---- */

static void on_limit(uv_timer_t *timer) {
    (void)timer;
    actor_timer(limit.pid, ALARM_OVERDUE);
}

typedef struct Limit {
    uint64_t pid, ms; /* ms 0: none */
    int err;
} Limit;

static void set_limit(void *argument) {
    Limit *l = argument;
    if (!limit.open) {
        if ((l->err = uv_timer_init(loop_uv(), &limit.timer)) < 0) return;
        limit.open = true;
    }
    limit.pid = l->pid;
    if (l->ms == 0) uv_timer_stop(&limit.timer);
    else {
        uv_update_time(loop_uv());
        uv_timer_start(&limit.timer, on_limit, l->ms, AGAIN_MS);
    }
}

/* (ms [, body]): the main fiber of this actor gets an error if it is not done by then, in real time, and again until
 * the function `body` has ended; 0: no more. */
static int set_limit_here(lua_State *L) {
    Actor *a = api_actor(L, "testing.limit");
    a->vm.body = lua_isfunction(L, 2) ? lua_topointer(L, 2) : NULL;
    Limit l = {.pid = a->pid, .ms = api_check_ms(L, 1, 0) / CLOCK_NS_PER_MS};
    int err = loop_call(set_limit, &l);
    a->vm.overdue = false;
    if (err < 0 || l.err < 0) return luaL_error(L, "testing.limit: %s", uv_strerror(err < 0 ? err : l.err));
    return 0;
}

static void close_limit(void *unused) {
    (void)unused;
    if (limit.open) uv_close((uv_handle_t *)&limit.timer, NULL);
    limit.open = false;
}

void testing_close(void) {
    if (!on) return;
    loop_call(close_limit, NULL);
    faults_clear();
}

/* ---- the node ---- */

static int be_runner(lua_State *L) {
    atomic_store_explicit(&runner, api_actor(L, "testing.be_runner")->pid, memory_order_relaxed);
    return 0;
}

bool testing_takes_shutdown(Actor *a, int code) {
    static const char name[] = "testkit: shutdown";
    if (!on) return false;
    Message *msg = message_new(MESSAGE_SEND, 32);
    if (msg == NULL) return false;
    msg->name = atom_find(name, sizeof name - 1);
    msg->to = atomic_load_explicit(&runner, memory_order_relaxed);
    msg->from = a->pid;
    if (msg->name == 0 || payload_put_integer(&msg, code) < 0) {
        message_free(msg);
        return false;
    }
    post_deliver(msg);
    return true;
}

static int do_shutdown(lua_State *L) {
    api_calls.shutdown((int)luaL_checkinteger(L, 1));
    return 0;
}

static int reseed(lua_State *L) {
    scheduler_reseed((uint64_t)luaL_checkinteger(L, 1));
    lua_sethook(L, NULL, 0, 0); /* it was armed by the old one */
    return 0;
}

static int living(lua_State *L) {
    uint32_t at = 0;
    uint64_t pid;
    lua_newtable(L);
    for (lua_Integer i = 1; (pid = registry_next(&at)) != 0; i++) {
        api_push_bits(L, pid);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

static int alive(lua_State *L) {
    lua_pushboolean(L, registry_find(api_check_pid(L, 1)) != NULL);
    return 1;
}

static int name_of(lua_State *L) {
    char name[NAMES_TEXT_MAX + 1];
    names_of(api_check_pid(L, 1), name);
    lua_pushstring(L, name);
    return 1;
}

/* ---- code ---- */

/* (name, path, text) -> true, or nil and why */
static int source(lua_State *L) {
    size_t len;
    char text[ERROR_TEXT] = "there is a module of that name";
    const char *name = luaL_checkstring(L, 1), *path = luaL_checkstring(L, 2), *body = luaL_checklstring(L, 3, &len);
    if (source_text(name, path, body, len, text, sizeof text) == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, text);
    return 2;
}

/* Bytecode that string.dump made of a function of the spec's own. */
static int undump(lua_State *L) {
    size_t len;
    const char *bytes = luaL_checklstring(L, 1, &len);
    vm_of(L)->impure = true;
    if (luaL_loadbufferx(L, bytes, len, "=(inline)", "b") != LUA_OK) return lua_error(L);
    return 1;
}

/* (f, n): makes the upvalue n of f one of its own, with that value. */
static int set_upvalue(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 3);
    if (lua_setupvalue(L, 1, (int)luaL_checkinteger(L, 2)) == NULL) return luaL_argerror(L, 2, "no such upvalue");
    return 0;
}

/* ---- faults ---- */

static void field_text(lua_State *L, const char *key, char *out, size_t size) {
    size_t len;
    out[0] = '\0';
    if (lua_getfield(L, 1, key) != LUA_TNIL) {
        const char *text = luaL_checklstring(L, -1, &len);
        if (len >= size || strlen(text) != len) luaL_error(L, "fault: '%s' is too long, or has zero bytes", key);
        memcpy(out, text, len + 1);
    }
    lua_pop(L, 1);
}

/* A pid, or a name. */
static uint64_t field_who(lua_State *L, const char *key, char *name) {
    uint64_t pid = 0;
    name[0] = '\0';
    if (lua_getfield(L, 1, key) == LUA_TLIGHTUSERDATA) pid = api_check_pid(L, -1);
    else if (!lua_isnil(L, -1)) {
        lua_pop(L, 1);
        field_text(L, key, name, NAMES_TEXT_MAX + 1);
        return 0;
    }
    lua_pop(L, 1);
    return pid;
}

static uint64_t field_count(lua_State *L, const char *key, uint64_t preset) {
    uint64_t value = preset;
    if (lua_getfield(L, 1, key) != LUA_TNIL) {
        lua_Integer n = luaL_checkinteger(L, -1);
        if (n < 1) luaL_error(L, "fault: '%s' must be 1 or more", key);
        value = (uint64_t)n;
    }
    lua_pop(L, 1);
    return value;
}

/* {fault = "drop"|"delay"|"kill", to=, from=, name=, nth=, times=, ms=} -> its number */
static int fault(lua_State *L) {
    static const char *const kinds[] = {"drop", "delay", "kill", NULL};
    FaultRule rule;
    uint64_t id;
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "fault");
    rule.fault = (Fault)(FAULT_DROP + luaL_checkoption(L, -1, NULL, kinds));
    lua_pop(L, 1);
    rule.to = field_who(L, "to", rule.to_name);
    rule.from = field_who(L, "from", rule.from_name);
    field_text(L, "name", rule.name, sizeof rule.name);
    rule.nth = field_count(L, "nth", 1);
    rule.times = field_count(L, "times", UINT64_MAX);
    lua_getfield(L, 1, "ms");
    rule.delay = rule.fault == FAULT_DELAY ? api_check_ms(L, -1, 0) : 0;
    if (faults_add(&rule, &id) < 0) return luaL_error(L, "out of memory");
    lua_pushinteger(L, (lua_Integer)id);
    return 1;
}

static int fault_off(lua_State *L) {
    lua_pushboolean(L, faults_remove((uint64_t)luaL_checkinteger(L, 1)));
    return 1;
}

static int fault_count(lua_State *L) {
    uint64_t matched, hit;
    if (!faults_count((uint64_t)luaL_checkinteger(L, 1), &matched, &hit)) return 0;
    lua_pushinteger(L, (lua_Integer)matched);
    lua_pushinteger(L, (lua_Integer)hit);
    return 2;
}

static int faults_none(lua_State *L) {
    (void)L;
    faults_clear();
    return 0;
}

/* ---- files ---- */

static int add_path(lua_State *L) {
    if (source_add_dir(luaL_checkstring(L, 1)) < 0) return luaL_error(L, "out of memory");
    return 0;
}

/* "file", "directory", "other"; or nil and why */
static int kind_of(lua_State *L) {
    struct stat st;
    if (stat(luaL_checkstring(L, 1), &st) != 0) {
        lua_pushnil(L);
        lua_pushstring(L, strerror(errno));
        return 2;
    }
    lua_pushstring(L, S_ISREG(st.st_mode) ? "file" : S_ISDIR(st.st_mode) ? "directory" : "other");
    return 1;
}

/* The names in a folder, in order; or nil and why. */
static int list(lua_State *L) {
    uv_fs_t request;
    uv_dirent_t entry;
    int count = uv_fs_scandir(NULL, &request, luaL_checkstring(L, 1), 0, NULL);
    if (count < 0) {
        uv_fs_req_cleanup(&request);
        lua_pushnil(L);
        lua_pushstring(L, uv_strerror(count));
        return 2;
    }
    if (!lua_checkstack(L, 4)) count = 0;
    lua_newtable(L); /* out of memory here would leak the request; the process is at its end then */
    for (lua_Integer i = 1; uv_fs_scandir_next(&request, &entry) != UV_EOF; i++) {
        lua_pushstring(L, entry.name);
        lua_rawseti(L, -2, i);
    }
    uv_fs_req_cleanup(&request);
    return 1;
}

static int folder(lua_State *L) {
    char path[4096];
    size_t size = sizeof path;
    int err = uv_cwd(path, &size);
    if (err < 0) return luaL_error(L, "the current folder: %s", uv_strerror(err));
    lua_pushlstring(L, path, size);
    return 1;
}

static int is_terminal(lua_State *L) {
    lua_pushboolean(L, isatty(STDOUT_FILENO));
    return 1;
}

int testing_load(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"advance", advance}, {"forget", forget}, {"real_time", real_time}, {"seconds", seconds}, {"wall", wall},
        {"ticket", ticket}, {"park", park}, {"unpark", unpark}, {"limit", set_limit_here}, {"reseed", reseed},
        {"be_runner", be_runner}, {"shutdown", do_shutdown},
        {"living", living}, {"alive", alive}, {"name_of", name_of}, {"source", source}, {"undump", undump},
        {"set_upvalue", set_upvalue}, {"fault", fault}, {"fault_off", fault_off}, {"fault_count", fault_count},
        {"faults_none", faults_none}, {"add_path", add_path}, {"kind_of", kind_of}, {"list", list},
        {"folder", folder}, {"is_terminal", is_terminal}, {NULL, NULL}};
    vm_of(L)->impure = true;
    luaL_newlib(L, functions);
    return 1;
}
