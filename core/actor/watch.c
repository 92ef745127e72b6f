#include "actor/watch.h"

#include <uv.h>
#include "actor/actor.h"
#include "ground/log.h"
#include "mail/post.h"

/* A system message without values. A node that has no 64 bytes left loses it, with a word. */
static int tell(Actor *a, MessageKind kind, uint64_t to, uint64_t ref) {
    Message *msg = message_new(kind, 0);
    if (msg == NULL) return UV_ENOMEM;
    msg->to = to;
    msg->from = a->pid;
    msg->ref = ref;
    post_deliver(msg);
    return 0;
}

int watch_monitor(Actor *a, uint64_t pid, uint64_t *ref) {
    *ref = actor_ref(a, REF_MONITOR);
    int err = map_put(&a->watch.monitors, *ref, pid);
    if (err < 0) return err;
    if ((err = tell(a, MESSAGE_MONITOR, pid, *ref)) < 0) map_take(&a->watch.monitors, *ref, NULL);
    return err;
}

int watch_expect(Actor *a, uint64_t *ref) {
    *ref = actor_ref(a, REF_MONITOR);
    return map_put(&a->watch.monitors, *ref, 0);
}

void watch_expected(Actor *a, uint64_t ref, uint64_t pid) {
    if (pid == 0) map_take(&a->watch.monitors, ref, NULL);
    else if (map_get(&a->watch.monitors, ref, NULL)) map_put(&a->watch.monitors, ref, pid); /* in place: can't fail */
}

bool watch_demonitor(Actor *a, uint64_t ref) {
    uint64_t pid;
    if (!map_take(&a->watch.monitors, ref, &pid)) return false;
    tell(a, MESSAGE_DEMONITOR, pid, ref); /* lost for want of memory: the down that comes is dropped here */
    return true;
}

int watch_link(Actor *a, uint64_t pid) {
    if (map_get(&a->watch.links, pid, NULL)) return 0;
    int err = map_put(&a->watch.links, pid, 1);
    if (err < 0) return err;
    if ((err = tell(a, MESSAGE_LINK, pid, 0)) < 0) map_take(&a->watch.links, pid, NULL);
    return err;
}

void watch_unlink(Actor *a, uint64_t pid) {
    if (map_take(&a->watch.links, pid, NULL)) tell(a, MESSAGE_UNLINK, pid, 0);
}

void watch_handle(Actor *a, Message *msg) {
    int err = 0;
    switch ((MessageKind)msg->kind) {
    case MESSAGE_MONITOR: err = map_put(&a->watch.watchers, msg->ref, msg->from); break;
    case MESSAGE_DEMONITOR: map_take(&a->watch.watchers, msg->ref, NULL); break;
    case MESSAGE_LINK: err = map_put(&a->watch.links, msg->from, 1); break;
    case MESSAGE_UNLINK: map_take(&a->watch.links, msg->from, NULL); break;
    default: break;
    }
    if (err < 0) log_format(LOG_ERROR, "", "out of memory: a monitor or link was lost");
    message_free(msg);
}

bool watch_wants(const Actor *a, const Message *msg) {
    return msg->kind == MESSAGE_DOWN ? map_get(&a->watch.monitors, msg->ref, NULL)
                                     : map_get(&a->watch.links, msg->from, NULL);
}

bool watch_take(Actor *a, const Message *msg) {
    return msg->kind == MESSAGE_DOWN ? map_take(&a->watch.monitors, msg->ref, NULL)
                                     : map_take(&a->watch.links, msg->from, NULL);
}

static void send_reason(Actor *a, MessageKind kind, uint64_t to, uint64_t ref, const Message *reason) {
    Message *msg = message_copy(reason);
    if (msg == NULL) {
        log_format(LOG_ERROR, "", "out of memory: a notice of an exit was lost");
        return;
    }
    msg->kind = kind;
    msg->to = to;
    msg->from = a->pid;
    msg->ref = ref;
    post_deliver(msg);
}

void watch_farewell(Actor *a, const Message *reason) {
    MapPair pair;
    uint32_t at = 0;
    while (map_next(&a->watch.monitors, &at, &pair))
        if (pair.value != 0) tell(a, MESSAGE_DEMONITOR, pair.value, pair.key);
    at = 0;
    while (map_next(&a->watch.watchers, &at, &pair)) send_reason(a, MESSAGE_DOWN, pair.value, pair.key, reason);
    at = 0;
    while (map_next(&a->watch.links, &at, &pair)) send_reason(a, MESSAGE_EXIT, pair.key, 0, reason);
    map_clear(&a->watch.monitors);
    map_clear(&a->watch.watchers);
    map_clear(&a->watch.links);
}
