/* A reload into a new VM: nothing of the old one is left but `self`, as the codec carries it. The old VM is kept, as it
 * is, until the rollout is over: the way back is to put it in its place again.
 *
 * A VM knows its own address (its allocator and its coroutines hold it), so the one that runs is always Actor.vm; the
 * other one lies aside and is not touched. */
#include "actor/reloading.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/fiber.h"
#include "actor/handle.h"
#include "actor/image.h"
#include "mail/codec.h"

bool fresh_ready(const Actor *a) {
    if (a->main.state != FIBER_IDLE || a->runnable != NULL) return false;
    for (const Fiber *f = a->others; f != NULL; f = f->sibling)
        if (f->state != FIBER_IDLE) return false;
    return a->began || a->start != NULL;
}

/* Coroutines with nothing to do belong to the VM that is going. */
static void drop_idle(Actor *a) {
    while (a->idle != NULL) {
        Fiber *f = a->idle;
        a->idle = f->next;
        fiber_drop(a, f);
    }
}

static void change_places(Actor *a) {
    Reload *r = a->reload;
    Vm here = a->vm;
    a->vm = *r->other;
    *r->other = here;
    a->main.L = a->vm.L;
    atomic_store_explicit(&a->last_atom, 0, memory_order_relaxed);
}

void fresh_close(Actor *a) {
    Reload *r = a->reload;
    message_free(r->state);
    r->state = NULL;
    if (r->other == NULL) return;
    change_places(a); /* its allocator looks for it there */
    vm_close(&a->vm);
    a->vm = *r->other;
    a->main.L = a->vm.L;
    free(r->other);
    r->other = NULL;
}

/* ---- in the new VM ---- */

/* Fills `self`, which may have had other fields. */
static void take_state(lua_State *L, const Message *state) {
    if (codec_decode(L, state) != 1) luaL_error(L, "the state has invalid bytes");
    int from = lua_gettop(L);
    handle_push_self(L);
    lua_pushnil(L);
    while (lua_next(L, from + 1) != 0) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, from + 1); /* to nil: allowed while it is walked */
    }
    lua_pushnil(L);
    while (lua_next(L, from) != 0) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, from + 1);
    }
    lua_settop(L, from - 1);
}

typedef enum { AT_BORN, AT_MIGRATED, AT_CHECKED } At;

static int go_on(lua_State *L, int status, lua_KContext at);

static int go(lua_State *L, At at) {
    Actor *a = actor_of(L);
    Reload *r = a->reload;
    switch (at) {
    case AT_BORN:
        lua_settop(L, 0);
        if (r->state == NULL) return 0;
        take_state(L, r->state);
        r->stage = STAGE_MIGRATE;
        handle_push_behaviour(L);
        if (!r->target.back && lua_getfield(L, 1, "migrate") == LUA_TFUNCTION) {
            handle_push_self(L);
            lua_pushstring(L, r->target.from->version);
            lua_callk(L, 2, 1, AT_MIGRATED, go_on);
            if (lua_istable(L, -1)) return luaL_error(L, "in a new VM, migrate must change the state that it gets");
        }
        /* fall through */
    case AT_MIGRATED:
        lua_settop(L, 1);
        r->stage = STAGE_CHECK;
        if (lua_getfield(L, 1, "check") != LUA_TFUNCTION) return 0;
        handle_push_self(L);
        lua_callk(L, 1, 2, AT_CHECKED, go_on);
        /* fall through */
    case AT_CHECKED:
        if ((lua_isboolean(L, -2) && !lua_toboolean(L, -2)) || (lua_isnil(L, -2) && !lua_isnil(L, -1)))
            return luaL_error(L, "check: %s", lua_isnil(L, -1) ? "the state is not good" : luaL_tolstring(L, -1, NULL));
        return 0;
    }
    return 0;
}

static int go_on(lua_State *L, int status, lua_KContext at) {
    (void)status;
    return go(L, (At)at);
}

/* An argument: the body has not run yet. */
static int fresh(lua_State *L) {
    if (lua_gettop(L) == 0) return go(L, AT_BORN);
    lua_settop(L, 0);
    handle_push_birth(L, actor_calls.open_libs);
    lua_callk(L, 1, 0, AT_BORN, go_on);
    return go(L, AT_BORN);
}

/* In the old one, on the way back. */
static int adopt(lua_State *L) {
    take_state(L, actor_of(L)->reload->state);
    return 0;
}

/* ---- the way ---- */

/* "argument 1.x.y: ..." is about self.x.y. */
static const char *text_of_self(char *text) {
    memcpy(text + 6, "self", 4);
    return text + 6;
}

/* r->state: what `self` is now. */
static bool pack(Actor *a, char *text, size_t size) {
    Reload *r = a->reload;
    CodecError why;
    lua_State *L = a->main.L;
    message_free(r->state);
    r->state = message_new(MESSAGE_SEND, 256);
    lua_settop(L, 0);
    handle_push_self(L);
    int err = r->state != NULL ? codec_encode(L, 1, 1, &r->state, &why) : UV_ENOMEM;
    lua_settop(L, 0);
    if (err == 0) return true;
    message_free(r->state);
    r->state = NULL;
    const char *reason = err == UV_ENOMEM                            ? "out of memory"
                         : strncmp(why.text, "argument 1", 10) == 0 ? text_of_self(why.text)
                                                                    : why.text;
    snprintf(text, size, "its state can't go to a new VM: %s", reason);
    return false;
}

static bool build(Actor *a, char *text, size_t size) {
    Reload *r = a->reload;
    uint8_t grants = a->vm.grants;
    size_t limit = a->vm.arena.limit;
    const Image *image = r->target.to->image;
    bool copied = image != NULL && (grants & ~GRANT_RELOAD) == 0;
    r->other = malloc(sizeof *r->other);
    if (r->other == NULL) {
        snprintf(text, size, "out of memory");
        return false;
    }
    *r->other = a->vm;
    a->vm = (Vm){0};
    if ((copied ? image_open(&a->vm, image, limit, a) : vm_open(&a->vm, limit, a)) < 0) {
        a->vm = *r->other;
        free(r->other);
        r->other = NULL;
        snprintf(text, size, "out of memory: no second VM fits");
        return false;
    }
    a->vm.grants = grants;
    a->main.L = a->vm.L;
    atomic_store_explicit(&a->last_atom, 0, memory_order_relaxed);
    lua_pushcfunction(a->main.L, fresh);
    if (!copied) lua_pushboolean(a->main.L, 1);
    a->main.args = copied ? 0 : 1;
    return true;
}

bool fresh_begin(Actor *a, char *text, size_t size, bool *done) {
    Reload *r = a->reload;
    drop_idle(a);
    *done = false;
    r->stage = STAGE_SWAP;
    if (r->step == RELOAD_BACK) {
        bool packed = r->touched && pack(a, text, size);
        change_places(a);
        r->answer = r->touched ? ROLLOUT_AS_IS : ROLLOUT_EXACT;
        *done = !packed;
        if (packed) {
            lua_pushcfunction(a->main.L, adopt);
            a->main.args = 0;
        }
        return true;
    }
    if (r->step == RELOAD_COMMIT && !r->touched) {
        change_places(a);
        *done = true;
        return true;
    }
    fresh_close(a); /* made of a state that is gone */
    if (a->began && !pack(a, text, size)) return false;
    r->stage = STAGE_BODY;
    r->inside = true; /* its modules are the new version's */
    return build(a, text, size);
}

void fresh_done(Actor *a) {
    Reload *r = a->reload;
    r->inside = false;
    r->touched = false;
    if (r->step == RELOAD_PREPARE) {
        change_places(a);
        return;
    }
    r->swapped = r->step == RELOAD_COMMIT;
    actor_set_behaviour(a, r->swapped ? r->target.to : r->target.from);
}

void fresh_give_up(Actor *a) {
    Reload *r = a->reload;
    r->inside = false;
    if (r->step == RELOAD_BACK) { /* without its last state, then */
        fresh_done(a);
        return;
    }
    change_places(a);
    fresh_close(a);
}
