/* secret.h - what nodes of one cluster know and nobody else: a file of its owner's alone (0600), made on first use.
 * Threads: the one that builds the node. */
#ifndef NET_SECRET_H
#define NET_SECRET_H
#include <stddef.h>

#define SECRET_MAX 256
#define SECRET_LEAST 16

/* Reads the secret of `path`, or of cluster.secret in the run directory, which is made if it is missing, with 32 bytes
 * of the system's randomness in hex. White space at its end does not count. Its length, or a negative libuv error with
 * one line in err: others may read it, it is too short, ... */
int secret_load(const char *path, unsigned char out[SECRET_MAX], char *err, size_t err_size);

int secret_random(void *out, size_t len); /* 0 or a negative libuv error */
#endif
