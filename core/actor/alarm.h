/* alarm.h - time for one actor: timers that become messages to itself, sleep, and the deadlines of its waiting fibers.
 *
 * All run over the loop's timers; a due one comes back as MESSAGE_TIMER. Deadlines of asks share one alarm an actor,
 * set only when a nearer one turns up: an ask that is answered in time costs no timer operation.
 * Threads: the worker that runs the actor. */
#ifndef ACTOR_ALARM_H
#define ACTOR_ALARM_H
#include "actor/actor.h"

typedef struct ActorTimer {
    TimerId id;      /* the loop's */
    Message *letter; /* the message to oneself */
    uint64_t period; /* ns; 0 = once */
    bool queued;     /* it went off and waits in Actor.due */
} ActorTimer;

#define ALARM_OVERDUE 1 /* a MESSAGE_TIMER with that ref is for fiber_overdue; refs of timers look different */

/* `letter` (kind MESSAGE_SEND; taken on success) comes after `delay` ns, and then every `period` ns unless 0. A ref,
 * or 0: no memory. */
uint64_t alarm_add(Actor *a, uint64_t delay, uint64_t period, Message *letter);
bool     alarm_cancel(Actor *a, uint64_t ref); /* false: there is no such timer (any more) */
/* For sleep: MESSAGE_TIMER with that ref comes, once. 0 or UV_ENOMEM. */
int      alarm_once(Actor *a, uint64_t ref, uint64_t due);

void alarm_set(Actor *a, uint64_t deadline); /* a fiber waits until then (clock_now time) */

/* MESSAGE_TIMER came; taken: a fiber wakes, deadlines are looked at, or it goes to Actor.due. */
void alarm_handle(Actor *a, Message *msg);
/* A message from Actor.due (taken) as the letter to handle now, or NULL: cancelled in the meantime. */
Message *alarm_letter(Actor *a, Message *due);
void alarm_free_all(Actor *a);
#endif
