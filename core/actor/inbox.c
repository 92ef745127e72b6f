#include "actor/inbox.h"

#include <string.h>
#include <uv.h>
#include "actor/alarm.h"
#include "actor/cycle.h"
#include "actor/faults.h"
#include "actor/fiber.h"
#include "actor/reload.h"
#include "actor/report.h"
#include "actor/visit.h"
#include "ground/clock.h"
#include "ground/config.h"
#include "ground/log.h"
#include "ground/metrics.h"
#include "mail/overflow.h"
#include "mail/payload.h"
#include "mail/post.h"

#define MERGED_MOST 256

static bool is_normal(const Message *reason) {
    size_t len;
    const char *text = payload_first_string(reason, &len);
    return text != NULL && len == 6 && memcmp(text, "normal", 6) == 0;
}

/* A linked actor is gone. True: it is a notice to hear of; else it was dealt with. */
static bool exit_came(Actor *a, Message *msg) {
    if (!watch_wants(a, msg)) { /* unlinked in the meantime */
        message_free(msg);
        return false;
    }
    if (a->traps_exits) return true; /* still linked until it is heard, so that unlink can take it back */
    watch_take(a, msg);
    if (is_normal(msg)) message_free(msg);
    else actor_end(a, msg);
    return false;
}

static void killed(Actor *a, Message *msg) {
    a->killed = true;
    message_free(msg);
    msg = message_new(MESSAGE_EXIT, 16);
    if (msg != NULL) payload_put_string(&msg, "killed", 6); /* fits: cannot fail */
    message_free(a->ending);
    a->ending = NULL;
    actor_end(a, msg);
}

/* Behind what was taken before: all that has come since. */
void inbox_gather(Actor *a) {
    Message *more = mailbox_take(&a->slot->box);
    if (more == NULL) return;
    Message *last = more;
    while (last->next != NULL) last = last->next;
    if (a->inbox.last != NULL) a->inbox.last->next = more;
    else a->inbox.first = more;
    a->inbox.last = last;
}

/* Notices (oldest first) go to `early`; user messages from the same senders go before them. One walk over what
 * waits, for all notices that came together. */
static void add_notices(Actor *a, Queue *notices) {
    Map gone = {0};
    inbox_gather(a);
    bool one = notices->first == notices->last;
    for (Message *n = notices->first; n != NULL && !one; n = n->next)
        if (map_put(&gone, n->from, 1) < 0) log_format(LOG_ERROR, "", "out of memory: a notice may come early");
    Message *before = NULL, *msg = a->inbox.first;
    while (msg != NULL) {
        Message *next = msg->next;
        if (one ? msg->from == notices->first->from : map_get(&gone, msg->from, NULL)) {
            if (before != NULL) before->next = next;
            else a->inbox.first = next;
            if (a->inbox.last == msg) a->inbox.last = before;
            queue_push(&a->early, msg);
        } else {
            before = msg;
        }
        msg = next;
    }
    map_clear(&gone);
    while ((msg = queue_pop(notices)) != NULL) queue_push(&a->early, msg);
}

void inbox_system(Actor *a) {
    Queue notices = {0};
    Message *next;
    for (Message *msg = mailbox_take_system(&a->slot->box); msg != NULL; msg = next) {
        next = msg->next;
        if (msg->to != a->pid) { /* for the last owner of our slot */
            if (msg->kind == MESSAGE_VISIT) visit_refuse(msg);
            else post_refuse(msg, UV_ESRCH);
            continue;
        }
        switch ((MessageKind)msg->kind) {
        case MESSAGE_REPLY:
        case MESSAGE_FAIL:
            if (!fiber_wake(a, msg->ref, msg)) post_refuse(msg, UV_ETIMEDOUT);
            break;
        case MESSAGE_TIMER: alarm_handle(a, msg); break;
        case MESSAGE_DOWN:
            if (!watch_wants(a, msg)) message_free(msg);
            else if (fiber_wake(a, msg->ref, msg)) watch_take(a, msg); /* awaited; the fiber holds it */
            else queue_push(&notices, msg);
            break;
        case MESSAGE_EXIT:
            if (exit_came(a, msg)) queue_push(&notices, msg);
            break;
        case MESSAGE_KILL: killed(a, msg); break;
        case MESSAGE_STOP: {
            bool patient = a->ending == NULL || a->patient;
            actor_end(a, msg);
            a->patient = patient;
            break;
        }
        case MESSAGE_MONITOR:
        case MESSAGE_DEMONITOR:
        case MESSAGE_LINK:
        case MESSAGE_UNLINK: watch_handle(a, msg); break;
        case MESSAGE_RELOAD:
            if (a->current != NULL) scheduler_expire(); /* out of the VM: it is done there */
            reload_came(a, msg);
            break;
        case MESSAGE_CIRCLE: cycle_came(a, msg); break;
        case MESSAGE_VISIT:
            queue_push(&a->visits, msg);
            scheduler_expire(); /* out of the VM: it is served there. Costs who handles messages no look of its own */
            break;
        case MESSAGE_SEND:
        case MESSAGE_ASK:
        case MESSAGE_START: message_free(msg); break; /* never in this lane */
        }
    }
    if (notices.first != NULL) add_notices(a, &notices);
}

static bool fill(Actor *a) {
    if (a->inbox.first != NULL) return true;
    Message *msg = mailbox_take(&a->slot->box);
    if (msg == NULL) return false;
    a->inbox.first = msg;
    while (msg->next != NULL) msg = msg->next;
    a->inbox.last = msg;
    return true;
}

bool inbox_ready(Actor *a) {
    return a->start != NULL || a->early.first != NULL || a->due.first != NULL || fill(a);
}

static bool is_user(const Message *msg) { return msg->kind <= MESSAGE_ASK; }

/* A mailbox that drops what is old, before another message is begun: only what may stay is left.
 * LATEST walks over all that waits, so with much of it only once there is as much that is new. */
static __attribute__((noinline)) void drop_old(Actor *a) {
    Mailbox *box = &a->slot->box;
    if (mailbox_full(box) == MAILBOX_DROP_OLDEST) {
        while (mailbox_depth(box) > mailbox_limit(box) && !scheduler_expired() && fill(a)) {
            Message *msg = queue_pop(&a->inbox);
            msg->next = NULL;
            mailbox_begun(box, 1);
            post_drop(msg, false);
        }
        return;
    }
    uint32_t fresh = mailbox_untaken(box), before = mailbox_depth(box) - fresh;
    if (fresh == 0 || (before > MERGED_MOST && fresh < before)) return;
    inbox_gather(a);
    Message *chain = message_reverse(a->inbox.first), *newest = chain;
    if (chain == NULL) return; /* seized just now */
    uint32_t count = 0;
    for (Message *msg = chain; msg != NULL; msg = msg->next) count++;
    Overflow o = overflow_cut(&chain, MAILBOX_LATEST, mailbox_limit(box));
    a->inbox.first = message_reverse(chain);
    a->inbox.last = newest; /* there is none newer: it stays */
    mailbox_begun(box, count - o.kept);
    post_drop(o.replaced, true);
    post_drop(o.cut, false);
}

/* A request that nobody waits for any more: its asker gave up (then it ticked the clock) or is dead. */
static bool is_vain(const Message *msg) {
    if ((msg->flags & MESSAGE_LIMITED) && message_deadline(msg) <= clock_coarse()) return true;
    return msg->from != 0 && pid_node(msg->from) == 0 && registry_find(msg->from) == NULL;
}

/* The asker hears why we went. */
static void tell_asker(Actor *a, Message *msg) {
    Message *answer = report_down(a, a->ending);
    if (answer == NULL) return;
    answer->to = msg->from;
    answer->from = a->pid;
    answer->ref = msg->ref;
    msg->ref = 0;
    post_deliver(answer);
}

/* A message about to be handled, under a test's fault injection. True: go on with it; else it was taken. */
static __attribute__((noinline, cold)) bool passes(Actor *a, Message *msg) {
    switch (faults_judge(a, msg)) {
    case FAULT_NONE: return true;
    case FAULT_DROP: message_free(msg); break;
    case FAULT_DELAY: break; /* faults.c holds it */
    case FAULT_KILL:
        killed(a, NULL);
        if (msg->ref != 0) tell_asker(a, msg); /* of a request, or who waits for init */
        message_free(msg); /* as if it had died while it handled that: no dead letter */
    }
    return false;
}

Message *inbox_next(Actor *a) {
    Message *msg;
    for (;;) {
        if (mailbox_has_system(&a->slot->box)) inbox_system(a);
        if (a->ending != NULL || actor_has_enough(a) || scheduler_expired()) return NULL;
        if (a->runnable != NULL) return NULL; /* a handler that waited goes on before another begins */
        if (__builtin_expect(mailbox_drops_old(&a->slot->box), 0)) drop_old(a);
        if (a->start != NULL) {
            msg = a->start;
            a->start = NULL;
        } else if (a->early.first != NULL) {
            msg = queue_pop(&a->early);
            if (is_user(msg)) {
                mailbox_begun(&a->slot->box, 1);
            } else if (!watch_take(a, msg)) { /* taken back while it waited here */
                message_free(msg);
                continue;
            }
        } else if (a->due.first != NULL && !(a->saw_timer && fill(a))) {
            a->saw_timer = true;
            msg = alarm_letter(a, queue_pop(&a->due));
            if (msg == NULL) continue;
        } else if (fill(a)) {
            a->saw_timer = false;
            msg = queue_pop(&a->inbox);
            mailbox_begun(&a->slot->box, 1);
        } else {
            return NULL;
        }
        if (msg->to != a->pid && msg->kind != MESSAGE_START) {
            post_refuse(msg, UV_ESRCH);
            continue;
        }
        if (msg->kind == MESSAGE_ASK && is_vain(msg)) {
            metrics_add(METRIC_skipped, 1);
            post_refuse(msg, UV_ETIMEDOUT);
            continue;
        }
        if (__builtin_expect(faults_active(), 0) && !passes(a, msg)) continue;
        actor_count(a);
        metrics_add(METRIC_messages, 1);
        return msg;
    }
}

static void refuse(Actor *a, Message *msg) {
    if (msg->kind == MESSAGE_VISIT) {
        visit_refuse(msg);
        return;
    }
    if (msg->to == a->pid && msg->kind == MESSAGE_ASK) tell_asker(a, msg);
    post_refuse(msg, UV_ESRCH);
}

void inbox_refuse_all(Actor *a) {
    Message *user, *system, *msg;
    mailbox_close(&a->slot->box, &user, &system);
    if (a->start != NULL) {
        a->start->to = a->pid;
        a->start->kind = a->start->ref != 0 ? MESSAGE_ASK : MESSAGE_START;
        if (a->start->ref != 0) refuse(a, a->start);
        else message_free(a->start);
        a->start = NULL;
    }
    while ((msg = queue_pop(&a->due)) != NULL) message_free(msg);
    while ((msg = queue_pop(&a->visits)) != NULL) visit_refuse(msg);
    while ((msg = queue_pop(&a->early)) != NULL) refuse(a, msg);
    while ((msg = queue_pop(&a->inbox)) != NULL) refuse(a, msg);
    for (; user != NULL; user = msg) {
        msg = user->next;
        refuse(a, user);
    }
    for (; system != NULL; system = msg) {
        msg = system->next;
        refuse(a, system);
    }
}
