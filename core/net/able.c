#include "net/able.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "mail/pid.h"
#include "mail/registry.h"
#include "net/members.h"

typedef struct Node {
    uint64_t actors, sent, turn; /* turn: when it was picked last */
    bool ends;
    char set[ABLE_TEXT_MAX + 1];
} Node;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards these, but for `ours`, which never changes */
static Node *nodes[PID_NODES]; /* by number; kept until able_close */
static uint64_t turns, own_turn;
static char ours[ABLE_TEXT_MAX + 1];
static const char *own_name = "";

/* ---- texts ---- */

static bool key_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
}

static bool is_text(const char *p, size_t len, const char *word) {
    return strlen(word) == len && memcmp(p, word, len) == 0;
}

static void read_value(Able *a) {
    char digits[24], *end;
    a->kind = ABLE_STRING;
    if (is_text(a->text, a->len, "true") || is_text(a->text, a->len, "false")) {
        a->kind = ABLE_BOOLEAN;
        a->yes = a->len == 4;
        return;
    }
    size_t sign = a->len > 0 && a->text[0] == '-';
    if (a->len == sign || a->len >= sizeof digits || strspn(a->text + sign, "0123456789") < a->len - sign) return;
    memcpy(digits, a->text, a->len);
    digits[a->len] = '\0';
    errno = 0;
    a->number = strtoll(digits, &end, 10);
    if (errno == 0) a->kind = ABLE_INTEGER;
}

bool able_next(const char *set, size_t *at, Able *out) {
    if (set[*at] == '\0') return false;
    const char *p = set + *at, *end = p + strcspn(p, ","), *equals = memchr(p, '=', (size_t)(end - p));
    *out = (Able){.key = p, .key_len = (size_t)((equals != NULL ? equals : end) - p), .text = "true", .len = 4};
    if (equals != NULL) out->text = equals + 1, out->len = (size_t)(end - equals - 1);
    read_value(out);
    *at += (size_t)(end - p) + (*end == ',');
    return true;
}

static int complain(char *err, size_t size, const char *text, const char *what) {
    snprintf(err, size, "'%.200s': %s", text, what);
    return UV_EINVAL;
}

int able_add(char set[ABLE_TEXT_MAX + 1], const char *text, char *err, size_t err_size) {
    char whole[ABLE_TEXT_MAX + 1];
    size_t at = 0, other, count = 0;
    Able a, b;
    if (snprintf(whole, sizeof whole, "%s%s%s", set, *set != '\0' ? "," : "", text) >= (int)sizeof whole)
        return complain(err, err_size, text, "that makes more than 512 bytes");
    if (*text == '\0' || text[strlen(text) - 1] == ',')
        return complain(err, err_size, text, "KEY=VALUE[,KEY=VALUE...], such as gpu=true,zone=eu");
    for (const char *c = whole; *c != '\0'; c++)
        if (*c <= ' ' || *c >= 127 || *c == '"' || *c == '\'')
            return complain(err, err_size, text, "no spaces, quotes or letters beyond ASCII");
    while (able_next(whole, &at, &a)) {
        if (a.key_len == 0 || a.key_len > ABLE_KEY_MAX)
            return complain(err, err_size, text, "KEY=VALUE[,KEY=VALUE...], such as gpu=true,zone=eu");
        for (size_t i = 0; i < a.key_len; i++)
            if (!key_letter(a.key[i]))
                return complain(err, err_size, text, "a key has letters, digits, _ - and .");
        if (a.len == 0)
            return complain(err, err_size, text, "a key without a value: KEY=VALUE, or the key alone for true");
        if (++count > ABLE_MOST) return complain(err, err_size, text, "more than 32 of them");
        for (other = at; able_next(whole, &other, &b);)
            if (a.key_len == b.key_len && memcmp(a.key, b.key, a.key_len) == 0)
                return complain(err, err_size, text, "a key that is there twice");
    }
    memcpy(set, whole, sizeof whole);
    return 0;
}

bool able_good(const char *set) {
    char again[ABLE_TEXT_MAX + 1] = "", err[320];
    return *set == '\0' || able_add(again, set, err, sizeof err) == 0;
}

bool able_is(const char *set, const Able *wanted) {
    size_t at = 0;
    Able a;
    while (able_next(set, &at, &a)) {
        if (a.key_len != wanted->key_len || memcmp(a.key, wanted->key, a.key_len) != 0) continue;
        if (a.kind != wanted->kind) return false;
        return a.kind == ABLE_BOOLEAN   ? a.yes == wanted->yes
               : a.kind == ABLE_INTEGER ? a.number == wanted->number
                                        : a.len == wanted->len && memcmp(a.text, wanted->text, a.len) == 0;
    }
    return wanted->kind == ABLE_BOOLEAN && !wanted->yes;
}

static void append(char *out, size_t size, size_t *len, const char *text, size_t text_len) {
    for (size_t i = 0; i < text_len && *len + 1 < size; i++) out[(*len)++] = text[i];
    out[*len] = '\0';
}

void able_show(const Able *items, size_t count, char *out, size_t size) {
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        char number[24];
        const Able *a = &items[i];
        if (i > 0) append(out, size, &len, ", ", 2);
        append(out, size, &len, a->key, a->key_len);
        append(out, size, &len, "=", 1);
        if (a->kind == ABLE_STRING) append(out, size, &len, "\"", 1);
        if (a->kind == ABLE_STRING) append(out, size, &len, a->text, a->len);
        else if (a->kind == ABLE_BOOLEAN) append(out, size, &len, a->yes ? "true" : "false", a->yes ? 4 : 5);
        else append(out, size, &len, number, (size_t)snprintf(number, sizeof number, "%lld", (long long)a->number));
        if (a->kind == ABLE_STRING) append(out, size, &len, "\"", 1);
    }
    if (count == 0) append(out, size, &len, "nothing", 7);
}

static void show_set(const char *set, char *out, size_t size) {
    Able all[ABLE_MOST];
    size_t at = 0, count = 0;
    while (count < ABLE_MOST && able_next(set, &at, &all[count])) count++;
    able_show(all, count, out, size);
}

/* ---- nodes ---- */

void able_open(const char *name, const char *set) {
    own_name = name;
    snprintf(ours, sizeof ours, "%s", set);
}

void able_met(uint32_t node, const char *set) {
    pthread_mutex_lock(&lock);
    if (nodes[node] == NULL) nodes[node] = calloc(1, sizeof *nodes[node]);
    if (nodes[node] != NULL) {
        nodes[node]->actors = nodes[node]->sent = 0;
        nodes[node]->ends = false;
        snprintf(nodes[node]->set, sizeof nodes[node]->set, "%s", set);
    }
    pthread_mutex_unlock(&lock);
}

void able_told(uint32_t node, uint64_t actors) {
    pthread_mutex_lock(&lock);
    if (nodes[node] != NULL && actors == UINT64_MAX) nodes[node]->ends = true;
    else if (nodes[node] != NULL) nodes[node]->actors = actors, nodes[node]->sent = 0;
    pthread_mutex_unlock(&lock);
}

void able_sent(uint32_t node) {
    pthread_mutex_lock(&lock);
    if (nodes[node] != NULL) nodes[node]->sent++;
    pthread_mutex_unlock(&lock);
}

void able_close(void) {
    for (size_t i = 0; i < PID_NODES; i++) {
        free(nodes[i]);
        nodes[i] = NULL;
    }
}

static bool is_up(uint32_t node) {
    Link *l = members_find(node);
    return l != NULL && nodes[node] != NULL && link_is_up(l);
}

int able_of(uint32_t node, char out[ABLE_TEXT_MAX + 1], uint64_t *actors) {
    if (node == 0) {
        memcpy(out, ours, sizeof ours);
        *actors = registry_count();
        return 0;
    }
    pthread_mutex_lock(&lock);
    bool up = is_up(node);
    if (up) {
        memcpy(out, nodes[node]->set, ABLE_TEXT_MAX + 1);
        *actors = nodes[node]->actors;
    }
    pthread_mutex_unlock(&lock);
    return up ? 0 : UV_ENOENT;
}

bool able_takes(uint32_t node) {
    pthread_mutex_lock(&lock);
    bool takes = node == 0 || (is_up(node) && !nodes[node]->ends);
    pthread_mutex_unlock(&lock);
    return takes;
}

static bool is_all(const char *set, const Able *items, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!able_is(set, &items[i])) return false;
    return true;
}

uint32_t able_pick(const Able *items, size_t count, char *err, size_t err_size) {
    uint32_t best = UINT32_MAX, most = members_count();
    uint64_t least = 0, longest = 0;
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i <= most; i++) {
        if ((i > 0 && (!is_up(i) || nodes[i]->ends)) || !is_all(i == 0 ? ours : nodes[i]->set, items, count)) continue;
        uint64_t actors = i == 0 ? registry_count() : nodes[i]->actors + nodes[i]->sent,
                 turn = i == 0 ? own_turn : nodes[i]->turn;
        if (best != UINT32_MAX && (actors > least || (actors == least && turn >= longest))) continue;
        best = i;
        least = actors;
        longest = turn;
    }
    if (best != UINT32_MAX) *(best == 0 ? &own_turn : &nodes[best]->turn) = ++turns;
    size_t len = 0;
    for (uint32_t i = 0; i <= most && best == UINT32_MAX && len < err_size; i++) {
        char can[256];
        if (i > 0 && !is_up(i)) continue;
        show_set(i == 0 ? ours : nodes[i]->set, can, sizeof can);
        len += (size_t)snprintf(err + len, err_size - len, "%s%s can: %s", len > 0 ? "; " : "",
                                i == 0 ? own_name : link_name(members_find(i)), can);
    }
    pthread_mutex_unlock(&lock);
    return best;
}
