/* claims.h - names of the cluster in etcd: how they are claimed, given up and looked up. A part of roster.h, which says
 * how keys and values look.
 *
 * A claim is a transaction that puts a key which is not there, with a number of its own in the value. When its answer
 * is lost it is asked again: then it finds the key, with its own number, or another's. A claim of which nobody knows
 * what became is given up by its value, which can be no other's. Threads: the loop's alone. */
#ifndef NET_CLAIMS_H
#define NET_CLAIMS_H
#include <stddef.h>
#include <stdint.h>
#include "net/frame.h"
#include "net/kv.h"
#include "net/titles.h"

#define CLAIMS_KEYS "names/"

void claims_open(const Hello *ours, const char *cluster_prefix); /* `ours` is lent */
void claims_claim(Title *t);
void claims_release(Title *t);
void claims_read(const char *name, size_t len, uint64_t asker, uint64_t ref, uint64_t deadline);
/* That key is ours, and nobody here holds it: of a claim that was given up before etcd did it. */
void claims_orphan(const char *name, size_t len, const KvPair *p, const KvHolder *h);
void claims_close(void); /* etcd_close was before */
#endif
