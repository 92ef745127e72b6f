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
