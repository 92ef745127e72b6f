#include "mail/letter.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "mail/atom.h"
#include "mail/payload.h"

/* Deep and large enough for nearly all; and subscribers' mailboxes full of dead letters are no danger to the node. */
#define VALUES_DEPTH 16
#define VALUES_ROOM 4000

const char *letter_name(const Message *msg, int *len) {
    size_t size = 0;
    const char *name = msg->flags & MESSAGE_NAMED ? payload_first_string(msg, &size) : atom_text(msg->name, &size);
    if (msg->name == 0 && !(msg->flags & MESSAGE_NAMED)) name = "init", size = 4;
    if (msg->kind == MESSAGE_REPLY || msg->kind == MESSAGE_FAIL) name = "answer", size = 6;
    if (msg->kind == MESSAGE_DOWN) name = "down", size = 4;
    if (msg->kind == MESSAGE_EXIT) name = "exit", size = 4;
    *len = (int)(size < ATOM_TEXT_MAX ? size : ATOM_TEXT_MAX);
    return name != NULL ? name : "";
}

size_t letter_show(const Message *msg, int depth, char *out, size_t size) {
    int name_len;
    const char *name = letter_name(msg, &name_len);
    size_t len = (size_t)snprintf(out, size, "%.*s(", name_len, name);
    for (int i = 0; i < msg->argc && len + 8 < size; i++) {
        if (i > 0) len += (size_t)snprintf(out + len, size - len, ", ");
        len += payload_show(msg, i, depth, out + len, size - len);
    }
    if (len + 2 > size) len = size - 2;
    memcpy(out + len, ")", 2);
    return len + 1;
}

int letter_put(Message **out, unsigned *pairs, const Message *msg) {
    int name_len, err;
    bool cut = false;
    const char *name = letter_name(msg, &name_len);
    if ((err = payload_put_string(out, "name", 4)) < 0 || (err = payload_put_string(out, name, (size_t)name_len)) < 0 ||
        (err = payload_put_string(out, "values", 6)) < 0 ||
        (err = payload_put_excerpt(out, msg, VALUES_DEPTH, VALUES_ROOM, &cut)) < 0)
        return err;
    *pairs += 2;
    if (msg->from != 0) {
        if ((err = payload_put_string(out, "from", 4)) < 0 || (err = payload_put_pid(out, msg->from)) < 0) return err;
        ++*pairs;
    }
    if (cut) {
        if ((err = payload_put_string(out, "cut", 3)) < 0 || (err = payload_put_boolean(out, true)) < 0) return err;
        ++*pairs;
    }
    return 0;
}
