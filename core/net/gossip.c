#include "net/gossip.h"

#include <string.h>
#include "net/members.h"

static void tell(Link *to, Link *about) {
    unsigned char payload[FRAME_NAME_MAX + 1 + ADDRESS_TEXT];
    const char *address = directory_where(link_index(about));
    size_t name = strlen(link_name(about)) + 1, len = strlen(address);
    memcpy(payload, link_name(about), name);
    memcpy(payload + name, address, len);
    link_tell(to, &(Record){.kind = RECORD_NODE, .name = link_index(about), .ref = link_incarnation(about), .to = 1,
                            .payload = payload, .size = name + len});
}

/* Everybody hears of everybody. */
static void up(Link *l) {
    uint32_t most = members_count(), index = link_index(l);
    for (uint32_t i = 1; i <= most; i++) {
        Link *other = members_find(i);
        if (i == index || !link_is_up(other)) continue;
        if (directory_where(i)[0] != '\0') tell(l, other);
        if (directory_where(index)[0] != '\0') tell(other, l);
    }
}

/* Another member tells of one: what it is called there we must know, where it is we try. */
uint32_t gossip_heard(Link *from, const Record *r) {
    (void)from;
    char name[FRAME_NAME_MAX + 1], address[ADDRESS_TEXT];
    const char *text = (const char *)r->payload, *end = memchr(text, 0, r->size);
    if (end == NULL || !directory_good_name(text, (size_t)(end - text))) return MEMBERS_NOWHERE;
    memcpy(name, text, (size_t)(end - text) + 1);
    size_t len = r->size - (size_t)(end - text) - 1;
    bool there = r->to == 1 && len > 0 && len < sizeof address && memchr(end + 1, 0, len) == NULL;
    if (there) {
        memcpy(address, end + 1, len);
        address[len] = '\0';
    }
    return directory_learn(name, r->ref, there ? address : NULL);
}

const Directory gossip = {.up = up};
