/* conn.h - one TCP connection to another node, dialed or accepted: TLS's handshake, if there is to be one (net/tls.h),
 * then that of frames (net/frame.h), then a Link's bytes.
 *
 * What a stranger can do: open at most CONN_STRANGERS connections that have not proved anything, each for `net.timeout`
 * and with no more than two frames of memory; with TLS, CONN_TLS_BYTES of its handshake besides, and what OpenSSL makes
 * of them. Everything else wants the secret, or a certificate.
 * A node with TLS and one without tell each other so: who was dialed and sees the first bytes of the other kind answers
 * in words that the other one understands.
 * Threads: the loop's alone. */
#ifndef NET_CONN_H
#define NET_CONN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "net/link.h"
#include "net/tls.h"

#define CONN_STRANGERS 64
#define CONN_TLS_BYTES 65536
#define CONN_WHY 320

typedef struct Conn Conn;

typedef struct ConnCalls {
    /* Their HELLO came and fits ours: may it go on? Else false, with why (for both sides), "" for no word. */
    bool (*meet)(Conn *c, const Hello *theirs, char why[CONN_WHY]);
    /* Both have proved what they are, and we decide: the number of the session that begins, or 0 with why. `session` is
     * the one the other side has with us. */
    uint64_t (*decide)(Conn *c, const Hello *theirs, uint64_t session, char why[CONN_WHY]);
    uint64_t (*session)(const Hello *theirs);  /* the one we have with it; 0 = none */
    /* It is up: the link it serves, or NULL with why. */
    Link *(*begin)(Conn *c, const Hello *theirs, int fd, uint64_t session, char why[CONN_WHY]);
    /* It ends. `why` is "" if there is nothing to say. Before this its link has heard of it. */
    void (*over)(Conn *c, Link *l, const char *why, uint64_t unconfirmed);
    void (*busy)(size_t len); /* so many bytes came on one that is up */
} ConnCalls;

/* tls: NULL = connections are plain. */
void conn_open(ConnCalls calls, const Hello *ours, const unsigned char *secret, size_t secret_len, TlsContext *tls);

/* Takes the socket. `context` is the caller's. NULL: no memory, or too many strangers. */
Conn *conn_new(int fd, bool dialed, const struct sockaddr_storage *where, void *context);
void  conn_close(Conn *c, const char *why); /* calls `over` */
void *conn_context(const Conn *c);
void  conn_drop_context(Conn *c);
bool  conn_dialed(const Conn *c);
bool  conn_is_up(const Conn *c);
Link *conn_link(const Conn *c);
Tls *conn_tls(const Conn *c);          /* NULL: it is plain. The link's, once it is up, as the socket is */
const char *conn_where(const Conn *c); /* the other side's address */
void  conn_peer(const Conn *c, struct sockaddr_storage *out);
uint64_t conn_patience(const Conn *c); /* ms of silence after which the other side gives us up */
uint64_t conn_born(const Conn *c);     /* clock_now, when it was made; when it is up: since when it is */
void  conn_unblock(Conn *c);           /* calls link_unblock when the socket has room */
void  conn_farewell(Conn *c);          /* all is written: the other side will read the end of it, and end it */
Conn *conn_first(void);
Conn *conn_next(const Conn *c);        /* all there are; closing one that is held is fine after its next is known */
#endif
