/* ties.h - what would be left hanging if the link to one node broke: asks, monitors and links across it.
 *
 * Every message that leaves or arrives passes here and ties or loosens something. When the link breaks, each of our
 * actors at its end of a tie hears of it at once: asks fail (code "down", reason "noconnection"), monitors give a down
 * and links an exit, both with the reason "noconnection"; and monitors that actors of the other node held on ours
 * are taken back, as if they had died.
 *
 * Refs of monitors are unique on one node alone: one that arrives becomes a ref of our own making (REF_FOREIGN), so
 * that two nodes' refs can meet in one actor; its down leaves under the ref it was asked for with.
 * Threads: the caller holds a lock, but for ties_break. */
#ifndef NET_TIES_H
#define NET_TIES_H
#include <stdbool.h>
#include "ground/map.h"
#include "mail/message.h"

typedef struct Ties { /* all zero: nothing */
    Map asks;     /* ref -> Tie: our asker, the asked there */
    Map monitors; /* ref -> Tie: our watcher, the watched there */
    Map links;    /* our actor -> a Map of those there */
    Map theirs;   /* their ref -> our foreign ref */
    Map foreign;  /* our foreign ref -> Tie: our watched, their ref */
} Ties;

#define TIES_DROP 1

typedef struct TiesWait { /* one of ours waits for the answer of one there */
    uint64_t asker, asked, ref;
    uint32_t name; /* the atom of its question */
} TiesWait;

/* `msg` is about to be sent over; its ref may change. 0; TIES_DROP: it is not needed there any more, the caller frees
 * it; UV_ENOMEM. */
int  ties_leave(Ties *t, Message *msg);
int  ties_arrive(Ties *t, Message *msg); /* the same for one that came */
/* Those asks that have waited since before the last tick, each again and again, less often as time goes by: up to
 * `most` of them, from *at on. Looks at so many at a time, whatever there are. */
size_t ties_due(Ties *t, uint32_t *at, TiesWait *out, size_t most);
void   ties_tick(void); /* every 50 ms or so */
/* An ask that was never sent is answered otherwise. */
void ties_unask(Ties *t, uint64_t ref, uint64_t asker);
/* The link to that node is broken: tells everybody, and leaves an empty Ties. */
void ties_break(Ties *t, const char *node);
#endif
