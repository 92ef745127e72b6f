/* faults.h - messages that go wrong on purpose, for tests: dropped, held up for a while, or the last thing that their
 * receiver gets. Judged when the receiver would begin to handle them; only sends, asks, timers' messages and init.
 *
 * Without rules all it costs is one load of a flag that nobody writes. Threads: any; one lock inside. */
#ifndef ACTOR_FAULTS_H
#define ACTOR_FAULTS_H
#include "actor/actor.h"
#include "mail/names.h"

typedef enum { FAULT_NONE, FAULT_DROP, FAULT_DELAY, FAULT_KILL } Fault;

typedef struct FaultRule {
    Fault fault;
    uint64_t to, from; /* pids; 0 = any */
    char to_name[NAMES_TEXT_MAX + 1], from_name[NAMES_TEXT_MAX + 1]; /* ... or who has that name just then; "" = any */
    char name[256];    /* of the handler, or "init"; "" = any */
    uint64_t nth;      /* of the messages that match, the first one it is for; from 1 */
    uint64_t times;    /* for so many; UINT64_MAX = for ever */
    uint64_t delay;    /* FAULT_DELAY: ns */
} FaultRule;

int  faults_add(const FaultRule *rule, uint64_t *id); /* 0 or UV_ENOMEM */
bool faults_remove(uint64_t id);                      /* what it held up comes in its time */
bool faults_count(uint64_t id, uint64_t *matched, uint64_t *hit); /* false: there is no such rule */
void faults_clear(void);                              /* all rules, and all that is held up */

extern _Atomic bool faults_there; /* faults.c's */
/* relaxed: who made the rule sends afterwards, and that carries it along */
static inline bool faults_active(void) { return atomic_load_explicit(&faults_there, memory_order_relaxed); }

/* What becomes of `msg`, which `a` is about to begin. FAULT_DELAY: taken; else the caller still owns it. */
Fault faults_judge(Actor *a, Message *msg);
void  faults_due(uint64_t tag); /* the loop's timer of a message that was held up, whose owner is 0 */
#endif
