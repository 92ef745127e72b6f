/* codec.h - Lua values <-> bytes, straight from and to the Lua stack.
 *
 * What travels: nil, booleans, integers, floats (exact, NaN too), strings, tables that are trees, pids and
 * refs (light userdata, see pid.h; the null one too), and error objects (tables whose metatable lies in the
 * registry under &codec_error_key: they arrive with the receiver's). A table's metatable does not travel else.
 * A table's keys are booleans, numbers, strings, pids and refs.
 * The format is little-endian, self-delimiting, and bounded in depth. Encoding never raises and never
 * runs Lua code; decoding allocates in the VM and so may raise a memory error: whoever calls it
 * owns the message elsewhere. Bytes may come from outside: every length is checked before use. */
#ifndef MAIL_CODEC_H
#define MAIL_CODEC_H
#include <lua.h>
#include <stdbool.h>
#include "mail/message.h"

#define CODEC_DEPTH_MAX 100 /* tables within tables */

extern const char codec_error_key;

typedef struct CodecError {
    char text[256]; /* "argument 2.pos[3].callback: a function can't be sent" */
} CodecError;

/* Appends the values at stack indices first..last (absolute, may be empty) to (*msg)->bytes and adds to its argc.
 * *msg may move. 0; UV_EINVAL with err->text naming the culprit's path (arguments count from 1 at `first`);
 * UV_ENOMEM; UV_E2BIG (over MESSAGE_SIZE_MAX or MESSAGE_ARGS_MAX). On error *msg is as it was, still the caller's. */
int codec_encode(lua_State *L, int first, int last, Message **msg, CodecError *err);

/* Pushes all values of the payload, the name of MESSAGE_NAMED first, and returns how many; UV_EINVAL if the bytes
 * are not a payload (then nothing is pushed). Raises a Lua error when the VM is out of memory. The stack must have 8
 * free slots, as it has in a C function that was just called; for more values than that it asks for more itself. */
int codec_decode(lua_State *L, const Message *msg);

/* True if the whole payload is well formed (what decode would accept). For bytes from outside; no VM needed. */
bool codec_valid(const Message *msg);

/* The same for a payload that another node has made; every pid in it becomes what `rename` makes of it (refs and the
 * null one stay). False also if `rename` returns false; then some may be renamed. */
bool codec_adopt(Message *msg, bool (*rename)(void *context, uint64_t *pid), void *context);

/* Values made in C: each appends one value and counts it in argc. 0 or UV_ENOMEM / UV_E2BIG; *msg may move. */
int codec_put_nil(Message **msg);
int codec_put_boolean(Message **msg, bool value);
int codec_put_integer(Message **msg, lua_Integer value);
int codec_put_number(Message **msg, lua_Number value);
int codec_put_string(Message **msg, const char *bytes, size_t len);
int codec_put_pid(Message **msg, uint64_t bits); /* a pid, a ref or 0 */

int codec_put_values(Message **msg, const Message *values); /* all values of another payload, its name not */

/* An error object or a plain table in C: open, then for each pair put key and value, then close.
 * While one is open the puts count no argc. They nest. */
int codec_open_table(Message **msg, bool error, size_t *mark); /* `mark`: hand it to close */
int codec_close_table(Message **msg, size_t mark, unsigned pairs);

/* One value, a table: the values of another payload as its list, with their number as its field `n`. It is what fits
 * `room` bytes or a little more: then strings are cut and the rest is left out, as are tables within `depth` others,
 * for which "{...}" stands; *cut is set to true if so, else left as it is. */
int codec_put_excerpt(Message **msg, const Message *values, int depth, size_t room, bool *cut);

/* Reading in C, without a VM: the first string value of the payload (the name of MESSAGE_NAMED, or an exit
 * reason). NULL if the first value is no string. Borrowed from msg. */
const char *codec_first_string(const Message *msg, size_t *len);

/* Writes value number `index` (0 = first, the name not counted) of the payload as readable text, Lua-like, cut at
 * `cap` - 1 bytes and at `depth` levels of tables; for logs. Of an error object: its message. Returns the length
 * written. */
size_t codec_show(const Message *msg, int index, int depth, char *out, size_t cap);

/* In an error object or table that is the first value: the string field `key`. NULL if there is none. Borrowed. */
const char *codec_first_field(const Message *msg, const char *key, size_t *len);
#endif
