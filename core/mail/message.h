/* message.h - one letter: who to, who from, which handler, encoded values. One block of memory.
 *
 * A small message fits one cache line: MESSAGE_HEADER bytes and the rest is payload. Ownership moves
 * with the pointer: who holds it may write it. Threads: message_new and message_free from any. */
#ifndef MAIL_MESSAGE_H
#define MAIL_MESSAGE_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum {
    /* the user lane: bounded, in order */
    MESSAGE_SEND,      /* handler `name` with the payload's values */
    MESSAGE_ASK,       /* the same, and the answer goes to `from` under `ref` */
    /* the start of a life: never in a mailbox */
    MESSAGE_START,     /* init's arguments; `ref` != 0: somebody waits for init to end */
    /* the system lane: never waits behind the user lane, never dropped */
    MESSAGE_REPLY,     /* the values that answer `ref` */
    MESSAGE_FAIL,      /* one value, the error that answers `ref` */
    MESSAGE_TIMER,     /* timer `ref` is due */
    MESSAGE_DOWN,      /* `from`, monitored under `ref`, is gone; one value: why */
    MESSAGE_EXIT,      /* `from`, linked, is gone; one value: why */
    MESSAGE_KILL,      /* end now, untrappable */
    MESSAGE_STOP,      /* end in order; one value: why */
    MESSAGE_MONITOR,   /* `from` wants a MESSAGE_DOWN under `ref` */
    MESSAGE_DEMONITOR, /* ... and no longer */
    MESSAGE_LINK,      /* `from` is linked */
    MESSAGE_UNLINK,
    MESSAGE_RELOAD,    /* a step of a rollout, see actor/reload.h */
    MESSAGE_CIRCLE,    /* net/chase.h's: one value, the error that ends the wait for `ref`, if actor/cycle.h agrees */
    MESSAGE_VISIT      /* the console's: see actor/visit.h; `ref` is a pointer that the receiver takes */
} MessageKind;

enum {
    MESSAGE_NAMED = 1, /* `name` is 0: the payload's first value (not counted in argc) is the name */
    MESSAGE_ERRORS = 2, /* among the values are error objects */
    MESSAGE_NOTICE = 4, /* of a topic, see post_notify: when it is lost it is counted, and no dead letter */
    MESSAGE_LIMITED = 8, /* the asker waits until message_deadline */
    MESSAGE_JUDGED = 64 /* it was held up by actor/faults, and is not judged again */
};

#define MESSAGE_ARGS_MAX 250
#define MESSAGE_SIZE_MAX (1u << 30) /* payload bytes */
#define MESSAGE_DEPTH_MAX 100 /* tables within tables */

typedef struct Message Message;
struct Message {
    Message *next;    /* of whoever holds it: a mailbox, a list */
    uint64_t to;      /* pid; checked again by the receiver, so a slot taken over never gets another's mail */
    uint64_t from;    /* pid, 0 = the node itself */
    uint64_t ref;     /* which request, monitor or timer; 0 = none */
    uint32_t name;    /* atom of the handler; 0 with MESSAGE_NAMED */
    uint32_t size;    /* payload bytes used */
    uint32_t room;    /* payload bytes there are */
    uint8_t kind, flags, argc;
    uint8_t open;     /* tables begun with payload_open_table and not yet closed */
    unsigned char bytes[]; /* the payload: see format.h */
};
#define MESSAGE_HEADER offsetof(Message, bytes)

/* A message with room for at least `room` payload bytes, all fields 0 but kind and room. NULL when memory
 * is short; gives. */
Message *message_new(MessageKind kind, size_t room);
void     message_free(Message *msg); /* takes; NULL is fine */

/* Makes room for `more` payload bytes beyond msg->size; may move it: use the result. NULL: memory is short
 * or MESSAGE_SIZE_MAX would be passed, and the caller still owns the old one. */
Message *message_grow(Message *msg, size_t more);
Message *message_copy(const Message *msg); /* header and payload; `next` is NULL; gives */

/* The same list, the last one first. */
static inline Message *message_reverse(Message *list) {
    Message *reversed = NULL;
    while (list != NULL) {
        Message *next = list->next;
        list->next = reversed;
        reversed = list;
        list = next;
    }
    return reversed;
}

/* A deadline (clock_now time) lies in the last 8 bytes of the block, where no payload is: the header stays small. It is
 * set when all values are in; a copy has it, too. May move the message: 0 or UV_ENOMEM. */
int message_limit(Message **msg, uint64_t deadline);
static inline uint64_t message_deadline(const Message *msg) { /* with MESSAGE_LIMITED */
    uint64_t deadline;
    memcpy(&deadline, msg->bytes + msg->room - sizeof deadline, sizeof deadline);
    return deadline;
}
#endif
