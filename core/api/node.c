/* The node: its name, its end, its figures. */
#include "api/api.h"
#include "ground/clock.h"
#include "ground/metrics.h"
#include "mail/registry.h"

static int node(lua_State *L) {
    lua_pushstring(L, api_calls.node_name);
    return 1;
}

static int nodes(lua_State *L) {
    lua_createtable(L, 1, 0);
    lua_pushstring(L, api_calls.node_name);
    lua_rawseti(L, -2, 1);
    return 1;
}

static int do_shutdown(lua_State *L) {
    lua_Integer code = luaL_optinteger(L, 1, 0);
    luaL_argcheck(L, code >= 0 && code <= 255, 1, "an exit code is from 0 to 255");
    api_actor(L, "shutdown");
    api_calls.shutdown((int)code);
    return 0;
}

static int stats(lua_State *L) {
    vm_of(L)->impure = true;
    static const struct {
        const char *key;
        uint64_t (*value)(void);
    } more[] = {{"rss_bytes", metrics_rss}, {"rss_peak_bytes", metrics_rss_peak}, {"cpu_ns", clock_cpu}};
    lua_createtable(L, 0, METRICS_COUNT + 6);
    for (int i = 0; i < METRICS_COUNT; i++) {
        lua_pushinteger(L, (lua_Integer)metrics_sum((Metric)i));
        lua_setfield(L, -2, metrics_name((Metric)i));
    }
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        lua_pushinteger(L, (lua_Integer)more[i].value());
        lua_setfield(L, -2, more[i].key);
    }
    lua_pushinteger(L, (lua_Integer)registry_count());
    lua_setfield(L, -2, "actors");
    lua_pushinteger(L, scheduler_workers());
    lua_setfield(L, -2, "workers");
    return 1;
}

const luaL_Reg api_node[] = {
    {"node", node}, {"nodes", nodes}, {"shutdown", do_shutdown}, {"stats", stats}, {NULL, NULL}};
