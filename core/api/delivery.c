#include "api/delivery.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/embedded.h"
#include "ground/log.h"
#include "net/cluster.h"
#include "net/members.h"
#include "run/aside.h"

#define FETCH_MS 10000 /* for one text */
#define ERROR_TEXT 4096
#define WAITING_MOST 4096

typedef struct Delivery {
    struct Delivery *next;
    DeliveryWant want;   /* its texts are ours: in `strings`, or these */
    char origin[FRAME_NAME_MAX + 1], module[201];
    SpawnFiles files;
    char *strings;
    const Source *sources[SPAWN_FILES_MAX]; /* what is here; NULL: to be fetched, or fetched: */
    char *texts[SPAWN_FILES_MAX];
    uint32_t at;         /* the one that is fetched */
    const Behaviour *found;
    bool searched;       /* found or not, that was all */
    bool asked;          /* by name: its node is asked which files that are */
    char code[32], text[ERROR_TEXT];
} Delivery;

typedef struct Meaning {
    struct Meaning *next;
    const Behaviour *behaviour;
    char *module;
    char origin[FRAME_NAME_MAX + 1];
} Meaning;

static const char *own_name;
static bool own_files;
static Delivery *waiting, **waiting_end = &waiting, *current; /* the loop's */
static unsigned waiting_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards `meanings` */
static Meaning *meanings;

/* ---- names ---- */

static Meaning **meaning_at(const char *origin, const char *module) { /* under the lock */
    Meaning **at = &meanings;
    while (*at != NULL && (strcmp((*at)->module, module) != 0 || strcmp((*at)->origin, origin) != 0))
        at = &(*at)->next;
    return at;
}

const Behaviour *delivery_meaning(const char *origin, const char *module) {
    pthread_mutex_lock(&lock);
    const Meaning *m = *meaning_at(origin, module);
    const Behaviour *b = m != NULL ? m->behaviour : NULL;
    pthread_mutex_unlock(&lock);
    return b;
}

static void means(const char *origin, const char *module, const Behaviour *b) {
    pthread_mutex_lock(&lock);
    Meaning **at = meaning_at(origin, module), *m = *at;
    if (m == NULL && (m = calloc(1, sizeof *m)) != NULL) { /* without memory it is asked for again */
        if ((m->module = strdup(module)) == NULL) {
            free(m);
            m = NULL;
        } else {
            snprintf(m->origin, sizeof m->origin, "%s", origin);
            *at = m;
        }
    }
    if (m != NULL) m->behaviour = b;
    pthread_mutex_unlock(&lock);
}

bool delivery_files(const Behaviour *b, SpawnFiles *out, char *err, size_t err_size) {
    const Source *all[SPAWN_FILES_MAX];
    size_t count = behaviour_files(b, all, SPAWN_FILES_MAX);
    out->count = 0;
    if (count > SPAWN_FILES_MAX) {
        snprintf(err, err_size, "'%s' requires %zu modules, and %d are the most that are sent to another node",
                 b->source->name, count, SPAWN_FILES_MAX);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (all[i]->text == NULL && all[i]->text_size > SOURCE_SHIPS_MAX) {
            snprintf(err, err_size, "%s has %zu bytes, and %d are the most that are sent to another node", all[i]->path,
                     all[i]->text_size, SOURCE_SHIPS_MAX);
            return false;
        }
        if (all[i]->text == NULL) {
            snprintf(err, err_size, "the text of %s was not kept: memory was short", all[i]->path);
            return false;
        }
        out->at[i] = (SpawnFile){all[i]->name, all[i]->path, all[i]->hash, (uint32_t)all[i]->text_size};
    }
    out->count = (uint32_t)count;
    return true;
}

/* ---- one delivery ---- */

static void free_delivery(Delivery *d) {
    for (uint32_t i = 0; i < d->files.count; i++) free(d->texts[i]);
    free(d->strings);
    free(d);
}

static void start_next(void);

static void end(Delivery *d) {
    if (d == current) current = NULL;
    if (d->found != NULL && (d->asked || d->want.code == SPAWN_THESE)) means(d->origin, d->module, d->found);
    d->want.done(d->want.context, d->found, d->code, d->text);
    free_delivery(d);
    start_next();
}

static void fail(Delivery *d, const char *code, const char *text) {
    snprintf(d->code, sizeof d->code, "%s", code);
    if (text != d->text) snprintf(d->text, sizeof d->text, "%s", text);
    d->searched = true;
}

static size_t file_list(const Delivery *d, BehaviourFile out[SPAWN_FILES_MAX]) {
    for (uint32_t i = 0; i < d->files.count; i++)
        out[i] = (BehaviourFile){d->files.at[i].name, d->files.at[i].hash, d->files.at[i].size};
    return d->files.count;
}

/* What needs no work. */
static bool is_here(Delivery *d) {
    BehaviourFile files[SPAWN_FILES_MAX];
    size_t count = file_list(d, files);
    if (d->want.code == SPAWN_THESE && count == 0) return false;
    return behaviour_match(NULL, d->module, files, count, &d->found) == 0 ||
           (count > 0 && behaviour_match(d->origin, d->module, files, count, &d->found) == 0);
}

/* Aside: among our own files, and which of those that are wanted are here. */
static void search(void *delivery) {
    Delivery *d = delivery;
    const Behaviour *b;
    BehaviourFile files[SPAWN_FILES_MAX];
    int err = behaviour_find(d->module, &b, d->text, sizeof d->text);
    if (d->want.code != SPAWN_THESE) {
        if (err == 0) d->found = b, d->searched = true;
        else fail(d, "spawn", d->text);
        return;
    }
    size_t count = file_list(d, files);
    while ((err = behaviour_match(NULL, d->module, files, count, &d->found)) == UV_EBUSY)
        if (behaviour_find(d->module, &b, d->text, sizeof d->text) < 0) break; /* waits */
    if (err == 0) {
        d->searched = true;
        return;
    }
    if (own_files) {
        char why[300];
        snprintf(why, sizeof why, "it runs its own files only (--own-files), and %s '%s'",
                 behaviour_find(d->module, &b, d->text, sizeof d->text) == 0 ? "has another version of" : "has no",
                 d->module);
        fail(d, "refused", why);
        return;
    }
    for (uint32_t i = 0; i < d->files.count; i++) {
        const SpawnFile *f = &d->files.at[i];
        d->sources[i] = source_known(d->origin, f->name, f->hash, f->size);
    }
}

/* Aside: all is here. */
static void try_out(void *delivery) {
    Delivery *d = delivery;
    char missing[256];
    int err = 0;
    for (uint32_t i = 0; i < d->files.count && err == 0; i++) {
        const SpawnFile *f = &d->files.at[i];
        if (d->sources[i] == NULL)
            err = source_add(d->origin, f->name, f->path, d->texts[i], f->size, &d->sources[i], d->text,
                             sizeof d->text);
    }
    if (err == 0)
        err = behaviour_arrive(d->sources, d->files.count, &d->found, missing, d->text, sizeof d->text);
    if (err < 0) fail(d, "spawn", d->text);
    d->searched = true;
}

static void go_on(void *delivery);

static void aside(Delivery *d, void (*work)(void *)) {
    int err = aside_do(work, go_on, d);
    if (err == 0) return;
    fail(d, "memory", uv_strerror(err));
    end(d);
}

static void fetch(Delivery *d);

static void text_came(void *delivery, int err, const unsigned char *body, size_t len) {
    Delivery *d = delivery;
    const SpawnFile *f = &d->files.at[d->at];
    char why[400];
    if (err < 0) {
        snprintf(why, sizeof why, "%.200s could not be fetched from the node that asked: %s", f->path,
                 uv_strerror(err));
        fail(d, "down", why);
    } else if (len != (size_t)f->size + 1 || body[0] != 1) {
        snprintf(why, sizeof why, "%.200s is not there any more, at the node that asked", f->path);
        fail(d, "spawn", why);
    } else if (source_hash((const char *)body + 1, f->size) != f->hash) {
        snprintf(why, sizeof why, "%.200s came with another hash than was said", f->path);
        fail(d, "spawn", why);
    } else if ((d->texts[d->at] = malloc(len)) == NULL) {
        fail(d, "memory", "out of memory");
    } else {
        memcpy(d->texts[d->at], body + 1, f->size);
    }
    if (d->searched) end(d);
    else fetch(d);
}

/* The next text that is lacked; then it is tried out. */
static void fetch(Delivery *d) {
    Bytes body = {0};
    while (d->at < d->files.count && (d->sources[d->at] != NULL || d->texts[d->at] != NULL)) d->at++;
    if (d->at == d->files.count) {
        aside(d, try_out);
        return;
    }
    const SpawnFile *f = &d->files.at[d->at];
    SpawnWanted wanted = {d->origin, f->name, f->hash, f->size};
    if (strcmp(d->origin, members_name(d->want.node)) == 0) wanted.origin = "";
    if (f->size > SOURCE_SHIPS_MAX || spawn_put_wanted(&body, &wanted) < 0) {
        snprintf(d->text, sizeof d->text, "%.200s has %u bytes, and %d are the most that are sent to another node",
                 f->path, f->size, SOURCE_SHIPS_MAX);
        fail(d, "too_large", d->text);
        bytes_clear(&body);
        end(d);
        return;
    }
    log_format(LOG_DEBUG, "", "fetching %s, %u bytes, from node %s", f->path, f->size, members_name(d->want.node));
    call_ask(d->want.node, CALL_TEXT, bytes_first(&body), bytes_len(&body), FETCH_MS, text_came, d);
    bytes_clear(&body);
}

/* On the loop's thread again, after work that was done aside. */
static void go_on(void *delivery) {
    Delivery *d = delivery;
    if (d->searched) end(d);
    else fetch(d);
    link_flush_all(); /* nobody else does, after a job */
}

static char *keep(char **at, const char *text) {
    size_t len = strlen(text) + 1;
    char *kept = memcpy(*at, text, len);
    *at += len;
    return kept;
}

static bool take_files(Delivery *d, const SpawnFiles *files) {
    size_t size = 1;
    for (uint32_t i = 0; i < files->count; i++) size += strlen(files->at[i].name) + strlen(files->at[i].path) + 2;
    char *at = d->strings = malloc(size);
    if (at == NULL) return false;
    d->files.count = files->count;
    for (uint32_t i = 0; i < files->count; i++) {
        const SpawnFile *f = &files->at[i];
        d->files.at[i] = (SpawnFile){keep(&at, f->name), keep(&at, f->path), f->hash, f->size};
        char *suffix = strrchr(d->files.at[i].path, '@'); /* it came from elsewhere itself */
        if (suffix != NULL && strcmp(suffix + 1, d->origin) == 0) *suffix = '\0';
    }
    return true;
}

static void go(Delivery *d) {
    if (is_here(d)) end(d);
    else aside(d, search);
}

static void files_came(void *delivery, int err, const unsigned char *body, size_t len) {
    static SpawnFiles files; /* the loop's thread */
    Delivery *d = delivery;
    SpawnAnswer why;
    if (err < 0) {
        snprintf(d->text, sizeof d->text, "node %s could not be asked for '%s': %s", members_name(d->want.node),
                 d->module, uv_strerror(err));
        fail(d, "down", d->text);
    } else if (!spawn_read_files(body, len, &files, &why)) {
        fail(d, "error", "the node that was asked for files answered with bytes that make no sense");
    } else if (files.count == 0 && strcmp(why.code, "none") == 0) { /* it is of the program, or it has none */
        d->want.code = SPAWN_YOURS;
    } else if (files.count == 0) {
        fail(d, why.code, why.text);
    } else if (!take_files(d, &files)) {
        fail(d, "memory", "out of memory");
    }
    if (d->searched) end(d);
    else go(d);
}

static void start(Delivery *d) {
    current = d;
    if (d->want.code != SPAWN_THESE || d->files.count > 0) {
        go(d);
        return;
    }
    Bytes body = {0};
    SpawnWanted wanted = {d->origin, d->module, 0, 0};
    if (strcmp(d->origin, members_name(d->want.node)) == 0) wanted.origin = "";
    if (spawn_put_wanted(&body, &wanted) < 0) {
        fail(d, "memory", "out of memory");
        end(d);
    } else {
        call_ask(d->want.node, CALL_MODULE, bytes_first(&body), bytes_len(&body), FETCH_MS, files_came, d);
    }
    bytes_clear(&body);
}

static void start_next(void) {
    static bool at_it; /* a start that ends at once comes here again: the loop goes on then, no deeper */
    if (at_it) return;
    at_it = true;
    while (current == NULL && waiting != NULL) {
        Delivery *d = waiting;
        if ((waiting = d->next) == NULL) waiting_end = &waiting;
        waiting_count--;
        start(d);
    }
    at_it = false;
}

void delivery_want(const DeliveryWant *want) {
    Delivery *d = calloc(1, sizeof *d);
    if (d == NULL) {
        want->done(want->context, NULL, "memory", "out of memory");
        return;
    }
    d->want = *want;
    snprintf(d->origin, sizeof d->origin, "%s", want->origin);
    snprintf(d->module, sizeof d->module, "%s", want->module);
    d->want.origin = d->origin;
    d->want.module = d->module;
    d->want.files = NULL;
    d->asked = want->files == NULL && want->code == SPAWN_THESE;
    if (want->files != NULL && !take_files(d, want->files)) {
        fail(d, "memory", "out of memory");
        end(d);
    } else if ((want->files != NULL || want->code != SPAWN_THESE) && is_here(d)) {
        end(d);
    } else if (waiting_count == WAITING_MOST) {
        fail(d, "limit", "too many wait for their code there already");
        end(d);
    } else {
        *waiting_end = d;
        waiting_end = &d->next;
        waiting_count++;
        start_next();
    }
}

/* ---- ours for others ---- */

typedef struct Enquiry { /* CALL_MODULE */
    CallFrom from;
    const Behaviour *found;
    int err;
    char origin[FRAME_NAME_MAX + 1], module[201], text[ERROR_TEXT];
} Enquiry;

static void answer_files(Enquiry *e) {
    static SpawnFiles files; /* the loop's thread */
    Bytes out = {0};
    SpawnAnswer why = {.code = e->err == UV_ENOENT ? "none" : "spawn", .text = e->text};
    bool good = e->err == 0 && !e->found->source->built_in;
    if (e->err == 0 && e->found->source->built_in) why.code = "none";
    if (good && !delivery_files(e->found, &files, e->text, sizeof e->text)) good = false, why.code = "too_large";
    if (spawn_put_files(&out, &files, good ? NULL : &why) == 0)
        call_answer(e->from, bytes_first(&out), bytes_len(&out));
    bytes_clear(&out);
    free(e);
}

static void find_module(void *enquiry) {
    Enquiry *e = enquiry;
    e->err = behaviour_find(e->module, &e->found, e->text, sizeof e->text);
}

static void found_module(void *enquiry) {
    answer_files(enquiry);
    link_flush_all();
}

static void module_wanted(CallFrom from, const unsigned char *body, size_t len) {
    SpawnWanted wanted;
    Enquiry *e;
    if (!spawn_read_wanted(body, len, &wanted) || (e = calloc(1, sizeof *e)) == NULL) return; /* it gives up */
    e->from = from;
    e->err = UV_ENOENT;
    snprintf(e->module, sizeof e->module, "%s", wanted.name);
    snprintf(e->origin, sizeof e->origin, "%s", wanted.origin);
    if (*wanted.origin != '\0' && strcmp(wanted.origin, own_name) != 0) { /* it came here itself */
        e->found = delivery_meaning(wanted.origin, wanted.name);
        e->err = e->found != NULL ? 0 : UV_ENOENT;
        snprintf(e->text, sizeof e->text, "no module '%s' has come from node %s", wanted.name, wanted.origin);
        answer_files(e);
    } else if (behaviour_match(NULL, e->module, NULL, 0, &e->found) == 0) {
        e->err = 0;
        answer_files(e);
    } else if (aside_do(find_module, found_module, e) < 0) {
        free(e);
    }
}

static void text_wanted(CallFrom from, const unsigned char *body, size_t len) {
    SpawnWanted wanted;
    if (!spawn_read_wanted(body, len, &wanted)) return;
    bool ours = *wanted.origin == '\0' || strcmp(wanted.origin, own_name) == 0;
    const Source *s = ours ? NULL : source_known(wanted.origin, wanted.name, wanted.hash, wanted.size);
    if (s == NULL) s = source_known(NULL, wanted.name, wanted.hash, wanted.size); /* the very same is ours */
    char *out = s != NULL ? malloc(s->text_size + 1) : NULL;
    if (out == NULL) {
        call_answer(from, "\0", 1);
        return;
    }
    out[0] = 1;
    memcpy(out + 1, s->text, s->text_size);
    call_answer(from, out, s->text_size + 1);
    free(out);
}

void delivery_open(const char *name, bool own) {
    own_name = name;
    own_files = own;
    call_serve(CALL_MODULE, module_wanted);
    call_serve(CALL_TEXT, text_wanted);
}

void delivery_close(void) {
    while (waiting != NULL) {
        Delivery *d = waiting;
        waiting = d->next;
        free_delivery(d);
    }
    waiting_end = &waiting;
    while (meanings != NULL) {
        Meaning *m = meanings;
        meanings = m->next;
        free(m->module);
        free(m);
    }
}
