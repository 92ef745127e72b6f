/* command.h - a subcommand of the program that is written in Lua and has no node in its process: `throng bench`, and
 * the console's client (`throng repl`, `throng ps` and the rest).
 *
 * It runs in one plain Lua state with Lua's whole library, cjson, and the modules of the program (lua/, tools/bench/,
 * tools/client/, ops/terminal, ops/editor): what it does is what a script of the operator's could do. Its main module
 * returns a function that gets a table about the program, {program = path of this executable, version = text}, and the
 * arguments as strings; what it returns is the exit code. Threads: main's, before or without a node. */
#ifndef OPS_COMMAND_H
#define OPS_COMMAND_H

/* An exit code; 1 and one line on standard error when the module itself fails. */
int command_run(const char *module, const char *version, char **args, int arg_count);
#endif
