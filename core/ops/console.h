/* console.h - the node's door for people and tools: a Unix socket, JSON lines. See PROTOCOL.md.
 *
 * It is the loop's: all of it runs on the loop's thread, so it answers while every worker is stuck. What it shows of
 * actors it reads from outside (actor/visit.h) or asks of them by a visit. What an op does: request.h.
 * Threads: console_open and console_close from the thread that builds the node, between loop_open and loop_close. */
#ifndef OPS_CONSOLE_H
#define OPS_CONSOLE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ConsoleOptions {
    const char *path;    /* of the socket; NULL = NAME.sock in the run directory; "off" = none */
    const char *node_name, *version;
} ConsoleOptions;

/* Opens the door. 0, also when the default socket can't be had (a warning in the log says why, and the node goes
 * without); an error with one line in err when it is a `path` of the options that can't. */
int  console_open(const ConsoleOptions *options, char *err, size_t err_size);
void console_close(void); /* clients see the end, the socket is gone; what is under way is dropped */
#endif
