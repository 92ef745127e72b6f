/* door.clock - core/ground/clock.c for specs. */
#include "ground/clock.h"
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdlib.h>

int luaopen_door_clock(lua_State *L);

static int push(lua_State *L, uint64_t ns) {
    lua_pushinteger(L, (lua_Integer)ns);
    return 1;
}

static int door_now(lua_State *L) { return push(L, clock_now()); }
static int door_tick(lua_State *L) { return push(L, clock_tick()); }
static int door_coarse(lua_State *L) { return push(L, clock_coarse()); }

static _Atomic size_t wrong;

static void *tick(void *argument) {
    uint64_t last = 0;
    for (size_t i = 0; i < *(size_t *)argument; i++) {
        uint64_t now = clock_tick(), coarse = clock_coarse();
        wrong += coarse < now || coarse < last || coarse > clock_now();
        last = coarse;
    }
    return NULL;
}

/* race(threads, times) -> how often the coarse clock was behind a tick that was over, ahead of time, or went back */
static int door_race(lua_State *L) {
    pthread_t threads[8];
    size_t count = (size_t)luaL_checkinteger(L, 1), times = (size_t)luaL_checkinteger(L, 2);
    luaL_argcheck(L, count <= 8, 1, "8 at most");
    wrong = 0;
    for (size_t i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, tick, &times) != 0) abort();
    for (size_t i = 0; i < count; i++) pthread_join(threads[i], NULL);
    return push(L, wrong);
}

int luaopen_door_clock(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"now", door_now}, {"tick", door_tick}, {"coarse", door_coarse}, {"race", door_race}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
