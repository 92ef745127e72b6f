/* How a line gets out.
 *
 * A caller cleans its text on its own stack, takes the lock, and appends stamp, level and text to `fill`. The writer
 * thread swaps `fill` for its empty `batch` and writes that without the lock. So callers wait for each other's
 * copying but never for the terminal, until `fill` holds BUFFER_MAX bytes.
 *
 * Waking a sleeping thread costs its waker more than all of the rest. So the writer, having written, lingers for a
 * moment before it sleeps: lines that come meanwhile need wake nobody, it comes by itself. When nothing came it
 * sleeps without a time limit, and an idle log uses no CPU.
 *
 * What was dropped is counted in `lost` and told at the end of the next batch: lines dropped for want of room come
 * after all that is in `fill` by then, lines that could not be written are told as soon as writing works again. */
#include "ground/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>
#include "ground/clock.h"

#define BUFFER_MAX ((size_t)4 << 20)
#define BUFFER_FIRST ((size_t)16 << 10)
#define BUFFER_KEPT ((size_t)256 << 10) /* what a quiet log keeps of a buffer that grew */
#define BODY_MAX 65536                  /* bytes of who and text, cleaned; what is longer is cut, and says so */
#define CUT_MAX 64                      /* room for saying so */
#define HEAD_MAX 80                     /* stamp, colours, level */
#define NOTICE_MAX 160
#define SHORT 2048                      /* bodies up to this many bytes need no allocation */
#define INDENT "    "
#define ROOM_WAIT_NS (100 * CLOCK_NS_PER_MS)
#define LINGER_NS (2 * CLOCK_NS_PER_MS)

typedef struct Buffer {
    char *bytes;
    size_t used, room;
} Buffer;

typedef enum { WRITER_BUSY, WRITER_LINGERS, WRITER_SLEEPS } WriterState;

/* Read without the lock: relaxed, for a level that changes is obeyed a moment later anywhere. The first is the lesser
 * of the other two: what is written, and what the watcher wants to hear. */
static _Atomic int enabled_from = LOG_INFO, written_from = LOG_INFO, watched_from = LOG_OFF;
static _Atomic(void (*)(LogLevel level, const char *who, const char *text, size_t len)) watcher;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* holds all below, but for `batch` while it is written */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_cond_t work;  /* the writer waits for lines, or for the end of lingering */
static pthread_cond_t moved; /* others wait: `fill` was taken, or a batch was written */
static pthread_t thread;
static bool open_now;        /* there is a writer: lines go to `fill` */
static bool closing;
static bool choked;          /* somebody waited in vain for room: nobody else does until there is some */
static WriterState writer_state;
static int out_fd;
static bool coloured;
static Buffer fill;
static uint64_t queued, written; /* lines that went into `fill`; of these, lines that the writer is done with */
static unsigned flushers;
static uint64_t lost;        /* lines dropped and not told yet */
static bool torn;            /* the last write stopped inside a line */

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

/* ---- text ---- */

typedef struct Body {
    char *bytes;
    size_t used, room;
} Body;

static void put(Body *b, const char *bytes, size_t len) {
    memcpy(b->bytes + b->used, bytes, len);
    b->used += len;
}

/* How many bytes of well-formed UTF-8 start at p, a byte over 0x7f; 1 if it is none. Lead and continuation bytes are
 * enough here: we ask which bytes belong together, not what they mean. */
static size_t utf8_length(const unsigned char *p, size_t len) {
    size_t n = *p >= 0xc2 && *p < 0xe0 ? 2 : *p >= 0xe0 && *p < 0xf0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 1;
    if (n > len) return 1;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 1;
    return n;
}

/* Bytes that a terminal may obey: C0 but for the tab, DEL, and C1. C1 comes as one byte on terminals of 8 bits,
 * and as U+0080 to U+009F, two bytes, on those that speak UTF-8; both can start an escape sequence. */
static bool is_control(const unsigned char *p, size_t n) {
    if (n == 1) return (*p < 0x20 && *p != '\t') || (*p >= 0x7f && *p < 0xa0);
    return n == 2 && p[0] == 0xc2 && p[1] < 0xa0;
}

/* Appends `text` in a form that can neither forge a line nor move a cursor; false if not all of it fits. A character
 * goes in whole or not at all. */
static bool put_clean(Body *b, const char *text, size_t len, bool many_lines) {
    const unsigned char *p = (const unsigned char *)text, *end = p + len;
    while (p < end) {
        const unsigned char *plain = p;
        while (p < end && *p >= 0x20 && *p < 0x7f) p++;
        size_t run = (size_t)(p - plain), space = b->room - b->used;
        put(b, (const char *)plain, run < space ? run : space);
        if (run > space) return false;
        if (p == end) break;
        size_t n = *p < 0x80 ? 1 : utf8_length(p, (size_t)(end - p));
        bool line_end = many_lines && *p == '\n', control = !line_end && is_control(p, n);
        size_t need = line_end ? sizeof "\n" INDENT - 1 : control ? 4 * n : n;
        if (need > b->room - b->used) return false;
        if (line_end) {
            put(b, "\n" INDENT, need);
        } else if (control) {
            for (size_t i = 0; i < n; i++) {
                static const char digits[] = "0123456789abcdef";
                put(b, (char[]){'\\', 'x', digits[p[i] >> 4], digits[p[i] & 15]}, 4);
            }
        } else {
            put(b, (const char *)p, n);
        }
        p += n;
    }
    return true;
}

/* `whole`: how long the text was before the caller cut it to `len`. The body has CUT_MAX bytes beyond its room. */
static void body_fill(Body *b, const char *who, const char *text, size_t len, size_t whole) {
    bool fits = true;
    if (who != NULL && *who != '\0') {
        fits = put_clean(b, who, strlen(who), false) && b->used < b->room;
        if (fits) put(b, " ", 1);
    }
    fits = fits && put_clean(b, text, len, true) && len == whole;
    if (!fits) b->used += (size_t)snprintf(b->bytes + b->used, CUT_MAX, " [cut: the text has %zu bytes]", whole);
}

/* `2026-11-23T11:13:31.123Z info  `. Under the lock: so stamps never go back from line to line (unless the clock does),
 * and the second's text, which is most of the work, is made once a second. */
static size_t head(char out[HEAD_MAX], LogLevel level, bool colour) {
    static char second[40];
    static time_t second_of = -1;
    static const char *const colours[] = {"\033[2m", "\033[32m", "\033[33m", "\033[31m"};
    uint64_t now = clock_wall();
    time_t seconds = (time_t)(now / CLOCK_NS_PER_S);
    if (seconds != second_of) {
        struct tm tm;
        gmtime_r(&seconds, &tm);
        strftime(second, sizeof second, "%Y-%m-%dT%H:%M:%S.", &tm);
        second_of = seconds;
    }
    unsigned ms = (unsigned)(now / CLOCK_NS_PER_MS % 1000);
    char *p = stpcpy(out, second);
    *p++ = (char)('0' + ms / 100);
    *p++ = (char)('0' + ms / 10 % 10);
    *p++ = (char)('0' + ms % 10);
    p = stpcpy(p, "Z ");
    if (colour) p = stpcpy(p, colours[level]);
    p = stpcpy(p, level_names[level]);
    if (colour) p = stpcpy(p, "\033[0m");
    for (size_t pad = strlen(level_names[level]); pad < 6; pad++) *p++ = ' ';
    return (size_t)(p - out);
}

static bool wants_colour(int fd) { return isatty(fd) && getenv("NO_COLOR") == NULL; }

/* ---- writing ---- */

/* Returns how many bytes could not be written. Waits as long as it takes; a file descriptor that doesn't block (the
 * choice of somebody who shares it with us) is waited for with poll. */
static size_t write_all(int fd, const char *bytes, size_t len) {
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            poll(&p, 1, -1);
        } else if (n == 0 || errno != EINTR) {
            break; /* EPIPE, ENOSPC, EIO ...: nobody to tell but the log itself, when it works again */
        }
    }
    return len;
}

/* Lines that end in these bytes. What follows a line's own newline is no space; see put_clean. */
static uint64_t lines_in(const char *bytes, size_t len) {
    uint64_t lines = 0;
    for (const char *p = bytes, *end = bytes + len; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
        lines += p + 1 == end || p[1] != ' ';
    return lines;
}

/* ---- the buffer; all under the lock ---- */

static bool buffer_reserve(Buffer *b, size_t more) {
    if (b->room - b->used >= more) return true;
    size_t room = b->room > 0 ? b->room : BUFFER_FIRST;
    while (room - b->used < more) room *= 2;
    char *bytes = realloc(b->bytes, room);
    if (bytes == NULL) return false;
    b->bytes = bytes;
    b->room = room;
    return true;
}

static void buffer_drop(Buffer *b) {
    free(b->bytes);
    *b = (Buffer){0};
}

static struct timespec moment(uint64_t ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / CLOCK_NS_PER_S), .tv_nsec = (long)(ns % CLOCK_NS_PER_S)};
}

static bool fill_has_room(size_t more) { return fill.used + more + NOTICE_MAX <= BUFFER_MAX; }

/* False: there is no room, and waiting for it did not help. True too when the log was closed meanwhile. */
static bool wait_for_room(size_t more) {
    if (fill_has_room(more)) return true;
    struct timespec until = moment(clock_real() + ROOM_WAIT_NS);
    while (open_now && !choked && !fill_has_room(more))
        if (pthread_cond_timedwait(&moved, &lock, &until) == ETIMEDOUT && open_now && !fill_has_room(more))
            choked = true;
    return !open_now || fill_has_room(more);
}

static void wake_writer(void) {
    if (writer_state == WRITER_BUSY) return;
    writer_state = WRITER_BUSY;
    pthread_cond_signal(&work);
}

static void tell_watcher(LogLevel level, const char *who, const char *text, size_t len) {
    void (*on)(LogLevel, const char *, const char *, size_t) = atomic_load_explicit(&watcher, memory_order_relaxed);
    if (on != NULL && (int)level >= atomic_load_explicit(&watched_from, memory_order_relaxed))
        on(level, who != NULL ? who : "", text, len);
}

static void emit(LogLevel level, const char *who, const char *text, size_t len, size_t whole) {
    int saved = errno; /* whoever logs an error may want to read it still */
    tell_watcher(level, who, text, len);
    if ((int)level < atomic_load_explicit(&written_from, memory_order_relaxed)) {
        errno = saved;
        return;
    }
    char small[SHORT + CUT_MAX], *large = NULL;
    Body body = {.bytes = small, .room = SHORT};
    /* a byte becomes sizeof INDENT at most */
    size_t most = (whole < BODY_MAX ? whole : BODY_MAX) * sizeof INDENT + (who != NULL ? strlen(who) * 4 : 0) + 1;
    if (most > BODY_MAX) most = BODY_MAX;
    if (most > SHORT && (large = malloc(most + CUT_MAX)) != NULL) {
        body.bytes = large;
        body.room = most;
    }
    body_fill(&body, who, text, len, whole);
    body.bytes[body.used++] = '\n';

    char first[HEAD_MAX];
    pthread_mutex_lock(&lock);
    bool room = !open_now || wait_for_room(HEAD_MAX + body.used);
    if (!open_now) {
        size_t n = head(first, level, wants_colour(STDERR_FILENO));
        write_all(STDERR_FILENO, first, n);
        write_all(STDERR_FILENO, body.bytes, body.used);
    } else if (!room || !buffer_reserve(&fill, HEAD_MAX + body.used)) {
        lost++;
    } else {
        fill.used += head(fill.bytes + fill.used, level, coloured);
        memcpy(fill.bytes + fill.used, body.bytes, body.used);
        fill.used += body.used;
        queued++;
        if (writer_state == WRITER_SLEEPS || fill.used > BUFFER_MAX / 2) wake_writer();
    }
    pthread_mutex_unlock(&lock);
    free(large);
    errno = saved;
}

/* ---- the writer ---- */

/* Ends `fill` with what was lost so far, and returns how many lines that were. */
static uint64_t tell_lost(void) {
    uint64_t told = lost;
    if (told == 0 || !buffer_reserve(&fill, NOTICE_MAX)) return 0;
    fill.used += head(fill.bytes + fill.used, LOG_WARN, coloured);
    fill.used += (size_t)sprintf(fill.bytes + fill.used, "log: %llu lines are missing here\n",
                                 (unsigned long long)told);
    lost = 0;
    return told;
}

static void linger(void) {
    struct timespec until = moment(clock_real() + LINGER_NS);
    writer_state = WRITER_LINGERS;
    while (writer_state == WRITER_LINGERS)
        if (pthread_cond_timedwait(&work, &lock, &until) == ETIMEDOUT) writer_state = WRITER_BUSY;
}

static void *writer(void *unused) {
    (void)unused;
    Buffer batch = {0};
    pthread_mutex_lock(&lock);
    for (;;) {
        if (fill.used == 0) { /* what is lost alone is no reason to write: it may be the writing that fails */
            if (closing) break;
            writer_state = WRITER_SLEEPS;
            while (writer_state == WRITER_SLEEPS) pthread_cond_wait(&work, &lock);
            continue;
        }
        uint64_t upto = queued, told = tell_lost();
        Buffer empty = batch;
        batch = fill;
        fill = empty;
        choked = false;
        pthread_cond_broadcast(&moved);
        pthread_mutex_unlock(&lock);

        if (torn) write_all(out_fd, "\n", 1);
        size_t rest = write_all(out_fd, batch.bytes, batch.used);
        const char *unwritten = batch.bytes + batch.used - rest;
        uint64_t lines = lines_in(unwritten, rest);
        torn = rest > 0 && rest < batch.used && unwritten[-1] != '\n';
        if (batch.room > BUFFER_KEPT) buffer_drop(&batch);
        batch.used = 0;

        pthread_mutex_lock(&lock);
        if (rest > 0) lost += told > 0 ? told + lines - 1 : lines; /* the notice was the last line */
        written = upto;
        pthread_cond_broadcast(&moved);
        if (!closing && flushers == 0) linger();
    }
    /* In the same breath as seeing that nothing is left: from here on lines are written by their callers. */
    open_now = false;
    buffer_drop(&fill);
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&lock);
    buffer_drop(&batch);
    return NULL;
}

static void conditions_make(void) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* the wall clock may jump */
    pthread_cond_init(&work, &attr);
    pthread_cond_init(&moved, &attr);
    pthread_condattr_destroy(&attr);
}

/* ---- what others call ---- */

int log_open(LogLevel level, int fd) {
    pthread_once(&once, conditions_make);
    pthread_mutex_lock(&lock);
    int err = open_now ? EALREADY : 0;
    if (err == 0) {
        closing = choked = torn = false;
        lost = queued = written = 0;
        out_fd = fd;
        coloured = wants_colour(fd);
        writer_state = WRITER_BUSY;
        /* The writer handles no signals: its write is not interrupted, a broken pipe is EPIPE and nothing else. */
        sigset_t all, old;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &old);
        err = pthread_create(&thread, NULL, writer, NULL);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (err == 0) {
            pthread_setname_np(thread, "throng-log");
            open_now = true;
            log_set_level(level);
        }
    }
    pthread_mutex_unlock(&lock);
    return err == 0 ? 0 : uv_translate_sys_error(err);
}

void log_close(void) {
    pthread_mutex_lock(&lock);
    bool was_open = open_now;
    closing = true;
    if (was_open) wake_writer();
    pthread_mutex_unlock(&lock);
    if (was_open) pthread_join(thread, NULL);
}

void log_flush(void) {
    pthread_mutex_lock(&lock);
    uint64_t upto = queued;
    flushers++;
    if (open_now && written < upto) wake_writer();
    while (open_now && written < upto) pthread_cond_wait(&moved, &lock);
    flushers--;
    pthread_mutex_unlock(&lock);
}

/* The levels are changed by who opens the log and by the watcher, not at once. */
static void set_enabled(void) {
    int written_level = atomic_load_explicit(&written_from, memory_order_relaxed),
        watched_level = atomic_load_explicit(&watched_from, memory_order_relaxed);
    atomic_store_explicit(&enabled_from, written_level < watched_level ? written_level : watched_level,
                          memory_order_relaxed);
}

void log_set_level(LogLevel level) {
    atomic_store_explicit(&written_from, (int)level, memory_order_relaxed);
    set_enabled();
}

void log_watch(LogLevel level, void (*on)(LogLevel level, const char *who, const char *text, size_t len)) {
    atomic_store_explicit(&watched_from, (int)(on != NULL ? level : LOG_OFF), memory_order_relaxed);
    atomic_store_explicit(&watcher, on, memory_order_relaxed);
    set_enabled();
}

const char *log_level_name(LogLevel level) { return level_names[level]; }

bool log_enabled(LogLevel level) {
    return level < LOG_OFF && (int)level >= atomic_load_explicit(&enabled_from, memory_order_relaxed);
}

int log_level_parse(const char *name, LogLevel *out) {
    for (int level = LOG_DEBUG; level <= LOG_OFF; level++) {
        if (strcmp(name, level_names[level]) == 0) {
            *out = (LogLevel)level;
            return 0;
        }
    }
    return UV_EINVAL;
}

void log_write(LogLevel level, const char *who, const char *text, size_t len) {
    if (log_enabled(level)) emit(level, who, text, len, len);
}

void log_format(LogLevel level, const char *who, const char *format, ...) {
    if (!log_enabled(level)) return;
    char small[SHORT], *large = NULL;
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, format, args);
    if (n < 0) { /* a wide character that can't be shown, or over 2 GB: better the format than nothing */
        emit(level, who, format, strlen(format), strlen(format));
    } else if ((size_t)n < sizeof small) {
        emit(level, who, small, (size_t)n, (size_t)n);
    } else {
        size_t most = (size_t)n < BODY_MAX + 4 ? (size_t)n : BODY_MAX + 4; /* 4: then emit cuts, between characters */
        large = malloc(most + 1);
        if (large != NULL) vsnprintf(large, most + 1, format, again);
        emit(level, who, large != NULL ? large : small, large != NULL ? most : sizeof small - 1, (size_t)n);
        free(large);
    }
    va_end(again);
    va_end(args);
}
