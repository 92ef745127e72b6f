/* groups.h - named sets of pids, in the order of joining. A group is there while it has members.
 *
 * Pids of other nodes are joined here as well, by net/cluster.c, which keeps the nodes' groups alike.
 * Whoever joins a pid takes care that it leaves: an actor does so when it ends (actor/actor.c).
 * Threads: from any; sharded locks inside, held for no longer than it takes to copy the members. Who posts to a group
 * holds a snapshot instead, which later joins and leaves do not change. */
#ifndef MAIL_GROUPS_H
#define MAIL_GROUPS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GROUPS_TEXT_MAX 200

typedef struct GroupMembers { /* a snapshot: read-only, shared by all who hold it */
    size_t count;
    uint64_t pids[];
} GroupMembers;

/* 0; UV_EEXIST it is a member already; UV_ENOMEM; UV_EINVAL a name that is empty or too long. */
int groups_join(const char *name, size_t len, uint64_t pid);
int groups_leave(const char *name, size_t len, uint64_t pid); /* UV_ENOENT: it is no member */

/* Called for each join and leave of an actor of this node, under the group's lock: so in the order they happen. It must
 * not call groups. Before other threads exist; NULL: nobody wants to know. */
typedef void (*GroupsChanged)(const char *name, size_t len, uint64_t pid, bool joined);
void groups_open(GroupsChanged changed);
/* Calls `joined` for all members that are of this node, in the same way. */
void groups_tell(void (*joined)(void *context, const char *name, size_t len, uint64_t pid), void *context);
void groups_forget_node(uint32_t node); /* all members that are of that node leave */

/* Gives the members to hold; *out is NULL when there are none. 0 or UV_ENOMEM. */
int  groups_hold(const char *name, size_t len, const GroupMembers **out);
void groups_drop(const GroupMembers *members); /* takes; NULL is fine */

/* Writes at most `room` of the members; how many there are. */
size_t groups_copy(const char *name, size_t len, uint64_t *out, size_t room);

/* What groups_list writes for each group, one behind the other: this head, the name, padding. */
typedef struct GroupEntry {
    size_t count; /* members */
    size_t len;
    char name[];
} GroupEntry;
#define GROUP_ENTRY_SIZE(len) ((sizeof(GroupEntry) + (len) + sizeof(size_t) - 1) & ~(sizeof(size_t) - 1))

/* Writes the groups there are, in no order, as far as whole entries fit; the bytes all of them take. */
size_t groups_list(void *out, size_t room);
#endif
