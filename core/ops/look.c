/* How a look goes there and back, and most ops that are looks: state, inbox, info, gc. */
#include "ops/look.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/alarm.h"
#include "actor/guest.h"
#include "actor/handle.h"
#include "actor/inbox.h"
#include "actor/report.h"
#include "ground/clock.h"
#include "mail/letter.h"
#include "mail/names.h"
#include "ops/eval.h"
#include "ops/path.h"
#include "ops/rows.h"
#include "ops/show.h"
#include "run/loop.h"

#define WITHIN_MS 1000
#define WITHIN_MOST 3600000
#define LIST_MOST 1000 /* of links, monitors, ... of one actor that are shown */
#define TEXT_MOST 400  /* bytes of a message that is shown */
#define TRACE_MOST 4096

/* ---- there and back ---- */

static void look_drop(Look *k) {
    /* acq_rel: whoever is last sees what the other did */
    if (atomic_fetch_sub_explicit(&k->holders, 1, memory_order_acq_rel) > 1) return;
    text_free(&k->text);
    text_free(&k->pieces);
    text_free(&k->value);
    text_free(&k->message);
    free(k);
}

static void on_back(void *look) {
    Look *k = look;
    Request *r = request_of(k->ticket);
    if (r != NULL && k->failed != NULL) {
        request_error_with(r, k->failed, k->message.bytes, k->message.len, NULL);
    } else if (r != NULL) {
        for (size_t at = 0; at < k->pieces.len;) {
            const char *newline = memchr(k->pieces.bytes + at, '\n', k->pieces.len - at);
            size_t end = newline != NULL ? (size_t)(newline - k->pieces.bytes) : k->pieces.len;
            Text piece = {0};
            text_put(&piece, k->pieces.bytes + at, end - at);
            request_more(r, &piece);
            at = end + 1;
        }
        k->value.failed = k->value.failed || k->pieces.failed;
        if (k->value.len > 0 || k->value.failed) request_value(r, &k->value);
        else request_true(r);
    }
    look_drop(k);
}

static void give_back(Look *k) {
    if (loop_submit(on_back, k) < 0) look_drop(k); /* the node ends */
}

void look_fail(Look *k, const char *code, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    k->failed = code;
    text_free(&k->message);
    text_add(&k->message, text);
}

static bool serve(Visit *visit, Actor *a) {
    Look *k = (Look *)visit;
    if (atomic_load_explicit(&k->dropped, memory_order_relaxed)) {
        look_drop(k);
        return true;
    }
    k->look(k, a);
    give_back(k);
    return true;
}

static void gone(Visit *visit) {
    Look *k = (Look *)visit;
    look_fail(k, "no_actor", "the actor is dead");
    give_back(k);
}

static void on_request_over(void *look) {
    Look *k = look;
    atomic_store_explicit(&k->dropped, true, memory_order_relaxed);
    look_drop(k);
}

static void on_late(Request *r) {
    Look *k = request_state(r);
    if (k->absent != NULL) k->absent(r, k->pid);
    else eval_busy(r, k->pid, k->within);
}

void look_start(Request *r, uint64_t pid, Look fields) {
    char who[PID_TEXT_MAX];
    Look *k = malloc(sizeof *k);
    if (k == NULL) {
        text_free(&fields.text);
        request_error(r, "refused", "out of memory");
        return;
    }
    *k = fields;
    k->visit = (Visit){serve, gone};
    k->ticket = request_ticket(r);
    k->pid = pid;
    k->within = request_integer(r, "within", WITHIN_MS);
    if (k->within > WITHIN_MOST) k->within = WITHIN_MOST;
    atomic_store_explicit(&k->holders, 2, memory_order_relaxed);
    request_keep(r, k, on_request_over);
    request_in(r, k->within, on_late);
    int err = visit_send(pid, &k->visit);
    if (err == 0) return;
    look_drop(k);
    pid_text(pid, who);
    if (err == UV_ESRCH) request_error(r, "no_actor", "%s is dead", who);
    else request_error(r, "refused", "out of memory");
}

/* ---- state ---- */

static int show_state(lua_State *L) {
    Look *k = lua_touserdata(L, 1);
    Path p = path_of(k->text.len > 0 ? k->text.bytes : "", k->text.len);
    PathStep step;
    if (!handle_push_self(L)) {
        look_fail(k, "busy", "it has no state yet: its body runs");
        return 0;
    }
    const char *start = p.at, *before = p.at;
    while (path_next(&p, &step)) {
        if (!lua_istable(L, -1)) {
            bool bare = *start != '[' && *start != '.';
            look_fail(k, "error", "self%s%.*s is a %s, no table", bare ? "." : "", (int)(before - start), start,
                      luaL_typename(L, -1));
            return 0;
        }
        if (step.key != NULL) lua_pushlstring(L, step.key, step.len);
        else lua_pushinteger(L, step.number);
        lua_rawget(L, -2);
        lua_remove(L, -2);
        before = p.at;
    }
    if (p.wrong) {
        look_fail(k, "bad_request", "state: '%.*s' is no path such as hunger, or pos.x, or list[3]",
                  (int)(k->text.len < 100 ? k->text.len : 100), k->text.bytes);
        return 0;
    }
    ShowLimits limits = SHOW_LIMITS;
    Text text = {0};
    limits.depth = (int)k->depth;
    limits.entries = (int)k->limit;
    bool cut = show_text(L, -1, limits, &text);
    json_open(&k->value, NULL, '{');
    json_string(&k->value, "text", text.bytes, text.len);
    json_bool(&k->value, "cut", cut);
    json_close(&k->value, '}');
    k->value.failed = k->value.failed || text.failed;
    text_free(&text);
    return 0;
}

static void guest_look_or_fail(Look *k, Actor *a, lua_CFunction function) {
    if (guest_look(a, function, k) != LUA_OK)
        look_fail(k, "budget", "the actor has no memory left to be looked at in: it may hold %zu bytes",
                  a->vm.arena.limit);
}

static void look_state(Look *k, Actor *a) { guest_look_or_fail(k, a, show_state); }

static Look look_with(const Request *r, void (*look)(Look *, Actor *), int64_t depth, int64_t limit) {
    size_t len;
    Look k = {.look = look, .depth = request_integer(r, "depth", depth), .limit = request_integer(r, "limit", limit)};
    const char *text = request_text(r, "path", &len);
    if (k.depth > SHOW_DEPTH_MAX) k.depth = SHOW_DEPTH_MAX;
    if (k.limit > LIST_MOST) k.limit = LIST_MOST;
    if (text != NULL) text_put(&k.text, text, len);
    return k;
}

static void do_state(Request *r) {
    uint64_t pid = request_pid(r, "pid");
    if (pid != 0) look_start(r, pid, look_with(r, look_state, 3, 100));
}

/* ---- inbox ---- */

static const char *kind_of(const Message *msg) {
    switch ((MessageKind)msg->kind) {
    case MESSAGE_ASK: return "ask";
    case MESSAGE_START: return "start";
    case MESSAGE_TIMER: return "timer";
    case MESSAGE_DOWN: return "down";
    case MESSAGE_EXIT: return "exit";
    default: return "send";
    }
}

static void put_message(Look *k, const Message *msg, const char *kind) {
    char text[TEXT_MOST];
    int len;
    const char *name = letter_name(msg, &len);
    json_open(&k->value, NULL, '{');
    json_words(&k->value, "kind", kind);
    json_string(&k->value, "name", name, (size_t)len);
    rows_put_pid(&k->value, "from", msg->from);
    json_string(&k->value, "text", text, letter_show(msg, 2, text, sizeof text));
    json_close(&k->value, '}');
}

static int64_t put_messages(Look *k, const Message *first, int64_t left) {
    for (const Message *msg = first; msg != NULL && left > 0; msg = msg->next, left--)
        put_message(k, msg, kind_of(msg));
    return left;
}

static void look_inbox(Look *k, Actor *a) {
    int64_t left = k->limit;
    inbox_gather(a);
    json_open(&k->value, NULL, '{');
    json_integer(&k->value, "depth", mailbox_depth(&a->slot->box));
    json_open(&k->value, "messages", '[');
    if (a->start != NULL && left > 0) put_message(k, a->start, "start"), left--;
    left = put_messages(k, a->early.first, left);
    for (const Message *due = a->due.first; due != NULL && left > 0; due = due->next) {
        uint64_t bits;
        const Message *letter =
            map_get(&a->timers, due->ref, &bits) ? ((ActorTimer *)(uintptr_t)bits)->letter : NULL;
        if (letter == NULL) continue; /* cancelled */
        put_message(k, letter, "timer");
        left--;
    }
    left = put_messages(k, a->inbox.first, left);
    json_close(&k->value, ']');
    if (left == 0) json_bool(&k->value, "cut", true);
    json_close(&k->value, '}');
}

static void do_inbox(Request *r) {
    uint64_t pid = request_pid(r, "pid");
    if (pid != 0) look_start(r, pid, look_with(r, look_inbox, 2, 20));
}

/* ---- info ---- */

/* What is seen from outside; the object stays open. */
static void put_seen(Text *t, const VisitView *view, const char *name, size_t name_len) {
    VisitView v = *view;
    json_open(t, NULL, '{');
    rows_put(t, &v, name, name_len);
    json_integer(t, "memory_limit", (int64_t)v.memory_limit);
    json_integer(t, "mailbox_limit", v.limit);
    json_words(t, "mailbox_full", mailbox_fulls[v.full]);
    json_integer(t, "dropped", (int64_t)v.dropped);
    json_integer(t, "refused", (int64_t)v.refused);
    json_integer(t, "restarts", v.restarts);
    if (v.waits_for != 0) rows_put_pid(t, "waits_for", v.waits_for);
    if (v.busy_since != 0) json_number(t, "busy", rows_ms_since(v.busy_since));
}

static void put_names(Text *t, const char *key, const ActorName *n) {
    json_open(t, key, '[');
    for (int i = 0; n != NULL && i < LIST_MOST; n = n->next, i++) json_string(t, NULL, n->text, n->len);
    json_close(t, ']');
}

static void put_pids(Text *t, const char *key, const Map *map, bool keys) {
    MapPair pair;
    uint32_t at = 0;
    json_open(t, key, '[');
    for (int i = 0; i < LIST_MOST && map_next(map, &at, &pair); i++)
        rows_put_pid(t, NULL, keys ? pair.key : pair.value);
    json_close(t, ']');
}

static void look_info(Look *k, Actor *a) {
    static const char *const grants[] = {"io", "os", "debug", "package"};
    Text *t = &k->value;
    VisitView v;
    visit_look(a->pid, &v); /* it is ours just now: it lives */
    v.memory = a->vm.arena.used;
    put_seen(t, &v, a->names != NULL ? a->names->text : "", a->names != NULL ? a->names->len : 0);
    put_names(t, "names", a->names);
    put_names(t, "groups", a->groups);
    put_pids(t, "links", &a->watch.links, true);
    put_pids(t, "monitors", &a->watch.monitors, false);
    put_pids(t, "monitored_by", &a->watch.watchers, false);
    json_integer(t, "timers", a->timers.count);
    json_bool(t, "traps_exits", a->traps_exits);
    json_bool(t, "concurrent", a->behaviour->concurrent);
    json_words(t, "source", a->behaviour->source->path);
    json_open(t, "grants", '[');
    for (int i = 0; i < 4; i++)
        if (a->vm.grants & 1 << i) json_words(t, NULL, grants[i]);
    json_close(t, ']');
    json_close(t, '}');
}

static void info_absent(Request *r, uint64_t pid) {
    char who[PID_TEXT_MAX], name[NAMES_TEXT_MAX + 1];
    Text t = {0};
    VisitView v;
    pid_text(pid, who);
    visit_begin();
    bool lives = visit_look(pid, &v);
    visit_end();
    if (!lives) {
        request_error(r, "no_actor", "%s is dead", who);
        return;
    }
    names_of(pid, name);
    put_seen(&t, &v, name, strlen(name));
    json_bool(&t, "cut", true); /* it did not come to tell the rest */
    json_close(&t, '}');
    request_value(r, &t);
}

static void do_info(Request *r) {
    uint64_t pid = request_pid(r, "pid");
    if (pid == 0) return;
    Look k = look_with(r, look_info, 0, 0);
    k.absent = info_absent;
    look_start(r, pid, k);
}

/* ---- gc ---- */

static int collect(lua_State *L) {
    lua_gc(L, LUA_GCCOLLECT);
    return 0;
}

static void look_gc(Look *k, Actor *a) {
    size_t before = a->vm.arena.used;
    if (a->vm.L != NULL) guest_look(a, collect, NULL); /* finalizers do not raise out of it */
    json_open(&k->value, NULL, '{');
    json_integer(&k->value, "before", (int64_t)before);
    json_integer(&k->value, "after", (int64_t)a->vm.arena.used);
    json_close(&k->value, '}');
}

/* Of all: one after the other, as they come; who does not come in time is left out. */
typedef struct Sweep {
    uint32_t at;
    int under_way;
    bool all_sent;
    int64_t before, after, count, busy;
    uint64_t end;
} Sweep;

typedef struct Broom {
    Visit visit;
    uint64_t ticket;
    bool done;
    size_t before, after;
} Broom;

#define BROOMS_MOST 64
#define SWEEP_MS 10000

static void sweep_on(Request *r);

static void on_swept(void *broom) {
    Broom *b = broom;
    Request *r = request_of(b->ticket);
    if (r != NULL) {
        Sweep *s = request_state(r);
        s->under_way--;
        s->count += b->done;
        s->before += (int64_t)b->before;
        s->after += (int64_t)b->after;
        sweep_on(r);
    }
    free(b);
}

static bool serve_broom(Visit *visit, Actor *a) {
    Broom *b = (Broom *)visit;
    b->before = a->vm.arena.used;
    if (a->vm.L != NULL) guest_look(a, collect, NULL);
    b->after = a->vm.arena.used;
    b->done = true;
    if (loop_submit(on_swept, b) < 0) free(b);
    return true;
}

static void broom_gone(Visit *visit) {
    if (loop_submit(on_swept, visit) < 0) free(visit);
}

static void sweep_end(Request *r) {
    Sweep *s = request_state(r);
    Text t = {0};
    json_open(&t, NULL, '{');
    json_integer(&t, "before", s->before);
    json_integer(&t, "after", s->after);
    json_integer(&t, "count", s->count);
    if (s->under_way > 0 || !s->all_sent) json_bool(&t, "cut", true); /* somebody did not come */
    json_close(&t, '}');
    request_value(r, &t);
}

static void sweep_on(Request *r) {
    Sweep *s = request_state(r);
    for (int i = 0; i < BROOMS_MOST && s->under_way < BROOMS_MOST && !s->all_sent; i++) {
        uint64_t pid = registry_next(&s->at);
        Broom *b = pid != 0 ? malloc(sizeof *b) : NULL;
        if (pid == 0) s->all_sent = true;
        if (b == NULL) continue;
        *b = (Broom){.visit = {serve_broom, broom_gone}, .ticket = request_ticket(r)};
        if (visit_send(pid, &b->visit) == 0) s->under_way++;
        else free(b);
    }
    if (s->all_sent && s->under_way == 0) sweep_end(r);
    else if (s->under_way == 0) request_later(r, sweep_on);
}

static void do_gc(Request *r) {
    if (request_arg(r, "pid") != NULL) {
        uint64_t pid = request_pid(r, "pid");
        if (pid != 0) look_start(r, pid, look_with(r, look_gc, 0, 0));
        return;
    }
    Sweep *s = calloc(1, sizeof *s);
    if (s == NULL) {
        request_error(r, "refused", "out of memory");
        return;
    }
    request_keep(r, s, free);
    request_in(r, request_integer(r, "within", SWEEP_MS), sweep_end);
    sweep_on(r);
}

const Op ops_look[] = {
    {"state", do_state, 0, {{"pid", ARG_PID | ARG_MUST}, {"path", ARG_TEXT}, {"depth", ARG_INTEGER},
                                {"limit", ARG_INTEGER}, {"within", ARG_INTEGER}}},
    {"inbox", do_inbox, 0, {{"pid", ARG_PID | ARG_MUST}, {"limit", ARG_INTEGER}, {"within", ARG_INTEGER}}},
    {"info", do_info, 0, {{"pid", ARG_PID | ARG_MUST}, {"within", ARG_INTEGER}}},
    {"gc", do_gc, OP_CHANGES | OP_ALL, {{"pid", ARG_PID}, {"within", ARG_INTEGER}}},
    {NULL, NULL, 0, {{NULL, 0}}},
};
