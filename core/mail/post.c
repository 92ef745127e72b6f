#include "mail/post.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/log.h"
#include "ground/metrics.h"
#include "mail/atom.h"
#include "mail/codec.h"
#include "mail/registry.h"

#define LOGGED_A_SECOND 10

static PostCalls calls; /* written by post_open before other threads exist */

/* The log of dead letters: at most LOGGED_A_SECOND lines in each second, then how many more there were. */
static struct {
    pthread_mutex_t lock; /* guards the rest */
    uint64_t second, logged, kept_back;
} rate = {.lock = PTHREAD_MUTEX_INITIALIZER};

void post_open(PostCalls with) { calls = with; }

int post_send(Message *msg) {
    bool wake;
    Slot *slot = registry_find(msg->to);
    if (slot == NULL) return pid_node(msg->to) != 0 ? UV_EHOSTUNREACH : UV_ESRCH;
    int err = mailbox_push(&slot->box, msg, &wake);
    /* acquire pairs with the opening of the box; whoever lives here now is the one whose box we made awake */
    if (err >= 0 && wake) calls.wake(atomic_load_explicit(&slot->owner, memory_order_acquire));
    return err;
}

void post_deliver(Message *msg) {
    int err = post_send(msg);
    if (err < 0) post_refuse(msg, err);
}

static int put_field(Message **msg, const char *key, const char *value) {
    int err = codec_put_string(msg, key, strlen(key));
    return err < 0 ? err : codec_put_string(msg, value, strlen(value));
}

void post_fail(uint64_t asker, uint64_t ref, uint64_t about, const char *code, const char *message,
               const char *reason) {
    size_t mark;
    Message *msg = message_new(MESSAGE_FAIL, 0);
    if (msg == NULL || codec_open_table(&msg, true, &mark) < 0 || put_field(&msg, "code", code) < 0 ||
        put_field(&msg, "message", message) < 0 || codec_put_string(&msg, "actor", 5) < 0 ||
        codec_put_pid(&msg, about) < 0 || (reason != NULL && put_field(&msg, "reason", reason) < 0) ||
        codec_close_table(&msg, mark, reason != NULL ? 4 : 3) < 0) {
        message_free(msg); /* the asker's own timeout still ends its wait */
        log_format(LOG_ERROR, "", "out of memory: an ask could not be answered");
        return;
    }
    msg->to = asker;
    msg->from = about;
    msg->ref = ref;
    post_deliver(msg);
}

/* DOWN or EXIT to who wanted to watch a pid that is dead: the reason is "noproc". */
static void notice(MessageKind kind, const Message *request) {
    Message *msg = message_new(kind, 16);
    if (msg == NULL || codec_put_string(&msg, "noproc", 6) < 0) {
        message_free(msg);
        log_format(LOG_ERROR, "", "out of memory: a notice of an exit was lost");
        return;
    }
    msg->to = request->from;
    msg->from = request->to;
    msg->ref = request->ref;
    post_deliver(msg);
}

/* The name of the handler a message is for; not NUL-terminated. */
static const char *name_of(const Message *msg, int *len) {
    size_t size = 0;
    const char *name = msg->flags & MESSAGE_NAMED ? codec_first_string(msg, &size) : atom_text(msg->name, &size);
    if (msg->kind == MESSAGE_START) name = "init", size = 4;
    *len = (int)(size < ATOM_TEXT_MAX ? size : ATOM_TEXT_MAX);
    return name != NULL ? name : "";
}

static void log_letter(const Message *msg, const char *why) {
    uint64_t second = clock_now() / CLOCK_NS_PER_S, more = 0;
    if (!log_enabled(LOG_WARN)) return;
    pthread_mutex_lock(&rate.lock);
    if (rate.second != second) {
        more = rate.kept_back;
        rate.second = second, rate.logged = 0, rate.kept_back = 0;
    }
    bool speak = rate.logged < LOGGED_A_SECOND;
    if (speak) rate.logged++;
    else rate.kept_back++;
    pthread_mutex_unlock(&rate.lock);
    if (more > 0) log_format(LOG_WARN, "", "dead letters: %llu more, not shown", (unsigned long long)more);
    if (!speak) return;
    char to[PID_TEXT_MAX], from[PID_TEXT_MAX], values[160];
    int name_len;
    const char *name = name_of(msg, &name_len);
    if (msg->kind >= MESSAGE_REPLY) name = "answer", name_len = 6;
    if (msg->kind == MESSAGE_DOWN) name = "down", name_len = 4;
    if (msg->kind == MESSAGE_EXIT) name = "exit", name_len = 4;
    pid_text(msg->to, to);
    pid_text(msg->from, from);
    size_t len = 0;
    for (int i = 0; i < msg->argc && len + 8 < sizeof values; i++) {
        if (i > 0) len += (size_t)snprintf(values + len, sizeof values - len, ", ");
        len += codec_show(msg, i, 2, values + len, sizeof values - len);
    }
    values[len] = '\0';
    log_format(LOG_WARN, "", "dead letter: %.*s(%s) from %s to %s: %s", name_len, name, values, from, to, why);
}

static void dead_letter(const Message *msg, int why) {
    switch (why) {
    case UV_ENOBUFS:
        metrics_add(METRIC_dead_full, 1);
        log_letter(msg, "its mailbox is full");
        break;
    case UV_ENOENT:
        metrics_add(METRIC_dead_handler, 1);
        log_letter(msg, "it has no such handler");
        break;
    case UV_ETIMEDOUT:
        metrics_add(METRIC_dead_late, 1);
        log_letter(msg, "the asker had given up");
        break;
    case UV_EHOSTUNREACH:
        metrics_add(METRIC_dead_unreachable, 1);
        log_letter(msg, "no way to that node");
        break;
    default:
        metrics_add(METRIC_dead_pid, 1);
        log_letter(msg, "it is dead");
    }
}

/* Why an ask fails, for its asker. */
static void fail_ask(const Message *msg, int why) {
    char who[PID_TEXT_MAX], text[PID_TEXT_MAX + ATOM_TEXT_MAX + 64];
    int name_len;
    const char *name = name_of(msg, &name_len);
    pid_text(msg->to, who);
    if (why == UV_ENOENT) {
        snprintf(text, sizeof text, "%s has no handler on_%.*s", who, name_len, name);
        post_fail(msg->from, msg->ref, msg->to, "no_handler", text, NULL);
    } else if (why == UV_ENOBUFS) {
        snprintf(text, sizeof text, "the mailbox of %s is full", who);
        post_fail(msg->from, msg->ref, msg->to, "full", text, NULL);
    } else if (why == UV_EHOSTUNREACH) {
        snprintf(text, sizeof text, "no way to the node of %s", who);
        post_fail(msg->from, msg->ref, msg->to, "unreachable", text, NULL);
    } else {
        snprintf(text, sizeof text, "%s is dead", who);
        post_fail(msg->from, msg->ref, msg->to, "down", text, "noproc");
    }
}

void post_refuse(Message *msg, int why) {
    switch ((MessageKind)msg->kind) {
    case MESSAGE_SEND: dead_letter(msg, why); break;
    case MESSAGE_START:
    case MESSAGE_ASK:
        dead_letter(msg, why);
        if (msg->ref != 0) fail_ask(msg, why);
        break;
    case MESSAGE_REPLY:
    case MESSAGE_FAIL: dead_letter(msg, UV_ETIMEDOUT); break;
    case MESSAGE_MONITOR: notice(MESSAGE_DOWN, msg); break;
    case MESSAGE_LINK: notice(MESSAGE_EXIT, msg); break;
    case MESSAGE_DOWN:
    case MESSAGE_EXIT:
        if (why == UV_ENOENT) dead_letter(msg, why);
        break;
    case MESSAGE_TIMER:
    case MESSAGE_KILL:
    case MESSAGE_STOP:
    case MESSAGE_DEMONITOR:
    case MESSAGE_UNLINK: break; /* meant for a living one: nothing is missed */
    }
    message_free(msg);
}
