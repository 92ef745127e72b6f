#include "net/members.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>
#include "ground/log.h"

/* Written under the lock, once each, with release; read without it. */
static _Atomic(Link *) links[PID_NODES];
static _Atomic uint32_t count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* also: who begins a session misses no announcement */
static char own_name[FRAME_NAME_MAX + 1];
static uint64_t own_incarnation;

int members_open(const char *name, uint64_t incarnation) {
    snprintf(own_name, sizeof own_name, "%s", name);
    own_incarnation = incarnation;
    pid_node_name = members_name;
    return 0;
}

void members_close(void) {
    uint32_t most = atomic_load_explicit(&count, memory_order_relaxed);
    for (uint32_t i = 1; i <= most; i++) {
        link_free(atomic_load_explicit(&links[i], memory_order_relaxed));
        atomic_store_explicit(&links[i], NULL, memory_order_relaxed);
    }
    atomic_store_explicit(&count, 0, memory_order_relaxed);
    pid_node_name = NULL;
}

Link *members_find(uint32_t node) { return atomic_load_explicit(&links[node], memory_order_acquire); }

uint32_t members_count(void) { return atomic_load_explicit(&count, memory_order_acquire); }

const char *members_name(uint32_t node) {
    Link *l = members_find(node);
    return node == 0 ? own_name : l != NULL ? link_name(l) : "nowhere";
}

static void announce(Link *to, Link *about) {
    const char *name = link_name(about);
    unsigned char payload[FRAME_NAME_MAX + 1];
    size_t len = strlen(name) + 1;
    memcpy(payload, name, len);
    link_tell(to, &(Record){.kind = RECORD_NODE, .name = link_index(about), .ref = link_incarnation(about),
                            .payload = payload, .size = len});
}

uint32_t members_meet(const char *name, uint64_t incarnation) {
    if (incarnation == own_incarnation && strcmp(name, own_name) == 0) return 0;
    pthread_mutex_lock(&lock);
    uint32_t most = atomic_load_explicit(&count, memory_order_relaxed), found = 0;
    for (uint32_t i = 1; i <= most && found == 0; i++) {
        Link *l = members_find(i);
        if (link_incarnation(l) == incarnation && strcmp(link_name(l), name) == 0) found = i;
    }
    Link *made = NULL;
    if (found == 0) {
        found = most + 1 < MEMBERS_NOWHERE ? most + 1 : MEMBERS_NOWHERE;
        if (found != MEMBERS_NOWHERE && (made = link_new(found, name, incarnation)) == NULL) found = MEMBERS_NOWHERE;
        if (found == MEMBERS_NOWHERE)
            log_format(LOG_ERROR, "", "node %s can't be reached: %s", name,
                       most + 1 < MEMBERS_NOWHERE ? "out of memory"
                                                  : "2046 nodes have come and gone, start this one anew");
    }
    if (made != NULL) {
        atomic_store_explicit(&links[found], made, memory_order_release);
        atomic_store_explicit(&count, found, memory_order_release);
        for (uint32_t i = 1; i < found; i++) announce(members_find(i), made);
    }
    pthread_mutex_unlock(&lock);
    return found;
}

void members_begin(Link *l, int fd, Tls *tls, uint64_t session, const Hello *theirs) {
    pthread_mutex_lock(&lock);
    link_begin(l, fd, tls, session, theirs);
    uint32_t most = atomic_load_explicit(&count, memory_order_relaxed);
    for (uint32_t i = 1; i <= most; i++) announce(l, members_find(i));
    pthread_mutex_unlock(&lock);
}
