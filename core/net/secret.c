#include "net/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>
#include "ground/rundir.h"

#define FILE_NAME "cluster.secret"

int secret_random(void *out, size_t len) {
    unsigned char *p = out;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* A whole file under its final name at once (link), so that of nodes that start together all read the same. */
static int make(const char *path) {
    unsigned char bytes[32];
    char text[2 * sizeof bytes + 1], draft[PATH_MAX];
    int err = secret_random(bytes, sizeof bytes);
    if (err < 0) return err;
    for (size_t i = 0; i < sizeof bytes; i++) snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    text[sizeof text - 1] = '\n';
    if ((size_t)snprintf(draft, sizeof draft, "%s.%ld", path, (long)getpid()) >= sizeof draft)
        return UV_ENAMETOOLONG;
    unlink(draft); /* of one that had our number and died over it */
    int fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return -errno;
    if (write(fd, text, sizeof text) != (ssize_t)sizeof text) err = errno != 0 ? -errno : UV_EIO;
    if (close(fd) < 0 && err == 0) err = -errno;
    if (err == 0 && link(draft, path) < 0 && errno != EEXIST) err = -errno;
    unlink(draft);
    return err;
}

static int complain(char *err, size_t err_size, int code, const char *path, const char *why) {
    snprintf(err, err_size, "the cluster's secret %.400s is not used: %s", path, why);
    return code;
}

int secret_load(const char *path, unsigned char out[SECRET_MAX], char *err, size_t err_size) {
    char ours[PATH_MAX];
    struct stat st;
    int code;
    bool given = path != NULL;
    if (!given) {
        if ((code = rundir_make(err, err_size)) < 0) return code;
        if ((code = rundir_path(FILE_NAME, ours, sizeof ours)) < 0)
            return complain(err, err_size, code, FILE_NAME, uv_strerror(code));
        path = ours;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT && !given) {
        if ((code = make(path)) < 0) return complain(err, err_size, code, path, uv_strerror(code));
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    }
    if (fd < 0) {
        code = -errno;
        return complain(err, err_size, code, path, uv_strerror(code));
    }
    ssize_t len = 0;
    if (fstat(fd, &st) < 0) code = -errno;
    else if (!S_ISREG(st.st_mode)) code = UV_EFTYPE;
    else if ((st.st_mode & 0077) != 0) code = UV_EACCES;
    else if (st.st_uid != geteuid() && st.st_uid != 0) code = UV_EPERM;
    else code = (len = read(fd, out, SECRET_MAX)) < 0 ? -errno : 0;
    close(fd);
    if (code == UV_EFTYPE) return complain(err, err_size, code, path, "it is no file");
    if (code == UV_EACCES) return complain(err, err_size, code, path, "others may read it: chmod 600 it");
    if (code == UV_EPERM) return complain(err, err_size, code, path, "it belongs to somebody else");
    if (code < 0) return complain(err, err_size, code, path, uv_strerror(code));
    while (len > 0 && (out[len - 1] == '\n' || out[len - 1] == '\r' || out[len - 1] == ' ')) len--;
    if (len < SECRET_LEAST) return complain(err, err_size, UV_EINVAL, path, "it is shorter than 16 bytes");
    return (int)len;
}
