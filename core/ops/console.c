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
#include "ops/away.h"
#include "ops/client.h"
#include "ops/relay.h"
#include "ops/socket.h"
#include "run/loop.h"

#define PROTOCOL 1
#define LINE_MOST (1u << 20)      /* bytes of a request */
#define WAITING_MOST (8u << 20)   /* bytes that wait for a client, then it is dropped */
#define WAITING_CROWDED (1u << 18) /* ... and from where on long answers pause */
#define STALLED_MS 60000          /* a client that takes nothing for so long is dropped */
#define GONE_MS 500               /* between looks for those who sent all they had and may have gone */

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
    uint64_t born;
    bool tending; /* a job is on its way that tends the clients */
} console;

static const Op *const tables[] = {ops_inspect,  ops_change, ops_commands, ops_look, ops_follow, ops_tree,
                                   ops_complete, ops_top,    ops_trace,    ops_why,  ops_prof,   ops_tasks,
                                    ops_reload};
#define TABLES (sizeof tables / sizeof tables[0])

static void tend(void *unused);

static void tend_soon(void) {
    if (!console.tending && loop_submit(tend, NULL) == 0) console.tending = true;
}

void client_tend(void) { tend_soon(); }

static size_t waiting(const Client *c) { return c->out.len + c->written.len; }

void client_put(Client *c, const Text *frame) {
    if (c->closing || c->doomed != NULL) return;
    text_put(&c->out, frame->bytes, frame->len);
    if (frame->failed || c->out.failed) c->doomed = "memory is short";
    else if (waiting(c) > WAITING_MOST) c->doomed = "it does not read what it asked for";
    tend_soon();
}

bool request_crowded(const Request *r) { return waiting(r->client) > WAITING_CROWDED; }

void request_later(Request *r, void (*on)(Request *r)) {
    r->later = on;
    tend_soon();
}

Request *request_of(uint64_t ticket) {
    for (Client *c = console.clients; c != NULL; c = c->next)
        for (Request *r = c->requests; r != NULL; r = r->next)
            if (r->ticket == ticket) return r;
    return NULL;
}

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

static void client_free(Client *c) {
    text_free(&c->in);
    text_free(&c->out);
    text_free(&c->written);
    free(c);
}

static void on_closed(uv_handle_t *handle) { client_free((Client *)handle); }

/* All that is done on its behalf ends. */
static void client_close(Client *c) {
    Client **at = &console.clients;
    if (c->closing) return;
    c->closing = true;
    while (*at != c) at = &(*at)->next;
    *at = c->next;
    console.client_count--;
    while (c->requests != NULL) request_end(c->requests);
    relay_forget(c);
    if (c->session_drop != NULL && c->session != NULL) c->session_drop(c->session);
    if (c->away != NULL) {
        c->away->gone(c);
        client_free(c);
        return;
    }
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
    if (c->away != NULL) {
        c->away->flush(c);
        return;
    }
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
            log_format(LOG_WARN, "", "console: a client of uid %u%s%s is dropped: %s", c->uid,
                       c->node != NULL ? " at " : "", c->node != NULL ? c->node : "", c->doomed);
        if (c->doomed != NULL || (c->leaving && waiting(c) == 0 && (!c->half || c->requests == NULL)))
            client_close(c);
    }
    plan();
}

/* ---- frames in ---- */

const Op *client_find_op(const Json *name) {
    for (size_t i = 0; i < TABLES; i++)
        for (const Op *op = tables[i]; op->name != NULL; op++)
            if (json_is(name, op->name)) return op;
    return NULL;
}

static void client_read(Client *c) {
    Text *in = &c->in;
    size_t from = 0;
    while (!c->leaving && c->doomed == NULL) {
        char *newline = in->len > c->looked ? memchr(in->bytes + c->looked, '\n', in->len - c->looked) : NULL;
        if (newline == NULL) break;
        size_t end = (size_t)(newline - in->bytes);
        if (end - from > LINE_MOST) break;
        request_take(c, in->bytes + from, end - from);
        from = c->looked = end + 1;
    }
    if (!c->leaving && in->len - from > LINE_MOST) {
        request_complain(c, NULL, "bad_request", "a line has more than %u bytes", LINE_MOST);
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
    request_frame_end(c, &t);
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
        request_complain(c, NULL, "refused", "%lld clients are attached, which is the limit (console.clients)",
                 (long long)config.console_clients);
        c->leaving = true;
        return;
    }
    greet(c);
    if (uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) < 0) c->doomed = "";
}

Client *client_new_away(const ClientAway *away, const char *node, unsigned uid) {
    if (!console.open || console.client_count >= config.console_clients) return NULL;
    Client *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    *c = (Client){.next = console.clients, .away = away, .node = node, .uid = uid};
    console.clients = c;
    console.client_count++;
    return c;
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
        if (code == 0) away_open();
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
        /* what fits the socket goes out at once */
        if (c->away == NULL && !c->writing && c->doomed == NULL) client_flush(c);
        client_close(c);
    }
    away_close();
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
