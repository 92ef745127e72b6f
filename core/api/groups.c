/* Groups: named sets of actors on this node, and one message to all in one. */
#include "mail/groups.h"

#include <uv.h>
#include "api/api.h"
#include "ground/metrics.h"
#include "mail/mailbox.h"
#include "mail/post.h"

static const char *check_group(lua_State *L, size_t *len) {
    luaL_checktype(L, 1, LUA_TSTRING);
    const char *name = lua_tolstring(L, 1, len);
    luaL_argcheck(L, *len > 0 && *len <= GROUPS_TEXT_MAX, 1, "a group's name has 1 to 200 bytes");
    return name;
}

static int join(lua_State *L) {
    size_t len;
    const char *name = check_group(L, &len);
    int err = actor_join(api_actor(L, "join"), name, len);
    if (err == UV_ENOMEM) return luaL_error(L, "out of memory");
    lua_pushboolean(L, err == 0);
    if (err == 0) return 1;
    lua_pushliteral(L, "limit");
    return 2;
}

static int leave(lua_State *L) {
    size_t len;
    const char *name = check_group(L, &len);
    lua_pushboolean(L, actor_leave(api_actor(L, "leave"), name, len) == 0);
    return 1;
}

/* Copies go into a userdata, since pushing values may raise: no memory of C is held meanwhile. */
static int members(lua_State *L) {
    size_t len, room = 0, count;
    const char *name = check_group(L, &len);
    uint64_t *pids = NULL;
    api_actor(L, "members");
    while ((count = groups_copy(name, len, pids, room)) > room) {
        lua_settop(L, 1);
        room = count + count / 8; /* some may join meanwhile */
        pids = lua_newuserdatauv(L, room * sizeof *pids, 0);
    }
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        api_push_bits(L, pids[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int groups(lua_State *L) {
    size_t room = 0, size;
    char *entries = NULL;
    api_actor(L, "groups");
    while ((size = groups_list(entries, room)) > room) {
        lua_settop(L, 0);
        room = size + size / 8;
        entries = lua_newuserdatauv(L, room, 0);
    }
    lua_newtable(L);
    for (size_t at = 0; at < size;) {
        const GroupEntry *e = (const GroupEntry *)(entries + at);
        lua_pushlstring(L, e->name, e->len);
        lua_pushinteger(L, (lua_Integer)e->count);
        lua_rawset(L, -3);
        at += GROUP_ENTRY_SIZE(e->len);
    }
    return 1;
}

static int publish(lua_State *L) {
    size_t len;
    const char *name = check_group(L, &len);
    Actor *a = api_actor(L, "publish");
    const GroupMembers *all;
    lua_Integer took = 0;
    bool crowded = false;
    Message *letter = api_letter(L, MESSAGE_SEND, 2, 3);
    letter->from = a->pid;
    int err = groups_hold(name, len, &all);
    size_t count = all != NULL ? all->count : 0;
    for (size_t i = 0; i < count; i++) { /* nothing raises in here */
        Message *msg = i + 1 < count ? message_copy(letter) : letter;
        if (msg == NULL) {
            err = UV_ENOMEM;
            break;
        }
        if (msg == letter) letter = NULL;
        msg->to = all->pids[i];
        int sent = post_send(msg);
        if (sent >= 0) took += sent != POST_DROPPED;
        else post_refuse(msg, sent);
        crowded = crowded || sent == MAILBOX_CROWDED;
    }
    groups_drop(all);
    if (crowded) api_give_way(L);
    message_free(letter);
    metrics_add(METRIC_sent, (uint64_t)took);
    if (err == UV_ENOMEM) return luaL_error(L, "out of memory");
    lua_pushinteger(L, took);
    return 1;
}

const luaL_Reg api_groups[] = {{"join", join},       {"leave", leave},     {"members", members},
                               {"groups", groups}, {"publish", publish}, {NULL, NULL}};
