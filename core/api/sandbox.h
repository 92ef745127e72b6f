/* sandbox.h - the globals of an actor: Lua's safe standard library, filled in as it is used.
 *
 * A fresh VM has an almost empty _G; the first use of `string` or `pairs` installs just that (100,000 idle actors need
 * no 100,000 copies of the library). Whoever looks at the whole (pairs, getmetatable, setmetatable) gets it whole, so
 * no script sees a difference. Left out: io, os but for time, debug but for traceback, loadfile, dofile, bytecode;
 * they come back by `allow`. */
#ifndef API_SANDBOX_H
#define API_SANDBOX_H
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

int  sandbox_open(void);            /* once a process: learns the standard functions; 0 or UV_ENOMEM */
void sandbox_open_vm(lua_State *L); /* may raise */
/* Pushes the library of that name if there is one for this VM. */
bool sandbox_push_library(lua_State *L, const char *name);

/* For a new version of a module: pushes new globals, of which nobody knows yet. May raise. */
void sandbox_push_globals(lua_State *L);
/* Exchanges the globals in use with the table on top. `given`: what was taken out of the one that is not in use. What
 * is not in use finds libraries by way of those that are. Raises nothing. */
void sandbox_swap_globals(lua_State *L, uint64_t *given);

/* Fills the table at the absolute index `table` if it is one of those that are filled as they are used: for who looks
 * past metamethods. May raise; calls C functions only. */
void sandbox_fill(lua_State *L, int table);

/* Pushes a new table that gets the methods of pids as they are used: their metatable. */
void sandbox_push_pids(lua_State *L);
/* The arguments as print writes them, with the newline: one string, left on top of the stack. May raise. */
const char *sandbox_line(lua_State *L, size_t *len);
#endif
