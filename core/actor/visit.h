/* visit.h - a stranger's errand to an actor: the console's, and whoever else must see a VM from inside.
 *
 * A visit comes as MESSAGE_VISIT by the system lane, and is served on the actor's worker when its VM is at rest:
 * asleep, between two messages, while its handler waits, or in the middle of a handler that was preempted. Not while
 * it is in a C function, and not where it can't be preempted (the comparison of a sort): then it waits until it comes
 * out.
 *
 * Whoever sends one owns what `Visit` is embedded in, and gets it back by exactly one call of `serve` or `gone`.
 * Threads: visit_send from any; `serve` on the actor's worker; `gone` on any. */
#ifndef ACTOR_VISIT_H
#define ACTOR_VISIT_H
#include <stdbool.h>
#include <stdint.h>
#include "actor/actor.h"

typedef struct Visit Visit;
struct Visit {
    /* True: the visit is over, and `visit` is the callee's. False: not yet, it is called again when the actor is
     * between two messages (or has ended a handler, or waits); it must not be touched any more until then. */
    bool (*serve)(Visit *visit, Actor *a);
    void (*gone)(Visit *visit); /* the actor is dead, or dies: it was not served */
};

/* 0: taken; UV_ESRCH no such actor; UV_ENOMEM. On an error the caller still owns it. */
int visit_send(uint64_t pid, Visit *visit);

/* For the actor: */
void visit_serve(Actor *a);            /* all that wait; those that are not over stay */
void visit_refuse(Message *msg);       /* takes a MESSAGE_VISIT that nobody will serve */

/* ---- what may be seen without a visit, from any thread ---- */

/* Between these two, from one thread at a time, whoever is found alive stays readable: whoever dies meanwhile is freed
 * at the end. Briefly: memory waits for it. */
void visit_begin(void);
void visit_end(void);

typedef struct VisitView {
    uint64_t pid, parent, born, messages, memory, memory_limit, dropped, refused;
    uint64_t busy_since;     /* clock_now time, some ms late: it is in `handler` since then; 0 = it is in none */
    uint64_t waits_for;      /* whom it asked; 0 = nobody */
    const Behaviour *behaviour;
    const char *state;       /* "newborn", "running" or about to, "waiting" for an answer or a time, "idle", "ending" */
    uint32_t handler;        /* the atom of the handler it has begun and not ended; 0 = none, or a name without one */
    uint32_t depth, limit, restarts;
    double oldest;           /* as mailbox_age */
    MailboxFull full;
} VisitView;

/* Between begin and end. False: it is dead. A moment's view: its parts may be of different moments. */
bool visit_look(uint64_t pid, VisitView *out);
#endif
