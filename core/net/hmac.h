/* hmac.h - HMAC-SHA256 (FIPS 180-4, RFC 2104), for the handshake between nodes. Threads: from any. */
#ifndef NET_HMAC_H
#define NET_HMAC_H
#include <stdbool.h>
#include <stddef.h>

#define HMAC_SIZE 32

void hmac_sha256(const void *key, size_t key_len, const void *text, size_t len, unsigned char out[HMAC_SIZE]);
/* In a time that does not depend on where they differ. */
bool hmac_same(const unsigned char a[HMAC_SIZE], const unsigned char b[HMAC_SIZE]);
#endif
