/* able.h - what nodes can: a set of words with values that each was started with (--can gpu=true,zone=eu), and how many
 * actors it has; for spawns that require something of the node they go to.
 *
 * A set is one text, KEY=VALUE[,KEY=VALUE...]. A value is true, false, a whole number, or else a string; a key alone is
 * true. A node says its set in the handshake, so it is known as soon as the node is; how many actors it has it tells
 * when it says that it is there. Threads: from any, but able_open and what comes from the cluster: see there. */
#ifndef NET_ABLE_H
#define NET_ABLE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ABLE_TEXT_MAX 512 /* bytes of a set */
#define ABLE_MOST 32      /* items */
#define ABLE_KEY_MAX 64

typedef enum { ABLE_BOOLEAN, ABLE_INTEGER, ABLE_STRING } AbleKind;

typedef struct Able { /* an item; texts are borrowed */
    const char *key, *text;
    size_t key_len, len;
    AbleKind kind;
    bool yes;
    int64_t number;
} Able;

/* Takes in one more text, behind what is in `set` ("" = nothing). 0, or UV_EINVAL with one line: what, and what would
 * be right. */
int  able_add(char set[ABLE_TEXT_MAX + 1], const char *text, char *err, size_t err_size);
bool able_good(const char *set); /* from outside: is it what able_add makes? */
/* The next item of a good set, *at from 0; false at the end. */
bool able_next(const char *set, size_t *at, Able *out);
/* Whether one item is so. false is also what a set does not name. */
bool able_is(const char *set, const Able *wanted);
/* "gpu=true, zone=\"eu\""; "nothing" for no items. Cut to fit. */
void able_show(const Able *items, size_t count, char *out, size_t size);

void able_open(const char *name, const char *set); /* ours, name and set; before other threads */
int  able_of(uint32_t node, char out[ABLE_TEXT_MAX + 1], uint64_t *actors); /* 0, or UV_ENOENT: it is not up */
bool able_takes(uint32_t node); /* it is up, and not about to end */
/* The node, ours too, that is so in all of that, and has the fewest actors as far as we know: what it told last, and
 * what was sent there since; among equals each in turn. UINT32_MAX: none, and `err` says what each can. */
uint32_t able_pick(const Able *items, size_t count, char *err, size_t err_size);
void able_sent(uint32_t node); /* one more was sent there */

/* ---- for the cluster, on the loop's thread ---- */
void able_met(uint32_t node, const char *set); /* it is up */
void able_told(uint32_t node, uint64_t actors); /* UINT64_MAX: it takes none any more */
void able_close(void);
#endif
