/* `trace`: live events of an actor's messages, or of all of a behaviour, until cancelled. See actor/trace.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/gauge.h"
#include "actor/trace.h"
#include "ground/clock.h"
#include "ops/request.h"
#include "ops/rows.h"

#define EVERY_MS 40  /* between two looks */
#define REST_MS 100  /* ... after one that had much to tell: so 10,000 events a second are told, and no more */
#define STEP 250     /* events sent in one go: under a millisecond */

typedef struct Tracing {
    unsigned id;
    uint64_t pid;        /* 0: a behaviour's */
    int64_t left;        /* events it still wants; negative: no limit */
    uint64_t told, lost; /* events sent; dropped ones that the client knows of */
    size_t round;        /* events of this round */
    TraceEvent events[STEP];
} Tracing;

static void drop(void *state) {
    Tracing *t = state;
    trace_close(t->id);
    free(t);
}

/* Fixed digits: the shortest that read back the same take ten times as long to find. */
static void put_fixed(Text *t, const char *key, uint64_t ns, int digits) { /* 3 or 6 of them */
    char text[40];
    uint64_t ms = ns / CLOCK_NS_PER_MS, rest = ns % CLOCK_NS_PER_MS;
    int len = snprintf(text, sizeof text, "%llu.%0*llu", (unsigned long long)ms, digits,
                       (unsigned long long)(digits == 3 ? rest / 1000 : rest));
    json_raw(t, key, text, (size_t)len);
}

static void put_event(Text *t, const TraceEvent *e) {
    size_t name = strcspn(e->text, "(");
    json_open(t, NULL, '{');
    put_fixed(t, "at", e->at, 3);
    rows_put_pid(t, "pid", e->pid);
    json_words(t, "way", trace_ways[e->way]);
    json_string(t, "name", e->text, name);
    rows_put_pid(t, e->way == TRACE_OUT ? "to" : "from", e->other);
    if (e->kind == MESSAGE_ASK) json_bool(t, "ask", true);
    if (e->way == TRACE_DONE) {
        put_fixed(t, "took", e->took, 6);
        if (e->waited > 0) put_fixed(t, "waited", e->waited, 6);
        if (e->end != TRACE_WELL) json_words(t, "end", trace_ends[e->end]);
    } else {
        json_words(t, "text", e->text);
    }
    json_close(t, '}');
}

static void finish(Request *r, const Tracing *t, const char *why) {
    Text v = {0};
    json_open(&v, NULL, '{');
    json_integer(&v, "events", (int64_t)t->told);
    json_integer(&v, "dropped", (int64_t)t->lost);
    json_words(&v, "end", why);
    json_close(&v, '}');
    request_value(r, &v);
}

static void tell(Request *r) {
    Tracing *t = request_state(r);
    uint64_t lost;
    bool dead = t->pid != 0 && registry_find(t->pid) == NULL; /* before its events: they are all there then */
    if (request_crowded(r)) { /* the room fills up meanwhile, and then they are dropped and counted */
        request_in(r, EVERY_MS, tell);
        return;
    }
    size_t most = t->left >= 0 && t->left < STEP ? (size_t)t->left : STEP;
    size_t n = trace_take(t->id, t->events, most, &lost);
    for (size_t i = 0; i < n; i++) {
        Text piece = {0};
        put_event(&piece, &t->events[i]);
        request_more(r, &piece);
    }
    t->told += n;
    t->round += n;
    if (t->left >= 0) t->left -= (int64_t)n;
    if (lost != t->lost) {
        Text piece = {0};
        json_open(&piece, NULL, '{');
        json_integer(&piece, "dropped", (int64_t)(lost - t->lost));
        json_close(&piece, '}');
        t->lost = lost;
        request_more(r, &piece);
    }
    if (t->left == 0) {
        finish(r, t, "limit");
    } else if (n == STEP && t->round < TRACE_ROOM) {
        request_later(r, tell);
    } else if (n == 0 && dead) {
        finish(r, t, "dead");
    } else {
        request_in(r, t->round >= TRACE_ROOM / 2 ? REST_MS : EVERY_MS, tell);
        t->round = 0;
    }
}

static void do_trace(Request *r) {
    size_t behaviour_len, handler_len;
    const char *handler = request_text(r, "handler", &handler_len),
               *behaviour = request_text(r, "behaviour", &behaviour_len);
    char name[NAMES_TEXT_MAX + 1];
    TraceFilter filter = {0};
    if ((behaviour != NULL) == (request_arg(r, "pid") != NULL)) {
        request_error(r, "bad_request", "trace: whom? Either a pid or a behaviour");
        return;
    }
    if (behaviour != NULL) {
        if (behaviour_len == 0 || behaviour_len >= sizeof name) {
            request_error(r, "bad_request", "trace: a behaviour's name has 1 to %d bytes", NAMES_TEXT_MAX);
            return;
        }
        memcpy(name, behaviour, behaviour_len);
        name[behaviour_len] = '\0';
        filter.behaviour = name;
    } else if ((filter.pid = request_pid(r, "pid")) == 0) {
        return;
    } else if (registry_find(filter.pid) == NULL) {
        char who[PID_TEXT_MAX];
        pid_text(filter.pid, who);
        request_error(r, "no_actor", "%s is dead", who);
        return;
    }
    if (handler != NULL && (filter.handler = gauge_handler_find(handler, handler_len)) == 0) {
        request_error(r, "bad_request", "trace: no loaded behaviour has a handler on_%.*s", (int)handler_len, handler);
        return;
    }
    Tracing *t = calloc(1, sizeof *t);
    int err = t != NULL ? trace_open(&filter, &t->id) : UV_ENOMEM;
    if (err < 0) {
        free(t);
        request_error(r, "refused", err == UV_EAGAIN ? "there are %d traces already" : "out of memory", TRACES_MOST);
        return;
    }
    t->pid = filter.pid;
    t->left = request_integer(r, "limit", -1);
    request_keep(r, t, drop);
    tell(r);
}

const Op ops_trace[] = {
    {"trace",
     do_trace,
     OP_ALL,
     {{"pid", ARG_PID}, {"behaviour", ARG_TEXT}, {"handler", ARG_TEXT}, {"limit", ARG_INTEGER}}},
    {NULL, NULL, 0, {{NULL, 0}}}};
