/* request.h - one request of a console's client, for who answers it: the contract of an op.
 *
 * An op is a row of a table: a name, its arguments, and `begin`, which is called with a request whose arguments have
 * been checked. Each subject has a file and a table (inspect.c, change.c, ...); console.c lists the tables.
 *
 * `begin` ends the request at once, by request_value, request_true or request_error, or keeps it: then it is under way
 * until one of these is called, or it is cancelled (by its client, or since that is gone). What ends it frees it.
 * If an op keeps something for it, it sets `state` and `drop`: drop is called exactly once, when the request ends,
 * however it ends, and frees it.
 *
 * Who works on other threads keeps the request's ticket, not its pointer: request_of gives NULL when it is over.
 *
 * Threads: all on the loop's thread. Nothing may block or take long: a millisecond at most, then request_later. */
#ifndef OPS_REQUEST_H
#define OPS_REQUEST_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ground/json.h"

typedef struct Request Request;

typedef enum {
    ARG_TEXT,    /* a string */
    ARG_INTEGER, /* a whole number, also as 3.0; from 0 to 2^53 */
    ARG_FLAG,    /* a boolean */
    ARG_PID,     /* a string: a pid, or a name: see request_pid */
    ARG_ANY
} ArgKind;
#define ARG_MUST 16 /* added to the kind: it can't be left out (null counts as left out) */

typedef struct OpArg {
    const char *name;
    int kind;
} OpArg;

/* How an op is, added up. */
#define OP_CHANGES 1 /* it is logged, with who asked */
#define OP_ALL 2     /* it may be asked of all nodes: each answers for itself (ops/relay.h) */
#define OP_LEADS 4   /* of all nodes, too, but its own `begin` sees to that: request_all */

#define OP_ARGS_MAX 12
typedef struct Op {
    const char *name;
    void (*begin)(Request *r);
    int how;
    OpArg args[OP_ARGS_MAX]; /* up to the one without a name */
} Op;

/* The tables, each ended by a row without a name. */
extern const Op ops_inspect[], ops_change[], ops_commands[], ops_look[], ops_follow[], ops_tree[],
    ops_complete[], ops_top[], ops_trace[], ops_why[], ops_prof[], ops_tasks[], ops_reload[];

/* ---- what was asked ---- */

const Json *request_arg(const Request *r, const char *name); /* NULL: left out */
int64_t     request_integer(const Request *r, const char *name, int64_t preset);
bool        request_flag(const Request *r, const char *name);
const char *request_text(const Request *r, const char *name, size_t *len); /* NULL: left out */
/* The pid that an ARG_PID means, a name's holder; one of this node: what is meant for another is there, not here. 0:
 * there is none, and the request was ended with no_actor. The actor may be dead. */
uint64_t    request_pid(Request *r, const char *name);

/* ---- answering ---- */

/* Pieces and values are JSON in a Text, which is emptied. A Text that failed ends the request with an error. */
void request_more(Request *r, Text *piece);
void request_value(Request *r, Text *value);
void request_true(Request *r);
/* {"code":..., "message":...}; `extra`, NULL or JSON members to add ("\"traceback\":\"...\""). */
void request_error(Request *r, const char *code, const char *format, ...) __attribute__((format(printf, 3, 4)));
void request_error_with(Request *r, const char *code, const char *message, size_t len, const char *extra);

/* The client has not read what it got: wait before you send more (request_later does). */
bool request_crowded(const Request *r);

/* ---- going on later ---- */

/* `on` is called in one of the next rounds of the loop, when the client has room for more. */
void request_later(Request *r, void (*on)(Request *r));
/* `on` is called in `ms`, unless the request is over by then; a second call replaces the first; NULL: not any more. */
void request_in(Request *r, int64_t ms, void (*on)(Request *r));
void request_keep(Request *r, void *state, void (*drop)(void *state));
void *request_state(const Request *r);

uint64_t request_ticket(const Request *r);
Request *request_of(uint64_t ticket); /* NULL: it is over */

/* ---- who asks ---- */

/* A client's connection. Each has room for one thing that outlives its requests (the shell), dropped when it goes. */
void   **request_session(Request *r, void (*drop)(void *kept));
unsigned request_uid(const Request *r);
const char *request_op(const Request *r);
bool request_all(const Request *r); /* it is asked of all nodes */

/* For console.c's own, and for who lists what there is. */
struct ConsoleOptions;
const struct ConsoleOptions *request_node(void);
uint64_t request_started(void); /* clock_now time when the node opened its console */
#endif
