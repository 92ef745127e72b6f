/* post.h - the one slot every message goes through: from actors, timers, sockets, the console, other nodes.
 *
 * Threads: from any. What cannot be delivered is never lost in silence: see post_refuse. */
#ifndef MAIL_POST_H
#define MAIL_POST_H
#include <stdbool.h>
#include "mail/message.h"
#include "mail/topic.h"

typedef struct PostCalls {
    void (*wake)(void *owner); /* the owner of a mailbox must be queued to run */
    int (*away)(Message *msg); /* to another node's actor: as post_send; NULL = there are no other nodes */
    /* post_chase; NULL = there are no other nodes */
    void (*chase)(uint64_t asker, uint64_t ref, uint32_t name, uint64_t whom);
} PostCalls;

void post_open(PostCalls calls); /* before anybody posts */

#define POST_DROPPED 2 /* taken, though for nothing */

/* Delivers msg to msg->to. 0: taken; MAILBOX_CROWDED: taken, too, see mail/mailbox.h. POST_DROPPED: taken, and a dead
 * letter already, since the mailbox is full and drops the newest. Else the caller still owns it: UV_ESRCH dead pid,
 * UV_ENOBUFS full mailbox, or way to another node; UV_EHOSTUNREACH another node's pid and no way there, UV_E2BIG it is
 * too large for that way. */
int post_send(Message *msg);

/* Delivers or refuses; takes msg whatever happens. */
void post_deliver(Message *msg);

/* Takes a list of messages that a mailbox lets go by its MailboxFull: counts them and, unless newer ones `replaced`
 * them, makes them dead letters. */
void post_drop(Message *list, bool replaced);

/* Takes a message that could not be delivered or answered, `why` a code of post_send, UV_ENOENT for no handler,
 * UV_ETIMEDOUT for an answer, or a request that waited, whose asker has given up: counts the dead letter, logs it (a
 * few a second, the rest as a number), tells the subscribers of dead letters, and lets the sender of a request, monitor
 * or link know. */
void post_refuse(Message *msg, int why);

/* From now on `on` hears of each dead letter, before post_refuse returns, on any thread, several at once: it may post
 * nothing. One watcher a process; NULL: none. What runs already is not waited for. */
void post_watch(void (*on)(const Message *msg, const char *reason));

/* A message to the subscribers of a topic, to which the caller adds the one value they get; NULL when memory is
 * short. Gives. */
Message *post_notice(Topic topic);
/* Sends it to each subscriber but `except` (0 = none); takes it. Nobody waits: a subscriber that is full does not get
 * it, which is counted; one that is dead is none any more. */
void post_notify(Topic topic, Message *notice, uint64_t except);

/* `asker` waits for the answer of `whom` to `ref`, a message named by that atom, and that one waits in turn for
 * somebody on another node: if that goes round in a circle, the asker is told (MESSAGE_CIRCLE), some time later. */
void post_chase(uint64_t asker, uint64_t ref, uint32_t name, uint64_t whom);

/* Answers the request `ref` of `asker` with an error object {code, message, actor, reason}. `code` "down", "full", ...;
 * `reason` may be NULL. */
void post_fail(uint64_t asker, uint64_t ref, uint64_t about, const char *code, const char *message, const char *reason);
#endif
