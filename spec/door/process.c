/* process.c - a door to child processes, for spec/support/node.lua: started with pipes on their standard streams,
 * watched with a deadline, never left behind (the kernel kills them when the runner dies, the collector when their
 * handle does).
 *
 *     process.start(argv, {cwd=, env={NAME=text|false}, input=text, open_input=boolean}) -> child | nil, why
 *         netns=file descriptor: runs in that network namespace
 *         pty={columns=, rows=}: all three streams are a terminal of that size; what it shows comes as `out`
 *     child:step(ms)       out, err, running: what has been written; waits for it up to ms, at most 20
 *     child:status()       after step said not running: code | nil, signal | nil, cpu seconds, peak bytes
 *     child:signal(n)  child:pid()  child:write(text)  child:end_input()  child:resize(columns, rows)
 *     process.now() process.getcwd() process.mkdtemp() process.mkdir(path) process.remove_all(path)
 *
 * Standard input is empty unless input or open_input says otherwise; what is written waits here until the child reads.
 * A step takes in at most STEP bytes a stream, and after the child's end what is left in the pipes, even if
 * grandchildren still hold them. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <lauxlib.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILD "door.process.child"
#define STEP 65536

extern char **environ;

typedef struct Child {
    pid_t pid;            /* 0 before the start and once it was waited for: the number may be another's by then */
    int in, out, err;     /* our ends of the pipes; -1 = closed */
    bool input_ends;      /* close `in` when `input` has been written */
    char *input;          /* not yet written */
    size_t input_len;
    int status;           /* as wait4 gives it */
    struct rusage usage;
} Child;

static void close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static void close_child(Child *c) {
    close_fd(&c->in);
    close_fd(&c->out);
    close_fd(&c->err);
    free(c->input);
    c->input = NULL;
    c->input_len = 0;
}

/* True once the child has ended; with WNOHANG it does not wait for that. */
static bool reap(Child *c, int flags) {
    pid_t pid;
    while ((pid = wait4(c->pid, &c->status, flags, &c->usage)) < 0 && errno == EINTR) continue;
    if (pid == 0) return false;
    c->pid = 0;
    return true;
}

static int child_gc(lua_State *L) {
    Child *c = luaL_checkudata(L, 1, CHILD);
    if (c->pid > 0) {
        kill(c->pid, SIGKILL);
        reap(c, 0);
    }
    close_child(c);
    return 0;
}

/* ---- starting ---- */

/* A NULL-ended array of the strings of the list at `index`, which must stay where it is while the array is used. */
static const char **string_list(lua_State *L, int index) {
    lua_Integer count = luaL_len(L, index);
    luaL_argcheck(L, count > 0, index, "no program");
    const char **list = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *list, 0);
    for (lua_Integer i = 1; i <= count; i++) {
        luaL_argcheck(L, lua_rawgeti(L, index, i) == LUA_TSTRING, index, "strings expected");
        list[i - 1] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    list[count] = NULL;
    return list;
}

/* Pushes a NULL-ended array: environ with the changes of the table at `changes` (nil = none). The strings it points to
 * live in environ and in a table pushed beside it. */
static const char **environment(lua_State *L, int changes) {
    size_t count = 0, used = 0;
    while (environ[count] != NULL) count++;
    lua_newtable(L); /* keeps "NAME=text" alive */
    int kept = lua_gettop(L);
    bool any = !lua_isnil(L, changes);
    size_t more = 0;
    if (any) for (lua_pushnil(L); lua_next(L, changes) != 0; lua_pop(L, 1)) more++;
    const char **list = lua_newuserdatauv(L, (count + more + 1) * sizeof *list, 0);
    for (size_t i = 0; i < count; i++) {
        const char *equals = strchr(environ[i], '=');
        bool changed = false;
        if (any && equals != NULL) {
            lua_pushlstring(L, environ[i], (size_t)(equals - environ[i]));
            changed = lua_rawget(L, changes) != LUA_TNIL;
            lua_pop(L, 1);
        }
        if (!changed) list[used++] = environ[i];
    }
    if (any) {
        for (lua_pushnil(L); lua_next(L, changes) != 0; lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING || !lua_isstring(L, -1)) continue; /* false = unset */
            list[used++] = lua_pushfstring(L, "%s=%s", lua_tostring(L, -2), lua_tostring(L, -1));
            luaL_ref(L, kept);
        }
    }
    list[used] = NULL;
    return list;
}

/* In the child, between fork and exec: nothing here may allocate or lock. Tells errno through `report`. */
static void become(const char *const *argv, const char *const *env, const char *cwd, const int fds[3], int report,
                   pid_t parent, bool terminal, int netns) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool ready = getppid() == parent && (cwd == NULL || chdir(cwd) == 0);
    if (ready && netns >= 0) ready = setns(netns, CLONE_NEWNET) == 0;
    if (ready && terminal) ready = setsid() >= 0 && ioctl(fds[0], TIOCSCTTY, 0) == 0;
    for (int i = 0; ready && i < 3; i++) ready = dup2(fds[i], i) >= 0;
    if (ready) execvpe(argv[0], (char *const *)argv, (char *const *)env);
    int why = errno;
    ssize_t told = write(report, &why, sizeof why);
    _exit(told == sizeof why ? 127 : 126);
}

/* ends[0] is the program's end of a new terminal, ends[1] ours. */
static int open_terminal(int ends[2], const struct winsize *size) {
    ends[1] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (ends[1] < 0 || grantpt(ends[1]) < 0 || unlockpt(ends[1]) < 0 || ioctl(ends[1], TIOCSWINSZ, size) < 0) return -1;
    ends[0] = open(ptsname(ends[1]), O_RDWR | O_NOCTTY | O_CLOEXEC);
    return ends[0] < 0 ? -1 : 0;
}

/* Pipes are close-on-exec, so that no child inherits another's; dup2 clears that for the child's own three. They are
 * numbered above 2 since the runner has its standard streams open. */
static int start_child(Child *c, const char *const *argv, const char *const *env, const char *cwd, bool has_input,
                       const struct winsize *terminal, int netns) {
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, report[2] = {-1, -1}, failure = 0;
    if (terminal != NULL) {
        if (open_terminal(in, terminal) < 0) goto fail;
        for (int i = 0; i < 3; i++) { /* our end to write and to read, its end for each stream */
            int fd = fcntl(in[i == 0], F_DUPFD_CLOEXEC, 3);
            if (fd < 0) goto fail;
            *(i == 0 ? &out[0] : i == 1 ? &out[1] : &err[1]) = fd;
        }
    } else if (has_input ? pipe2(in, O_CLOEXEC) < 0 : (in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0) {
        goto fail;
    }
    if (terminal == NULL && (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)) goto fail;
    if (pipe2(report, O_CLOEXEC) < 0) goto fail;
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) goto fail;
    if (pid == 0) become(argv, env, cwd, (int[]){in[0], out[1], err[1]}, report[1], parent, terminal != NULL, netns);
    close_fd(&report[1]); /* so that the read ends when the child execs */
    c->pid = pid;
    ssize_t got;
    while ((got = read(report[0], &failure, sizeof failure)) < 0 && errno == EINTR) continue;
    if (got == sizeof failure) {
        reap(c, 0);
        errno = failure;
        goto fail;
    }
    c->in = in[1];
    c->out = out[0];
    c->err = err[0];
    int ours[] = {c->in, c->out, c->err};
    for (int i = 0; i < 3; i++)
        if (ours[i] >= 0) fcntl(ours[i], F_SETFL, O_NONBLOCK);
    close(in[0]);
    close(out[1]);
    close(err[1]);
    close(report[0]);
    return 0;
fail:
    failure = errno;
    for (int i = 0; i < 2; i++) {
        close_fd(&in[i]);
        close_fd(&out[i]);
        close_fd(&err[i]);
        close_fd(&report[i]);
    }
    return -failure;
}

static void add_input(lua_State *L, Child *c, const char *text, size_t len) {
    if (len == 0) return;
    char *grown = realloc(c->input, c->input_len + len);
    if (grown == NULL) luaL_error(L, "not enough memory");
    memcpy(grown + c->input_len, text, len);
    c->input = grown;
    c->input_len += len;
}

static struct winsize size_of(lua_State *L, int index) {
    lua_getfield(L, index, "columns");
    lua_getfield(L, index, "rows");
    struct winsize size = {.ws_col = (unsigned short)luaL_optinteger(L, -2, 80),
                           .ws_row = (unsigned short)luaL_optinteger(L, -1, 24)};
    lua_pop(L, 2);
    return size;
}

static int process_start(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lua_getfield(L, 2, "cwd");
    lua_getfield(L, 2, "env");
    lua_getfield(L, 2, "input");
    lua_getfield(L, 2, "open_input");
    const char *cwd = luaL_optstring(L, 3, NULL);
    const char **argv = string_list(L, 1);
    const char **env = environment(L, 4);
    Child *c = lua_newuserdatauv(L, sizeof *c, 0);
    *c = (Child){.in = -1, .out = -1, .err = -1};
    luaL_setmetatable(L, CHILD);
    size_t len = 0;
    const char *input = luaL_optlstring(L, 5, NULL, &len);
    struct winsize size;
    bool terminal = lua_getfield(L, 2, "pty") == LUA_TTABLE;
    if (terminal) size = size_of(L, lua_gettop(L));
    lua_getfield(L, 2, "netns");
    int netns = (int)luaL_optinteger(L, -1, -1);
    lua_pop(L, 1);
    c->input_ends = !terminal && !lua_toboolean(L, 6);
    add_input(L, c, input, len);
    int failed = start_child(c, argv, env, cwd, input != NULL || !c->input_ends, terminal ? &size : NULL, netns);
    lua_pushvalue(L, -2);
    if (failed == 0) return 1;
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", argv[0], strerror(-failed));
    return 2;
}

/* ---- watching ---- */

static void write_input(Child *c) {
    if (c->in >= 0 && c->input_len > 0) {
        ssize_t sent = write(c->in, c->input, c->input_len);
        if (sent > 0) {
            c->input_len -= (size_t)sent;
            memmove(c->input, c->input + sent, c->input_len);
        } else if (errno != EAGAIN && errno != EINTR) {
            c->input_len = 0; /* nobody reads any more */
            c->input_ends = true;
        }
    }
    if (c->input_len == 0 && c->input_ends) close_fd(&c->in);
}

/* Pushes what can be read now, a STEP at most unless `all`; closes at the end. */
static void push_available(lua_State *L, int *fd, bool all) {
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    while (*fd >= 0) {
        ssize_t got = read(*fd, luaL_prepbuffsize(&text, STEP), STEP);
        if (got > 0) luaL_addsize(&text, (size_t)got);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) close_fd(fd);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0 || !all) break;
    }
    luaL_pushresult(&text);
}

static int child_step(lua_State *L) {
    Child *c = luaL_checkudata(L, 1, CHILD);
    lua_Integer ms = luaL_checkinteger(L, 2);
    bool ended = c->pid == 0;
    if (!ended) {
        write_input(c);
        struct pollfd fds[] = {
            {.fd = c->out, .events = POLLIN},
            {.fd = c->err, .events = POLLIN},
            {.fd = c->input_len > 0 ? c->in : -1, .events = POLLOUT},
        };
        /* An end shows in the streams' ends at once, and otherwise (a grandchild holds them, or they were closed
         * before) within a slice. No pidfd: valgrind does not know it. */
        int slice = c->out < 0 && c->err < 0 ? 1 : 20;
        poll(fds, 3, ms < slice ? (int)ms : slice);
        ended = reap(c, WNOHANG);
    }
    push_available(L, &c->out, ended);
    push_available(L, &c->err, ended);
    if (ended) close_child(c);
    lua_pushboolean(L, !ended);
    return 3;
}

static double seconds(struct timeval t) {
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

static int child_status(lua_State *L) {
    Child *c = luaL_checkudata(L, 1, CHILD);
    luaL_argcheck(L, c->pid == 0, 1, "still running");
    if (WIFEXITED(c->status)) lua_pushinteger(L, WEXITSTATUS(c->status));
    else lua_pushnil(L);
    if (WIFSIGNALED(c->status)) lua_pushinteger(L, WTERMSIG(c->status));
    else lua_pushnil(L);
    lua_pushnumber(L, seconds(c->usage.ru_utime) + seconds(c->usage.ru_stime));
    lua_pushinteger(L, (lua_Integer)c->usage.ru_maxrss * 1024);
    return 4;
}

static int child_signal(lua_State *L) {
    Child *c = luaL_checkudata(L, 1, CHILD);
    int signum = (int)luaL_checkinteger(L, 2);
    lua_pushboolean(L, c->pid > 0 && kill(c->pid, signum) == 0);
    return 1;
}

static int child_pid(lua_State *L) {
    Child *c = luaL_checkudata(L, 1, CHILD);
    lua_pushinteger(L, c->pid);
    return 1;
}

static int child_write(lua_State *L) {
    Child *c = luaL_checkudata(L, 1, CHILD);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    luaL_argcheck(L, c->in >= 0 && !c->input_ends, 1, "its input is not open");
    add_input(L, c, text, len);
    write_input(c);
    return 0;
}

static int child_end_input(lua_State *L) {
    Child *c = luaL_checkudata(L, 1, CHILD);
    c->input_ends = true;
    write_input(c);
    return 0;
}

static int child_resize(lua_State *L) {
    Child *c = luaL_checkudata(L, 1, CHILD);
    struct winsize size = {.ws_col = (unsigned short)luaL_checkinteger(L, 2),
                           .ws_row = (unsigned short)luaL_checkinteger(L, 3)};
    lua_pushboolean(L, c->in >= 0 && ioctl(c->in, TIOCSWINSZ, &size) == 0);
    return 1;
}

/* ---- around processes ---- */

static int process_now(lua_State *L) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    lua_pushnumber(L, (double)t.tv_sec + (double)t.tv_nsec * 1e-9);
    return 1;
}

static int process_getcwd(lua_State *L) {
    char path[PATH_MAX];
    if (getcwd(path, sizeof path) == NULL) return luaL_error(L, "getcwd: %s", strerror(errno));
    lua_pushstring(L, path);
    return 1;
}

/* Named by numbers alone: with letters by chance, a path in a program's output was once the word a spec waited for. */
static int process_mkdtemp(lua_State *L) {
    static unsigned count;
    char path[PATH_MAX];
    const char *base = getenv("TMPDIR");
    if (base == NULL || *base == '\0') base = "/tmp";
    do {
        int len = snprintf(path, sizeof path, "%s/throng-spec-%d-%u", base, (int)getpid(), ++count);
        luaL_argcheck(L, len > 0 && (size_t)len < sizeof path, 1, "TMPDIR is too long");
        if (mkdir(path, 0700) == 0) {
            lua_pushstring(L, path);
            return 1;
        }
    } while (errno == EEXIST);
    return luaL_error(L, "%s: %s", path, strerror(errno));
}

static int process_mkdir(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    if (mkdir(path, 0777) < 0 && errno != EEXIST) return luaL_error(L, "%s: %s", path, strerror(errno));
    return 0;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where) {
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static int process_remove_all(lua_State *L) {
    nftw(luaL_checkstring(L, 1), remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    return 0;
}

static const luaL_Reg child_methods[] = {
    {"step", child_step}, {"status", child_status}, {"signal", child_signal}, {"pid", child_pid},
    {"write", child_write}, {"end_input", child_end_input}, {"resize", child_resize}, {"__gc", child_gc}, {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"start", process_start}, {"now", process_now}, {"getcwd", process_getcwd}, {"mkdtemp", process_mkdtemp},
    {"mkdir", process_mkdir}, {"remove_all", process_remove_all}, {NULL, NULL},
};

int luaopen_door_process(lua_State *L);
int luaopen_door_process(lua_State *L) {
    signal(SIGPIPE, SIG_IGN); /* writing to a child that has gone is an error, not our end */
    if (luaL_newmetatable(L, CHILD)) {
        luaL_setfuncs(L, child_methods, 0);
        lua_pushvalue(L, -1);
        lua_setfield(L, -2, "__index");
    }
    luaL_newlib(L, functions);
    return 1;
}
