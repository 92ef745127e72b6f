#include "actor/guest.h"

#include <uv.h>
#include "actor/fiber.h"

typedef struct Beginning {
    Guest *guest;
    lua_CFunction function;
} Beginning;

static int begin(lua_State *L) {
    const Beginning *b = lua_touserdata(L, 1);
    fiber_guest(L, b->guest, b->function);
    return 0;
}

/* It relies on what Lua's manual does not promise: that a coroutine that has yielded, be it from a hook, can be called
 * upon, as long as its stack is afterwards as it was. spec/ops/look_spec.lua holds it. */
int guest_look(Actor *a, lua_CFunction function, void *argument) {
    lua_State *L = a->vm.L;
    if (L == NULL || !lua_checkstack(L, 4)) return LUA_ERRMEM;
    lua_pushcfunction(L, function);
    lua_pushlightuserdata(L, argument);
    int status = lua_pcall(L, 1, 0, 0);
    if (status != LUA_OK) lua_pop(L, 1);
    return status;
}

bool guest_may_begin(const Actor *a) {
    return a->stage == ACTOR_LIVE && a->began && a->ending == NULL && a->runnable == NULL &&
           (a->main.state == FIBER_IDLE || a->behaviour->concurrent);
}

int guest_begin(Actor *a, Guest *guest, lua_CFunction function) {
    Beginning b = {guest, function};
    size_t limit = a->vm.arena.limit, used = a->vm.arena.used;
    guest->memory = guest->memory < limit && used < limit - guest->memory ? used + guest->memory : limit;
    return guest_look(a, begin, &b) == LUA_OK ? 0 : UV_ENOMEM;
}

void guest_stop_waiting(Actor *a) {
    for (Fiber *f = a->others, *next; f != NULL; f = next) {
        next = f->sibling;
        if (guest_stopped(f) && f->state == FIBER_WAITING) fiber_wake(a, f->wait, NULL); /* and is dropped then */
    }
}

Guest *guest_of(lua_State *L) {
    const Actor *a = vm_of(L)->actor;
    return a != NULL && a->current != NULL ? a->current->guest : NULL;
}
