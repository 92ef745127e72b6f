/* source.h - module files, found by require path, compiled once a node, their bytecode shared by all VMs.
 *
 * Found in this order: `throng` and `throng.*` in the program itself, then each directory of the path (DIR/a/b.lua,
 * DIR/a/b/init.lua), then the other modules in the program. Threads: from any; one lock inside. A Source never
 * changes.
 * A file whose text has changed is a Source of its own beside the old one, see source_renew.
 *
 * Text may come from another node (`origin`), to run what runs there: it stands beside files of the same name, and no
 * name leads to it but from other code of that node's (source_for). */
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
    const char *origin; /* the name of the node whose file it is; NULL = this one */
    char *text;       /* without a first line for the shell; NULL: it is built in, too long, or nobody wants texts */
    size_t text_size;
    bool built_in;    /* a part of the program */
    bool shipped;     /* its text came from another node: there may be no such file here */
    bool retired;     /* source.c's, under its lock: a newer text has its name, or may get it */
} Source;

#define SOURCE_SHIPS_MAX 1000000 /* bytes of one text that is given to other nodes */
#define SOURCE_PATH_MAX 512      /* of a path that came from one */

void source_keep_texts(void); /* before the first module: other nodes may want them */
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

/* ---- of other nodes ---- */

/* Is it that text? For those who compare sets of modules. */
static inline bool source_is(const Source *s, uint64_t hash, size_t size) {
    return s->hash == hash && s->text_size == size && s->text != NULL;
}
/* The text of that name, hash and size which came from `origin` (NULL: one of ours, retired ones too); or NULL. */
const Source *source_known(const char *origin, const char *name, uint64_t hash, size_t size);
/* A text that came from there. 0, also if it is known; UV_EINVAL (it does not parse, or the name is none), UV_ENOMEM,
 * UV_E2BIG (with all that is held of other nodes' it would be more than net.code). */
int  source_add(const char *origin, const char *name, const char *path, const char *text, size_t len,
                const Source **out, char *err, size_t err_size);
/* What a name means to code of that node's which was not loaded with it: the newest such text that came from there, or
 * a module of the program; UV_ENOENT. */
int  source_for(const char *origin, const char *name, const Source **out, char *err, size_t err_size);
bool source_good_name(const char *name);

void source_push(lua_State *L, const Source *s); /* the chunk as a function; raises when memory is short */
void source_close(void);
#endif
