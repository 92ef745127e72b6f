/* relay.h - requests that go on to other nodes' consoles, and their answers' way back.
 *
 * A request goes on as it is when its `on` names another node, or the actor it is about is of one: "<12.1@b>",
 * "name@b". An op of OP_ALL with `on` "*" goes to all nodes that a link is up to, and to this one; the pieces say whose
 * they are (`on` is their first member), and the value has one entry for each node, its value or its error: also for
 * one that does not answer.
 *
 * For each of our clients and each node he talks to there is a Way, and on that node a client who is `away` (client.h;
 * his shell is there, too). What that one is told is fetched piece by piece (net/call.h), and no more as long as ours
 * has not read what he got; so a client who does not read stops what runs there, as at his own node's console. The end
 * of either side is the other's: when a client leaves, what he had begun elsewhere ends; when a link breaks, what goes
 * on over it ends with the error `no_node`.
 *
 * In what comes back, whatever looks like a pid is written with its node: "<12.1>" of the node b is "<12.1@b>" here.
 *
 * Bodies of CALL_OP: a RelayKind (1 byte), the way's number (8), and
 *   RELAY_ASK    uid (4), a request's line. Answer: nothing, or why not
 *   RELAY_PULL   the bytes wanted (4). Answer, when there are some, or after a second: 0 and bytes of the client's
 *                output; or 1 and why he is gone
 *   RELAY_CLOSE  nothing. Answer: nothing
 * Threads: the loop's. */
#ifndef OPS_RELAY_H
#define OPS_RELAY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ops/client.h"

typedef enum { RELAY_ASK = 1, RELAY_PULL, RELAY_CLOSE } RelayKind;
#define RELAY_HEAD 9
#define RELAY_CHUNK (256u << 10) /* bytes of output that are fetched at once */

/* Takes the request if it is for another node, or for all: then it is under way, or was ended. `on`: what it says, or
 * NULL. */
bool     relay_take(Request *r, const Json *on);
void     relay_forget(Client *c); /* he goes, and all his ways with him */
/* A pid's text, or a name, with or without "@node": 0 if there is none such. */
uint64_t relay_pid(const char *text, size_t len);
/* The number of the node of that name: this one's is 0, MEMBERS_NOWHERE: no link is up to one. */
uint32_t relay_node(const char *name, size_t len);

typedef struct RelayLine {
    uint64_t id;
    int field; /* 0 "more", 1 "value", 2 "error" */
    const char *json;
    size_t len;
} RelayLine;
/* A line of another console's, as it writes them: {"id":N,"more":JSON}. False: it is none. */
bool     relay_read(const char *line, size_t len, RelayLine *out);
/* A node's part of a value or a report: the object that begins at `json` gets a first member "on". */
void     relay_put_on(Text *out, const char *node, const char *json, size_t len);
/* Appends JSON that came from the node `node` with its pids as they are written here. False: those bytes can't be what
 * a console said. */
bool     relay_translate(Text *out, const char *node, const char *json, size_t len);
#endif
