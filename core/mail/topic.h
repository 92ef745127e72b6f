/* topic.h - what happens on the node and actors may want to hear of, and who does: see post_notify.
 * Threads: from any; a lock inside, but for topic_wanted. A subscriber that died stays on the list until somebody
 * would tell it, or its place is wanted. */
#ifndef MAIL_TOPIC_H
#define MAIL_TOPIC_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    TOPIC_DEAD_LETTER, /* on_dead_letter */
    TOPIC_CRASH,       /* on_crash */
    TOPIC_NODE,        /* on_node */
    TOPICS
} Topic;

#define TOPIC_SUBSCRIBERS_MAX 64

const char *topic_name(Topic topic); /* of the message its subscribers get */

int    topic_subscribe(Topic topic, uint64_t pid);   /* 0, also if it was; UV_ESRCH it is dead; UV_EAGAIN too many */
int    topic_unsubscribe(Topic topic, uint64_t pid); /* 0; UV_ENOENT */
bool   topic_wanted(Topic topic);                    /* may there be subscribers? cheap: ask before making a notice */
bool   topic_has(Topic topic, uint64_t pid);
size_t topic_subscribers(Topic topic, uint64_t out[TOPIC_SUBSCRIBERS_MAX]); /* how many */
#endif
