#include "ground/json.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* ---- UTF-8 ---- */

/* The length of the valid sequence at `s`, 0 if there is none. */
static size_t utf8_length(const unsigned char *s, size_t left) {
    size_t len = *s < 0x80                  ? 1
                 : *s >= 0xc2 && *s < 0xe0 ? 2
                 : (*s & 0xf0) == 0xe0     ? 3
                 : *s >= 0xf0 && *s < 0xf5 ? 4
                                           : 0;
    if (len == 0 || len > left) return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] >= 0xa0) || (*s == 0xf0 && s[1] < 0x90) ||
        (*s == 0xf4 && s[1] >= 0x90))
        return 0; /* overlong, a surrogate, past the last one */
    return len;
}

size_t json_utf8(const char *s, size_t left) { return utf8_length((const unsigned char *)s, left); }

static size_t utf8_write(uint32_t code, char *out) {
    if (code < 0x80) return out[0] = (char)code, 1;
    if (code < 0x800) return out[0] = (char)(0xc0 | code >> 6), out[1] = (char)(0x80 | (code & 63)), 2;
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12), out[1] = (char)(0x80 | (code >> 6 & 63));
        out[2] = (char)(0x80 | (code & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18), out[1] = (char)(0x80 | (code >> 12 & 63));
    out[2] = (char)(0x80 | (code >> 6 & 63)), out[3] = (char)(0x80 | (code & 63));
    return 4;
}

/* ---- in ---- */

typedef struct Parser {
    char *at, *end;
    Json *values;
    uint32_t count, room;
    const char *why;
} Parser;

static int wrong(Parser *p, int err, const char *why) {
    p->why = why;
    return err;
}

static void skip(Parser *p) {
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r')) p->at++;
}

static int hex4(const char *at, const char *end, uint32_t *out) {
    if (end - at < 4) return -1;
    *out = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        *out = *out << 4 | (uint32_t)digit;
    }
    return 0;
}

/* Behind "\u"; what it stands for goes to *out. It is never longer than what it is written as. */
static int escape_u(Parser *p, char **out) {
    uint32_t code, low;
    if (hex4(p->at, p->end, &code) < 0) return wrong(p, UV_EINVAL, "\\u wants four hexadecimal digits");
    p->at += 4;
    if (code >= 0xd800 && code < 0xdc00) {
        if (p->end - p->at < 6 || p->at[0] != '\\' || p->at[1] != 'u' || hex4(p->at + 2, p->end, &low) < 0 ||
            low < 0xdc00 || low >= 0xe000)
            return wrong(p, UV_EINVAL, "half of a surrogate pair");
        p->at += 6;
        code = 0x10000 + ((code - 0xd800) << 10 | (low - 0xdc00));
    } else if (code >= 0xdc80 && code <= 0xdcff) {
        *(*out)++ = (char)(code - 0xdc00);
        return 0;
    } else if (code >= 0xdc00 && code < 0xe000) {
        return wrong(p, UV_EINVAL, "half of a surrogate pair");
    }
    *out += utf8_write(code, *out);
    return 0;
}

static int parse_string(Parser *p, Json *v) {
    char *out = ++p->at;
    v->type = JSON_STRING;
    v->text = out;
    for (;;) {
        if (p->at >= p->end) return wrong(p, UV_EINVAL, "a string without its end");
        unsigned char c = (unsigned char)*p->at;
        if (c == '"') break;
        if (c < ' ') return wrong(p, UV_EINVAL, "a control character in a string");
        if (c == '\\') {
            static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
            if (p->end - p->at < 2) return wrong(p, UV_EINVAL, "a string without its end");
            char kind = p->at[1];
            const char *found = kind != '\0' ? strchr(from, kind) : NULL;
            p->at += 2;
            if (kind == 'u') {
                int err = escape_u(p, &out);
                if (err < 0) return err;
            } else if (found != NULL) {
                *out++ = to[found - from];
            } else {
                return wrong(p, UV_EINVAL, "an unknown escape in a string");
            }
            continue;
        }
        size_t len = utf8_length((const unsigned char *)p->at, (size_t)(p->end - p->at));
        if (len == 0) return wrong(p, UV_EINVAL, "a string that is not UTF-8");
        memmove(out, p->at, len);
        out += len;
        p->at += len;
    }
    p->at++;
    v->len = (uint32_t)(out - v->text);
    return 0;
}

static bool digits(Parser *p) {
    char *from = p->at;
    while (p->at < p->end && *p->at >= '0' && *p->at <= '9') p->at++;
    return p->at > from;
}

static int parse_number(Parser *p, Json *v) {
    char *from = p->at, copy[64], *end;
    bool whole = true;
    if (*p->at == '-') p->at++;
    char *first = p->at;
    if (!digits(p) || (*first == '0' && p->at - first > 1)) return wrong(p, UV_EINVAL, "no JSON");
    if (p->at < p->end && *p->at == '.') {
        whole = false;
        p->at++;
        if (!digits(p)) return wrong(p, UV_EINVAL, "a number that ends in its point");
    }
    if (p->at < p->end && (*p->at == 'e' || *p->at == 'E')) {
        whole = false;
        p->at++;
        if (p->at < p->end && (*p->at == '+' || *p->at == '-')) p->at++;
        if (!digits(p)) return wrong(p, UV_EINVAL, "a number that ends in its exponent");
    }
    size_t len = (size_t)(p->at - from);
    if (len >= sizeof copy) return wrong(p, UV_E2BIG, "a number with too many digits");
    memcpy(copy, from, len);
    copy[len] = '\0';
    if (whole && len < 19) {
        v->type = JSON_INTEGER;
        v->integer = strtoll(copy, &end, 10);
    } else if (whole) {
        errno = 0;
        v->integer = strtoll(copy, &end, 10);
        v->type = JSON_INTEGER;
        if (errno != 0) whole = false;
    }
    if (!whole) {
        v->type = JSON_NUMBER;
        v->number = strtod(copy, &end);
        if (!isfinite(v->number)) return wrong(p, UV_EINVAL, "a number too large");
    }
    return 0;
}

static int word(Parser *p, Json *v, const char *text, JsonType type) {
    size_t len = strlen(text);
    if ((size_t)(p->end - p->at) < len || memcmp(p->at, text, len) != 0) return wrong(p, UV_EINVAL, "no JSON");
    p->at += len;
    v->type = (uint8_t)type;
    return 0;
}

/* Values move when there are more: only numbers are kept over a call. */
static int add(Parser *p, uint32_t *number) {
    if (p->count == JSON_VALUES_MAX) return wrong(p, UV_E2BIG, "too many values");
    if (p->count == p->room) {
        uint32_t room = p->room == 0 ? 16 : p->room * 2;
        Json *more = realloc(p->values, room * sizeof *more);
        if (more == NULL) return wrong(p, UV_ENOMEM, "out of memory");
        p->values = more;
        p->room = room;
    }
    *number = p->count++;
    p->values[*number] = (Json){0};
    return 0;
}

static int parse(Parser *p, int depth);

static int parse_many(Parser *p, int depth, uint32_t self) {
    bool object = *p->at++ == '{';
    char close = object ? '}' : ']';
    uint32_t key, len = 0;
    int err;
    p->values[self].type = object ? JSON_OBJECT : JSON_ARRAY;
    if (depth == JSON_DEPTH_MAX) return wrong(p, UV_E2BIG, "too deep");
    skip(p);
    if (p->at < p->end && *p->at == close) return p->at++, 0;
    for (;;) {
        if (object) {
            skip(p);
            if (p->at >= p->end || *p->at != '"') return wrong(p, UV_EINVAL, "an object wants a key");
            if ((err = add(p, &key)) < 0 || (err = parse_string(p, &p->values[key])) < 0) return err;
            p->values[key].next = 1;
            skip(p);
            if (p->at >= p->end || *p->at != ':') return wrong(p, UV_EINVAL, "a key wants a colon and a value");
            p->at++;
        }
        if ((err = parse(p, depth + 1)) < 0) return err;
        len++;
        skip(p);
        if (p->at < p->end && *p->at == ',') {
            p->at++;
            continue;
        }
        if (p->at >= p->end || *p->at != close)
            return wrong(p, UV_EINVAL, object ? "an object without its end" : "an array without its end");
        p->at++;
        p->values[self].len = len;
        return 0;
    }
}

static int parse(Parser *p, int depth) {
    uint32_t self;
    int err = add(p, &self);
    if (err < 0) return err;
    skip(p);
    if (p->at >= p->end) return wrong(p, UV_EINVAL, "it ends too early");
    Json *v = &p->values[self];
    switch (*p->at) {
    case '{':
    case '[': err = parse_many(p, depth, self); break;
    case '"': err = parse_string(p, v); break;
    case 'n': err = word(p, v, "null", JSON_NULL); break;
    case 't': err = word(p, v, "true", JSON_TRUE); break;
    case 'f': err = word(p, v, "false", JSON_FALSE); break;
    default: err = parse_number(p, v); break;
    }
    p->values[self].next = p->count - self;
    return err;
}

int json_parse(char *text, size_t len, Json **values, const char **why) {
    Parser p = {.at = text, .end = text + len};
    int err = parse(&p, 0);
    if (err == 0) {
        skip(&p);
        if (p.at < p.end) err = wrong(&p, UV_EINVAL, "something stands behind the value");
    }
    if (err < 0) {
        free(p.values);
        p.values = NULL;
    }
    *values = p.values;
    *why = p.why;
    return err;
}

bool json_is(const Json *v, const char *text) {
    return v != NULL && v->type == JSON_STRING && v->len == strlen(text) && memcmp(v->text, text, v->len) == 0;
}

const Json *json_get(const Json *object, const char *key) {
    const Json *found = NULL;
    if (object == NULL || object->type != JSON_OBJECT) return NULL;
    const Json *at = json_first(object);
    for (uint32_t i = 0; i < object->len; i++, at = json_next(at + 1))
        if (json_is(at, key)) found = at + 1;
    return found;
}

/* ---- out ---- */

void text_free(Text *t) {
    free(t->bytes);
    *t = (Text){0};
}

static char *more(Text *t, size_t len) {
    if (t->failed) return NULL;
    if (t->room - t->len < len) {
        size_t room = t->room == 0 ? 256 : t->room;
        while (room - t->len < len) room *= 2;
        char *bytes = realloc(t->bytes, room);
        if (bytes == NULL) {
            t->failed = true;
            return NULL;
        }
        t->bytes = bytes;
        t->room = room;
    }
    return t->bytes + t->len;
}

void text_put(Text *t, const char *bytes, size_t len) {
    char *at = len > 0 ? more(t, len) : NULL;
    if (at == NULL) return;
    memcpy(at, bytes, len);
    t->len += len;
}

void text_add(Text *t, const char *words) { text_put(t, words, strlen(words)); }

void text_format(Text *t, const char *format, ...) {
    char small[256];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (len < 0) return;
    if ((size_t)len < sizeof small) {
        text_put(t, small, (size_t)len);
        return;
    }
    char *at = more(t, (size_t)len + 1);
    if (at == NULL) return;
    va_start(args, format);
    vsnprintf(at, (size_t)len + 1, format, args);
    va_end(args);
    t->len += (size_t)len;
}

static void quoted(Text *t, const char *bytes, size_t len) {
    const unsigned char *s = (const unsigned char *)bytes;
    size_t i = 0, plain = 0;
    text_put(t, "\"", 1);
    while (i < len) {
        size_t step = utf8_length(s + i, len - i);
        if (step > 0 && s[i] >= ' ' && s[i] != '"' && s[i] != '\\' && s[i] != 127) {
            i += step;
            continue;
        }
        text_put(t, bytes + plain, i - plain);
        if (step == 0) text_format(t, "\\udc%02x", s[i]);
        else if (s[i] == '\n') text_put(t, "\\n", 2);
        else if (s[i] == '\t') text_put(t, "\\t", 2);
        else if (s[i] == '"' || s[i] == '\\') text_format(t, "\\%c", s[i]);
        else text_format(t, "\\u%04x", s[i]);
        plain = ++i;
    }
    text_put(t, bytes + plain, i - plain);
    text_put(t, "\"", 1);
}

static void begin(Text *t, const char *key) {
    char last = t->len > 0 ? t->bytes[t->len - 1] : '[';
    if (last != '[' && last != '{' && last != ':' && last != '\n') text_put(t, ",", 1);
    if (key == NULL) return;
    quoted(t, key, strlen(key));
    text_put(t, ":", 1);
}

void json_open(Text *t, const char *key, char bracket) {
    begin(t, key);
    text_put(t, &bracket, 1);
}

void json_close(Text *t, char bracket) { text_put(t, &bracket, 1); }

void json_null(Text *t, const char *key) {
    begin(t, key);
    text_put(t, "null", 4);
}

void json_bool(Text *t, const char *key, bool value) {
    begin(t, key);
    text_add(t, value ? "true" : "false");
}

void json_integer(Text *t, const char *key, int64_t value) {
    begin(t, key);
    text_format(t, "%lld", (long long)value);
}

void json_number(Text *t, const char *key, double value) {
    char text[40];
    begin(t, key);
    if (!isfinite(value)) {
        text_put(t, "null", 4);
        return;
    }
    snprintf(text, sizeof text, "%.14g", value);
    if (strtod(text, NULL) != value) snprintf(text, sizeof text, "%.17g", value);
    if (strpbrk(text, ".e") == NULL) strcat(text, ".0"); /* else it would come back as an integer */
    text_add(t, text);
}

void json_string(Text *t, const char *key, const char *bytes, size_t len) {
    begin(t, key);
    quoted(t, bytes, len);
}

void json_words(Text *t, const char *key, const char *words) {
    if (words == NULL) json_null(t, key);
    else json_string(t, key, words, strlen(words));
}

void json_raw(Text *t, const char *key, const char *json, size_t len) {
    begin(t, key);
    text_put(t, json, len);
}

void json_write(Text *t, const Json *v) {
    const Json *at = json_first(v);
    switch ((JsonType)v->type) {
    case JSON_NULL: json_null(t, NULL); break;
    case JSON_FALSE:
    case JSON_TRUE: json_bool(t, NULL, v->type == JSON_TRUE); break;
    case JSON_INTEGER: json_integer(t, NULL, v->integer); break;
    case JSON_NUMBER: json_number(t, NULL, v->number); break;
    case JSON_STRING: json_string(t, NULL, v->text, v->len); break;
    case JSON_ARRAY:
        json_open(t, NULL, '[');
        for (uint32_t i = 0; i < v->len; i++, at = json_next(at)) json_write(t, at);
        json_close(t, ']');
        break;
    case JSON_OBJECT:
        json_open(t, NULL, '{');
        for (uint32_t i = 0; i < v->len; i++, at = json_next(at)) {
            json_string(t, NULL, at->text, at->len);
            text_put(t, ":", 1);
            json_write(t, ++at);
        }
        json_close(t, '}');
        break;
    }
}
