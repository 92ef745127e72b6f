/* Ops that go on until they are cancelled: log, deadletters. What happens on any thread becomes a piece, and goes to
 * the loop as a job; if these are not carried out as fast as they come, the rest is counted and told. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "ground/clock.h"
#include "ground/log.h"
#include "ground/metrics.h"
#include "mail/letter.h"
#include "mail/post.h"
#include "ops/request.h"
#include "ops/rows.h"
#include "run/loop.h"

#define WAITING_MOST 4096 /* pieces that wait for the loop */
#define TEXT_MOST 4000    /* bytes of a line of the log */

typedef enum { FOLLOW_LOG, FOLLOW_LETTERS, FOLLOWS } Follow;

typedef struct Follower {
    struct Follower *next;
    uint64_t ticket;
    LogLevel level; /* of FOLLOW_LOG */
    int64_t left;   /* pieces it still wants */
    Follow what;
} Follower;

typedef struct Event {
    Follow what;
    LogLevel level;
    Text piece;
} Event;

static Follower *followers;                   /* the loop's */
static _Atomic int waiting;                   /* relaxed: a bound, give or take a few */
static _Atomic uint64_t lost;                 /* relaxed: told when there is room again */

/* ---- on the loop's thread ---- */

static void tell(Follow what, LogLevel level, const Text *piece) {
    for (Follower *f = followers, *next; f != NULL; f = next) {
        next = f->next;
        Request *r = request_of(f->ticket);
        if (f->what != what || level < f->level || r == NULL) continue;
        Text copy = {0};
        text_put(&copy, piece->bytes, piece->len);
        request_more(r, &copy);
        if (f->left > 0 && --f->left == 0) request_true(r); /* drops f */
    }
}

static void on_event(void *event) {
    Event *e = event;
    atomic_fetch_sub_explicit(&waiting, 1, memory_order_relaxed);
    uint64_t count = atomic_exchange_explicit(&lost, 0, memory_order_relaxed);
    if (count > 0) {
        Text t = {0};
        json_open(&t, NULL, '{');
        json_integer(&t, "lost", (int64_t)count);
        json_close(&t, '}');
        tell(FOLLOW_LOG, LOG_OFF, &t);
        tell(FOLLOW_LETTERS, LOG_OFF, &t);
        text_free(&t);
    }
    tell(e->what, e->level, &e->piece);
    text_free(&e->piece);
    free(e);
}

/* ---- on any thread ---- */

/* Takes `piece`. */
static void happened(Follow what, LogLevel level, Text *piece) {
    Event *e = NULL;
    if (!piece->failed && atomic_fetch_add_explicit(&waiting, 1, memory_order_relaxed) < WAITING_MOST &&
        (e = malloc(sizeof *e)) != NULL) {
        *e = (Event){what, level, *piece};
        if (loop_submit(on_event, e) == 0) return;
        free(e);
    }
    if (!piece->failed) atomic_fetch_sub_explicit(&waiting, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
    text_free(piece);
}

static void put_time(Text *t) { json_integer(t, "at", (int64_t)(clock_wall() / CLOCK_NS_PER_MS)); }

static void on_line(LogLevel level, const char *who, const char *text, size_t len) {
    Text t = {0};
    json_open(&t, NULL, '{');
    put_time(&t);
    json_words(&t, "level", log_level_name(level));
    json_words(&t, "actor", *who != '\0' ? who : NULL);
    json_string(&t, "text", text, len < TEXT_MOST ? len : TEXT_MOST);
    if (len > TEXT_MOST) json_bool(&t, "cut", true);
    json_close(&t, '}');
    happened(FOLLOW_LOG, level, &t);
}

static void on_letter(const Message *msg, const char *reason) {
    char text[500];
    int len;
    Text t = {0};
    const char *name = letter_name(msg, &len);
    json_open(&t, NULL, '{');
    put_time(&t);
    json_words(&t, "reason", reason);
    rows_put_pid(&t, "from", msg->from);
    rows_put_pid(&t, "to", msg->to);
    json_string(&t, "name", name, (size_t)len);
    json_string(&t, "text", text, letter_show(msg, 2, text, sizeof text));
    json_close(&t, '}');
    happened(FOLLOW_LETTERS, LOG_OFF, &t);
}

/* ---- the ops ---- */

static void watch(void) {
    LogLevel level = LOG_OFF;
    bool letters = false;
    for (const Follower *f = followers; f != NULL; f = f->next) {
        if (f->what == FOLLOW_LOG && f->level < level) level = f->level;
        letters = letters || f->what == FOLLOW_LETTERS;
    }
    log_watch(level, level < LOG_OFF ? on_line : NULL);
    post_watch(letters ? on_letter : NULL);
}

static void follower_drop(void *state) {
    Follower **at = &followers;
    while (*at != state) at = &(*at)->next;
    *at = (*at)->next;
    free(state);
    watch();
}

static void follow(Request *r, Follow what, LogLevel level) {
    Follower *f = malloc(sizeof *f);
    if (f == NULL) {
        request_error(r, "refused", "out of memory");
        return;
    }
    *f = (Follower){followers, request_ticket(r), level, request_integer(r, "limit", 0), what};
    followers = f;
    request_keep(r, f, follower_drop);
    watch();
}

static void do_log(Request *r) {
    char name[8] = "";
    size_t len;
    LogLevel level = LOG_DEBUG;
    const char *text = request_text(r, "level", &len);
    if (text != NULL && len < sizeof name) memcpy(name, text, len);
    if (text != NULL && (log_level_parse(name, &level) < 0 || level == LOG_OFF)) {
        request_error(r, "bad_request", "log: level is one of debug, info, warn, error");
        return;
    }
    follow(r, FOLLOW_LOG, text != NULL ? level : LOG_INFO);
}

static void do_deadletters(Request *r) {
    static const Metric counts[] = {METRIC_dead_pid,  METRIC_dead_full,        METRIC_dead_handler,
                                    METRIC_dead_late, METRIC_dead_unreachable, METRIC_dead_notice};
    Text t = {0};
    json_open(&t, NULL, '{');
    json_open(&t, "counts", '{');
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        json_integer(&t, metrics_name(counts[i]) + strlen("dead_"), (int64_t)metrics_sum(counts[i]));
    json_close(&t, '}');
    json_close(&t, '}');
    request_more(r, &t);
    follow(r, FOLLOW_LETTERS, LOG_DEBUG);
}

const Op ops_follow[] = {
    {"log", do_log, OP_ALL, {{"level", ARG_TEXT}, {"limit", ARG_INTEGER}}},
    {"deadletters", do_deadletters, OP_ALL, {{"limit", ARG_INTEGER}}},
    {NULL, NULL, 0, {{NULL, 0}}},
};
