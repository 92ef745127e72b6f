#include "net/link.h"

#include <errno.h>
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
#include "net/ties.h"

#define CHUNK 65536            /* of one lane, in one write */
#define FLUSH_AT 65536         /* so much waits: it is written in the middle of a slice */
#define CROWD_EVERY 65536      /* of a user's lane that is a quarter full: its senders let others work */
#define SYSTEM_TIMES 4         /* net.buffer: more in the system's lane, and the peer is cut off */
#define ROUNDS 4               /* of writing by one who has other work */
#define DIRTY_MOST 8
#define UNKNOWN UINT16_MAX

typedef struct Name { /* of a handler, by the peer's number */
    uint32_t len, atom; /* atom: ours; 0 = none known when it was last looked for */
    char text[];
} Name;

typedef struct Incoming { /* the loop's thread alone */
    unsigned char head[FRAME_CHUNK_HEAD];
    size_t head_len, chunk_left;
    Lane lane;
    Bytes held[LANES];    /* an incomplete record, or what waits while it is paused */
    uint64_t bytes, records; /* of the user's lane, that came and were taken in */
    uint64_t orders;      /* kills and stops that came */
    uint64_t told, told_orders; /* bytes and orders of the last RECORD_CREDIT */
    uint16_t nodes[PID_NODES]; /* its numbers -> ours */
    Name **names;
    uint32_t names_room;
    bool paused, heard;
    const char *fault;
} Incoming;

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
    int fd, doomed; /* doomed: the fd of an ended session, for its last writer to close; else -1 */
    uint64_t session;
    Bytes out[LANES];
    size_t begun; /* bytes at the front of the user's lane that belong to a record already in part on the wire */
    uint64_t window, largest, sent, acked; /* bytes of the user's lane */
    uint64_t records_sent, records_acked; /* of the user's lane */
    uint64_t orders_sent, orders_acked;   /* kills and stops: of the system's, all that nothing else answers for */
    unsigned char *wire; /* 2 chunks with their heads: what is being written */
    size_t wire_len, wire_at;
    Ties ties;
    unsigned char told[(ATOM_MAX + 1) / 8]; /* atoms the peer knows */
    Incoming in;
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
    strncpy(l->name, name, FRAME_NAME_MAX);
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

static void forget_names(Incoming *in) {
    for (uint32_t i = 0; i < in->names_room; i++) free(in->names[i]);
    free(in->names);
    in->names = NULL;
    in->names_room = 0;
}

void link_free(Link *l) {
    if (l == NULL) return;
    for (int lane = 0; lane < LANES; lane++) {
        bytes_clear(&l->out[lane]);
        bytes_clear(&l->in.held[lane]);
    }
    forget_names(&l->in);
    if (l->fd >= 0) close(l->fd);
    if (l->doomed >= 0) close(l->doomed);
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
        load(l, LANE_USER, credit < CHUNK ? (size_t)credit : CHUNK);
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
        size_t at = l->wire_at, n = l->wire_len - at;
        pthread_mutex_unlock(&l->lock);
        ssize_t wrote = send(fd, l->wire + at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        int err = errno;
        pthread_mutex_lock(&l->lock);
        if (!l->up || l->session != session) break; /* it ended meanwhile */
        if (wrote >= 0) {
            l->wire_at += (size_t)wrote;
            l->spoke = true;
            metrics_add(METRIC_net_bytes_out, (uint64_t)wrote);
        } else if (err == EAGAIN) {
            l->blocked = true;
            break;
        } else if (err != EINTR) {
            l->failed = true;
            shutdown(fd, SHUT_RDWR);
            break;
        }
    }
    l->writing = false;
    if (l->doomed >= 0) {
        close(l->doomed);
        l->doomed = -1;
    }
    if (l->blocked && l->up) calls.blocked(l);
}

void link_flush(Link *l) {
    pthread_mutex_lock(&l->lock);
    write_out(l, ROUNDS);
    pthread_mutex_unlock(&l->lock);
}

void link_unblock(Link *l) {
    pthread_mutex_lock(&l->lock);
    l->blocked = false;
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

static bool is_order(uint8_t kind) { return kind == MESSAGE_KILL || kind == MESSAGE_STOP; }

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
    case MESSAGE_VISIT: return false;
    default: return true;
    }
}

static int send_locked(Link *l, Message *msg, size_t *waiting) {
    Lane lane = lane_of(msg);
    size_t waits = bytes_len(&l->out[lane]), size = RECORD_HEAD + msg->size;
    *waiting = waits;
    if (!l->up || !travels(msg)) return l->buried ? UV_ESRCH : UV_EHOSTUNREACH;
    if (msg->size > l->largest) return UV_E2BIG;
    if (msg->kind <= MESSAGE_ASK && waits > 0 && waits + size > (size_t)config.net_buffer) return UV_ENOBUFS;
    if (bytes_more(&l->out[lane], size) == NULL) return UV_ENOBUFS;
    if (msg->name != 0 && introduce(l, msg->name) < 0) return UV_ENOBUFS;
    int err = ties_leave(&l->ties, msg);
    if (err != 0) return err == TIES_DROP ? TIES_DROP : UV_ENOBUFS;
    Record r = record_of(msg);
    put(l, lane, &r); /* there is room */
    l->orders_sent += is_order(msg->kind);
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

void link_tell(Link *l, const Record *r) {
    pthread_mutex_lock(&l->lock);
    bool told = l->up && put(l, LANE_SYSTEM, r) == 0;
    if (told) cut_off_if_too_slow(l, LANE_SYSTEM);
    pthread_mutex_unlock(&l->lock);
    if (told) soil(l);
}

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

static int fault(Link *l, const char *what) {
    l->in.fault = what;
    return UV_EPROTO;
}

static bool rename_pid(void *context, uint64_t *pid) {
    const Link *l = context;
    uint32_t node = pid_node(*pid), ours = node == 0 ? l->index : l->in.nodes[node];
    if (ours == UNKNOWN) return false;
    *pid = pid_on_node(*pid, ours);
    return true;
}

static int learn_name(Link *l, const Record *r) {
    Incoming *in = &l->in;
    if (r->name >= in->names_room) {
        uint32_t room = in->names_room == 0 ? 64 : in->names_room;
        while (room <= r->name) room *= 2;
        Name **names = realloc(in->names, room * sizeof(Name *));
        if (names == NULL) return UV_ENOMEM;
        memset(names + in->names_room, 0, (room - in->names_room) * sizeof(Name *));
        in->names = names;
        in->names_room = room;
    }
    Name *n = malloc(sizeof *n + r->size);
    if (n == NULL) return UV_ENOMEM;
    n->len = (uint32_t)r->size;
    n->atom = 0;
    memcpy(n->text, r->payload, r->size);
    free(in->names[r->name]);
    in->names[r->name] = n;
    return 0;
}

/* Our atom for its number, or the text before the values if we have none. */
static int name_it(Link *l, const Record *r, Message **msg) {
    Name *n = r->name < l->in.names_room ? l->in.names[r->name] : NULL;
    if (n == NULL) return fault(l, "a handler's name that was not announced");
    if (n->atom == 0) n->atom = atom_find(n->text, n->len);
    if (((*msg)->name = n->atom) != 0) return 0;
    int err = payload_put_string(msg, n->text, n->len);
    (*msg)->flags |= MESSAGE_NAMED;
    (*msg)->argc = 0;
    return err;
}

/* The sender had no atom for the name; we may have one. */
static void intern_name(Message *msg) {
    size_t len;
    const char *text = payload_first_string(msg, &len);
    uint32_t atom = text != NULL ? atom_find(text, len) : 0;
    if (atom == 0) return;
    size_t used = (size_t)((const unsigned char *)text + len - msg->bytes);
    memmove(msg->bytes, msg->bytes + used, msg->size - used);
    msg->size -= (uint32_t)used;
    msg->name = atom;
    msg->flags &= (uint8_t)~MESSAGE_NAMED;
}

/* Ours, from what a record says; NULL with *err. */
static Message *message_from(Link *l, const Record *r, int *err) {
    Message *msg = message_new((MessageKind)r->kind, r->size);
    *err = msg == NULL ? UV_ENOMEM : 0;
    if (*err == 0 && r->name != 0) *err = name_it(l, r, &msg);
    if (*err == 0) {
        Message *roomy = message_grow(msg, r->size);
        if (roomy == NULL) *err = UV_ENOMEM;
        else msg = roomy;
    }
    if (*err < 0) {
        message_free(msg);
        return NULL;
    }
    if (r->size > 0) memcpy(msg->bytes + msg->size, r->payload, r->size);
    msg->size += (uint32_t)r->size;
    msg->argc = r->argc;
    msg->flags |= r->flags & (MESSAGE_NAMED | MESSAGE_ERRORS);
    msg->to = r->to;
    msg->from = r->from;
    msg->ref = r->ref;
    return msg;
}

/* It is for that mailbox: is its owner so far behind that what follows had better wait? */
static bool far_behind(uint64_t pid) {
    const Slot *slot = registry_find(pid);
    return slot != NULL && mailbox_depth(&slot->box) >= mailbox_limit(&slot->box) / 4;
}

static int deliver(Link *l, const Record *r) {
    int err;
    Message *msg = message_from(l, r, &err);
    if (msg == NULL) return err;
    if (!payload_adopt(msg, rename_pid, l)) err = fault(l, "values that are none");
    else if (!rename_pid(l, &msg->to) || pid_node(msg->to) != 0) err = fault(l, "a message for another node");
    else if (msg->from != 0 && (pid_node(msg->from) != 0 || !rename_pid(l, &msg->from)))
        err = fault(l, "a message in another node's name");
    else if (r->flags & MESSAGE_LIMITED)
        err = message_limit(&msg, r->left < UINT64_MAX / 2 ? clock_coarse() + r->left : UINT64_MAX);
    if (err == 0) {
        if (msg->flags & MESSAGE_NAMED) intern_name(msg);
        pthread_mutex_lock(&l->lock);
        err = ties_arrive(&l->ties, msg);
        pthread_mutex_unlock(&l->lock);
    }
    if (err != 0) {
        message_free(msg);
        return err == TIES_DROP ? 0 : err;
    }
    uint64_t to = msg->to;
    metrics_add(METRIC_net_received, 1);
    err = post_send(msg);
    if (err < 0) post_refuse(msg, err);
    if (err == MAILBOX_CROWDED && far_behind(to)) l->in.paused = true;
    return 0;
}

static void credited(Link *l, const Record *r) {
    pthread_mutex_lock(&l->lock);
    if (r->to > l->acked && r->to <= l->sent) l->acked = r->to;
    if (r->from > l->records_acked && r->from <= l->records_sent) l->records_acked = r->from;
    if (r->ref > l->orders_acked && r->ref <= l->orders_sent) l->orders_acked = r->ref;
    pthread_mutex_unlock(&l->lock);
    soil(l);
}

static int take_record(Link *l, Lane lane, const unsigned char *p, size_t len) {
    Record r;
    if (!record_read(p, len, &r)) return fault(l, "a record that is none");
    if (lane == LANE_USER) l->in.records++;
    l->in.orders += is_order(r.kind);
    if (r.kind < RECORD_NODE) return deliver(l, &r);
    if (lane != LANE_SYSTEM) return fault(l, "a record in the wrong lane");
    switch (r.kind) {
    case RECORD_PING: return 0;
    case RECORD_CREDIT: credited(l, &r); return 0;
    case RECORD_ATOM: return learn_name(l, &r);
    case RECORD_NODE: l->in.nodes[r.name] = (uint16_t)calls.meet(l, &r); return 0;
    default:
        if (pid_node(r.from) != 0 || !rename_pid(l, &r.from)) return fault(l, "a record in another node's name");
        calls.record(l, &r);
        return 0;
    }
}

/* Takes in whole records; how many bytes those had, or an error. */
static ssize_t take_records(Link *l, Lane lane, const unsigned char *p, size_t len) {
    size_t at = 0;
    while (len - at >= RECORD_LENGTH && !(lane == LANE_USER && l->in.paused)) {
        size_t whole = record_length(p + at);
        if (whole < RECORD_HEAD || whole > RECORD_HEAD + (size_t)config.net_message)
            return fault(l, "a record that is too small or too large");
        if (whole > len - at) break;
        int err = take_record(l, lane, p + at, whole);
        if (err < 0) return err;
        at += whole;
    }
    return (ssize_t)at;
}

static int take_lane(Link *l, Lane lane, const unsigned char *p, size_t len) {
    Bytes *held = &l->in.held[lane];
    bool fresh = bytes_len(held) == 0;
    if (fresh && len == 0) return 0;
    if (!fresh && bytes_add(held, p, len) < 0) return UV_ENOMEM;
    ssize_t took = fresh ? take_records(l, lane, p, len)
                         : take_records(l, lane, bytes_first(held), bytes_len(held));
    if (took < 0) return (int)took;
    if (!fresh) bytes_take(held, (size_t)took);
    else if (bytes_add(held, p + took, len - (size_t)took) < 0) return UV_ENOMEM;
    return 0;
}

/* Tells the peer how far we are, if it is far or it is `due`. What waits while paused is not taken in. */
static void give_credit(Link *l, bool due) {
    Incoming *in = &l->in;
    uint64_t taken = in->bytes - (in->paused ? bytes_len(&in->held[LANE_USER]) : 0);
    if (taken == in->told && in->orders == in->told_orders) return;
    if (!due && taken - in->told < (uint64_t)config.net_window / 4) return;
    in->told = taken;
    in->told_orders = in->orders;
    link_tell(l, &(Record){.kind = RECORD_CREDIT, .to = taken, .from = in->records, .ref = in->orders});
}

int link_receive(Link *l, const unsigned char *p, size_t len) {
    Incoming *in = &l->in;
    bool was_paused = in->paused;
    in->heard = true;
    metrics_add(METRIC_net_bytes_in, len);
    while (len > 0) {
        if (in->chunk_left == 0) {
            in->head[in->head_len++] = *p++;
            len--;
            if (in->head_len < FRAME_CHUNK_HEAD) continue;
            in->head_len = 0;
            if (!frame_read_chunk(in->head, &in->lane, &in->chunk_left)) return fault(l, "a chunk that is none");
            continue;
        }
        size_t n = in->chunk_left < len ? in->chunk_left : len;
        if (in->lane == LANE_USER) {
            in->bytes += n;
            if (in->bytes - in->told > (uint64_t)config.net_window)
                return fault(l, "more than it was given credit for");
        }
        int err = take_lane(l, in->lane, p, n);
        if (err < 0) return err;
        in->chunk_left -= n;
        p += n;
        len -= n;
    }
    if (in->paused && !was_paused) calls.paused(l);
    give_credit(l, false);
    return 0;
}

int link_resume(Link *l) {
    l->in.paused = false;
    int err = take_lane(l, LANE_USER, NULL, 0);
    if (err < 0) return err;
    if (l->in.paused) calls.paused(l);
    give_credit(l, false);
    return 0;
}

void link_confirm(Link *l) { give_credit(l, true); }

void link_pulse(Link *l, bool *heard, bool *spoke) {
    *heard = l->in.heard;
    l->in.heard = false;
    pthread_mutex_lock(&l->lock);
    *spoke = l->spoke;
    l->spoke = false;
    pthread_mutex_unlock(&l->lock);
}

/* ---- beginning and end; the loop's thread ---- */

void link_begin(Link *l, int fd, uint64_t session, const Hello *theirs) {
    Incoming *in = &l->in;
    memset(in->nodes, 0xff, sizeof in->nodes);
    in->head_len = in->chunk_left = 0;
    in->bytes = in->records = in->orders = in->told = in->told_orders = 0;
    in->paused = false;
    in->heard = true;
    in->fault = NULL;
    pthread_mutex_lock(&l->lock);
    if (l->wire == NULL) l->wire = malloc(2 * (CHUNK + FRAME_CHUNK_HEAD));
    memset(l->told, 0, sizeof l->told);
    l->wire_len = l->wire_at = l->begun = 0;
    l->sent = l->acked = l->records_sent = l->records_acked = l->orders_sent = l->orders_acked = 0;
    l->window = theirs->window;
    l->largest = theirs->largest < MESSAGE_SIZE_MAX ? theirs->largest : MESSAGE_SIZE_MAX;
    l->fd = fd;
    l->session = session;
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
    if (l->in.paused && l->in.fault == NULL) { /* what has come is delivered, before anybody hears of the end */
        l->in.paused = false;
        for (int err = 0; err == 0 && bytes_len(&l->in.held[LANE_USER]) >= RECORD_HEAD;) {
            size_t before = bytes_len(&l->in.held[LANE_USER]);
            l->in.paused = false;
            err = take_lane(l, LANE_USER, NULL, 0);
            if (bytes_len(&l->in.held[LANE_USER]) == before) break;
        }
    }
    pthread_mutex_lock(&l->lock);
    Bytes user = l->out[LANE_USER];
    size_t begun = l->begun;
    uint64_t unconfirmed = l->records_sent - l->records_acked + l->orders_sent - l->orders_acked;
    Ties ties = l->ties;
    l->out[LANE_USER] = (Bytes){0};
    l->ties = (Ties){0};
    bytes_clear(&l->out[LANE_SYSTEM]);
    l->up = false;
    if (l->writing && l->doomed < 0) l->doomed = l->fd; /* else that writer is of a session before */
    else close(l->fd);
    l->fd = -1;
    pthread_mutex_unlock(&l->lock);
    for (int lane = 0; lane < LANES; lane++) bytes_clear(&l->in.held[lane]);
    forget_names(&l->in);
    refuse_unsent(&ties, &user, begun);
    bytes_clear(&user);
    ties_break(&ties, l->name);
    metrics_add(METRIC_net_unconfirmed, unconfirmed);
    return unconfirmed;
}
