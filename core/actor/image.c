#include "actor/image.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "ground/pool.h"

#define HEADROOM 128     /* bytes left free in the copy's chunk: for what init makes */
#define BLOCKS_MOST 1000000
#define OBJECTS_MOST 100000 /* tables and functions looked at; a VM with more is not worth copying */

/* A block of the VM the image is taken from, and where it lies in a copy. */
typedef struct Block {
    char *from;
    size_t size;
    uint32_t part, at;
    bool upvalue;
} Block;

/* A piece of a copy, one block of the pool: first the chunk, in which all small blocks lie one behind the other, then
 * each large block. Where sanitizers have every block for itself there is no chunk. */
typedef struct Part {
    size_t size; /* as asked of the pool */
    size_t used; /* bytes to copy, from its begin; what is a head there is written anew */
    const char *bytes;
    bool large;
} Part;

/* Words of part `in` that are addresses in part `to`; in the image they are offsets from its begin. */
typedef struct Run {
    uint32_t in, to, first, count;
} Run;

typedef struct Place {
    uint32_t part, at;
} Place;

struct Image {
    Part *parts;
    Run *runs;
    uint32_t *offsets; /* of words, in their part; by runs */
    uint32_t part_count, run_count;
    size_t used;       /* Arena.used of a copy */
    Place L, sandbox;
    char *copy;        /* the bytes of all parts */
};

/* ---- may it be copied? ---- */

typedef struct Look {
    lua_State *L;
    int seen, todo; /* tables on the stack: the objects met, as keys; those not looked at yet, as a list */
    lua_Integer count, left;
    void **upvalues; /* their addresses, each at least once */
    size_t upvalue_count, upvalue_room;
} Look;

static bool add_upvalue(Look *k, void *upvalue) {
    if (k->upvalue_count == k->upvalue_room) {
        size_t room = k->upvalue_room == 0 ? 64 : k->upvalue_room * 2;
        void **more = realloc(k->upvalues, room * sizeof *more);
        if (more == NULL) return false;
        k->upvalues = more, k->upvalue_room = room;
    }
    k->upvalues[k->upvalue_count++] = upvalue;
    return true;
}

/* The value on top (popped) is looked at later. False: there it ends. */
static bool meet(Look *k) {
    lua_State *L = k->L;
    switch (lua_type(L, -1)) {
    case LUA_TTHREAD:
        if (lua_tothread(L, -1) != L) return false;
        break;
    case LUA_TUSERDATA: return false;
    case LUA_TTABLE:
    case LUA_TFUNCTION:
        lua_pushvalue(L, -1);
        if (lua_rawget(L, k->seen) == LUA_TNIL) {
            if (++k->count > OBJECTS_MOST) return false;
            lua_pushvalue(L, -2);
            lua_pushboolean(L, 1);
            lua_rawset(L, k->seen);
            lua_pushvalue(L, -2);
            lua_rawseti(L, k->todo, ++k->left);
        }
        lua_pop(L, 1);
        break;
    default: break;
    }
    lua_pop(L, 1);
    return true;
}

static bool look_into_table(Look *k) { /* the table is on top */
    lua_State *L = k->L;
    int table = lua_gettop(L);
    if (lua_getmetatable(L, table) && !meet(k)) return false;
    lua_pushnil(L);
    while (lua_next(L, table) != 0) {
        int key = lua_type(L, -2);
        if (key == LUA_TTABLE || key == LUA_TFUNCTION || key == LUA_TUSERDATA || key == LUA_TTHREAD) return false;
        if (!meet(k)) return false;
    }
    return true;
}

static bool look_into_function(Look *k) {
    int function = lua_gettop(k->L);
    bool in_lua = !lua_iscfunction(k->L, function);
    for (int i = 1; lua_getupvalue(k->L, function, i) != NULL; i++)
        if (!meet(k) || (in_lua && !add_upvalue(k, lua_upvalueid(k->L, function, i)))) return false;
    return true;
}

/* Everything is reached from the registry, and from the metatables of the types. In protected mode: it allocates. */
static int look(lua_State *L) {
    Look *k = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lua_createtable(L, 0, 64);
    lua_createtable(L, 64, 0);
    if (!lua_checkstack(L, 20)) return 0;
    lua_pushvalue(L, LUA_REGISTRYINDEX);
    bool good = meet(k);
    lua_pushliteral(L, "");
    if (good && lua_getmetatable(L, -1)) good = meet(k);
    lua_pushlightuserdata(L, NULL);
    if (good && lua_getmetatable(L, -1)) good = meet(k);
    while (good && k->left > 0) {
        lua_settop(L, 2);
        bool table = lua_rawgeti(L, 2, k->left--) == LUA_TTABLE;
        good = table ? look_into_table(k) : look_into_function(k);
    }
    lua_settop(L, 0);
    lua_pushboolean(L, good);
    return 1;
}

/* True: k->upvalues (the caller frees it in any case) has all of them. */
static bool can_be_copied(Vm *vm, Look *k) {
    int results;
    if (vm->impure || vm->has_finalizers || vm->doomed) return false;
    *k = (Look){.L = vm->L, .seen = 1, .todo = 2};
    lua_settop(vm->L, 0);
    lua_sethook(vm->L, NULL, 0, 0);
    lua_pushcfunction(vm->L, look);
    lua_pushlightuserdata(vm->L, k);
    bool good = lua_resume(vm->L, NULL, 1, &results) == LUA_OK && lua_toboolean(vm->L, -1);
    lua_settop(vm->L, 0);
    return good;
}

/* ---- taking ---- */

typedef struct Word {
    Place is, to;
} Word;

typedef struct Taking {
    Image *image;
    Block *blocks; /* by address */
    size_t block_count;
    Word *words;
    size_t word_count, word_room;
} Taking;

static int by_address(const void *a, const void *b) {
    const Block *s = a, *t = b;
    return s->from < t->from ? -1 : s->from > t->from;
}

/* The place an address means: in a block, or right behind its last byte. False: it is none of the VM's. */
static bool find_place(const Taking *t, uintptr_t address, Place *out) {
    size_t low = 0, high = t->block_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if ((uintptr_t)t->blocks[middle].from <= address) low = middle + 1;
        else high = middle;
    }
    if (low == 0) return false;
    const Block *b = &t->blocks[low - 1];
    if (address > (uintptr_t)b->from + b->size) return false; /* blocks have a head before them: no two touch */
    *out = (Place){b->part, b->at + (uint32_t)(address - (uintptr_t)b->from)};
    return true;
}

/* Lists the blocks, oldest first, and says where in a copy each will lie. */
static int lay_out(Taking *t, const Arena *a) {
    Image *image = t->image;
    size_t count = 0, larges = 0, at = sizeof(ArenaChunk);
    for (ArenaLarge *l = a->larges; l != NULL; l = l->next) count++;
    if (count == 0 || count > BLOCKS_MOST) return UV_E2BIG;
    t->blocks = calloc(count, sizeof *t->blocks);
    image->parts = calloc(count + 1, sizeof *image->parts);
    if (t->blocks == NULL || image->parts == NULL) return UV_ENOMEM;
    t->block_count = count;
    size_t i = count;
    for (ArenaLarge *l = a->larges; l != NULL; l = l->next)
        t->blocks[--i] = (Block){.from = (char *)(l + 1), .size = l->size - sizeof *l};
    bool chunk = false;
    for (i = 0; i < count; i++) chunk = chunk || arena_small_size(t->blocks[i].size) > 0;
    for (i = 0; i < count; i++) {
        Block *b = &t->blocks[i];
        size_t small = arena_small_size(b->size);
        if (small > 0) {
            b->at = (uint32_t)at;
            at += small;
            image->used += small;
            if (at > UINT32_MAX / 2) return UV_E2BIG;
            continue;
        }
        if (b->size > UINT32_MAX / 2) return UV_E2BIG;
        b->part = (uint32_t)(chunk + larges++);
        b->at = sizeof(ArenaLarge);
        image->parts[b->part] = (Part){b->size + sizeof(ArenaLarge), b->size + sizeof(ArenaLarge), NULL, true};
        image->used += b->size + sizeof(ArenaLarge);
    }
    if (chunk) image->parts[0] = (Part){pool_round(at + HEADROOM), at, NULL, false};
    image->part_count = (uint32_t)(chunk + larges);
    return 0;
}

static int copy_bytes(Taking *t) {
    Image *image = t->image;
    size_t bytes = 0;
    for (uint32_t i = 0; i < image->part_count; i++) bytes += (image->parts[i].used + 7) & ~(size_t)7;
    if ((image->copy = calloc(1, bytes)) == NULL) return UV_ENOMEM;
    bytes = 0;
    for (uint32_t i = 0; i < image->part_count; i++) {
        image->parts[i].bytes = image->copy + bytes;
        bytes += (image->parts[i].used + 7) & ~(size_t)7;
    }
    for (size_t i = 0; i < t->block_count; i++) {
        const Block *b = &t->blocks[i];
        memcpy((char *)image->parts[b->part].bytes + b->at, b->from, b->size);
    }
    return 0;
}

static void mark_upvalues(Taking *t, const Look *k) {
    for (size_t i = 0; i < k->upvalue_count; i++) {
        const Block wanted = {.from = k->upvalues[i]};
        Block *b = bsearch(&wanted, t->blocks, t->block_count, sizeof *b, by_address);
        if (b != NULL) b->upvalue = true;
    }
}

static int find_words(Taking *t) {
    for (size_t i = 0; i < t->block_count; i++) {
        const Block *b = &t->blocks[i];
        size_t end = b->upvalue ? b->size - 8 : b->size;
        for (size_t at = 0; at + 8 <= end; at += 8) {
            uint64_t word;
            Place to;
            memcpy(&word, b->from + at, 8);
            if (word % 8 != 0 || !find_place(t, (uintptr_t)word, &to)) continue;
            if (t->word_count == t->word_room) {
                size_t room = t->word_room == 0 ? 1024 : t->word_room * 2;
                Word *words = realloc(t->words, room * sizeof *words);
                if (words == NULL) return UV_ENOMEM;
                t->words = words, t->word_room = room;
            }
            t->words[t->word_count++] = (Word){{b->part, b->at + (uint32_t)at}, to};
        }
    }
    return 0;
}

static int by_run(const void *a, const void *b) {
    const Word *v = a, *w = b;
    if (v->is.part != w->is.part) return v->is.part < w->is.part ? -1 : 1;
    if (v->to.part != w->to.part) return v->to.part < w->to.part ? -1 : 1;
    return v->is.at < w->is.at ? -1 : v->is.at > w->is.at;
}

/* In the image's bytes the addresses become offsets, so that a copy adds the begin of a part. */
static int sort_words(Taking *t) {
    Image *image = t->image;
    image->offsets = malloc((t->word_count + 1) * sizeof *image->offsets);
    image->runs = malloc((t->word_count + 1) * sizeof *image->runs);
    if (image->offsets == NULL || image->runs == NULL) return UV_ENOMEM;
    if (t->word_count > 0) qsort(t->words, t->word_count, sizeof *t->words, by_run);
    for (size_t i = 0; i < t->word_count; i++) {
        const Word *w = &t->words[i];
        Run *last = image->run_count > 0 ? &image->runs[image->run_count - 1] : NULL;
        if (last == NULL || last->in != w->is.part || last->to != w->to.part)
            image->runs[image->run_count++] = (Run){w->is.part, w->to.part, (uint32_t)i, 1};
        else last->count++;
        image->offsets[i] = w->is.at;
        uint64_t offset = w->to.at;
        memcpy((char *)image->parts[w->is.part].bytes + w->is.at, &offset, 8);
    }
    return 0;
}

Image *image_take(Vm *vm) {
    Look k = {0};
    Taking t = {0};
    int err = can_be_copied(vm, &k) ? 0 : UV_EINVAL;
    if (err == 0) {
        lua_gc(vm->L, LUA_GCCOLLECT);
        t.image = calloc(1, sizeof *t.image);
        err = t.image != NULL ? lay_out(&t, &vm->arena) : UV_ENOMEM;
    }
    if (err == 0) err = copy_bytes(&t);
    if (err == 0) {
        qsort(t.blocks, t.block_count, sizeof *t.blocks, by_address);
        mark_upvalues(&t, &k);
        err = find_words(&t);
    }
    if (err == 0) err = sort_words(&t);
    if (err == 0 && !(find_place(&t, (uintptr_t)vm->L, &t.image->L) &&
                      find_place(&t, (uintptr_t)vm->sandbox, &t.image->sandbox)))
        err = UV_EINVAL;
    free(k.upvalues);
    free(t.blocks);
    free(t.words);
    if (err == 0) return t.image;
    image_free(t.image);
    return NULL;
}

void image_free(Image *image) {
    if (image == NULL) return;
    free(image->parts);
    free(image->runs);
    free(image->offsets);
    free(image->copy);
    free(image);
}

/* ---- copying ---- */

#define FEW 8

int image_open(Vm *vm, const Image *image, size_t memory_limit, struct Actor *actor) {
    char *few[FEW], **bases = few;
    uint32_t count = image->part_count, got = 0;
    int err = UV_ENOMEM;
    vm->L = NULL;
    if (image->used > memory_limit) return UV_ENOMEM;
    if (count > FEW && (bases = malloc(count * sizeof *bases)) == NULL) return UV_ENOMEM;
    for (; got < count; got++) {
        const Part *p = &image->parts[got];
        if ((bases[got] = pool_alloc(p->size)) == NULL) goto end;
        memcpy(bases[got], p->bytes, p->used);
    }
    for (uint32_t r = 0; r < image->run_count; r++) {
        const Run *run = &image->runs[r];
        char *base = bases[run->in];
        uint64_t to = (uint64_t)(uintptr_t)bases[run->to];
        for (const uint32_t *o = image->offsets + run->first, *end = o + run->count; o < end; o++)
            *(uint64_t *)(base + *o) += to;
    }

    Arena *a = &vm->arena;
    arena_open(a, memory_limit);
    a->used = image->used;
    for (uint32_t i = 0; i < count; i++) {
        const Part *p = &image->parts[i];
        if (p->large) {
            ArenaLarge *l = (ArenaLarge *)bases[i];
            *l = (ArenaLarge){a->larges, NULL, p->size, 0};
            if (a->larges != NULL) a->larges->before = l;
            a->larges = l;
        } else {
            ArenaChunk *c = (ArenaChunk *)bases[i];
            *c = (ArenaChunk){NULL, p->size};
            a->chunks = c;
            a->at = bases[i] + p->used;
            a->end = bases[i] + p->size;
        }
    }
    vm->L = (lua_State *)(bases[image->L.part] + image->L.at);
    vm->sandbox = (struct Sandbox *)(bases[image->sandbox.part] + image->sandbox.at);
    vm->actor = actor;
    lua_setallocf(vm->L, arena_alloc, a);
    *(Vm **)lua_getextraspace(vm->L) = vm;
    err = 0;
    got = 0;
end:
    while (got > 0) got--, pool_free(bases[got], image->parts[got].size);
    if (bases != few) free(bases);
    return err;
}
