#include "actor/outcome.h"

#include <stdio.h>
#include <string.h>
#include "mail/payload.h"

static void short_version(const Behaviour *b, char *out) { snprintf(out, 9, "%.8s", b->version); }

void outcome_line(const Outcome *r, char *out, size_t size) {
    const Change *c = r->change;
    size_t len = 0;
    char from[9], to[9];
    if (!r->ok) {
        len = (size_t)snprintf(out, size, "%s: %s", change_stages[c->stage], c->message);
        if (len < size) out[strcspn(out, "\n")] = '\0';
        len = strlen(out);
        if (len < size) snprintf(out + len, size - len, " (the old code runs on)");
        return;
    }
    if (c->count == 0) {
        snprintf(out, size, "nothing has changed");
        return;
    }
    for (size_t i = 0; i < c->count && len < size; i++) {
        short_version(c->pairs[i].from, from);
        short_version(c->pairs[i].to, to);
        len += (size_t)snprintf(out + len, size - len, "%s%s %s -> %s", i > 0 ? ", " : "",
                                c->pairs[i].from->source->name, from, to);
    }
    if (len < size)
        len += (size_t)snprintf(out + len, size - len, ": %u actor%s took it in %.1f ms", r->taken,
                                r->taken == 1 ? "" : "s", r->took_ms);
    if (r->cancelled > 0 && len < size)
        snprintf(out + len, size - len, ", %u handlers were cancelled", r->cancelled);
}

typedef struct Put {
    Message **msg;
    unsigned pairs;
    int err;
} Put;

static void put_key(Put *p, const char *key) {
    if (p->err == 0) p->err = payload_put_string(p->msg, key, strlen(key));
    p->pairs++;
}
static void put_text(Put *p, const char *key, const char *value, size_t len) {
    put_key(p, key);
    if (p->err == 0) p->err = payload_put_string(p->msg, value, len);
}
static void put_count(Put *p, const char *key, uint64_t value) {
    put_key(p, key);
    if (p->err == 0) p->err = payload_put_integer(p->msg, (int64_t)value);
}

static void put_pairs(Put *p, const Outcome *r) {
    size_t list, row;
    put_key(p, "behaviours");
    if (p->err == 0) p->err = payload_open_table(p->msg, false, &list);
    for (size_t i = 0; i < r->change->count; i++) {
        const BehaviourPair *pair = &r->change->pairs[i];
        Put inner = {p->msg, 0, p->err};
        if (inner.err == 0) inner.err = payload_put_integer(p->msg, (int64_t)i + 1);
        if (inner.err == 0) inner.err = payload_open_table(p->msg, false, &row);
        put_text(&inner, "name", pair->from->source->name, strlen(pair->from->source->name));
        put_text(&inner, "from", pair->from->version, strlen(pair->from->version));
        put_text(&inner, "to", pair->to->version, strlen(pair->to->version));
        put_count(&inner, "actors", r->actors[i]);
        if (inner.err == 0) inner.err = payload_close_table(p->msg, row, inner.pairs);
        p->err = inner.err;
    }
    if (p->err == 0) p->err = payload_close_table(p->msg, list, (unsigned)r->change->count);
}

static void put_warnings(Put *p, const char *lines) {
    size_t list;
    int64_t count = 0;
    put_key(p, "warnings");
    if (p->err == 0) p->err = payload_open_table(p->msg, false, &list);
    for (size_t len; lines != NULL && *lines != '\0' && p->err == 0; lines += len + 1) {
        len = strcspn(lines, "\n");
        p->err = payload_put_integer(p->msg, ++count);
        if (p->err == 0) p->err = payload_put_string(p->msg, lines, len);
    }
    if (p->err == 0) p->err = payload_close_table(p->msg, list, (unsigned)count);
}

int outcome_put(Message **msg, const Outcome *r) {
    size_t mark;
    Put p = {msg, 0, 0};
    p.err = payload_open_table(msg, false, &mark);
    put_key(&p, "ok");
    if (p.err == 0) p.err = payload_put_boolean(msg, r->ok);
    put_count(&p, "actors", r->taken);
    put_count(&p, "gone", r->gone);
    put_count(&p, "cancelled", r->cancelled);
    put_count(&p, "downgraded", r->downgraded);
    put_count(&p, "as_is", r->as_is);
    put_key(&p, "took_ms");
    if (p.err == 0) p.err = payload_put_number(msg, r->took_ms);
    put_pairs(&p, r);
    put_warnings(&p, r->change->warnings);
    if (r->canary != NULL) put_text(&p, "canary", r->canary, strlen(r->canary));
    if (r->canaries > 0) put_count(&p, "canaries", r->canaries);
    if (!r->ok) {
        char file[CHANGE_PATH_MAX];
        int line;
        const char *stage = change_stages[r->change->stage];
        change_place(r->change->message, file, sizeof file, &line);
        if (*file == '\0' && r->failed != NULL) snprintf(file, sizeof file, "%s", r->failed->source->path);
        put_text(&p, "stage", stage, strlen(stage));
        put_text(&p, "message", r->change->message, strlen(r->change->message));
        if (*file != '\0') put_text(&p, "file", file, strlen(file));
        if (line > 0) put_count(&p, "line", (uint64_t)line);
        if (r->actor != 0) {
            put_key(&p, "actor");
            if (p.err == 0) p.err = payload_put_pid(msg, r->actor);
        }
    }
    return p.err < 0 ? p.err : payload_close_table(msg, mark, p.pairs);
}
