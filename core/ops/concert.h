/* concert.h - a change of code brought to all nodes, or to none.
 *
 * 1. Found: what is new in the files of this node (or all that is named), tried out here, packed (actor/parcel.h).
 * 2. Every node that a link is up to, and this one, gets it and prepares (actor/rollout.h): all its actors try it out
 *    on copies. Nobody runs it yet.
 * 3. When all are ready, and are about to run the same versions, it is decided, and each node takes it. If one fails,
 *    is lost or is late before that, all forget it: nobody has changed.
 * 4. If one fails to take it (its state has changed since), those that have taken it go back, as one node does.
 *
 * Windows. Before the decision a node that hears no more of us forgets it, after VOICE_GRACE_MS at the latest; ours
 * to take it comes before that (CONCERT_TELL_MS), again and again, also over a new link. So they differ only if a
 * node is out of reach for longer, just then: the report says which it was, and that it is not known. A node that
 * dies is lost, too: when it comes back it runs its own files. If this node dies, those that have taken it keep it,
 * the others forget it; in the milliseconds in which we say it, these may be different nodes. Nodes that join
 * meanwhile are not asked, and named.
 *
 * One at a time a node. Threads: the loop's, but for concert_open. */
#ifndef OPS_CONCERT_H
#define OPS_CONCERT_H
#include <stdbool.h>
#include <stdint.h>
#include "actor/rollout.h"
#include "ground/json.h"

#define CONCERT_TELL_MS 8000
#define CONCERT_READY_MS 30000 /* until all are ready, if nothing is said; canaries' time comes on top */

/* Takes the report's text: a value, or an error object. Once. */
typedef void (*ConcertDone)(void *context, bool good, Text *report);

/* `o`: names, back, force, fresh, cancels, drain_ms, the canary and how long it is watched; copied. 0, UV_EBUSY,
 * UV_ENOMEM. `done` comes later. */
int  concert_start(const RolloutOptions *o, uint32_t within_ms, ConcertDone done, void *context);
void concert_cancel(void *context); /* unless it is decided */
void concert_close(void);
#endif
