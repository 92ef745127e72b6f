/* shape.h - how pids and times look in answers: pids as text, times in milliseconds. */
#ifndef OPS_SHAPE_H
#define OPS_SHAPE_H
#include "ground/clock.h"
#include "mail/names.h"
#include "mail/pid.h"
#include "ops/json.h"

static inline void shape_pid(Text *t, const char *key, uint64_t pid) { /* 0: null */
    char text[PID_TEXT_MAX];
    if (pid == 0) json_null(t, key);
    else json_string(t, key, text, pid_text(pid, text));
}

/* One of its names, or null. Looks through all names: for a few rows. */
static inline void shape_name(Text *t, const char *key, uint64_t pid) {
    char name[NAMES_TEXT_MAX + 1];
    names_of(pid, name);
    json_words(t, key, name[0] != '\0' ? name : NULL);
}

/* To a microsecond: digits that nobody can read cost room. */
static inline double shape_ms(uint64_t ns) { return (double)(ns / 1000) / 1000; }

static inline double shape_ago(uint64_t then) { /* clock_now time */
    uint64_t now = clock_now();
    return then < now ? shape_ms(now - then) : 0;
}
#endif
