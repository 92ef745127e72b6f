/* watchers.h - who hears of nodes that come and go: the subscribers of TOPIC_NODE. Each hears of each node once.
 * Threads: from any. */
#ifndef NET_WATCHERS_H
#define NET_WATCHERS_H
#include <stdbool.h>
#include "net/link.h"

void watchers_up(const Link *l);
/* ... and down; `lost`: so many messages to it were written, and may have arrived or not. */
void watchers_down(const Link *l, uint64_t lost);
/* topic_subscribe to TOPIC_NODE; a new subscriber hears "up" of each node that is up already. */
int  watchers_add(uint64_t pid);
#endif
