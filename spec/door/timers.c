/* door.timers - core/run/timers.c for specs, in virtual time. Nanoseconds are integers; "never" is nil. */
#include "run/timers.h"
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "ground/clock.h"

int luaopen_door_timers(lua_State *L);

#define TYPE "door.timers"

typedef struct Door {
    Timers *timers;
    lua_State *L; /* of the turn that is under way */
    lua_Integer sooner;
    bool failed;
} Door;

static Door *check_door(lua_State *L) { return luaL_checkudata(L, 1, TYPE); }

static void push_time(lua_State *L, uint64_t ns) {
    if (ns == UINT64_MAX) lua_pushnil(L);
    else lua_pushinteger(L, (lua_Integer)ns);
}

/* The turn's second argument is called; the first error it raises is kept and raised again after the turn. */
static void on_fire(void *context, uint64_t owner, uint64_t tag) {
    Door *d = context;
    if (d->failed) return;
    lua_pushvalue(d->L, 3);
    lua_pushinteger(d->L, (lua_Integer)owner);
    lua_pushinteger(d->L, (lua_Integer)tag);
    d->failed = lua_pcall(d->L, 2, 0, 0) != LUA_OK;
}

static void on_sooner(void *context) { ((Door *)context)->sooner++; }

/* new(now) */
static int door_new(lua_State *L) {
    Door *d = lua_newuserdatauv(L, sizeof *d, 0);
    *d = (Door){0};
    luaL_setmetatable(L, TYPE);
    d->timers = timers_new((uint64_t)luaL_checkinteger(L, 1), (TimersCalls){on_fire, on_sooner, d});
    return d->timers != NULL ? 1 : luaL_error(L, "no memory");
}

static int door_gc(lua_State *L) {
    Door *d = check_door(L);
    timers_free(d->timers);
    d->timers = NULL;
    return 0;
}

/* t:add(due, period, owner, tag) -> id */
static int door_add(lua_State *L) {
    Timers *timers = check_door(L)->timers;
    uint64_t due = (uint64_t)luaL_checkinteger(L, 2), period = (uint64_t)luaL_optinteger(L, 3, 0);
    uint64_t owner = (uint64_t)luaL_optinteger(L, 4, 0), tag = (uint64_t)luaL_optinteger(L, 5, 0);
    lua_pushinteger(L, (lua_Integer)timers_add(timers, due, period, owner, tag));
    return 1;
}

static int door_cancel(lua_State *L) {
    lua_pushboolean(L, timers_cancel(check_door(L)->timers, (TimerId)luaL_checkinteger(L, 2)));
    return 1;
}

/* t:turn(now, function(owner, tag)) -> when to come again */
static int door_turn(lua_State *L) {
    Door *d = check_door(L);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    lua_settop(L, 3);
    d->L = L;
    d->failed = false;
    uint64_t next = timers_turn(d->timers, (uint64_t)luaL_checkinteger(L, 2));
    if (d->failed) return lua_error(L);
    push_time(L, next);
    return 1;
}

static int door_next(lua_State *L) {
    push_time(L, timers_next(check_door(L)->timers));
    return 1;
}

static int door_count(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)timers_count(check_door(L)->timers));
    return 1;
}

/* t:sooner() -> how often the wheel asked to be turned earlier */
static int door_sooner(lua_State *L) {
    lua_pushinteger(L, check_door(L)->sooner);
    return 1;
}

/* ---- threads that add and cancel while one turns ---- */

enum { WAITS = 1, FIRED, CANCELLED };

#define FIRED_MAX 8192u

typedef struct Race Race;

typedef struct Fired {
    uint64_t slot, tag; /* the last that a racer saw fire of those due in this slot */
} Fired;

typedef struct Racer {
    Race *race;
    pthread_t thread;
    uint64_t seed;
    size_t first; /* of its tags */
    int mercy;    /* it cancels one of so many that it could */
} Racer;

struct Race {
    Timers *timers;
    size_t each;     /* timers that a racer adds */
    uint64_t spread; /* ns: they are due within this from now */
    _Atomic int *states; /* by tag */
    _Atomic uint64_t now;
    _Atomic int running, wrong;
    Fired *fired; /* FIRED_MAX for each racer; the turning thread's */
};

static uint64_t dice(uint64_t *seed) { /* xorshift64* */
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 2685821657736338717ull >> 32;
}

/* `owner` is when it is due: never early. What a racer added for one slot fires in the order of adding, which is that
 * of its tags. Whichever end comes second sees the other and tells. */
static void race_fire(void *context, uint64_t owner, uint64_t tag) {
    Race *r = context;
    if (owner > atomic_load(&r->now)) atomic_fetch_add(&r->wrong, 1);
    uint64_t slot = (owner + CLOCK_NS_PER_MS - 1) / CLOCK_NS_PER_MS;
    Fired *last = &r->fired[tag / r->each * FIRED_MAX + slot % FIRED_MAX];
    if (last->slot == slot && last->tag > tag) atomic_fetch_add(&r->wrong, 1);
    *last = (Fired){slot, tag};
    if (atomic_exchange(&r->states[tag], FIRED) != WAITS) atomic_fetch_add(&r->wrong, 1);
}

static void *race_run(void *argument) {
    Racer *racer = argument;
    Race *r = racer->race;
    TimerId ids[64] = {0};
    size_t tags[64] = {0};
    for (size_t i = 0; i < r->each; i++) {
        size_t tag = racer->first + i, place = dice(&racer->seed) % 64;
        if (ids[place] != 0 && dice(&racer->seed) % racer->mercy == 0 && timers_cancel(r->timers, ids[place]) &&
            atomic_exchange(&r->states[tags[place]], CANCELLED) != WAITS)
            atomic_fetch_add(&r->wrong, 1);
        uint64_t due = atomic_load(&r->now) + dice(&racer->seed) % r->spread;
        atomic_store(&r->states[tag], WAITS);
        ids[place] = timers_add(r->timers, due, 0, due, tag);
        tags[place] = tag;
        if (ids[place] == 0) atomic_fetch_add(&r->wrong, 1);
    }
    atomic_fetch_sub(&r->running, 1);
    return NULL;
}

/* race(threads, timers each, spread, seed) -> wrong, fired, cancelled, left in the wheel */
static int door_race(lua_State *L) {
    Racer racers[8];
    size_t threads = (size_t)luaL_checkinteger(L, 1), started = 0, ends[CANCELLED + 1] = {0};
    luaL_argcheck(L, threads >= 1 && threads <= 8, 1, "1 to 8");
    Race r = {.each = (size_t)luaL_checkinteger(L, 2), .spread = (uint64_t)luaL_checkinteger(L, 3)};
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 4);
    r.states = calloc(threads * r.each, sizeof *r.states);
    r.fired = calloc(threads * FIRED_MAX, sizeof *r.fired);
    r.timers = timers_new(0, (TimersCalls){race_fire, NULL, &r});
    if (r.states != NULL && r.fired != NULL && r.timers != NULL) {
        atomic_store(&r.running, (int)threads);
        for (; started < threads; started++) {
            racers[started] = (Racer){&r, .seed = seed * 8 + started + 1, .first = started * r.each,
                                      .mercy = started % 2 == 0 ? 1 : 4};
            if (pthread_create(&racers[started].thread, NULL, race_run, &racers[started]) != 0) break;
        }
        atomic_fetch_sub(&r.running, (int)(threads - started));
        while (atomic_load(&r.running) > 0)
            timers_turn(r.timers, atomic_fetch_add(&r.now, r.spread / 12) + r.spread / 12);
        for (size_t i = 0; i < started; i++) pthread_join(racers[i].thread, NULL);
        timers_turn(r.timers, atomic_fetch_add(&r.now, r.spread + CLOCK_NS_PER_MS) + r.spread + CLOCK_NS_PER_MS);
        for (size_t i = 0; i < threads * r.each; i++) ends[atomic_load(&r.states[i])]++;
        lua_pushinteger(L, atomic_load(&r.wrong));
        lua_pushinteger(L, (lua_Integer)ends[FIRED]);
        lua_pushinteger(L, (lua_Integer)ends[CANCELLED]);
        lua_pushinteger(L, (lua_Integer)timers_count(r.timers));
    }
    timers_free(r.timers);
    free(r.states);
    free(r.fired);
    return started == threads ? 4 : luaL_error(L, "no memory, or only %d threads", (int)started);
}

int luaopen_door_timers(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"add", door_add}, {"cancel", door_cancel}, {"turn", door_turn}, {"next", door_next},
        {"count", door_count}, {"sooner", door_sooner}, {"__gc", door_gc}, {NULL, NULL},
    };
    static const luaL_Reg functions[] = {{"new", door_new}, {"race", door_race}, {NULL, NULL}};
    luaL_newmetatable(L, TYPE);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, functions);
    return 1;
}
