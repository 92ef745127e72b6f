#include "net/kv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- base64 ---- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void kv_base64(Text *out, const char *key, const void *bytes, size_t len) {
    const unsigned char *p = bytes;
    char text[(KV_KEY_MAX + KV_VALUE_MAX) * 2];
    size_t n = 0;
    if (len > KV_KEY_MAX + KV_VALUE_MAX) len = KV_KEY_MAX + KV_VALUE_MAX; /* ours are shorter */
    for (size_t i = 0; i < len; i += 3) {
        uint32_t group = (uint32_t)p[i] << 16 | (i + 1 < len ? p[i + 1] : 0u) << 8 | (i + 2 < len ? p[i + 2] : 0u);
        text[n++] = digits[group >> 18];
        text[n++] = digits[group >> 12 & 63];
        text[n++] = i + 1 < len ? digits[group >> 6 & 63] : '=';
        text[n++] = i + 2 < len ? digits[group & 63] : '=';
    }
    json_string(out, key, text, n);
}

static int digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int kv_unbase64(const char *text, size_t len, char *out, size_t room) {
    if (len % 4 != 0) return -1;
    size_t pad = len == 0 ? 0 : (text[len - 1] == '=') + (text[len - 1] == '=' && text[len - 2] == '='), n = 0;
    if (len / 4 * 3 - pad > room) return -1;
    for (size_t i = 0; i < len; i += 4) {
        int d[4], used = i + 4 == len ? 4 - (int)pad : 4;
        for (int k = 0; k < 4; k++)
            if ((d[k] = k < used ? digit(text[i + (size_t)k]) : 0) < 0) return -1;
        uint32_t group = (uint32_t)(d[0] << 18 | d[1] << 12 | d[2] << 6 | d[3]);
        for (int k = 0; k < used - 1; k++) out[n++] = (char)(group >> (16 - 8 * k) & 255);
    }
    return (int)n;
}

/* ---- asked ---- */

static void number(Text *out, const char *key, int64_t n) {
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, n);
    json_words(out, key, text);
}

void kv_grant(Text *out, int64_t ttl_s) {
    json_open(out, NULL, '{');
    number(out, "TTL", ttl_s);
    json_close(out, '}');
}

void kv_lease(Text *out, int64_t lease) {
    json_open(out, NULL, '{');
    number(out, "ID", lease);
    json_close(out, '}');
}

static void keys(Text *out, const char *from, size_t from_len, const char *to, size_t to_len) {
    kv_base64(out, "key", from, from_len);
    if (to != NULL) kv_base64(out, "range_end", to, to_len);
}

void kv_range(Text *out, const char *from, size_t from_len, const char *to, size_t to_len, int64_t revision) {
    json_open(out, NULL, '{');
    keys(out, from, from_len, to, to_len);
    if (to != NULL) number(out, "limit", KV_PAGE);
    if (revision != 0) number(out, "revision", revision);
    json_close(out, '}');
}

void kv_watch(Text *out, const char *from, size_t from_len, const char *to, size_t to_len, int64_t revision) {
    json_open(out, NULL, '{');
    json_open(out, "create_request", '{');
    keys(out, from, from_len, to, to_len);
    number(out, "start_revision", revision);
    json_close(out, '}');
    json_close(out, '}');
}

static void open_compare(Text *out, const char *key, size_t key_len, const char *target) {
    json_open(out, NULL, '{');
    json_open(out, "compare", '[');
    json_open(out, NULL, '{');
    kv_base64(out, "key", key, key_len);
    json_words(out, "target", target);
}

static void close_compare(Text *out) {
    json_close(out, '}');
    json_close(out, ']');
    json_open(out, "success", '[');
    json_open(out, NULL, '{');
}

void kv_put(Text *out, const char *key, size_t key_len, const char *value, size_t value_len, int64_t lease,
            int64_t modified) {
    open_compare(out, key, key_len, modified == 0 ? "CREATE" : "MOD");
    number(out, modified == 0 ? "create_revision" : "mod_revision", modified);
    close_compare(out);
    json_open(out, "request_put", '{');
    kv_base64(out, "key", key, key_len);
    kv_base64(out, "value", value, value_len);
    number(out, "lease", lease);
    json_close(out, '}');
    json_close(out, '}');
    json_close(out, ']');
    json_open(out, "failure", '[');
    json_open(out, NULL, '{');
    json_open(out, "request_range", '{');
    kv_base64(out, "key", key, key_len);
    json_close(out, '}');
    json_close(out, '}');
    json_close(out, ']');
    json_close(out, '}');
}

void kv_delete(Text *out, const char *key, size_t key_len, const char *value, size_t value_len) {
    open_compare(out, key, key_len, "VALUE");
    kv_base64(out, "value", value, value_len);
    close_compare(out);
    json_open(out, "request_delete_range", '{');
    kv_base64(out, "key", key, key_len);
    json_close(out, '}');
    json_close(out, '}');
    json_close(out, ']');
    json_close(out, '}');
}

/* ---- answered ---- */

int64_t kv_integer(const Json *object, const char *key) {
    const Json *v = json_get(object, key);
    if (v == NULL) return 0;
    if (v->type == JSON_INTEGER) return v->integer;
    if (v->type != JSON_STRING || v->len == 0 || v->len > 20) return 0;
    char text[24];
    memcpy(text, v->text, v->len);
    text[v->len] = '\0';
    return strtoll(text, NULL, 10); /* what is none is 0, too */
}

static const Json *within(const Json *v, const char *key) { return v != NULL ? json_get(v, key) : NULL; }

int64_t kv_revision(const Json *answer) {
    const Json *header = within(answer, "header");
    return header != NULL ? kv_integer(header, "revision") : 0;
}

int64_t kv_term(const Json *answer) {
    const Json *header = within(answer, "header");
    return header != NULL ? kv_integer(header, "raft_term") : 0;
}

const Json *kv_pairs(const Json *answer, uint32_t *count) {
    *count = 0;
    const Json *responses = within(answer, "responses");
    if (responses != NULL && responses->type == JSON_ARRAY && responses->len > 0)
        answer = within(json_first(responses), "response_range");
    const Json *kvs = within(answer, "kvs");
    if (kvs == NULL || kvs->type != JSON_ARRAY) return NULL;
    *count = kvs->len;
    return json_first(kvs);
}

static bool bytes(const Json *v, char *out, size_t room, size_t *len) {
    *len = 0;
    if (v == NULL) return true;
    int n = v->type == JSON_STRING ? kv_unbase64(v->text, v->len, out, room) : -1;
    if (n >= 0) *len = (size_t)n;
    return n >= 0;
}

bool kv_read(const Json *pair, KvPair *out) {
    if (pair->type != JSON_OBJECT) return false;
    out->deleted = false;
    out->created = kv_integer(pair, "create_revision");
    out->modified = kv_integer(pair, "mod_revision");
    out->lease = kv_integer(pair, "lease");
    return bytes(json_get(pair, "key"), out->key, sizeof out->key, &out->key_len) &&
           bytes(json_get(pair, "value"), out->value, sizeof out->value, &out->value_len);
}

bool kv_read_event(const Json *event, KvPair *out) {
    const Json *pair = within(event, "kv");
    if (pair == NULL || !kv_read(pair, out)) return false;
    const Json *type = json_get(event, "type");
    out->deleted = json_is(type, "DELETE") || (type != NULL && type->type == JSON_INTEGER && type->integer == 1);
    return true;
}

int kv_error(const Json *answer, const char **words, size_t *len) {
    const Json *error = within(answer, "error");
    if (error == NULL) return 0;
    if (error->type == JSON_OBJECT) answer = error; /* so it is in a stream */
    const Json *text = within(answer, "message");
    int64_t code = kv_integer(answer, error->type == JSON_OBJECT ? "grpc_code" : "code");
    *words = text != NULL && text->type == JSON_STRING ? text->text : "an error without words";
    *len = text != NULL && text->type == JSON_STRING ? text->len : strlen(*words);
    return code > 0 && code < 1000 ? (int)code : 2;
}

/* ---- values ---- */

static void hex(Text *out, const char *key, uint64_t n) {
    char text[20];
    snprintf(text, sizeof text, "%016" PRIx64, n);
    json_words(out, key, text);
}

void kv_write_holder(Text *out, const KvHolder *h) {
    json_open(out, NULL, '{');
    hex(out, "incarnation", h->incarnation);
    if (h->pid != 0) {
        json_words(out, "node", h->node);
        hex(out, "pid", h->pid);
        hex(out, "claim", h->claim);
    } else {
        json_words(out, "address", h->address);
    }
    json_close(out, '}');
}

size_t kv_holder_value(char out[KV_VALUE_MAX], const KvHolder *h) {
    Text t = {0};
    kv_write_holder(&t, h);
    size_t len = t.failed || t.len > KV_VALUE_MAX ? 0 : t.len;
    if (len > 0) memcpy(out, t.bytes, len);
    text_free(&t);
    return len;
}

static bool read_hex(const Json *object, const char *key, uint64_t *out) {
    const Json *v = json_get(object, key);
    if (v == NULL || v->type != JSON_STRING || v->len != 16) return false;
    *out = 0;
    for (uint32_t i = 0; i < 16; i++) {
        char c = v->text[i];
        int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (d < 0) return false;
        *out = *out << 4 | (unsigned)d;
    }
    return true;
}

static bool read_text(const Json *object, const char *key, char *out, size_t room) {
    const Json *v = json_get(object, key);
    if (v == NULL || v->type != JSON_STRING || v->len >= room || memchr(v->text, 0, v->len) != NULL) return false;
    memcpy(out, v->text, v->len);
    out[v->len] = '\0';
    return true;
}

bool kv_read_holder(const char *value, size_t len, KvHolder *out) {
    char copy[KV_VALUE_MAX];
    Json *v;
    const char *why;
    memset(out, 0, sizeof *out);
    if (len > sizeof copy) return false;
    memcpy(copy, value, len);
    if (json_parse(copy, len, &v, &why) < 0) return false;
    bool good = v->type == JSON_OBJECT && read_hex(v, "incarnation", &out->incarnation) && out->incarnation != 0;
    if (good && json_get(v, "pid") != NULL)
        good = read_hex(v, "pid", &out->pid) && out->pid != 0 && out->pid >> 52 == 0 &&
               read_hex(v, "claim", &out->claim) && read_text(v, "node", out->node, sizeof out->node);
    else if (good)
        good = read_text(v, "address", out->address, sizeof out->address);
    free(v);
    return good;
}
