/* main.c - the spec runner: a Lua 5.4 host with busted inside and every door to the C internals preloaded.
 *
 *     build/specs [busted's options] [files or folders]
 *
 * A door is a C module spec/door/NAME.c with luaopen_door_NAME; specs say require "door.NAME". The Makefile lists the
 * doors in doors.h, one DOOR(NAME) each. What happens then is spec/support/runner.lua. SIGQUIT shows where a spec
 * hangs. */
#include <lauxlib.h>
#include <lua-cjson.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DOOR(name) int luaopen_door_##name(lua_State *L);
#include "doors.h"
#undef DOOR

static const luaL_Reg preloaded[] = {
#define DOOR(name) {"door." #name, luaopen_door_##name},
#include "doors.h"
#undef DOOR
    {"cjson", luaopen_cjson}, /* the one that is linked in: a second copy beside it would be confusing */
    {NULL, NULL},
};

static lua_State *runner; /* for the handler, set before that is */

/* Tells which spec hung. The children die with us. */
static void stop(lua_State *L, lua_Debug *at) {
    (void)at;
    lua_sethook(L, NULL, 0, 0);
    luaL_traceback(L, L, "\nspecs: interrupted", 0);
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    fflush(NULL);
    _exit(EXIT_FAILURE);
}

/* SIGQUIT (Ctrl-\) asks: at Lua's next step we tell and end, as lua_sethook may be called from a handler; the second
 * one ends us wherever we are. Not SIGINT or SIGTERM: a spec of the loop takes those, and leaves them to the system. */
static void interrupt(int signum) {
    signal(signum, SIG_DFL);
    lua_sethook(runner, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

static int add_traceback(lua_State *L) {
    luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
    return 1;
}

int main(int argc, char **argv) {
    lua_State *L = luaL_newstate();
    if (L == NULL) {
        fputs("specs: no memory for a Lua state\n", stderr);
        return 1;
    }
    runner = L;
    signal(SIGQUIT, interrupt);
    luaL_openlibs(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    luaL_setfuncs(L, preloaded, 0);
    lua_pop(L, 1);
    lua_createtable(L, argc, 1);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_setglobal(L, "arg");

    /* Red specs leave through busted's os.exit(1, true), which closes the state too: leak checkers see either way. */
    lua_pushcfunction(L, add_traceback);
    int failed = luaL_loadfile(L, "spec/support/runner.lua") || lua_pcall(L, 0, 0, 1);
    if (failed) fprintf(stderr, "specs: %s\n", lua_tostring(L, -1));
    lua_close(L);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
