/* look.h - a question that only an actor's own worker can answer, from its VM at rest or from what is the worker's
 * alone: it goes there as a visit and comes back as a job of the loop's. Threads: look_start on the loop's thread; the
 * look itself on the actor's worker. */
#ifndef OPS_LOOK_H
#define OPS_LOOK_H
#include "actor/visit.h"
#include "ops/request.h"

typedef struct Look Look;
struct Look {
    Visit visit;
    _Atomic int holders;
    _Atomic bool dropped; /* nobody waits for it any more. A hint: relaxed */
    uint64_t ticket, pid;
    int64_t within;
    void (*look)(Look *k, Actor *a);
    void (*absent)(Request *r, uint64_t pid); /* the loop's, when it did not come in time; NULL: the error `busy` */
    /* the arguments; text is copied */
    Text text;
    int64_t depth, limit;
    /* the answer: the worker's, then the loop's */
    Text pieces; /* JSON, one piece a line */
    Text value;
    const char *failed; /* an error's code, with `message`; NULL: none */
    Text message;
};

/* Takes the fields that were set (look, absent, text, depth, limit) and ends the request, now or later. */
void look_start(Request *r, uint64_t pid, Look fields);
void look_fail(Look *k, const char *code, const char *format, ...) __attribute__((format(printf, 3, 4)));
#endif
