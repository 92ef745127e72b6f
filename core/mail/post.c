#include "mail/post.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/log.h"
#include "ground/metrics.h"
#include "mail/atom.h"
#include "mail/letter.h"
#include "mail/overflow.h"
#include "mail/payload.h"
#include "mail/registry.h"

#define LOGGED_A_SECOND 10
#define ECHOES_A_SECOND 1000

static PostCalls calls; /* written by post_open before other threads exist */

/* The log of dead letters: at most LOGGED_A_SECOND lines in each second, then how many more there were. `echoes`: see
 * is_one_echo_too_many. */
static struct {
    pthread_mutex_t lock; /* guards the rest */
    uint64_t second, logged, kept_back;
    uint64_t echo_second, echoes;
} rate = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Atomic(void (*)(const Message *msg, const char *reason)) watcher; /* relaxed: it is called, or a moment later */

void post_open(PostCalls with) { calls = with; }

void post_watch(void (*on)(const Message *msg, const char *reason)) {
    atomic_store_explicit(&watcher, on, memory_order_relaxed);
}

void post_chase(uint64_t asker, uint64_t ref, uint32_t name, uint64_t whom) {
    if (calls.chase != NULL) calls.chase(asker, ref, name, whom);
}

static inline void wake_owner(Slot *slot) {
    /* acquire pairs with the opening of the box; whoever lives here now is the one whose box we made awake */
    calls.wake(atomic_load_explicit(&slot->owner, memory_order_acquire));
}

void post_drop(Message *list, bool replaced) {
    for (Message *msg = list, *next; msg != NULL; msg = next) {
        next = msg->next;
        metrics_add(METRIC_dropped, 1);
        atomic_fetch_add_explicit(&registry_tally(msg->to)->dropped, 1, memory_order_relaxed);
        if (replaced) message_free(msg);
        else post_refuse(msg, UV_ENOBUFS);
    }
}

/* A mailbox is full. If it drops what is old, its owner does not come to it: room is made here. True: try again. */
static __attribute__((noinline, cold)) bool make_room(Slot *slot, uint64_t to) {
    Mailbox *box = &slot->box;
    if (!mailbox_drops_old(box)) return false;
    Message *chain = mailbox_seize(box);
    if (chain == NULL) { /* whoever is at it is done soon */
        sched_yield();
        return true;
    }
    Overflow o = overflow_cut(&chain, mailbox_full(box), mailbox_limit(box) - 1);
    SlotTally *tally = registry_tally(to);
    uint32_t now = (uint32_t)(clock_coarse() >> MAILBOX_STAMP_SHIFT),
             since = atomic_load_explicit(&box->since, memory_order_relaxed),
             before = atomic_exchange_explicit(&tally->trimmed, now, memory_order_relaxed);
    /* As many have come since it was trimmed before as may stay, so all that stay have come since. */
    if (mailbox_full(box) == MAILBOX_DROP_OLDEST && 2 * mailbox_limit(box) <= MAILBOX_LIMIT_MAX &&
        (int32_t)(before - since) > 0)
        atomic_store_explicit(&box->since, before, memory_order_relaxed);
    if (mailbox_restore(box, chain, o.kept)) wake_owner(slot);
    post_drop(o.replaced, true);
    post_drop(o.cut, false);
    return true;
}

/* A mailbox is full, and stays as it is. */
static __attribute__((noinline, cold)) int not_taken(Slot *slot, Message *msg) {
    if (mailbox_full(&slot->box) == MAILBOX_DROP_NEWEST && msg->kind == MESSAGE_SEND) {
        msg->next = NULL;
        post_drop(msg, false);
        return POST_DROPPED;
    }
    atomic_fetch_add_explicit(&registry_tally(msg->to)->refused, 1, memory_order_relaxed);
    return UV_ENOBUFS;
}

static __attribute__((noinline)) int send_away(Message *msg) {
    if (pid_node(msg->to) == 0) return UV_ESRCH;
    return calls.away != NULL && !bits_are_ref(msg->to) ? calls.away(msg) : UV_EHOSTUNREACH;
}

int post_send(Message *msg) {
    int err;
    bool wake;
    Slot *slot = registry_find(msg->to);
    if (slot == NULL) return send_away(msg);
    if (msg->kind == MESSAGE_REPLY || msg->kind == MESSAGE_FAIL) registry_answered(slot, msg->ref);
    do {
        err = mailbox_push(&slot->box, msg, &wake);
        if (__builtin_expect(err >= 0, 1)) {
            if (wake) wake_owner(slot);
            return err;
        }
    } while (err == UV_ENOBUFS && make_room(slot, msg->to));
    return err == UV_ENOBUFS ? not_taken(slot, msg) : err;
}

void post_deliver(Message *msg) {
    int err = post_send(msg);
    if (err < 0) post_refuse(msg, err);
}

static int put_field(Message **msg, const char *key, const char *value) {
    int err = payload_put_string(msg, key, strlen(key));
    return err < 0 ? err : payload_put_string(msg, value, strlen(value));
}

void post_fail(uint64_t asker, uint64_t ref, uint64_t about, const char *code, const char *message,
               const char *reason) {
    size_t mark;
    Message *msg = message_new(MESSAGE_FAIL, 0);
    if (msg == NULL || payload_open_table(&msg, true, &mark) < 0 || put_field(&msg, "code", code) < 0 ||
        put_field(&msg, "message", message) < 0 || payload_put_string(&msg, "actor", 5) < 0 ||
        payload_put_pid(&msg, about) < 0 || (reason != NULL && put_field(&msg, "reason", reason) < 0) ||
        payload_close_table(&msg, mark, reason != NULL ? 4 : 3) < 0) {
        message_free(msg); /* the asker's own timeout still ends its wait */
        log_format(LOG_ERROR, "", "out of memory: an ask could not be answered");
        return;
    }
    msg->to = asker;
    msg->from = about;
    msg->ref = ref;
    post_deliver(msg);
}

/* DOWN or EXIT to who wanted to watch a pid that is dead ("noproc"), or out of reach. */
static void notice(MessageKind kind, const Message *request, int why) {
    const char *reason = why == UV_EHOSTUNREACH || why == UV_ENOBUFS ? "noconnection" : "noproc";
    Message *msg = message_new(kind, 16);
    if (msg == NULL || payload_put_string(&msg, reason, strlen(reason)) < 0) {
        message_free(msg);
        log_format(LOG_ERROR, "", "out of memory: a notice of an exit was lost");
        return;
    }
    msg->to = request->from;
    msg->from = request->to;
    msg->ref = request->ref;
    post_deliver(msg);
}

/* ---- topics ---- */

Message *post_notice(Topic topic) {
    const char *name = topic_name(topic);
    size_t len = strlen(name);
    Message *msg = message_new(MESSAGE_SEND, 512);
    if (msg == NULL) return NULL;
    msg->flags = MESSAGE_NOTICE;
    if ((msg->name = atom_intern(name, len)) == 0) { /* the table of atoms is full */
        payload_put_string(&msg, name, len);         /* fits: cannot fail */
        msg->flags |= MESSAGE_NAMED;
        msg->argc = 0;
    }
    return msg;
}

void post_notify(Topic topic, Message *notice, uint64_t except) {
    uint64_t to[TOPIC_SUBSCRIBERS_MAX];
    size_t count = topic_subscribers(topic, to);
    for (size_t i = 0; i < count; i++) {
        if (to[i] == except) continue;
        Message *msg = message_copy(notice);
        if (msg == NULL) {
            metrics_add(METRIC_dead_notice, 1);
            continue;
        }
        msg->to = to[i];
        int err = post_send(msg);
        if (err == UV_ESRCH) {
            topic_unsubscribe(topic, to[i]);
            message_free(msg);
        } else if (err < 0) {
            post_refuse(msg, err);
        }
    }
    message_free(notice);
}

/* ---- dead letters ---- */

static const SlotKind *kind_of(uint64_t pid) { /* NULL: it is dead */
    return registry_find(pid) != NULL ? atomic_load_explicit(&registry_tally(pid)->kind, memory_order_acquire) : NULL;
}

/* " (guy, version 4f0c...)" of who has that pid. */
static const char *kind_text(uint64_t pid, char *out, size_t size) {
    const SlotKind *kind = kind_of(pid);
    if (kind == NULL) return "";
    snprintf(out, size, " (%.100s, version %s)", kind->name, kind->version);
    return out;
}

static void log_letter(const Message *msg, const char *why, bool no_handler) {
    uint64_t second = clock_real() / CLOCK_NS_PER_S, more = 0;
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
    char to[PID_TEXT_MAX], from[PID_TEXT_MAX], text[ATOM_TEXT_MAX + 160], kind[160];
    pid_text(msg->to, to);
    pid_text(msg->from, from);
    letter_show(msg, 2, text, sizeof text);
    log_format(LOG_WARN, "", "dead letter: %s from %s to %s: %s%s", text, from, to, why,
               no_handler ? kind_text(msg->to, kind, sizeof kind) : "");
}

/* A subscriber that loses a letter over each one it hears of would never come to an end, as fast as it can. Of the
 * letters of subscribers only so many are told in a second. */
static bool is_one_echo_too_many(uint64_t from) {
    if (from == 0 || !topic_has(TOPIC_DEAD_LETTER, from)) return false;
    uint64_t second = clock_real() / CLOCK_NS_PER_S;
    pthread_mutex_lock(&rate.lock);
    if (rate.echo_second != second) rate.echo_second = second, rate.echoes = 0;
    bool too_many = rate.echoes++ >= ECHOES_A_SECOND;
    pthread_mutex_unlock(&rate.lock);
    return too_many;
}

/* Whose handlers were looked through. */
static int put_kind(Message **notice, unsigned *pairs, uint64_t pid) {
    const SlotKind *kind = kind_of(pid);
    if (kind == NULL) return 0;
    *pairs += 2;
    int err = put_field(notice, "behaviour", kind->name);
    return err < 0 ? err : put_field(notice, "version", kind->version);
}

static void tell_letter(const Message *msg, const char *reason, bool no_handler) {
    size_t mark;
    unsigned pairs = 2;
    if (!topic_wanted(TOPIC_DEAD_LETTER)) return;
    Message *notice = is_one_echo_too_many(msg->from) ? NULL : post_notice(TOPIC_DEAD_LETTER);
    if (notice == NULL || payload_open_table(&notice, false, &mark) < 0 || payload_put_string(&notice, "to", 2) < 0 ||
        payload_put_pid(&notice, msg->to) < 0 || put_field(&notice, "reason", reason) < 0 ||
        (no_handler && put_kind(&notice, &pairs, msg->to) < 0) || letter_put(&notice, &pairs, msg) < 0 ||
        payload_close_table(&notice, mark, pairs) < 0) {
        message_free(notice);
        metrics_add(METRIC_dead_notice, 1);
        return;
    }
    post_notify(TOPIC_DEAD_LETTER, notice, 0);
}

static const struct Fate {
    int why;
    Metric metric;
    const char *reason, *text; /* for subscribers, for the log */
} fates[] = {
    {UV_ENOBUFS, METRIC_dead_full, "full", "its mailbox is full"},
    {UV_ENOENT, METRIC_dead_handler, "no_handler", "it has no such handler"},
    {UV_ETIMEDOUT, METRIC_dead_late, "late", "the asker had given up"},
    {UV_EHOSTUNREACH, METRIC_dead_unreachable, "unreachable", "no way to that node"},
    {UV_E2BIG, METRIC_dead_unreachable, "too_large", "it is too large for the way to that node"},
    {UV_ESRCH, METRIC_dead_pid, "dead", "it is dead"}, /* the last one: for all else */
};

static void dead_letter(const Message *msg, int why) {
    const struct Fate *fate = fates;
    while (fate->why != why && fate->why != UV_ESRCH) fate++;
    if (msg->flags & MESSAGE_NOTICE) { /* never a notice of a notice */
        metrics_add(METRIC_dead_notice, 1);
        if (why == UV_ENOENT) log_letter(msg, fate->text, true); /* a subscriber that can't hear: somebody's mistake */
        return;
    }
    metrics_add(fate->metric, 1);
    void (*on)(const Message *, const char *) = atomic_load_explicit(&watcher, memory_order_relaxed);
    if (on != NULL) on(msg, fate->reason);
    log_letter(msg, fate->text, why == UV_ENOENT);
    tell_letter(msg, fate->reason, why == UV_ENOENT);
}

/* Why an ask fails, for its asker. */
static void fail_ask(const Message *msg, int why) {
    char who[PID_TEXT_MAX], text[PID_TEXT_MAX + ATOM_TEXT_MAX + 64];
    int name_len;
    const char *name = letter_name(msg, &name_len);
    pid_text(msg->to, who);
    if (why == UV_ENOENT) {
        snprintf(text, sizeof text, "%s has no handler on_%.*s", who, name_len, name);
        post_fail(msg->from, msg->ref, msg->to, "no_handler", text, NULL);
    } else if (why == UV_ENOBUFS) {
        snprintf(text, sizeof text, pid_node(msg->to) == 0 ? "the mailbox of %s is full"
                                                           : "the mailbox of %s, or the way there, is full", who);
        post_fail(msg->from, msg->ref, msg->to, "full", text, NULL);
    } else if (why == UV_E2BIG) {
        snprintf(text, sizeof text, "the request is too large for the way to the node of %s (net.message there)", who);
        post_fail(msg->from, msg->ref, msg->to, "too_large", text, NULL);
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
        if (msg->ref != 0 && why != UV_ETIMEDOUT) fail_ask(msg, why);
        break;
    case MESSAGE_REPLY:
    case MESSAGE_FAIL: dead_letter(msg, UV_ETIMEDOUT); break;
    case MESSAGE_MONITOR: notice(MESSAGE_DOWN, msg, why); break;
    case MESSAGE_LINK: notice(MESSAGE_EXIT, msg, why); break;
    case MESSAGE_DOWN:
    case MESSAGE_EXIT:
        if (why == UV_ENOENT) dead_letter(msg, why);
        break;
    case MESSAGE_TIMER:
    case MESSAGE_KILL:
    case MESSAGE_STOP:
    case MESSAGE_DEMONITOR:
    case MESSAGE_UNLINK:
    case MESSAGE_RELOAD:
    case MESSAGE_CIRCLE:
    case MESSAGE_VISIT: break; /* meant for a living one: nothing is missed */
    }
    message_free(msg);
}
