/* door.kv - net/kv and net/lease for specs: what etcd is asked, what is made of its answers; until when a lease counts.
 */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include "ground/clock.h"
#include "net/kv.h"
#include "net/lease.h"

int luaopen_door_kv(lua_State *L);

static int push_text(lua_State *L, Text *t) {
    lua_pushlstring(L, t->bytes != NULL ? t->bytes : "", t->len);
    text_free(t);
    return 1;
}

/* base64(bytes) -> a JSON string; unbase64(text, room) -> bytes | nil */
static int door_base64(lua_State *L) {
    size_t len;
    const char *bytes = luaL_checklstring(L, 1, &len);
    Text t = {0};
    kv_base64(&t, NULL, bytes, len);
    return push_text(L, &t);
}

static int door_unbase64(lua_State *L) {
    size_t len, room = (size_t)luaL_optinteger(L, 2, 1000);
    const char *text = luaL_checklstring(L, 1, &len);
    char *copy = malloc(len + 1), *out = malloc(room + 1); /* exact, for the address sanitizer */
    memcpy(copy, text, len);
    int n = kv_unbase64(copy, len, out, room);
    if (n >= 0) lua_pushlstring(L, out, (size_t)n);
    else lua_pushnil(L);
    free(copy);
    free(out);
    return 1;
}

/* put(key, value, lease, modified), delete(key, value), range(from, to, revision), watch(from, to, revision) -> JSON */
static int door_put(lua_State *L) {
    size_t key_len, len;
    const char *key = luaL_checklstring(L, 1, &key_len), *value = luaL_checklstring(L, 2, &len);
    Text t = {0};
    kv_put(&t, key, key_len, value, len, luaL_checkinteger(L, 3), luaL_checkinteger(L, 4));
    return push_text(L, &t);
}

static int door_delete(lua_State *L) {
    size_t key_len, len;
    const char *key = luaL_checklstring(L, 1, &key_len), *value = luaL_checklstring(L, 2, &len);
    Text t = {0};
    kv_delete(&t, key, key_len, value, len);
    return push_text(L, &t);
}

static int door_range(lua_State *L) {
    size_t from_len, to_len = 0;
    const char *from = luaL_checklstring(L, 1, &from_len), *to = luaL_optlstring(L, 2, NULL, &to_len);
    Text t = {0};
    kv_range(&t, from, from_len, to, to_len, luaL_optinteger(L, 3, 0));
    return push_text(L, &t);
}

static int door_watch(lua_State *L) {
    size_t from_len, to_len;
    const char *from = luaL_checklstring(L, 1, &from_len), *to = luaL_checklstring(L, 2, &to_len);
    Text t = {0};
    kv_watch(&t, from, from_len, to, to_len, luaL_checkinteger(L, 3));
    return push_text(L, &t);
}

static void put_integer(lua_State *L, const char *key, int64_t n) {
    lua_pushinteger(L, n);
    lua_setfield(L, -2, key);
}

/* read(answer) -> {revision=, term=, error=, words=, {key=, value=, created=, modified=, lease=, deleted=} or false,
 * ...}: the pairs of a range or a transaction, or the events of one message of a watch; nil: it is no JSON */
static int door_read(lua_State *L) {
    size_t len, words_len = 0;
    const char *bytes = luaL_checklstring(L, 1, &len), *why, *words = "";
    char *copy = malloc(len + 1);
    memcpy(copy, bytes, len);
    Json *v;
    if (json_parse(copy, len, &v, &why) < 0) {
        free(copy);
        return 0;
    }
    lua_newtable(L);
    put_integer(L, "revision", kv_revision(v));
    put_integer(L, "term", kv_term(v));
    put_integer(L, "error", kv_error(v, &words, &words_len));
    lua_pushlstring(L, words, words_len);
    lua_setfield(L, -2, "words");
    const Json *events = json_get(v, "events");
    uint32_t count;
    const Json *pair = kv_pairs(v, &count);
    if (events != NULL && events->type == JSON_ARRAY) pair = json_first(events), count = events->len;
    for (uint32_t i = 0; i < count; i++, pair = json_next(pair)) {
        KvPair p;
        if (!(events != NULL ? kv_read_event(pair, &p) : kv_read(pair, &p))) {
            lua_pushboolean(L, 0);
        } else {
            lua_newtable(L);
            lua_pushlstring(L, p.key, p.key_len);
            lua_setfield(L, -2, "key");
            lua_pushlstring(L, p.value, p.value_len);
            lua_setfield(L, -2, "value");
            put_integer(L, "created", p.created);
            put_integer(L, "modified", p.modified);
            put_integer(L, "lease", p.lease);
            lua_pushboolean(L, p.deleted);
            lua_setfield(L, -2, "deleted");
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    free(v);
    free(copy);
    return 1;
}

/* holder(value) -> {incarnation=, pid=, claim=, node=, address=} | nil, and written again */
static int door_holder(lua_State *L) {
    size_t len;
    const char *value = luaL_checklstring(L, 1, &len);
    KvHolder h;
    if (!kv_read_holder(value, len, &h)) return 0;
    lua_newtable(L);
    put_integer(L, "incarnation", (int64_t)h.incarnation);
    put_integer(L, "pid", (int64_t)h.pid);
    put_integer(L, "claim", (int64_t)h.claim);
    lua_pushstring(L, h.node);
    lua_setfield(L, -2, "node");
    lua_pushstring(L, h.address);
    lua_setfield(L, -2, "address");
    Text t = {0};
    kv_write_holder(&t, &h);
    return 1 + push_text(L, &t);
}

/* now() -> the time of leases, ns; lease_end(asked, ttl) -> ns; begin(id, end), renew(id, end, now) -> boolean, drop(),
 * state() -> id, end, whether it is good */
static int door_now(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)clock_boot());
    return 1;
}

static int door_end(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)lease_end((uint64_t)luaL_checkinteger(L, 1), luaL_checkinteger(L, 2)));
    return 1;
}

static int door_begin(lua_State *L) {
    lease_begin(luaL_checkinteger(L, 1), (uint64_t)luaL_checkinteger(L, 2));
    return 0;
}

static int door_renew(lua_State *L) {
    lua_pushboolean(L, lease_renew(luaL_checkinteger(L, 1), (uint64_t)luaL_checkinteger(L, 2),
                                   (uint64_t)luaL_checkinteger(L, 3)));
    return 1;
}

static int door_drop(lua_State *L) {
    (void)L;
    lease_drop();
    return 0;
}

static int door_state(lua_State *L) {
    lua_pushinteger(L, lease_id());
    lua_pushinteger(L, (lua_Integer)lease_until());
    lua_pushboolean(L, lease_good());
    return 3;
}

static const luaL_Reg functions[] = {
    {"base64", door_base64}, {"unbase64", door_unbase64}, {"put", door_put}, {"delete", door_delete},
    {"range", door_range}, {"watch", door_watch}, {"read", door_read}, {"holder", door_holder},
    {"now", door_now}, {"lease_end", door_end}, {"begin", door_begin}, {"renew", door_renew}, {"drop", door_drop},
    {"state", door_state}, {NULL, NULL}};

int luaopen_door_kv(lua_State *L) {
    luaL_newlib(L, functions);
    return 1;
}
