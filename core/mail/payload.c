#include "mail/payload.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>
#include "mail/format.h"
#include "mail/pid.h"

/* ---- writing ---- */

/* Room for a value of at most `need` bytes that counts as an argument if no table is open. */
static int begin(Message **msg, size_t need) {
    Message *m = *msg;
    if (m->open == 0 && m->argc >= MESSAGE_ARGS_MAX) return UV_E2BIG;
    if (need > MESSAGE_SIZE_MAX - m->size) return UV_E2BIG;
    if (need > m->room - m->size) {
        m = message_grow(m, need);
        if (m == NULL) return UV_ENOMEM;
        *msg = m;
    }
    return 0;
}

static int finish(Message *msg, const unsigned char *p) {
    msg->size = (uint32_t)(p - msg->bytes);
    if (msg->open == 0) msg->argc++;
    return 0;
}

static int put_tag(Message **msg, unsigned char tag) {
    int err = begin(msg, 1);
    if (err < 0) return err;
    unsigned char *p = (*msg)->bytes + (*msg)->size;
    *p++ = tag;
    return finish(*msg, p);
}

int payload_put_nil(Message **msg) {
    return put_tag(msg, TAG_NIL);
}

int payload_put_boolean(Message **msg, bool value) {
    return put_tag(msg, value ? TAG_TRUE : TAG_FALSE);
}

int payload_put_integer(Message **msg, int64_t value) {
    int err = begin(msg, SCALAR_MAX);
    return err < 0 ? err : finish(*msg, put_integer((*msg)->bytes + (*msg)->size, value));
}

int payload_put_number(Message **msg, double value) {
    int err = begin(msg, SCALAR_MAX);
    return err < 0 ? err : finish(*msg, put_float((*msg)->bytes + (*msg)->size, value));
}

int payload_put_string(Message **msg, const char *bytes, size_t len) {
    if (len > MESSAGE_SIZE_MAX) return UV_E2BIG;
    int err = begin(msg, 5 + len);
    return err < 0 ? err : finish(*msg, put_string((*msg)->bytes + (*msg)->size, bytes, len));
}

int payload_put_pid(Message **msg, uint64_t bits) {
    int err = begin(msg, SCALAR_MAX);
    return err < 0 ? err : finish(*msg, put_pid((*msg)->bytes + (*msg)->size, bits));
}

int payload_put_values(Message **msg, const Message *values) {
    const unsigned char *from = values->bytes;
    size_t size = values->size;
    if (values->flags & MESSAGE_NAMED) {
        size_t len;
        const char *name = payload_first_string(values, &len);
        if (name == NULL) return UV_EINVAL;
        from = (const unsigned char *)name + len;
        size -= (size_t)(from - values->bytes);
    }
    if ((*msg)->open == 0 && values->argc > MESSAGE_ARGS_MAX - (*msg)->argc) return UV_E2BIG;
    if (size > MESSAGE_SIZE_MAX - (*msg)->size) return UV_E2BIG;
    Message *m = message_grow(*msg, size);
    if (m == NULL) return UV_ENOMEM;
    *msg = m;
    memcpy(m->bytes + m->size, from, size);
    m->size += (uint32_t)size;
    m->flags |= values->flags & MESSAGE_ERRORS;
    if (m->open == 0) m->argc = (uint8_t)(m->argc + values->argc);
    return 0;
}

int payload_open_table(Message **msg, bool error, size_t *mark) {
    if ((*msg)->open >= MESSAGE_DEPTH_MAX) return UV_E2BIG;
    int err = begin(msg, HEAD32);
    if (err < 0) return err;
    Message *m = *msg;
    *mark = m->size;
    m->bytes[m->size] = error ? TAG_ERROR32 : TAG_TABLE32;
    put32(put32(m->bytes + m->size + 1, 0), 0);
    m->size += HEAD32;
    m->open++;
    if (error) m->flags |= MESSAGE_ERRORS;
    return 0;
}

int payload_close_table(Message **msg, size_t mark, unsigned pairs) {
    Message *m = *msg;
    assert(m->open > 0 && mark + HEAD32 <= m->size);
    put32(m->bytes + mark + 5, pairs);
    m->open--;
    return finish(m, m->bytes + m->size);
}

/* ---- checking ---- */

/* The item was a pid: what it is called here. Only in payload_adopt, whose bytes may be written. */
static __attribute__((noinline)) bool rename_pid(Reader *r, const Item *item) {
    uint64_t pid = item->bits;
    if (pid == 0 || bits_are_ref(pid)) return true;
    if (!r->rename(r->context, &pid)) return false;
    put64((unsigned char *)(uintptr_t)r->p - sizeof pid, pid);
    return true;
}

/* Passes over what an item announced; `depth` tables are around it. */
static bool skip_rest(Reader *r, ItemKind kind, const Item *item, int depth) {
    if (kind == ITEM_PID && r->rename != NULL) return rename_pid(r, item);
    if (kind != ITEM_TABLE) return kind != ITEM_BAD;
    if (depth >= MESSAGE_DEPTH_MAX) return false;
    Item inner;
    ItemKind inner_kind;
    for (uint32_t i = item->table.values; i > 0; i--) {
        inner_kind = next_item(r, &inner);
        if (!skip_rest(r, inner_kind, &inner, depth + 1)) return false;
    }
    for (uint32_t i = item->table.pairs; i > 0; i--) {
        inner_kind = next_item(r, &inner);
        if (!may_be_key(inner_kind, &inner)) return false;
        if (inner_kind == ITEM_PID && r->rename != NULL && !rename_pid(r, &inner)) return false;
        inner_kind = next_item(r, &inner);
        if (!skip_rest(r, inner_kind, &inner, depth + 1)) return false;
    }
    return true;
}

static bool skip_value(Reader *r) {
    Item item;
    ItemKind kind = next_item(r, &item);
    return skip_rest(r, kind, &item, 0);
}

static bool is_valid(const Message *msg, Reader *r) {
    int count = expected(msg);
    if (count < 0 || msg->size > MESSAGE_SIZE_MAX) return false;
    if (msg->flags & MESSAGE_NAMED) {
        Item name;
        if (next_item(r, &name) != ITEM_STRING) return false;
        count--;
    }
    for (; count > 0; count--) {
        if (!skip_value(r)) return false;
    }
    return r->p == r->end;
}

bool payload_valid(const Message *msg) {
    Reader r = reader_open(msg);
    return is_valid(msg, &r);
}

bool payload_adopt(Message *msg, bool (*rename)(void *context, uint64_t *pid), void *context) {
    Reader r = reader_open(msg);
    r.rename = rename;
    r.context = context;
    return is_valid(msg, &r);
}

/* ---- reading ---- */

const char *payload_first_string(const Message *msg, size_t *len) {
    Reader r = reader_open(msg);
    Item item;
    if (next_item(&r, &item) != ITEM_STRING) return NULL;
    *len = item.string.len;
    return item.string.bytes;
}

/* The string field `key` of the table whose head was just read from *r; NULL if there is none. */
static const char *find_field(Reader *r, const Item *table, const char *key, size_t *len) {
    size_t key_len = strlen(key);
    Item item;
    ItemKind kind;
    for (uint32_t i = table->table.values; i > 0; i--) {
        kind = next_item(r, &item);
        if (!skip_rest(r, kind, &item, 1)) return NULL;
    }
    for (uint32_t i = table->table.pairs; i > 0; i--) {
        kind = next_item(r, &item);
        if (!may_be_key(kind, &item)) return NULL;
        bool here = kind == ITEM_STRING && item.string.len == key_len && memcmp(item.string.bytes, key, key_len) == 0;
        kind = next_item(r, &item);
        if (here && kind == ITEM_STRING) {
            *len = item.string.len;
            return item.string.bytes;
        }
        if (!skip_rest(r, kind, &item, 1)) return NULL;
    }
    return NULL;
}

const char *payload_first_field(const Message *msg, const char *key, size_t *len) {
    Reader r = reader_open(msg);
    Item item;
    if (next_item(&r, &item) != ITEM_TABLE) return NULL;
    return find_field(&r, &item, key, len);
}

/* ---- as text ---- */

typedef struct Text {
    char *out;
    size_t len, cap; /* len <= cap - 1 */
} Text;

static void text_add(Text *t, const char *s, size_t n) {
    size_t left = t->cap - 1 - t->len;
    if (n > left) n = left;
    memcpy(t->out + t->len, s, n);
    t->len += n;
}

static void text_put(Text *t, const char *s) {
    text_add(t, s, strlen(s));
}

static bool text_full(const Text *t) {
    return t->len + 1 >= t->cap;
}

static void text_quote(Text *t, const char *s, size_t len) {
    text_put(t, "\"");
    for (size_t i = 0; i < len && !text_full(t); i++) {
        unsigned char c = (unsigned char)s[i];
        char escape[8];
        if (c == '\n') text_put(t, "\\n");
        else if (c == '"') text_put(t, "\\\"");
        else if (c == '\\') text_put(t, "\\\\");
        else if (c < ' ' || c == 127) text_add(t, escape, (size_t)snprintf(escape, sizeof escape, "\\x%02x", c));
        else text_add(t, s + i, 1);
    }
    text_put(t, "\"");
}

static void text_float(Text *t, double v) {
    char s[40];
    if (isnan(v)) {
        text_put(t, "nan");
        return;
    }
    int n = snprintf(s, sizeof s, "%.14g", v);
    text_add(t, s, (size_t)n);
    if (s[strspn(s, "-0123456789")] == '\0') text_put(t, ".0"); /* looks like an integer, is none */
}

static bool show_item(Reader *r, ItemKind kind, const Item *item, int depth, int around, Text *t);

/* A table's inside; around = tables that are around it. Ends early when the text is full. */
static bool show_table(Reader *r, const Item *head, int depth, int around, Text *t) {
    if (around >= MESSAGE_DEPTH_MAX) return false;
    if (head->table.error) {
        Reader ahead = *r;
        size_t len;
        const char *message = find_field(&ahead, head, "message", &len);
        if (message != NULL) {
            text_add(t, message, len);
            return skip_rest(r, ITEM_TABLE, head, around);
        }
    }
    if (depth <= 0) {
        text_put(t, head->table.values + head->table.pairs > 0 ? "{...}" : "{}");
        return skip_rest(r, ITEM_TABLE, head, around);
    }
    text_put(t, "{");
    Item item;
    ItemKind kind;
    for (uint32_t i = 0; i < head->table.values; i++) {
        if (text_full(t)) return false;
        if (i > 0) text_put(t, ", ");
        kind = next_item(r, &item);
        if (!show_item(r, kind, &item, depth - 1, around + 1, t)) return false;
    }
    for (uint32_t i = 0; i < head->table.pairs; i++) {
        if (text_full(t)) return false;
        if (i + head->table.values > 0) text_put(t, ", ");
        kind = next_item(r, &item);
        if (!may_be_key(kind, &item)) return false;
        if (kind == ITEM_STRING && is_name(item.string.bytes, item.string.len)) {
            text_add(t, item.string.bytes, item.string.len);
        } else {
            text_put(t, "[");
            show_item(r, kind, &item, 0, around + 1, t);
            text_put(t, "]");
        }
        text_put(t, " = ");
        kind = next_item(r, &item);
        if (!show_item(r, kind, &item, depth - 1, around + 1, t)) return false;
    }
    text_put(t, "}");
    return true;
}

static bool show_item(Reader *r, ItemKind kind, const Item *item, int depth, int around, Text *t) {
    char s[PID_TEXT_MAX];
    switch (kind) {
    case ITEM_BAD:
        return false;
    case ITEM_NIL:
        text_put(t, "nil");
        break;
    case ITEM_BOOLEAN:
        text_put(t, item->boolean ? "true" : "false");
        break;
    case ITEM_INTEGER:
        text_add(t, s, (size_t)snprintf(s, sizeof s, "%lld", (long long)item->integer));
        break;
    case ITEM_FLOAT:
        text_float(t, item->number);
        break;
    case ITEM_STRING:
        text_quote(t, item->string.bytes, item->string.len);
        break;
    case ITEM_PID:
        if (item->bits == 0) text_put(t, "null");
        else text_add(t, s, pid_text(item->bits, s));
        break;
    case ITEM_TABLE:
        return show_table(r, item, depth, around, t);
    }
    return true;
}

size_t payload_show(const Message *msg, int index, int depth, char *out, size_t cap) {
    if (cap == 0) return 0;
    Text t = {out, 0, cap};
    Reader r = reader_open(msg);
    int count = expected(msg);
    bool good = index >= 0 && index < msg->argc && count > 0;
    if (msg->flags & MESSAGE_NAMED) index++;
    for (; good && index > 0; index--) good = skip_value(&r);
    if (good) {
        Item item;
        ItemKind kind = next_item(&r, &item);
        show_item(&r, kind, &item, depth, 0, &t); /* what could be read stays, also if the rest is bad */
    }
    out[t.len] = '\0';
    return t.len;
}

/* ---- excerpts ---- */

typedef struct Excerpt {
    Reader r;
    Message **msg;
    size_t end; /* how large the message may become, about */
    bool cut;   /* something was left out ... */
    bool bad;   /* ... since the bytes are invalid: read no more */
} Excerpt;

static size_t excerpt_left(const Excerpt *x) { return x->end > (*x->msg)->size ? x->end - (*x->msg)->size : 0; }

static int excerpt_string(Excerpt *x, const char *bytes, size_t len) {
    size_t left = excerpt_left(x);
    if (len <= left) return payload_put_string(x->msg, bytes, len);
    x->cut = true;
    return payload_put_string(x->msg, bytes, left);
}

static int excerpt_table(Excerpt *x, const Item *head, int depth, int around);

/* Puts the value an item begins, which is not ITEM_BAD. */
static int excerpt_item(Excerpt *x, ItemKind kind, const Item *item, int depth, int around) {
    switch (kind) {
    case ITEM_BAD:
    case ITEM_NIL: return payload_put_nil(x->msg);
    case ITEM_BOOLEAN: return payload_put_boolean(x->msg, item->boolean);
    case ITEM_INTEGER: return payload_put_integer(x->msg, item->integer);
    case ITEM_FLOAT: return payload_put_number(x->msg, item->number);
    case ITEM_PID: return payload_put_pid(x->msg, item->bits);
    case ITEM_STRING: return excerpt_string(x, item->string.bytes, item->string.len);
    case ITEM_TABLE: break;
    }
    if (depth > 0 || item->table.values + item->table.pairs == 0) return excerpt_table(x, item, depth, around);
    x->cut = true;
    x->bad = !skip_rest(&x->r, kind, item, around);
    return payload_put_string(x->msg, "{...}", 5);
}

/* The next of `left` items: false if there are none, or no more is to be put. */
static bool excerpt_next(Excerpt *x, uint32_t left, Item *item, ItemKind *kind) {
    if (left == 0 || x->bad) return false;
    if (excerpt_left(x) == 0) {
        x->cut = true;
        return false;
    }
    *kind = next_item(&x->r, item);
    x->bad = *kind == ITEM_BAD;
    return !x->bad;
}

static int excerpt_close(Excerpt *x, size_t mark, uint32_t values, uint32_t pairs) {
    put32((*x->msg)->bytes + mark + 1, values);
    return payload_close_table(x->msg, mark, pairs);
}

/* It ends early when there is no room or the bytes are bad; then the reader is anywhere, and nobody reads on: the
 * tables around it end for the same reason. */
static int excerpt_table(Excerpt *x, const Item *head, int depth, int around) {
    size_t mark;
    Item item, value;
    ItemKind kind;
    uint32_t values = 0, pairs = 0;
    int err = payload_open_table(x->msg, head->table.error, &mark);
    if (err < 0) return err;
    while (excerpt_next(x, head->table.values - values, &item, &kind)) {
        if ((err = excerpt_item(x, kind, &item, depth - 1, around + 1)) < 0) return err;
        values++;
    }
    while (values == head->table.values && excerpt_next(x, head->table.pairs - pairs, &item, &kind)) {
        bool key = may_be_key(kind, &item);
        ItemKind value_kind = next_item(&x->r, &value);
        x->bad = !key || value_kind == ITEM_BAD;
        if (x->bad) break;
        if ((err = excerpt_item(x, kind, &item, 0, around + 1)) < 0) return err;
        if ((err = excerpt_item(x, value_kind, &value, depth - 1, around + 1)) < 0) return err;
        pairs++;
    }
    return excerpt_close(x, mark, values, pairs);
}

int payload_put_excerpt(Message **msg, const Message *values, int depth, size_t room, bool *cut) {
    Excerpt x = {.r = reader_open(values), .msg = msg, .end = (*msg)->size + room};
    size_t mark;
    Item item;
    ItemKind kind;
    uint32_t count = 0, all = values->argc;
    x.bad = expected(values) < 0 || (values->flags & MESSAGE_NAMED && next_item(&x.r, &item) != ITEM_STRING);
    int err = payload_open_table(msg, false, &mark);
    if (err < 0) return err;
    while (excerpt_next(&x, all - count, &item, &kind)) {
        if ((err = excerpt_item(&x, kind, &item, depth, 0)) < 0) return err;
        count++;
    }
    if ((err = payload_put_string(msg, "n", 1)) < 0 || (err = payload_put_integer(msg, all)) < 0) return err;
    if (x.cut || x.bad) *cut = true;
    return excerpt_close(&x, mark, count, 1);
}
