/* tls.h - TLS 1.3 on a connection between nodes: both sides show a certificate, signed by the cluster's authority, that
 * names the node it is (as DNS name of its subjectAltName, to the letter).
 *
 * Who writes and who reads are two threads: a link's writer, whoever that is at the moment, and the loop. OpenSSL wants
 * one at a time, so a lock of the connection's own is held while one record (16 KB, some 10 us) is made or opened; the
 * socket is read and written without it. Sockets stay with the caller: he reads, and hands on what came; what is to be
 * sent goes through a buffer of TLS_BATCH bytes. Nothing else grows, but for OpenSSL's own buffers of a record.
 *
 * Keys are renewed after so many records as AES-GCM is good for, with room to spare. There are no tickets, nothing is
 * resumed. */
#ifndef NET_TLS_H
#define NET_TLS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TLS_RECORD 16384
#define TLS_BATCH 65536
#define TLS_WHY 200

typedef struct TlsContext TlsContext; /* what this node shows, and whom it believes */
typedef struct Tls Tls;               /* one connection */

typedef struct TlsOptions { /* its texts are kept, not copied */
    const char *cert, *key, *ca; /* files, PEM. cert: this node's, and those between it and the authority, if any */
    const char *name;            /* this node's: the certificate must have it */
    uint64_t rekey;              /* records until keys are renewed; 0: as many as is good */
} TlsOptions;

/* 0, or a negative libuv error with one line in err: which file, what is wrong with it, what to do. */
int  tls_open(const TlsOptions *options, TlsContext **out, char *err, size_t err_size);
void tls_close(TlsContext *context); /* NULL is fine; connections that are still there keep what they need */

/* For a socket that is connected; it stays the caller's, and open until tls_free. Files that have changed are read anew
 * before; if they are no good that is logged, once, and what was read before is used. NULL: memory is short. */
Tls *tls_new(TlsContext *context, int fd, bool dialed);
void tls_free(Tls *t); /* NULL is fine */

/* ---- the loop's thread ---- */

/* Who has dialed speaks first. UV_EPROTO: see tls_fault. */
int  tls_start(Tls *t);
/* Bytes that came, opened into `out`, which has room for len + TLS_RECORD. How many there are; 0: none yet; UV_EOF: the
 * other side has said that it ends; UV_EPROTO: see tls_fault, the connection is of no use any more. The last two come
 * alone: call again with nothing as long as tls_more says so. Sends what the handshake wants sent. */
ssize_t tls_take(Tls *t, const unsigned char *bytes, size_t len, unsigned char *out, size_t room);
bool tls_more(const Tls *t);
bool tls_ready(const Tls *t); /* the handshake is over, the other side's certificate is good */
/* Is it for that node? `shown`: for which it is, else. */
bool tls_names(const Tls *t, const char *name, char shown[TLS_WHY]);
/* A sentence on the other side, such as "its certificate has expired"; begins with "refused" if one side refused the
 * other, which people want to know. */
const char *tls_fault(const Tls *t);
/* Says that we end, if nothing is half sent; nobody writes any more. */
void tls_farewell(Tls *t);

/* ---- one thread at a time ---- */

/* As send(): how many of the bytes are sent, or -1 with errno. After EAGAIN or EINTR the next call must bring the same
 * bytes again, for a part of them may be on its way. */
ssize_t tls_send(Tls *t, const void *bytes, size_t len);
#endif
