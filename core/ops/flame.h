/* flame.h - folded stacks as a picture: an SVG that needs no script, with a hint under each bar.
 * Threads: whoever holds the text. */
#ifndef OPS_FLAME_H
#define OPS_FLAME_H
#include "ground/json.h"

/* Appends the picture of `folded` (lines "frame;frame;frame count\n"; those that begin with the same frames must stand
 * together) to *out. What is too narrow to be seen is left out. A line that is no such line is passed over. */
void flame_draw(Text *out, const char *folded, size_t len, const char *title);
#endif
