#include "net/tls.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <uv.h>
#include "ground/log.h"
#include "net/credentials.h"

#define FILES 3
#define OUT_ROOM (TLS_BATCH + 16384) /* a batch with what its records add; or a handshake's certificates */
#define REKEY_RECORDS (1u << 22)     /* RFC 8446, 5.5: AES-GCM is good for 2^24.5 records of 16 KB */
#define WARN_DAYS 30                 /* before our certificate expires */

struct TlsContext { /* the loop's thread, after tls_open */
    TlsOptions options;
    SSL_CTX *ctx;
    struct stat seen[FILES]; /* the files as they were when they were read, or found wanting */
};

struct Tls {
    int fd;
    bool dialed;
    bool ready, ended, failed, told; /* the loop's thread alone */
    char fault[TLS_WHY];             /* the same */
    pthread_mutex_t lock; /* guards all up to `records` */
    SSL *ssl;
    const unsigned char *in; /* what OpenSSL is to open; set within tls_take */
    size_t in_len;
    size_t out_len;         /* bytes of `out`: whoever has the lock appends */
    uint64_t records, rekey;
    size_t out_at, owed;    /* the writer's: how much of it is sent; how many plain bytes it stands for */
    unsigned char out[OUT_ROOM]; /* in front of out_len: the writer's */
};

/* ---- between OpenSSL and our buffers; under the lock ---- */

static int on_read(BIO *bio, char *to, int len) {
    Tls *t = openssl.BIO_get_data(bio);
    openssl.BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    size_t n = t->in_len < (size_t)len ? t->in_len : (size_t)len;
    if (n == 0) {
        openssl.BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
        return -1;
    }
    memcpy(to, t->in, n);
    t->in += n;
    t->in_len -= n;
    return (int)n;
}

/* Full: only somebody who answers nothing but asks for new keys gets us there. The connection ends. */
static int on_write(BIO *bio, const char *from, int len) {
    Tls *t = openssl.BIO_get_data(bio);
    if (len < 0 || (size_t)len > OUT_ROOM - t->out_len) return -1;
    memcpy(t->out + t->out_len, from, (size_t)len);
    t->out_len += (size_t)len;
    return len;
}

static long on_ctrl(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

/* Ours for the life of the process; made by the first tls_open. */
static BIO_METHOD *our_method(void) {
    static BIO_METHOD *method;
    if (method != NULL) return method;
    if ((method = openssl.BIO_meth_new(BIO_TYPE_SOURCE_SINK | 0x7f, "throng")) == NULL) return NULL;
    openssl.BIO_meth_set_read(method, on_read);
    openssl.BIO_meth_set_write(method, on_write);
    openssl.BIO_meth_set_ctrl(method, on_ctrl);
    return method;
}

/* ---- what this node shows and believes ---- */

static void look_at_files(const TlsContext *c, struct stat now[FILES]) {
    const char *paths[FILES] = {c->options.cert, c->options.key, c->options.ca};
    memset(now, 0, FILES * sizeof *now);
    for (int i = 0; i < FILES; i++)
        if (stat(paths[i], &now[i]) < 0) memset(&now[i], 0, sizeof now[i]);
}

static bool same_files(const struct stat a[FILES], const struct stat b[FILES]) {
    for (int i = 0; i < FILES; i++)
        if (a[i].st_ino != b[i].st_ino || a[i].st_dev != b[i].st_dev || a[i].st_size != b[i].st_size ||
            a[i].st_mode != b[i].st_mode || a[i].st_uid != b[i].st_uid ||
            a[i].st_mtim.tv_sec != b[i].st_mtim.tv_sec || a[i].st_mtim.tv_nsec != b[i].st_mtim.tv_nsec)
            return false;
    return true;
}

/* Looks at the files first: what changes while they are read is seen the next time. */
static int load(TlsContext *c, SSL_CTX **out, char *err, size_t err_size) {
    const TlsOptions *o = &c->options;
    int64_t expires;
    look_at_files(c, c->seen);
    int code = credentials_load(o->cert, o->key, o->ca, o->name, out, &expires, err, err_size);
    int64_t left = expires - (int64_t)time(NULL);
    if (code == 0 && left < WARN_DAYS * 86400)
        log_format(LOG_WARN, "", "--tls-cert %s expires in %lld days: other nodes will refuse us then", o->cert,
                   (long long)(left / 86400));
    return code;
}

int tls_open(const TlsOptions *options, TlsContext **out, char *err, size_t err_size) {
    int code = openssl_load(err, err_size);
    if (code < 0) return code;
    TlsContext *c = calloc(1, sizeof *c);
    if (c == NULL || our_method() == NULL) {
        free(c);
        snprintf(err, err_size, "TLS: out of memory");
        return UV_ENOMEM;
    }
    c->options = *options;
    if ((code = load(c, &c->ctx, err, err_size)) < 0) {
        tls_close(c);
        return code;
    }
    *out = c;
    return 0;
}

void tls_close(TlsContext *c) {
    if (c == NULL) return;
    openssl.SSL_CTX_free(c->ctx);
    free(c);
}

static void refresh(TlsContext *c) {
    struct stat now[FILES];
    SSL_CTX *fresh;
    char err[512];
    look_at_files(c, now);
    if (same_files(now, c->seen)) return;
    if (load(c, &fresh, err, sizeof err) < 0) {
        log_format(LOG_WARN, "", "TLS goes on with the files as they were before: %s", err);
        return;
    }
    openssl.SSL_CTX_free(c->ctx); /* connections have a part in it */
    c->ctx = fresh;
    log_format(LOG_INFO, "", "TLS: the files have changed, and were read anew");
}

/* ---- one connection ---- */

Tls *tls_new(TlsContext *c, int fd, bool dialed) {
    refresh(c);
    Tls *t = malloc(sizeof *t); /* `out` is touched when it is needed */
    if (t == NULL) return NULL;
    memset(t, 0, offsetof(Tls, out));
    t->fd = fd;
    t->dialed = dialed;
    t->rekey = c->options.rekey != 0 ? c->options.rekey : REKEY_RECORDS;
    BIO *bio = openssl.BIO_new(our_method());
    if ((t->ssl = openssl.SSL_new(c->ctx)) == NULL || bio == NULL) {
        openssl.SSL_free(t->ssl);
        openssl.BIO_free(bio);
        openssl.ERR_clear_error();
        free(t);
        return NULL;
    }
    pthread_mutex_init(&t->lock, NULL);
    openssl.BIO_set_data(bio, t);
    openssl.BIO_set_init(bio, 1);
    openssl.SSL_set_bio(t->ssl, bio, bio); /* takes it */
    if (dialed) openssl.SSL_set_connect_state(t->ssl);
    else openssl.SSL_set_accept_state(t->ssl);
    return t;
}

void tls_free(Tls *t) {
    if (t == NULL) return;
    openssl.SSL_free(t->ssl);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

bool tls_ready(const Tls *t) { return t->ready; }
const char *tls_fault(const Tls *t) { return t->fault; }
bool tls_more(const Tls *t) { return (t->ended || t->failed) && !t->told; }

bool tls_names(const Tls *t, const char *name, char shown[TLS_WHY]) {
    X509 *theirs = openssl.SSL_get0_peer_certificate(t->ssl);
    snprintf(shown, TLS_WHY, "nobody");
    return theirs != NULL && credentials_name(theirs, name, shown, TLS_WHY / 2);
}

/* ---- what went wrong ---- */

static const char *their_refusal(int alert) {
    switch (alert) {
    case SSL_AD_CERTIFICATE_EXPIRED: return "refused by it: our certificate has expired";
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_DECRYPT_ERROR: return "refused by it: our certificate is not signed by its --tls-ca";
    case TLS13_AD_CERTIFICATE_REQUIRED: return "refused by it: it wants a certificate of ours";
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_UNKNOWN: return "refused by it: our certificate is no good to it (are both clocks right?)";
    case SSL_AD_PROTOCOL_VERSION: return "refused by it: it does not speak TLS 1.3";
    case SSL_AD_HANDSHAKE_FAILURE: return "refused by it: we have no cipher in common";
    default: return NULL;
    }
}

static const char *our_refusal(long verified) {
    switch (verified) {
    case X509_V_ERR_CERT_HAS_EXPIRED: return "refused: its certificate has expired";
    case X509_V_ERR_CERT_NOT_YET_VALID: return "refused: its certificate is not valid yet (are both clocks right?)";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE: return "refused: its certificate is not signed by our --tls-ca";
    default: return NULL;
    }
}

/* From this thread's queue of OpenSSL, the first of it: what follows comes from that. */
static void explain(Tls *t) {
    unsigned long code = openssl.ERR_get_error();
    int reason = ERR_GET_REASON(code), alert = reason - SSL_AD_REASON_OFFSET;
    const char *why = NULL, *detail = openssl.ERR_reason_error_string(code);
    if (alert > 0 && alert < 256) {
        why = their_refusal(alert);
        if (why == NULL && !t->ready) why = "refused by it, in the handshake of TLS";
    } else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        long verified = openssl.SSL_get_verify_result(t->ssl);
        if ((why = our_refusal(verified)) == NULL)
            why = "refused: its certificate is no good", detail = openssl.X509_verify_cert_error_string(verified);
        else detail = NULL;
    } else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        why = "refused: it shows no certificate", detail = NULL;
    } else if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_NO_SHARED_CIPHER) {
        why = "refused: it speaks another TLS than 1.3, or has no cipher in common with us";
    }
    if (why == NULL) why = t->ready ? "bytes came that are no TLS of this connection" : "it speaks no TLS";
    if (alert > 0 && their_refusal(alert) != NULL) detail = NULL;
    snprintf(t->fault, sizeof t->fault, "%s%s%.80s%s", why, detail != NULL ? " (" : "", detail != NULL ? detail : "",
             detail != NULL ? ")" : "");
    openssl.ERR_clear_error();
}

/* ---- the loop's thread ---- */

/* What the handshake has put down; nobody else sends yet. False: a socket that is so full is of no use. */
static bool send_all(Tls *t) {
    size_t n = t->out_len;
    t->out_len = 0;
    return n == 0 || send(t->fd, t->out, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n;
}

static void shake_hands(Tls *t) {
    openssl.ERR_clear_error();
    int done = openssl.SSL_do_handshake(t->ssl);
    int err = done == 1 ? SSL_ERROR_NONE : openssl.SSL_get_error(t->ssl, done);
    t->failed = err != SSL_ERROR_NONE && err != SSL_ERROR_WANT_READ;
    if (t->failed) explain(t);
    if (!send_all(t) && !t->failed) {
        t->failed = true;
        snprintf(t->fault, sizeof t->fault, "it does not read");
    }
    t->ready = err == SSL_ERROR_NONE && !t->failed;
}

int tls_start(Tls *t) {
    pthread_mutex_lock(&t->lock);
    if (t->dialed) shake_hands(t);
    pthread_mutex_unlock(&t->lock);
    return t->failed ? UV_EPROTO : 0;
}

/* Is there anything to open? OpenSSL keeps an incomplete record by itself, and reads no further than one. */
static bool has_more(const Tls *t) {
    return t->ready && !t->ended && !t->failed && (t->in_len > 0 || openssl.SSL_pending(t->ssl) > 0);
}

/* Opens a record, or what is left of one. */
static int open_record(Tls *t, unsigned char *out, size_t room) {
    openssl.ERR_clear_error();
    int n = openssl.SSL_read(t->ssl, out, room < TLS_RECORD ? (int)room : TLS_RECORD);
    if (n > 0) return n;
    int err = openssl.SSL_get_error(t->ssl, n);
    if (err == SSL_ERROR_ZERO_RETURN) t->ended = true;
    else if (err != SSL_ERROR_WANT_READ) t->failed = true;
    if (t->failed) explain(t);
    return 0;
}

ssize_t tls_take(Tls *t, const unsigned char *bytes, size_t len, unsigned char *out, size_t room) {
    size_t got = 0;
    if (!t->ended && !t->failed) {
        pthread_mutex_lock(&t->lock);
        t->in = bytes;
        t->in_len = len;
        if (!t->ready) shake_hands(t);
        while (has_more(t) && got < room) {
            got += (size_t)open_record(t, out + got, room - got);
            pthread_mutex_unlock(&t->lock); /* a writer may have waited */
            pthread_mutex_lock(&t->lock);
        }
        t->in = NULL;
        t->in_len = 0;
        pthread_mutex_unlock(&t->lock);
    }
    if (got > 0) return (ssize_t)got;
    t->told = t->ended || t->failed;
    return t->failed ? UV_EPROTO : t->ended ? UV_EOF : 0;
}

/* ---- writing ---- */

/* Under the lock. */
static bool make_record(Tls *t, const unsigned char *bytes, size_t len) {
    if (++t->records % t->rekey == 0 && openssl.SSL_key_update(t->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1) return false;
    return openssl.SSL_write(t->ssl, bytes, (int)len) == (int)len;
}

static bool make_batch(Tls *t, const unsigned char *bytes, size_t len) {
    for (size_t at = 0, n; at < len; at += n) {
        n = len - at < TLS_RECORD ? len - at : TLS_RECORD;
        pthread_mutex_lock(&t->lock);
        bool made = make_record(t, bytes + at, n);
        pthread_mutex_unlock(&t->lock);
        if (!made) return false;
    }
    return true;
}

/* All there is in `out`; 0, or -1 with errno. */
static int drain(Tls *t) {
    for (;;) {
        pthread_mutex_lock(&t->lock);
        size_t end = t->out_len;
        bool done = t->out_at == end;
        if (done) t->out_at = t->out_len = 0;
        pthread_mutex_unlock(&t->lock);
        if (done) return 0;
        ssize_t wrote = send(t->fd, t->out + t->out_at, end - t->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (wrote < 0) return -1;
        t->out_at += (size_t)wrote;
    }
}

ssize_t tls_send(Tls *t, const void *bytes, size_t len) {
    if (t->owed == 0) {
        size_t n = len < TLS_BATCH ? len : TLS_BATCH;
        if (!make_batch(t, bytes, n)) {
            openssl.ERR_clear_error();
            errno = EPROTO;
            return -1;
        }
        t->owed = n;
    }
    if (drain(t) < 0) return -1;
    size_t sent = t->owed;
    t->owed = 0;
    return (ssize_t)sent;
}

void tls_farewell(Tls *t) {
    if (!t->ready || t->failed || t->owed != 0) return;
    pthread_mutex_lock(&t->lock);
    openssl.SSL_shutdown(t->ssl);
    openssl.ERR_clear_error();
    pthread_mutex_unlock(&t->lock);
    if (drain(t) < 0) { /* it will see that the connection ends */ }
}
