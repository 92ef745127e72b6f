/* door.atom - core/mail/atom.c for specs. Atoms are never taken back: a spec that fills the table does so in a child.
 */
#include "mail/atom.h"
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int luaopen_door_atom(lua_State *L);

static int door_intern(lua_State *L) {
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_pushinteger(L, atom_intern(text, len));
    return 1;
}

static int door_find(lua_State *L) {
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_pushinteger(L, atom_find(text, len));
    return 1;
}

static int door_text(lua_State *L) {
    size_t len;
    const char *text = atom_text((uint32_t)luaL_checkinteger(L, 1), &len);
    if (strlen(text) > len || text != atom_text((uint32_t)luaL_checkinteger(L, 1), NULL))
        return luaL_error(L, "text and length do not fit");
    lua_pushlstring(L, text, len);
    return 1;
}

/* In the child: 0 if all is right, else the line of what is not. */
static int fill(void) {
#define EXPECT(what) if (!(what)) return __LINE__
    char text[32];
    uint32_t id = 0, last = 0, count = 0;
    for (uint32_t i = 0; i < ATOM_MAX + 10; i++) {
        int len = snprintf(text, sizeof text, "fill%u", i);
        id = atom_intern(text, (size_t)len);
        EXPECT(id <= ATOM_MAX && (id == 0 || id > last));
        EXPECT(id == 0 || atom_find(text, (size_t)len) == id);
        if (id != 0) last = id, count++;
    }
    EXPECT(last == ATOM_MAX && count > ATOM_MAX - 5000);
    EXPECT(atom_intern("one more", 8) == 0 && atom_find("one more", 8) == 0);
    EXPECT(atom_intern("fill7", 5) == atom_find("fill7", 5) && atom_find("fill7", 5) != 0);
    EXPECT(strcmp(atom_text(atom_find("fill7", 5), NULL), "fill7") == 0);
    return 0;
#undef EXPECT
}

/* fill() -> 0, or the line in this file where it went wrong */
static int door_fill(lua_State *L) {
    int pipes[2], line = -1;
    if (pipe(pipes) < 0) return luaL_error(L, "no pipe");
    pid_t pid = fork();
    if (pid == 0) {
        line = fill();
        _exit(write(pipes[1], &line, sizeof line) == sizeof line ? 0 : 1);
    }
    close(pipes[1]);
    if (read(pipes[0], &line, sizeof line) != sizeof line) line = -1;
    close(pipes[0]);
    if (pid > 0) waitpid(pid, NULL, 0);
    lua_pushinteger(L, line);
    return 1;
}

/* ---- threads that intern the same texts ---- */

#define THREADS_MOST 8
#define TEXTS 500

typedef struct Reader {
    pthread_t thread;
    size_t start, wrong;
    uint32_t ids[TEXTS];
} Reader;

static void *intern_all(void *argument) {
    Reader *r = argument;
    for (size_t i = 0; i < TEXTS; i++) {
        char text[32];
        size_t which = (r->start + i * 7) % TEXTS, len = (size_t)snprintf(text, sizeof text, "race%zu", which);
        uint32_t before = atom_find(text, len), id = atom_intern(text, len);
        r->wrong += id == 0 || (before != 0 && before != id) || strcmp(atom_text(id, NULL), text) != 0;
        r->ids[which] = id;
    }
    return NULL;
}

/* race(threads) -> wrong */
static int door_race(lua_State *L) {
    static Reader readers[THREADS_MOST];
    size_t count = (size_t)luaL_checkinteger(L, 1), wrong = 0;
    luaL_argcheck(L, count >= 1 && count <= THREADS_MOST, 1, "1 to 8");
    for (size_t i = 0; i < count; i++) {
        readers[i].start = i * 31;
        readers[i].wrong = 0;
        if (pthread_create(&readers[i].thread, NULL, intern_all, &readers[i]) != 0) abort();
    }
    for (size_t i = 0; i < count; i++) pthread_join(readers[i].thread, NULL);
    for (size_t i = 0; i < count; i++) {
        wrong += readers[i].wrong;
        for (size_t k = 0; k < TEXTS; k++) wrong += readers[i].ids[k] != readers[0].ids[k];
    }
    lua_pushinteger(L, (lua_Integer)wrong);
    return 1;
}

int luaopen_door_atom(lua_State *L) {
    static const luaL_Reg functions[] = {{"intern", door_intern}, {"find", door_find}, {"text", door_text},
                                         {"fill", door_fill},     {"race", door_race}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_pushinteger(L, ATOM_TEXT_MAX);
    lua_setfield(L, -2, "TEXT_MAX");
    return 1;
}
