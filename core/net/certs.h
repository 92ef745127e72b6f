/* certs.h - makes certificates for the nodes of a cluster, and the authority that signs them: `throng certs`.
 * Threads: main's, without a node. */
#ifndef NET_CERTS_H
#define NET_CERTS_H
#include <stdbool.h>
#include <stddef.h>

#define CERTS_AUTHORITY "ca" /* DIR/ca.pem and DIR/ca.key: no node can have that name */
#define CERTS_AUTHORITY_DAYS 3650
#define CERTS_NODE_DAYS 825

typedef struct CertsMade {
    bool authority;         /* made; else it was there */
    bool *nodes;            /* the same for each node: the caller's, one for each name */
} CertsMade;

/* Writes DIR/ca.pem, ca.key, and NAME.pem and NAME.key for each name; keys are EC P-256, readable by their owner alone.
 * What is there is left as it is if it fits: an authority signs further nodes, a node's certificate that is of it, and
 * in its time, is kept. If it does not fit nothing is written. 0, or a negative libuv error with one line in err. */
int certs_make(const char *dir, char **names, int count, int days, CertsMade *made, char *err, size_t err_size);
#endif
