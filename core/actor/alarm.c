#include "actor/alarm.h"

#include <uv.h>
#include "actor/fiber.h"
#include "ground/clock.h"
#include "ground/log.h"
#include "ground/pool.h"
#include "run/loop.h"

#define ALARM_TAG 0 /* the tag of the deadlines' timer; the others have refs */

static ActorTimer *find(Actor *a, uint64_t ref) {
    uint64_t bits;
    return map_get(&a->timers, ref, &bits) ? (ActorTimer *)(uintptr_t)bits : NULL;
}

static void timer_free(ActorTimer *t) {
    message_free(t->letter);
    pool_free(t, sizeof *t);
}

uint64_t alarm_add(Actor *a, uint64_t delay, uint64_t period, Message *letter) {
    uint64_t ref = actor_ref(a, REF_TIMER), now = clock_now();
    ActorTimer *t = pool_alloc(sizeof *t);
    if (t == NULL || map_put(&a->timers, ref, (uint64_t)(uintptr_t)t) < 0) goto fail;
    *t = (ActorTimer){.letter = letter, .period = period};
    t->id = loop_timer_add(delay < UINT64_MAX - now ? now + delay : UINT64_MAX, period, a->pid, ref);
    if (t->id == 0) {
        map_take(&a->timers, ref, NULL);
        goto fail;
    }
    letter->to = letter->from = a->pid;
    return ref;
fail:
    pool_free(t, sizeof *t);
    return 0;
}

bool alarm_cancel(Actor *a, uint64_t ref) {
    ActorTimer *t = find(a, ref);
    if (t == NULL) return false;
    map_take(&a->timers, ref, NULL);
    loop_timer_cancel(t->id);
    timer_free(t); /* if it waits in Actor.due, it will not be found there */
    return true;
}

int alarm_once(Actor *a, uint64_t ref, uint64_t due) {
    return loop_timer_add(due, 0, a->pid, ref) != 0 ? 0 : UV_ENOMEM;
}

void alarm_set(Actor *a, uint64_t deadline) {
    if (a->alarm_at != 0 && a->alarm_at <= deadline) return; /* it goes off before, and sets the next one then */
    if (a->alarm != 0) loop_timer_cancel(a->alarm);
    a->alarm = loop_timer_add(deadline, 0, a->pid, ALARM_TAG);
    a->alarm_at = a->alarm != 0 ? deadline : 0;
    if (a->alarm == 0) log_format(LOG_ERROR, "", "out of memory: an ask has lost its timeout");
}

void alarm_handle(Actor *a, Message *msg) {
    ActorTimer *t;
    if (msg->ref == ALARM_TAG) {
        a->alarm = 0;
        a->alarm_at = 0;
        uint64_t nearest = fiber_expire(a, clock_tick());
        if (nearest != 0) alarm_set(a, nearest);
    } else if (msg->ref == ALARM_OVERDUE) {
        fiber_overdue(a);
    } else if (!fiber_wake(a, msg->ref, NULL) && (t = find(a, msg->ref)) != NULL && !t->queued) {
        t->queued = true; /* a beat that comes while the last one waits is the same, late, beat */
        queue_push(&a->due, msg);
        return;
    }
    message_free(msg);
}

Message *alarm_letter(Actor *a, Message *due) {
    ActorTimer *t = find(a, due->ref);
    Message *letter = NULL;
    if (t != NULL && t->period == 0) {
        letter = t->letter;
        t->letter = NULL;
        map_take(&a->timers, due->ref, NULL);
        timer_free(t);
    } else if (t != NULL) {
        t->queued = false;
        letter = message_copy(t->letter);
        if (letter == NULL) log_format(LOG_ERROR, "", "out of memory: a timer's message was lost");
    }
    message_free(due);
    return letter;
}

void alarm_free_all(Actor *a) {
    MapPair pair;
    uint32_t at = 0;
    while (map_next(&a->timers, &at, &pair)) {
        ActorTimer *t = (ActorTimer *)(uintptr_t)pair.value;
        loop_timer_cancel(t->id);
        timer_free(t);
    }
    map_clear(&a->timers);
    if (a->alarm != 0) loop_timer_cancel(a->alarm);
    a->alarm = 0;
}
