#include "actor/source.h"

#include <errno.h>
#include <lauxlib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>
#include "actor/embedded.h"
#include "ground/config.h"
#include "ground/hash.h"

#define FILE_MOST (64l << 20)
#define PATH_MOST 4096

typedef struct Dir {
    struct Dir *next;
    char path[];
} Dir;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards both lists; entries never change or go */
static Dir *dirs;
static Source *sources;
static bool keeps_texts; /* set once, before others look */
static size_t foreign;   /* bytes of other nodes' texts and their code; under the lock */

void source_keep_texts(void) { keeps_texts = true; }

int source_add_dir(const char *path) {
    size_t len = strlen(path);
    Dir *d = malloc(sizeof *d + len + 1), **last;
    if (d == NULL) return UV_ENOMEM;
    while (len > 1 && path[len - 1] == '/') len--;
    memcpy(d->path, path, len);
    d->path[len] = '\0';
    d->next = NULL;
    pthread_mutex_lock(&lock);
    for (last = &dirs; *last != NULL && strcmp((*last)->path, d->path) != 0; last = &(*last)->next) {}
    if (*last == NULL) *last = d;
    else free(d); /* it is there already */
    pthread_mutex_unlock(&lock);
    return 0;
}

/* ---- compiling ---- */

typedef struct Bytes {
    char *at;
    size_t size, room;
} Bytes;

static int append(lua_State *L, const void *more, size_t size, void *to) {
    (void)L;
    Bytes *b = to;
    if (b->size + size > b->room) {
        size_t room = (b->size + size) * 2;
        char *at = realloc(b->at, room);
        if (at == NULL) return 1;
        b->at = at, b->room = room;
    }
    memcpy(b->at + b->size, more, size);
    b->size += size;
    return 0;
}

static void source_free(Source *s) {
    if (s == NULL) return;
    free(s->name);
    free(s->path);
    free(s->code);
    free(s->text);
    free((char *)s->origin);
    free(s);
}

/* One for the shell; the newline stays, so line numbers do. */
static void skip_first_line(const char **text, size_t *len) {
    if (*len == 0 || **text != '#') return;
    const char *line = memchr(*text, '\n', *len);
    size_t skip = line != NULL ? (size_t)(line - *text) : *len;
    *text += skip, *len -= skip;
}

static int compile(const char *name, const char *path, const char *text, size_t len, Source **out, char *err,
                   size_t err_size) {
    char chunk[PATH_MOST + 2];
    Bytes code = {0};
    int result = UV_ENOMEM;
    Source *s = calloc(1, sizeof *s);
    lua_State *L = luaL_newstate();
    snprintf(err, err_size, "out of memory while compiling %s", path);
    if (L == NULL || s == NULL || (s->name = strdup(name)) == NULL || (s->path = strdup(path)) == NULL) goto end;
    snprintf(chunk, sizeof chunk, "@%s", path);
    skip_first_line(&text, &len);
    if (luaL_loadbufferx(L, text, len, chunk, "t") != LUA_OK) {
        result = UV_EINVAL;
        const char *why = lua_tostring(L, -1); /* names the file, but for bytecode */
        bool named = strncmp(why, path, strlen(path)) == 0;
        snprintf(err, err_size, "%s%s%s", named ? "" : path, named ? "" : ": ", why);
        goto end;
    }
    if (lua_dump(L, append, &code, 0) != 0) goto end;
    s->code = code.at;
    s->code_size = code.size;
    s->hash = hash_bytes(text, len);
    s->text_size = len;
    if (keeps_texts && len <= SOURCE_SHIPS_MAX && (s->text = malloc(len + 1)) != NULL) memcpy(s->text, text, len);
    code.at = NULL;
    *out = s;
    s = NULL;
    result = 0;
end:
    if (L != NULL) lua_close(L);
    free(code.at);
    source_free(s);
    return result;
}

static int read_file(const char *path, char **text, size_t *len) {
    struct stat st;
    *text = NULL;
    *len = 0;
    FILE *f = fopen(path, "rb");
    if (f == NULL) return uv_translate_sys_error(errno);
    int result = UV_EIO;
    if (fstat(fileno(f), &st) != 0 || !S_ISREG(st.st_mode)) result = UV_ENOENT;
    else if (st.st_size > FILE_MOST) result = UV_EFBIG;
    else if ((*text = malloc((size_t)st.st_size + 1)) == NULL) result = UV_ENOMEM;
    else {
        *len = fread(*text, 1, (size_t)st.st_size, f);
        if (!ferror(f)) result = 0;
    }
    fclose(f);
    if (result < 0) free(*text), *text = NULL;
    return result;
}

static int compile_file(const char *name, const char *path, Source **out, char *err, size_t err_size) {
    char *text = NULL;
    size_t len = 0;
    int result = read_file(path, &text, &len);
    if (result < 0) {
        snprintf(err, err_size, "%s: %s", path, uv_strerror(result));
        return result;
    }
    result = compile(name, path, text, len, out, err, err_size);
    free(text);
    return result;
}

/* ---- finding ---- */

/* "a.b_c": letters, digits, _ and - in parts between single dots; so no name leaves the directories. */
bool source_good_name(const char *name) {
    size_t part = 0;
    if (strlen(name) > 200) return false;
    for (const char *c = name; *c != '\0'; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '_' ||
                      *c == '-';
        if (letter) part++;
        else if (*c == '.' && part > 0) part = 0;
        else return false;
    }
    return part > 0;
}

static bool reserved(const char *name) {
    return strncmp(name, "throng", 6) == 0 && (name[6] == '\0' || name[6] == '.');
}

/* Under the lock. */
static int find_in_dirs(const char *name, Source **out, char *err, size_t err_size) {
    static const char *const endings[] = {".lua", "/init.lua"};
    char file[256], path[PATH_MOST];
    snprintf(file, sizeof file, "%s", name);
    for (char *c = file; *c != '\0'; c++)
        if (*c == '.') *c = '/';
    for (Dir *d = dirs; d != NULL; d = d->next)
        for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
            if (snprintf(path, sizeof path, "%s/%s%s", d->path, file, endings[i]) >= (int)sizeof path) continue;
            int result = compile_file(name, path, out, err, err_size);
            if (result != UV_ENOENT && result != UV_ENOTDIR) return result;
        }
    return UV_ENOENT;
}

static int find_embedded(const char *name, Source **out, char *err, size_t err_size) {
    const EmbeddedFile *file = embedded_find(name);
    if (file == NULL) return UV_ENOENT;
    int result = compile(name, file->path, (const char *)file->bytes, file->size, out, err, err_size);
    if (result == 0) (*out)->built_in = true;
    return result;
}

int source_find(const char *name, const Source **out, char *err, size_t err_size) {
    Source *made = NULL;
    int result = 0;
    if (!source_good_name(name)) {
        snprintf(err, err_size, "'%s' is no module name: use letters, digits, _ and - with dots between, as in "
                 "\"shop.till\"", name);
        return UV_EINVAL;
    }
    pthread_mutex_lock(&lock);
    for (Source *s = sources; s != NULL; s = s->next)
        if (!s->retired && s->origin == NULL && strcmp(s->name, name) == 0) {
            *out = s;
            goto end;
        }
    result = reserved(name) ? find_embedded(name, &made, err, err_size) : find_in_dirs(name, &made, err, err_size);
    if (result == UV_ENOENT && !reserved(name)) result = find_embedded(name, &made, err, err_size);
    if (result == UV_ENOENT) {
        size_t len = (size_t)snprintf(err, err_size, "no module '%s': looked in%s", name,
                                      dirs == NULL ? " no directory (--path)," : "");
        for (Dir *d = dirs; d != NULL && len < err_size; d = d->next)
            len += (size_t)snprintf(err + len, err_size - len, " %s,", d->path);
        if (len < err_size) snprintf(err + len, err_size - len, " and in the program");
    }
    if (result == 0) {
        made->next = sources;
        sources = made;
        *out = made;
    }
end:
    pthread_mutex_unlock(&lock);
    return result;
}

int source_file(const char *path, const Source **out, char *err, size_t err_size) {
    Source *made = NULL;
    char name[256];
    const char *base = strrchr(path, '/');
    base = base != NULL ? base + 1 : path;
    snprintf(name, sizeof name, "%s", base);
    char *dot = strrchr(name, '.');
    if (dot != NULL && dot != name) *dot = '\0';
    int result = compile_file(name, path, &made, err, err_size);
    if (result < 0) return result;
    pthread_mutex_lock(&lock);
    made->next = sources;
    sources = made;
    pthread_mutex_unlock(&lock);
    *out = made;
    return 0;
}

static bool same_file(const Source *s, const Source *t) {
    return strcmp(s->name, t->name) == 0 && strcmp(s->path, t->path) == 0;
}

uint64_t source_hash(const char *text, size_t len) {
    skip_first_line(&text, &len);
    return hash_bytes(text, len);
}

/* As it was once before, or anew: beside `s`, which it may take the place of; or, without one, under a name that is
 * new here. */
static int take_text(const Source *s, const char *name, const char *path, const char *text, size_t len, bool shipped,
                     const Source **out, char *err, size_t err_size) {
    uint64_t hash = source_hash(text, len);
    Source *made = NULL;
    const Source *found = NULL;
    pthread_mutex_lock(&lock);
    for (const Source *t = sources; t != NULL && found == NULL; t = t->next)
        if (t->hash == hash && (s != NULL ? same_file(s, t) : t->origin == NULL && strcmp(t->name, name) == 0))
            found = t;
    pthread_mutex_unlock(&lock);
    *out = found;
    if (found != NULL) return 0;
    int result = compile(name, path, text, len, &made, err, err_size);
    if (result < 0) return result;
    made->retired = true;
    made->shipped = shipped;
    if (s != NULL && s->origin != NULL && (made->origin = strdup(s->origin)) == NULL) {
        source_free(made);
        snprintf(err, err_size, "out of memory");
        return UV_ENOMEM;
    }
    pthread_mutex_lock(&lock);
    made->next = sources;
    sources = made;
    pthread_mutex_unlock(&lock);
    *out = made;
    return 0;
}

int source_renew(const Source *s, const Source **out, char *err, size_t err_size) {
    char *text = NULL;
    size_t len = 0;
    *out = s;
    if (s->built_in || s->origin != NULL) return 0;
    int result = read_file(s->path, &text, &len);
    if (result == UV_ENOENT && s->shipped) return 0;
    if (result < 0) {
        snprintf(err, err_size, "%s: %s", s->path, uv_strerror(result));
        return result;
    }
    if (source_hash(text, len) != s->hash)
        result = take_text(s, s->name, s->path, text, len, false, out, err, err_size);
    free(text);
    return result;
}

int source_replace(const Source *s, const char *text, size_t len, const Source **out, char *err, size_t err_size) {
    *out = s;
    if (s->built_in || source_hash(text, len) == s->hash) return 0;
    return take_text(s, s->name, s->path, text, len, true, out, err, err_size);
}

int source_bring(const char *name, const char *path, const char *text, size_t len, const Source **out, char *err,
                 size_t err_size) {
    if (source_good_name(name) && !reserved(name))
        return take_text(NULL, name, path, text, len, true, out, err, err_size);
    snprintf(err, err_size, "'%.200s' is no name for a module of another node's", name);
    return UV_EINVAL;
}

int source_read(const Source *s, char **text, size_t *len) {
    int result = read_file(s->path, text, len);
    if (result == 0 && source_hash(*text, *len) != s->hash) {
        free(*text);
        *text = NULL;
        result = UV_EAGAIN;
    }
    return result;
}

void source_become(const Source *source) {
    pthread_mutex_lock(&lock);
    for (Source *s = sources; s != NULL; s = s->next)
        if (same_file(s, source)) s->retired = s != source;
    pthread_mutex_unlock(&lock);
}

int source_text(const char *name, const char *path, const char *text, size_t len, char *err, size_t err_size) {
    Source *made = NULL;
    if (!source_good_name(name)) return UV_EINVAL;
    int result = compile(name, path, text, len, &made, err, err_size);
    if (result < 0) return result;
    pthread_mutex_lock(&lock);
    for (Source *s = sources; s != NULL && result == 0; s = s->next)
        if (s->origin == NULL && strcmp(s->name, name) == 0) result = UV_EEXIST;
    if (result == 0) {
        made->built_in = true; /* there is no file to look at again */
        made->next = sources;
        sources = made;
    }
    pthread_mutex_unlock(&lock);
    if (result < 0) source_free(made);
    return result;
}

/* ---- of other nodes ---- */

static bool is_of(const Source *s, const char *origin) {
    return origin == NULL ? s->origin == NULL : s->origin != NULL && strcmp(s->origin, origin) == 0;
}

const Source *source_known(const char *origin, const char *name, uint64_t hash, size_t size) {
    pthread_mutex_lock(&lock);
    const Source *s = sources;
    while (s != NULL && !(source_is(s, hash, size) && is_of(s, origin) && strcmp(s->name, name) == 0)) s = s->next;
    pthread_mutex_unlock(&lock);
    return s;
}

int source_add(const char *origin, const char *name, const char *path, const char *text, size_t len,
               const Source **out, char *err, size_t err_size) {
    char shown[SOURCE_PATH_MAX + 80];
    Source *made = NULL;
    *out = source_known(origin, name, source_hash(text, len), len);
    if (*out != NULL) return 0;
    if (!source_good_name(name) || reserved(name)) {
        snprintf(err, err_size, "'%.200s' is no name for a module of another node's", name);
        return UV_EINVAL;
    }
    snprintf(shown, sizeof shown, "%.*s@%.64s", SOURCE_PATH_MAX, path, origin);
    int result = compile(name, shown, text, len, &made, err, err_size);
    if (result < 0) return result;
    size_t size = made->code_size + made->text_size;
    made->retired = true;
    if ((made->origin = strdup(origin)) == NULL || made->text == NULL) {
        source_free(made);
        snprintf(err, err_size, "out of memory");
        return UV_ENOMEM;
    }
    pthread_mutex_lock(&lock);
    bool fits = foreign + size <= (size_t)config.net_code;
    if (fits) {
        foreign += size;
        made->next = sources;
        sources = made;
    }
    pthread_mutex_unlock(&lock);
    *out = made;
    if (fits) return 0;
    source_free(made);
    snprintf(err, err_size, "%s: it holds as much code of other nodes as it may (net.code, %lld bytes)", shown,
             (long long)config.net_code);
    return UV_E2BIG;
}

int source_for(const char *origin, const char *name, const Source **out, char *err, size_t err_size) {
    if (!source_good_name(name)) return source_find(name, out, err, err_size); /* says so */
    pthread_mutex_lock(&lock);
    const Source *s = sources;
    while (s != NULL && !(is_of(s, origin) && strcmp(s->name, name) == 0)) s = s->next;
    pthread_mutex_unlock(&lock);
    *out = s;
    if (s != NULL) return 0;
    if (embedded_find(name) != NULL) return source_find(name, out, err, err_size);
    snprintf(err, err_size, "no module '%s' has come from node %s, nor is it in the program", name, origin);
    return UV_ENOENT;
}

void source_push(lua_State *L, const Source *s) {
    char chunk[PATH_MOST + 2];
    snprintf(chunk, sizeof chunk, "@%s", s->path); /* stripped of nothing: the bytecode names it too */
    if (luaL_loadbufferx(L, s->code, s->code_size, chunk, "b") != LUA_OK) lua_error(L);
}

void source_close(void) {
    while (sources != NULL) {
        Source *s = sources;
        sources = s->next;
        source_free(s);
    }
    while (dirs != NULL) {
        Dir *d = dirs;
        dirs = d->next;
        free(d);
    }
}
