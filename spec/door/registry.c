/* door.registry - core/mail/registry.c for specs. A slot is a light userdata. */
#include "mail/registry.h"
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <uv.h>

int luaopen_door_registry(lua_State *L);

static lua_Integer pid_of(Slot *slot) {
    return (lua_Integer)atomic_load_explicit(&slot->pid, memory_order_relaxed);
}

/* add([limit]) -> slot, pid; or nil, the error's name */
static int door_add(lua_State *L) {
    Slot *slot;
    int err = registry_add(L, 10, MAILBOX_REFUSE, (size_t)luaL_optinteger(L, 1, 1 << 24), &slot);
    if (err < 0) {
        lua_pushnil(L);
        lua_pushstring(L, uv_err_name(err));
        return 2;
    }
    lua_pushlightuserdata(L, slot);
    lua_pushinteger(L, pid_of(slot));
    return 2;
}

static void leave(Slot *slot) {
    Message *user, *system;
    mailbox_close(&slot->box, &user, &system);
    registry_remove(slot);
}

static int door_remove(lua_State *L) {
    leave(lua_touserdata(L, 1));
    return 0;
}

static int door_find(lua_State *L) {
    Slot *slot = registry_find((uint64_t)luaL_checkinteger(L, 1));
    if (slot == NULL) lua_pushnil(L);
    else lua_pushlightuserdata(L, slot);
    return 1;
}

static int door_count(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)registry_count());
    return 1;
}

/* living() -> list of pids */
static int door_living(lua_State *L) {
    uint32_t at = 0;
    uint64_t pid;
    lua_newtable(L);
    for (lua_Integer i = 1; (pid = registry_next(&at)) != 0; i++) {
        lua_pushinteger(L, (lua_Integer)pid);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

/* generation(pid [, new]): of its slot, so that a spec need not take a slot 2^28 times */
static int door_generation(lua_State *L) {
    SlotTally *tally = registry_tally((uint64_t)luaL_checkinteger(L, 1));
    lua_pushinteger(L, tally->generation);
    if (!lua_isnoneornil(L, 2)) tally->generation = (uint32_t)luaL_checkinteger(L, 2);
    return 1;
}

static int door_make(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)pid_make((uint32_t)luaL_checkinteger(L, 1), (uint32_t)luaL_checkinteger(L, 2)));
    return 1;
}

/* ---- threads that come and go, and look for each other ---- */

#define THREADS_MOST 8
#define KEPT 64

typedef struct Settler {
    pthread_t thread;
    uint64_t seed;
    size_t rounds, wrong, found;
    uint64_t *pids; /* all that it was given */
} Settler;

static _Atomic uint64_t board[256]; /* pids that lived when they were written here */

static uint64_t dice(uint64_t *seed) { /* xorshift64* */
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 2685821657736338717ull >> 32;
}

static void *settle(void *argument) {
    Settler *s = argument;
    Slot *kept[KEPT] = {NULL};
    uint64_t dead = 0;
    for (size_t i = 0; i < s->rounds; i++) {
        size_t at = dice(&s->seed) % KEPT;
        if (kept[at] != NULL) {
            dead = (uint64_t)pid_of(kept[at]);
            s->wrong += registry_find(dead) != kept[at];
            leave(kept[at]);
            s->wrong += registry_find(dead) != NULL;
        }
        s->wrong += registry_add(s, 10, MAILBOX_REFUSE, SIZE_MAX, &kept[at]) != 0;
        s->pids[i] = (uint64_t)pid_of(kept[at]);
        s->wrong += registry_find(s->pids[i]) != kept[at] || registry_find(dead) != NULL;
        uint64_t other = atomic_exchange(&board[dice(&s->seed) % 256], s->pids[i]);
        Slot *slot = registry_find(other);
        s->found += slot != NULL;
        uint64_t now = slot != NULL ? (uint64_t)pid_of(slot) : 0; /* another's by now, perhaps */
        s->wrong += now != 0 && pid_slot(now) != pid_slot(other);
    }
    for (size_t i = 0; i < KEPT; i++)
        if (kept[i] != NULL) leave(kept[i]);
    return NULL;
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* race(threads, rounds, seed) -> wrong, pids given twice, pids, others found */
static int door_race(lua_State *L) {
    Settler settlers[THREADS_MOST];
    size_t count = (size_t)luaL_checkinteger(L, 1), rounds = (size_t)luaL_checkinteger(L, 2), wrong = 0, found = 0,
           twice = 0;
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 3), *pids = calloc(count * rounds, sizeof *pids);
    luaL_argcheck(L, count >= 1 && count <= THREADS_MOST, 1, "1 to 8");
    if (pids == NULL) return luaL_error(L, "no memory");
    for (size_t i = 0; i < count; i++) {
        settlers[i] = (Settler){.seed = seed * THREADS_MOST + i + 1, .rounds = rounds, .pids = pids + i * rounds};
        if (pthread_create(&settlers[i].thread, NULL, settle, &settlers[i]) != 0) abort();
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(settlers[i].thread, NULL);
        wrong += settlers[i].wrong;
        found += settlers[i].found;
    }
    qsort(pids, count * rounds, sizeof *pids, by_value);
    for (size_t i = 1; i < count * rounds; i++) twice += pids[i] == pids[i - 1];
    free(pids);
    lua_pushinteger(L, (lua_Integer)wrong);
    lua_pushinteger(L, (lua_Integer)twice);
    lua_pushinteger(L, (lua_Integer)(count * rounds));
    lua_pushinteger(L, (lua_Integer)found);
    return 4;
}

int luaopen_door_registry(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"add", door_add},     {"remove", door_remove}, {"find", door_find},
        {"count", door_count}, {"living", door_living}, {"generation", door_generation},
        {"race", door_race},   {"make", door_make},     {NULL, NULL},
    };
    luaL_newlib(L, functions);
    lua_pushinteger(L, PID_GENERATION_MAX);
    lua_setfield(L, -2, "GENERATION_MAX");
    return 1;
}
