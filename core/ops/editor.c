/* libedit reads unbuffered here: el_gets returns after each key. What it has drawn it alone can change, so whatever we
 * do to the line is a key, too: OURS, which no terminal sends (it is what a terminal makes SIGQUIT of), with a function
 * that does what `action` says and asks for what is to be drawn. */
#include "ops/editor.h"

#include <errno.h>
#include <histedit.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>
#include "ops/terminal.h"

#define OURS 0x1c
#define HISTORY 1000
#define PROMPT_SIZE 512

static struct {
    EditLine *line;
    History *history;
    char prompt[PROMPT_SIZE];
    bool active, hidden;
    enum { NOTHING, HIDE, SHOW, REPLACE, LAST, REDRAW } action; /* NOTHING: the next key is the terminal's */
    int count;              /* of REPLACE: characters before the cursor, */
    const char *text;       /* and what they become */
    bool accepted, tab, ended, interrupted; /* what the last key was */
    char *kept;                             /* of a hidden line: its text, */
    int kept_after;                         /* and how many characters stand behind the cursor */
} ed;

/* ---- what libedit calls ---- */

static char *prompt(EditLine *el) {
    static char none[1] = "";
    (void)el;
    return ed.hidden ? none : ed.prompt;
}

/* One character of standard input. 0 is the end of the input to libedit; `ended` and `interrupted` tell what it was. */
static int get_character(EditLine *el, wchar_t *out) {
    char bytes[MB_LEN_MAX];
    size_t have = 0;
    (void)el;
    if (ed.action != NOTHING) {
        *out = OURS;
        return 1;
    }
    for (;;) {
        if (terminal_await_input() < 0) {
            ed.interrupted = true;
            return 0;
        }
        ssize_t got = read(STDIN_FILENO, bytes + have, 1);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (got <= 0) {
            ed.ended = true;
            return 0;
        }
        mbstate_t state = {0};
        size_t took = mbrtowc(out, bytes, ++have, &state);
        if (took == (size_t)-2 && have < sizeof bytes) continue;
        if (took == 0) *out = 0; /* Ctrl-@ */
        else if (took > have) *out = L'?';
        return 1;
    }
}

static void go_to_end(EditLine *el) {
    const LineInfoW *info = el_wline(el);
    if (info->cursor < info->lastchar) el_cursor(el, (int)(info->lastchar - info->cursor));
}

static unsigned char on_accept(EditLine *el, int c) {
    (void)c;
    ed.accepted = true;
    go_to_end(el); /* what is printed next comes below all of the line */
    return CC_REFRESH;
}

static unsigned char on_tab(EditLine *el, int c) {
    (void)el, (void)c;
    ed.tab = true;
    return CC_NORM;
}

/* Ctrl-D: the end on an empty line, else it takes the character under the cursor away. */
static unsigned char on_end(EditLine *el, int c) {
    const LineInfoW *info = el_wline(el);
    (void)c;
    if (info->buffer == info->lastchar) {
        ed.ended = true;
        return CC_NORM;
    }
    if (info->cursor == info->lastchar) return CC_ERROR;
    el_cursor(el, 1);
    el_deletestr(el, 1);
    return CC_REFRESH;
}

static unsigned char hide(EditLine *el) {
    const LineInfoW *info = el_wline(el);
    const LineInfo *bytes = el_line(el);
    ed.kept_after = (int)(info->lastchar - info->cursor);
    free(ed.kept);
    ed.kept = strndup(bytes->buffer, (size_t)(bytes->lastchar - bytes->buffer)); /* NULL: the line is lost, no more */
    int all = (int)(info->lastchar - info->buffer);
    go_to_end(el);
    el_deletestr(el, all);
    ed.hidden = true;
    return CC_REDISPLAY;
}

static unsigned char show(EditLine *el) {
    ed.hidden = false;
    if (ed.kept != NULL && *ed.kept != '\0') el_insertstr(el, ed.kept);
    if (ed.kept_after > 0) el_cursor(el, -ed.kept_after);
    return CC_REDISPLAY;
}

static unsigned char on_ours(EditLine *el, int c) {
    int action = ed.action;
    (void)c;
    ed.action = NOTHING;
    switch (action) {
    case HIDE: return hide(el);
    case SHOW: return show(el);
    case REPLACE:
        if (ed.count > 0) el_deletestr(el, ed.count);
        if (*ed.text != '\0') el_insertstr(el, ed.text);
        return CC_REFRESH;
    case LAST:
        go_to_end(el);
        return CC_REFRESH;
    default: return CC_REDISPLAY;
    }
}

/* ---- what Lua calls ---- */

static void bind_key(const char *key, const char *function) {
    el_set(ed.line, EL_BIND, key, function, NULL);
    el_set(ed.line, EL_BIND, "-a", key, function, NULL);
}

static void close_editor(void) {
    if (ed.active) el_set(ed.line, EL_UNBUFFERED, 0);
    if (ed.line != NULL) el_end(ed.line);
    if (ed.history != NULL) history_end(ed.history);
    free(ed.kept);
    ed.line = NULL;
    ed.history = NULL;
    ed.kept = NULL;
    ed.active = false;
}

static int editor_start(lua_State *L) {
    HistEvent event;
    if (ed.line != NULL) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        lua_pushnil(L);
        lua_pushliteral(L, "standard input and output are not both a terminal");
        return 2;
    }
    ed.line = el_init("throng", stdin, stdout, stderr);
    ed.history = history_init();
    if (ed.line == NULL || ed.history == NULL) {
        close_editor();
        lua_pushnil(L);
        lua_pushliteral(L, "libedit can't use this terminal");
        return 2;
    }
    atexit(close_editor);
    history(ed.history, &event, H_SETSIZE, HISTORY);
    history(ed.history, &event, H_SETUNIQUE, 1);
    el_set(ed.line, EL_HIST, history, ed.history);
    el_set(ed.line, EL_SIGNAL, 0);
    el_set(ed.line, EL_EDITOR, "emacs");
    el_set(ed.line, EL_PROMPT_ESC, prompt, '\1');
    el_set(ed.line, EL_GETCFN, get_character);
    /* wide: it keeps the pointers; of others it makes copies that it never frees */
    el_wset(ed.line, EL_ADDFN, L"throng-accept", L"take the line", on_accept);
    el_wset(ed.line, EL_ADDFN, L"throng-tab", L"complete", on_tab);
    el_wset(ed.line, EL_ADDFN, L"throng-end", L"delete a character, or end", on_end);
    el_wset(ed.line, EL_ADDFN, L"throng-ours", L"what the program does to the line", on_ours);
    el_set(ed.line, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(ed.line, NULL);
    bind_key("^M", "throng-accept");
    bind_key("^J", "throng-accept");
    bind_key("^I", "throng-tab");
    bind_key("^D", "throng-end");
    bind_key("^\\", "throng-ours");
    lua_pushboolean(L, 1);
    return 1;
}

static void check_open(lua_State *L) {
    if (ed.line == NULL) luaL_error(L, "the editor is not open");
}

static void set_prompt(lua_State *L, int index) {
    snprintf(ed.prompt, sizeof ed.prompt, "%s", luaL_checkstring(L, index));
}

static void act(int action) {
    int count;
    ed.action = action;
    el_gets(ed.line, &count);
    ed.action = NOTHING;
}

static void end_line(void) {
    if (ed.active) el_set(ed.line, EL_UNBUFFERED, 0);
    ed.active = false;
    ed.hidden = false;
}

static int editor_begin(lua_State *L) {
    check_open(L);
    set_prompt(L, 1);
    end_line();
    ed.active = true;
    el_set(ed.line, EL_UNBUFFERED, 1);
    return 0;
}

static int editor_finish(lua_State *L) {
    (void)L;
    if (ed.active && !ed.hidden) act(LAST);
    end_line();
    return 0;
}

static void push_line(lua_State *L) {
    const LineInfo *info = el_line(ed.line);
    lua_pushlstring(L, info->buffer, (size_t)(info->lastchar - info->buffer));
}

static int editor_feed(lua_State *L) {
    int count;
    check_open(L);
    if (!ed.active || ed.hidden) return 0;
    ed.accepted = ed.tab = ed.ended = ed.interrupted = false;
    el_gets(ed.line, &count);
    if (ed.accepted) {
        lua_pushliteral(L, "line");
        push_line(L);
        end_line();
        return 2;
    }
    if (ed.ended) {
        end_line();
        lua_pushliteral(L, "eof");
        return 1;
    }
    if (!ed.tab) return 0;
    lua_pushliteral(L, "tab");
    return 1;
}

static int editor_line(lua_State *L) {
    check_open(L);
    if (ed.hidden) {
        lua_pushstring(L, ed.kept != NULL ? ed.kept : "");
        return 1;
    }
    const LineInfo *info = el_line(ed.line);
    push_line(L);
    lua_pushinteger(L, info->cursor - info->buffer);
    return 2;
}

static int editor_replace(lua_State *L) {
    check_open(L);
    ed.count = (int)luaL_checkinteger(L, 1);
    ed.text = luaL_checkstring(L, 2);
    if (ed.active && !ed.hidden) act(REPLACE);
    return 0;
}

static int editor_hide(lua_State *L) {
    check_open(L);
    if (ed.active && !ed.hidden) act(HIDE);
    return 0;
}

static int editor_show(lua_State *L) {
    check_open(L);
    set_prompt(L, 1);
    if (ed.active && ed.hidden) act(SHOW);
    return 0;
}

static int editor_resize(lua_State *L) {
    check_open(L);
    el_resize(ed.line);
    if (ed.active && !ed.hidden) act(REDRAW);
    return 0;
}

static int editor_remember(lua_State *L) {
    HistEvent event;
    check_open(L);
    history(ed.history, &event, H_ENTER, luaL_checkstring(L, 1));
    return 0;
}

static const luaL_Reg functions[] = {
    {"open", editor_start}, {"begin", editor_begin}, {"feed", editor_feed}, {"line", editor_line},
    {"replace", editor_replace}, {"hide", editor_hide}, {"show", editor_show}, {"finish", editor_finish},
    {"resize", editor_resize}, {"remember", editor_remember}, {NULL, NULL},
};

int editor_open(lua_State *L) {
    luaL_newlib(L, functions);
    return 1;
}
