#include "net/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define DEPTH_MOST 4              /* certificates between a node's and the authority's */
#define CHAIN_BYTES_MOST 32768    /* that the other side may send us */
#define DATE_SIZE 32

static int complain(char *err, size_t err_size, int code, const char *option, const char *path, const char *why) {
    openssl.ERR_clear_error();
    snprintf(err, err_size, "%s%s%.300s: %s", option, *option != '\0' ? " " : "", path, why);
    return code;
}

/* ---- files ---- */

/* The whole file, to be freed; its length in *len. */
static int read_file(const char *option, const char *path, bool secret, char **out, size_t *len, char *err,
                     size_t err_size) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), code = 0;
    if (fd < 0) return complain(err, err_size, -errno, option, path, uv_strerror(-errno));
    const char *why = NULL;
    if (fstat(fd, &st) < 0) code = -errno;
    else if (!S_ISREG(st.st_mode)) code = UV_EFTYPE, why = "it is no file";
    else if (st.st_size > CREDENTIALS_FILE_MOST) code = UV_EFBIG, why = "it is larger than 1 MB: no certificate or key";
    else if (secret && (st.st_mode & 0077) != 0)
        code = UV_EACCES, why = "others may read this key: chmod 600 it";
    else if (secret && st.st_uid != geteuid() && st.st_uid != 0)
        code = UV_EPERM, why = "this key belongs to somebody else";
    char *bytes = code == 0 ? malloc(CREDENTIALS_FILE_MOST) : NULL;
    if (code == 0 && bytes == NULL) code = UV_ENOMEM;
    *len = 0;
    for (ssize_t n = 1; code == 0 && n > 0 && *len < CREDENTIALS_FILE_MOST; *len += n > 0 ? (size_t)n : 0) {
        n = read(fd, bytes + *len, CREDENTIALS_FILE_MOST - *len);
        if (n < 0) code = -errno;
    }
    close(fd);
    if (code == 0) {
        *out = bytes;
        return 0;
    }
    free(bytes);
    return complain(err, err_size, code, option, path, why != NULL ? why : uv_strerror(code));
}

static int open_pem(const char *option, const char *path, bool secret, char **bytes, BIO **out, char *err,
                    size_t err_size) {
    size_t len = 0;
    int code = read_file(option, path, secret, bytes, &len, err, err_size);
    if (code < 0) return code;
    *out = openssl.BIO_new_mem_buf(*bytes, (int)len);
    if (*out != NULL) return 0;
    free(*bytes);
    return complain(err, err_size, UV_ENOMEM, option, path, uv_strerror(UV_ENOMEM));
}

static void close_pem(BIO *bio, char *bytes, bool secret) {
    openssl.BIO_free(bio);
    if (secret) explicit_bzero(bytes, CREDENTIALS_FILE_MOST);
    free(bytes);
}

int credentials_certificate(const char *option, const char *path, X509 **out, char *err, size_t err_size) {
    char *bytes;
    BIO *bio;
    int code = open_pem(option, path, false, &bytes, &bio, err, err_size);
    if (code < 0) return code;
    *out = openssl.PEM_read_bio_X509(bio, NULL, NULL, NULL);
    close_pem(bio, bytes, false);
    return *out != NULL ? 0 : complain(err, err_size, UV_EINVAL, option, path, "there is no certificate in it (PEM)");
}

static int no_word(char *buffer, int size, int writing, void *asked) {
    (void)buffer, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

int credentials_key(const char *option, const char *path, EVP_PKEY **out, char *err, size_t err_size) {
    char *bytes;
    BIO *bio;
    bool asked = false;
    int code = open_pem(option, path, true, &bytes, &bio, err, err_size);
    if (code < 0) return code;
    *out = openssl.PEM_read_bio_PrivateKey(bio, NULL, no_word, &asked);
    close_pem(bio, bytes, true);
    if (*out != NULL) return 0;
    return complain(err, err_size, UV_EINVAL, option, path,
                    asked ? "the key in it wants a password, and nobody is there to ask: store it without"
                          : "there is no private key in it (PEM)");
}

/* ---- what a certificate says ---- */

bool credentials_name(X509 *certificate, const char *name, char *shown, size_t shown_size) {
    GENERAL_NAMES *names = openssl.X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    const OPENSSL_STACK *all = (const OPENSSL_STACK *)names;
    size_t used = 0;
    bool found = false;
    snprintf(shown, shown_size, "nobody");
    for (int i = 0; names != NULL && i < openssl.OPENSSL_sk_num(all) && !found; i++) {
        const GENERAL_NAME *one = openssl.OPENSSL_sk_value(all, i);
        if (one->type != GEN_DNS) continue;
        const char *text = (const char *)openssl.ASN1_STRING_get0_data(one->d.dNSName);
        size_t len = (size_t)openssl.ASN1_STRING_length(one->d.dNSName);
        found = len == strlen(name) && memcmp(text, name, len) == 0;
        if (used + len + 6 > shown_size) continue;
        used += (size_t)snprintf(shown + used, shown_size - used, "%s'", used > 0 ? ", " : "");
        for (size_t k = 0; k < len; k++) shown[used++] = text[k] > ' ' && text[k] < 127 ? text[k] : '?';
        used += (size_t)snprintf(shown + used, shown_size - used, "'");
    }
    openssl.GENERAL_NAMES_free(names);
    return found;
}

static int64_t seconds_of(const ASN1_TIME *at) {
    struct tm tm;
    return openssl.ASN1_TIME_to_tm(at, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static void show_date(int64_t seconds, char out[DATE_SIZE]) {
    struct tm tm;
    time_t at = (time_t)seconds;
    gmtime_r(&at, &tm);
    strftime(out, DATE_SIZE, "%Y-%m-%d", &tm);
}

/* ---- a context ---- */

/* All certificates of a file: ours with those above it, or those that we believe. */
static int each_certificate(const char *option, const char *path, bool (*take)(SSL_CTX *, X509 *, int at), SSL_CTX *ctx,
                            char *err, size_t err_size) {
    char *bytes;
    BIO *bio;
    X509 *one;
    int count = 0, code = open_pem(option, path, false, &bytes, &bio, err, err_size);
    if (code < 0) return code;
    bool good = true;
    while (good && (one = openssl.PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        good = take(ctx, one, count++);
        openssl.X509_free(one);
    }
    /* No further PEM is how the end looks; all else is a part that can't be read. */
    bool whole = ERR_GET_REASON(openssl.ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    close_pem(bio, bytes, false);
    if (count == 0) return complain(err, err_size, UV_EINVAL, option, path, "there is no certificate in it (PEM)");
    if (!good || !whole)
        return complain(err, err_size, UV_EINVAL, option, path, "a certificate in it can't be read or used");
    openssl.ERR_clear_error();
    return 0;
}

static bool take_own(SSL_CTX *ctx, X509 *one, int at) {
    if (at == 0) return openssl.SSL_CTX_use_certificate(ctx, one) == 1;
    return openssl.SSL_CTX_ctrl(ctx, SSL_CTRL_CHAIN_CERT, 1, one) == 1; /* SSL_CTX_add1_chain_cert */
}

static bool take_authority(SSL_CTX *ctx, X509 *one, int at) {
    (void)at;
    return openssl.X509_STORE_add_cert(openssl.SSL_CTX_get_cert_store(ctx), one) == 1;
}

/* Would others believe it? What is wrong with it, else. */
static const char *doubt(SSL_CTX *ctx, X509 *own, int64_t expires, char *text, size_t size) {
    char date[DATE_SIZE];
    STACK_OF(X509) *chain = NULL;
    X509_STORE_CTX *check = openssl.X509_STORE_CTX_new();
    openssl.SSL_CTX_ctrl(ctx, SSL_CTRL_GET_CHAIN_CERTS, 0, &chain); /* SSL_CTX_get0_chain_certs */
    if (check == NULL || openssl.X509_STORE_CTX_init(check, openssl.SSL_CTX_get_cert_store(ctx), own, chain) != 1) {
        openssl.X509_STORE_CTX_free(check);
        return "out of memory";
    }
    int code = openssl.X509_verify_cert(check) == 1 ? X509_V_OK : openssl.X509_STORE_CTX_get_error(check);
    openssl.X509_STORE_CTX_free(check);
    switch (code) {
    case X509_V_OK: break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        show_date(expires, date);
        snprintf(text, size, "it, or one above it, has expired (%s): make a new one, as by throng certs", date);
        return text;
    case X509_V_ERR_CERT_NOT_YET_VALID: return "it is not valid yet: is this machine's clock right?";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE: return "it is not signed by --tls-ca: use the files of one cluster";
    default:
        snprintf(text, size, "others would not believe it: %s", openssl.X509_verify_cert_error_string(code));
        return text;
    }
    if (openssl.X509_check_purpose(own, X509_PURPOSE_SSL_SERVER, 0) != 1 ||
        openssl.X509_check_purpose(own, X509_PURPOSE_SSL_CLIENT, 0) != 1)
        return "it may not be used on both sides of a connection (extendedKeyUsage: serverAuth and clientAuth)";
    return NULL;
}

static bool set_up(SSL_CTX *ctx) {
    /* The fastest of the good ones first; who has no AES in hardware may ask for ChaCha. */
    static const char suites[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
    openssl.SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    openssl.SSL_CTX_set_verify_depth(ctx, DEPTH_MOST);
    openssl.SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_TICKET);
    openssl.SSL_CTX_ctrl(ctx, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF, NULL);
    openssl.SSL_CTX_ctrl(ctx, SSL_CTRL_MODE, SSL_MODE_NO_AUTO_CHAIN, NULL); /* the authority need not be shown */
    openssl.SSL_CTX_ctrl(ctx, SSL_CTRL_SET_MAX_CERT_LIST, CHAIN_BYTES_MOST, NULL);
    return openssl.SSL_CTX_ctrl(ctx, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_3_VERSION, NULL) == 1 &&
           openssl.SSL_CTX_set_num_tickets(ctx, 0) == 1 && openssl.SSL_CTX_set_ciphersuites(ctx, suites) == 1;
}

int credentials_load(const char *cert, const char *key, const char *ca, const char *name, SSL_CTX **out,
                     int64_t *expires, char *err, size_t err_size) {
    char text[300], shown[128];
    EVP_PKEY *private = NULL;
    SSL_CTX *ctx = openssl.SSL_CTX_new(openssl.TLS_method());
    int code = ctx != NULL && set_up(ctx) ? 0 : UV_ENOMEM;
    if (code < 0) complain(err, err_size, code, "TLS", "can't be set up", uv_strerror(code));
    if (code == 0) code = each_certificate("--tls-cert", cert, take_own, ctx, err, err_size);
    if (code == 0) code = each_certificate("--tls-ca", ca, take_authority, ctx, err, err_size);
    if (code == 0) code = credentials_key("--tls-key", key, &private, err, err_size);
    if (code == 0) {
        X509 *own = openssl.SSL_CTX_get0_certificate(ctx);
        *expires = seconds_of(openssl.X509_get0_notAfter(own));
        const char *why = NULL;
        if (openssl.X509_check_private_key(own, private) != 1) {
            snprintf(text, sizeof text, "it is not the key of the certificate %.200s", cert);
            code = complain(err, err_size, UV_EINVAL, "--tls-key", key, text);
        } else if (openssl.SSL_CTX_use_PrivateKey(ctx, private) != 1) {
            code = complain(err, err_size, UV_EINVAL, "--tls-key", key, "TLS 1.3 can't use a key of this kind");
        } else if ((why = doubt(ctx, own, *expires, text, sizeof text)) != NULL) {
            code = complain(err, err_size, UV_EINVAL, "--tls-cert", cert, why);
        } else if (!credentials_name(own, name, shown, sizeof shown)) {
            snprintf(text, sizeof text, "it is for %s, and this node's name is '%.64s' (--name)", shown, name);
            code = complain(err, err_size, UV_EINVAL, "--tls-cert", cert, text);
        }
    }
    openssl.EVP_PKEY_free(private);
    if (code < 0) openssl.SSL_CTX_free(ctx);
    else *out = ctx;
    return code;
}
