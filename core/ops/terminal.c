#include "ops/terminal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>
#include <uv.h>
#include <wchar.h>
#include "ground/clock.h"
#include "ground/rundir.h"

#define SOCKET "throng.terminal.socket"
#define READ_SIZE 65536

static const struct { int number; const char *name; } caught[] = {
    {SIGINT, "int"}, {SIGWINCH, "winch"}, {SIGTERM, "term"}, {SIGHUP, "hup"}, {SIGTSTP, "tstp"},
};
#define CAUGHT (sizeof caught / sizeof *caught)

static int signals = -1; /* the signalfd, once catch was called */
static struct { bool raw; struct termios before; } tty;

static int failed(lua_State *L, const char *what, int error) {
    lua_pushnil(L);
    if (what != NULL) lua_pushfstring(L, "%s: %s", what, strerror(error));
    else lua_pushstring(L, strerror(error));
    lua_pushstring(L, uv_err_name(-error));
    return 3;
}

/* ---- the socket ---- */

static int *check_socket(lua_State *L) {
    return luaL_checkudata(L, 1, SOCKET);
}

static int socket_close(lua_State *L) {
    int *fd = check_socket(L);
    if (*fd >= 0) close(*fd);
    *fd = -1;
    return 0;
}

static int terminal_connect(lua_State *L) {
    size_t len;
    const char *path = luaL_checklstring(L, 1, &len);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (len >= sizeof address.sun_path) return failed(L, NULL, ENAMETOOLONG);
    memcpy(address.sun_path, path, len);
    int *fd = lua_newuserdatauv(L, sizeof *fd, 0);
    *fd = -1;
    luaL_setmetatable(L, SOCKET);
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd < 0 || connect(*fd, (struct sockaddr *)&address, sizeof address) < 0) return failed(L, NULL, errno);
    return 1;
}

static int socket_read(lua_State *L) {
    int *fd = check_socket(L);
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    char *into = luaL_prepbuffsize(&text, READ_SIZE);
    ssize_t got = *fd < 0 ? (errno = EBADF, -1) : read(*fd, into, READ_SIZE);
    if (got < 0 && errno != EAGAIN && errno != EINTR) return failed(L, NULL, errno);
    if (got == 0) {
        lua_pushnil(L);
        lua_pushliteral(L, "closed");
        return 2;
    }
    luaL_pushresultsize(&text, got > 0 ? (size_t)got : 0);
    return 1;
}

static int socket_write(lua_State *L) {
    int *fd = check_socket(L);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    lua_Integer from = luaL_optinteger(L, 3, 1);
    luaL_argcheck(L, from >= 1 && (size_t)from <= len + 1, 3, "out of the text");
    ssize_t sent = *fd < 0 ? (errno = EBADF, -1)
                           : send(*fd, text + from - 1, len - (size_t)(from - 1), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return failed(L, NULL, errno);
    lua_pushinteger(L, sent > 0 ? sent : 0);
    return 1;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names, not paths: what lies there beside sockets (secrets) is nobody's node. */
static int terminal_nodes(lua_State *L) {
    char path[PATH_MAX];
    if (rundir_path("", path, sizeof path) < 0) return luaL_error(L, "the run directory's name is too long");
    lua_newtable(L);
    lua_pushlstring(L, path, strlen(path) - 1); /* without the slash */
    struct dirent **found = NULL;
    int count = scandir(path, &found, NULL, NULL);
    size_t used = 0;
    char **names = count > 0 ? calloc((size_t)count, sizeof *names) : NULL;
    for (int i = 0; i < count; i++) {
        size_t len = strlen(found[i]->d_name);
        if (names != NULL && len > 5 && strcmp(found[i]->d_name + len - 5, ".sock") == 0) {
            found[i]->d_name[len - 5] = '\0';
            names[used++] = found[i]->d_name;
        }
    }
    if (used > 0) qsort(names, used, sizeof *names, compare_names);
    for (size_t i = 0; i < used; i++) { /* a short of memory here ends the process, which frees the rest */
        lua_pushstring(L, names[i]);
        lua_rawseti(L, -3, (lua_Integer)i + 1);
    }
    for (int i = 0; i < count; i++) free(found[i]);
    free(found);
    free(names);
    return 2;
}

/* ---- waiting ---- */

static int terminal_catch(lua_State *L) {
    sigset_t set;
    if (signals >= 0) return 0;
    sigemptyset(&set);
    for (size_t i = 0; i < CAUGHT; i++) sigaddset(&set, caught[i].number);
    signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signals < 0) return luaL_error(L, "signalfd: %s", strerror(errno));
    sigprocmask(SIG_BLOCK, &set, NULL);
    return 0;
}

static void take_signals(lua_State *L) {
    struct signalfd_siginfo info;
    while (signals >= 0 && read(signals, &info, sizeof info) == sizeof info) {
        for (size_t i = 0; i < CAUGHT; i++) {
            if (caught[i].number != (int)info.ssi_signo) continue;
            lua_pushboolean(L, 1);
            lua_setfield(L, -2, caught[i].name);
        }
    }
}

static void set_if(lua_State *L, bool happened, const char *name) {
    if (!happened) return;
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, name);
}

static int terminal_wait(lua_State *L) {
    lua_Number ms = luaL_checknumber(L, 1);
    int *socket = lua_isnoneornil(L, 2) ? NULL : luaL_checkudata(L, 2, SOCKET);
    struct pollfd fds[] = {
        {.fd = signals, .events = POLLIN},
        {.fd = socket != NULL ? *socket : -1, .events = (short)(POLLIN | (lua_toboolean(L, 3) ? POLLOUT : 0))},
        {.fd = lua_toboolean(L, 4) ? STDIN_FILENO : -1, .events = POLLIN},
    };
    int limit = ms < 0 ? -1 : ms > 1e9 ? 1000000000 : (int)ms + (ms > (int)ms ? 1 : 0);
    int got = poll(fds, 3, limit);
    lua_newtable(L);
    if (got <= 0) return 1; /* interrupted is nothing, too: the caller waits again */
    if (fds[0].revents != 0) take_signals(L);
    set_if(L, (fds[1].revents & ~POLLOUT) != 0, "readable");
    set_if(L, (fds[1].revents & POLLOUT) != 0, "writable");
    set_if(L, fds[2].revents != 0, "input");
    return 1;
}

static int terminal_pending(lua_State *L) {
    sigset_t set;
    bool any = signals >= 0 && sigpending(&set) == 0 &&
               (sigismember(&set, SIGINT) || sigismember(&set, SIGTERM) || sigismember(&set, SIGHUP));
    lua_pushboolean(L, any);
    return 1;
}

int terminal_await_input(void) {
    for (;;) {
        struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
        int got = poll(fds, 2, -1);
        if (got > 0 && fds[1].revents != 0) return -1;
        if (got > 0) return 1;
        if (got < 0 && errno != EINTR) return -1;
    }
}

static int terminal_stop(lua_State *L) {
    (void)L;
    kill(getpid(), SIGSTOP);
    return 0;
}

/* ---- the terminal, and what stands in for one ---- */

static int terminal_read(lua_State *L) {
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    ssize_t got = read(STDIN_FILENO, luaL_prepbuffsize(&text, READ_SIZE), READ_SIZE);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return 0;
    luaL_pushresultsize(&text, got > 0 ? (size_t)got : 0);
    return 1;
}

static int terminal_write(lua_State *L) {
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    while (len > 0) {
        ssize_t sent = write(STDOUT_FILENO, text, len);
        if (sent < 0 && errno == EAGAIN) { /* somebody else made it so, through another descriptor of the same file */
            struct pollfd fd = {.fd = STDOUT_FILENO, .events = POLLOUT};
            poll(&fd, 1, -1);
        } else if (sent < 0 && errno != EINTR) {
            break;
        } else if (sent > 0) {
            text += sent;
            len -= (size_t)sent;
        }
    }
    lua_pushboolean(L, len == 0);
    return 1;
}

static int terminal_is_terminal(lua_State *L) {
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

static int terminal_size(lua_State *L) {
    struct winsize size = {0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0) return 0;
    lua_pushinteger(L, size.ws_col > 0 ? size.ws_col : 80);
    lua_pushinteger(L, size.ws_row > 0 ? size.ws_row : 24);
    return 2;
}

static void restore(void) {
    if (tty.raw) tcsetattr(STDIN_FILENO, TCSADRAIN, &tty.before);
    tty.raw = false;
}

static int terminal_raw(lua_State *L) {
    if (!lua_toboolean(L, 1)) {
        restore();
        return 0;
    }
    if (tty.raw || tcgetattr(STDIN_FILENO, &tty.before) < 0) return 0;
    struct termios keys = tty.before;
    keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    keys.c_cc[VMIN] = 1;
    keys.c_cc[VTIME] = 0;
    tty.raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &keys) == 0;
    return 0;
}

static int terminal_width(lua_State *L) {
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    mbstate_t state = {0};
    lua_Integer columns = 0;
    while (len > 0) {
        wchar_t c;
        size_t took = mbrtowc(&c, text, len, &state);
        int wide = 1;
        if (took == 0 || took > len) { /* a zero, or no character of this locale: a byte is taken for a column */
            memset(&state, 0, sizeof state);
            took = 1;
        } else if ((wide = wcwidth(c)) < 0) {
            wide = 1;
        }
        columns += wide;
        text += took;
        len -= took;
    }
    lua_pushinteger(L, columns);
    return 1;
}

/* ---- files ---- */

static int put(lua_State *L, const char *path, int flags, const char *text, size_t len) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600), error = fd < 0 ? errno : 0;
    while (error == 0 && len > 0) {
        ssize_t sent = write(fd, text, len);
        if (sent < 0 && errno != EINTR) error = errno;
        if (sent > 0) text += sent, len -= (size_t)sent;
    }
    if (fd >= 0 && close(fd) < 0 && error == 0) error = errno;
    if (error != 0) return failed(L, path, error);
    lua_pushboolean(L, 1);
    return 1;
}

static int terminal_append(lua_State *L) {
    size_t len;
    const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &len);
    return put(L, path, O_APPEND, text, len);
}

/* By way of a file beside it: who reads at the same time has the old text or the new. */
static int terminal_replace(lua_State *L) {
    size_t len;
    const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &len);
    const char *beside = lua_pushfstring(L, "%s.%d", path, (int)getpid());
    int results = put(L, beside, O_TRUNC, text, len);
    if (results == 1 && rename(beside, path) < 0) results = failed(L, path, errno);
    if (results != 1) unlink(beside);
    return results;
}

static int terminal_mkdir(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    if (mkdir(path, 0700) < 0 && errno != EEXIST) return failed(L, path, errno);
    lua_pushboolean(L, 1);
    return 1;
}

static int terminal_now(lua_State *L) {
    lua_pushnumber(L, (double)clock_now() * 1e-9);
    return 1;
}

static const luaL_Reg socket_methods[] = {
    {"read", socket_read}, {"write", socket_write}, {"close", socket_close}, {"__gc", socket_close}, {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"connect", terminal_connect}, {"nodes", terminal_nodes}, {"catch", terminal_catch}, {"wait", terminal_wait},
    {"pending", terminal_pending}, {"stop", terminal_stop}, {"read", terminal_read}, {"write", terminal_write},
    {"is_terminal", terminal_is_terminal}, {"size", terminal_size}, {"raw", terminal_raw},
    {"width", terminal_width}, {"append", terminal_append}, {"replace", terminal_replace},
    {"mkdir", terminal_mkdir}, {"now", terminal_now}, {NULL, NULL},
};

int terminal_open(lua_State *L) {
    /* Of the locale only what a character is. In a bare "C" none but ASCII could be typed. */
    if (setlocale(LC_CTYPE, "") == NULL || MB_CUR_MAX == 1) setlocale(LC_CTYPE, "C.UTF-8");
    atexit(restore);
    if (luaL_newmetatable(L, SOCKET)) {
        luaL_setfuncs(L, socket_methods, 0);
        lua_pushvalue(L, -1);
        lua_setfield(L, -2, "__index");
    }
    luaL_newlib(L, functions);
    return 1;
}
