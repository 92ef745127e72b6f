#include "net/conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/log.h"
#include "net/bytes.h"
#include "net/secret.h"
#include "run/loop.h"

#define READ_SIZE 262144
#define READS 4 /* in one turn */

typedef enum { STAGE_CONNECTING, STAGE_TLS, STAGE_HELLO, STAGE_PROOF, STAGE_WELCOME, STAGE_UP } Stage;

struct Conn {
    uv_poll_t poll; /* its data is us */
    Conn *next, **at; /* among all */
    int fd;         /* both are the link's, once it is up */
    Tls *tls;       /* NULL: it is plain */
    size_t came;    /* bytes of TLS's handshake */
    bool dialed, wants_write, over;
    Stage stage;
    uint64_t born;
    void *context;
    struct sockaddr_storage peer;
    char where[ADDRESS_TEXT];
    Bytes in; /* of the handshake */
    unsigned char ours[FRAME_HELLO_MAX], theirs[FRAME_HELLO_MAX]; /* whole HELLO frames */
    size_t ours_len, theirs_len;
    Hello hello; /* theirs */
    Link *link;
};

static ConnCalls calls;
static Hello ours;
static const unsigned char *secret;
static size_t secret_len;
static TlsContext *context;
static Conn *conns;
static unsigned strangers;

void conn_open(ConnCalls with, const Hello *hello, const unsigned char *key, size_t key_len, TlsContext *tls) {
    calls = with;
    ours = *hello;
    secret = key;
    secret_len = key_len;
    context = tls;
}

static bool we_decide(const Conn *c) { return strcmp(ours.name, c->hello.name) < 0; }

/* ---- the end ---- */

static void closed(uv_handle_t *handle) {
    Conn *c = handle->data;
    bytes_clear(&c->in);
    free(c);
}

void conn_close(Conn *c, const char *why) {
    uint64_t unconfirmed = 0;
    char kept[CONN_WHY];
    if (c->over) return;
    c->over = true;
    snprintf(kept, sizeof kept, "%s", why);
    *c->at = c->next;
    if (c->next != NULL) c->next->at = c->at;
    uv_poll_stop(&c->poll);
    if (c->link != NULL) {
        unconfirmed = link_end(c->link); /* closes the socket, and ends TLS */
    } else {
        tls_free(c->tls);
        close(c->fd);
        if (c->stage != STAGE_UP) strangers -= !c->dialed;
    }
    calls.over(c, c->link, kept, unconfirmed);
    uv_close((uv_handle_t *)&c->poll, closed);
}

static ssize_t transmit(Conn *c, const unsigned char *bytes, size_t len) {
    return c->tls != NULL ? tls_send(c->tls, bytes, len) : send(c->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A last word to the other side; then it is over. */
static void refuse(Conn *c, const char *why) {
    unsigned char out[FRAME_HELLO_MAX];
    char text[CONN_WHY + 64];
    size_t len = frame_put(out, FRAME_REFUSED, why, strlen(why));
    if (transmit(c, out, len) < 0) { /* it will see that we are gone */ }
    if (c->tls != NULL) tls_farewell(c->tls);
    snprintf(text, sizeof text, "%s%s", *why != '\0' ? "refused: " : "", why);
    conn_close(c, text);
}

/* ---- the handshake ---- */

/* All of it, or it is over: a socket has room for some hundred bytes. */
static bool say(Conn *c, const unsigned char *bytes, size_t len) {
    if (transmit(c, bytes, len) == (ssize_t)len) return true;
    conn_close(c, "it does not read");
    return false;
}

static void listen_to(Conn *c);

static bool say_hello(Conn *c) {
    Hello hello = ours;
    memcpy(hello.nonce, c->ours, FRAME_NONCE); /* laid there by conn_new */
    c->ours_len = frame_put_hello(c->ours, &hello);
    c->stage = STAGE_HELLO;
    return say(c, c->ours, c->ours_len);
}

static void prove(const Conn *c, bool dialed, uint64_t session, unsigned char out[HMAC_SIZE]) {
    const unsigned char *dialer = c->dialed ? c->ours : c->theirs, *accepter = c->dialed ? c->theirs : c->ours;
    size_t dialer_len = c->dialed ? c->ours_len : c->theirs_len, accepter_len = c->dialed ? c->theirs_len : c->ours_len;
    frame_prove(secret, secret_len, dialed, session, dialer, dialer_len, accepter, accepter_len, out);
}

static void hello_came(Conn *c, const unsigned char *frame, size_t len) {
    char why[CONN_WHY] = "", named[TLS_WHY];
    unsigned char proof[HMAC_SIZE + 8], out[FRAME_HELLO_MAX];
    int err = frame_read_hello(frame + 5, len - 5, &c->hello);
    memcpy(c->theirs, frame, len);
    c->theirs_len = len;
    if (err == UV_ENOTSUP) {
        snprintf(why, sizeof why, "we speak version %d of the protocol between nodes, you version %d", FRAME_VERSION,
                 c->hello.version);
        refuse(c, why);
    } else if (err < 0) {
        conn_close(c, "no Throng node speaks there");
    } else if (strcmp(c->hello.cluster, ours.cluster) != 0) {
        snprintf(why, sizeof why, "we are of the cluster '%s', you of '%s'", ours.cluster, c->hello.cluster);
        refuse(c, why);
    } else if (c->tls != NULL && !tls_names(c->tls, c->hello.name, named)) {
        snprintf(why, sizeof why, "the certificate is for %s, the node says that it is '%s'", named, c->hello.name);
        refuse(c, why);
    } else if (!calls.meet(c, &c->hello, why)) {
        refuse(c, why);
    } else {
        uint64_t session = calls.session(&c->hello);
        prove(c, c->dialed, session, proof);
        for (int i = 0; i < 8; i++) proof[HMAC_SIZE + i] = (unsigned char)(session >> 8 * i);
        c->stage = STAGE_PROOF;
        say(c, out, frame_put(out, FRAME_PROOF, proof, sizeof proof));
    }
}

static uint64_t number(const unsigned char *p) {
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | p[i];
    return n;
}

static void begin(Conn *c, uint64_t session) {
    char why[CONN_WHY] = "";
    strangers -= !c->dialed;
    c->stage = STAGE_UP;
    c->born = clock_now();
    c->link = calls.begin(c, &c->hello, c->fd, session, why);
    if (c->link == NULL) conn_close(c, why);
}

static void proof_came(Conn *c, const unsigned char *body, size_t len) {
    char why[CONN_WHY] = "";
    unsigned char wanted[HMAC_SIZE], session[8], out[FRAME_HELLO_MAX];
    if (len != HMAC_SIZE + sizeof session) {
        conn_close(c, "no Throng node speaks there");
        return;
    }
    uint64_t theirs = number(body + HMAC_SIZE), ours_now;
    prove(c, !c->dialed, theirs, wanted);
    if (!hmac_same(wanted, body)) {
        refuse(c, "your cluster's secret is not ours (cluster.secret in the run directory, or --secret FILE)");
        return;
    }
    c->stage = STAGE_WELCOME;
    if (!we_decide(c)) return;
    if ((ours_now = calls.decide(c, &c->hello, theirs, why)) == 0) {
        refuse(c, why);
        return;
    }
    for (int i = 0; i < 8; i++) session[i] = (unsigned char)(ours_now >> 8 * i);
    if (say(c, out, frame_put(out, FRAME_WELCOME, session, sizeof session))) begin(c, ours_now);
}

static void refusal_came(Conn *c, const unsigned char *body, size_t len) {
    char text[CONN_WHY] = "";
    int shown = len < 200 ? (int)len : 200;
    if (len > 0) snprintf(text, sizeof text, "refused by it: \"%.*s\"", shown, (const char *)body);
    conn_close(c, text); /* the log shows what is not printable as \xNN */
}

static void frame_came(Conn *c, const unsigned char *frame, size_t len) {
    FrameType type = (FrameType)frame[4];
    if (type == FRAME_REFUSED && c->stage >= STAGE_HELLO) refusal_came(c, frame + 5, len - 5);
    else if (type == FRAME_HELLO && c->stage == STAGE_HELLO) hello_came(c, frame, len);
    else if (type == FRAME_PROOF && c->stage == STAGE_PROOF) proof_came(c, frame + 5, len - 5);
    else if (type == FRAME_WELCOME && c->stage == STAGE_WELCOME && !we_decide(c) && len == 5 + 8 &&
             number(frame + 5) != 0)
        begin(c, number(frame + 5));
    else conn_close(c, "no Throng node speaks there");
}

/* ---- bytes that come ---- */

static void feed_link(Conn *c, const unsigned char *p, size_t len) {
    calls.busy(len);
    int err = link_receive(c->link, p, len);
    if (err == UV_EPROTO) {
        char why[CONN_WHY];
        snprintf(why, sizeof why, "it sent %s", link_fault(c->link));
        conn_close(c, why);
    } else if (err < 0) {
        conn_close(c, uv_strerror(err));
    }
}

static void feed(Conn *c, const unsigned char *p, size_t len) {
    if (c->stage == STAGE_UP) {
        feed_link(c, p, len);
        return;
    }
    if (bytes_add(&c->in, p, len) < 0) {
        conn_close(c, "out of memory");
        return;
    }
    while (!c->over && c->stage != STAGE_UP) {
        int whole = frame_whole(bytes_first(&c->in), bytes_len(&c->in));
        if (whole == 0) {
            if (bytes_len(&c->in) > FRAME_HELLO_MAX) conn_close(c, "no Throng node speaks there");
            return;
        }
        if (whole < 0) {
            conn_close(c, "no Throng node speaks there");
            return;
        }
        unsigned char frame[FRAME_HELLO_MAX];
        memcpy(frame, bytes_first(&c->in), (size_t)whole);
        bytes_take(&c->in, (size_t)whole);
        frame_came(c, frame, (size_t)whole);
    }
    if (c->over) return;
    Bytes rest = c->in;
    c->in = (Bytes){0};
    if (bytes_len(&rest) > 0) feed_link(c, bytes_first(&rest), bytes_len(&rest));
    bytes_clear(&rest);
}

/* ---- with TLS ---- */

static bool starts_tls(Conn *c) {
    c->stage = STAGE_TLS;
    if ((c->tls = tls_new(context, c->fd, c->dialed)) == NULL) conn_close(c, "out of memory");
    else if (tls_start(c->tls) < 0) conn_close(c, tls_fault(c->tls));
    return !c->over;
}

static bool starts(Conn *c) { return context != NULL ? starts_tls(c) : say_hello(c); }

static void feed_tls(Conn *c, const unsigned char *p, size_t len) {
    static unsigned char plain[READ_SIZE + TLS_RECORD]; /* the loop's thread */
    do {
        ssize_t n = tls_take(c->tls, p, len, plain, sizeof plain);
        len = 0;
        if (n == UV_EOF) {
            conn_close(c, c->stage == STAGE_UP ? "it ended the connection" : "it hung up");
        } else if (n < 0) {
            conn_close(c, tls_fault(c->tls));
        } else {
            if (c->stage == STAGE_TLS && tls_ready(c->tls)) say_hello(c);
            if (n > 0 && !c->over) feed(c, plain, (size_t)n);
        }
    } while (!c->over && tls_more(c->tls));
}

/* The first bytes, of which there may be few: is this a node that wants it otherwise? It hears so in its own way, and
 * is gone then. */
static bool is_other_kind(Conn *c, const unsigned char *p, size_t len) {
    static const unsigned char hello[] = {0, 0, FRAME_HELLO, 'T', 'H', 'R', 'O', 'N', 'G'};
    unsigned char out[FRAME_HELLO_MAX];
    const char *why = "we speak TLS, you do not: give every node of the cluster --tls-cert, --tls-key and --tls-ca";
    if (c->stage == STAGE_TLS && c->came == 0 && len > 2 + sizeof hello && memcmp(p + 2, hello, sizeof hello) == 0) {
        size_t n = frame_put(out, FRAME_REFUSED, why, strlen(why));
        if (!c->dialed && send(c->fd, out, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) { /* it will see that we are gone */ }
        conn_close(c, "refused: it speaks no TLS, and we do (every node wants --tls-cert, --tls-key and --tls-ca)");
    } else if (c->tls == NULL && c->stage == STAGE_HELLO && bytes_len(&c->in) == 0 && len > 2 &&
               p[0] == 0x16 && p[1] == 3) {
        conn_close(c, "refused: it speaks TLS, and we do not (--tls-cert, --tls-key, --tls-ca)");
    }
    return c->over;
}

static void take_in(Conn *c, const unsigned char *p, size_t len) {
    if (c->stage < STAGE_PROOF && is_other_kind(c, p, len)) return;
    if (c->stage == STAGE_TLS && (c->came += len) > CONN_TLS_BYTES) conn_close(c, "too long a handshake of TLS");
    else if (c->tls != NULL) feed_tls(c, p, len);
    else feed(c, p, len);
}

static void readable(Conn *c) {
    static unsigned char buffer[READ_SIZE]; /* the loop's thread */
    for (int i = 0; i < READS && !c->over; i++) {
        size_t most = c->stage == STAGE_UP ? sizeof buffer : c->tls != NULL ? CONN_TLS_BYTES / 8 : FRAME_HELLO_MAX;
        ssize_t n = recv(c->fd, buffer, most, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n < 0) conn_close(c, uv_strerror(-errno));
        else if (n == 0) conn_close(c, c->stage == STAGE_UP ? "it ended the connection" : "it hung up");
        else take_in(c, buffer, (size_t)n);
        if (n < (ssize_t)most) return; /* most likely that was all; else we are called again */
    }
}

/* What went wrong with the socket, as a negative libuv error; 0 = nothing. */
static int socket_error(const Conn *c) {
    int err = 0;
    socklen_t len = sizeof err;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0) err = errno;
    return -err;
}

static void connected(Conn *c) {
    int err = socket_error(c);
    if (err < 0) conn_close(c, uv_strerror(err));
    else if (starts(c)) listen_to(c);
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    Conn *c = poll->data;
    if (c->over) return;
    if (c->stage == STAGE_CONNECTING) {
        connected(c);
    } else if (status < 0) { /* uv says EBADF for all */
        int err = socket_error(c);
        if (c->stage != STAGE_UP) readable(c); /* a refusal may have come before */
        if (!c->over) conn_close(c, err < 0 ? uv_strerror(err) : "the connection broke");
    } else {
        if (events & UV_WRITABLE && c->link != NULL) {
            c->wants_write = false;
            listen_to(c);
            link_unblock(c->link);
        }
        if (events & UV_READABLE) readable(c);
    }
    link_flush_all();
}

static void listen_to(Conn *c) {
    if (c->over) return;
    int events = c->stage == STAGE_CONNECTING ? UV_WRITABLE : UV_READABLE | (c->wants_write ? UV_WRITABLE : 0);
    uv_poll_start(&c->poll, events, on_poll);
}

/* ---- what others call ---- */

Conn *conn_new(int fd, bool dialed, const struct sockaddr_storage *where, void *of) {
    Conn *c = dialed || strangers < CONN_STRANGERS ? calloc(1, sizeof *c) : NULL;
    if (c == NULL || secret_random(c->ours, FRAME_NONCE) < 0 || uv_poll_init(loop_uv(), &c->poll, fd) < 0) {
        free(c);
        close(fd);
        return NULL;
    }
    c->poll.data = c;
    c->fd = fd;
    c->dialed = dialed;
    c->context = of;
    c->born = clock_now();
    c->peer = *where;
    address_show(where, c->where);
    c->next = conns;
    c->at = &conns;
    if (conns != NULL) conns->at = &c->next;
    conns = c;
    strangers += !dialed;
    if (dialed) listen_to(c);
    else if (starts(c)) listen_to(c);
    return c->over ? NULL : c;
}

void *conn_context(const Conn *c) { return c->context; }
void  conn_drop_context(Conn *c) { c->context = NULL; }
bool  conn_dialed(const Conn *c) { return c->dialed; }
bool  conn_is_up(const Conn *c) { return c->stage == STAGE_UP; }
Link *conn_link(const Conn *c) { return c->link; }
Tls *conn_tls(const Conn *c) { return c->tls; }
const char *conn_where(const Conn *c) { return c->where; }
void  conn_peer(const Conn *c, struct sockaddr_storage *out) { *out = c->peer; }
uint64_t conn_patience(const Conn *c) { return c->hello.patience; }
uint64_t conn_born(const Conn *c) { return c->born; }
Conn *conn_first(void) { return conns; }
Conn *conn_next(const Conn *c) { return c->next; }

void conn_unblock(Conn *c) {
    if (c->over || c->wants_write) return;
    c->wants_write = true;
    listen_to(c);
}

void conn_farewell(Conn *c) {
    if (c->over || c->stage != STAGE_UP) return;
    if (c->tls != NULL) tls_farewell(c->tls);
    shutdown(c->fd, SHUT_WR);
}
