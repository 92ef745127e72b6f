/* json_fuzz.c - libFuzzer target: any bytes as a request's line.
 *
 * What must hold: nothing reads a byte too far or falls; what was parsed is written, parses again, and is written the
 * same; a lookup finds nothing that is not there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ground/json.h"
#include "ops/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

/* A block of just that size, so that one byte too far is found. */
static char *copy_of(const void *bytes, size_t len) {
    char *copy = malloc(len > 0 ? len : 1);
    MUST(copy != NULL);
    if (len > 0) memcpy(copy, bytes, len);
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *why;
    Json *values, *again;
    char *line = copy_of(data, size);
    if (json_parse(line, size, &values, &why) == 0) {
        Text first = {0}, second = {0};
        const Json *args = json_get(values, "args");
        if (args != NULL) {
            const Json *path = json_get(args, "path");
            if (path != NULL && path->type == JSON_STRING) {
                Path p = path_of(path->text, path->len);
                PathStep step;
                while (path_next(&p, &step)) MUST(step.key == NULL || step.len <= path->len);
            }
        }
        json_write(&first, values);
        char *written = copy_of(first.bytes, first.len);
        MUST(json_parse(written, first.len, &again, &why) == 0);
        json_write(&second, again);
        MUST(first.len == second.len && memcmp(first.bytes, second.bytes, first.len) == 0);
        text_free(&first);
        text_free(&second);
        free(again);
        free(written);
        free(values);
    } else {
        MUST(why != NULL && values == NULL);
    }
    free(line);
    return 0;
}
