/* tls.c - a door to TLS between nodes: its ends without nodes, with what travels between them in the spec's hands.
 *
 *     tls.certs(dir, names, days) -> true, and for each of the authority and the names: was it made? | nil, why
 *     tls.context(cert, key, ca, name [, rekey]) -> context | nil, why
 *     tls.one(context, dialed [, bytes]) -> end; `bytes` is how much its socket holds
 *     tls.connect(context, port) -> an end that has dialed 127.0.0.1, for real
 *     end:start() -> state
 *     end:take(bytes) -> what they said, state: "", "ready", "eof", or why it failed
 *     end:send(bytes) -> how many, or nil and the errno's name
 *     end:wire([most]) -> bytes it has sent, "" if there are none now
 *     end:hear(ms) -> as take, with what came within that time; nil: the connection has ended (or nothing came)
 *     end:names(name) -> boolean, for whom its peer's certificate is        end:farewell() */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>
#include "ground/log.h"
#include "net/certs.h"
#include "net/tls.h"

#define CONTEXT "door.tls.context"
#define END "door.tls.end"
#define NAMES 32

typedef struct End {
    Tls *tls;
    int own, other; /* other: where what it sends comes out; -1 = it is connected for real */
} End;

/* That files are read anew is logged; here it would be between the results of specs. */
static void log_nothing(bool nothing) { log_set_level(nothing ? LOG_OFF : LOG_INFO); }

static int complain(lua_State *L, const char *why) {
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static int tls_certs(lua_State *L) {
    char err[1024], *names[NAMES];
    bool made_nodes[NAMES];
    CertsMade made = {.nodes = made_nodes};
    int count = (int)luaL_len(L, 2);
    luaL_argcheck(L, count <= NAMES, 2, "too many");
    for (int i = 0; i < count; i++) {
        lua_geti(L, 2, i + 1);
        names[i] = (char *)luaL_checkstring(L, -1); /* the table keeps it */
        lua_pop(L, 1);
    }
    if (certs_make(luaL_checkstring(L, 1), names, count, (int)luaL_checkinteger(L, 3), &made, err, sizeof err) < 0)
        return complain(L, err);
    lua_pushboolean(L, true);
    lua_pushboolean(L, made.authority);
    for (int i = 0; i < count; i++) lua_pushboolean(L, made_nodes[i]);
    return 2 + count;
}

static int context_new(lua_State *L) {
    char err[1024];
    TlsOptions o = {luaL_checkstring(L, 1), luaL_checkstring(L, 2), luaL_checkstring(L, 3), luaL_checkstring(L, 4),
                    (uint64_t)luaL_optinteger(L, 5, 0)};
    TlsContext **out = lua_newuserdatauv(L, sizeof *out, 4);
    *out = NULL;
    luaL_setmetatable(L, CONTEXT);
    for (int i = 1; i <= 4; i++) { /* it keeps its texts */
        lua_pushvalue(L, i);
        lua_setiuservalue(L, -2, i);
    }
    log_nothing(true);
    int code = tls_open(&o, out, err, sizeof err);
    log_nothing(false);
    return code < 0 ? complain(L, err) : 1;
}

static int context_close(lua_State *L) {
    TlsContext **context = luaL_checkudata(L, 1, CONTEXT);
    tls_close(*context);
    *context = NULL;
    return 0;
}

static int push_end(lua_State *L, TlsContext *context, int own, int other, bool dialed) {
    End *e = lua_newuserdatauv(L, sizeof *e, 0);
    *e = (End){NULL, own, other};
    luaL_setmetatable(L, END);
    log_nothing(true);
    e->tls = tls_new(context, own, dialed);
    log_nothing(false);
    return e->tls != NULL ? 1 : luaL_error(L, "out of memory");
}

static int end_new(lua_State *L) {
    TlsContext **context = luaL_checkudata(L, 1, CONTEXT);
    int pair[2], size = (int)luaL_optinteger(L, 3, 0);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) return luaL_error(L, "no sockets");
    if (size > 0) setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return push_end(L, *context, pair[0], pair[1], lua_toboolean(L, 2));
}

static int end_connect(lua_State *L) {
    TlsContext **context = luaL_checkudata(L, 1, CONTEXT);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)luaL_checkinteger(L, 2)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0) return luaL_error(L, "%s", strerror(errno));
    return push_end(L, *context, fd, -1, true);
}

static End *end_of(lua_State *L) {
    End *e = luaL_checkudata(L, 1, END);
    luaL_argcheck(L, e->tls != NULL, 1, "closed");
    return e;
}

static int end_close(lua_State *L) {
    End *e = luaL_checkudata(L, 1, END);
    tls_free(e->tls);
    e->tls = NULL;
    if (e->own >= 0) close(e->own);
    if (e->other >= 0) close(e->other);
    e->own = e->other = -1;
    return 0;
}

static int end_start(lua_State *L) {
    End *e = end_of(L);
    lua_pushstring(L, tls_start(e->tls) < 0 ? tls_fault(e->tls) : "");
    return 1;
}

static int take(lua_State *L, End *e, const char *bytes, size_t len) {
    luaL_Buffer said;
    const char *state = NULL;
    size_t room = len + TLS_RECORD;
    unsigned char *plain = malloc(room);
    luaL_buffinit(L, &said);
    do {
        ssize_t n = tls_take(e->tls, (const unsigned char *)bytes, len, plain, room);
        len = 0;
        if (n > 0) luaL_addlstring(&said, (char *)plain, (size_t)n);
        else if (n < 0) state = n == UV_EOF ? "eof" : tls_fault(e->tls);
    } while (tls_more(e->tls));
    free(plain);
    luaL_pushresult(&said);
    lua_pushstring(L, state != NULL ? state : tls_ready(e->tls) ? "ready" : "");
    return 2;
}

static int end_take(lua_State *L) {
    size_t len;
    const char *bytes = luaL_checklstring(L, 2, &len);
    return take(L, end_of(L), bytes, len);
}

static int end_send(lua_State *L) {
    size_t len;
    const char *bytes = luaL_checklstring(L, 2, &len);
    ssize_t n = tls_send(end_of(L)->tls, bytes, len);
    if (n < 0) return complain(L, errno == EAGAIN ? "EAGAIN" : strerror(errno));
    lua_pushinteger(L, n);
    return 1;
}

static int end_wire(lua_State *L) {
    End *e = end_of(L);
    luaL_Buffer b;
    size_t most = (size_t)luaL_optinteger(L, 2, 1 << 20);
    ssize_t n = recv(e->other, luaL_buffinitsize(L, &b, most), most, MSG_DONTWAIT);
    luaL_pushresultsize(&b, n > 0 ? (size_t)n : 0);
    return 1;
}

static int end_hear(lua_State *L) {
    End *e = end_of(L);
    char bytes[16384];
    struct pollfd p = {.fd = e->own, .events = POLLIN};
    ssize_t n = poll(&p, 1, (int)luaL_checkinteger(L, 2)) == 1 ? recv(e->own, bytes, sizeof bytes, MSG_DONTWAIT) : -1;
    return n <= 0 ? 0 : take(L, e, bytes, (size_t)n);
}

static int end_names(lua_State *L) {
    char shown[TLS_WHY];
    lua_pushboolean(L, tls_names(end_of(L)->tls, luaL_checkstring(L, 2), shown));
    lua_pushstring(L, shown);
    return 2;
}

static int end_farewell(lua_State *L) {
    tls_farewell(end_of(L)->tls);
    return 0;
}

int luaopen_door_tls(lua_State *L);

int luaopen_door_tls(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"certs", tls_certs}, {"context", context_new}, {"one", end_new}, {"connect", end_connect}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"start", end_start}, {"take", end_take}, {"send", end_send}, {"wire", end_wire}, {"hear", end_hear},
        {"names", end_names}, {"farewell", end_farewell}, {"close", end_close}, {"__gc", end_close}, {NULL, NULL}};
    luaL_newmetatable(L, END);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    luaL_newmetatable(L, CONTEXT);
    lua_pushcfunction(L, context_close);
    lua_setfield(L, -2, "__gc");
    luaL_newlib(L, functions);
    return 1;
}
