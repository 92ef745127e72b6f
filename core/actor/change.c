#include "actor/change.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/parcel.h"
#include "actor/scan.h"

#define FUNCTIONS_MOST 1000
#define WARNINGS_MOST 16384

const char *const change_stages[] = {"compile", "static", "body", "migrate", "check", "swap", "none", NULL};

static int fail(Change *c, int err, ChangeStage stage, const char *format, ...) __attribute__((format(printf, 4, 5)));

static int fail(Change *c, int err, ChangeStage stage, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(c->message, sizeof c->message, format, args);
    va_end(args);
    c->stage = stage;
    return err;
}

void change_place(const char *message, char *file, size_t size, int *line) {
    const char *end = message + strcspn(message, "\n");
    *file = '\0';
    *line = 0;
    for (const char *c = strchr(message, ':'); c != NULL && c < end; c = strchr(c + 1, ':')) {
        char *after;
        long n = strtol(c + 1, &after, 10);
        if (after == c + 1 || *after != ':' || n <= 0) continue;
        snprintf(file, size, "%.*s", (int)(c - message), message);
        *line = (int)n;
        return;
    }
    const char *lua = strstr(message, ".lua"); /* "actors/guy.lua: no such file" */
    if (lua != NULL && lua < end) snprintf(file, size, "%.*s", (int)(lua + 4 - message), message);
}

/* ---- the set while it is found ---- */

static const Source *fresh_of(const Change *c, const Source *s) {
    for (size_t i = 0; i < c->fresh_count; i++)
        if (strcmp(c->fresh[i]->name, s->name) == 0 && strcmp(c->fresh[i]->path, s->path) == 0) return c->fresh[i];
    return s;
}

/* It came from the node that sends the parcel: it is its file that has changed. */
static bool is_of_sender(const Change *c, const Source *s) {
    return c->parcel != NULL && c->parcel->from != NULL && s->origin != NULL && strcmp(s->origin, c->parcel->from) == 0;
}

/* *out: as its file is now. */
static int renew(Change *c, const Source *s, const Source **out) {
    const Source *fresh = fresh_of(c, s);
    char text[CHANGE_TEXT_MAX];
    *out = fresh;
    if (fresh != s) return 0;
    const ParcelItem *item = parcel_find(c->parcel, s->name);
    if (s->origin != NULL && !is_of_sender(c, s)) item = NULL; /* another node's, perhaps of the same name */
    if (item != NULL && s->origin == NULL && !c->parcel->any_version && !s->built_in && item->was != 0 &&
        s->hash != item->was && s->hash != item->hash)
        return fail(c, UV_EINVAL, STAGE_NONE, "its module '%s' (%s) is not the one that has changed: it may be another "
                    "of that name. If it is to be replaced, name it", s->name, s->path);
    bool own = c->parcel == NULL || (item != NULL && c->parcel->own_only);
    int err = own ? source_renew(s, &fresh, text, sizeof text)
            : item != NULL ? source_replace(s, item->text, item->len, &fresh, text, sizeof text) : 0;
    if (err < 0) return fail(c, err, STAGE_COMPILE, "%s", text);
    if (c->parcel != NULL && own && !s->built_in && fresh->hash != item->hash)
        return fail(c, UV_EPERM, STAGE_NONE, "it runs its own files only (--own-files), and its '%s' (%s) is another",
                    s->name, s->path);
    *out = fresh;
    if (fresh == s) return 0;
    const Source **more = realloc(c->fresh, (c->fresh_count + 1) * sizeof *more);
    if (more == NULL) return fail(c, UV_ENOMEM, STAGE_COMPILE, "out of memory");
    c->fresh = more;
    c->fresh[c->fresh_count++] = fresh;
    return 0;
}

static const BehaviourPair *pair_of(const Change *c, const Behaviour *from) {
    for (size_t i = 0; i < c->count; i++)
        if (c->pairs[i].from == from) return &c->pairs[i];
    return NULL;
}

static int add_pair(Change *c, const Behaviour *from, const Behaviour *to) {
    BehaviourPair *more = realloc(c->pairs, (c->count + 1) * sizeof *more);
    if (more == NULL) return fail(c, UV_ENOMEM, STAGE_COMPILE, "out of memory");
    c->pairs = more;
    c->pairs[c->count++] = (BehaviourPair){from, to};
    return 0;
}

static void warn(Change *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void warn(Change *c, const char *format, ...) {
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    size_t len = c->warnings != NULL ? strlen(c->warnings) : 0, add = strlen(line);
    if (len + add + 2 > WARNINGS_MOST || (len > 0 && strstr(c->warnings, line) != NULL)) return;
    char *more = realloc(c->warnings, len + add + 2);
    if (more == NULL) return;
    c->warnings = more;
    memcpy(more + len, line, add);
    memcpy(more + len + add, "\n", 2);
}

/* ---- the look at handlers ---- */

typedef struct Range {
    int first, last;
} Range;

/* Lines of the functions of that file that handlers reach: those in the table on top, and what they hold. */
static size_t reached(lua_State *L, const char *path, Range *ranges, size_t most) {
    size_t count = 0;
    lua_Integer todo = 0;
    int table = lua_gettop(L);
    lua_createtable(L, 0, 16); /* seen */
    lua_createtable(L, 16, 0); /* to do */
    int seen = table + 1, list = table + 2;
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        if (lua_isfunction(L, -1)) lua_rawseti(L, list, ++todo);
        else lua_pop(L, 1);
    }
    while (todo > 0 && count < most) {
        lua_Debug ar;
        lua_rawgeti(L, list, todo--);
        lua_pushvalue(L, -1);
        bool known = lua_rawget(L, seen) != LUA_TNIL;
        lua_pop(L, 1);
        if (known || lua_iscfunction(L, -1)) {
            lua_pop(L, 1);
            continue;
        }
        lua_pushvalue(L, -1);
        lua_pushboolean(L, 1);
        lua_rawset(L, seen);
        for (int i = 1; lua_getupvalue(L, -1, i) != NULL; i++) {
            if (lua_isfunction(L, -1)) lua_rawseti(L, list, ++todo);
            else lua_pop(L, 1);
        }
        if (lua_getinfo(L, ">S", &ar) && ar.source[0] == '@' && strcmp(ar.source + 1, path) == 0)
            ranges[count++] = (Range){ar.linedefined, ar.lastlinedefined};
    }
    lua_settop(L, table);
    return count;
}

static bool in_one(const ScanNote *n, const Range *ranges, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (ranges[i].first <= n->first && n->last <= ranges[i].last) return true;
    return false;
}

static void look(void *context, lua_State *L, const Behaviour *b) {
    Change *c = context;
    Scan scan;
    Range *ranges = lua_newuserdatauv(L, FUNCTIONS_MOST * sizeof *ranges, 0);
    lua_insert(L, -2);
    size_t count = reached(L, b->source->path, ranges, FUNCTIONS_MOST);
    lua_remove(L, -2);
    c->stage = STAGE_STATIC;
    if (scan_source(b->source, &scan) == 0) {
        for (size_t i = 0; i < scan.count; i++) {
            const ScanNote *n = &scan.notes[i];
            if (!in_one(n, ranges, count)) continue;
            if (n->kind == SCAN_ASSIGNS) {
                char text[512];
                snprintf(text, sizeof text, "%.300s:%d: a handler assigns '%s', a local of the file: a new version "
                         "would lose it. Keep it in self", b->source->path, n->line, n->name);
                scan_free(&scan);
                luaL_error(L, "%s", text);
            } else if (n->kind == SCAN_WRITES_INTO) {
                warn(c, "%.200s:%d: a handler writes into '%s', a table of the file: a new version begins without it",
                     b->source->path, n->line, n->name);
            } else {
                warn(c, "%.200s:%d: a handler sets a global: a new version begins without it", b->source->path,
                     n->line);
            }
        }
    }
    scan_free(&scan);
    bool anew = false; /* if one of its modules has changed, all begin anew, see actor/reload */
    for (size_t u = 0; u < b->use_count; u++)
        for (size_t i = 0; i < c->fresh_count; i++) anew = anew || c->fresh[i] == b->uses[u];
    for (size_t u = 0; u < b->use_count && anew; u++) {
        if (b->uses[u]->built_in) continue;
        if (scan_source(b->uses[u], &scan) == 0)
            for (size_t i = 0; i < scan.count; i++)
                if (scan.notes[i].kind == SCAN_ASSIGNS)
                    warn(c, "%.200s:%d: '%s' is a local of the file that a function assigns: it begins anew",
                         b->uses[u]->path, scan.notes[i].line, scan.notes[i].name);
        scan_free(&scan);
    }
    c->stage = STAGE_BODY;
}

/* ---- finding the set ---- */

static int find(void *context, const char *name, const Source **out, char *err, size_t err_size) {
    Change *c = context;
    const Source *s = NULL;
    int result = 0;
    if (c->tried->source->origin != NULL) { /* its names mean what they mean on the node that it came from */
        for (size_t u = 0; u < c->tried->use_count && s == NULL; u++)
            if (strcmp(c->tried->uses[u]->name, name) == 0) s = c->tried->uses[u];
        const ParcelItem *fresh = s == NULL ? parcel_find(c->parcel, name) : NULL;
        if (fresh != NULL)
            return source_add(c->tried->source->origin, name, fresh->path, fresh->text, fresh->len, out, err, err_size);
        if (s == NULL) result = source_for(c->tried->source->origin, name, &s, err, err_size);
        if (result == 0 && (result = renew(c, s, out)) < 0) snprintf(err, err_size, "%s", c->message);
        return result;
    }
    result = source_find(name, &s, err, err_size);
    const ParcelItem *item = result == UV_ENOENT ? parcel_find(c->parcel, name) : NULL;
    if (item != NULL && !c->parcel->own_only)
        return source_bring(name, item->path, item->text, item->len, out, err, err_size);
    if (result < 0) return result;
    result = renew(c, s, out);
    if (result < 0) snprintf(err, err_size, "%s", c->message);
    return result;
}

static bool has_name(const Behaviour *b, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(b->source->name, names[i]) == 0) return true;
        for (size_t u = 0; u < b->use_count; u++)
            if (strcmp(b->uses[u]->name, names[i]) == 0) return true;
    }
    return false;
}

/* Spawns take it, and it is of our files: what came from other nodes has none here. */
static bool is_ours(const Behaviour *b) { return b->source->origin == NULL && behaviour_state(b).current; }

/* May a change concern it? With a parcel also what came from its sender: each version that nothing has replaced. */
static bool takes_part(const Change *c, const Behaviour *b) {
    if (b->source->origin == NULL) return is_ours(b);
    return is_of_sender(c, b->source) && behaviour_newest(b) == b;
}

/* The node from which code under that name came; NULL: none did. */
static const char *origin_of(const char *name) {
    for (const Behaviour *b = behaviour_next(NULL); b != NULL; b = behaviour_next(b))
        if (b->source->origin != NULL && has_name(b, &name, 1)) return b->source->origin;
    return NULL;
}

static bool is_touched(const Change *c, const Behaviour *b) {
    if (fresh_of(c, b->source) != b->source) return true;
    for (size_t u = 0; u < b->use_count; u++)
        if (fresh_of(c, b->uses[u]) != b->uses[u]) return true;
    return false;
}

static int try_it(Change *c, const Behaviour *b, bool force) {
    const BehaviourTrial trial = {find, look, c};
    const Behaviour *to;
    const Source *s;
    char text[CHANGE_TEXT_MAX];
    int err = renew(c, b->source, &s);
    if (err < 0) return err;
    c->stage = STAGE_BODY;
    c->tried = b;
    err = behaviour_try(s, &trial, &to, text, sizeof text);
    if (err < 0) return fail(c, err, c->stage, "%s", text); /* a module's file may have failed to compile */
    if (to == b && !force) return 0;
    return add_pair(c, b, to);
}

bool change_knows(const char *name) {
    for (const Behaviour *b = behaviour_next(NULL); b != NULL; b = behaviour_next(b))
        if (behaviour_state(b).current && has_name(b, &name, 1)) return true;
    return false;
}

int change_load(const char *name, Change *c) {
    const Behaviour *b;
    char text[CHANGE_TEXT_MAX];
    *c = (Change){.stage = STAGE_NONE};
    int err = change_knows(name) ? 0 : behaviour_find(name, &b, text, sizeof text);
    return err == 0 ? 0 : fail(c, err, err == UV_ENOENT ? STAGE_NONE : STAGE_COMPILE, "%s", text);
}

int change_find(const char *const *names, size_t name_count, bool force, const Parcel *parcel, Change *c) {
    *c = (Change){.stage = STAGE_NONE, .parcel = parcel};
    for (size_t i = 0; i < name_count && parcel == NULL; i++) {
        bool known = false;
        for (const Behaviour *b = behaviour_next(NULL); b != NULL && !known; b = behaviour_next(b))
            known = is_ours(b) && has_name(b, &names[i], 1);
        const char *origin = known ? NULL : origin_of(names[i]);
        if (origin != NULL)
            return fail(c, UV_ENOENT, STAGE_NONE, "'%s' came from node %s, its file is there: reload it there; who is "
                        "spawned from there then has the new version", names[i], origin);
        if (!known)
            return fail(c, UV_ENOENT, STAGE_NONE, "no actor's module is named '%s', and none requires it", names[i]);
    }
    for (const Behaviour *b = behaviour_next(NULL); b != NULL; b = behaviour_next(b)) {
        const Source *s;
        if (!takes_part(c, b)) continue;
        /* a parcel has what it has */
        if (parcel == NULL && name_count > 0 && !has_name(b, names, name_count)) continue;
        int err = renew(c, b->source, &s);
        for (size_t u = 0; u < b->use_count && err == 0; u++) err = renew(c, b->uses[u], &s);
        if (err < 0) return err;
    }
    size_t before;
    do { /* a body may lead to more that has changed, and that to more who require it */
        before = c->fresh_count;
        for (const Behaviour *b = behaviour_next(NULL); b != NULL; b = behaviour_next(b)) {
            if (!takes_part(c, b) || pair_of(c, b) != NULL) continue;
            if (!is_touched(c, b) && !(force && (name_count == 0 || has_name(b, names, name_count)))) continue;
            int err = try_it(c, b, force);
            if (err < 0) return err;
        }
    } while (c->fresh_count > before);
    return 0;
}

int change_back(const char *name, Change *c) {
    *c = (Change){.stage = STAGE_NONE};
    uint64_t set = 0;
    bool known = false;
    for (const Behaviour *b = behaviour_next(NULL); b != NULL; b = behaviour_next(b)) {
        BehaviourState state = behaviour_state(b);
        if (!state.current || !has_name(b, &name, 1)) continue;
        known = true;
        if (state.before != NULL && state.set > set) set = state.set;
    }
    if (!known)
        return fail(c, UV_ENOENT, STAGE_NONE, "no actor's module is named '%s', and none requires it", name);
    if (set == 0) return fail(c, UV_ENOENT, STAGE_NONE, "'%s' has no version before this one", name);
    for (const Behaviour *b = behaviour_next(NULL); b != NULL; b = behaviour_next(b)) {
        BehaviourState state = behaviour_state(b);
        if (state.current && state.set == set && add_pair(c, b, state.before) < 0) return UV_ENOMEM;
    }
    return 0;
}

void change_free(Change *c) {
    free(c->pairs);
    free(c->fresh);
    free(c->warnings);
    c->pairs = NULL, c->fresh = NULL, c->warnings = NULL;
}
