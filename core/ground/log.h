/* log.h - the node's log: one line an event on standard error, written by a thread of its own.
 *
 * A line is `2026-11-23T11:13:31.123Z info  guy-1 <12.1> spawned guy=<13.1>`: UTC time, level, who
 * (may be empty), text. Newlines inside the text continue, indented, on the next line; other control
 * bytes are written as \xNN, so that no script can forge a line or move a terminal's cursor.
 * log_write copies what it is given. It never waits for the terminal while its buffer (4 MB) has
 * room; a full buffer is waited for 100 ms, then lines are dropped and counted, and the log
 * says how many. Threads: every function, from any thread; log_open and log_close from one. */
#ifndef GROUND_LOG_H
#define GROUND_LOG_H
#include <stdbool.h>
#include <stddef.h>

typedef enum { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF } LogLevel;

int  log_open(LogLevel level, int fd);  /* starts the writer thread; 0 or a negative libuv error */
void log_close(void);                   /* writes what is left, ends the thread */
void log_flush(void);                   /* returns when all lines so far are written */
void log_set_level(LogLevel level);
bool log_enabled(LogLevel level);       /* cheap: ask before formatting */
const char *log_level_name(LogLevel level);
int  log_level_parse(const char *name, LogLevel *out); /* "debug" "info" "warn" "error" "off"; UV_EINVAL */
/* From now on `on` hears of all from `level` on, also of what is not written, before log_write returns: it may not log.
 * On any thread, several at once. One watcher a process; LOG_OFF: none. What runs already is not waited for. */
void log_watch(LogLevel level, void (*on)(LogLevel level, const char *who, const char *text, size_t len));
void log_write(LogLevel level, const char *who, const char *text, size_t len);
void log_format(LogLevel level, const char *who, const char *format, ...) __attribute__((format(printf, 3, 4)));
#endif
