/* intake.h - what comes from one other node: chunks become records, records become messages of ours.
 *
 * All bytes come from outside: each length is checked before it is used, each pid and name before it is believed; what
 * makes no sense ends the connection, with a word about what it was. Part of a Link, which embeds it.
 * Threads: the loop's alone. */
#ifndef NET_INTAKE_H
#define NET_INTAKE_H
#include "net/bytes.h"
#include "net/link.h"

typedef struct Intake {
    Link *link;
    const LinkCalls *calls;
    uint32_t index; /* of its node */
    unsigned char head[FRAME_CHUNK_HEAD];
    size_t head_len, chunk_left;
    Lane lane;
    Bytes held[LANES];    /* an incomplete record, or what waits while it is paused */
    uint64_t bytes, records; /* of the user's lane, that came and were taken in */
    uint64_t orders;      /* kills and stops that came */
    uint64_t told, told_orders; /* bytes and orders of the last RECORD_CREDIT */
    uint16_t nodes[PID_NODES]; /* its numbers -> ours */
    struct Name **names; /* of handlers, by its numbers */
    uint32_t names_room;
    uint32_t full_count;
    uint64_t full[LINK_FULL_MOST]; /* pids of ours: it was told that their mailboxes are full */
    bool paused, heard;
    const char *fault;
} Intake;

void intake_begin(Intake *in); /* a connection is up */
/* Bytes that came, as chunks. 0; UV_EPROTO: they are none (in->fault), UV_ENOMEM: end the connection. */
int  intake_take(Intake *in, const unsigned char *bytes, size_t len);
int  intake_resume(Intake *in);
/* RECORD_CREDIT: how far we have come, if the other side does not know. */
void intake_confirm(Intake *in);
/* A pid as the other side has it becomes ours. False: of a node that was not announced. */
bool intake_adopt(const Intake *in, uint64_t *pid);
bool intake_recheck(Intake *in); /* link_recheck */
void intake_drain(Intake *in); /* the connection is over: what waits while it is paused is taken in */
void intake_clear(Intake *in); /* frees what it holds */
#endif
