/* errors.h - error objects in Lua: tables {code, message, actor, behaviour, version, traceback} with a __tostring.
 * Threads: whoever runs the VM. All may raise. */
#ifndef ACTOR_ERRORS_H
#define ACTOR_ERRORS_H
#include <lua.h>

/* Makes sure this VM has their metatable (registry, codec_error_key), so that decoded ones get it. */
void errors_ready(lua_State *L);

/* Raises one about the actor that calls, with a traceback. `format` as lua_pushfstring. */
int  errors_raise(lua_State *L, const char *code, const char *format, ...);
#endif
