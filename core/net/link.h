/* link.h - the way to one incarnation of another node: what waits to be sent there, and what comes from there.
 *
 * Sending. A message becomes bytes on the thread that sends it, at the end of a lane (net/frame.h) under the link's
 * lock: so messages of one sender keep their order whatever worker it runs on, and who meets a full link knows at once.
 * The bytes are written when the sender's slice ends (link_flush_all), or when 64 KB are there: by whoever sent them,
 * with no other thread in between. One writes at a time; others leave their bytes to it. When the socket is full the
 * loop goes on as soon as it is not. What was put down by a slice that never ends, or by no slice, is written by the
 * loop's sweep, some milliseconds later. So there are many messages to a write, and none waits longer than a slice.
 *
 * Lanes. SEND, ASK, DOWN and EXIT go in the user's lane, in order: what somebody sent before he ended comes before the
 * news of his end. All else, answers too, goes in the system's, and passes by what waits in the user's. The user's lane
 * holds at most `net.buffer` bytes: then SEND and ASK are refused ("full"). The system's lane refuses nothing; a peer
 * that lets four times as much pile up there is cut off. So nothing grows.
 *
 * A slow way: when its socket has no room for 50 ms, little goes to the kernel ahead of time, so that the system's lane
 * has little to wait for there.
 *
 * Flow. The receiver takes `net.window` bytes of the user's lane in advance, and says how far it has come
 * (RECORD_CREDIT). It stops taking in while an actor there is far behind with its mailbox (a millisecond at a time);
 * the connection itself is always read, so the system's lane and the heartbeats are not held up.
 *
 * A mailbox there that is full is made known here (RECORD_FULL): from then on SEND and ASK to it are refused here
 * ("full"), until it has room for half its limit. What was under way by then becomes dead letters there. That goes for
 * LINK_FULL_MOST of them at once; further ones are not made known. Nobody pays for it while none is full.
 *
 * Loss. When a connection ends, what was never written becomes dead letters ("unreachable"), and of what was written
 * and not confirmed the number is logged and counted (`net_unconfirmed`): it may have arrived or not. So are kills and
 * stops, written or not. All else in the system's lane is answered for by ties.h, or told anew at the next beginning.
 * Threads: link_send and link_flush from any; what says so on the loop's thread alone. */
#ifndef NET_LINK_H
#define NET_LINK_H
#include <stdbool.h>
#include <stdint.h>
#include "mail/message.h"
#include "mail/pid.h"
#include "net/address.h"
#include "net/frame.h"
#include "net/ties.h"
#include "net/tls.h"

#define LINK_FULL_MOST 64

typedef struct Link Link;

typedef struct LinkCalls { /* on any thread that writes; they may only hand on to the loop */
    void (*blocked)(Link *l); /* the socket is full: call link_unblock when it is not */
    void (*stir)(void);       /* bytes were put down; perhaps nobody flushes */
    /* on the loop's thread */
    void (*paused)(Link *l); /* call link_resume in a millisecond */
    uint32_t (*meet)(Link *l, const Record *r);  /* RECORD_NODE: our number for it */
    void (*record)(Link *l, const Record *r); /* JOIN, LEAVE, WHEREIS: pids are ours already; CALL, ANSWER */
} LinkCalls;

void  link_open(LinkCalls calls); /* before the first link */
Link *link_new(uint32_t index, const char *name, uint64_t incarnation); /* NULL: memory is short */
void  link_free(Link *l);

uint32_t    link_index(const Link *l);
const char *link_name(const Link *l);
uint64_t    link_incarnation(const Link *l);
bool        link_is_up(Link *l);
uint64_t    link_session(Link *l); /* 0 = not up */
uint64_t    link_last_session(Link *l); /* of the session that is, or was the last; 0 = there was none */
void        link_bury(Link *l);    /* that process is gone for ever: its pids are dead, not out of reach */

/* 0 or MAILBOX_CROWDED: taken; UV_EHOSTUNREACH, UV_ESRCH (buried), UV_ENOBUFS (full), UV_E2BIG (more than the other
 * side's `net.message`): the caller still owns it */
int  link_send(Link *l, Message *msg);
/* A record of ours in the system's lane. 0; UV_EHOSTUNREACH, UV_E2BIG (more than it takes), UV_ENOMEM. */
int  link_put(Link *l, const Record *r);
void link_tell(Link *l, const Record *r); /* the same, if nobody needs to know whether the link is up */
/* RECORD_WHEREIS: an ask of `from` under `ref`, answered as others are. 0, UV_EHOSTUNREACH or UV_ENOMEM. */
int  link_ask(Link *l, const Record *r);
void link_flush(Link *l);
void link_flush_all(void); /* all this thread has put bytes down for since the last time */
/* The loop's: the socket has room again; flushes. */
void link_unblock(Link *l);
bool link_is_blocked(Link *l); /* waits for link_unblock */
bool link_idle(Link *l);   /* all is written */

/* ---- on the loop's thread ---- */

/* A connection is up: from now on messages are taken. Takes the socket, and TLS (NULL: it is plain). */
void link_begin(Link *l, int fd, Tls *tls, uint64_t session, const Hello *theirs);
/* Bytes that came, as chunks. 0; UV_EPROTO: they are none, UV_ENOMEM: end the connection. */
int  link_receive(Link *l, const unsigned char *bytes, size_t len);
int  link_resume(Link *l);
/* Values of what a call brought from there: pids become ours. False: they are none, or of a node that was not
 * announced. */
bool link_adopt_values(const Link *l, Message *msg);
/* A tie (ties.h) that no message has made: as if MONITOR, LINK or ASK had been sent (`leaves`), or had come. One that
 * comes may get another ref. 0, UV_EHOSTUNREACH, UV_EEXIST, UV_ENOMEM. */
int  link_bind(Link *l, bool leaves, MessageKind kind, uint64_t from, uint64_t to, uint64_t *ref);
/* The connection is over; closes the socket and frees its Tls, soon. Everybody is told; the number of messages that
 * may be lost. */
uint64_t link_end(Link *l);
/* Tells the other side how far we have come with its messages, if it does not know. */
void link_confirm(Link *l);
bool link_adopt(const Link *l, uint64_t *pid); /* see intake.h */
size_t link_waits(Link *l, TiesWait *out, size_t most); /* ties_due */
/* Tells it whose mailboxes, of those that it was told to be full, have room again. True: some are still full. */
bool link_recheck(Link *l);
/* For intake.c: ties_arrive, RECORD_CREDIT and RECORD_FULL. */
void link_filled(Link *l, uint64_t pid, bool full);
int  link_tie(Link *l, Message *msg);
void link_credited(Link *l, uint64_t bytes, uint64_t records, uint64_t orders);
/* Since the last call: did anything come, did anything go? */
void link_pulse(Link *l, bool *heard, bool *spoke);
const char *link_fault(const Link *l); /* what was wrong with the bytes, after UV_EPROTO */
#endif
