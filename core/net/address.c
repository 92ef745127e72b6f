#include "net/address.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

bool address_split(const char *text, char host[ADDRESS_TEXT], int *port) {
    const char *colon = strrchr(text, ':'), *from = text, *to = colon;
    char *end;
    if (colon == NULL || colon == text || strlen(text) >= ADDRESS_TEXT) return false;
    if (*text == '[') {
        from = text + 1;
        to = colon - 1;
        if (*to != ']' || to <= from) return false;
    } else if (memchr(text, ':', (size_t)(colon - text)) != NULL) {
        return false; /* an IPv6 address wants brackets */
    }
    if (colon[1] < '0' || colon[1] > '9') return false;
    long n = strtol(colon + 1, &end, 10);
    if (*end != '\0' || n < 0 || n > 65535) return false;
    memcpy(host, from, (size_t)(to - from));
    host[to - from] = '\0';
    *port = (int)n;
    return strpbrk(host, " \t\n/,") == NULL;
}

bool address_numeric(const char *host, int port, struct sockaddr_storage *out) {
    memset(out, 0, sizeof *out);
    return uv_ip4_addr(host, port, (struct sockaddr_in *)out) == 0 ||
           uv_ip6_addr(host, port, (struct sockaddr_in6 *)out) == 0;
}

bool address_loopback(const struct sockaddr_storage *a) {
    static const unsigned char mapped[13] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127};
    if (a->ss_family == AF_INET) return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    if (a->ss_family != AF_INET6) return false;
    const struct in6_addr *six = &((const struct sockaddr_in6 *)a)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(six) || memcmp(six, mapped, sizeof mapped) == 0;
}

bool address_any(const struct sockaddr_storage *a) {
    if (a->ss_family == AF_INET) return ((const struct sockaddr_in *)a)->sin_addr.s_addr == htonl(INADDR_ANY);
    return a->ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

int address_port(const struct sockaddr_storage *a) {
    return ntohs(a->ss_family == AF_INET ? ((const struct sockaddr_in *)a)->sin_port
                                         : ((const struct sockaddr_in6 *)a)->sin6_port);
}

void address_set_port(struct sockaddr_storage *a, int port) {
    if (a->ss_family == AF_INET) ((struct sockaddr_in *)a)->sin_port = htons((uint16_t)port);
    else ((struct sockaddr_in6 *)a)->sin6_port = htons((uint16_t)port);
}

void address_show(const struct sockaddr_storage *a, char out[ADDRESS_TEXT]) {
    char host[64] = "?";
    if (a->ss_family == AF_INET) uv_ip4_name((const struct sockaddr_in *)a, host, sizeof host);
    else if (a->ss_family == AF_INET6) uv_ip6_name((const struct sockaddr_in6 *)a, host, sizeof host);
    snprintf(out, ADDRESS_TEXT, a->ss_family == AF_INET6 ? "[%s]:%d" : "%s:%d", host, address_port(a));
}

static socklen_t size_of(const struct sockaddr_storage *a) {
    return a->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static int give_up(int fd) {
    int err = -errno;
    close(fd);
    return err;
}

static void no_delay(int fd) { /* we batch ourselves */
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int address_listen(const struct sockaddr_storage *a) {
    int on = 1, fd = socket(a->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)a, size_of(a)) < 0 || listen(fd, 128) < 0) return give_up(fd);
    return fd;
}

int address_dial(const struct sockaddr_storage *a) {
    int fd = socket(a->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    if (connect(fd, (const struct sockaddr *)a, size_of(a)) < 0 && errno != EINPROGRESS) return give_up(fd);
    no_delay(fd);
    return fd;
}

int address_accept(int listener, struct sockaddr_storage *who) {
    socklen_t len = sizeof *who;
    int fd = accept4(listener, (struct sockaddr *)who, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return -errno;
    no_delay(fd);
    return fd;
}
