/* door.scheduler - core/run/scheduler.c and watchdog.c for specs, with tasks made in C.
 *
 * A play opens the scheduler, sets tasks going, waits for them with a deadline, and closes it. Tasks here are Actors of
 * the play: each has a script, a function that does one turn. */
#include "run/scheduler.h"
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>
#include "ground/pool.h"

int luaopen_door_scheduler(lua_State *L);

#define PATIENCE_SECONDS 120 /* for what should take a moment: only a hang takes so long */

typedef struct Player Player;
struct Player {
    Task task; /* first */
    TaskTurn (*turn)(Player *p);
    _Atomic int inside; /* threads in its turn: never more than one */
    int number, turns;  /* guarded by its turns */
    uint64_t dice;
    Player *other;
};

static struct {
    sem_t done;
    _Atomic int left; /* players who still have work */
    _Atomic int wrong;
    _Atomic int thread_ends;
    _Atomic int interrupts;
    _Atomic bool flag;
    int order[4096]; /* written by tasks on one worker */
    int noted;
} play;

static _Thread_local _Atomic int interrupted; /* no volatile bool: gcc 12's -fsanitize=bool forgets the volatile */

static void on_interrupt(void) {
    atomic_store_explicit(&interrupted, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&play.interrupts, 1, memory_order_relaxed);
}

static void on_thread_end(void) {
    atomic_fetch_add(&play.thread_ends, 1);
    pool_thread_end();
}

static void expect(bool right) {
    if (!right) atomic_fetch_add(&play.wrong, 1);
}

static TaskTurn on_run(Task *task) {
    Player *p = (Player *)task;
    atomic_store_explicit(&interrupted, 0, memory_order_relaxed);
    expect(atomic_fetch_add(&p->inside, 1) == 0);
    p->turns++;
    /* Who falls asleep may be run by another thread before its turn returns: `turn` counts itself out. */
    return p->turn(p);
}

static TaskTurn out(Player *p, TaskTurn how) {
    atomic_fetch_sub(&p->inside, 1);
    return how;
}

static void finished(void) {
    if (atomic_fetch_sub(&play.left, 1) == 1) sem_post(&play.done);
}

static uint64_t dice(uint64_t *seed) { /* xorshift64* */
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 2685821657736338717ull >> 32;
}

static Player *players_new(size_t count, TaskTurn (*turn)(Player *), uint64_t seed) {
    Player *players = calloc(count, sizeof *players);
    if (players == NULL) abort();
    for (size_t i = 0; i < count; i++) {
        players[i].turn = turn;
        players[i].task.id = i + 1;
        players[i].number = (int)i + 1;
        players[i].dice = seed * 1000003 + i + 1;
    }
    return players;
}

static int begin(int workers, int spares, uint64_t seed, int left) {
    atomic_store(&play.left, left);
    atomic_store(&play.wrong, 0);
    atomic_store(&play.thread_ends, 0);
    atomic_store(&play.interrupts, 0);
    atomic_store(&play.flag, false);
    play.noted = 0;
    sem_init(&play.done, 0, 0);
    return scheduler_open(workers, spares, seed, (SchedulerCalls){on_run, on_interrupt, on_thread_end, NULL, NULL});
}

/* True: all who were to finish have. */
static bool wait_until_done(void) {
    struct timespec deadline;
    int err;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += PATIENCE_SECONDS;
    while ((err = sem_timedwait(&play.done, &deadline)) != 0 && errno == EINTR) {}
    return err == 0;
}

static int end(lua_State *L, bool done) {
    int closed = scheduler_close();
    if (closed == 0) scheduler_free();
    sem_destroy(&play.done);
    if (!done) return luaL_error(L, "hung: %d are left", atomic_load(&play.left));
    if (closed < 0) return luaL_error(L, "scheduler_close: %s", uv_err_name(closed));
    return 0;
}

/* ---- many turns ---- */

static TaskTurn some_turns(Player *p) {
    uint64_t what = dice(&p->dice);
    if (p->turns < 20) return out(p, what % 4 == 0 ? TASK_LATE : TASK_AGAIN);
    if (p->other != NULL) { /* one that never ran yet: ready or newborn */
        if (what % 2 == 0) scheduler_ready(&p->other->task);
        else scheduler_born(&p->other->task);
    }
    out(p, TASK_ASLEEP);
    finished();
    return TASK_ASLEEP;
}

/* many(workers, spares, seed, tasks) -> wrong, turns, threads that ended. Half the tasks are handed in, half are made
 * ready by those. */
static int door_many(lua_State *L) {
    int workers = (int)luaL_checkinteger(L, 1), spares = (int)luaL_checkinteger(L, 2);
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 3);
    size_t count = (size_t)luaL_checkinteger(L, 4);
    Player *players = players_new(count, some_turns, seed + 1);
    for (size_t i = 0; i < count / 2; i++) players[i].other = &players[count / 2 + i];
    int err = begin(workers, spares, seed, (int)(count / 2 * 2));
    if (err < 0) return luaL_error(L, "scheduler_open: %s", uv_err_name(err));
    if (scheduler_workers() != workers) expect(false);
    for (size_t i = 0; i < count / 2; i++) {
        if (i % 2 == 0) scheduler_ready(&players[i].task);
        else scheduler_born(&players[i].task);
    }
    bool done = wait_until_done();
    end(L, done);
    lua_Integer turns = 0;
    for (size_t i = 0; i < count; i++) turns += players[i].turns;
    free(players);
    lua_pushinteger(L, atomic_load(&play.wrong));
    lua_pushinteger(L, turns);
    lua_pushinteger(L, atomic_load(&play.thread_ends));
    return 3;
}

/* ---- a tree of births ---- */

static TaskTurn branch(Player *p) {
    for (int i = 0; i < 2 && p->number > 1; i++) {
        Player *child = players_new(1, branch, dice(&p->dice));
        child->number = p->number - 1;
        scheduler_born(&child->task);
    }
    out(p, TASK_ASLEEP);
    finished();
    free(p);
    return TASK_ASLEEP;
}

/* tree(workers, seed, depth) -> wrong */
static int door_tree(lua_State *L) {
    int depth = (int)luaL_checkinteger(L, 3);
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 2);
    Player *root = players_new(1, branch, seed + 1);
    root->number = depth;
    if (begin((int)luaL_checkinteger(L, 1), 0, seed, (1 << depth) - 1) < 0) return luaL_error(L, "scheduler_open");
    scheduler_ready(&root->task);
    end(L, wait_until_done());
    lua_pushinteger(L, atomic_load(&play.wrong));
    return 1;
}

/* ---- two that wake each other ---- */

static TaskTurn play_ball(Player *p) {
    if (p->turns == 10000) {
        out(p, TASK_ASLEEP);
        finished();
        if (p->number == 1) scheduler_ready(&p->other->task);
        return TASK_ASLEEP;
    }
    Player *other = p->other;
    out(p, TASK_ASLEEP);
    scheduler_ready(&other->task); /* from here on p may run again, elsewhere */
    return TASK_ASLEEP;
}

/* ball(workers, seed, pairs) -> wrong */
static int door_ball(lua_State *L) {
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 2);
    size_t pairs = (size_t)luaL_checkinteger(L, 3);
    Player *players = players_new(2 * pairs, play_ball, seed + 1);
    if (begin((int)luaL_checkinteger(L, 1), 2, seed, (int)(2 * pairs)) < 0) return luaL_error(L, "scheduler_open");
    for (size_t i = 0; i < pairs; i++) {
        Player *a = &players[2 * i], *b = &players[2 * i + 1];
        a->number = 1, b->number = 2;
        a->other = b, b->other = a;
        scheduler_ready(&a->task);
    }
    end(L, wait_until_done());
    free(players);
    lua_pushinteger(L, atomic_load(&play.wrong));
    return 1;
}

/* ---- the order on one worker ---- */

static const char *order_kinds;
static Player *order_players;

static TaskTurn note(Player *p) {
    if (play.noted < 4096) play.order[play.noted++] = p->number;
    char kind = order_kinds[p->number - 1];
    if ((kind == 'a' || kind == 'l') && p->turns == 1) return out(p, kind == 'a' ? TASK_AGAIN : TASK_LATE);
    out(p, TASK_ASLEEP);
    finished();
    return TASK_ASLEEP;
}

static TaskTurn set_going(Player *p) {
    for (size_t i = 0; order_kinds[i] != '\0'; i++) {
        if (order_kinds[i] == 'b') scheduler_born(&order_players[i].task);
        else scheduler_ready(&order_players[i].task);
    }
    out(p, TASK_ASLEEP);
    finished();
    return TASK_ASLEEP;
}

/* order(kinds) -> list of numbers. On one worker one task makes all others ready: r = ready, b = born, a = ready and a
 * second turn AGAIN, l = ready and a second turn LATE. */
static int door_order(lua_State *L) {
    size_t count;
    order_kinds = luaL_checklstring(L, 1, &count);
    order_players = players_new(count, note, 1);
    Player *first = players_new(1, set_going, 1);
    if (begin(1, 0, 0, (int)count + 1) < 0) return luaL_error(L, "scheduler_open");
    scheduler_ready(&first->task);
    end(L, wait_until_done());
    free(order_players);
    free(first);
    lua_newtable(L);
    for (int i = 0; i < play.noted; i++) {
        lua_pushinteger(L, play.order[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* ---- long turns ---- */

/* Spins until it is told to end its slice, some turns long: what preempts an actor. */
static TaskTurn spin_until_interrupted(Player *p) {
    /* An interrupt may come only to look, before its time is up. */
    while (atomic_load_explicit(&interrupted, memory_order_relaxed) == 0 || !scheduler_expired()) {}
    if (p->turns < 5) return out(p, TASK_LATE);
    out(p, TASK_ASLEEP);
    finished();
    return TASK_ASLEEP;
}

static TaskTurn short_turn(Player *p) {
    if (p->turns < 200) return out(p, TASK_AGAIN);
    out(p, TASK_ASLEEP);
    finished();
    return TASK_ASLEEP;
}

/* interrupts(workers, spinning, short) -> wrong, interrupts */
static int door_interrupts(lua_State *L) {
    size_t spinning = (size_t)luaL_checkinteger(L, 2), others = (size_t)luaL_checkinteger(L, 3);
    Player *players = players_new(spinning + others, short_turn, 1);
    for (size_t i = 0; i < spinning; i++) players[i].turn = spin_until_interrupted;
    if (begin((int)luaL_checkinteger(L, 1), 0, 0, (int)(spinning + others)) < 0) return luaL_error(L, "scheduler_open");
    for (size_t i = 0; i < spinning + others; i++) scheduler_ready(&players[i].task);
    end(L, wait_until_done());
    free(players);
    lua_pushinteger(L, atomic_load(&play.wrong));
    lua_pushinteger(L, atomic_load(&play.interrupts));
    return 2;
}

static TaskTurn stuck(Player *p) { /* in C: nothing but another task's turn ends it */
    while (!atomic_load(&play.flag)) {}
    out(p, TASK_ASLEEP);
    finished();
    return TASK_ASLEEP;
}

static TaskTurn release(Player *p) {
    if (p->turns < 50) return out(p, TASK_AGAIN);
    atomic_store(&play.flag, true);
    out(p, TASK_ASLEEP);
    finished();
    return TASK_ASLEEP;
}

/* stuck(workers, spares, count) -> wrong: so many tasks are stuck until one task behind them all has had its turns */
static int door_stuck(lua_State *L) {
    size_t count = (size_t)luaL_checkinteger(L, 3);
    Player *players = players_new(count + 1, stuck, 1);
    players[count].turn = release;
    if (begin((int)luaL_checkinteger(L, 1), (int)luaL_checkinteger(L, 2), 0, (int)count + 1) < 0)
        return luaL_error(L, "scheduler_open");
    for (size_t i = 0; i < count + 1; i++) scheduler_ready(&players[i].task);
    end(L, wait_until_done());
    free(players);
    lua_pushinteger(L, atomic_load(&play.wrong));
    return 1;
}

/* ---- a thread that helps ---- */

static pthread_t here;

static TaskTurn note_thread(Player *p) {
    p->dice = pthread_equal(pthread_self(), here) != 0;
    if (p->other != NULL) scheduler_ready(&p->other->task); /* run by the same thread, if that one helps */
    out(p, TASK_ASLEEP);
    finished();
    return TASK_ASLEEP;
}

/* Waits until all workers sleep; false: they do not. */
static bool all_sleep(void) {
    for (int i = 0; i < PATIENCE_SECONDS * 1000 && !scheduler_asleep(); i++) usleep(1000);
    return scheduler_asleep();
}

/* help(how, count) -> wrong, then for each task whether the thread that helped ran it. how: "held", that many tasks are
 * made ready while nobody is woken, and then it helps; "chain": the same, and the first makes one more ready. */
static int door_help(lua_State *L) {
    const char *how = luaL_checkstring(L, 1);
    int count = (int)luaL_checkinteger(L, 2);
    int all = strcmp(how, "chain") == 0 ? count + 1 : count;
    Player *players = players_new((size_t)all, note_thread, 1);
    here = pthread_self();
    if (begin(2, 1, 0, all) < 0) return luaL_error(L, "scheduler_open");
    if (all > count) players[0].other = &players[count];
    expect(all_sleep());
    scheduler_hold(true);
    for (int i = 0; i < count; i++) scheduler_ready(&players[i].task);
    expect(scheduler_held());
    expect(scheduler_asleep());
    scheduler_help();
    expect(!scheduler_held());
    end(L, wait_until_done());
    lua_pushinteger(L, atomic_load(&play.wrong));
    lua_createtable(L, all, 0);
    for (int i = 0; i < all; i++) {
        lua_pushboolean(L, players[i].dice == 1);
        lua_rawseti(L, -2, i + 1);
    }
    free(players);
    return 2;
}

/* help_forever() -> wrong, interrupts, was the first turn run by who helps: that one's task never ends by itself, and
 * one more waits behind it */
static TaskTurn spin_until_told(Player *p) {
    if (p->other != NULL) scheduler_ready(&p->other->task);
    while (atomic_load_explicit(&interrupted, memory_order_relaxed) == 0) {}
    atomic_store(&play.flag, pthread_equal(pthread_self(), here) != 0);
    p->turn = note_thread;
    p->other = NULL;
    return out(p, TASK_LATE);
}

static int door_help_forever(lua_State *L) {
    Player *players = players_new(2, note_thread, 1);
    players[0].turn = spin_until_told;
    players[0].other = &players[1];
    here = pthread_self();
    if (begin(2, 1, 0, 2) < 0) return luaL_error(L, "scheduler_open");
    expect(all_sleep());
    scheduler_hold(true);
    scheduler_ready(&players[0].task);
    expect(scheduler_held());
    scheduler_help();
    end(L, wait_until_done());
    free(players);
    lua_pushinteger(L, atomic_load(&play.wrong));
    lua_pushinteger(L, atomic_load(&play.interrupts));
    lua_pushboolean(L, atomic_load(&play.flag));
    return 3;
}

/* ---- opening and closing ---- */

static TaskTurn for_ever(Player *p) { return out(p, p->number % 2 == 0 ? TASK_AGAIN : TASK_LATE); }

static TaskTurn spin_for_ever(Player *p) {
    while (atomic_load_explicit(&interrupted, memory_order_relaxed) == 0) {}
    return out(p, TASK_LATE);
}

/* cycles(times, workers, spares, tasks, spinning): opens, sets tasks going that never end, closes at once */
static int door_cycles(lua_State *L) {
    lua_Integer times = luaL_checkinteger(L, 1);
    size_t count = (size_t)luaL_checkinteger(L, 4);
    bool spins = lua_toboolean(L, 5);
    for (lua_Integer i = 0; i < times; i++) {
        Player *players = players_new(count, spins ? spin_for_ever : for_ever, 1);
        int err = begin((int)luaL_checkinteger(L, 2), (int)luaL_checkinteger(L, 3), (uint64_t)i % 3, 1);
        if (err < 0) return luaL_error(L, "scheduler_open: %s", uv_err_name(err));
        for (size_t k = 0; k < count; k++) scheduler_ready(&players[k].task);
        end(L, true);
        if (atomic_load(&play.thread_ends) < luaL_checkinteger(L, 2)) return luaL_error(L, "a thread did not end");
        free(players);
    }
    return 0;
}

static TaskTurn stuck_for_ever(Player *p) {
    sem_post(&play.done);
    for (;;) pause();
    return out(p, TASK_ASLEEP);
}

/* stuck_close() -> the name of what closing answers when a task never comes back; in a child, which it would break */
static int door_stuck_close(lua_State *L) {
    pid_t pid = fork();
    if (pid == 0) {
        Player *p = players_new(1, stuck_for_ever, 1);
        if (begin(2, 1, 0, 1) < 0) _exit(100);
        scheduler_ready(&p->task);
        if (!wait_until_done()) _exit(101);
        _exit(-scheduler_close());
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return luaL_error(L, "the child broke");
    if (WEXITSTATUS(status) == 0) lua_pushliteral(L, "OK");
    else lua_pushstring(L, uv_err_name(-WEXITSTATUS(status)));
    return 1;
}

/* ---- other threads ---- */

typedef struct Outsider {
    pthread_t thread;
    Player *players;
    size_t count;
} Outsider;

static TaskTurn once(Player *p) {
    out(p, TASK_ASLEEP);
    finished();
    return TASK_ASLEEP;
}

static void *hand_in_all(void *argument) {
    Outsider *o = argument;
    for (size_t i = 0; i < o->count; i++) scheduler_ready(&o->players[i].task);
    return NULL;
}

/* outsiders(workers, threads, each) -> wrong: threads that are no workers make tasks ready */
static int door_outsiders(lua_State *L) {
    Outsider outsiders[8];
    size_t threads = (size_t)luaL_checkinteger(L, 2), each = (size_t)luaL_checkinteger(L, 3);
    luaL_argcheck(L, threads >= 1 && threads <= 8, 2, "1 to 8");
    Player *players = players_new(threads * each, once, 1);
    if (begin((int)luaL_checkinteger(L, 1), 1, 0, (int)(threads * each)) < 0) return luaL_error(L, "scheduler_open");
    for (size_t i = 0; i < threads; i++) {
        outsiders[i] = (Outsider){.players = players + i * each, .count = each};
        if (pthread_create(&outsiders[i].thread, NULL, hand_in_all, &outsiders[i]) != 0) abort();
    }
    for (size_t i = 0; i < threads; i++) pthread_join(outsiders[i].thread, NULL);
    end(L, wait_until_done());
    for (size_t i = 0; i < threads * each; i++) expect(players[i].turns == 1);
    free(players);
    lua_pushinteger(L, atomic_load(&play.wrong));
    return 1;
}

/* bursts(workers, times) -> wrong: a task now and then, so that all fall asleep in between */
static int door_bursts(lua_State *L) {
    lua_Integer times = luaL_checkinteger(L, 2);
    Player *p = players_new(1, once, 1);
    if (begin((int)luaL_checkinteger(L, 1), 0, 0, 0) < 0) return luaL_error(L, "scheduler_open");
    bool done = true;
    for (lua_Integer i = 0; i < times && done; i++) {
        struct timespec moment = {0, (i % 8) * 20000};
        nanosleep(&moment, NULL); /* not for order: to meet them at every point of falling asleep */
        atomic_store(&play.left, 1);
        scheduler_ready(&p->task);
        done = wait_until_done();
    }
    end(L, done);
    expect(p->turns == times);
    free(p);
    lua_pushinteger(L, atomic_load(&play.wrong));
    return 1;
}

int luaopen_door_scheduler(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"many", door_many},     {"tree", door_tree},     {"ball", door_ball},   {"order", door_order},
        {"interrupts", door_interrupts}, {"stuck", door_stuck}, {"cycles", door_cycles}, {"help", door_help},
        {"help_forever", door_help_forever},
        {"stuck_close", door_stuck_close}, {"outsiders", door_outsiders}, {"bursts", door_bursts}, {NULL, NULL},
    };
    luaL_newlib(L, functions);
    return 1;
}
