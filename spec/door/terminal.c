/* terminal.c - a door to core/ops/terminal, which the client's modules require: it is itself a Lua module. */
#include "ops/terminal.h"

int luaopen_door_terminal(lua_State *L);
int luaopen_door_terminal(lua_State *L) {
    return terminal_open(L);
}
