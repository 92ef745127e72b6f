#include "actor/actor.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/alarm.h"
#include "actor/fiber.h"
#include "actor/gauge.h"
#include "actor/handle.h"
#include "actor/image.h"
#include "actor/inbox.h"
#include "actor/observe.h"
#include "actor/reload.h"
#include "actor/report.h"
#include "actor/visit.h"
#include "ground/clock.h"
#include "ground/config.h"
#include "ground/log.h"
#include "ground/metrics.h"
#include "ground/pool.h"
#include "mail/atom.h"
#include "mail/groups.h"
#include "mail/names.h"
#include "mail/payload.h"
#include "mail/post.h"

ActorCalls actor_calls; /* written by actor_open before the first spawn, as are these atoms */
static struct {
    uint32_t init, down, exit;
} words;

static struct {
    pthread_mutex_t lock; /* guards the rest */
    bool looks;
    Task *kept; /* actors that are gone but for their memory */
} visitor = {.lock = PTHREAD_MUTEX_INITIALIZER};

void actor_open(ActorCalls with) {
    actor_calls = with;
    words.init = atom_intern("init", 4);
    words.down = atom_intern("down", 4);
    words.exit = atom_intern("exit", 4);
}

/* ---- names and groups ---- */

static ActorName *name_new(const char *text, size_t len) {
    ActorName *n = malloc(sizeof *n + len);
    if (n == NULL) return NULL;
    n->next = NULL;
    n->len = (uint32_t)len;
    memcpy(n->text, text, len);
    return n;
}

/* Where its pointer is, or would be, at the end. */
static ActorName **name_place(ActorName **list, const char *text, size_t len) {
    while (*list != NULL && !((*list)->len == len && memcmp((*list)->text, text, len) == 0)) list = &(*list)->next;
    return list;
}

/* Takes it out of the list and frees it; false: it is not there. */
static bool name_take(ActorName **list, const char *text, size_t len) {
    ActorName **at = name_place(list, text, len), *n = *at;
    if (n == NULL) return false;
    *at = n->next;
    free(n);
    return true;
}

int actor_add_name(Actor *a, const char *name, size_t len) {
    ActorName *n, **last;
    if (len == 0 || len > NAMES_TEXT_MAX) return UV_EINVAL;
    if ((n = name_new(name, len)) == NULL) return UV_ENOMEM;
    int err = names_add(name, len, a->pid);
    if (err < 0) {
        free(n);
        return err;
    }
    for (last = &a->names; *last != NULL; last = &(*last)->next) {}
    *last = n;
    return 0;
}

int actor_drop_name(Actor *a, const char *name, size_t len) {
    return name_take(&a->names, name, len) ? names_remove(name, len, a->pid) : UV_ENOENT;
}

int actor_join(Actor *a, const char *group, size_t len) {
    if (a->group_count == ACTOR_GROUPS_MAX) return *name_place(&a->groups, group, len) != NULL ? 0 : UV_EAGAIN;
    ActorName *n = name_new(group, len);
    if (n == NULL) return UV_ENOMEM;
    int err = groups_join(group, len, a->pid);
    if (err < 0) {
        free(n);
        return err == UV_EEXIST ? 0 : err;
    }
    n->next = a->groups;
    a->groups = n;
    a->group_count++;
    return 0;
}

int actor_leave(Actor *a, const char *group, size_t len) {
    if (!name_take(&a->groups, group, len)) return UV_ENOENT;
    a->group_count--;
    return groups_leave(group, len, a->pid);
}

/* It is known by no name, and a member of nothing. */
static void drop_names(Actor *a) {
    ActorName *n;
    while ((n = a->names) != NULL) {
        a->names = n->next;
        names_remove(n->text, n->len, a->pid);
        free(n);
    }
    while ((n = a->groups) != NULL) {
        a->groups = n->next;
        groups_leave(n->text, n->len, a->pid);
        free(n);
    }
}

const char *actor_who(const Actor *a, char *out) {
    size_t len = 0;
    if (a->names != NULL)
        len = (size_t)snprintf(out, ACTOR_WHO_MAX - PID_TEXT_MAX, "%.*s ",
                               (int)(a->names->len < 60 ? a->names->len : 60), a->names->text);
    pid_text(a->pid, out + len);
    return out;
}

/* ---- birth ---- */

void actor_set_behaviour(Actor *a, const Behaviour *b) {
    /* release: who finds it (visitors), or the kind (all), may read the Behaviour */
    __atomic_store_n(&a->behaviour, b, __ATOMIC_RELEASE);
    atomic_store_explicit(&a->last_atom, 0, memory_order_relaxed);
    atomic_store_explicit(&registry_tally(a->pid)->kind, &b->kind, memory_order_release);
}

/* Nobody looks at it any more. */
static void release(Actor *a) {
    gauge_free(a);
    pool_free(a, sizeof *a);
}

static void actor_free(Actor *a) {
    message_free(a->start);
    message_free(a->ending);
    map_clear(&a->watch.links);
    map_clear(&a->watch.monitors);
    map_clear(&a->watch.watchers);
    map_clear(&a->timers);
    if (a->visited) {
        pthread_mutex_lock(&visitor.lock);
        bool looks = visitor.looks;
        if (looks) {
            a->task.next = visitor.kept;
            visitor.kept = &a->task;
        }
        pthread_mutex_unlock(&visitor.lock);
        if (looks) return;
    }
    release(a);
}

/* ---- visitors ---- */

void visit_begin(void) {
    pthread_mutex_lock(&visitor.lock);
    visitor.looks = true;
    pthread_mutex_unlock(&visitor.lock);
    registry_visit(true);
}

void visit_end(void) {
    registry_visit(false);
    pthread_mutex_lock(&visitor.lock);
    visitor.looks = false;
    Task *kept = visitor.kept;
    visitor.kept = NULL;
    pthread_mutex_unlock(&visitor.lock);
    while (kept != NULL) {
        Actor *a = (Actor *)kept;
        kept = kept->next;
        release(a);
    }
}

static __attribute__((noinline)) void show_more(Actor *a) {
    const Message *msg = a->main.msg;
    uint64_t messages = atomic_load_explicit(&a->handled, memory_order_relaxed);
    uint32_t handler = msg == NULL                      ? 0
                       : msg->kind == MESSAGE_START     ? words.init
                       : msg->kind == MESSAGE_DOWN      ? words.down
                       : msg->kind == MESSAGE_EXIT      ? words.exit
                                                        : msg->name;
    if (msg == NULL)
        atomic_store_explicit(&a->seen.busy_since, 0, memory_order_relaxed);
    else if (messages != a->shown ||
             atomic_load_explicit(&a->seen.busy_since, memory_order_relaxed) == 0) /* not the one of the last turn */
        atomic_store_explicit(&a->seen.busy_since, clock_coarse(), memory_order_relaxed);
    a->shown = messages;
    atomic_store_explicit(&a->seen.handler, handler, memory_order_relaxed);
    atomic_store_explicit(&a->seen.stage, a->stage, memory_order_relaxed);
}

/* At the end of each turn, while the actor is ours. */
static inline void show(Actor *a) {
    atomic_store_explicit(&a->vm.arena.shown, a->vm.arena.used, memory_order_relaxed);
    if (a->main.msg != NULL || atomic_load_explicit(&a->seen.busy_since, memory_order_relaxed) != 0 ||
        a->stage != atomic_load_explicit(&a->seen.stage, memory_order_relaxed))
        show_more(a);
}

int actor_spawn(const Behaviour *b, const ActorOptions *o, Actor *spawner, Message *start, uint64_t *pid,
                uint64_t *monitor_ref) {
    int64_t limit = o->mailbox_limit != 0   ? o->mailbox_limit
                    : b->mailbox_limit != 0 ? b->mailbox_limit
                                            : config.mailbox_limit;
    uint8_t said = o->mailbox_full != 0 ? o->mailbox_full : b->mailbox_full;
    MailboxFull full = said != 0 ? (MailboxFull)(said - 1) : MAILBOX_REFUSE;
    uint64_t ref = 0;
    Actor *a = pool_alloc(sizeof *a);
    if (a == NULL) return UV_ENOMEM;
    memset(a, 0, sizeof *a);
    a->behaviour = b;
    a->born = clock_now();
    a->restarts = o->restarts;
    a->runnable_end = &a->runnable;
    a->vm.grants = o->grants;
    a->vm.arena.limit = a->memory_limit = o->memory != 0 ? o->memory : (size_t)config.actor_memory;
    a->parent = spawner != NULL ? spawner->pid : o->parent; /* from registry_add on, others may look */
    a->may_grant = o->grants | o->may_grant;
    int err = registry_add(a, (uint32_t)limit, full, (size_t)config.actors_limit, &a->slot);
    if (err < 0) {
        actor_free(a);
        return err;
    }
    a->pid = atomic_load_explicit(&a->slot->pid, memory_order_relaxed); /* ours: nobody else writes it now */
    actor_set_behaviour(a, b);
    a->task.id = a->pid;
    /* From here on letters can come; the box is awake, so nobody but we will queue the actor. */
    if (o->name != NULL && (err = actor_add_name(a, o->name, o->name_len)) < 0) goto fail;
    if (spawner != NULL) {
        if (o->link && ((err = map_put(&a->watch.links, spawner->pid, 1)) < 0 ||
                        (err = map_put(&spawner->watch.links, a->pid, 1)) < 0))
            goto fail;
        if (o->monitor) {
            ref = actor_ref(spawner, REF_MONITOR);
            if ((err = map_put(&a->watch.watchers, ref, spawner->pid)) < 0 ||
                (err = map_put(&spawner->watch.monitors, ref, a->pid)) < 0)
                goto fail;
        }
    }
    if (o->before != NULL && (err = o->before(o->context, a)) < 0) goto fail;
    start->from = a->parent;
    start->ref = o->wait_ref;
    start->to = a->pid;
    a->start = start;
    *pid = a->pid;
    if (monitor_ref != NULL) *monitor_ref = ref;
    metrics_add(METRIC_spawned, 1);
    scheduler_born(&a->task);
    return 0;
fail:
    if (spawner != NULL) {
        map_take(&spawner->watch.links, a->pid, NULL);
        if (ref != 0) map_take(&spawner->watch.monitors, ref, NULL);
    }
    drop_names(a);
    a->start = NULL; /* the caller's */
    actor_end(a, NULL);
    inbox_refuse_all(a);
    a->visited = registry_remove(a->slot);
    actor_free(a);
    return err;
}

/* The first turn: the VM, as a copy of one in which the body has run; or its body runs as the main fiber's first work,
 * preemptible as everything. Who was granted more than others may see more while its body runs: no copy will do. */
static void bear(Actor *a) {
    uint8_t grants = a->vm.grants;
    const Behaviour *newest = behaviour_newest(a->behaviour); /* it may have been replaced since */
    const Image *image = newest->image;
    if (newest != a->behaviour) actor_set_behaviour(a, newest);
    a->stage = ACTOR_LIVE;
    if (image != NULL && (grants & ~GRANT_RELOAD) == 0 && image_open(&a->vm, image, a->vm.arena.limit, a) == 0) {
        a->main.L = a->vm.L;
        a->vm.grants = grants;
        metrics_add(METRIC_copied, 1);
        return;
    }
    int err = vm_open(&a->vm, a->vm.arena.limit, a);
    a->vm.grants = grants;
    if (err < 0) {
        char text[96];
        snprintf(text, sizeof text, "out of memory: no VM fits its %zu bytes, or the node's", a->vm.arena.limit);
        log_format(LOG_ERROR, "", "an actor of %s could not be born: %s", a->behaviour->source->name, text);
        a->stage = ACTOR_ENDING;
        actor_end(a, report_make(a, "memory", text));
        return;
    }
    a->main.L = a->vm.L;
    handle_push_birth(a->main.L, actor_calls.open_libs);
    a->main.args = 1;
    fiber_runnable(a, &a->main);
}

/* ---- the end ---- */

void actor_end(Actor *a, Message *reason) {
    a->patient = false; /* MESSAGE_STOP says so after this call */
    if (a->ending != NULL) { /* the first reason stands */
        message_free(reason);
        return;
    }
    if (reason == NULL || reason->argc != 1) { /* memory is short */
        message_free(reason);
        reason = message_new(MESSAGE_EXIT, 8);
        if (reason == NULL || payload_put_string(&reason, "memory", 6) < 0) {
            log_format(LOG_ERROR, "", "out of memory: not even the reason of an exit fits. The node ends");
            log_flush();
            abort();
        }
    }
    a->ending = reason;
}

bool actor_must_die(Actor *a) {
    if (mailbox_has_system(&a->slot->box)) inbox_system(a);
    return (a->ending != NULL && !a->patient) || (a->reload != NULL && reload_is_over_time(a));
}

/* It has a reason to end and nothing computes any more that should be let finish: close its fibers and, unless it was
 * killed or its init never ended, run `terminate`. */
static void begin_ending(Actor *a) {
    if (a->reload != NULL) reload_abort(a);
    a->stage = ACTOR_ENDING;
    fiber_fail_askers(a);
    if (!a->killed && !a->vm.doomed) {
        fiber_reset_all(a);
        if (a->began && handle_push_terminate(a->main.L, &a->main.args)) {
            fiber_runnable(a, &a->main);
            gauge_handles(a, HANDLER_TERMINATE);
            return;
        }
    }
    a->main.state = FIBER_IDLE; /* nothing more to run: it can die */
}

static void die(Actor *a) {
    metrics_add(METRIC_exited, 1);
    /* A name is free, its groups are left, and the pid is dead, before anybody hears of it. */
    drop_names(a);
    inbox_refuse_all(a);
    uint64_t pid = a->pid;
    a->visited = registry_remove(a->slot);
    reload_free(a);
    fiber_free_all(a);
    alarm_free_all(a);
    watch_farewell(a, a->ending);
    if (log_enabled(LOG_DEBUG)) {
        char text[160], who[PID_TEXT_MAX];
        pid_text(pid, who);
        payload_show(a->ending, 0, 1, text, sizeof text);
        log_format(LOG_DEBUG, who, "ended: %s", text);
    }
    actor_calls.ended(a);
    vm_close(&a->vm);
    actor_free(a);
}

void actor_discard(Actor *a) {
    Message *user, *system, *next;
    mailbox_close(&a->slot->box, &user, &system);
    for (; user != NULL; user = next) next = user->next, message_free(user);
    for (; system != NULL; system = next) {
        next = system->next;
        if (system->kind == MESSAGE_VISIT) visit_refuse(system);
        else message_free(system);
    }
    while ((next = queue_pop(&a->visits)) != NULL) visit_refuse(next);
    while ((next = queue_pop(&a->early)) != NULL) message_free(next);
    while ((next = queue_pop(&a->due)) != NULL) message_free(next);
    while ((next = queue_pop(&a->inbox)) != NULL) message_free(next);
    drop_names(a);
    a->visited = registry_remove(a->slot);
    reload_free(a);
    fiber_free_all(a);
    alarm_free_all(a);
    vm_close(&a->vm);
    actor_free(a);
}

/* ---- one slice ---- */

void actor_wake(void *actor) { scheduler_ready(&((Actor *)actor)->task); }

void actor_timer(uint64_t pid, uint64_t tag) {
    Message *msg = message_new(MESSAGE_TIMER, 0);
    if (msg == NULL) {
        log_format(LOG_ERROR, "", "out of memory: a timer was lost");
        return;
    }
    msg->to = msg->from = pid;
    msg->ref = tag;
    post_deliver(msg);
}

/* Is `ending` settled, and may it begin? */
static bool over(Actor *a) { return a->ending != NULL && (!a->patient || a->runnable == NULL); }

/* The usual end of a turn: alive, nothing to go on with, nothing taken out of the mailbox that still waits. */
static bool idles(const Actor *a) {
    return a->main.state == FIBER_IDLE && a->ending == NULL && a->stage == ACTOR_LIVE && a->runnable == NULL &&
           a->inbox.first == NULL && a->due.first == NULL && a->early.first == NULL && a->start == NULL &&
           a->visits.first == NULL && a->reload == NULL;
}

static TaskTurn run(Actor *a) {
    for (;;) {
        if (mailbox_has_system(&a->slot->box)) inbox_system(a);
        if (__builtin_expect(a->ending != NULL || a->stage != ACTOR_LIVE, 0)) {
            if (over(a) && a->stage == ACTOR_LIVE) begin_ending(a);
            bool terminates = a->main.state == FIBER_RUNNABLE || a->main.state == FIBER_WAITING;
            if (a->stage == ACTOR_ENDING && (!terminates || a->killed || a->vm.doomed)) {
                die(a);
                return TASK_ASLEEP;
            }
        }
        if (__builtin_expect(a->visits.first != NULL, 0) && !reload_is_running(a)) visit_serve(a);
        if (__builtin_expect(scheduler_expired() || actor_has_enough(a), 0)) {
            show(a);
            return scheduler_expired() ? TASK_LATE : TASK_AGAIN;
        }
        if (__builtin_expect(a->reload != NULL, 0) && a->stage == ACTOR_LIVE && a->ending == NULL && reload_turn(a))
            continue;
        Fiber *f = fiber_next(a);
        if (f == NULL && a->stage == ACTOR_LIVE && a->ending == NULL && (f = fiber_free(a)) != NULL) {
            if (inbox_ready(a)) fiber_begin(a, f);
            else f = NULL;
        }
        if (f != NULL) {
            if (__builtin_expect(a->reload != NULL, 0)) reload_resumes(a);
            fiber_resume(a, f);
            if (__builtin_expect(a->reload != NULL, 0)) reload_resumed(a);
            if (!idles(a)) continue;
            show(a);
            if (mailbox_sleep(&a->slot->box, false)) return TASK_ASLEEP; /* `a` may be gone */
            continue;
        }
        /* Nothing runs. User messages wake it only if a handler could begin. */
        bool held = a->stage != ACTOR_LIVE || fiber_free(a) == NULL;
        show(a);
        if (mailbox_sleep(&a->slot->box, held)) return TASK_ASLEEP; /* from here on `a` may be gone */
    }
}

TaskTurn actor_run(Task *task) {
    Actor *a = (Actor *)task;
    a->enough = atomic_load_explicit(&a->handled, memory_order_relaxed) + (uint64_t)config.slice_messages;
    observe_slice(a);
    if (a->stage == ACTOR_UNBORN) bear(a);
    return run(a);
}
