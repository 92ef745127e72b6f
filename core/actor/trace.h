/* trace.h - live events of chosen actors: messages begun, sent, and done with the time that took.
 *
 * A trace has room for TRACE_ROOM events. The actors never wait for who reads them: what finds no room is dropped and
 * counted. A message's `in` takes the room for its `done` along, so of each pair both are there or neither; a trace
 * that begins in the middle of a handler does not tell its end.
 * Threads: open, take and close from any, one at a time for one trace; the rest as observe.h. */
#ifndef ACTOR_TRACE_H
#define ACTOR_TRACE_H
#include "actor/actor.h"

#define TRACES_MOST 8
#define TRACE_ROOM 1024
#define TRACE_TEXT 160

typedef enum { TRACE_IN, TRACE_OUT, TRACE_DONE } TraceWay;
typedef enum { TRACE_WELL, TRACE_FAILED, TRACE_CUT } TraceEnd; /* CUT: the actor died in the middle */
extern const char *const trace_ways[], *const trace_ends[];    /* "in", "out", "done"; "well", "failed", "ended" */

typedef struct TraceEvent {
    uint64_t at;           /* clock_wall */
    uint64_t pid;          /* the actor */
    uint64_t other;        /* in, done: who sent it; out: to whom */
    uint64_t took, waited; /* done: ns from `in`, and how much of that it waited */
    uint8_t way, end, kind; /* TraceWay, TraceEnd, MessageKind */
    char text[TRACE_TEXT]; /* in, out: the message as letter_show has it; done: the handler's name */
} TraceEvent;

typedef struct TraceFilter {
    uint64_t pid;          /* 0: by behaviour */
    const char *behaviour; /* its name; NULL: by pid */
    uint32_t handler;      /* that one and what it sends; 0 = all. See gauge_handler_find */
} TraceFilter;

int  trace_open(const TraceFilter *filter, unsigned *id); /* UV_EAGAIN: there are TRACES_MOST; UV_ENOMEM */
/* Up to `most` events, oldest first; *dropped: how many were lost since the trace began. */
size_t trace_take(unsigned id, TraceEvent *out, size_t most, uint64_t *dropped);
void trace_close(unsigned id);

/* For actor/observe: */
uint8_t trace_matches(const Actor *a);  /* the traces of this actor, as bits */
bool    trace_any(void);
void    trace_in(const Actor *a, Fiber *f); /* its handler is Actor.last_atom; sets Fiber.meant, traced and began_in */
void    trace_out(const Actor *a, const Fiber *f, const Message *msg);
void    trace_done(const Actor *a, Fiber *f, uint32_t handler, TraceEnd end, uint64_t took); /* for Fiber.traced */
#endif
