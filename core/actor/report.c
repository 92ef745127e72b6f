#include "actor/report.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>
#include "actor/actor.h"
#include "ground/clock.h"
#include "ground/log.h"
#include "ground/metrics.h"
#include "mail/codec.h"
#include "mail/letter.h"
#include "mail/payload.h"
#include "mail/post.h"

#define TRACE_SIZE 4096
#define CRASH_MESSAGE_MAX 2000 /* of the error's text, for subscribers */
#define CRASH_CODE_MAX 100
#define LEVELS_FIRST 12 /* of a deep stack, the innermost */
#define LEVELS_LAST 10  /* ... and the outermost */

static size_t add(char *out, size_t size, size_t len, const char *format, ...) __attribute__((format(printf, 4, 5)));

static size_t add(char *out, size_t size, size_t len, const char *format, ...) {
    va_list args;
    if (len + 1 >= size) return len;
    va_start(args, format);
    int more = vsnprintf(out + len, size - len, format, args);
    va_end(args);
    return more < 0 ? len : len + (size_t)more >= size ? size - 1 : len + (size_t)more;
}

static size_t add_level(char *out, size_t size, size_t len, const lua_Debug *ar) {
    len = add(out, size, len, "\n\t%s:", ar->short_src);
    if (ar->currentline > 0) len = add(out, size, len, "%d:", ar->currentline);
    if (*ar->what == 'm') return add(out, size, len, " in main chunk");
    if (ar->name != NULL && *ar->namewhat != '\0') len = add(out, size, len, " in %s '%s'", ar->namewhat, ar->name);
    else if (*ar->what == 'C') len = add(out, size, len, " in ?");
    else len = add(out, size, len, " in function <%s:%d>", ar->short_src, ar->linedefined);
    return ar->istailcall ? add(out, size, len, "\n\t(...tail calls...)") : len;
}

/* How many there are. lua_getstack walks down from the top, so counting one by one would be quadratic: 200,000 levels
 * of a runaway recursion took minutes. */
static int count_levels(lua_State *L) {
    lua_Debug ar;
    int least = 0, most = 1;
    while (lua_getstack(L, most, &ar)) least = most, most *= 2;
    while (least < most) {
        int middle = (least + most) / 2;
        if (lua_getstack(L, middle, &ar)) least = middle + 1;
        else most = middle;
    }
    return least;
}

size_t report_traceback(lua_State *L, char *out, size_t size) {
    lua_Debug ar;
    int levels = count_levels(L);
    size_t len = add(out, size, 0, "stack traceback:");
    /* The outermost one is the platform's own call of the handler. */
    if (levels > 0 && lua_getstack(L, levels - 1, &ar) && lua_getinfo(L, "S", &ar) && *ar.what == 'C') levels--;
    for (int i = 0; i < levels; i++) {
        if (levels > LEVELS_FIRST + LEVELS_LAST + 1 && i == LEVELS_FIRST) {
            int skip = levels - LEVELS_FIRST - LEVELS_LAST;
            len = add(out, size, len, "\n\t...\t(%d levels more)", skip);
            i += skip - 1;
            continue;
        }
        if (lua_getstack(L, i, &ar) && lua_getinfo(L, "Slnt", &ar)) len = add_level(out, size, len, &ar);
    }
    return len;
}

/* The error on top of L as text that needs no memory of the VM: borrowed from L or written to `room`. */
static const char *message_of(lua_State *L, int status, char *room, size_t size, size_t *len) {
    const Vm *vm = vm_of(L);
    if (status == LUA_ERRMEM) {
        *len = add(room, size, 0, "out of memory: its VM may hold %zu bytes", vm->arena.limit);
        return room;
    }
    switch (lua_type(L, -1)) {
    case LUA_TSTRING: return lua_tolstring(L, -1, len);
    case LUA_TNUMBER:
        *len = lua_isinteger(L, -1) ? add(room, size, 0, "%lld", (long long)lua_tointeger(L, -1))
                                    : add(room, size, 0, "%.14g", lua_tonumber(L, -1));
        return room;
    case LUA_TTABLE: {
        const char *text = NULL;
        if (lua_checkstack(L, 2)) {
            /* Look, without metamethods and without making a string: the key is found by a walk. */
            lua_pushnil(L);
            while (lua_next(L, -2) != 0) {
                if (lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), "message") == 0 &&
                    lua_type(L, -1) == LUA_TSTRING)
                    text = lua_tolstring(L, -1, len); /* lives on in the table */
                lua_pop(L, 1);
            }
        }
        if (text != NULL) return text;
        break;
    }
    default: break;
    }
    *len = add(room, size, 0, "(the error is a %s)", lua_typename(L, lua_type(L, -1)));
    return room;
}

void report_text(lua_State *L, int status, char *out, size_t size) {
    char room[128];
    size_t len;
    const char *text = message_of(L, status, room, sizeof room, &len);
    lua_Debug ar;
    size_t at = add(out, size, 0, "%.*s", (int)(len < size ? len : size), text);
    if (!lua_getstack(L, 1, &ar)) return; /* only the platform's own call: it says nothing */
    at = add(out, size, at, "\n");
    if (at + 1 < size) report_traceback(L, out + at, size - at);
}

/* ---- error objects ---- */

static int put(Message **msg, const char *text, size_t len) { return payload_put_string(msg, text, len); }

/* One pair, unless the table that failed already has it. */
static int field(Message **msg, unsigned *pairs, const char *key, const char *value, size_t len) {
    int err = put(msg, key, strlen(key));
    if (err == 0) err = put(msg, value, len);
    if (err == 0) ++*pairs;
    return err;
}

static int actor_fields(Message **msg, unsigned *pairs, const Actor *a) {
    int err = put(msg, "actor", 5);
    if (err == 0) err = payload_put_pid(msg, a->pid);
    if (err == 0) ++*pairs;
    return err;
}

static int behaviour_fields(Message **msg, unsigned *pairs, const Actor *a) {
    const char *name = a->behaviour->source->name;
    int err = field(msg, pairs, "behaviour", name, strlen(name));
    return err < 0 ? err : field(msg, pairs, "version", a->behaviour->version, strlen(a->behaviour->version));
}

enum { HAS_CODE = 1, HAS_MESSAGE = 2, HAS_TRACEBACK = 4, HAS_ACTOR = 8, HAS_BEHAVIOUR = 16 };

/* The fields that the error table on top of L brings along; what cannot be sent stays behind. */
static int own_fields(Message **msg, unsigned *pairs, lua_State *L, int *has) {
    static const struct {
        const char *key;
        int flag;
    } known[] = {{"code", HAS_CODE}, {"message", HAS_MESSAGE}, {"traceback", HAS_TRACEBACK}, {"actor", HAS_ACTOR},
                 {"behaviour", HAS_BEHAVIOUR}};
    CodecError why;
    if (!lua_checkstack(L, 8)) return 0;
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        if (lua_type(L, -2) == LUA_TSTRING) {
            int top = lua_gettop(L);
            int err = codec_encode(L, top - 1, top, msg, &why); /* both or neither */
            if (err == 0) {
                ++*pairs;
                for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
                    if (strcmp(lua_tostring(L, -2), known[i].key) == 0) *has |= known[i].flag;
            } else if (err != UV_EINVAL) {
                return err;
            }
        }
        lua_pop(L, 1);
    }
    return 0;
}

Message *report_error(Actor *a, lua_State *L, int status) {
    char room[128], trace[TRACE_SIZE];
    size_t mark, len;
    unsigned pairs = 0;
    int has = 0;
    Message *msg = message_new(MESSAGE_FAIL, 1024);
    if (msg == NULL) return NULL;
    const char *code = status == LUA_ERRMEM ? "memory" : "error";
    if (payload_open_table(&msg, true, &mark) < 0) goto fail;
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TTABLE && own_fields(&msg, &pairs, L, &has) < 0) goto fail;
    if (!(has & HAS_CODE) && field(&msg, &pairs, "code", code, strlen(code)) < 0) goto fail;
    if (!(has & HAS_MESSAGE)) {
        const char *text = message_of(L, status, room, sizeof room, &len);
        if (field(&msg, &pairs, "message", text, len) < 0) goto fail;
    }
    if (!(has & HAS_ACTOR) && actor_fields(&msg, &pairs, a) < 0) goto fail;
    if (!(has & HAS_BEHAVIOUR) && behaviour_fields(&msg, &pairs, a) < 0) goto fail;
    if (!(has & HAS_TRACEBACK)) {
        len = report_traceback(L, trace, sizeof trace);
        if (field(&msg, &pairs, "traceback", trace, len) < 0) goto fail;
    }
    if (payload_close_table(&msg, mark, pairs) < 0) goto fail;
    return msg;
fail:
    message_free(msg);
    return NULL;
}

static Message *make(Actor *a, const char *code, const char *message, const Message *reason) {
    size_t mark;
    unsigned pairs = 0;
    Message *msg = message_new(MESSAGE_FAIL, 256);
    if (msg == NULL) return NULL;
    if (payload_open_table(&msg, true, &mark) < 0 || field(&msg, &pairs, "code", code, strlen(code)) < 0 ||
        field(&msg, &pairs, "message", message, strlen(message)) < 0 || actor_fields(&msg, &pairs, a) < 0 ||
        behaviour_fields(&msg, &pairs, a) < 0)
        goto fail;
    if (reason != NULL) {
        pairs++;
        if (put(&msg, "reason", 6) < 0 || payload_put_values(&msg, reason) < 0) goto fail;
    }
    if (payload_close_table(&msg, mark, pairs) < 0) goto fail;
    return msg;
fail:
    message_free(msg);
    return NULL;
}

Message *report_make(Actor *a, const char *code, const char *message) { return make(a, code, message, NULL); }

Message *report_down(Actor *a, const Message *reason) {
    char why[160], who[ACTOR_WHO_MAX], text[sizeof why + sizeof who + 64];
    payload_show(reason, 0, 1, why, sizeof why);
    snprintf(text, sizeof text, "%s %s went down before it answered: %s", a->behaviour->source->name,
             actor_who(a, who), why);
    return make(a, "down", text, reason);
}

/* ---- crashes ---- */

/* What the fiber did: "init" and "handler" have a message. */
static const char *during(const Actor *a, const Fiber *f) {
    if (f->kind == FIBER_FORK) return "fork";
    if (a->stage == ACTOR_ENDING) return "terminate"; /* f->msg is what it was ended at */
    if (f->msg == NULL) return "body";
    return f->msg->kind == MESSAGE_START ? "init" : "handler";
}

static const Message *handled(const Actor *a, const Fiber *f) {
    return f->kind != FIBER_FORK && a->stage != ACTOR_ENDING ? f->msg : NULL;
}

static uint64_t uptime(const Actor *a) { return clock_now() - a->born; }

static void log_crash(const Actor *a, const Fiber *f, int status) {
    char out[8192], room[320], from[PID_TEXT_MAX], who[ACTOR_WHO_MAX];
    size_t size;
    lua_Debug ar;
    const Message *msg = handled(a, f);
    const char *text = message_of(f->L, status, room, sizeof room, &size);
    size_t len = add(out, sizeof out, 0, "crashed in %s (%s): %.*s", a->behaviour->source->name,
                     a->behaviour->version, (int)(size < sizeof out ? size : sizeof out), text);
    if (len > sizeof out / 2) len = add(out, sizeof out, sizeof out / 2, "..."); /* the rest is wanted, too */
    if (msg != NULL) {
        letter_show(msg, 2, room, sizeof room);
        len = add(out, sizeof out, len, "\nhandling %s", room);
        if (msg->from != 0) {
            pid_text(msg->from, from);
            len = add(out, sizeof out, len, " from %s", from);
        }
    } else {
        len = add(out, sizeof out, len, "\nin %s%s", f->kind == FIBER_FORK ? "a " : "its ", during(a, f));
    }
    len = add(out, sizeof out, len, "\nalive for %.3f s", (double)uptime(a) / (double)CLOCK_NS_PER_S);
    if (a->restarts > 0) len = add(out, sizeof out, len, ", restarted %u times", a->restarts);
    if (lua_getstack(f->L, 1, &ar)) { /* else there is only the platform's own call: it says nothing */
        len = add(out, sizeof out, len, "\n");
        if (len + 1 < sizeof out) len += report_traceback(f->L, out + len, sizeof out - len);
    }
    log_write(LOG_ERROR, actor_who(a, who), out, len);
}

static int number_field(Message **msg, unsigned *pairs, const char *key, bool whole, uint64_t value) {
    int err = put(msg, key, strlen(key));
    if (err == 0)
        err = whole ? payload_put_integer(msg, (int64_t)value)
                    : payload_put_number(msg, (double)value / (double)CLOCK_NS_PER_MS);
    if (err == 0) ++*pairs;
    return err;
}

static int crash_fields(Message **msg, const Actor *a, const Fiber *f, int status, const Message *reason) {
    char trace[TRACE_SIZE], room[128];
    size_t mark, inner, len;
    unsigned pairs = 1, inner_pairs = 0;
    int err;
    const char *text = reason != NULL ? payload_first_field(reason, "code", &len) : NULL, *what = during(a, f);
    if (text == NULL) text = status == LUA_ERRMEM ? "memory" : "error", len = strlen(text);
    if ((err = payload_open_table(msg, false, &mark)) < 0 || (err = put(msg, "pid", 3)) < 0 ||
        (err = payload_put_pid(msg, a->pid)) < 0 || (err = behaviour_fields(msg, &pairs, a)) < 0 ||
        (err = field(msg, &pairs, "code", text, len < CRASH_CODE_MAX ? len : CRASH_CODE_MAX)) < 0)
        return err;
    text = message_of(f->L, status, room, sizeof room, &len);
    if ((err = field(msg, &pairs, "message", text, len < CRASH_MESSAGE_MAX ? len : CRASH_MESSAGE_MAX)) < 0) return err;
    len = report_traceback(f->L, trace, sizeof trace);
    if ((err = field(msg, &pairs, "traceback", trace, len)) < 0 ||
        (err = field(msg, &pairs, "during", what, strlen(what))) < 0 ||
        (err = number_field(msg, &pairs, "uptime", false, uptime(a))) < 0 ||
        (err = number_field(msg, &pairs, "restarts", true, a->restarts)) < 0)
        return err;
    if (a->names != NULL && (err = field(msg, &pairs, "name", a->names->text, a->names->len)) < 0) return err;
    if (handled(a, f) != NULL) {
        pairs++;
        if ((err = put(msg, "handling", 8)) < 0 || (err = payload_open_table(msg, false, &inner)) < 0 ||
            (err = letter_put(msg, &inner_pairs, f->msg)) < 0 ||
            (err = payload_close_table(msg, inner, inner_pairs)) < 0)
            return err;
    }
    return payload_close_table(msg, mark, pairs);
}

void report_crash(Actor *a, const Fiber *f, int status, const Message *reason) {
    if (log_enabled(LOG_ERROR)) log_crash(a, f, status);
    if (!topic_wanted(TOPIC_CRASH)) return;
    Message *notice = post_notice(TOPIC_CRASH);
    if (notice == NULL || crash_fields(&notice, a, f, status, reason) < 0) {
        message_free(notice);
        metrics_add(METRIC_dead_notice, 1);
        return;
    }
    post_notify(TOPIC_CRASH, notice, a->pid);
}
