/* Ops that change something without a look into a VM of an actor's: kill, stop, send. */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>
#include <uv.h>
#include "actor/vm.h"
#include "ground/clock.h"
#include "mail/atom.h"
#include "mail/codec.h"
#include "mail/payload.h"
#include "mail/pid.h"
#include "mail/post.h"
#include "ops/relay.h"
#include "ops/request.h"

#define VALUES_MEMORY (4u << 20)
#define VALUES_MS 20 /* on the loop's thread: constants take microseconds */

/* Posts it; ends the request. */
static void post(Request *r, Message *msg, uint64_t pid) {
    char who[PID_TEXT_MAX];
    msg->to = pid;
    int err = post_send(msg);
    pid_text(pid, who);
    if (err >= 0) {
        request_true(r);
        return;
    }
    if (msg->kind == MESSAGE_SEND) post_refuse(msg, err);
    else message_free(msg);
    if (err == UV_ENOBUFS) request_error(r, "refused", "the mailbox of %s is full", who);
    else if (err == UV_EHOSTUNREACH) request_error(r, "no_actor", "%s lives on another node: ask its console", who);
    else request_error(r, "no_actor", "%s is dead", who);
}

static void do_kill(Request *r) {
    uint64_t pid = request_pid(r, "pid");
    if (pid == 0) return;
    Message *msg = message_new(MESSAGE_KILL, 0);
    if (msg == NULL) request_error(r, "refused", "out of memory");
    else post(r, msg, pid);
}

static void do_stop(Request *r) {
    size_t len;
    uint64_t pid = request_pid(r, "pid");
    const char *reason = request_text(r, "reason", &len);
    if (pid == 0) return;
    if (reason == NULL) reason = "normal", len = 6;
    Message *msg = message_new(MESSAGE_STOP, len + 8);
    if (msg == NULL || payload_put_string(&msg, reason, len) < 0) {
        message_free(msg);
        request_error(r, "refused", "out of memory");
        return;
    }
    post(r, msg, pid);
}

/* ---- send: its values are Lua expressions, evaluated apart from everything ---- */

static int to_pid(lua_State *L) {
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    uint64_t pid = relay_pid(text, len);
    if (pid == 0) return luaL_error(L, "no actor is named '%s', and it is no pid as <12.1>", text);
    lua_pushlightuserdata(L, (void *)(uintptr_t)pid);
    return 1;
}

typedef struct Values {
    const char *source;
    size_t len;
    Message *msg;
    CodecError why;
} Values;

static int encode_values(lua_State *L, int status, lua_KContext context) {
    Values *v = (Values *)context;
    (void)status;
    int err = codec_encode(L, 2, lua_gettop(L), &v->msg, &v->why);
    return err == 0 ? 0 : luaL_error(L, "%s", err == UV_ENOMEM ? "out of memory" : v->why.text);
}

static int evaluate(lua_State *L) {
    Values *v = lua_touserdata(L, 1);
    lua_settop(L, 1);
    lua_pushcfunction(L, to_pid);
    lua_setglobal(L, "pid");
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addstring(&b, "return ");
    luaL_addlstring(&b, v->source, v->len);
    luaL_pushresult(&b);
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    if (luaL_loadbufferx(L, text, len, "=args", "t") != LUA_OK) return lua_error(L);
    lua_remove(L, 2);
    lua_callk(L, 0, LUA_MULTRET, (lua_KContext)v, encode_values);
    return encode_values(L, LUA_OK, (lua_KContext)v);
}

/* Appends the values of the source to *msg; false: the request was ended. */
static bool add_values(Request *r, const char *source, size_t len, Message **msg) {
    Values v = {.source = source, .len = len, .msg = *msg};
    Vm vm = {0};
    int results;
    if (len == 0) return true;
    if (vm_open(&vm, VALUES_MEMORY, NULL) < 0 || !lua_checkstack(vm.L, 4)) {
        vm_close(&vm);
        request_error(r, "refused", "out of memory");
        return false;
    }
    vm.deadline = clock_real() + VALUES_MS * CLOCK_NS_PER_MS;
    lua_pushcfunction(vm.L, evaluate);
    lua_pushlightuserdata(vm.L, &v);
    int status = vm_resume(vm.L, NULL, 1, &results);
    *msg = v.msg;
    if (status == LUA_OK) {
        vm_close(&vm);
        return true;
    }
    const char *text = lua_type(vm.L, -1) == LUA_TSTRING ? lua_tostring(vm.L, -1) : "it raised no string";
    if (vm.doomed) request_error(r, "budget", "args: constants are expected, this computes for over %d ms", VALUES_MS);
    else request_error(r, "bad_request", "%.900s", text);
    vm_close(&vm);
    return false;
}

static void do_send(Request *r) {
    size_t len, values_len;
    const char *name = request_text(r, "name", &len), *values = request_text(r, "args", &values_len);
    if (len == 0) {
        request_error(r, "bad_request", "send: a message wants a name");
        return;
    }
    uint64_t pid = request_pid(r, "pid");
    if (pid == 0) return;
    Message *msg = message_new(MESSAGE_SEND, 64);
    if (msg != NULL && (msg->name = atom_find(name, len)) == 0) {
        if (payload_put_string(&msg, name, len) < 0) {
            message_free(msg);
            msg = NULL;
        } else {
            msg->flags |= MESSAGE_NAMED;
            msg->argc = 0;
        }
    }
    if (msg == NULL) {
        request_error(r, "refused", "out of memory");
        return;
    }
    if (add_values(r, values, values_len, &msg)) post(r, msg, pid);
    else message_free(msg);
}

const Op ops_change[] = {
    {"kill", do_kill, OP_CHANGES, {{"pid", ARG_PID | ARG_MUST}}},
    {"stop", do_stop, OP_CHANGES, {{"pid", ARG_PID | ARG_MUST}, {"reason", ARG_TEXT}}},
    {"send", do_send, OP_CHANGES, {{"pid", ARG_PID | ARG_MUST}, {"name", ARG_TEXT | ARG_MUST}, {"args", ARG_TEXT}}},
    {NULL, NULL, 0, {{NULL, 0}}},
};
