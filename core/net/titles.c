#include "net/titles.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/hash.h"
#include "ground/log.h"
#include "ground/map.h"
#include "mail/atom.h"
#include "mail/names.h"
#include "mail/payload.h"
#include "mail/post.h"
#include "mail/registry.h"
#include "net/directory.h"
#include "net/lease.h"
#include "net/secret.h"
#include "run/loop.h"

typedef struct Entry {
    struct Entry *next;
    uint64_t hash;
    uint64_t pid;   /* another node's actor that has it; 0 = nobody we know */
    int64_t fence;
    bool seen;      /* in this view, theirs or ours */
    Title *title;   /* ours */
    size_t len;
    char name[];
} Entry;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all here but `waiting`; written by the loop's thread,
                                                          * but for a title's stage, and `holders` */
static Entry **buckets;
static size_t room, count;
static Map holders; /* pid -> how many titles it has or asks for */
/* Of `holders`, for who ends: relaxed, an actor ends after whatever it asked for. */
static _Atomic uint32_t holder_count;
static Title *waiting; /* the loop's: until the name is free here */

/* ---- the table; under the lock ---- */

static Entry **place(uint64_t hash, const char *name, size_t len) {
    Entry **at = &buckets[hash & (room - 1)];
    while (*at != NULL && !((*at)->hash == hash && (*at)->len == len && memcmp((*at)->name, name, len) == 0))
        at = &(*at)->next;
    return at;
}

static Entry *find(const char *name, size_t len) {
    return room > 0 ? *place(hash_bytes(name, len), name, len) : NULL;
}

static bool make_room(void) {
    if (count < room) return true;
    size_t more = room == 0 ? 64 : room * 2;
    Entry **bigger = calloc(more, sizeof *bigger);
    if (bigger == NULL) return room > 0; /* longer chains work too */
    for (size_t i = 0; i < room; i++)
        for (Entry *e = buckets[i], *next; e != NULL; e = next) {
            next = e->next;
            e->next = bigger[e->hash & (more - 1)];
            bigger[e->hash & (more - 1)] = e;
        }
    free(buckets);
    buckets = bigger;
    room = more;
    return true;
}

static Entry *find_or_add(const char *name, size_t len) {
    if (!make_room()) return NULL;
    uint64_t hash = hash_bytes(name, len);
    Entry **at = place(hash, name, len);
    if (*at == NULL && (*at = calloc(1, sizeof **at + len)) != NULL) {
        (*at)->hash = hash;
        (*at)->len = len;
        memcpy((*at)->name, name, len);
        count++;
    }
    return *at;
}

static void drop_if_empty(const char *name, size_t len) {
    if (room == 0) return;
    Entry **at = place(hash_bytes(name, len), name, len), *e = *at;
    if (e == NULL || e->title != NULL || e->pid != 0) return;
    *at = e->next;
    count--;
    free(e);
}

static int count_holder(uint64_t pid, int more) {
    uint64_t n = 0;
    map_get(&holders, pid, &n);
    n += (uint64_t)(int64_t)more;
    int err = 0;
    if (n == 0) map_take(&holders, pid, NULL);
    else err = map_put(&holders, pid, n);
    atomic_store_explicit(&holder_count, holders.count, memory_order_relaxed);
    return err;
}

static bool alive(uint64_t pid) { return registry_find(pid) != NULL; }

/* Does somebody here hold it, now? */
static bool held(const Entry *e) { return e != NULL && e->title != NULL && e->title->stage == TITLE_HELD; }

/* ---- answers and notices ---- */

static void deliver_answer(Message *msg, uint64_t asker, uint64_t ref) {
    msg->to = asker;
    msg->ref = ref;
    post_deliver(msg);
}

/* Without memory the asker's deadline ends it. */
static void answer_claim(const Title *t, bool good, const char *why) {
    Message *msg = message_new(MESSAGE_REPLY, 32);
    if (msg == NULL) return;
    int err = payload_put_boolean(&msg, good);
    if (err == 0) err = good ? payload_put_integer(&msg, t->fence) : payload_put_string(&msg, why, strlen(why));
    if (err == 0) deliver_answer(msg, t->pid, t->ref);
    else message_free(msg);
}

void titles_answer(uint64_t asker, uint64_t ref, uint64_t pid, int64_t fence, const char *why) {
    Message *msg = message_new(MESSAGE_REPLY, 32);
    if (msg == NULL) return;
    int err = pid != 0 ? payload_put_pid(&msg, pid) : payload_put_nil(&msg);
    if (err == 0 && pid != 0) err = payload_put_integer(&msg, fence);
    else if (err == 0 && why != NULL) err = payload_put_string(&msg, why, strlen(why));
    if (err == 0) deliver_answer(msg, asker, ref);
    else message_free(msg);
}

/* The message "name" with the name, and "lost". NULL: memory is short. */
static Message *notice(const Title *t) {
    Message *msg = message_new(MESSAGE_SEND, 64);
    if (msg == NULL) return NULL;
    msg->to = t->pid;
    if ((msg->name = atom_intern("name", 4)) != 0 && payload_put_string(&msg, t->name, t->len) == 0 &&
        payload_put_string(&msg, "lost", 4) == 0)
        return msg;
    message_free(msg);
    return NULL;
}

static void stop(const Title *t) {
    Message *msg = message_new(MESSAGE_STOP, 32);
    if (msg == NULL || payload_put_string(&msg, "name lost", 9) < 0) {
        message_free(msg);
        log_format(LOG_ERROR, "", "out of memory: who held the cluster's name '%.*s' does not hear that it is lost",
                   (int)t->len, t->name);
        return;
    }
    msg->to = t->pid;
    post_deliver(msg);
}

/* Whoever can't hear of it, or has no room for it, must not go on as if nothing had happened. */
static void tell_lost(const Title *t) {
    if (!alive(t->pid)) return;
    Message *msg = t->hears ? notice(t) : NULL;
    int err = msg != NULL ? post_send(msg) : UV_ENOMEM;
    if (err < 0) message_free(msg);
    if (err < 0 || err == POST_DROPPED) stop(t);
}

/* ---- ours; on the loop's thread ---- */

Title *titles_at(const char *name, size_t len) {
    pthread_mutex_lock(&lock);
    Entry *e = find(name, len);
    Title *t = e != NULL ? e->title : NULL;
    pthread_mutex_unlock(&lock);
    return t;
}

/* Frees it, in the table or not. */
static void forget(Title *t) {
    pthread_mutex_lock(&lock);
    Entry *e = find(t->name, t->len);
    if (e != NULL && e->title == t) {
        e->title = NULL;
        drop_if_empty(t->name, t->len);
    }
    count_holder(t->pid, -1);
    pthread_mutex_unlock(&lock);
    free(t);
}

/* From the moment this returns nobody finds it, or its fence. True: it was not leaving before. */
static bool leave(Title *t) {
    pthread_mutex_lock(&lock);
    bool now = t->stage != TITLE_LEAVING;
    t->stage = TITLE_LEAVING;
    pthread_mutex_unlock(&lock);
    return now;
}

static void release(Title *t) {
    const Directory *d = directory_naming();
    if (d != NULL) d->release(t);
}

static bool expired(const Title *t) { return clock_now() >= t->deadline; }

void titles_won(Title *t, int64_t fence) {
    bool wanted = !t->cancelled && !expired(t) && alive(t->pid);
    pthread_mutex_lock(&lock);
    t->fence = fence;
    t->stage = wanted ? TITLE_HELD : TITLE_LEAVING;
    Entry *e = find(t->name, t->len);
    if (e != NULL && e->fence < fence) e->pid = 0;
    pthread_mutex_unlock(&lock);
    if (!wanted) {
        release(t);
        return;
    }
    log_format(LOG_DEBUG, "", "the cluster's name '%.*s' is ours, fence %lld", (int)t->len, t->name, (long long)fence);
    answer_claim(t, true, NULL);
}

void titles_refused(Title *t, const char *why) {
    if (!t->cancelled) answer_claim(t, false, why);
    forget(t);
}

void titles_unsure(Title *t, const char *why) {
    if (!t->cancelled) answer_claim(t, false, why);
    leave(t);
    release(t);
}

void titles_left(Title *t) { forget(t); }

void titles_lost(Title *t, const char *why) {
    leave(t);
    log_format(LOG_WARN, "", "the cluster's name '%.*s' is lost: %s", (int)t->len, t->name, why);
    tell_lost(t);
    forget(t);
}

void titles_lapse(const char *why) {
    Title *all = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < room; i++)
        for (Entry *e = buckets[i]; e != NULL; e = e->next)
            if (e->title != NULL) e->title->next = all, all = e->title;
    pthread_mutex_unlock(&lock);
    while (all != NULL) {
        Title *t = all;
        all = t->next;
        if (t->stage == TITLE_HELD) titles_lost(t, why);
        else if (t->stage == TITLE_CLAIMED) titles_refused(t, "unreachable");
        else forget(t);
    }
}

/* It is asked for, or waits until the name is free here, or another has it. */
static void take(Title *t) {
    const Directory *d = directory_naming();
    const char *why = d == NULL || !lease_good() ? "unreachable" : expired(t) ? "timeout" : NULL;
    bool busy = false;
    if (why == NULL) {
        pthread_mutex_lock(&lock);
        Entry *e = find_or_add(t->name, t->len);
        if (e == NULL) {
            why = "unreachable"; /* memory is short */
        } else if (e->title != NULL) {
            busy = e->title->stage == TITLE_LEAVING || !alive(e->title->pid);
            why = busy ? NULL : "taken";
        } else {
            e->title = t;
        }
        pthread_mutex_unlock(&lock);
    }
    if (why != NULL || t->cancelled) {
        titles_refused(t, why);
    } else if (busy) {
        t->next = waiting;
        waiting = t;
    } else {
        d->claim(t);
    }
}

static void take_job(void *title) { take(title); }

void titles_tick(void) {
    static uint64_t swept; /* clock_now */
    Title *list = waiting, *next;
    waiting = NULL;
    for (; list != NULL; list = next) {
        next = list->next;
        take(list);
    }
    uint64_t now = clock_now();
    if (now - swept < CLOCK_NS_PER_S) return;
    swept = now;
    MapPair p;
    uint32_t at = 0;
    for (bool more = true; more;) { /* those whose end could not be told, memory being short */
        pthread_mutex_lock(&lock);
        while ((more = map_next(&holders, &at, &p)) && alive(p.key)) {}
        pthread_mutex_unlock(&lock);
        if (more) titles_ended(p.key);
    }
}

/* ---- others', and views; on the loop's thread ---- */

void titles_learn(const char *name, size_t len, uint64_t pid, int64_t fence) {
    if (len == 0 || len > NAMES_TEXT_MAX) return;
    pthread_mutex_lock(&lock);
    Entry *e = find_or_add(name, len);
    if (e != NULL && (fence >= e->fence || e->pid == 0)) {
        e->pid = pid;
        e->fence = fence;
        e->seen = true;
    }
    Title *t = held(e) && e->title->fence < fence ? e->title : NULL;
    pthread_mutex_unlock(&lock);
    if (t != NULL) titles_lost(t, "another node has it");
}

void titles_forget(const char *name, size_t len, int64_t revision) {
    pthread_mutex_lock(&lock);
    Entry *e = find(name, len);
    Title *t = held(e) && e->title->fence < revision ? e->title : NULL;
    if (e != NULL && e->fence <= revision) e->pid = 0;
    drop_if_empty(name, len);
    pthread_mutex_unlock(&lock);
    if (t != NULL) titles_lost(t, "it was deleted in etcd");
}

void titles_begin_view(void) {
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < room; i++)
        for (Entry *e = buckets[i]; e != NULL; e = e->next) e->seen = false;
    pthread_mutex_unlock(&lock);
}

void titles_seen(Title *t) {
    pthread_mutex_lock(&lock);
    Entry *e = find(t->name, t->len);
    if (e != NULL) e->seen = true;
    pthread_mutex_unlock(&lock);
}

void titles_end_view(int64_t revision) {
    Title *lost = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < room; i++)
        for (Entry **at = &buckets[i], *e; (e = *at) != NULL;) {
            at = &e->next;
            if (e->seen) continue;
            if (e->fence <= revision) e->pid = 0;
            if (held(e) && e->title->fence <= revision) e->title->next = lost, lost = e->title;
            if (e->title != NULL || e->pid != 0) continue;
            for (at = &buckets[i]; *at != e; at = &(*at)->next) {}
            *at = e->next;
            count--;
            free(e);
        }
    pthread_mutex_unlock(&lock);
    while (lost != NULL) {
        Title *t = lost;
        lost = t->next;
        titles_lost(t, "it was deleted in etcd");
    }
}

void titles_close(void) {
    while (waiting != NULL) {
        Title *t = waiting;
        waiting = t->next;
        free(t);
    }
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < room; i++)
        for (Entry *e = buckets[i], *next; e != NULL; e = next) {
            next = e->next;
            free(e->title);
            free(e);
        }
    free(buckets);
    buckets = NULL;
    room = count = 0;
    map_clear(&holders);
    atomic_store_explicit(&holder_count, 0, memory_order_relaxed);
    pthread_mutex_unlock(&lock);
}

/* ---- what actors call ---- */

static Title *title_new(const char *name, size_t len) {
    Title *t = calloc(1, sizeof *t + len);
    if (t == NULL) return NULL;
    t->len = len;
    memcpy(t->name, name, len);
    return t;
}

int titles_claim(const char *name, size_t len, uint64_t pid, uint64_t ref, uint64_t deadline, bool hears) {
    if (directory_naming() == NULL) return UV_ENOTSUP;
    Title *t = title_new(name, len);
    if (t == NULL || secret_random(&t->claim, sizeof t->claim) < 0) {
        free(t);
        return UV_ENOMEM;
    }
    t->pid = pid;
    t->ref = ref;
    t->deadline = deadline;
    t->hears = hears;
    pthread_mutex_lock(&lock);
    int err = count_holder(pid, 1);
    pthread_mutex_unlock(&lock);
    if (err == 0 && (err = loop_submit(take_job, t)) == 0) return 0;
    pthread_mutex_lock(&lock);
    count_holder(pid, -1);
    pthread_mutex_unlock(&lock);
    free(t);
    return UV_ENOMEM;
}

/* A word about one of them, on its way to the loop. */
typedef struct Word {
    uint64_t pid, ref, deadline;
    size_t len;
    char name[];
} Word;

static int say(void (*job)(void *), const char *name, size_t len, uint64_t pid, uint64_t ref, uint64_t deadline) {
    Word *w = malloc(sizeof *w + len);
    if (w == NULL) return UV_ENOMEM;
    *w = (Word){pid, ref, deadline, len};
    if (len > 0) memcpy(w->name, name, len);
    int err = loop_submit(job, w);
    if (err < 0) free(w);
    return err;
}

static void cancel_job(void *word) {
    Word *w = word;
    Title *t = titles_at(w->name, w->len);
    for (Title *one = waiting; one != NULL; one = one->next) one->cancelled |= one->pid == w->pid && one->ref == w->ref;
    if (t != NULL && t->pid == w->pid && t->ref == w->ref) {
        t->cancelled = true;
        if (t->stage == TITLE_HELD && leave(t)) release(t);
    }
    free(w);
}

void titles_cancel(const char *name, size_t len, uint64_t pid, uint64_t ref) {
    if (say(cancel_job, name, len, pid, ref, 0) < 0)
        log_format(LOG_ERROR, "", "out of memory: a claim of a name of the cluster's could not be taken back");
}

static void release_job(void *word) {
    Word *w = word;
    Title *t = titles_at(w->name, w->len);
    if (t != NULL && t->pid == w->pid && t->stage == TITLE_LEAVING) release(t);
    free(w);
}

int titles_release(const char *name, size_t len, uint64_t pid) {
    if (directory_naming() == NULL) return UV_ENOTSUP;
    pthread_mutex_lock(&lock);
    Entry *e = find(name, len);
    bool ours = held(e) && e->title->pid == pid;
    if (ours) e->title->stage = TITLE_LEAVING;
    pthread_mutex_unlock(&lock);
    if (!ours) return UV_ENOENT;
    return say(release_job, name, len, pid, 0, 0);
}

/* Who has it, as far as we know; under the lock, and a good lease. 0: nobody. */
static uint64_t holder(const Entry *e, int64_t *fence) {
    if (e == NULL) return 0;
    *fence = held(e) ? e->title->fence : e->fence;
    return !held(e) ? e->pid : alive(e->title->pid) ? e->title->pid : 0;
}

int titles_find(const char *name, size_t len, uint64_t *pid, int64_t *fence) {
    if (directory_naming() == NULL) return UV_ENOTSUP;
    pthread_mutex_lock(&lock);
    bool known = lease_good();
    *pid = known ? holder(find(name, len), fence) : 0;
    pthread_mutex_unlock(&lock);
    return *pid != 0 ? 0 : known ? UV_ENOENT : UV_EHOSTUNREACH;
}

int titles_list(void (*each)(void *context, const char *name, size_t len, uint64_t pid, int64_t fence), void *context) {
    if (directory_naming() == NULL) return UV_ENOTSUP;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < room && lease_good(); i++)
        for (Entry *e = buckets[i]; e != NULL; e = e->next) {
            int64_t fence;
            uint64_t pid = holder(e, &fence);
            if (pid != 0) each(context, e->name, e->len, pid, fence);
        }
    pthread_mutex_unlock(&lock);
    return 0;
}

int64_t titles_fence(const char *name, size_t len, uint64_t pid) {
    pthread_mutex_lock(&lock);
    Entry *e = find(name, len);
    int64_t fence = held(e) && e->title->pid == pid && lease_good() ? e->title->fence : 0;
    pthread_mutex_unlock(&lock);
    return fence;
}

static void read_job(void *word) {
    Word *w = word;
    const Directory *d = directory_naming();
    if (d != NULL) d->read(w->name, w->len, w->pid, w->ref, w->deadline);
    free(w);
}

int titles_read(const char *name, size_t len, uint64_t asker, uint64_t ref, uint64_t deadline) {
    if (directory_naming() == NULL) return UV_ENOTSUP;
    return say(read_job, name, len, asker, ref, deadline) == 0 ? 0 : UV_ENOMEM;
}

static void ended_job(void *word) {
    Word *w = word;
    Title *gone = NULL;
    for (Title **at = &waiting, *t; (t = *at) != NULL;) {
        if (t->pid == w->pid) {
            *at = t->next;
            forget(t);
        } else {
            at = &t->next;
        }
    }
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < room; i++)
        for (Entry *e = buckets[i]; e != NULL; e = e->next)
            if (e->title != NULL && e->title->pid == w->pid) {
                e->title->cancelled = true;
                if (e->title->stage == TITLE_HELD) e->title->next = gone, gone = e->title;
            }
    pthread_mutex_unlock(&lock);
    while (gone != NULL) {
        Title *t = gone;
        gone = t->next;
        if (leave(t)) release(t);
    }
    free(w);
}

void titles_ended(uint64_t pid) {
    if (atomic_load_explicit(&holder_count, memory_order_relaxed) == 0) return;
    pthread_mutex_lock(&lock);
    bool had = map_get(&holders, pid, NULL);
    pthread_mutex_unlock(&lock);
    if (had) say(ended_job, NULL, 0, pid, 0, 0); /* else titles_tick finds out */
}
