/* source.h - module files, found by require path, compiled once a node, their bytecode shared by all VMs.
 *
 * Found in this order: `throng` and `throng.*` in the program itself, then each directory of the path (DIR/a/b.lua,
 * DIR/a/b/init.lua), then the other modules in the program. Threads: from any; one lock inside. A Source never
 * changes.
 * A file whose text has changed is a Source of its own beside the old one, see source_renew. */
#ifndef ACTOR_SOURCE_H
#define ACTOR_SOURCE_H
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Source {
    struct Source *next;
    char *name;       /* require path */
    char *path;       /* of the file, as it is shown in errors */
    char *code;       /* bytecode, trusted: we compiled it */
    size_t code_size;
    uint64_t hash;    /* of the text */
    bool built_in;    /* a part of the program */
    bool shipped;     /* its text came from another node: there may be no such file here */
    bool retired;     /* source.c's, under its lock: a newer text has its name, or may get it */
} Source;

int  source_add_dir(const char *dir); /* behind the others; before actors run. UV_ENOMEM */
/* A module. 0, and it lives as long as the process; UV_ENOENT (err: where it was looked for), UV_EINVAL (it does not
 * parse, or the name is none; err has file and line), UV_EIO, UV_ENOMEM. */
int  source_find(const char *name, const Source **out, char *err, size_t err_size);
/* The same for a file, under a name made of the file's; its directory is not added to the path. */
int  source_file(const char *path, const Source **out, char *err, size_t err_size);
/* The file of `s` as it is now: `s` itself if its text is the same, or another Source, which no source_find gives until
 * source_become. Errors as source_find, UV_ENOENT: the file is gone. */
int  source_renew(const Source *s, const Source **out, char *err, size_t err_size);
/* The same with a text that came from another node instead of the file's. */
int  source_replace(const Source *s, const char *text, size_t len, const Source **out, char *err, size_t err_size);
/* A module of which there is none here, from a text that came; no source_find gives it until source_become. */
int  source_bring(const char *name, const char *path, const char *text, size_t len, const Source **out, char *err,
                  size_t err_size);
/* The text of its file, to be freed, as `s` was compiled from it. UV_EAGAIN: the file is another by now; UV_ENOENT. */
int  source_read(const Source *s, char **text, size_t *len);
uint64_t source_hash(const char *text, size_t len); /* as in Source: without a first line for the shell */
void source_become(const Source *s); /* from now on it is what its name means */
/* A module from text, for tests: `path` is what errors call it. UV_EEXIST: there is one of that name; else as above. */
int  source_text(const char *name, const char *path, const char *text, size_t len, char *err, size_t err_size);
void source_push(lua_State *L, const Source *s); /* the chunk as a function; raises when memory is short */
void source_close(void);
#endif
