#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "ground/log.h"
#include "mail/names.h"
#include "mail/pid.h"
#include "ops/client.h"
#include "ops/console.h"
#include "ops/relay.h"

#define REQUESTS_MOST 100 /* under way, of one client */
#define LOGGED_MOST 400   /* bytes of a change's arguments in the log */

static uint64_t tickets; /* the loop's: the last one given */

/* ---- frames out ---- */

static void frame_begin(Text *t, const int64_t *id) {
    json_open(t, NULL, '{');
    if (id != NULL) json_integer(t, "id", *id);
    else json_null(t, "id");
}

void request_frame_end(Client *c, Text *t) {
    json_close(t, '}');
    text_put(t, "\n", 1);
    client_put(c, t);
    text_free(t);
}

static void put_error(Client *c, const int64_t *id, const char *code, const char *message, size_t len,
                      const char *extra) {
    Text t = {0};
    frame_begin(&t, id);
    json_open(&t, "error", '{');
    json_words(&t, "code", code);
    json_string(&t, "message", message, len);
    if (extra != NULL) {
        text_put(&t, ",", 1);
        text_add(&t, extra);
    }
    json_close(&t, '}');
    request_frame_end(c, &t);
}

void request_complain(Client *c, const int64_t *id, const char *code, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put_error(c, id, code, text, strlen(text), NULL);
}

/* ---- requests ---- */

static void request_free(Request *r) {
    if (r->drop != NULL) r->drop(r->state);
    free(r->values);
    free(r->line);
    free(r);
}

/* It is over: out of the list, and freed. */
void request_end(Request *r) {
    Request **at = &r->client->requests;
    while (*at != r) at = &(*at)->next;
    *at = r->next;
    r->client->request_count--;
    request_free(r);
}

static void put_field(Request *r, const char *field, Text *value) {
    Text t = {0};
    frame_begin(&t, &r->id);
    json_raw(&t, field, value->bytes, value->len);
    t.failed = t.failed || value->failed;
    text_free(value);
    request_frame_end(r->client, &t);
}

void request_more(Request *r, Text *piece) { put_field(r, "more", piece); }

void request_put(Request *r, const char *field, Text *json) {
    put_field(r, field, json);
    if (strcmp(field, "more") != 0) request_end(r);
}

void request_value(Request *r, Text *value) {
    put_field(r, "value", value);
    request_end(r);
}

void request_true(Request *r) {
    Text t = {0};
    json_bool(&t, NULL, true);
    request_value(r, &t);
}

void request_error_with(Request *r, const char *code, const char *message, size_t len, const char *extra) {
    put_error(r->client, &r->id, code, message, len, extra);
    request_end(r);
}

void request_error(Request *r, const char *code, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    request_error_with(r, code, text, strlen(text), NULL);
}

const Json *request_arg(const Request *r, const char *name) {
    const Json *v = json_get(r->args, name);
    return v == NULL || v->type == JSON_NULL ? NULL : v;
}

int64_t request_integer(const Request *r, const char *name, int64_t preset) {
    const Json *v = request_arg(r, name);
    return v == NULL ? preset : v->type == JSON_INTEGER ? v->integer : (int64_t)v->number;
}

bool request_flag(const Request *r, const char *name) {
    const Json *v = request_arg(r, name);
    return v != NULL && v->type == JSON_TRUE;
}

const char *request_text(const Request *r, const char *name, size_t *len) {
    const Json *v = request_arg(r, name);
    *len = v != NULL ? v->len : 0;
    return v != NULL ? v->text : NULL;
}

uint64_t request_pid(Request *r, const char *name) {
    size_t len;
    const char *text = request_text(r, name, &len);
    uint64_t pid = text != NULL ? relay_pid(text, len) : 0;
    if (pid == 0) {
        request_error(r, "no_actor", "no actor is named '%.*s', and it is no pid as <12.1>",
                      (int)(len < 200 ? len : 200), text != NULL ? text : "");
    } else if (pid_node(pid) != 0) {
        char who[PID_TEXT_MAX];
        pid_text(pid, who);
        request_error(r, "no_actor", "%s is not of this node, %s", who, request_node()->node_name);
        return 0;
    }
    return pid;
}

void request_keep(Request *r, void *state, void (*drop)(void *state)) {
    r->state = state;
    r->drop = drop;
}

void *request_state(const Request *r) { return r->state; }

uint64_t request_ticket(const Request *r) { return r->ticket; }

uint64_t request_number(void) { return ++tickets; }

void **request_session(Request *r, void (*drop)(void *kept)) {
    r->client->session_drop = drop;
    return &r->client->session;
}

unsigned request_uid(const Request *r) { return r->client->uid; }

const char *request_op(const Request *r) { return r->op->name; }

bool request_all(const Request *r) { return r->all; }

/* ---- frames in ---- */

static bool fits(const Json *v, int kind) {
    switch (kind & ~ARG_MUST) {
    case ARG_TEXT:
    case ARG_PID: return v->type == JSON_STRING;
    case ARG_FLAG: return v->type == JSON_TRUE || v->type == JSON_FALSE;
    case ARG_INTEGER:
        if (v->type == JSON_NUMBER)
            return v->number >= 0 && v->number <= 9007199254740992.0 && v->number == (double)(int64_t)v->number;
        return v->type == JSON_INTEGER && v->integer >= 0 && v->integer <= 9007199254740992;
    default: return true;
    }
}

static const char *kind_text(int kind) {
    kind &= ~ARG_MUST;
    return kind == ARG_TEXT ? "a string" : kind == ARG_PID ? "a string: a pid or a name"
         : kind == ARG_FLAG ? "true or false" : "a whole number, 0 or more";
}

/* All arguments are known and of their kind; else the request is ended, and false. */
static bool check_args(Request *r) {
    const OpArg *args = r->op->args;
    const Json *key = r->args != NULL ? json_first(r->args) : NULL;
    for (uint32_t i = 0; r->args != NULL && i < r->args->len; i++, key = json_next(key + 1)) {
        const OpArg *arg = args;
        while (arg < args + OP_ARGS_MAX && arg->name != NULL && !json_is(key, arg->name)) arg++;
        if (arg == args + OP_ARGS_MAX || arg->name == NULL) {
            char known[256] = "none";
            size_t len = 0;
            for (arg = args; arg < args + OP_ARGS_MAX && arg->name != NULL && len < sizeof known - 32; arg++)
                len += (size_t)snprintf(known + len, sizeof known - len, "%s%s", len > 0 ? ", " : "", arg->name);
            request_error(r, "bad_request", "%s has no argument '%.*s' (there are: %s)", r->op->name,
                          (int)(key->len < 60 ? key->len : 60), key->text, known);
            return false;
        }
        if (key[1].type != JSON_NULL && !fits(key + 1, arg->kind)) {
            request_error(r, "bad_request", "%s: %s must be %s", r->op->name, arg->name, kind_text(arg->kind));
            return false;
        }
    }
    for (const OpArg *arg = args; arg < args + OP_ARGS_MAX && arg->name != NULL; arg++)
        if ((arg->kind & ARG_MUST) && request_arg(r, arg->name) == NULL) {
            request_error(r, "bad_request", "%s: %s is missing, %s", r->op->name, arg->name, kind_text(arg->kind));
            return false;
        }
    return true;
}

static void log_change(const Request *r) {
    Text t = {0};
    if (!log_enabled(LOG_INFO)) return;
    if (r->args != NULL) json_write(&t, r->args);
    bool cut = t.len > LOGGED_MOST;
    const char *node = r->client->node;
    log_format(LOG_INFO, "", "console: uid %u%s%s: %s%s %.*s%s", r->client->uid, node != NULL ? " at " : "",
               node != NULL ? node : "", r->op->name, r->all ? " on all nodes" : "",
               (int)(cut ? LOGGED_MOST : t.len), t.len > 0 ? t.bytes : "", cut ? "..." : "");
    text_free(&t);
}

static void do_cancel(Request *r) {
    const Json *id = request_arg(r, "id");
    Client *c = r->client;
    Request *other = c->requests;
    while (other != NULL && (other == r || other->id != id->integer)) other = other->next;
    bool found = other != NULL && id->type == JSON_INTEGER;
    if (found) request_error(other, "cancelled", "%s was cancelled", other->op->name);
    Text t = {0};
    json_bool(&t, NULL, found);
    request_value(r, &t);
}

static const Op cancel = {"cancel", do_cancel, 0, {{"id", ARG_ANY | ARG_MUST}}};

void request_take(Client *c, const char *line, size_t len) {
    Json *values = NULL;
    const char *why = NULL;
    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' ')) len--;
    if (len == 0) return; /* who types by hand may press return */
    char *copy = malloc(len);
    int err = copy != NULL ? UV_EINVAL : UV_ENOMEM;
    if (copy != NULL) {
        memcpy(copy, line, len);
        err = json_parse(copy, len, &values, &why);
    }
    if (err < 0 || values->type != JSON_OBJECT) {
        if (err == UV_ENOMEM) request_complain(c, NULL, "refused", "out of memory");
        else
            request_complain(c, NULL, "bad_request",
                             "a request is one JSON object in a line, as {\"id\":1,\"op\":\"ps\"}: %s",
                             err < 0 ? why : "this is another kind of value");
        c->leaving = true;
        goto done;
    }
    const Json *id = json_get(values, "id"), *name = json_get(values, "op"), *args = json_get(values, "args"),
               *on = json_get(values, "on");
    if (id == NULL || id->type != JSON_INTEGER) {
        request_complain(c, NULL, "bad_request", "a request wants an id, an integer");
        goto done;
    }
    for (Request *r = c->requests; r != NULL; r = r->next)
        if (r->id == id->integer) {
            request_complain(c, NULL, "bad_request", "a request with the id %lld is under way", (long long)id->integer);
            goto done;
        }
    const Op *op = json_is(name, "cancel") ? &cancel : client_find_op(name);
    if (op == NULL) {
        if (name == NULL || name->type != JSON_STRING)
            request_complain(c, &id->integer, "bad_request", "a request wants an op, a string");
        else
            request_complain(c, &id->integer, "bad_request", "there is no op '%.*s'",
                             (int)(name->len < 60 ? name->len : 60), name->text);
        goto done;
    }
    if (args != NULL && args->type != JSON_OBJECT && args->type != JSON_NULL) {
        request_complain(c, &id->integer, "bad_request", "args must be an object");
        goto done;
    }
    if (on != NULL && on->type != JSON_STRING && on->type != JSON_NULL) {
        request_complain(c, &id->integer, "bad_request", "on must be a node's name, or \"*\" for all");
        goto done;
    }
    if (c->request_count >= REQUESTS_MOST && op != &cancel) {
        request_complain(c, &id->integer, "refused", "%d requests are under way, more than that are not taken",
                         REQUESTS_MOST);
        goto done;
    }
    Request *r = calloc(1, sizeof *r);
    if (r == NULL) {
        request_complain(c, &id->integer, "refused", "out of memory");
        goto done;
    }
    *r = (Request){.client = c, .op = op, .values = values, .line = copy, .id = id->integer,
                   .args = args != NULL && args->type == JSON_OBJECT ? args : NULL,
                   .ticket = ++tickets, .next = c->requests};
    c->requests = r;
    c->request_count++;
    if (!check_args(r)) return;
    if (op != &cancel && relay_take(r, on != NULL && on->type == JSON_STRING ? on : NULL)) return;
    if (op->how & OP_CHANGES) log_change(r);
    op->begin(r);
    return;
done:
    free(values);
    free(copy);
}
