/* Ops that look, and touch no actor: the node, names, groups, who is alive. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>
#include "actor/visit.h"
#include "ground/clock.h"
#include "ground/config.h"
#include "ground/metrics.h"
#include "ground/pool.h"
#include "mail/groups.h"
#include "mail/pid.h"
#include "net/able.h"
#include "net/cluster.h"
#include "ops/console.h"
#include "ops/request.h"
#include "ops/rows.h"
#include "run/scheduler.h"

#define ROWS_PRESET 1000
#define ROWS_MOST 100000
#define STEP_LOOK 1000 /* actors looked at in one go: under half a millisecond */
#define STEP_SEND 200  /* rows sent in one go */

/* ---- the node ---- */

static void do_node(Request *r) {
    Text t = {0};
    const ConsoleOptions *node = request_node();
    json_open(&t, NULL, '{');
    json_words(&t, "name", node->node_name);
    json_words(&t, "version", node->version);
    json_integer(&t, "os_pid", getpid());
    json_number(&t, "uptime", rows_ms_since(request_started()));
    json_integer(&t, "workers", scheduler_workers());
    json_integer(&t, "actors", (int64_t)registry_count());
    json_integer(&t, "rss", (int64_t)metrics_rss());
    json_integer(&t, "cpu", (int64_t)(clock_cpu() / CLOCK_NS_PER_MS));
    json_open(&t, "settings", '{');
#define X(name, key, preset, least, most, text) json_integer(&t, key, config.name);
    CONFIG(X)
#undef X
    json_close(&t, '}');
    json_open(&t, "counters", '{');
    for (int i = 0; i < METRICS_COUNT; i++)
        json_integer(&t, metrics_name((Metric)i), (int64_t)metrics_sum((Metric)i));
    json_close(&t, '}');
    json_close(&t, '}');
    request_value(r, &t);
}

static void put_shown(Request *r, size_t count, size_t shown) {
    Text t = {0};
    json_open(&t, NULL, '{');
    json_integer(&t, "count", (int64_t)count);
    json_integer(&t, "shown", (int64_t)shown);
    if (shown < count) json_bool(&t, "cut", true);
    json_close(&t, '}');
    request_value(r, &t);
}

static void put_able(Text *t, uint32_t node) {
    char set[ABLE_TEXT_MAX + 1];
    uint64_t actors;
    size_t at = 0;
    Able a;
    if (able_of(node, set, &actors) < 0) return; /* gone meanwhile */
    json_integer(t, "actors", (int64_t)actors);
    json_open(t, "can", '{');
    while (able_next(set, &at, &a)) {
        char key[ABLE_KEY_MAX + 1];
        snprintf(key, sizeof key, "%.*s", (int)a.key_len, a.key);
        if (a.kind == ABLE_BOOLEAN) json_bool(t, key, a.yes);
        else if (a.kind == ABLE_INTEGER) json_integer(t, key, a.number);
        else json_string(t, key, a.text, a.len);
    }
    json_close(t, '}');
}

/* This one, and those that a link is up to. */
static void do_nodes(Request *r) {
    uint32_t at = 0;
    size_t count = 0;
    for (const char *name = request_node()->node_name; name != NULL; name = cluster_next(&at), count++) {
        Text t = {0};
        json_open(&t, NULL, '{');
        json_words(&t, "name", name);
        json_bool(&t, "own", count == 0);
        put_able(&t, count == 0 ? 0 : at);
        json_close(&t, '}');
        request_more(r, &t);
    }
    put_shown(r, count, count);
}

static void do_memory(Request *r) {
    Text t = {0};
    json_open(&t, NULL, '{');
    json_integer(&t, "rss", (int64_t)metrics_rss());
    json_integer(&t, "peak", (int64_t)metrics_rss_peak());
    json_integer(&t, "pool", (int64_t)pool_held_bytes());
    json_integer(&t, "actors", (int64_t)registry_count());
    json_close(&t, '}');
    request_value(r, &t);
}

/* ---- names and groups ---- */

static int64_t rows(const Request *r) {
    int64_t limit = request_integer(r, "limit", ROWS_PRESET);
    return limit < ROWS_MOST ? limit : ROWS_MOST;
}

/* A list that is sent in steps: `names` and `groups`. */
typedef struct Listing {
    Names names;
    char *groups; /* GroupEntry, one behind the other */
    size_t groups_size, at, sent, count;
    Name **sorted;
    GroupEntry **entries;
    const char *bytes; /* for the comparison */
} Listing;

static void listing_free(void *state) {
    Listing *l = state;
    names_free(&l->names);
    free(l->groups);
    free(l->sorted);
    free(l->entries);
    free(l);
}

static int by_bytes(const char *a, size_t a_len, const char *b, size_t b_len) {
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static int by_name(const void *a, const void *b, void *listing) {
    const Name *x = *(Name *const *)a, *y = *(Name *const *)b;
    const char *bytes = ((Listing *)listing)->names.text.bytes;
    return by_bytes(bytes + x->at, x->len, bytes + y->at, y->len);
}

static void send_names(Request *r) {
    Listing *l = request_state(r);
    size_t limit = (size_t)rows(r);
    for (int i = 0; i < STEP_SEND && l->sent < l->count && l->sent < limit; i++, l->sent++) {
        const Name *n = l->sorted[l->sent];
        Text t = {0};
        json_open(&t, NULL, '{');
        json_string(&t, "name", l->names.text.bytes + n->at, n->len);
        rows_put_pid(&t, "pid", n->pid);
        if (n->fence != 0) json_integer(&t, "fence", n->fence);
        json_close(&t, '}');
        request_more(r, &t);
    }
    if (l->sent < l->count && l->sent < limit) request_later(r, send_names);
    else put_shown(r, l->count, l->sent);
}

static void gather_names(Request *r) {
    Listing *l = request_state(r);
    size_t pattern_len;
    const char *pattern = request_text(r, "pattern", &pattern_len);
    if (json_is(request_arg(r, "scope"), "cluster")) {
        if (!names_cluster(&l->names)) {
            request_error(r, "refused", "names of the whole cluster are kept in etcd: start the node with --etcd");
            return;
        }
    } else if (names_more(&l->names)) {
        request_later(r, gather_names);
        return;
    }
    l->sorted = l->names.failed ? NULL : malloc((l->names.count + 1) * sizeof *l->sorted);
    if (l->sorted == NULL) {
        request_error(r, "refused", "out of memory");
        return;
    }
    for (size_t i = 0; i < l->names.count; i++) {
        Name *n = &l->names.all[i];
        if (rows_match(pattern, pattern_len, l->names.text.bytes + n->at, n->len)) l->sorted[l->count++] = n;
    }
    qsort_r(l->sorted, l->count, sizeof *l->sorted, by_name, l);
    send_names(r);
}

static void do_names(Request *r) {
    const Json *scope = request_arg(r, "scope");
    if (scope != NULL && !json_is(scope, "node") && !json_is(scope, "cluster")) {
        request_error(r, "bad_request", "scope is node or cluster");
        return;
    }
    Listing *l = calloc(1, sizeof *l);
    if (l == NULL) {
        request_error(r, "refused", "out of memory");
        return;
    }
    request_keep(r, l, listing_free);
    gather_names(r);
}

static int by_group(const void *a, const void *b) {
    const GroupEntry *x = *(GroupEntry *const *)a, *y = *(GroupEntry *const *)b;
    return by_bytes(x->name, x->len, y->name, y->len);
}

static void send_groups(Request *r) {
    Listing *l = request_state(r);
    size_t limit = (size_t)rows(r);
    for (int i = 0; i < STEP_SEND && l->sent < l->count && l->sent < limit; i++, l->sent++) {
        const GroupEntry *e = l->entries[l->sent];
        Text t = {0};
        json_open(&t, NULL, '{');
        json_string(&t, "group", e->name, e->len);
        json_integer(&t, "members", (int64_t)e->count);
        json_close(&t, '}');
        request_more(r, &t);
    }
    if (l->sent < l->count && l->sent < limit) request_later(r, send_groups);
    else put_shown(r, l->count, l->sent);
}

static void do_groups(Request *r) {
    size_t pattern_len, need, count = 0;
    const char *pattern = request_text(r, "pattern", &pattern_len);
    Listing *l = calloc(1, sizeof *l);
    if (l != NULL) {
        request_keep(r, l, listing_free);
        while ((need = groups_list(l->groups, l->groups_size)) > l->groups_size) { /* there are more by now */
            free(l->groups);
            l->groups_size = 0;
            if ((l->groups = malloc(need + 4096)) == NULL) break;
            l->groups_size = need + 4096;
        }
        for (size_t at = 0; at < need && l->groups != NULL; count++)
            at += GROUP_ENTRY_SIZE(((GroupEntry *)(l->groups + at))->len);
        if (l->groups != NULL || need == 0) l->entries = malloc((count + 1) * sizeof *l->entries);
    }
    if (l == NULL || l->entries == NULL) {
        request_error(r, "refused", "out of memory");
        return;
    }
    for (size_t at = 0; at < need;) {
        GroupEntry *e = (GroupEntry *)(l->groups + at);
        at += GROUP_ENTRY_SIZE(e->len);
        if (rows_match(pattern, pattern_len, e->name, e->len)) l->entries[l->count++] = e;
    }
    qsort(l->entries, l->count, sizeof *l->entries, by_group);
    send_groups(r);
}

/* ---- ps ---- */

typedef enum { SORT_NONE, SORT_MEMORY, SORT_MESSAGES, SORT_DEPTH, SORT_OLDEST, SORT_UPTIME, SORT_BUSY } Sort;
static const char *const sorts[] = {"pid", "memory", "messages", "depth", "oldest", "uptime", "busy", NULL};

typedef struct Row {
    uint64_t pid;
    double key; /* the largest first; among equals the lower pid */
} Row;

/* What is kept is a heap with the least on top, as long as there is more than is wanted. */
typedef struct Ps {
    Names names;
    uint32_t at;
    Sort sort;
    size_t limit, count, kept, room, sent, shown;
    Row *rows;
} Ps;

static void ps_free(void *state) {
    Ps *p = state;
    names_free(&p->names);
    free(p->rows);
    free(p);
}

static bool before(const Row *a, const Row *b) {
    return a->key != b->key ? a->key > b->key : pid_slot(a->pid) < pid_slot(b->pid);
}

static int by_key(const void *a, const void *b) { return before(b, a) - before(a, b); }

static void sift(Ps *p, size_t i) {
    for (;;) {
        size_t last = i, left = 2 * i + 1;
        if (left < p->kept && before(&p->rows[last], &p->rows[left])) last = left;
        if (left + 1 < p->kept && before(&p->rows[last], &p->rows[left + 1])) last = left + 1;
        if (last == i) return;
        Row row = p->rows[i];
        p->rows[i] = p->rows[last];
        p->rows[last] = row;
        i = last;
    }
}

static bool keep(Ps *p, Row row) {
    if (p->limit == 0) return true;
    if (p->kept == p->limit) {
        if (!before(&row, &p->rows[0])) return true;
        p->rows[0] = row;
        sift(p, 0);
        return true;
    }
    if (p->kept == p->room) {
        size_t room = p->room == 0 ? 256 : p->room * 2;
        Row *more = realloc(p->rows, room * sizeof *more);
        if (more == NULL) return false;
        p->rows = more;
        p->room = room;
    }
    p->rows[p->kept++] = row;
    if (p->kept == p->limit)
        for (size_t i = p->kept / 2; i-- > 0;) sift(p, i);
    return true;
}

static double key_of(Sort sort, const VisitView *v) {
    switch (sort) {
    case SORT_MEMORY: return (double)v->memory;
    case SORT_MESSAGES: return (double)v->messages;
    case SORT_DEPTH: return v->depth;
    case SORT_OLDEST: return v->oldest;
    case SORT_UPTIME: return -(double)v->born;
    case SORT_BUSY: return v->busy_since == 0 ? 0 : rows_ms_since(v->busy_since);
    default: return 0;
    }
}

static void ps_send(Request *r) {
    Ps *p = request_state(r);
    visit_begin();
    for (int i = 0; i < STEP_SEND && p->sent < p->kept; i++) {
        VisitView v;
        size_t len;
        if (!visit_look(p->rows[p->sent++].pid, &v)) continue; /* it died meanwhile */
        const char *name = names_name(&p->names, v.pid, &len);
        Text t = {0};
        json_open(&t, NULL, '{');
        rows_put(&t, &v, name, len);
        json_close(&t, '}');
        request_more(r, &t);
        p->shown++;
    }
    visit_end();
    if (p->sent < p->kept) request_later(r, ps_send);
    else put_shown(r, p->count, p->shown);
}

static bool is_wanted(const Request *r, const Ps *p, const VisitView *v) {
    size_t pattern_len, len;
    char pid[PID_TEXT_MAX];
    const char *pattern = request_text(r, "pattern", &pattern_len);
    if (pattern == NULL || pattern_len == 0) return true;
    const char *name = names_name(&p->names, v->pid, &len), *behaviour = v->behaviour->source->name;
    return (len > 0 && rows_match(pattern, pattern_len, name, len)) ||
           rows_match(pattern, pattern_len, behaviour, strlen(behaviour)) ||
           rows_match(pattern, pattern_len, pid, pid_text(v->pid, pid));
}

static void ps_look(Request *r) {
    Ps *p = request_state(r);
    bool memory = true, more = true;
    visit_begin();
    for (int i = 0; i < STEP_LOOK && memory && more; i++) {
        uint64_t pid = registry_next(&p->at);
        VisitView v;
        more = pid != 0;
        if (!more || !visit_look(pid, &v) || !is_wanted(r, p, &v)) continue;
        p->count++;
        memory = keep(p, (Row){pid, key_of(p->sort, &v)});
    }
    visit_end();
    if (!memory) {
        request_error(r, "refused", "out of memory");
    } else if (more) {
        request_later(r, ps_look);
    } else {
        if (p->kept > 0) qsort(p->rows, p->kept, sizeof *p->rows, by_key);
        ps_send(r);
    }
}

static void ps_gather(Request *r) {
    Ps *p = request_state(r);
    if (names_more(&p->names)) request_later(r, ps_gather);
    else if (p->names.failed) request_error(r, "refused", "out of memory");
    else ps_look(r);
}

static void do_ps(Request *r) {
    size_t len;
    const Json *sort = request_arg(r, "sort");
    int by = 0;
    (void)request_text(r, "sort", &len);
    while (sort != NULL && sorts[by] != NULL && !json_is(sort, sorts[by])) by++;
    if (sorts[by] == NULL) {
        request_error(r, "bad_request", "ps: sort is one of pid, memory, messages, depth, oldest, uptime, busy");
        return;
    }
    Ps *p = calloc(1, sizeof *p);
    if (p == NULL) {
        request_error(r, "refused", "out of memory");
        return;
    }
    p->limit = (size_t)rows(r);
    p->sort = (Sort)by;
    request_keep(r, p, ps_free);
    ps_gather(r);
}

const Op ops_inspect[] = {
    {"node", do_node, OP_ALL, {{NULL, 0}}},
    {"nodes", do_nodes, OP_ALL, {{NULL, 0}}},
    {"memory", do_memory, OP_ALL, {{NULL, 0}}},
    {"names", do_names, OP_ALL, {{"pattern", ARG_TEXT}, {"limit", ARG_INTEGER}, {"scope", ARG_TEXT}}},
    {"groups", do_groups, OP_ALL, {{"pattern", ARG_TEXT}, {"limit", ARG_INTEGER}}},
    {"ps", do_ps, OP_ALL, {{"pattern", ARG_TEXT}, {"sort", ARG_TEXT}, {"limit", ARG_INTEGER}}},
    {NULL, NULL, 0, {{NULL, 0}}},
};
