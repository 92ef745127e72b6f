/* directory.h - who else is a member, and where: what the ways to find out have in common.
 *
 * There may be several ways at once, each a Directory: gossip.c, by which those we have links to tell of others. They
 * call directory_learn; whom they tell of gets a number (members.h), and is dialed at the address they give.
 * Threads: the loop's alone. */
#ifndef NET_DIRECTORY_H
#define NET_DIRECTORY_H
#include <stdbool.h>
#include <stdint.h>
#include "net/link.h"

typedef struct Directory { /* each may be NULL */
    void (*up)(Link *l);   /* a link is up, and directory_where says where that node listens */
} Directory;

/* Ours: who of two dials is settled by their names, if both can. UV_ENOMEM. */
int  directory_open(const Hello *ours);
void directory_add(const Directory *d); /* lent */
void directory_close(void);

void directory_up(Link *l);

/* There is such a node; and, unless `address` is NULL, it can be reached there. Its number, 0 for ourselves, or
 * MEMBERS_NOWHERE. Anything may be in both texts. */
uint32_t directory_learn(const char *name, uint64_t incarnation, const char *address);
/* Where the node of that number listens; "" = nowhere known. */
const char *directory_where(uint32_t node);
void directory_note(uint32_t node, const char *address);
/* Could it be a node's, or a cluster's, name? */
bool directory_good_name(const char *name, size_t len);
#endif
