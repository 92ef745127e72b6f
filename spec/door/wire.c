/* wire.c - a door to a network that is nothing but a thread of this process: every place on it is a network namespace
 * with one interface, whose packets come to us. We hand them on: late, in another order, at some bytes a second, or not
 * at all. There is nothing to clean up: the namespaces have no names, and end with the processes in them and with us.
 *
 *     wire.open(places, seed)   -> wire | nil, why it can't be here; the places are 10.77.0.1, 10.77.0.2 ...
 *     wire:namespace(place)     -> file descriptor, for process.start{netns =}
 *     wire:rule(from, to, {cut = true, loss = 0.2, delay = ms, jitter = ms, rate = bytes a second, queue = bytes,
 *                          without = bytes, port = number})
 *                               for the packets of one direction from now on; {} is a perfect wire. `without`: what
 *                               begins with that, as what TCP carries (to that port), does not pass: the rest of its
 *                               stream must wait
 *     wire:counts(from, to)     -> {packets =, bytes =, cut =, lost =, crowded =, overtook =}: what came in and what
 *                               became of it; overtook: handed on before one that had come earlier
 *     wire:close()
 *
 * What is lost, and how late each packet is, follows from the seed and the order of packets. `jitter` is added to
 * `delay` for each packet anew (of 0 to that), so they overtake each other; `rate` alone keeps their order, with
 * `queue` bytes (256 KB) before it: what does not fit is dropped ("crowded"), as a router does.
 * Threads: Lua's sets rules, ours moves packets; a lock guards all they share. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define WIRE "door.wire"
#define PLACES_MOST 64
#define NETWORK 0x0a4d0000u /* 10.77.0.0 */
#define PACKET_MOST 1500
#define BATCH 32 /* packets of one place in one turn */
#define QUEUE (256 * 1024)
#define WITHOUT_MOST 16

typedef struct Rule {
    bool cut;
    unsigned char without[WITHOUT_MOST];
    size_t without_len;
    int port; /* 0 = any */
    double loss, delay, jitter, rate, queue; /* ns, bytes a second, bytes */
} Rule;

typedef struct Counts {
    uint64_t packets, bytes, cut, lost, crowded, overtook;
} Counts;

typedef struct Way { /* from one place to one other */
    Rule rule;
    Counts counts;
    uint64_t free_at;    /* when the last byte accepted has left, with a rate */
    uint64_t came, went; /* number of the last packet that came, and the highest that went */
    uint64_t waiting;    /* packets held back */
} Way;

typedef struct Packet {
    uint64_t due, number; /* number: on its way */
    Way *way;
    int to;
    size_t len;
    unsigned char bytes[];
} Packet;

typedef struct Wire {
    int places, wake;
    bool running, ends;
    int spaces[PLACES_MOST], taps[PLACES_MOST];
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    uint64_t seed;
    Way *ways;            /* places * places */
    Packet **heap;        /* the next one due is the first */
    size_t held, room;
} Wire;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* xorshift64*; 0 to 1 */
static double dice(Wire *w) {
    w->seed ^= w->seed >> 12;
    w->seed ^= w->seed << 25;
    w->seed ^= w->seed >> 27;
    return (double)(w->seed * 2685821657736338717u >> 11) / (double)(1ull << 53);
}

/* ---- packets that wait: a heap; under the lock ---- */

static bool before(const Packet *a, const Packet *b) {
    return a->due < b->due || (a->due == b->due && a->number < b->number);
}

static bool hold(Wire *w, Packet *p) {
    if (w->held == w->room) {
        size_t room = w->room == 0 ? 1024 : 2 * w->room;
        Packet **more = realloc(w->heap, room * sizeof *more);
        if (more == NULL) return false;
        w->heap = more;
        w->room = room;
    }
    size_t at = w->held++;
    for (; at > 0 && before(p, w->heap[(at - 1) / 2]); at = (at - 1) / 2) w->heap[at] = w->heap[(at - 1) / 2];
    w->heap[at] = p;
    return true;
}

static Packet *take_first(Wire *w) {
    Packet *first = w->heap[0], *last = w->heap[--w->held];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < w->held) {
        if (child + 1 < w->held && before(w->heap[child + 1], w->heap[child])) child++;
        if (!before(w->heap[child], last)) break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return first;
}

/* ---- moving ---- */

static void hand_on(Wire *w, Way *way, uint64_t number, int to, const unsigned char *bytes, size_t len) {
    if (number < way->went) way->counts.overtook++;
    else way->went = number;
    if (write(w->taps[to], bytes, len) < 0) way->counts.crowded++;
}

/* What TCP carries in it begins with what may not pass. */
static bool unwanted(const Rule *r, const unsigned char *p, size_t len) {
    size_t head = (size_t)(p[0] & 15) * 4;
    if (r->without_len == 0 || p[9] != 6 || len < head + 20) return false;
    if (r->port != 0 && r->port != (p[head + 2] << 8 | p[head + 3])) return false;
    head += (size_t)(p[head + 12] >> 4) * 4;
    return len >= head + r->without_len && memcmp(p + head, r->without, r->without_len) == 0;
}

/* A packet has come: it is lost, held back, or handed on. */
static void judge(Wire *w, int from, const unsigned char *bytes, size_t len, uint64_t now) {
    uint32_t address;
    if (len < 20 || bytes[0] >> 4 != 4) return; /* not IPv4: a namespace's own noise */
    memcpy(&address, bytes + 16, sizeof address);
    uint32_t to = ntohl(address) - NETWORK - 1;
    if (to >= (uint32_t)w->places) return;
    Way *way = &w->ways[from * w->places + (int)to];
    const Rule *r = &way->rule;
    uint64_t number = ++way->came, due = now;
    way->counts.packets++;
    way->counts.bytes += len;
    if (r->cut || unwanted(r, bytes, len)) {
        way->counts.cut++;
        return;
    }
    if (r->loss > 0 && dice(w) < r->loss) {
        way->counts.lost++;
        return;
    }
    if (r->rate > 0) {
        uint64_t begins = way->free_at > now ? way->free_at : now;
        if ((double)(begins - now) * r->rate / 1e9 > r->queue) {
            way->counts.crowded++;
            return;
        }
        due = way->free_at = begins + (uint64_t)((double)len * 1e9 / r->rate);
    }
    if (r->delay > 0 || r->jitter > 0) due += (uint64_t)(r->delay + r->jitter * (r->jitter > 0 ? dice(w) : 0));
    if (due <= now && way->waiting == 0) {
        hand_on(w, way, number, (int)to, bytes, len);
        return;
    }
    Packet *p = malloc(sizeof *p + len);
    if (p != NULL) {
        *p = (Packet){due, number, way, (int)to, len};
        memcpy(p->bytes, bytes, len);
    }
    if (p == NULL || !hold(w, p)) {
        free(p);
        way->counts.crowded++;
        return;
    }
    way->waiting++;
}

static void *move_packets(void *arg) {
    Wire *w = arg;
    struct pollfd fds[PLACES_MOST + 1];
    for (int i = 0; i < w->places; i++) fds[i] = (struct pollfd){.fd = w->taps[i], .events = POLLIN};
    fds[w->places] = (struct pollfd){.fd = w->wake, .events = POLLIN};
    unsigned char bytes[PACKET_MOST];
    pthread_mutex_lock(&w->lock);
    while (!w->ends) {
        uint64_t now = now_ns();
        while (w->held > 0 && w->heap[0]->due <= now) {
            Packet *p = take_first(w);
            p->way->waiting--;
            hand_on(w, p->way, p->number, p->to, p->bytes, p->len);
            free(p);
        }
        struct timespec wait = {3600, 0};
        if (w->held > 0) {
            uint64_t ns = w->heap[0]->due - now;
            wait = (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
        }
        pthread_mutex_unlock(&w->lock);
        ppoll(fds, (nfds_t)w->places + 1, &wait, NULL);
        pthread_mutex_lock(&w->lock);
        now = now_ns();
        for (int i = 0; i < w->places; i++) {
            if (!(fds[i].revents & POLLIN)) continue;
            for (int k = 0; k < BATCH; k++) {
                ssize_t len = read(w->taps[i], bytes, sizeof bytes);
                if (len <= 0) break;
                judge(w, i, bytes, (size_t)len, now);
            }
        }
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- opening ---- */

/* Some machines have the device and no file for it. */
static int open_tun(void) {
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 || errno != ENOENT) return fd;
    char dir[] = "/tmp/throng-tun-XXXXXX", path[sizeof dir + 4];
    if (mkdtemp(dir) == NULL) return -1;
    snprintf(path, sizeof path, "%s/tun", dir);
    int err = mknod(path, S_IFCHR | 0600, makedev(10, 200)) < 0 ? errno : 0;
    if (err == 0 && (fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0) err = errno;
    unlink(path);
    rmdir(dir);
    errno = err;
    return fd;
}

/* In the namespace this thread is in: its one interface, with an address, and loopback. What failed, or NULL. */
static const char *furnish(int place, int *tap) {
    struct ifreq wire = {.ifr_flags = IFF_TUN | IFF_NO_PI}, lo = {.ifr_flags = IFF_UP};
    struct sockaddr_in *a = (struct sockaddr_in *)&wire.ifr_addr;
    const char *failed = NULL;
    strcpy(wire.ifr_name, "wire0");
    strcpy(lo.ifr_name, "lo");
    if ((*tap = open_tun()) < 0) return "/dev/net/tun";
    if (ioctl(*tap, TUNSETIFF, &wire) < 0) return "TUNSETIFF";
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s < 0) return "socket";
    *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(NETWORK + (uint32_t)place + 1)};
    if (ioctl(s, SIOCSIFADDR, &wire) < 0) failed = "SIOCSIFADDR";
    a->sin_addr.s_addr = htonl(0xffffff00u);
    if (failed == NULL && ioctl(s, SIOCSIFNETMASK, &wire) < 0) failed = "SIOCSIFNETMASK";
    wire.ifr_mtu = PACKET_MOST;
    if (failed == NULL && ioctl(s, SIOCSIFMTU, &wire) < 0) failed = "SIOCSIFMTU";
    wire.ifr_qlen = 5000; /* ours is the queue that drops; an ordinary user's stays at 500 */
    if (failed == NULL && ioctl(s, SIOCSIFTXQLEN, &wire) < 0 && errno != EPERM) failed = "SIOCSIFTXQLEN";
    wire.ifr_flags = IFF_UP | IFF_RUNNING;
    if (failed == NULL && (ioctl(s, SIOCSIFFLAGS, &wire) < 0 || ioctl(s, SIOCSIFFLAGS, &lo) < 0))
        failed = "SIOCSIFFLAGS";
    int err = errno;
    close(s);
    errno = err;
    return failed;
}

typedef struct Place {
    Wire *wire;
    int number, err;
    const char *failed;
} Place;

/* A thread of its own, which goes into a new namespace and ends there: an ordinary user's could not come back. */
static void *make_place(void *arg) {
    Place *p = arg;
    Wire *w = p->wire;
    if (unshare(CLONE_NEWNET) < 0) p->failed = "a network namespace";
    else if ((w->spaces[p->number] = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) < 0) p->failed = "/proc";
    else p->failed = furnish(p->number, &w->taps[p->number]);
    p->err = errno;
    return NULL;
}

static const char *make_places(Wire *w) {
    for (int i = 0; i < w->places; i++) {
        Place p = {.wire = w, .number = i};
        pthread_t thread;
        if ((errno = pthread_create(&thread, NULL, make_place, &p)) != 0) return "a thread";
        pthread_join(thread, NULL);
        errno = p.err;
        if (p.failed != NULL) return p.failed;
    }
    return NULL;
}

static void close_wire(Wire *w) {
    if (w->running) {
        pthread_mutex_lock(&w->lock);
        w->ends = true;
        pthread_mutex_unlock(&w->lock);
        eventfd_write(w->wake, 1);
        pthread_join(w->thread, NULL);
        w->running = false;
    }
    for (int i = 0; i < w->places; i++) {
        if (w->taps[i] >= 0) close(w->taps[i]);
        if (w->spaces[i] >= 0) close(w->spaces[i]);
        w->taps[i] = w->spaces[i] = -1;
    }
    if (w->wake >= 0) close(w->wake);
    w->wake = -1;
    while (w->held > 0) free(w->heap[--w->held]);
    free(w->heap);
    free(w->ways);
    w->heap = NULL;
    w->ways = NULL;
    w->room = 0;
}

static int wire_open(lua_State *L) {
    lua_Integer places = luaL_checkinteger(L, 1);
    luaL_argcheck(L, places >= 1 && places <= PLACES_MOST, 1, "1 to 64 places");
    Wire *w = lua_newuserdatauv(L, sizeof *w, 0);
    *w = (Wire){.places = (int)places, .wake = -1, .lock = PTHREAD_MUTEX_INITIALIZER};
    w->seed = (uint64_t)luaL_checkinteger(L, 2) * 0x9e3779b97f4a7c15u | 1;
    memset(w->spaces, 0xff, sizeof w->spaces);
    memset(w->taps, 0xff, sizeof w->taps);
    luaL_setmetatable(L, WIRE);
    const char *failed = make_places(w);
    if (failed == NULL && (w->ways = calloc((size_t)(places * places), sizeof *w->ways)) == NULL) failed = "memory";
    if (failed == NULL && (w->wake = eventfd(0, EFD_CLOEXEC)) < 0) failed = "eventfd";
    if (failed == NULL && (errno = pthread_create(&w->thread, NULL, move_packets, w)) != 0) failed = "a thread";
    int err = errno;
    if (failed == NULL) {
        w->running = true;
        return 1;
    }
    close_wire(w);
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", failed, strerror(err));
    return 2;
}

/* ---- what Lua calls ---- */

static Wire *check_wire(lua_State *L) {
    Wire *w = luaL_checkudata(L, 1, WIRE);
    luaL_argcheck(L, w->running, 1, "it is closed");
    return w;
}

static int check_place(lua_State *L, const Wire *w, int index) {
    lua_Integer place = luaL_checkinteger(L, index);
    luaL_argcheck(L, place >= 1 && place <= w->places, index, "no such place");
    return (int)place - 1;
}

static Way *check_way(lua_State *L, Wire *w) {
    int from = check_place(L, w, 2), to = check_place(L, w, 3);
    return &w->ways[from * w->places + to];
}

static int wire_namespace(lua_State *L) {
    Wire *w = check_wire(L);
    lua_pushinteger(L, w->spaces[check_place(L, w, 2)]);
    return 1;
}

static double field(lua_State *L, const char *name, double otherwise) {
    lua_getfield(L, 4, name);
    double n = luaL_optnumber(L, -1, otherwise);
    lua_pop(L, 1);
    return n;
}

static int wire_rule(lua_State *L) {
    Wire *w = check_wire(L);
    Way *way = check_way(L, w);
    luaL_checktype(L, 4, LUA_TTABLE);
    lua_getfield(L, 4, "cut");
    Rule r = {.cut = lua_toboolean(L, -1), .port = (int)field(L, "port", 0), 
              .loss = field(L, "loss", 0), .delay = field(L, "delay", 0) * 1e6,
              .jitter = field(L, "jitter", 0) * 1e6, .rate = field(L, "rate", 0), .queue = field(L, "queue", QUEUE)};
    size_t len = 0;
    lua_getfield(L, 4, "without");
    const char *without = luaL_optlstring(L, -1, "", &len);
    luaL_argcheck(L, len <= WITHOUT_MOST, 4, "without: 16 bytes at most");
    memcpy(r.without, without, len);
    r.without_len = len;
    pthread_mutex_lock(&w->lock);
    way->rule = r;
    pthread_mutex_unlock(&w->lock);
    return 0;
}

static int wire_counts(lua_State *L) {
    Wire *w = check_wire(L);
    Way *way = check_way(L, w);
    pthread_mutex_lock(&w->lock);
    Counts c = way->counts;
    pthread_mutex_unlock(&w->lock);
    const struct { const char *name; uint64_t n; } all[] = {{"packets", c.packets}, {"bytes", c.bytes}, {"cut", c.cut},
        {"lost", c.lost}, {"crowded", c.crowded}, {"overtook", c.overtook}};
    lua_newtable(L);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        lua_pushinteger(L, (lua_Integer)all[i].n);
        lua_setfield(L, -2, all[i].name);
    }
    return 1;
}

static int wire_close(lua_State *L) {
    close_wire(luaL_checkudata(L, 1, WIRE));
    return 0;
}

static const luaL_Reg methods[] = {
    {"namespace", wire_namespace}, {"rule", wire_rule}, {"counts", wire_counts}, {"close", wire_close},
    {"__gc", wire_close}, {NULL, NULL},
};

int luaopen_door_wire(lua_State *L);
int luaopen_door_wire(lua_State *L) {
    static const luaL_Reg functions[] = {{"open", wire_open}, {NULL, NULL}};
    if (luaL_newmetatable(L, WIRE)) {
        luaL_setfuncs(L, methods, 0);
        lua_pushvalue(L, -1);
        lua_setfield(L, -2, "__index");
    }
    luaL_newlib(L, functions);
    return 1;
}
