#include "ops/rows.h"

#include <stdlib.h>
#include <string.h>
#include "ground/clock.h"
#include "mail/atom.h"
#include "mail/names.h"
#include "net/titles.h"
#include "mail/pid.h"

void rows_put_name(Text *t, const char *key, uint64_t pid) {
    char name[NAMES_TEXT_MAX + 1];
    names_of(pid, name);
    json_words(t, key, name[0] != '\0' ? name : NULL);
}

double rows_ms(uint64_t ns) { return (double)(ns / 1000) / 1000; }

double rows_ms_since(uint64_t then) { /* to a microsecond: digits that nobody can read cost room */
    uint64_t now = clock_now();
    return then < now ? (double)((now - then) / 1000) / 1000 : 0;
}

void rows_put_pid(Text *t, const char *key, uint64_t pid) {
    char text[PID_TEXT_MAX];
    if (pid == 0) json_null(t, key);
    else json_string(t, key, text, pid_text(pid, text));
}

/* `*` and `?` as in a shell; without them, a part of the text will do. */
static bool glob(const char *p, const char *p_end, const char *s, const char *s_end) {
    const char *star = NULL, *again = NULL;
    while (s < s_end) {
        if (p < p_end && *p == '*') star = p++, again = s;
        else if (p < p_end && (*p == '?' || *p == *s)) p++, s++;
        else if (star != NULL) p = star + 1, s = ++again;
        else return false;
    }
    while (p < p_end && *p == '*') p++;
    return p == p_end;
}

bool rows_match(const char *pattern, size_t pattern_len, const char *text, size_t len) {
    if (pattern == NULL || pattern_len == 0) return true;
    if (memchr(pattern, '*', pattern_len) == NULL && memchr(pattern, '?', pattern_len) == NULL)
        return memmem(text, len, pattern, pattern_len) != NULL;
    return glob(pattern, pattern + pattern_len, text, text + len);
}

/* ---- names ---- */

static void take(Names *n, const char *name, size_t len, uint64_t pid, int64_t fence) {
    if (n->count == n->room) {
        size_t room = n->room == 0 ? 64 : n->room * 2;
        Name *more = realloc(n->all, room * sizeof *more);
        if (more == NULL) {
            n->failed = true;
            return;
        }
        n->all = more;
        n->room = room;
    }
    n->all[n->count++] = (Name){pid, n->text.len, (uint32_t)len, fence};
    text_put(&n->text, name, len);
    if (map_put(&n->first, pid, n->count) < 0 || n->text.failed) n->failed = true;
}

static void take_name(void *context, const char *name, size_t len, uint64_t pid) { take(context, name, len, pid, 0); }

static void take_title(void *context, const char *name, size_t len, uint64_t pid, int64_t fence) {
    take(context, name, len, pid, fence);
}

bool names_cluster(Names *n) { return titles_list(take_title, n) == 0; }

/* One more part; false: that was all. */
bool names_more(Names *n) { return names_list(n->part++, take_name, n); }

void names_free(Names *n) {
    text_free(&n->text);
    free(n->all);
    map_clear(&n->first);
}

const char *names_name(const Names *n, uint64_t pid, size_t *len) {
    uint64_t place;
    if (!map_get(&n->first, pid, &place)) return *len = 0, "";
    const Name *name = &n->all[place - 1];
    *len = name->len;
    return n->text.bytes + name->at;
}

/* ---- rows ---- */

void rows_put(Text *t, const VisitView *v, const char *name, size_t name_len) {
    size_t len;
    const char *handler = atom_text(v->handler, &len);
    rows_put_pid(t, "pid", v->pid);
    if (name_len > 0) json_string(t, "name", name, name_len);
    else json_null(t, "name");
    json_words(t, "behaviour", v->behaviour->source->name);
    json_words(t, "version", v->behaviour->version);
    if (v->behaviour->source->origin != NULL) json_words(t, "origin", v->behaviour->source->origin);
    json_words(t, "state", v->state);
    if (v->busy_since == 0) json_null(t, "handler");
    else json_string(t, "handler", len > 0 ? handler : "?", len > 0 ? len : 1);
    json_integer(t, "depth", v->depth);
    if (v->oldest >= 0) json_number(t, "oldest", v->oldest);
    else json_null(t, "oldest");
    json_integer(t, "memory", (int64_t)v->memory);
    json_integer(t, "messages", (int64_t)v->messages);
    json_number(t, "uptime", rows_ms_since(v->born));
    rows_put_pid(t, "parent", v->parent);
}
