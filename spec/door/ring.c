/* door.ring - core/run/ring.c for specs. Tasks are told apart by a number. */
#include "run/ring.h"
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

int luaopen_door_ring(lua_State *L);

#define TYPE "door.ring"

/* The ring only carries pointers: numbers will do. */
static Task *task_of(lua_Integer number) { return (Task *)(uintptr_t)number; }
static lua_Integer number_of(const Task *task) { return (lua_Integer)(uintptr_t)task; }

static Ring **check(lua_State *L) { return luaL_checkudata(L, 1, TYPE); }

static Ring *ring_new(void) { /* Lua aligns to 16 bytes only */
    Ring *r = aligned_alloc(_Alignof(Ring), sizeof *r);
    if (r == NULL || ring_open(r) < 0) abort();
    return r;
}

static int door_new(lua_State *L) {
    Ring **r = lua_newuserdatauv(L, sizeof *r, 0);
    *r = NULL;
    luaL_setmetatable(L, TYPE);
    *r = ring_new();
    return 1;
}

static int door_gc(lua_State *L) {
    Ring **r = check(L);
    if (*r != NULL) ring_close(*r);
    free(*r);
    *r = NULL;
    return 0;
}

static int door_push(lua_State *L) {
    lua_Integer number = luaL_checkinteger(L, 2);
    luaL_argcheck(L, number != 0, 2, "0 is no task");
    lua_pushinteger(L, ring_push(*check(L), task_of(number)));
    return 1;
}

static int door_take(lua_State *L) {
    Task *task = ring_take(*check(L));
    if (task == NULL) lua_pushnil(L);
    else lua_pushinteger(L, number_of(task));
    return 1;
}

/* ring:take_half(most) -> list */
static int door_take_half(lua_State *L) {
    Task *tasks[256];
    lua_Integer most = luaL_checkinteger(L, 2);
    luaL_argcheck(L, most >= 1 && most <= 256, 2, "1 to 256");
    size_t count = ring_take_half(*check(L), tasks, (size_t)most);
    lua_newtable(L);
    for (size_t i = 0; i < count; i++) {
        lua_pushinteger(L, number_of(tasks[i]));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int door_length(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)ring_length(*check(L)));
    return 1;
}

/* ---- an owner and thieves ---- */

#define THIEVES_MOST 8

typedef struct Race {
    Ring *ring;
    size_t tasks;
    _Atomic unsigned char *times; /* how often each task was taken */
    _Atomic size_t taken, wrong;
} Race;

typedef struct Thief {
    Race *race;
    pthread_t thread;
    uint64_t seed;
    size_t took;
} Thief;

static uint64_t dice(uint64_t *seed) { /* xorshift64* */
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 2685821657736338717ull >> 32;
}

/* Who takes gets them in the order they were pushed, with gaps where others took. */
static void took(Race *race, lua_Integer *last, Task **tasks, size_t count) {
    for (size_t i = 0; i < count; i++) {
        lua_Integer number = number_of(tasks[i]);
        bool right = number > *last && number <= (lua_Integer)race->tasks &&
                     atomic_fetch_add(&race->times[number - 1], 1) == 0;
        if (!right) atomic_fetch_add(&race->wrong, 1);
        *last = number;
    }
    atomic_fetch_add(&race->taken, count);
}

static void *steal(void *argument) {
    Thief *t = argument;
    Task *tasks[64];
    lua_Integer last = 0;
    while (atomic_load(&t->race->taken) < t->race->tasks) {
        size_t most = 1 + dice(&t->seed) % 64, count = 0;
        if (most > 32) count = (tasks[0] = ring_take(t->race->ring)) != NULL;
        else count = ring_take_half(t->race->ring, tasks, most);
        took(t->race, &last, tasks, count);
        t->took += count;
        if (count == 0) sched_yield();
    }
    return NULL;
}

static void own(Race *race, uint64_t seed) {
    lua_Integer last = 0;
    Task *task;
    for (size_t pushed = 0; atomic_load(&race->taken) < race->tasks;) {
        size_t burst = dice(&seed) % 8 == 0 ? dice(&seed) % 2000 : dice(&seed) % 20; /* some make it grow */
        for (; burst > 0 && pushed < race->tasks; burst--)
            if (ring_push(race->ring, task_of((lua_Integer)++pushed)) < 0) abort();
        for (size_t takes = dice(&seed) % 20; takes > 0 && (task = ring_take(race->ring)) != NULL; takes--)
            took(race, &last, &task, 1);
        if (pushed == race->tasks) sched_yield();
    }
}

/* race(thieves, tasks, seed) -> wrong, taken, stolen */
static int door_race(lua_State *L) {
    Thief thieves[THIEVES_MOST];
    size_t count = (size_t)luaL_checkinteger(L, 1), stolen = 0;
    luaL_argcheck(L, count >= 1 && count <= THIEVES_MOST, 1, "1 to 8");
    Race race = {.ring = ring_new(), .tasks = (size_t)luaL_checkinteger(L, 2)};
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 3);
    race.times = calloc(race.tasks, sizeof *race.times);
    if (race.times == NULL) abort();
    for (size_t i = 0; i < count; i++) {
        thieves[i] = (Thief){.race = &race, .seed = seed * THIEVES_MOST + i + 1};
        if (pthread_create(&thieves[i].thread, NULL, steal, &thieves[i]) != 0) abort();
    }
    own(&race, seed + 1);
    for (size_t i = 0; i < count; i++) {
        pthread_join(thieves[i].thread, NULL);
        stolen += thieves[i].took;
    }
    for (size_t i = 0; i < race.tasks; i++)
        if (atomic_load(&race.times[i]) != 1) atomic_fetch_add(&race.wrong, 1);
    lua_pushinteger(L, (lua_Integer)atomic_load(&race.wrong));
    lua_pushinteger(L, (lua_Integer)atomic_load(&race.taken));
    lua_pushinteger(L, (lua_Integer)stolen);
    ring_close(race.ring);
    free(race.ring);
    free(race.times);
    return 3;
}

int luaopen_door_ring(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"push", door_push},     {"take", door_take}, {"take_half", door_take_half},
        {"length", door_length}, {"__gc", door_gc},   {NULL, NULL},
    };
    static const luaL_Reg functions[] = {{"new", door_new}, {"race", door_race}, {NULL, NULL}};
    luaL_newmetatable(L, TYPE);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, functions);
    return 1;
}
