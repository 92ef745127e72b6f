/* etcd.h - talking to etcd 3.4 and later by its JSON gateway (/v3/...): questions with an answer, and one watch.
 *
 * There may be several endpoints of one etcd. One is asked; when it does not answer, or can't, the next is, with the
 * same question: so whatever is asked must come to the same when it is asked twice (roster.c sees to that). That etcd
 * is away, and that it is back, is logged, once each.
 * Threads: etcd_open from the one that builds the node; the rest from the loop's alone. */
#ifndef NET_ETCD_H
#define NET_ETCD_H
#include <stddef.h>
#include <stdint.h>
#include "ground/json.h"
#include "net/http.h"

/* err 0: the answer, lent. UV_ETIMEDOUT: none in time, and what was asked may have happened or not. UV_ENOENT: etcd
 * says that there is no such thing; UV_EPROTO: it says another error, `why`; UV_ENOMEM. */
typedef void (*EtcdDone)(void *context, int err, const char *why, const Json *answer);

/* http://HOST:PORT[,...], or https. A negative libuv error with one line in err. `patience_ms` is how long one endpoint
 * has for an answer. */
int  etcd_open(const char *urls, const HttpTls *tls, uint64_t patience_ms, char *err, size_t err_size);
/* Takes what `body` holds. Asks until total_ms are over; always calls `done`, and before it
 * returns only when memory is short. */
void etcd_ask(const char *path, Text *body, uint64_t total_ms, EtcdDone done, void *context);
typedef struct EtcdWatch {
    void (*answer)(void *context, const Json *result); /* one message of the stream */
    /* It broke, or its endpoint did: watch anew. UV_EPROTO: what it sent made no sense. */
    void (*over)(void *context, int err, const char *why);
} EtcdWatch;
void etcd_watch(Text *body, EtcdWatch calls, void *context); /* takes; one at a time: one before is ended, silently */
void etcd_unwatch(void);
void etcd_tick(void); /* often: what waits for another try */
int  etcd_is_away(void); /* all endpoints were tried, and none has answered since */
const char *etcd_trouble(void); /* the last one, in words: URL and why */
void etcd_close(void); /* without a word to who still waits for an answer */
#endif
