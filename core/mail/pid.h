/* pid.h - addresses of actors and references to requests, as 64 bits that fit a light userdata.
 *
 * A pid is a slot of the registry and how often that slot was taken; a slot whose count would wrap is never
 * used again, so a pid never means another actor. 0 is nobody.
 *
 *     63: 0 = pid | 62..52: node (0 = this one) | 51..24: generation (from 1) | 23..0: slot
 *     63: 1 = ref | 62..60: RefKind | 59..0: serial number */
#ifndef MAIL_PID_H
#define MAIL_PID_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PID_SLOT_BITS 24
#define PID_GENERATION_BITS 28
#define PID_GENERATION_MAX ((1u << PID_GENERATION_BITS) - 1)
#define PID_NODES 2048 /* this one counted */
#define PID_TEXT_MAX 64

typedef enum { REF_MONITOR, REF_TIMER, REF_REQUEST, REF_FOREIGN } RefKind; /* the last: see net/ties.h */

static inline uint64_t pid_make(uint32_t slot, uint32_t generation) {
    return (uint64_t)generation << PID_SLOT_BITS | slot;
}
static inline uint32_t pid_slot(uint64_t pid) { return (uint32_t)(pid & ((1u << PID_SLOT_BITS) - 1)); }
static inline uint32_t pid_generation(uint64_t pid) {
    return (uint32_t)(pid >> PID_SLOT_BITS) & PID_GENERATION_MAX;
}
static inline uint32_t pid_node(uint64_t pid) { return (uint32_t)(pid >> 52) & 0x7ff; }
static inline uint64_t pid_on_node(uint64_t pid, uint32_t node) { /* the same slot and generation */
    return (pid & ((1ull << 52) - 1)) | (uint64_t)node << 52;
}
static inline uint64_t ref_make(RefKind kind, uint64_t serial) {
    return 1ull << 63 | (uint64_t)kind << 60 | (serial & ((1ull << 60) - 1));
}
static inline bool    bits_are_ref(uint64_t bits) { return bits >> 63; }
static inline RefKind ref_kind(uint64_t ref) { return (RefKind)(ref >> 60 & 7); }

/* The name of another node by its number, set before other threads exist; NULL: numbers will do. Its texts live for
 * ever. */
extern const char *(*pid_node_name)(uint32_t node);

/* "<12.1>" for a pid (slot and generation; "<12.1@bob>" on the node bob), "#timer-7" "#monitor-7" "#request-7" for
 * refs, "<nobody>" for 0. Returns the length; `out` has PID_TEXT_MAX bytes. */
size_t pid_text(uint64_t bits, char *out);
/* "<12.1>", "<12.1@3>" or the same without the brackets; 0: it is no pid's text. */
uint64_t pid_parse(const char *text, size_t len);
#endif
