/* format.h - the bytes of a payload: how a value is written, and how one is read. For codec.c and payload.c alone.
 *
 * A payload is values one after the other. A value is a tag byte and what the tag says:
 *
 *     00..7f  an integer, tag - 16             c7  a float: 8 bytes
 *     80..bf  a string of tag - 80 bytes       c8  a string: length in 1 byte, bytes
 *     c0      nil                              c9  a string: length in 4 bytes, bytes
 *     c1 c2   false, true                      ca  a pid or ref: 8 bytes
 *     c3..c6  an integer of 1, 2, 4, 8 bytes   cb  the null pointer
 *     cc cd   a table, an error object: n in 1 byte, pairs in 1 byte, n values, pairs times key and value
 *     ce cf   the same with counts of 4 bytes
 *
 * The n values are those of the keys 1..n. All numbers are little-endian. A key is a boolean, number, string, pid,
 * ref or null; never nil, NaN or a table. Every tag above cf is invalid.
 *
 * All that reads goes through next_item, so that payload_valid and codec_decode can't disagree. What the counts of
 * all tables promise together is never more than the payload has bytes (each value takes one at least): so
 * decoding allocates in proportion to the payload, whatever the counts say.
 *
 * Who writes makes the room; who reads gets nothing that lies beyond the payload's end. All inline: it is most of what
 * a message's values cost. */
#ifndef MAIL_FORMAT_H
#define MAIL_FORMAT_H
#include <endian.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "mail/message.h"

enum {
    TAG_SMALL_BIAS = 16, /* 00..7f: -16..111 */
    TAG_SMALL_END = 0x80,
    TAG_SHORT = 0x80, /* 80..bf */
    TAG_SHORT_END = 0xc0,
    TAG_NIL = 0xc0,
    TAG_FALSE,
    TAG_TRUE,
    TAG_INT8,
    TAG_INT16,
    TAG_INT32,
    TAG_INT64,
    TAG_FLOAT,
    TAG_STRING8,
    TAG_STRING32,
    TAG_PID,
    TAG_NULL,
    TAG_TABLE8,
    TAG_ERROR8,
    TAG_TABLE32,
    TAG_ERROR32
};

#define HEAD8 3  /* bytes of a table's head */
#define HEAD32 9

#define SMALL_MIN (-TAG_SMALL_BIAS)
#define SMALL_MAX (TAG_SMALL_END - 1 - TAG_SMALL_BIAS)
#define SHORT_MAX (TAG_SHORT_END - 1 - TAG_SHORT)
#define SCALAR_MAX 9 /* bytes of the longest value that is no string and no table */

/* Could it stand in Lua after a dot? (Keywords too: this is for readers.) */
static inline bool is_name(const char *s, size_t len) {
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9')) return false;
    }
    return len > 0;
}

/* ---- bytes out ---- */

static inline unsigned char *put16(unsigned char *p, uint16_t v) {
    v = htole16(v);
    memcpy(p, &v, 2);
    return p + 2;
}

static inline unsigned char *put32(unsigned char *p, uint32_t v) {
    v = htole32(v);
    memcpy(p, &v, 4);
    return p + 4;
}

static inline unsigned char *put64(unsigned char *p, uint64_t v) {
    v = htole64(v);
    memcpy(p, &v, 8);
    return p + 8;
}

/* These three want SCALAR_MAX bytes of room. */
static inline unsigned char *put_integer(unsigned char *p, int64_t v) {
    if (v >= SMALL_MIN && v <= SMALL_MAX) {
        *p = (unsigned char)(v + TAG_SMALL_BIAS);
        return p + 1;
    }
    if (v == (int8_t)v) {
        *p++ = TAG_INT8;
        *p++ = (unsigned char)v;
        return p;
    }
    if (v == (int16_t)v) {
        *p++ = TAG_INT16;
        return put16(p, (uint16_t)v);
    }
    if (v == (int32_t)v) {
        *p++ = TAG_INT32;
        return put32(p, (uint32_t)v);
    }
    *p++ = TAG_INT64;
    return put64(p, (uint64_t)v);
}

static inline unsigned char *put_float(unsigned char *p, double v) {
    uint64_t bits;
    memcpy(&bits, &v, 8);
    *p++ = TAG_FLOAT;
    return put64(p, bits);
}

static inline unsigned char *put_pid(unsigned char *p, uint64_t bits) {
    if (bits == 0) {
        *p = TAG_NULL;
        return p + 1;
    }
    *p++ = TAG_PID;
    return put64(p, bits);
}

/* Wants 5 + len bytes of room. */
static inline unsigned char *put_string(unsigned char *p, const char *bytes, size_t len) {
    if (len <= SHORT_MAX) {
        *p++ = (unsigned char)(TAG_SHORT + len);
    } else if (len <= UINT8_MAX) {
        *p++ = TAG_STRING8;
        *p++ = (unsigned char)len;
    } else {
        *p++ = TAG_STRING32;
        p = put32(p, (uint32_t)len);
    }
    memcpy(p, bytes, len);
    return p + len;
}

/* ---- bytes in ---- */

typedef enum {
    ITEM_BAD, /* these bytes are no value */
    ITEM_NIL,
    ITEM_BOOLEAN,
    ITEM_INTEGER,
    ITEM_FLOAT,
    ITEM_STRING,
    ITEM_PID,
    ITEM_TABLE
} ItemKind;

typedef struct Item {
    union {
        bool boolean;
        int64_t integer;
        double number;
        uint64_t bits;
        struct {
            const char *bytes;
            size_t len;
        } string;
        struct {
            uint32_t values, pairs;
            bool error;
        } table; /* what is in it follows */
    };
} Item;

typedef struct Reader {
    const unsigned char *p, *end;
    size_t promise; /* values that tables may still announce: the payload's bytes less what they have */
    bool (*rename)(void *context, uint64_t *pid); /* payload_adopt's; else NULL */
    void *context;
} Reader;

static inline Reader reader_open(const Message *msg) {
    return (Reader){msg->bytes, msg->bytes + msg->size, msg->size, NULL, NULL};
}

static inline uint16_t get16(const unsigned char *p) {
    uint16_t v;
    memcpy(&v, p, 2);
    return le16toh(v);
}

static inline uint32_t get32(const unsigned char *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return le32toh(v);
}

static inline uint64_t get64(const unsigned char *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return le64toh(v);
}

/* Takes a value from the reader; of a table only the head. Always inlined: as a call it took a quarter of decoding. */
static inline __attribute__((always_inline)) ItemKind next_item(Reader *r, Item *item) {
    const unsigned char *p = r->p;
    size_t left = (size_t)(r->end - p), len;
    if (left == 0) return ITEM_BAD;
    unsigned tag = *p++;
    left--;
    if (tag < TAG_SMALL_END) {
        item->integer = (int64_t)tag - TAG_SMALL_BIAS;
        r->p = p;
        return ITEM_INTEGER;
    }
    if (tag < TAG_SHORT_END) {
        len = tag - TAG_SHORT;
        goto string;
    }
    switch (tag) {
    case TAG_NIL:
        r->p = p;
        return ITEM_NIL;
    case TAG_FALSE:
    case TAG_TRUE:
        item->boolean = tag == TAG_TRUE;
        r->p = p;
        return ITEM_BOOLEAN;
    case TAG_INT8:
        if (left < 1) return ITEM_BAD;
        item->integer = (int8_t)p[0];
        r->p = p + 1;
        return ITEM_INTEGER;
    case TAG_INT16:
        if (left < 2) return ITEM_BAD;
        item->integer = (int16_t)get16(p);
        r->p = p + 2;
        return ITEM_INTEGER;
    case TAG_INT32:
        if (left < 4) return ITEM_BAD;
        item->integer = (int32_t)get32(p);
        r->p = p + 4;
        return ITEM_INTEGER;
    case TAG_INT64:
        if (left < 8) return ITEM_BAD;
        item->integer = (int64_t)get64(p);
        r->p = p + 8;
        return ITEM_INTEGER;
    case TAG_FLOAT: {
        if (left < 8) return ITEM_BAD;
        uint64_t bits = get64(p);
        memcpy(&item->number, &bits, 8);
        r->p = p + 8;
        return ITEM_FLOAT;
    }
    case TAG_STRING8:
        if (left < 1) return ITEM_BAD;
        len = p[0];
        p += 1;
        left -= 1;
        goto string;
    case TAG_STRING32:
        if (left < 4) return ITEM_BAD;
        len = get32(p);
        p += 4;
        left -= 4;
        goto string;
    case TAG_PID:
        if (left < 8) return ITEM_BAD;
        item->bits = get64(p);
        r->p = p + 8;
        return ITEM_PID;
    case TAG_NULL:
        item->bits = 0;
        r->p = p;
        return ITEM_PID;
    case TAG_TABLE8:
    case TAG_ERROR8:
        if (left < HEAD8 - 1) return ITEM_BAD;
        item->table.values = p[0];
        item->table.pairs = p[1];
        r->p = p + HEAD8 - 1;
        goto table;
    case TAG_TABLE32:
    case TAG_ERROR32:
        if (left < HEAD32 - 1) return ITEM_BAD;
        item->table.values = get32(p);
        item->table.pairs = get32(p + 4);
        r->p = p + HEAD32 - 1;
        goto table;
    default:
        return ITEM_BAD;
    }

string:
    if (len > left) return ITEM_BAD;
    item->string.bytes = (const char *)p;
    item->string.len = len;
    r->p = p + len;
    return ITEM_STRING;

table:;
    uint64_t promised = item->table.values + 2 * (uint64_t)item->table.pairs;
    if (promised > r->promise || promised > (size_t)(r->end - r->p)) return ITEM_BAD;
    r->promise -= promised;
    item->table.error = tag == TAG_ERROR8 || tag == TAG_ERROR32;
    return ITEM_TABLE;
}

static inline bool may_be_key(ItemKind kind, const Item *item) {
    return kind != ITEM_BAD && kind != ITEM_NIL && kind != ITEM_TABLE && (kind != ITEM_FLOAT || !isnan(item->number));
}

/* Values there are by the message's own account; -1 if that is out of bounds. */
static inline int expected(const Message *msg) {
    if (msg->argc > MESSAGE_ARGS_MAX) return -1;
    return msg->argc + (msg->flags & MESSAGE_NAMED ? 1 : 0);
}
#endif
