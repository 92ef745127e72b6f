/* frame.h - what travels between two nodes, as bytes. Little-endian.
 *
 * First the handshake: frames of at most FRAME_HELLO_MAX bytes, each a length (4 bytes), a type (1 byte) and its body.
 *   1. Both say HELLO: who they are, and a nonce. Its first bytes stay as they are in every version to come.
 *   2. Both say PROOF: the HMAC of both HELLOs under the cluster's secret, so that neither can be replayed or mirrored.
 *      (With TLS there need not be one: then both have proved before who they are.)
 *   3. The one whose name comes first decides: WELCOME with the number of this session, or REFUSED with why, as anybody
 *      may say instead of going on.
 * From then on the connection carries two lanes of bytes, in chunks: lane (1 byte), length (3 bytes), bytes. A lane is
 * a stream of records that do not care where chunks end: so a message of many megabytes in the user's lane does not
 * delay what goes in the system's. In front of every chunk of the user's lane goes all that waits in the other.
 * A record is its length (4 bytes, itself not counted), and what the struct Record says, in its order:
 *   kind, flags, argc, 0 (1 byte each), name (4), to, from, ref, left (8 each), payload.
 *
 * A pid on the wire is as its sender has it: node 0 is the sender, other numbers are the sender's, which it has
 * announced (RECORD_NODE) before it uses one. So who sends copies payloads as they are, and who receives, and has to
 * check every byte of them anyway, puts its own numbers in their place. Names of handlers are the sender's atoms,
 * announced by RECORD_ATOM. Announcements go in the system's lane: they are always there in time.
 *
 * Everything here is a function of its arguments; what reads takes bytes from outside. */
#ifndef NET_FRAME_H
#define NET_FRAME_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mail/message.h"
#include "net/able.h"
#include "net/hmac.h"

#define FRAME_VERSION 2
#define FRAME_HELLO_MAX 1024
#define FRAME_NAME_MAX 64 /* bytes of a node's or cluster's name */
#define FRAME_NONCE 32
#define CALL_MAX (1u << 20) /* bytes of what RECORD_CALL and RECORD_ANSWER bring */

typedef enum { FRAME_HELLO = 1, FRAME_PROOF, FRAME_WELCOME, FRAME_REFUSED } FrameType;

typedef struct Hello {
    uint64_t incarnation; /* random: this process and no other */
    uint64_t window;      /* bytes of the user's lane it takes in advance, see RECORD_CREDIT */
    uint64_t largest;     /* bytes of payload it takes in one message */
    uint64_t patience;    /* ms of silence after which it gives us up */
    uint16_t version, port; /* port: where it listens, 0 = it does not */
    unsigned char nonce[FRAME_NONCE];
    char cluster[FRAME_NAME_MAX + 1], name[FRAME_NAME_MAX + 1];
    char can[ABLE_TEXT_MAX + 1];   /* what it can, see able.h */
    char host[FRAME_NAME_MAX + 1]; /* ... and on which address; "" = the one it is seen with */
} Hello;

/* A whole frame at the start of p? Its length, 0 if there is more to come, or UV_EPROTO. */
int    frame_whole(const unsigned char *p, size_t len);
size_t frame_put(unsigned char out[FRAME_HELLO_MAX], FrameType type, const void *body, size_t len);
size_t frame_put_hello(unsigned char out[FRAME_HELLO_MAX], const Hello *hello);
/* `body` without length and type. UV_EPROTO: it is none. UV_ENOTSUP: of another version; only `version` is set. */
int    frame_read_hello(const unsigned char *body, size_t len, Hello *out);
/* What the dialing and the accepting one must prove, over both whole HELLO frames, and the session the prover has. */
void   frame_prove(const unsigned char *secret, size_t secret_len, bool dialed, uint64_t session,
                   const unsigned char *dialer, size_t dialer_len, const unsigned char *accepter, size_t accepter_len,
                   unsigned char out[HMAC_SIZE]);

typedef enum { LANE_SYSTEM, LANE_USER, LANES } Lane;
#define FRAME_CHUNK_HEAD 4
#define FRAME_CHUNK_MAX (1u << 17)

void frame_put_chunk(unsigned char *p, Lane lane, size_t len);
bool frame_read_chunk(const unsigned char *p, Lane *lane, size_t *len);

enum { /* kinds of records that are no messages */
    RECORD_NODE = 0x80, /* `name`: its number here; `ref`: incarnation; `to`: 1 = a link to it is up; payload: its name,
                         * a 0, its address or nothing */
    RECORD_ATOM,        /* `name`: its number here; payload: the text */
    RECORD_PING,        /* here I am */
    RECORD_CREDIT,      /* `to`: bytes of the user's lane taken in since the start, `from`: records; `ref`: kills and
                         * stops of the other lane */
    RECORD_JOIN,        /* `from` is in the group of that name (payload) */
    RECORD_LEAVE,
    RECORD_WHEREIS,     /* who has that name (payload)? An answer (MESSAGE_REPLY) to `ref` of `from` */
    RECORD_CALL,        /* `name`: a service (net/call.h), `ref`: its asker's number, payload: the question */
    RECORD_ANSWER,      /* to `ref`; `to`: what became of it; payload */
    RECORD_CHASE,       /* who waits for whom, from `from` to `to`; `left`: see net/chase.h; payload: the way so far */
    RECORD_FULL,        /* the mailbox of `from`: `to` 1 = it is full, 0 = it has room again */
    RECORD_LOAD         /* `to`: how many actors it has; UINT64_MAX: it is about to end, and takes none */
};

#define FRAME_STEP 16        /* bytes of a step of RECORD_CHASE */
#define FRAME_CHASE_MAX 65536 /* of all of them, and the texts */

typedef struct Record {
    uint8_t kind, flags, argc;
    uint32_t name;
    uint64_t to, from, ref, left; /* left: ns until the asker gives up, with MESSAGE_LIMITED */
    const unsigned char *payload;
    size_t size;
} Record;
#define RECORD_HEAD 44 /* with its length */
#define RECORD_LENGTH 4

/* "Orders": kills and stops. */
static inline bool record_is_order(uint8_t kind) { return kind == MESSAGE_KILL || kind == MESSAGE_STOP; }
static inline size_t record_whole(const Record *r) { return RECORD_HEAD + r->size; }
void record_put(unsigned char *out, const Record *r); /* record_whole(r) bytes */
/* The length of the record that begins with these 4 bytes, itself counted. */
size_t record_length(const unsigned char p[RECORD_LENGTH]);
/* A whole record. False: it is none, or nothing that one node may send another. */
bool record_read(const unsigned char *p, size_t len, Record *out);
#endif
