/* `prof`: where the Lua code of running actors spends its time, as folded stacks and as a picture. See
 * actor/profile.h. */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>
#include "actor/profile.h"
#include "mail/registry.h"
#include "ops/flame.h"
#include "ops/request.h"
#include "ops/rows.h"

#define SECONDS_MOST 600
#define RATE_PRESET 1000

static void drop(void *state) {
    if (*(bool *)state) profile_end(NULL);
    free(state);
}

static void done(Request *r) {
    ProfileFound found;
    Text t = {0}, svg = {0};
    char title[120];
    bool *on = request_state(r);
    *on = false;
    profile_end(&found);
    snprintf(title, sizeof title, "Lua at work: %llu s", (unsigned long long)request_integer(r, "seconds", 1));
    if (found.folded != NULL) flame_draw(&svg, found.folded, found.len, title);
    if (found.folded == NULL || svg.failed) {
        request_error(r, "refused", "out of memory");
    } else {
        json_open(&t, NULL, '{');
        json_integer(&t, "samples", (int64_t)found.samples);
        json_integer(&t, "outside", (int64_t)found.outside);
        if (found.lost > 0) json_bool(&t, "cut", true);
        json_string(&t, "folded", found.folded, found.len);
        json_string(&t, "svg", svg.bytes, svg.len);
        json_close(&t, '}');
        request_value(r, &t);
    }
    free(found.folded);
    text_free(&svg);
}

static void do_prof(Request *r) {
    int64_t seconds = request_integer(r, "seconds", 1), rate = request_integer(r, "rate", RATE_PRESET);
    uint64_t pid = 0;
    if (seconds < 1 || seconds > SECONDS_MOST) {
        request_error(r, "bad_request", "prof: seconds are from 1 to %d", SECONDS_MOST);
        return;
    }
    if (rate < 1 || rate > RATE_PRESET) {
        request_error(r, "bad_request", "prof: rate is from 1 to %d samples a second", RATE_PRESET);
        return;
    }
    if (request_arg(r, "pid") != NULL && (pid = request_pid(r, "pid")) == 0) return;
    if (pid != 0 && registry_find(pid) == NULL) {
        char who[PID_TEXT_MAX];
        pid_text(pid, who);
        request_error(r, "no_actor", "%s is dead", who);
        return;
    }
    bool *on = malloc(sizeof *on);
    int err = on != NULL ? profile_begin((uint32_t)rate, pid) : UV_ENOMEM;
    if (err < 0) {
        free(on);
        request_error(r, "refused", err == UV_EBUSY ? "somebody else takes a profile just now" : "out of memory");
        return;
    }
    *on = true;
    request_keep(r, on, drop);
    request_in(r, seconds * 1000, done);
}

const Op ops_prof[] = {
    {"prof", do_prof, 0, {{"seconds", ARG_INTEGER}, {"pid", ARG_PID}, {"rate", ARG_INTEGER}}},
    {NULL, NULL, 0, {{NULL, 0}}}};
