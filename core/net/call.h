/* call.h - what C of this node asks C of another, with no actor in between: a service, bytes, and bytes in answer.
 *
 * Questions and answers go in the system's lane, so they pass users' messages and are not held up by them; among
 * themselves, between two nodes, they keep their order. A service may answer at once, later or never. Who asks hears
 * the end exactly once: the answer, or why there is none.
 *
 * Bodies come from outside: a service checks every byte. Threads: the loop's alone, but for call_serve. */
#ifndef NET_CALL_H
#define NET_CALL_H
#include <stddef.h>
#include <stdint.h>
#include "net/link.h"

#define CALL_SERVICES 32

typedef enum { /* numbers on the wire: they stay; below CALL_SERVICES */
    CALL_ECHO = 1,  /* the body comes back: for specs, and to see that a node's loop answers */
    CALL_SPAWN = 8, /* these: net/spawn.h */
    CALL_MODULE = 9,
    CALL_TEXT = 10,
    CALL_OP = 16,    /* ops/relay.h */
    CALL_RELOAD = 17 /* ops/concert.h */
} CallService;

typedef struct CallFrom { /* a ticket for one answer; copied at will */
    uint32_t node;    /* 0: this one */
    uint64_t session; /* with it */
    uint64_t ref;
} CallFrom;

typedef void (*CallServe)(CallFrom from, const unsigned char *body, size_t len);
/* err: 0; UV_EHOSTUNREACH (no link, or it broke), UV_ETIMEDOUT, UV_ENOTSUP (nobody serves that there), UV_E2BIG (the
 * question or the answer is more than CALL_MAX, or than the node's net.message), UV_ENOMEM. The body is borrowed. */
typedef void (*CallDone)(void *context, int err, const unsigned char *body, size_t len);

/* Before cluster_start. One for each service, for ever. */
void call_serve(CallService service, CallServe serve);
/* `node`: as pids have it (members.h), 0 = this one, which needs no link. `done` may be called before this returns. */
void call_ask(uint32_t node, CallService service, const void *body, size_t len, uint64_t timeout_ms, CallDone done,
              void *context);
/* Nothing, if nobody waits for it any more. */
void call_answer(CallFrom from, const void *body, size_t len);

/* ---- for the cluster ---- */

void call_came(Link *l, const Record *r); /* RECORD_CALL, RECORD_ANSWER */
void call_broken(uint32_t node);          /* the link to it has ended */
void call_close(void);                    /* no loop any more: who waits hears UV_EHOSTUNREACH */
#endif
