/* payload.h - a message's values without a VM: made in C, checked, looked into, shown.
 *
 * What values there are says codec.h; how they lie as bytes, format.h. Nothing here knows Lua. A message that is
 * written to is the caller's and stays so, also on error; what is handed out is borrowed from the message. Bytes may
 * come from outside: every length is checked before use. Threads: whoever holds the message. */
#ifndef MAIL_PAYLOAD_H
#define MAIL_PAYLOAD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mail/message.h"

/* True if the whole payload is well formed (what codec_decode would accept). */
bool payload_valid(const Message *msg);

/* The same for a payload that another node has made; every pid in it becomes what `rename` makes of it (refs and the
 * null one stay). False also if `rename` returns false; then some may be renamed. */
bool payload_adopt(Message *msg, bool (*rename)(void *context, uint64_t *pid), void *context);

/* Each appends one value and counts it in argc. 0 or UV_ENOMEM / UV_E2BIG; *msg may move. */
int payload_put_nil(Message **msg);
int payload_put_boolean(Message **msg, bool value);
int payload_put_integer(Message **msg, int64_t value);
int payload_put_number(Message **msg, double value);
int payload_put_string(Message **msg, const char *bytes, size_t len);
int payload_put_pid(Message **msg, uint64_t bits); /* a pid, a ref or 0 */

/* All values of another payload, its name not. UV_EINVAL too: the name is none. */
int payload_put_values(Message **msg, const Message *values);

/* An error object or a plain table: open, then for each pair put key and value, then close.
 * While one is open the puts count no argc. They nest. */
int payload_open_table(Message **msg, bool error, size_t *mark); /* `mark`: hand it to close */
int payload_close_table(Message **msg, size_t mark, unsigned pairs);

/* One value, a table: the values of another payload as its list, with their number as its field `n`. It is what fits
 * `room` bytes or a little more: then strings are cut and the rest is left out, as are tables within `depth` others,
 * for which "{...}" stands; *cut is set to true if so, else left as it is. */
int payload_put_excerpt(Message **msg, const Message *values, int depth, size_t room, bool *cut);

/* The first string value (the name of MESSAGE_NAMED, or an exit reason). NULL if the first value is no string. */
const char *payload_first_string(const Message *msg, size_t *len);

/* In an error object or table that is the first value: the string field `key`. NULL if there is none. */
const char *payload_first_field(const Message *msg, const char *key, size_t *len);

/* Writes value number `index` (0 = first, the name not counted) as readable text, Lua-like, cut at `cap` - 1 bytes
 * and at `depth` levels of tables; for logs. Of an error object: its message. Returns the length written. */
size_t payload_show(const Message *msg, int index, int depth, char *out, size_t cap);
#endif
