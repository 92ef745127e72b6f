/* codec.c - see codec.h.
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
 * All that reads goes through next_item, so that codec_valid and codec_decode can't disagree. What the counts of
 * all tables promise together is never more than the payload has bytes (each value takes one at least): so
 * decoding allocates in proportion to the payload, whatever the counts say. */
#include "mail/codec.h"
#include <assert.h>
#include <endian.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>
#include "ground/pool.h"
#include "mail/pid.h"

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

static_assert(sizeof(lua_Integer) == 8 && sizeof(lua_Number) == 8 && sizeof(void *) == 8, "the format's widths");

const char codec_error_key = 0;

/* Could it stand in Lua after a dot? (Keywords too: this is for readers.) */
static bool is_name(const char *s, size_t len) {
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
static inline unsigned char *put_integer(unsigned char *p, lua_Integer v) {
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

static inline unsigned char *put_float(unsigned char *p, lua_Number v) {
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

/* ---- encoding from the Lua stack ---- */

#define SEEN_FEW 16 /* tables looked up one by one, before there is a hash */

typedef struct Encoder {
    lua_State *L;
    unsigned char *p, *end; /* where to write; msg->size is brought up to date only to grow */
    Message *msg;
    CodecError *err;
    int first, argument; /* stack indices: the first argument, the one at hand */
    int base;            /* the stack's top before: level d's key lies at base + 2d + 1, its value above */
    int open;            /* levels of tables that C has opened around us */
    /* the tables met so far: `few`, then the hash (a power of two in size, at most half full, NULL = empty) */
    size_t seen_count, seen_size;
    const void **seen;
    const void *few[SEEN_FEW];
} Encoder;

static int fail(Encoder *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4), cold));

static int fail(Encoder *e, int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(e->err->text, sizeof e->err->text, format, args);
    va_end(args);
    return code;
}

/* One step of a path: the key at stack index `key`. */
static size_t path_step(lua_State *L, int key, char *out, size_t cap) {
    char text[PID_TEXT_MAX];
    int len;
    switch (lua_type(L, key)) {
    case LUA_TSTRING: {
        size_t size;
        const char *s = lua_tolstring(L, key, &size);
        size_t shown = size > 24 ? 24 : size;
        for (size_t i = 0; i < shown; i++) {
            unsigned char c = (unsigned char)s[i];
            text[i] = c < ' ' || c >= 127 || c == '"' ? '?' : s[i];
        }
        text[shown] = '\0';
        len = snprintf(out, cap, is_name(s, shown) ? ".%s%s" : "[\"%s%s\"]", text, size > shown ? "..." : "");
        break;
    }
    case LUA_TNUMBER:
        if (lua_isinteger(L, key)) len = snprintf(out, cap, "[%lld]", (long long)lua_tointeger(L, key));
        else len = snprintf(out, cap, "[%.14g]", lua_tonumber(L, key));
        break;
    case LUA_TBOOLEAN:
        len = snprintf(out, cap, "[%s]", lua_toboolean(L, key) ? "true" : "false");
        break;
    case LUA_TLIGHTUSERDATA:
        pid_text((uint64_t)(uintptr_t)lua_touserdata(L, key), text);
        len = snprintf(out, cap, "[%s]", text);
        break;
    default: /* not sendable: the path ends before it */
        len = 0;
        break;
    }
    return (size_t)len < cap ? (size_t)len : cap - 1;
}

/* Says where in the arguments we are, `depth` tables deep, and what is wrong there. A long path loses its middle. */
static int refuse(Encoder *e, int depth, const char *why) __attribute__((cold));

static int refuse(Encoder *e, int depth, const char *why) {
    enum { HEAD = 96, TAIL = 64, STEP = 48 };
    char path[HEAD + TAIL + STEP * 2], step[STEP];
    size_t head = 0, tail = 0;
    int from = 0, to = depth; /* levels not yet written */
    while (from < to) {
        size_t n = path_step(e->L, e->base + 2 * from + 1, step, sizeof step);
        if (head + n > HEAD) break;
        memcpy(path + head, step, n);
        head += n;
        from++;
    }
    while (to > from) { /* how many of the last ones fit */
        size_t n = path_step(e->L, e->base + 2 * (to - 1) + 1, step, sizeof step);
        if (tail + n > TAIL) break;
        tail += n;
        to--;
    }
    if (from < to) {
        memcpy(path + head, "...", 3);
        head += 3;
    }
    for (; to < depth; to++) head += path_step(e->L, e->base + 2 * to + 1, path + head, STEP);
    path[head] = '\0';
    return fail(e, UV_EINVAL, "argument %d%s: %s", e->argument - e->first + 1, path, why);
}

static int grow(Encoder *e, size_t need) __attribute__((noinline));

static int grow(Encoder *e, size_t need) {
    e->msg->size = (uint32_t)(e->p - e->msg->bytes);
    if (need > MESSAGE_SIZE_MAX - e->msg->size) return fail(e, UV_E2BIG, "the message is larger than 1 GB");
    Message *msg = message_grow(e->msg, need);
    if (msg == NULL) return fail(e, UV_ENOMEM, "not enough memory for the message");
    e->msg = msg;
    e->p = msg->bytes + msg->size;
    e->end = msg->bytes + msg->room;
    return 0;
}

static inline int need_room(Encoder *e, size_t need) {
    return need <= (size_t)(e->end - e->p) ? 0 : grow(e, need);
}

static inline size_t seen_slot(const void *table, size_t size) {
    return (size_t)((uintptr_t)table * 0x9e3779b97f4a7c15u >> 32) & (size - 1);
}

/* Adds to the hash, which has a free slot; false if it is there. */
static bool seen_add(const void **seen, size_t size, const void *table) {
    size_t i = seen_slot(table, size);
    for (; seen[i] != NULL; i = (i + 1) & (size - 1)) {
        if (seen[i] == table) return false;
    }
    seen[i] = table;
    return true;
}

static bool seen_grow(Encoder *e) {
    size_t size = e->seen_size > 0 ? 2 * e->seen_size : 4 * SEEN_FEW;
    const void **seen = pool_alloc(size * sizeof *seen);
    if (seen == NULL) return false;
    memset(seen, 0, size * sizeof *seen);
    const void **old = e->seen_size > 0 ? e->seen : e->few;
    size_t old_size = e->seen_size > 0 ? e->seen_size : e->seen_count;
    for (size_t i = 0; i < old_size; i++) {
        if (old[i] != NULL) seen_add(seen, size, old[i]);
    }
    if (e->seen_size > 0) pool_free(e->seen, e->seen_size * sizeof *e->seen);
    e->seen = seen;
    e->seen_size = size;
    return true;
}

/* 1 = first time, 0 = met before, UV_ENOMEM. */
static int first_time(Encoder *e, const void *table) {
    if (e->seen_size == 0) {
        for (size_t i = 0; i < e->seen_count; i++) {
            if (e->few[i] == table) return 0;
        }
        if (e->seen_count < SEEN_FEW) {
            e->few[e->seen_count++] = table;
            return 1;
        }
    }
    if (2 * (e->seen_count + 1) > e->seen_size && !seen_grow(e)) return UV_ENOMEM;
    if (!seen_add(e->seen, e->seen_size, table)) return 0;
    e->seen_count++;
    return 1;
}

/* Is the table (at `depth`) one of those around it? */
static bool inside_itself(Encoder *e, int depth, const void *table) {
    if (lua_topointer(e->L, e->argument) == table) return depth > 0;
    for (int d = 0; d < depth - 1; d++) {
        if (lua_topointer(e->L, e->base + 2 * d + 2) == table) return true;
    }
    return false;
}

static bool is_error_object(lua_State *L, int index) {
    if (!lua_getmetatable(L, index)) return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &codec_error_key);
    bool same = lua_istable(L, -1) && lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

static int encode_table(Encoder *e, int index, int depth);

/* Everything but tables. Where it would go on, or NULL: a value that is no scalar, or no room for it up to `end`. */
static inline unsigned char *put_scalar(lua_State *L, int index, int type, unsigned char *p, const unsigned char *end) {
    if (type == LUA_TSTRING) {
        size_t len;
        const char *s = lua_tolstring(L, index, &len);
        return len + 5 <= (size_t)(end - p) ? put_string(p, s, len) : NULL; /* a Lua string's len + 5 does not wrap */
    }
    if (end - p < SCALAR_MAX) return NULL;
    switch (type) {
    case LUA_TNUMBER:
        if (lua_isinteger(L, index)) return put_integer(p, lua_tointegerx(L, index, NULL));
        return put_float(p, lua_tonumberx(L, index, NULL));
    case LUA_TBOOLEAN:
        *p++ = lua_toboolean(L, index) ? TAG_TRUE : TAG_FALSE;
        return p;
    case LUA_TLIGHTUSERDATA:
        return put_pid(p, (uint64_t)(uintptr_t)lua_touserdata(L, index));
    case LUA_TNIL:
        *p++ = TAG_NIL;
        return p;
    default:
        return NULL;
    }
}

static inline bool is_scalar(int type) {
    return type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN || type == LUA_TLIGHTUSERDATA ||
           type == LUA_TNIL;
}

/* The same with room made for it. 1 = written, 0 = of no type that a scalar has, or an error. */
static inline int encode_scalar(Encoder *e, int index, int type) {
    unsigned char *p = put_scalar(e->L, index, type, e->p, e->end);
    if (p == NULL) {
        if (!is_scalar(type)) return 0;
        int err = grow(e, type == LUA_TSTRING ? 5 + lua_rawlen(e->L, index) : SCALAR_MAX);
        if (err < 0) return err;
        p = put_scalar(e->L, index, type, e->p, e->end);
    }
    e->p = p;
    return 1;
}

/* `depth`: how many tables of this argument are around the value. */
static inline int encode_value(Encoder *e, int index, int depth) {
    int type = lua_type(e->L, index);
    if (type == LUA_TTABLE) return encode_table(e, index, depth);
    int err = encode_scalar(e, index, type);
    if (err != 0) return err < 0 ? err : 0;
    return refuse(e, depth, type == LUA_TFUNCTION ? "a function can't be sent"
                            : type == LUA_TTHREAD ? "a coroutine can't be sent"
                                                  : "a userdata can't be sent");
}

/* One pass with lua_next. As long as the keys come as 1, 2, 3, ... only values are written; from the first that does
 * not, keys and values. Where Lua keeps its integer keys decides how well a table packs, never what arrives. */
static int encode_table(Encoder *e, int index, int depth) {
    lua_State *L = e->L;
    if (depth + e->open >= CODEC_DEPTH_MAX) return refuse(e, depth, "nested deeper than 100 tables");
    if (!lua_checkstack(L, 4)) return fail(e, UV_ENOMEM, "not enough memory for the message");
    const void *table = lua_topointer(L, index);
    int err = first_time(e, table);
    if (err < 0) return fail(e, err, "not enough memory for the message");
    if (err == 0) {
        return refuse(e, depth, inside_itself(e, depth, table) ? "a table that contains itself can't be sent"
                                                               : "a table met twice can't be sent");
    }
    bool error = is_error_object(L, index);
    if (error) e->msg->flags |= MESSAGE_ERRORS;
    err = need_room(e, HEAD8);
    if (err < 0) return err;
    size_t start = (size_t)(e->p - e->msg->bytes);
    e->p += HEAD8;

    uint32_t values = 0, pairs = 0; /* they fit: the payload has at most 2^30 bytes */
    int key = e->base + 2 * depth + 1;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (pairs == 0 && lua_isinteger(L, key) && lua_tointegerx(L, key, NULL) == (lua_Integer)values + 1) {
            values++;
        } else {
            err = encode_scalar(e, key, lua_type(L, key));
            if (err < 0) return err;
            if (err == 0) {
                int type = lua_type(L, key);
                return refuse(e, depth, type == LUA_TTABLE      ? "a table as a key can't be sent"
                                        : type == LUA_TFUNCTION ? "a function as a key can't be sent"
                                        : type == LUA_TTHREAD   ? "a coroutine as a key can't be sent"
                                                                : "a userdata as a key can't be sent");
            }
            pairs++;
        }
        err = encode_value(e, key + 1, depth + 1);
        if (err < 0) return err;
        lua_settop(L, key);
    }

    unsigned char *head = e->msg->bytes + start;
    if (values <= UINT8_MAX && pairs <= UINT8_MAX) {
        head[0] = error ? TAG_ERROR8 : TAG_TABLE8;
        head[1] = (unsigned char)values;
        head[2] = (unsigned char)pairs;
        return 0;
    }
    err = need_room(e, HEAD32 - HEAD8);
    if (err < 0) return err;
    head = e->msg->bytes + start;
    memmove(head + HEAD32, head + HEAD8, (size_t)(e->p - head) - HEAD8);
    e->p += HEAD32 - HEAD8;
    head[0] = error ? TAG_ERROR32 : TAG_TABLE32;
    put32(put32(head + 1, values), pairs);
    return 0;
}

static __attribute__((noinline)) int encode_all(lua_State *L, int first, int last, Message **msg, CodecError *err) {
    /* Field by field: `few` is left as it is, so that messages with few tables pay little for it. */
    Encoder e;
    uint32_t size = (*msg)->size;
    e.L = L;
    e.msg = *msg;
    e.err = err;
    e.p = e.msg->bytes + size;
    e.end = e.msg->bytes + e.msg->room;
    e.first = first;
    e.base = lua_gettop(L);
    e.open = e.msg->open;
    e.seen_count = e.seen_size = 0;

    int code = 0;
    if (e.open == 0 && last - first + 1 > MESSAGE_ARGS_MAX - e.msg->argc) {
        code = fail(&e, UV_E2BIG, "more than %d arguments", MESSAGE_ARGS_MAX);
    }
    for (e.argument = first; code == 0 && e.argument <= last; e.argument++) code = encode_value(&e, e.argument, 0);

    if (e.seen_size > 0) pool_free(e.seen, e.seen_size * sizeof *e.seen);
    *msg = e.msg;
    if (code < 0) {
        lua_settop(L, e.base);
        e.msg->size = size;
        return code;
    }
    e.msg->size = (uint32_t)(e.p - e.msg->bytes);
    if (e.open == 0 && last >= first) e.msg->argc = (uint8_t)(e.msg->argc + (last - first + 1));
    return 0;
}

/* Most messages are a few scalars that fit the block: those need no Encoder. */
int codec_encode(lua_State *L, int first, int last, Message **msg, CodecError *err) {
    Message *m = *msg;
    unsigned char *p = m->bytes + m->size;
    const unsigned char *end = m->bytes + m->room;
    if (m->open > 0 || last - first >= MESSAGE_ARGS_MAX - m->argc) return encode_all(L, first, last, msg, err);
    for (int i = first; i <= last; i++) {
        p = put_scalar(L, i, lua_type(L, i), p, end);
        if (p == NULL) return encode_all(L, first, last, msg, err); /* from the start: msg is as it was */
    }
    m->size = (uint32_t)(p - m->bytes);
    if (last >= first) m->argc = (uint8_t)(m->argc + (last - first + 1));
    return 0;
}

/* ---- values made in C ---- */

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

int codec_put_nil(Message **msg) {
    return put_tag(msg, TAG_NIL);
}

int codec_put_boolean(Message **msg, bool value) {
    return put_tag(msg, value ? TAG_TRUE : TAG_FALSE);
}

int codec_put_integer(Message **msg, lua_Integer value) {
    int err = begin(msg, SCALAR_MAX);
    return err < 0 ? err : finish(*msg, put_integer((*msg)->bytes + (*msg)->size, value));
}

int codec_put_number(Message **msg, lua_Number value) {
    int err = begin(msg, SCALAR_MAX);
    return err < 0 ? err : finish(*msg, put_float((*msg)->bytes + (*msg)->size, value));
}

int codec_put_string(Message **msg, const char *bytes, size_t len) {
    if (len > MESSAGE_SIZE_MAX) return UV_E2BIG;
    int err = begin(msg, 5 + len);
    return err < 0 ? err : finish(*msg, put_string((*msg)->bytes + (*msg)->size, bytes, len));
}

int codec_put_pid(Message **msg, uint64_t bits) {
    int err = begin(msg, SCALAR_MAX);
    return err < 0 ? err : finish(*msg, put_pid((*msg)->bytes + (*msg)->size, bits));
}

int codec_put_values(Message **msg, const Message *values) {
    const unsigned char *from = values->bytes;
    size_t size = values->size;
    if (values->flags & MESSAGE_NAMED) {
        size_t len;
        const char *name = codec_first_string(values, &len);
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

int codec_open_table(Message **msg, bool error, size_t *mark) {
    if ((*msg)->open >= CODEC_DEPTH_MAX) return UV_E2BIG;
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

int codec_close_table(Message **msg, size_t mark, unsigned pairs) {
    Message *m = *msg;
    assert(m->open > 0 && mark + HEAD32 <= m->size);
    put32(m->bytes + mark + 5, pairs);
    m->open--;
    return finish(m, m->bytes + m->size);
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
        lua_Integer integer;
        lua_Number number;
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
    bool (*rename)(void *context, uint64_t *pid); /* codec_adopt's; else NULL */
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
        item->integer = (lua_Integer)tag - TAG_SMALL_BIAS;
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
        item->integer = (lua_Integer)get64(p);
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

/* The item was a pid: what it is called here. Only in codec_adopt, whose bytes may be written. */
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
    if (depth >= CODEC_DEPTH_MAX) return false;
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

bool codec_valid(const Message *msg) {
    Reader r = reader_open(msg);
    return is_valid(msg, &r);
}

bool codec_adopt(Message *msg, bool (*rename)(void *context, uint64_t *pid), void *context) {
    Reader r = reader_open(msg);
    r.rename = rename;
    r.context = context;
    return is_valid(msg, &r);
}

/* ---- decoding to the Lua stack ---- */

#define STACK_FREE 8 /* slots that are there without asking: see codec_decode's contract */

static void need_stack(lua_State *L, int slots) {
    if (lua_checkstack(L, slots)) return;
    lua_pushliteral(L, "not enough memory");
    lua_error(L);
}

static bool decode_table(lua_State *L, Reader *r, const Item *head, int depth);

/* Pushes the value an item begins. The stack has room for one. */
static inline bool push_item(lua_State *L, Reader *r, ItemKind kind, const Item *item, int depth) {
    switch (kind) {
    case ITEM_INTEGER:
        lua_pushinteger(L, item->integer);
        return true;
    case ITEM_STRING:
        lua_pushlstring(L, item->string.bytes, item->string.len);
        return true;
    case ITEM_TABLE:
        return decode_table(L, r, item, depth);
    case ITEM_FLOAT:
        lua_pushnumber(L, item->number);
        return true;
    case ITEM_BOOLEAN:
        lua_pushboolean(L, item->boolean);
        return true;
    case ITEM_PID:
        lua_pushlightuserdata(L, (void *)(uintptr_t)item->bits);
        return true;
    case ITEM_NIL:
        lua_pushnil(L);
        return true;
    case ITEM_BAD:
        break;
    }
    return false;
}

static inline bool decode_value(lua_State *L, Reader *r, int depth) {
    Item item;
    ItemKind kind = next_item(r, &item);
    return push_item(L, r, kind, &item, depth);
}

static bool decode_table(lua_State *L, Reader *r, const Item *head, int depth) {
    if (depth >= CODEC_DEPTH_MAX) return false;
    need_stack(L, 4); /* the table, a key and a value; one for a metatable to compare */
    lua_createtable(L, (int)head->table.values, (int)head->table.pairs); /* ints: both at most MESSAGE_SIZE_MAX */
    for (uint32_t i = 1; i <= head->table.values; i++) {
        if (!decode_value(L, r, depth + 1)) return false;
        lua_rawseti(L, -2, i);
    }
    for (uint32_t i = head->table.pairs; i > 0; i--) {
        Item key;
        ItemKind kind = next_item(r, &key);
        if (!may_be_key(kind, &key)) return false;
        push_item(L, r, kind, &key, depth + 1);
        if (!decode_value(L, r, depth + 1)) return false;
        lua_rawset(L, -3);
    }
    if (head->table.error) {
        if (lua_rawgetp(L, LUA_REGISTRYINDEX, &codec_error_key) == LUA_TTABLE) lua_setmetatable(L, -2);
        else lua_pop(L, 1);
    }
    return true;
}

int codec_decode(lua_State *L, const Message *msg) {
    Reader r = reader_open(msg);
    int count = expected(msg);
    if (count < 0 || msg->size > MESSAGE_SIZE_MAX) return UV_EINVAL;
    int top = lua_gettop(L);
    if (count >= STACK_FREE) need_stack(L, count + 1);
    int i = 0;
    if (msg->flags & MESSAGE_NAMED) {
        Item name;
        if (next_item(&r, &name) != ITEM_STRING) return UV_EINVAL;
        lua_pushlstring(L, name.string.bytes, name.string.len);
        i = 1;
    }
    for (; i < count; i++) {
        if (!decode_value(L, &r, 0)) goto fail;
    }
    if (r.p == r.end) return count;
fail:
    lua_settop(L, top);
    return UV_EINVAL;
}

/* ---- reading without a VM ---- */

const char *codec_first_string(const Message *msg, size_t *len) {
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

const char *codec_first_field(const Message *msg, const char *key, size_t *len) {
    Reader r = reader_open(msg);
    Item item;
    if (next_item(&r, &item) != ITEM_TABLE) return NULL;
    return find_field(&r, &item, key, len);
}

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

static void text_float(Text *t, lua_Number v) {
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
    if (around >= CODEC_DEPTH_MAX) return false;
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

size_t codec_show(const Message *msg, int index, int depth, char *out, size_t cap) {
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
    if (len <= left) return codec_put_string(x->msg, bytes, len);
    x->cut = true;
    return codec_put_string(x->msg, bytes, left);
}

static int excerpt_table(Excerpt *x, const Item *head, int depth, int around);

/* Puts the value an item begins, which is not ITEM_BAD. */
static int excerpt_item(Excerpt *x, ItemKind kind, const Item *item, int depth, int around) {
    switch (kind) {
    case ITEM_BAD:
    case ITEM_NIL: return codec_put_nil(x->msg);
    case ITEM_BOOLEAN: return codec_put_boolean(x->msg, item->boolean);
    case ITEM_INTEGER: return codec_put_integer(x->msg, item->integer);
    case ITEM_FLOAT: return codec_put_number(x->msg, item->number);
    case ITEM_PID: return codec_put_pid(x->msg, item->bits);
    case ITEM_STRING: return excerpt_string(x, item->string.bytes, item->string.len);
    case ITEM_TABLE: break;
    }
    if (depth > 0 || item->table.values + item->table.pairs == 0) return excerpt_table(x, item, depth, around);
    x->cut = true;
    x->bad = !skip_rest(&x->r, kind, item, around);
    return codec_put_string(x->msg, "{...}", 5);
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
    return codec_close_table(x->msg, mark, pairs);
}

/* It ends early when there is no room or the bytes are bad; then the reader is anywhere, and nobody reads on: the
 * tables around it end for the same reason. */
static int excerpt_table(Excerpt *x, const Item *head, int depth, int around) {
    size_t mark;
    Item item, value;
    ItemKind kind;
    uint32_t values = 0, pairs = 0;
    int err = codec_open_table(x->msg, head->table.error, &mark);
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

int codec_put_excerpt(Message **msg, const Message *values, int depth, size_t room, bool *cut) {
    Excerpt x = {.r = reader_open(values), .msg = msg, .end = (*msg)->size + room};
    size_t mark;
    Item item;
    ItemKind kind;
    uint32_t count = 0, all = values->argc;
    x.bad = expected(values) < 0 || (values->flags & MESSAGE_NAMED && next_item(&x.r, &item) != ITEM_STRING);
    int err = codec_open_table(msg, false, &mark);
    if (err < 0) return err;
    while (excerpt_next(&x, all - count, &item, &kind)) {
        if ((err = excerpt_item(&x, kind, &item, depth, 0)) < 0) return err;
        count++;
    }
    if ((err = codec_put_string(msg, "n", 1)) < 0 || (err = codec_put_integer(msg, all)) < 0) return err;
    if (x.cut || x.bad) *cut = true;
    return excerpt_close(&x, mark, count, 1);
}
