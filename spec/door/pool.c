/* door.pool - core/ground/pool.c for specs. Blocks are light userdata; sizes are the caller's to remember. */
#include "ground/pool.h"
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int luaopen_door_pool(lua_State *L);

static int door_alloc(lua_State *L) {
    void *block = pool_alloc((size_t)luaL_checkinteger(L, 1));
    if (block == NULL) lua_pushnil(L);
    else lua_pushlightuserdata(L, block);
    return 1;
}

static int door_free(lua_State *L) {
    pool_free(lua_touserdata(L, 1), (size_t)luaL_checkinteger(L, 2));
    return 0;
}

static int door_round(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)pool_round((size_t)luaL_checkinteger(L, 1)));
    return 1;
}

static int door_thread_end(lua_State *L) {
    (void)L;
    pool_thread_end();
    return 0;
}

static int door_held(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)pool_held_bytes());
    return 1;
}

static int door_address(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)(uintptr_t)lua_touserdata(L, 1));
    return 1;
}

static int door_fill(lua_State *L) {
    memset(lua_touserdata(L, 1), (int)luaL_checkinteger(L, 3), (size_t)luaL_checkinteger(L, 2));
    return 0;
}

static bool all_of(const unsigned char *p, size_t size, unsigned char value) {
    for (size_t i = 0; i < size; i++) {
        if (p[i] != value) return false;
    }
    return true;
}

static int door_filled(lua_State *L) {
    lua_pushboolean(L, all_of(lua_touserdata(L, 1), (size_t)luaL_checkinteger(L, 2),
                              (unsigned char)luaL_checkinteger(L, 3)));
    return 1;
}

/* How many pages of the 2 MB around a block are resident. */
static int door_resident(lua_State *L) {
    enum { SLAB = 2 << 20 };
    unsigned char pages[SLAB / 4096];
    void *slab = (void *)((uintptr_t)lua_touserdata(L, 1) & ~(uintptr_t)(SLAB - 1));
    if (sysconf(_SC_PAGESIZE) != 4096 || mincore(slab, SLAB, pages) != 0) return luaL_error(L, "mincore");
    lua_Integer count = 0;
    for (size_t i = 0; i < sizeof pages; i++) count += pages[i] & 1;
    lua_pushinteger(L, count);
    return 1;
}

/* Threads that take blocks and give back each other's: every block passes through a slot of a shared table,
 * filled with a byte of its own and carrying its size in front. */
#define SLOTS 512

typedef struct Parcel {
    size_t size;
    unsigned char mark;
    unsigned char bytes[];
} Parcel;

typedef struct Exchange {
    _Atomic(Parcel *) slots[SLOTS];
    atomic_int broken; /* parcels that were not as they were sent */
    atomic_int missing;
    int rounds;
} Exchange;

typedef struct Trader {
    Exchange *exchange;
    uint64_t seed;
} Trader;

static uint64_t random_next(uint64_t *state) { /* xorshift64* */
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1dull >> 16;
}

/* Of large parcels the ends: who is given two owners is seen there, and the threads meet more often. */
static size_t edge(size_t size) {
    return size < 400 ? size : 200;
}

static void parcel_end(Exchange *exchange, Parcel *parcel) {
    if (parcel == NULL) return;
    size_t size = parcel->size - sizeof *parcel, part = edge(size);
    bool whole = all_of(parcel->bytes, part, parcel->mark) && all_of(parcel->bytes + size - part, part, parcel->mark);
    if (!whole) exchange->broken++;
    pool_free(parcel, sizeof *parcel + size);
}

static void *trade(void *argument) {
    Trader *trader = argument;
    Exchange *exchange = trader->exchange;
    for (int i = 0; i < exchange->rounds; i++) {
        uint64_t dice = random_next(&trader->seed);
        size_t most = (dice & 3) == 0 ? 70000 : (dice & 7) == 1 ? 4000 : 200;
        size_t size = (dice >> 8) % most, part = edge(size);
        Parcel *parcel = pool_alloc(sizeof *parcel + size);
        if (parcel == NULL) {
            exchange->missing++;
            continue;
        }
        parcel->size = sizeof *parcel + size;
        parcel->mark = (unsigned char)(dice >> 32);
        memset(parcel->bytes, parcel->mark, part);
        memset(parcel->bytes + size - part, parcel->mark, part);
        /* acquire and release: what was written into a parcel goes with it */
        parcel_end(exchange, atomic_exchange_explicit(&exchange->slots[(dice >> 40) % SLOTS], parcel,
                                                      memory_order_acq_rel));
    }
    pool_thread_end();
    return NULL;
}

/* exchange(threads, rounds, seed): returns how many parcels were broken and how many could not be had */
static int door_exchange(lua_State *L) {
    enum { MOST = 16 };
    int count = (int)luaL_checkinteger(L, 1);
    luaL_argcheck(L, count >= 1 && count <= MOST, 1, "1 to 16");
    static Exchange exchange;
    memset(&exchange, 0, sizeof exchange);
    exchange.rounds = (int)luaL_checkinteger(L, 2);
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 3);
    Trader traders[MOST];
    pthread_t threads[MOST];
    int started = 0;
    for (; started < count; started++) {
        traders[started] = (Trader){&exchange, seed * MOST + (uint64_t)started + 1};
        if (pthread_create(&threads[started], NULL, trade, &traders[started]) != 0) break;
    }
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < SLOTS; i++) parcel_end(&exchange, atomic_load(&exchange.slots[i]));
    lua_pushinteger(L, exchange.broken);
    lua_pushinteger(L, exchange.missing + count - started);
    return 2;
}

/* elsewhere(count, size): another thread takes so many blocks, all at once; returns what the pool held then */
typedef struct Order {
    size_t count, size, held;
} Order;

static void *take_order(void *argument) {
    Order *order = argument;
    void **blocks = calloc(order->count, sizeof *blocks);
    if (blocks == NULL) return NULL;
    for (size_t i = 0; i < order->count; i++) blocks[i] = pool_alloc(order->size);
    order->held = pool_held_bytes();
    for (size_t i = 0; i < order->count; i++) pool_free(blocks[i], order->size);
    free(blocks);
    pool_thread_end();
    return NULL;
}

static int door_elsewhere(lua_State *L) {
    Order order = {(size_t)luaL_checkinteger(L, 1), (size_t)luaL_checkinteger(L, 2), 0};
    pthread_t thread;
    if (pthread_create(&thread, NULL, take_order, &order) != 0) return luaL_error(L, "no thread");
    pthread_join(thread, NULL);
    lua_pushinteger(L, (lua_Integer)order.held);
    return 1;
}

int luaopen_door_pool(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"alloc", door_alloc},       {"free", door_free},         {"round", door_round},
        {"held", door_held},         {"address", door_address},   {"fill", door_fill},
        {"filled", door_filled},     {"resident", door_resident}, {"exchange", door_exchange},
        {"elsewhere", door_elsewhere}, {"thread_end", door_thread_end}, {NULL, NULL},
    };
    luaL_newlib(L, functions);
    lua_pushinteger(L, POOL_LARGEST);
    lua_setfield(L, -2, "largest");
    /* Under a sanitizer blocks are malloc's and there are no slabs to look at. */
    void *block = pool_alloc(1);
    lua_pushboolean(L, pool_held_bytes() > 0);
    lua_setfield(L, -2, "has_slabs");
    pool_free(block, 1);
    return 1;
}
