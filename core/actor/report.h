/* report.h - what went wrong in a VM, as text and as an error object, made without the VM's help (it may be out of
 * memory). Threads: whoever runs the VM. */
#ifndef ACTOR_REPORT_H
#define ACTOR_REPORT_H
#include <lua.h>
#include <stddef.h>
#include "mail/message.h"

struct Actor;
struct Fiber;

/* L: a coroutine that failed with `status`, the error on top. Message and traceback. */
void report_text(lua_State *L, int status, char *out, size_t size);

/* The same as one error object {code, message, actor, behaviour, version, traceback} in a new message of that kind,
 * for an exit's reason or a failed ask. An error that is a table keeps its own fields (an error object from another
 * actor its traceback). NULL when memory is short. */
Message *report_error(struct Actor *a, lua_State *L, int status);

/* The actor's fiber failed with `status`, the error on top of its L, for which `reason` is the error object or NULL:
 * one block in the log, and a table to the subscribers of crashes, see throng.CrashReport in lua/meta/throng.lua. */
void report_crash(struct Actor *a, const struct Fiber *f, int status, const Message *reason);

/* An error object with that code and text about `a`; NULL when memory is short. */
Message *report_make(struct Actor *a, const char *code, const char *message);
/* ... and a field `reason` with the value of `reason`. For asks that end since the asked is gone. */
Message *report_down(struct Actor *a, const Message *reason);

/* Writes the traceback of L; the length. */
size_t report_traceback(lua_State *L, char *out, size_t size);
#endif
