/* eval.h - code of a client's in an actor's VM: compiled there, run as a guest (actor/guest.h) with its budgets, its
 * values shown. Threads: eval_start on the loop's thread; what happens in the actor on its worker. */
#ifndef OPS_EVAL_H
#define OPS_EVAL_H
#include <stdint.h>
#include "ops/request.h"
#include "ops/show.h"

typedef enum {
    EVAL_VALUES, /* {"text":..., "json":[...], "count":n} */
    EVAL_TEXT,   /* the same without json */
    EVAL_CHANGE, /* two values: {"old":..., "new":...} */
    EVAL_PID     /* one value: {"pid":...} */
} EvalKind;

typedef struct EvalOptions {
    EvalKind kind;
    int64_t time, within; /* ms */
    size_t memory, output;
    ShowLimits limits;
} EvalOptions;
#define EVAL_OPTIONS \
    ((EvalOptions){.time = 1000, .within = 1000, .memory = 64u << 20, .output = 256u << 10, .limits = SHOW_LIMITS})

/* Ends the request, now or later. Takes `code`, the source. */
void eval_start(Request *r, uint64_t pid, EvalOptions options, Text *code);

/* The session's shell, made if there is none. 0: it can't be made, and the request was ended. */
uint64_t eval_shell(Request *r);

/* Pushes the environment of evals: what they have besides the actor's globals, into which they write. May raise. */
void eval_push_env(lua_State *L);

/* "<bob> is in on_tick since 1200 ms": why an actor does not come. */
void eval_busy(Request *r, uint64_t pid, int64_t within);
#endif
