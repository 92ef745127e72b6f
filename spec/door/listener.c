/* listener.c - a door to the other end of a Unix socket, for specs that play a node: nothing here waits.
 *
 *     listener.listen(path) -> listener | nil, why
 *     listener:accept() -> peer | nil      listener:close()
 *     peer:read() -> text, "" if there is nothing now, nil at its end
 *     peer:write(text) -> how many bytes went out      peer:close() */
#include <errno.h>
#include <lauxlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define HANDLE "door.listener"

static int push_handle(lua_State *L, int fd) {
    int *handle = lua_newuserdatauv(L, sizeof *handle, 0);
    *handle = fd;
    luaL_setmetatable(L, HANDLE);
    return 1;
}

static int handle_of(lua_State *L) {
    return *(int *)luaL_checkudata(L, 1, HANDLE);
}

static int listener_close(lua_State *L) {
    int *handle = luaL_checkudata(L, 1, HANDLE);
    if (*handle >= 0) close(*handle);
    *handle = -1;
    return 0;
}

static int listener_listen(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    luaL_argcheck(L, strlen(path) < sizeof address.sun_path, 1, "too long");
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    unlink(path);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 16) == 0)
        return push_handle(L, fd);
    lua_pushnil(L);
    lua_pushstring(L, strerror(errno));
    if (fd >= 0) close(fd);
    return 2;
}

static int listener_accept(lua_State *L) {
    int fd = accept4(handle_of(L), NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return fd < 0 ? 0 : push_handle(L, fd);
}

static int listener_read(lua_State *L) {
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    ssize_t got = read(handle_of(L), luaL_prepbuffer(&text), LUAL_BUFFERSIZE);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return 0;
    luaL_pushresultsize(&text, got > 0 ? (size_t)got : 0);
    return 1;
}

static int listener_write(lua_State *L) {
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    ssize_t sent = send(handle_of(L), text, len, MSG_NOSIGNAL);
    lua_pushinteger(L, sent > 0 ? sent : 0);
    return 1;
}

static const luaL_Reg methods[] = {
    {"accept", listener_accept}, {"read", listener_read}, {"write", listener_write}, {"close", listener_close},
    {"__gc", listener_close}, {NULL, NULL},
};

static const luaL_Reg functions[] = {{"listen", listener_listen}, {NULL, NULL}};

int luaopen_door_listener(lua_State *L);
int luaopen_door_listener(lua_State *L) {
    if (luaL_newmetatable(L, HANDLE)) {
        luaL_setfuncs(L, methods, 0);
        lua_pushvalue(L, -1);
        lua_setfield(L, -2, "__index");
    }
    luaL_newlib(L, functions);
    return 1;
}
