/* rollout.h - a change of code brought to all living actors, or to none.
 *
 * 1. One at a time, each on a thread of its own: it waits for actors, and nobody waits for it.
 * 2. Stages: the change is found and tried out (actor/change); every actor concerned prepares (actor/reload, PREPARE);
 *    when all are ready, spawns get the new version, and every actor takes it (COMMIT).
 * 3. All or nothing: if one fails to prepare, the others forget what they had ready, and no code or state has changed.
 *    If one fails at COMMIT (its state has changed since, and its migrate does not like the new one), those that had
 *    taken the version are taken back: exactly, if they have handled nothing since; else by `downgrade`; else they
 *    keep the state as it is, and the report says how many. They can't be held still meanwhile: one that waits in a
 *    handler would hold up all others.
 * 4. Who ends meanwhile is no failure. Who is born meanwhile gets the version of the outcome.
 * 5. Actors are told a few hundred at a time, so that others get their turns in between.
 * 6. A canary: only some take it; their crashes and their handlers' times are compared with the rest's.
 * 7. In concert with other nodes (ops/concert) it waits at two gates: when all here are ready, whether they may take
 *    it; when all have taken it, whether they keep it. The word is said by rollout_decide. If it does not come, nobody
 *    takes it, and who has taken it keeps it.
 *
 * Threads: rollout_start from any; what actors call, from their workers. */
#ifndef ACTOR_ROLLOUT_H
#define ACTOR_ROLLOUT_H
#include "actor/outcome.h"

#define ROLLOUT_TEXT_MAX CHANGE_TEXT_MAX

typedef enum {
    ROLLOUT_READY,      /* PREPARE is done */
    ROLLOUT_TAKEN,      /* COMMIT is done */
    ROLLOUT_TAKEN_DOWNGRADED, /* ... of a rollback, the state by downgrade */
    ROLLOUT_TAKEN_AS_IS,      /* ... of a rollback, with the state that migrate had made */
    ROLLOUT_EXACT,      /* BACK is done: code and state are as they were */
    ROLLOUT_DOWNGRADED, /* ... the state by downgrade */
    ROLLOUT_AS_IS,      /* ... the state stays as the new version left it */
    ROLLOUT_FAILED,     /* with its stage and text; nothing has changed */
    ROLLOUT_GONE        /* it is dead, or another version's already */
} RolloutAnswer;

typedef enum { GATE_READY, GATE_TAKEN } RolloutGate;

typedef struct RolloutOptions {
    const char *const *names; /* modules; copied */
    size_t name_count;
    bool back;    /* to what was before; one name */
    bool force;   /* also what has not changed */
    bool fresh;   /* into new VMs, `self` through the codec */
    bool cancels; /* handlers that wait are cancelled at once */
    uint32_t drain_ms; /* ... or after this; 0 = the node's */
    uint32_t canary_count; /* 0 = none */
    double canary_percent;
    uint32_t watch_ms; /* how long canaries are watched; 0 = the node's */
    uint64_t asker;    /* pid: when it dies before the COMMIT, nothing happens. 0 = nobody */
    bool asker_waits;  /* in a handler, in which it can't be reloaded */
    bool find_only;    /* the change is found, tried out and told, and that is all; modules that are named are loaded */
    const struct Parcel *parcel; /* texts to take instead of files; borrowed until `done` has returned */
    /* Not NULL: it is in concert, and waits for rollout_decide for `gate_ms` at most. On the rollout's thread. */
    void (*reached)(void *context, RolloutGate gate, const Outcome *so_far);
    uint32_t gate_ms;
    void (*done)(void *context, const Outcome *report); /* on the rollout's thread; always, once */
    void *context;
} RolloutOptions;

int  rollout_start(const RolloutOptions *options); /* 0, UV_EBUSY: another is under way, UV_ENOMEM, UV_ECANCELED */
void rollout_decide(void *context, bool go); /* at the gate that it waits at */
void rollout_cancel(void *context);                /* of that context, unless actors have begun to take it */
void rollout_close(void); /* the one under way ends, no other begins; before the loop and the scheduler go */

/* How many living actors are of that version. Walks all. */
uint32_t rollout_actors(const Behaviour *b);

/* ---- for actor/reload; `rollout` and `index` are what its message said ---- */
struct ReloadTarget;
bool rollout_target(uint64_t rollout, uint32_t index, struct ReloadTarget *out); /* false: it is over */
void rollout_answer(uint64_t rollout, uint32_t index, RolloutAnswer answer, ChangeStage stage, const char *text);
void rollout_cancelled(uint64_t rollout, uint32_t count);
void rollout_measured(uint64_t rollout, uint32_t index, uint64_t ns);
void rollout_crashed(uint64_t rollout, uint32_t index);
#endif
