/* The door: who is connected, lines in, frames out, and the requests that are under way. What the ops do is elsewhere.
 *
 * A client's output is gathered and written once a round, so a thousand rows are a few system calls. Nothing is freed
 * while an op may still hold it: a client that must go is marked, and goes in the next round. */
#include "ops/console.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/config.h"
#include "ground/log.h"
#include "ground/rundir.h"
#include "mail/names.h"
#include "mail/pid.h"
#include "ops/request.h"
#include "ops/socket.h"
#include "run/loop.h"

#define PROTOCOL 1
#define LINE_MOST (1u << 20)      /* bytes of a request */
#define WAITING_MOST (8u << 20)   /* bytes that wait for a client, then it is dropped */
#define WAITING_CROWDED (1u << 18) /* ... and from where on long answers pause */
#define REQUESTS_MOST 100         /* under way, of one client */
#define STALLED_MS 60000          /* a client that takes nothing for so long is dropped */
#define GONE_MS 500               /* between looks for those who sent all they had and may have gone */
#define LOGGED_MOST 400           /* bytes of a change's arguments in the log */

typedef struct Client Client;

struct Request {
    Request *next;
    Client *client;
    const Op *op;
    const Json *args; /* NULL: none */
    Json *values;     /* `args` lies in it */
    char *line;       /* ... and its strings in here */
    int64_t id;
    uint64_t ticket;
    void *state;
    void (*drop)(void *state);
    void (*later)(Request *r);
    uint64_t due; /* clock_now time; 0 = none */
    void (*on_due)(Request *r);
};

struct Client {
    uv_pipe_t pipe;
    uv_write_t write;
    Client *next;
    Text in, out, written; /* read; to be written; being written */
    size_t looked;         /* bytes of `in` in which there is no newline */
    bool writing, closing; /* a write is under way; uv_close was called */
    bool leaving;          /* nothing is read any more, and it goes when all is written */
    bool half;             /* ... and when all is answered, unless it is gone altogether: it closed its sending side */
    const char *doomed;    /* why it goes at once, in the next round */
    unsigned uid;
    uint64_t moved;        /* when it last took something, while it owes us */
    Request *requests;
    int request_count;
    void *session;
    void (*session_drop)(void *kept);
};

/* All of it the loop's thread's, but for what console_open sets before. */
static struct {
    ConsoleOptions options;
    char path[PATH_MAX];
    uint64_t file;
    int fd;
    bool open;
    uv_pipe_t pipe;
    uv_timer_t timer;
    bool timer_open;
    Client *clients;
    int client_count;
    uint64_t tickets;
    uint64_t born;
    bool tending; /* a job is on its way that tends the clients */
} console;

static const Op *const tables[] = {ops_inspect, ops_change};
#define TABLES (sizeof tables / sizeof tables[0])

static void tend(void *unused);

static void tend_soon(void) {
    if (!console.tending && loop_submit(tend, NULL) == 0) console.tending = true;
}

/* ---- frames out ---- */

static size_t waiting(const Client *c) { return c->out.len + c->written.len; }

/* Frames are whole lines. */
static void client_put(Client *c, const Text *frame) {
    if (c->closing || c->doomed != NULL) return;
    text_put(&c->out, frame->bytes, frame->len);
    if (frame->failed || c->out.failed) c->doomed = "memory is short";
    else if (waiting(c) > WAITING_MOST) c->doomed = "it does not read what it asked for";
    tend_soon();
}

static void frame_begin(Text *t, const int64_t *id) {
    json_open(t, NULL, '{');
    if (id != NULL) json_integer(t, "id", *id);
    else json_null(t, "id");
}

static void frame_end(Client *c, Text *t) {
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
    frame_end(c, &t);
}

static void complain(Client *c, const int64_t *id, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void complain(Client *c, const int64_t *id, const char *code, const char *format, ...) {
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
static void request_end(Request *r) {
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
    frame_end(r->client, &t);
}

void request_more(Request *r, Text *piece) { put_field(r, "more", piece); }

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
    uint64_t pid = text != NULL ? pid_parse(text, len) : 0;
    if (pid == 0 && text != NULL) pid = names_find(text, len);
    if (pid == 0)
        request_error(r, "no_actor", "no actor is named '%.*s', and it is no pid as <12.1>",
                      (int)(len < 200 ? len : 200), text != NULL ? text : "");
    return pid;
}

bool request_crowded(const Request *r) { return waiting(r->client) > WAITING_CROWDED; }

void request_later(Request *r, void (*on)(Request *r)) {
    r->later = on;
    tend_soon();
}

void request_keep(Request *r, void *state, void (*drop)(void *state)) {
    r->state = state;
    r->drop = drop;
}

void *request_state(const Request *r) { return r->state; }

uint64_t request_ticket(const Request *r) { return r->ticket; }

Request *request_of(uint64_t ticket) {
    for (Client *c = console.clients; c != NULL; c = c->next)
        for (Request *r = c->requests; r != NULL; r = r->next)
            if (r->ticket == ticket) return r;
    return NULL;
}

void **request_session(Request *r, void (*drop)(void *kept)) {
    r->client->session_drop = drop;
    return &r->client->session;
}

unsigned request_uid(const Request *r) { return r->client->uid; }

const char *request_op(const Request *r) { return r->op->name; }

const struct ConsoleOptions *request_node(void) { return &console.options; }

uint64_t request_started(void) { return console.born; }

/* ---- time ---- */

static void on_timer(uv_timer_t *handle);

/* Both directions are closed. Of a client that sends no more, nothing else tells. */
static bool is_gone(const Client *c) {
    uv_os_fd_t fd;
    if (uv_fileno((const uv_handle_t *)&c->pipe, &fd) < 0) return true;
    struct pollfd p = {.fd = fd};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

static void plan(void) {
    uint64_t nearest = UINT64_MAX, now = clock_now();
    for (Client *c = console.clients; c != NULL; c = c->next) {
        if (c->half && now + GONE_MS * CLOCK_NS_PER_MS < nearest) nearest = now + GONE_MS * CLOCK_NS_PER_MS;
        if (c->writing && c->moved + STALLED_MS * CLOCK_NS_PER_MS < nearest)
            nearest = c->moved + STALLED_MS * CLOCK_NS_PER_MS;
        for (Request *r = c->requests; r != NULL; r = r->next)
            if (r->due != 0 && r->due < nearest) nearest = r->due;
    }
    if (!console.timer_open) return;
    if (nearest == UINT64_MAX) {
        uv_timer_stop(&console.timer);
        return;
    }
    uv_update_time(loop_uv());
    uv_timer_start(&console.timer, on_timer, nearest <= now ? 0 : (nearest - now) / CLOCK_NS_PER_MS + 1, 0);
}

void request_in(Request *r, int64_t ms, void (*on)(Request *r)) {
    r->due = on != NULL ? clock_now() + (uint64_t)(ms > 0 ? ms : 1) * CLOCK_NS_PER_MS : 0;
    r->on_due = on;
    plan();
}

static Request *first_due(uint64_t now) {
    for (Client *c = console.clients; c != NULL; c = c->next)
        for (Request *r = c->requests; r != NULL; r = r->next)
            if (r->due != 0 && r->due <= now && c->doomed == NULL && !c->closing) return r;
    return NULL;
}

static void on_timer(uv_timer_t *handle) {
    (void)handle;
    uint64_t now = clock_now();
    Request *r;
    while ((r = first_due(now)) != NULL) {
        r->due = 0;
        r->on_due(r);
    }
    for (Client *c = console.clients; c != NULL; c = c->next)
        if (c->writing && c->moved + STALLED_MS * CLOCK_NS_PER_MS <= now && c->doomed == NULL) {
            c->doomed = "it took nothing for a minute";
            tend_soon();
        } else if (c->half && c->doomed == NULL && is_gone(c)) {
            c->doomed = "";
            tend_soon();
        }
    plan();
}

/* ---- clients ---- */

static void on_closed(uv_handle_t *handle) {
    Client *c = (Client *)handle;
    text_free(&c->in);
    text_free(&c->out);
    text_free(&c->written);
    free(c);
}

/* All that is done on its behalf ends. */
static void client_close(Client *c) {
    Client **at = &console.clients;
    if (c->closing) return;
    c->closing = true;
    while (*at != c) at = &(*at)->next;
    *at = c->next;
    console.client_count--;
    while (c->requests != NULL) request_end(c->requests);
    if (c->session_drop != NULL && c->session != NULL) c->session_drop(c->session);
    uv_close((uv_handle_t *)&c->pipe, on_closed); /* a write under way ends with an error first */
}

static void client_flush(Client *c);

static void on_written(uv_write_t *write, int status) {
    Client *c = (Client *)write->data;
    c->writing = false;
    c->written.len = 0;
    c->moved = clock_now();
    if (c->closing) return;
    if (status < 0 && c->doomed == NULL) c->doomed = "";
    tend_soon();
}

static void client_flush(Client *c) {
    if (c->writing || c->out.len == 0 || c->closing) return;
    Text t = c->written;
    c->written = c->out;
    c->out = t;
    if (c->out.room > WAITING_CROWDED) text_free(&c->out); /* it was a large answer: the next ones are not */
    uv_buf_t buffer = uv_buf_init(c->written.bytes, (unsigned)c->written.len);
    c->write.data = c;
    c->moved = clock_now();
    c->writing = uv_write(&c->write, (uv_stream_t *)&c->pipe, &buffer, 1, on_written) == 0;
    if (!c->writing) c->doomed = "";
}

static void client_read(Client *c);

/* Once a round, if there was anything: requests go on, answers go out, who must go goes. */
static void tend(void *unused) {
    (void)unused;
    console.tending = false;
    for (Client *c = console.clients, *next; c != NULL; c = next) {
        next = c->next;
        for (Request *r = c->requests, *following; r != NULL && c->doomed == NULL; r = following) {
            following = r->next; /* what goes on may end itself, not another */
            if (r->later == NULL || request_crowded(r)) continue;
            void (*on)(Request *) = r->later;
            r->later = NULL;
            on(r);
        }
        if (c->doomed == NULL) client_flush(c);
        if (c->doomed != NULL && *c->doomed != '\0')
            log_format(LOG_WARN, "", "console: a client of uid %u is dropped: %s", c->uid, c->doomed);
        if (c->doomed != NULL || (c->leaving && waiting(c) == 0 && (!c->half || c->requests == NULL)))
            client_close(c);
    }
    plan();
}

/* ---- frames in ---- */

static const Op *find_op(const Json *name) {
    for (size_t i = 0; i < TABLES; i++)
        for (const Op *op = tables[i]; op->name != NULL; op++)
            if (json_is(name, op->name)) return op;
    return NULL;
}

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
    log_format(LOG_INFO, "", "console: uid %u: %s %.*s%s", r->client->uid, r->op->name,
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

static const Op cancel = {"cancel", do_cancel, false, {{"id", ARG_ANY | ARG_MUST}}};

/* A line: parsed, checked, begun. */
static void take_line(Client *c, const char *line, size_t len) {
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
        if (err == UV_ENOMEM) complain(c, NULL, "refused", "out of memory");
        else complain(c, NULL, "bad_request", "a request is one JSON object in a line, as {\"id\":1,\"op\":\"ps\"}: %s",
                      err < 0 ? why : "this is another kind of value");
        c->leaving = true;
        goto done;
    }
    const Json *id = json_get(values, "id"), *name = json_get(values, "op"), *args = json_get(values, "args");
    if (id == NULL || id->type != JSON_INTEGER) {
        complain(c, NULL, "bad_request", "a request wants an id, an integer");
        goto done;
    }
    for (Request *r = c->requests; r != NULL; r = r->next)
        if (r->id == id->integer) {
            complain(c, NULL, "bad_request", "a request with the id %lld is under way", (long long)id->integer);
            goto done;
        }
    const Op *op = json_is(name, "cancel") ? &cancel : find_op(name);
    if (op == NULL) {
        if (name == NULL || name->type != JSON_STRING)
            complain(c, &id->integer, "bad_request", "a request wants an op, a string");
        else
            complain(c, &id->integer, "bad_request", "there is no op '%.*s'", (int)(name->len < 60 ? name->len : 60),
                     name->text);
        goto done;
    }
    if (args != NULL && args->type != JSON_OBJECT && args->type != JSON_NULL) {
        complain(c, &id->integer, "bad_request", "args must be an object");
        goto done;
    }
    if (c->request_count >= REQUESTS_MOST && op != &cancel) {
        complain(c, &id->integer, "refused", "%d requests are under way, more than that are not taken", REQUESTS_MOST);
        goto done;
    }
    Request *r = calloc(1, sizeof *r);
    if (r == NULL) {
        complain(c, &id->integer, "refused", "out of memory");
        goto done;
    }
    *r = (Request){.client = c, .op = op, .values = values, .line = copy, .id = id->integer,
                   .args = args != NULL && args->type == JSON_OBJECT ? args : NULL,
                   .ticket = ++console.tickets, .next = c->requests};
    c->requests = r;
    c->request_count++;
    if (!check_args(r)) return;
    if (op->changes) log_change(r);
    op->begin(r);
    return;
done:
    free(values);
    free(copy);
}

static void client_read(Client *c) {
    Text *in = &c->in;
    size_t from = 0;
    while (!c->leaving && c->doomed == NULL) {
        char *newline = in->len > c->looked ? memchr(in->bytes + c->looked, '\n', in->len - c->looked) : NULL;
        if (newline == NULL) break;
        size_t end = (size_t)(newline - in->bytes);
        if (end - from > LINE_MOST) break;
        take_line(c, in->bytes + from, end - from);
        from = c->looked = end + 1;
    }
    if (!c->leaving && in->len - from > LINE_MOST) {
        complain(c, NULL, "bad_request", "a line has more than %u bytes", LINE_MOST);
        c->leaving = true;
    }
    if (c->leaving) from = in->len;
    if (from > 0) memmove(in->bytes, in->bytes + from, in->len - from);
    in->len -= from;
    c->looked = in->len;
    if (in->len == 0 && in->room > LINE_MOST / 16) text_free(in);
    if (c->leaving) uv_read_stop((uv_stream_t *)&c->pipe);
    tend_soon();
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
    static char bytes[65536]; /* the loop's thread reads one at a time */
    (void)handle, (void)suggested;
    *out = uv_buf_init(bytes, sizeof bytes);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buffer) {
    Client *c = (Client *)stream;
    if (len == 0 || c->closing) return;
    if (len < 0) { /* who only closed the sending side, as a pipe into socat does, gets the answers still */
        uv_read_stop(stream);
        c->leaving = c->half = true;
        if ((len != UV_EOF || is_gone(c)) && c->doomed == NULL) c->doomed = "";
        tend_soon();
        return;
    }
    text_put(&c->in, buffer->base, (size_t)len);
    if (c->in.failed) {
        c->doomed = "memory is short";
        tend_soon();
        return;
    }
    client_read(c);
}

static void greet(Client *c) {
    Text t = {0};
    json_open(&t, NULL, '{');
    json_words(&t, "throng", console.options.version);
    json_integer(&t, "protocol", PROTOCOL);
    json_words(&t, "node", console.options.node_name);
    json_integer(&t, "os_pid", getpid());
    json_number(&t, "uptime", (double)((clock_now() - console.born) / CLOCK_NS_PER_MS));
    frame_end(c, &t);
}

static void on_connection(uv_stream_t *server, int status) {
    uv_os_fd_t fd;
    if (status < 0) return;
    Client *c = calloc(1, sizeof *c);
    if (c == NULL) return; /* it waits for better times */
    uv_pipe_init(loop_uv(), &c->pipe, 0);
    c->next = console.clients;
    console.clients = c;
    console.client_count++;
    if (uv_accept(server, (uv_stream_t *)&c->pipe) < 0) {
        c->doomed = "";
        tend_soon();
        return;
    }
    c->uid = uv_fileno((uv_handle_t *)&c->pipe, &fd) == 0 ? socket_peer_uid(fd) : (unsigned)-1;
    if (console.client_count > config.console_clients) {
        complain(c, NULL, "refused", "%lld clients are attached, which is the limit (console.clients)",
                 (long long)config.console_clients);
        c->leaving = true;
        return;
    }
    greet(c);
    if (uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) < 0) c->doomed = "";
}

/* ---- opening and closing ---- */

static void open_on_loop(void *result) {
    int *err = result;
    console.timer_open = uv_timer_init(loop_uv(), &console.timer) == 0;
    *err = uv_pipe_init(loop_uv(), &console.pipe, 0);
    if (*err == 0) *err = uv_pipe_open(&console.pipe, console.fd);
    if (*err == 0) *err = uv_listen((uv_stream_t *)&console.pipe, 128, on_connection);
}

/* The default place; if another node of that name is there, one with our process's number. */
static int listen_by_default(const char *name, char *err, size_t err_size) {
    char file[128];
    int code = rundir_make(err, err_size);
    if (code < 0) return code;
    snprintf(file, sizeof file, "%.64s.sock", name);
    code = rundir_path(file, console.path, sizeof console.path);
    if (code < 0) return code;
    code = socket_listen(console.path, &console.file, err, err_size);
    if (code != UV_EADDRINUSE) return code;
    snprintf(file, sizeof file, "%.64s-%d.sock", name, (int)getpid());
    if ((code = rundir_path(file, console.path, sizeof console.path)) < 0) return code;
    code = socket_listen(console.path, &console.file, err, err_size);
    if (code >= 0)
        log_format(LOG_WARN, "", "console: another node named %s is running; this one's socket is %s", name,
                   console.path);
    return code;
}

int console_open(const ConsoleOptions *options, char *err, size_t err_size) {
    int code = 0;
    console.options = *options;
    console.born = clock_now();
    if (options->path != NULL && strcmp(options->path, "off") == 0) return 0;
    if (options->path != NULL) {
        code = snprintf(console.path, sizeof console.path, "%s", options->path) < (int)sizeof console.path
                   ? socket_listen(console.path, &console.file, err, err_size)
                   : UV_ENAMETOOLONG;
    } else {
        snprintf(err, err_size, "the run directory's name is too long");
        code = listen_by_default(options->node_name, err, err_size);
    }
    if (code >= 0) {
        console.fd = code;
        int opened = 0;
        code = loop_call(open_on_loop, &opened);
        if (code == 0) code = opened;
        if (code < 0) snprintf(err, err_size, "no console at %.300s: %s", console.path, uv_strerror(code));
        console.open = code == 0;
        if (code < 0) socket_remove(console.path, console.file);
    }
    if (code < 0 && options->path == NULL) {
        log_format(LOG_WARN, "", "console: %s", err);
        return 0;
    }
    return code < 0 ? code : 0;
}

static void close_on_loop(void *unused) {
    (void)unused;
    while (console.clients != NULL) {
        Client *c = console.clients;
        if (!c->writing && c->doomed == NULL) client_flush(c); /* what fits the socket goes out at once */
        client_close(c);
    }
    uv_close((uv_handle_t *)&console.pipe, NULL);
    if (console.timer_open) uv_close((uv_handle_t *)&console.timer, NULL);
    console.timer_open = false;
}

void console_close(void) {
    if (!console.open) return;
    console.open = false;
    socket_remove(console.path, console.file);
    loop_call(close_on_loop, NULL);
}
