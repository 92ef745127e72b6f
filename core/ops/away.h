/* away.h - clients of this console that are attached to another node: the other end of ops/relay.h.
 * Threads: the loop's, but for away_open. */
#ifndef OPS_AWAY_H
#define OPS_AWAY_H

void away_open(void);  /* before the cluster starts */
void away_close(void); /* all are gone already */
#endif
