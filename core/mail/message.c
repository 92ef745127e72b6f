/* message.c - see message.h. */
#include "mail/message.h"
#include <assert.h>
#include <stdbool.h>
#include <uv.h>
#include "ground/pool.h"

static_assert(MESSAGE_HEADER <= 48, "a block of one cache line has 16 bytes of payload or more");

static inline size_t block_size(const Message *msg) {
    return MESSAGE_HEADER + msg->room;
}

Message *message_new(MessageKind kind, size_t room) {
    if (room > MESSAGE_SIZE_MAX) return NULL;
    size_t block = MESSAGE_HEADER + room;
    block = block <= POOL_ALIGN ? POOL_ALIGN : pool_round(block); /* most are small: no need to ask */
    Message *msg = pool_alloc(block);
    if (msg == NULL) return NULL;
    memset(msg, 0, MESSAGE_HEADER);
    msg->room = (uint32_t)(block - MESSAGE_HEADER);
    msg->kind = (uint8_t)kind;
    return msg;
}

void message_free(Message *msg) {
    if (msg != NULL) pool_free(msg, block_size(msg));
}

static void put_deadline(Message *msg, uint64_t deadline) {
    memcpy(msg->bytes + msg->room - sizeof deadline, &deadline, sizeof deadline);
    msg->flags |= MESSAGE_LIMITED;
}

/* A copy, header and payload, in a block for `room` bytes. */
static Message *copy(const Message *msg, size_t room) {
    bool limited = msg->flags & MESSAGE_LIMITED;
    Message *other = message_new(msg->kind, room + (limited ? sizeof(uint64_t) : 0));
    if (other == NULL) return NULL;
    uint32_t other_room = other->room;
    memcpy(other, msg, MESSAGE_HEADER + msg->size);
    other->room = other_room;
    if (limited) put_deadline(other, message_deadline(msg));
    return other;
}

Message *message_grow(Message *msg, size_t more) {
    if (more <= msg->room - msg->size) return msg;
    if (more > MESSAGE_SIZE_MAX - msg->size) return NULL;
    /* At least twice the block, so that a message built value by value is copied a constant number of times a byte. */
    size_t room = msg->size + more, twice = 2 * block_size(msg) - MESSAGE_HEADER;
    if (twice > MESSAGE_SIZE_MAX) twice = MESSAGE_SIZE_MAX;
    Message *other = copy(msg, room < twice ? twice : room);
    if (other == NULL && room < twice) other = copy(msg, room); /* memory is short: no more than needed */
    if (other != NULL) message_free(msg);
    return other;
}

Message *message_copy(const Message *msg) {
    Message *other = copy(msg, msg->size);
    if (other != NULL) other->next = NULL;
    return other;
}

int message_limit(Message **msg, uint64_t deadline) {
    Message *roomy = message_grow(*msg, sizeof deadline);
    if (roomy == NULL) return UV_ENOMEM;
    put_deadline(roomy, deadline);
    *msg = roomy;
    return 0;
}
