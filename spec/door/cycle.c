/* door.cycle - core/actor/cycle.c for specs: actors that are nothing but a slot each, and threads that ask for them. */
#include "actor/cycle.h"
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

int luaopen_door_cycle(lua_State *L);

#define MOST 8

typedef struct Ring Ring;

typedef struct Asker {
    Ring *ring;
    pthread_t thread;
    Actor *actor;
    uint64_t next; /* whom it asks */
    bool heard;    /* of a circle, this round */
} Asker;

struct Ring {
    Asker askers[MOST];
    size_t count, rounds;
    pthread_barrier_t barrier;
    sem_t permits;
    _Atomic size_t wrong, heard, ready;
};

/* Until all are there, to the nanosecond if each has a core: a barrier that sleeps lets them go one by one. */
static void meet(Ring *r, size_t round) {
    size_t first = ++r->ready;
    for (size_t i = 0; r->ready < (round + 1) * r->count; i++)
        if (i > 1000) sched_yield();
    if (first == (round + 1) * r->count) /* the last to come would be first to go */
        for (volatile size_t i = 0; i < round * 7 % 256;) i = i + 1;
}

static bool enter(Asker *k) {
    return cycle_enter(k->actor, actor_ref(k->actor, REF_REQUEST), k->next, 0) != NULL;
}

static void settle(Ring *r, size_t count, size_t rounds) {
    static const Behaviour serial;
    memset(r, 0, sizeof *r);
    r->count = count;
    r->rounds = rounds;
    for (size_t i = 0; i < count; i++) {
        Asker *k = &r->askers[i];
        Actor *a = calloc(1, sizeof *a);
        if (a == NULL || registry_add(a, 10, MAILBOX_REFUSE, SIZE_MAX, &a->slot) != 0) abort();
        a->pid = atomic_load(&a->slot->pid);
        a->behaviour = &serial;
        a->stage = ACTOR_LIVE;
        a->current = &a->main;
        k->actor = a;
        k->ring = r;
        if (i > 0) r->askers[i - 1].next = a->pid;
    }
    r->askers[count - 1].next = r->askers[0].actor->pid;
}

static void run(Ring *r, void *(*work)(void *)) {
    for (size_t i = 0; i < r->count; i++)
        if (pthread_create(&r->askers[i].thread, NULL, work, &r->askers[i]) != 0) abort();
    for (size_t i = 0; i < r->count; i++) pthread_join(r->askers[i].thread, NULL);
    for (size_t i = 0; i < r->count; i++) {
        Message *user, *system;
        Actor *a = r->askers[i].actor;
        mailbox_close(&a->slot->box, &user, &system);
        registry_remove(a->slot);
        free(a);
    }
}

/* All ask at once: one at least must hear of it. */
static void *close_it(void *argument) {
    Asker *k = argument;
    Ring *r = k->ring;
    for (size_t round = 0; round < r->rounds; round++) {
        /* The next one's word lies in our cache, so that to read it takes less time than for our own to get out. */
        r->wrong += atomic_load_explicit(&registry_find(k->next)->asks, memory_order_relaxed) != 0;
        meet(r, round);
        k->heard = enter(k);
        if (pthread_barrier_wait(&r->barrier) == PTHREAD_BARRIER_SERIAL_THREAD) {
            size_t heard = 0;
            for (size_t i = 0; i < r->count; i++) heard += r->askers[i].heard;
            r->wrong += heard == 0;
            r->heard += heard;
        }
        cycle_leave(k->actor);
        pthread_barrier_wait(&r->barrier);
    }
    return NULL;
}

/* One fewer than it takes may ask at a time: nobody must hear of anything. */
static void *never_close_it(void *argument) {
    Asker *k = argument;
    Ring *r = k->ring;
    for (size_t round = 0; round < r->rounds; round++) {
        while (sem_wait(&r->permits) != 0) {}
        r->wrong += enter(k);
        for (size_t i = 0; i < round % 64; i++) registry_find(k->next); /* it waits a while */
        cycle_leave(k->actor);
        sem_post(&r->permits);
    }
    return NULL;
}

/* closed(askers, rounds) -> rounds of which nobody heard, how often somebody did */
static int door_closed(lua_State *L) {
    Ring r;
    size_t count = (size_t)luaL_checkinteger(L, 1);
    luaL_argcheck(L, count >= 2 && count <= MOST, 1, "2 to 8");
    settle(&r, count, (size_t)luaL_checkinteger(L, 2));
    pthread_barrier_init(&r.barrier, NULL, (unsigned)count);
    run(&r, close_it);
    pthread_barrier_destroy(&r.barrier);
    lua_pushinteger(L, (lua_Integer)r.wrong);
    lua_pushinteger(L, (lua_Integer)r.heard);
    return 2;
}

/* open(askers, rounds) -> how often somebody heard of a circle that was none */
static int door_open(lua_State *L) {
    Ring r;
    size_t count = (size_t)luaL_checkinteger(L, 1);
    luaL_argcheck(L, count >= 2 && count <= MOST, 1, "2 to 8");
    settle(&r, count, (size_t)luaL_checkinteger(L, 2));
    sem_init(&r.permits, 0, (unsigned)count - 1);
    run(&r, never_close_it);
    sem_destroy(&r.permits);
    lua_pushinteger(L, (lua_Integer)r.wrong);
    return 1;
}

/* answered() -> what the word of one who waits is after: an answer to another request, to its own, and again to that
 * one once it waits for a third: true where it still waits */
static int door_answered(lua_State *L) {
    Ring r;
    settle(&r, 2, 0);
    Actor *a = r.askers[0].actor;
    uint64_t first = actor_ref(a, REF_REQUEST), second = actor_ref(a, REF_REQUEST), third = actor_ref(a, REF_REQUEST);
    uint64_t answers[] = {first, second, second}, asked[] = {second, 0, third};
    for (int i = 0; i < 3; i++) {
        if (asked[i] != 0) cycle_enter(a, asked[i], r.askers[0].next, 7);
        registry_answered(a->slot, answers[i]);
        lua_pushboolean(L, atomic_load(&a->slot->asks) != 0);
    }
    r.rounds = 0;
    run(&r, never_close_it);
    return 3;
}

int luaopen_door_cycle(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"closed", door_closed}, {"open", door_open}, {"answered", door_answered}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
