/* embedded.h - the Lua files of lua/, compiled into the program by tools/embed.lua: the program needs no folder.
 *
 * The table is written at build time (build/embedded.c), sorted by module name, constant for ever after; so any
 * thread may read it. lua/meta/ (pages for editors) is left out. */
#ifndef ACTOR_EMBEDDED_H
#define ACTOR_EMBEDDED_H
#include <stddef.h>

typedef struct EmbeddedFile {
    const char *module; /* as require knows it: "throng", "throng.args" */
    const char *path;   /* where it lies in the source tree: "lua/throng/args.lua" */
    const char *bytes;  /* its text; a '\0' follows that size does not count */
    size_t size;
} EmbeddedFile;

extern const EmbeddedFile embedded_files[];
extern const size_t embedded_count;

const EmbeddedFile *embedded_find(const char *module); /* NULL if there is none */
#endif
