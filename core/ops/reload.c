/* The rollout (actor/rollout) has a thread of its own, its end comes back by the loop. */
#include "ops/reload.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/rollout.h"
#include "ground/map.h"
#include "mail/pid.h"
#include "mail/registry.h"
#include "ops/client.h"
#include "ops/concert.h"
#include "ops/request.h"
#include "run/loop.h"

#define NAMES_MOST 100
#define LOOK_EVERY 20000 /* actors counted in one round of the loop */

typedef struct Rolling {
    uint64_t ticket;
    bool ok;
    char code[16];
    Text text; /* the value, or the error's further members */
    char message[CHANGE_TEXT_MAX];
} Rolling;

void reload_put(Text *t, const Outcome *r) {
    const Change *c = r->change;
    char file[CHANGE_PATH_MAX], who[PID_TEXT_MAX], line[1024];
    int at;
    json_bool(t, "ok", r->ok);
    outcome_line(r, line, sizeof line);
    json_words(t, "text", line);
    json_integer(t, "actors", r->taken);
    json_integer(t, "gone", r->gone);
    json_integer(t, "cancelled", r->cancelled);
    json_integer(t, "downgraded", r->downgraded);
    json_integer(t, "as_is", r->as_is);
    json_number(t, "took_ms", r->took_ms);
    json_open(t, "behaviours", '[');
    for (size_t i = 0; i < c->count; i++) {
        json_open(t, NULL, '{');
        json_words(t, "name", c->pairs[i].from->source->name);
        json_words(t, "from", c->pairs[i].from->version);
        json_words(t, "to", c->pairs[i].to->version);
        json_integer(t, "actors", r->actors[i]);
        json_close(t, '}');
    }
    json_close(t, ']');
    json_open(t, "warnings", '[');
    for (const char *w = c->warnings; w != NULL && *w != '\0';) {
        size_t len = strcspn(w, "\n");
        json_string(t, NULL, w, len);
        w += len + (w[len] == '\n');
    }
    json_close(t, ']');
    if (r->canary != NULL) json_words(t, "canary", r->canary);
    if (r->ok) return;
    json_words(t, "stage", change_stages[c->stage]);
    change_place(c->message, file, sizeof file, &at);
    if (*file != '\0') json_words(t, "file", file);
    else if (r->failed != NULL) json_words(t, "file", r->failed->source->path);
    if (at > 0) json_integer(t, "line", at);
    if (r->actor != 0) {
        pid_text(r->actor, who);
        json_words(t, "actor", who);
    }
}

static void finish(void *argument) { /* on the loop's thread */
    Rolling *rolling = argument;
    Request *r = request_of(rolling->ticket);
    if (r != NULL && rolling->ok) {
        request_value(r, &rolling->text);
    } else if (r != NULL) {
        text_put(&rolling->text, "", 1);
        request_error_with(r, "reload", rolling->message, strlen(rolling->message),
                           rolling->text.failed ? NULL : rolling->text.bytes);
    }
    text_free(&rolling->text);
    free(rolling);
}

static void on_done(void *context, const Outcome *report) { /* on the rollout's thread */
    Rolling *rolling = context;
    rolling->ok = report->ok;
    if (report->ok) {
        json_open(&rolling->text, NULL, '{');
        reload_put(&rolling->text, report);
        json_close(&rolling->text, '}');
    } else {
        json_open(&rolling->text, NULL, '{');
        reload_put(&rolling->text, report);
        if (rolling->text.len > 0) /* members alone */
            memmove(rolling->text.bytes, rolling->text.bytes + 1, --rolling->text.len);
        memcpy(rolling->message, report->change->message, sizeof rolling->message);
    }
    if (loop_submit(finish, rolling) < 0) { /* the node ends, and so do all clients */
        text_free(&rolling->text);
        free(rolling);
    }
}

static void on_gone(void *state) { rollout_cancel(state); }

/* ---- on all nodes ---- */

static void concert_over(void *context, bool good, Text *report) {
    Request *r = request_of(*(uint64_t *)context);
    free(context);
    if (r != NULL) request_put(r, good ? "value" : "error", report);
    text_free(report);
}

static void concert_gone(void *context) { concert_cancel(context); }

static void start_all(Request *r, const RolloutOptions *o) {
    uint64_t *ticket = malloc(sizeof *ticket);
    int err = UV_ENOMEM;
    if (ticket != NULL) {
        *ticket = request_ticket(r);
        err = concert_start(o, (uint32_t)request_integer(r, "within", 0), concert_over, ticket);
    }
    if (err == 0) {
        if (request_of(*ticket) != NULL) request_keep(r, ticket, concert_gone);
        return;
    }
    free(ticket);
    if (err == UV_EBUSY) request_error(r, "busy", "another reload is under way");
    else request_error(r, "refused", "%s", uv_strerror(err));
}

/* "5%" or "3". */
static bool read_canary(Request *r, RolloutOptions *o) {
    size_t len;
    char text[32], *end;
    const Json *v = request_arg(r, "canary");
    if (v == NULL) return true;
    if (v->type == JSON_INTEGER && v->integer >= 1 && v->integer <= 1000000000) {
        o->canary_count = (uint32_t)v->integer;
        return true;
    }
    const char *words = v->type == JSON_STRING ? request_text(r, "canary", &len) : NULL;
    if (words != NULL && len > 0 && len < sizeof text) {
        memcpy(text, words, len);
        text[len] = '\0';
        double n = strtod(text, &end);
        if (strcmp(end, "%") == 0 && n > 0 && n <= 100) {
            o->canary_percent = n;
            return true;
        }
        if (*end == '\0' && n >= 1 && n <= 1e9) {
            o->canary_count = (uint32_t)n;
            return true;
        }
    }
    request_error(r, "bad_request", "canary: a number of actors, or a share as \"5%%\"");
    return false;
}

static bool read_ms(Request *r, const char *name, uint32_t *out) {
    int64_t ms = request_integer(r, name, 0);
    if (ms > 86400000) {
        request_error(r, "bad_request", "%s: milliseconds, at most a day", name);
        return false;
    }
    *out = (uint32_t)ms;
    return true;
}

static void start(Request *r, bool back) {
    RolloutOptions o = {.back = back, .done = on_done};
    char names[4096], *at[NAMES_MOST];
    size_t len = 0, word_len;
    const char *module = request_text(r, "module", &len), *word = request_text(r, "in_flight", &word_len);
    if (module != NULL && (len >= sizeof names || memchr(module, '\0', len) != NULL)) {
        request_error(r, "bad_request", "module: names of modules");
        return;
    }
    if (module != NULL) memcpy(names, module, len);
    names[len] = '\0';
    for (char *save, *name = strtok_r(names, " ", &save); name != NULL; name = strtok_r(NULL, " ", &save)) {
        if (o.name_count == NAMES_MOST) {
            request_error(r, "bad_request", "module: at most %d of them", NAMES_MOST);
            return;
        }
        at[o.name_count++] = name;
    }
    o.names = (const char *const *)at;
    if (back && o.name_count != 1) {
        request_error(r, "bad_request", "module: one name is wanted");
        return;
    }
    if (word != NULL) {
        o.cancels = word_len == 6 && memcmp(word, "cancel", 6) == 0;
        if (!o.cancels && !(word_len == 5 && memcmp(word, "drain", 5) == 0)) {
            request_error(r, "bad_request", "in_flight: \"drain\" or \"cancel\"");
            return;
        }
    }
    word = request_text(r, "mode", &word_len);
    o.fresh = word != NULL && word_len == 2 && memcmp(word, "vm", 2) == 0;
    if (word != NULL && !o.fresh && !(word_len == 4 && memcmp(word, "code", 4) == 0)) {
        request_error(r, "bad_request", "mode: \"code\" or \"vm\"");
        return;
    }
    o.force = request_flag(r, "force") || o.fresh;
    if (!read_canary(r, &o) || !read_ms(r, "drain", &o.drain_ms) || !read_ms(r, "watch", &o.watch_ms)) return;
    if (request_integer(r, "within", 0) > 3600000) {
        request_error(r, "bad_request", "within: milliseconds, at most an hour");
        return;
    }
    if (request_all(r)) {
        start_all(r, &o);
        return;
    }
    Rolling *rolling = calloc(1, sizeof *rolling);
    if (rolling == NULL) {
        request_error(r, "refused", "out of memory");
        return;
    }
    rolling->ticket = request_ticket(r);
    o.context = rolling;
    int err = rollout_start(&o);
    if (err < 0) {
        free(rolling);
        if (err == UV_EBUSY) request_error(r, "busy", "another reload is under way");
        else request_error(r, "refused", "%s", uv_strerror(err));
        return;
    }
    request_keep(r, rolling, on_gone);
}

static void do_reload(Request *r) { start(r, false); }
static void do_rollback(Request *r) { start(r, true); }

/* ---- versions ---- */

typedef struct Counting {
    uint32_t at;
    Map counts; /* by SlotKind */
} Counting;

static void counting_free(void *state) {
    Counting *c = state;
    map_clear(&c->counts);
    free(c);
}

static void tell_versions(Request *r, const Counting *c) {
    size_t len;
    const char *name = request_text(r, "module", &len);
    int64_t count = 0;
    Text t = {0};
    for (const Behaviour *b = behaviour_next(NULL); b != NULL; b = behaviour_next(b)) {
        uint64_t actors = 0;
        if (name != NULL && !(strlen(b->source->name) == len && memcmp(b->source->name, name, len) == 0)) continue;
        BehaviourState state = behaviour_state(b);
        map_get(&c->counts, (uint64_t)(uintptr_t)&b->kind, &actors);
        json_open(&t, NULL, '{');
        json_words(&t, "name", b->source->name);
        json_words(&t, "version", b->version);
        json_bool(&t, "current", state.current);
        json_integer(&t, "actors", (int64_t)actors);
        if (state.before != NULL) json_words(&t, "before", state.before->version);
        json_words(&t, "file", b->source->path);
        json_close(&t, '}');
        request_more(r, &t);
        count++;
    }
    json_open(&t, NULL, '{');
    json_integer(&t, "count", count);
    json_close(&t, '}');
    request_value(r, &t);
}

static void count_on(Request *r) {
    Counting *c = request_state(r);
    uint64_t pid;
    for (int i = 0; i < LOOK_EVERY; i++) {
        if ((pid = registry_next(&c->at)) == 0) {
            tell_versions(r, c);
            return;
        }
        const SlotKind *kind = atomic_load_explicit(&registry_tally(pid)->kind, memory_order_acquire);
        uint64_t count = 0;
        map_get(&c->counts, (uint64_t)(uintptr_t)kind, &count);
        if (kind != NULL && map_put(&c->counts, (uint64_t)(uintptr_t)kind, count + 1) < 0) {
            request_error(r, "refused", "out of memory");
            return;
        }
    }
    request_later(r, count_on);
}

static void do_versions(Request *r) {
    Counting *c = calloc(1, sizeof *c);
    if (c == NULL) {
        request_error(r, "refused", "out of memory");
        return;
    }
    request_keep(r, c, counting_free);
    count_on(r);
}

const Op ops_reload[] = {
    {"reload", do_reload, OP_CHANGES | OP_LEADS,
     {{"module", ARG_TEXT}, {"in_flight", ARG_TEXT}, {"drain", ARG_INTEGER}, {"canary", ARG_ANY},
      {"watch", ARG_INTEGER}, {"force", ARG_FLAG}, {"mode", ARG_TEXT}, {"within", ARG_INTEGER}}},
    {"rollback", do_rollback, OP_CHANGES | OP_LEADS,
     {{"module", ARG_TEXT | ARG_MUST}, {"in_flight", ARG_TEXT}, {"drain", ARG_INTEGER}, {"canary", ARG_ANY},
      {"watch", ARG_INTEGER}, {"mode", ARG_TEXT}, {"within", ARG_INTEGER}}},
    {"versions", do_versions, OP_ALL, {{"module", ARG_TEXT}}},
    {NULL, NULL, 0, {{NULL, 0}}}};
