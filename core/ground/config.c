#include "ground/config.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define KEY_MAX 32    /* longer than any key we have; what is longer is no misspelling */
#define NUMBER_MAX 24 /* an int64_t in decimal, or with a suffix, and the 0 */

typedef struct Setting {
    const char *key, *text;
    size_t offset; /* of its int64_t in Config */
    int64_t preset, least, most;
} Setting;

static const Setting settings[] = {
#define X(name, key, preset, least, most, text) {key, text, offsetof(Config, name), preset, least, most},
    CONFIG(X)
#undef X
};
#define SETTINGS (sizeof settings / sizeof settings[0])

/* Each default lies within its own bounds, and each key fits the table of distances. */
#define X(name, key, preset, least, most, text) \
    _Static_assert((least) <= (preset) && (preset) <= (most), "the default of " key " is out of its bounds"); \
    _Static_assert(sizeof key <= KEY_MAX, key " is longer than KEY_MAX");
CONFIG(X)
#undef X

Config config = {
#define X(name, key, preset, least, most, text) .name = preset,
    CONFIG(X)
#undef X
};

void config_preset(Config *c) {
#define X(name, key, preset, least, most, text) c->name = preset;
    CONFIG(X)
#undef X
}

static const Setting *setting_find(const char *key, size_t len) {
    for (size_t i = 0; i < SETTINGS; i++)
        if (strlen(settings[i].key) == len && memcmp(settings[i].key, key, len) == 0) return &settings[i];
    return NULL;
}

/* Levenshtein's distance: how many letters to add, drop or change to get from one text to the other. */
static size_t distance(const char *a, size_t a_len, const char *b) {
    size_t b_len = strlen(b), row[KEY_MAX];
    for (size_t j = 0; j <= b_len; j++) row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t above = row[j];
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (above + 1 < best) best = above + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[b_len];
}

static const Setting *setting_nearest(const char *key, size_t len) {
    if (len > KEY_MAX) len = KEY_MAX;
    const Setting *best = &settings[0];
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < SETTINGS; i++) {
        size_t d = distance(key, len, settings[i].key);
        if (d < least) least = d, best = &settings[i];
    }
    return best;
}

/* As a person would write it: 64m for a round number of bytes, else plain. Returns `out`. */
static const char *show(int64_t n, char out[NUMBER_MAX]) {
    const char *suffix = "";
    if (n >= 65536 && n % 1000 != 0) {
        if (n % (1ll << 30) == 0) n >>= 30, suffix = "g";
        else if (n % (1ll << 20) == 0) n >>= 20, suffix = "m";
        else if (n % (1ll << 10) == 0) n >>= 10, suffix = "k";
    }
    snprintf(out, NUMBER_MAX, "%lld%s", (long long)n, suffix);
    return out;
}

/* One line, whatever was typed: control bytes would not be. */
static __attribute__((format(printf, 3, 4))) int refuse(char *err, size_t err_size, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(err, err_size, format, args);
    va_end(args);
    for (size_t i = 0; i < err_size && err[i] != '\0'; i++)
        if ((unsigned char)err[i] < 0x20 || err[i] == 0x7f) err[i] = '?';
    return UV_EINVAL;
}

/* Digits, perhaps a minus before and one suffix after them, nothing else. UV_ERANGE: more than 64 bits hold. */
static int parse(const char *text, int64_t *out) {
    bool negative = *text == '-';
    const char *p = text + negative;
    int64_t n = 0;
    bool over = false;
    if (*p < '0' || *p > '9') return UV_EINVAL;
    for (; *p >= '0' && *p <= '9'; p++)
        over = over || __builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *p - '0', &n);
    int64_t unit = 1;
    switch (*p) {
    case 'k': case 'K': unit = 1ll << 10; break;
    case 'm': case 'M': unit = 1ll << 20; break;
    case 'g': case 'G': unit = 1ll << 30; break;
    default: break;
    }
    if (p[unit > 1] != '\0') return UV_EINVAL;
    if (over || __builtin_mul_overflow(n, unit, &n)) return UV_ERANGE;
    *out = negative ? -n : n;
    return 0;
}

int config_set(Config *c, const char *assignment, char *err, size_t err_size) {
    const char *equals = strchr(assignment, '=');
    size_t len = equals != NULL ? (size_t)(equals - assignment) : strlen(assignment);
    int shown = len > 64 ? 64 : (int)len;
    const Setting *s = setting_find(assignment, len);
    if (s == NULL && len == 0)
        return refuse(err, err_size, "a setting is written as key=value, for instance %s=0", settings[0].key);
    if (s == NULL)
        return refuse(err, err_size, "no setting is called \"%.*s\"; did you mean \"%s\"?", shown, assignment,
                      setting_nearest(assignment, len)->key);

    char least[NUMBER_MAX], most[NUMBER_MAX];
    show(s->least, least);
    show(s->most, most);
    if (equals == NULL || equals[1] == '\0')
        return refuse(err, err_size, "%s needs a value: %s=N with N from %s to %s", s->key, s->key, least, most);
    int64_t value = 0;
    int bad = parse(equals + 1, &value);
    if (bad == UV_EINVAL)
        return refuse(err, err_size, "%s=%.64s: not a whole number from %s to %s (k, m or g may follow it)", s->key,
                      equals + 1, least, most);
    if (bad < 0 || value < s->least || value > s->most)
        return refuse(err, err_size, "%s=%.64s: must be from %s to %s", s->key, equals + 1, least, most);
    *(int64_t *)(void *)((char *)c + s->offset) = value;
    return 0;
}

void config_list(void (*line)(void *context, const char *text), void *context) {
    char text[256], assignment[KEY_MAX + NUMBER_MAX], preset[NUMBER_MAX], least[NUMBER_MAX], most[NUMBER_MAX];
    for (size_t i = 0; i < SETTINGS; i++) {
        const Setting *s = &settings[i];
        snprintf(assignment, sizeof assignment, "%s=%s", s->key, show(s->preset, preset));
        snprintf(text, sizeof text, "%-22s %s (%s to %s)", assignment, s->text, show(s->least, least),
                 show(s->most, most));
        line(context, text);
    }
}
