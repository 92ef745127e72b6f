/* profile.h - what the Lua code of running actors does, by samples of their stacks.
 *
 * The watchdog interrupts each running worker (the scheduler's samples); the signal's handler arms a hook on the
 * coroutine that runs, and the hook takes down the stack at Lua's next instruction, call or return, and goes on. A C
 * function that runs when the signal comes is found as it calls or returns, so it is seen as what was at work. Stacks
 * are counted as text: "behaviour:handler;outermost (file:line);...;innermost (file:line)", where the line is that of
 * the function's definition, and a C function has "(C)"; coroutines stand behind those that resumed them.
 * What it can't see: time outside of Lua (mailboxes, birth, the copying of a new VM, waiting for a core) is counted as
 * samples that found nobody; what a C function does inside; frames between the innermost 60 and the outermost;
 * an instruction's own collection of garbage is that instruction's.
 * Threads: begin, end from any, one profile at a time; profile_take from a hook, on the worker. */
#ifndef ACTOR_PROFILE_H
#define ACTOR_PROFILE_H
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int  profile_begin(uint32_t rate, uint64_t pid); /* samples a second, up to 1000; of one actor, or 0. UV_EBUSY */

typedef struct ProfileFound {
    /* Lines "stack count\n"; those that begin with the same frames stand together. The caller frees it. NULL: no
     * memory. */
    char *folded;
    size_t len;
    uint64_t samples;   /* stacks that were taken */
    uint64_t outside;   /* found no Lua at work */
    uint64_t lost;      /* there was no more room for other stacks: they count as "(other)" */
} ProfileFound;
void profile_end(ProfileFound *out); /* `out` NULL: nobody wants it */

extern _Atomic bool profile_on; /* read in the signal handler */
void profile_take(lua_State *L, int event, uint32_t samples); /* in a hook; `event` is the hook's */
#endif
