/* chase.h - circles of asks that lead over several nodes: each waits for the next, and none can ever answer.
 *
 * Within one node cycle.h finds them when the last ask is made. An ask of another node that has waited for a tick or
 * two (50 to 100 ms), and each local one that leads to such a one, starts a chase (after Chandy, Misra and Haas,
 * 1983). It goes there, and on along the words in the slots (Slot.asks), from node to node, and collects the way:
 * who waits with which request. Nearly all end after a step, at somebody who does not wait. One that comes back to whom
 * it started from has seen all steps of a circle, but each at another moment. So it turns round, and looks at each step
 * once more, from the last to the first. It goes the way the answers go, in the same lane, behind them: who is found to
 * wait with the same request as before has had no answer from the next one by the moment that one was looked at, and
 * that one waited. So there was a moment (when the chase turned) at which all of them waited and no answer was under
 * way: nobody is told of a circle that is none.
 * In the end whom it started from is told (MESSAGE_CIRCLE), and its own worker decides, see cycle_came. The ask fails
 * with the code "deadlock" and the whole circle in words; what was asked stays asked, an answer comes too late.
 *
 * An ask that goes on waiting starts a chase again, once a second at last: whoever closes the circle, it is found.
 * Those who close it at the same moment may all be told. Circles of more than CHASE_MOST end by their deadlines. Who is
 * answered within a tick pays nothing for all of this but two words in the Tie of its ask.
 *
 * RECORD_CHASE. left 0: go on, with whom `to` waits for; left n: turned round, look at step n - 1, whose actor is `to`.
 * Its payload: the number of steps (4 bytes); each step's pid and its word (8 each; the atom in it means something to
 * its own node alone); once it has turned, for each step looked at, the last step first, the actor's name and that of
 * its question (a length of 1 byte, and the text). Threads: the loop's, but for chase_later: any. */
#ifndef NET_CHASE_H
#define NET_CHASE_H
#include "net/link.h"

#define CHASE_MOST 250 /* actors in a circle */

void chase_later(uint64_t asker, uint64_t ref, uint32_t name, uint64_t whom); /* post_chase */
void chase_tick(void);                        /* every 50 ms or so */
void chase_came(Link *l, const Record *r);    /* RECORD_CHASE; its `from` is ours already */
#endif
