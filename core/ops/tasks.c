/* `tasks`: the coroutines of an actor, by a visit. See actor/tasks.h. */
#include <stdlib.h>
#include <string.h>
#include "actor/tasks.h"
#include "actor/visit.h"
#include "ops/eval.h"
#include "ops/request.h"
#include "ops/shape.h"
#include "run/loop.h"

#define WITHIN_PRESET 1000

typedef struct Call { /* the visit's until it comes back, then the loop's */
    Visit visit;
    uint64_t ticket, pid;
    bool gone, all;
    size_t count;
    Text rows; /* JSON objects, each behind its length */
} Call;

static void put_row(void *context, const ActorTask *task) {
    Call *c = context;
    Text t = {0};
    json_open(&t, NULL, '{');
    json_words(&t, "task", task->task);
    json_words(&t, "state", task->state);
    json_words(&t, "waits", task->waits);
    if (task->whom != 0) shape_pid(&t, "for", task->whom);
    if (task->since != 0) json_number(&t, "since", shape_ago(task->since));
    if (task->until != 0) {
        uint64_t now = clock_now();
        json_number(&t, "left", task->until > now ? shape_ms(task->until - now) : 0);
    }
    json_string(&t, "traceback", task->trace, task->trace_len);
    json_close(&t, '}');
    if (t.failed) c->rows.failed = true;
    text_put(&c->rows, (const char *)&t.len, sizeof t.len);
    text_put(&c->rows, t.bytes, t.len);
    text_free(&t);
    c->count++;
}

static void answer(void *argument) {
    Call *c = argument;
    Request *r = request_of(c->ticket);
    if (r != NULL && c->gone) {
        char who[PID_TEXT_MAX];
        pid_text(c->pid, who);
        request_error(r, "no_actor", "%s is dead", who);
    } else if (r != NULL && c->rows.failed) {
        request_error(r, "refused", "out of memory");
    } else if (r != NULL) {
        size_t len;
        for (size_t at = 0; at < c->rows.len; at += len) {
            Text piece = {0};
            memcpy(&len, c->rows.bytes + at, sizeof len);
            at += sizeof len;
            text_put(&piece, c->rows.bytes + at, len);
            request_more(r, &piece);
        }
        Text v = {0};
        json_open(&v, NULL, '{');
        json_integer(&v, "count", (int64_t)c->count);
        if (!c->all) json_bool(&v, "cut", true);
        json_close(&v, '}');
        request_value(r, &v);
    }
    text_free(&c->rows);
    free(c);
}

static void give_back(Call *c) {
    if (loop_submit(answer, c) == 0) return;
    text_free(&c->rows); /* the node ends: nobody waits any more */
    free(c);
}

static bool serve(Visit *visit, Actor *a) {
    Call *c = (Call *)visit;
    c->all = tasks_list(a, put_row, c);
    give_back(c);
    return true;
}

static void gone(Visit *visit) {
    Call *c = (Call *)visit;
    c->gone = true;
    give_back(c);
}

static void too_late(Request *r) {
    uint64_t pid = request_pid(r, "pid");
    if (pid != 0) eval_busy(r, pid, request_integer(r, "within", WITHIN_PRESET));
}

static void do_tasks(Request *r) {
    uint64_t pid = request_pid(r, "pid");
    if (pid == 0) return;
    Call *c = calloc(1, sizeof *c);
    if (c == NULL) {
        request_error(r, "refused", "out of memory");
        return;
    }
    *c = (Call){.visit = {serve, gone}, .ticket = request_ticket(r), .pid = pid};
    request_in(r, request_integer(r, "within", WITHIN_PRESET), too_late);
    if (visit_send(pid, &c->visit) == 0) return;
    char who[PID_TEXT_MAX];
    pid_text(pid, who);
    request_error(r, "no_actor", "%s is dead", who);
    free(c);
}

const Op ops_tasks[] = {{"tasks", do_tasks, false, {{"pid", ARG_PID | ARG_MUST}, {"within", ARG_INTEGER}}},
                        {NULL, NULL, false, {{NULL, 0}}}};
