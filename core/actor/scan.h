/* scan.h - what the functions of a module do to its file-level locals, read from its bytecode.
 *
 * State in a file-level local is not in `self`, so a new version begins without it: who assigns one in a handler
 * learns that before a reload loses it in silence. Threads: any; nothing is shared. */
#ifndef ACTOR_SCAN_H
#define ACTOR_SCAN_H
#include <stdbool.h>
#include <stddef.h>
#include "actor/source.h"

typedef enum { SCAN_ASSIGNS, SCAN_WRITES_INTO, SCAN_GLOBAL } ScanKind;

typedef struct ScanNote {
    ScanKind kind;
    int line;        /* where */
    int first, last; /* lines of the function that does it */
    char name[64];   /* of the local, or "" for a global */
} ScanNote;

typedef struct Scan {
    ScanNote *notes;
    size_t count, room;
} Scan;

int  scan_source(const Source *s, Scan *out); /* of all functions within the main chunk. 0, UV_ENOMEM, UV_EINVAL */
void scan_free(Scan *scan);
#endif
