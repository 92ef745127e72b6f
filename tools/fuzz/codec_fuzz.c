/* codec_fuzz.c - libFuzzer target: any bytes as a message's payload.
 *
 * The first byte is argc, the lowest bit of the second says MESSAGE_NAMED, the rest is the payload. What must
 * hold: nothing reads a byte too far or falls; codec_decode takes exactly what payload_valid takes; what was
 * decoded encodes, and comes back equal. */
#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mail/codec.h"
#include "mail/message.h"
#include "mail/payload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

static lua_State *vm(void) {
    static lua_State *L;
    if (L == NULL) {
        L = luaL_newstate();
        MUST(L != NULL);
        lua_newtable(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &codec_error_key);
    }
    return L;
}

/* Equal in type, value, metatable; floats to the bit; tables by what is in them, which may lie in another order. */
static bool same(lua_State *L, int a, int b) {
    if (lua_type(L, a) != lua_type(L, b)) return false;
    if (lua_type(L, a) == LUA_TNUMBER) {
        if (lua_isinteger(L, a) != lua_isinteger(L, b)) return false;
        lua_Number x = lua_tonumber(L, a), y = lua_tonumber(L, b);
        return lua_isinteger(L, a) ? lua_tointeger(L, a) == lua_tointeger(L, b) : memcmp(&x, &y, sizeof x) == 0;
    }
    if (lua_type(L, a) != LUA_TTABLE) return lua_rawequal(L, a, b);

    luaL_checkstack(L, 6, "same");
    int top = lua_gettop(L), meta = lua_getmetatable(L, a) + lua_getmetatable(L, b);
    if (meta == 1 || (meta == 2 && !lua_rawequal(L, -1, -2))) return false;
    lua_settop(L, top);
    int count = 0;
    for (lua_pushnil(L); lua_next(L, a); lua_settop(L, top + 1), count++) {
        lua_pushvalue(L, top + 1);
        lua_rawget(L, b);
        if (!same(L, top + 2, top + 3)) return false;
    }
    for (lua_pushnil(L); lua_next(L, b); lua_settop(L, top + 1)) count--;
    lua_settop(L, top);
    return count == 0;
}

static void look(const Message *msg) {
    static const char *const keys[] = {"message", "", "a"};
    char text[300];
    size_t len;
    const unsigned char *end = msg->bytes + msg->size;
    const char *s = payload_first_string(msg, &len);
    MUST(s == NULL || (const unsigned char *)s + len <= end);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        s = payload_first_field(msg, keys[i], &len);
        MUST(s == NULL || (const unsigned char *)s + len <= end);
    }
    for (size_t cap = 0; cap <= sizeof text; cap = cap * 3 + 1) {
        char *out = malloc(cap > 0 ? cap : 1); /* a block of its own, so that a byte too many is seen */
        MUST(out != NULL);
        for (int index = -1; index < 3; index++) {
            len = payload_show(msg, index, index + 1, out, cap);
            MUST(cap == 0 ? len == 0 : len < cap && out[len] == '\0');
        }
        len = payload_show(msg, msg->argc - 1, MESSAGE_DEPTH_MAX + 5, out, cap);
        MUST(cap == 0 ? len == 0 : len < cap && out[len] == '\0');
        free(out);
    }
    for (size_t room = 0; room <= 4096; room = room * 4 + 1) {
        for (int depth = 0; depth < MESSAGE_DEPTH_MAX; depth = depth * 3 + 1) {
            bool cut = false;
            Message *excerpt = message_new(MESSAGE_SEND, 0);
            MUST(excerpt != NULL && payload_put_excerpt(&excerpt, msg, depth, room, &cut) == 0);
            MUST(excerpt->argc == 1 && payload_valid(excerpt) && excerpt->size <= room + 64 + 16u * (unsigned)depth);
            message_free(excerpt);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    lua_State *L = vm();
    Message *msg = malloc(MESSAGE_HEADER + size - 2); /* not a byte of room behind the payload */
    MUST(msg != NULL);
    memset(msg, 0, MESSAGE_HEADER);
    msg->argc = data[0];
    msg->flags = data[1] & MESSAGE_NAMED;
    msg->size = msg->room = (uint32_t)(size - 2);
    memcpy(msg->bytes, data + 2, size - 2);

    look(msg);
    bool valid = payload_valid(msg);
    int count = codec_decode(L, msg);
    MUST(valid == (count >= 0));
    MUST(lua_gettop(L) == (valid ? count : 0));
    if (valid && count <= MESSAGE_ARGS_MAX) { /* with the name there may be one more than an encoder takes */
        MUST(count == msg->argc + (msg->flags & MESSAGE_NAMED ? 1 : 0));
        Message *again = message_new(MESSAGE_SEND, 0);
        CodecError err;
        MUST(again != NULL && codec_encode(L, 1, count, &again, &err) == 0);
        MUST(lua_gettop(L) == count && again->argc == count);
        MUST(payload_valid(again));
        look(again);
        MUST(codec_decode(L, again) == count);
        for (int i = 1; i <= count; i++) MUST(same(L, i, count + i));
        message_free(again);
    }
    lua_settop(L, 0);
    free(msg);
    return 0;
}
