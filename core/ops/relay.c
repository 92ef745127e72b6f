#include "ops/relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "mail/names.h"
#include "mail/pid.h"
#include "net/call.h"
#include "net/cluster.h"
#include "net/members.h"
#include "ops/console.h"
#include "run/loop.h"

#define ASK_MS 2000  /* until a node takes a request: its loop has nothing else to do */
#define PULL_MS 4000 /* ... and answers a pull, which it holds for a second */
#define LINE_MOST (24u << 20) /* bytes of one answer */
#define ROOM (CALL_MAX - 256) /* bytes of a request that goes on */

typedef struct Sent { /* a request of ours at the other node */
    struct Sent *next;
    uint64_t id, ticket; /* there; here */
    size_t part;
} Sent;

typedef struct Way {
    struct Way *next; /* of all */
    Client *client;
    uint32_t node;
    uint64_t number;
    Sent *sent;
    Text in;       /* an unfinished line */
    bool pulling;
    char name[FRAME_NAME_MAX + 1];
} Way;

typedef struct Part { /* of a request: what one node does */
    uint32_t node;
    bool over, good;
    Text result; /* the value, or the error */
    char name[FRAME_NAME_MAX + 1];
} Part;

typedef struct Relay { /* a request's state */
    Client *client;
    uint64_t ticket;
    bool all;
    size_t count, open;
    Part parts[];
} Relay;

/* ---- whom it is about ---- */

uint32_t relay_node(const char *name, size_t len) {
    char text[FRAME_NAME_MAX + 1];
    const char *own = request_node()->node_name;
    if (len == 0 || len > FRAME_NAME_MAX || memchr(name, '\0', len) != NULL) return MEMBERS_NOWHERE;
    if (own != NULL && strlen(own) == len && memcmp(own, name, len) == 0) return 0;
    memcpy(text, name, len);
    text[len] = '\0';
    uint32_t node = cluster_find(text);
    return node == UINT32_MAX ? MEMBERS_NOWHERE : node;
}

/* "<12.1@b>", "12.1@b", "bob@b" -> what stands before the @, and the node. False: there is no @. */
static bool split(const char *text, size_t len, char *bare, size_t size, size_t *bare_len, const char **node,
                  size_t *node_len) {
    const char *at = len > 0 ? memrchr(text, '@', len) : NULL;
    if (at == NULL || len >= size) return false;
    bool bracket = text[0] == '<' && text[len - 1] == '>';
    *bare_len = (size_t)(at - text);
    memcpy(bare, text, *bare_len);
    if (bracket) bare[(*bare_len)++] = '>';
    *node = at + 1;
    *node_len = len - (size_t)(at + 1 - text) - bracket;
    return true;
}

uint64_t relay_pid(const char *text, size_t len) {
    char bare[NAMES_TEXT_MAX + PID_TEXT_MAX];
    const char *node;
    size_t bare_len, node_len;
    bool far = split(text, len, bare, sizeof bare, &bare_len, &node, &node_len);
    uint64_t pid = far ? 0 : pid_parse(text, len);
    if (pid == 0) pid = names_find(text, len); /* a name may have an @ */
    if (pid != 0 || !far) return pid;
    uint32_t where = relay_node(node, node_len);
    if (where == MEMBERS_NOWHERE) return 0;
    pid = pid_parse(bare, bare_len);
    if (pid != 0) return pid_node(pid) == 0 ? pid_on_node(pid, where) : 0;
    return where == 0 ? names_find(bare, bare_len - (text[0] == '<' && bare[bare_len - 1] == '>')) : 0;
}

/* The node of the actor that the request is about. False: it was ended. */
static bool whose(Request *r, uint32_t *node) {
    char bare[NAMES_TEXT_MAX + PID_TEXT_MAX];
    const char *name;
    size_t len, bare_len, name_len;
    const OpArg *arg = r->op->args;
    *node = 0;
    while (arg < r->op->args + OP_ARGS_MAX && arg->name != NULL && (arg->kind & ~ARG_MUST) != ARG_PID) arg++;
    if (arg == r->op->args + OP_ARGS_MAX || arg->name == NULL) return true;
    const char *text = request_text(r, arg->name, &len);
    if (text == NULL) return true;
    uint64_t pid = relay_pid(text, len);
    if (pid != 0) *node = pid_node(pid);
    if (pid != 0 || !split(text, len, bare, sizeof bare, &bare_len, &name, &name_len)) return true;
    *node = relay_node(name, name_len);
    if (*node != MEMBERS_NOWHERE) return true;
    request_error(r, "no_actor", "no actor is named '%.*s', and no link is up to a node '%.*s' (nodes lists them)",
                  (int)(len < 200 ? len : 200), text, (int)name_len, name);
    return false;
}

/* ---- JSON from there ---- */

static bool digit(char c) { return c >= '0' && c <= '9'; }

/* The length of the text of a pid that begins at `p`, or 0; *at: where its "@node" begins, or its ">". */
static size_t pid_at(const char *p, const char *end, const char **at) {
    const char *c = p + 1;
    const char *first = c;
    while (c < end && digit(*c)) c++;
    if (c == first || c - first > 8 || c == end || *c++ != '.') return 0;
    first = c;
    while (c < end && digit(*c)) c++;
    if (c == first || c - first > 9) return 0;
    *at = c;
    if (c < end && *c == '@')
        while (c < end && c - *at <= FRAME_NAME_MAX && *c != '>' && *c != '"' && *c != '\\' && *c > ' ') c++;
    return c < end && *c == '>' ? (size_t)(c + 1 - p) : 0;
}

bool relay_translate(Text *out, const char *node, const char *json, size_t len) {
    const char *own = request_node()->node_name, *end = json + len, *from = json;
    size_t name = own != NULL ? strlen(own) : 0;
    for (const char *c = json; c < end; c++)
        if ((unsigned char)*c < ' ') return false; /* a line's end would be ours */
    for (const char *c = json, *at; (c = memchr(c, '<', (size_t)(end - c))) != NULL; c++) {
        size_t whole = pid_at(c, end, &at);
        if (whole == 0) continue;
        text_put(out, from, (size_t)(at - from));
        from = at;
        if (*at == '>') text_format(out, "@%s", node);
        else if (name > 0 && (size_t)(c + whole - 2 - at) == name && memcmp(at + 1, own, name) == 0)
            from = at + 1 + name;
    }
    text_put(out, from, (size_t)(end - from));
    return true;
}

void relay_put_on(Text *out, const char *node, const char *json, size_t len) {
    json_open(out, NULL, '{');
    json_words(out, "on", node);
    if (len < 2 || json[0] != '{') {
        json_raw(out, "value", json, len);
        json_close(out, '}');
        return;
    }
    if (json[1] != '}') text_put(out, ",", 1);
    text_put(out, json + 1, len - 1);
}

/* ---- the end of a request ---- */

static void part_over(Request *r, Relay *relay, Part *p, bool good) { /* its result is there */
    p->over = true;
    p->good = good;
    relay->open--;
    if (!relay->all) {
        Text result = p->result;
        p->result = (Text){0};
        request_put(r, good ? "value" : "error", &result);
        return;
    }
    if (relay->open > 0) return;
    Text t = {0};
    json_open(&t, NULL, '{');
    json_open(&t, "nodes", '[');
    for (size_t i = 0; i < relay->count; i++) {
        Part *q = &relay->parts[i];
        json_open(&t, NULL, '{');
        json_words(&t, "on", q->name);
        json_raw(&t, q->good ? "value" : "error", q->result.bytes != NULL ? q->result.bytes : "null",
                 q->result.bytes != NULL ? q->result.len : 4);
        t.failed = t.failed || q->result.failed;
        json_close(&t, '}');
    }
    json_close(&t, ']');
    json_close(&t, '}');
    request_value(r, &t);
}

static void part_failed(uint64_t ticket, size_t part, const char *code, const char *why) {
    Request *r = request_of(ticket);
    if (r == NULL) return;
    char message[400];
    Relay *relay = request_state(r);
    Part *p = &relay->parts[part];
    if (p->over) return;
    int len = snprintf(message, sizeof message, "node %s: %s", p->name, why);
    json_open(&p->result, NULL, '{');
    json_words(&p->result, "code", code);
    json_string(&p->result, "message", message, len < (int)sizeof message ? (size_t)len : sizeof message - 1);
    json_close(&p->result, '}');
    part_over(r, relay, p, false);
}

/* ---- ways ---- */

static Way *ways;

static Way *ways_find(uint64_t number) {
    Way *w = ways;
    while (w != NULL && w->number != number) w = w->next;
    return w;
}

static void put_number(unsigned char *p, uint64_t n, int bytes) {
    for (int i = 0; i < bytes; i++) p[i] = (unsigned char)(n >> 8 * i);
}

static void ignore(void *context, int err, const unsigned char *body, size_t len) {
    (void)context, (void)err, (void)body, (void)len;
}

static void way_free(Way *w) {
    Way **at = &ways;
    while (*at != w) at = &(*at)->next;
    *at = w->next;
    while (w->sent != NULL) {
        Sent *s = w->sent;
        w->sent = s->next;
        free(s);
    }
    text_free(&w->in);
    free(w);
}

static void say_closed(const Way *w) {
    unsigned char body[RELAY_HEAD] = {RELAY_CLOSE};
    put_number(body + 1, w->number, 8);
    call_ask(w->node, CALL_OP, body, sizeof body, ASK_MS, ignore, NULL);
}

/* It leads nowhere any more: whoever waits hears of it. */
static void way_over(Way *w, const char *code, const char *why) {
    uint64_t number = w->number;
    say_closed(w);
    while ((w = ways_find(number)) != NULL && w->sent != NULL) {
        Sent s = *w->sent;
        free(w->sent);
        w->sent = s.next;
        part_failed(s.ticket, s.part, code, why);
    }
    if (w != NULL) way_free(w);
}

static const char *code_of(int err) { return err == UV_ETIMEDOUT ? "timeout" : err < 0 ? "no_node" : "refused"; }

static const char *why_of(int err) {
    return err == UV_ETIMEDOUT ? "it does not answer in time (if it wakes up it may still do what it was asked)"
         : err == UV_EHOSTUNREACH ? "there is no link to it any more"
         : err == UV_E2BIG ? "the request is too large for another node: at most 1 MB"
         : err == UV_ENOTSUP ? "it has no console that others may use" : uv_strerror(err);
}

static void pull(Way *w);
static void pull_soon(Client *c);

/* All ways of the client whose request that was. As a job of its own: what a pull brings may end any request. */
static void pull_all(void *client) {
    uint64_t numbers[PID_NODES];
    size_t count = 0;
    for (Way *w = ways; w != NULL && count < PID_NODES; w = w->next)
        if (w->client == client && w->sent != NULL && !w->pulling) numbers[count++] = w->number;
    for (size_t i = 0; i < count; i++) { /* each may end some */
        Way *w = ways_find(numbers[i]);
        if (w != NULL) pull(w);
    }
}

static void pull_soon(Client *c) {
    if (loop_submit(pull_all, c) < 0) { /* the node ends; or the next request of his pulls */
    }
}

static void pull_later(Request *r) { pull_soon(r->client); }

bool relay_read(const char *line, size_t len, RelayLine *out) {
    static const char *const fields[] = {"more", "value", "error"};
    if (len < 8 || memcmp(line, "{\"id\":", 6) != 0 || line[len - 1] != '}') return false;
    const char *at = line + 6, *end = line + len - 1;
    *out = (RelayLine){0};
    for (; digit(*at); at++) { /* ends at the '}' at the latest */
        if (at - line == 6 + 19) return false;
        out->id = out->id * 10 + (uint64_t)(*at - '0');
    }
    if (at == line + 6) return false;
    for (int field = 0; field < 3; field++) {
        size_t word = strlen(fields[field]);
        if ((size_t)(end - at) < word + 5 || memcmp(at, ",\"", 2) != 0 || memcmp(at + 2, fields[field], word) != 0 ||
            memcmp(at + 2 + word, "\":", 2) != 0)
            continue;
        out->field = field;
        out->json = at + word + 4;
        out->len = (size_t)(end - out->json);
        return true;
    }
    return false;
}

/* A line that the other console said. False: it did not say that. */
static bool take_line(Way *w, const char *line, size_t len) {
    RelayLine l;
    if (!relay_read(line, len, &l)) return false;
    uint64_t id = l.id;
    int field = l.field;
    Sent **s = &w->sent;
    while (*s != NULL && (*s)->id != id) s = &(*s)->next;
    if (*s == NULL) return true; /* it was cancelled */
    Request *r = request_of((*s)->ticket);
    Relay *relay = request_state(r); /* who ends takes his Sent away */
    Part *p = &relay->parts[(*s)->part];
    Text text = {0};
    if (w->node == 0) text_put(&text, l.json, l.len);
    else if (!relay_translate(&text, w->name, l.json, l.len)) return text_free(&text), false;
    if (field == 0 && relay->all) {
        Text piece = {0};
        relay_put_on(&piece, p->name, text.bytes, text.len);
        piece.failed = piece.failed || text.failed;
        text_free(&text);
        request_more(r, &piece);
    } else if (field == 0) {
        request_more(r, &text);
    } else {
        Sent *over = *s;
        *s = over->next;
        free(over);
        p->result = text;
        part_over(r, relay, p, field == 1);
    }
    return true;
}

/* False: what came makes no sense. */
static bool take_bytes(Way *w, const char *bytes, size_t len) {
    size_t looked = w->in.len, from = 0;
    text_put(&w->in, bytes, len);
    if (w->in.failed) return false;
    for (char *newline; (newline = memchr(w->in.bytes + looked, '\n', w->in.len - looked)) != NULL;) {
        size_t end = (size_t)(newline - w->in.bytes);
        if (!take_line(w, w->in.bytes + from, end - from)) return false;
        from = looked = end + 1;
        if (from == w->in.len) break;
    }
    if (from > 0 && from < w->in.len) memmove(w->in.bytes, w->in.bytes + from, w->in.len - from);
    w->in.len -= from;
    if (w->in.len == 0) text_free(&w->in);
    return w->in.len <= LINE_MOST;
}

static void pulled(void *context, int err, const unsigned char *body, size_t len) {
    Way *w = ways_find(*(uint64_t *)context);
    free(context);
    if (w == NULL) return;
    w->pulling = false;
    if (err < 0) {
        way_over(w, code_of(err), why_of(err));
    } else if (len == 0 || body[0] != 0) {
        char why[256];
        snprintf(why, sizeof why, "%.*s", len > 1 ? (int)(len - 1 < 200 ? len - 1 : 200) : 0, (const char *)body + 1);
        way_over(w, "refused", len > 1 ? why : "its console makes no sense");
    } else if (len > 1 && !take_bytes(w, (const char *)body + 1, len - 1)) {
        way_over(w, "refused", "its console makes no sense");
    } else {
        pull(w);
    }
}

static void pull(Way *w) {
    unsigned char body[RELAY_HEAD + 4] = {RELAY_PULL};
    if (w->pulling || w->sent == NULL) return;
    Request *r = request_of(w->sent->ticket);
    if (request_crowded(r)) {
        request_later(r, pull_later);
        return;
    }
    uint64_t *number = malloc(sizeof *number);
    if (number == NULL) {
        way_over(w, "refused", "memory is short");
        return;
    }
    *number = w->number;
    put_number(body + 1, w->number, 8);
    put_number(body + RELAY_HEAD, RELAY_CHUNK, 4);
    w->pulling = true;
    call_ask(w->node, CALL_OP, body, sizeof body, PULL_MS, pulled, number);
    cluster_flush();
}

static Way *way_to(Client *c, uint32_t node, const char *name) {
    for (Way *w = ways; w != NULL; w = w->next)
        if (w->client == c && w->node == node) return w;
    Way *w = calloc(1, sizeof *w);
    if (w == NULL) return NULL;
    *w = (Way){.next = ways, .client = c, .node = node, .number = request_number()};
    snprintf(w->name, sizeof w->name, "%s", name);
    return ways = w;
}

/* ---- asking ---- */

typedef struct Asked {
    uint64_t number, id;
} Asked;

static Sent *take_sent(Way *w, uint64_t id) {
    Sent **at = &w->sent;
    while (*at != NULL && (*at)->id != id) at = &(*at)->next;
    Sent *s = *at;
    if (s != NULL) *at = s->next;
    return s;
}

static void tell(Way *w, const Text *line, CallDone done, void *context);

static void say_cancel(Way *w, uint64_t id) {
    Text line = {0};
    text_format(&line, "{\"id\":%llu,\"op\":\"cancel\",\"args\":{\"id\":%llu}}",
                (unsigned long long)request_number(), (unsigned long long)id);
    tell(w, &line, ignore, NULL);
    text_free(&line);
}

static void asked(void *context, int err, const unsigned char *body, size_t len) {
    Asked a = *(Asked *)context;
    char why[256];
    free(context);
    Way *w = ways_find(a.number);
    if (w == NULL) return;
    if (err == 0 && len == 0) {
        pull(w);
        return;
    }
    Sent *s = take_sent(w, a.id);
    if (s == NULL) return;
    uint64_t ticket = s->ticket;
    size_t part = s->part;
    if (err == UV_ETIMEDOUT) say_cancel(w, s->id);
    free(s);
    snprintf(why, sizeof why, "%.*s", len > 1 ? (int)(len - 1 < 200 ? len - 1 : 200) : 0, (const char *)body + 1);
    part_failed(ticket, part, code_of(err), err < 0 ? why_of(err) : why);
}

static void tell(Way *w, const Text *line, CallDone done, void *context) {
    Text t = {0};
    unsigned char head[RELAY_HEAD + 4] = {RELAY_ASK};
    put_number(head + 1, w->number, 8);
    put_number(head + RELAY_HEAD, w->client->uid, 4);
    text_put(&t, (const char *)head, sizeof head);
    text_put(&t, line->bytes, line->len);
    if (t.failed || line->failed) done(context, UV_ENOMEM, NULL, 0);
    else call_ask(w->node, CALL_OP, t.bytes, t.len, ASK_MS, done, context);
    text_free(&t);
    cluster_flush();
}

static void ask_part(Request *r, size_t i) {
    Relay *relay = request_state(r);
    Part *p = &relay->parts[i];
    Text line = {0}, args = {0};
    Way *w = way_to(r->client, p->node, p->name);
    Sent *s = w != NULL ? malloc(sizeof *s) : NULL;
    Asked *a = s != NULL ? malloc(sizeof *a) : NULL;
    if (a == NULL) {
        free(s);
        part_failed(relay->ticket, i, "refused", "memory is short");
        return;
    }
    *s = (Sent){w->sent, request_number(), relay->ticket, i};
    w->sent = s;
    *a = (Asked){w->number, s->id};
    json_open(&line, NULL, '{');
    json_integer(&line, "id", (int64_t)s->id);
    json_words(&line, "op", r->op->name);
    if (r->args != NULL) {
        json_write(&args, r->args);
        json_raw(&line, "args", args.bytes, args.len);
    }
    json_close(&line, '}');
    line.failed = line.failed || args.failed;
    text_free(&args);
    if (line.len > ROOM) asked(a, UV_E2BIG, NULL, 0);
    else tell(w, &line, asked, a);
    text_free(&line);
}

/* The request is over here: it is over there, too. */
static void relay_free(void *state) {
    Relay *relay = state;
    for (Way *w = ways; w != NULL; w = w->next)
        for (Sent **at = &w->sent, *s; (s = *at) != NULL;) {
            if (s->ticket != relay->ticket) {
                at = &s->next;
                continue;
            }
            *at = s->next;
            if (!relay->client->closing) say_cancel(w, s->id); /* else all of the way ends */
            free(s);
        }
    if (!relay->client->closing) pull_soon(relay->client); /* it may have been the one that was waiting for room */
    for (size_t i = 0; i < relay->count; i++) text_free(&relay->parts[i].result);
    free(relay);
}

static Relay *relay_new(Request *r, size_t count, bool all) {
    Relay *relay = calloc(1, sizeof *relay + count * sizeof relay->parts[0]);
    if (relay == NULL) {
        request_error(r, "refused", "out of memory");
        return NULL;
    }
    relay->client = r->client;
    relay->ticket = r->ticket;
    relay->all = all;
    request_keep(r, relay, relay_free);
    return relay;
}

static void add_part(Relay *relay, const char *name) {
    Part *p = &relay->parts[relay->count++];
    p->node = relay_node(name, strlen(name));
    snprintf(p->name, sizeof p->name, "%s", name);
    relay->open++;
}

static void to_all(Request *r) {
    uint32_t at = 0;
    size_t most = 1;
    for (const char *name; (name = cluster_next(&at)) != NULL;) most++;
    Relay *relay = relay_new(r, most, true);
    uint64_t ticket = r->ticket;
    if (relay == NULL) return;
    add_part(relay, request_node()->node_name);
    at = 0;
    for (const char *name; relay->count < most && (name = cluster_next(&at)) != NULL;) add_part(relay, name);
    size_t count = relay->count;
    for (size_t i = 0; i < count && request_of(ticket) != NULL; i++) ask_part(r, i);
}

static void to_one(Request *r, uint32_t node) {
    Relay *relay = relay_new(r, 1, false);
    if (relay == NULL) return;
    add_part(relay, members_name(node));
    relay->parts[0].node = node;
    ask_part(r, 0);
}

bool relay_take(Request *r, const Json *on) {
    uint32_t node = 0;
    bool all = on != NULL && json_is(on, "*");
    if (r->client->away != NULL) return false; /* who sent it on knew what he did */
    if (all && (r->op->how & (OP_ALL | OP_LEADS)) == 0) {
        request_error(r, "bad_request", "%s can't be asked of all nodes: it is about one", r->op->name);
        return true;
    }
    if (all) {
        r->all = true;
        if (r->op->how & OP_LEADS) return false;
        to_all(r);
        return true;
    }
    if (on != NULL) node = relay_node(on->text, on->len);
    if (node == MEMBERS_NOWHERE) {
        request_error(r, "no_node", "no link is up to a node '%.*s' (nodes lists them)",
                      (int)(on->len < 200 ? on->len : 200), on->text);
        return true;
    }
    if (on == NULL && !whose(r, &node)) return true;
    if (node == 0) return false;
    to_one(r, node);
    return true;
}

void relay_forget(Client *c) {
    for (Way *w = ways, *next; w != NULL; w = next) {
        next = w->next;
        if (w->client != c) continue;
        say_closed(w);
        way_free(w);
    }
    cluster_flush();
}
