#include "net/call.h"

#include <stdbool.h>
#include <stdlib.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/map.h"
#include "net/members.h"
#include "run/loop.h"

#define LOOK_MS 20 /* how often somebody looks whose time is up */

/* RECORD_ANSWER's `to`: what became of the question */
enum { ANSWER_DONE, ANSWER_NOBODY, ANSWER_TOO_BIG, ANSWER_NO_MEMORY };

typedef struct Question {
    uint32_t node;
    uint64_t due; /* in clock_real time */
    CallDone done;
    void *context;
} Question;

static CallServe services[CALL_SERVICES];
static Map questions; /* ref -> Question *: those nobody has answered */
static uint64_t last_ref;
static uv_timer_t timer;
static bool has_timer;

void call_serve(CallService service, CallServe serve) { services[service] = serve; }

/* ---- the end of a question ---- */

static void end(uint64_t ref, int err, const unsigned char *body, size_t len) {
    uint64_t value;
    if (!map_take(&questions, ref, &value)) return;
    Question q = *(Question *)(uintptr_t)value;
    free((void *)(uintptr_t)value);
    if (questions.count == 0 && has_timer) uv_timer_stop(&timer);
    q.done(q.context, err, body, len);
}

/* Ends those that `ends` says yes to. What `done` does may ask again: so it starts over after each. */
static void end_all(bool (*ends)(const Question *q, uint64_t what), uint64_t what, int err) {
    for (bool found = true; found;) {
        uint32_t at = 0;
        MapPair pair;
        found = false;
        while (!found && map_next(&questions, &at, &pair))
            found = ends((const Question *)(uintptr_t)pair.value, what);
        if (found) end(pair.key, err, NULL, 0);
    }
}

static bool is_late(const Question *q, uint64_t now) { return q->due <= now; }
static bool is_for(const Question *q, uint64_t node) { return q->node == node; }
static bool is_any(const Question *q, uint64_t unused) { return q != NULL && unused == 0; }

static void look(uv_timer_t *unused) {
    (void)unused;
    end_all(is_late, clock_real(), UV_ETIMEDOUT);
    link_flush_all();
}

void call_broken(uint32_t node) { end_all(is_for, node, UV_EHOSTUNREACH); }

static void close_all(void *unused) {
    (void)unused;
    end_all(is_any, 0, UV_EHOSTUNREACH);
    if (has_timer) uv_close((uv_handle_t *)&timer, NULL);
    has_timer = false;
}

void call_close(void) { loop_call(close_all, NULL); }

/* ---- asking ---- */

static bool remember(uint64_t ref, uint32_t node, uint64_t timeout_ms, CallDone done, void *context) {
    Question *q = malloc(sizeof *q);
    if (q == NULL || map_put(&questions, ref, (uint64_t)(uintptr_t)q) < 0) {
        free(q);
        return false;
    }
    *q = (Question){node, clock_real() + timeout_ms * CLOCK_NS_PER_MS, done, context};
    if (!has_timer) uv_timer_init(loop_uv(), &timer);
    has_timer = true;
    if (!uv_is_active((uv_handle_t *)&timer)) uv_timer_start(&timer, look, LOOK_MS, LOOK_MS);
    return true;
}

static void serve(CallFrom from, uint64_t service, const unsigned char *body, size_t len, int *status) {
    CallServe how = service < CALL_SERVICES ? services[service] : NULL;
    *status = how == NULL ? ANSWER_NOBODY : ANSWER_DONE;
    if (service == CALL_ECHO) call_answer(from, body, len), *status = ANSWER_DONE;
    else if (how != NULL) how(from, body, len);
}

void call_ask(uint32_t node, CallService service, const void *body, size_t len, uint64_t timeout_ms, CallDone done,
              void *context) {
    Link *l = node != 0 ? members_find(node) : NULL;
    uint64_t ref = ++last_ref;
    int err = len > CALL_MAX ? UV_E2BIG : node != 0 && l == NULL ? UV_EHOSTUNREACH : 0, status = ANSWER_DONE;
    if (err == 0 && !remember(ref, node, timeout_ms, done, context)) err = UV_ENOMEM;
    if (err < 0) {
        done(context, err, NULL, 0);
        return;
    }
    if (l != NULL)
        err = link_put(l, &(Record){.kind = RECORD_CALL, .name = (uint32_t)service, .ref = ref, .payload = body,
                                    .size = len});
    else serve((CallFrom){.ref = ref}, (uint64_t)service, body, len, &status);
    if (status == ANSWER_NOBODY) err = UV_ENOTSUP;
    if (err < 0) end(ref, err, NULL, 0);
}

/* ---- answering ---- */

static int answer(CallFrom from, int status, const void *body, size_t len) {
    Link *l = members_find(from.node);
    if (l == NULL || link_session(l) != from.session) return UV_EHOSTUNREACH;
    return link_put(l, &(Record){.kind = RECORD_ANSWER, .to = (uint64_t)status, .ref = from.ref, .payload = body,
                                 .size = len});
}

void call_answer(CallFrom from, const void *body, size_t len) {
    if (from.node == 0) {
        end(from.ref, len > CALL_MAX ? UV_E2BIG : 0, len > CALL_MAX ? NULL : body, len > CALL_MAX ? 0 : len);
        return;
    }
    int err = len > CALL_MAX ? UV_E2BIG : answer(from, ANSWER_DONE, body, len);
    if (err == UV_E2BIG || err == UV_ENOMEM)
        answer(from, err == UV_E2BIG ? ANSWER_TOO_BIG : ANSWER_NO_MEMORY, NULL, 0);
}

void call_came(Link *l, const Record *r) {
    if (r->kind == RECORD_CALL) {
        CallFrom from = {link_index(l), link_session(l), r->ref};
        int status;
        serve(from, r->name, r->payload, r->size, &status);
        if (status != ANSWER_DONE) answer(from, status, NULL, 0);
        return;
    }
    uint64_t value;
    /* Only who was asked may answer. */
    if (!map_get(&questions, r->ref, &value) || ((Question *)(uintptr_t)value)->node != link_index(l)) return;
    end(r->ref, r->to == ANSWER_DONE ? 0 : r->to == ANSWER_NOBODY ? UV_ENOTSUP : r->to == ANSWER_TOO_BIG ? UV_E2BIG :
        UV_ENOMEM, r->payload, r->size);
}
