#include "net/openssl.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <uv.h>

Openssl openssl;

static const struct {
    const char *name;
    size_t at; /* in the table */
} functions[] = {
#define F(name) {#name, offsetof(Openssl, name)},
    OPENSSL_FUNCTIONS(F)
#undef F
};

int openssl_load(char *err, size_t err_size) {
    static bool loaded;
    if (loaded) return 0;
    /* Never closed: OpenSSL tidies up by itself when the process ends. What libcrypto has is found through libssl. */
    void *library = dlopen("libssl.so.3", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        snprintf(err, err_size, "TLS wants OpenSSL 3 (Debian: apt-get install libssl3): %.300s", dlerror());
        return UV_ENOENT;
    }
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *function = dlsym(library, functions[i].name);
        if (function == NULL) {
            snprintf(err, err_size, "this OpenSSL has no %s: TLS wants OpenSSL 3", functions[i].name);
            return UV_ENOENT;
        }
        *(void **)((char *)&openssl + functions[i].at) = function;
    }
    loaded = true;
    return 0;
}
