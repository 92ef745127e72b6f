/* relay.c - a door to a TCP relay on loopback, for specs that cut one way to a server and leave the others.
 *
 *     relay.open(port)  -> relay: whatever connects to relay:port() is connected to that port
 *     relay:cut(true)   nothing travels any more, either way, and whoever connects hears nothing; no connection ends
 *     relay:cut(false)  all goes on where it stood
 *     relay:close()
 *     relay.ports(n)    -> n ports of loopback that nobody listens on just now
 * Threads: Lua's sets `cut`, ours moves bytes; they share what is atomic, and a pipe that wakes ours. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HANDLE "door.relay"
#define PAIRS 256

typedef struct Relay {
    pthread_t thread;
    int listener, wake[2], port, to;
    atomic_bool cut, over;
    bool closed;
} Relay;

typedef struct Way { /* from one socket to the other */
    int from, to;
    char bytes[65536];
    size_t len, at;
    bool ended;
} Way;

static int loopback_socket(int port, bool listens) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0) return -1;
    if (listens) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    int err = listens ? bind(fd, (struct sockaddr *)&a, sizeof a) : connect(fd, (struct sockaddr *)&a, sizeof a);
    if (err == 0 && listens) err = listen(fd, 64);
    if (err == 0) fcntl(fd, F_SETFL, O_NONBLOCK);
    else close(fd);
    return err == 0 ? fd : -1;
}

static int port_of(int fd) {
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    return getsockname(fd, (struct sockaddr *)&a, &len) == 0 ? ntohs(a.sin_port) : 0;
}

/* False: this way is over. */
static bool move(Way *w, short from, short to) {
    if (w->len == 0 && from != 0) {
        ssize_t n = recv(w->from, w->bytes, sizeof w->bytes, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) return false;
        if (n > 0) w->len = (size_t)n, w->at = 0;
        to = 1;
    }
    if (w->len > 0 && to != 0) {
        ssize_t n = send(w->to, w->bytes + w->at, w->len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return false;
        if (n > 0) w->at += (size_t)n, w->len -= (size_t)n;
    }
    return true;
}

static void *run(void *relay) {
    Relay *r = relay;
    Way (*pairs)[2] = calloc(PAIRS, sizeof *pairs);
    struct pollfd fds[2 + 2 * PAIRS];
    int count = 0;
    while (pairs != NULL && !atomic_load(&r->over)) {
        bool cut = atomic_load(&r->cut);
        fds[0] = (struct pollfd){r->wake[0], POLLIN, 0};
        fds[1] = (struct pollfd){cut || count == PAIRS ? -1 : r->listener, POLLIN, 0};
        for (int i = 0; i < count; i++)
            for (int k = 0; k < 2; k++) {
                Way *in = &pairs[i][k], *out = &pairs[i][1 - k]; /* this socket is read by `in`, written by `out` */
                fds[2 + 2 * i + k] = (struct pollfd){cut ? -1 : in->from, (short)((in->len == 0 ? POLLIN : 0) |
                                                                           (out->len > 0 ? POLLOUT : 0)), 0};
            }
        if (poll(fds, (nfds_t)(2 + 2 * count), -1) < 0) continue;
        if (fds[0].revents != 0) {
            char some[64];
            if (read(r->wake[0], some, sizeof some) < 0) { /* it woke us: that is all */ }
            continue;
        }
        int before = count;
        if (fds[1].revents != 0) {
            int one = accept4(r->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            int other = one >= 0 ? loopback_socket(r->to, false) : -1;
            if (other >= 0) {
                pairs[count][0] = (Way){.from = one, .to = other};
                pairs[count++][1] = (Way){.from = other, .to = one};
            } else if (one >= 0) {
                close(one);
            }
        }
        for (int i = before - 1; i >= 0; i--) {
            short a = fds[2 + 2 * i].revents, b = fds[3 + 2 * i].revents;
            short bad = POLLERR | POLLHUP | POLLNVAL;
            if (move(&pairs[i][0], (short)(a & (POLLIN | bad)), (short)(b & POLLOUT)) &&
                move(&pairs[i][1], (short)(b & (POLLIN | bad)), (short)(a & POLLOUT)))
                continue;
            close(pairs[i][0].from);
            close(pairs[i][1].from);
            memcpy(pairs[i], pairs[--count], sizeof pairs[i]);
        }
    }
    for (int i = 0; i < count; i++) close(pairs[i][0].from), close(pairs[i][1].from);
    free(pairs);
    return NULL;
}

static int relay_open(lua_State *L) {
    int to = (int)luaL_checkinteger(L, 1);
    Relay *r = lua_newuserdatauv(L, sizeof *r, 0);
    memset(r, 0, sizeof *r);
    r->closed = true;
    luaL_setmetatable(L, HANDLE);
    r->to = to;
    r->listener = loopback_socket(0, true);
    if (r->listener < 0 || pipe2(r->wake, O_CLOEXEC | O_NONBLOCK) < 0) return luaL_error(L, "%s", strerror(errno));
    r->port = port_of(r->listener);
    if (pthread_create(&r->thread, NULL, run, r) != 0) return luaL_error(L, "no thread");
    r->closed = false;
    return 1;
}

static void wake(const Relay *r) {
    if (write(r->wake[1], "!", 1) < 0) { /* it is full of wishes already */ }
}

static int relay_port(lua_State *L) {
    lua_pushinteger(L, ((Relay *)luaL_checkudata(L, 1, HANDLE))->port);
    return 1;
}

static int relay_cut(lua_State *L) {
    Relay *r = luaL_checkudata(L, 1, HANDLE);
    atomic_store(&r->cut, lua_toboolean(L, 2));
    wake(r);
    return 0;
}

static int relay_close(lua_State *L) {
    Relay *r = luaL_checkudata(L, 1, HANDLE);
    if (r->closed) return 0;
    r->closed = true;
    atomic_store(&r->over, true);
    wake(r);
    pthread_join(r->thread, NULL);
    close(r->listener);
    close(r->wake[0]);
    close(r->wake[1]);
    return 0;
}

static int relay_ports(lua_State *L) {
    int n = (int)luaL_checkinteger(L, 1), fds[64];
    luaL_argcheck(L, n > 0 && n <= 64, 1, "1 to 64");
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) { /* all are held until all are known */
        fds[i] = loopback_socket(0, true);
        lua_pushinteger(L, fds[i] >= 0 ? port_of(fds[i]) : 0);
        lua_rawseti(L, -2, i + 1);
    }
    for (int i = 0; i < n; i++)
        if (fds[i] >= 0) close(fds[i]);
    return 1;
}

static const luaL_Reg methods[] = {{"port", relay_port}, {"cut", relay_cut}, {"close", relay_close},
                                   {"__gc", relay_close}, {"__close", relay_close}, {NULL, NULL}};
static const luaL_Reg functions[] = {{"open", relay_open}, {"ports", relay_ports}, {NULL, NULL}};

int luaopen_door_relay(lua_State *L);
int luaopen_door_relay(lua_State *L) {
    if (luaL_newmetatable(L, HANDLE)) {
        luaL_setfuncs(L, methods, 0);
        lua_pushvalue(L, -1);
        lua_setfield(L, -2, "__index");
    }
    luaL_newlib(L, functions);
    return 1;
}
