/* terminal.h - what the console's client needs of the system: the module throng.terminal of a command's Lua state.
 *
 * terminal.connect(path)       -> socket; or nil, why (text), code ("ENOENT", "ECONNREFUSED", ...)
 *   socket:read()              -> text, "" if there is nothing now; nil, why: it is over
 *   socket:write(text, from)   -> how many bytes went out from there on, perhaps 0; nil, why: it is over
 *   socket:close()             also what its collection does
 * terminal.nodes()             -> names of the sockets in the run directory, sorted; the directory's path
 * terminal.catch()             signals INT, WINCH, TERM, HUP and TSTP come out of wait from now on and do nothing else
 * terminal.wait(ms, socket|nil, writing, input)   -> table of what happened, empty if ms (negative: for ever) went by:
 *                              {input=, readable=, writable=, int=, winch=, term=, hup=, tstp=}
 * terminal.pending()           -> a signal INT, TERM or HUP waits; it still does after that
 * terminal.stop()              stops this process as Ctrl-Z would have; returns when it is continued
 * terminal.read()              -> what standard input has; nil at its end
 * terminal.write(text)         all of it to standard output; false: nobody reads it any more
 * terminal.is_terminal(fd)     terminal.size() -> columns, rows of standard output (nil, nil: no terminal)
 * terminal.raw(on)             keys of standard input come one by one, unechoed; restored by raw(false) and at the end
 * terminal.width(text)         columns it takes, as far as that is known
 * terminal.append(path, text)  terminal.replace(path, text): a file for its owner alone (0600); true, or nil, why
 * terminal.mkdir(path)         one folder for its owner alone (0700), unless there is one; true, or nil, why
 * terminal.now()               monotonic seconds
 * Threads: main's. One of each per process: signals, the terminal. */
#ifndef OPS_TERMINAL_H
#define OPS_TERMINAL_H
#include <lua.h>

int terminal_open(lua_State *L); /* a luaopen function */

/* For ops/editor: waits until standard input has something: 1; -1: a caught signal came first, and still waits. */
int terminal_await_input(void);
#endif
