/* door.delivery - core/api/delivery.c and what core/api/there.c serves, for specs, on the loop of door.call, beside the
 * node that is played there. No actor is made: no body is tried out. */
#include "api/delivery.h"
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "api/there.h"
#include "ground/config.h"
#include "run/aside.h"
#include "run/loop.h"

int luaopen_door_delivery(lua_State *L);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static int ends; /* these are written under the lock */
static char code[32], text[512];

typedef struct Want {
    DeliveryWant want;
    SpawnFiles files;
} Want;

static void done(void *context, const Behaviour *b, const char *why, const char *words) {
    (void)context, (void)b;
    pthread_mutex_lock(&lock);
    ends++;
    snprintf(code, sizeof code, "%s", b != NULL ? "found" : why);
    snprintf(text, sizeof text, "%s", words);
    pthread_cond_broadcast(&more);
    pthread_mutex_unlock(&lock);
}

static void on_loop_want(void *want) {
    delivery_want(&((Want *)want)->want);
    link_flush_all();
}

/* open(): with door.call's loop */
static int door_open(lua_State *L) {
    (void)L;
    config_preset(&config);
    source_keep_texts();
    delivery_open("here", false);
    there_open();
    ends = 0;
    return 0;
}

/* want(module, hash, size): of node 1, "there"; its file is called module.lua. Without a hash its node is asked. */
static int door_want(lua_State *L) {
    static Want w;
    char path[300];
    const char *module = luaL_checkstring(L, 1);
    snprintf(path, sizeof path, "%s.lua", module);
    w.want = (DeliveryWant){.node = 1, .origin = "there", .module = module, .done = done};
    w.files.count = 1;
    w.files.at[0] = (SpawnFile){module, path, (uint64_t)luaL_optinteger(L, 2, 0), (uint32_t)luaL_optinteger(L, 3, 0)};
    if (!lua_isnoneornil(L, 2)) w.want.files = &w.files;
    pthread_mutex_lock(&lock);
    ends = 0;
    pthread_mutex_unlock(&lock);
    loop_call(on_loop_want, &w);
    return 0;
}

/* wait(seconds) -> code, text, how often it has ended */
static int door_wait(lua_State *L) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += luaL_checkinteger(L, 1);
    pthread_mutex_lock(&lock);
    for (int late = 0; ends == 0 && late == 0;) late = pthread_cond_timedwait(&more, &lock, &end);
    lua_pushstring(L, code);
    lua_pushstring(L, text);
    lua_pushinteger(L, ends);
    pthread_mutex_unlock(&lock);
    return 3;
}

static int door_hash(lua_State *L) {
    size_t len;
    const char *s = luaL_checklstring(L, 1, &len);
    lua_pushinteger(L, (lua_Integer)source_hash(s, len));
    return 1;
}

static int door_close(lua_State *L) { /* before door.call's loop ends */
    (void)L;
    aside_close(NULL);
    return 0;
}

static int door_forget(lua_State *L) { /* after it */
    (void)L;
    delivery_close();
    return 0;
}

int luaopen_door_delivery(lua_State *L) {
    static const luaL_Reg all[] = {{"open", door_open}, {"want", door_want}, {"wait", door_wait}, {"hash", door_hash},
                                   {"close", door_close}, {"forget", door_forget}, {NULL, NULL}};
    luaL_newlib(L, all);
    return 1;
}
