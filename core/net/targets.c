#include "net/targets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/config.h"
#include "ground/log.h"
#include "net/conn.h"
#include "net/secret.h"
#include "run/loop.h"

#define RETRY_FIRST_MS 100
#define RETRY_MOST_MS 2000
#define PATIENT_AFTER 300 /* tries in vain, ten minutes or so: a learned one is tried less often then */
#define RETRY_PATIENT_MS 30000
#define TARGETS_MOST 4096

struct Target { /* an address to have a link to */
    struct Target *next;
    char text[ADDRESS_TEXT], said[CONN_WHY]; /* said: what was logged last, and is not again */
    bool given;    /* by --join: for ever */
    bool gone;     /* to be freed when nothing holds it: it is ourselves, or out of time */
    bool resolving;
    Link *link;    /* who was met there last */
    Conn *conn;
    uint64_t next_try, until; /* clock_now */
    unsigned fails;
    uv_getaddrinfo_t request;
};

static Target *targets;
static unsigned count;
static bool far, taking; /* far: beyond loopback is fine */

void targets_open(bool beyond) {
    far = beyond;
    taking = true;
}

static uint64_t kept_until(void) { return clock_now() + (uint64_t)config.net_forget * CLOCK_NS_PER_MS; }

static bool is_there(const Target *t) { return t->link != NULL && link_is_up(t->link); }

static bool is_held(const Target *t) { return t->conn != NULL || t->resolving; }

/* Whom to forget when there are too many: the learned one that has been away the longest. */
static void forget_one(void) {
    Target **oldest = NULL;
    for (Target **at = &targets, *t; (t = *at) != NULL; at = &t->next)
        if (!t->given && !is_held(t) && !is_there(t) && (oldest == NULL || t->until < (*oldest)->until)) oldest = at;
    if (oldest == NULL) return;
    Target *t = *oldest;
    *oldest = t->next;
    count--;
    free(t);
}

static Target *target_add(const char *text, bool given) {
    for (Target *t = targets; t != NULL; t = t->next)
        if (strcmp(t->text, text) == 0) return t;
    if (count >= TARGETS_MOST && !given) forget_one();
    if (count >= TARGETS_MOST) return NULL;
    Target *t = calloc(1, sizeof *t);
    if (t == NULL) return NULL;
    snprintf(t->text, sizeof t->text, "%s", text);
    t->given = given;
    t->next = targets;
    targets = t;
    count++;
    return t;
}

/* One line, unless it is the same as before. */
static void say(Target *t, const char *why) {
    if (strcmp(t->said, why) == 0) return;
    snprintf(t->said, sizeof t->said, "%s", why);
    if (*why != '\0') log_format(t->given ? LOG_WARN : LOG_INFO, "", "not joined at %s: %s", t->text, why);
}

static void failed(Target *t) {
    unsigned shift = t->fails < 6 ? t->fails : 6;
    uint64_t wait = (uint64_t)RETRY_FIRST_MS << shift, jitter = 0;
    if (wait > RETRY_MOST_MS) wait = t->given || t->fails < PATIENT_AFTER ? RETRY_MOST_MS : RETRY_PATIENT_MS;
    secret_random(&jitter, sizeof jitter); /* else: all at once, and no harm */
    t->fails++;
    t->next_try = clock_now() + (wait + jitter % (wait / 2)) * CLOCK_NS_PER_MS;
}

static bool refused_as_plain(Target *t, const struct sockaddr_storage *a) {
    if (far || address_loopback(a)) return false;
    say(t, "it is beyond loopback, and the connection would be plain: give this node --tls-cert, --tls-key and "
           "--tls-ca, or --insecure");
    failed(t);
    return true;
}

static void dial(Target *t, const struct sockaddr_storage *a) {
    if (refused_as_plain(t, a)) return;
    int fd = address_dial(a);
    if (fd < 0) {
        say(t, uv_strerror(fd));
        failed(t);
        return;
    }
    Conn *c = conn_new(fd, true, a, t);
    t->conn = c;
    if (c == NULL) failed(t);
}

static void resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found) {
    Target *t = request->data;
    t->resolving = false;
    if (status == 0 && found != NULL && found->ai_addrlen <= sizeof(struct sockaddr_storage) && taking && !t->gone) {
        struct sockaddr_storage a = {0};
        memcpy(&a, found->ai_addr, found->ai_addrlen);
        dial(t, &a);
    } else if (status < 0 && taking) {
        say(t, uv_strerror(status));
        failed(t);
    }
    uv_freeaddrinfo(found);
    if (!taking) free(t); /* it was left to us */
}

static void try(Target *t) {
    char host[ADDRESS_TEXT], service[16];
    int port;
    struct sockaddr_storage a;
    if (!address_split(t->text, host, &port)) { /* learned ones may be anything */
        t->gone = true;
        return;
    }
    if (address_numeric(host, port, &a)) {
        dial(t, &a);
        return;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    snprintf(service, sizeof service, "%d", port);
    t->request.data = t;
    t->resolving = uv_getaddrinfo(loop_uv(), &t->request, resolved, host, service, &hints) == 0;
    if (!t->resolving) failed(t);
}

void targets_try(uint64_t now) {
    for (Target **at = &targets, *t; (t = *at) != NULL;) {
        if (t->gone && !is_held(t)) {
            *at = t->next;
            count--;
            free(t);
            continue;
        }
        at = &t->next;
        if (is_held(t) || t->gone) continue;
        if (is_there(t)) {
            t->until = kept_until();
            t->fails = 0;
        } else if (!t->given && now > t->until) {
            log_format(LOG_INFO, "", "nobody at %s for %lld ms: it is not dialed any more (net.forget)", t->text,
                       (long long)config.net_forget);
            t->gone = true;
        } else if (now >= t->next_try) {
            try(t);
        }
    }
}

int targets_give(const char *text) { return target_add(text, true) != NULL ? 0 : UV_ENOMEM; }

void targets_learn(const char *text, Link *l, uint64_t wait_ms) {
    Target *t = target_add(text, false);
    if (t == NULL) return;
    uint64_t now = clock_now();
    t->until = kept_until();
    t->link = l;
    t->fails = 0;
    t->gone = false;
    if (t->conn == NULL) t->next_try = now + wait_ms * CLOCK_NS_PER_MS;
}

void target_met(Target *t, Link *l) { t->link = l; }

void target_drop(Target *t) { t->gone = true; }

void target_over(Target *t, bool was_up, const char *why) {
    t->conn = NULL;
    if (!was_up) {
        say(t, why);
        failed(t);
        return;
    }
    t->said[0] = '\0';
    t->fails = 0;
    t->next_try = clock_now() + RETRY_FIRST_MS * CLOCK_NS_PER_MS;
}

void targets_close(void) {
    while (targets != NULL) {
        Target *t = targets;
        targets = t->next;
        if (t->conn != NULL) conn_drop_context(t->conn);
        if (t->resolving) uv_cancel((uv_req_t *)&t->request); /* in any case `resolved` frees it */
        else free(t);
    }
    count = 0;
    taking = false;
}
