/* watchers.h - who hears of nodes that come and go: the subscribers of TOPIC_NODE. Each hears of each node once.
 * Threads: from any. */
#ifndef NET_WATCHERS_H
#define NET_WATCHERS_H
#include <stdbool.h>
#include "net/link.h"

void watchers_tell(const Link *l, bool up); /* that node is up, or down */
/* topic_subscribe to TOPIC_NODE; a new subscriber hears "up" of each node that is up already. */
int  watchers_add(uint64_t pid);
#endif
