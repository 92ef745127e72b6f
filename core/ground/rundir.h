/* rundir.h - where this user's nodes keep what belongs to their run: consoles' sockets, secrets.
 *
 * $THRONG_RUN_DIR, else $XDG_RUNTIME_DIR/throng, else /tmp/throng-UID. Threads: from any. */
#ifndef GROUND_RUNDIR_H
#define GROUND_RUNDIR_H
#include <stddef.h>

/* The path of `file` in it, whether or not there is one; UV_ENAMETOOLONG. */
int rundir_path(const char *file, char *out, size_t size);
/* Makes the directory if it is missing, for its owner alone (0700). 0, or a negative libuv error with one line in err:
 * it can't be made, is no directory, belongs to somebody else, or others may enter it. */
int rundir_make(char *err, size_t err_size);
#endif
