#include "ops/concert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/parcel.h"
#include "ground/clock.h"
#include "ground/config.h"
#include "ground/log.h"
#include "net/call.h"
#include "net/cluster.h"
#include "net/members.h"
#include "ops/console.h"
#include "ops/relay.h"
#include "ops/reload.h"
#include "ops/voice.h"
#include "run/loop.h"

#define RETRY_MS 200
#define BACK_MS 30000
#define MARGIN_MS 15000 /* that the others wait for us longer than we for them */

typedef enum { P_NONE, P_FINDING, P_PREPARING, P_TAKING, P_KEEPING, P_BACK } Phase;
typedef enum { M_OPEN, M_READY, M_TAKEN, M_FAILED, M_LOST, M_KEPT, M_BACK } MemberState;

typedef struct Member {
    uint32_t node;
    MemberState state;
    bool waits;    /* it owes an answer */
    bool again;    /* ... and is asked again soon */
    Text report;   /* what it said last, a JSON object; or empty */
    char why[256]; /* why it is lost */
    char name[FRAME_NAME_MAX + 1];
} Member;

static struct {
    Phase phase;
    uint64_t number, round; /* round: of questions; answers to those of one before are late */
    RolloutOptions options;
    char **names;
    uint32_t prepare_ms;
    ConcertDone done;
    void *context;
    bool cancelled, asking, giving_up, finding;
    Member *members;
    size_t count;
    uint64_t begun, decided;
    char *bytes; /* the parcel */
    size_t len;
    Text found; /* what failed before anybody was asked */
    uv_timer_t timer;
    bool timer_open;
} concert;

static void advance(void);

/* ---- reports ---- */

typedef struct Parsed {
    char *text;
    Json *values;
} Parsed;

static const Json *parse(const Text *report, Parsed *p) {
    const char *why;
    *p = (Parsed){0};
    if (report->len == 0 || (p->text = malloc(report->len)) == NULL) return NULL;
    memcpy(p->text, report->bytes, report->len);
    return json_parse(p->text, report->len, &p->values, &why) == 0 ? p->values : NULL;
}

static void parsed_free(Parsed *p) {
    free(p->values);
    free(p->text);
}

static void copy_field(const Json *o, const char *key, char *out, size_t size) {
    const Json *v = o != NULL ? json_get(o, key) : NULL;
    snprintf(out, size, "%.*s", v != NULL && v->type == JSON_STRING ? (int)(v->len < size ? v->len : size) : 0,
             v != NULL && v->type == JSON_STRING ? v->text : "");
}

static int64_t number_field(const Json *o, const char *key) {
    const Json *v = o != NULL ? json_get(o, key) : NULL;
    return v != NULL && v->type == JSON_INTEGER ? v->integer : 0;
}

/* What one behaviour becomes, and where that was heard first. */
typedef struct Becomes {
    char name[256], from[20], to[20];
    const Member *where;
} Becomes;

#define BECOMES_MOST 200

/* Those of all nodes; two that disagree: *other is the second. */
static size_t gather(Becomes *all, const Member **other, Becomes *odd) {
    size_t count = 0;
    *other = NULL;
    for (size_t m = 0; m < concert.count; m++) {
        Parsed p;
        const Json *o = parse(&concert.members[m].report, &p), *list = o != NULL ? json_get(o, "behaviours") : NULL;
        const Json *at = list != NULL && list->type == JSON_ARRAY ? json_first(list) : NULL;
        for (uint32_t i = 0; at != NULL && i < list->len; i++, at = json_next(at)) {
            Becomes b = {.where = &concert.members[m]};
            size_t k = 0;
            copy_field(at, "name", b.name, sizeof b.name);
            copy_field(at, "from", b.from, sizeof b.from);
            copy_field(at, "to", b.to, sizeof b.to);
            while (k < count && strcmp(all[k].name, b.name) != 0) k++;
            if (k < count && strcmp(all[k].to, b.to) != 0 && *other == NULL) *other = b.where, *odd = b;
            if (k == count && count < BECOMES_MOST) all[count++] = b;
        }
        parsed_free(&p);
    }
    return count;
}

static void put_nodes(Text *t) {
    static const char *const states[] = {"unchanged", "unchanged", "taken", "unchanged", "unknown", "taken",
                                         "unchanged"};
    json_open(t, "nodes", '[');
    for (size_t i = 0; i < concert.count; i++) {
        const Member *m = &concert.members[i];
        Text one = {0};
        text_format(&one, "{\"state\":\"%s\"", states[m->state]);
        if (m->report.len > 2) {
            text_put(&one, ",", 1);
            text_put(&one, m->report.bytes + 1, m->report.len - 1);
        } else {
            if (m->why[0] != '\0') json_words(&one, "message", m->why);
            text_add(&one, "}");
        }
        relay_put_on(t, m->name, one.bytes, one.len);
        t->failed = t->failed || one.failed;
        text_free(&one);
    }
    json_close(t, ']');
}

/* "guy 1a2b3c4d -> 5e6f7a8b: 12 actors on 3 nodes took it in 41.2 ms" */
static void put_sum(Text *t, const Becomes *all, size_t count, int64_t actors, double ms) {
    Text line = {0};
    size_t nodes = 0;
    for (size_t i = 0; i < concert.count; i++)
        nodes += concert.members[i].state == M_KEPT || concert.members[i].state == M_TAKEN;
    for (size_t i = 0; i < count; i++)
        text_format(&line, "%s%s %.8s -> %.8s", i > 0 ? ", " : "", all[i].name, all[i].from, all[i].to);
    if (count == 0) text_add(&line, "nothing has changed on any node");
    else
        text_format(&line, ": %lld actor%s on %zu node%s took it in %.1f ms", (long long)actors,
                    actors == 1 ? "" : "s", nodes, nodes == 1 ? "" : "s", ms);
    json_string(t, "text", line.bytes != NULL ? line.bytes : "", line.len);
    if (count > 0) log_format(LOG_INFO, "", "reload on all nodes: %.*s", (int)line.len, line.bytes);
    text_free(&line);
}

static void put_newcomers(Text *t) {
    uint32_t at = 0;
    for (const char *name; (name = cluster_next(&at)) != NULL;) {
        size_t i = 0;
        while (i < concert.count && strcmp(concert.members[i].name, name) != 0) i++;
        char text[200];
        if (i < concert.count) continue;
        snprintf(text, sizeof text, "node %s has joined meanwhile, and was not asked", name);
        json_words(t, NULL, text);
    }
}

/* ---- the end ---- */

static void clean_up(void) {
    for (size_t i = 0; i < concert.count; i++) text_free(&concert.members[i].report);
    for (size_t i = 0; i < concert.options.name_count; i++) free(concert.names[i]);
    free(concert.members);
    free(concert.names);
    free(concert.bytes);
    text_free(&concert.found);
    if (concert.timer_open) uv_timer_stop(&concert.timer);
    concert.members = NULL, concert.names = NULL, concert.bytes = NULL;
    concert.count = concert.len = 0;
    concert.phase = P_NONE;
}

static void end(bool good, Text *report) {
    ConcertDone done = concert.done;
    void *context = concert.context;
    clean_up();
    done(context, good, report);
}

static void end_well(void) {
    static Becomes all[BECOMES_MOST], odd; /* the loop's */
    const Member *other;
    Text t = {0};
    int64_t actors = 0, gone = 0, cancelled = 0, downgraded = 0, as_is = 0;
    double ms = (double)(clock_real() - concert.begun) / (double)CLOCK_NS_PER_MS;
    size_t count = gather(all, &other, &odd);
    for (size_t i = 0; i < concert.count; i++) {
        Parsed p;
        const Json *o = parse(&concert.members[i].report, &p);
        actors += number_field(o, "actors");
        gone += number_field(o, "gone");
        cancelled += number_field(o, "cancelled");
        downgraded += number_field(o, "downgraded");
        as_is += number_field(o, "as_is");
        parsed_free(&p);
    }
    json_open(&t, NULL, '{');
    json_bool(&t, "ok", true);
    put_sum(&t, all, count, actors, ms);
    json_integer(&t, "actors", actors);
    json_integer(&t, "gone", gone);
    json_integer(&t, "cancelled", cancelled);
    json_integer(&t, "downgraded", downgraded);
    json_integer(&t, "as_is", as_is);
    json_number(&t, "took_ms", ms);
    put_nodes(&t);
    json_open(&t, "warnings", '[');
    put_newcomers(&t);
    json_close(&t, ']');
    json_close(&t, '}');
    end(true, &t);
}

static void end_badly(const char *message, const Member *of) {
    Text t = {0};
    Parsed p = {0};
    const Json *o = of != NULL ? parse(&of->report, &p) : NULL;
    char text[CHANGE_PATH_MAX], whole[CHANGE_TEXT_MAX];
    json_open(&t, NULL, '{');
    json_words(&t, "code", concert.cancelled ? "cancelled" : "reload");
    json_words(&t, "message", message);
    if (of != NULL) json_words(&t, "on", of->name);
    copy_field(o, "stage", text, sizeof text);
    json_words(&t, "stage", *text != '\0' ? text : change_stages[STAGE_NONE]);
    copy_field(o, "file", text, sizeof text);
    if (*text != '\0') json_words(&t, "file", text);
    if (number_field(o, "line") > 0) json_integer(&t, "line", number_field(o, "line"));
    copy_field(o, "actor", text, sizeof text);
    if (*text != '\0') json_words(&t, "actor", text);
    copy_field(o, "message", whole, sizeof whole);
    if (strchr(whole, '\n') != NULL) json_words(&t, "traceback", strchr(whole, '\n') + 1);
    put_nodes(&t);
    json_close(&t, '}');
    parsed_free(&p);
    log_format(LOG_ERROR, "", "reload on all nodes: %.900s", message);
    end(false, &t);
}

/* Who failed, and why: "node b: guy.lua:3: ...; node c: ...". */
static void end_failed(void) {
    Text t = {0};
    const Member *first = NULL;
    bool mixed = false;
    if (concert.found.len > 0) text_put(&t, concert.found.bytes, concert.found.len);
    for (size_t i = 0; i < concert.count; i++) {
        const Member *m = &concert.members[i];
        mixed = mixed || m->state == M_TAKEN || m->state == M_KEPT;
        if (m->state != M_FAILED && m->state != M_LOST) continue;
        char message[1024] = ""; /* its first line: the rest is a traceback */
        Parsed p;
        copy_field(parse(&m->report, &p), "message", message, sizeof message);
        message[strcspn(message, "\n")] = '\0';
        parsed_free(&p);
        if (first == NULL || (first->state == M_LOST && m->state == M_FAILED)) first = m;
        text_format(&t, "%snode %s: %s", t.len > 0 ? "; " : "", m->name, m->why[0] != '\0' ? m->why : message);
    }
    if (concert.cancelled && t.len == 0) text_add(&t, "it was cancelled");
    if (mixed && !concert.giving_up) text_add(&t, " (the other nodes have taken it)");
    else if (mixed) text_add(&t, " (a node that was lost after it had taken it keeps it)");
    else text_add(&t, concert.decided == 0 ? " (the old code runs on, on all nodes)" : " (taken back)");
    text_put(&t, "", 1);
    end_badly(t.failed ? "out of memory" : t.bytes, first);
    text_free(&t);
}

/* ---- asking ---- */

typedef struct Asked {
    uint64_t number, round;
    size_t member;
    VoiceKind kind;
} Asked;

static const char *why_of(int err) {
    return err == UV_EHOSTUNREACH ? "it is lost: no link to it is up any more"
         : err == UV_ETIMEDOUT ? "it did not answer in time"
         : err == UV_ENOTSUP ? "it is of a version that can't do that" : uv_strerror(err);
}

static void ask(size_t i, VoiceKind kind);

static void on_retry(uv_timer_t *unused) {
    (void)unused;
    if (concert.phase != P_TAKING) return;
    concert.asking = true;
    for (size_t i = 0; i < concert.count; i++) {
        if (!concert.members[i].again) continue;
        concert.members[i].again = false;
        ask(i, VOICE_TAKE);
    }
    concert.asking = false;
    advance();
}

/* It could not be told to take it. Out of reach is not lost yet: it waits for us longer than we try. */
static void not_told(Member *m, int err) {
    m->waits = false;
    if (clock_real() - concert.decided < CONCERT_TELL_MS * CLOCK_NS_PER_MS && concert.timer_open) {
        m->waits = m->again = true;
        if (!uv_is_active((uv_handle_t *)&concert.timer)) uv_timer_start(&concert.timer, on_retry, RETRY_MS, 0);
        return;
    }
    m->state = M_LOST;
    snprintf(m->why, sizeof m->why, "%s, after it was ready: whether it has taken it is not known here", why_of(err));
}

static void note(Member *m, const unsigned char *body, size_t len) {
    Text report = {0};
    if (len < 2) return;
    if (m->node == 0) text_put(&report, (const char *)body + 1, len - 1);
    else if (!relay_translate(&report, m->name, (const char *)body + 1, len - 1)) text_free(&report);
    Parsed p;
    const Json *o = parse(&report, &p);
    if (o != NULL && o->type == JSON_OBJECT && !report.failed) {
        text_free(&m->report);
        m->report = report;
    } else {
        text_free(&report);
    }
    parsed_free(&p);
}

static void answered(void *context, int err, const unsigned char *body, size_t len) {
    Asked a = *(Asked *)context;
    free(context);
    if (concert.phase == P_NONE || a.number != concert.number || a.round != concert.round) return;
    Member *m = &concert.members[a.member];
    char kind = err == 0 && len > 0 ? (char)body[0] : '\0';
    m->waits = false;
    if (kind != '\0') note(m, body, len);
    if (a.kind == VOICE_PREPARE) {
        m->state = kind == 'R' ? M_READY : M_FAILED;
        if (err < 0) snprintf(m->why, sizeof m->why, "%s", why_of(err));
    } else if (a.kind == VOICE_TAKE) {
        if (err < 0) not_told(m, err);
        else m->state = kind == 'T' ? M_TAKEN : M_FAILED;
    } else if (a.kind == VOICE_KEEP) {
        m->state = M_KEPT; /* it would have kept it without us */
    } else if (m->state != M_FAILED && m->state != M_LOST) {
        if (kind == 'D') m->state = M_BACK;
        else if (m->state == M_TAKEN) m->state = M_LOST, snprintf(m->why, sizeof m->why, "%s", why_of(err));
    }
    advance();
}

static void put_number(unsigned char *p, uint64_t n, int bytes) {
    for (int i = 0; i < bytes; i++) p[i] = (unsigned char)(n >> 8 * i);
}

static void unheard(void *context, int err, const unsigned char *body, size_t len) {
    (void)context, (void)err, (void)body, (void)len; /* VOICE_PREPARE hears of it */
}

static void send_parcel(const Member *m) {
    unsigned char *body = malloc(VOICE_HEAD + 8 + VOICE_PIECE);
    for (size_t at = 0; body != NULL && at < concert.len;) {
        size_t len = concert.len - at < VOICE_PIECE ? concert.len - at : VOICE_PIECE;
        body[0] = VOICE_PUT;
        put_number(body + 1, concert.number, 8);
        put_number(body + VOICE_HEAD, concert.len, 4);
        put_number(body + VOICE_HEAD + 4, at, 4);
        memcpy(body + VOICE_HEAD + 8, concert.bytes + at, len);
        call_ask(m->node, CALL_RELOAD, body, VOICE_HEAD + 8 + len, concert.prepare_ms, unheard, NULL);
        at += len;
    }
    free(body);
}

static void put_options(Text *t, bool own) {
    const RolloutOptions *o = &concert.options;
    json_open(t, NULL, '{');
    json_open(t, "names", '[');
    for (size_t i = 0; i < o->name_count; i++) json_words(t, NULL, concert.names[i]);
    json_close(t, ']');
    json_bool(t, "back", o->back);
    json_bool(t, "force", o->force);
    json_bool(t, "fresh", o->fresh);
    json_bool(t, "cancels", o->cancels);
    if (o->drain_ms > 0) json_integer(t, "drain", o->drain_ms);
    if (o->watch_ms > 0) json_integer(t, "watch", o->watch_ms);
    if (o->canary_count > 0) json_integer(t, "canary_count", o->canary_count);
    if (o->canary_percent > 0) json_number(t, "canary_percent", o->canary_percent);
    json_integer(t, "patience", concert.prepare_ms + MARGIN_MS);
    if (own && o->asker != 0) json_integer(t, "asker", (int64_t)o->asker);
    if (own) json_bool(t, "asker_waits", o->asker_waits);
    json_close(t, '}');
}

static void ask(size_t i, VoiceKind kind) {
    Member *m = &concert.members[i];
    unsigned char head[VOICE_HEAD] = {(unsigned char)kind};
    Text t = {0};
    Asked *a = malloc(sizeof *a);
    put_number(head + 1, concert.number, 8);
    text_put(&t, (const char *)head, sizeof head);
    if (kind == VOICE_PREPARE) {
        Text options = {0};
        put_options(&options, m->node == 0);
        text_put(&t, options.bytes, options.len);
        text_free(&options);
    }
    m->waits = true;
    if (a == NULL || t.failed) {
        free(a);
        text_free(&t);
        m->waits = false;
        m->state = M_FAILED;
        snprintf(m->why, sizeof m->why, "memory is short here");
        return;
    }
    *a = (Asked){concert.number, concert.round, i, kind};
    uint64_t ms = kind == VOICE_PREPARE || kind == VOICE_TAKE ? concert.prepare_ms : BACK_MS;
    call_ask(m->node, CALL_RELOAD, t.bytes, t.len, ms, answered, a);
    text_free(&t);
}

static void ask_all(VoiceKind kind, bool (*wanted)(const Member *m)) {
    uint64_t number = concert.number;
    concert.round++;
    concert.asking = true; /* this node answers at once */
    for (size_t i = 0; i < concert.count; i++) concert.members[i].waits = concert.members[i].again = false;
    for (size_t i = 0; i < concert.count; i++) {
        if (!wanted(&concert.members[i])) continue;
        if (kind == VOICE_PREPARE) send_parcel(&concert.members[i]);
        ask(i, kind);
    }
    concert.asking = false;
    cluster_flush();
    if (concert.number == number) advance();
}

/* ---- from phase to phase ---- */

static bool is_any(const Member *m) { return m != NULL; }
static bool is_taken(const Member *m) { return m->state == M_TAKEN; }

static size_t how_many(MemberState state) {
    size_t n = 0;
    for (size_t i = 0; i < concert.count; i++) n += concert.members[i].state == state;
    return n;
}

static void give_up(void) {
    concert.phase = P_BACK;
    concert.giving_up = true;
    ask_all(VOICE_BACK, concert.decided != 0 ? is_taken : is_any);
}

/* All are ready: are they about to run the same? */
static bool agree(void) {
    static Becomes all[BECOMES_MOST], odd;
    const Member *other;
    size_t count = gather(all, &other, &odd);
    if (other == NULL) return true;
    size_t k = 0;
    while (k < count && strcmp(all[k].name, odd.name) != 0) k++;
    text_format(&concert.found, "'%s' would be %.8s on node %s, and %.8s on node %s: name the modules that differ, and "
                "those that they require", odd.name, all[k].to, all[k].where->name, odd.to, other->name);
    return false;
}

/* Who was ready may be gone while others were not yet. */
static void look_for_lost(void) {
    for (size_t i = 0; i < concert.count; i++) {
        Member *m = &concert.members[i];
        Link *l = m->node != 0 ? members_find(m->node) : NULL;
        if (m->node == 0 || m->state != M_READY || (l != NULL && link_is_up(l))) continue;
        m->state = M_FAILED;
        snprintf(m->why, sizeof m->why, "%s", why_of(UV_EHOSTUNREACH));
    }
}

static bool somebody_knows(void) {
    if (concert.options.name_count == 0) return true;
    static Becomes all[BECOMES_MOST], odd;
    const Member *other;
    return !concert.options.back || gather(all, &other, &odd) > 0;
}

static void advance(void) {
    if (concert.asking || concert.phase == P_NONE || concert.phase == P_FINDING) return;
    size_t waiting = 0;
    for (size_t i = 0; i < concert.count; i++) waiting += concert.members[i].waits;
    if (concert.phase == P_PREPARING) {
        if (waiting == 0) look_for_lost();
        if (how_many(M_FAILED) > 0 || concert.cancelled) {
            give_up();
        } else if (waiting == 0 && !somebody_knows()) {
            text_format(&concert.found, "no node has a module named '%s'", concert.names[0]);
            give_up();
        } else if (waiting == 0 && !agree()) {
            give_up();
        } else if (waiting == 0) {
            concert.phase = P_TAKING;
            concert.decided = clock_real();
            ask_all(VOICE_TAKE, is_any);
        }
    } else if (concert.phase == P_TAKING && waiting == 0) {
        if (how_many(M_FAILED) > 0) {
            give_up();
        } else {
            concert.phase = P_KEEPING;
            ask_all(VOICE_KEEP, is_taken);
        }
    } else if (concert.phase == P_KEEPING && waiting == 0) {
        if (how_many(M_LOST) > 0) end_failed();
        else end_well();
    } else if (concert.phase == P_BACK && waiting == 0) {
        end_failed();
    }
}

static void add_member(const char *name, uint32_t node) {
    Member *m = &concert.members[concert.count++];
    m->node = node;
    snprintf(m->name, sizeof m->name, "%s", name);
}

static void begin(void) {
    uint32_t at = 0;
    size_t most = 1;
    concert.phase = P_PREPARING;
    if (concert.cancelled) {
        end_failed();
        return;
    }
    for (const char *name; (name = cluster_next(&at)) != NULL;) most++;
    concert.members = calloc(most, sizeof *concert.members);
    if (concert.members == NULL) {
        end_badly("out of memory", NULL);
        return;
    }
    add_member(request_node()->node_name, 0);
    at = 0;
    for (const char *name; concert.count < most && (name = cluster_next(&at)) != NULL;) {
        uint32_t node = relay_node(name, strlen(name));
        if (node != MEMBERS_NOWHERE) add_member(name, node);
    }
    ask_all(VOICE_PREPARE, is_any);
}

/* ---- finding ---- */

static void found(void *unused) {
    (void)unused;
    concert.finding = false;
    if (concert.phase != P_FINDING) return; /* the node ends */
    if (concert.found.len > 0) {
        Text report = concert.found;
        concert.found = (Text){0};
        end(false, &report);
    } else {
        begin();
    }
}

static void put_found_error(Text *t, const Outcome *report, const char *message) {
    json_open(t, NULL, '{');
    json_words(t, "code", "reload");
    json_words(t, "message", message);
    json_words(t, "on", request_node()->node_name);
    if (report != NULL) {
        text_put(t, ",", 1);
        size_t at = t->len;
        text_put(t, "{", 1); /* so that a first member has no comma before it */
        reload_put(t, report);
        if (!t->failed) memmove(t->bytes + at, t->bytes + at + 1, --t->len - at);
    } else {
        json_words(t, "stage", change_stages[STAGE_NONE]);
    }
    json_close(t, '}');
}

/* On the rollout's thread; the loop's has what it writes to before and after. */
static void on_found(void *unused, const Outcome *report) {
    char text[CHANGE_TEXT_MAX];
    (void)unused;
    if (!report->ok) put_found_error(&concert.found, report, report->change->message);
    else if (parcel_pack(report->change, &concert.bytes, &concert.len, text, sizeof text) < 0)
        put_found_error(&concert.found, NULL, text);
    if (loop_submit(found, NULL) < 0) { /* the node ends: concert_close cleans up */
    }
}

/* ---- what others call ---- */

int concert_start(const RolloutOptions *o, uint32_t within_ms, ConcertDone done, void *context) {
    if (concert.phase != P_NONE || concert.finding) return UV_EBUSY;
    concert.names = calloc(o->name_count + 1, sizeof *concert.names);
    if (concert.names == NULL) return UV_ENOMEM;
    concert.options = *o;
    concert.options.name_count = 0;
    for (size_t i = 0; i < o->name_count; i++, concert.options.name_count++)
        if ((concert.names[i] = strdup(o->names[i])) == NULL) {
            clean_up();
            return UV_ENOMEM;
        }
    bool canary = o->canary_count > 0 || o->canary_percent > 0;
    uint32_t watch = !canary ? 0 : o->watch_ms > 0 ? o->watch_ms : (uint32_t)config.reload_watch;
    concert.prepare_ms = (within_ms > 0 ? within_ms : CONCERT_READY_MS) + watch + o->drain_ms;
    concert.done = done;
    concert.context = context;
    concert.cancelled = concert.giving_up = concert.asking = false;
    concert.decided = 0;
    concert.begun = clock_real();
    concert.number++;
    if (!concert.timer_open) concert.timer_open = uv_timer_init(loop_uv(), &concert.timer) == 0;
    concert.phase = P_FINDING;
    if (o->back) { /* nothing is to be found; but `done` comes later */
        int later = loop_submit(found, NULL);
        if (later < 0) clean_up();
        else concert.finding = true;
        return later;
    }
    RolloutOptions find = {.names = (const char *const *)concert.names, .name_count = concert.options.name_count,
                           .force = o->force || o->name_count > 0, .find_only = true, .done = on_found,
                           .context = &concert};
    int err = rollout_start(&find);
    if (err < 0) clean_up();
    else concert.finding = true;
    return err;
}

void concert_cancel(void *context) {
    if (concert.phase == P_NONE || concert.context != context || concert.decided != 0) return;
    concert.cancelled = true;
    if (concert.phase == P_FINDING) rollout_cancel(&concert);
    else if (concert.phase == P_PREPARING && !concert.giving_up) advance();
}

static void close_on_loop(void *unused) {
    (void)unused;
    if (concert.phase != P_NONE) {
        Text none = {0};
        put_found_error(&none, NULL, "the node ends");
        end(false, &none);
    }
    if (concert.timer_open) uv_close((uv_handle_t *)&concert.timer, NULL);
    concert.timer_open = false;
}

void concert_close(void) { loop_call(close_on_loop, NULL); }
