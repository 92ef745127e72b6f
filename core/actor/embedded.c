#include "actor/embedded.h"
#include <string.h>

const EmbeddedFile *embedded_find(const char *module) {
    size_t low = 0, high = embedded_count; /* if it is there, it is in [low, high) */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(module, embedded_files[middle].module);
        if (order == 0) return &embedded_files[middle];
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return NULL;
}
