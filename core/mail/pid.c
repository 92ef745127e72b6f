/* pid.c - see pid.h: the text of a pid or ref. */
#include "mail/pid.h"
#include <inttypes.h>
#include <stdio.h>

const char *(*pid_node_name)(uint32_t node);

size_t pid_text(uint64_t bits, char *out) {
    static const char *const kinds[8] = {"monitor", "timer", "request", "foreign", "ref", "ref", "ref", "ref"};
    int len;
    if (bits == 0) {
        len = snprintf(out, PID_TEXT_MAX, "<nobody>");
    } else if (bits_are_ref(bits)) {
        len = snprintf(out, PID_TEXT_MAX, "#%s-%" PRIu64, kinds[ref_kind(bits)], bits & (UINT64_MAX >> 4));
    } else if (pid_node(bits) != 0 && pid_node_name != NULL) {
        len = snprintf(out, PID_TEXT_MAX, "<%" PRIu32 ".%" PRIu32 "@%.32s>", pid_slot(bits), pid_generation(bits),
                       pid_node_name(pid_node(bits)));
    } else if (pid_node(bits) != 0) {
        len = snprintf(out, PID_TEXT_MAX, "<%" PRIu32 ".%" PRIu32 "@%" PRIu32 ">", pid_slot(bits),
                       pid_generation(bits), pid_node(bits));
    } else {
        len = snprintf(out, PID_TEXT_MAX, "<%" PRIu32 ".%" PRIu32 ">", pid_slot(bits), pid_generation(bits));
    }
    return (size_t)len;
}

/* Digits up to `most`; false: none, or more than that. */
static bool number(const char **at, const char *end, uint64_t most, uint64_t *out) {
    const char *from = *at;
    for (*out = 0; *at < end && **at >= '0' && **at <= '9'; ++*at)
        if ((*out = *out * 10 + (uint64_t)(**at - '0')) > most) return false;
    return *at > from;
}

uint64_t pid_parse(const char *text, size_t len) {
    const char *at = text, *end = text + len;
    uint64_t slot, generation, node = 0;
    if (len >= 2 && *at == '<' && end[-1] == '>') at++, end--;
    if (!number(&at, end, (1u << PID_SLOT_BITS) - 1, &slot) || at == end || *at++ != '.' ||
        !number(&at, end, PID_GENERATION_MAX, &generation))
        return 0;
    if (at < end && (*at++ != '@' || !number(&at, end, 0x7ff, &node))) return 0;
    return at == end ? node << 52 | pid_make((uint32_t)slot, (uint32_t)generation) : 0;
}
