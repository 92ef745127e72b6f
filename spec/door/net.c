/* door.net - core/net for specs: what turns bytes from outside into something. */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>
#include "mail/codec.h"
#include "mail/payload.h"
#include "mail/pid.h"
#include "net/address.h"
#include "net/bytes.h"
#include "net/frame.h"
#include "net/hmac.h"

int luaopen_door_net(lua_State *L);

/* hmac(key, text) -> hex */
static int door_hmac(lua_State *L) {
    size_t key_len, len;
    const char *key = luaL_checklstring(L, 1, &key_len), *text = luaL_checklstring(L, 2, &len);
    unsigned char out[HMAC_SIZE];
    char hex[2 * HMAC_SIZE + 1];
    hmac_sha256(key, key_len, text, len, out);
    for (int i = 0; i < HMAC_SIZE; i++) snprintf(hex + 2 * i, 3, "%02x", out[i]);
    lua_pushstring(L, hex);
    return 1;
}

/* address(text) -> host, port, or nil */
static int door_address(lua_State *L) {
    char host[ADDRESS_TEXT];
    int port;
    if (!address_split(luaL_checkstring(L, 1), host, &port)) return 0;
    lua_pushstring(L, host);
    lua_pushinteger(L, port);
    return 2;
}

/* loopback(host) -> boolean, or nil: it is no number */
static int door_loopback(lua_State *L) {
    struct sockaddr_storage a;
    if (!address_numeric(luaL_checkstring(L, 1), 1, &a)) return 0;
    lua_pushboolean(L, address_loopback(&a));
    return 1;
}

/* hello(cluster, name, host, port) -> a frame */
static int door_hello(lua_State *L) {
    unsigned char out[FRAME_HELLO_MAX];
    Hello h = {.version = FRAME_VERSION, .incarnation = 7, .window = 1, .largest = 2, .patience = 3,
               .port = (uint16_t)luaL_checkinteger(L, 4)};
    snprintf(h.cluster, sizeof h.cluster, "%s", luaL_checkstring(L, 1));
    snprintf(h.name, sizeof h.name, "%s", luaL_checkstring(L, 2));
    snprintf(h.host, sizeof h.host, "%s", luaL_checkstring(L, 3));
    lua_pushlstring(L, (const char *)out, frame_put_hello(out, &h));
    return 1;
}

/* read_hello(frame) -> cluster, name, host, port; or nil and the error's name ("more": it is not whole yet) */
static int door_read_hello(lua_State *L) {
    size_t len;
    const unsigned char *bytes = (const unsigned char *)luaL_checklstring(L, 1, &len);
    Hello h;
    int whole = frame_whole(bytes, len), err = whole > 0 ? frame_read_hello(bytes + 5, (size_t)whole - 5, &h) : whole;
    if (whole <= 0 || err < 0) {
        lua_pushnil(L);
        lua_pushstring(L, err < 0 ? uv_err_name(err) : "more");
        return 2;
    }
    lua_pushstring(L, h.cluster);
    lua_pushstring(L, h.name);
    lua_pushstring(L, h.host);
    lua_pushinteger(L, h.port);
    return 4;
}

static lua_Integer field(lua_State *L, const char *key) {
    lua_getfield(L, 1, key);
    lua_Integer n = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return n;
}

/* record{kind=, flags=, argc=, name=, to=, from=, ref=, left=, payload=} -> bytes */
static int door_record(lua_State *L) {
    size_t size = 0;
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "payload");
    const char *payload = lua_tolstring(L, -1, &size);
    Record r = {(uint8_t)field(L, "kind"), (uint8_t)field(L, "flags"), (uint8_t)field(L, "argc"),
                (uint32_t)field(L, "name"), (uint64_t)field(L, "to"), (uint64_t)field(L, "from"),
                (uint64_t)field(L, "ref"), (uint64_t)field(L, "left"), (const unsigned char *)payload, size};
    luaL_Buffer b;
    record_put((unsigned char *)luaL_buffinitsize(L, &b, record_whole(&r)), &r);
    luaL_pushresultsize(&b, record_whole(&r));
    return 1;
}

/* read(bytes) -> is it a record that one node may send another? */
static int door_read(lua_State *L) {
    size_t len;
    const char *bytes = luaL_checklstring(L, 1, &len);
    Record r;
    lua_pushboolean(L, record_read((const unsigned char *)bytes, len, &r));
    return 1;
}

/* chunk(bytes) -> lane, length, or nil */
static int door_chunk(lua_State *L) {
    size_t len;
    Lane lane;
    const char *bytes = luaL_checklstring(L, 1, &len);
    luaL_argcheck(L, len == FRAME_CHUNK_HEAD, 1, "4 bytes");
    if (!frame_read_chunk((const unsigned char *)bytes, &lane, &len)) return 0;
    lua_pushinteger(L, lane);
    lua_pushinteger(L, (lua_Integer)len);
    return 2;
}

static bool to_node_9(void *context, uint64_t *pid) {
    int *count = context;
    ++*count;
    *pid = pid_on_node(*pid, 9);
    return pid_slot(*pid) != 13;
}

/* adopt(values...) -> the same values with all pids on node 9, and how many those were; nil if one has slot 13 */
static int door_adopt(lua_State *L) {
    CodecError why;
    int count = 0;
    Message *msg = message_new(MESSAGE_SEND, 0);
    if (codec_encode(L, 1, lua_gettop(L), &msg, &why) < 0) return luaL_error(L, "%s", why.text);
    lua_settop(L, 0);
    if (!payload_adopt(msg, to_node_9, &count)) {
        message_free(msg);
        return 0;
    }
    lua_pushinteger(L, count);
    int values = codec_decode(L, msg);
    message_free(msg);
    return 1 + values;
}

static int door_pid(lua_State *L) {
    uint64_t pid = pid_on_node(pid_make((uint32_t)luaL_checkinteger(L, 1), 1), (uint32_t)luaL_optinteger(L, 2, 0));
    lua_pushlightuserdata(L, (void *)(uintptr_t)pid);
    lua_pushinteger(L, (lua_Integer)pid);
    return 2;
}

static int door_ref(lua_State *L) {
    uint64_t ref = ref_make((RefKind)luaL_checkinteger(L, 1), 1);
    lua_pushlightuserdata(L, (void *)(uintptr_t)ref);
    lua_pushinteger(L, (lua_Integer)ref);
    return 2;
}

/* queue(steps) -> do bytes come out as they went in? Each step adds that many, or takes that many if negative */
static int door_queue(lua_State *L) {
    Bytes b = {0};
    unsigned char in = 0, out = 0;
    bool good = true;
    for (lua_Integer i = 1; lua_geti(L, 1, i) == LUA_TNUMBER && good; i++) {
        lua_Integer n = lua_tointeger(L, -1);
        lua_pop(L, 1);
        for (lua_Integer k = 0; k < n; k++) good = good && bytes_add(&b, &in, 1) == 0, in++;
        for (lua_Integer k = n; k < 0 && bytes_len(&b) > 0; k++) {
            good = good && *bytes_first(&b) == out++;
            bytes_take(&b, 1);
        }
    }
    good = good && bytes_len(&b) % 256 == (unsigned char)(in - out);
    bytes_clear(&b);
    lua_pushboolean(L, good);
    return 1;
}

int luaopen_door_net(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"hmac", door_hmac}, {"address", door_address}, {"loopback", door_loopback}, {"hello", door_hello},
        {"read_hello", door_read_hello}, {"record", door_record}, {"read", door_read}, {"chunk", door_chunk},
        {"adopt", door_adopt}, {"pid", door_pid}, {"ref", door_ref}, {"queue", door_queue}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
