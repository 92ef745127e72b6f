/* door.call - core/net/call.c for specs, on a loop of its own, beside a node that is played over a socket. */
#include "net/call.h"
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>
#include "net/members.h"
#include "run/loop.h"

int luaopen_door_call(lua_State *L);

#define LATER 30 /* a service that answers when it is told to */

typedef struct Ask { /* what was asked: its end, written on the loop's thread */
    uint32_t node;
    lua_Integer service, timeout;
    char *body;
    size_t len;
    int ends, err;
    char *answer;
    size_t answer_len;
} Ask;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static Link *peer;
static int far_end = -1;
static CallFrom kept;

static void hear_link(Link *l) { (void)l; }
static void hear_nothing(void) {}
static uint32_t meet(Link *l, const Record *r) { (void)l, (void)r; return PID_NODES - 1; }
static void hear_record(Link *l, const Record *r) { call_came(l, r); }
static void no_timer(uint64_t owner, uint64_t tag) { (void)owner, (void)tag; }

static void keep(CallFrom from, const unsigned char *body, size_t len) { (void)body, (void)len, kept = from; }

static void on_loop_begin(void *unused) {
    (void)unused;
    int pair[2];
    Hello theirs = {.window = 1 << 20, .largest = 1 << 20};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) return;
    far_end = pair[1];
    members_begin(peer, pair[0], NULL, 7, &theirs);
}

/* open(): the played node is number 1 */
static int door_open(lua_State *L) {
    int err = loop_open((LoopCalls){no_timer, NULL, NULL});
    if (err < 0) return luaL_error(L, "%s", uv_err_name(err));
    link_open((LinkCalls){hear_link, hear_nothing, hear_link, meet, hear_record});
    members_open("here", 1);
    call_serve(LATER, keep);
    peer = members_find(members_meet("there", 2));
    loop_call(on_loop_begin, NULL);
    return 0;
}

static void on_loop_break(void *unused) {
    (void)unused;
    link_end(peer);
    call_broken(link_index(peer));
    close(far_end);
    far_end = -1;
}

static int door_break(lua_State *L) {
    (void)L;
    loop_call(on_loop_break, NULL);
    return 0;
}

static int door_close(lua_State *L) {
    (void)L;
    if (far_end >= 0) loop_call(on_loop_break, NULL);
    call_close();
    loop_close();
    members_close();
    return 0;
}

static void done(void *context, int err, const unsigned char *body, size_t len) {
    Ask *a = context;
    pthread_mutex_lock(&lock);
    a->ends++;
    a->err = err;
    a->answer = malloc(len + 1);
    if (len > 0 && a->answer != NULL) memcpy(a->answer, body, len);
    a->answer_len = len;
    pthread_cond_broadcast(&more);
    pthread_mutex_unlock(&lock);
}

static void on_loop_ask(void *ask) {
    Ask *a = ask;
    call_ask(a->node, (CallService)a->service, a->body, a->len, (uint64_t)a->timeout, done, a);
    link_flush_all();
}

/* ask(node, service, body, timeout ms) -> ask */
static int door_ask(lua_State *L) {
    Ask *a = lua_newuserdatauv(L, sizeof *a, 0);
    size_t len;
    const char *body = luaL_checklstring(L, 3, &len);
    *a = (Ask){.node = (uint32_t)luaL_checkinteger(L, 1), .service = luaL_checkinteger(L, 2), .len = len,
               .timeout = luaL_checkinteger(L, 4), .body = malloc(len + 1)};
    memcpy(a->body, body, len);
    luaL_setmetatable(L, "door.call.ask");
    loop_call(on_loop_ask, a);
    free(a->body);
    return 1;
}

/* wait(ask, seconds) -> its end: the body, or nil and the error's name; how often it has ended */
static int door_wait(lua_State *L) {
    Ask *a = luaL_checkudata(L, 1, "door.call.ask");
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += luaL_checkinteger(L, 2);
    pthread_mutex_lock(&lock);
    for (int late = 0; a->ends == 0 && late == 0;) late = pthread_cond_timedwait(&more, &lock, &end);
    pthread_mutex_unlock(&lock);
    if (a->ends == 0) return luaL_error(L, "it did not end");
    if (a->err == 0) lua_pushlstring(L, a->answer, a->answer_len), lua_pushnil(L);
    else lua_pushnil(L), lua_pushstring(L, uv_err_name(a->err));
    lua_pushinteger(L, a->ends);
    return 3;
}

static int ask_gc(lua_State *L) {
    free(((Ask *)luaL_checkudata(L, 1, "door.call.ask"))->answer);
    return 0;
}

/* What the played node reads: all that comes until `n` bytes are there. */
static int door_read(lua_State *L) {
    size_t n = (size_t)luaL_checkinteger(L, 1);
    luaL_Buffer b;
    char *p = luaL_buffinitsize(L, &b, n);
    ssize_t got = recv(far_end, p, n, MSG_WAITALL);
    luaL_pushresultsize(&b, got < 0 ? 0 : (size_t)got);
    return 1;
}

typedef struct Came {
    const unsigned char *p;
    size_t len;
    int err;
} Came;

static void on_loop_came(void *came) {
    Came *c = came;
    c->err = link_receive(peer, c->p, c->len);
    link_flush_all();
}

/* come(bytes): they came from the played node -> 0 or the error's name */
static int door_come(lua_State *L) {
    Came c = {0};
    c.p = (const unsigned char *)luaL_checklstring(L, 1, &c.len);
    loop_call(on_loop_came, &c);
    if (c.err < 0) lua_pushstring(L, uv_err_name(c.err));
    else lua_pushinteger(L, 0);
    return 1;
}

static void on_loop_answer(void *body) {
    call_answer(kept, body, strlen(body));
    link_flush_all();
}

static int door_answer_kept(lua_State *L) {
    loop_call(on_loop_answer, (void *)(uintptr_t)luaL_checkstring(L, 1));
    return 0;
}

int luaopen_door_call(lua_State *L) {
    static const luaL_Reg all[] = {{"open", door_open}, {"close", door_close}, {"break_link", door_break},
                                   {"ask", door_ask}, {"wait", door_wait}, {"read", door_read}, {"come", door_come},
                                   {"answer_kept", door_answer_kept}, {NULL, NULL}};
    luaL_newmetatable(L, "door.call.ask");
    lua_pushcfunction(L, ask_gc);
    lua_setfield(L, -2, "__gc");
    luaL_newlib(L, all);
    lua_pushinteger(L, CALL_ECHO);
    lua_setfield(L, -2, "ECHO");
    lua_pushinteger(L, LATER);
    lua_setfield(L, -2, "LATER");
    lua_pushinteger(L, CALL_MAX);
    lua_setfield(L, -2, "MAX");
    return 1;
}
