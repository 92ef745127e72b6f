/* client.h - a connection and its requests, between console.c (which reads and writes) and request.c (which takes and
 * answers requests). A client is at the node's socket, or `away`: at another node's, which hands on what he asks.
 * Threads: the loop's. */
#ifndef OPS_CLIENT_H
#define OPS_CLIENT_H
#include <uv.h>
#include "ops/request.h"

typedef struct Client Client;

typedef struct ClientAway {
    void (*flush)(Client *c); /* there is something in `out` for him */
    void (*gone)(Client *c);  /* he is closed, and freed when this returns */
    void *context;
} ClientAway;

struct Request {
    Request *next;
    Client *client;
    const Op *op;
    const Json *args; /* NULL: none */
    Json *values;     /* `args` lies in it */
    char *line;       /* ... and its strings in here */
    int64_t id;
    bool all;         /* it is asked of all nodes */
    uint64_t ticket;
    void *state;
    void (*drop)(void *state);
    void (*later)(Request *r);
    uint64_t due; /* clock_now time; 0 = none */
    void (*on_due)(Request *r);
};

struct Client {
    uv_pipe_t pipe;
    uv_write_t write;
    Client *next;
    Text in, out, written; /* read; to be written; being written */
    size_t looked;         /* bytes of `in` in which there is no newline */
    bool writing, closing; /* a write is under way; uv_close was called */
    bool leaving;          /* nothing is read any more, and it goes when all is written */
    bool half;             /* ... and when all is answered, unless it is gone altogether: it closed its sending side */
    const char *doomed;    /* why it goes at once, in the next round */
    unsigned uid;
    const ClientAway *away; /* NULL: he has a socket, `pipe` */
    const char *node;       /* ... and where he is */
    uint64_t moved;        /* when it last took something, while it owes us */
    Request *requests;
    int request_count;
    void *session;
    void (*session_drop)(void *kept);
};

/* console.c's. A frame is a whole line. A client that does not take what it gets is marked, and goes in the next round:
 * nobody's pointer to it or to its requests dangles meanwhile. */
void      client_put(Client *c, const Text *frame);
const Op *client_find_op(const Json *name); /* NULL: there is none */
/* One who is away; his lines are given to request_take. NULL: no memory, no console, or too many clients. `away` and
 * `node` are borrowed until he is gone; he goes when `doomed` is set and client_tend was called. */
Client   *client_new_away(const ClientAway *away, const char *node, unsigned uid);
void      client_tend(void); /* in the next round: who must go goes, and answers go out */

/* request.c's: */
void request_take(Client *c, const char *line, size_t len); /* a line: parsed, checked, begun */
void request_end(Request *r);                               /* it is over: out of the list, and freed */
void request_frame_end(Client *c, Text *frame);             /* closes the object that is open, and sends it */
/* A field of an answer, "more", "value" or "error", of JSON; takes what is in `json`. The last two end the request. */
void      request_put(Request *r, const char *field, Text *json);
uint64_t  request_number(void); /* one that no ticket has */
/* An error frame; `id` may be NULL. */
void request_complain(Client *c, const int64_t *id, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#endif
