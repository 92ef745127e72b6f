#include "ops/watch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/rollout.h"
#include "ground/log.h"
#include "run/loop.h"

#define QUIET_MS 50   /* without an event: then it is one change */
#define RESCAN_MS 500 /* between looks for directories of modules that were loaded meanwhile */

typedef struct Dir {
    struct Dir *next;
    uv_fs_event_t handle; /* `data` is this Dir */
    char path[];
} Dir;

static struct { /* the loop's thread alone */
    bool open;
    Dir *dirs;
    uv_timer_t quiet, rescan;
} watch;

static void on_done(void *unused, const Outcome *report) { (void)unused, (void)report; }

static void on_quiet(uv_timer_t *timer) {
    RolloutOptions options = {.done = on_done};
    int err = rollout_start(&options);
    if (err == UV_EBUSY) uv_timer_start(timer, on_quiet, QUIET_MS, 0);
    else if (err < 0 && err != UV_ECANCELED) log_format(LOG_ERROR, "", "watch: %s", uv_strerror(err));
}

static void on_event(uv_fs_event_t *handle, const char *file, int events, int status) {
    (void)handle, (void)events;
    size_t len = file != NULL ? strlen(file) : 0;
    if (status == 0 && file != NULL && (len < 4 || strcmp(file + len - 4, ".lua") != 0)) return;
    uv_timer_start(&watch.quiet, on_quiet, QUIET_MS, 0);
}

static void add_dir_of(const Source *s) {
    const char *slash = strrchr(s->path, '/');
    size_t len = slash == NULL ? 1 : slash == s->path ? 1 : (size_t)(slash - s->path);
    const char *path = slash == NULL ? "." : s->path;
    if (s->built_in || s->origin != NULL) return;
    for (const Dir *d = watch.dirs; d != NULL; d = d->next)
        if (strlen(d->path) == len && memcmp(d->path, path, len) == 0) return;
    Dir *d = malloc(sizeof *d + len + 1);
    if (d == NULL) return; /* perhaps next time */
    memcpy(d->path, path, len);
    d->path[len] = '\0';
    d->handle.data = d;
    int err = uv_fs_event_init(loop_uv(), &d->handle);
    if (err < 0) {
        free(d);
        return;
    }
    err = uv_fs_event_start(&d->handle, on_event, d->path, 0);
    if (err < 0) log_format(LOG_ERROR, "", "watch: %s: %s", d->path, uv_strerror(err));
    d->next = watch.dirs; /* kept if it failed: said once */
    watch.dirs = d;
}

static void on_rescan(uv_timer_t *timer) {
    (void)timer;
    for (const Behaviour *b = behaviour_next(NULL); b != NULL; b = behaviour_next(b)) {
        add_dir_of(b->source);
        for (size_t u = 0; u < b->use_count; u++) add_dir_of(b->uses[u]);
    }
}

static void start(void *unused) {
    (void)unused;
    uv_timer_init(loop_uv(), &watch.quiet);
    uv_timer_init(loop_uv(), &watch.rescan);
    uv_timer_start(&watch.rescan, on_rescan, RESCAN_MS, RESCAN_MS);
    on_rescan(&watch.rescan);
    uv_timer_start(&watch.quiet, on_quiet, QUIET_MS, 0); /* what was saved before the directories were watched */
    watch.open = true;
}

static void on_closed(uv_handle_t *handle) { free(handle->data); }

static void stop(void *unused) {
    (void)unused;
    if (!watch.open) return;
    watch.open = false;
    uv_close((uv_handle_t *)&watch.quiet, NULL);
    uv_close((uv_handle_t *)&watch.rescan, NULL);
    for (Dir *d = watch.dirs, *next; d != NULL; d = next) {
        next = d->next;
        uv_close((uv_handle_t *)&d->handle, on_closed);
    }
    watch.dirs = NULL;
}

int watch_open(void) { return loop_call(start, NULL); }

void watch_close(void) { loop_call(stop, NULL); }
