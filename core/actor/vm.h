/* vm.h - one Lua state for one actor: its memory cap, and how it is stopped in the middle of its work.
 *
 * All Lua code of a VM runs inside vm_resume, on the main state or on coroutines of it, so everything can be
 * preempted: the watchdog's signal arms a count hook on the coroutine that runs, and the hook yields. A yield that is
 * the platform's
 * (`yielding` != YIELD_USER) passes through the coroutines of the script down to the worker, see api/coroutine.
 *
 * That lua_resume works on the main state is not in Lua's manual; it saves a coroutine (930 bytes) per actor.
 * vm_resume is the only place that relies on it, spec/actor/vm_spec.lua holds it.
 *
 * Threads: one at a time, whoever runs the actor. */
#ifndef ACTOR_VM_H
#define ACTOR_VM_H
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "actor/arena.h"
#include "run/scheduler.h"

typedef enum {
    YIELD_USER,      /* coroutine.yield */
    YIELD_PREEMPTED, /* the slice is used up: resume with nothing */
    YIELD_WAITING,   /* for an answer or a time: resume with nothing, the continuation fetches what came */
    YIELD_EXIT       /* throng.exit: never resumed */
} VmYield;

/* What a VM may use beyond the safe libraries. */
enum { GRANT_IO = 1, GRANT_OS = 2, GRANT_DEBUG = 4, GRANT_PACKAGE = 8, GRANT_RELOAD = 16, GRANT_ALL = 31 };

struct Actor;
struct Sandbox;

typedef struct Vm {
    lua_State *L;        /* the main state */
    struct Actor *actor; /* NULL: a module's body is being tried out, no actor lives here */
    uint8_t yielding;    /* VmYield: why the running coroutine yields; YIELD_USER in between */
    uint8_t grants;      /* GRANT_... */
    bool doomed;         /* the actor must end but could not yield: the hook raises until it is out */
    uint16_t fixed;      /* coroutines on the way whose resumer can't yield: then nobody may wait */
    bool whim;           /* a shuffled schedule: where the hook fires next the slice ends */
    bool overdue;        /* the main fiber's code is to be told: see fiber_overdue */
    const void *body;    /* lua_topointer of the function that must end then, or NULL: whatever runs is told once */
    bool has_finalizers; /* something in it must be closed: lua_close at the end */
    bool impure; /* without an actor: the body did or asked what is not the same each time it runs. See image.h */
    uint64_t deadline;   /* clock_real time after which the hook raises; 0 = none (for bodies tried out) */
    struct Sandbox *sandbox; /* api/sandbox's own, in the arena */
    Arena arena;
} Vm;

int  vm_open(Vm *vm, size_t memory_limit, struct Actor *actor); /* 0 or UV_ENOMEM */
int  vm_open_apart(Vm *vm, size_t memory_limit); /* without an actor; each block of its memory apart: for an image */
void vm_close(Vm *vm);                                          /* a VM that was never opened is fine */

/* Each coroutine's extra space holds its VM, and in the lowest bit whether the platform holds it: it yielded by other
 * ways than coroutine.yield, and only the platform may resume it. */
static inline Vm *vm_of(lua_State *L) { return (Vm *)(*(uintptr_t *)lua_getextraspace(L) & ~(uintptr_t)1); }
static inline bool vm_is_held(lua_State *L) { return *(uintptr_t *)lua_getextraspace(L) & 1; }

/* lua_resume for a coroutine of this VM, preemptible. `from`: the coroutine that resumes it, NULL for the worker. */
int  vm_resume(lua_State *L, lua_State *from, int nargs, int *nresults);
/* Ends a coroutine that failed or is suspended: its to-be-closed variables run; it can be resumed with a function
 * again. */
int  vm_reset(lua_State *L); /* as lua_resetthread */

/* Raises, now and whenever the script catches it, until the coroutine is out. For who may not yield. */
int  vm_doom(lua_State *L);

/* Who resumed a coroutine that runs, or waits for one it resumed itself; NULL: the worker. On the worker's thread. */
lua_State *vm_resumer(const lua_State *L);

/* Has the hook look, after that many instructions of the coroutine, whether the slice is over. */
void vm_preempt_after(lua_State *L, int instructions);
/* With a seed: perhaps the slice ends after some number of them. */
void vm_whim_shuffled(lua_State *L);
static inline void vm_whim(lua_State *L) {
    if (__builtin_expect(scheduler_seed() != 0, 0)) vm_whim_shuffled(L);
}

/* The scheduler's interrupt: in a signal handler on the worker's thread. */
void vm_interrupt(void);
#endif
