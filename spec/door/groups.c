/* door.groups - core/mail/groups.c for specs. */
#include "mail/groups.h"
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

int luaopen_door_groups(lua_State *L);

static int result(lua_State *L, int err) {
    if (err < 0) {
        lua_pushnil(L);
        lua_pushstring(L, uv_err_name(err));
        return 2;
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int door_join(lua_State *L) {
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    return result(L, groups_join(name, len, (uint64_t)luaL_checkinteger(L, 2)));
}

static int door_leave(lua_State *L) {
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    return result(L, groups_leave(name, len, (uint64_t)luaL_checkinteger(L, 2)));
}

static int push_pids(lua_State *L, const uint64_t *pids, size_t count) {
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushinteger(L, (lua_Integer)pids[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* copy(name, room) -> the first `room` members, how many there are */
static int door_copy(lua_State *L) {
    size_t len, room = (size_t)luaL_checkinteger(L, 2);
    const char *name = luaL_checklstring(L, 1, &len);
    uint64_t *pids = lua_newuserdatauv(L, (room + 1) * sizeof *pids, 0);
    pids[room] = 77; /* nobody writes there */
    size_t count = groups_copy(name, len, pids, room);
    if (pids[room] != 77) return luaL_error(L, "written past the end");
    push_pids(L, pids, count < room ? count : room);
    lua_pushinteger(L, (lua_Integer)count);
    return 2;
}

/* A snapshot, held until drop(it). */
static int door_hold(lua_State *L) {
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    const GroupMembers *members;
    if (groups_hold(name, len, &members) < 0) abort();
    if (members != NULL) lua_pushlightuserdata(L, (void *)(uintptr_t)members);
    else lua_pushnil(L);
    return 1;
}

static int door_held(lua_State *L) {
    const GroupMembers *members = lua_touserdata(L, 1);
    return push_pids(L, members->pids, members->count);
}

static int door_drop(lua_State *L) {
    groups_drop(lua_touserdata(L, 1));
    return 0;
}

/* list(room) -> {name = members}, bytes wanted */
static int door_list(lua_State *L) {
    size_t room = (size_t)luaL_checkinteger(L, 1);
    char *entries = lua_newuserdatauv(L, room + 1, 0);
    size_t size = groups_list(entries, room);
    lua_newtable(L);
    for (size_t at = 0; size <= room && at < size;) {
        const GroupEntry *e = (const GroupEntry *)(entries + at);
        lua_pushlstring(L, e->name, e->len);
        lua_pushinteger(L, (lua_Integer)e->count);
        lua_rawset(L, -3);
        at += GROUP_ENTRY_SIZE(e->len);
    }
    lua_pushinteger(L, (lua_Integer)size);
    return 2;
}

/* ---- threads that come and go ---- */

#define THREADS_MOST 8
#define GROUPS 4

typedef struct Guest {
    pthread_t thread;
    uint64_t seed, pid;
    size_t rounds, wrong;
} Guest;

/* How often the pid is among the members; 100 for a gap, which must never show. */
static size_t seen(const GroupMembers *members, uint64_t pid) {
    size_t count = 0;
    for (size_t i = 0; members != NULL && i < members->count; i++)
        count += members->pids[i] == pid ? 1 : members->pids[i] == 0 ? 100 : 0;
    return count;
}

static void *visit(void *argument) {
    Guest *g = argument;
    bool in[GROUPS] = {false};
    for (size_t i = 0; i < g->rounds; i++) {
        char name[32];
        const GroupMembers *members;
        g->seed = g->seed * 6364136223846793005ull + 1442695040888963407ull;
        size_t which = (size_t)(g->seed >> 40) % GROUPS;
        int len = snprintf(name, sizeof name, "guests.%zu", which);
        int err = in[which] ? groups_leave(name, (size_t)len, g->pid) : groups_join(name, (size_t)len, g->pid);
        in[which] = !in[which];
        g->wrong += err != 0 || groups_hold(name, (size_t)len, &members) != 0;
        g->wrong += seen(members, g->pid) != in[which];
        groups_drop(members);
    }
    for (size_t which = 0; which < GROUPS; which++) {
        char name[32];
        int len = snprintf(name, sizeof name, "guests.%zu", which);
        g->wrong += groups_leave(name, (size_t)len, g->pid) != (in[which] ? 0 : UV_ENOENT);
    }
    return NULL;
}

/* crowd(threads, rounds, seed) -> wrong */
static int door_crowd(lua_State *L) {
    Guest guests[THREADS_MOST];
    size_t count = (size_t)luaL_checkinteger(L, 1), wrong = 0;
    luaL_argcheck(L, count >= 1 && count <= THREADS_MOST, 1, "1 to 8");
    for (size_t i = 0; i < count; i++) {
        guests[i] = (Guest){.seed = (uint64_t)luaL_checkinteger(L, 3) + i, .pid = i + 1,
                            .rounds = (size_t)luaL_checkinteger(L, 2)};
        if (pthread_create(&guests[i].thread, NULL, visit, &guests[i]) != 0) abort();
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(guests[i].thread, NULL);
        wrong += guests[i].wrong;
    }
    lua_pushinteger(L, (lua_Integer)wrong);
    return 1;
}

int luaopen_door_groups(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"join", door_join}, {"leave", door_leave}, {"copy", door_copy}, {"hold", door_hold},
        {"held", door_held}, {"drop", door_drop},   {"list", door_list}, {"crowd", door_crowd},
        {NULL, NULL},
    };
    luaL_newlib(L, functions);
    lua_pushinteger(L, GROUPS_TEXT_MAX);
    lua_setfield(L, -2, "TEXT_MAX");
    return 1;
}
