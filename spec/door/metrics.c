/* door.metrics - core/ground/metrics.c for specs. Counters go by name. */
#include "ground/metrics.h"
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

int luaopen_door_metrics(lua_State *L);

static Metric check_metric(lua_State *L, int arg) {
    const char *name = luaL_checkstring(L, arg);
    for (int i = 0; i < METRICS_COUNT; i++)
        if (strcmp(metrics_name((Metric)i), name) == 0) return (Metric)i;
    luaL_argerror(L, arg, "no such counter");
    return METRICS_COUNT;
}

static int door_add(lua_State *L) {
    metrics_add(check_metric(L, 1), (uint64_t)luaL_checkinteger(L, 2));
    return 0;
}

static int door_sum(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)metrics_sum(check_metric(L, 1)));
    return 1;
}

/* all() -> {{name, text}, ...} in the order of the table */
static int door_all(lua_State *L) {
    lua_newtable(L);
    for (int i = 0; i < METRICS_COUNT; i++) {
        lua_newtable(L);
        lua_pushstring(L, metrics_name((Metric)i));
        lua_rawseti(L, -2, 1);
        lua_pushstring(L, metrics_text((Metric)i));
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

typedef struct Counting {
    Metric which;
    lua_Integer times;
    _Atomic lua_Integer missing; /* threads that have not started: who counts alone collides with nobody */
} Counting;

static void *count(void *argument) {
    Counting *c = argument;
    atomic_fetch_sub(&c->missing, 1);
    while (atomic_load(&c->missing) > 0) sched_yield();
    for (lua_Integer i = 0; i < c->times; i++) metrics_add(c->which, 1);
    return NULL;
}

/* threads(name, threads, times) -> backwards: how often the sum, read all the while, went down. Each thread adds 1
 * `times` times; they count at the same time, and have ended when this returns. */
static int door_threads(lua_State *L) {
    pthread_t threads[64];
    Counting c = {.which = check_metric(L, 1), .times = luaL_checkinteger(L, 3)};
    lua_Integer n = luaL_checkinteger(L, 2), started = 0, backwards = 0;
    luaL_argcheck(L, n >= 1 && n <= 64, 2, "1 to 64");
    atomic_store(&c.missing, n);
    while (started < n && pthread_create(&threads[started], NULL, count, &c) == 0) started++;
    atomic_fetch_sub(&c.missing, n - started);
    uint64_t last = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t sum = metrics_sum(c.which);
        if (sum < last) backwards++;
        last = sum;
    }
    for (lua_Integer i = 0; i < started; i++) pthread_join(threads[i], NULL);
    if (started < n) return luaL_error(L, "only %d threads", (int)started);
    lua_pushinteger(L, backwards);
    return 1;
}

/* memory([bytes]) -> resident, peak; while so many bytes more are held and written */
static int door_memory(lua_State *L) {
    size_t bytes = (size_t)luaL_optinteger(L, 1, 0);
    void *held = bytes == 0 ? NULL : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (held == MAP_FAILED) return luaL_error(L, "no memory");
    if (held != NULL) memset(held, 1, bytes);
    lua_pushinteger(L, (lua_Integer)metrics_rss());
    lua_pushinteger(L, (lua_Integer)metrics_rss_peak());
    if (held != NULL) munmap(held, bytes);
    return 2;
}

int luaopen_door_metrics(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"add", door_add}, {"sum", door_sum}, {"all", door_all}, {"threads", door_threads}, {"memory", door_memory},
        {NULL, NULL},
    };
    luaL_newlib(L, functions);
    return 1;
}
