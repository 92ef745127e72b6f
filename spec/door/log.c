/* door.log - core/ground/log.c for specs, and the file descriptors to watch it by. */
#include "ground/log.h"
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uv.h>

int luaopen_door_log(lua_State *L);

static const char *const levels[] = {"debug", "info", "warn", "error", "off", NULL};

static LogLevel check_level(lua_State *L, int arg) { return (LogLevel)luaL_checkoption(L, arg, NULL, levels); }

static int check_fd(lua_State *L, int arg) { return (int)luaL_checkinteger(L, arg); }

/* ---- the log ---- */

static int door_open(lua_State *L) {
    int err = log_open(check_level(L, 1), check_fd(L, 2));
    lua_pushstring(L, err == 0 ? "ok" : uv_err_name(err));
    return 1;
}

static int door_close(lua_State *L) {
    (void)L;
    log_close();
    return 0;
}

static int door_flush(lua_State *L) {
    (void)L;
    log_flush();
    return 0;
}

static int door_set_level(lua_State *L) {
    log_set_level(check_level(L, 1));
    return 0;
}

static int door_enabled(lua_State *L) {
    lua_pushboolean(L, log_enabled(check_level(L, 1)));
    return 1;
}

/* parse(name) -> name of the level that it stands for | nil, error's name */
static int door_parse(lua_State *L) {
    LogLevel level = LOG_OFF;
    int err = log_level_parse(luaL_checkstring(L, 1), &level);
    lua_pushstring(L, err == 0 ? levels[level] : NULL);
    lua_pushstring(L, err == 0 ? NULL : uv_err_name(err));
    return 2;
}

/* write(level, who | nil, text) -> whether errno came through unharmed */
static int door_write(lua_State *L) {
    size_t len;
    const char *text = luaL_checklstring(L, 3, &len);
    errno = EXDEV;
    log_write(check_level(L, 1), luaL_optstring(L, 2, NULL), text, len);
    lua_pushboolean(L, errno == EXDEV);
    return 1;
}

static int door_format(lua_State *L) {
    log_format(check_level(L, 1), luaL_optstring(L, 2, NULL), "%s/%d", luaL_checkstring(L, 3), 42);
    return 0;
}

typedef struct Writing {
    int thread, lines;
} Writing;

static void *write_lines(void *argument) {
    const Writing *w = argument;
    char who[16], text[32];
    snprintf(who, sizeof who, "t%d", w->thread);
    for (int i = 1; i <= w->lines; i++)
        log_write(LOG_INFO, who, text, (size_t)snprintf(text, sizeof text, "line %d", i));
    return NULL;
}

/* threads(threads, lines): each thread N writes as tN "line 1", "line 2" ... */
static int door_threads(lua_State *L) {
    pthread_t threads[16];
    Writing w[16];
    int n = (int)luaL_checkinteger(L, 1), started = 0;
    luaL_argcheck(L, n >= 1 && n <= 16, 1, "1 to 16");
    for (; started < n; started++) {
        w[started] = (Writing){.thread = started + 1, .lines = (int)luaL_checkinteger(L, 2)};
        if (pthread_create(&threads[started], NULL, write_lines, &w[started]) != 0) break;
    }
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    return started == n ? 0 : luaL_error(L, "only %d threads", started);
}

/* ---- file descriptors ---- */

static int door_file(lua_State *L) {
    int fd = memfd_create("log", MFD_CLOEXEC);
    if (fd < 0) return luaL_error(L, "memfd_create: %s", strerror(errno));
    lua_pushinteger(L, fd);
    return 1;
}

/* pipe([nonblocking]) -> read end, write end (which, if asked for, does not block) */
static int door_pipe(lua_State *L) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return luaL_error(L, "pipe: %s", strerror(errno));
    if (lua_toboolean(L, 1)) fcntl(ends[1], F_SETFL, O_NONBLOCK);
    lua_pushinteger(L, ends[0]);
    lua_pushinteger(L, ends[1]);
    return 2;
}

/* terminal() -> the end we read, the end that is a terminal */
static int door_terminal(lua_State *L) {
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave = -1;
    if (master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0)
        slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0) return luaL_error(L, "terminal: %s", strerror(errno));
    lua_pushinteger(L, master);
    lua_pushinteger(L, slave);
    return 2;
}

static int door_close_fd(lua_State *L) {
    close(check_fd(L, 1));
    return 0;
}

/* text(fd) -> all that is in the file, from its start */
static int door_text(lua_State *L) {
    char bytes[65536];
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    off_t at = 0;
    for (ssize_t n; (n = pread(check_fd(L, 1), bytes, sizeof bytes, at)) > 0; at += n)
        luaL_addlstring(&b, bytes, (size_t)n);
    luaL_pushresult(&b);
    return 1;
}

/* read(fd) -> what one read gives */
static int door_read(lua_State *L) {
    char bytes[65536];
    ssize_t n = read(check_fd(L, 1), bytes, sizeof bytes);
    lua_pushlstring(L, bytes, n > 0 ? (size_t)n : 0);
    return 1;
}

/* stderr_to(fd) -> a copy of what was the standard error */
static int door_stderr_to(lua_State *L) {
    fflush(stderr);
    lua_pushinteger(L, fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
    dup2(check_fd(L, 1), STDERR_FILENO);
    return 1;
}

/* ---- somebody who reads the other end of a pipe ---- */

static struct {
    pthread_t thread;
    int fd;
    char *bytes;
    size_t used, room;
    bool failed;
} reader;

static void *read_all(void *unused) {
    (void)unused;
    for (;;) {
        if (reader.room - reader.used < 65536) {
            size_t room = reader.room * 2 + 65536;
            char *bytes = realloc(reader.bytes, room);
            if (bytes == NULL) {
                reader.failed = true;
                return NULL;
            }
            reader.bytes = bytes;
            reader.room = room;
        }
        ssize_t n = read(reader.fd, reader.bytes + reader.used, reader.room - reader.used);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return NULL;
        reader.used += (size_t)n;
    }
}

/* drain(fd): a thread reads it to its end. drained() -> what came; to be called once the other end is closed. */
static int door_drain(lua_State *L) {
    reader.fd = check_fd(L, 1);
    reader.used = 0;
    reader.failed = false;
    if (pthread_create(&reader.thread, NULL, read_all, NULL) != 0) return luaL_error(L, "no thread");
    return 0;
}

static int door_drained(lua_State *L) {
    pthread_join(reader.thread, NULL);
    if (reader.failed) return luaL_error(L, "no memory");
    lua_pushlstring(L, reader.bytes != NULL ? reader.bytes : "", reader.used);
    free(reader.bytes);
    reader.bytes = NULL;
    reader.room = 0;
    return 1;
}

/* flood(size, lines): so many lines of so many bytes, as fast as it goes */
static int door_flood(lua_State *L) {
    size_t size = (size_t)luaL_checkinteger(L, 1);
    lua_Integer lines = luaL_checkinteger(L, 2);
    char *text = malloc(size);
    if (text == NULL) return luaL_error(L, "no memory");
    memset(text, 'x', size);
    for (lua_Integer i = 0; i < lines; i++) log_write(LOG_INFO, "flood", text, size);
    free(text);
    return 0;
}

int luaopen_door_log(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"open", door_open}, {"close", door_close}, {"flush", door_flush}, {"set_level", door_set_level},
        {"enabled", door_enabled}, {"parse", door_parse}, {"write", door_write}, {"format", door_format},
        {"threads", door_threads}, {"flood", door_flood},
        {"file", door_file}, {"pipe", door_pipe}, {"terminal", door_terminal}, {"close_fd", door_close_fd},
        {"text", door_text}, {"read", door_read}, {"stderr_to", door_stderr_to},
        {"drain", door_drain}, {"drained", door_drained}, {NULL, NULL},
    };
    luaL_newlib(L, functions);
    return 1;
}
