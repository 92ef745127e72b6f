/* cluster.h - several nodes, one system: the links to them, who is up, and what goes over all of them.
 *
 * A node with --listen takes connections; one with --join or --etcd dials. Without any of them nothing is open, and no
 * thread or timer runs. Who else is a member, and where, says directory.h: by gossip members learn of each other
 * through any one of them, by etcd from what is written there; and each makes a connection to each it can reach. Of two
 * that are made at once, the node whose name comes first keeps one. Addresses given with --join are tried for ever,
 * learned ones for net.forget.
 *
 * A member is a name and an incarnation (members.h). A name has one holder among those a node has a link to: who else
 * comes with it is refused. A process that was out of reach and comes back is what it was, its pids are good again;
 * but everything that was tied across the link has ended meanwhile (ties.h). A process that was started anew is another
 * incarnation: pids of the one before are dead.
 *
 * Each node says it is there when it has nothing else to say for `net.heartbeat`; one that says nothing for
 * `net.timeout` is given up, and its connection with it.
 *
 * Groups: each member tells the others of its actors' joins and leaves; each keeps all of them in mail/groups.c, and
 * forgets those of a node that it has no link to any more. Names are their node's; others can ask for them.
 *
 * Security. With TLS, both sides show certificates, each for the name of its node (tls.h), and need no secret; one that
 * is given is asked for besides. Else both prove that they know the cluster's secret (secret.h), and show nothing else
 * before. What travels then is plain: so an address beyond loopback, listening or dialing, wants `insecure`.
 *
 * Threads: cluster_open and cluster_close from the one that builds the node, within the life of the loop; the rest from
 * any; everything inside on the loop's thread. */
#ifndef NET_CLUSTER_H
#define NET_CLUSTER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mail/message.h"

typedef struct ClusterOptions {
    const char *name;    /* this node's */
    const char *cluster; /* the cluster's; NULL = "throng" */
    const char *listen;  /* HOST:PORT; NULL = takes no connections */
    const char *join;    /* HOST:PORT[,HOST:PORT]; NULL = dials nobody by itself */
    const char *etcd;    /* http://HOST:PORT[,...]; NULL = without; and files for https, or NULL */
    const char *etcd_ca, *etcd_cert, *etcd_key;
    const char *can;     /* what it can, see able.h; good; NULL = "" */
    const char *secret;  /* a file; NULL = the run directory's, or, with TLS, none */
    const char *tls_cert, *tls_key, *tls_ca; /* files; all three, or NULL = connections are plain */
    bool insecure;       /* plain connections beyond loopback are fine */
} ClusterOptions;

/* Is it to be opened at all? */
bool cluster_wanted(const ClusterOptions *options);
/* 0, also when it is not wanted: then nothing is open. Else a negative libuv error with one line in err. With etcd it
 * waits for this node's name there: see roster.h. */
int  cluster_open(const ClusterOptions *options, char *err, size_t err_size);
void cluster_start(void); /* from now on connections are taken and made: when there is somebody to hear of them */
void cluster_close(void); /* what waits is written first, for a second at most; no worker runs any more */
void cluster_free(void);  /* nobody sends any more */

void cluster_leave(void);  /* this node is about to end: others spawn nobody here any more. Any thread */
int  cluster_send(Message *msg); /* the post's way to other nodes: link_send */
void cluster_flush(void);        /* a slice is over: what it sent is written */

/* Walks the nodes that a link is up to: the name, or NULL at the end. *at starts at 0. Borrowed for ever. */
const char *cluster_next(uint32_t *at);
/* The number of the node of that name that a link is up to; 0 = this one; UINT32_MAX = there is none. */
uint32_t cluster_find(const char *name);
/* topic_subscribe to TOPIC_NODE; a new subscriber hears "up" of each node that is up already, and of each only once. */
int  cluster_watch(uint64_t pid);
/* Asks the node of that name who has the actor's name `text`: `asker` gets the pid, or nil, as the answer to `ref`. 0,
 * UV_EHOSTUNREACH or UV_ENOMEM. */
int  cluster_whereis(const char *node, const char *text, size_t len, uint64_t asker, uint64_t ref);
#endif
