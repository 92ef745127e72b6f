#include "actor/reloading.h"

#include <stdio.h>
#include "actor/fiber.h"
#include "actor/handle.h"
#include "actor/report.h"
#include "ground/clock.h"
#include "ground/config.h"
#include "ground/pool.h"

const Behaviour *reload_version(const Actor *a) {
    const Reload *r = a->reload;
    return r != NULL && r->inside && !r->swapped ? r->target.to : a->behaviour;
}

bool reload_is_running(const Actor *a) { return a->reload != NULL && a->reload->running; }

bool reload_is_over_time(const Actor *a) {
    Reload *r = a->reload;
    if (r == NULL || !r->running || (!r->interrupted && clock_real() <= r->until)) return false;
    r->over_time = true;
    return true;
}

static void say(Actor *a, RolloutAnswer answer, const char *text) {
    Reload *r = a->reload;
    r->due = false;
    rollout_answer(r->rollout, r->index, answer, r->stage, text);
}

void reload_free(Actor *a) {
    Reload *r = a->reload;
    if (r == NULL) return;
    rollout_answer(r->rollout, r->index, ROLLOUT_GONE, STAGE_BODY, NULL);
    Message *msg;
    while ((msg = queue_pop(&r->later)) != NULL) message_free(msg);
    fresh_close(a);
    a->reload = NULL;
    pool_free(r, sizeof *r);
}

/* The fiber that did the work is as any other again. */
static void give_back(Actor *a) {
    Reload *r = a->reload;
    Fiber *f = r->fiber;
    a->vm.arena.limit = r->limit;
    r->running = false;
    r->fiber = NULL;
    lua_settop(f->L, 0);
    f->state = FIBER_IDLE;
    if (f == &a->main) return;
    if (r->made) {
        fiber_drop(a, f);
        return;
    }
    f->next = a->idle;
    a->idle = f;
}

/* What runs, and does not just now, is given up. */
static void give_up(Actor *a) {
    Reload *r = a->reload;
    lua_State *L = r->fiber->L;
    if (r->over_time) a->vm.doomed = false;
    lua_sethook(L, NULL, 0, 0);
    a->vm.arena.limit = r->limit;
    vm_reset(L);
    lua_settop(L, 0);
    if (r->inside && !r->target.fresh) renew_step_over(a, L);
    give_back(a);
    if (r->target.fresh) fresh_give_up(a);
}

void reload_abort(Actor *a) {
    Reload *r = a->reload;
    if (r == NULL) return;
    if (r->running && !a->vm.doomed) give_up(a);
    r->due = false;
}

static void failed(Actor *a, int status) {
    Reload *r = a->reload;
    Fiber *f = r->fiber;
    char text[ROLLOUT_TEXT_MAX];
    if (r->over_time) {
        snprintf(text, sizeof text, "it ran longer than %lld ms (reload.timeout)", (long long)config.reload_timeout);
        a->vm.doomed = false;
    } else {
        report_text(f->L, status, text, sizeof text);
        if (status == LUA_ERRMEM)
            snprintf(text, sizeof text, "it took more memory than it may: the VM holds %zu bytes, and may hold %zu "
                     "(reload.memory, actor.memory)", a->vm.arena.used, a->vm.arena.limit);
    }
    lua_sethook(f->L, NULL, 0, 0);
    a->vm.arena.limit = r->limit;
    vm_reset(f->L);
    lua_settop(f->L, 0);
    if (r->target.fresh) {
        give_back(a);
        fresh_give_up(a);
        if (r->step == RELOAD_BACK) say(a, ROLLOUT_AS_IS, NULL);
        else say(a, ROLLOUT_FAILED, text);
        return;
    }
    if (r->step == RELOAD_BACK && !r->as_is) { /* then without its state */
        give_back(a);
        r->as_is = true;
        r->carries = false;
        r->answer = ROLLOUT_AS_IS;
        r->over_time = false;
        return;
    }
    renew_drop(a, f->L);
    give_back(a);
    say(a, ROLLOUT_FAILED, text);
}

static void tell_done(Actor *a);

static void done(Actor *a) {
    Reload *r = a->reload;
    Fiber *f = r->fiber;
    lua_settop(f->L, 0);
    if (r->inside && !r->target.fresh) renew_step_over(a, f->L);
    give_back(a);
    if (r->target.fresh) fresh_done(a);
    tell_done(a);
}

static void tell_done(Actor *a) {
    Reload *r = a->reload;
    switch (r->step) {
    case RELOAD_PREPARE:
        r->ready = true;
        say(a, ROLLOUT_READY, NULL);
        break;
    case RELOAD_COMMIT:
        say(a, !r->target.back || !a->began             ? ROLLOUT_TAKEN
               : r->carries                              ? ROLLOUT_TAKEN_DOWNGRADED
               : r->target.from->migrates                ? ROLLOUT_TAKEN_AS_IS
                                                         : ROLLOUT_TAKEN, NULL);
        break;
    default: say(a, r->answer, NULL); break;
    }
}

static void resume(Actor *a) {
    Reload *r = a->reload;
    Fiber *f = r->fiber;
    int results, args = f->args;
    uint64_t budget = (uint64_t)config.reload_timeout * CLOCK_NS_PER_MS, from = clock_real();
    f->args = 0;
    a->current = f;
    r->until = from + (r->spent < budget ? budget - r->spent : 0);
    int status = vm_resume(f->L, NULL, args, &results);
    VmYield why = (VmYield)a->vm.yielding;
    a->vm.yielding = YIELD_USER;
    a->current = NULL;
    r->spent += clock_real() - from;
    if (status == LUA_OK) {
        done(a);
    } else if (r->interrupted) {
        if (a->vm.doomed && !r->over_time) return;
        give_up(a);
    } else if (status != LUA_YIELD) {
        if (a->vm.doomed && !r->over_time) return; /* killed where it could not yield */
        failed(a, status);
    } else if (why == YIELD_PREEMPTED) {
        r->over_time = r->spent > budget;
        if (r->over_time) failed(a, LUA_ERRRUN);
        else scheduler_expire();
    } /* YIELD_EXIT: it ends, by its own word */
}

/* What it would have to wait for is cancelled: handlers that hinder, and coroutines two versions back. */
static void make_room(Actor *a) {
    Reload *r = a->reload;
    bool hindered = fiber_free(a) == NULL;
    if (r->step == RELOAD_COMMIT && a->old_count > 0) rollout_cancelled(r->rollout, fiber_cancel(a, true));
    if (hindered && (r->cancels || (r->step == RELOAD_COMMIT && r->target.cancels)) && a->began)
        rollout_cancelled(r->rollout, fiber_cancel(a, false));
}

static void forget(Actor *a) {
    Reload *r = a->reload;
    Fiber *f = fiber_free(a);
    lua_State *L = f != NULL ? f->L : a->vm.L;
    if (r->target.fresh) fresh_close(a);
    else if (lua_checkstack(L, 6)) renew_drop(a, L);
    a->reload = NULL;
    pool_free(r, sizeof *r);
}

/* A step that came, while nothing runs. */
static void take(Actor *a, ReloadStep step) {
    Reload *r = a->reload;
    switch (step) {
    case RELOAD_PREPARE:
        if (a->behaviour != r->target.from) {
            say(a, ROLLOUT_GONE, NULL);
            return;
        }
        break;
    case RELOAD_COMMIT:
        if (!r->ready) return;
        break;
    case RELOAD_BACK:
        if (!r->swapped) { /* it did not come to it */
            r->due = false;
            say(a, ROLLOUT_EXACT, NULL);
            return;
        }
        r->answer = ROLLOUT_EXACT;
        break;
    case RELOAD_CANCEL:
        r->cancels = true;
        return;
    case RELOAD_MEASURE: r->measures = true; return;
    case RELOAD_FORGET: forget(a); return;
    }
    r->step = step;
    r->due = true;
    r->cancels = false;
}

static void run_on(Actor *a) {
    Reload *r = a->reload;
    if (r->interrupted) give_up(a);
    else resume(a);
    if (r->running) return;
    Queue later = r->later;
    Message *msg;
    r->later = (Queue){0};
    r->interrupted = false;
    while ((msg = queue_pop(&later)) != NULL) reload_came(a, msg);
}

static bool fresh_turn(Actor *a) {
    Reload *r = a->reload;
    char text[ROLLOUT_TEXT_MAX];
    bool over;
    if ((r->cancels || (r->step == RELOAD_COMMIT && r->target.cancels)) && a->began)
        rollout_cancelled(r->rollout, fiber_cancel(a, false));
    if (!fresh_ready(a)) return false;
    if (!fresh_begin(a, text, sizeof text, &over)) {
        say(a, ROLLOUT_FAILED, text);
        return true;
    }
    r->limit = a->vm.arena.limit;
    r->fiber = &a->main;
    if (over) {
        fresh_done(a);
        tell_done(a);
        return true;
    }
    r->made = false;
    r->spent = 0;
    r->over_time = false;
    r->running = true;
    a->main.state = FIBER_RUNNING;
    run_on(a);
    return true;
}

bool reload_turn(Actor *a) {
    Reload *r = a->reload;
    if (r->running) {
        run_on(a);
        return true;
    }
    if (!r->due) return false;
    if (!a->began && a->start == NULL) return false; /* in the middle of init */
    if (r->target.fresh) return fresh_turn(a);
    if (r->step == RELOAD_COMMIT && r->target.cancels && a->began)
        rollout_cancelled(r->rollout, fiber_cancel(a, false));
    make_room(a);
    Fiber *f = fiber_free(a);
    if (f == NULL && (r->step != RELOAD_PREPARE || a->main.state != FIBER_WAITING)) return false;
    /* Code of the script gets a coroutine of its own: if it is ended where it can't yield, by an error out of a hook,
     * that coroutine never calls hooks again. */
    r->made = r->step == RELOAD_PREPARE || r->touched;
    if (r->made) f = fiber_spare(a);
    if (f != &a->main) a->idle = f->next; /* it was the first of them */
    size_t most = a->vm.arena.used + (size_t)config.reload_memory;
    r->limit = a->vm.arena.limit;
    if (most < r->limit) a->vm.arena.limit = most;
    r->spent = 0;
    r->over_time = false;
    r->running = true;
    r->fiber = f;
    f->state = FIBER_RUNNING;
    lua_settop(f->L, 0);
    lua_pushcfunction(f->L, renew);
    f->args = 0;
    run_on(a);
    return true;
}

void reload_came(Actor *a, Message *msg) {
    ReloadStep step = (ReloadStep)msg->bytes[0];
    uint64_t rollout = msg->ref;
    uint32_t index = msg->name;
    Reload *r = a->reload;
    if (r != NULL && r->running && step != RELOAD_CANCEL && step != RELOAD_MEASURE) {
        r->interrupted = true; /* perhaps we are in the middle of it */
        queue_push(&r->later, msg);
        return;
    }
    message_free(msg);
    if (r != NULL && r->rollout != rollout) { /* cannot be: a rollout ends by FORGET */
        forget(a);
        r = NULL;
    }
    if (r == NULL) {
        if (step != RELOAD_PREPARE && step != RELOAD_MEASURE) return;
        if ((r = pool_alloc(sizeof *r)) == NULL) {
            rollout_answer(rollout, index, ROLLOUT_FAILED, STAGE_BODY, "out of memory");
            return;
        }
        *r = (Reload){.rollout = rollout, .index = index};
        a->reload = r;
        if (!rollout_target(rollout, index, &r->target)) { /* it is over */
            a->reload = NULL;
            pool_free(r, sizeof *r);
            return;
        }
    }
    take(a, step);
}

void reload_resumes(Actor *a) {
    Reload *r = a->reload;
    r->touched = true;
    if (!r->measures) return;
    a->enough = atomic_load_explicit(&a->handled, memory_order_relaxed) + 1; /* a turn's time is its handler's, then */
    r->began = clock_real();
}

void reload_resumed(Actor *a) {
    Reload *r = a->reload;
    if (r != NULL && r->measures && r->began != 0) rollout_measured(r->rollout, r->index, clock_real() - r->began);
}

void reload_failed(Actor *a) {
    if (a->reload != NULL && a->reload->measures) rollout_crashed(a->reload->rollout, a->reload->index);
}

void reload_old_ended(Actor *a, Fiber *f) {
    f->old = false;
    lua_settop(f->L, 0);
    if (--a->old_count == 0) handle_settle(f->L);
}
