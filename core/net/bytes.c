#include "net/bytes.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define FIRST 1024
#define KEPT (256 * 1024) /* an empty queue keeps no more than that */

unsigned char *bytes_more(Bytes *b, size_t n) {
    size_t len = bytes_len(b);
    if (n <= b->room - b->tail && b->data != NULL) return b->data + b->tail;
    if (b->head >= len && n <= b->room - len) { /* at least half is free in front: each byte is moved once or so */
        if (len > 0) memcpy(b->data, b->data + b->head, len);
    } else {
        /* Half of it is free then: with less, a queue that stays about full would be moved again and again. */
        size_t room = b->room > 0 ? b->room : FIRST;
        while (room - len < n || room - len < len) {
            if (room > SIZE_MAX / 2) return NULL;
            room *= 2;
        }
        unsigned char *data = malloc(room);
        if (data == NULL) return NULL;
        if (len > 0) memcpy(data, b->data + b->head, len);
        free(b->data);
        b->data = data;
        b->room = room;
    }
    b->head = 0;
    b->tail = len;
    return b->data + len;
}

int bytes_add(Bytes *b, const void *from, size_t n) {
    if (n == 0) return 0;
    unsigned char *to = bytes_more(b, n);
    if (to == NULL) return UV_ENOMEM;
    memcpy(to, from, n);
    b->tail += n;
    return 0;
}

void bytes_take(Bytes *b, size_t n) {
    b->head += n;
    if (b->head < b->tail) return;
    b->head = b->tail = 0;
    if (b->room > KEPT) bytes_clear(b);
}

void bytes_clear(Bytes *b) {
    free(b->data);
    *b = (Bytes){0};
}
