/* spawn.h - what nodes say to each other so that an actor is born on another one, as bytes: bodies of calls.
 *
 *   CALL_SPAWN: make an actor (SpawnOrder); answered when it has a pid, or can't be made (SpawnAnswer)
 *   CALL_MODULE: what does that name mean to code of yours? (SpawnWanted); its files (SpawnFiles), or why not
 *   CALL_TEXT: the text of one of them (SpawnWanted with a hash); a byte, 1 = here it is, and the text
 *
 * Little-endian. Texts are two bytes of length, the bytes and a 0, which is not counted: what was read can be used
 * where it lies. Everything here is a function of its arguments; what reads takes bytes from outside, and what it gives
 * is borrowed from them. Writing: 0 or UV_ENOMEM; UV_E2BIG: more than a call takes (CALL_MAX). */
#ifndef NET_SPAWN_H
#define NET_SPAWN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mail/message.h"
#include "net/bytes.h"

#define SPAWN_FILES_MAX 250
#define SPAWN_TEXT_MAX 8000 /* bytes of an error's text */

typedef struct SpawnFile {
    const char *name, *path; /* by require, and where it lies on its own node */
    uint64_t hash;
    uint32_t size;
} SpawnFile;

typedef struct SpawnFiles { /* a set: the behaviour's own text first */
    uint32_t count;
    SpawnFile at[SPAWN_FILES_MAX];
} SpawnFiles;

typedef enum {
    SPAWN_THESE,   /* these files */
    SPAWN_PROGRAM, /* it is part of the program */
    SPAWN_YOURS    /* the asker has no such module: perhaps you do */
} SpawnCode;

typedef struct SpawnOrder {
    uint64_t asker;         /* its pid there; the parent */
    uint64_t monitor, wait; /* its refs: for the down, and for the end of init; 0 = it wants none */
    uint64_t memory;        /* these as in ActorOptions */
    uint32_t mailbox_limit, restarts;
    uint8_t mailbox_full, grants, link, code; /* SpawnCode */
    const char *name;       /* any bytes */
    size_t name_len;        /* 0 = none */
    const char *module, *origin; /* origin: the node whose files they are, "" = the asker's */
    SpawnFiles files;       /* of SPAWN_THESE */
    uint8_t argc, arg_flags;
    const unsigned char *args; /* values as in Message */
    size_t args_size;
} SpawnOrder;

int  spawn_put_order(Bytes *out, const SpawnOrder *order);
bool spawn_read_order(const unsigned char *p, size_t len, SpawnOrder *out);

typedef struct SpawnAnswer {
    uint64_t pid;           /* 0: it can't be made */
    const char *code, *text; /* then why: an error's code, and one that people read */
} SpawnAnswer;

int  spawn_put_answer(Bytes *out, const SpawnAnswer *answer);
bool spawn_read_answer(const unsigned char *p, size_t len, SpawnAnswer *out);

typedef struct SpawnWanted {
    const char *origin, *name; /* origin as in SpawnOrder */
    uint64_t hash;             /* of CALL_TEXT */
    uint32_t size;
} SpawnWanted;

int  spawn_put_wanted(Bytes *out, const SpawnWanted *wanted);
bool spawn_read_wanted(const unsigned char *p, size_t len, SpawnWanted *out);

/* The answer to CALL_MODULE: files, or with `answer` an error. */
int  spawn_put_files(Bytes *out, const SpawnFiles *files, const SpawnAnswer *error);
bool spawn_read_files(const unsigned char *p, size_t len, SpawnFiles *out, SpawnAnswer *error); /* count 0: the error */
#endif
