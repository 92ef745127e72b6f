#include "actor/behaviour.h"

#include <lauxlib.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "actor/actor.h"
#include "actor/handle.h"
#include "actor/image.h"
#include "actor/reload.h"
#include "actor/report.h"
#include "actor/vm.h"
#include "ground/clock.h"
#include "ground/config.h"
#include "ground/hash.h"
#include "mail/atom.h"
#include "mail/mailbox.h"

#define TRIAL_MEMORY ((size_t)256 << 20)

/* A body that is being tried out. */
typedef struct Trial {
    Vm vm; /* first: vm_of leads here */
    Behaviour *behaviour;
    const BehaviourTrial *how; /* NULL: there is nothing special about it */
    uint64_t hash;
} Trial;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards `known`; held while one is tried out */
static Behaviour *known;
static BehaviourOpenLibs open_libs;

void behaviour_open(BehaviourOpenLibs opener) { open_libs = opener; }

/* True: it was known already. */
static bool uses(Behaviour *b, const Source *module) {
    for (size_t i = 0; i < b->use_count; i++)
        if (b->uses[i] == module) return true;
    if ((b->use_count & (b->use_count - 1)) == 0) { /* full at each power of two */
        const Source **more = realloc(b->uses, (b->use_count == 0 ? 1 : b->use_count * 2) * sizeof *more);
        if (more == NULL) return false; /* an edit of that module goes unnoticed */
        b->uses = more;
    }
    b->uses[b->use_count++] = module;
    return false;
}

int behaviour_require(lua_State *L, const char *name, const Source **out, char *err, size_t err_size) {
    const Actor *a = vm_of(L)->actor;
    if (a != NULL) {
        const Behaviour *b = reload_version(a);
        for (size_t i = 0; i < b->use_count; i++)
            if (strcmp(b->uses[i]->name, name) == 0) {
                *out = b->uses[i];
                return 0;
            }
        return b->source->origin != NULL ? source_for(b->source->origin, name, out, err, err_size)
                                         : source_find(name, out, err, err_size);
    }
    Trial *t = (Trial *)vm_of(L);
    int result = t->how != NULL ? t->how->find(t->how->context, name, out, err, err_size)
                                : source_find(name, out, err, err_size);
    if (result == 0 && !uses(t->behaviour, *out))
        t->hash += hash_mix((*out)->hash ^ hash_bytes(name, strlen(name))); /* in any order */
    return result;
}

/* The table on top of the stack: what the node wants to know of it. Raises for settings that make no sense. */
static void learn(lua_State *L, Behaviour *b) {
    lua_getfield(L, -1, "concurrent");
    if (!lua_isnil(L, -1) && !lua_isboolean(L, -1)) luaL_error(L, "'concurrent' must be true or false");
    b->concurrent = lua_toboolean(L, -1);
    lua_pop(L, 1);
    b->migrates = lua_getfield(L, -1, "migrate") == LUA_TFUNCTION;
    b->checks = lua_getfield(L, -2, "check") == LUA_TFUNCTION;
    lua_pop(L, 2);
    b->hears_interrupt = lua_getfield(L, -1, "on_interrupt") == LUA_TFUNCTION;
    b->hears_name = lua_getfield(L, -2, "on_name") == LUA_TFUNCTION;
    lua_pop(L, 2);
    if (lua_getfield(L, -1, "mailbox") == LUA_TTABLE) {
        if (lua_getfield(L, -1, "limit") != LUA_TNIL) {
            lua_Integer limit = luaL_checkinteger(L, -1);
            if (limit < 1 || limit > MAILBOX_LIMIT_MAX)
                luaL_error(L, "'mailbox.limit' must be from 1 to %d", MAILBOX_LIMIT_MAX);
            b->mailbox_limit = (uint32_t)limit;
        }
        lua_pop(L, 1);
        if (lua_getfield(L, -1, "full") != LUA_TNIL) {
            const char *full = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
            for (uint8_t i = 0; mailbox_fulls[i] != NULL; i++)
                if (strcmp(full, mailbox_fulls[i]) == 0) b->mailbox_full = i + 1;
            if (b->mailbox_full == 0)
                luaL_error(L, "'mailbox.full' must be \"refuse\", \"drop_newest\", \"drop_oldest\" or \"latest\"");
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        size_t len;
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &len) : NULL;
        if (key != NULL && len > 3 && memcmp(key, "on_", 3) == 0 && lua_type(L, -1) == LUA_TFUNCTION)
            atom_intern(key + 3, len - 3);
        lua_pop(L, 1);
    }
}

static int try_body(lua_State *L) {
    Trial *t = (Trial *)vm_of(L);
    const Source *s = t->behaviour->source;
    open_libs(L);
    source_push(L, s);
    lua_pushstring(L, s->name);
    lua_pushstring(L, s->path);
    lua_call(L, 2, 1);
    if (lua_type(L, -1) != LUA_TTABLE)
        return luaL_error(L, "%s is no behaviour: it returned %s, not a table of handlers", s->path,
                          lua_isnoneornil(L, -1) ? "nothing" : luaL_typename(L, -1));
    learn(L, t->behaviour);
    if (t->how != NULL) t->how->look(t->how->context, L, t->behaviour);
    handle_make(L);
    return 0;
}

static int try_out(Behaviour *b, const BehaviourTrial *how, char *err, size_t err_size) {
    Trial t = {.behaviour = b, .how = how, .hash = b->source->hash};
    int results, result = 0;
    snprintf(err, err_size, "out of memory while loading %s", b->source->path);
    if (vm_open_apart(&t.vm, TRIAL_MEMORY) < 0) return UV_ENOMEM;
    t.vm.deadline = clock_real() + (uint64_t)config.body_timeout * CLOCK_NS_PER_MS;
    lua_pushcfunction(t.vm.L, try_body);
    int status = vm_resume(t.vm.L, NULL, 0, &results);
    if (t.vm.doomed) {
        result = UV_EINVAL;
        snprintf(err, err_size, "%s: its body ran longer than %lld ms (body.timeout)", b->source->path,
                 (long long)config.body_timeout);
    } else if (status == LUA_YIELD) {
        result = UV_EINVAL;
        snprintf(err, err_size, "%s: a module's body can't wait", b->source->path);
    } else if (status != LUA_OK) {
        result = UV_EINVAL;
        report_text(t.vm.L, status, err, err_size);
    }
    t.vm.deadline = 0;
    if (result == 0) b->image = image_take(&t.vm);
    vm_close(&t.vm);
    snprintf(b->version, sizeof b->version, "%016llx", (unsigned long long)hash_mix(t.hash));
    return result;
}

static void behaviour_free(Behaviour *b) {
    image_free(b->image);
    free(b->uses);
    free(b);
}

static int make(const Source *s, const BehaviourTrial *how, Behaviour **out, char *err, size_t err_size) {
    Behaviour *b = calloc(1, sizeof *b);
    if (b == NULL) {
        snprintf(err, err_size, "out of memory");
        return UV_ENOMEM;
    }
    b->source = s;
    b->kind = (SlotKind){s->name, b->version};
    int result = try_out(b, how, err, err_size);
    if (result < 0) behaviour_free(b);
    else *out = b;
    return result;
}

/* Under the lock. */
static int add(const Source *s, const Behaviour **out, char *err, size_t err_size) {
    Behaviour *b;
    int result = make(s, NULL, &b, err, err_size);
    if (result < 0) return result;
    b->next = known;
    known = b;
    *out = b;
    return 0;
}

int behaviour_find(const char *name, const Behaviour **out, char *err, size_t err_size) {
    const Source *s;
    int result = 0;
    pthread_mutex_lock(&lock);
    for (Behaviour *b = known; b != NULL; b = b->next)
        if (!b->retired && b->source->origin == NULL && strcmp(b->source->name, name) == 0) {
            *out = b;
            goto end;
        }
    result = source_find(name, &s, err, err_size);
    if (result == 0) result = add(s, out, err, err_size);
end:
    pthread_mutex_unlock(&lock);
    return result;
}

int behaviour_file(const char *path, const Behaviour **out, char *err, size_t err_size) {
    const Source *s;
    pthread_mutex_lock(&lock);
    int result = source_file(path, &s, err, err_size);
    if (result == 0) result = add(s, out, err, err_size);
    pthread_mutex_unlock(&lock);
    return result;
}

/* ---- versions ---- */

int behaviour_try(const Source *s, const BehaviourTrial *trial, const Behaviour **out, char *err, size_t err_size) {
    Behaviour *b;
    int result = make(s, trial, &b, err, err_size);
    if (result < 0) return result;
    pthread_mutex_lock(&lock);
    for (Behaviour *k = known; k != NULL; k = k->next)
        if (strcmp(k->source->path, s->path) == 0 && strcmp(k->source->name, s->name) == 0 &&
            strcmp(k->version, b->version) == 0) {
            *out = k;
            pthread_mutex_unlock(&lock);
            behaviour_free(b);
            return 0;
        }
    b->retired = true;
    b->next = known;
    known = b;
    pthread_mutex_unlock(&lock);
    *out = b;
    return 0;
}

const Behaviour *behaviour_next(const Behaviour *after) {
    pthread_mutex_lock(&lock);
    const Behaviour *b = after == NULL ? known : after->next;
    pthread_mutex_unlock(&lock);
    return b;
}

BehaviourState behaviour_state(const Behaviour *b) {
    pthread_mutex_lock(&lock);
    BehaviourState state = {!b->retired, b->before, b->set};
    pthread_mutex_unlock(&lock);
    return state;
}

void behaviour_become(const BehaviourPair *pairs, size_t count, bool back) {
    static uint64_t sets;
    pthread_mutex_lock(&lock);
    sets++;
    for (size_t i = 0; i < count; i++) {
        Behaviour *from = (Behaviour *)pairs[i].from, *to = (Behaviour *)pairs[i].to; /* ours: we made them */
        if (from == to) continue;
        from->retired = true;
        to->retired = false;
        if (!back) to->before = from, to->set = sets;
        atomic_store_explicit(&to->instead, NULL, memory_order_relaxed); /* seen with the next: it is a release */
        atomic_store_explicit(&from->instead, to, memory_order_release);
        source_become(to->source);
        for (size_t u = 0; u < to->use_count; u++)
            if (!to->uses[u]->built_in) source_become(to->uses[u]);
    }
    pthread_mutex_unlock(&lock);
}

/* ---- of other nodes ---- */

size_t behaviour_files(const Behaviour *b, const Source **out, size_t most) {
    size_t count = 0;
    for (size_t i = 0; i <= b->use_count; i++) {
        const Source *s = i == 0 ? b->source : b->uses[i - 1];
        if (s->built_in) continue;
        if (count < most) out[count] = s;
        count++;
    }
    return count;
}

static bool has_file(const Behaviour *b, const BehaviourFile *f) {
    for (size_t i = 0; i < b->use_count; i++)
        if (source_is(b->uses[i], f->hash, f->size) && strcmp(b->uses[i]->name, f->name) == 0) return true;
    return false;
}

static bool has_files(const Behaviour *b, const BehaviourFile *files, size_t count) {
    if (behaviour_files(b, NULL, 0) != count || !source_is(b->source, files[0].hash, files[0].size)) return false;
    for (size_t i = 1; i < count; i++)
        if (!has_file(b, &files[i])) return false;
    return true;
}

static bool is_from(const Behaviour *b, const char *origin) {
    const char *its = b->source->origin;
    return origin == NULL ? its == NULL : its != NULL && strcmp(its, origin) == 0;
}

/* Of those that came from its node under its name. Under the lock. */
static void retire_others(const Behaviour *current) {
    for (Behaviour *b = known; b != NULL; b = b->next)
        if (is_from(b, current->source->origin) && strcmp(b->source->name, current->source->name) == 0)
            b->retired = b != current;
}

int behaviour_match(const char *origin, const char *name, const BehaviourFile *files, size_t count,
                    const Behaviour **out) {
    if (pthread_mutex_trylock(&lock) != 0) return UV_EBUSY;
    const Behaviour *b = known;
    for (; b != NULL; b = b->next) {
        if (strcmp(b->source->name, name) != 0 || !is_from(b, origin)) continue;
        if (count == 0 ? !b->retired : has_files(b, files, count)) break;
    }
    if (b != NULL && origin != NULL) retire_others(b);
    pthread_mutex_unlock(&lock);
    *out = b;
    return b != NULL ? 0 : UV_ENOENT;
}

typedef struct Arrival {
    const Source *const *set;
    size_t count;
    char *missing; /* the first module that is not there */
} Arrival;

static int find_arrived(void *context, const char *name, const Source **out, char *err, size_t err_size) {
    const Arrival *a = context;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->set[i]->name, name) == 0) {
            *out = a->set[i];
            return 0;
        }
    int result = source_for(a->set[0]->origin, name, out, err, err_size);
    if (result == 0 && (*out)->built_in) return 0;
    if (result == 0) { /* a module that came with another: which version belongs here only its node knows */
        snprintf(err, err_size, "no module '%s' has come with '%s'", name, a->set[0]->name);
        result = UV_ENOENT;
    }
    if (result == UV_ENOENT && a->missing[0] == '\0') snprintf(a->missing, 256, "%s", name);
    return result;
}

static void look_at_nothing(void *context, lua_State *L, const Behaviour *b) { (void)context, (void)L, (void)b; }

int behaviour_arrive(const Source *const *set, size_t count, const Behaviour **out, char missing[256], char *err,
                     size_t err_size) {
    Arrival arrival = {set, count, missing};
    const BehaviourTrial trial = {find_arrived, look_at_nothing, &arrival};
    missing[0] = '\0';
    int result = behaviour_try(set[0], &trial, out, err, err_size);
    if (result == 0) {
        pthread_mutex_lock(&lock);
        retire_others(*out);
        pthread_mutex_unlock(&lock);
    }
    return result < 0 && missing[0] != '\0' ? UV_ENOENT : result;
}

void behaviour_close(void) {
    while (known != NULL) {
        Behaviour *b = known;
        known = b->next;
        behaviour_free(b);
    }
}
