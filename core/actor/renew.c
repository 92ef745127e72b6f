/* The VM's side of a reload. The stash is a table in the registry with all that the other version is; a commit is an
 * exchange of what is in it with what is in use, and so is the way back. */
#include "actor/reloading.h"

#include <lauxlib.h>
#include <string.h>
#include "actor/handle.h"

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

static void push_stash(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &stash_key); }

/* Exchanges globals and package.loaded with those in the stash. Raises nothing: all keys are there. */
void renew_step_over(Actor *a, lua_State *L) {
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

static bool is_at_work(const Fiber *f) {
    return f->kind != FIBER_GUEST && (f->state == FIBER_WAITING || f->state == FIBER_RUNNABLE);
}

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
    if (!r->inside) renew_step_over(a, L);
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
            renew_step_over(a, L);
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

int renew(lua_State *L) {
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
        renew_step_over(a, L); /* what it runs belongs to the other version */
        return go(L, AT_COPY);
    }
    return go(L, r->touched && r->carries && !r->as_is ? AT_COPY : AT_EXCHANGE);
}

void renew_drop(Actor *a, lua_State *L) {
    Reload *r = a->reload;
    if (r->inside) renew_step_over(a, L);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &stash_key); /* the key is there, or it stays away: nothing is allocated */
    r->ready = false;
}
