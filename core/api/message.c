/* Sending, asking, and who sent. */
#include <uv.h>
#include "actor/cycle.h"
#include "actor/errors.h"
#include "actor/fiber.h"
#include "actor/observe.h"
#include "api/api.h"
#include "ground/clock.h"
#include "ground/config.h"
#include "ground/metrics.h"
#include "ground/pool.h"
#include "mail/atom.h"
#include "mail/codec.h"
#include "mail/mailbox.h"
#include "mail/payload.h"
#include "mail/post.h"
#include "run/scheduler.h"

#define COARSE_FROM (1000 * CLOCK_NS_PER_MS) /* a timeout that long may be some milliseconds off */

Message *api_letter(lua_State *L, MessageKind kind, int name, int first) {
    CodecError why;
    size_t len;
    luaL_checktype(L, name, LUA_TSTRING);
    const char *text = lua_tolstring(L, name, &len);
    luaL_argcheck(L, len > 0, name, "a message wants a name");
    Message *msg = message_new(kind, 0);
    if (msg == NULL) luaL_error(L, "out of memory");
    int err = 0;
    if ((msg->name = atom_find(text, len)) == 0) {
        err = payload_put_string(&msg, text, len);
        msg->flags |= MESSAGE_NAMED;
        msg->argc = 0;
    }
    if (err == 0) err = codec_encode(L, first, lua_gettop(L), &msg, &why);
    if (err == 0) return msg;
    message_free(msg);
    if (err == UV_ENOMEM) luaL_error(L, "out of memory");
    luaL_error(L, "message '%s': %s", text, why.text);
    return NULL;
}

void api_give_way(lua_State *L) {
    if (!lua_isyieldable(L)) return;
    scheduler_expire();
    vm_preempt_after(L, 1);
}

static __attribute__((noinline, cold)) int not_sent(lua_State *L, int err, Message *msg) {
    lua_pushboolean(L, err >= 0);
    if (err == MAILBOX_CROWDED) {
        metrics_add(METRIC_sent, 1);
        api_give_way(L);
        return 1;
    }
    if (err == POST_DROPPED) {
        lua_pushliteral(L, "dropped");
        return 2;
    }
    lua_pushstring(L, err == UV_ENOBUFS        ? "full"
                      : err == UV_EHOSTUNREACH ? "unreachable"
                      : err == UV_E2BIG        ? "too_large"
                                               : "dead");
    post_refuse(msg, err);
    return 2;
}

int api_sent(lua_State *L, int err, Message *msg) {
    if (err != 0) return not_sent(L, err, msg);
    metrics_add(METRIC_sent, 1);
    lua_pushboolean(L, 1);
    return 1;
}

static int do_send(lua_State *L) {
    uint64_t to = api_check_pid(L, 1);
    Actor *a = api_actor(L, "send");
    Message *msg = api_letter(L, MESSAGE_SEND, 2, 3);
    msg->to = to;
    msg->from = a->pid;
    if (__builtin_expect(a->watched != 0, 0)) observe_out(a, msg);
    return api_sent(L, post_send(msg), msg);
}

static int send_all(lua_State *L) {
    Actor *a = api_actor(L, "send_all");
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer count = (lua_Integer)lua_rawlen(L, 1), took = 0;
    bool crowded = false;
    for (lua_Integer i = 1; i <= count; i++) { /* all or nothing as to wrong arguments */
        lua_rawgeti(L, 1, i);
        uint64_t pid = (uint64_t)(uintptr_t)lua_touserdata(L, -1);
        if (!lua_islightuserdata(L, -1) || pid == 0 || bits_are_ref(pid))
            return luaL_error(L, "bad argument #1 to 'send_all' (element %I is no pid)", (LUAI_UACINT)i);
        lua_pop(L, 1);
    }
    Message *letter = api_letter(L, MESSAGE_SEND, 2, 3);
    letter->from = a->pid;
    for (lua_Integer i = 1; i <= count; i++) {
        Message *msg = i < count ? message_copy(letter) : letter;
        if (msg == NULL) { /* before anything can raise again */
            message_free(letter);
            return luaL_error(L, "out of memory");
        }
        lua_rawgeti(L, 1, i);
        msg->to = (uint64_t)(uintptr_t)lua_touserdata(L, -1);
        lua_pop(L, 1);
        if (__builtin_expect(a->watched != 0, 0)) observe_out(a, msg);
        int err = post_send(msg);
        if (err >= 0) took += err != POST_DROPPED;
        else post_refuse(msg, err);
        crowded = crowded || err == MAILBOX_CROWDED;
    }
    if (crowded) api_give_way(L);
    metrics_add(METRIC_sent, (uint64_t)took);
    if (count == 0) message_free(letter);
    lua_pushinteger(L, took);
    return 1;
}

/* An answer came, or time is up. The pid is at stack index `pid`, the name behind it. */
static int answered(lua_State *L, int pid, uint64_t ms) {
    Message *answer = fiber_answer(L);
    if (answer == NULL) {
        char who[PID_TEXT_MAX];
        Actor *a = actor_of(L);
        pid_text(api_check_pid(L, pid), who);
        if (a->current->deadline == fiber_limit(a))
            return errors_raise(L, "timeout",
                                "%s did not answer '%s' in the time that was left: our own asker waits no longer", who,
                                lua_tostring(L, pid + 1));
        return errors_raise(L, "timeout", "%s did not answer '%s' within %I ms", who, lua_tostring(L, pid + 1),
                            (LUAI_UACINT)ms);
    }
    if (answer->flags & MESSAGE_ERRORS) errors_ready(L);
    int count = codec_decode(L, answer);
    if (count < 0) return errors_raise(L, "error", "the answer has invalid bytes");
    return answer->kind == MESSAGE_FAIL ? lua_error(L) : count;
}

static int ask_answered(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return answered(L, 1, (uint64_t)config.ask_timeout);
}

static int ask_within_answered(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return answered(L, 2, api_check_ms(L, 1, 0) / CLOCK_NS_PER_MS);
}

/* When an ask that starts now gives up. The coarse clock will do for the usual ones, and spares a system call. */
static uint64_t deadline_in(uint64_t timeout) {
    uint64_t now = timeout >= COARSE_FROM ? clock_coarse() : clock_now();
    return timeout < UINT64_MAX - now ? now + timeout : UINT64_MAX;
}

static int put_question(lua_State *L, int pid, uint64_t timeout, lua_KFunction k) {
    uint64_t to = api_check_pid(L, pid);
    Actor *a = api_actor(L, "ask");
    luaL_argcheck(L, to != a->pid, pid, "an actor can't ask itself: it would wait for itself");
    fiber_check_waits(L, "ask");
    uint64_t deadline = deadline_in(timeout), limit = fiber_limit(a);
    if (limit != 0 && limit < deadline) {
        deadline = limit;
        if (limit <= clock_coarse())
            return errors_raise(L, "timeout", "no time is left to ask '%s': our own asker waits no longer",
                                luaL_checkstring(L, pid + 1));
    }
    Message *msg = api_letter(L, MESSAGE_ASK, pid + 1, pid + 2);
    if (message_limit(&msg, deadline) < 0) {
        message_free(msg);
        return luaL_error(L, "out of memory");
    }
    uint64_t ref = actor_ref(a, REF_REQUEST);
    msg->to = to;
    msg->from = a->pid;
    msg->ref = ref;
    const char *circle = cycle_enter(a, ref, to, msg->name);
    if (circle != NULL) {
        message_free(msg);
        return errors_raise(L, "deadlock", "they would wait for each other for ever: %s", circle);
    }
    metrics_add(METRIC_asks, 1);
    if (__builtin_expect(a->watched != 0, 0)) observe_out(a, msg);
    post_deliver(msg); /* a refusal comes back as an answer */
    return fiber_wait(L, "ask", ref, deadline, k);
}

static int ask(lua_State *L) {
    return put_question(L, 1, (uint64_t)config.ask_timeout * CLOCK_NS_PER_MS, ask_answered);
}

static int ask_within(lua_State *L) { return put_question(L, 2, api_check_ms(L, 1, 0), ask_within_answered); }

static int do_deadline(lua_State *L) {
    uint64_t limit = fiber_limit(api_actor(L, "deadline")), now;
    if (limit == 0) return 0;
    now = clock_tick(); /* who hears that no time is left finds no ask begun */
    lua_pushnumber(L, limit > now ? (lua_Number)(limit - now) / (lua_Number)CLOCK_NS_PER_MS : 0);
    return 1;
}

static int sender(lua_State *L) {
    const Message *msg = api_actor(L, "sender")->current->msg;
    api_push_bits(L, msg != NULL ? msg->from : 0);
    return 1;
}

const luaL_Reg api_message[] = {{"send", do_send},     {"send_all", send_all}, {"ask", ask}, {"ask_within", ask_within},
                                {"sender", sender}, {"deadline", do_deadline}, {NULL, NULL}};
const luaL_Reg api_pid[] = {{"send", do_send}, {"ask", ask}, {NULL, NULL}};
