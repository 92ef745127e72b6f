/* door.unix - a client of a Unix socket with deadlines, for specs: raw bytes out, lines in.
 *
 *     local c = assert(unix.connect(path))
 *     c:send(bytes [, ms])     -- how many went out before the deadline
 *     c:line(ms)               -- a line without its end; nil, "end" or "timeout"
 *     c:shut()                 -- the sending side; c:close() all
 */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

int luaopen_door_unix(lua_State *L);

#define CLIENT "door.unix"
#define LINE_MOST (64u << 20)

typedef struct Client {
    int fd;
    char *bytes;
    size_t len, room, looked;
} Client;

static long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static Client *check(lua_State *L) {
    Client *c = luaL_checkudata(L, 1, CLIENT);
    luaL_argcheck(L, c->fd >= 0, 1, "it is closed");
    return c;
}

static int unix_connect(lua_State *L) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    const char *path = luaL_checkstring(L, 1);
    luaL_argcheck(L, strlen(path) < sizeof at.sun_path, 1, "too long");
    strcpy(at.sun_path, path);
    Client *c = lua_newuserdatauv(L, sizeof *c, 0);
    *c = (Client){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    luaL_setmetatable(L, CLIENT);
    if (c->fd >= 0 && connect(c->fd, (struct sockaddr *)&at, sizeof at) == 0) return 1;
    lua_pushnil(L);
    lua_pushstring(L, strerror(errno));
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    return 2;
}

static int client_send(lua_State *L) {
    Client *c = check(L);
    size_t len, sent = 0;
    const char *bytes = luaL_checklstring(L, 2, &len);
    long end = now_ms() + (long)luaL_optinteger(L, 3, 10000);
    while (sent < len) {
        ssize_t n = send(c->fd, bytes + sent, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            sent += (size_t)n;
        } else if (errno == EAGAIN && now_ms() < end) {
            struct pollfd p = {.fd = c->fd, .events = POLLOUT};
            poll(&p, 1, (int)(end - now_ms()));
        } else if (errno != EINTR) {
            break;
        }
    }
    lua_pushinteger(L, (lua_Integer)sent);
    return 1;
}

static int client_line(lua_State *L) {
    Client *c = check(L);
    long end = now_ms() + (long)luaL_checkinteger(L, 2);
    for (;;) {
        char *newline = c->len > c->looked ? memchr(c->bytes + c->looked, '\n', c->len - c->looked) : NULL;
        if (newline != NULL) {
            size_t len = (size_t)(newline - c->bytes);
            lua_pushlstring(L, c->bytes, len);
            memmove(c->bytes, newline + 1, c->len - len - 1);
            c->len -= len + 1;
            c->looked = 0;
            return 1;
        }
        c->looked = c->len;
        if (c->room - c->len < 65536) {
            char *more = c->room < LINE_MOST ? realloc(c->bytes, c->room * 2 + 131072) : NULL;
            if (more == NULL) return luaL_error(L, "a line without an end");
            c->bytes = more;
            c->room = c->room * 2 + 131072;
        }
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        long left = end - now_ms();
        int ready = poll(&p, 1, left > 0 ? (int)left : 0);
        ssize_t n = ready > 0 ? recv(c->fd, c->bytes + c->len, c->room - c->len, 0) : -1;
        if (n > 0) {
            c->len += (size_t)n;
        } else if (n == 0 || (ready > 0 && errno == ECONNRESET)) {
            lua_pushnil(L);
            lua_pushliteral(L, "end");
            return 2;
        } else if (left <= 0) {
            lua_pushnil(L);
            lua_pushliteral(L, "timeout");
            return 2;
        }
    }
}

static int client_shut(lua_State *L) {
    shutdown(check(L)->fd, SHUT_WR);
    return 0;
}

static int client_close(lua_State *L) {
    Client *c = luaL_checkudata(L, 1, CLIENT);
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    free(c->bytes);
    c->bytes = NULL;
    c->len = c->room = c->looked = 0;
    return 0;
}

int luaopen_door_unix(lua_State *L) {
    static const luaL_Reg functions[] = {{"connect", unix_connect}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"send", client_send},   {"line", client_line},   {"shut", client_shut},
                                       {"close", client_close}, {"__gc", client_close}, {NULL, NULL}};
    luaL_newmetatable(L, CLIENT);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, functions);
    return 1;
}
