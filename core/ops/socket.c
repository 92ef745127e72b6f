#include "ops/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#define BACKLOG 128

static int address(const char *path, struct sockaddr_un *out) {
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof out->sun_path) return UV_ENAMETOOLONG;
    strcpy(out->sun_path, path);
    return 0;
}

static int new_socket(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -errno : fd;
}

/* Does anybody listen there? What can't be told counts as yes: nothing is taken away on a doubt. */
static bool is_alive(const struct sockaddr_un *at) {
    int fd = new_socket();
    if (fd < 0) return true;
    bool refused =
        connect(fd, (const struct sockaddr *)at, sizeof *at) < 0 && (errno == ECONNREFUSED || errno == ENOENT);
    close(fd);
    return !refused;
}

/* The lock on the directory keeps nodes that start at once from taking each other's for stale. */
static int lock_directory(const char *path) {
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (slash == NULL) snprintf(dir, sizeof dir, ".");
    else snprintf(dir, sizeof dir, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    while (flock(fd, LOCK_EX) < 0)
        if (errno != EINTR) break; /* a file system without locks: go on without */
    return fd;
}

static int bind_at(const struct sockaddr_un *at, uint64_t *file) {
    struct stat st;
    if (lstat(at->sun_path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode)) return UV_EEXIST;
        if (is_alive(at)) return UV_EADDRINUSE;
        if (unlink(at->sun_path) < 0) return -errno;
    }
    int fd = new_socket();
    if (fd < 0) return fd;
    /* The file takes its mode from the socket, so it is never open to others, not for a moment. */
    if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)at, sizeof *at) < 0 || listen(fd, BACKLOG) < 0) {
        int code = -errno;
        close(fd);
        return code;
    }
    *file = lstat(at->sun_path, &st) == 0 ? (uint64_t)st.st_ino : 0;
    return fd;
}

int socket_listen(const char *path, uint64_t *file, char *err, size_t err_size) {
    struct sockaddr_un at;
    int code = address(path, &at), lock = -1;
    if (code == 0) lock = code = lock_directory(path);
    if (code >= 0) code = bind_at(&at, file);
    if (lock >= 0) close(lock);
    if (code >= 0) return code;
    const char *why = code == UV_EADDRINUSE     ? "another node listens there"
                      : code == UV_EEXIST       ? "there is a file that is no socket"
                      : code == UV_ENAMETOOLONG ? "a socket's path has at most 107 bytes"
                                                : uv_strerror(code);
    snprintf(err, err_size, "no console at %.300s: %s", path, why);
    return code;
}

void socket_remove(const char *path, uint64_t file) {
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && (uint64_t)st.st_ino == file) unlink(path);
}

unsigned socket_peer_uid(int fd) {
    struct ucred who;
    socklen_t len = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 ? who.uid : (unsigned)-1;
}
