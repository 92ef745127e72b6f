/* behaviour.h - what an actor does: a module that returns a table of handlers. One entry a module and node.
 *
 * Before the first actor of a behaviour is made, its body is run once in a VM of its own, under a time and memory
 * budget: so spawn can say at once that it raises, or returns no table; and the node learns its handlers' names (which
 * become atoms), its settings and the modules it requires (whose text goes into the version). Threads: from any; one
 * lock inside. A Behaviour never changes and lives as long as the process. */
#ifndef ACTOR_BEHAVIOUR_H
#define ACTOR_BEHAVIOUR_H
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include "actor/source.h"

#define BEHAVIOUR_VERSION_TEXT 17

typedef struct Behaviour {
    struct Behaviour *next;
    const Source *source;
    char version[BEHAVIOUR_VERSION_TEXT]; /* hex, of its text and of the modules it requires */
    bool concurrent;          /* `concurrent = true`: a message is begun while another handler waits */
    bool hears_interrupt;     /* has on_interrupt: as the root actor it ends the node itself when asked by a signal */
    uint32_t mailbox_limit;   /* `mailbox = {limit = n}`; 0 = the node's */
    uint8_t mailbox_full;     /* `mailbox = {full = "latest"}`: 1 + MailboxFull; 0 = it says nothing */
    struct Image *image;      /* a VM in which the body has run, to copy; NULL: each actor runs it. See image.h */
} Behaviour;

typedef int (*BehaviourOpenLibs)(lua_State *L); /* opens what a script may use; raises on error */
void behaviour_open(BehaviourOpenLibs open_libs);

/* By require path. Errors as source_find; UV_EINVAL also when the body raises or returns no table: err is one line or
 * has the traceback. */
int  behaviour_find(const char *name, const Behaviour **out, char *err, size_t err_size);
int  behaviour_file(const char *path, const Behaviour **out, char *err, size_t err_size);

/* `require` tells: this VM, while its body is tried out, uses that module. */
void behaviour_requires(lua_State *L, const Source *module);
void behaviour_close(void);
#endif
