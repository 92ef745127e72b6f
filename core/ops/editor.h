/* editor.h - the line one types, by libedit: the module throng.editor of a command's Lua state.
 *
 * editor.open()                -> true; nil, why: there is no terminal to edit on. ~/.editrc is obeyed.
 * editor.begin(prompt)         shows an empty line. In a prompt, \1 stands before and after what takes no columns
 * editor.feed()                takes in a key, once standard input has one:
 *                              nothing, or "line", text | "tab" | "eof" (Ctrl-D on an empty line, or the input's end)
 *                              After "line" and "eof" the terminal is as it was before begin.
 * editor.line()                -> what is typed so far; bytes before the cursor
 * editor.replace(count, text)  the `count` characters before the cursor become `text`
 * editor.hide()  editor.show(prompt)   between them the terminal can be written to
 * editor.finish()              gives the line up; the terminal is as before
 * editor.resize()              the terminal has another size
 * editor.remember(text)        one more entry of the history that the arrows show
 * Threads: main's, and one editor for the process. */
#ifndef OPS_EDITOR_H
#define OPS_EDITOR_H
#include <lua.h>

int editor_open(lua_State *L); /* a luaopen function */
#endif
