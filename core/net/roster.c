#include "net/roster.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/config.h"
#include "ground/log.h"
#include "mail/names.h"
#include "net/claims.h"
#include "net/etcd.h"
#include "net/kv.h"
#include "net/lease.h"
#include "net/members.h"
#include "net/titles.h"
#include "run/loop.h"

#define TICK_MS 20
#define RENEWALS 5            /* in the time of a lease */
#define RETRY_MS 250          /* of what etcd has refused, or of this node's name */
#define READ_AGAIN_S 300      /* all of it: in case a watch has missed something */
#define SLACK_MS 2000         /* etcd lets a lease end a little late */
#define FORGET_MS 60000       /* how long etcd is asked to forget a lease */
#define NODES "nodes/"

typedef enum { VIEW_NONE, VIEW_READING, VIEW_READ, VIEW_WATCHED } View;

static struct {
    const Hello *ours;
    uv_timer_t timer;
    bool open, leaving;
    unsigned revoking;         /* leases that etcd is asked to forget */
    char prefix[FRAME_NAME_MAX + 16], prefix_end[FRAME_NAME_MAX + 16];
    size_t prefix_len;
    /* the lease */
    bool granting, renewing;
    int64_t ttl;               /* seconds, as etcd said */
    uint64_t asked, next_renew, next_grant; /* clock_boot */
    uintptr_t leases;          /* how many were over */
    uintptr_t round;           /* of renewals: an answer to one before is none */
    int64_t term;              /* of the renewal that is to be confirmed */
    /* this node's name */
    bool registered, registering, said_taken, was_registered;
    uint64_t next_register, taken_since; /* clock_boot; since when another has it, 0 = nobody has */
    char holder_address[300];
    /* what others hold */
    View view;
    bool reread;               /* all, as soon as we are out of the watch's callback */
    int64_t revision;          /* the view is of that one */
    char from[KV_KEY_MAX];     /* the next page */
    size_t from_len;
    uint64_t next_read, next_watch; /* clock_boot */
} self;

/* For the thread that builds the node. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t settled = PTHREAD_COND_INITIALIZER;
static enum { VERDICT_NONE, VERDICT_GOOD, VERDICT_AWAY, VERDICT_TAKEN } verdict; /* guarded by `lock` */
static uint64_t taken_limit; /* ns that another process may have our name at the start */

static void settle(int what) {
    pthread_mutex_lock(&lock);
    if (verdict == VERDICT_NONE) verdict = what;
    pthread_cond_signal(&settled);
    pthread_mutex_unlock(&lock);
}

static uint64_t lease_ms(void) { return (uint64_t)self.ttl * 1000; }

static int64_t wished_ttl(void) { return (config.etcd_ttl + 999) / 1000; }

/* ---- keys ---- */

static size_t own_key(char out[KV_KEY_MAX]) {
    return (size_t)snprintf(out, KV_KEY_MAX, "%s%s%s", self.prefix, NODES, self.ours->name);
}

/* The rest of the key, if it begins with that. */
static const char *within(const KvPair *p, const char *kind, size_t *len) {
    size_t n = self.prefix_len + strlen(kind);
    if (p->key_len <= n || memcmp(p->key, self.prefix, self.prefix_len) != 0 ||
        memcmp(p->key + self.prefix_len, kind, strlen(kind)) != 0)
        return NULL;
    *len = p->key_len - n;
    return p->key + n;
}

static bool ours_is(const KvHolder *h) { return h->incarnation == self.ours->incarnation; }

/* ---- the lease ---- */

static void forgotten(void *unused, int err, const char *why, const Json *answer) {
    (void)unused, (void)err, (void)why, (void)answer;
    self.revoking--;
}

static void give_back(int64_t lease, uint64_t total_ms) {
    Text body = {0};
    self.revoking++;
    kv_lease(&body, lease);
    etcd_ask("/v3/lease/revoke", &body, total_ms, forgotten, NULL);
}

/* It is over, here at least: all that it stood for is given up, and etcd is to forget it. */
static void lapse(const char *why) {
    int64_t before = lease_id();
    log_format(LOG_WARN, "", "the lease in etcd is over: %s", why);
    lease_drop(); /* first: from now on nobody finds a name here */
    titles_lapse(why);
    self.registered = self.renewing = self.registering = false;
    self.round++;
    self.leases++;
    self.next_grant = 0;
    give_back(before, FORGET_MS);
}

static void granted(void *unused, int err, const char *why, const Json *answer) {
    (void)unused;
    self.granting = false;
    int64_t id = err == 0 ? kv_integer(answer, "ID") : 0, ttl = err == 0 ? kv_integer(answer, "TTL") : 0;
    uint64_t end = lease_end(self.asked, ttl), now = clock_boot();
    if (self.leaving) return;
    if (id == 0 || ttl <= 0 || now >= end) {
        if (err == UV_EPROTO) {
            log_format(LOG_ERROR, "", "etcd refuses a lease: %s", why);
            self.next_grant = now + CLOCK_NS_PER_S;
        }
        if (err < 0) settle(VERDICT_AWAY);
        return;
    }
    self.ttl = ttl;
    lease_begin(id, end);
    self.next_renew = self.asked + lease_ms() / RENEWALS * CLOCK_NS_PER_MS;
    self.next_register = 0;
}

static void grant(void) {
    Text body = {0};
    self.granting = true;
    self.asked = clock_boot();
    kv_grant(&body, wished_ttl());
    etcd_ask("/v3/lease/grant", &body, (uint64_t)config.etcd_ttl, granted, NULL);
}

/* It did not work: again, when whoever was asked has had time to find out what is wrong. */
static void renew_soon(void) {
    self.next_renew = clock_boot() + lease_ms() / (10 * RENEWALS) * CLOCK_NS_PER_MS;
}

/* The read behind a renewal. */
static void confirmed(void *round, int err, const char *why, const Json *answer) {
    (void)why;
    KvPair p;
    KvHolder h;
    uint32_t count;
    if ((uintptr_t)round != self.round) return;
    self.renewing = false;
    if (err < 0 || self.leaving || kv_term(answer) != self.term) {
        renew_soon();
        return;
    }
    if (!lease_renew(lease_id(), lease_end(self.asked, self.ttl), clock_boot())) return;
    self.next_renew = self.asked + lease_ms() / RENEWALS * CLOCK_NS_PER_MS;
    const Json *pair = kv_pairs(answer, &count);
    if (self.registered && (pair == NULL || !kv_read(pair, &p) || !kv_read_holder(p.value, p.value_len, &h) ||
                            !ours_is(&h) || p.lease != lease_id()))
        self.registered = false; /* somebody has deleted it */
}

static void renewed(void *round, int err, const char *why, const Json *answer) {
    (void)why;
    char key[KV_KEY_MAX];
    Text body = {0};
    const Json *result = err == 0 ? json_get(answer, "result") : NULL;
    if ((uintptr_t)round != self.round || self.leaving) return;
    if (err == UV_ENOENT || (result != NULL && kv_integer(result, "TTL") <= 0)) {
        lapse("etcd does not know it any more");
        return;
    }
    if (result == NULL || kv_integer(result, "ID") != lease_id()) {
        self.renewing = false;
        renew_soon();
        return;
    }
    self.ttl = kv_integer(result, "TTL");
    self.term = kv_term(result);
    size_t len = own_key(key);
    kv_range(&body, key, len, NULL, 0, 0);
    etcd_ask("/v3/kv/range", &body, lease_ms() / RENEWALS, confirmed, round);
}

static void renew(void) {
    Text body = {0};
    self.renewing = true;
    self.round++;
    self.asked = clock_boot();
    kv_lease(&body, lease_id());
    etcd_ask("/v3/lease/keepalive", &body, lease_ms() / RENEWALS, renewed, (void *)self.round);
}

/* ---- this node's name ---- */

/* Where others reach us: as we listen, or, if that is on all addresses, as etcd sees us. */
static void own_address(char out[300]) {
    const char *host = self.ours->host[0] != '\0' ? self.ours->host : http_local();
    *out = '\0';
    if (self.ours->port != 0 && *host != '\0')
        snprintf(out, 300, strchr(host, ':') != NULL ? "[%s]:%d" : "%s:%d", host, self.ours->port);
}

static void name_is_ours(void) {
    if (!self.was_registered)
        log_format(LOG_INFO, "", "etcd: this is node %s of the cluster %s, under a lease of %lld s", self.ours->name,
                   self.ours->cluster, (long long)self.ttl);
    else log_format(LOG_INFO, "", "etcd: node %s is known there again", self.ours->name);
    self.registered = self.was_registered = true;
    self.taken_since = 0;
    self.said_taken = false;
    settle(VERDICT_GOOD);
}

static void name_is_taken(const KvHolder *h) {
    uint64_t now = clock_boot();
    if (self.taken_since == 0) {
        self.taken_since = now;
        log_format(LOG_INFO, "", "etcd: another process has the name %s%s%s; it may be gone: waiting for its lease to "
                                 "end", self.ours->name, *h->address != '\0' ? ", at " : "", h->address);
    }
    if (now - self.taken_since < taken_limit || self.said_taken) return;
    self.said_taken = true;
    snprintf(self.holder_address, sizeof self.holder_address, "%s", h->address);
    pthread_mutex_lock(&lock);
    bool starting = verdict == VERDICT_NONE;
    pthread_mutex_unlock(&lock);
    if (!starting)
        log_format(LOG_ERROR, "", "etcd: another node of the cluster %s has the name %s (%s): until it ends this one "
                                  "is not found there; nodes need names of their own (--name)", self.ours->cluster,
                   self.ours->name, h->address);
    settle(VERDICT_TAKEN);
}

static void put_name(int64_t modified);

static void name_put(void *round, int err, const char *why, const Json *answer) {
    KvPair p;
    KvHolder h;
    uint32_t count;
    if ((uintptr_t)round != self.leases) return; /* under a lease that is over */
    self.registering = false;
    self.next_register = clock_boot() + RETRY_MS * CLOCK_NS_PER_MS;
    if (err == UV_EPROTO) log_format(LOG_ERROR, "", "etcd refuses this node's name: %s", why);
    if (err < 0) settle(VERDICT_AWAY);
    if (err < 0) return;
    if (json_get(answer, "succeeded") != NULL && json_get(answer, "succeeded")->type == JSON_TRUE) {
        name_is_ours();
        return;
    }
    const Json *pair = kv_pairs(answer, &count);
    if (pair == NULL) return; /* just gone: again */
    if (!kv_read(pair, &p) || !kv_read_holder(p.value, p.value_len, &h)) {
        memset(&h, 0, sizeof h);
        name_is_taken(&h);
    } else if (!ours_is(&h)) {
        name_is_taken(&h);
    } else if (p.lease == lease_id()) {
        name_is_ours();
    } else {
        put_name(p.modified); /* under a lease of ours before this one */
    }
}

static void put_name(int64_t modified) {
    KvHolder h = {.incarnation = self.ours->incarnation};
    char key[KV_KEY_MAX], value[KV_VALUE_MAX];
    Text body = {0};
    own_address(h.address);
    size_t len = own_key(key), value_len = kv_holder_value(value, &h);
    self.registering = true;
    kv_put(&body, key, len, value, value_len, lease_id(), modified);
    etcd_ask("/v3/kv/txn", &body, lease_ms() / RENEWALS, name_put, (void *)self.leases);
}

/* ---- what others hold ---- */

static void node_seen(const char *name, size_t len, const KvPair *p) {
    char text[FRAME_NAME_MAX + 1];
    KvHolder h;
    if (len > FRAME_NAME_MAX || memchr(name, 0, len) != NULL) return;
    memcpy(text, name, len);
    text[len] = '\0';
    bool own = strcmp(text, self.ours->name) == 0;
    if (p->deleted) {
        if (own) self.registered = false;
    } else if (kv_read_holder(p->value, p->value_len, &h)) {
        if (own) self.registered = self.registered && ours_is(&h);
        else directory_learn(text, h.incarnation, h.address);
    }
}

static void name_seen(const char *name, size_t len, const KvPair *p) {
    KvHolder h;
    if (len > NAMES_TEXT_MAX) return;
    if (p->deleted) {
        titles_forget(name, len, p->modified);
        return;
    }
    if (!kv_read_holder(p->value, p->value_len, &h) || h.pid == 0) return;
    if (ours_is(&h)) {
        Title *t = titles_at(name, len);
        if (t != NULL && t->claim == h.claim) titles_seen(t);
        else if (t == NULL || t->stage != TITLE_LEAVING) claims_orphan(name, len, p, &h);
        return;
    }
    uint32_t node = directory_learn(h.node, h.incarnation, NULL);
    if (node != 0 && node != MEMBERS_NOWHERE) titles_learn(name, len, pid_on_node(h.pid, node), p->modified);
}

static void pair_seen(const KvPair *p) {
    size_t len;
    const char *name;
    if ((name = within(p, NODES, &len)) != NULL) node_seen(name, len, p);
    else if ((name = within(p, CLAIMS_KEYS, &len)) != NULL) name_seen(name, len, p);
}

static void read_page(void);

static void page_read(void *unused, int err, const char *why, const Json *answer) {
    (void)unused;
    KvPair p;
    uint32_t count;
    if (self.view != VIEW_READING) return;
    if (err < 0) {
        if (err == UV_EPROTO) log_format(LOG_WARN, "", "etcd refuses a read: %s", why);
        self.view = VIEW_NONE;
        self.next_read = clock_boot() + RETRY_MS * CLOCK_NS_PER_MS;
        return;
    }
    if (self.revision == 0) self.revision = kv_revision(answer);
    const Json *pair = kv_pairs(answer, &count);
    for (uint32_t i = 0; i < count; i++, pair = json_next(pair))
        if (kv_read(pair, &p)) {
            pair_seen(&p);
            memcpy(self.from, p.key, p.key_len);
            self.from_len = p.key_len;
        }
    const Json *more = json_get(answer, "more");
    if (more != NULL && more->type == JSON_TRUE && count > 0 && self.from_len < KV_KEY_MAX) {
        self.from[self.from_len++] = '\0'; /* the least key behind it */
        read_page();
        return;
    }
    titles_end_view(self.revision);
    self.view = VIEW_READ;
    self.next_read = clock_boot() + READ_AGAIN_S * CLOCK_NS_PER_S;
}

static void read_page(void) {
    Text body = {0};
    kv_range(&body, self.from, self.from_len, self.prefix_end, strlen(self.prefix_end), self.revision);
    etcd_ask("/v3/kv/range", &body, (uint64_t)config.etcd_ttl, page_read, NULL);
}

static void read_all(void) {
    self.view = VIEW_READING;
    self.revision = 0;
    self.from_len = self.prefix_len;
    memcpy(self.from, self.prefix, self.prefix_len);
    titles_begin_view();
    read_page();
}

/* Within the watch's callback: it can't be ended here. */
static void watch_said(void *unused, const Json *result) {
    (void)unused;
    KvPair p;
    const Json *canceled = json_get(result, "canceled"), *events = json_get(result, "events");
    if (canceled != NULL && canceled->type == JSON_TRUE) {
        log_format(LOG_DEBUG, "", "etcd has forgotten revision %lld: all is read anew", (long long)self.revision);
        self.reread = true;
    }
    if (events == NULL || events->type != JSON_ARRAY || self.reread) return;
    const Json *event = json_first(events);
    for (uint32_t i = 0; i < events->len; i++, event = json_next(event)) {
        if (!kv_read_event(event, &p)) continue;
        pair_seen(&p);
        if (p.modified > self.revision) self.revision = p.modified;
    }
}

static void watch_over(void *unused, int err, const char *why) {
    (void)unused;
    log_format(LOG_DEBUG, "", "etcd: watching anew: %s", why);
    if (err == UV_EPROTO) self.reread = true;
    if (self.view == VIEW_WATCHED) self.view = VIEW_READ; /* on from where it was */
    self.next_watch = clock_boot() + RETRY_MS * CLOCK_NS_PER_MS;
}

static void watch(void) {
    Text body = {0};
    self.view = VIEW_WATCHED;
    kv_watch(&body, self.prefix, self.prefix_len, self.prefix_end, strlen(self.prefix_end), self.revision + 1);
    etcd_watch(&body, (EtcdWatch){watch_said, watch_over}, NULL);
}

/* ---- time ---- */

static void on_timer(uv_timer_t *timer) {
    (void)timer;
    uint64_t now = clock_boot();
    clock_tick();
    if (lease_id() != LEASE_NONE && !self.leaving && !lease_good()) lapse("etcd did not renew it in time");
    etcd_tick();
    if (etcd_is_away()) settle(VERDICT_AWAY);
    if (self.leaving) return;
    titles_tick();
    bool has = lease_id() != LEASE_NONE;
    if (!has && !self.granting && now >= self.next_grant) grant();
    if (has && !self.renewing && now >= self.next_renew) renew();
    if (has && !self.registered && !self.registering && now >= self.next_register) put_name(0);
    if ((self.view >= VIEW_READ && now >= self.next_read) || self.reread) {
        etcd_unwatch();
        self.reread = false;
        self.view = VIEW_NONE;
        self.next_read = now;
    }
    if (has && self.view == VIEW_NONE && now >= self.next_read && !etcd_is_away()) read_all();
    else if (has && self.view == VIEW_READ && now >= self.next_watch) watch();
}

/* ---- opening and closing ---- */

static void start(void *unused) {
    (void)unused;
    uv_timer_init(loop_uv(), &self.timer);
    self.open = true;
    uv_timer_start(&self.timer, on_timer, 0, TICK_MS);
}

int roster_open(const RosterOptions *o, const Hello *ours, char *err, size_t err_size) {
    memset(&self, 0, sizeof self);
    self.ours = ours;
    self.ttl = wished_ttl();
    self.prefix_len = (size_t)snprintf(self.prefix, sizeof self.prefix, "/throng/%s/", ours->cluster);
    snprintf(self.prefix_end, sizeof self.prefix_end, "/throng/%s0", ours->cluster); /* '0' comes after '/' */
    verdict = VERDICT_NONE;
    taken_limit = lease_ms() * CLOCK_NS_PER_MS + SLACK_MS * CLOCK_NS_PER_MS;
    claims_open(ours, self.prefix);
    int code = etcd_open(o->urls, &o->tls, lease_ms() / RENEWALS, err, err_size);
    if (code == 0 && (code = loop_call(start, NULL)) < 0) snprintf(err, err_size, "--etcd: %s", uv_strerror(code));
    if (code < 0) return code;
    pthread_mutex_lock(&lock);
    while (verdict == VERDICT_NONE) pthread_cond_wait(&settled, &lock);
    if (verdict == VERDICT_TAKEN) {
        code = UV_EEXIST;
        snprintf(err, err_size, "--name %s: another node of the cluster %s holds that name in etcd%s%.200s: nodes need "
                                "names of their own", ours->name, ours->cluster,
                 self.holder_address[0] != '\0' ? ", at " : "", self.holder_address);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

static void leave(void) {
    self.leaving = true;
    if (!self.open || lease_id() == LEASE_NONE) return;
    give_back(lease_id(), FORGET_MS);
    lease_drop();
}

static bool left(void) { return self.revoking == 0 || etcd_is_away(); }

static void stop(void) {
    if (self.open) uv_close((uv_handle_t *)&self.timer, NULL);
    self.open = false;
    lease_drop();
    etcd_close();
    titles_close();
    claims_close();
}

const Directory roster = {.claim = claims_claim, .release = claims_release, .read = claims_read, .leave = leave,
                          .left = left, .stop = stop};
