/* members.h - the nodes we have met, by number: what pid_node says of a pid.
 *
 * A number stands for one incarnation (a name and its process), for ever: so a pid of a node that was started anew is
 * another pid, and a number is never used again. 0 is this node. When all numbers are taken, further incarnations share
 * the last one, MEMBERS_NOWHERE, which no link leads to: their pids are dead.
 * Threads: from any; finding takes no lock. A Link lives until members_close. */
#ifndef NET_MEMBERS_H
#define NET_MEMBERS_H
#include <stdbool.h>
#include <stdint.h>
#include "net/link.h"

#define MEMBERS_NOWHERE (PID_NODES - 1)

int   members_open(const char *name, uint64_t incarnation); /* ours */
void  members_close(void);
Link *members_find(uint32_t node); /* NULL: no such number */
/* The number of that incarnation; a new one is announced over all links before this returns. 0 is us. */
uint32_t members_meet(const char *name, uint64_t incarnation);
uint32_t members_count(void); /* numbers from 1 to that, MEMBERS_NOWHERE not counted */
/* link_begin, and tells it all numbers there are; those met later are announced as they come. */
void  members_begin(Link *l, int fd, Tls *tls, uint64_t session, const Hello *theirs);
const char *members_name(uint32_t node); /* for pid_node_name */
#endif
