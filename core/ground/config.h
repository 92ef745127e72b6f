/* config.h - the settings of a node: one table of names, kinds, bounds and defaults.
 *
 * Set once while the node is built, read-only from then on; so any thread may read without a lock. */
#ifndef GROUND_CONFIG_H
#define GROUND_CONFIG_H
#include <stddef.h>
#include <stdint.h>

/* name in C, key on the command line, default, least, most, text */
#define CONFIG(X) \
    X(workers, "workers", 0, 0, 1024, "worker threads; 0 = one a core") \
    X(actors_limit, "actors.limit", 2000000, 1, 16000000, "actors alive at once") \
    X(actor_memory, "actor.memory", 64ll << 20, 65536, 1ll << 40, "bytes one actor's VM may hold") \
    X(mailbox_limit, "mailbox.limit", 100000, 1, 250000, "messages that wait in one mailbox") \
    X(ask_timeout, "ask.timeout", 5000, 1, 86400000, "milliseconds until an ask gives up") \
    X(slice_messages, "slice.messages", 256, 1, 1000000, "messages an actor handles in one turn") \
    X(stop_timeout, "stop.timeout", 5000, 1, 86400000, "milliseconds actors have to terminate at shutdown") \
    X(body_timeout, "body.timeout", 2000, 1, 86400000, "milliseconds a module's body may run when it is first loaded") \
    X(reload_timeout, "reload.timeout", 1000, 1, 86400000, \
      "milliseconds that an actor may compute for a reload") \
    X(reload_memory, "reload.memory", 64ll << 20, 65536, 1ll << 40, "bytes that may come on top meanwhile") \
    X(reload_drain, "reload.drain", 5000, 0, 86400000, "milliseconds a reload waits for handlers that wait") \
    X(reload_watch, "reload.watch", 10000, 1, 86400000, "milliseconds canaries are watched") \
    X(sched_seed, "sched.seed", 0, 0, INT64_MAX, "not 0: shuffle the schedule by this seed, for tests") \
    X(net_heartbeat, "net.heartbeat", 1000, 10, 3600000, "milliseconds of silence until a node says that it is there") \
    X(net_timeout, "net.timeout", 5000, 250, 86400000, "milliseconds of silence after which another node is given up") \
    X(net_forget, "net.forget", 86400000, 1000, 1ll << 40, "milliseconds to dial a lost node that others told of") \
    X(net_buffer, "net.buffer", 8ll << 20, 4096, 1ll << 40, "bytes of messages that wait for one other node") \
    X(net_spin, "net.spin", 50, 0, 10000, "microseconds to look out for more from other nodes, twice that by TLS") \
    X(net_window, "net.window", 1ll << 20, 4096, 1ll << 30, "bytes another node may send ahead of our actors") \
    X(net_code, "net.code", 64ll << 20, 0, 1ll << 40, "bytes of other nodes' scripts to hold, to run them here") \
    X(net_message, "net.message", 64ll << 20, 1024, 1ll << 30, "bytes of one message from another node") \
    X(etcd_ttl, "etcd.ttl", 5000, 1000, 86400000, "milliseconds of this node's lease in etcd, in whole seconds") \
    X(sched_spares, "sched.spares", 16, 0, 256, "workers to add while others are stuck in C") \
    X(console_clients, "console.clients", 64, 1, 1000, "connections to the console at once") \

typedef struct Config {
#define X(name, key, preset, least, most, text) int64_t name;
    CONFIG(X)
#undef X
} Config;

extern Config config; /* the node's */

void config_preset(Config *c);

/* "key=value"; a value may end in k, m, g (powers of 1024). 0, or UV_EINVAL with one line in err: what is wrong and
 * what would be right (an unknown key names the nearest one). */
int config_set(Config *c, const char *assignment, char *err, size_t err_size);
void config_list(void (*line)(void *context, const char *text), void *context); /* for --help: one line a key */
#endif
