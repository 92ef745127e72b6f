#include "net/certs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>
#include "net/credentials.h"
#include "net/secret.h"

#define DAY 86400L

typedef struct Pair { /* a certificate and its key */
    X509 *certificate;
    EVP_PKEY *key;
} Pair;

typedef struct Paths {
    char certificate[PATH_MAX], key[PATH_MAX];
} Paths;

static int complain(char *err, size_t err_size, int code, const char *path, const char *why) {
    openssl.ERR_clear_error();
    snprintf(err, err_size, "%.300s: %s", path, why);
    return code;
}

static void pair_free(Pair *p) {
    openssl.X509_free(p->certificate);
    openssl.EVP_PKEY_free(p->key);
    *p = (Pair){0};
}

static int paths_of(const char *dir, const char *name, Paths *out, char *err, size_t err_size) {
    size_t room = sizeof out->certificate;
    if ((size_t)snprintf(out->certificate, room, "%s/%s.pem", dir, name) < room &&
        (size_t)snprintf(out->key, room, "%s/%s.key", dir, name) < room)
        return 0;
    return complain(err, err_size, UV_ENAMETOOLONG, dir, uv_strerror(UV_ENAMETOOLONG));
}

/* ---- making ---- */

static bool extend(X509 *x, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx = {0};
    openssl.X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = openssl.X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
    bool good = e != NULL && openssl.X509_add_ext(x, e, -1) == 1;
    openssl.X509_EXTENSION_free(e);
    return good;
}

static bool say_who(X509 *x, const char *name, X509 *issuer) {
    X509_NAME *subject = openssl.X509_get_subject_name(x);
    return openssl.X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const unsigned char *)"Throng", -1, -1, 0) &&
           openssl.X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0) &&
           openssl.X509_set_issuer_name(x, openssl.X509_get_subject_name(issuer));
}

static bool extend_authority(X509 *x) {
    return extend(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           extend(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           extend(x, x, NID_subject_key_identifier, "hash");
}

static bool extend_node(X509 *x, X509 *issuer, const char *name) {
    char alt[80];
    snprintf(alt, sizeof alt, "DNS:%.64s", name);
    return extend(x, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
           extend(x, issuer, NID_key_usage, "critical,digitalSignature") &&
           extend(x, issuer, NID_ext_key_usage, "serverAuth,clientAuth") &&
           extend(x, issuer, NID_subject_alt_name, alt) &&
           extend(x, issuer, NID_subject_key_identifier, "hash") &&
           extend(x, issuer, NID_authority_key_identifier, "keyid");
}

/* authority NULL: this is one. It begins a day ago, for clocks are not all right. */
static int issue(const char *name, const Pair *authority, int days, Pair *out) {
    char own[96];
    uint64_t serial;
    Pair p = {openssl.X509_new(), openssl.EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256")};
    X509 *x = p.certificate, *issuer = authority != NULL ? authority->certificate : x;
    int err = secret_random(&serial, sizeof serial);
    serial = serial >> 2 | 1;
    /* Authorities have names of their own, so that who has the files of two clusters is told so. */
    snprintf(own, sizeof own, authority != NULL ? "%.64s" : "%.40s %016llx", name, (unsigned long long)serial);
    bool made = err == 0 && x != NULL && p.key != NULL && openssl.X509_set_version(x, X509_VERSION_3) == 1 &&
                openssl.ASN1_INTEGER_set_uint64(openssl.X509_get_serialNumber(x), serial) == 1 &&
                openssl.X509_gmtime_adj(openssl.X509_getm_notBefore(x), -DAY) != NULL &&
                openssl.X509_gmtime_adj(openssl.X509_getm_notAfter(x), days * DAY) != NULL && say_who(x, own, issuer) &&
                openssl.X509_set_pubkey(x, p.key) == 1 &&
                (authority != NULL ? extend_node(x, issuer, name) : extend_authority(x)) &&
                openssl.X509_sign(x, authority != NULL ? authority->key : p.key, openssl.EVP_sha256()) > 0;
    if (made) {
        *out = p;
        return 0;
    }
    pair_free(&p);
    return err < 0 ? err : UV_ENOMEM;
}

/* ---- writing ---- */

static int write_new(const char *path, const char *bytes, size_t len, mode_t mode) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode), err = 0;
    if (fd < 0) return -errno;
    ssize_t wrote = write(fd, bytes, len);
    if (wrote != (ssize_t)len) err = wrote < 0 ? -errno : UV_ENOSPC;
    if (close(fd) < 0 && err == 0) err = -errno;
    if (err < 0) unlink(path);
    return err;
}

static int write_pem(const char *path, const Pair *p, bool key) {
    char *bytes = NULL;
    BIO *bio = openssl.BIO_new(openssl.BIO_s_mem());
    bool good = bio != NULL && (key ? openssl.PEM_write_bio_PrivateKey(bio, p->key, NULL, NULL, 0, NULL, NULL)
                                    : openssl.PEM_write_bio_X509(bio, p->certificate)) == 1;
    long len = good ? openssl.BIO_ctrl(bio, BIO_CTRL_INFO, 0, &bytes) : 0; /* BIO_get_mem_data */
    int err = len > 0 ? write_new(path, bytes, (size_t)len, key ? 0600 : 0644) : UV_ENOMEM;
    openssl.BIO_free(bio);
    return err;
}

static int write_pair(const Paths *to, const Pair *p, char *err, size_t err_size) {
    int code = write_pem(to->key, p, true);
    if (code < 0) return complain(err, err_size, code, to->key, uv_strerror(code));
    if ((code = write_pem(to->certificate, p, false)) == 0) return 0;
    unlink(to->key);
    return complain(err, err_size, code, to->certificate, uv_strerror(code));
}

/* ---- what is there already ---- */

static bool exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

/* 1: both files, 0: none, or UV_EEXIST. */
static int both(const Paths *p, char *err, size_t err_size) {
    char why[PATH_MAX + 64];
    bool one = exists(p->certificate), other = exists(p->key);
    if (one == other) return one;
    snprintf(why, sizeof why, "it is there, but not %.300s: put that back, or take this away",
             one ? p->key : p->certificate);
    return complain(err, err_size, UV_EEXIST, one ? p->certificate : p->key, why);
}

static int load_authority(const Paths *p, Pair *out, char *err, size_t err_size) {
    int code = credentials_certificate("", p->certificate, &out->certificate, err, err_size);
    if (code == 0) code = credentials_key("", p->key, &out->key, err, err_size);
    if (code < 0) return code;
    if (openssl.X509_check_ca(out->certificate) == 0)
        return complain(err, err_size, UV_EINVAL, p->certificate, "it is there, but is no authority's certificate");
    if (openssl.X509_check_private_key(out->certificate, out->key) != 1)
        return complain(err, err_size, UV_EINVAL, p->key, "it is there, but is not the key of ca.pem beside it");
    return 0;
}

/* Is what is there what we would make? Then *kept. */
static int look_at_node(const Paths *p, const Paths *authority, bool fresh, const char *name, bool *kept, char *err,
                        size_t err_size) {
    char why[600];
    SSL_CTX *ctx;
    int64_t expires;
    int code = both(p, err, err_size);
    *kept = code == 1;
    if (code <= 0) return code;
    if (fresh)
        return complain(err, err_size, UV_EEXIST, p->certificate,
                        "it is there, but no authority that signed it: take it away, or name another folder");
    code = credentials_load(p->certificate, p->key, authority->certificate, name, &ctx, &expires, why, sizeof why);
    if (code < 0) {
        snprintf(err, err_size, "%.300s is not overwritten, but is of no use (%.400s): take it and its key away",
                 p->certificate, why);
        return UV_EEXIST;
    }
    openssl.SSL_CTX_free(ctx);
    return 0;
}

static int make_node(const Paths *to, const char *name, const Pair *authority, int days, char *err, size_t err_size) {
    Pair p;
    int code = issue(name, authority, days, &p);
    if (code < 0) return complain(err, err_size, code, to->certificate, uv_strerror(code));
    code = write_pair(to, &p, err, err_size);
    pair_free(&p);
    return code;
}

int certs_make(const char *dir, char **names, int count, int days, CertsMade *made, char *err, size_t err_size) {
    Paths of_authority, p;
    Pair authority = {0};
    int code = openssl_load(err, err_size);
    if (code < 0) return code;
    if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
        code = -errno;
        return complain(err, err_size, code, dir, uv_strerror(code));
    }
    if ((code = paths_of(dir, CERTS_AUTHORITY, &of_authority, err, err_size)) < 0) return code;
    if ((code = both(&of_authority, err, err_size)) < 0) return code;
    made->authority = code == 0;
    code = made->authority ? issue("Throng cluster", NULL, CERTS_AUTHORITY_DAYS, &authority)
                           : load_authority(&of_authority, &authority, err, err_size);
    if (code < 0 && made->authority) complain(err, err_size, code, dir, uv_strerror(code));
    for (int i = 0; i < count && code == 0; i++) { /* all is looked at before anything is written */
        bool kept = false;
        if ((code = paths_of(dir, names[i], &p, err, err_size)) == 0)
            code = look_at_node(&p, &of_authority, made->authority, names[i], &kept, err, err_size);
        made->nodes[i] = !kept;
    }
    if (code == 0 && made->authority) code = write_pair(&of_authority, &authority, err, err_size);
    for (int i = 0; i < count && code == 0; i++) {
        if (!made->nodes[i]) continue;
        if ((code = paths_of(dir, names[i], &p, err, err_size)) == 0)
            code = make_node(&p, names[i], &authority, days, err, err_size);
    }
    pair_free(&authority);
    return code;
}
