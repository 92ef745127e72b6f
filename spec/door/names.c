/* door.names - core/mail/names.c for specs. */
#include "mail/names.h"
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

int luaopen_door_names(lua_State *L);

static int result(lua_State *L, int err) {
    if (err < 0) {
        lua_pushnil(L);
        lua_pushstring(L, uv_err_name(err));
        return 2;
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int door_add(lua_State *L) {
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    return result(L, names_add(name, len, (uint64_t)luaL_checkinteger(L, 2)));
}

static int door_find(lua_State *L) {
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    lua_pushinteger(L, (lua_Integer)names_find(name, len));
    return 1;
}

static int door_of(lua_State *L) {
    char name[NAMES_TEXT_MAX + 1];
    names_of((uint64_t)luaL_checkinteger(L, 1), name);
    lua_pushstring(L, name);
    return 1;
}

static int door_remove(lua_State *L) {
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    return result(L, names_remove(name, len, (uint64_t)luaL_checkinteger(L, 2)));
}

/* ---- threads that want the same names ---- */

#define THREADS_MOST 8
#define NAMES 16

typedef struct Rival {
    pthread_t thread;
    uint64_t seed, pid;
    size_t rounds, won, wrong;
} Rival;

static _Atomic uint64_t holders[NAMES];

static void *compete(void *argument) {
    Rival *r = argument;
    for (size_t i = 0; i < r->rounds; i++) {
        char name[32];
        r->seed = r->seed * 6364136223846793005ull + 1442695040888963407ull;
        size_t which = (size_t)(r->seed >> 40) % NAMES;
        int len = snprintf(name, sizeof name, "rival.%zu", which);
        int err = names_add(name, (size_t)len, r->pid);
        if (err == UV_EEXIST) {
            r->wrong += names_remove(name, (size_t)len, r->pid) != UV_ENOENT; /* not ours */
            continue;
        }
        r->wrong +=
            err != 0 || atomic_exchange(&holders[which], r->pid) != 0 || names_find(name, (size_t)len) != r->pid;
        r->won++;
        r->wrong += atomic_exchange(&holders[which], 0) != r->pid;
        r->wrong += names_remove(name, (size_t)len, r->pid) != 0;
    }
    return NULL;
}

/* race(threads, rounds, seed) -> wrong, won */
static int door_race(lua_State *L) {
    Rival rivals[THREADS_MOST];
    size_t count = (size_t)luaL_checkinteger(L, 1), wrong = 0, won = 0;
    luaL_argcheck(L, count >= 1 && count <= THREADS_MOST, 1, "1 to 8");
    for (size_t i = 0; i < count; i++) {
        rivals[i] = (Rival){.seed = (uint64_t)luaL_checkinteger(L, 3) + i, .pid = i + 1,
                            .rounds = (size_t)luaL_checkinteger(L, 2)};
        if (pthread_create(&rivals[i].thread, NULL, compete, &rivals[i]) != 0) abort();
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(rivals[i].thread, NULL);
        wrong += rivals[i].wrong;
        won += rivals[i].won;
    }
    lua_pushinteger(L, (lua_Integer)wrong);
    lua_pushinteger(L, (lua_Integer)won);
    return 2;
}

int luaopen_door_names(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"add", door_add},       {"find", door_find}, {"of", door_of},
        {"remove", door_remove}, {"race", door_race}, {NULL, NULL},
    };
    luaL_newlib(L, functions);
    lua_pushinteger(L, NAMES_TEXT_MAX);
    lua_setfield(L, -2, "TEXT_MAX");
    return 1;
}
