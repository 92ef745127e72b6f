/* bytes.h - a queue of bytes in one piece of memory: appended at the end, taken from the front. One owner, no lock. */
#ifndef NET_BYTES_H
#define NET_BYTES_H
#include <stddef.h>

typedef struct Bytes { /* all zero: empty, owns no memory */
    unsigned char *data;
    size_t head, tail, room;
} Bytes;

static inline size_t bytes_len(const Bytes *b) { return b->tail - b->head; }
static inline unsigned char *bytes_first(const Bytes *b) { return b->data != NULL ? b->data + b->head : NULL; }
/* Where `n` more bytes may be written, to be told with bytes_added; NULL: memory is short, nothing has changed. */
unsigned char *bytes_more(Bytes *b, size_t n);
static inline void bytes_added(Bytes *b, size_t n) { b->tail += n; }
int  bytes_add(Bytes *b, const void *from, size_t n); /* 0 or UV_ENOMEM */
void bytes_take(Bytes *b, size_t n); /* drops the first n; a queue that is empty and large gives its memory back */
void bytes_clear(Bytes *b);
#endif
