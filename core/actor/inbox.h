/* inbox.h - what an actor handles next: the order of its letters.
 *
 * 1. System messages act at once, before anything else, whenever the actor is between two messages.
 * 2. Notices of exits that the behaviour hears of (on_down, on_exit) go before all user messages but those that the
 * dead one had sent itself: they keep their place before the notice.
 * A mailbox that drops what is old does so before the next message is begun.
 * 3. Timers that went off take turns with user messages, so neither starves the other.
 * A request whose asker has given up or died is not handled: it becomes a dead letter when its turn comes.
 * Threads: the worker that runs the actor. */
#ifndef ACTOR_INBOX_H
#define ACTOR_INBOX_H
#include "actor/actor.h"

void     inbox_system(Actor *a); /* takes and carries out what is in the system lane */
bool     inbox_ready(Actor *a);  /* is there something to handle? */
Message *inbox_next(Actor *a);   /* to be handled now; NULL: nothing, or the slice is over. Gives */
void     inbox_refuse_all(Actor *a); /* the actor is dead: what is left becomes dead letters, askers are told */
void inbox_gather(Actor *a); /* what lies in the mailbox is taken, behind what was taken before */
#endif
