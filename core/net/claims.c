#include "net/claims.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/log.h"
#include "net/directory.h"
#include "net/etcd.h"
#include "net/lease.h"
#include "net/members.h"

#define RELEASE_MS 60000 /* longer than most leases: then the key is gone anyway */

/* A question to etcd that is under way, about one key. */
typedef struct Errand {
    struct Errand *next, **at;
    int64_t lease;
    uint64_t claim;       /* of the title; 0 of a question */
    uint64_t asker, ref;  /* of a question */
    size_t key_len, value_len;
    char key[KV_KEY_MAX], value[KV_VALUE_MAX];
} Errand;

static Errand *errands;
static const Hello *ours;
static char prefix[FRAME_NAME_MAX + 32]; /* of the keys */
static size_t prefix_len;

void claims_open(const Hello *hello, const char *cluster_prefix) {
    ours = hello;
    prefix_len = (size_t)snprintf(prefix, sizeof prefix, "%s%s", cluster_prefix, CLAIMS_KEYS);
}

static bool ours_is(const KvHolder *h) { return h->incarnation == ours->incarnation; }

static Errand *errand_new(const char *name, size_t len) {
    Errand *e = calloc(1, sizeof *e);
    if (e == NULL) return NULL;
    memcpy(e->key, prefix, prefix_len);
    if (len > sizeof e->key - prefix_len) len = sizeof e->key - prefix_len; /* names are shorter, all of them */
    memcpy(e->key + prefix_len, name, len);
    e->key_len = prefix_len + len;
    e->next = errands;
    e->at = &errands;
    if (errands != NULL) errands->at = &e->next;
    errands = e;
    return e;
}

static void errand_free(Errand *e) {
    *e->at = e->next;
    if (e->next != NULL) e->next->at = e->at;
    free(e);
}

static Title *title_of(const Errand *e) {
    Title *t = titles_at(e->key + prefix_len, e->key_len - prefix_len);
    return t != NULL && t->claim == e->claim ? t : NULL;
}

static size_t title_value(char out[KV_VALUE_MAX], const Title *t) {
    KvHolder h = {.incarnation = ours->incarnation, .pid = t->pid, .claim = t->claim};
    snprintf(h.node, sizeof h.node, "%s", ours->name);
    return kv_holder_value(out, &h);
}

/* ---- giving up ---- */

static void released(void *errand, int err, const char *why, const Json *answer) {
    (void)err, (void)why, (void)answer; /* in vain: the lease ends with its time, or the next view finds an orphan */
    Errand *e = errand;
    Title *t = title_of(e);
    if (t != NULL && t->stage == TITLE_LEAVING) titles_left(t);
    errand_free(e);
}

static void delete_value(Errand *e) {
    Text body = {0};
    kv_delete(&body, e->key, e->key_len, e->value, e->value_len);
    etcd_ask("/v3/kv/txn", &body, RELEASE_MS, released, e);
}

void claims_release(Title *t) {
    Errand *e = errand_new(t->name, t->len);
    if (e == NULL) { /* the next view finds a key that nobody holds */
        titles_left(t);
        return;
    }
    e->claim = t->claim;
    e->value_len = title_value(e->value, t);
    delete_value(e);
}

void claims_orphan(const char *name, size_t len, const KvPair *p, const KvHolder *h) {
    Errand *e = errand_new(name, len);
    if (e == NULL) return;
    e->claim = h->claim;
    memcpy(e->value, p->value, p->value_len);
    e->value_len = p->value_len;
    delete_value(e);
}

/* ---- claims ---- */

static void ask_for(const Title *t, Errand *e, int64_t modified);

static void claimed(void *errand, int err, const char *why, const Json *answer) {
    Errand *e = errand;
    Title *t = title_of(e);
    KvPair p;
    KvHolder h;
    uint32_t count;
    bool got = err == 0 && json_get(answer, "succeeded") != NULL && json_get(answer, "succeeded")->type == JSON_TRUE;
    int64_t fence = got ? kv_revision(answer) : 0;
    if (err == 0 && !got) { /* ours all the same, if an answer before this one was lost */
        const Json *pair = kv_pairs(answer, &count);
        bool read = pair != NULL && kv_read(pair, &p) && kv_read_holder(p.value, p.value_len, &h);
        got = read && ours_is(&h) && h.claim == e->claim;
        if (got) fence = p.modified;
        if (read && ours_is(&h) && !got && t != NULL) { /* what we left behind, and have not deleted yet */
            ask_for(t, e, p.modified);
            return;
        }
    }
    bool lives = e->lease == lease_id() && lease_good();
    if (t == NULL || t->stage != TITLE_CLAIMED) {
        if (got || err == UV_ETIMEDOUT) {
            delete_value(e);
            return;
        }
    } else if (got && fence > 0 && lives) {
        titles_won(t, fence);
    } else if (got || err == UV_ETIMEDOUT || err == UV_ENOMEM) {
        titles_unsure(t, "unreachable");
    } else if (err < 0) {
        if (err == UV_EPROTO) log_format(LOG_WARN, "", "etcd refuses a name: %s", why);
        titles_refused(t, "unreachable");
    } else {
        titles_refused(t, "taken");
    }
    errand_free(e);
}

static void ask_for(const Title *t, Errand *e, int64_t modified) {
    Text body = {0};
    uint64_t now = clock_now(), left = t->deadline > now ? (t->deadline - now) / CLOCK_NS_PER_MS : 0;
    kv_put(&body, e->key, e->key_len, e->value, e->value_len, e->lease, modified);
    etcd_ask("/v3/kv/txn", &body, left, claimed, e);
}

void claims_claim(Title *t) {
    Errand *e = errand_new(t->name, t->len);
    if (e == NULL) {
        titles_refused(t, "unreachable");
        return;
    }
    e->claim = t->claim;
    e->lease = lease_id();
    e->value_len = title_value(e->value, t);
    ask_for(t, e, 0);
}

/* ---- questions ---- */

static void was_read(void *errand, int err, const char *why, const Json *answer) {
    (void)why;
    Errand *e = errand;
    KvPair p;
    KvHolder h;
    uint32_t count;
    uint64_t pid = 0;
    int64_t fence = 0;
    const Json *pair = err == 0 ? kv_pairs(answer, &count) : NULL;
    if (pair != NULL && kv_read(pair, &p) && kv_read_holder(p.value, p.value_len, &h) && h.pid != 0) {
        fence = p.modified;
        if (ours_is(&h)) {
            if (titles_find(e->key + prefix_len, e->key_len - prefix_len, &pid, &fence) < 0) pid = 0;
        } else {
            uint32_t node = directory_learn(h.node, h.incarnation, NULL);
            if (node != 0 && node != MEMBERS_NOWHERE) pid = pid_on_node(h.pid, node); /* the watch brings it, too */
        }
    }
    titles_answer(e->asker, e->ref, pid, fence, err == 0 ? NULL : err == UV_ETIMEDOUT ? "timeout" : "unreachable");
    errand_free(e);
}

void claims_read(const char *name, size_t len, uint64_t asker, uint64_t ref, uint64_t deadline) {
    Text body = {0};
    Errand *e = errand_new(name, len);
    if (e == NULL) return; /* the asker's deadline ends it */
    uint64_t now = clock_now(), left = deadline > now ? (deadline - now) / CLOCK_NS_PER_MS : 0;
    e->asker = asker;
    e->ref = ref;
    kv_range(&body, e->key, e->key_len, NULL, 0, 0);
    etcd_ask("/v3/kv/range", &body, left, was_read, e);
}

void claims_close(void) {
    while (errands != NULL) errand_free(errands);
}
