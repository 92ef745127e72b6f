/* The cache line is handed over between two threads that are pinned to two cores each reads its own turn in: the price
 * of every message that crosses cores. It depends on which cores the host gives us, which changes from day to day. */
#include "ops/probe.h"

#include <lauxlib.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "ground/clock.h"
#include "mail/codec.h"
#include "mail/message.h"
#include "mail/payload.h"

/* ---- the codec ---- */

static bool same(lua_State *L, int a, int b) {
    if (lua_type(L, a) != lua_type(L, b)) return false;
    if (lua_type(L, a) != LUA_TTABLE) return lua_rawequal(L, a, b);
    luaL_checkstack(L, 4, NULL);
    lua_pushnil(L);
    while (lua_next(L, a) != 0) {
        lua_pushvalue(L, -2);
        lua_rawget(L, b);
        bool equal = same(L, lua_gettop(L) - 1, lua_gettop(L));
        lua_pop(L, 2);
        if (!equal) {
            lua_pop(L, 1);
            return false;
        }
    }
    return true;
}

static Message *encode(lua_State *L, int last) {
    CodecError why;
    Message *msg = message_new(MESSAGE_SEND, 0);
    int err = msg != NULL ? codec_encode(L, 2, last, &msg, &why) : UV_ENOMEM;
    if (err == 0) return msg;
    message_free(msg);
    luaL_error(L, "codec: %s", err == UV_ENOMEM ? "out of memory" : why.text);
    return NULL;
}

static int codec(lua_State *L) {
    lua_Integer times = luaL_checkinteger(L, 1);
    int last = lua_gettop(L);
    luaL_argcheck(L, times >= 1, 1, "at least once");
    luaL_checkstack(L, last + 8, NULL);

    uint64_t began = clock_now();
    for (lua_Integer i = 0; i < times; i++) message_free(encode(L, last));
    uint64_t encoded = clock_now();

    Message *msg = encode(L, last);
    uint64_t begin_decode = clock_now();
    int count = 0;
    for (lua_Integer i = 0; i < times; i++) { /* may raise when memory is short: the process ends then anyway */
        lua_settop(L, last);
        count = codec_decode(L, msg);
    }
    uint64_t decoded = clock_now();

    bool verified = count == last - 1 && payload_valid(msg);
    for (int i = 0; verified && i < count; i++) verified = same(L, 2 + i, last + 1 + i) && same(L, last + 1 + i, 2 + i);
    lua_createtable(L, 0, 4);
    lua_pushnumber(L, (lua_Number)(encoded - began) / (lua_Number)times);
    lua_setfield(L, -2, "encode_ns");
    lua_pushnumber(L, (lua_Number)(decoded - begin_decode) / (lua_Number)times);
    lua_setfield(L, -2, "decode_ns");
    lua_pushinteger(L, msg->size);
    lua_setfield(L, -2, "bytes");
    lua_pushboolean(L, verified);
    lua_setfield(L, -2, "verified");
    message_free(msg);
    return 1;
}

/* ---- the cache line ---- */

#define HANDS 200 /* hand-overs a sample */

typedef struct Court {
    _Alignas(128) _Atomic uint32_t ball; /* even: the first one's turn; each adds 1 when it is his */
    _Alignas(128) uint32_t last;         /* where the game ends; written before the threads start */
    int cores[2];
} Court;

typedef struct Player {
    Court *court;
    uint32_t turn; /* 0 or 1 */
    uint64_t *samples; /* the first one's: ns for HANDS hand-overs each */
} Player;

static void *play(void *argument) {
    Player *p = argument;
    Court *c = p->court;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(c->cores[p->turn], &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    uint64_t before = clock_now();
    for (uint32_t at = p->turn; at < c->last; at += 2) {
        /* acquire and release as a message's hand-over has them */
        for (int spins = 0; atomic_load_explicit(&c->ball, memory_order_acquire) != at;)
            if (++spins > 1 << 16) sched_yield(), spins = 0;
        atomic_store_explicit(&c->ball, at + 1, memory_order_release);
        if (p->samples != NULL && at > 0 && at % HANDS == 0) {
            uint64_t now = clock_now();
            p->samples[at / HANDS - 1] = now - before;
            before = now;
        }
    }
    return NULL;
}

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int cache_line(lua_State *L) {
    lua_Integer samples = luaL_optinteger(L, 1, 500);
    luaL_argcheck(L, samples >= 1 && samples <= 100000, 1, "1 to 100000 samples");
    cpu_set_t set;
    Court court = {.last = (uint32_t)(samples + 1) * HANDS};
    int found = 0;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
    for (int core = 0; core < CPU_SETSIZE && found < 2; core++)
        if (CPU_ISSET(core, &set)) court.cores[found++] = core;
    if (found < 2) return 0;
    uint64_t *times = lua_newuserdatauv(L, (size_t)(samples + 1) * sizeof *times, 0);
    Player players[2] = {{&court, 0, times}, {&court, 1, NULL}};
    pthread_t threads[2];
    int err = pthread_create(&threads[0], NULL, play, &players[0]);
    if (err != 0) return luaL_error(L, "cache_line: %s", uv_strerror(uv_translate_sys_error(err)));
    /* without a second thread the first would wait for ever: let it win the game alone */
    err = pthread_create(&threads[1], NULL, play, &players[1]);
    if (err != 0) play(&players[1]);
    else pthread_join(threads[1], NULL);
    pthread_join(threads[0], NULL);
    qsort(times, (size_t)samples, sizeof *times, ascending);
    lua_pushnumber(L, (lua_Number)times[samples / 2] / HANDS);
    return 1;
}

static int now(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)clock_now());
    return 1;
}

int probe_open(lua_State *L) {
    static const luaL_Reg functions[] = {{"codec", codec}, {"cache_line", cache_line}, {"clock", now}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
