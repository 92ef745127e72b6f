/* json.h - JSON in, from bytes that are hostile, and out, into a buffer that grows.
 *
 * Strings of Lua hold any bytes, JSON's do not: a byte that is not part of valid UTF-8 is written as the escape of the
 * code point U+DC80 + (byte - 128), and read back as that byte. Numbers: what fits a 64-bit integer is one, all else is
 * a double, written so that it reads back the same; infinities and NaN are null. Threads: whoever holds it. */
#ifndef GROUND_JSON_H
#define GROUND_JSON_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- in ---- */

#define JSON_DEPTH_MAX 64
#define JSON_VALUES_MAX 20000 /* in one document, keys counted as well */

typedef enum {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_INTEGER,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
} JsonType;

typedef struct Json {
    uint8_t type;   /* JsonType */
    uint32_t next;  /* the value behind it in the same document: past its elements, if it has any */
    uint32_t len;   /* of a string: bytes; else elements, or pairs (a key and a value, one behind the other) */
    union {
        int64_t integer;
        double number;
        const char *text; /* any bytes; not NUL-terminated */
    };
} Json;

/* Parses `text`, which is overwritten and keeps the strings, so it must outlive the values. *values is one array, the
 * document first, to be freed; 0, or UV_EINVAL, UV_E2BIG (too deep, too many), UV_ENOMEM with a word in *why (a
 * constant), and then *values is NULL. */
int json_parse(char *text, size_t len, Json **values, const char **why);

/* The value of a key, the last one if it is there more often; NULL if it is not, or `object` is no object. */
const Json *json_get(const Json *object, const char *key);
bool json_is(const Json *string, const char *text); /* a string, and that one; NULL is fine */

/* The first element, key or NULL; then the one behind it (a key is followed by its value). json_next counts nothing. */
static inline const Json *json_first(const Json *v) { return v->type >= JSON_ARRAY && v->len > 0 ? v + 1 : NULL; }
static inline const Json *json_next(const Json *v) { return v + v->next; }

/* The length of the UTF-8 sequence at `s`, of which there are `left` bytes, at least 1; 0: that byte is none. */
size_t json_utf8(const char *s, size_t left);

/* ---- out ---- */

typedef struct Text {
    char *bytes; /* NULL while empty; not NUL-terminated */
    size_t len, room;
    bool failed; /* memory was short: something is missing, and nothing more is added */
} Text;

void text_free(Text *t);  /* and it is empty again */
void text_put(Text *t, const char *bytes, size_t len);
void text_add(Text *t, const char *words); /* NUL-terminated */
void text_format(Text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* JSON: these add a value; with a key before it (NULL: none), and a comma before that if one is due, which the
 * byte before tells. */
void json_open(Text *t, const char *key, char bracket); /* '{' or '[' */
void json_close(Text *t, char bracket);
void json_null(Text *t, const char *key);
void json_bool(Text *t, const char *key, bool value);
void json_integer(Text *t, const char *key, int64_t value);
void json_number(Text *t, const char *key, double value);
void json_string(Text *t, const char *key, const char *bytes, size_t len);
void json_words(Text *t, const char *key, const char *words); /* NUL-terminated; NULL is null */
void json_write(Text *t, const Json *v); /* what was parsed */
void json_raw(Text *t, const char *key, const char *json, size_t len); /* what is JSON already */
#endif
