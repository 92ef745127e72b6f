/* http.h - requests over HTTP, on the loop: libcurl's multi interface, its sockets polled by libuv.
 *
 * libcurl is loaded by http_open, and not before: who does not use it does not pay for it, nor need it.
 * What comes back is bytes from outside: an answer longer than HTTP_MOST ends the request.
 * Threads: http_open from the one that builds the node; the rest from the loop's alone. */
#ifndef NET_HTTP_H
#define NET_HTTP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_MOST ((size_t)16 << 20)
#define HTTP_WHY 256

typedef struct HttpTls { /* files, or NULL: for https */
    const char *ca, *cert, *key;
} HttpTls;

typedef struct HttpRequest HttpRequest;

typedef struct HttpCalls {
    /* A stream's bytes as they come; false: enough, `done` comes with UV_EPROTO. NULL: they are gathered for `done`. */
    bool (*some)(void *context, const char *bytes, size_t len);
    /* Once, unless it is cancelled. err 0: `status` and the body, which may be written to until this returns. Else
     * UV_ETIMEDOUT, UV_ECONNREFUSED for all that keeps us from the server, UV_EPROTO, UV_ENOMEM, and `why` in words. */
    void (*done)(void *context, int err, const char *why, int status, char *body, size_t len);
} HttpCalls;

/* 0, or a negative libuv error with one line in err: libcurl is missing, or a file of `tls`, which is copied. */
int  http_open(const HttpTls *tls, char *err, size_t err_size);
/* Posts JSON; copies both texts. timeout_ms bounds all of it, 0: only the connecting, for streams. NULL: no memory. */
HttpRequest *http_post(const char *url, const char *body, size_t len, uint64_t timeout_ms, HttpCalls calls,
                       void *context);
void http_cancel(HttpRequest *r);       /* `done` is not called any more; not from within `some` */
/* The address of ours by which the server of the last request that was answered is reached; "" = none was. */
const char *http_local(void);
void http_close(void);                  /* what runs is cancelled */
#endif
