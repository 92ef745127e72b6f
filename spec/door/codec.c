/* door.codec - core/mail/codec.c, payload.c, message.c and pid.h for specs. A message is a userdata that owns it. */
#include "mail/codec.h"
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "mail/message.h"
#include "mail/payload.h"
#include "mail/pid.h"

int luaopen_door_codec(lua_State *L);

#define LETTER "door.codec.letter"

typedef struct Letter {
    Message *msg;
    bool exact; /* from malloc, with no byte behind the payload: a sanitizer sees who reads too far */
} Letter;

static Letter *new_letter(lua_State *L) {
    Letter *letter = lua_newuserdatauv(L, sizeof *letter, 0);
    *letter = (Letter){0};
    luaL_setmetatable(L, LETTER);
    return letter;
}

static Message *check(lua_State *L) {
    return ((Letter *)luaL_checkudata(L, 1, LETTER))->msg;
}

static Message **check_writable(lua_State *L) {
    Letter *letter = luaL_checkudata(L, 1, LETTER);
    luaL_argcheck(L, !letter->exact, 1, "made by `from`: only to read");
    return &letter->msg;
}

static int result(lua_State *L, int err) {
    if (err == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, uv_err_name(err));
    return 2;
}

/* new([room]) */
static int door_new(lua_State *L) {
    size_t room = (size_t)luaL_optinteger(L, 1, 0);
    Letter *letter = new_letter(L);
    letter->msg = message_new(MESSAGE_SEND, room);
    if (letter->msg == NULL) lua_pushnil(L);
    return 1;
}

/* from(bytes, argc [, flags]) */
static int door_from(lua_State *L) {
    size_t size;
    const char *bytes = luaL_checklstring(L, 1, &size);
    uint8_t argc = (uint8_t)luaL_checkinteger(L, 2), flags = (uint8_t)luaL_optinteger(L, 3, 0);
    Letter *letter = new_letter(L);
    Message *msg = malloc(MESSAGE_HEADER + size);
    if (msg == NULL) return luaL_error(L, "not enough memory");
    memset(msg, 0, MESSAGE_HEADER);
    memcpy(msg->bytes, bytes, size);
    msg->size = msg->room = (uint32_t)size;
    msg->argc = argc;
    msg->flags = flags;
    letter->msg = msg;
    letter->exact = true;
    return 1;
}

static int letter_free(lua_State *L) {
    Letter *letter = luaL_checkudata(L, 1, LETTER);
    if (letter->exact) free(letter->msg);
    else message_free(letter->msg);
    letter->msg = NULL;
    return 0;
}

/* letter:encode(...): true, or nil, code, text */
static int letter_encode(lua_State *L) {
    Message **msg = check_writable(L);
    CodecError err = {""};
    int top = lua_gettop(L);
    int code = codec_encode(L, 2, top, msg, &err);
    if (lua_gettop(L) != top) return luaL_error(L, "codec_encode left the stack changed");
    int n = result(L, code);
    if (code == 0) return n;
    lua_pushstring(L, err.text);
    return n + 1;
}

/* letter:excerpt(depth, room): a new letter, cut */
static int letter_excerpt(lua_State *L) {
    Message *msg = check(L);
    int depth = (int)luaL_checkinteger(L, 2);
    size_t room = (size_t)luaL_checkinteger(L, 3);
    Letter *letter = new_letter(L);
    bool cut = false;
    letter->msg = message_new(MESSAGE_SEND, 0);
    if (letter->msg == NULL) return luaL_error(L, "not enough memory");
    int err = payload_put_excerpt(&letter->msg, msg, depth, room, &cut);
    if (err < 0) return result(L, err);
    lua_pushboolean(L, cut);
    return 2;
}

/* letter:overfull(value): what encoding and putting answer when a gigabyte is written already, and encoding's text.
 * Only the counts say so: nothing may be read or written. */
static int letter_overfull(lua_State *L) {
    Message **msg = check_writable(L);
    uint32_t size = (*msg)->size, room = (*msg)->room;
    CodecError err = {""};
    size_t mark;
    (*msg)->size = (*msg)->room = MESSAGE_SIZE_MAX;
    int codes[] = {codec_encode(L, 2, 2, msg, &err), payload_put_nil(msg), payload_put_integer(msg, 1),
                   payload_put_string(msg, "", 0), payload_open_table(msg, false, &mark)};
    (*msg)->size = size;
    (*msg)->room = room;
    int count = sizeof codes / sizeof *codes;
    lua_pushstring(L, err.text);
    for (int i = 0; i < count; i++) lua_pushstring(L, codes[i] == 0 ? "OK" : uv_err_name(codes[i]));
    return 1 + count;
}

/* letter:decode(): how many, the values; or nil, code */
static int letter_decode(lua_State *L) {
    Message *msg = check(L);
    lua_settop(L, 1);
    int count = codec_decode(L, msg);
    if (count < 0) {
        if (lua_gettop(L) != 1) return luaL_error(L, "codec_decode pushed in spite of an error");
        return result(L, count);
    }
    if (lua_gettop(L) != 1 + count) return luaL_error(L, "codec_decode pushed another number than it says");
    lua_pushinteger(L, count);
    lua_replace(L, 1);
    return count + 1;
}

static int letter_valid(lua_State *L) {
    lua_pushboolean(L, payload_valid(check(L)));
    return 1;
}

static int letter_bytes(lua_State *L) {
    Message *msg = check(L);
    lua_pushlstring(L, (const char *)msg->bytes, msg->size);
    return 1;
}

/* letter:header([fields]): reads all, after writing those given */
static int letter_header(lua_State *L) {
    Message *msg = check(L);
#define EACH(X) X(to) X(from) X(ref) X(name) X(kind) X(flags) X(argc)
    if (lua_istable(L, 2)) {
#define X(field) \
    if (lua_getfield(L, 2, #field) != LUA_TNIL) msg->field = (__typeof__(msg->field))lua_tointeger(L, -1); \
    lua_pop(L, 1);
        EACH(X)
#undef X
        lua_getfield(L, 2, "next");
        if (lua_toboolean(L, -1)) msg->next = msg;
    }
    lua_newtable(L);
#define X(field) \
    lua_pushinteger(L, (lua_Integer)msg->field); \
    lua_setfield(L, -2, #field);
    EACH(X)
    X(size)
    X(room)
#undef X
    lua_pushboolean(L, msg->next != NULL);
    lua_setfield(L, -2, "next");
    return 1;
}

static int letter_grow(lua_State *L) {
    Message **msg = check_writable(L);
    Message *grown = message_grow(*msg, (size_t)luaL_checkinteger(L, 2));
    if (grown != NULL) *msg = grown;
    lua_pushboolean(L, grown != NULL);
    return 1;
}

static int letter_copy(lua_State *L) {
    Message *msg = check(L);
    Letter *letter = new_letter(L);
    letter->msg = message_copy(msg);
    if (letter->msg == NULL) lua_pushnil(L);
    return 1;
}

/* msg:limit(deadline) -> whether it could be; msg:deadline() */
static int letter_limit(lua_State *L) {
    Letter *letter = luaL_checkudata(L, 1, LETTER);
    lua_pushboolean(L, message_limit(&letter->msg, (uint64_t)luaL_checkinteger(L, 2)) == 0);
    return 1;
}

static int letter_deadline(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)message_deadline(check(L)));
    return 1;
}

static int letter_put_nil(lua_State *L) {
    return result(L, payload_put_nil(check_writable(L)));
}

static int letter_put_boolean(lua_State *L) {
    return result(L, payload_put_boolean(check_writable(L), lua_toboolean(L, 2)));
}

static int letter_put_integer(lua_State *L) {
    return result(L, payload_put_integer(check_writable(L), luaL_checkinteger(L, 2)));
}

static int letter_put_number(lua_State *L) {
    return result(L, payload_put_number(check_writable(L), luaL_checknumber(L, 2)));
}

static int letter_put_string(lua_State *L) {
    size_t len;
    const char *s = luaL_checklstring(L, 2, &len);
    return result(L, payload_put_string(check_writable(L), s, len));
}

static int letter_put_pid(lua_State *L) {
    return result(L, payload_put_pid(check_writable(L), (uint64_t)luaL_checkinteger(L, 2)));
}

static int letter_open(lua_State *L) {
    size_t mark;
    int err = payload_open_table(check_writable(L), lua_toboolean(L, 2), &mark);
    if (err < 0) return result(L, err);
    lua_pushinteger(L, (lua_Integer)mark);
    return 1;
}

static int letter_close(lua_State *L) {
    Message **msg = check_writable(L);
    return result(L, payload_close_table(msg, (size_t)luaL_checkinteger(L, 2), (unsigned)luaL_checkinteger(L, 3)));
}

static int push_bytes(lua_State *L, const char *s, size_t len) {
    if (s == NULL) lua_pushnil(L);
    else lua_pushlstring(L, s, len);
    return 1;
}

static int letter_first_string(lua_State *L) {
    size_t len = 0;
    const char *s = payload_first_string(check(L), &len);
    return push_bytes(L, s, len);
}

static int letter_first_field(lua_State *L) {
    size_t len = 0;
    const char *s = payload_first_field(check(L), luaL_checkstring(L, 2), &len);
    return push_bytes(L, s, len);
}

/* letter:show([index [, depth [, cap]]]): the text and the length it gave */
static int letter_show(lua_State *L) {
    Message *msg = check(L);
    size_t cap = (size_t)luaL_optinteger(L, 4, 4096);
    char *out = malloc(cap); /* not a byte more than we say */
    if (out == NULL && cap > 0) return luaL_error(L, "not enough memory");
    size_t len = payload_show(msg, (int)luaL_optinteger(L, 2, 0), (int)luaL_optinteger(L, 3, 10), out, cap);
    bool ended = cap == 0 ? len == 0 : len < cap && out[len] == '\0';
    if (cap == 0) lua_pushliteral(L, "");
    else lua_pushlstring(L, out, ended ? len : 0);
    free(out);
    lua_pushboolean(L, ended);
    return 2;
}

/* ---- pids ---- */

static int door_pointer(lua_State *L) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)luaL_checkinteger(L, 1));
    return 1;
}

static int door_bits(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)(uintptr_t)lua_touserdata(L, 1));
    return 1;
}

static int door_pid_make(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)pid_make((uint32_t)luaL_checkinteger(L, 1), (uint32_t)luaL_checkinteger(L, 2)));
    return 1;
}

/* pid_parts(bits): slot, generation, node, is it a ref */
static int door_pid_parts(lua_State *L) {
    uint64_t bits = (uint64_t)luaL_checkinteger(L, 1);
    lua_pushinteger(L, pid_slot(bits));
    lua_pushinteger(L, pid_generation(bits));
    lua_pushinteger(L, pid_node(bits));
    lua_pushboolean(L, bits_are_ref(bits));
    return 4;
}

/* ref_make(kind, serial): the bits and the kind read back */
static int door_ref_make(lua_State *L) {
    static const char *const kinds[] = {"monitor", "timer", "request", NULL};
    uint64_t ref = ref_make((RefKind)luaL_checkoption(L, 1, NULL, kinds), (uint64_t)luaL_checkinteger(L, 2));
    lua_pushinteger(L, (lua_Integer)ref);
    lua_pushstring(L, kinds[ref_kind(ref)]);
    return 2;
}

static int door_pid_text(lua_State *L) {
    char *out = malloc(PID_TEXT_MAX); /* not a byte more than promised */
    if (out == NULL) return luaL_error(L, "not enough memory");
    size_t len = pid_text((uint64_t)luaL_checkinteger(L, 1), out);
    lua_pushlstring(L, out, len);
    free(out);
    return 1;
}

/* error_metatable(t | nil): what error objects have in this VM */
static int door_error_metatable(lua_State *L) {
    lua_settop(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &codec_error_key);
    return 0;
}

int luaopen_door_codec(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"new", door_new},           {"from", door_from},           {"pointer", door_pointer},
        {"bits", door_bits},         {"pid_make", door_pid_make},   {"pid_parts", door_pid_parts},
        {"ref_make", door_ref_make}, {"pid_text", door_pid_text},   {"error_metatable", door_error_metatable},
        {NULL, NULL},
    };
    static const luaL_Reg methods[] = {
        {"encode", letter_encode},           {"decode", letter_decode},
        {"valid", letter_valid},             {"bytes", letter_bytes},
        {"header", letter_header},           {"grow", letter_grow},
        {"copy", letter_copy},               {"put_nil", letter_put_nil},
        {"put_boolean", letter_put_boolean}, {"put_integer", letter_put_integer},
        {"put_number", letter_put_number},   {"put_string", letter_put_string},
        {"put_pid", letter_put_pid},         {"open", letter_open},
        {"close", letter_close},             {"first_string", letter_first_string},
        {"first_field", letter_first_field}, {"show", letter_show},
        {"overfull", letter_overfull},       {"excerpt", letter_excerpt},
        {"limit", letter_limit},             {"deadline", letter_deadline},
        {NULL, NULL},
    };
    if (luaL_newmetatable(L, LETTER)) {
        lua_pushcfunction(L, letter_free);
        lua_setfield(L, -2, "__gc");
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
    }
    luaL_newlib(L, functions);
    lua_pushinteger(L, MESSAGE_NAMED);
    lua_setfield(L, -2, "NAMED");
    lua_pushinteger(L, MESSAGE_ARGS_MAX);
    lua_setfield(L, -2, "ARGS_MAX");
    lua_pushinteger(L, MESSAGE_SIZE_MAX);
    lua_setfield(L, -2, "SIZE_MAX");
    lua_pushinteger(L, MESSAGE_DEPTH_MAX);
    lua_setfield(L, -2, "DEPTH_MAX");
    return 1;
}
