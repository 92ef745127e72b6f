/* outcome.h - what came of a change of code, and how it is told: to scripts as a table, to people as a line.
 *
 * It borrows all that it points to from the rollout, until that one's `done` returns. Threads: whoever has it. */
#ifndef ACTOR_OUTCOME_H
#define ACTOR_OUTCOME_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "actor/change.h"
#include "mail/message.h"

typedef struct Outcome {
    bool ok;
    const Change *change; /* pairs; stage and message if not ok */
    const uint32_t *actors; /* of each pair: how many have taken it */
    uint32_t taken, gone, cancelled, canaries;
    uint32_t downgraded, as_is; /* states after a way back */
    double took_ms;
    const char *canary; /* what was seen of it, or NULL */
    uint64_t actor;     /* in which it failed; 0 = in none */
    const Behaviour *failed; /* ... and what it would have become */
} Outcome;

/* As one Lua table, see throng.ReloadReport in lua/meta/throng.lua. 0, UV_ENOMEM or UV_E2BIG. */
int  outcome_put(Message **msg, const Outcome *outcome);
/* "guy 1a2b3c4d -> 5e6f7a8b: 3 actors in 1.2 ms", or what went wrong. */
void outcome_line(const Outcome *outcome, char *out, size_t size);
#endif
