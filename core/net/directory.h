/* directory.h - who else is a member, and where; and who holds the names that count in the whole cluster: what the ways
 * to find out have in common.
 *
 * There may be several ways at once, each a Directory: gossip.c, by which those we have links to tell of others, and
 * roster.c, by which etcd does. They call directory_learn; whom they tell of gets a number (members.h), and is dialed
 * at the address they give. One of them may know names of the cluster (titles.h).
 * Threads: the loop's alone; directory_naming from any, as what it returns is settled before they run. */
#ifndef NET_DIRECTORY_H
#define NET_DIRECTORY_H
#include <stdbool.h>
#include <stdint.h>
#include "net/link.h"

struct Title;

typedef struct Directory { /* each may be NULL */
    void (*up)(Link *l);   /* a link is up, and directory_where says where that node listens */
    /* Names, all three or none: one of ours is wanted, and comes to titles_won, _refused or _unsure; it is to be given
     * up, and comes to titles_left; who has one, which comes to titles_answer. */
    void (*claim)(struct Title *t);
    void (*release)(struct Title *t);
    void (*read)(const char *name, size_t len, uint64_t asker, uint64_t ref, uint64_t deadline);
    void (*leave)(void);   /* this node ends: others are told */
    bool (*left)(void);    /* ... and have been */
    void (*stop)(void);    /* everything is closed */
} Directory;

/* Ours: who of two dials is settled by their names, if both can. UV_ENOMEM. */
int  directory_open(const Hello *ours);
void directory_add(const Directory *d); /* lent */
void directory_close(void);

const Directory *directory_naming(void); /* the one that knows names; NULL */

void directory_up(Link *l);
void directory_leave(void);
bool directory_left(void);
void directory_stop(void);

/* There is such a node; and, unless `address` is NULL, it can be reached there. Its number, 0 for ourselves, or
 * MEMBERS_NOWHERE. Anything may be in both texts. */
uint32_t directory_learn(const char *name, uint64_t incarnation, const char *address);
/* Where the node of that number listens; "" = nowhere known. */
const char *directory_where(uint32_t node);
void directory_note(uint32_t node, const char *address);
/* Could it be a node's, or a cluster's, name? */
bool directory_good_name(const char *name, size_t len);
#endif
