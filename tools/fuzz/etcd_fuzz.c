/* etcd_fuzz.c - libFuzzer target: any bytes from etcd, or from whoever answers in its place.
 *
 * The first byte says what they are: 0 = a holder's value, as it lies in etcd; else an answer, or a message of a watch.
 * What must hold: nothing reads a byte too far, falls or leaks; what was read and is written again reads the same. */
#include <stdlib.h>
#include <string.h>
#include "net/kv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void holder(const char *value, size_t len) {
    KvHolder h, again;
    if (!kv_read_holder(value, len, &h)) return;
    Text t = {0};
    kv_write_holder(&t, &h);
    if (h.pid != 0) h.address[0] = '\0';
    if (t.len <= KV_VALUE_MAX && (!kv_read_holder(t.bytes, t.len, &again) || again.incarnation != h.incarnation ||
                                  again.pid != h.pid || again.claim != h.claim || strcmp(again.node, h.node) != 0 ||
                                  strcmp(again.address, h.address) != 0))
        abort();
    text_free(&t);
}

static void pair(const KvPair *p) {
    if (p->key_len > KV_KEY_MAX || p->value_len > KV_VALUE_MAX) abort();
    holder(p->value, p->value_len);
}

static void answer(char *text, size_t len) {
    const char *why;
    size_t words;
    Json *v;
    if (json_parse(text, len, &v, &why) < 0) return;
    KvPair p;
    uint32_t count;
    kv_revision(v);
    kv_term(v);
    kv_integer(v, "TTL");
    if (kv_error(v, &why, &words) != 0 && words > len + 32) abort();
    const Json *one = kv_pairs(v, &count);
    for (uint32_t i = 0; i < count; i++, one = json_next(one))
        if (kv_read(one, &p)) pair(&p);
    const Json *events = json_get(v, "events");
    if (events != NULL && events->type == JSON_ARRAY) {
        one = json_first(events);
        for (uint32_t i = 0; i < events->len; i++, one = json_next(one))
            if (kv_read_event(one, &p)) pair(&p);
    }
    free(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    char *copy = malloc(size);
    memcpy(copy, data + 1, size - 1);
    if (data[0] == 0) holder(copy, size - 1);
    else answer(copy, size - 1);
    free(copy);
    return 0;
}
