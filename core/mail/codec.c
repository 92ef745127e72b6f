#include "mail/codec.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>
#include "ground/pool.h"
#include "mail/format.h"
#include "mail/pid.h"

static_assert(sizeof(lua_Integer) == 8 && sizeof(lua_Number) == 8 && sizeof(void *) == 8, "the format's widths");

const char codec_error_key = 0;

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
    if (depth + e->open >= MESSAGE_DEPTH_MAX) return refuse(e, depth, "nested deeper than 100 tables");
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
    if (depth >= MESSAGE_DEPTH_MAX) return false;
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
