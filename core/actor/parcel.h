/* parcel.h - the texts of a change, as bytes for other nodes: modules with their names, paths, hashes.
 *
 * Bytes: 1 (the format) and 4 of the count; then of each module the lengths of name and path (2 each) and of its text
 * (4), the hash of the text, and of the text it has replaced where it comes from (8 each; 0: it is new there), then
 * name, path, text. Little-endian. They are checked as what they are, bytes from outside: lengths first, then hashes.
 * Threads: whoever has it. */
#ifndef ACTOR_PARCEL_H
#define ACTOR_PARCEL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "actor/change.h"

#define PARCEL_MODULES_MAX 10000
#define PARCEL_BYTES_MAX (16u << 20)

typedef struct ParcelItem {
    char *name, *path; /* NUL-terminated, its own */
    const char *text;  /* borrowed from the bytes */
    size_t len;
    uint64_t hash, was;
} ParcelItem;

typedef struct Parcel {
    ParcelItem *items;
    size_t count;
    const char *from; /* the node that sent it: code here that came from it is renewed, too; NULL: not known */
    bool own_only;    /* its texts are not to be run: this node's files must be the very same (--own-files) */
    bool any_version; /* also where another text was replaced than at the sender's */
} Parcel;

/* All files of what the change leads to, in bytes that the caller frees. UV_EAGAIN (one has changed meanwhile),
 * UV_E2BIG, UV_ENOMEM, or what reading a file says; *err has a line. */
int  parcel_pack(const Change *c, char **bytes, size_t *len, char *err, size_t err_size);
/* 0, and `bytes` must outlive it; UV_EINVAL: it is none, UV_ENOMEM. */
int  parcel_open(Parcel *p, const char *bytes, size_t len);
void parcel_close(Parcel *p);
const ParcelItem *parcel_find(const Parcel *p, const char *name); /* NULL; without a parcel, too */
#endif
