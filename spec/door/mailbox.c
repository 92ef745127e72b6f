/* door.mailbox - core/mail/mailbox.c for specs. Messages are told apart by a tag, kept in their `ref`. */
#include "mail/mailbox.h"
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/pool.h"
#include "mail/overflow.h"
#include "mail/payload.h"

int luaopen_door_mailbox(lua_State *L);

#define TYPE "door.mailbox"

typedef struct Door {
    Mailbox box;
    bool closed; /* then it may still be pushed to, in vain */
} Door;

static Door *check(lua_State *L) { return luaL_checkudata(L, 1, TYPE); }

/* new(limit [, awake [, full]]) */
static int door_new(lua_State *L) {
    uint32_t limit = (uint32_t)luaL_checkinteger(L, 1);
    bool awake = lua_toboolean(L, 2);
    MailboxFull full = (MailboxFull)luaL_checkoption(L, 3, "refuse", mailbox_fulls);
    Door *d = lua_newuserdatauv(L, sizeof *d, 0);
    d->closed = false;
    mailbox_open(&d->box, limit, full, awake);
    luaL_setmetatable(L, TYPE);
    return 1;
}

static void push_tags(lua_State *L, Message *msg) {
    lua_newtable(L);
    for (lua_Integer i = 1; msg != NULL; i++) {
        Message *next = msg->next;
        lua_pushinteger(L, (lua_Integer)msg->ref);
        lua_rawseti(L, -2, i);
        message_free(msg);
        msg = next;
    }
}

static int door_gc(lua_State *L) {
    Door *d = check(L);
    Message *lanes[2], *next;
    if (d->closed) return 0;
    mailbox_close(&d->box, &lanes[0], &lanes[1]);
    for (int i = 0; i < 2; i++)
        for (Message *msg = lanes[i]; msg != NULL; msg = next) {
            next = msg->next;
            message_free(msg);
        }
    d->closed = true;
    return 0;
}

/* box:push(tag [, system]) -> wake and whether it is crowded, or nil and the error's name */
static int door_push(lua_State *L) {
    Door *d = check(L);
    bool wake = false;
    Message *msg = message_new(lua_toboolean(L, 3) ? MESSAGE_DOWN : MESSAGE_SEND, 0);
    if (msg == NULL) return luaL_error(L, "no memory");
    msg->ref = (uint64_t)luaL_checkinteger(L, 2);
    int err = mailbox_push(&d->box, msg, &wake);
    if (err >= 0) {
        lua_pushboolean(L, wake);
        lua_pushboolean(L, err == MAILBOX_CROWDED);
        return 2;
    }
    message_free(msg); /* still ours */
    lua_pushnil(L);
    lua_pushstring(L, uv_err_name(err));
    return 2;
}

static int door_take(lua_State *L) {
    push_tags(L, mailbox_take(&check(L)->box));
    return 1;
}

static int door_take_system(lua_State *L) {
    push_tags(L, mailbox_take_system(&check(L)->box));
    return 1;
}

static int door_has_system(lua_State *L) {
    lua_pushboolean(L, mailbox_has_system(&check(L)->box));
    return 1;
}

/* box:seize() -> tags, newest first, or nil; box:restore(tags, newest first) -> wake */
static int door_seize(lua_State *L) {
    Message *chain = mailbox_seize(&check(L)->box);
    if (chain == NULL) lua_pushnil(L);
    else push_tags(L, chain);
    return 1;
}

static int door_restore(lua_State *L) {
    Message *chain = NULL;
    lua_Integer count = (lua_Integer)lua_rawlen(L, 2);
    for (lua_Integer i = count; i >= 1; i--) {
        Message *msg = message_new(MESSAGE_SEND, 0);
        if (msg == NULL) return luaL_error(L, "no memory");
        lua_rawgeti(L, 2, i);
        msg->ref = (uint64_t)lua_tointeger(L, -1);
        lua_pop(L, 1);
        msg->next = chain;
        chain = msg;
    }
    lua_pushboolean(L, mailbox_restore(&check(L)->box, chain, (uint32_t)count));
    return 1;
}

static int door_untaken(lua_State *L) {
    lua_pushinteger(L, mailbox_untaken(&check(L)->box));
    return 1;
}

static int door_age(lua_State *L) {
    lua_pushnumber(L, mailbox_age(&check(L)->box));
    return 1;
}

static int door_tick(lua_State *L) {
    lua_pushnumber(L, (lua_Number)clock_tick() / (lua_Number)CLOCK_NS_PER_MS);
    return 1;
}

/* cut({{ask = true or nil, name = atom or text}, ...}, full, most) -> numbers of those kept, replaced, cut; the list
 * has the oldest first */
static int door_cut(lua_State *L) {
    Message *list = NULL;
    MailboxFull full = (MailboxFull)luaL_checkoption(L, 2, NULL, mailbox_fulls);
    for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, 1); i++) {
        size_t len;
        lua_rawgeti(L, 1, i);
        bool ask = lua_getfield(L, -1, "ask") != LUA_TNIL;
        Message *msg = message_new(ask ? MESSAGE_ASK : MESSAGE_SEND, 0);
        if (msg == NULL) return luaL_error(L, "no memory");
        if (lua_getfield(L, -2, "name") == LUA_TNUMBER) {
            msg->name = (uint32_t)lua_tointeger(L, -1);
        } else {
            const char *name = lua_tolstring(L, -1, &len);
            payload_put_string(&msg, name, len);
            msg->flags = MESSAGE_NAMED;
        }
        msg->ref = (uint64_t)i;
        msg->next = list;
        list = msg;
        lua_pop(L, 3);
    }
    Overflow o = overflow_cut(&list, full, (uint32_t)luaL_checkinteger(L, 3));
    push_tags(L, message_reverse(list));
    luaL_argcheck(L, lua_rawlen(L, -1) == o.kept, 1, "the count is wrong");
    push_tags(L, o.replaced);
    push_tags(L, o.cut);
    return 3;
}

static int door_begun(lua_State *L) {
    mailbox_begun(&check(L)->box, (uint32_t)luaL_checkinteger(L, 2));
    return 0;
}

static int door_sleep(lua_State *L) {
    lua_pushboolean(L, mailbox_sleep(&check(L)->box, lua_toboolean(L, 2)));
    return 1;
}

/* box:close() -> tags of the user lane, of the system lane; it can still be pushed to */
static int door_close(lua_State *L) {
    Message *user, *system;
    Door *d = check(L);
    luaL_argcheck(L, !d->closed, 1, "closed already");
    d->closed = true;
    mailbox_close(&d->box, &user, &system);
    push_tags(L, user);
    push_tags(L, system);
    return 2;
}

static int door_depth(lua_State *L) {
    lua_pushinteger(L, mailbox_depth(&check(L)->box));
    return 1;
}

/* ---- threads that push while one at a time takes ---- */

#define PUSHERS_MOST 8
#define OWNERS 2
#define SYSTEM_EVERY 16

typedef struct Hammer Hammer;

typedef struct Pusher {
    Hammer *hammer;
    pthread_t thread;
    uint64_t seed, number;
    size_t full; /* refusals */
} Pusher;

/* The owner is whoever holds the token: what a wake gives. `plain` has no lock or atomics: the token guards it. */
struct Hammer {
    Mailbox box;
    sem_t token;
    size_t each, pushers;
    bool holds; /* the box has room for all: no pusher waits for an owner who waits for him */
    _Atomic size_t began;  /* owners' turns that have */
    _Atomic size_t cut;    /* messages that pushers dropped */
    _Atomic int inside;    /* owners at work */
    _Atomic int wrong;     /* promises broken */
    _Atomic bool over;
    struct {
        uint64_t last[2][PUSHERS_MOST]; /* by lane: serial numbers seen */
        size_t taken[2], sleeps, held;
        uint64_t seed;
    } plain;
};

static uint64_t dice(uint64_t *seed) { /* xorshift64* */
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 2685821657736338717ull >> 32;
}

static void expect(Hammer *h, bool right) {
    if (!right) atomic_fetch_add(&h->wrong, 1);
}

/* As post.c does. */
static void make_room(Hammer *h) {
    Message *chain = mailbox_seize(&h->box), *next;
    if (chain == NULL) {
        sched_yield();
        return;
    }
    Overflow o = overflow_cut(&chain, mailbox_full(&h->box), mailbox_limit(&h->box) - 1);
    expect(h, o.replaced == NULL && o.kept == mailbox_limit(&h->box) - 1);
    if (mailbox_restore(&h->box, chain, o.kept)) sem_post(&h->token);
    for (Message *msg = o.cut; msg != NULL; msg = next) {
        next = msg->next;
        message_free(msg);
        h->cut++;
    }
}

static void push_one(Hammer *h, Pusher *p, MessageKind kind, uint64_t serial) {
    bool wake = false;
    int err;
    Message *msg = message_new(kind, 0);
    if (msg == NULL) abort();
    msg->from = p->number;
    msg->ref = serial;
    while ((err = mailbox_push(&h->box, msg, &wake)) == UV_ENOBUFS) {
        p->full++;
        if (mailbox_drops_old(&h->box)) make_room(h);
        else sched_yield();
    }
    expect(h, err >= 0);
    if (wake) sem_post(&h->token);
}

static void *run_pusher(void *argument) {
    Pusher *p = argument;
    Hammer *h = p->hammer;
    for (uint64_t i = 1; i <= h->each; i++) {
        push_one(h, p, MESSAGE_SEND, i);
        if (i % SYSTEM_EVERY == 0) push_one(h, p, MESSAGE_DOWN, i);
        if (dice(&p->seed) % 64 == 0) sched_yield();
    }
    push_one(h, p, MESSAGE_DOWN, UINT32_MAX); /* nobody is left asleep and held */
    pool_thread_end();
    return NULL;
}

static void take_lane(Hammer *h, int lane) {
    Message *msg = lane == 0 ? mailbox_take(&h->box) : mailbox_take_system(&h->box), *next;
    for (; msg != NULL; msg = next) {
        next = msg->next;
        expect(h, msg->ref > h->plain.last[lane][msg->from]);
        h->plain.last[lane][msg->from] = msg->ref;
        if (lane == 0) mailbox_begun(&h->box, 1);
        h->plain.taken[lane]++;
        message_free(msg);
    }
}

/* One turn of the owner: until it sleeps. */
static void own(Hammer *h) {
    for (;;) {
        expect(h, atomic_fetch_add(&h->inside, 1) == 0);
        take_lane(h, 1);
        if (dice(&h->plain.seed) % 3 != 0) take_lane(h, 0);
        bool ends = h->plain.taken[1] == h->pushers * (h->each / SYSTEM_EVERY + 1);
        bool all = ends && h->plain.taken[0] + h->cut == h->pushers * h->each;
        bool held =
            h->holds && !ends && dice(&h->plain.seed) % 4 == 0; /* once the last has come nothing else would wake it */
        h->plain.sleeps++;
        h->plain.held += held;
        atomic_fetch_sub(&h->inside, 1);
        if (all) {
            atomic_store(&h->over, true);
            for (int i = 0; i < OWNERS; i++) sem_post(&h->token);
            return;
        }
        if (mailbox_sleep(&h->box, held)) return; /* the owner may be another by now */
    }
}

static void *run_owner(void *argument) {
    Hammer *h = argument;
    for (;;) {
        while (sem_wait(&h->token) != 0) {}
        if (atomic_load(&h->over)) break;
        atomic_fetch_add(&h->began, 1);
        own(h);
    }
    pool_thread_end();
    return NULL;
}

/* hammer(pushers, each, limit, seed [, full]) -> wrong, user messages taken or dropped, system messages taken, turns,
 * refusals */
static int door_hammer(lua_State *L) {
    Pusher pushers[PUSHERS_MOST];
    pthread_t owners[OWNERS];
    size_t count = (size_t)luaL_checkinteger(L, 1), full = 0;
    luaL_argcheck(L, count >= 1 && count <= PUSHERS_MOST, 1, "1 to 8");
    Hammer *h = aligned_alloc(64, (sizeof *h + 63) / 64 * 64);
    if (h == NULL) return luaL_error(L, "no memory");
    memset(h, 0, sizeof *h);
    h->pushers = count;
    h->each = (size_t)luaL_checkinteger(L, 2);
    MailboxFull kind = (MailboxFull)luaL_checkoption(L, 5, "refuse", mailbox_fulls);
    h->holds = kind >= MAILBOX_DROP_OLDEST || (size_t)luaL_checkinteger(L, 3) >= count * h->each;
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 4);
    h->plain.seed = seed + 1;
    sem_init(&h->token, 0, 0);
    mailbox_open(&h->box, (uint32_t)luaL_checkinteger(L, 3), kind, false);
    for (int i = 0; i < OWNERS; i++)
        if (pthread_create(&owners[i], NULL, run_owner, h) != 0) abort();
    for (size_t i = 0; i < count; i++) {
        pushers[i] = (Pusher){.hammer = h, .seed = seed * PUSHERS_MOST + i + 1, .number = i};
        if (pthread_create(&pushers[i].thread, NULL, run_pusher, &pushers[i]) != 0) abort();
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(pushers[i].thread, NULL);
        full += pushers[i].full;
    }
    for (int i = 0; i < OWNERS; i++) pthread_join(owners[i], NULL);
    lua_pushinteger(L, atomic_load(&h->wrong));
    lua_pushinteger(L, (lua_Integer)(h->plain.taken[0] + h->cut));
    lua_pushinteger(L, (lua_Integer)h->plain.taken[1]);
    lua_pushinteger(L, (lua_Integer)atomic_load(&h->began));
    lua_pushinteger(L, (lua_Integer)full);
    sem_destroy(&h->token);
    free(h);
    return 5;
}

int luaopen_door_mailbox(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"push", door_push},
        {"take", door_take},
        {"take_system", door_take_system},
        {"has_system", door_has_system},
        {"seize", door_seize},
        {"restore", door_restore},
        {"untaken", door_untaken},
        {"age", door_age},
        {"begun", door_begun},
        {"sleep", door_sleep},
        {"close", door_close},
        {"depth", door_depth},
        {"__gc", door_gc},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"new", door_new}, {"hammer", door_hammer}, {"cut", door_cut}, {"tick", door_tick}, {NULL, NULL}};
    luaL_newmetatable(L, TYPE);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, functions);
    lua_pushinteger(L, MAILBOX_LIMIT_MAX);
    lua_setfield(L, -2, "LIMIT_MAX");
    return 1;
}
