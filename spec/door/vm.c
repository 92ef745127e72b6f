/* door.vm - core/actor/vm.c and arena.c for specs: VMs without an actor, with the whole standard library and the
 * functions yield(...) and doom(); and arenas, alone. */
#include "actor/vm.h"
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "actor/arena.h"
#include "ground/clock.h"

int luaopen_door_vm(lua_State *L);

#define TYPE "door.vm"

static Vm *check(lua_State *L) {
    Vm *vm = luaL_checkudata(L, 1, TYPE);
    luaL_argcheck(L, vm->L != NULL, 1, "closed");
    return vm;
}

/* ---- what runs inside ---- */

static int do_yield(lua_State *V) { return lua_yield(V, lua_gettop(V)); }
static int do_doom(lua_State *V) { return vm_doom(V); }

static int open_libs(lua_State *V) {
    luaL_openlibs(V);
    lua_register(V, "yield", do_yield);
    lua_register(V, "doom", do_doom);
    return 0;
}

/* ---- values between the spec's state and the VM's: what can't go is its type's name ---- */

static void copy(lua_State *from, int at, lua_State *to) {
    size_t len;
    const char *text;
    switch (lua_type(from, at)) {
    case LUA_TNIL: lua_pushnil(to); break;
    case LUA_TBOOLEAN: lua_pushboolean(to, lua_toboolean(from, at)); break;
    case LUA_TNUMBER:
        if (lua_isinteger(from, at)) lua_pushinteger(to, lua_tointeger(from, at));
        else lua_pushnumber(to, lua_tonumber(from, at));
        break;
    case LUA_TSTRING:
        text = lua_tolstring(from, at, &len);
        lua_pushlstring(to, text, len);
        break;
    default: lua_pushstring(to, lua_typename(from, lua_type(from, at)));
    }
}

static const char *status_name(int status) {
    switch (status) {
    case LUA_OK: return "ok";
    case LUA_YIELD: return "yield";
    case LUA_ERRMEM: return "memory";
    case LUA_ERRERR: return "error in error";
    default: return "error";
    }
}

/* Resumes with what is on the VM's stack: its status, and what it gave, which is taken off. */
static int resume(lua_State *L, Vm *vm, int nargs) {
    int results = 1;
    int status = vm_resume(vm->L, NULL, nargs, &results);
    if (status != LUA_OK && status != LUA_YIELD) results = 1;
    lua_pushstring(L, status_name(status));
    luaL_checkstack(L, results, NULL);
    for (int i = results; i >= 1; i--) copy(vm->L, -i, L);
    lua_pop(vm->L, results);
    return 1 + results;
}

/* new(limit) -> vm, or nil */
static int door_new(lua_State *L) {
    size_t limit = (size_t)luaL_checkinteger(L, 1);
    int results;
    Vm *vm = lua_newuserdatauv(L, sizeof *vm, 0);
    memset(vm, 0, sizeof *vm);
    luaL_setmetatable(L, TYPE);
    if (vm_open(vm, limit, NULL) < 0) {
        vm->L = NULL;
        return 0;
    }
    lua_pushcfunction(vm->L, open_libs);
    if (vm_resume(vm->L, NULL, 0, &results) != LUA_OK) {
        vm_close(vm);
        return 0;
    }
    return 1;
}

static int door_close(lua_State *L) {
    Vm *vm = luaL_checkudata(L, 1, TYPE);
    vm_close(vm);
    return 0;
}

/* vm:run(text, ...) -> status, values: on the main state, which must be fresh, done or reset */
static int vm_run(lua_State *L) {
    Vm *vm = check(L);
    const char *text = luaL_checkstring(L, 2);
    int nargs = lua_gettop(L) - 2;
    if (lua_gettop(vm->L) != 0) return luaL_error(L, "%d values lie on its stack", lua_gettop(vm->L));
    if (luaL_loadbufferx(vm->L, text, strlen(text), "=text", "t") != LUA_OK)
        return luaL_error(L, "%s", lua_tostring(vm->L, -1));
    for (int i = 3; i < 3 + nargs; i++) copy(L, i, vm->L);
    return resume(L, vm, nargs);
}

/* vm:resume(...) -> status, values */
static int vm_go_on(lua_State *L) {
    Vm *vm = check(L);
    int nargs = lua_gettop(L) - 1;
    for (int i = 2; i < 2 + nargs; i++) copy(L, i, vm->L);
    return resume(L, vm, nargs);
}

/* vm:reset() -> status [, error] */
static int vm_start_over(lua_State *L) {
    Vm *vm = check(L);
    int status = vm_reset(vm->L);
    lua_pushstring(L, status_name(status));
    if (status == LUA_OK) return 1;
    copy(vm->L, -1, L);
    lua_pop(vm->L, 1);
    return 2;
}

static int vm_used(lua_State *L) {
    Vm *vm = check(L);
    if (lua_status(vm->L) == LUA_OK) lua_gc(vm->L, LUA_GCCOLLECT);
    lua_pushinteger(L, (lua_Integer)vm->arena.used);
    return 1;
}

/* vm:deadline(ms): 0 = none */
static int vm_deadline(lua_State *L) {
    uint64_t ms = (uint64_t)luaL_checkinteger(L, 2);
    check(L)->deadline = ms != 0 ? clock_now() + ms * CLOCK_NS_PER_MS : 0;
    return 0;
}

static int vm_is_doomed(lua_State *L) {
    lua_pushboolean(L, check(L)->doomed);
    return 1;
}

/* ---- arenas ---- */

#define BLOCKS 400

typedef struct Block {
    unsigned char *at;
    size_t size;
    unsigned char mark;
} Block;

static uint64_t dice(uint64_t *seed) { /* xorshift64* */
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 2685821657736338717ull >> 32;
}

static size_t some_size(uint64_t *seed) {
    switch (dice(seed) % 8) {
    case 0: return 1 + dice(seed) % 16;
    case 1: return 1 + dice(seed) % 100000;
    case 2: return 2048 - 8 + dice(seed) % 16; /* around the border between small and large */
    case 3: return 1 + dice(seed) % 4096;
    default: return 1 + dice(seed) % 300;
    }
}

static bool intact(const Block *b, size_t size) {
    for (size_t i = 0; i < size && i < b->size; i++)
        if (b->at[i] != b->mark) return false;
    return true;
}

/* What is wrong, or NULL. */
static const char *arena_play(uint64_t seed, lua_Integer steps, size_t limit, size_t *peak) {
    static Block blocks[BLOCKS];
    const char *wrong = NULL;
    size_t sum = 0;
    Arena a;
    memset(blocks, 0, sizeof blocks);
    arena_open(&a, limit);
#define EXPECT(right, text) if (!(right)) { wrong = text; break; }
    for (lua_Integer step = 0; step < steps; step++) {
        Block *b = &blocks[dice(&seed) % BLOCKS];
        size_t size = some_size(&seed);
        if (b->at == NULL) {
            /* what Lua passes for a new block's old size is a type tag */
            void *at = arena_alloc(&a, NULL, dice(&seed) % 10, size);
            EXPECT(at != NULL || a.used + size + size / 4 + 64 > limit, "refused, though there is room");
            if (at == NULL) continue;
            EXPECT((uintptr_t)at % 8 == 0, "not aligned");
            *b = (Block){at, size, (unsigned char)dice(&seed)};
            memset(at, b->mark, size);
            sum += size;
        } else if (dice(&seed) % 3 == 0) {
            EXPECT(intact(b, b->size), "a block was written by another");
            EXPECT(arena_alloc(&a, b->at, b->size, 0) == NULL, "freeing gives NULL");
            sum -= b->size;
            b->at = NULL;
        } else {
            void *at = arena_alloc(&a, b->at, b->size, size);
            EXPECT(at != NULL || size > b->size, "could not shrink");
            EXPECT(at != NULL || a.used + size + size / 4 + 64 > limit, "could not grow, though there is room");
            if (at == NULL) {
                EXPECT(intact(b, b->size), "a block that could not grow has changed");
                continue;
            }
            b->at = at;
            EXPECT(intact(b, size), "moving lost bytes");
            sum += size - b->size;
            b->size = size;
            memset(at, b->mark, size);
        }
        EXPECT(a.used <= limit, "more in use than the limit");
        EXPECT(a.used >= sum, "less in use than was given");
        if (a.used > *peak) *peak = a.used;
    }
    for (int i = 0; i < BLOCKS && wrong == NULL; i += 2) /* half of them: closing frees the rest */
        if (blocks[i].at != NULL) {
            EXPECT(intact(&blocks[i], blocks[i].size), "a block was written by another");
            arena_alloc(&a, blocks[i].at, blocks[i].size, 0);
        }
    for (int i = 1; i < BLOCKS && wrong == NULL && seed % 2 == 0; i += 2)
        if (blocks[i].at != NULL) arena_alloc(&a, blocks[i].at, blocks[i].size, 0);
    if (wrong == NULL && seed % 2 == 0 && a.used != 0) wrong = "something is in use, though all was freed";
#undef EXPECT
    arena_close(&a);
    if (wrong == NULL && (a.used != 0 || a.limit != limit)) wrong = "closed, it is not as it was opened";
    return wrong;
}

/* arena(seed, steps, limit) -> what is wrong or nil, the most that was in use */
static int door_arena(lua_State *L) {
    size_t peak = 0;
    const char *wrong = arena_play((uint64_t)luaL_checkinteger(L, 1), luaL_checkinteger(L, 2),
                                   (size_t)luaL_checkinteger(L, 3), &peak);
    lua_pushstring(L, wrong);
    lua_pushinteger(L, (lua_Integer)peak);
    return 2;
}

/* odd() -> what is wrong or nil: sizes that overflow, a limit of 0, twice closed */
static int door_odd(lua_State *L) {
    Arena a;
    const char *wrong = NULL;
    arena_open(&a, SIZE_MAX / 2);
    void *block = arena_alloc(&a, NULL, 0, 100);
    if (block == NULL) wrong = "100 bytes";
    if (arena_alloc(&a, NULL, 0, SIZE_MAX) != NULL || arena_alloc(&a, NULL, 0, SIZE_MAX - 20) != NULL ||
        arena_alloc(&a, block, 100, SIZE_MAX - 8) != NULL)
        wrong = "more than there is in the world";
    arena_close(&a);
    arena_close(&a);
    arena_open(&a, 0);
    if (arena_alloc(&a, NULL, 0, 1) != NULL) wrong = "a byte of nothing";
    if (arena_alloc(&a, NULL, 0, 0) != NULL) wrong = "nothing is NULL";
    arena_close(&a);
    lua_pushstring(L, wrong);
    return 1;
}

int luaopen_door_vm(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"run", vm_run},   {"resume", vm_go_on},     {"reset", vm_start_over}, {"used", vm_used},
        {"deadline", vm_deadline}, {"doomed", vm_is_doomed}, {"close", door_close},
        {"__gc", door_close}, {NULL, NULL},
    };
    static const luaL_Reg functions[] = {{"new", door_new}, {"arena", door_arena}, {"odd", door_odd}, {NULL, NULL}};
    luaL_newmetatable(L, TYPE);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, functions);
    return 1;
}
