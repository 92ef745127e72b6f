/* gossip.h - a Directory: members tell each other of members (RECORD_NODE), so any one of them is enough to join all.
 * Threads: the loop's alone. */
#ifndef NET_GOSSIP_H
#define NET_GOSSIP_H
#include "net/directory.h"

extern const Directory gossip;

/* A RECORD_NODE of that link: our number for whom it tells of, or MEMBERS_NOWHERE. Its bytes may be anything. */
uint32_t gossip_heard(Link *from, const Record *r);
#endif
