#include "actor/visit.h"

#include <pthread.h>
#include <uv.h>
#include "ground/pool.h"
#include "mail/post.h"

static Visit *visit_of(const Message *msg) { return (Visit *)(uintptr_t)msg->ref; }

int visit_send(uint64_t pid, Visit *visit) {
    Message *msg = message_new(MESSAGE_VISIT, 0);
    if (msg == NULL) return UV_ENOMEM;
    msg->to = pid;
    msg->ref = (uint64_t)(uintptr_t)visit;
    int err = post_send(msg);
    if (err >= 0) return 0;
    message_free(msg);
    return UV_ESRCH;
}

void visit_refuse(Message *msg) {
    Visit *visit = visit_of(msg);
    message_free(msg);
    visit->gone(visit);
}

void visit_serve(Actor *a) {
    Queue stay = {0};
    Message *msg;
    while ((msg = queue_pop(&a->visits)) != NULL) {
        Visit *visit = visit_of(msg);
        if (visit->serve(visit, a)) message_free(msg);
        else queue_push(&stay, msg);
    }
    a->visits = stay;
}

/* ---- views ---- */

bool visit_look(uint64_t pid, VisitView *out) {
    Slot *slot = registry_find(pid);
    Actor *a = slot != NULL ? registry_owner(slot, pid) : NULL;
    if (a == NULL) return false;
    const ActorSeen *seen = &a->seen;
    SlotTally *tally = registry_tally(pid);
    uint8_t stage = atomic_load_explicit(&seen->stage, memory_order_relaxed);
    MailboxState box = mailbox_state(&slot->box);
    *out = (VisitView){
        .pid = pid,
        .parent = a->parent,
        .born = a->born,
        .behaviour = __atomic_load_n(&a->behaviour, __ATOMIC_ACQUIRE),
        .restarts = a->restarts,
        .memory_limit = a->memory_limit,
        .messages = atomic_load_explicit(&a->handled, memory_order_relaxed),
        .memory = atomic_load_explicit(&a->vm.arena.shown, memory_order_relaxed),
        .handler = atomic_load_explicit(&seen->handler, memory_order_relaxed),
        .busy_since = atomic_load_explicit(&seen->busy_since, memory_order_relaxed),
        .state = stage == ACTOR_UNBORN   ? "newborn"
                 : stage == ACTOR_ENDING ? "ending"
                 : box == MAILBOX_AWAKE  ? "running"
                 : box == MAILBOX_HELD   ? "waiting"
                                         : "idle",
        .depth = mailbox_depth(&slot->box),
        .limit = mailbox_limit(&slot->box),
        .full = mailbox_full(&slot->box),
        .oldest = mailbox_age(&slot->box),
        .dropped = atomic_load_explicit(&tally->dropped, memory_order_relaxed),
        .refused = atomic_load_explicit(&tally->refused, memory_order_relaxed),
    };
    if (atomic_load_explicit(&slot->asks, memory_order_acquire) != 0)
        out->waits_for = atomic_load_explicit(&slot->asked, memory_order_relaxed);
    return true;
}
