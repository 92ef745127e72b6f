#include "net/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/config.h"
#include "ground/log.h"
#include "mail/groups.h"
#include "mail/names.h"
#include "mail/payload.h"
#include "mail/post.h"
#include "mail/registry.h"
#include "net/able.h"
#include "net/call.h"
#include "net/chase.h"
#include "net/conn.h"
#include "net/directory.h"
#include "net/gossip.h"
#include "net/members.h"
#include "net/roster.h"
#include "net/secret.h"
#include "net/sweep.h"
#include "net/targets.h"
#include "net/watchers.h"
#include "run/loop.h"

#define TICK_MS 50
#define RETRY_MS 100
#define YOUNG_MS 2000     /* a session younger than that may not be known to the other side yet */
#define FAREWELL_MS 1000
#define STRANGERS_LOGGED 10 /* a second */
#define TOO_MANY "we have met too many nodes"
#define TAKEN "the name '%.64s' is held by another node that is up"

/* The loop's thread alone, but for what is written by cluster_open before it submits the first job. */
static struct {
    bool open, closing;
    bool starved;           /* no connection could be taken, and that was logged */
    Hello ours;
    unsigned char secret[SECRET_MAX];
    TlsContext *tls;        /* NULL: connections are plain */
    uv_timer_t tick;
    uv_poll_t listener;
    int listen_fd;
    uint64_t last_tick, last_beat;
    uint64_t sessions;      /* numbers we gave out */
    uint64_t *heard;        /* by number: when it was last heard of */
    uint64_t load;          /* actors we had when we told it last */
} cluster;

static bool is_open;         /* written by cluster_open and _close, for them alone */

static Link *link_at(uint32_t i) { return members_find(i); }

/* ---- a link's wishes ---- */

static Conn *conn_of(const Link *l) {
    for (Conn *c = conn_first(); c != NULL; c = conn_next(c))
        if (conn_link(c) == l) return c;
    return NULL;
}

static void unblock(void *link) {
    Conn *c = conn_of(link);
    if (c != NULL) conn_unblock(c);
}

/* On any thread, under the link's lock. Without memory for the job, on_tick does it. */
static void blocked(Link *l) { loop_submit(unblock, l); }

/* ---- groups and names ---- */

static void tell_group(Link *l, const char *name, size_t len, uint64_t pid, bool joined) {
    link_tell(l, &(Record){.kind = joined ? RECORD_JOIN : RECORD_LEAVE, .from = pid,
                           .payload = (const unsigned char *)name, .size = len});
}

static void group_changed(const char *name, size_t len, uint64_t pid, bool joined) {
    uint32_t most = members_count();
    for (uint32_t i = 1; i <= most; i++) tell_group(link_at(i), name, len, pid, joined);
}

static void tell_joined(void *link, const char *name, size_t len, uint64_t pid) {
    tell_group(link, name, len, pid, true);
}

static void answer_name(const Record *r) {
    Message *msg = message_new(MESSAGE_REPLY, 16);
    uint64_t pid = names_find((const char *)r->payload, r->size);
    if (msg == NULL || (pid != 0 ? payload_put_pid(&msg, pid) : payload_put_nil(&msg)) < 0) {
        message_free(msg); /* the asker's deadline ends it */
        return;
    }
    msg->to = r->from;
    msg->ref = r->ref;
    post_deliver(msg);
}

static void record_came(Link *l, const Record *r) {
    const char *name = (const char *)r->payload;
    if (r->kind == RECORD_LOAD) {
        able_told(link_index(l), r->to);
    } else if (r->kind == RECORD_JOIN) {
        if (groups_join(name, r->size, r->from) == UV_ENOMEM)
            log_format(LOG_ERROR, "", "out of memory: a member of a group on another node was lost");
    } else if (r->kind == RECORD_LEAVE) {
        groups_leave(name, r->size, r->from);
    } else if (r->kind == RECORD_WHEREIS) {
        answer_name(r);
    } else if (r->kind == RECORD_CHASE) {
        chase_came(l, r);
    } else if (r->kind == RECORD_CALL || r->kind == RECORD_ANSWER) {
        call_came(l, r);
    }
}

/* ---- connections ---- */

/* Gives it a number, if it has none: only for who has proved that it knows the secret. */
static Link *met(const Hello *theirs) {
    uint32_t node = members_meet(theirs->name, theirs->incarnation);
    return node == 0 || node == MEMBERS_NOWHERE ? NULL : members_find(node);
}

/* The link to whoever has that name just now. */
static Link *holder(const char *name) {
    uint32_t most = members_count();
    for (uint32_t i = 1; i <= most; i++) {
        Link *l = link_at(i);
        if (strcmp(link_name(l), name) == 0 && link_is_up(l)) return l;
    }
    return NULL;
}

static bool conn_met(Conn *c, const Hello *theirs, char why[CONN_WHY]) {
    Target *t = conn_context(c);
    Link *held = holder(theirs->name);
    if (theirs->incarnation == cluster.ours.incarnation) {
        if (t != NULL) target_drop(t); /* it leads to ourselves */
        return false;
    }
    if (strcmp(theirs->name, cluster.ours.name) == 0) {
        snprintf(why, CONN_WHY, "the name '%.64s' is ours: nodes of a cluster need names of their own (--name)",
                 theirs->name);
        return false;
    }
    if (held != NULL && link_incarnation(held) != theirs->incarnation) {
        snprintf(why, CONN_WHY, TAKEN, theirs->name);
        return false;
    }
    if (t != NULL && held != NULL) target_met(t, held);
    return !(held != NULL && conn_dialed(c)); /* there is a way already: without a word */
}

static uint64_t session_with(const Hello *theirs) {
    Link *l = holder(theirs->name);
    return l != NULL && link_incarnation(l) == theirs->incarnation ? link_session(l) : 0;
}

static uint64_t decide(Conn *c, const Hello *theirs, uint64_t session, char why[CONN_WHY]) {
    if (!conn_met(c, theirs, why)) return 0; /* it may have changed since */
    Link *l = met(theirs);
    if (l == NULL) {
        snprintf(why, CONN_WHY, TOO_MANY);
        return 0;
    }
    Conn *before = conn_of(l);
    if (before != NULL) {
        /* It knows of ours, or did not yet when it began with this one: this one is too much. Else it has lost the
         * other. How long it took this one to get here says nothing. */
        if (session == link_session(l) || conn_born(c) < conn_born(before) + YOUNG_MS * CLOCK_NS_PER_MS) return 0;
        conn_close(before, "it has connected anew");
    }
    return ++cluster.sessions;
}

/* Where others can reach it: what it said, or with which address it is seen. */
static void note_address(Conn *c, Link *l, const Hello *theirs) {
    struct sockaddr_storage a;
    char out[ADDRESS_TEXT] = "";
    if (theirs->port != 0 && theirs->host[0] != '\0') {
        snprintf(out, ADDRESS_TEXT, strchr(theirs->host, ':') != NULL ? "[%s]:%d" : "%s:%d", theirs->host,
                 theirs->port);
    } else if (theirs->port != 0) {
        conn_peer(c, &a);
        address_set_port(&a, theirs->port);
        address_show(&a, out);
    }
    directory_note(link_index(l), out);
}

static Link *begin(Conn *c, const Hello *theirs, int fd, uint64_t session, char why[CONN_WHY]) {
    Link *l = met(theirs), *held = holder(theirs->name);
    if (l == NULL) {
        snprintf(why, CONN_WHY, TOO_MANY);
        return NULL;
    }
    /* The other side decided that it begins, and may have done so for two of a name, which did not meet each other. */
    if (held != NULL && held != l) {
        snprintf(why, CONN_WHY, TAKEN, theirs->name);
        return NULL;
    }
    /* ... or long ago: it has given this connection up, and began another. What was said here is older than what was
     * said there, and is counted as lost. */
    if (session <= link_last_session(l)) return NULL;
    uint32_t most = members_count(), index = link_index(l);
    Target *t = conn_context(c);
    if (t != NULL) target_met(t, l);
    Conn *before = conn_of(l);
    if (before != NULL) conn_close(before, "it has connected anew");
    for (uint32_t i = 1; i <= most; i++) /* one process at a time has a name: those before are gone */
        if (i != index && strcmp(link_name(link_at(i)), theirs->name) == 0) link_bury(link_at(i));
    note_address(c, l, theirs);
    cluster.heard[index] = clock_now();
    able_met(index, theirs->can);
    members_begin(l, fd, conn_tls(c), session, theirs);
    link_tell(l, &(Record){.kind = RECORD_LOAD, .to = registry_count()});
    directory_up(l);
    groups_tell(tell_joined, l);
    log_format(LOG_INFO, "", "node %s is up (%s%s)", theirs->name, conn_where(c), conn_tls(c) != NULL ? ", TLS" : "");
    /* If it dialed, and is lost, we dial, too. */
    if (conn_context(c) == NULL && directory_where(index)[0] != '\0')
        targets_learn(directory_where(index), l, RETRY_MS);
    watchers_up(l);
    return l;
}

/* Whoever can reach our port can make us say so: a few times a second will do. */
static void stranger_ended(const Conn *c, const char *why) {
    static uint64_t second, said; /* the loop's thread */
    uint64_t now = clock_now() / CLOCK_NS_PER_S;
    if (second != now) second = now, said = 0;
    if (said++ >= STRANGERS_LOGGED) return;
    log_format(strncmp(why, "refused", 7) == 0 ? LOG_WARN : LOG_DEBUG, "", "a connection from %s ended: %s",
               conn_where(c), why);
}

static void over(Conn *c, Link *l, const char *why, uint64_t unconfirmed) {
    Target *t = conn_context(c);
    if (t != NULL) {
        target_over(t, l != NULL, why);
    } else if (l == NULL && *why != '\0') {
        stranger_ended(c, why);
    }
    if (l == NULL) return;
    groups_forget_node(link_index(l));
    call_broken(link_index(l));
    char lost[96] = "";
    if (unconfirmed > 0)
        snprintf(lost, sizeof lost, "; %llu messages to it may have been lost on the way",
                 (unsigned long long)unconfirmed);
    log_format(cluster.closing ? LOG_INFO : LOG_WARN, "", "node %s is down: %s%s", link_name(l),
               *why != '\0' ? why : "the connection ended", lost);
    watchers_down(l, unconfirmed);
}

static void on_connection(uv_poll_t *poll, int status, int events) {
    (void)events;
    struct sockaddr_storage who;
    int fd = 0;
    for (int i = 0; status == 0 && i < CONN_STRANGERS && (fd = address_accept(cluster.listen_fd, &who)) >= 0; i++) {
        conn_new(fd, false, &who, NULL);
        cluster.starved = false;
    }
    /* No more files: it would be called again at once. on_tick looks again. */
    if (status != 0 || (fd < 0 && fd != UV_EAGAIN && fd != UV_ECONNABORTED)) {
        if (!cluster.starved)
            log_format(LOG_ERROR, "", "no connection is taken: %s%s", uv_strerror(status != 0 ? status : fd),
                       fd == UV_EMFILE ? " (ulimit -n)" : "");
        cluster.starved = true;
        uv_poll_stop(poll);
    }
    link_flush_all();
}

/* ---- time ---- */

/* `late`: this process itself stood still, so that others seem to have been silent. */
static void beat(uint64_t now, bool late) {
    uint64_t load = registry_count();
    bool tells = load != cluster.load;
    cluster.load = load;
    for (Conn *c = conn_first(), *next; c != NULL; c = next) {
        next = conn_next(c);
        uint64_t patience = (uint64_t)config.net_timeout * CLOCK_NS_PER_MS;
        if (!conn_is_up(c)) {
            if (now > conn_born(c) && now - conn_born(c) > patience) conn_close(c, "no answer in time (net.timeout)");
            continue;
        }
        Link *l = conn_link(c);
        bool heard, spoke;
        link_pulse(l, &heard, &spoke);
        if (heard || late) cluster.heard[link_index(l)] = now;
        if (tells) link_tell(l, &(Record){.kind = RECORD_LOAD, .to = load});
        else if (!spoke) link_tell(l, &(Record){.kind = RECORD_PING});
        uint64_t last = cluster.heard[link_index(l)];
        if (now <= last || now - last <= patience) continue;
        char why[CONN_WHY];
        snprintf(why, sizeof why, "not a word for %lld ms (net.timeout)", (long long)config.net_timeout);
        conn_close(c, why);
    }
}

/* Often enough for the least patient of all. */
static uint64_t beat_ms(void) {
    uint64_t ms = (uint64_t)config.net_heartbeat, least = (uint64_t)config.net_timeout;
    for (Conn *c = conn_first(); c != NULL; c = conn_next(c))
        if (conn_is_up(c) && conn_patience(c) < least) least = conn_patience(c);
    return least / 4 < ms ? least / 4 : ms;
}

static void on_tick(uv_timer_t *timer) {
    (void)timer;
    uint64_t now = clock_tick(), since = now - cluster.last_tick;
    bool late = cluster.last_tick != 0 && since > (uint64_t)config.net_timeout / 2 * CLOCK_NS_PER_MS;
    cluster.last_tick = now;
    if (!cluster.closing) targets_try(now);
    if (cluster.listen_fd >= 0 && !uv_is_active((uv_handle_t *)&cluster.listener))
        uv_poll_start(&cluster.listener, UV_READABLE, on_connection);
    if (now - cluster.last_beat >= beat_ms() * CLOCK_NS_PER_MS || late) {
        cluster.last_beat = now;
        beat(now, late);
    }
    for (Conn *c = conn_first(); c != NULL; c = conn_next(c)) {
        if (conn_link(c) == NULL) continue;
        link_confirm(conn_link(c));
        if (link_is_blocked(conn_link(c))) conn_unblock(c);
    }
    chase_tick();
    sweep_links();
    link_flush_all();
}

/* ---- opening and closing ---- */

static int complain(char *err, size_t size, int code, const char *option, const char *what, const char *why) {
    snprintf(err, size, "%s %.300s: %s", option, what, why);
    return code;
}

static bool may_leave(const ClusterOptions *o) { return o->insecure || o->tls_cert != NULL; }

static int open_listener(const ClusterOptions *o, char *err, size_t err_size) {
    char host[ADDRESS_TEXT], text[ADDRESS_TEXT];
    struct sockaddr_storage a;
    int port;
    if (!address_split(o->listen, host, &port))
        return complain(err, err_size, UV_EINVAL, "--listen", o->listen,
                        "HOST:PORT, such as 127.0.0.1:7101 or [::1]:0");
    if (strcmp(host, "localhost") == 0) strcpy(host, "127.0.0.1");
    if (!address_numeric(host, port, &a))
        return complain(err, err_size, UV_EINVAL, "--listen", o->listen, "an address of this machine, as a number");
    if (!may_leave(o) && !address_loopback(&a))
        return complain(err, err_size, UV_EPERM, "--listen", o->listen,
                        "beyond loopback, and connections would be plain: give it --tls-cert, --tls-key and --tls-ca "
                        "(throng certs makes such files), or --insecure allows that");
    if ((cluster.listen_fd = address_listen(&a)) < 0) {
        int code = cluster.listen_fd;
        return complain(err, err_size, code, "--listen", o->listen, uv_strerror(code));
    }
    socklen_t len = sizeof a;
    getsockname(cluster.listen_fd, (struct sockaddr *)&a, &len);
    cluster.ours.port = (uint16_t)address_port(&a);
    address_show(&a, text);
    if (!address_any(&a) && strlen(host) <= FRAME_NAME_MAX)
        snprintf(cluster.ours.host, sizeof cluster.ours.host, "%.64s", host);
    log_format(LOG_INFO, "", "listening for nodes of the cluster %s on %s%s", cluster.ours.cluster, text,
               cluster.tls != NULL ? " (TLS)" : "");
    return 0;
}

static int add_given(const ClusterOptions *o, char *err, size_t err_size) {
    char *all = strdup(o->join), *rest = all, *text;
    int code = all != NULL ? 0 : UV_ENOMEM;
    while (code == 0 && (text = strsep(&rest, ",")) != NULL) {
        char host[ADDRESS_TEXT];
        struct sockaddr_storage a;
        int port;
        if (!address_split(text, host, &port) || port == 0)
            code = complain(err, err_size, UV_EINVAL, "--join", text, "HOST:PORT[,HOST:PORT], such as 127.0.0.1:7101");
        else if (!may_leave(o) && address_numeric(host, port, &a) && !address_loopback(&a))
            code = complain(err, err_size, UV_EPERM, "--join", text,
                            "beyond loopback, and the connection would be plain: give it --tls-cert, --tls-key and "
                            "--tls-ca, or --insecure allows that");
        else if (targets_give(text) < 0)
            code = complain(err, err_size, UV_ENOMEM, "--join", text, "out of memory, or too many");
    }
    free(all);
    return code;
}

static void start(void *unused) {
    (void)unused;
    uv_timer_init(loop_uv(), &cluster.tick);
    sweep_open(cluster.tls != NULL);
    cluster.open = true;
    if (cluster.listen_fd >= 0) {
        int err = uv_poll_init(loop_uv(), &cluster.listener, cluster.listen_fd);
        if (err == 0) err = uv_poll_start(&cluster.listener, UV_READABLE, on_connection);
        if (err < 0) {
            log_format(LOG_ERROR, "", "no connections are taken: %s", uv_strerror(err));
            close(cluster.listen_fd);
            cluster.listen_fd = -1;
        }
    }
    cluster.last_tick = 0;
    uv_timer_start(&cluster.tick, on_tick, 0, TICK_MS);
}

bool cluster_wanted(const ClusterOptions *o) { return o->listen != NULL || o->join != NULL || o->etcd != NULL; }

int cluster_open(const ClusterOptions *o, char *err, size_t err_size) {
    memset(&cluster, 0, sizeof cluster);
    snprintf(cluster.ours.name, sizeof cluster.ours.name, "%s", o->name);
    if (o->etcd == NULL && (o->etcd_ca != NULL || o->etcd_cert != NULL || o->etcd_key != NULL)) {
        snprintf(err, err_size, "--etcd-ca, --etcd-cert and --etcd-key are for --etcd https://HOST:2379");
        return UV_EINVAL;
    }
    if (!cluster_wanted(o)) return 0;
    cluster.listen_fd = -1;
    targets_open(may_leave(o));
    cluster.ours = (Hello){.version = FRAME_VERSION, .window = (uint64_t)config.net_window,
                           .patience = (uint64_t)config.net_timeout,
                           .largest = (uint64_t)config.net_message - 2 * FRAME_HELLO_MAX * (config.net_message > 4096)};
    snprintf(cluster.ours.name, sizeof cluster.ours.name, "%s", o->name);
    snprintf(cluster.ours.can, sizeof cluster.ours.can, "%s", o->can != NULL ? o->can : "");
    snprintf(cluster.ours.cluster, sizeof cluster.ours.cluster, "%s", o->cluster != NULL ? o->cluster : "throng");
    /* With certificates nobody needs a secret, and none is made: it would be another one on each machine. */
    bool secret = o->tls_cert == NULL || o->secret != NULL;
    int secret_len = secret ? secret_load(o->secret, cluster.secret, err, err_size) : 0, code = secret_len;
    if (code >= 0 && o->tls_cert != NULL) {
        TlsOptions tls = {.cert = o->tls_cert, .key = o->tls_key, .ca = o->tls_ca, .name = cluster.ours.name};
        code = tls_open(&tls, &cluster.tls, err, err_size);
    }
    if (code >= 0 && (code = secret_random(&cluster.ours.incarnation, sizeof cluster.ours.incarnation)) < 0)
        complain(err, err_size, code, "the system's", "randomness", uv_strerror(code));
    cluster.ours.incarnation |= cluster.ours.incarnation == 0;
    cluster.heard = calloc(PID_NODES, sizeof *cluster.heard);
    if ((directory_open(&cluster.ours) < 0 || cluster.heard == NULL) && code >= 0)
        code = complain(err, err_size, UV_ENOMEM, "the", "cluster", uv_strerror(UV_ENOMEM));
    if (code >= 0 && o->listen != NULL) code = open_listener(o, err, err_size);
    if (code >= 0 && o->join != NULL) code = add_given(o, err, err_size);
    if (code < 0) goto fail;
    members_open(cluster.ours.name, cluster.ours.incarnation);
    link_open((LinkCalls){blocked, sweep_stir, sweep_paused, gossip_heard, record_came});
    conn_open((ConnCalls){conn_met, decide, session_with, begin, over, sweep_busy}, &cluster.ours, cluster.secret,
              (size_t)secret_len, cluster.tls);
    groups_open(group_changed);
    directory_add(&gossip);
    is_open = true; /* what is half open is closed by cluster_close, too */
    if (o->etcd == NULL) return 0;
    directory_add(&roster);
    RosterOptions etcd = {o->etcd, {o->etcd_ca, o->etcd_cert, o->etcd_key}};
    return roster_open(&etcd, &cluster.ours, err, err_size);
fail:
    if (cluster.listen_fd >= 0) close(cluster.listen_fd);
    targets_close();
    directory_close();
    tls_close(cluster.tls);
    free(cluster.heard);
    return code;
}

static void leave(void *unused) {
    (void)unused;
    for (Conn *c = conn_first(); c != NULL; c = conn_next(c))
        if (conn_link(c) != NULL) link_tell(conn_link(c), &(Record){.kind = RECORD_LOAD, .to = UINT64_MAX});
    link_flush_all();
}

void cluster_leave(void) {
    if (is_open) loop_call(leave, NULL);
}

void cluster_start(void) {
    if (is_open) loop_call(start, NULL);
}

static void stop_taking(void *unused) {
    (void)unused;
    cluster.closing = true;
    if (cluster.open && cluster.listen_fd >= 0) uv_close((uv_handle_t *)&cluster.listener, NULL);
    if (cluster.listen_fd >= 0) close(cluster.listen_fd);
    cluster.listen_fd = -1;
    for (Conn *c = conn_first(), *next; c != NULL; c = next) {
        next = conn_next(c);
        if (!conn_is_up(c)) conn_close(c, "");
    }
    directory_leave();
}

/* *arg: how many connections have not said all yet; then, they are told of the end. */
static void count_unsaid(void *arg) {
    unsigned *left = arg;
    *left = !directory_left();
    for (Conn *c = conn_first(); c != NULL; c = conn_next(c)) {
        if (conn_link(c) == NULL) continue;
        link_confirm(conn_link(c));
        link_flush(conn_link(c));
        *left += !link_idle(conn_link(c));
    }
}

static void say_farewell(void *unused) {
    (void)unused;
    for (Conn *c = conn_first(); c != NULL; c = conn_next(c)) conn_farewell(c);
}

static void count_open(void *arg) {
    unsigned *left = arg;
    *left = 0;
    for (Conn *c = conn_first(); c != NULL; c = conn_next(c)) ++*left;
}

static void stop(void *unused) {
    (void)unused;
    for (Conn *c = conn_first(), *next; c != NULL; c = next) {
        next = conn_next(c);
        conn_close(c, "this node ends");
    }
    directory_stop();
    targets_close();
    if (!cluster.open) return; /* it was never started */
    cluster.open = false;
    uv_close((uv_handle_t *)&cluster.tick, NULL);
    sweep_close();
}

/* The loop goes on meanwhile: asks it until nothing is left, or the time is up. */
static void wait_for(void (*count)(void *), uint64_t ms) {
    uint64_t end = clock_now() + ms * CLOCK_NS_PER_MS;
    unsigned left = 0;
    while (loop_call(count, &left) == 0 && left > 0 && clock_now() < end)
        nanosleep(&(struct timespec){.tv_nsec = 2 * (long)CLOCK_NS_PER_MS}, NULL);
}

void cluster_close(void) {
    if (!is_open) return;
    loop_call(stop_taking, NULL);
    wait_for(count_unsaid, FAREWELL_MS);
    loop_call(say_farewell, NULL);
    wait_for(count_open, FAREWELL_MS / 2);
    loop_call(stop, NULL);
    groups_open(NULL);
    is_open = false;
    directory_close();
    tls_close(cluster.tls);
    free(cluster.heard);
    cluster.heard = NULL;
}

void cluster_free(void) {
    members_close();
    able_close();
}

/* ---- what others call ---- */

int cluster_send(Message *msg) {
    Link *l = members_find(pid_node(msg->to));
    return l != NULL ? link_send(l, msg) : pid_node(msg->to) == MEMBERS_NOWHERE ? UV_ESRCH : UV_EHOSTUNREACH;
}

void cluster_flush(void) { link_flush_all(); }

const char *cluster_next(uint32_t *at) {
    uint32_t most = members_count();
    while (*at < most) {
        Link *l = members_find(++*at);
        if (l != NULL && link_is_up(l)) return link_name(l);
    }
    return NULL;
}

uint32_t cluster_find(const char *node) {
    if (strcmp(node, cluster.ours.name) == 0) return 0;
    Link *l = holder(node);
    return l != NULL ? link_index(l) : UINT32_MAX;
}

int cluster_watch(uint64_t pid) { return watchers_add(pid); }

int cluster_whereis(const char *node, const char *text, size_t len, uint64_t asker, uint64_t ref) {
    Link *l = holder(node);
    if (l == NULL) return UV_EHOSTUNREACH;
    return link_ask(l, &(Record){.kind = RECORD_WHEREIS, .from = asker, .ref = ref,
                                 .payload = (const unsigned char *)text, .size = len});
}
