#include "actor/fiber.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/alarm.h"
#include "actor/cycle.h"
#include "actor/guest.h"
#include "actor/handle.h"
#include "actor/observe.h"
#include "actor/reload.h"
#include "actor/report.h"
#include "ground/clock.h"
#include "ground/log.h"
#include "ground/metrics.h"
#include "ground/pool.h"
#include "mail/post.h"

void fiber_runnable(Actor *a, Fiber *f) {
    f->state = FIBER_RUNNABLE;
    f->next = NULL;
    *a->runnable_end = f;
    a->runnable_end = &f->next;
}

static void runnable_first(Actor *a, Fiber *f) {
    f->state = FIBER_RUNNABLE;
    f->next = a->runnable;
    if (a->runnable == NULL) a->runnable_end = &f->next;
    a->runnable = f;
}

Fiber *fiber_next(Actor *a) {
    Fiber *f = a->runnable;
    if (f == NULL) return NULL;
    a->runnable = f->next;
    if (a->runnable == NULL) a->runnable_end = &a->runnable;
    return f;
}

Fiber *fiber_free(Actor *a) {
    if (a->main.state == FIBER_IDLE) return &a->main;
    return a->behaviour->concurrent ? a->idle : NULL;
}

void fiber_begin(Actor *a, Fiber *f) {
    if (f != &a->main) a->idle = f->next; /* it was the first of them */
    handle_push(f->L);
    f->args = 0;
}

/* ---- making and unmaking ---- */

/* A coroutine of its own, kept alive by the registry. In protected mode. */
static Fiber *fiber_new(lua_State *L, FiberKind kind) {
    Actor *a = actor_of(L);
    luaL_checkstack(L, 2, NULL);
    lua_State *thread = lua_newthread(L);
    *(Vm **)lua_getextraspace(thread) = vm_of(L); /* Lua copies the main state's, which may be held just now */
    Fiber *f = pool_alloc(sizeof *f);
    if (f == NULL) luaL_error(L, "out of memory");
    memset(f, 0, sizeof *f);
    f->kind = kind;
    f->state = FIBER_RUNNING;
    f->sibling = a->others; /* ours first: the registry may raise; then it is freed with the actor, without L */
    a->others = f;
    lua_rawsetp(L, LUA_REGISTRYINDEX, f);
    f->L = thread;
    return f;
}

void fiber_drop(Actor *a, Fiber *f) {
    Fiber **at = &a->others;
    while (*at != f) at = &(*at)->sibling;
    *at = f->sibling;
    lua_settop(f->L, 0);
    lua_pushnil(f->L);
    lua_rawsetp(f->L, LUA_REGISTRYINDEX, f); /* the key is there: nothing is allocated */
    message_free(f->msg);
    message_free(f->answer);
    pool_free(f, sizeof *f);
}

/* A guest is over; takes the fiber. */
static void guest_over(Actor *a, Fiber *f, int status) {
    Guest *guest = f->guest;
    f->guest = NULL;
    guest->over(guest, a, f->L, status);
    if (status == LUA_OK) {
        fiber_drop(a, f);
        return;
    }
    /* It stands in the middle of something: its stack is left as it is, for lua_settop would close variables. */
    Fiber **at = &a->others;
    while (*at != f) at = &(*at)->sibling;
    *at = f->sibling;
    if (lua_checkstack(a->vm.L, 1)) { /* else the registry keeps it until the actor ends */
        lua_pushnil(a->vm.L);
        lua_rawsetp(a->vm.L, LUA_REGISTRYINDEX, f);
    }
    message_free(f->answer);
    pool_free(f, sizeof *f);
}

static __attribute__((noinline)) void finished_more(Actor *a, Fiber *f) {
    message_free(f->answer);
    f->answer = NULL;
    if (f->kind == FIBER_GUEST) {
        guest_over(a, f, LUA_OK);
        return;
    }
    if (f->kind == FIBER_FORK) {
        if (f->old) reload_old_ended(a, f);
        fiber_drop(a, f);
        return;
    }
    f->state = FIBER_IDLE;
    if (f->old) reload_old_ended(a, f);
    if (f->kind == FIBER_EXTRA) {
        f->next = a->idle;
        a->idle = f;
    }
}

/* Its work is done: the next message, or none. */
static inline void finished(Actor *a, Fiber *f) {
    if (f == &a->main && f->answer == NULL && !f->old) f->state = FIBER_IDLE; /* as most often */
    else finished_more(a, f);
}

Fiber *fiber_spare(Actor *a) {
    size_t limit = a->vm.arena.limit;
    a->vm.arena.limit = SIZE_MAX;
    lua_gc(a->main.L, LUA_GCSTOP);
    Fiber *f = fiber_new(a->main.L, FIBER_EXTRA);
    lua_gc(a->main.L, LUA_GCRESTART);
    a->vm.arena.limit = limit;
    f->state = FIBER_IDLE;
    f->next = a->idle;
    a->idle = f;
    return f;
}

/* ---- running ---- */

static void failed(Actor *a, Fiber *f, int status) {
    if (a->vm.doomed) { /* the raise that ends it; its askers hear the reason that is settled already */
        f->state = FIBER_IDLE;
        return;
    }
    if (f->kind == FIBER_GUEST) {
        guest_over(a, f, guest_stopped(f) ? LUA_YIELD : status);
        return;
    }
    if (f->msg != NULL) observe_failed(a, f);
    const Behaviour *newest = a->behaviour;
    if (a->reload != NULL) reload_failed(a);
    if (f->old) __atomic_store_n(&a->behaviour, a->older, __ATOMIC_RELEASE); /* in the reports: whose fault it was */
    Message *reason = report_error(a, f->L, status);
    report_crash(a, f, status, reason);
    if (f->old) __atomic_store_n(&a->behaviour, newest, __ATOMIC_RELEASE);
    metrics_add(METRIC_crashed, 1);
    if (f->msg != NULL && f->msg->ref != 0 && (f->msg->kind == MESSAGE_ASK || f->msg->kind == MESSAGE_START)) {
        Message *answer = reason != NULL ? message_copy(reason) : NULL;
        if (answer != NULL) {
            answer->to = f->msg->from;
            answer->from = a->pid;
            answer->ref = f->msg->ref;
            post_deliver(answer);
        } else {
            post_fail(f->msg->from, f->msg->ref, a->pid, "error", "it failed, and memory is short", NULL);
        }
        f->msg->ref = 0; /* answered */
    }
    f->state = FIBER_IDLE;
    if (f->kind == FIBER_EXTRA) f->state = FIBER_RUNNING; /* not among the idle: it must not be used again */
    vm_reset(f->L);
    if (a->ending == NULL) actor_end(a, reason);
    else message_free(reason);
}

static inline __attribute__((always_inline)) void resume(Actor *a, Fiber *f, bool guest) {
    int results, args = f->args;
    size_t limit = a->vm.arena.limit;
    if (guest) a->vm.arena.limit = f->guest->memory;
    a->current = f;
    f->state = FIBER_RUNNING;
    f->args = 0;
    vm_whim(f->L);
    int status = vm_resume(f->L, NULL, args, &results);
    a->current = NULL;
    if (guest && !a->vm.doomed) a->vm.arena.limit = limit;
    VmYield why = (VmYield)a->vm.yielding;
    a->vm.yielding = YIELD_USER;
    if (status == LUA_OK) {
        finished(a, f);
    } else if (status != LUA_YIELD) {
        failed(a, f, status);
    } else if (why == YIELD_PREEMPTED) {
        if (a->watched & WATCH_NOTED) observe_goes_on(a, f);
        runnable_first(a, f); /* it goes on where it was, before others of this actor begin */
        scheduler_expire();
    }
    /* YIELD_WAITING: fiber_wait has seen to it. YIELD_EXIT: the actor ends, and with it the fiber. YIELD_USER cannot
     * be: coroutine.yield refuses on the bottom of a fiber. */
}

static __attribute__((noinline)) void resume_guest(Actor *a, Fiber *f) {
    if (guest_stopped(f)) guest_over(a, f, LUA_YIELD);
    else resume(a, f, true);
}

void fiber_resume(Actor *a, Fiber *f) {
    if (__builtin_expect(f->guest != NULL, 0)) resume_guest(a, f);
    else resume(a, f, false);
}

/* ---- waiting ---- */

void fiber_check_waits(lua_State *L, const char *what) {
    Actor *a = actor_of(L);
    if (a == NULL) luaL_error(L, "%s: not while a module's body runs", what);
    if (!lua_isyieldable(L) || a->vm.fixed > 0)
        luaL_error(L, "%s: can't wait here, inside of a C function (such as table.sort) that calls back", what);
}

void fiber_expects(Actor *a, uint64_t whom, uint64_t until) {
    atomic_store_explicit(&a->current->whom, whom, memory_order_relaxed);
    atomic_store_explicit(&a->current->until, until, memory_order_relaxed);
}

struct Foreseen {
    struct Foreseen *next;
    uint64_t ref;
    Message *answer; /* NULL: it has not come */
};

static struct Foreseen **foreseen_at(Actor *a, uint64_t ref) {
    struct Foreseen **at = &a->foreseen;
    while (*at != NULL && (*at)->ref != ref) at = &(*at)->next;
    return at;
}

int fiber_foresee(Actor *a, uint64_t ref) {
    struct Foreseen *f = malloc(sizeof *f);
    if (f == NULL) return UV_ENOMEM;
    *f = (struct Foreseen){a->foreseen, ref, NULL};
    a->foreseen = f;
    return 0;
}

/* The answer, or NULL: it has not come. */
static Message *take_foreseen(Actor *a, uint64_t ref) {
    struct Foreseen **at = foreseen_at(a, ref), *f = *at;
    if (f == NULL) return NULL;
    Message *answer = f->answer;
    *at = f->next;
    free(f);
    return answer;
}

void fiber_unforesee(Actor *a, uint64_t ref) { message_free(take_foreseen(a, ref)); }

static bool keep_foreseen(Actor *a, uint64_t ref, Message *answer) {
    struct Foreseen *f = *foreseen_at(a, ref);
    if (f == NULL || f->answer != NULL || answer == NULL) return false;
    f->answer = answer;
    return true;
}

int fiber_wait(lua_State *L, const char *what, uint64_t ref, uint64_t deadline, lua_KFunction k) {
    Actor *a = actor_of(L);
    Fiber *f = a->current;
    fiber_check_waits(L, what);
    /* While this handler waits, a concurrent actor handles others: they want a coroutine, and it can be made safely
     * here. */
    if (a->behaviour->concurrent && a->stage == ACTOR_LIVE && a->idle == NULL) {
        Fiber *other = fiber_new(L, FIBER_EXTRA);
        other->next = NULL;
        a->idle = other;
    }
    if (f != &a->main && map_put(&a->waiting, ref, (uint64_t)(uintptr_t)f) < 0) luaL_error(L, "out of memory");
    message_free(f->answer);
    f->answer = a->foreseen != NULL ? take_foreseen(a, ref) : NULL;
    if (f->answer != NULL) {
        if (f != &a->main) map_take(&a->waiting, ref, NULL);
        else cycle_leave(a);
        return k(L, LUA_OK, 0);
    }
    f->wait = ref;
    f->deadline = deadline;
    f->state = FIBER_WAITING;
    if (deadline != 0) {
        alarm_set(a, deadline);
        atomic_store_explicit(&f->until, deadline, memory_order_relaxed);
    }
    atomic_store_explicit(&f->since, clock_coarse(), memory_order_relaxed);
    atomic_store_explicit(&f->waits, what, memory_order_relaxed);
    if (__builtin_expect(a->watched != 0, 0)) observe_pause(a, f);
    a->vm.yielding = YIELD_WAITING;
    return lua_yieldk(L, 0, 0, k);
}

Message *fiber_answer(lua_State *L) { return actor_of(L)->current->answer; }

uint64_t fiber_limit(const Actor *a) {
    const Message *msg = a->current != NULL ? a->current->msg : NULL; /* NULL: a finalizer, at the very end */
    bool asked = msg != NULL && msg->kind == MESSAGE_ASK && msg->ref != 0; /* 0: it was answered already */
    return asked && (msg->flags & MESSAGE_LIMITED) ? message_deadline(msg) : 0;
}

static void wake(Actor *a, Fiber *f, Message *answer) {
    if (f == &a->main) cycle_leave(a);
    f->wait = 0;
    atomic_store_explicit(&f->waits, NULL, memory_order_relaxed);
    if (__builtin_expect(f->paused != 0, 0)) observe_go_on(f);
    f->answer = answer;
    fiber_runnable(a, f);
}

bool fiber_wake(Actor *a, uint64_t ref, Message *answer) {
    uint64_t bits;
    Fiber *f = &a->main;
    if (f->state != FIBER_WAITING || f->wait != ref) {
        if (!map_take(&a->waiting, ref, &bits)) return a->foreseen != NULL && keep_foreseen(a, ref, answer);
        f = (Fiber *)(uintptr_t)bits;
    }
    wake(a, f, answer);
    return true;
}

uint64_t fiber_expire(Actor *a, uint64_t now) {
    uint64_t nearest = 0;
    for (Fiber *f = &a->main; f != NULL; f = f == &a->main ? a->others : f->sibling) {
        if (f->state != FIBER_WAITING || f->deadline == 0) continue;
        if (f->deadline <= now) {
            if (f != &a->main) map_take(&a->waiting, f->wait, NULL);
            wake(a, f, NULL);
        } else if (nearest == 0 || f->deadline < nearest) {
            nearest = f->deadline;
        }
    }
    return nearest;
}

void fiber_overdue(Actor *a) {
    if (a->main.state == FIBER_IDLE) return;
    a->vm.overdue = true; /* the hook sees to it when that code runs next */
    if (a->main.state == FIBER_WAITING) wake(a, &a->main, NULL);
}

void fiber_fork(lua_State *L, int nargs) {
    Actor *a = actor_of(L);
    Fiber *f = fiber_new(L, FIBER_FORK);
    luaL_checkstack(f->L, nargs + 1, "too many arguments");
    lua_xmove(L, f->L, nargs + 1);
    f->args = nargs;
    fiber_runnable(a, f);
}

void fiber_guest(lua_State *L, Guest *guest, lua_CFunction function) {
    Actor *a = actor_of(L);
    Fiber *f = fiber_new(L, FIBER_GUEST);
    f->guest = guest;
    lua_pushcfunction(f->L, function); /* a new coroutine has room for 20 */
    lua_pushlightuserdata(f->L, guest);
    f->args = 1;
    fiber_runnable(a, f);
}

/* ---- the end ---- */

static bool is_asked(const Fiber *f) {
    return f->msg != NULL && f->msg->ref != 0 && (f->msg->kind == MESSAGE_ASK || f->msg->kind == MESSAGE_START);
}

static void cancel(Actor *a, Fiber *f) {
    if (f == &a->main) cycle_leave(a);
    else if (f->state == FIBER_WAITING) map_take(&a->waiting, f->wait, NULL);
    if (f->state == FIBER_RUNNABLE) {
        Fiber **at = &a->runnable;
        while (*at != f) at = &(*at)->next;
        *at = f->next;
        if (a->runnable_end == &f->next) a->runnable_end = at;
    }
    if (is_asked(f)) {
        Message *answer = report_make(a, "reloaded", "the handler was cancelled: its actor got a new version");
        if (answer != NULL) {
            answer->to = f->msg->from;
            answer->from = a->pid;
            answer->ref = f->msg->ref;
            post_deliver(answer);
        } else {
            post_fail(f->msg->from, f->msg->ref, a->pid, "reloaded", "the handler was cancelled", NULL);
        }
    }
    observe_ended(a, f);
    atomic_store_explicit(&f->waits, NULL, memory_order_relaxed);
    vm_reset(f->L);
    lua_settop(f->L, 0);
    message_free(f->msg);
    message_free(f->answer);
    f->msg = f->answer = NULL;
    f->wait = f->deadline = 0;
    f->args = 0;
    finished(a, f);
}

uint32_t fiber_cancel(Actor *a, bool old_only) {
    uint32_t count = 0;
    Fiber *next;
    for (Fiber *f = &a->main; f != NULL; f = next) {
        next = f == &a->main ? a->others : f->sibling;
        if ((f->state != FIBER_WAITING && f->state != FIBER_RUNNABLE) || (old_only && !f->old)) continue;
        if (f->kind == FIBER_GUEST) continue; /* it has a budget of its own */
        cancel(a, f);
        count++;
    }
    return count;
}

static void fail_asker(Actor *a, Fiber *f) {
    if (f->msg == NULL || f->msg->ref == 0 || (f->msg->kind != MESSAGE_ASK && f->msg->kind != MESSAGE_START)) return;
    Message *answer = report_down(a, a->ending);
    if (answer != NULL) {
        answer->to = f->msg->from;
        answer->from = a->pid;
        answer->ref = f->msg->ref;
        post_deliver(answer);
    } else {
        post_fail(f->msg->from, f->msg->ref, a->pid, "down", "it went down", NULL);
    }
    f->msg->ref = 0;
}

void fiber_fail_askers(Actor *a) {
    fail_asker(a, &a->main);
    for (Fiber *f = a->others; f != NULL; f = f->sibling) fail_asker(a, f);
}

void fiber_reset_all(Actor *a) {
    a->runnable = NULL;
    a->runnable_end = &a->runnable;
    a->idle = NULL;
    map_clear(&a->waiting);
    for (Fiber *f = a->others; f != NULL; f = f->sibling) {
        if (f->L != NULL) vm_reset(f->L);
        f->state = FIBER_RUNNING; /* used up; freed with the actor */
        f->wait = f->deadline = 0;
    }
    if (a->main.state != FIBER_IDLE) vm_reset(a->main.L);
    cycle_leave(a);
    a->main.state = FIBER_IDLE;
    a->main.wait = a->main.deadline = 0;
    atomic_store_explicit(&a->main.waits, NULL, memory_order_relaxed);
}

void fiber_free_all(Actor *a) {
    observe_ended(a, &a->main);
    while (a->others != NULL) {
        Fiber *f = a->others;
        observe_ended(a, f);
        a->others = f->sibling;
        if (f->guest != NULL) f->guest->over(f->guest, a, f->L, LUA_YIELD);
        message_free(f->msg);
        message_free(f->answer);
        pool_free(f, sizeof *f);
    }
    message_free(a->main.msg);
    message_free(a->main.answer);
    a->main.msg = a->main.answer = NULL;
    while (a->foreseen != NULL) fiber_unforesee(a, a->foreseen->ref);
    map_clear(&a->waiting);
}
