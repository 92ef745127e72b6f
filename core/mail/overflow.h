/* overflow.h - which messages stay when too many wait in a mailbox that drops what is old: see MailboxFull.
 * Threads: whoever owns the messages. */
#ifndef MAIL_OVERFLOW_H
#define MAIL_OVERFLOW_H
#include "mail/mailbox.h"

typedef struct Overflow {
    Message *replaced; /* LATEST: sends of whose name there is a newer one; oldest first */
    Message *cut;      /* what was too much even so; oldest first */
    uint32_t kept;
} Overflow;

/* Leaves at most `most` messages in the list, in their order, and gives the rest. */
Overflow overflow_cut(Message **newest_first, MailboxFull full, uint32_t most);
#endif
