/* delivery.h - code from other nodes, and ours for them.
 *
 * 1. Who asks for an actor here says which files its behaviour is made of: names, hashes, sizes. If one of ours is made
 *    of the very same, that is it. So is one that came from there before. Else what is lacked is fetched from the
 *    asker, text by text, compared with its hash, compiled, and the body is tried out: aside, so nobody waits for that.
 *    One delivery at a time, so nothing is fetched twice.
 * 2. With --own-files nothing is fetched: it is one of ours, or it is refused.
 * 3. To code that came from another node, names mean what they mean there: what it spawns or requires and did not come
 *    with it is fetched when it is first asked for. What that node does not have is looked for among our files.
 *    (Code whose files were ours already is ours: its names mean our files.)
 * 4. What a name means to a node's code here changes with what comes from there later, for new actors; those alive keep
 *    their version.
 *
 * The other nodes are trusted to have us run their code: they know the cluster's secret. Their bytes are not.
 * Threads: the loop's alone, but for what says otherwise. */
#ifndef API_DELIVERY_H
#define API_DELIVERY_H
#include "actor/behaviour.h"
#include "net/call.h"
#include "net/spawn.h"

void delivery_open(const char *own_name, bool own_files); /* before the cluster starts */
void delivery_close(void); /* no worker runs, the loop still does */

typedef struct DeliveryWant {
    uint32_t node;          /* who has the files: it is asked for texts */
    const char *origin;     /* the name of the node whose files they are */
    const char *module;
    SpawnCode code;
    const SpawnFiles *files; /* NULL with SPAWN_THESE: the node is asked which */
    /* Once, perhaps before delivery_want returns: the behaviour, or NULL with an error's code and text. */
    void (*done)(void *context, const Behaviour *b, const char *code, const char *text);
    void *context;
} DeliveryWant;

void delivery_want(const DeliveryWant *want); /* copied */

/* What the name means to code from that node, as far as that is known; NULL. Any thread. */
const Behaviour *delivery_meaning(const char *origin, const char *module);

/* The files of a behaviour, as others are told; `out` borrows from it. False: one is too large, or there are too many:
 * err says so. Any thread. */
bool delivery_files(const Behaviour *b, SpawnFiles *out, char *err, size_t err_size);
#endif
