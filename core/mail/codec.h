/* codec.h - Lua values <-> bytes, straight from and to the Lua stack.
 *
 * What travels: nil, booleans, integers, floats (exact, NaN too), strings, tables that are trees, pids and
 * refs (light userdata, see pid.h; the null one too), and error objects (tables whose metatable lies in the
 * registry under &codec_error_key: they arrive with the receiver's). A table's metatable does not travel else.
 * A table's keys are booleans, numbers, strings, pids and refs.
 * The format is little-endian, self-delimiting, and bounded in depth: see format.h; payload.h has what needs no VM.
 * Encoding never raises and never runs Lua code; decoding allocates in the VM and so may raise a memory error: whoever
 * calls it owns the message elsewhere. Bytes may come from outside: every length is checked before use. */
#ifndef MAIL_CODEC_H
#define MAIL_CODEC_H
#include <lua.h>
#include "mail/message.h"

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
#endif
