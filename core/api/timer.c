/* Time: messages to oneself, sleep, now. */
#include <uv.h>
#include "actor/alarm.h"
#include "actor/fiber.h"
#include "api/api.h"
#include "ground/clock.h"

static int add(lua_State *L, const char *what, uint64_t delay, uint64_t period) {
    Actor *a = api_actor(L, what);
    Message *letter = api_letter(L, MESSAGE_SEND, 2, 3);
    uint64_t ref = alarm_add(a, delay, period, letter);
    if (ref == 0) {
        message_free(letter);
        return luaL_error(L, "out of memory");
    }
    api_push_bits(L, ref);
    return 1;
}

static int after(lua_State *L) { return add(L, "after", api_check_ms(L, 1, 0), 0); }

static int every(lua_State *L) {
    uint64_t period = api_check_ms(L, 1, 1);
    return add(L, "every", period, period);
}

static int cancel(lua_State *L) {
    Actor *a = api_actor(L, "cancel");
    lua_pushboolean(L, alarm_cancel(a, api_check_ref(L, 1, REF_TIMER, "timer")));
    return 1;
}

static int slept(lua_State *L, int status, lua_KContext context) {
    (void)L, (void)status, (void)context;
    return 0;
}

static int sleep_for(lua_State *L) {
    uint64_t delay = api_check_ms(L, 1, 0);
    Actor *a = api_actor(L, "sleep");
    fiber_check_waits(L, "sleep");
    uint64_t ref = actor_ref(a, REF_TIMER);
    uint64_t due = clock_now() + delay;
    if (alarm_once(a, ref, due) < 0) return luaL_error(L, "out of memory");
    fiber_expects(a, 0, due);
    return fiber_wait(L, "sleep", ref, 0, slept);
}

static int now(lua_State *L) {
    vm_of(L)->impure = true;
    lua_pushnumber(L, (lua_Number)clock_now() / (lua_Number)CLOCK_NS_PER_MS);
    return 1;
}

const luaL_Reg api_timer[] = {{"after", after}, {"every", every}, {"cancel", cancel},
                              {"sleep", sleep_for}, {"now", now}, {NULL, NULL}};
