#include "net/etcd.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/log.h"
#include "net/address.h"
#include "net/kv.h"

#define ENDPOINTS_MOST 16
#define ROUND_MS 200 /* between two rounds over all endpoints */
#define LINE_MOST ((size_t)16 << 20)
#define WHY 512

enum { GRPC_DEADLINE = 4, GRPC_NOT_FOUND = 5, GRPC_UNAVAILABLE = 14 }; /* codes of errors */

typedef struct Ask {
    struct Ask *next, **at;
    HttpRequest *request; /* NULL: it waits for `again`, or has just begun */
    unsigned endpoint, tries;
    uint64_t until, again; /* clock_real */
    const char *path;      /* a constant */
    Text body;
    EtcdDone done;
    void *context;
} Ask;

static char *endpoints[ENDPOINTS_MOST];
static unsigned count, current;
static uint64_t patience;
static Ask *asks;
static unsigned failures; /* one after the other */
static bool away;
static char trouble[WHY];

static struct {
    HttpRequest *request;
    unsigned endpoint;
    Text line; /* the message that is not whole yet */
    EtcdWatch calls;
    void *context;
    bool ending; /* from within its own stream: see etcd_tick */
} watch;

/* ---- endpoints ---- */

static bool good_url(const char *url, char out[ADDRESS_TEXT + 16]) {
    char host[ADDRESS_TEXT], address[ADDRESS_TEXT];
    int port;
    const char *rest = strncmp(url, "http://", 7) == 0 ? url + 7 : strncmp(url, "https://", 8) == 0 ? url + 8 : NULL;
    if (rest == NULL || strlen(rest) >= sizeof address) return false;
    snprintf(address, sizeof address, "%s", rest);
    size_t len = strlen(address);
    if (len > 0 && address[len - 1] == '/') address[len - 1] = '\0';
    if (strpbrk(address, "/@?# ") != NULL || !address_split(address, host, &port) || port == 0) return false;
    snprintf(out, ADDRESS_TEXT + 16, "%.*s%s", (int)(rest - url), url, address);
    return true;
}

int etcd_open(const char *urls, const HttpTls *tls, uint64_t patience_ms, char *err, size_t err_size) {
    char *all = strdup(urls), *rest = all, *url, good[ADDRESS_TEXT + 16];
    int code = all != NULL ? 0 : UV_ENOMEM;
    patience = patience_ms;
    while (code == 0 && (url = strsep(&rest, ",")) != NULL) {
        if (!good_url(url, good) || count == ENDPOINTS_MOST) {
            code = UV_EINVAL;
            snprintf(err, err_size, count == ENDPOINTS_MOST
                         ? "--etcd %.200s: more than 16 endpoints"
                         : "--etcd %.200s: http://HOST:PORT[,http://HOST:PORT], such as http://127.0.0.1:2379", url);
        } else if ((endpoints[count] = strdup(good)) != NULL) {
            count++;
        } else {
            code = UV_ENOMEM;
        }
    }
    free(all);
    if (code == 0) code = http_open(tls, err, err_size);
    if (code == UV_ENOMEM) snprintf(err, err_size, "--etcd: out of memory");
    return code;
}

int etcd_is_away(void) { return away; }
const char *etcd_trouble(void) { return trouble; }

static void lose_watch(int err, const char *why);

static void failed(unsigned endpoint, const char *why) {
    snprintf(trouble, sizeof trouble, "%s: %.200s", endpoints[endpoint], why);
    if (++failures >= count && !away) {
        away = true;
        log_format(LOG_WARN, "", "etcd does not answer (%s): tried again and again; what is joined goes on", trouble);
    }
    if (endpoint != current) return;
    current = (current + 1) % count;
    if (watch.request != NULL && watch.endpoint == endpoint && count > 1) lose_watch(UV_ECONNREFUSED, why);
}

static void answered(unsigned endpoint) {
    bool back = away;
    away = false;
    failures = 0;
    if (!back) return;
    log_format(LOG_INFO, "", "etcd answers: %s", endpoints[endpoint]);
    /* Its connection may be one that nobody knows of any more. */
    if (watch.request != NULL) lose_watch(UV_ECONNREFUSED, "etcd was away");
}

/* ---- questions ---- */

static void try(Ask *a);

static void finish(Ask *a, int err, const char *why, const Json *answer) {
    *a->at = a->next;
    if (a->next != NULL) a->next->at = a->at;
    a->done(a->context, err, why, answer);
    text_free(&a->body);
    free(a);
}

/* That endpoint was no good: the next, at once, until all were tried. */
static void again(Ask *a) {
    uint64_t now = clock_real();
    if (now >= a->until) {
        finish(a, UV_ETIMEDOUT, trouble, NULL);
        return;
    }
    a->again = ++a->tries % count == 0 ? now + ROUND_MS * CLOCK_NS_PER_MS : now;
}

/* Whatever it is: one line, printable. */
static void one_line(char *out, size_t size, const char *words, size_t len) {
    size_t n = len < size - 1 ? len : size - 1;
    for (size_t i = 0; i < n; i++) out[i] = words[i] >= ' ' && words[i] < 127 ? words[i] : '?';
    out[n] = '\0';
}

static void came(void *context, int err, const char *why, int status, char *body, size_t len) {
    Ask *a = context;
    Json *answer = NULL;
    const char *words, *bad;
    size_t words_len;
    char said[HTTP_WHY];
    a->request = NULL;
    if (err == UV_ENOMEM) {
        finish(a, err, why, NULL);
        return;
    }
    if (err < 0) {
        failed(a->endpoint, why);
        again(a);
        return;
    }
    if (body == NULL || json_parse(body, len, &answer, &bad) < 0) {
        snprintf(said, sizeof said, "no etcd with its JSON gateway (/v3) answers there, HTTP status %d", status);
        failed(a->endpoint, said);
        again(a);
        return;
    }
    int code = kv_error(answer, &words, &words_len);
    if (code != 0) one_line(said, sizeof said, words, words_len);
    if (code == GRPC_UNAVAILABLE || code == GRPC_DEADLINE || (code == 0 && status != 200)) {
        if (code == 0) snprintf(said, sizeof said, "HTTP status %d", status);
        failed(a->endpoint, said);
        again(a);
    } else {
        answered(a->endpoint);
        finish(a, code == 0 ? 0 : code == GRPC_NOT_FOUND ? UV_ENOENT : UV_EPROTO, code == 0 ? "" : said,
               code == 0 ? answer : NULL);
    }
    free(answer);
}

static void try(Ask *a) {
    char url[ADDRESS_TEXT + 64];
    uint64_t now = clock_real(), ms = now < a->until ? (a->until - now) / CLOCK_NS_PER_MS + 1 : 1;
    a->endpoint = current;
    snprintf(url, sizeof url, "%s%s", endpoints[current], a->path);
    a->request = http_post(url, a->body.bytes, a->body.len, ms < patience ? ms : patience,
                           (HttpCalls){NULL, came}, a);
    if (a->request == NULL) finish(a, UV_ENOMEM, "out of memory", NULL);
}

void etcd_ask(const char *path, Text *body, uint64_t total_ms, EtcdDone done, void *context) {
    Ask *a = body->failed ? NULL : calloc(1, sizeof *a);
    if (a == NULL) {
        text_free(body);
        done(context, UV_ENOMEM, "out of memory", NULL);
        return;
    }
    uint64_t now = clock_real();
    *a = (Ask){.next = asks, .at = &asks, .until = now + total_ms * CLOCK_NS_PER_MS, .path = path, .body = *body,
               .done = done, .context = context};
    *body = (Text){0};
    if (asks != NULL) asks->at = &a->next;
    asks = a;
    try(a);
}

/* ---- the watch ---- */

static void stop_watch(void) {
    if (watch.request != NULL) http_cancel(watch.request);
    watch.request = NULL;
    watch.ending = false;
    text_free(&watch.line);
}

void etcd_unwatch(void) { stop_watch(); }

static void lose_watch(int err, const char *why) {
    EtcdWatch calls = watch.calls;
    void *context = watch.context;
    stop_watch();
    calls.over(context, err, why);
}

static bool line_came(char *line, size_t len) {
    Json *v;
    const char *words;
    size_t words_len;
    if (len == 0) return true;
    if (json_parse(line, len, &v, &words) < 0) return false;
    const Json *result = json_get(v, "result");
    bool good = kv_error(v, &words, &words_len) == 0 && result != NULL;
    if (good) watch.calls.answer(watch.context, result);
    free(v);
    return good;
}

static bool stream_came(void *unused, const char *bytes, size_t len) {
    (void)unused;
    while (len > 0) {
        const char *end = memchr(bytes, '\n', len);
        size_t n = end != NULL ? (size_t)(end - bytes) : len;
        if (watch.line.len + n > LINE_MOST) return false;
        text_put(&watch.line, bytes, n);
        if (watch.line.failed) return false;
        if (end == NULL) return true;
        bool good = line_came(watch.line.bytes, watch.line.len);
        watch.line.len = 0;
        if (!good) return false; /* the stream ends, and the watch with it */
        bytes += n + 1;
        len -= n + 1;
    }
    return true;
}

static void stream_over(void *unused, int err, const char *why, int status, char *body, size_t len) {
    (void)unused, (void)body, (void)len;
    char said[HTTP_WHY];
    unsigned endpoint = watch.endpoint;
    watch.request = NULL;
    if (err == 0) snprintf(said, sizeof said, "the watch ended, HTTP status %d", status);
    if (err != 0 && err != UV_EPROTO) failed(endpoint, why);
    lose_watch(err, err == 0 ? said : why);
}

void etcd_watch(Text *body, EtcdWatch calls, void *context) {
    char url[ADDRESS_TEXT + 64];
    stop_watch();
    watch.endpoint = current;
    watch.calls = calls;
    watch.context = context;
    snprintf(url, sizeof url, "%s/v3/watch", endpoints[current]);
    watch.request = body->failed ? NULL
                                 : http_post(url, body->bytes, body->len, 0, (HttpCalls){stream_came, stream_over},
                                             NULL);
    text_free(body);
    watch.ending = watch.request == NULL; /* etcd_tick says so */
}

/* ---- time ---- */

void etcd_tick(void) {
    uint64_t now = clock_real();
    if (watch.ending) lose_watch(UV_ENOMEM, "out of memory");
    for (Ask *a = asks, *next; a != NULL; a = next) {
        next = a->next; /* what is asked meanwhile stands before it */
        if (a->request == NULL && now >= a->again) try(a);
    }
}

void etcd_close(void) {
    stop_watch();
    while (asks != NULL) {
        Ask *a = asks;
        asks = a->next;
        if (a->request != NULL) http_cancel(a->request);
        text_free(&a->body);
        free(a);
    }
    http_close();
    for (unsigned i = 0; i < count; i++) free(endpoints[i]);
    count = current = 0;
}
