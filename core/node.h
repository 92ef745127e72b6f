/* node.h - one running node: builds the rooms in order, runs a root actor, and takes them down again.
 * Threads: node_run from main's thread, once. */
#ifndef NODE_H
#define NODE_H
#include <stdbool.h>
#include "ground/log.h"
#include "net/cluster.h"

typedef struct NodeOptions {
    const char *name; /* NULL = "throng" */
    LogLevel log_level;
    const char **paths; /* where modules are looked for, before the root file's own directory */
    int path_count;
    const char *file;   /* the root actor's script */
    const char *module; /* ... or, if `file` is NULL, its module, by require path; then `.` is looked in, too */
    const char *console; /* the path of its socket, "off", or NULL: see ops/console.h */
    bool watch;         /* what is saved is reloaded: see ops/watch.h */
    char **args;      /* its init's arguments */
    int arg_count;
    bool bare;          /* ... but no directory is looked in, other than `paths` */
    bool own_files;     /* no code of other nodes runs here: see api/delivery.h */
    ClusterOptions net; /* its `name` is set by node_run */
    bool tests; /* a node for specs: `throng test` */
} NodeOptions;

int node_run(const NodeOptions *options); /* an exit code */
#endif
