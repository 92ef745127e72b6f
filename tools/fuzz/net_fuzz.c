/* net_fuzz.c - libFuzzer target: any bytes from another node.
 *
 * The first byte says what they are: 0 = a handshake's frames; 1 = what a connection brings, as it is; else the body of
 * one record in a lane, with the right lengths around it. What must hold: nothing reads a byte too far, falls or leaks,
 * and a link that was fed nonsense ends as any other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "ground/config.h"
#include "mail/post.h"
#include "net/chase.h"
#include "net/frame.h"
#include "net/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hear_link(Link *l) { (void)l; }
static void hear_nothing(void) {}
static uint32_t meet(Link *l, const Record *r) {
    (void)l;
    return r->size > 1 ? 2 : PID_NODES - 1;
}
static void hear_record(Link *l, const Record *r) {
    if (r->kind == RECORD_CHASE) chase_came(l, r);
}
static void wake(void *owner) { (void)owner; }

static void handshake(const uint8_t *p, size_t len) {
    Hello h;
    unsigned char out[FRAME_HELLO_MAX];
    int whole = frame_whole(p, len);
    if (whole <= 0 || frame_read_hello(p + 5, (size_t)whole - 5, &h) < 0) return;
    size_t again = frame_put_hello(out, &h); /* what was read says the same again */
    if (again != (size_t)whole || memcmp(out + 5, p + 5, again - 5) != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool open;
    if (!open) {
        open = true;
        post_open((PostCalls){.wake = wake});
        link_open((LinkCalls){hear_link, hear_nothing, hear_link, meet, hear_record});
    }
    if (size < 2 || size > 60000) return 0;
    uint8_t what = *data++;
    size--;
    if (what == 0) {
        handshake(data, size);
        return 0;
    }
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) return 0;
    Link *l = link_new(1, "fuzz", 1);
    Hello theirs = {.window = 1 << 20, .largest = 1 << 20};
    link_begin(l, pair[0], NULL, 1, &theirs);
    if (what == 1) {
        link_receive(l, data, size);
    } else {
        unsigned char *bytes = malloc(FRAME_CHUNK_HEAD + RECORD_LENGTH + size);
        uint32_t length = (uint32_t)size;
        frame_put_chunk(bytes, what & 1 ? LANE_SYSTEM : LANE_USER, RECORD_LENGTH + size);
        memcpy(bytes + FRAME_CHUNK_HEAD, &length, RECORD_LENGTH);
        memcpy(bytes + FRAME_CHUNK_HEAD + RECORD_LENGTH, data, size);
        for (int i = 0; i < 2; i++) link_receive(l, bytes, FRAME_CHUNK_HEAD + RECORD_LENGTH + size);
        free(bytes);
    }
    link_flush_all();
    link_end(l);
    link_free(l);
    close(pair[1]);
    return 0;
}
