/* show.h - values of a VM as text for people, and as JSON for programs: bounded in depth, width and length.
 *
 * The text is Lua's, with keys sorted, one line if that fits 78 columns; what is no value of a program has a form of
 * its own: <12.1> for a pid, {<cycle>}, {...} beyond the depth, function <guy.lua:3>. No metamethod is called, nothing
 * of Lua's is allocated and nothing raises, so it may be used from guest_look, too.
 * Threads: whoever runs the VM. */
#ifndef OPS_SHOW_H
#define OPS_SHOW_H
#include <lua.h>
#include <stdbool.h>
#include "ground/json.h"

#define SHOW_DEPTH_MAX 32

typedef struct ShowLimits {
    int depth;     /* tables within tables, at most SHOW_DEPTH_MAX */
    int entries;   /* of one table */
    size_t length; /* bytes, give or take a line */
} ShowLimits;
#define SHOW_LIMITS ((ShowLimits){.depth = 4, .entries = 100, .length = 65536})

/* Appends the value at `index`. True: something was left out. */
bool show_text(lua_State *L, int index, ShowLimits limits, Text *out);
/* Appends it as one JSON value: a table that is a sequence is an array, another an object, what JSON has not is its
 * text. False: it does not fit, and out is as it was. */
bool show_json(lua_State *L, int index, ShowLimits limits, Text *out);
#endif
