#include "ops/show.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mail/codec.h"
#include "mail/pid.h"

#define COLUMNS 78
#define STRING_MOST 2000 /* bytes of one string that are shown */
#define SHORT_MOST 20    /* bytes of strings that share a line */
#define FLAT_MOST 40     /* entries of a table that may be one line */
#define KEYS_MOST 2000   /* of one table that are sorted: those beyond are not shown */

typedef struct Show {
    lua_State *L;
    Text *out;
    ShowLimits limits;
    const void *path[SHOW_DEPTH_MAX + 1]; /* the tables we are in */
    int level;
    bool flat;     /* on one line, to be given up at the column `flat_end` of the text */
    bool overflow; /* ... which was passed */
    size_t flat_end, start;
    bool cut;
} Show;

/* ---- scalars ---- */

static bool is_word(const char *s, size_t len) {
    static const char *const reserved[] = {"and",   "break", "do",     "else",   "elseif", "end",  "false", "for",
                                           "function", "goto", "if", "in", "local", "nil", "not", "or", "repeat",
                                           "return", "then",  "true",  "until", "while"};
    if (len == 0 || len > 100 || (s[0] >= '0' && s[0] <= '9')) return false;
    for (size_t i = 0; i < len; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= '0' && s[i] <= '9') ||
              s[i] == '_'))
            return false;
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (strlen(reserved[i]) == len && memcmp(reserved[i], s, len) == 0) return false;
    return true;
}

static void put_string(Text *out, const char *s, size_t len) {
    size_t shown = len < STRING_MOST ? len : STRING_MOST, i = 0;
    text_put(out, "\"", 1);
    while (i < shown) {
        unsigned char c = (unsigned char)s[i];
        size_t step = json_utf8(s + i, len - i);
        if (step > 1) text_put(out, s + i, step);
        else if (step == 0) text_format(out, "\\x%02x", c);
        else if (c == '\n') text_put(out, "\\n", 2);
        else if (c == '\t') text_put(out, "\\t", 2);
        else if (c == '\r') text_put(out, "\\r", 2);
        else if (c == '"' || c == '\\') text_format(out, "\\%c", c);
        else if (c < ' ' || c == 127) text_format(out, "\\x%02x", c);
        else text_put(out, s + i, 1);
        i += step > 0 ? step : 1;
    }
    text_put(out, "\"", 1);
    if (shown < len) text_format(out, "...(%zu bytes)", len);
}

static void put_number(Text *out, lua_State *L, int index) {
    char text[48];
    if (lua_isinteger(L, index)) {
        text_format(out, "%lld", (long long)lua_tointeger(L, index));
        return;
    }
    double n = lua_tonumber(L, index);
    if (isnan(n)) text_add(out, "nan");
    else if (isinf(n)) text_add(out, n > 0 ? "math.huge" : "-math.huge");
    else {
        snprintf(text, sizeof text, "%.14g", n);
        if (strtod(text, NULL) != n) snprintf(text, sizeof text, "%.17g", n);
        text_add(out, text);
        if (strpbrk(text, ".e") == NULL) text_add(out, ".0");
    }
}

static void put_function(Text *out, lua_State *L, int index) {
    lua_Debug ar;
    if (lua_iscfunction(L, index) || !lua_checkstack(L, 2)) {
        text_add(out, "function <built in>");
        return;
    }
    lua_pushvalue(L, index);
    lua_getinfo(L, ">S", &ar);
    text_format(out, "function <%s:%d>", ar.short_src, ar.linedefined);
}

/* All but tables. */
static void put_scalar(Text *out, lua_State *L, int index) {
    size_t len;
    char pid[PID_TEXT_MAX];
    switch (lua_type(L, index)) {
    case LUA_TNIL: text_add(out, "nil"); break;
    case LUA_TBOOLEAN: text_add(out, lua_toboolean(L, index) ? "true" : "false"); break;
    case LUA_TNUMBER: put_number(out, L, index); break;
    case LUA_TSTRING: {
        const char *s = lua_tolstring(L, index, &len);
        put_string(out, s, len);
        break;
    }
    case LUA_TLIGHTUSERDATA: {
        uint64_t bits = (uint64_t)(uintptr_t)lua_touserdata(L, index);
        text_put(out, pid, pid_text(bits, pid));
        break;
    }
    case LUA_TFUNCTION: put_function(out, L, index); break;
    case LUA_TTHREAD: text_format(out, "coroutine <%p>", lua_topointer(L, index)); break;
    default: text_format(out, "%s <%p>", lua_typename(L, lua_type(L, index)), lua_topointer(L, index)); break;
    }
}

/* ---- tables ---- */

static int rank(int type) {
    return type == LUA_TNUMBER ? 0 : type == LUA_TSTRING ? 1 : type == LUA_TBOOLEAN ? 2 : 3;
}

static int compare(const void *a, const void *b, void *state) {
    lua_State *L = state;
    int x = *(const int *)a, y = *(const int *)b, tx = lua_type(L, x), ty = lua_type(L, y);
    if (rank(tx) != rank(ty)) return rank(tx) - rank(ty);
    if (tx == LUA_TNUMBER) return lua_compare(L, x, y, LUA_OPLT) ? -1 : lua_compare(L, y, x, LUA_OPLT);
    if (tx == LUA_TSTRING) { /* by bytes: the same everywhere */
        size_t lx, ly;
        const char *sx = lua_tolstring(L, x, &lx), *sy = lua_tolstring(L, y, &ly);
        int order = memcmp(sx, sy, lx < ly ? lx : ly);
        return order != 0 ? order : (lx > ly) - (lx < ly);
    }
    if (tx == LUA_TBOOLEAN) return lua_toboolean(L, x) - lua_toboolean(L, y);
    uintptr_t px = (uintptr_t)lua_topointer(L, x), py = (uintptr_t)lua_topointer(L, y);
    return (px > py) - (px < py);
}

/* How many elements from 1 on, up to `most`. */
static lua_Integer sequence(lua_State *L, int table, lua_Integer most) {
    lua_Integer n = 0;
    while (n < most && lua_rawgeti(L, table, n + 1) != LUA_TNIL) n++, lua_pop(L, 1);
    if (n < most) lua_pop(L, 1);
    return n;
}

/* Pushes the keys that are not elements 1..n, sorted by *order (to be freed), which holds stack indices. How many;
 * negative: the stack or memory is short. *more: there are others. */
static int push_keys(lua_State *L, int table, lua_Integer n, int most, int **order, bool *more) {
    int count = 0, base = lua_gettop(L);
    *order = NULL;
    if (!lua_checkstack(L, 4)) return -1;
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        lua_pop(L, 1);
        if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1 && lua_tointeger(L, -1) <= n) continue;
        if (count == most || !lua_checkstack(L, 4)) {
            lua_pop(L, 1);
            *more = true;
            break;
        }
        lua_pushvalue(L, -1); /* the one below stays, the one on top goes on */
        count++;
    }
    if (count > 0 && (*order = malloc((size_t)count * sizeof **order)) == NULL) {
        lua_settop(L, base);
        return -1;
    }
    for (int i = 0; i < count; i++) (*order)[i] = base + 1 + i;
    if (count > 1) qsort_r(*order, (size_t)count, sizeof **order, compare, L);
    return count;
}

static void put_value(Show *s, int index, int indent);

static bool full(Show *s) {
    if (s->flat && s->out->len > s->flat_end) s->overflow = true;
    if (s->out->len - s->start > s->limits.length) s->cut = true;
    return s->overflow || s->out->failed || s->out->len - s->start > s->limits.length;
}

static void next_entry(Show *s, int indent, bool first) {
    if (s->flat) text_add(s->out, first ? "" : ", ");
    else text_format(s->out, "%s\n%*s", first ? "" : ",", indent + 2, "");
}

static void put_key(Show *s, int index) {
    size_t len;
    if (lua_type(s->L, index) == LUA_TSTRING) {
        const char *key = lua_tolstring(s->L, index, &len);
        if (is_word(key, len)) {
            text_put(s->out, key, len);
            text_add(s->out, " = ");
            return;
        }
    }
    text_add(s->out, "[");
    if (lua_type(s->L, index) == LUA_TTABLE) text_add(s->out, "{...}");
    else put_scalar(s->out, s->L, index);
    text_add(s->out, "] = ");
}

static void put_entries(Show *s, int table, lua_Integer n, const int *order, int count, bool more, int indent) {
    lua_State *L = s->L;
    bool first = true;
    int shown = 0, most = s->limits.entries;
    size_t line = 0; /* where the one that is being filled begins; 0: none, the next entry begins one */
    for (lua_Integer i = 1; i <= n && shown < most && !full(s); i++, shown++, first = false) {
        bool short_one = lua_rawgeti(L, table, i) != LUA_TTABLE && lua_rawlen(L, -1) < SHORT_MOST;
        if (!s->flat && short_one && line != 0 && s->out->len - line < (size_t)(COLUMNS - SHORT_MOST)) {
            text_add(s->out, ", ");
        } else {
            next_entry(s, indent, first);
            line = short_one && !s->flat ? s->out->len - (size_t)indent : 0;
        }
        put_value(s, lua_gettop(L), indent + 2);
        lua_pop(L, 1);
    }
    more = more || shown < n;
    int i = 0;
    for (; i < count && shown < most && !full(s); i++, shown++, first = false) {
        next_entry(s, indent, first);
        put_key(s, order[i]);
        lua_pushvalue(L, order[i]);
        lua_rawget(L, table);
        put_value(s, lua_gettop(L), indent + 2);
        lua_pop(L, 1);
    }
    if (more || i < count) {
        s->cut = true;
        next_entry(s, indent, first);
        text_add(s->out, "...");
    }
    if (!s->flat) text_format(s->out, "\n%*s", indent, "");
}

static bool is_error(lua_State *L, int table) {
    if (!lua_getmetatable(L, table)) return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &codec_error_key);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

static void put_table(Show *s, int table, int indent) {
    lua_State *L = s->L;
    const void *self = lua_topointer(L, table);
    int *order = NULL, top = lua_gettop(L);
    bool more = false;
    for (int i = 0; i < s->level; i++)
        if (s->path[i] == self) {
            text_add(s->out, "{<cycle>}");
            return;
        }
    if (!lua_checkstack(L, 6)) {
        s->cut = true;
        text_add(s->out, "{...}");
        return;
    }
    if (is_error(L, table)) text_add(s->out, "error ");
    lua_pushnil(L);
    bool empty = lua_next(L, table) == 0;
    lua_settop(L, top);
    if (empty || s->level >= s->limits.depth) {
        s->cut = s->cut || !empty;
        text_add(s->out, empty ? "{}" : "{...}");
        return;
    }
    lua_Integer n = sequence(L, table, (lua_Integer)s->limits.entries + 1);
    int count = push_keys(L, table, n, KEYS_MOST, &order, &more);
    if (count < 0) count = 0, more = true;
    s->path[s->level++] = self;
    text_add(s->out, "{");
    size_t mark = s->out->len;
    bool was_flat = s->flat, was_cut = s->cut;
    if (!was_flat && n + count <= FLAT_MOST) { /* try one line */
        s->flat = true;
        s->overflow = false;
        const char *newline = s->out->failed ? NULL : memrchr(s->out->bytes + s->start, '\n', mark - s->start);
        s->flat_end = (newline != NULL ? (size_t)(newline + 1 - s->out->bytes) : s->start) + COLUMNS - 2;
        if (s->flat_end < mark + 10) s->flat_end = mark + 10;
        put_entries(s, table, n, order, count, more, indent);
        full(s);
        s->flat = false;
        if (s->overflow) {
            s->overflow = false;
            s->out->len = mark;
            s->cut = was_cut;
            put_entries(s, table, n, order, count, more, indent);
        }
    } else if (was_flat && n + count > FLAT_MOST) {
        s->overflow = true;
    } else {
        put_entries(s, table, n, order, count, more, indent);
    }
    text_add(s->out, "}");
    s->level--;
    free(order);
    lua_settop(L, top);
}

static void put_value(Show *s, int index, int indent) {
    if (lua_type(s->L, index) == LUA_TTABLE) put_table(s, index, indent);
    else put_scalar(s->out, s->L, index);
}

bool show_text(lua_State *L, int index, ShowLimits limits, Text *out) {
    if (limits.depth > SHOW_DEPTH_MAX) limits.depth = SHOW_DEPTH_MAX;
    Show s = {.L = L, .out = out, .limits = limits, .start = out->len};
    if (!lua_checkstack(L, 4)) return true;
    put_value(&s, lua_absindex(L, index), 0);
    return s.cut;
}

/* ---- JSON ---- */

static bool json_value(Show *s, const char *key, int index);

static bool json_entries(Show *s, int table) {
    lua_State *L = s->L;
    int *order = NULL, top = lua_gettop(L);
    bool more = false, fits = true;
    lua_Integer n = sequence(L, table, (lua_Integer)s->limits.entries + 1);
    int count = push_keys(L, table, n, s->limits.entries, &order, &more);
    if (count < 0 || more || n > s->limits.entries) {
        free(order);
        lua_settop(L, top);
        return false;
    }
    bool array = count == 0 && n > 0;
    json_open(s->out, NULL, array ? '[' : '{');
    for (lua_Integer i = 1; i <= n && fits; i++) {
        char name[32];
        snprintf(name, sizeof name, "%lld", (long long)i);
        lua_rawgeti(L, table, i);
        fits = json_value(s, array ? NULL : name, lua_gettop(L));
        lua_pop(L, 1);
    }
    for (int i = 0; i < count && fits; i++) {
        size_t len;
        Text name = {0};
        if (lua_type(L, order[i]) == LUA_TSTRING) {
            const char *text = lua_tolstring(L, order[i], &len);
            text_put(&name, text, strnlen(text, len)); /* keys of ours end at a zero byte */
        } else {
            put_scalar(&name, L, order[i]);
        }
        text_put(&name, "", 1);
        lua_pushvalue(L, order[i]);
        lua_rawget(L, table);
        fits = !name.failed && json_value(s, name.bytes, lua_gettop(L));
        text_free(&name);
        lua_pop(L, 1);
    }
    json_close(s->out, array ? ']' : '}');
    free(order);
    lua_settop(L, top);
    return fits;
}

static bool json_value(Show *s, const char *key, int index) {
    lua_State *L = s->L;
    size_t len;
    if (s->out->failed || s->out->len - s->start > s->limits.length || !lua_checkstack(L, 8)) return false;
    switch (lua_type(L, index)) {
    case LUA_TNIL: json_null(s->out, key); return true;
    case LUA_TBOOLEAN: json_bool(s->out, key, lua_toboolean(L, index)); return true;
    case LUA_TNUMBER:
        if (lua_isinteger(L, index)) json_integer(s->out, key, lua_tointeger(L, index));
        else json_number(s->out, key, lua_tonumber(L, index));
        return true;
    case LUA_TSTRING: {
        const char *text = lua_tolstring(L, index, &len);
        if (len > s->limits.length) return false;
        json_string(s->out, key, text, len);
        return true;
    }
    case LUA_TTABLE: {
        const void *self = lua_topointer(L, index);
        for (int i = 0; i < s->level; i++)
            if (s->path[i] == self) return false;
        if (s->level == SHOW_DEPTH_MAX) return false;
        s->path[s->level++] = self;
        if (key != NULL) {
            json_raw(s->out, key, "", 0); /* the key and its colon; the bracket follows */
        }
        bool fits = json_entries(s, index);
        s->level--;
        return fits;
    }
    default: {
        Text text = {0};
        put_scalar(&text, L, index);
        json_string(s->out, key, text.bytes, text.len);
        text_free(&text);
        return true;
    }
    }
}

bool show_json(lua_State *L, int index, ShowLimits limits, Text *out) {
    limits.entries = limits.entries < KEYS_MOST ? KEYS_MOST : limits.entries;
    Show s = {.L = L, .out = out, .limits = limits, .start = out->len};
    size_t mark = out->len;
    if (json_value(&s, NULL, lua_absindex(L, index)) && !out->failed) return true;
    out->len = mark;
    return false;
}
