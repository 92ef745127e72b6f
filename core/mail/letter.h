/* letter.h - a message as people and subscribers see it: its handler's name and its values, shortened.
 * Threads: whoever holds the message. */
#ifndef MAIL_LETTER_H
#define MAIL_LETTER_H
#include "mail/message.h"

/* The name of the handler it is for: "tick", "init"; of what has no such name "answer", "down", "exit". Borrowed from
 * `msg` or for ever, not NUL-terminated; *len is at most ATOM_TEXT_MAX. */
const char *letter_name(const Message *msg, int *len);

/* `dance(1, "two", {x = {...}})`, with `depth` levels of tables, cut at `size` - 1 bytes; the length. */
size_t letter_show(const Message *msg, int depth, char *out, size_t size);

/* Into the table that is open in *out: `name`, `from` if there is a sender, `values` as payload_put_excerpt does it,
 * and `cut` = true if something of them was left out. Adds to *pairs. 0, UV_ENOMEM or UV_E2BIG. */
int letter_put(Message **out, unsigned *pairs, const Message *msg);
#endif
