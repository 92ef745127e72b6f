/* An eval goes to its actor as a visit, waits there for a moment between two messages, runs as a guest, and comes back
 * as a job of the loop's. Two hold it: its request, until that is over, and whoever has it on the other side. */
#include "ops/eval.h"

#include <lauxlib.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/errors.h"
#include "actor/fiber.h"
#include "actor/guest.h"
#include "actor/handle.h"
#include "actor/report.h"
#include "actor/visit.h"
#include "api/api.h"
#include "api/sandbox.h"
#include "ground/clock.h"
#include "ground/log.h"
#include "mail/atom.h"
#include "mail/names.h"
#include "mail/post.h"
#include "ops/relay.h"
#include "run/loop.h"
#include "run/scheduler.h"

#define GRACE_MS 1000     /* what a stopped eval has to stop, before its client is told that it does not */
#define SHELL_MEMORY ((size_t)1 << 30)
#define MESSAGE_MOST 8192 /* bytes of an error's text */

enum { STOP_CANCELLED = 1, STOP_TIME, STOP_OUTPUT };
enum { STAGE_WAITS, STAGE_BEGUN, STAGE_DROPPED }; /* from the first to one of the others, once */

typedef struct Eval {
    Visit visit;
    Guest guest;
    _Atomic int holders;
    _Atomic int stage;
    _Atomic uint64_t began; /* clock_now time; written before stage */
    uint64_t ticket, pid;
    EvalOptions options;
    Text code;
    /* the worker's, then the loop's: the job that brings it back orders them */
    const char *failed; /* the error's code; NULL: none */
    Text value, message, extra;
    int64_t asked; /* when it was begun by the client: the loop's, clock_now in ms */
    bool told, back; /* the loop's: to stop; it came back */

    pthread_mutex_t lock; /* guards the rest: what was printed and is not yet sent */
    Text out;
    size_t printed;
    bool flushing;
} Eval;

static Eval *eval_of(Guest *guest) { return (Eval *)((char *)guest - offsetof(Eval, guest)); }

static void eval_drop(Eval *e) {
    /* acq_rel: whoever is last sees what the other did */
    if (atomic_fetch_sub_explicit(&e->holders, 1, memory_order_acq_rel) > 1) return;
    text_free(&e->code);
    text_free(&e->value);
    text_free(&e->message);
    text_free(&e->extra);
    text_free(&e->out);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

/* ---- on the loop's thread: the way back ---- */

static void send_printed(Request *r, Eval *e) {
    Text out, piece = {0};
    pthread_mutex_lock(&e->lock);
    out = e->out;
    e->out = (Text){0};
    e->flushing = false;
    pthread_mutex_unlock(&e->lock);
    if (out.len > 0 && r != NULL) {
        json_open(&piece, NULL, '{');
        json_string(&piece, "out", out.bytes, out.len);
        json_close(&piece, '}');
        request_more(r, &piece);
    }
    text_free(&out);
}

static void on_printed(void *eval) {
    Eval *e = eval;
    send_printed(request_of(e->ticket), e);
    eval_drop(e);
}

static void on_over(void *eval) {
    Eval *e = eval;
    Request *r = request_of(e->ticket);
    send_printed(r, e);
    e->back = true;
    if (r != NULL && e->failed == NULL) {
        request_value(r, &e->value);
    } else if (r != NULL) {
        text_put(&e->extra, "", 1);
        request_error_with(r, e->failed, e->message.bytes, e->message.len,
                           e->extra.len > 1 && !e->extra.failed ? e->extra.bytes : NULL);
    }
    eval_drop(e);
}

/* ---- on the worker, or wherever it ends ---- */

static void fail(Eval *e, const char *code, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void fail(Eval *e, const char *code, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    e->failed = code;
    text_free(&e->message);
    text_free(&e->extra);
    text_add(&e->message, text);
}

/* What the other side holds goes back with the job. */
static void give_back(Eval *e) {
    if (loop_submit(on_over, e) < 0) eval_drop(e); /* the node ends */
}

static void fail_stopped(Eval *e) {
    switch (atomic_load_explicit(&e->guest.stop, memory_order_relaxed)) {
    case STOP_TIME: fail(e, "budget", "stopped: it took more than its %lld ms", (long long)e->options.time); break;
    case STOP_OUTPUT: fail(e, "budget", "stopped: it printed more than its %zu bytes", e->options.output); break;
    case STOP_CANCELLED: fail(e, "cancelled", "it was cancelled"); break;
    default: fail(e, "no_actor", "the actor ended before the eval did"); break;
    }
}

static void fail_memory(Eval *e) {
    fail(e, "budget",
         "stopped: out of memory, it may use %zu MB over what the actor holds, and no more than the actor may",
         e->options.memory >> 20);
}

static void over(Guest *guest, Actor *a, lua_State *L, int status) {
    Eval *e = eval_of(guest);
    (void)a, (void)L;
    if (status == LUA_YIELD || atomic_load_explicit(&guest->stop, memory_order_relaxed) != 0) fail_stopped(e);
    else if (status == LUA_ERRMEM) fail_memory(e);
    else if (status != LUA_OK) fail(e, "error", "the result could not be shown");
    give_back(e);
}

static void gone(Visit *visit) {
    Eval *e = (Eval *)visit;
    fail(e, "no_actor", "the actor is dead");
    give_back(e);
}

static int run(lua_State *L);

static bool serve(Visit *visit, Actor *a) {
    Eval *e = (Eval *)visit;
    int waits = STAGE_WAITS;
    if (atomic_load_explicit(&e->stage, memory_order_relaxed) == STAGE_DROPPED) {
        eval_drop(e);
        return true;
    }
    if (!guest_may_begin(a)) return false;
    atomic_store_explicit(&e->began, clock_now(), memory_order_relaxed);
    /* release: who finds it begun finds when */
    if (!atomic_compare_exchange_strong_explicit(&e->stage, &waits, STAGE_BEGUN, memory_order_release,
                                                 memory_order_relaxed)) {
        eval_drop(e);
        return true;
    }
    if (guest_begin(a, &e->guest, run) < 0) {
        fail_memory(e);
        give_back(e);
    }
    return true;
}

/* ---- in the actor's VM ---- */

static const char env_key; /* registry: the environment of evals */

static void out_add(Eval *e, const char *bytes, size_t len) {
    bool too_much;
    pthread_mutex_lock(&e->lock);
    size_t room = e->options.output - e->printed;
    too_much = len > room;
    if (too_much) len = room;
    text_put(&e->out, bytes, len);
    e->printed += len;
    if (!e->flushing && len > 0) {
        atomic_fetch_add_explicit(&e->holders, 1, memory_order_relaxed);
        e->flushing = loop_submit(on_printed, e) == 0;
        if (!e->flushing) atomic_fetch_sub_explicit(&e->holders, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&e->lock);
    if (too_much) atomic_store_explicit(&e->guest.stop, STOP_OUTPUT, memory_order_relaxed);
}

static int print(lua_State *L) {
    int n = lua_gettop(L);
    Guest *guest = guest_of(L);
    size_t len;
    if (guest == NULL || guest->over != over) { /* called later, by a handler or a fork */
        lua_getglobal(L, "print");
        lua_insert(L, 1);
        lua_call(L, n, 0);
        return 0;
    }
    const char *text = sandbox_line(L, &len);
    out_add(eval_of(guest), text, len);
    if (atomic_load_explicit(&guest->stop, memory_order_relaxed) != 0) { /* not one more instruction */
        scheduler_expire();
        vm_preempt_after(L, 1);
    }
    return 0;
}

static int to_pid(lua_State *L) {
    size_t len;
    if (lua_islightuserdata(L, 1)) return lua_settop(L, 1), 1;
    const char *text = luaL_checklstring(L, 1, &len);
    uint64_t pid = relay_pid(text, len);
    if (pid == 0) return luaL_error(L, "no actor is named '%s', and it is no pid as <12.1>", text);
    lua_pushlightuserdata(L, (void *)(uintptr_t)pid);
    return 1;
}

void eval_push_env(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &env_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_createtable(L, 0, 6);
        lua_pushcfunction(L, print);
        lua_setfield(L, -2, "print");
        lua_pushcfunction(L, to_pid);
        lua_setfield(L, -2, "pid");
        api_throng(L);
        lua_setfield(L, -2, "throng");
        lua_createtable(L, 0, 2);
        lua_pushglobaltable(L);
        lua_setfield(L, -2, "__index");
        lua_pushglobaltable(L);
        lua_setfield(L, -2, "__newindex");
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &env_key);
    }
    lua_pushliteral(L, "self");
    if (!handle_push_self(L)) lua_pushnil(L);
    lua_rawset(L, -3);
}

/* What failed has its traceback taken down where it failed. */
static int on_error(lua_State *L) {
    Guest *guest = guest_of(L);
    if (guest != NULL && guest->over == over) {
        Eval *e = eval_of(guest);
        luaL_traceback(L, L, NULL, 1);
        size_t len;
        const char *trace = lua_tolstring(L, -1, &len);
        text_free(&e->extra);
        text_put(&e->extra, trace, len);
    }
    lua_settop(L, 1);
    return 1;
}

static bool ends_with(const char *text, size_t len, const char *end) {
    size_t n = strlen(end);
    return len >= n && memcmp(text + len - n, end, n) == 0;
}

/* As an expression, or else as statements: the function is on top, with the environment at index 1. False: neither. */
static bool compile(lua_State *L, Eval *e) {
    Text source = {0};
    text_add(&source, "return ");
    text_put(&source, e->code.bytes, e->code.len);
    int status = source.failed ? LUA_ERRMEM : luaL_loadbufferx(L, source.bytes, source.len, "=eval", "t");
    text_free(&source);
    if (status == LUA_ERRSYNTAX) {
        lua_pop(L, 1);
        status = luaL_loadbufferx(L, e->code.bytes != NULL ? e->code.bytes : "", e->code.len, "=eval", "t");
    }
    if (status == LUA_OK) {
        lua_pushvalue(L, 1);
        lua_setupvalue(L, -2, 1);
        return true;
    }
    size_t len = 0;
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : "";
    if (status == LUA_ERRSYNTAX) {
        e->failed = "syntax";
        text_put(&e->message, text, len);
        if (ends_with(text, len, "<eof>")) text_add(&e->extra, "\"incomplete\":true");
    } else {
        fail_memory(e);
    }
    return false;
}

static const char *string_field(lua_State *L, int table, const char *key, size_t *len) {
    lua_pushstring(L, key);
    lua_rawget(L, table);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, len) : NULL;
    lua_pop(L, 1); /* it lives on in the table */
    return text;
}

/* The error on top. */
static void take_error(lua_State *L, Eval *e, int status) {
    size_t len, trace_len = e->extra.len;
    int at = lua_gettop(L);
    const char *code = NULL, *text = NULL, *trace = e->extra.bytes;
    if (status == LUA_ERRMEM) {
        fail_memory(e);
        return;
    }
    e->failed = "error";
    if (lua_type(L, at) == LUA_TSTRING) {
        text = lua_tolstring(L, at, &len);
    } else if (lua_type(L, at) == LUA_TTABLE) {
        size_t code_len, its_len;
        code = string_field(L, at, "code", &code_len);
        text = string_field(L, at, "message", &len);
        const char *its = string_field(L, at, "traceback", &its_len);
        if (its != NULL) trace = its, trace_len = its_len;
        if (code != NULL && strcmp(code, "timeout") == 0) e->failed = "timeout";
        if (code != NULL && strcmp(code, "down") == 0) e->failed = "no_actor";
    }
    if (text != NULL) text_put(&e->message, text, len < MESSAGE_MOST ? len : MESSAGE_MOST);
    else show_text(L, at, e->options.limits, &e->message);
    Text extra = {0};
    if (trace_len > 0) json_string(&extra, "traceback", trace, trace_len < MESSAGE_MOST ? trace_len : MESSAGE_MOST);
    text_free(&e->extra);
    e->extra = extra;
}

/* The value from `first` to the top. */
static void take_values(lua_State *L, Eval *e, int first) {
    int last = lua_gettop(L), count = last - first + 1;
    bool cut = false;
    Text text = {0}, json = {0};
    Text *t = &e->value;
    json_open(t, NULL, '{');
    if (e->options.kind == EVAL_CHANGE) {
        for (int i = 0; i < 2; i++) {
            text.len = 0;
            cut |= show_text(L, first + i, e->options.limits, &text);
            json_string(t, i == 0 ? "old" : "new", text.bytes, text.len);
        }
    } else if (e->options.kind == EVAL_PID) {
        show_text(L, first, e->options.limits, &text);
        json_string(t, "pid", text.bytes, text.len);
    } else {
        bool all = e->options.kind == EVAL_VALUES;
        json_open(&json, NULL, '[');
        for (int i = first; i <= last; i++) {
            if (i > first) text_add(&text, ", ");
            cut |= show_text(L, i, e->options.limits, &text);
            all = all && show_json(L, i, e->options.limits, &json);
        }
        json_close(&json, ']');
        json_string(t, "text", text.len > 0 ? text.bytes : "", text.len);
        if (all) json_raw(t, "json", json.bytes, json.len);
        json_integer(t, "count", count);
    }
    if (cut) json_bool(t, "cut", true);
    json_close(t, '}');
    t->failed = t->failed || text.failed;
    text_free(&text);
    text_free(&json);
}

/* Stack: environment, on_error, what came. */
static int finish(lua_State *L, int status, lua_KContext context) {
    Eval *e = (Eval *)context;
    if (status != LUA_OK && status != LUA_YIELD) {
        take_error(L, e, status);
        return 0;
    }
    text_free(&e->extra);
    if (lua_gettop(L) > 2 && e->options.kind == EVAL_VALUES) {
        lua_pushliteral(L, "_");
        lua_pushvalue(L, 3);
        lua_rawset(L, 1);
    }
    if (e->options.kind != EVAL_VALUES && e->options.kind != EVAL_TEXT && lua_gettop(L) < 4) lua_settop(L, 4);
    take_values(L, e, 3);
    return 0;
}

static int run(lua_State *L) {
    Eval *e = eval_of(lua_touserdata(L, 1));
    lua_settop(L, 0);
    errors_ready(L);
    eval_push_env(L);
    lua_pushcfunction(L, on_error);
    if (!compile(L, e)) return 0;
    return finish(L, lua_pcallk(L, 0, LUA_MULTRET, 2, (lua_KContext)e, finish), (lua_KContext)e);
}

/* ---- on the loop's thread: the way there ---- */

/* What tells an actor to look at its guests: it may sleep, or be busy elsewhere. */
static bool serve_stop(Visit *visit, Actor *a) {
    free(visit);
    guest_stop_waiting(a);
    return true;
}

static void stop_gone(Visit *visit) { free(visit); }

static void stop(Eval *e, uint8_t why) {
    uint8_t none = 0;
    e->told = true;
    atomic_compare_exchange_strong_explicit(&e->guest.stop, &none, why, memory_order_relaxed, memory_order_relaxed);
    Visit *visit = malloc(sizeof *visit);
    if (visit == NULL) {
        log_format(LOG_ERROR, "", "out of memory: an eval that waits is not told to stop");
        return;
    }
    *visit = (Visit){serve_stop, stop_gone};
    if (visit_send(e->pid, visit) < 0) free(visit);
}

/* Never begun, and it never will. */
static bool take_back(Eval *e) {
    int waits = STAGE_WAITS;
    /* acquire: else it has begun, and we want to know when */
    return atomic_compare_exchange_strong_explicit(&e->stage, &waits, STAGE_DROPPED, memory_order_acquire,
                                                   memory_order_acquire) ||
           waits == STAGE_DROPPED;
}

/* The request is over, or its client is gone. */
static void on_request_over(void *state) {
    Eval *e = state;
    if (!take_back(e) && !e->told && !e->back) stop(e, STOP_CANCELLED);
    eval_drop(e);
}

void eval_busy(Request *r, uint64_t pid, int64_t within) {
    char who[PID_TEXT_MAX];
    VisitView v;
    pid_text(pid, who);
    visit_begin();
    bool lives = visit_look(pid, &v);
    visit_end();
    size_t len;
    const char *handler = lives ? atom_text(v.handler, &len) : "";
    uint64_t now = clock_now();
    if (!lives) request_error(r, "no_actor", "%s is dead", who);
    else if (v.busy_since != 0)
        request_error(r, "busy", "%s did not come between two messages in %lld ms: it is %s in %s%s since %.0f ms", who,
                      (long long)within, v.state, v.handler == 0 ? "a handler" : "on_", handler,
                      now > v.busy_since ? (double)(now - v.busy_since) / (double)CLOCK_NS_PER_MS : 0);
    else
        request_error(r, "busy", "%s did not come between two messages in %lld ms: it is %s", who, (long long)within,
                      v.state);
}

static void on_grace(Request *r) {
    Eval *e = request_state(r);
    request_error(r, "budget",
                  "it took more than its %lld ms, and is still in a C function: it is stopped when it comes out",
                  (long long)e->options.time);
}

static void on_due(Request *r) {
    Eval *e = request_state(r);
    int64_t now = (int64_t)(clock_now() / CLOCK_NS_PER_MS);
    if (atomic_load_explicit(&e->stage, memory_order_acquire) == STAGE_WAITS && now - e->asked < e->options.within) {
        request_in(r, e->options.within - (now - e->asked), on_due);
        return;
    }
    if (take_back(e)) {
        eval_busy(r, e->pid, e->options.within);
        return;
    }
    int64_t began = (int64_t)(atomic_load_explicit(&e->began, memory_order_relaxed) / CLOCK_NS_PER_MS);
    if (now - began < e->options.time) {
        request_in(r, e->options.time - (now - began), on_due);
        return;
    }
    stop(e, STOP_TIME);
    request_in(r, GRACE_MS, on_grace);
}

void eval_start(Request *r, uint64_t pid, EvalOptions options, Text *code) {
    char who[PID_TEXT_MAX];
    Eval *e = code->failed ? NULL : calloc(1, sizeof *e);
    if (e == NULL) {
        text_free(code);
        request_error(r, "refused", "out of memory");
        return;
    }
    e->visit = (Visit){serve, gone};
    e->guest.over = over;
    e->guest.memory = options.memory;
    e->options = options;
    e->pid = pid;
    e->ticket = request_ticket(r);
    e->code = *code;
    *code = (Text){0};
    e->asked = (int64_t)(clock_now() / CLOCK_NS_PER_MS);
    pthread_mutex_init(&e->lock, NULL);
    atomic_store_explicit(&e->holders, 2, memory_order_relaxed);
    request_keep(r, e, on_request_over);
    request_in(r, options.within < options.time ? options.within : options.time, on_due);
    int err = visit_send(pid, &e->visit);
    if (err == 0) return;
    take_back(e);
    eval_drop(e);
    pid_text(pid, who);
    if (err == UV_ESRCH) request_error(r, "no_actor", "%s is dead", who);
    else request_error(r, "refused", "out of memory");
}

/* ---- shells ---- */

static void shell_end(void *session) {
    uint64_t *pid = session;
    Message *msg = message_new(MESSAGE_KILL, 0);
    if (msg != NULL) {
        msg->to = *pid;
        post_deliver(msg);
    }
    free(pid);
}

uint64_t eval_shell(Request *r) {
    char text[512];
    const Behaviour *b;
    void **session = request_session(r, shell_end);
    uint64_t *kept = *session;
    if (kept != NULL && registry_find(*kept) != NULL) return *kept;
    if (behaviour_find("throng.shell", &b, text, sizeof text) < 0) {
        request_error(r, "refused", "no shell: %.400s", text);
        return 0;
    }
    Message *start = message_new(MESSAGE_START, 0);
    uint64_t *pid = kept != NULL ? kept : malloc(sizeof *pid);
    ActorOptions options = {.may_grant = GRANT_ALL, .memory = SHELL_MEMORY};
    int err = start == NULL || pid == NULL ? UV_ENOMEM : actor_spawn(b, &options, NULL, start, pid, NULL);
    if (err == 0) {
        *session = pid;
        return *pid;
    }
    message_free(start);
    if (kept == NULL) free(pid);
    request_error(r, "refused", "no shell: %s", err == UV_EAGAIN ? "too many actors are alive (actors.limit)"
                                                                  : "out of memory");
    return 0;
}
