/* lease.h - until when this node may say that it holds what it holds: the local end of its lease in etcd.
 *
 * etcd counts a lease from when it grants or renews it. We count from before we asked, which is earlier, and take a
 * margin off: so by any clock that runs as fast as etcd's, give or take that margin, ours ends first. The clock goes on
 * while the machine sleeps or the process stands still. What has ended is never taken up again: a new lease is, after
 * all that was held under the old one is given up.
 * Threads: lease_good from any, the rest from the loop's alone. */
#ifndef NET_LEASE_H
#define NET_LEASE_H
#include <stdbool.h>
#include <stdint.h>

#define LEASE_NONE 0

/* The last moment of one that was asked for at `asked` and holds for ttl_s. All times are clock_boot's. A fifth is the
 * margin: a second of five. */
uint64_t lease_end(uint64_t asked, int64_t ttl_s);

void lease_begin(int64_t id, uint64_t end);
/* False: it is over already, or another one by now, and nothing has changed. A renewal never shortens. */
bool lease_renew(int64_t id, uint64_t end, uint64_t now);
void lease_drop(void);
int64_t lease_id(void);  /* LEASE_NONE: there is none */
bool lease_good(void);   /* there is one, and it is not over at this moment */
uint64_t lease_until(void);
#endif
