/* watch.h - links and monitors of one actor. Everything is the owner's alone; both ends talk by system messages.
 * Threads: the worker that runs the actor. */
#ifndef ACTOR_WATCH_H
#define ACTOR_WATCH_H
#include <stdbool.h>
#include <stdint.h>
#include "ground/map.h"
#include "mail/message.h"

struct Actor;

typedef struct Watch {
    Map links;    /* pid -> 1 */
    Map monitors; /* ref -> pid: whom we watch; 0 = not known yet */
    Map watchers; /* ref -> pid: who watches us */
} Watch;

int  watch_monitor(struct Actor *a, uint64_t pid, uint64_t *ref); /* 0 or UV_ENOMEM */
/* A monitor of an actor that is made on another node: its down may come before its pid is known here. */
int  watch_expect(struct Actor *a, uint64_t *ref);
void watch_expected(struct Actor *a, uint64_t ref, uint64_t pid); /* it is that one; 0 = there is none */
bool watch_demonitor(struct Actor *a, uint64_t ref);              /* false: there is none */
int  watch_link(struct Actor *a, uint64_t pid);
void watch_unlink(struct Actor *a, uint64_t pid);

/* MONITOR, DEMONITOR, LINK or UNLINK came; takes it. */
void watch_handle(struct Actor *a, Message *msg);
/* A DOWN or EXIT: is it (still) wanted? */
bool watch_wants(const struct Actor *a, const Message *msg);
/* The same when it is about to be heard; forgets the monitor or link. */
bool watch_take(struct Actor *a, const Message *msg);
/* The actor is gone: all who watch or are linked are told why (one value). */
void watch_farewell(struct Actor *a, const Message *reason);
#endif
