#include "api/sandbox.h"

#include <assert.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "api/api.h"

/* What a lazily filled table can have under one key. */
typedef enum { ITEM_FUNCTION, ITEM_NUMBER, ITEM_INTEGER, ITEM_STRING, ITEM_TABLE, ITEM_SPECIAL } ItemKind;

typedef struct Item {
    const char *key;
    ItemKind kind;
    uint8_t unless; /* hidden unless granted; 0 = for all */
    bool impure;    /* what it does is not the same each time, or is seen outside of the VM */
    lua_CFunction function; /* ITEM_FUNCTION; ITEM_SPECIAL: called with the table, pushes the value */
    lua_Number number;
    lua_Integer integer;
    char *string; /* ITEM_STRING; ITEM_TABLE: which table */
} Item;

typedef struct Lib {
    const char *name;
    Item *items;
    size_t count, room;
} Lib;

/* Written by sandbox_open, read-only then. */
enum { LIB_GLOBALS, LIB_THRONG, LIB_STRING, LIB_TABLE, LIB_MATH, LIB_UTF8, LIB_COROUTINE, LIB_OS, LIB_PID, LIBS };
static Lib libs[LIBS] = {{.name = "_G"},   {.name = "throng"}, {.name = "string"},    {.name = "table"},
                         {.name = "math"}, {.name = "utf8"},   {.name = "coroutine"}, {.name = "os"},
                         {.name = "pid"}};

/* What a VM remembers of its lazily filled tables. It lies in the VM's arena and goes with it. */
typedef struct Sandbox {
    const void *table[LIBS]; /* lua_topointer of it; NULL: not there, or whole and ordinary */
    uint64_t given[LIBS];    /* a bit for each item that was put in once */
} Sandbox;

static const char lazy_key; /* registry: the metatable of lazily filled tables */

/* ---- learning, once a process ---- */

static Item *add(Lib *lib, const char *key, ItemKind kind) {
    for (size_t i = 0; i < lib->count; i++)
        if (strcmp(lib->items[i].key, key) == 0) {
            lib->items[i].kind = kind;
            return &lib->items[i];
        }
    if (lib->count == lib->room) {
        lib->room = lib->room == 0 ? 16 : lib->room * 2;
        lib->items = realloc(lib->items, lib->room * sizeof *lib->items);
        if (lib->items == NULL) abort(); /* at the start of the program: nothing to save yet */
    }
    Item *item = &lib->items[lib->count++];
    *item = (Item){.key = strdup(key), .kind = kind};
    if (item->key == NULL) abort();
    return item;
}

static void add_regs(Lib *lib, const luaL_Reg *regs) {
    for (; regs->name != NULL; regs++) add(lib, regs->name, ITEM_FUNCTION)->function = regs->func;
}

static void add_table(const char *key, int which, uint8_t unless) {
    Item *item = add(&libs[LIB_GLOBALS], key, ITEM_TABLE);
    item->integer = which;
    item->unless = unless;
}

/* All entries of the library table on top that can be had without it. */
static void learn(lua_State *L, Lib *lib, const char *const *only) {
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        const char *key = lua_tostring(L, -2);
        bool wanted = only == NULL;
        for (const char *const *o = only; o != NULL && *o != NULL; o++) wanted = wanted || strcmp(*o, key) == 0;
        if (wanted) switch (lua_type(L, -1)) {
            case LUA_TFUNCTION:
                if (lua_getupvalue(L, -1, 1) != NULL) lua_pop(L, 1); /* its own state: see math_random */
                else add(lib, key, ITEM_FUNCTION)->function = lua_tocfunction(L, -1);
                break;
            case LUA_TNUMBER:
                if (lua_isinteger(L, -1)) add(lib, key, ITEM_INTEGER)->integer = lua_tointeger(L, -1);
                else add(lib, key, ITEM_NUMBER)->number = lua_tonumber(L, -1);
                break;
            case LUA_TSTRING:
                if ((add(lib, key, ITEM_STRING)->string = strdup(lua_tostring(L, -1))) == NULL) abort();
                break;
            default: break;
            }
        lua_pop(L, 1);
    }
}

/* ---- our own and the special ones ---- */

const char *sandbox_line(lua_State *L, size_t *len) {
    int n = lua_gettop(L);
    luaL_Buffer b;
    for (int i = 1; i <= n; i++) {
        luaL_tolstring(L, i, NULL);
        lua_replace(L, i);
    }
    luaL_buffinit(L, &b);
    for (int i = 1; i <= n; i++) {
        if (i > 1) luaL_addchar(&b, '\t');
        const char *text = lua_tolstring(L, i, len);
        luaL_addlstring(&b, text, *len);
    }
    luaL_addchar(&b, '\n');
    luaL_pushresult(&b);
    return lua_tolstring(L, -1, len);
}

static int print(lua_State *L) {
    size_t len;
    const char *text = sandbox_line(L, &len);
    vm_of(L)->impure = true;
    fwrite(text, 1, len, stdout); /* one call, so lines of several actors do not mix */
    fflush(stdout);
    return 0;
}

/* random and randomseed share a generator: both come with it. */
static int math_random(lua_State *L) {
    lua_pushcfunction(L, luaopen_math);
    lua_call(L, 0, 1);
    if (scheduler_seed() != 0) { /* a schedule that can be had again wants random numbers that can */
        const Actor *a = actor_of(L);
        lua_getfield(L, -1, "randomseed");
        lua_pushinteger(L, (lua_Integer)scheduler_seed());
        lua_pushinteger(L, a != NULL ? (lua_Integer)a->pid : 0);
        lua_call(L, 2, 0);
    }
    lua_getfield(L, -1, "randomseed");
    lua_pushliteral(L, "randomseed");
    lua_insert(L, -2);
    lua_rawset(L, 1);
    lua_getfield(L, -1, "random");
    lua_pushliteral(L, "random");
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
    return 1;
}

static int math_randomseed(lua_State *L) {
    math_random(L);
    lua_pushliteral(L, "randomseed");
    lua_rawget(L, 1);
    return 1;
}

static int open_debug(lua_State *L) {
    lua_pushcfunction(L, luaopen_debug);
    lua_call(L, 0, 1);
    if (vm_of(L)->grants & GRANT_DEBUG) return 1;
    lua_createtable(L, 0, 1);
    lua_getfield(L, -2, "traceback");
    lua_setfield(L, -2, "traceback");
    return 1;
}

static int open_io(lua_State *L) {
    vm_of(L)->has_finalizers = true; /* open files */
    lua_pushcfunction(L, luaopen_io);
    lua_call(L, 0, 1);
    return 1;
}

static int open_whole_os(lua_State *L) {
    lua_pushcfunction(L, luaopen_os);
    lua_call(L, 0, 1);
    lua_pushnil(L);
    lua_setfield(L, -2, "exit"); /* would end the process under all others: throng.shutdown does it in order */
    lua_pushnil(L);
    lua_setfield(L, -2, "setlocale"); /* is the process's, too */
    return 1;
}

static int open_package(lua_State *L) {
    lua_createtable(L, 0, 5);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_setfield(L, -2, "loaded");
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_setfield(L, -2, "preload");
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "path");
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "cpath");
    lua_pushliteral(L, "/\n;\n?\n!\n-\n");
    lua_setfield(L, -2, "config");
    if (vm_of(L)->grants & GRANT_PACKAGE) {
        lua_State *other = luaL_newstate(); /* luaopen_package rebuilds the globals it is opened in */
        if (other == NULL) return luaL_error(L, "out of memory");
        luaL_requiref(other, "package", luaopen_package, 0);
        lua_getfield(other, -1, "loadlib");
        lua_CFunction loadlib = lua_tocfunction(other, -1);
        lua_close(other);
        vm_of(L)->has_finalizers = true; /* whatever it loads */
        lua_pushcfunction(L, loadlib);
        lua_setfield(L, -2, "loadlib");
    }
    return 1;
}

static int push_globals(lua_State *L) {
    lua_pushglobaltable(L);
    return 1;
}

/* ---- lazily filled tables ---- */

static Lib *lib_of(lua_State *L, int table) {
    const void *p = lua_topointer(L, table);
    const Sandbox *box = vm_of(L)->sandbox;
    for (int i = 0; i < LIBS; i++)
        if (box->table[i] == p) return &libs[i];
    return NULL;
}

static void push_lazy(lua_State *L, int which) {
    lua_createtable(L, 0, 0);
    vm_of(L)->sandbox->table[which] = lua_topointer(L, -1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &lazy_key);
    lua_setmetatable(L, -2);
    /* One table each, kept: who drops the global finds the same one again by require. */
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &libs[which]);
}

static void push_table(lua_State *L, int which) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &libs[which]) == LUA_TTABLE) return;
    lua_pop(L, 1);
    push_lazy(L, which);
}

/* Pushes the item's value and puts it into the table at `table`. */
static void install(lua_State *L, int table, const Item *item) {
    switch (item->kind) {
    case ITEM_FUNCTION: lua_pushcfunction(L, item->function); break;
    case ITEM_NUMBER: lua_pushnumber(L, item->number); break;
    case ITEM_INTEGER: lua_pushinteger(L, item->integer); break;
    case ITEM_STRING: lua_pushstring(L, item->string); break;
    case ITEM_TABLE: push_table(L, (int)item->integer); break;
    case ITEM_SPECIAL:
        lua_pushcfunction(L, item->function);
        lua_pushvalue(L, table);
        lua_call(L, 1, 1);
        break;
    }
    lua_pushstring(L, item->key);
    lua_pushvalue(L, -2);
    lua_rawset(L, table);
}

static bool granted(lua_State *L, const Item *item) {
    return item->unless == 0 || (vm_of(L)->grants & item->unless) != 0;
}

static int by_key(const void *a, const void *b) { return strcmp(((const Item *)a)->key, ((const Item *)b)->key); }

static int lazy_index(lua_State *L) {
    Lib *lib = lib_of(L, 1);
    if (lib == NULL || lua_type(L, 2) != LUA_TSTRING) return 0;
    const Item wanted = {.key = lua_tostring(L, 2)};
    const Item *item = bsearch(&wanted, lib->items, lib->count, sizeof *item, by_key);
    if (item == NULL) return 0;
    vm_of(L)->impure |= item->impure || item->unless != 0;
    if (!granted(L, item)) return 0;
    uint64_t *given = &vm_of(L)->sandbox->given[lib - libs], bit = 1ull << (item - lib->items);
    if (*given & bit) return 0; /* it was there, and the script took it away */
    *given |= bit;
    install(L, 1, item);
    return 1;
}

/* The table becomes an ordinary one, whole. */
static void fill(lua_State *L, int table) {
    Lib *lib = lib_of(L, table);
    if (lib == NULL) return;
    for (size_t i = 0; i < lib->count; i++) {
        vm_of(L)->impure |= lib->items[i].impure;
        if (!granted(L, &lib->items[i]) || (vm_of(L)->sandbox->given[lib - libs] & 1ull << i)) continue;
        lua_pushstring(L, lib->items[i].key);
        bool there = lua_rawget(L, table) != LUA_TNIL;
        lua_pop(L, 1);
        if (there) continue;
        install(L, table, &lib->items[i]);
        lua_pop(L, 1);
    }
    vm_of(L)->sandbox->table[lib - libs] = NULL;
    lua_pushnil(L);
    lua_setmetatable(L, table);
}

void sandbox_fill(lua_State *L, int table) { fill(L, table); }

static int next_pair(lua_State *L) {
    lua_settop(L, 2);
    if (lua_next(L, 1)) return 2;
    lua_pushnil(L);
    return 1;
}

static int lazy_pairs(lua_State *L) {
    fill(L, 1);
    lua_pushcfunction(L, next_pair);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

/* Those who look past metamethods see the table whole, too. */
static int do_rawget(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    fill(L, 1);
    lua_rawget(L, 1);
    return 1;
}

static int do_next(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_isnoneornil(L, 2)) fill(L, 1);
    return next_pair(L);
}

/* A new global, or a library function that is taken away before it was used: then the table must not bring it back. */
static int lazy_newindex(lua_State *L) {
    lua_settop(L, 3);
    if (lua_isnil(L, 3)) fill(L, 1);
    lua_rawset(L, 1);
    return 0;
}

static int do_getmetatable(lua_State *L) {
    luaL_checkany(L, 1);
    if (lua_istable(L, 1)) fill(L, 1);
    if (!lua_getmetatable(L, 1)) {
        lua_pushnil(L);
        return 1;
    }
    luaL_getmetafield(L, 1, "__metatable");
    return 1; /* the metatable, or the field above it */
}

/* As Lua's, without finalizers: one that does not end could not be preempted. */
static int do_setmetatable(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, lua_istable(L, 2) || (lua_isnil(L, 2) && lua_gettop(L) >= 2), 2, "nil or table");
    fill(L, 1);
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL) return luaL_error(L, "cannot change a protected metatable");
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "__gc is not there for actors: a finalizer can't be preempted; use a <close> "
                                 "variable or the behaviour's terminate");
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

/* ---- opening ---- */

static int open_os(lua_State *L) {
    if (vm_of(L)->grants & GRANT_OS) return open_whole_os(L);
    push_table(L, LIB_OS);
    return 1;
}

bool sandbox_push_library(lua_State *L, const char *name) {
    static const char *const names[] = {"string", "table", "math",  "utf8",    "coroutine",
                                        "os",     "io",    "debug", "package", "_G"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0) {
            lua_pushglobaltable(L);
            lua_getfield(L, -1, name);
            lua_remove(L, -2);
            if (!lua_isnil(L, -1)) return true;
            lua_pop(L, 1);
        }
    return false;
}

static Item string_meta[32]; /* arithmetic of strings that look like numbers */
static size_t string_meta_count;

void sandbox_open_vm(lua_State *L) {
    Vm *vm = vm_of(L);
    void *arena;
    lua_Alloc alloc = lua_getallocf(L, &arena);
    vm->sandbox = alloc(arena, NULL, 0, sizeof *vm->sandbox);
    if (vm->sandbox == NULL) luaL_error(L, "out of memory");
    *vm->sandbox = (Sandbox){0};
    lua_createtable(L, 0, 3);
    lua_pushcfunction(L, lazy_index);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, lazy_pairs);
    lua_setfield(L, -2, "__pairs");
    lua_pushcfunction(L, lazy_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &lazy_key);

    lua_pushglobaltable(L);
    vm->sandbox->table[LIB_GLOBALS] = lua_topointer(L, -1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &lazy_key);
    lua_setmetatable(L, -2);
    lua_pop(L, 1);

    lua_pushliteral(L, "");
    lua_createtable(L, 0, (int)string_meta_count + 1);
    for (size_t i = 0; i < string_meta_count; i++) {
        lua_pushcfunction(L, string_meta[i].function);
        lua_setfield(L, -2, string_meta[i].key);
    }
    push_table(L, LIB_STRING);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

static const char aside_key; /* registry: the metatable of globals that are not in use */

static int index_in_use(lua_State *L) {
    lua_settop(L, 2);
    lua_pushglobaltable(L);
    lua_replace(L, 1);
    lua_gettable(L, 1);
    return 1;
}

void sandbox_push_globals(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &aside_key) != LUA_TTABLE) {
        lua_createtable(L, 0, 1);
        lua_pushcfunction(L, index_in_use);
        lua_setfield(L, -2, "__index");
        lua_rawsetp(L, LUA_REGISTRYINDEX, &aside_key);
    }
    lua_pop(L, 1);
    lua_createtable(L, 0, 0);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &aside_key);
    lua_setmetatable(L, -2);
}

void sandbox_swap_globals(lua_State *L, uint64_t *given) {
    Sandbox *box = vm_of(L)->sandbox;
    int top = lua_gettop(L);
    lua_pushglobaltable(L);
    /* Made whole by who looked at all of it: then it is ordinary, and stays so. */
    bool lazy = box->table[LIB_GLOBALS] != NULL, was_lazy = *given != UINT64_MAX;
    if (lazy) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &aside_key);
        lua_setmetatable(L, -2);
    }
    uint64_t taken = lazy ? box->given[LIB_GLOBALS] : UINT64_MAX;
    box->table[LIB_GLOBALS] = was_lazy ? lua_topointer(L, top) : NULL;
    box->given[LIB_GLOBALS] = was_lazy ? *given : 0;
    *given = taken;
    lua_pushvalue(L, top);
    if (was_lazy) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &lazy_key);
        lua_setmetatable(L, -2);
    }
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_replace(L, top);
    lua_settop(L, top);
}

void sandbox_push_pids(lua_State *L) { push_table(L, LIB_PID); }

int api_throng(lua_State *L) {
    push_table(L, LIB_THRONG);
    return 1;
}

static int push_log(lua_State *L) {
    lua_createtable(L, 0, 4);
    luaL_setfuncs(L, api_log, 0);
    return 1;
}

static void learn_all(lua_State *L) {
    static const char *const globals[] = {"assert", "collectgarbage", "error", "ipairs", "pairs", "pcall",
                                          "rawequal", "rawlen", "rawset", "select", "tonumber", "tostring",
                                          "type", "xpcall", "_VERSION", NULL};
    static const char *const times[] = {"time", "clock", "date", "difftime", NULL};
    static const luaL_Reg own[] = {{"print", print}, {"getmetatable", do_getmetatable},
                                   {"rawget", do_rawget}, {"next", do_next},
                                   {"setmetatable", do_setmetatable}, {NULL, NULL}};
    static const luaL_Reg *const throng[] = {api_message, api_life, api_names, api_timer, api_watch, api_groups,
                                             api_notices, api_node, api_reload};
    static const struct {
        int which;
        const char *name;
    } plain[] = {{LIB_STRING, "string"}, {LIB_TABLE, "table"}, {LIB_MATH, "math"}, {LIB_UTF8, "utf8"}};
    Lib *g = &libs[LIB_GLOBALS];
    luaL_openlibs(L);
    lua_pushglobaltable(L);
    learn(L, g, globals);
    add_regs(g, own);
    add_regs(g, api_module);
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        lua_getfield(L, -1, plain[i].name);
        learn(L, &libs[plain[i].which], NULL);
        lua_pop(L, 1);
        add_table(plain[i].name, plain[i].which, 0);
    }
    lua_getfield(L, -1, "os");
    learn(L, &libs[LIB_OS], times);
    lua_pop(L, 2);
    add(&libs[LIB_MATH], "random", ITEM_SPECIAL)->function = math_random;
    add(&libs[LIB_MATH], "randomseed", ITEM_SPECIAL)->function = math_randomseed;
    add_regs(&libs[LIB_COROUTINE], api_coroutine);
    add_regs(&libs[LIB_PID], api_pid);
    add_table("coroutine", LIB_COROUTINE, 0);
    add(g, "os", ITEM_SPECIAL)->function = open_os;
    add(g, "debug", ITEM_SPECIAL)->function = open_debug;
    add(g, "package", ITEM_SPECIAL)->function = open_package;
    add(g, "_G", ITEM_SPECIAL)->function = push_globals;
    Item *io = add(g, "io", ITEM_SPECIAL);
    io->function = open_io;
    io->unless = GRANT_IO;
    for (size_t i = 0; i < sizeof throng / sizeof throng[0]; i++) add_regs(&libs[LIB_THRONG], throng[i]);
    add(&libs[LIB_THRONG], "log", ITEM_SPECIAL)->function = push_log;

    static const struct {
        int which;
        const char *key;
    } impure[] = {{LIB_GLOBALS, "collectgarbage"}, {LIB_GLOBALS, "os"}, {LIB_GLOBALS, "package"},
                  {LIB_MATH, "random"}, {LIB_MATH, "randomseed"}};
    for (size_t i = 0; i < sizeof impure / sizeof impure[0]; i++) {
        Lib *lib = &libs[impure[i].which];
        for (size_t k = 0; k < lib->count; k++)
            lib->items[k].impure |= strcmp(lib->items[k].key, impure[i].key) == 0;
    }

    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        if (lua_iscfunction(L, -1) && string_meta_count < sizeof string_meta / sizeof string_meta[0])
            string_meta[string_meta_count++] =
                (Item){.key = strdup(lua_tostring(L, -2)), .function = lua_tocfunction(L, -1)};
        lua_pop(L, 1);
    }
}

int sandbox_open(void) {
    if (libs[LIB_GLOBALS].count > 0) return 0;
    lua_State *L = luaL_newstate();
    if (L == NULL) return UV_ENOMEM;
    learn_all(L);
    lua_close(L);
    for (int i = 0; i < LIBS; i++) assert(libs[i].count <= 64); /* bits of Sandbox.given */
    for (int i = 0; i < LIBS; i++) qsort(libs[i].items, libs[i].count, sizeof *libs[i].items, by_key);
    return 0;
}
