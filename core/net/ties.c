#include "net/ties.h"

#include <stdatomic.h>
#include <stdio.h>
#include <uv.h>
#include "ground/log.h"
#include "ground/pool.h"
#include "mail/payload.h"
#include "mail/pid.h"
#include "mail/post.h"
#include "mail/registry.h"

#define LOOKS 1024   /* at asks, a tick and link */
#define OFTEN 20     /* ticks between two chases from one ask, at most */

typedef struct Tie {
    uint64_t ours, other;
    uint32_t name, since, due; /* of an ask: its question's atom; ticks when it was asked, and when it is due next */
} Tie;

static _Atomic uint32_t ticks; /* written by the loop; relaxed: an ask may be a tick younger than it looks */

static _Atomic uint64_t foreign; /* the last serial number; relaxed: all that counts is that each is another */

static Tie *find(const Map *m, uint64_t ref) {
    uint64_t bits;
    return map_get(m, ref, &bits) ? (Tie *)(uintptr_t)bits : NULL;
}

static int put(Map *m, uint64_t ref, Tie tie) {
    Tie *t = find(m, ref);
    if (t == NULL) {
        if ((t = pool_alloc(sizeof *t)) == NULL) return UV_ENOMEM;
        if (map_put(m, ref, (uint64_t)(uintptr_t)t) < 0) {
            pool_free(t, sizeof *t);
            return UV_ENOMEM;
        }
    }
    *t = tie;
    return 0;
}

static int put_ask(Map *m, const Message *msg) {
    uint32_t now = atomic_load_explicit(&ticks, memory_order_relaxed);
    return put(m, msg->ref, (Tie){msg->from, msg->to, msg->name, now, now + 2});
}

/* False: there is none, or `ours` is another's. (A slot's next actor numbers its refs from 1 again.) */
static bool take(Map *m, uint64_t ref, uint64_t ours, Tie *out) {
    Tie *t = find(m, ref);
    if (t == NULL || t->ours != ours) return false;
    if (out != NULL) *out = *t;
    map_take(m, ref, NULL);
    pool_free(t, sizeof *t);
    return true;
}

static int link_up(Ties *t, uint64_t ours, uint64_t other) {
    uint64_t bits;
    Map *m = map_get(&t->links, ours, &bits) ? (Map *)(uintptr_t)bits : NULL;
    if (m == NULL) {
        if ((m = pool_alloc(sizeof *m)) == NULL) return UV_ENOMEM;
        *m = (Map){0};
        if (map_put(&t->links, ours, (uint64_t)(uintptr_t)m) < 0) {
            pool_free(m, sizeof *m);
            return UV_ENOMEM;
        }
    }
    return map_put(m, other, 1);
}

static bool unlink_pair(Ties *t, uint64_t ours, uint64_t other) {
    uint64_t bits;
    if (!map_get(&t->links, ours, &bits)) return false;
    Map *m = (Map *)(uintptr_t)bits;
    bool had = map_take(m, other, NULL);
    if (m->count == 0) {
        map_clear(m);
        pool_free(m, sizeof *m);
        map_take(&t->links, ours, NULL);
    }
    return had;
}

int ties_leave(Ties *t, Message *msg) {
    Tie tie;
    switch ((MessageKind)msg->kind) {
    case MESSAGE_ASK: return put_ask(&t->asks, msg);
    case MESSAGE_MONITOR: return put(&t->monitors, msg->ref, (Tie){.ours = msg->from, .other = msg->to});
    case MESSAGE_DEMONITOR: return take(&t->monitors, msg->ref, msg->from, NULL) ? 0 : TIES_DROP;
    case MESSAGE_LINK: return link_up(t, msg->from, msg->to);
    case MESSAGE_UNLINK:
    case MESSAGE_EXIT: unlink_pair(t, msg->from, msg->to); return 0;
    case MESSAGE_DOWN:
        if (!take(&t->foreign, msg->ref, msg->from, &tie)) return TIES_DROP;
        map_take(&t->theirs, tie.other, NULL);
        msg->ref = tie.other;
        return 0;
    default: return 0;
    }
}

/* A monitor of theirs gets a ref of ours. */
static int adopt(Ties *t, Message *msg) {
    uint64_t ref = ref_make(REF_FOREIGN, 1 + atomic_fetch_add_explicit(&foreign, 1, memory_order_relaxed));
    if (map_get(&t->theirs, msg->ref, NULL)) return TIES_DROP; /* twice the same */
    int err = put(&t->foreign, ref, (Tie){.ours = msg->to, .other = msg->ref});
    if (err == 0 && (err = map_put(&t->theirs, msg->ref, ref)) < 0) take(&t->foreign, ref, msg->to, NULL);
    if (err == 0) msg->ref = ref;
    return err;
}

int ties_arrive(Ties *t, Message *msg) {
    uint64_t ref;
    switch ((MessageKind)msg->kind) {
    case MESSAGE_REPLY:
    case MESSAGE_FAIL: take(&t->asks, msg->ref, msg->to, NULL); return 0; /* who waits no longer calls it late */
    case MESSAGE_MONITOR: return adopt(t, msg);
    case MESSAGE_DEMONITOR:
        if (!map_take(&t->theirs, msg->ref, &ref)) return TIES_DROP;
        msg->ref = ref;
        take(&t->foreign, ref, msg->to, NULL);
        return 0;
    case MESSAGE_DOWN: return take(&t->monitors, msg->ref, msg->to, NULL) ? 0 : TIES_DROP;
    case MESSAGE_LINK: return link_up(t, msg->to, msg->from);
    case MESSAGE_UNLINK: unlink_pair(t, msg->to, msg->from); return 0;
    case MESSAGE_EXIT: return unlink_pair(t, msg->to, msg->from) ? 0 : TIES_DROP;
    default: return 0;
    }
}

void ties_tick(void) { atomic_fetch_add_explicit(&ticks, 1, memory_order_relaxed); }

size_t ties_due(Ties *t, uint32_t *at, TiesWait *out, size_t most) {
    uint32_t now = atomic_load_explicit(&ticks, memory_order_relaxed);
    size_t count = 0;
    MapPair pair;
    for (int looks = 0; looks < LOOKS && count < most; looks++) {
        if (!map_next(&t->asks, at, &pair)) {
            *at = 0;
            break;
        }
        Tie *tie = (Tie *)(uintptr_t)pair.value;
        if ((int32_t)(now - tie->due) < 0 || pid_generation(tie->other) == 0) continue; /* 0: a question to the node */
        const Slot *slot = registry_find(tie->ours);
        if (slot == NULL) continue;
        uint64_t asks = atomic_load_explicit(&slot->asks, memory_order_relaxed);
        uint32_t age = now - tie->since;
        /* Who does not say that it waits may have given up, or finds nothing but what its own ask closes. */
        tie->due = now + (age > OFTEN && registry_asks_ref(asks, pair.key) ? OFTEN : age);
        out[count++] = (TiesWait){tie->ours, tie->other, pair.key, tie->name};
    }
    return count;
}

void ties_unask(Ties *t, uint64_t ref, uint64_t asker) { take(&t->asks, ref, asker, NULL); }

/* ---- the end ---- */

static void tell(MessageKind kind, uint64_t to, uint64_t from, uint64_t ref) {
    Message *msg = message_new(kind, 16);
    if (msg == NULL || (kind != MESSAGE_DEMONITOR && payload_put_string(&msg, "noconnection", 12) < 0)) {
        message_free(msg);
        log_format(LOG_ERROR, "", "out of memory: a notice of a broken link was lost");
        return;
    }
    msg->to = to;
    msg->from = from;
    msg->ref = ref;
    post_deliver(msg);
}

static void fail_ask(uint64_t ref, const Tie *tie, const char *node) {
    char who[PID_TEXT_MAX], text[PID_TEXT_MAX + 160];
    pid_text(tie->other, who);
    snprintf(text, sizeof text, "%s did not answer: the connection to node %.64s was lost", who, node);
    post_fail(tie->ours, ref, tie->other, "down", text, "noconnection");
}

void ties_break(Ties *t, const char *node) {
    MapPair pair, other;
    uint32_t at;
    for (at = 0; map_next(&t->asks, &at, &pair);) {
        Tie *tie = (Tie *)(uintptr_t)pair.value;
        fail_ask(pair.key, tie, node);
        pool_free(tie, sizeof *tie);
    }
    for (at = 0; map_next(&t->monitors, &at, &pair);) {
        Tie *tie = (Tie *)(uintptr_t)pair.value;
        tell(MESSAGE_DOWN, tie->ours, tie->other, pair.key);
        pool_free(tie, sizeof *tie);
    }
    for (at = 0; map_next(&t->links, &at, &pair);) {
        Map *m = (Map *)(uintptr_t)pair.value;
        uint32_t within = 0;
        while (map_next(m, &within, &other)) tell(MESSAGE_EXIT, pair.key, other.key, 0);
        map_clear(m);
        pool_free(m, sizeof *m);
    }
    for (at = 0; map_next(&t->foreign, &at, &pair);) {
        Tie *tie = (Tie *)(uintptr_t)pair.value;
        tell(MESSAGE_DEMONITOR, tie->ours, 0, pair.key);
        pool_free(tie, sizeof *tie);
    }
    map_clear(&t->asks);
    map_clear(&t->monitors);
    map_clear(&t->links);
    map_clear(&t->theirs);
    map_clear(&t->foreign);
}
