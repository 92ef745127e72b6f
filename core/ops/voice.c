#include "ops/voice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/parcel.h"
#include "actor/rollout.h"
#include "ground/clock.h"
#include "ground/log.h"
#include "net/call.h"
#include "net/cluster.h"
#include "net/members.h"
#include "ops/reload.h"
#include "run/loop.h"

#define NAMES_MOST 100
#define LOOK_MS 250

typedef enum { V_PUTTING, V_PREPARING, V_READY, V_TAKING, V_TAKEN, V_KEEPING, V_GIVING_UP, V_OVER } State;

typedef struct Voice {
    uint32_t node;
    uint64_t number;
    State state;
    bool rolling;   /* a rollout is under way; else there is nothing to do here, or it is over */
    bool well;      /* of V_OVER: it was taken */
    char *bytes;    /* of the parcel */
    size_t len, total;
    Parcel parcel;
    CallFrom from;  /* whom we owe an answer, if `asked` */
    bool asked;
    Text report;    /* the last one */
    uint64_t lost;  /* since when no link to the node is up; 0: one is */
} Voice;

typedef struct Event { /* from the rollout's thread */
    Voice *voice;
    bool over, good;
    RolloutGate gate;
    Text report;
} Event;

static Voice *now; /* the last one, also when it is over: what it has said may be asked again */
static bool own_files;
static uv_timer_t timer;
static bool timer_open;

static uint64_t number(const unsigned char *p, int bytes) {
    uint64_t n = 0;
    while (bytes-- > 0) n = n << 8 | p[bytes];
    return n;
}

static void voice_free(Voice *v) {
    if (v == NULL) return;
    parcel_close(&v->parcel);
    free(v->bytes);
    text_free(&v->report);
    free(v);
}

/* ---- saying ---- */

static void say_to(CallFrom from, char kind, const Text *report) {
    Text t = {0};
    text_put(&t, &kind, 1);
    if (report->len > 0) text_put(&t, report->bytes, report->len);
    call_answer(from, t.failed ? "F" : t.bytes, t.failed ? 1 : t.len);
    text_free(&t);
    cluster_flush();
}

static void say(Voice *v, char kind) {
    if (!v->asked) return;
    v->asked = false;
    say_to(v->from, kind, &v->report);
}

static void say_failed(CallFrom from, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say_failed(CallFrom from, const char *format, ...) {
    char message[512];
    Text t = {0};
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    json_open(&t, NULL, '{');
    json_bool(&t, "ok", false);
    json_words(&t, "message", message);
    json_words(&t, "stage", change_stages[STAGE_NONE]);
    json_close(&t, '}');
    say_to(from, 'F', &t);
    text_free(&t);
}

static void nothing_to_do(Voice *v) {
    v->rolling = false;
    text_free(&v->report);
    text_add(&v->report, "{\"ok\":true,\"text\":\"there is nothing to change\",\"actors\":0,\"behaviours\":[],"
                         "\"warnings\":[]}");
}

/* ---- what the rollout says ---- */

static void on_event(void *event) {
    Event *e = event;
    Voice *v = e->voice;
    bool nothing = e->over && e->good && v->state == V_PREPARING;
    text_free(&v->report);
    v->report = e->report;
    if (e->over) {
        v->rolling = false;
        v->well = e->good;
    }
    if (nothing) {
        v->state = V_READY;
        say(v, 'R');
    } else if (e->over) {
        char kind = v->state == V_KEEPING || v->state == V_GIVING_UP ? 'D' : 'F';
        v->state = V_OVER;
        say(v, kind);
    } else if (v->state == V_GIVING_UP) {
        rollout_decide(v, false);
    } else if (e->gate == GATE_READY) {
        v->state = V_READY;
        say(v, 'R');
        log_format(LOG_DEBUG, "", "reload: all are ready here, the others are waited for");
    } else {
        v->state = V_TAKEN;
        say(v, 'T');
    }
    free(e);
}

static void happened(Voice *v, bool over, RolloutGate gate, const Outcome *report) {
    Event *e = calloc(1, sizeof *e);
    if (e == NULL) { /* who asked hears of it by his deadline */
        log_format(LOG_ERROR, "", "out of memory: what came of a reload was not told");
        return;
    }
    *e = (Event){.voice = v, .over = over, .good = report->ok, .gate = gate};
    json_open(&e->report, NULL, '{');
    if (!report->ok) json_words(&e->report, "message", report->change->message);
    reload_put(&e->report, report);
    json_close(&e->report, '}');
    if (loop_submit(on_event, e) == 0) return;
    text_free(&e->report);
    free(e);
}

static void on_reached(void *voice, RolloutGate gate, const Outcome *so_far) { happened(voice, false, gate, so_far); }
static void on_done(void *voice, const Outcome *report) { happened(voice, true, GATE_TAKEN, report); }

/* ---- time ---- */

static void look(uv_timer_t *unused) {
    (void)unused;
    Voice *v = now;
    if (v == NULL || v->state == V_OVER) {
        uv_timer_stop(&timer);
        return;
    }
    Link *l = v->node != 0 ? members_find(v->node) : NULL;
    if (v->node == 0 || (l != NULL && link_is_up(l))) {
        v->lost = 0;
        return;
    }
    if (v->lost == 0) v->lost = clock_real();
    if (clock_real() - v->lost < VOICE_GRACE_MS * CLOCK_NS_PER_MS) return;
    if (v->state == V_TAKEN) {
        log_format(LOG_WARN, "", "reload: node %s, which asked for it, is lost: the new code stays",
                   members_name(v->node));
        v->state = V_KEEPING;
        if (v->rolling) rollout_decide(v, true);
        else v->state = V_OVER;
    } else if (v->state == V_PREPARING || v->state == V_READY || v->state == V_PUTTING) {
        log_format(LOG_WARN, "", "reload: node %s, which asked for it, is lost: the old code runs on",
                   members_name(v->node));
        if (v->rolling) rollout_cancel(v);
        v->state = v->rolling ? V_GIVING_UP : V_OVER;
    }
}

/* ---- what is asked ---- */

static Voice *begin(CallFrom from, uint64_t which) {
    Voice *v = calloc(1, sizeof *v);
    if (v == NULL) return NULL;
    voice_free(now);
    now = v;
    v->node = from.node;
    v->number = which;
    if (!timer_open) timer_open = uv_timer_init(loop_uv(), &timer) == 0;
    if (timer_open && !uv_is_active((uv_handle_t *)&timer)) uv_timer_start(&timer, look, LOOK_MS, LOOK_MS);
    return v;
}

static bool is_that(const Voice *v, CallFrom from, uint64_t which) {
    return v != NULL && v->node == from.node && v->number == which;
}

/* A new one may begin. */
static bool is_free(void) { return now == NULL || now->state == V_OVER || (now->state == V_PUTTING && now->lost != 0); }

static void put(CallFrom from, uint64_t which, const unsigned char *p, size_t len) {
    size_t total = len >= 8 ? (size_t)number(p, 4) : 0, offset = len >= 8 ? (size_t)number(p + 4, 4) : 1;
    Voice *v = now;
    if (!is_that(v, from, which)) {
        if (!is_free() || offset != 0 || total > PARCEL_BYTES_MAX || (v = begin(from, which)) == NULL) {
            call_answer(from, NULL, 0); /* VOICE_PREPARE says why */
            return;
        }
        v->total = total;
    }
    /* What comes is kept as it comes: nobody has more memory here than he has sent. */
    if (v->state == V_PUTTING && len >= 8 && total == v->total && offset == v->len && len - 8 <= total - offset) {
        char *more = realloc(v->bytes, v->len + (len - 8) + 1);
        if (more != NULL) {
            v->bytes = more;
            memcpy(more + v->len, p + 8, len - 8);
            v->len += len - 8;
        }
    }
    call_answer(from, NULL, 0);
}

static uint32_t field_ms(const Json *o, const char *key) {
    const Json *v = json_get(o, key);
    bool good = v != NULL && v->type == JSON_INTEGER && v->integer > 0 && v->integer <= UINT32_MAX;
    return good ? (uint32_t)v->integer : 0;
}

static bool field_flag(const Json *o, const char *key) {
    const Json *v = json_get(o, key);
    return v != NULL && v->type == JSON_TRUE;
}

/* The options of a JSON object; the names' texts go to `at`, for the caller to free. False: it is none. */
static bool read_options(const Json *o, bool own, RolloutOptions *out, char **at) {
    const Json *names = json_get(o, "names"), *percent = json_get(o, "canary_percent");
    if (names == NULL || names->type != JSON_ARRAY || names->len > NAMES_MOST) return false;
    const Json *name = json_first(names);
    for (uint32_t i = 0; i < names->len; i++, name = json_next(name)) {
        if (name->type != JSON_STRING || memchr(name->text, '\0', name->len) != NULL) return false;
        if ((at[i] = strndup(name->text, name->len)) == NULL) return false;
        out->name_count++;
    }
    out->names = (const char *const *)at;
    out->back = field_flag(o, "back");
    out->force = field_flag(o, "force");
    out->fresh = field_flag(o, "fresh");
    out->cancels = field_flag(o, "cancels");
    out->drain_ms = field_ms(o, "drain");
    out->watch_ms = field_ms(o, "watch");
    out->canary_count = field_ms(o, "canary_count");
    if (percent != NULL && percent->type == JSON_NUMBER && percent->number > 0 && percent->number <= 100)
        out->canary_percent = percent->number;
    if (percent != NULL && percent->type == JSON_INTEGER && percent->integer > 0 && percent->integer <= 100)
        out->canary_percent = (double)percent->integer;
    out->gate_ms = field_ms(o, "patience");
    const Json *asker = own ? json_get(o, "asker") : NULL; /* an actor of this node */
    if (asker != NULL && asker->type == JSON_INTEGER) out->asker = (uint64_t)asker->integer;
    out->asker_waits = own && field_flag(o, "asker_waits");
    return out->gate_ms > 0 && (!out->back || out->name_count == 1);
}

static void start(Voice *v, const RolloutOptions *options) {
    RolloutOptions o = *options;
    o.done = on_done;
    o.reached = on_reached;
    o.context = v;
    o.parcel = o.back ? NULL : &v->parcel;
    v->parcel.any_version = o.name_count > 0;
    v->parcel.own_only = own_files && v->node != 0;
    v->parcel.from = members_name(v->node);
    if (o.back && !change_knows(o.names[0])) {
        nothing_to_do(v);
        v->state = V_READY;
        say(v, 'R');
        return;
    }
    v->state = V_PREPARING;
    v->rolling = true;
    int err = rollout_start(&o);
    if (err == 0) return;
    v->rolling = v->asked = false;
    v->state = V_OVER;
    say_failed(v->from, "%s", err == UV_EBUSY ? "another reload is under way there" : uv_strerror(err));
}

static void prepare(CallFrom from, uint64_t which, const unsigned char *p, size_t len) {
    Voice *v = now;
    RolloutOptions o = {0};
    Json *values = NULL;
    const char *why = "";
    char *text = malloc(len + 1), *names[NAMES_MOST];
    if (!is_that(v, from, which) && is_free()) v = begin(from, which);
    if (text == NULL || v == NULL) {
        say_failed(from, "memory is short");
        goto end;
    }
    if (!is_that(v, from, which) || v->state != V_PUTTING) {
        say_failed(from, "another reload is under way there");
        goto end;
    }
    memcpy(text, p, len);
    if (json_parse(text, len, &values, &why) < 0 || !read_options(values, from.node == 0, &o, names)) {
        v->state = V_OVER;
        say_failed(from, "what is asked makes no sense: it may be of another version");
    } else if (!o.back && (v->len != v->total || parcel_open(&v->parcel, v->bytes, v->len) < 0)) {
        v->state = V_OVER;
        say_failed(from, "the files did not arrive as they are");
    } else {
        v->from = from;
        v->asked = true;
        if (from.node != 0)
            log_format(LOG_INFO, "", "reload: node %s brings %s", members_name(from.node),
                       o.back ? "a version back" : "new versions");
        start(v, &o);
    }
end:
    for (size_t i = 0; i < o.name_count; i++) free(names[i]);
    free(values);
    free(text);
}

static void take(Voice *v, CallFrom from) {
    v->from = from;
    v->asked = true;
    if (v->state == V_READY && v->rolling) {
        v->state = V_TAKING;
        rollout_decide(v, true);
    } else if (v->state == V_READY) {
        v->state = V_TAKEN;
        say(v, 'T');
    } else if (v->state == V_TAKEN || (v->state == V_OVER && v->well)) {
        say(v, 'T');
    } else if (v->state == V_OVER) {
        say(v, 'F');
    } else if (v->state != V_TAKING) {
        v->asked = false;
        say_failed(from, "it was not ready");
    }
}

static void keep_or_back(Voice *v, CallFrom from, bool keep) {
    v->from = from;
    v->asked = true;
    if (v->state == V_OVER || !v->rolling) {
        v->state = V_OVER;
        say(v, 'D');
    } else if (keep && v->state == V_TAKEN) {
        v->state = V_KEEPING;
        rollout_decide(v, true);
    } else if (!keep) {
        if (v->state == V_TAKEN) rollout_decide(v, false);
        else rollout_cancel(v);
        if (v->state != V_KEEPING) v->state = V_GIVING_UP;
    }
}

static void serve(CallFrom from, const unsigned char *body, size_t len) {
    if (len < VOICE_HEAD) {
        say_failed(from, "that is no request");
        return;
    }
    uint64_t which = number(body + 1, 8);
    const unsigned char *rest = body + VOICE_HEAD;
    len -= VOICE_HEAD;
    if (body[0] == VOICE_PUT) put(from, which, rest, len);
    else if (body[0] == VOICE_PREPARE) prepare(from, which, rest, len);
    else if (!is_that(now, from, which)) say_failed(from, "it does not know of that any more");
    else if (body[0] == VOICE_TAKE) take(now, from);
    else if (body[0] == VOICE_KEEP || body[0] == VOICE_BACK) keep_or_back(now, from, body[0] == VOICE_KEEP);
    else say_failed(from, "that is no request");
    cluster_flush();
}

void voice_open(bool own) {
    own_files = own;
    call_serve(CALL_RELOAD, serve);
}

static void close_on_loop(void *unused) {
    (void)unused;
    if (timer_open) uv_close((uv_handle_t *)&timer, NULL);
    timer_open = false;
    voice_free(now);
    now = NULL;
}

void voice_close(void) { loop_call(close_on_loop, NULL); }
