#include "ground/rundir.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

static int directory(char *out, size_t size) {
    const char *ours = getenv("THRONG_RUN_DIR"), *users = getenv("XDG_RUNTIME_DIR");
    int len = ours != NULL && *ours != '\0'     ? snprintf(out, size, "%s", ours)
              : users != NULL && *users != '\0' ? snprintf(out, size, "%s/throng", users)
                                                : snprintf(out, size, "/tmp/throng-%u", (unsigned)geteuid());
    return len < 0 || (size_t)len >= size ? UV_ENAMETOOLONG : len;
}

int rundir_path(const char *file, char *out, size_t size) {
    int len = directory(out, size);
    if (len < 0) return len;
    int more = snprintf(out + len, size - (size_t)len, "/%s", file);
    return more < 0 || (size_t)more >= size - (size_t)len ? UV_ENAMETOOLONG : 0;
}

int rundir_make(char *err, size_t err_size) {
    char dir[PATH_MAX];
    struct stat st;
    int code = directory(dir, sizeof dir);
    if (code < 0) {
        snprintf(err, err_size, "the run directory's name is too long");
        return code;
    }
    if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
        code = -errno;
        snprintf(err, err_size, "the run directory %.400s can't be made: %s (THRONG_RUN_DIR names another)", dir,
                 uv_strerror(code));
        return code;
    }
    /* lstat: in /tmp, a link that somebody else laid there is refused, wherever it leads */
    code = lstat(dir, &st) < 0 ? -errno : 0;
    const char *why = code < 0                    ? uv_strerror(code)
                      : !S_ISDIR(st.st_mode)      ? "it is no directory"
                      : st.st_uid != geteuid()    ? "it belongs to somebody else"
                      : (st.st_mode & 0077) != 0  ? "others may enter it: chmod 700 it"
                                                  : NULL;
    if (why == NULL) return 0;
    snprintf(err, err_size, "the run directory %.400s is not used: %s (THRONG_RUN_DIR names another)", dir, why);
    return code < 0 ? code : UV_EPERM;
}
