#include "net/http.h"

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>
#include "ground/json.h"
#include "run/loop.h"
/* these are macros, too, and we call what they call */
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

#define CONNECT_MS 2000

#define CURL(X) \
    X(curl_global_init) X(curl_global_cleanup) X(curl_easy_init) X(curl_easy_setopt) X(curl_easy_getinfo) \
    X(curl_easy_cleanup) X(curl_easy_strerror) X(curl_slist_append) X(curl_slist_free_all) X(curl_multi_init) \
    X(curl_multi_setopt) X(curl_multi_add_handle) X(curl_multi_remove_handle) X(curl_multi_socket_action) \
    X(curl_multi_info_read) X(curl_multi_assign) X(curl_multi_cleanup)

static struct {
#define X(name) __typeof__(&name) name;
    CURL(X)
#undef X
} lib;

struct HttpRequest {
    HttpRequest *next, **at;
    CURL *easy;
    HttpCalls calls;
    void *context;
    Text body;          /* of the answer */
    bool too_long;
    char why[CURL_ERROR_SIZE];
};

typedef struct Watched { /* a socket of curl's */
    uv_poll_t poll;
    curl_socket_t fd;
} Watched;

static CURLM *multi;
static struct curl_slist *headers;
static uv_timer_t timer;
static bool timing;       /* `timer` is open */
static HttpRequest *requests;
static char *ca, *cert, *key;
static char local[64];

int http_open(const HttpTls *tls, char *err, size_t err_size) {
    const char *files[] = {tls->ca, tls->cert, tls->key}, *const options[] = {"--etcd-ca", "--etcd-cert", "--etcd-key"};
    for (int i = 0; i < 3; i++)
        if (files[i] != NULL && access(files[i], R_OK) != 0) {
            int code = -errno;
            snprintf(err, err_size, "%s %.300s: %s", options[i], files[i], uv_strerror(code));
            return code;
        }
    if ((tls->cert == NULL) != (tls->key == NULL)) {
        snprintf(err, err_size, "--etcd-cert and --etcd-key: both, or neither");
        return UV_EINVAL;
    }
    void *so = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL); /* stays: it has registered things of its own at exit */
    const char *missing = so == NULL ? dlerror() : NULL;
#define X(name) \
    if (missing == NULL && (*(void **)&lib.name = dlsym(so, #name)) == NULL) missing = "it lacks " #name;
    CURL(X)
#undef X
    if (missing == NULL && lib.curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) missing = "it can't be initialized";
    if (missing != NULL) {
        snprintf(err, err_size, "--etcd needs libcurl.so.4 (Debian: libcurl4): %.120s", missing);
        return UV_ENOENT;
    }
    ca = tls->ca != NULL ? strdup(tls->ca) : NULL;
    cert = tls->cert != NULL ? strdup(tls->cert) : NULL;
    key = tls->key != NULL ? strdup(tls->key) : NULL;
    return 0;
}

const char *http_local(void) { return local; }

/* ---- ends ---- */

static void drop(HttpRequest *r) {
    *r->at = r->next;
    if (r->next != NULL) r->next->at = r->at;
    lib.curl_multi_remove_handle(multi, r->easy);
    lib.curl_easy_cleanup(r->easy);
    text_free(&r->body);
    free(r);
}

void http_cancel(HttpRequest *r) { drop(r); }

static int error_of(const HttpRequest *r, CURLcode code) {
    switch (code) {
    case CURLE_OK: return 0;
    case CURLE_OPERATION_TIMEDOUT: return UV_ETIMEDOUT;
    case CURLE_OUT_OF_MEMORY: return UV_ENOMEM;
    case CURLE_WRITE_ERROR: return r->body.failed ? UV_ENOMEM : UV_EPROTO;
    default: return UV_ECONNREFUSED;
    }
}

static void finished(HttpRequest *r, CURLcode code) {
    long status = 0;
    char *ip = NULL, why[HTTP_WHY] = "";
    int err = error_of(r, code);
    lib.curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    if (err == 0 && lib.curl_easy_getinfo(r->easy, CURLINFO_LOCAL_IP, &ip) == CURLE_OK && ip != NULL && *ip != '\0')
        snprintf(local, sizeof local, "%s", ip);
    if (err != 0)
        snprintf(why, sizeof why, "%s", r->too_long ? "its answer is too long"
                                        : r->why[0] != '\0' ? r->why : lib.curl_easy_strerror(code));
    HttpCalls calls = r->calls;
    void *context = r->context;
    Text body = r->body;
    r->body = (Text){0};
    drop(r); /* first: `done` may close all */
    calls.done(context, err, why, (int)status, body.bytes, body.len);
    text_free(&body);
}

static void take_ends(void) {
    CURLMsg *msg;
    int left;
    while (multi != NULL && (msg = lib.curl_multi_info_read(multi, &left)) != NULL) {
        char *r = NULL;
        CURLcode code = msg->data.result;
        if (msg->msg != CURLMSG_DONE) continue;
        lib.curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &r);
        finished((HttpRequest *)(void *)r, code);
    }
}

/* ---- what curl wants of the loop ---- */

static void act(curl_socket_t fd, int events) {
    int running;
    if (multi == NULL) return;
    lib.curl_multi_socket_action(multi, fd, events, &running);
    take_ends();
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    Watched *w = poll->data;
    int what = status < 0 ? CURL_CSELECT_ERR : 0;
    if (events & UV_READABLE) what |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE) what |= CURL_CSELECT_OUT;
    act(w->fd, what);
}

static void on_timer(uv_timer_t *t) {
    (void)t;
    act(CURL_SOCKET_TIMEOUT, 0);
}

static void unwatched(uv_handle_t *handle) { free(handle->data); }

static int socket_wanted(CURL *easy, curl_socket_t fd, int what, void *unused, void *watched) {
    (void)easy, (void)unused;
    Watched *w = watched;
    if (what == CURL_POLL_REMOVE) {
        if (w == NULL) return 0;
        uv_poll_stop(&w->poll);
        lib.curl_multi_assign(multi, fd, NULL);
        uv_close((uv_handle_t *)&w->poll, unwatched);
        return 0;
    }
    if (w == NULL) {
        if ((w = calloc(1, sizeof *w)) == NULL) return -1;
        w->fd = fd;
        w->poll.data = w;
        if (uv_poll_init_socket(loop_uv(), &w->poll, fd) < 0) {
            free(w);
            return -1;
        }
        lib.curl_multi_assign(multi, fd, w);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    uv_poll_start(&w->poll, events, on_poll);
    return 0;
}

static int timer_wanted(CURLM *m, long ms, void *unused) {
    (void)m, (void)unused;
    if (ms < 0) uv_timer_stop(&timer);
    else uv_timer_start(&timer, on_timer, (uint64_t)ms, 0);
    return 0;
}

static bool open_multi(void) {
    if (multi != NULL) return true;
    if (!timing) {
        uv_timer_init(loop_uv(), &timer);
        timing = true;
    }
    multi = lib.curl_multi_init();
    headers = multi != NULL ? lib.curl_slist_append(NULL, "Content-Type: application/json") : NULL;
    struct curl_slist *more = headers != NULL ? lib.curl_slist_append(headers, "Expect:") : NULL;
    if (more == NULL) {
        lib.curl_slist_free_all(headers);
        headers = NULL;
        if (multi != NULL) lib.curl_multi_cleanup(multi);
        multi = NULL;
        return false;
    }
    lib.curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, socket_wanted);
    lib.curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, timer_wanted);
    return true;
}

/* ---- requests ---- */

static size_t came(char *bytes, size_t one, size_t len, void *request) {
    HttpRequest *r = request;
    (void)one; /* it is 1 */
    if (r->calls.some != NULL) return r->calls.some(r->context, bytes, len) ? len : 0;
    r->too_long = r->body.len + len > HTTP_MOST;
    if (r->too_long) return 0;
    text_put(&r->body, bytes, len);
    return r->body.failed ? 0 : len;
}

HttpRequest *http_post(const char *url, const char *body, size_t len, uint64_t timeout_ms, HttpCalls calls,
                       void *context) {
    HttpRequest *r = open_multi() ? calloc(1, sizeof *r) : NULL;
    if (r == NULL || (r->easy = lib.curl_easy_init()) == NULL) {
        free(r);
        return NULL;
    }
    CURL *e = r->easy;
    r->calls = calls;
    r->context = context;
    lib.curl_easy_setopt(e, CURLOPT_PRIVATE, r);
    lib.curl_easy_setopt(e, CURLOPT_URL, url);
    lib.curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
    lib.curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, (long)len);
    CURLcode kept = lib.curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, body);
    lib.curl_easy_setopt(e, CURLOPT_ERRORBUFFER, r->why);
    lib.curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, came);
    lib.curl_easy_setopt(e, CURLOPT_WRITEDATA, r);
    lib.curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    lib.curl_easy_setopt(e, CURLOPT_PROXY, ""); /* whatever http_proxy says: that is for people's browsing */
    lib.curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    lib.curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
                         (long)(timeout_ms == 0 || timeout_ms > CONNECT_MS ? CONNECT_MS : timeout_ms));
    lib.curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    lib.curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    if (ca != NULL) lib.curl_easy_setopt(e, CURLOPT_CAINFO, ca);
    if (cert != NULL) lib.curl_easy_setopt(e, CURLOPT_SSLCERT, cert);
    if (key != NULL) lib.curl_easy_setopt(e, CURLOPT_SSLKEY, key);
    r->next = requests;
    r->at = &requests;
    if (requests != NULL) requests->at = &r->next;
    requests = r;
    if (kept == CURLE_OK && lib.curl_multi_add_handle(multi, e) == CURLM_OK) return r;
    drop(r);
    return NULL;
}

void http_close(void) {
    while (requests != NULL) drop(requests);
    if (multi != NULL) {
        CURLM *m = multi;
        lib.curl_multi_cleanup(m); /* closes its sockets, by socket_wanted */
        multi = NULL;
        lib.curl_slist_free_all(headers);
        headers = NULL;
    }
    if (timing) uv_close((uv_handle_t *)&timer, NULL);
    timing = false;
    if (lib.curl_global_cleanup != NULL) lib.curl_global_cleanup();
    free(ca);
    free(cert);
    free(key);
    ca = cert = key = NULL;
}
