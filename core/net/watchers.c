#include "net/watchers.h"

#include <pthread.h>
#include <string.h>
#include "ground/log.h"
#include "mail/payload.h"
#include "mail/post.h"
#include "net/members.h"

/* Guards which nodes are told to be up, by number: so that who subscribes meanwhile hears of each once. */
static pthread_mutex_t watching = PTHREAD_MUTEX_INITIALIZER;
static bool told_up[PID_NODES];

static Message *notice_of(const char *node, const char *state) {
    Message *msg = post_notice(TOPIC_NODE);
    if (msg != NULL && payload_put_string(&msg, node, strlen(node)) == 0 &&
        payload_put_string(&msg, state, strlen(state)) == 0)
        return msg;
    message_free(msg);
    log_format(LOG_ERROR, "", "out of memory: nobody was told that node %s is %s", node, state);
    return NULL;
}

void watchers_up(const Link *l) {
    pthread_mutex_lock(&watching);
    told_up[link_index(l)] = true;
    Message *msg = topic_wanted(TOPIC_NODE) ? notice_of(link_name(l), "up") : NULL;
    if (msg != NULL) post_notify(TOPIC_NODE, msg, 0);
    pthread_mutex_unlock(&watching);
}

void watchers_down(const Link *l, uint64_t lost) {
    pthread_mutex_lock(&watching);
    told_up[link_index(l)] = false;
    Message *msg = topic_wanted(TOPIC_NODE) ? notice_of(link_name(l), "down") : NULL;
    if (msg != NULL) payload_put_integer(&msg, (int64_t)lost); /* without memory they hear the rest */
    if (msg != NULL) post_notify(TOPIC_NODE, msg, 0);
    pthread_mutex_unlock(&watching);
}

int watchers_add(uint64_t pid) {
    uint32_t most = members_count();
    pthread_mutex_lock(&watching);
    bool had = topic_has(TOPIC_NODE, pid);
    int err = topic_subscribe(TOPIC_NODE, pid);
    for (uint32_t i = 1; i <= most && err == 0 && !had; i++) {
        Message *msg = told_up[i] ? notice_of(link_name(members_find(i)), "up") : NULL;
        if (msg == NULL) continue;
        msg->to = pid;
        post_deliver(msg);
    }
    pthread_mutex_unlock(&watching);
    return err;
}
