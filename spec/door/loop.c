/* door.loop - core/run/loop.c for specs: what happens on the loop's thread is written down as events, to be waited for
 * with a deadline. */
#include "run/loop.h"
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#include <uv.h>
#include "ground/clock.h"

int luaopen_door_loop(lua_State *L);

#define EVENTS_MAX 65536

typedef struct Event {
    const char *kind;
    uint64_t a, b, at;
    pid_t thread;
} Event;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static Event events[EVENTS_MAX];
static size_t event_count;

static void note(const char *kind, uint64_t a, uint64_t b) {
    pthread_mutex_lock(&lock);
    if (event_count < EVENTS_MAX) events[event_count++] = (Event){kind, a, b, clock_now(), gettid()};
    pthread_cond_broadcast(&more);
    pthread_mutex_unlock(&lock);
}

static void on_timer(uint64_t owner, uint64_t tag) { note("timer", owner, tag); }

static void on_signal(int signum) { note("signal", (uint64_t)signum, 0); }

static void on_thread_end(void) { note("end", 0, 0); }

static int push_error(lua_State *L, int err) {
    lua_pushstring(L, err == 0 ? "ok" : uv_err_name(err));
    return 1;
}

/* open([with signals]) */
static int door_open(lua_State *L) {
    LoopCalls calls = {on_timer, lua_toboolean(L, 1) ? on_signal : NULL, on_thread_end};
    int err = loop_open(calls);
    if (err == 0) {
        pthread_mutex_lock(&lock);
        event_count = 0;
        pthread_mutex_unlock(&lock);
    }
    return push_error(L, err);
}

static int door_close(lua_State *L) {
    (void)L;
    loop_close();
    return 0;
}

static int door_now(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)clock_now());
    return 1;
}

/* add(due, period, tag) -> id; the owner is when it is due */
static int door_add(lua_State *L) {
    uint64_t due = (uint64_t)luaL_checkinteger(L, 1), period = (uint64_t)luaL_checkinteger(L, 2);
    lua_pushinteger(L, (lua_Integer)loop_timer_add(due, period, due, (uint64_t)luaL_checkinteger(L, 3)));
    return 1;
}

static int door_cancel(lua_State *L) {
    lua_pushboolean(L, loop_timer_cancel((TimerId)luaL_checkinteger(L, 1)));
    return 1;
}

static void job(void *argument) { note("job", (uint64_t)(uintptr_t)argument, 0); }

static int door_submit(lua_State *L) {
    return push_error(L, loop_submit(job, (void *)(uintptr_t)luaL_checkinteger(L, 1)));
}

/* call(n): returns when the job has run */
static int door_call(lua_State *L) {
    return push_error(L, loop_call(job, (void *)(uintptr_t)luaL_checkinteger(L, 1)));
}

static void call_within(void *argument) {
    loop_call(job, argument);
    if (loop_uv() == NULL) note("no loop", 0, 0);
    note("after", 0, 0);
}

/* call_within(n): the same from the loop's own thread */
static int door_call_within(lua_State *L) {
    return push_error(L, loop_call(call_within, (void *)(uintptr_t)luaL_checkinteger(L, 1)));
}

/* Submits itself again until there is nothing left to count down. */
static void countdown(void *argument) {
    uintptr_t left = (uintptr_t)argument;
    int err = left > 0 ? loop_submit(countdown, (void *)(left - 1)) : 0;
    if (err < 0) note(uv_err_name(err), left, 0);
    else if (left % 1000000 < 1000) note("count", left, 0); /* few enough for `events`, however long it takes */
}

static int door_countdown(lua_State *L) {
    return push_error(L, loop_submit(countdown, (void *)(uintptr_t)luaL_checkinteger(L, 1)));
}

typedef struct Submitting {
    uintptr_t thread, jobs;
    int err;
} Submitting;

static void *submit_many(void *argument) {
    Submitting *s = argument;
    for (uintptr_t i = 1; i <= s->jobs && s->err == 0; i++) s->err = loop_submit(job, (void *)(s->thread << 32 | i));
    return NULL;
}

/* threads(threads, jobs): thread N submits N << 32 | 1, N << 32 | 2 ... */
static int door_threads(lua_State *L) {
    pthread_t threads[16];
    Submitting s[16];
    lua_Integer n = luaL_checkinteger(L, 1), started = 0;
    luaL_argcheck(L, n >= 1 && n <= 16, 1, "1 to 16");
    for (; started < n; started++) {
        s[started] = (Submitting){.thread = (uintptr_t)started + 1, .jobs = (uintptr_t)luaL_checkinteger(L, 2)};
        if (pthread_create(&threads[started], NULL, submit_many, &s[started]) != 0) break;
    }
    int err = started < n ? UV_EAGAIN : 0;
    for (lua_Integer i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
        if (err == 0) err = s[i].err;
    }
    return push_error(L, err);
}

/* wait(events, seconds) -> whether so many have come by then */
static int door_wait(lua_State *L) {
    size_t n = (size_t)luaL_checkinteger(L, 1);
    uint64_t end = clock_wall() + (uint64_t)(luaL_checknumber(L, 2) * 1e9);
    struct timespec until = {(time_t)(end / CLOCK_NS_PER_S), (long)(end % CLOCK_NS_PER_S)};
    pthread_mutex_lock(&lock);
    int err = 0;
    while (event_count < n && err == 0) err = pthread_cond_timedwait(&more, &lock, &until);
    lua_pushboolean(L, event_count >= n);
    pthread_mutex_unlock(&lock);
    return 1;
}

/* events() -> {{kind=, a=, b=, at=, thread=}, ...} so far */
static int door_events(lua_State *L) {
    pthread_mutex_lock(&lock);
    size_t n = event_count; /* what is written down is never changed, until the next open */
    pthread_mutex_unlock(&lock);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_createtable(L, 0, 5);
        lua_pushstring(L, events[i].kind), lua_setfield(L, -2, "kind");
        lua_pushinteger(L, (lua_Integer)events[i].a), lua_setfield(L, -2, "a");
        lua_pushinteger(L, (lua_Integer)events[i].b), lua_setfield(L, -2, "b");
        lua_pushinteger(L, (lua_Integer)events[i].at), lua_setfield(L, -2, "at");
        lua_pushinteger(L, events[i].thread), lua_setfield(L, -2, "thread");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int door_thread(lua_State *L) {
    lua_pushinteger(L, gettid());
    return 1;
}

/* signal(number): to this process, as from outside */
static int door_signal(lua_State *L) {
    kill(getpid(), (int)luaL_checkinteger(L, 1));
    return 0;
}

int luaopen_door_loop(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"open", door_open}, {"close", door_close}, {"now", door_now}, {"add", door_add}, {"cancel", door_cancel},
        {"submit", door_submit}, {"call", door_call}, {"call_within", door_call_within},
        {"countdown", door_countdown}, {"threads", door_threads}, {"wait", door_wait},
        {"events", door_events}, {"thread", door_thread}, {"signal", door_signal}, {NULL, NULL},
    };
    luaL_newlib(L, functions);
    return 1;
}
