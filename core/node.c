/* How a node ends: throng.shutdown, the root actor's end, or a signal settle the exit code; the first one counts. Then
 * every actor is told to stop, which runs its `terminate`; who has not ended after stop.timeout is killed; who is
 * stuck in C even then is left, and the process ends around it. A second signal skips all of that. */
#include "node.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>
#include "actor/actor.h"
#include "actor/gauge.h"
#include "actor/rollout.h"
#include "actor/source.h"
#include "api/api.h"
#include "api/delivery.h"
#include "api/sandbox.h"
#include "api/testing.h"
#include "api/there.h"
#include "ground/clock.h"
#include "ground/config.h"
#include "ground/pool.h"
#include "ground/version.h"
#include "mail/atom.h"
#include "mail/payload.h"
#include "mail/post.h"
#include "net/able.h"
#include "net/chase.h"
#include "net/call.h"
#include "net/titles.h"
#include "ops/concert.h"
#include "ops/console.h"
#include "ops/voice.h"
#include "ops/watch.h"
#include "run/aside.h"
#include "run/loop.h"
#include "run/scheduler.h"

#define TEXT_SIZE 8192
#define TESTS_MEMORY ((size_t)4 << 30) /* of the root actor that runs specs: all of them in one VM */
#define KILL_WAIT_MS 1000
#define AGAIN_MS 100 /* between two looks for actors that were born while the node ends */

static struct {
    pthread_mutex_t lock; /* guards the rest; `changed` says that something did */
    pthread_cond_t changed;
    bool over;    /* the exit code is settled */
    int code;
    int signals;  /* how many came */
    uint64_t root;
    bool root_hears; /* it has on_interrupt */
    char *last_words; /* why the root died, if that ends the node */
} node = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void settle(int code, const char *words) {
    pthread_mutex_lock(&node.lock);
    if (!node.over) {
        node.over = true;
        node.code = code;
        node.last_words = words != NULL ? strdup(words) : NULL;
    }
    pthread_cond_signal(&node.changed);
    pthread_mutex_unlock(&node.lock);
}

/* ---- what the rooms call ---- */

static void on_shutdown(int code) { settle(code, NULL); }

static void on_ended(Actor *a) {
    size_t len = 0;
    titles_ended(a->pid);
    if (a->pid == node.root) {
        const char *reason = payload_first_string(a->ending, &len);
        if (reason != NULL && len == 6 && memcmp(reason, "normal", 6) == 0) {
            settle(0, NULL);
        } else {
            char text[TEXT_SIZE];
            payload_show(a->ending, 0, 2, text, sizeof text);
            const char *trace = payload_first_field(a->ending, "traceback", &len);
            if (trace != NULL && !log_enabled(LOG_ERROR)) /* else it stands in the log */
                snprintf(text + strlen(text), sizeof text - strlen(text), "\n%.*s", (int)len, trace);
            settle(1, text);
        }
    } else if (registry_count() == 0) { /* the last one; who waits looks again by himself, too */
        pthread_mutex_lock(&node.lock);
        pthread_cond_signal(&node.changed);
        pthread_mutex_unlock(&node.lock);
    }
}

/* Tells the root; false: it can't hear. */
static bool tell_root(int signum) {
    const char *name = signum == SIGINT ? "INT" : signum == SIGTERM ? "TERM" : "HUP";
    Message *msg = message_new(MESSAGE_SEND, 16);
    if (msg == NULL) return false;
    msg->name = atom_intern("interrupt", 9);
    msg->to = node.root;
    if (msg->name == 0 || payload_put_string(&msg, name, strlen(name)) < 0 || post_send(msg) < 0) {
        message_free(msg);
        return false;
    }
    return true;
}

static void on_signal(int signum) {
    pthread_mutex_lock(&node.lock);
    bool again = node.signals++ > 0, hears = node.root_hears && !node.over;
    pthread_mutex_unlock(&node.lock);
    if (again) {
        static const char words[] = "throng: ended at once by a second signal\n";
        if (write(STDERR_FILENO, words, sizeof words - 1) < 0) { /* nobody listens */ }
        _exit(128 + signum);
    }
    if (!hears || !tell_root(signum)) settle(128 + signum, NULL);
}

/* ---- building and ending ---- */

static void tell_all(MessageKind kind) {
    uint32_t at = 0;
    uint64_t pid;
    while ((pid = registry_next(&at)) != 0) {
        Message *msg = message_new(kind, 16);
        if (msg == NULL || (kind == MESSAGE_STOP && payload_put_string(&msg, "shutdown", 8) < 0)) {
            message_free(msg);
            continue;
        }
        msg->to = pid;
        post_deliver(msg);
    }
}

/* Until nobody is left, or the time is up. Actors that are born in the meantime are told as well. */
static bool wait_for_all(MessageKind kind, int64_t ms) {
    uint64_t end = clock_real() + (uint64_t)ms * CLOCK_NS_PER_MS;
    tell_all(kind);
    uint64_t told = clock_real();
    pthread_mutex_lock(&node.lock);
    while (registry_count() > 0 && clock_real() < end) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += 20 * (long)CLOCK_NS_PER_MS;
        if (until.tv_nsec >= (long)CLOCK_NS_PER_S) until.tv_sec++, until.tv_nsec -= (long)CLOCK_NS_PER_S;
        pthread_cond_timedwait(&node.changed, &node.lock, &until);
        if (clock_real() - told < AGAIN_MS * CLOCK_NS_PER_MS) continue;
        pthread_mutex_unlock(&node.lock);
        tell_all(kind);
        told = clock_real();
        pthread_mutex_lock(&node.lock);
    }
    pthread_mutex_unlock(&node.lock);
    return registry_count() == 0;
}

static void discard_all(void) {
    uint32_t at = 0;
    uint64_t pid;
    while ((pid = registry_next(&at)) != 0) {
        Slot *slot = registry_find(pid);
        if (slot != NULL) actor_discard(atomic_load_explicit(&slot->owner, memory_order_acquire));
    }
}

/* Scripts have a hand in the text: it must not move the terminal's cursor. */
static int complain(const char *text) {
    log_flush();
    fputs("throng: ", stderr);
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if ((*c < ' ' && *c != '\n' && *c != '\t') || *c == 127) fprintf(stderr, "\\x%02X", *c);
        else fputc(*c, stderr);
    }
    fputc('\n', stderr);
    return 1;
}

static int start_root(const NodeOptions *o) {
    char text[TEXT_SIZE];
    const Behaviour *b;
    ActorOptions options = {.may_grant = GRANT_ALL};
    if (o->tests) options.grants = GRANT_ALL, options.memory = TESTS_MEMORY;
    const char *slash = o->file != NULL ? strrchr(o->file, '/') : NULL;
    for (int i = 0; i < o->path_count; i++)
        if (source_add_dir(o->paths[i]) < 0) return complain("out of memory");
    char *dir = slash == NULL ? strdup(".") : strndup(o->file, slash == o->file ? 1 : (size_t)(slash - o->file));
    int err = dir == NULL ? UV_ENOMEM : o->bare ? 0 : source_add_dir(dir);
    free(dir);
    if (err < 0) return complain("out of memory");
    err = o->file != NULL ? behaviour_file(o->file, &b, text, sizeof text)
                          : behaviour_find(o->module, &b, text, sizeof text);
    if (err < 0) return complain(text);
    Message *start = message_new(MESSAGE_START, 0);
    for (int i = 0; i < o->arg_count && start != NULL && err == 0; i++)
        err = payload_put_string(&start, o->args[i], strlen(o->args[i]));
    pthread_mutex_lock(&node.lock);
    node.root_hears = b->hears_interrupt;
    if (err == 0 && start != NULL) err = actor_spawn(b, &options, NULL, start, &node.root, NULL);
    else err = UV_ENOMEM;
    pthread_mutex_unlock(&node.lock);
    if (err < 0) {
        message_free(start);
        snprintf(text, sizeof text, "the root actor can't be made: %s", uv_strerror(err));
        return complain(text);
    }
    return 0;
}

static void run_until_over(void) {
    pthread_mutex_lock(&node.lock);
    while (!node.over) pthread_cond_wait(&node.changed, &node.lock);
    pthread_mutex_unlock(&node.lock);
    there_end();
    if (!wait_for_all(MESSAGE_STOP, config.stop_timeout)) {
        log_format(LOG_WARN, "", "%zu actors did not stop in %lld ms: killed", registry_count(),
                   (long long)config.stop_timeout);
        wait_for_all(MESSAGE_KILL, KILL_WAIT_MS);
    }
}

static int default_workers(void) {
    unsigned cores = uv_available_parallelism();
    return cores > 1024 ? 1024 : (int)cores;
}

/* With other nodes, what a slice has sent them is written at its end. */
static TaskTurn run_and_flush(Task *task) {
    TaskTurn turn = actor_run(task);
    cluster_flush();
    return turn;
}

int node_run(const NodeOptions *o) {
    pthread_condattr_t monotonic;
    char text[1024] = "";
    bool clustered = cluster_wanted(&o->net);
    ClusterOptions net = o->net;
    int err, code = 1, workers = config.workers > 0 ? (int)config.workers : default_workers();
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&node.changed, &monotonic);
    if ((err = log_open(o->log_level, STDERR_FILENO)) < 0) goto no_log;
    if (o->tests) testing_open();
    able_open(o->name != NULL ? o->name : "throng", o->net.can != NULL ? o->net.can : "");
    if (clustered) source_keep_texts();
    post_open((PostCalls){actor_wake, clustered ? cluster_send : NULL, clustered ? chase_later : NULL});
    behaviour_open(api_open_vm);
    actor_open((ActorCalls){api_open_vm, on_ended, sandbox_push_globals, sandbox_swap_globals});
    err = api_open((ApiCalls){on_shutdown, o->name != NULL ? o->name : "throng", concert_start});
    if (err < 0) goto no_loop;
    err = loop_open((LoopCalls){o->tests ? testing_timer : actor_timer, on_signal, pool_thread_end});
    if (err < 0) goto no_loop;
    net.name = o->name != NULL ? o->name : "throng";
    if ((err = cluster_open(&net, text, sizeof text)) < 0) goto no_scheduler;
    delivery_open(net.name, o->own_files);
    there_open();
    err = scheduler_open(workers, (int)config.sched_spares, (uint64_t)config.sched_seed,
                         (SchedulerCalls){clustered ? run_and_flush : actor_run, vm_interrupt, pool_thread_end,
                                          o->tests ? testing_at_rest : NULL, gauge_ran});
    if (err < 0) goto no_scheduler;
    voice_open(o->own_files);
    ConsoleOptions door = {.path = o->console, .version = THRONG_VERSION,
                           .node_name = o->name != NULL ? o->name : "throng"};
    if (console_open(&door, text, sizeof text) < 0) code = complain(text);
    else code = start_root(o);
    if (code == 0 && o->watch && watch_open() < 0) log_format(LOG_ERROR, "", "--watch: out of memory");
    if (code == 0) {
        cluster_start();
        run_until_over();
        code = node.code;
    }
    watch_close();
    console_close();
    aside_close(pool_thread_end);
    rollout_close(); /* nobody begins one any more */
    concert_close();
    voice_close();
    if (scheduler_close() < 0) { /* a thread is stuck in C: no memory may be freed under it */
        log_format(LOG_WARN, "", "a worker is stuck in a C function: the process ends around it");
        if (node.last_words != NULL) complain(node.last_words);
        log_flush();
        fflush(stdout);
        _exit(code);
    }
no_scheduler:
    cluster_close(); /* over the loop, when no worker sends any more */
    call_close();
    testing_close();
    loop_close(); /* it posts to actors and wakes them: so it goes before both */
    delivery_close();
    discard_all();
    scheduler_free();
    cluster_free();
    behaviour_close();
    source_close();
no_loop:
    if (node.last_words != NULL) complain(node.last_words);
    free(node.last_words);
    log_close();
    pool_thread_end();
no_log:
    if (err < 0) {
        if (text[0] == '\0') snprintf(text, sizeof text, "the node can't start: %s", uv_strerror(err));
        return complain(text);
    }
    return code;
}
