/* What a word could become: globals and fields, looked up in the VM that would evaluate the line; names of actors where
 * one is expected. Fields are found without metamethods but for __index that is a table, so nothing of a script's runs.
 * Commands are the client's to complete: it knows them. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include "actor/guest.h"
#include "api/api.h"
#include "api/sandbox.h"
#include "mail/names.h"
#include "net/cluster.h"
#include "ops/console.h"
#include "ops/eval.h"
#include "ops/look.h"
#include "ops/rows.h"

#define WORDS_MOST 200
#define LOOKED_MOST 5000 /* keys of one table */
#define INDEX_MOST 8     /* tables behind tables */

typedef struct Words {
    char *all[WORDS_MOST];
    size_t count;
    bool cut;
} Words;

static void words_free(Words *w) {
    for (size_t i = 0; i < w->count; i++) free(w->all[i]);
}

static void words_add(Words *w, const char *text, size_t len, const char *prefix, size_t prefix_len) {
    if (len <= prefix_len || (prefix_len > 0 && memcmp(text, prefix, prefix_len) != 0)) return;
    for (size_t i = 0; i < w->count; i++)
        if (strlen(w->all[i]) == len && memcmp(w->all[i], text, len) == 0) return;
    if (w->count == WORDS_MOST) {
        w->cut = true;
        return;
    }
    char *copy = strndup(text, len);
    if (copy != NULL) w->all[w->count++] = copy;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void words_put(Words *w, Text *t, size_t from) {
    if (w->count > 0) qsort(w->all, w->count, sizeof *w->all, by_text);
    json_open(t, NULL, '{');
    json_integer(t, "from", (int64_t)from);
    json_open(t, "words", '[');
    for (size_t i = 0; i < w->count; i++) json_words(t, NULL, w->all[i]);
    json_close(t, ']');
    json_bool(t, "cut", w->cut);
    json_close(t, '}');
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_name(const char *s, size_t len) {
    if (len == 0 || (*s >= '0' && *s <= '9')) return false;
    for (size_t i = 0; i < len; i++)
        if (!is_letter(s[i])) return false;
    return true;
}

/* ---- in the VM ---- */

/* Replaces the table on top by what its metatable's __index is, if that is a table; or a string, a pid. False: no. */
static bool to_index(lua_State *L) {
    if (!lua_getmetatable(L, -1)) return false;
    lua_pushliteral(L, "__index");
    lua_rawget(L, -2);
    lua_remove(L, -2);
    lua_remove(L, -2);
    return lua_istable(L, -1) || (lua_pop(L, 1), lua_pushnil(L), false);
}

/* The value on top is replaced by its field; nil if there is none. */
static void to_field(lua_State *L, const char *key, size_t len) {
    if (!lua_istable(L, -1) && !to_index(L)) {
        lua_pop(L, 1);
        lua_pushnil(L);
        return;
    }
    for (int i = 0; i < INDEX_MOST; i++) {
        sandbox_fill(L, lua_gettop(L));
        lua_pushlstring(L, key, len);
        if (lua_rawget(L, -2) != LUA_TNIL) {
            lua_remove(L, -2);
            return;
        }
        lua_pop(L, 1);
        if (!to_index(L)) break;
    }
    lua_pop(L, 1);
    lua_pushnil(L);
}

static void add_fields(lua_State *L, Words *w, bool methods, const char *prefix, size_t prefix_len) {
    if (!lua_istable(L, -1) && !to_index(L)) return;
    for (int i = 0; i < INDEX_MOST; i++) {
        int looked = 0, table = lua_gettop(L);
        sandbox_fill(L, table);
        lua_pushnil(L);
        while (lua_next(L, table) != 0) {
            size_t len;
            bool fits = lua_type(L, -2) == LUA_TSTRING && (!methods || lua_isfunction(L, -1));
            lua_pop(L, 1);
            if (fits) {
                const char *key = lua_tolstring(L, -1, &len);
                if (is_name(key, len) && strncmp(key, "__", 2) != 0) words_add(w, key, len, prefix, prefix_len);
            }
            if (++looked == LOOKED_MOST) {
                w->cut = true;
                lua_pop(L, 1);
                break;
            }
        }
        if (!to_index(L)) break;
    }
}

typedef struct Completion {
    Look *look;
    Words words;
} Completion;

/* The look's text is what ends at the cursor and is names with dots and colons between; its `limit` is where in the
 * line the last of them begins. */
static int find_words(lua_State *L) {
    Completion *c = lua_touserdata(L, 1);
    const char *at = c->look->text.len > 0 ? c->look->text.bytes : "", *end = at + c->look->text.len;
    bool methods = false;
    luaL_checkstack(L, 16, NULL);
    eval_push_env(L);
    for (;;) {
        const char *stop = at;
        while (stop < end && *stop != '.' && *stop != ':') stop++;
        if (stop == end) break;
        to_field(L, at, (size_t)(stop - at));
        methods = *stop == ':';
        at = stop + 1;
    }
    add_fields(L, &c->words, methods, at, (size_t)(end - at));
    return 0;
}

static void look_words(Look *k, Actor *a) {
    Completion c = {.look = k};
    guest_look(a, find_words, &c); /* without memory there are no words */
    words_put(&c.words, &k->value, (size_t)k->limit);
    words_free(&c.words);
}

/* ---- names of actors ---- */

typedef struct Prefix {
    Words *words;
    const char *text;
    size_t len;
} Prefix;

static void take_name(void *context, const char *name, size_t len, uint64_t pid) {
    Prefix *p = context;
    (void)pid;
    if (memchr(name, '\0', len) == NULL) words_add(p->words, name, len, p->text, p->len);
}

static void names_with(Words *w, const char *prefix, size_t len) {
    Prefix p = {w, prefix, len};
    for (unsigned part = 0; names_list(part, take_name, &p); part++) {}
}

static bool is_command(const char *line, size_t len) {
    static const char *const words[] = {"info", "state", "inbox", "tasks", "send", "ask",  "kill", "stop", "at",
                                        "set",  "trace", "why",   "tree",  "gc",   "prof", "ps",   "names"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i]) == len && memcmp(words[i], line, len) == 0) return true;
    return false;
}

/* "bob@" and what could follow: nodes. */
static void nodes_with(Words *w, const char *prefix, size_t len) {
    const char *at = memrchr(prefix, '@', len), *name = request_node()->node_name;
    size_t before = at != NULL ? (size_t)(at + 1 - prefix) : 0;
    uint32_t place = 0;
    for (; name != NULL; name = cluster_next(&place)) {
        Text t = {0};
        text_put(&t, prefix, before);
        text_add(&t, name);
        if (*prefix == '<') text_add(&t, ">");
        if (!t.failed) words_add(w, t.bytes, t.len, prefix, len);
        text_free(&t);
    }
}

static void answer_names(Request *r, const char *line, size_t from, size_t at) {
    Words words = {0};
    Text t = {0};
    if (memchr(line + from, '@', at - from) != NULL) nodes_with(&words, line + from, at - from);
    names_with(&words, line + from, at - from);
    words_put(&words, &t, from);
    words_free(&words);
    request_value(r, &t);
}

static void do_complete(Request *r) {
    size_t len, first = 0;
    const char *line = request_text(r, "line", &len);
    int64_t cursor = request_integer(r, "at", (int64_t)len);
    size_t at = cursor < (int64_t)len ? (size_t)cursor : len, from = at, word = at;
    if (len == 0) line = "";
    while (first < at && is_letter(line[first])) first++;
    while (word > 0 && line[word - 1] != ' ' && line[word - 1] != '=') word--;
    if (word >= 5 && memcmp(line + word - 5, "--on", 4) == 0) {
        Words words = {0};
        Text t = {0};
        nodes_with(&words, line + word, at - word);
        words_put(&words, &t, word);
        words_free(&words);
        request_value(r, &t);
        return;
    }
    word = at;
    if (first > 0 && first < at && line[first] == ' ' && is_command(line, first) &&
        memchr(line + first + 1, ' ', at - first - 1) == NULL) { /* its first argument */
        answer_names(r, line, first + 1, at);
        return;
    }
    while (from > 0 && line[from - 1] != '"' && line[from - 1] != '\'' && line[from - 1] >= ' ' &&
           line[from - 1] != '(' && line[from - 1] != ' ')
        from--;
    if (from > 0 && (line[from - 1] == '"' || line[from - 1] == '\'')) { /* within a string */
        answer_names(r, line, from, at);
        return;
    }
    for (from = at; from > 0 && (is_letter(line[from - 1]) || line[from - 1] == '.' || line[from - 1] == ':');) from--;
    while (word > from && is_letter(line[word - 1])) word--;
    uint64_t pid = request_arg(r, "pid") != NULL ? request_pid(r, "pid") : eval_shell(r);
    if (pid == 0) return;
    Look k = {.look = look_words, .limit = (int64_t)word};
    text_put(&k.text, line + from, at - from);
    look_start(r, pid, k);
}

const Op ops_complete[] = {
    {"complete", do_complete, 0, {{"line", ARG_TEXT | ARG_MUST}, {"at", ARG_INTEGER}, {"pid", ARG_PID},
                                      {"within", ARG_INTEGER}}},
    {NULL, NULL, 0, {{NULL, 0}}},
};
