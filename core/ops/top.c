/* `top`: the busiest actors, again and again, and `slow`: the slowest handlers so far. See actor/gauge.h for what the
 * figures are. While anybody has a top, messages are timed. */
#include <stdlib.h>
#include <string.h>
#include "actor/gauge.h"
#include "actor/visit.h"
#include "ground/clock.h"
#include "ground/metrics.h"
#include "ops/request.h"
#include "ops/rows.h"
#include "run/scheduler.h"

#define EVERY_PRESET 1000
#define EVERY_LEAST 50
#define FIRST_MS 200    /* until the first picture: rates want two looks */
#define ROWS_PRESET 20
#define ROWS_MOST 1000
#define STEP_LOOK 1000  /* actors looked at in one go: under half a millisecond */

typedef enum { SORT_MESSAGES, SORT_CPU, SORT_DEPTH, SORT_OLDEST, SORT_MEMORY, SORT_P99, SORT_LONGEST } Sort;
static const char *const sorts[] = {"messages", "cpu", "depth", "oldest", "memory", "p99", "longest", NULL};

typedef struct Before { /* what an actor had done when it was looked at last; by its slot */
    uint64_t pid, handled, ran;
} Before;

typedef struct Row {
    double key;
    uint64_t pid;
    double messages, cpu; /* a second; share of one core */
} Row;

typedef struct Top {
    Sort sort;
    size_t limit, kept, room;
    int64_t every, left;
    uint32_t at;
    uint64_t began, before_began; /* of this round of looks, of the one before: clock_now times */
    uint64_t messages, cpu;       /* the node's, at that one before */
    Before *before;
    Row rows[];                   /* `limit` of them, the first ones first */
} Top;

static void drop(void *state) {
    Top *t = state;
    gauge_watch(false);
    free(t->before);
    free(t);
}

/* Its figures of the last round, or what a newborn has. NULL: no memory. */
static Before *before_of(Top *t, uint64_t pid) {
    size_t slot = pid_slot(pid);
    if (slot >= t->room) {
        size_t room = t->room == 0 ? 256 : t->room;
        while (room <= slot) room *= 2;
        Before *more = realloc(t->before, room * sizeof *more);
        if (more == NULL) return NULL;
        memset(more + t->room, 0, (room - t->room) * sizeof *more);
        t->before = more;
        t->room = room;
    }
    Before *b = &t->before[slot];
    if (b->pid != pid) *b = (Before){pid, 0, 0};
    return b;
}

static double key_of(Sort sort, const Row *row, const VisitView *v, const Gauge *g) {
    switch (sort) {
    case SORT_CPU: return row->cpu;
    case SORT_DEPTH: return v->depth;
    case SORT_OLDEST: return v->oldest;
    case SORT_MEMORY: return (double)v->memory;
    case SORT_P99: return (double)g->p99;
    case SORT_LONGEST: return (double)g->longest;
    default: return row->messages;
    }
}

/* Among equals the one that has been there longer. */
static void keep(Top *t, Row row) {
    if (t->kept == t->limit && (t->limit == 0 || row.key <= t->rows[t->kept - 1].key)) return;
    size_t i = t->kept < t->limit ? t->kept++ : t->kept - 1;
    for (; i > 0 && t->rows[i - 1].key < row.key; i--) t->rows[i] = t->rows[i - 1];
    t->rows[i] = row;
}

static void put_ms(Text *t, const char *key, uint64_t ns) {
    if (ns == 0) json_null(t, key);
    else json_number(t, key, (double)ns / (double)CLOCK_NS_PER_MS); /* many are below a microsecond */
}

static void put_row(Text *t, const Row *row, const VisitView *v, const Gauge *g) {
    bool busy = g->running || g->waits != NULL || v->busy_since != 0;
    json_open(t, NULL, '{');
    rows_put_pid(t, "pid", row->pid);
    rows_put_name(t, "name", row->pid);
    json_words(t, "behaviour", v->behaviour->source->name);
    json_words(t, "version", v->behaviour->version);
    json_words(t, "state", g->running ? "running" : v->state);
    json_words(t, "handler", busy && g->handler != 0 ? gauge_handler(g->handler) : NULL);
    json_number(t, "messages", row->messages);
    json_number(t, "cpu", row->cpu);
    json_integer(t, "depth", v->depth);
    if (v->oldest >= 0) json_number(t, "oldest", v->oldest);
    else json_null(t, "oldest");
    json_integer(t, "memory", (int64_t)v->memory);
    put_ms(t, "p99", g->p99);
    put_ms(t, "longest", g->longest);
    json_close(t, '}');
}

static double rounded(double x) { return (double)(int64_t)(x * 1000 + 0.5) / 1000; }

static void tell(Request *r, Top *t) {
    Text piece = {0};
    uint64_t messages = metrics_sum(METRIC_messages), cpu = clock_cpu();
    double seconds = (double)(t->began - t->before_began) / (double)CLOCK_NS_PER_S;
    json_open(&piece, NULL, '{');
    json_open(&piece, "node", '{');
    json_integer(&piece, "actors", (int64_t)registry_count());
    json_integer(&piece, "workers", scheduler_workers());
    json_number(&piece, "messages", rounded((double)(messages - t->messages) / seconds));
    json_number(&piece, "cpu", rounded((double)(cpu - t->cpu) / (double)CLOCK_NS_PER_S / seconds));
    json_integer(&piece, "rss", (int64_t)metrics_rss());
    json_close(&piece, '}');
    json_open(&piece, "rows", '[');
    for (size_t i = 0; i < t->kept; i++) {
        VisitView v;
        Gauge g;
        visit_begin();
        bool alive = visit_look(t->rows[i].pid, &v) && gauge_read(t->rows[i].pid, &g);
        visit_end();
        if (alive) put_row(&piece, &t->rows[i], &v, &g);
    }
    json_close(&piece, ']');
    json_close(&piece, '}');
    t->messages = messages;
    t->cpu = cpu;
    request_more(r, &piece);
}

static void round_begins(Request *r);

static void look(Request *r) {
    Top *t = request_state(r);
    double seconds = (double)(t->began - t->before_began) / (double)CLOCK_NS_PER_S;
    bool more = true, memory = true;
    visit_begin();
    for (int i = 0; i < STEP_LOOK && more && memory; i++) {
        VisitView v;
        Gauge g;
        uint64_t pid = registry_next(&t->at);
        more = pid != 0;
        if (!more || !visit_look(pid, &v) || !gauge_read(pid, &g)) continue;
        Before *b = before_of(t, pid);
        memory = b != NULL;
        if (!memory) continue;
        Row row = {.pid = pid};
        if (t->before_began != 0) {
            row.messages = rounded((double)(g.handled - b->handled) / seconds);
            row.cpu = rounded((double)(g.ran - b->ran) / (double)CLOCK_NS_PER_S / seconds);
            row.key = key_of(t->sort, &row, &v, &g);
            keep(t, row);
        }
        *b = (Before){pid, g.handled, g.ran};
    }
    visit_end();
    if (!memory) {
        request_error(r, "refused", "out of memory");
    } else if (more) {
        request_later(r, look);
    } else if (t->before_began == 0) {
        t->messages = metrics_sum(METRIC_messages);
        t->cpu = clock_cpu();
        request_in(r, t->every < FIRST_MS ? t->every : FIRST_MS, round_begins);
    } else {
        if (!request_crowded(r)) tell(r, t); /* else the next picture will do */
        if (t->left > 0 && --t->left == 0) request_true(r);
        else request_in(r, t->every, round_begins);
    }
}

static void round_begins(Request *r) {
    Top *t = request_state(r);
    t->before_began = t->began;
    t->began = clock_now();
    t->at = 0;
    t->kept = 0;
    look(r);
}

static void do_top(Request *r) {
    const Json *sort = request_arg(r, "sort");
    int by = 0;
    while (sort != NULL && sorts[by] != NULL && !json_is(sort, sorts[by])) by++;
    if (sorts[by] == NULL) {
        request_error(r, "bad_request", "top: sort is one of messages, cpu, depth, oldest, memory, p99, longest");
        return;
    }
    int64_t limit = request_integer(r, "limit", ROWS_PRESET), every = request_integer(r, "every", EVERY_PRESET);
    if (limit > ROWS_MOST) limit = ROWS_MOST;
    Top *t = calloc(1, sizeof *t + (size_t)limit * sizeof t->rows[0]);
    if (t == NULL) {
        request_error(r, "refused", "out of memory");
        return;
    }
    t->sort = (Sort)by;
    t->limit = (size_t)limit;
    t->every = every < EVERY_LEAST ? EVERY_LEAST : every;
    t->left = request_integer(r, "count", 0);
    gauge_watch(true);
    request_keep(r, t, drop);
    round_begins(r);
}

static void do_slow(Request *r) {
    int64_t limit = request_integer(r, "limit", ROWS_PRESET);
    size_t most = limit < SLOW_MOST ? (size_t)limit : SLOW_MOST;
    Slow *all = malloc((most + 1) * sizeof *all);
    if (all == NULL) {
        request_error(r, "refused", "out of memory");
        return;
    }
    size_t count = gauge_slow(all, most);
    for (size_t i = 0; i < count; i++) {
        const Slow *s = &all[i];
        Text t = {0};
        json_open(&t, NULL, '{');
        json_words(&t, "behaviour", s->behaviour);
        json_words(&t, "handler", gauge_handler(s->handler));
        put_ms(&t, "took", s->took);
        rows_put_pid(&t, "pid", s->pid);
        json_number(&t, "at", rows_ms(s->at));
        if (s->running) json_bool(&t, "running", true);
        json_integer(&t, "times", (int64_t)s->times);
        json_integer(&t, "timed", (int64_t)s->timed);
        put_ms(&t, "p99", s->p99);
        json_close(&t, '}');
        request_more(r, &t);
    }
    free(all);
    request_true(r);
}

const Op ops_top[] = {
    {"top",
     do_top,
     OP_ALL,
     {{"every", ARG_INTEGER}, {"sort", ARG_TEXT}, {"limit", ARG_INTEGER}, {"count", ARG_INTEGER}}},
    {"slow", do_slow, OP_ALL, {{"limit", ARG_INTEGER}}},
    {NULL, NULL, 0, {{NULL, 0}}}};
