/* credentials.h - certificates and keys in files (PEM): read, and checked before anything relies on them.
 *
 * A key is read from a file that nobody else can read (0600 or less), and that is its user's own or root's. Symbolic
 * links are followed: that is how such files are usually replaced. All of this wants openssl_load.
 * Errors: a negative libuv error, and one line in err that names the file. Threads: from any. */
#ifndef NET_CREDENTIALS_H
#define NET_CREDENTIALS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "net/openssl.h"

#define CREDENTIALS_FILE_MOST 1048576

/* Files by what they are called in messages, as "--tls-cert" or "". */
int credentials_certificate(const char *option, const char *path, X509 **out, char *err, size_t err_size);
int credentials_key(const char *option, const char *path, EVP_PKEY **out, char *err, size_t err_size);

/* Is the certificate for a node of that name? `shown`: for which ones it is, else. */
bool credentials_name(X509 *certificate, const char *name, char *shown, size_t shown_size);

/* What a node with this name shows and believes, from its three files: the certificate must be of the authority, in its
 * time, for the name, and fit the key. *expires: when it ends to be so, in seconds since 1970. */
int credentials_load(const char *cert, const char *key, const char *ca, const char *name, SSL_CTX **out,
                     int64_t *expires, char *err, size_t err_size);
#endif
