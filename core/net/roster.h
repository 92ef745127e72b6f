/* roster.h - a Directory: members and names in etcd, under leases.
 *
 *     /throng/CLUSTER/nodes/NAME   {"incarnation": ..., "address": ...}
 *     /throng/CLUSTER/names/NAME   {"incarnation": ..., "node": ..., "pid": ..., "claim": ...}
 *
 * A key is made by a transaction that compares: it was not there before. Its value says which process, and of a name
 * which claim, has made it: so a transaction whose answer was lost can be asked again, and reads what it did itself.
 * A fence is the revision at which the key was made. All keys of a node are under its lease; lease.h says until when it
 * may count on that.
 *
 * A lease counts as renewed when, after etcd's answer, a read that a majority stands behind has the same term of raft:
 * an etcd that was cut off or stood still, and does not know yet that it leads no more, says yes to renewals that
 * nobody else hears of.
 *
 * What others hold is watched, from the revision at which all of it was read; when etcd has forgotten that revision, or
 * the watch sends what makes no sense, all is read again, as it is every few minutes.
 *
 * etcd away: nothing that is joined is touched. The names are given up when the lease is over here; when etcd is back
 * there is a new lease, and this node's own name is put under it. Who held a name of an actor claims it again, or does
 * not.
 * Threads: roster_open from the one that builds the node, within the life of the loop; the rest on the loop's. */
#ifndef NET_ROSTER_H
#define NET_ROSTER_H
#include <stddef.h>
#include "net/directory.h"
#include "net/http.h"

extern const Directory roster;

typedef struct RosterOptions {
    const char *urls; /* etcd's */
    HttpTls tls;
} RosterOptions;

/* Waits until this node's name is its own in etcd, for the time of a lease if another process has it, which may be one
 * of ours that is gone; or until etcd turns out to be away. `ours` is lent. 0, or a negative libuv error with one line
 * in err: UV_EEXIST, the name stays another's. */
int roster_open(const RosterOptions *options, const Hello *ours, char *err, size_t err_size);
#endif
