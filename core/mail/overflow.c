#include "mail/overflow.h"

#include "ground/hash.h"
#include "ground/map.h"
#include "mail/atom.h"
#include "mail/payload.h"

/* Of the message's name, whichever way it travels. Never 0. */
static uint64_t key_of(const Message *msg) {
    size_t len;
    if (!(msg->flags & MESSAGE_NAMED)) return msg->name;
    const char *name = payload_first_string(msg, &len);
    uint32_t atom = name != NULL ? atom_find(name, len) : 0; /* known by now, perhaps */
    return atom != 0 ? atom : 1ull << 63 | (name != NULL ? hash_bytes(name, len) : 0);
}

/* Is there a newer send of that name? Without memory: none known, and it stays. */
static bool is_replaced(Map *newer, const Message *msg) {
    if (msg->kind != MESSAGE_SEND) return false;
    uint64_t key = key_of(msg);
    if (map_get(newer, key, NULL)) return true;
    map_put(newer, key, 1);
    return false;
}

static void put(Message **list, Message *msg) {
    msg->next = *list;
    *list = msg;
}

Overflow overflow_cut(Message **newest_first, MailboxFull full, uint32_t most) {
    Overflow o = {0};
    Map newer = {0};
    Message *msg = *newest_first, **end = newest_first, *next;
    for (; msg != NULL; msg = next) {
        next = msg->next;
        if (full == MAILBOX_LATEST && is_replaced(&newer, msg)) {
            put(&o.replaced, msg);
        } else if (o.kept == most) {
            put(&o.cut, msg);
        } else {
            *end = msg;
            end = &msg->next;
            o.kept++;
        }
    }
    *end = NULL;
    map_clear(&newer);
    return o;
}
