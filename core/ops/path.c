#include "ops/path.h"

#include <string.h>

Path path_of(const char *text, size_t len) {
    Path p = {text, text + len, true, false};
    if (len >= 4 && memcmp(text, "self", 4) == 0 && (len == 4 || text[4] == '.' || text[4] == '['))
        p.at += 4, p.first = false;
    return p;
}

static bool wrong(Path *p) {
    p->wrong = true;
    return false;
}

/* Behind the bracket. */
static bool index_step(Path *p, PathStep *out) {
    const char *at = p->at;
    if (at < p->end && (*at == '"' || *at == '\'')) {
        const char *close = memchr(at + 1, *at, (size_t)(p->end - at - 1));
        if (close == NULL || close + 1 >= p->end || close[1] != ']') return wrong(p);
        *out = (PathStep){at + 1, (size_t)(close - at - 1), 0};
        p->at = close + 2;
        return true;
    }
    bool minus = at < p->end && *at == '-';
    const char *digits = at += minus;
    *out = (PathStep){0};
    for (; at < p->end && *at >= '0' && *at <= '9'; at++) {
        if (at - digits == 18) return wrong(p);
        out->number = out->number * 10 + (*at - '0');
    }
    if (at == digits || at == p->end || *at != ']') return wrong(p);
    if (minus) out->number = -out->number;
    p->at = at + 1;
    return true;
}

bool path_next(Path *p, PathStep *out) {
    if (p->at >= p->end || p->wrong) return false;
    bool first = p->first;
    p->first = false;
    if (*p->at == '[') return p->at++, index_step(p, out);
    if (*p->at == '.' && !first) p->at++;
    else if (!first) return wrong(p);
    const char *start = p->at;
    while (p->at < p->end && *p->at != '.' && *p->at != '[') p->at++;
    *out = (PathStep){start, (size_t)(p->at - start), 0};
    return p->at > start || wrong(p);
}
