#include "ops/flame.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "ground/hash.h"

#define WIDTH 1200.0
#define MARGIN 10.0
#define BAR 18         /* a level's height */
#define HEAD 44        /* the title's */
#define CHAR 6.7       /* how wide a letter is, about */
#define NARROW 0.3     /* what nobody sees */
#define PICTURE_MOST ((size_t)3 << 20)
#define DEPTH_MOST 200 /* levels; frames above are left out */

typedef struct Line {
    const char *text;
    size_t len;
    uint64_t count;
} Line;

typedef struct Flame {
    Text *out;
    Line *lines;
    double unit; /* width of one sample */
    uint64_t total;
    int height;
} Flame;

static void put_escaped(Text *t, const char *text, size_t len) {
    size_t i = 0;
    while (i < len) {
        unsigned char c = (unsigned char)text[i];
        /* How long the character is that begins here; 0: it is none, and no XML. */
        size_t size = c < 0x20 ? 0 : c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : 0;
        bool whole = size > 0 && i + size <= len;
        for (size_t k = 1; whole && k < size; k++) whole = ((unsigned char)text[i + k] & 0xc0) == 0x80;
        if (whole && size == 3) { /* too long a form, surrogates, and what is no character */
            unsigned second = (unsigned char)text[i + 1] & 63u, third = (unsigned char)text[i + 2] & 63u,
                     code = (c & 15u) << 12 | second << 6 | third;
            whole = code >= 0x800 && !(code >= 0xd800 && code <= 0xdfff) && code < 0xfffe;
        }
        if (!whole) text_add(t, "?"), size = 1;
        else if (c == '<') text_add(t, "&lt;");
        else if (c == '&') text_add(t, "&amp;");
        else if (c == '"') text_add(t, "&quot;");
        else text_put(t, text + i, size);
        i += size;
    }
}

/* Lua is warm, C is cool, what is neither grey; the same function has the same shade everywhere. */
static void put_color(Text *t, const char *label, size_t len, int depth) {
    unsigned shade = (unsigned)(hash_bytes(label, len) % 40);
    if (label[0] == '(') text_add(t, "#c8c8c8");
    else if (depth == 0) text_format(t, "hsl(%u,45%%,72%%)", 90 + shade);
    else if (len > 4 && memcmp(label + len - 4, " (C)", 4) == 0) text_format(t, "hsl(%u,55%%,75%%)", 195 + shade / 2);
    else text_format(t, "hsl(%u,80%%,%u%%)", 18 + shade * 3 / 4, 64 + shade % 12);
}

static void put_bar(const Flame *f, const char *label, size_t len, uint64_t count, int depth, double x) {
    Text *t = f->out;
    double width = (double)count * f->unit;
    int y = f->height - (depth + 1) * BAR - 4;
    text_add(t, "<g><title>");
    put_escaped(t, label, len);
    text_format(t, " - %llu samples, %.1f %%</title><rect x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\" fill=\"",
                (unsigned long long)count, 100.0 * (double)count / (double)f->total, x, y, width, BAR - 1);
    put_color(t, label, len, depth);
    text_add(t, "\"/>");
    size_t fits = width > 8 ? (size_t)((width - 6) / CHAR) : 0;
    if (fits >= 3) {
        text_format(t, "<text x=\"%.2f\" y=\"%d\">", x + 3, y + 13);
        put_escaped(t, label, len <= fits ? len : fits - 2);
        text_add(t, len <= fits ? "</text>" : "..</text>");
    }
    text_add(t, "</g>\n");
}

static size_t frame_end(const Line *l, size_t at) {
    const char *end = memchr(l->text + at, ';', l->len - at);
    return end != NULL ? (size_t)(end - l->text) : l->len;
}

/* The frames that begin at byte `at` of the lines first..last - 1, which are alike up to there. */
static void draw(const Flame *f, size_t first, size_t last, size_t at, int depth, double x) {
    while (first < last && depth < DEPTH_MOST) {
        const Line *l = &f->lines[first];
        size_t end = frame_end(l, at), same = first, inner = first;
        uint64_t count = 0;
        for (; same < last; same++) {
            const Line *o = &f->lines[same];
            if (frame_end(o, at) != end || memcmp(o->text + at, l->text + at, end - at) != 0) break;
            count += o->count;
        }
        if ((double)count * f->unit >= NARROW && f->out->len < PICTURE_MOST) {
            put_bar(f, l->text + at, end - at, count, depth, x);
            while (inner < same && f->lines[inner].len == end) inner++; /* its own time has no bar above it */
            draw(f, inner, same, end + 1, depth + 1, x);
        }
        x += (double)count * f->unit;
        first = same;
    }
}

/* The lines, and how many levels they have. */
static size_t take_lines(Line *lines, const char *folded, size_t len, uint64_t *total, int *levels) {
    size_t n = 0;
    for (const char *at = folded, *end = folded + len, *line_end; at < end; at = line_end + 1) {
        line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL) line_end = end;
        const char *space = memrchr(at, ' ', (size_t)(line_end - at));
        uint64_t count = 0;
        int depth = 1;
        bool number = space != NULL && space > at && space + 1 < line_end && line_end - space < 16;
        for (const char *c = space != NULL ? space + 1 : line_end; c < line_end && number; c++) {
            number = *c >= '0' && *c <= '9';
            count = count * 10 + (uint64_t)(*c - '0');
        }
        if (!number || count == 0) continue;
        for (const char *c = at; c < space; c++) depth += *c == ';';
        if (depth > *levels) *levels = depth;
        *total += count;
        lines[n++] = (Line){at, (size_t)(space - at), count};
    }
    return n;
}

void flame_draw(Text *out, const char *folded, size_t len, const char *title) {
    size_t most = 1;
    int levels = 1;
    Flame f = {.out = out};
    for (size_t i = 0; i < len; i++) most += folded[i] == '\n';
    if ((f.lines = malloc(most * sizeof *f.lines)) == NULL) {
        out->failed = true;
        return;
    }
    size_t n = take_lines(f.lines, folded, len, &f.total, &levels);
    if (levels > DEPTH_MOST) levels = DEPTH_MOST;
    f.unit = f.total > 0 ? (WIDTH - 2 * MARGIN) / (double)f.total : 0;
    f.height = HEAD + levels * BAR + 10;
    text_format(out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %d\" width=\"%.0f\" height=\"%d\">\n"
                "<style>text{font:11px monospace;fill:#222}.t{font:bold 15px sans-serif}.s{font:12px sans-serif}"
                "g:hover rect{stroke:#000;stroke-width:.7}</style>\n"
                "<rect width=\"100%%\" height=\"100%%\" fill=\"#fdfdfb\"/>\n<text class=\"t\" x=\"%.0f\" y=\"20\">",
                WIDTH, f.height, WIDTH, f.height, MARGIN);
    put_escaped(out, title, strlen(title));
    text_format(out,
                "</text>\n<text class=\"s\" x=\"%.0f\" y=\"37\">%llu samples. A bar is a function, as wide as the time "
                "it was at work or waited for those above it. Green: behaviour and handler; warm: Lua; blue: C."
                "</text>\n",
                MARGIN, (unsigned long long)f.total);
    draw(&f, 0, n, 0, 0, MARGIN);
    text_add(out, "</svg>\n");
    free(f.lines);
}
