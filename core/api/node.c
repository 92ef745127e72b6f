/* The node: its name, its end, its figures. */
#include <string.h>
#include "api/api.h"
#include "api/testing.h"
#include "ground/clock.h"
#include "ground/metrics.h"
#include "mail/registry.h"
#include "net/able.h"
#include "net/cluster.h"

static int node(lua_State *L) {
    lua_pushstring(L, api_calls.node_name);
    return 1;
}

static int nodes(lua_State *L) {
    uint32_t at = 0;
    const char *other;
    vm_of(L)->impure = true;
    lua_createtable(L, 1, 0);
    lua_pushstring(L, api_calls.node_name);
    lua_rawseti(L, -2, 1);
    for (lua_Integer i = 2; (other = cluster_next(&at)) != NULL; i++) {
        lua_pushstring(L, other);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

static int node_info(lua_State *L) {
    char set[ABLE_TEXT_MAX + 1];
    uint64_t actors;
    size_t len, at = 0;
    Able a;
    const char *name = luaL_optlstring(L, 1, api_calls.node_name, &len);
    vm_of(L)->impure = true;
    bool own = strcmp(name, api_calls.node_name) == 0;
    uint32_t number = strlen(name) != len ? UINT32_MAX : own ? 0 : cluster_find(name);
    if (number == UINT32_MAX || able_of(number, set, &actors) < 0) return 0;
    lua_createtable(L, 0, 4);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "name");
    lua_pushboolean(L, own);
    lua_setfield(L, -2, "own");
    lua_pushinteger(L, (lua_Integer)actors);
    lua_setfield(L, -2, "actors");
    lua_createtable(L, 0, 0);
    while (able_next(set, &at, &a)) {
        lua_pushlstring(L, a.key, a.key_len);
        if (a.kind == ABLE_BOOLEAN) lua_pushboolean(L, a.yes);
        else if (a.kind == ABLE_INTEGER) lua_pushinteger(L, a.number);
        else lua_pushlstring(L, a.text, a.len);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "can");
    return 1;
}

static int do_shutdown(lua_State *L) {
    lua_Integer code = luaL_optinteger(L, 1, 0);
    luaL_argcheck(L, code >= 0 && code <= 255, 1, "an exit code is from 0 to 255");
    Actor *a = api_actor(L, "shutdown");
    if (!testing_takes_shutdown(a, (int)code)) api_calls.shutdown((int)code);
    return 0;
}

static void put(lua_State *L, const char *key, lua_Integer value) {
    lua_pushinteger(L, value);
    lua_setfield(L, -2, key);
}

static int info(lua_State *L) {
    uint64_t pid = api_check_pid(L, 1), waits_for = 0;
    const Slot *slot = registry_find(pid);
    if (slot == NULL) return 0;
    if (atomic_load_explicit(&slot->asks, memory_order_acquire) != 0)
        waits_for = atomic_load_explicit(&slot->asked, memory_order_relaxed);
    lua_Integer depth = mailbox_depth(&slot->box), limit = mailbox_limit(&slot->box);
    const char *full = mailbox_fulls[mailbox_full(&slot->box)];
    double age = mailbox_age(&slot->box);
    SlotTally *tally = registry_tally(pid);
    lua_Integer dropped = (lua_Integer)atomic_load_explicit(&tally->dropped, memory_order_relaxed),
                refused = (lua_Integer)atomic_load_explicit(&tally->refused, memory_order_relaxed);
    if (registry_find(pid) != slot) return 0; /* it was another's already */
    const SlotKind *kind = atomic_load_explicit(&tally->kind, memory_order_acquire);
    lua_createtable(L, 0, 9);
    if (kind != NULL) {
        lua_pushstring(L, kind->name);
        lua_setfield(L, -2, "behaviour");
        lua_pushstring(L, kind->version);
        lua_setfield(L, -2, "version");
    }
    put(L, "depth", depth);
    put(L, "limit", limit);
    put(L, "dropped", dropped);
    put(L, "refused", refused);
    lua_pushstring(L, full);
    lua_setfield(L, -2, "full");
    if (age >= 0) lua_pushnumber(L, age);
    else lua_pushnil(L);
    lua_setfield(L, -2, "age_ms");
    api_push_bits(L, waits_for);
    lua_setfield(L, -2, "waits_for");
    return 1;
}

static int stats(lua_State *L) {
    vm_of(L)->impure = true;
    static const struct {
        const char *key;
        uint64_t (*value)(void);
    } more[] = {{"rss_bytes", metrics_rss}, {"rss_peak_bytes", metrics_rss_peak}, {"cpu_ns", clock_cpu}};
    lua_createtable(L, 0, METRICS_COUNT + 8);
    for (int i = 0; i < METRICS_COUNT; i++) {
        lua_pushinteger(L, (lua_Integer)metrics_sum((Metric)i));
        lua_setfield(L, -2, metrics_name((Metric)i));
    }
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        lua_pushinteger(L, (lua_Integer)more[i].value());
        lua_setfield(L, -2, more[i].key);
    }
    put(L, "actors", (lua_Integer)registry_count());
    put(L, "workers", scheduler_workers());
    uint32_t at = 0;
    uint64_t pid;
    lua_Integer waiting = 0;
    double oldest = 0;
    while ((pid = registry_next(&at)) != 0) { /* some nanoseconds each */
        const Slot *slot = registry_find(pid);
        uint32_t depth = slot != NULL ? mailbox_depth(&slot->box) : 0;
        if (depth == 0) continue;
        double age = mailbox_age(&slot->box);
        waiting += depth;
        if (age > oldest) oldest = age;
    }
    put(L, "waiting", waiting);
    lua_pushnumber(L, oldest);
    lua_setfield(L, -2, "oldest_ms");
    return 1;
}

const luaL_Reg api_node[] = {
    {"node", node},   {"nodes", nodes}, {"node_info", node_info}, {"shutdown", do_shutdown},
    {"stats", stats}, {"info", info},   {NULL, NULL}};
