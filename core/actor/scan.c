/* The format is that of lua_dump in Lua 5.4: a head, then one function, which holds the functions within it. Upvalues
 * say where they come from: a local of the function around, or one of its upvalues; followed up to the main chunk that
 * tells a file-level local (a local of the main chunk) from a global (_ENV, its one upvalue). */
#include "actor/scan.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define HEAD 31        /* signature to the check of numbers */
#define DEPTH_MOST 200 /* functions within functions; the compiler's own limit */
#define NOTES_MOST 1000

enum { OP_GETUPVAL = 9, OP_SETUPVAL, OP_SETTABUP = 15, OP_SETTABLE, OP_SETI, OP_SETFIELD };
enum { LINE_ABSOLUTE = -128 };


typedef struct Function {
    const struct Function *around; /* NULL: the main chunk */
    const unsigned char *upvalues; /* 3 bytes each */
    size_t upvalue_count;
} Function;

typedef struct Reader {
    const unsigned char *at, *end;
    bool bad;
    Scan *scan;
} Reader;

static uint8_t byte(Reader *r) {
    if (r->at >= r->end) {
        r->bad = true;
        return 0;
    }
    return *r->at++;
}

static size_t number(Reader *r) {
    size_t x = 0;
    uint8_t b;
    do {
        b = byte(r);
        x = x << 7 | (b & 0x7f);
    } while (!(b & 0x80) && !r->bad);
    return x;
}

static const unsigned char *bytes(Reader *r, size_t count, size_t size) {
    const unsigned char *at = r->at;
    if (r->bad || count > (size_t)(r->end - r->at) / size) {
        r->bad = true;
        return NULL;
    }
    r->at += count * size;
    return at;
}

static const char *string(Reader *r, size_t *len) {
    size_t size = number(r);
    *len = size > 0 ? size - 1 : 0;
    return size > 0 ? (const char *)bytes(r, *len, 1) : NULL;
}

static void skip_constants(Reader *r) {
    size_t len;
    for (size_t n = number(r); n > 0 && !r->bad; n--) switch (byte(r)) {
        case 0x03:
        case 0x13: bytes(r, 8, 1); break;
        case 0x04:
        case 0x14: string(r, &len); break;
        default: break;
        }
}

typedef enum { OWNED_BY_FUNCTION, OWNED_BY_FILE, GLOBALS } Owner;

static Owner owner_of(const Function *f, size_t index) {
    for (; f != NULL; f = f->around) {
        if (index >= f->upvalue_count) return OWNED_BY_FUNCTION;
        const unsigned char *u = f->upvalues + 3 * index;
        if (f->around == NULL) return GLOBALS; /* the main chunk's only upvalue */
        if (u[0] != 0) return f->around->around == NULL ? OWNED_BY_FILE : OWNED_BY_FUNCTION;
        index = u[1];
    }
    return OWNED_BY_FUNCTION;
}

typedef struct Name {
    const char *text;
    size_t len;
} Name;

static void note(Reader *r, ScanKind kind, int line, int first, int last, const Name *names, size_t name_count,
                 size_t upvalue) {
    Scan *s = r->scan;
    ScanNote n = {.kind = kind, .line = line, .first = first, .last = last};
    if (kind != SCAN_GLOBAL && upvalue < name_count && names[upvalue].text != NULL)
        snprintf(n.name, sizeof n.name, "%.*s", (int)(names[upvalue].len < 63 ? names[upvalue].len : 63),
                 names[upvalue].text);
    for (size_t i = 0; i < s->count; i++) /* once a line and name */
        if (s->notes[i].kind == kind && s->notes[i].line == line && strcmp(s->notes[i].name, n.name) == 0) return;
    if (s->count == NOTES_MOST) return;
    if (s->count == s->room) {
        size_t room = s->room == 0 ? 8 : s->room * 2;
        ScanNote *more = realloc(s->notes, room * sizeof *more);
        if (more == NULL) {
            r->bad = true;
            return;
        }
        s->notes = more, s->room = room;
    }
    s->notes[s->count++] = n;
}

typedef struct Lines {
    const signed char *steps;
    size_t count, absolute_count, next;
    const unsigned char *absolute; /* pairs of numbers, to be read along */
    const unsigned char *end;
    int line;
} Lines;

static void look_at_code(Reader *r, const Function *f, const unsigned char *code, size_t count, int first, int last,
                         Lines lines, const Name *names, size_t name_count) {
    int from[256]; /* which upvalue a register holds, + 1 */
    Reader absolute = {.at = lines.absolute, .end = lines.end};
    memset(from, 0, sizeof from);
    for (size_t pc = 0; pc < count; pc++) {
        uint32_t i;
        memcpy(&i, code + 4 * pc, 4);
        unsigned op = i & 0x7f, a = i >> 7 & 0xff, b = i >> 16 & 0xff;
        if (pc < lines.count) {
            if (lines.steps[pc] == LINE_ABSOLUTE) {
                number(&absolute);
                lines.line = (int)number(&absolute);
            } else {
                lines.line += lines.steps[pc];
            }
        }
        switch (op) {
        case OP_GETUPVAL: from[a] = owner_of(f, b) == OWNED_BY_FILE ? (int)b + 1 : 0; continue;
        case OP_SETUPVAL:
            if (owner_of(f, b) == OWNED_BY_FILE)
                note(r, SCAN_ASSIGNS, lines.line, first, last, names, name_count, b);
            continue;
        case OP_SETTABUP: {
            Owner owner = owner_of(f, a);
            if (owner != OWNED_BY_FUNCTION)
                note(r, owner == GLOBALS ? SCAN_GLOBAL : SCAN_WRITES_INTO, lines.line, first, last, names, name_count,
                     a);
            continue;
        }
        case OP_SETTABLE:
        case OP_SETI:
        case OP_SETFIELD:
            if (from[a] > 0)
                note(r, SCAN_WRITES_INTO, lines.line, first, last, names, name_count, (size_t)from[a] - 1);
            continue;
        default: from[a] = 0; continue; /* most write to R[A]; of the rest no harm comes */
        }
    }
}

static void function(Reader *r, const Function *around, int depth) {
    size_t len, code_count, names_count, n;
    Function f = {.around = around};
    if (depth > DEPTH_MOST) r->bad = true;
    string(r, &len); /* its source */
    int first = (int)number(r), last = (int)number(r);
    bytes(r, 3, 1); /* parameters, varargs, stack */
    code_count = number(r);
    const unsigned char *code = bytes(r, code_count, 4);
    skip_constants(r);
    f.upvalue_count = number(r);
    f.upvalues = bytes(r, f.upvalue_count, 3);
    for (n = number(r); n > 0 && !r->bad; n--) function(r, &f, depth + 1);
    Lines lines = {.line = first};
    lines.count = number(r);
    lines.steps = (const signed char *)bytes(r, lines.count, 1);
    lines.absolute_count = number(r);
    lines.absolute = r->at;
    for (n = lines.absolute_count; n > 0 && !r->bad; n--) number(r), number(r);
    lines.end = r->at;
    for (n = number(r); n > 0 && !r->bad; n--) string(r, &len), number(r), number(r);
    Name names[256];
    names_count = number(r);
    for (n = 0; n < names_count && !r->bad; n++) {
        Name name;
        name.text = string(r, &name.len);
        if (n < 256) names[n] = name;
    }
    if (names_count > 256) names_count = 256;
    if (!r->bad && around != NULL) look_at_code(r, &f, code, code_count, first, last, lines, names, names_count);
}

int scan_source(const Source *s, Scan *out) {
    Reader r = {.at = (const unsigned char *)s->code, .scan = out};
    *out = (Scan){0};
    r.end = r.at + s->code_size;
    if (s->code_size <= HEAD || memcmp(s->code, "\x1bLua\x54\0", 6) != 0) return UV_EINVAL;
    r.at += HEAD;
    byte(&r); /* how many upvalues the main chunk has */
    function(&r, NULL, 0);
    return r.bad ? UV_EINVAL : 0;
}

void scan_free(Scan *scan) {
    free(scan->notes);
    *scan = (Scan){0};
}
