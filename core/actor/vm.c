#include "actor/vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/actor.h"
#include "actor/guest.h"
#include "actor/observe.h"
#include "actor/profile.h"
#include "ground/clock.h"
#include "ground/log.h"
#include "run/scheduler.h"

#define WHIM_MOST 2000 /* instructions until a shuffled schedule thinks of ending a slice */
#define ASK_AGAIN 1000  /* instructions, where a yield is not possible */
#define BODY_CHECK 1000 /* the same between looks at the clock, while a module's body is tried out */

/* The coroutines that run on this thread, for the signal handler, the innermost first: the others have resumed it (or
 * belong to another VM that tries out a body). volatile: in the order in which they are written. */
typedef struct Running {
    struct Running *volatile outer;
    lua_State *volatile L;
} Running;
static _Thread_local Running *volatile running __attribute__((tls_model("initial-exec"))); /* NULL while none does */

static void hook(lua_State *L, lua_Debug *ar);

/* Lua's last word outside of any protected call. Nothing of ours runs Lua there. */
static int panic(lua_State *L) {
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?";
    log_format(LOG_ERROR, "", "bug: Lua panicked outside of a protected call: %s", text);
    log_flush();
    return 0; /* Lua aborts */
}

static int begin(Vm *vm, size_t memory_limit, struct Actor *actor, lua_Alloc alloc) {
    arena_open(&vm->arena, memory_limit);
    vm->actor = actor;
    vm->L = lua_newstate(alloc, &vm->arena);
    if (vm->L == NULL) {
        arena_close(&vm->arena);
        return UV_ENOMEM;
    }
    lua_atpanic(vm->L, panic);
    *(Vm **)lua_getextraspace(vm->L) = vm;
    return 0;
}

int vm_open(Vm *vm, size_t memory_limit, struct Actor *actor) { return begin(vm, memory_limit, actor, arena_alloc); }

int vm_open_apart(Vm *vm, size_t memory_limit) { return begin(vm, memory_limit, NULL, arena_alloc_apart); }

/* Lua closes files and the like; a VM without any is just dropped. One that was ended from within a hook has its hooks
 * off, and its to-be-closed variables could loop: it is dropped in any case, and an open file of it stays open. */
void vm_close(Vm *vm) {
    if (vm->L == NULL) return;
    if (vm->has_finalizers && !vm->doomed) {
        vm->doomed = true; /* killed in the middle of something: what it still wants to run is ended at once */
        lua_sethook(vm->L, hook, LUA_MASKCOUNT, 1);
        lua_close(vm->L);
    }
    vm->L = NULL;
    arena_close(&vm->arena);
}

/* Raises out of a VM that must end, as what no script can hook into: an error of memory calls no message handler. (An
 * ordinary error calls it while hooks are off, and a loop in there could not be ended any more.) */
static int raise_end(lua_State *L) {
    vm_of(L)->arena.limit = 0;
    lua_newuserdatauv(L, 64, 0);
    return luaL_error(L, "the actor ends"); /* not reached */
}

/* Is it vm->body that runs, or what that has called? */
static bool must_end(lua_State *L, const Vm *vm) {
    lua_Debug ar;
    bool found = vm->body == NULL || L != vm->L;
    for (int i = 0; !found && lua_getstack(L, i, &ar); i++) {
        lua_getinfo(L, "f", &ar);
        found = lua_topointer(L, -1) == vm->body;
        lua_pop(L, 1);
    }
    return found;
}

static void hook(lua_State *L, lua_Debug *ar) {
    Vm *vm = vm_of(L);
    /* A body that has time left: it stays armed, for arming walks all calls, and a deep stack would never be done. */
    if (vm->deadline != 0 && !vm->doomed && vm->actor == NULL && lua_gethookcount(L) == BODY_CHECK &&
        clock_real() <= vm->deadline)
        return;
    lua_sethook(L, NULL, 0, 0);
    uint32_t samples = scheduler_sampled(); /* more than one: a C function was at work for so long */
    if (samples > 0 && vm->actor != NULL) profile_take(L, ar->event, samples);
    if (ar->event != LUA_HOOKCOUNT) { /* nobody may yield here: at the next instruction */
        lua_sethook(L, hook, LUA_MASKCOUNT, 1);
        return;
    }
    if (vm->deadline != 0) {
        vm->doomed = vm->doomed || clock_real() > vm->deadline;
        lua_sethook(L, hook, LUA_MASKCOUNT, BODY_CHECK);
    }
    if (vm->doomed) {
        lua_sethook(L, hook, LUA_MASKCOUNT, 1); /* one raise is swallowed by a pcall */
        raise_end(L);
    }
    if (vm->overdue && vm->actor->current == &vm->actor->main && must_end(L, vm)) {
        if (vm->body != NULL) lua_sethook(L, hook, LUA_MASKCOUNT, 1); /* a pcall may catch it: and again */
        else vm->overdue = false;
        luaL_where(L, 0);
        lua_pushfstring(L, "%s%s", lua_tostring(L, -1), "its time is up (--timeout)");
        lua_error(L);
    }
    if (vm->actor == NULL) return;
    observe_note(vm->actor);
    if (vm->whim) scheduler_expire();
    vm->whim = false;
    if (!scheduler_expired()) {
        vm_whim(L); /* it may come later */
        return;
    }
    if (lua_isyieldable(L)) {
        vm->yielding = YIELD_PREEMPTED;
        lua_yield(L, 0);
    } else if (actor_must_die(vm->actor)) {
        vm_doom(L);
    } else if (vm->actor->current != NULL && guest_stopped(vm->actor->current)) {
        lua_sethook(L, hook, LUA_MASKCOUNT, 1); /* one raise may be caught, and it goes on out there */
        lua_pushliteral(L, "not enough memory"); /* Lua's own string for that: no message handler is called */
        lua_error(L);
    } else {
        lua_sethook(L, hook, LUA_MASKCOUNT, ASK_AGAIN);
    }
}

void vm_interrupt(void) {
    const Running *r = running;
    lua_State *L = r != NULL ? r->L : NULL;
    /* Arming walks all calls of the stack. With a million of them that takes longer than the watchdog's tick: armed
     * once is enough, or nothing else would be done any more. */
    if (L == NULL) scheduler_sampled(); /* nobody to be seen */
    if (L == NULL || lua_gethook(L) == hook) return;
    /* For a profile also calls and returns: by them a C function that is at work now is found out. */
    bool profiled = atomic_load_explicit(&profile_on, memory_order_relaxed);
    lua_sethook(L, hook, LUA_MASKCOUNT | (profiled ? LUA_MASKCALL | LUA_MASKRET : 0), 1);
}

void vm_preempt_after(lua_State *L, int instructions) { lua_sethook(L, hook, LUA_MASKCOUNT, instructions); }

void vm_whim_shuffled(lua_State *L) {
    int whim = scheduler_whim(WHIM_MOST);
    if (whim < 0) return;
    vm_of(L)->whim = whim % 3 == 0;
    vm_preempt_after(L, whim + 1);
}

int vm_doom(lua_State *L) {
    vm_of(L)->doomed = true;
    lua_sethook(L, hook, LUA_MASKCOUNT, 1);
    return raise_end(L);
}

int vm_resume(lua_State *L, lua_State *from, int nargs, int *nresults) {
    Vm *vm = vm_of(L);
    /* Before `yielding` is written: read as one word with it, they would wait for that store. */
    if (vm->deadline != 0 || vm->doomed || vm->overdue) lua_sethook(L, hook, LUA_MASKCOUNT, 1);
    vm->yielding = YIELD_USER;
    Running self;
    self.L = L;
    self.outer = running;
    running = &self;
    *(Vm **)lua_getextraspace(L) = vm;
    int status = lua_resume(L, from, nargs, nresults);
    if (status == LUA_YIELD && vm->yielding != YIELD_USER) *(uintptr_t *)lua_getextraspace(L) |= 1;
    running = self.outer;
    return status;
}

lua_State *vm_resumer(const lua_State *L) {
    const Running *r = running;
    while (r != NULL && r->L != L) r = r->outer;
    return r != NULL && r->outer != NULL && vm_of(r->outer->L) == vm_of(r->L) ? r->outer->L : NULL;
}

int vm_reset(lua_State *L) {
    Running self;
    self.L = L;
    self.outer = running;
    running = &self;
    int status = lua_resetthread(L);
    running = self.outer;
    return status;
}
