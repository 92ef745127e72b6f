#include "mail/topic.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <uv.h>
#include "mail/registry.h"

typedef struct Subscribers {
    pthread_mutex_t lock; /* guards the rest, but for looks at `count` */
    _Atomic size_t count; /* relaxed: who looks without the lock sees a moment's view */
    uint64_t pids[TOPIC_SUBSCRIBERS_MAX];
} Subscribers;

static Subscribers topics[TOPICS] = {[0 ... TOPICS - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

static size_t count_of(Subscribers *s) { return atomic_load_explicit(&s->count, memory_order_relaxed); }
static void set_count(Subscribers *s, size_t count) { atomic_store_explicit(&s->count, count, memory_order_relaxed); }

const char *topic_name(Topic topic) {
    return topic == TOPIC_NODE ? "node" : topic == TOPIC_CRASH ? "crash" : "dead_letter";
}

/* Its place, or the count. Under the lock. */
static size_t place(Subscribers *s, uint64_t pid) {
    size_t i = 0;
    while (i < count_of(s) && s->pids[i] != pid) i++;
    return i;
}

static void drop_dead(Subscribers *s) {
    size_t kept = 0;
    for (size_t i = 0; i < count_of(s); i++)
        if (registry_find(s->pids[i]) != NULL) s->pids[kept++] = s->pids[i];
    set_count(s, kept);
}

int topic_subscribe(Topic topic, uint64_t pid) {
    Subscribers *s = &topics[topic];
    int err = 0;
    if (registry_find(pid) == NULL) return UV_ESRCH;
    pthread_mutex_lock(&s->lock);
    if (place(s, pid) == count_of(s)) {
        if (count_of(s) == TOPIC_SUBSCRIBERS_MAX) drop_dead(s);
        if (count_of(s) == TOPIC_SUBSCRIBERS_MAX) {
            err = UV_EAGAIN;
        } else {
            s->pids[count_of(s)] = pid;
            set_count(s, count_of(s) + 1);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}

int topic_unsubscribe(Topic topic, uint64_t pid) {
    Subscribers *s = &topics[topic];
    pthread_mutex_lock(&s->lock);
    size_t i = place(s, pid), count = count_of(s);
    bool found = i < count;
    if (found) {
        memmove(&s->pids[i], &s->pids[i + 1], (count - i - 1) * sizeof s->pids[0]); /* their order stays */
        set_count(s, count - 1);
    }
    pthread_mutex_unlock(&s->lock);
    return found ? 0 : UV_ENOENT;
}

bool topic_wanted(Topic topic) { return count_of(&topics[topic]) > 0; }

bool topic_has(Topic topic, uint64_t pid) {
    Subscribers *s = &topics[topic];
    pthread_mutex_lock(&s->lock);
    bool found = place(s, pid) < count_of(s);
    pthread_mutex_unlock(&s->lock);
    return found;
}

size_t topic_subscribers(Topic topic, uint64_t out[TOPIC_SUBSCRIBERS_MAX]) {
    Subscribers *s = &topics[topic];
    pthread_mutex_lock(&s->lock);
    size_t count = count_of(s);
    memcpy(out, s->pids, count * sizeof s->pids[0]);
    pthread_mutex_unlock(&s->lock);
    return count;
}
