/* `tasks`: the coroutines of an actor, by a look. See actor/tasks.h. */
#include "actor/tasks.h"
#include "ground/clock.h"
#include "ops/look.h"
#include "ops/request.h"
#include "ops/rows.h"

#define LIMIT_PRESET 100

typedef struct Rows {
    Look *k;
    int64_t count;
} Rows;

static void put_row(void *context, const ActorTask *task) {
    Rows *rows = context;
    if (rows->count++ >= rows->k->limit) return;
    Text *t = &rows->k->pieces;
    json_open(t, NULL, '{');
    json_words(t, "task", task->task);
    if (task->handler != NULL) json_words(t, "handler", task->handler);
    if (task->handler != NULL) rows_put_pid(t, "from", task->from);
    if (task->path != NULL) json_words(t, "path", task->path);
    json_words(t, "state", task->state);
    if (task->waits != NULL) json_words(t, "waits", task->waits);
    if (task->whom != 0) rows_put_pid(t, "for", task->whom);
    if (task->since != 0) json_number(t, "since", rows_ms_since(task->since));
    if (task->until != 0) {
        uint64_t now = clock_now();
        json_number(t, "left", task->until > now ? rows_ms(task->until - now) : 0);
    }
    json_string(t, "traceback", task->trace, task->trace_len);
    json_close(t, '}');
    text_put(t, "\n", 1);
}

static void look_tasks(Look *k, Actor *a) {
    Rows rows = {k, 0};
    bool all = tasks_list(a, put_row, &rows);
    json_open(&k->value, NULL, '{');
    json_integer(&k->value, "count", rows.count);
    if (!all || rows.count > k->limit) json_bool(&k->value, "cut", true);
    json_close(&k->value, '}');
}

static void do_tasks(Request *r) {
    uint64_t pid = request_pid(r, "pid");
    if (pid != 0) look_start(r, pid, (Look){.look = look_tasks, .limit = request_integer(r, "limit", LIMIT_PRESET)});
}

const Op ops_tasks[] = {
    {"tasks", do_tasks, 0, {{"pid", ARG_PID | ARG_MUST}, {"limit", ARG_INTEGER}, {"within", ARG_INTEGER}}},
    {NULL, NULL, 0, {{NULL, 0}}}};
