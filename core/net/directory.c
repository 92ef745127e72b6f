#include "net/directory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "net/members.h"
#include "net/targets.h"

#define DIRECTORIES_MOST 4
#define YIELD_MS 1000 /* how long who need not dial waits for the other to */

static const Directory *directories[DIRECTORIES_MOST];
static unsigned count;
static char (*addresses)[ADDRESS_TEXT]; /* by number */
static const Hello *self;

int directory_open(const Hello *ours) {
    self = ours;
    count = 0;
    addresses = calloc(PID_NODES, sizeof *addresses);
    return addresses != NULL ? 0 : UV_ENOMEM;
}

void directory_add(const Directory *d) {
    if (count < DIRECTORIES_MOST) directories[count++] = d;
}

void directory_close(void) {
    free(addresses);
    addresses = NULL;
    count = 0;
}

void directory_up(Link *l) {
    for (unsigned i = 0; i < count; i++)
        if (directories[i]->up != NULL) directories[i]->up(l);
}

const Directory *directory_naming(void) {
    for (unsigned i = 0; i < count; i++)
        if (directories[i]->claim != NULL) return directories[i];
    return NULL;
}

void directory_leave(void) {
    for (unsigned i = 0; i < count; i++)
        if (directories[i]->leave != NULL) directories[i]->leave();
}

bool directory_left(void) {
    bool all = true;
    for (unsigned i = 0; i < count; i++)
        if (directories[i]->left != NULL) all = directories[i]->left() && all;
    return all;
}

void directory_stop(void) {
    for (unsigned i = 0; i < count; i++)
        if (directories[i]->stop != NULL) directories[i]->stop();
}

bool directory_good_name(const char *name, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (name[i] <= ' ' || name[i] >= 127) return false;
    return len > 0 && len <= FRAME_NAME_MAX;
}

static bool good_address(const char *address) {
    size_t len = strlen(address);
    return len < ADDRESS_TEXT && directory_good_name(address, len > FRAME_NAME_MAX ? FRAME_NAME_MAX : len);
}

uint32_t directory_learn(const char *name, uint64_t incarnation, const char *address) {
    if (!directory_good_name(name, strlen(name))) return MEMBERS_NOWHERE;
    uint32_t node = members_meet(name, incarnation);
    if (address == NULL || node == 0 || node == MEMBERS_NOWHERE || !good_address(address)) return node;
    Link *l = members_find(node);
    if (addresses[node][0] == '\0') snprintf(addresses[node], ADDRESS_TEXT, "%s", address);
    if (link_is_up(l)) return node;
    /* Both hear of each other at about the same time: one dials. */
    targets_learn(address, l, self->port != 0 && strcmp(self->name, name) < 0 ? YIELD_MS : 0);
    return node;
}

const char *directory_where(uint32_t node) { return addresses[node]; }

void directory_note(uint32_t node, const char *address) {
    snprintf(addresses[node], ADDRESS_TEXT, "%s", address);
}
