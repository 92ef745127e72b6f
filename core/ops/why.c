/* `why`: what an actor waits for, and that one in turn, to the end of the chain. From outside: no actor is asked, so it
 * answers while they all hang. Each step is a moment's view: whoever was asked may have answered before the next one is
 * taken. */
#include <stdio.h>
#include <string.h>
#include "actor/gauge.h"
#include "actor/visit.h"
#include "ground/clock.h"
#include "mail/atom.h"
#include "ops/request.h"
#include "ops/rows.h"

#define CHAIN_MOST 100

typedef struct Step {
    VisitView v;
    Gauge g;
    uint32_t question; /* the atom of what it asked; 0 = none, or unknown */
} Step;

/* Fills the step; false: it is dead. */
static bool look(uint64_t pid, Step *s) {
    visit_begin();
    bool alive = visit_look(pid, &s->v) && gauge_read(pid, &s->g);
    visit_end();
    const Slot *slot = alive ? registry_find(pid) : NULL;
    if (slot == NULL) return false;
    s->question = (uint32_t)(atomic_load_explicit(&slot->asks, memory_order_acquire) & 0xffff);
    return true;
}

static bool waits(const Step *s) { return !s->g.running && s->g.waits != NULL && !s->v.behaviour->concurrent; }

/* Since when it has been at it. What its last turn left behind counts if no other message was begun since then. */
static uint64_t since(const Step *s) {
    return s->v.busy_since != 0 && s->v.messages == s->g.handled ? s->v.busy_since : s->g.since;
}

/* What the last one does: why the chain ends there. */
static void put_end(Text *t, const Step *s) {
    char text[300], who[PID_TEXT_MAX];
    const char *handler = gauge_handler(s->g.handler);
    pid_text(s->v.pid, who);
    if (s->g.running) {
        snprintf(text, sizeof text, "%s runs its handler '%s', for %.0f ms", who, handler, rows_ms_since(since(s)));
    } else if (strcmp(s->v.state, "newborn") == 0) {
        snprintf(text, sizeof text, "%s is just born and waits for a worker", who);
    } else if (strcmp(s->v.state, "ending") == 0) {
        snprintf(text, sizeof text, "%s ends", who);
    } else if (s->v.behaviour->concurrent && (s->g.waits != NULL || strcmp(s->v.state, "idle") != 0)) {
        snprintf(text, sizeof text, "%s is concurrent: each of its handlers waits for itself (see tasks)", who);
    } else if (strcmp(s->v.state, "running") == 0) {
        snprintf(text, sizeof text, "%s has something to do and waits for a worker", who);
    } else if (s->g.waits != NULL) {
        snprintf(text, sizeof text, "%s waits for time to pass, in its handler '%s'", who, handler);
    } else {
        snprintf(text, sizeof text, "%s is idle: no message waits", who);
    }
    json_words(t, "end", text);
}

static void put_step(Text *t, const Step *s) {
    json_open(t, NULL, '{');
    rows_put_pid(t, "pid", s->v.pid);
    rows_put_name(t, "name", s->v.pid);
    json_words(t, "behaviour", s->v.behaviour->source->name);
    json_words(t, "state", s->g.running ? "running" : s->v.state);
    bool busy = s->g.running || s->g.waits != NULL || s->v.busy_since != 0;
    json_words(t, "handler", busy && s->g.handler != 0 ? gauge_handler(s->g.handler) : NULL);
    json_integer(t, "depth", s->v.depth);
    json_words(t, "waits", waits(s) ? s->g.waits : NULL);
    if (waits(s)) {
        const char *question = strcmp(s->g.waits, "ask") == 0 ? gauge_handler(s->question) : "";
        if (s->g.whom != 0) rows_put_pid(t, "for", s->g.whom);
        if (question[0] != '\0') json_words(t, "question", question);
        if (s->g.until != 0) {
            uint64_t now = clock_now();
            json_number(t, "left", s->g.until > now ? rows_ms(s->g.until - now) : 0);
        }
    }
    if (busy && since(s) != 0) json_number(t, "since", rows_ms_since(since(s)));
    json_close(t, '}');
}

static void do_why(Request *r) {
    uint64_t pid = request_pid(r, "pid"), met[CHAIN_MOST];
    size_t count = 0, first = 0;
    char who[PID_TEXT_MAX], end[200];
    Step s;
    Text t = {0};
    if (pid == 0) return;
    pid_text(pid, who);
    if (!look(pid, &s)) {
        request_error(r, "no_actor", "%s is dead", who);
        return;
    }
    json_open(&t, NULL, '{');
    json_open(&t, "chain", '[');
    for (;;) {
        met[count++] = pid;
        put_step(&t, &s);
        if (!waits(&s) || s.g.whom == 0 || count == CHAIN_MOST) break;
        pid = s.g.whom;
        for (first = 0; first < count && met[first] != pid; first++) {}
        if (first < count || pid_node(pid) != 0 || !look(pid, &s)) break;
    }
    json_close(&t, ']');
    pid_text(pid, who);
    if (met[count - 1] == pid) {
        put_end(&t, &s);
    } else {
        if (first < count) snprintf(end, sizeof end, "a circle: it leads back to %s", who);
        else if (pid_node(pid) != 0) snprintf(end, sizeof end, "%s is on another node", who);
        else snprintf(end, sizeof end, "%s is dead: who waits for it hears of it in a moment", who);
        json_words(&t, "end", end);
        if (first == count && pid_node(pid) != 0) rows_put_pid(&t, "next", pid); /* its node knows how it goes on */
    }
    if (count == CHAIN_MOST) json_bool(&t, "cut", true);
    json_close(&t, '}');
    request_value(r, &t);
}

const Op ops_why[] = {{"why", do_why, 0, {{"pid", ARG_PID | ARG_MUST}}}, {NULL, NULL, 0, {{NULL, 0}}}};
