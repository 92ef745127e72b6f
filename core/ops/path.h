/* path.h - where in a value: `self.a.b[3]["c d"]`, the `self` may be left out. Threads: any. */
#ifndef OPS_PATH_H
#define OPS_PATH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct PathStep {
    const char *key; /* borrowed from the path; NULL: it is `number` */
    size_t len;
    int64_t number;
} PathStep;

typedef struct Path {
    const char *at, *end;
    bool first;
    bool wrong; /* it is no path, from `at` on */
} Path;

Path path_of(const char *text, size_t len);
bool path_next(Path *p, PathStep *out); /* false: at its end, or wrong */
#endif
