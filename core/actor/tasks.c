#include "actor/tasks.h"

#include <stdio.h>
#include <string.h>
#include "actor/guest.h"
#include "actor/handle.h"
#include "actor/report.h"
#include "mail/atom.h"
#include "mail/letter.h"

#define TRACE_MOST 6000
#define NESTED_MOST 20    /* coroutines in coroutines */
#define DEPTH_MOST 6      /* tables within `self` */
#define VALUES_MOST 20000 /* looked at in there */
#define PATH_MOST 200

typedef struct Listing {
    void (*each)(void *context, const ActorTask *task);
    void *context;
    int count, values;
    bool all;
    Map seen; /* tables that were walked */
    char path[PATH_MOST];
    char trace[TRACE_MOST];
} Listing;

static void tell(Listing *l, ActorTask *task, size_t trace_len) {
    if (l->count == TASKS_MOST) {
        l->all = false;
        return;
    }
    l->count++;
    task->trace = l->trace;
    task->trace_len = trace_len;
    l->each(l->context, task);
}

/* ---- fibers ---- */

/* The coroutine that the innermost call of L, which stands still, has resumed and waits for: what coroutine.resume has
 * as its first argument, and a wrapped function as its upvalue. NULL: it is itself at work. */
static lua_State *inner_of(lua_State *L) {
    lua_Debug ar;
    lua_State *co = NULL;
    if (!lua_checkstack(L, 3) || !lua_getstack(L, 0, &ar) || !lua_getinfo(L, "Sf", &ar)) return NULL;
    if (ar.what[0] == 'C') {
        if (lua_getlocal(L, &ar, 1) != NULL) {
            co = lua_tothread(L, -1);
            lua_pop(L, 1);
        }
        if (co == NULL && lua_getupvalue(L, -1, 1) != NULL) {
            co = lua_tothread(L, -1);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    return co != NULL && vm_is_held(co) ? co : NULL;
}

/* Writes the stacks of L and of what stands in it, the innermost first. */
static size_t put_trace(Listing *l, lua_State *L) {
    lua_State *nested[NESTED_MOST];
    int n = 0;
    size_t len = 0;
    for (lua_State *at = L; at != NULL && n < NESTED_MOST; at = inner_of(at)) nested[n++] = at;
    while (n-- > 0 && len + 100 < TRACE_MOST) {
        if (len > 0) l->trace[len++] = '\n';
        len += report_traceback(nested[n], l->trace + len, TRACE_MOST - len);
    }
    return len;
}

static void tell_fiber(Listing *l, const Actor *a, const Fiber *f) {
    char name[ATOM_TEXT_MAX + 1];
    ActorTask task = {.task = "handler"};
    if (f->L == NULL || (f->state != FIBER_WAITING && f->state != FIBER_RUNNABLE)) return; /* idle, or used up */
    if (f->kind == FIBER_FORK) {
        task.task = "fork";
    } else if (f->kind == FIBER_GUEST) {
        task.task = "eval";
    } else if (f->msg == NULL) {
        task.task = a->stage == ACTOR_ENDING ? "terminate" : "body";
    } else {
        int len;
        const char *text = letter_name(f->msg, &len);
        snprintf(name, sizeof name, "%.*s", len, text);
        task.handler = name;
        task.from = f->msg->from;
    }
    task.state = "running";
    if (f->state == FIBER_WAITING) {
        task.state = "waiting";
        task.waits = atomic_load_explicit(&f->waits, memory_order_relaxed);
        task.whom = atomic_load_explicit(&f->whom, memory_order_relaxed);
        task.since = atomic_load_explicit(&f->since, memory_order_relaxed);
        task.until = atomic_load_explicit(&f->until, memory_order_relaxed);
    }
    tell(l, &task, put_trace(l, f->L));
}

/* ---- the script's own ---- */

static void tell_own(Listing *l, lua_State *co) {
    lua_Debug ar;
    bool begun = lua_getstack(co, 0, &ar);
    if (vm_is_held(co)) return; /* it stands in a fiber, which was told */
    if (lua_status(co) != LUA_YIELD && (lua_status(co) != LUA_OK || begun || lua_gettop(co) == 0)) return;
    ActorTask task = {.task = "coroutine", .path = l->path, .state = "suspended"};
    size_t len = begun ? report_traceback(co, l->trace, TRACE_MOST)
                       : (size_t)snprintf(l->trace, TRACE_MOST, "stack traceback:\n\t(not begun)");
    tell(l, &task, len);
}

static size_t add_key(Listing *l, size_t len, lua_State *L, int key) {
    int more;
    size_t room = PATH_MOST - len;
    switch (lua_type(L, key)) { /* tostring would change the key */
    case LUA_TSTRING: more = snprintf(l->path + len, room, ".%s", lua_tostring(L, key)); break;
    case LUA_TNUMBER:
        more = lua_isinteger(L, key) ? snprintf(l->path + len, room, "[%lld]", (long long)lua_tointeger(L, key))
                                     : snprintf(l->path + len, room, "[%.14g]", lua_tonumber(L, key));
        break;
    default: more = snprintf(l->path + len, room, "[?]");
    }
    return more < 0 ? len : len + (size_t)more < PATH_MOST ? len + (size_t)more : PATH_MOST - 1;
}

/* The table on top of L. */
static void search(Listing *l, lua_State *L, int depth, size_t path_len) {
    if (map_get(&l->seen, (uint64_t)(uintptr_t)lua_topointer(L, -1), NULL)) return;
    if (depth == DEPTH_MOST || !lua_checkstack(L, 4) ||
        map_put(&l->seen, (uint64_t)(uintptr_t)lua_topointer(L, -1), 1) < 0) {
        l->all = false;
        return;
    }
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        if (++l->values > VALUES_MOST) {
            l->all = false;
            lua_pop(L, 2);
            return;
        }
        size_t len = add_key(l, path_len, L, -2);
        if (lua_type(L, -1) == LUA_TTABLE) {
            search(l, L, depth + 1, len);
        } else if (lua_type(L, -1) == LUA_TTHREAD) {
            tell_own(l, lua_tothread(L, -1));
        } else if (lua_iscfunction(L, -1) && lua_getupvalue(L, -1, 1) != NULL) { /* a wrapped one */
            if (lua_type(L, -1) == LUA_TTHREAD) tell_own(l, lua_tothread(L, -1));
            lua_pop(L, 1);
        }
        l->path[path_len] = '\0';
        lua_pop(L, 1);
    }
}

static int search_self(lua_State *L) {
    Listing *l = lua_touserdata(L, 1);
    strcpy(l->path, "self");
    if (handle_push_self(L) && lua_type(L, -1) == LUA_TTABLE) search(l, L, 0, 4);
    return 0;
}

bool tasks_list(Actor *a, void (*each)(void *context, const ActorTask *task), void *context) {
    Listing l = {.each = each, .context = context, .all = true};
    tell_fiber(&l, a, &a->main);
    for (const Fiber *f = a->others; f != NULL; f = f->sibling) tell_fiber(&l, a, f);
    if (guest_look(a, search_self, &l) != LUA_OK) l.all = false;
    map_clear(&l.seen);
    return l.all;
}
