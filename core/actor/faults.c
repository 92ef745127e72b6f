#include "actor/faults.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "ground/clock.h"
#include "mail/atom.h"
#include "mail/payload.h"
#include "mail/post.h"
#include "run/loop.h"

typedef struct Rule {
    struct Rule *next;
    FaultRule is;
    uint64_t id, matched, hit;
} Rule;

typedef struct Held {
    struct Held *next;
    Message *msg;
    uint64_t tag;
    TimerId timer;
} Held;

_Atomic bool faults_there; /* written under the lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the rest */
static Rule *rules, **rules_end = &rules;
static Held *held;
static uint64_t serial;

int faults_add(const FaultRule *rule, uint64_t *id) {
    Rule *r = calloc(1, sizeof *r);
    if (r == NULL) return UV_ENOMEM;
    r->is = *rule;
    pthread_mutex_lock(&lock);
    *id = r->id = ++serial;
    *rules_end = r;
    rules_end = &r->next;
    atomic_store_explicit(&faults_there, true, memory_order_relaxed);
    pthread_mutex_unlock(&lock);
    return 0;
}

bool faults_remove(uint64_t id) {
    Rule **at = &rules, *r;
    pthread_mutex_lock(&lock);
    while (*at != NULL && (*at)->id != id) at = &(*at)->next;
    if ((r = *at) != NULL && (*at = r->next) == NULL) rules_end = at;
    atomic_store_explicit(&faults_there, rules != NULL, memory_order_relaxed);
    pthread_mutex_unlock(&lock);
    free(r);
    return r != NULL;
}

bool faults_count(uint64_t id, uint64_t *matched, uint64_t *hit) {
    pthread_mutex_lock(&lock);
    Rule *r = rules;
    while (r != NULL && r->id != id) r = r->next;
    if (r != NULL) *matched = r->matched, *hit = r->hit;
    pthread_mutex_unlock(&lock);
    return r != NULL;
}

void faults_clear(void) {
    pthread_mutex_lock(&lock);
    for (Rule *r = rules, *next; r != NULL; r = next) next = r->next, free(r);
    for (Held *h = held, *next; h != NULL; h = next) {
        next = h->next;
        loop_timer_cancel(h->timer);
        message_free(h->msg);
        free(h);
    }
    rules = NULL, rules_end = &rules, held = NULL;
    atomic_store_explicit(&faults_there, false, memory_order_relaxed);
    pthread_mutex_unlock(&lock);
}

static bool is_who(uint64_t pid, uint64_t wanted, const char *name) {
    if (wanted != 0) return pid == wanted;
    return name[0] == '\0' || names_find(name, strlen(name)) == pid;
}

static bool matches(const FaultRule *rule, const Actor *a, const Message *msg, const char *name, size_t len) {
    return is_who(a->pid, rule->to, rule->to_name) && is_who(msg->from, rule->from, rule->from_name) &&
           (rule->name[0] == '\0' || (strlen(rule->name) == len && memcmp(rule->name, name, len) == 0));
}

/* Under the lock. False: no memory; it is not held up, then. */
static bool hold(Message *msg, uint64_t delay) {
    Held *h = malloc(sizeof *h);
    if (h == NULL) return false;
    *h = (Held){.next = held, .msg = msg, .tag = ++serial};
    h->timer = loop_timer_add(clock_now() + delay, 0, 0, h->tag);
    if (h->timer == 0) {
        free(h);
        return false;
    }
    held = h;
    return true;
}

Fault faults_judge(Actor *a, Message *msg) {
    Fault fault = FAULT_NONE;
    size_t len = 4;
    const char *name = msg->kind == MESSAGE_START     ? "init"
                       : msg->flags & MESSAGE_NAMED ? payload_first_string(msg, &len)
                                                    : atom_text(msg->name, &len);
    if (msg->kind > MESSAGE_START || (msg->flags & MESSAGE_JUDGED) || name == NULL) return FAULT_NONE;
    pthread_mutex_lock(&lock);
    for (Rule *r = rules; r != NULL && fault == FAULT_NONE; r = r->next) {
        if (msg->kind == MESSAGE_START && (r->is.fault != FAULT_KILL || strcmp(r->is.name, "init") != 0)) continue;
        if (!matches(&r->is, a, msg, name, len) || ++r->matched < r->is.nth) continue;
        if (r->matched - r->is.nth >= r->is.times) continue;
        r->hit++;
        fault = r->is.fault;
        if (fault != FAULT_DELAY) break;
        msg->flags |= MESSAGE_JUDGED;
        if (!hold(msg, r->is.delay)) fault = FAULT_NONE;
    }
    pthread_mutex_unlock(&lock);
    return fault;
}

void faults_due(uint64_t tag) {
    pthread_mutex_lock(&lock);
    Held **at = &held, *h;
    while (*at != NULL && (*at)->tag != tag) at = &(*at)->next;
    if ((h = *at) != NULL) *at = h->next;
    pthread_mutex_unlock(&lock);
    if (h == NULL) return; /* cleared */
    post_deliver(h->msg);
    free(h);
}
