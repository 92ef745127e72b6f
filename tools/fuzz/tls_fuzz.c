/* tls_fuzz.c - libFuzzer target: any bytes to TLS between nodes.
 *
 * The first byte says who we are and what happens: bit 0 = we have dialed; bit 1 = the handshake is done before, by
 * another one of ours; bit 2 = we say something between. Then come pieces: a length (1 byte) and so many bytes. What
 * must hold: nothing reads a byte too far, falls or leaks; who has proved nothing is never ready; nothing is taken for
 * said that was not; and once it has failed it stays so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>
#include "ground/log.h"
#include "net/certs.h"
#include "net/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

static TlsContext *context_of(const char *dir, const char *name) {
    char paths[3][256], err[1024];
    TlsContext *made;
    snprintf(paths[0], sizeof paths[0], "%s/%s.pem", dir, name);
    snprintf(paths[1], sizeof paths[1], "%s/%s.key", dir, name);
    snprintf(paths[2], sizeof paths[2], "%s/ca.pem", dir);
    TlsOptions o = {strdup(paths[0]), strdup(paths[1]), strdup(paths[2]), name, 0};
    if (tls_open(&o, &made, err, sizeof err) < 0) fprintf(stderr, "%s\n", err), abort();
    return made;
}

static ssize_t move(int from, Tls *to) {
    unsigned char bytes[16384], plain[sizeof bytes + TLS_RECORD];
    ssize_t n = recv(from, bytes, sizeof bytes, MSG_DONTWAIT);
    return n <= 0 ? n : tls_take(to, bytes, (size_t)n, plain, sizeof plain) == 0;
}

static void feed(Tls *t, const uint8_t *p, size_t len, bool shaken) {
    static unsigned char plain[256 + TLS_RECORD];
    unsigned char *copy = malloc(len + 1); /* of just that size, so that one byte too far is found */
    bool had_failed = *tls_fault(t) != '\0';
    memcpy(copy, p, len);
    ssize_t n = tls_take(t, copy, len, plain, sizeof plain);
    MUST(n <= 0);
    MUST(tls_ready(t) == shaken);
    MUST(!had_failed || n == UV_EPROTO);
    MUST(n != UV_EPROTO || *tls_fault(t) != '\0');
    MUST(!tls_more(t));
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static TlsContext *a, *b;
    if (a == NULL) {
        char dir[] = "/tmp/throng-fuzz-XXXXXX", err[1024], *names[] = {(char *)"a", (char *)"b"};
        bool made[2];
        CertsMade certs = {.nodes = made};
        log_set_level(LOG_OFF);
        if (mkdtemp(dir) == NULL || certs_make(dir, names, 2, 400, &certs, err, sizeof err) < 0) abort();
        a = context_of(dir, "a");
        b = context_of(dir, "b");
        char command[64];
        snprintf(command, sizeof command, "rm -rf %s", dir);
        if (system(command) != 0) abort(); /* what is gone is not read anew */
    }
    if (size < 2) return 0;
    uint8_t how = *data++;
    size--;
    int ours[2], theirs[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ours) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, theirs) < 0) abort();
    bool dialed = how & 1, shaken = how & 2;
    Tls *t = tls_new(a, ours[0], dialed), *other = tls_new(b, theirs[0], !dialed);
    MUST(t != NULL && other != NULL);
    MUST(tls_start(t) == 0 && tls_start(other) == 0);
    while (shaken && (move(ours[1], other) > 0 || move(theirs[1], t) > 0)) {}
    MUST(tls_ready(t) == shaken);
    if (how & 4 && shaken) MUST(tls_send(t, data, size) == (ssize_t)size);
    while (size > 1) {
        size_t n = *data < size - 1 ? *data : size - 1;
        feed(t, data + 1, n, shaken);
        data += 1 + n;
        size -= 1 + n;
    }
    tls_farewell(t);
    tls_free(t);
    tls_free(other);
    for (int i = 0; i < 2; i++) close(ours[i]), close(theirs[i]);
    return 0;
}
