/* Ops that run code in a VM: eval itself, and what is best said in Lua: ask, spawn, set. */
#include <string.h>
#include "ops/eval.h"
#include "ops/path.h"

#define TIME_MOST 3600000
#define MEMORY_MOST ((int64_t)1 << 40)
#define OUTPUT_MOST (4 << 20)

static int64_t at_most(int64_t value, int64_t most) { return value < most ? value : most; }

static EvalOptions options_of(const Request *r) {
    EvalOptions o = EVAL_OPTIONS;
    o.time = at_most(request_integer(r, "time", o.time), TIME_MOST);
    o.within = at_most(request_integer(r, "within", o.within), TIME_MOST);
    o.memory = (size_t)at_most(request_integer(r, "memory", (int64_t)o.memory), MEMORY_MOST);
    o.output = (size_t)at_most(request_integer(r, "output", (int64_t)o.output), OUTPUT_MOST);
    o.limits.depth = (int)at_most(request_integer(r, "depth", o.limits.depth), SHOW_DEPTH_MAX);
    return o;
}

static void do_eval(Request *r) {
    size_t len;
    const char *source = request_text(r, "code", &len);
    uint64_t pid = request_arg(r, "pid") != NULL ? request_pid(r, "pid") : eval_shell(r);
    if (pid == 0) return;
    Text code = {0};
    text_put(&code, source, len);
    eval_start(r, pid, options_of(r), &code);
}

/* A string as Lua reads it. */
static void put_quoted(Text *t, const char *text, size_t len) {
    text_put(t, "\"", 1);
    for (size_t i = 0; i < len; i++) text_format(t, "\\%03u", (unsigned char)text[i]);
    text_put(t, "\"", 1);
}

static void put_args(Text *t, const Request *r) {
    size_t len;
    const char *args = request_text(r, "args", &len);
    if (args == NULL || strspn(args, " \t\n") >= len) return;
    text_add(t, ", ");
    text_put(t, args, len);
}

static void do_ask(Request *r) {
    size_t len, name_len;
    const char *who = request_text(r, "pid", &len), *name = request_text(r, "name", &name_len);
    EvalOptions o = options_of(r);
    Text code = {0};
    uint64_t pid = request_pid(r, "pid"), shell = pid != 0 ? eval_shell(r) : 0;
    if (shell == 0) return;
    text_format(&code, "throng.ask_within(%lld, pid(", (long long)o.within);
    put_quoted(&code, who, len);
    text_add(&code, "), ");
    put_quoted(&code, name, name_len);
    put_args(&code, r);
    text_add(&code, "\n)");
    o.kind = EVAL_TEXT;
    o.time = o.within + 1000; /* the ask's own end comes first */
    o.within = 1000;
    eval_start(r, shell, o, &code);
}

static void do_spawn(Request *r) {
    size_t len, name_len;
    const char *module = request_text(r, "module", &len), *name = request_text(r, "name", &name_len);
    EvalOptions o = options_of(r);
    Text code = {0};
    uint64_t shell = eval_shell(r);
    if (shell == 0) return;
    text_add(&code, "throng.spawn_with({");
    if (name != NULL) {
        text_add(&code, "name = ");
        put_quoted(&code, name, name_len);
    }
    text_add(&code, "}, ");
    put_quoted(&code, module, len);
    put_args(&code, r);
    text_add(&code, "\n)");
    o.kind = EVAL_PID;
    eval_start(r, shell, o, &code);
}

/* As an expression of Lua's; false: it is none, or all of `self`. */
static bool put_path(Text *out, const char *text, size_t len) {
    Path p = path_of(text, len);
    PathStep step;
    int steps = 0;
    text_add(out, "self");
    for (; path_next(&p, &step); steps++) {
        text_add(out, "[");
        if (step.key != NULL) put_quoted(out, step.key, step.len);
        else text_format(out, "%lld", (long long)step.number);
        text_add(out, "]");
    }
    return steps > 0 && !p.wrong;
}

static void do_set(Request *r) {
    size_t path_len, value_len;
    const char *path = request_text(r, "path", &path_len), *value = request_text(r, "value", &value_len);
    Text place = {0}, code = {0};
    if (!put_path(&place, path, path_len)) {
        text_free(&place);
        request_error(r, "bad_request", "set: '%.*s' is no path such as hunger, or pos.x, or list[3]",
                      (int)(path_len < 100 ? path_len : 100), path);
        return;
    }
    uint64_t pid = request_pid(r, "pid");
    if (pid != 0) {
        EvalOptions o = options_of(r);
        o.kind = EVAL_CHANGE;
        o.limits.depth = 2;
        text_add(&code, "local new = ");
        text_put(&code, value, value_len);
        text_add(&code, "\nlocal old = ");
        text_put(&code, place.bytes, place.len);
        text_add(&code, "; ");
        text_put(&code, place.bytes, place.len);
        text_add(&code, " = new; return old, new");
        eval_start(r, pid, o, &code);
    }
    text_free(&place);
}

const Op ops_commands[] = {
    {"eval", do_eval, OP_CHANGES | OP_ALL, {{"code", ARG_TEXT | ARG_MUST}, {"pid", ARG_PID}, {"time", ARG_INTEGER},
                             {"memory", ARG_INTEGER}, {"output", ARG_INTEGER}, {"depth", ARG_INTEGER},
                             {"within", ARG_INTEGER}}},
    {"ask", do_ask, OP_CHANGES, {{"pid", ARG_PID | ARG_MUST}, {"name", ARG_TEXT | ARG_MUST}, {"args", ARG_TEXT},
                           {"within", ARG_INTEGER}, {"depth", ARG_INTEGER}}},
    {"spawn", do_spawn, OP_CHANGES, {{"module", ARG_TEXT | ARG_MUST}, {"args", ARG_TEXT}, {"name", ARG_TEXT}}},
    {"set", do_set, OP_CHANGES, {{"pid", ARG_PID | ARG_MUST}, {"path", ARG_TEXT | ARG_MUST},
                           {"value", ARG_TEXT | ARG_MUST}, {"within", ARG_INTEGER}}},
    {NULL, NULL, 0, {{NULL, 0}}},
};
