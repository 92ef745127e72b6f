#include "net/link.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/config.h"
#include "ground/log.h"
#include "ground/metrics.h"
#include "mail/atom.h"
#include "mail/mailbox.h"
#include "mail/payload.h"
#include "mail/post.h"
#include "mail/registry.h"
#include "net/bytes.h"
#include "net/intake.h"

#define CHUNK 65536            /* of one lane, in one write */
#define NARROW 16384           /* the same where it is slow, and what the system may hold besides: see on_room */
#define SLOW_NS 50000000       /* a socket that has no room for so long is slow, ... */
#define FAST_NS 200000         /* and no longer is when it has some that soon */
#define FLUSH_AT 65536         /* so much waits: it is written in the middle of a slice */
#define CROWD_EVERY 65536      /* of a user's lane that is a quarter full: its senders let others work */
#define SYSTEM_TIMES 4         /* net.buffer: more in the system's lane, and the peer is cut off */
#define ROUNDS 4               /* of writing by one who has other work */
#define DIRTY_MOST 8

struct Link {
    uint32_t index;
    uint64_t incarnation;
    char name[FRAME_NAME_MAX + 1];
    pthread_mutex_t lock; /* guards all up to `in` */
    bool up, buried;
    bool writing; /* somebody writes `wire`, without the lock, to `fd` */
    bool blocked; /* nobody writes until link_unblock */
    bool failed;  /* nobody writes any more: the loop will see the connection end */
    bool spoke;
    bool narrow;  /* the way there is slow */
    uint64_t full_since; /* clock_now, when the socket had no room; 0 = it has */
    int fd, doomed; /* doomed: the fd of an ended session, for its last writer to close; else -1 */
    Tls *tls, *doomed_tls; /* NULL: plain. In the way of the two above */
    uint64_t session;
    Bytes out[LANES];
    size_t begun; /* bytes at the front of the user's lane that belong to a record already in part on the wire */
    uint64_t window, largest, sent, acked; /* bytes of the user's lane */
    uint64_t records_sent, records_acked; /* of the user's lane */
    uint64_t orders_sent, orders_acked;   /* kills and stops: of the system's, all that nothing else answers for */
    unsigned char *wire; /* 2 chunks with their heads: what is being written */
    size_t wire_len, wire_at;
    Ties ties;
    uint32_t ties_at; /* where link_waits goes on */
    uint32_t full_count;
    uint64_t full[LINK_FULL_MOST]; /* pids there whose mailboxes are full */
    unsigned char told[(ATOM_MAX + 1) / 8]; /* atoms the peer knows */
    Intake in;
};

static LinkCalls calls; /* written before the first link is made */

/* initial-exec: as in ground/metrics.c. Links this thread has put bytes down for. */
static _Thread_local __attribute__((tls_model("initial-exec"))) Link *dirty[DIRTY_MOST];
static _Thread_local __attribute__((tls_model("initial-exec"))) unsigned dirty_count;

void link_open(LinkCalls with) { calls = with; }

Link *link_new(uint32_t index, const char *name, uint64_t incarnation) {
    Link *l = calloc(1, sizeof *l);
    if (l == NULL) return NULL;
    l->index = index;
    l->incarnation = incarnation;
    l->fd = l->doomed = -1;
    l->in = (Intake){.link = l, .calls = &calls, .index = index};
    strncpy(l->name, name, FRAME_NAME_MAX);
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void link_free(Link *l) {
    if (l == NULL) return;
    for (int lane = 0; lane < LANES; lane++) bytes_clear(&l->out[lane]);
    intake_clear(&l->in);
    if (l->fd >= 0) close(l->fd);
    if (l->doomed >= 0) close(l->doomed);
    tls_free(l->tls);
    tls_free(l->doomed_tls);
    free(l->wire);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

uint32_t    link_index(const Link *l) { return l->index; }
const char *link_name(const Link *l) { return l->name; }
uint64_t    link_incarnation(const Link *l) { return l->incarnation; }
const char *link_fault(const Link *l) { return l->in.fault != NULL ? l->in.fault : "bytes that make no sense"; }

uint64_t link_session(Link *l) {
    pthread_mutex_lock(&l->lock);
    uint64_t session = l->up ? l->session : 0;
    pthread_mutex_unlock(&l->lock);
    return session;
}

uint64_t link_last_session(Link *l) {
    pthread_mutex_lock(&l->lock);
    uint64_t session = l->session;
    pthread_mutex_unlock(&l->lock);
    return session;
}

bool link_is_up(Link *l) { return link_session(l) != 0; }

void link_bury(Link *l) {
    pthread_mutex_lock(&l->lock);
    l->buried = true;
    pthread_mutex_unlock(&l->lock);
}

/* ---- writing; under the lock ---- */

/* Moves up to `most` bytes of a lane onto the wire, as one chunk. */
static void load(Link *l, Lane lane, size_t most) {
    Bytes *b = &l->out[lane];
    size_t n = bytes_len(b) < most ? bytes_len(b) : most;
    if (n == 0) return;
    frame_put_chunk(l->wire + l->wire_len, lane, n);
    memcpy(l->wire + l->wire_len + FRAME_CHUNK_HEAD, bytes_first(b), n);
    l->wire_len += FRAME_CHUNK_HEAD + n;
    if (lane == LANE_USER) {
        l->sent += n;
        size_t at = 0; /* where the next record begins */
        for (at = l->begun; at < n; l->records_sent++) at += record_length(bytes_first(b) + at);
        l->begun = at - n;
    }
    bytes_take(b, n);
}

/* Puts together what is written next; false: there is nothing, or no credit. */
static bool fill_wire(Link *l) {
    l->wire_len = l->wire_at = 0;
    load(l, LANE_SYSTEM, CHUNK);
    if (bytes_len(&l->out[LANE_SYSTEM]) == 0) {
        uint64_t credit = l->window - (l->sent - l->acked);
        size_t most = l->narrow ? NARROW : CHUNK;
        load(l, LANE_USER, credit < most ? (size_t)credit : most);
    }
    return l->wire_len > 0;
}

static void write_out(Link *l, int rounds) {
    if (!l->up || l->writing || l->blocked || l->failed) return; /* who writes looks again before it leaves */
    uint64_t session = l->session;
    l->writing = true;
    while (l->wire_at < l->wire_len || fill_wire(l)) {
        if (rounds-- == 0) {
            l->blocked = true; /* the loop goes on */
            break;
        }
        int fd = l->fd;
        Tls *tls = l->tls;
        size_t at = l->wire_at, n = l->wire_len - at;
        pthread_mutex_unlock(&l->lock);
        ssize_t wrote = tls != NULL ? tls_send(tls, l->wire + at, n)
                                    : send(fd, l->wire + at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        int err = errno;
        pthread_mutex_lock(&l->lock);
        if (!l->up || l->session != session) break; /* it ended meanwhile */
        if (wrote >= 0) {
            l->wire_at += (size_t)wrote;
            l->spoke = true;
            metrics_add(METRIC_net_bytes_out, (uint64_t)wrote);
        } else if (err == EAGAIN) {
            l->blocked = true;
            l->full_since = clock_now();
            break;
        } else if (err != EINTR) {
            l->failed = true;
            shutdown(fd, SHUT_RDWR);
            break;
        }
    }
    l->writing = false;
    if (l->doomed >= 0) {
        tls_free(l->doomed_tls);
        close(l->doomed);
        l->doomed_tls = NULL;
        l->doomed = -1;
    }
    if (l->blocked && l->up) calls.blocked(l);
}

void link_flush(Link *l) {
    pthread_mutex_lock(&l->lock);
    write_out(l, ROUNDS);
    pthread_mutex_unlock(&l->lock);
}

/* What the kernel holds and has not sent is in front of all that we say next, in the system's lane, too; on a slow way
 * that is seconds of the user's. So there it may hold little. On a fast one it may hold what it likes: being woken for
 * every few KB costs throughput. Under the lock. */
static void on_room(Link *l) {
    uint64_t took = clock_now() - l->full_since;
    bool narrow = took > SLOW_NS || (l->narrow && took > FAST_NS);
    l->full_since = 0;
    if (narrow == l->narrow || !l->up) return;
    int unsent = narrow ? NARROW : INT_MAX;
    setsockopt(l->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    l->narrow = narrow;
}

void link_unblock(Link *l) {
    pthread_mutex_lock(&l->lock);
    l->blocked = false;
    if (l->full_since != 0) on_room(l);
    write_out(l, ROUNDS);
    pthread_mutex_unlock(&l->lock);
}

bool link_is_blocked(Link *l) {
    pthread_mutex_lock(&l->lock);
    bool blocked = l->up && l->blocked;
    pthread_mutex_unlock(&l->lock);
    return blocked;
}

bool link_idle(Link *l) {
    pthread_mutex_lock(&l->lock);
    bool idle = !l->up || l->failed || (!l->writing && l->wire_at == l->wire_len &&
                                        bytes_len(&l->out[LANE_SYSTEM]) == 0 && bytes_len(&l->out[LANE_USER]) == 0);
    pthread_mutex_unlock(&l->lock);
    return idle;
}

void link_flush_all(void) {
    while (dirty_count > 0) link_flush(dirty[--dirty_count]);
}

static void soil(Link *l) {
    for (unsigned i = 0; i < dirty_count; i++)
        if (dirty[i] == l) return;
    if (dirty_count == DIRTY_MOST) link_flush_all();
    dirty[dirty_count++] = l;
    calls.stir();
}

/* ---- sending ---- */

static Lane lane_of(const Message *msg) {
    return msg->kind == MESSAGE_SEND || msg->kind == MESSAGE_ASK || msg->kind == MESSAGE_DOWN ||
                   msg->kind == MESSAGE_EXIT
               ? LANE_USER
               : LANE_SYSTEM;
}

/* Appends a record. Under the lock. */
static int put(Link *l, Lane lane, const Record *r) {
    unsigned char *to = bytes_more(&l->out[lane], record_whole(r));
    if (to == NULL) return UV_ENOMEM;
    record_put(to, r);
    bytes_added(&l->out[lane], record_whole(r));
    return 0;
}

/* The peer hears of the atom, once. Under the lock. */
static int introduce(Link *l, uint32_t atom) {
    size_t len;
    if (l->told[atom / 8] & 1u << atom % 8) return 0;
    const char *text = atom_text(atom, &len);
    int err = put(l, LANE_SYSTEM, &(Record){.kind = RECORD_ATOM, .name = atom, .payload = (const unsigned char *)text,
                                            .size = len});
    if (err == 0) l->told[atom / 8] |= (unsigned char)(1u << atom % 8);
    return err;
}

/* Too much has piled up that can't be refused. Under the lock. */
static void cut_off_if_too_slow(Link *l, Lane lane) {
    if (bytes_len(&l->out[lane]) <= SYSTEM_TIMES * (size_t)config.net_buffer + l->largest || l->failed) return;
    l->failed = true;
    log_format(LOG_WARN, "", "node %s does not read: %zu bytes wait for it, the connection is cut", l->name,
               bytes_len(&l->out[lane]));
    shutdown(l->fd, SHUT_RDWR);
}

static Record record_of(const Message *msg) {
    Record r = {msg->kind, msg->flags & (MESSAGE_NAMED | MESSAGE_ERRORS | MESSAGE_LIMITED), msg->argc, msg->name,
                msg->to, msg->from, msg->ref, 0, msg->bytes, msg->size};
    if (msg->flags & MESSAGE_LIMITED) {
        uint64_t now = clock_coarse(), deadline = message_deadline(msg);
        r.left = deadline > now ? deadline - now : 0;
    }
    return r;
}

/* Some kinds mean something in this process alone: they hold pointers, or are of its own timers and versions. */
static bool travels(const Message *msg) {
    switch ((MessageKind)msg->kind) {
    case MESSAGE_START:
    case MESSAGE_TIMER:
    case MESSAGE_RELOAD:
    case MESSAGE_CIRCLE:
    case MESSAGE_VISIT: return false;
    default: return true;
    }
}

static uint64_t *find_full(Link *l, uint64_t pid) {
    for (uint32_t i = 0; i < l->full_count; i++)
        if (l->full[i] == pid) return &l->full[i];
    return NULL;
}

static int send_locked(Link *l, Message *msg, size_t *waiting) {
    Lane lane = lane_of(msg);
    size_t waits = bytes_len(&l->out[lane]), size = RECORD_HEAD + msg->size;
    *waiting = waits;
    if (!l->up || !travels(msg)) return l->buried ? UV_ESRCH : UV_EHOSTUNREACH;
    if (msg->size > l->largest) return UV_E2BIG;
    if (__builtin_expect(l->full_count > 0, 0) && msg->kind <= MESSAGE_ASK && find_full(l, msg->to) != NULL)
        return UV_ENOBUFS;
    if (msg->kind <= MESSAGE_ASK && waits > 0 && waits + size > (size_t)config.net_buffer) return UV_ENOBUFS;
    if (bytes_more(&l->out[lane], size) == NULL) return UV_ENOBUFS;
    if (msg->name != 0 && introduce(l, msg->name) < 0) return UV_ENOBUFS;
    int err = ties_leave(&l->ties, msg);
    if (err != 0) return err == TIES_DROP ? TIES_DROP : UV_ENOBUFS;
    Record r = record_of(msg);
    put(l, lane, &r); /* there is room */
    l->orders_sent += record_is_order(msg->kind);
    cut_off_if_too_slow(l, lane);
    return 0;
}

int link_send(Link *l, Message *msg) {
    size_t waiting, size = RECORD_HEAD + msg->size;
    bool user = lane_of(msg) == LANE_USER;
    pthread_mutex_lock(&l->lock);
    int err = send_locked(l, msg, &waiting);
    pthread_mutex_unlock(&l->lock);
    if (err < 0) return err;
    message_free(msg);
    if (err == TIES_DROP) return 0;
    metrics_add(METRIC_net_sent, 1);
    soil(l);
    if (waiting + size >= FLUSH_AT) link_flush(l);
    return user && waiting >= (size_t)config.net_buffer / 4 &&
                   waiting / CROWD_EVERY != (waiting + size) / CROWD_EVERY
               ? MAILBOX_CROWDED
               : 0;
}

int link_put(Link *l, const Record *r) {
    pthread_mutex_lock(&l->lock);
    int err = !l->up ? UV_EHOSTUNREACH : r->size > l->largest ? UV_E2BIG : put(l, LANE_SYSTEM, r);
    if (err == 0) cut_off_if_too_slow(l, LANE_SYSTEM);
    pthread_mutex_unlock(&l->lock);
    if (err == 0) soil(l);
    return err;
}

void link_tell(Link *l, const Record *r) { link_put(l, r); }

int link_ask(Link *l, const Record *r) {
    Message ask = {.kind = MESSAGE_ASK, .from = r->from, .ref = r->ref, .to = pid_on_node(0, l->index)};
    pthread_mutex_lock(&l->lock);
    int err = !l->up ? UV_EHOSTUNREACH : ties_leave(&l->ties, &ask);
    if (err == 0 && (err = put(l, LANE_SYSTEM, r)) < 0) ties_unask(&l->ties, r->ref, r->from);
    pthread_mutex_unlock(&l->lock);
    if (err == 0) soil(l);
    return err;
}
/* ---- receiving; the loop's thread ---- */

int link_receive(Link *l, const unsigned char *bytes, size_t len) { return intake_take(&l->in, bytes, len); }

int link_resume(Link *l) { return intake_resume(&l->in); }

void link_confirm(Link *l) { intake_confirm(&l->in); }

bool link_adopt(const Link *l, uint64_t *pid) { return intake_adopt(&l->in, pid); }

int link_tie(Link *l, Message *msg) {
    pthread_mutex_lock(&l->lock);
    int err = ties_arrive(&l->ties, msg);
    pthread_mutex_unlock(&l->lock);
    return err;
}

static bool adopt(void *link, uint64_t *pid) { return link_adopt(link, pid); }

bool link_adopt_values(const Link *l, Message *msg) { return payload_adopt(msg, adopt, (void *)l); }

int link_bind(Link *l, bool leaves, MessageKind kind, uint64_t from, uint64_t to, uint64_t *ref) {
    Message msg = {.kind = (uint8_t)kind, .from = from, .to = to, .ref = *ref};
    pthread_mutex_lock(&l->lock);
    int err = !l->up ? UV_EHOSTUNREACH : leaves ? ties_leave(&l->ties, &msg) : ties_arrive(&l->ties, &msg);
    pthread_mutex_unlock(&l->lock);
    *ref = msg.ref;
    return err == TIES_DROP ? UV_EEXIST : err;
}

void link_filled(Link *l, uint64_t pid, bool full) {
    pthread_mutex_lock(&l->lock);
    uint64_t *at = find_full(l, pid);
    if (full && at == NULL && l->full_count < LINK_FULL_MOST) l->full[l->full_count++] = pid;
    if (!full && at != NULL) *at = l->full[--l->full_count];
    pthread_mutex_unlock(&l->lock);
}

bool link_recheck(Link *l) { return intake_recheck(&l->in); }

size_t link_waits(Link *l, TiesWait *out, size_t most) {
    pthread_mutex_lock(&l->lock);
    size_t count = ties_due(&l->ties, &l->ties_at, out, most);
    pthread_mutex_unlock(&l->lock);
    return count;
}

void link_credited(Link *l, uint64_t bytes, uint64_t records, uint64_t orders) {
    pthread_mutex_lock(&l->lock);
    if (bytes > l->acked && bytes <= l->sent) l->acked = bytes;
    if (records > l->records_acked && records <= l->records_sent) l->records_acked = records;
    if (orders > l->orders_acked && orders <= l->orders_sent) l->orders_acked = orders;
    pthread_mutex_unlock(&l->lock);
    soil(l);
}

void link_pulse(Link *l, bool *heard, bool *spoke) {
    *heard = l->in.heard;
    l->in.heard = false;
    pthread_mutex_lock(&l->lock);
    *spoke = l->spoke;
    l->spoke = false;
    pthread_mutex_unlock(&l->lock);
}

/* ---- beginning and end; the loop's thread ---- */

void link_begin(Link *l, int fd, Tls *tls, uint64_t session, const Hello *theirs) {
    intake_begin(&l->in);
    pthread_mutex_lock(&l->lock);
    if (l->wire == NULL) l->wire = malloc(2 * (CHUNK + FRAME_CHUNK_HEAD));
    memset(l->told, 0, sizeof l->told);
    l->wire_len = l->wire_at = l->begun = 0;
    l->full_count = l->ties_at = 0;
    l->sent = l->acked = l->records_sent = l->records_acked = l->orders_sent = l->orders_acked = 0;
    l->window = theirs->window;
    l->largest = theirs->largest < MESSAGE_SIZE_MAX ? theirs->largest : MESSAGE_SIZE_MAX;
    l->fd = fd;
    l->tls = tls;
    l->session = session;
    l->narrow = false;
    l->full_since = 0;
    l->blocked = l->spoke = l->buried = false; /* buried: a process of its name came between, and has gone */
    l->failed = l->wire == NULL; /* no memory: it ends again at once */
    l->up = true;
    if (l->failed) shutdown(fd, SHUT_RDWR);
    pthread_mutex_unlock(&l->lock);
}

/* What was never written. */
static void refuse_unsent(Ties *ties, Bytes *user, size_t begun) {
    if (bytes_len(user) <= begun) return;
    const unsigned char *p = bytes_first(user) + begun;
    size_t left = bytes_len(user) - begun, whole;
    Record r;
    for (; left >= RECORD_HEAD; p += whole, left -= whole) {
        whole = record_length(p);
        if (whole > left || !record_read(p, whole, &r)) break; /* not so: we wrote it */
        Message *msg = r.kind <= MESSAGE_ASK ? message_new((MessageKind)r.kind, r.size) : NULL;
        if (msg == NULL) continue; /* the others hear of it by their ties */
        memcpy(msg->bytes, r.payload, r.size);
        msg->size = (uint32_t)r.size;
        msg->argc = r.argc;
        msg->flags = r.flags & (MESSAGE_NAMED | MESSAGE_ERRORS);
        msg->name = r.name;
        msg->to = r.to;
        msg->from = r.from;
        msg->ref = r.ref;
        if (r.kind == MESSAGE_ASK) ties_unask(ties, r.ref, r.from);
        post_refuse(msg, UV_EHOSTUNREACH);
    }
}

uint64_t link_end(Link *l) {
    intake_drain(&l->in); /* what has come is delivered, before anybody hears of the end */
    pthread_mutex_lock(&l->lock);
    Bytes user = l->out[LANE_USER];
    size_t begun = l->begun;
    uint64_t unconfirmed = l->records_sent - l->records_acked + l->orders_sent - l->orders_acked;
    Ties ties = l->ties;
    l->out[LANE_USER] = (Bytes){0};
    l->ties = (Ties){0};
    bytes_clear(&l->out[LANE_SYSTEM]);
    l->up = false;
    if (l->writing && l->doomed < 0) { /* else that writer is of a session before */
        l->doomed = l->fd;
        l->doomed_tls = l->tls;
    } else {
        tls_free(l->tls);
        close(l->fd);
    }
    l->tls = NULL;
    l->fd = -1;
    pthread_mutex_unlock(&l->lock);
    intake_clear(&l->in);
    refuse_unsent(&ties, &user, begun);
    bytes_clear(&user);
    ties_break(&ties, l->name);
    metrics_add(METRIC_net_unconfirmed, unconfirmed);
    return unconfirmed;
}
