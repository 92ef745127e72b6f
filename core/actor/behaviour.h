/* behaviour.h - what an actor does: a module that returns a table of handlers. One entry a module and node.
 *
 * Before the first actor of a behaviour is made, its body is run once in a VM of its own, under a time and memory
 * budget: so spawn can say at once that it raises, or returns no table; and the node learns its handlers' names (which
 * become atoms), its settings and the modules it requires (whose text goes into the version). Threads: from any; one
 * lock inside. A Behaviour lives as long as the process, and never changes but for what says so.
 *
 * Versions of one module stand side by side, each a Behaviour. One of them is current: spawns take it. Which one that
 * is changes by behaviour_become alone, when a rollout (actor/rollout) has brought it to all living actors. */
#ifndef ACTOR_BEHAVIOUR_H
#define ACTOR_BEHAVIOUR_H
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include "actor/source.h"
#include "mail/registry.h"

#define BEHAVIOUR_VERSION_TEXT 17

typedef struct Behaviour {
    SlotKind kind; /* first: from a slot's kind back to its Behaviour */
    struct Behaviour *next;
    const Source *source;
    const Source **uses; /* the modules its body requires, and theirs */
    size_t use_count;
    char version[BEHAVIOUR_VERSION_TEXT]; /* hex, of its text and of the modules it requires */
    bool concurrent;          /* `concurrent = true`: a message is begun while another handler waits */
    bool hears_interrupt;     /* has on_interrupt: as the root actor it ends the node itself when asked by a signal */
    bool hears_name;          /* has on_name: else who loses a name of the whole cluster is stopped */
    uint32_t mailbox_limit;   /* `mailbox = {limit = n}`; 0 = the node's */
    uint8_t mailbox_full;     /* `mailbox = {full = "latest"}`: 1 + MailboxFull; 0 = it says nothing */
    bool migrates, checks;    /* has a function of that name */
    struct Image *image;      /* a VM in which the body has run, to copy; NULL: each actor runs it. See image.h */

    /* Under the lock: */
    bool retired;                    /* another one is current */
    const struct Behaviour *before;  /* which it replaced when it last became current */
    uint64_t set;                    /* which others became current together with it; 0 = it was the first */
    /* ... and read without it: which one to take instead of this. NULL: this is current. Written with release */
    _Atomic(const struct Behaviour *) instead;
} Behaviour;

typedef int (*BehaviourOpenLibs)(lua_State *L); /* opens what a script may use; raises on error */
void behaviour_open(BehaviourOpenLibs open_libs);

/* By require path. Errors as source_find; UV_EINVAL also when the body raises or returns no table: err is one line or
 * has the traceback. */
int  behaviour_find(const char *name, const Behaviour **out, char *err, size_t err_size);
int  behaviour_file(const char *path, const Behaviour **out, char *err, size_t err_size);

/* For `require`: the module of that name as this VM's version has it. Errors as source_find. While a body is tried out
 * it becomes a part of its version. */
int  behaviour_require(lua_State *L, const char *name, const Source **out, char *err, size_t err_size);

/* ---- versions ---- */

typedef struct BehaviourTrial {
    /* Finds modules instead of source_find. */
    int (*find)(void *context, const char *name, const Source **out, char *err, size_t err_size);
    /* The body has run, its table is on top: a last look. May raise. */
    void (*look)(void *context, lua_State *L, const Behaviour *b);
    void *context;
} BehaviourTrial;

/* Tries out `s` as a new version, which nobody gets before behaviour_become; the one there was before if it is the
 * same. Errors as behaviour_find. The body runs without the lock. */
int  behaviour_try(const Source *s, const BehaviourTrial *trial, const Behaviour **out, char *err, size_t err_size);
/* All there are, the newest first: begins with NULL, ends with NULL. */
const Behaviour *behaviour_next(const Behaviour *after);
typedef struct BehaviourState {
    bool current;
    const Behaviour *before;
    uint64_t set;
} BehaviourState;
BehaviourState behaviour_state(const Behaviour *b);
typedef struct BehaviourPair {
    const Behaviour *from, *to;
} BehaviourPair;
/* `to` becomes current in the place of each `from`. `back`: it was so before, and `to` keeps the one before itself. */
void behaviour_become(const BehaviourPair *pairs, size_t count, bool back);
/* The current version of what `b` is one of. Any thread, without the lock. */
static inline const Behaviour *behaviour_newest(const Behaviour *b) {
    const Behaviour *other;
    /* acquire: pairs with behaviour_become, so what is read next is not older */
    while ((other = atomic_load_explicit(&b->instead, memory_order_acquire)) != NULL) b = other;
    return b;
}

/* ---- of other nodes ----
 *
 * Code that came from another node stands beside ours, also under the same names: behaviour_find never leads to it. Of
 * those that came from one node under one name the last one that was asked for is current. */

typedef struct BehaviourFile { /* one text: of a set, the behaviour's own comes first */
    const char *name;
    uint64_t hash;
    size_t size;
} BehaviourFile;

#define BEHAVIOUR_FILES_MAX 250

/* Its files, its own first, then those of the modules that it requires; what is part of the program is left out. How
 * many there are; `out` gets `most` at most. */
size_t behaviour_files(const Behaviour *b, const Source **out, size_t most);
/* One of ours or, if there is an `origin`, of that node's with exactly these files, in any order but for the first;
 * with no files, the current one of that name. One of another node's is current from then on. Never waits:
 * UV_EBUSY, one is tried out just now; UV_ENOENT. */
int  behaviour_match(const char *origin, const char *name, const BehaviourFile *files, size_t count,
                     const Behaviour **out);
/* Tries out what came from another node: set[0] is the behaviour's own text. Errors as behaviour_find; UV_ENOENT: the
 * body requires what is not in the set (nor in the program), its name is in `missing`. */
int  behaviour_arrive(const Source *const *set, size_t count, const Behaviour **out, char missing[256], char *err,
                      size_t err_size);
void behaviour_close(void);
#endif
