#include "actor/reload.h"

#include <lauxlib.h>
#include <string.h>
#include <uv.h>
#include "actor/fiber.h"
#include "actor/handle.h"
#include "actor/report.h"
#include "actor/rollout.h"
#include "ground/clock.h"
#include "ground/config.h"
#include "ground/log.h"
#include "ground/pool.h"

typedef struct Reload Reload;

#define COPY_PIECE 1000 /* fields of `self` copied between two looks at the time */

static const char stash_key; /* registry: the stash, a list of: */
enum {
    STASH_HANDLE = 1, /* the handling function */
    STASH_META,       /* the metatable of `self` */
    STASH_GLOBALS,
    STASH_LOADED,
    STASH_STATE,     /* a table with the contents of `self`, or false */
    STASH_TRANSFORM, /* migrate, or downgrade; or false */
    STASH_CHECK
};

struct Reload {
    uint64_t rollout; /* its number */
    uint32_t index;   /* ours in it */
    ReloadTarget target;
    ReloadStep step;
    bool due;      /* `step` is to be done */
    bool running;  /* ... and is being done, on `fiber` */
    bool ready;    /* the stash is whole */
    bool swapped;  /* what is in use is the new, what is in the stash the old */
    bool inside;   /* the globals and package.loaded are the other ones' just now */
    bool touched;  /* a handler has run since the state in the stash was made of it */
    bool carries;  /* `self` had other contents before the exchange: they are exchanged, too */
    bool interrupted; /* what runs is to be given up for what has come meanwhile */
    Queue later;      /* that: messages, in their order */
    bool cancels, as_is, over_time, measures, made; /* made: `fiber` was made for this step */
    ChangeStage stage;
    RolloutAnswer answer;
    Fiber *fiber;
    uint64_t spent, until; /* ns so far; clock_now when it may run no longer */
    uint64_t began;        /* measuring: when the fiber was resumed */
    size_t limit;          /* the arena's, while it is lowered */
    uint64_t given;        /* of the globals in the stash: api/sandbox's */
};

const Behaviour *reload_version(const Actor *a) {
    const Reload *r = a->reload;
    return r != NULL && r->inside && !r->swapped ? r->target.to : a->behaviour;
}

bool reload_is_running(const Actor *a) { return a->reload != NULL && a->reload->running; }

bool reload_is_over_time(const Actor *a) {
    Reload *r = a->reload;
    if (r == NULL || !r->running || (!r->interrupted && clock_now() <= r->until)) return false;
    r->over_time = true;
    return true;
}

/* ---- the VM's side: all of this runs in a fiber, or where nothing can raise ---- */

static void push_stash(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &stash_key); }

/* Exchanges globals and package.loaded with those in the stash. Raises nothing: all keys are there. */
static void step_over(Actor *a, lua_State *L) {
    Reload *r = a->reload;
    push_stash(L);
    int stash = lua_gettop(L);
    lua_rawgeti(L, stash, STASH_GLOBALS);
    actor_calls.swap_globals(L, &r->given);
    lua_rawseti(L, stash, STASH_GLOBALS);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_rawgeti(L, stash, STASH_LOADED);
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_rawseti(L, stash, STASH_LOADED);
    lua_settop(L, stash - 1);
    r->inside = !r->inside;
}

/* Is a module that the new version shares with the old one another in it? */
static bool modules_differ(const ReloadTarget *t) {
    for (size_t i = 0; i < t->from->use_count; i++) {
        const Source *s = t->from->uses[i];
        bool same = false;
        for (size_t k = 0; k < t->to->use_count && !same; k++) same = t->to->uses[k] == s;
        if (!same) return true;
    }
    return false;
}

/* Pushes package.loaded for the new version: if its modules are the same as before, they go on; else all that are read
 * from files begin anew, for they may hold each other. */
static void push_loaded(lua_State *L, const ReloadTarget *t) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (!modules_differ(t)) return;
    lua_createtable(L, 0, 4);
    lua_pushnil(L);
    while (lua_next(L, -3) != 0) {
        bool fresh = false;
        for (size_t i = 0; i < t->from->use_count && !fresh; i++)
            fresh = !t->from->uses[i]->built_in && lua_type(L, -2) == LUA_TSTRING &&
                    strcmp(lua_tostring(L, -2), t->from->uses[i]->name) == 0;
        if (!fresh) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, -4);
        } else {
            lua_pop(L, 1);
        }
    }
    lua_remove(L, -2);
}

/* The table at index 1 copied, with all tables in it, whatever leads where; what is no table is shared. Stack: 2 the
 * copies by their originals, 3 the list of originals to do, 4 the one that is being done, 5 its copy, 6 the last key.
 * The context says how many are on the list, the one being done is the last taken. */
static int copy_on(lua_State *L, int status, lua_KContext context);

static void push_copy(lua_State *L, lua_Integer *todo) { /* replaces the value on top */
    if (!lua_istable(L, -1)) return;
    lua_pushvalue(L, -1);
    if (lua_rawget(L, 2) == LUA_TTABLE) {
        lua_replace(L, -2);
        return;
    }
    lua_pop(L, 1);
    lua_createtable(L, 0, 0);
    if (lua_getmetatable(L, -2)) lua_setmetatable(L, -2);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 2);
    lua_insert(L, -2);
    lua_rawseti(L, 3, ++*todo);
}

static int copy_tables(lua_State *L, lua_Integer todo) {
    int count = 0;
    for (;;) {
        if (lua_isnil(L, 4)) {
            if (todo == 0) break;
            lua_rawgeti(L, 3, todo);
            lua_replace(L, 4);
            lua_pushnil(L);
            lua_rawseti(L, 3, todo--);
            lua_pushvalue(L, 4);
            lua_rawget(L, 2);
            lua_replace(L, 5);
        }
        lua_settop(L, 6);
        if (lua_next(L, 4) == 0) {
            lua_settop(L, 5);
            lua_pushnil(L);
            lua_pushnil(L);
            lua_replace(L, 4);
            lua_settop(L, 6);
        } else {
            lua_pushvalue(L, 6);
            push_copy(L, &todo);
            lua_insert(L, -2);
            push_copy(L, &todo);
            lua_rawset(L, 5); /* 6 stays: the key just done */
        }
        if (++count % COPY_PIECE == 0 && scheduler_expired()) {
            vm_of(L)->yielding = YIELD_PREEMPTED;
            return lua_yieldk(L, 0, (lua_KContext)todo, copy_on);
        }
    }
    lua_pushvalue(L, 1);
    lua_rawget(L, 2);
    return 1;
}

static int copy_on(lua_State *L, int status, lua_KContext context) {
    (void)status;
    return copy_tables(L, (lua_Integer)context);
}

static int copy(lua_State *L) {
    lua_Integer todo = 0;
    lua_settop(L, 1);
    lua_createtable(L, 0, 8);
    lua_createtable(L, 8, 0);
    lua_pushvalue(L, 1);
    push_copy(L, &todo);
    lua_settop(L, 3);
    lua_settop(L, 6);
    return copy_tables(L, todo);
}

/* Exchanges the fields of two tables. The first may be large: its memory is not to fail in the middle. */
static void exchange_fields(lua_State *L, int one, int other) {
    lua_createtable(L, 0, 0);
    int kept = lua_gettop(L);
    int from[] = {one, other, kept}, to[] = {kept, one, other};
    for (int i = 0; i < 3; i++) {
        lua_pushnil(L);
        while (lua_next(L, from[i]) != 0) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, to[i]);
        }
        lua_pushnil(L);
        while (lua_next(L, from[i]) != 0) {
            lua_pop(L, 1);
            lua_pushvalue(L, -1);
            lua_pushnil(L);
            lua_rawset(L, from[i]); /* to nil: allowed while it is walked */
        }
    }
    lua_settop(L, kept - 1);
}

static bool is_at_work(const Fiber *f) { return f->state == FIBER_WAITING || f->state == FIBER_RUNNABLE; }

/* On the way back the old ones are those of the version that is in use again. */
static bool will_be_old(const Reload *r, const Fiber *f) { return r->step == RELOAD_BACK ? !f->old : true; }

/* Everything in the stash goes into use, and the other way round. */
static void exchange(Actor *a, lua_State *L, int stash) {
    Reload *r = a->reload;
    int old = 0;
    for (Fiber *f = &a->main; f != NULL; f = f == &a->main ? a->others : f->sibling)
        old += f != r->fiber && is_at_work(f) && will_be_old(r, f);
    a->vm.arena.limit = SIZE_MAX; /* not in the middle of this */
    if (r->carries) {
        handle_push_self(L);
        lua_rawgeti(L, stash, STASH_STATE);
        exchange_fields(L, lua_gettop(L) - 1, lua_gettop(L));
        lua_pop(L, 2);
    }
    lua_rawgeti(L, stash, STASH_HANDLE);
    lua_rawgeti(L, stash, STASH_META);
    handle_exchange(L, old > 0); /* leaves those that were in use */
    lua_rawseti(L, stash, STASH_META);
    lua_rawseti(L, stash, STASH_HANDLE);
    if (!r->inside) step_over(a, L);
    r->inside = false; /* these are in use now */
    r->swapped = !r->swapped;
    r->touched = false;
    for (Fiber *f = &a->main; f != NULL; f = f == &a->main ? a->others : f->sibling) {
        if (f == r->fiber) continue;
        if (is_at_work(f)) f->old = will_be_old(r, f);
        else if (f->state == FIBER_IDLE)
            lua_settop(f->L, 0); /* the old handling function */
    }
    a->old_count = (uint32_t)old;
    a->older = a->behaviour;
    actor_set_behaviour(a, r->swapped ? r->target.to : r->target.from);
}

typedef enum { AT_BODY, AT_MADE, AT_COPY, AT_COPIED, AT_TRANSFORMED, AT_CHECKED, AT_EXCHANGE } At;

static int go_on(lua_State *L, int status, lua_KContext at);

/* The way of a step. The stash is at 1. */
static int go(lua_State *L, At at) {
    Actor *a = actor_of(L);
    Reload *r = a->reload;
    const ReloadTarget *t = &r->target;
    bool back = r->step == RELOAD_BACK;
    for (;;) switch (at) {
        case AT_BODY:
            actor_calls.push_globals(L);
            lua_rawseti(L, 1, STASH_GLOBALS);
            push_loaded(L, t);
            lua_rawseti(L, 1, STASH_LOADED);
            step_over(a, L);
            r->stage = STAGE_BODY;
            source_push(L, t->to->source);
            lua_pushstring(L, t->to->source->name);
            lua_pushstring(L, t->to->source->path);
            lua_callk(L, 2, 1, AT_MADE, go_on);
            at = AT_MADE;
            break;
        case AT_MADE:
            if (!lua_istable(L, -1)) return luaL_error(L, "%s returned no table this time", t->to->source->path);
            lua_getfield(L, -1, "check");
            lua_rawseti(L, 1, STASH_CHECK);
            if (t->back) handle_push_behaviour(L);
            else lua_pushvalue(L, -1);
            lua_getfield(L, -1, t->back ? "downgrade" : "migrate");
            lua_rawseti(L, 1, STASH_TRANSFORM);
            lua_pop(L, 1);
            handle_make_next(L);
            lua_rawseti(L, 1, STASH_META);
            lua_rawseti(L, 1, STASH_HANDLE);
            at = AT_COPY;
            break;
        case AT_COPY: {
            bool transforms, checks;
            r->carries = r->step == RELOAD_COMMIT ? false : r->carries;
            if (back) { /* what the new version has to say about the way back */
                handle_push_behaviour(L);
                lua_getfield(L, -1, "downgrade");
                transforms = lua_isfunction(L, -1) && !t->back;
                lua_rawseti(L, 1, STASH_TRANSFORM);
                lua_pop(L, 1);
                checks = false;
                if (!transforms) {
                    r->carries = false;
                    r->answer = ROLLOUT_AS_IS;
                    at = AT_EXCHANGE;
                    break;
                }
            } else {
                transforms = lua_rawgeti(L, 1, STASH_TRANSFORM) == LUA_TFUNCTION;
                checks = lua_rawgeti(L, 1, STASH_CHECK) == LUA_TFUNCTION;
                lua_pop(L, 2);
            }
            if ((!transforms && !checks) || !a->began) {
                r->carries = false;
                if (r->step == RELOAD_PREPARE) return 0;
                at = AT_EXCHANGE;
                break;
            }
            r->stage = STAGE_MIGRATE;
            lua_pushcfunction(L, copy);
            handle_push_self(L);
            lua_callk(L, 1, 1, AT_COPIED, go_on);
            at = AT_COPIED;
            break;
        }
        case AT_COPIED: /* the copy is on top */
            if (!back) { /* its functions are those of who works on it */
                lua_rawgeti(L, 1, STASH_META);
                lua_setmetatable(L, -2);
            }
            lua_pushvalue(L, -1);
            lua_rawseti(L, 1, STASH_STATE);
            r->carries = lua_rawgeti(L, 1, STASH_TRANSFORM) == LUA_TFUNCTION;
            if (!r->carries) {
                lua_settop(L, 1);
                lua_pushnil(L);
                at = AT_TRANSFORMED;
                break;
            }
            lua_insert(L, -2);
            lua_pushstring(L, back ? t->from->version : t->back ? t->to->version : t->from->version);
            lua_callk(L, 2, 1, AT_TRANSFORMED, go_on);
            at = AT_TRANSFORMED;
            break;
        case AT_TRANSFORMED:
            if (lua_istable(L, -1)) { /* another table than the one it got is fine */
                if (!back) {
                    lua_rawgeti(L, 1, STASH_META);
                    lua_setmetatable(L, -2);
                }
                lua_rawseti(L, 1, STASH_STATE);
            } else if (!lua_isnil(L, -1)) {
                return luaL_error(L, "%s must return a table, or nothing if it changed the one it got",
                                  t->back || back ? "downgrade" : "migrate");
            }
            lua_settop(L, 1);
            if (back) {
                r->answer = ROLLOUT_DOWNGRADED;
                at = AT_EXCHANGE;
                break;
            }
            r->stage = STAGE_CHECK;
            if (lua_rawgeti(L, 1, STASH_CHECK) == LUA_TFUNCTION) {
                lua_rawgeti(L, 1, STASH_STATE);
                lua_callk(L, 1, 2, AT_CHECKED, go_on);
            } else {
                lua_pushboolean(L, 1);
                lua_pushnil(L);
            }
            at = AT_CHECKED;
            break;
        case AT_CHECKED:
            if ((lua_isboolean(L, -2) && !lua_toboolean(L, -2)) || (lua_isnil(L, -2) && !lua_isnil(L, -1)))
                return luaL_error(L, "check: %s",
                                  lua_isnil(L, -1) ? "the state is not good" : luaL_tolstring(L, -1, NULL));
            lua_settop(L, 1);
            r->touched = false;
            if (r->step == RELOAD_PREPARE) return 0;
            at = AT_EXCHANGE;
            break;
        case AT_EXCHANGE:
            r->stage = STAGE_SWAP;
            exchange(a, L, 1);
            return 0;
        }
}

static int go_on(lua_State *L, int status, lua_KContext at) {
    (void)status;
    return go(L, (At)at);
}

static int begin(lua_State *L) {
    Actor *a = actor_of(L);
    Reload *r = a->reload;
    lua_settop(L, 0);
    if (r->step == RELOAD_PREPARE) {
        lua_createtable(L, STASH_CHECK, 0);
        for (int i = 1; i <= STASH_CHECK; i++) {
            lua_pushboolean(L, 0);
            lua_rawseti(L, 1, i);
        }
        lua_pushvalue(L, 1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &stash_key);
        return go(L, AT_BODY);
    }
    push_stash(L);
    if (r->step == RELOAD_COMMIT) {
        if (!r->touched) return go(L, AT_EXCHANGE);
        step_over(a, L); /* what it runs belongs to the other version */
        return go(L, AT_COPY);
    }
    return go(L, r->touched && r->carries && !r->as_is ? AT_COPY : AT_EXCHANGE);
}

/* ---- the actor's side ---- */

static void drop_stash(Actor *a, lua_State *L) {
    Reload *r = a->reload;
    if (r->inside) step_over(a, L);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &stash_key); /* the key is there, or it stays away: nothing is allocated */
    r->ready = false;
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
    if (r->inside) step_over(a, L);
    give_back(a);
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
    if (r->step == RELOAD_BACK && !r->as_is) { /* then without its state */
        give_back(a);
        r->as_is = true;
        r->carries = false;
        r->answer = ROLLOUT_AS_IS;
        r->over_time = false;
        return;
    }
    drop_stash(a, f->L);
    give_back(a);
    say(a, ROLLOUT_FAILED, text);
}

static void done(Actor *a) {
    Reload *r = a->reload;
    Fiber *f = r->fiber;
    lua_settop(f->L, 0);
    if (r->inside) step_over(a, f->L);
    give_back(a);
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
    uint64_t budget = (uint64_t)config.reload_timeout * CLOCK_NS_PER_MS, from = clock_now();
    f->args = 0;
    a->current = f;
    r->until = from + (r->spent < budget ? budget - r->spent : 0);
    int status = vm_resume(f->L, NULL, args, &results);
    VmYield why = (VmYield)a->vm.yielding;
    a->vm.yielding = YIELD_USER;
    a->current = NULL;
    r->spent += clock_now() - from;
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
    if (lua_checkstack(L, 6)) drop_stash(a, L);
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

bool reload_turn(Actor *a) {
    Reload *r = a->reload;
    if (r->running) {
        run_on(a);
        return true;
    }
    if (!r->due) return false;
    if (!a->began && a->start == NULL) return false; /* in the middle of init */
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
    lua_pushcfunction(f->L, begin);
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
    a->handled = (uint32_t)config.slice_messages - 1; /* one message a turn: its time is the handler's */
    r->began = clock_now();
}

void reload_resumed(Actor *a) {
    Reload *r = a->reload;
    if (r != NULL && r->measures && r->began != 0) rollout_measured(r->rollout, r->index, clock_now() - r->began);
}

void reload_failed(Actor *a) {
    if (a->reload != NULL && a->reload->measures) rollout_crashed(a->reload->rollout, a->reload->index);
}

void reload_old_ended(Actor *a, Fiber *f) {
    f->old = false;
    lua_settop(f->L, 0);
    if (--a->old_count == 0) handle_settle(f->L);
}
