/* Coroutines for scripts. Lua's own would do but for two things: the watchdog must know which coroutine runs
 * (vm_resume), and when the platform makes one yield (preempted, waiting in ask or sleep), everything around it must
 * yield too, down to the worker, and later go on as if nothing had been. `coroutine.yield` itself never leaves the
 * script. */
#include <lauxlib.h>
#include "actor/fiber.h"
#include "api/api.h"

static lua_State *check_coroutine(lua_State *L, int arg) {
    lua_State *co = lua_tothread(L, arg);
    luaL_argexpected(L, co != NULL, arg, "coroutine");
    return co;
}

/* As coroutine.status has it. */
static const char *status_of(lua_State *L, lua_State *co) {
    lua_Debug ar;
    if (L == co) return "running";
    if (vm_is_held(co)) return "normal"; /* it waits, or was preempted; who resumed it waits with it */
    switch (lua_status(co)) {
    case LUA_YIELD: return "suspended";
    case LUA_OK:
        if (lua_getstack(co, 0, &ar)) return "normal"; /* it runs: it resumed another */
        return lua_gettop(co) == 0 ? "dead" : "suspended";
    default: return "dead";
    }
}

static int resume_on(lua_State *L, int status, lua_KContext wrapped);

/* Results of `co`, which are on top of its stack, as those of resume or of a wrapped function. */
static int give_results(lua_State *L, lua_State *co, int results, bool wrapped) {
    if (!lua_checkstack(L, results + 1)) {
        lua_pop(co, results);
        return luaL_error(L, "too many results");
    }
    if (!wrapped) lua_pushboolean(L, 1);
    lua_xmove(co, L, results);
    return wrapped ? results : results + 1;
}

static int give_error(lua_State *L, lua_State *co, bool wrapped) {
    lua_xmove(co, L, 1);
    if (!wrapped) {
        lua_pushboolean(L, 0);
        lua_insert(L, -2);
        return 2;
    }
    if (lua_type(L, -1) == LUA_TSTRING) { /* say where, as Lua's own does */
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

/* Runs `co` (at stack index 1 of L, or the upvalue of a wrapped function) until it is the script that it yields to. */
static int run(lua_State *L, lua_State *co, int args, bool wrapped) {
    Vm *vm = vm_of(L);
    for (;;) {
        int results;
        bool fixed = !lua_isyieldable(L);
        vm->fixed += fixed;
        int status = vm_resume(co, L, args, &results);
        vm->fixed -= fixed;
        if (status != LUA_OK && status != LUA_YIELD) {
            if (vm->doomed) return vm_doom(L); /* on the way out: nothing is closed, nothing caught */
            if (wrapped) vm_reset(co); /* its to-be-closed variables; leaves the error on top */
            return give_error(L, co, wrapped);
        }
        if (status == LUA_OK || vm->yielding == YIELD_USER) return give_results(L, co, results, wrapped);
        args = 0;
        if (!fixed) return lua_yieldk(L, 0, wrapped, resume_on);
        /* A C function around us can't yield. Preemption is a wish, and is put off (waiting was refused by
         * fiber_check_waits); an end is not. */
        if (vm->yielding != YIELD_PREEMPTED || actor_must_die(vm->actor)) return vm_doom(L);
        vm_preempt_after(co, 1000);
    }
}

static int resume_on(lua_State *L, int status, lua_KContext wrapped) {
    (void)status;
    lua_State *co = wrapped ? lua_tothread(L, lua_upvalueindex(1)) : lua_tothread(L, 1);
    return run(L, co, 0, wrapped != 0);
}

/* Moves the arguments over; an error text if it can't be resumed. */
static const char *prepare(lua_State *L, lua_State *co, int args) {
    const char *is = status_of(L, co);
    if (is[0] != 's') return is[0] == 'd' ? "cannot resume dead coroutine" : "cannot resume non-suspended coroutine";
    if (!lua_checkstack(co, args)) return "too many arguments to resume";
    lua_xmove(L, co, args);
    return NULL;
}

static int resume(lua_State *L) {
    lua_State *co = check_coroutine(L, 1);
    int args = lua_gettop(L) - 1;
    const char *refused = prepare(L, co, args);
    if (refused != NULL) {
        lua_pushboolean(L, 0);
        lua_pushstring(L, refused);
        return 2;
    }
    return run(L, co, args, false);
}

static int call_wrapped(lua_State *L) {
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int args = lua_gettop(L);
    const char *refused = prepare(L, co, args);
    if (refused != NULL) return luaL_error(L, "%s", refused);
    return run(L, co, args, true);
}

static int create(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    *(Vm **)lua_getextraspace(co) = vm_of(L); /* Lua copies the main state's, which may be held just now */
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

static int wrap(lua_State *L) {
    create(L);
    lua_pushcclosure(L, call_wrapped, 1);
    return 1;
}

/* On the bottom of a fiber there is nobody in the script to yield to. */
static bool at_bottom(lua_State *L) {
    const Vm *vm = vm_of(L);
    return L == vm->L || (vm->actor != NULL && vm->actor->current != NULL && L == vm->actor->current->L);
}

static int yield(lua_State *L) {
    if (at_bottom(L)) return luaL_error(L, "attempt to yield from outside a coroutine");
    vm_of(L)->yielding = YIELD_USER;
    return lua_yield(L, lua_gettop(L));
}

static int isyieldable(lua_State *L) {
    lua_State *co = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;
    lua_pushboolean(L, !at_bottom(co) && lua_isyieldable(co));
    return 1;
}

static int running(lua_State *L) {
    lua_pushthread(L);
    lua_pushboolean(L, at_bottom(L));
    return 2;
}

static int status(lua_State *L) {
    lua_pushstring(L, status_of(L, check_coroutine(L, 1)));
    return 1;
}

static int do_close(lua_State *L) {
    lua_State *co = check_coroutine(L, 1);
    const char *is = status_of(L, co);
    if (is[0] != 's' && is[0] != 'd') return luaL_error(L, "cannot close a %s coroutine", is);
    if (vm_reset(co) == LUA_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    return 2;
}

const luaL_Reg api_coroutine[] = {{"create", create},   {"resume", resume},   {"yield", yield}, {"wrap", wrap},
                                  {"status", status},   {"running", running}, {"close", do_close},
                                  {"isyieldable", isyieldable}, {NULL, NULL}};
