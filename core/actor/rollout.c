#include "actor/rollout.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>
#include "actor/canary.h"
#include "actor/reload.h"
#include "ground/clock.h"
#include "ground/config.h"
#include "ground/log.h"
#include "ground/map.h"
#include "ground/metrics.h"
#include "ground/pool.h"
#include "mail/post.h"
#include "mail/registry.h"

#define WINDOW 128       /* actors that are told and have not answered */
#define PACE_EVERY 64
#define REST_MOST_MS 5
#define LOOK_MS 20       /* how often it looks who has died, and whether it is to end */
#define ROUNDS_MOST 1000 /* of those born meanwhile */
#define CONTROLS_LEAST 100

typedef enum { T_NEW, T_SENT, T_DONE, T_FAILED, T_GONE } TargetState;

typedef struct Target {
    uint64_t pid;
    uint32_t pair;   /* index in the change */
    uint8_t state;   /* TargetState, of the present step */
    bool ready, taken, canary, control, reversed; /* reversed: from `to` back to `from` */
} Target;

/* The one under way. */
static struct {
    pthread_mutex_t lock; /* guards all but the options and the change, which are the thread's own */
    pthread_cond_t changed;
    bool running, joinable, closing, cancel, monotonic;
    enum { WORD_NONE, WORD_GO, WORD_BACK } word; /* at a gate */
    pthread_t thread;
    uint64_t number;
    Target *targets;
    size_t count, room;
    size_t under_way; /* told, and not answered */
    uint32_t cancelled, downgraded, as_is;
    bool failed;
    ChangeStage stage;
    uint64_t failed_pid;
    const Behaviour *failed_in;
    char text[ROLLOUT_TEXT_MAX];
    CanaryTimes canaries, controls;
    /* the thread's own: */
    RolloutOptions options;
    char **names;
    Change change;
    Map known; /* pids that are targets */
    char verdict[CANARY_VERDICT_MAX];
} now = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- what actors call ---- */

static Target *target(uint64_t rollout, uint32_t index) { /* under the lock */
    return now.running && rollout == now.number && index < now.count ? &now.targets[index] : NULL;
}

bool rollout_target(uint64_t rollout, uint32_t index, ReloadTarget *out) {
    pthread_mutex_lock(&now.lock);
    const Target *t = target(rollout, index);
    if (t != NULL) {
        const BehaviourPair *p = &now.change.pairs[t->pair];
        *out = (ReloadTarget){t->reversed ? p->to : p->from, t->reversed ? p->from : p->to,
                              now.options.back != t->reversed, now.options.cancels, now.options.fresh};
    }
    pthread_mutex_unlock(&now.lock);
    return t != NULL;
}

void rollout_answer(uint64_t rollout, uint32_t index, RolloutAnswer answer, ChangeStage stage, const char *text) {
    pthread_mutex_lock(&now.lock);
    Target *t = target(rollout, index);
    if (t != NULL && t->state == T_SENT) {
        t->state = answer == ROLLOUT_FAILED ? T_FAILED : answer == ROLLOUT_GONE ? T_GONE : T_DONE;
        now.under_way--;
        if (answer == ROLLOUT_READY) t->ready = true;
        if (answer == ROLLOUT_TAKEN || answer == ROLLOUT_TAKEN_DOWNGRADED || answer == ROLLOUT_TAKEN_AS_IS)
            t->taken = true;
        if (answer == ROLLOUT_EXACT || answer == ROLLOUT_DOWNGRADED || answer == ROLLOUT_AS_IS) t->taken = false;
        now.downgraded += answer == ROLLOUT_DOWNGRADED || answer == ROLLOUT_TAKEN_DOWNGRADED;
        now.as_is += answer == ROLLOUT_AS_IS || answer == ROLLOUT_TAKEN_AS_IS;
        if (answer == ROLLOUT_FAILED && !now.failed) {
            now.failed = true;
            now.stage = stage;
            now.failed_pid = t->pid;
            now.failed_in = now.change.pairs[t->pair].to;
            snprintf(now.text, sizeof now.text, "%s", text);
        }
        if (now.under_way == WINDOW / 2 || now.under_way == 0 || now.failed) pthread_cond_signal(&now.changed);
    }
    pthread_mutex_unlock(&now.lock);
}

void rollout_cancelled(uint64_t rollout, uint32_t count) {
    if (count == 0) return;
    pthread_mutex_lock(&now.lock);
    if (now.running && rollout == now.number) now.cancelled += count;
    pthread_mutex_unlock(&now.lock);
}

static CanaryTimes *times_of(uint64_t rollout, uint32_t index) { /* under the lock */
    const Target *t = target(rollout, index);
    return t == NULL ? NULL : t->canary ? &now.canaries : t->control ? &now.controls : NULL;
}

void rollout_measured(uint64_t rollout, uint32_t index, uint64_t ns) {
    pthread_mutex_lock(&now.lock);
    CanaryTimes *t = times_of(rollout, index);
    if (t != NULL) canary_measured(t, ns);
    pthread_mutex_unlock(&now.lock);
}

void rollout_crashed(uint64_t rollout, uint32_t index) {
    pthread_mutex_lock(&now.lock);
    CanaryTimes *t = times_of(rollout, index);
    if (t != NULL) t->crashes++;
    pthread_mutex_unlock(&now.lock);
}

/* ---- on its thread ---- */

static void wait_ms(int64_t ms) { /* under the lock */
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * (long)CLOCK_NS_PER_MS;
    if (until.tv_nsec >= (long)CLOCK_NS_PER_S) until.tv_sec++, until.tv_nsec -= (long)CLOCK_NS_PER_S;
    pthread_cond_timedwait(&now.changed, &now.lock, &until);
}

static bool fail(ChangeStage stage, const char *text) { /* under the lock; the first one stands */
    if (!now.failed) {
        now.failed = true;
        now.stage = stage;
        now.failed_pid = 0;
        now.failed_in = NULL;
        snprintf(now.text, sizeof now.text, "%s", text);
    }
    return false;
}

/* Nobody wants it any more. Under the lock. */
static bool unwanted(void) {
    if (now.closing) return !fail(STAGE_NONE, "the node ends");
    if (now.cancel) return !fail(STAGE_NONE, "it was cancelled");
    if (now.options.asker != 0 && registry_find(now.options.asker) == NULL)
        return !fail(STAGE_NONE, "who asked for it has ended");
    return false;
}

static const Behaviour *behaviour_at(uint64_t pid) {
    const SlotKind *kind = atomic_load_explicit(&registry_tally(pid)->kind, memory_order_acquire);
    return (const Behaviour *)kind; /* its first field */
}

uint32_t rollout_actors(const Behaviour *b) {
    uint32_t at = 0, count = 0;
    uint64_t pid;
    while ((pid = registry_next(&at)) != 0) count += behaviour_at(pid) == b;
    return count;
}

static bool is_of(const BehaviourPair *p, const Behaviour *b, bool reversed) {
    return reversed ? p->to == b && p->from != b : p->from == b;
}

/* Adds the living actors of the old (reversed: of the new) versions that are no targets yet; how many, or -1: no
 * memory. */
static long gather(bool reversed) {
    uint32_t at = 0;
    uint64_t pid;
    long added = 0;
    while ((pid = registry_next(&at)) != 0) {
        const Behaviour *b = behaviour_at(pid);
        size_t p = 0;
        if (b == NULL) continue;
        while (p < now.change.count && !is_of(&now.change.pairs[p], b, reversed)) p++;
        if (p == now.change.count || map_get(&now.known, pid, NULL)) continue;
        if (map_put(&now.known, pid, 1) < 0) return -1;
        pthread_mutex_lock(&now.lock);
        if (now.count == now.room) {
            size_t room = now.room == 0 ? 256 : now.room * 2;
            Target *more = realloc(now.targets, room * sizeof *more);
            if (more != NULL) now.targets = more, now.room = room;
        }
        bool fits = now.count < now.room;
        if (fits) now.targets[now.count++] = (Target){.pid = pid, .pair = (uint32_t)p, .reversed = reversed};
        pthread_mutex_unlock(&now.lock);
        if (!fits) return -1;
        added++;
    }
    return added;
}

static bool tell(size_t i, uint64_t pid, ReloadStep step) {
    Message *msg = message_new(MESSAGE_RELOAD, 1);
    if (msg == NULL) return false;
    msg->bytes[0] = (unsigned char)step;
    msg->size = 1;
    msg->to = pid;
    msg->ref = now.number;
    msg->name = (uint32_t)i;
    if (post_send(msg) >= 0) return true;
    message_free(msg);
    return false;
}

/* Those told that have died will not answer. Under the lock. */
static void look_for_dead(void) {
    for (size_t i = 0; i < now.count; i++)
        if (now.targets[i].state == T_SENT && registry_find(now.targets[i].pid) == NULL) {
            now.targets[i].state = T_GONE;
            now.under_way--;
        }
}

/* Actors that have work get turns in between: if messages were handled since it last looked, it rests for as long as
 * that is ago. So a reload under load takes half of the workers' time at most. */
typedef struct Pace {
    uint64_t at, messages;
    uint32_t told;
} Pace;

static void keep_pace(Pace *p) { /* not under the lock */
    if (++p->told % PACE_EVERY != 0) return;
    uint64_t time = clock_real(), messages = metrics_sum(METRIC_messages), ago = time - p->at;
    if (p->at != 0 && messages - p->messages > PACE_EVERY) {
        if (ago > REST_MOST_MS * CLOCK_NS_PER_MS) ago = REST_MOST_MS * CLOCK_NS_PER_MS;
        nanosleep(&(struct timespec){.tv_nsec = (long)ago}, NULL);
        time = clock_real(), messages = metrics_sum(METRIC_messages);
    }
    p->at = time;
    p->messages = messages;
}

typedef bool (*Wanted)(const Target *t);

/* Tells all that are wanted, and returns when all have answered; or, with `stops`, when one has failed or nobody wants
 * it any more: false. */
static bool step(ReloadStep what, Wanted wanted, bool stops) {
    uint64_t drain = now.options.drain_ms > 0 ? now.options.drain_ms : (uint64_t)config.reload_drain;
    bool hurried = false;
    Pace pace = {0};
    pthread_mutex_lock(&now.lock);
    for (size_t i = 0; i < now.count; i++) now.targets[i].state = T_NEW;
    now.under_way = 0;
    uint64_t begun = clock_real(), looked = begun;
    for (size_t i = 0; i < now.count || now.under_way > 0;) {
        if (stops && (now.failed || unwanted())) break;
        if (i < now.count && now.under_way < WINDOW) {
            Target *t = &now.targets[i];
            if (wanted(t)) {
                uint64_t pid = t->pid;
                t->state = T_SENT;
                now.under_way++;
                pthread_mutex_unlock(&now.lock);
                bool told = tell(i, pid, what);
                keep_pace(&pace);
                pthread_mutex_lock(&now.lock);
                if (!told && now.targets[i].state == T_SENT) now.targets[i].state = T_GONE, now.under_way--;
            }
            i++;
            if (i % 64 == 0 && clock_real() - looked > LOOK_MS * CLOCK_NS_PER_MS) {
                look_for_dead();
                looked = clock_real();
            }
            continue;
        }
        wait_ms(LOOK_MS);
        if (clock_real() - looked > LOOK_MS * CLOCK_NS_PER_MS) {
            look_for_dead();
            looked = clock_real();
        }
        if (now.closing && what != RELOAD_PREPARE && clock_real() - begun > CLOCK_NS_PER_S) break;
        if (!hurried && clock_real() - begun > drain * CLOCK_NS_PER_MS) {
            hurried = true; /* and again for those that come later: each by its turn */
            for (size_t k = 0; k < i; k++)
                if (now.targets[k].state == T_SENT) {
                    uint64_t pid = now.targets[k].pid;
                    pthread_mutex_unlock(&now.lock);
                    tell(k, pid, RELOAD_CANCEL);
                    pthread_mutex_lock(&now.lock);
                }
            begun = clock_real();
            hurried = false;
        }
    }
    bool good = !now.failed;
    pthread_mutex_unlock(&now.lock);
    return good;
}

static bool is_new(const Target *t) { return !t->ready && !t->reversed; }
static bool is_canary(const Target *t) { return t->canary && t->ready && !t->taken; }
static bool is_ready(const Target *t) { return t->ready && !t->taken && !t->reversed; }
static bool is_taken(const Target *t) { return t->taken && !t->reversed; }
static bool is_reversed(const Target *t) { return t->reversed && !t->ready; }
static bool is_reversed_ready(const Target *t) { return t->reversed && t->ready; }

/* All of the old versions are ready, those born meanwhile, too. */
static bool prepare_all(void) {
    for (int round = 0; round < ROUNDS_MOST; round++) {
        long more = gather(false);
        if (more < 0) {
            pthread_mutex_lock(&now.lock);
            fail(STAGE_NONE, "out of memory");
            pthread_mutex_unlock(&now.lock);
            return false;
        }
        if (more == 0) return true;
        if (now.options.asker_waits)
            for (size_t i = 0; i < now.count; i++)
                if (now.targets[i].pid == now.options.asker) {
                    pthread_mutex_lock(&now.lock);
                    fail(STAGE_NONE, "who asks is reloaded, too, and would wait for itself: ask in throng.fork");
                    pthread_mutex_unlock(&now.lock);
                    return false;
                }
        if (!step(RELOAD_PREPARE, is_new, true)) return false;
    }
    return true;
}

static void forget_all(void) {
    for (size_t i = 0; i < now.count; i++) tell(i, now.targets[i].pid, RELOAD_FORGET);
}

/* Every actor that has taken it goes back, and so do those that were born with it. */
static void take_back(bool became) {
    step(RELOAD_BACK, is_taken, false);
    if (!became) return;
    forget_all();
    for (int round = 0; round < ROUNDS_MOST; round++) {
        map_clear(&now.known);
        for (size_t i = 0; i < now.count; i++)
            if (now.targets[i].reversed) map_put(&now.known, now.targets[i].pid, 1);
        if (gather(true) <= 0) break;
        step(RELOAD_PREPARE, is_reversed, false);
        step(RELOAD_COMMIT, is_reversed_ready, false);
        for (size_t i = 0; i < now.count; i++)
            if (now.targets[i].reversed) now.targets[i].ready = true;
    }
}

/* ---- canaries ---- */

static bool choose_canaries(void) {
    size_t ready = 0, wanted, controls = 0;
    for (size_t i = 0; i < now.count; i++) ready += now.targets[i].ready;
    wanted = now.options.canary_count;
    if (now.options.canary_percent > 0)
        wanted = (size_t)((double)ready * now.options.canary_percent / 100 + 0.999999);
    if (wanted == 0 || wanted >= ready) return false;
    pthread_mutex_lock(&now.lock);
    size_t every = ready / wanted, seen = 0, chosen = 0;
    for (size_t i = 0; i < now.count; i++) { /* spread over all: the oldest are not like the youngest */
        Target *t = &now.targets[i];
        if (!t->ready) continue;
        if (seen++ % every == 0 && chosen < wanted) t->canary = true, chosen++;
        else if (controls < (wanted > CONTROLS_LEAST ? wanted : CONTROLS_LEAST)) t->control = true, controls++;
    }
    pthread_mutex_unlock(&now.lock);
    return true;
}

static bool canaries_sing(uint32_t *count) {
    uint64_t watch = now.options.watch_ms > 0 ? now.options.watch_ms : (uint64_t)config.reload_watch;
    for (size_t i = 0; i < now.count; i++) {
        if (now.targets[i].canary || now.targets[i].control) tell(i, now.targets[i].pid, RELOAD_MEASURE);
        *count += now.targets[i].canary;
    }
    if (!step(RELOAD_COMMIT, is_canary, true)) return false;
    uint64_t end = clock_real() + watch * CLOCK_NS_PER_MS;
    pthread_mutex_lock(&now.lock);
    bool worse = false;
    while (!worse && clock_real() < end && !unwanted()) {
        uint64_t left = (end - clock_real()) / CLOCK_NS_PER_MS + 1;
        wait_ms((int64_t)(left < LOOK_MS ? left : LOOK_MS));
        worse = now.canaries.crashes >= 3 && /* no need to lose more of them */
                canary_worse(&now.canaries, &now.controls, *count, now.verdict);
    }
    worse = canary_worse(&now.canaries, &now.controls, *count, now.verdict);
    if (worse) fail(STAGE_SWAP, "");
    if (worse) snprintf(now.text, sizeof now.text, "taken back: %s", now.verdict);
    bool good = !now.failed;
    pthread_mutex_unlock(&now.lock);
    return good;
}

/* ---- in concert ---- */

void rollout_decide(void *context, bool go) {
    pthread_mutex_lock(&now.lock);
    if (now.running && now.options.context == context && now.word == WORD_NONE) {
        now.word = go ? WORD_GO : WORD_BACK;
        pthread_cond_signal(&now.changed);
    }
    pthread_mutex_unlock(&now.lock);
}

static void count_taken(Outcome *report, uint32_t *actors) { /* under the lock */
    report->taken = report->gone = 0;
    for (size_t i = 0; i < now.change.count; i++) actors[i] = 0;
    for (size_t i = 0; i < now.count; i++) {
        const Target *t = &now.targets[i];
        report->gone += registry_find(t->pid) == NULL;
        if (t->taken && !t->reversed) actors[t->pair]++, report->taken++;
    }
    report->cancelled = now.cancelled, report->downgraded = now.downgraded, report->as_is = now.as_is;
}

/* False: back. */
static bool pass(RolloutGate gate, Outcome *report, uint32_t *actors) {
    if (now.options.reached == NULL) return true;
    pthread_mutex_lock(&now.lock);
    now.word = WORD_NONE;
    count_taken(report, actors);
    pthread_mutex_unlock(&now.lock);
    report->ok = true;
    now.options.reached(now.options.context, gate, report);
    uint64_t end = clock_real() + (uint64_t)now.options.gate_ms * CLOCK_NS_PER_MS;
    pthread_mutex_lock(&now.lock);
    while (now.word == WORD_NONE && clock_real() < end && !(gate == GATE_READY ? unwanted() : now.closing))
        wait_ms(LOOK_MS);
    if (now.word == WORD_BACK) fail(STAGE_NONE, "given up with the other nodes");
    if (now.word == WORD_NONE && gate == GATE_READY) fail(STAGE_NONE, "no word came from the node that asked for it");
    bool go = !now.failed, told = now.word != WORD_NONE;
    pthread_mutex_unlock(&now.lock);
    if (go && !told)
        log_format(LOG_WARN, "", "reload: no word came from the node that asked for it: the new code stays");
    return go;
}

/* ---- the whole ---- */

static bool roll(Outcome *report, uint32_t *actors) {
    bool became = false;
    if (!prepare_all()) goto back;
    if ((now.options.canary_count > 0 || now.options.canary_percent > 0) && choose_canaries()) {
        if (!canaries_sing(&report->canaries)) goto back;
        report->canary = now.verdict;
        if (!prepare_all()) goto back; /* who was born meanwhile */
    }
    if (!pass(GATE_READY, report, actors)) goto back;
    pthread_mutex_lock(&now.lock);
    bool stop = unwanted();
    pthread_mutex_unlock(&now.lock);
    if (stop) goto back;
    behaviour_become(now.change.pairs, now.change.count, now.options.back);
    became = true;
    if (!prepare_all() || !step(RELOAD_COMMIT, is_ready, false)) goto back;
    /* Who was being spawned with the old one when it was replaced takes the new one at its birth. */
    if (!pass(GATE_TAKEN, report, actors)) goto back;
    forget_all();
    return true;
back:
    if (became) {
        BehaviourPair *reversed = calloc(now.change.count, sizeof *reversed);
        for (size_t i = 0; i < now.change.count && reversed != NULL; i++)
            reversed[i] = (BehaviourPair){now.change.pairs[i].to, now.change.pairs[i].from};
        if (reversed != NULL) behaviour_become(reversed, now.change.count, true);
        free(reversed);
    }
    take_back(became);
    forget_all();
    if (report->canaries > 0) report->canary = now.verdict;
    return false;
}

static void clean_up(void) {
    pthread_mutex_lock(&now.lock);
    free(now.targets);
    now.targets = NULL;
    now.count = now.room = 0;
    map_clear(&now.known);
    for (size_t i = 0; i < now.options.name_count; i++) free(now.names[i]);
    free(now.names);
    now.names = NULL;
    now.change = (Change){0};
    now.running = false;
    pthread_mutex_unlock(&now.lock);
}

static void *run(void *unused) {
    (void)unused;
    uint64_t begun = clock_real();
    Outcome report = {.change = &now.change};
    const RolloutOptions *o = &now.options;
    int err = 0;
    for (size_t i = 0; o->find_only && i < o->name_count && err == 0; i++) err = change_load(now.names[i], &now.change);
    if (err == 0 && o->back) err = change_back(now.names[0], &now.change);
    else if (err == 0)
        err = change_find((const char *const *)now.names, o->name_count, o->force, o->parcel, &now.change);
    uint32_t *actors = calloc(now.change.count + 1, sizeof *actors);
    report.actors = actors;
    if (err == 0 && actors == NULL) {
        err = UV_ENOMEM;
        snprintf(now.change.message, sizeof now.change.message, "out of memory");
    }
    bool apart = o->find_only;
    report.ok = err == 0 && (now.change.count == 0 || apart || roll(&report, actors));
    pthread_mutex_lock(&now.lock);
    if (actors != NULL) count_taken(&report, actors);
    for (size_t i = 0; i < now.change.count && actors != NULL && !report.ok; i++) actors[i] = 0;
    if (!report.ok) report.taken = 0;
    if (!report.ok && err == 0) {
        now.change.stage = now.stage;
        snprintf(now.change.message, sizeof now.change.message, "%s", now.text);
        report.actor = now.failed_pid;
        report.failed = now.failed_in;
    }
    pthread_mutex_unlock(&now.lock);
    report.took_ms = (double)(clock_real() - begun) / (double)CLOCK_NS_PER_MS;
    void (*done)(void *, const Outcome *) = now.options.done;
    void *context = now.options.context;
    char line[1024];
    outcome_line(&report, line, sizeof line);
    if (!report.ok || (now.change.count > 0 && !apart))
        log_format(report.ok ? LOG_INFO : LOG_ERROR, "", "reload: %s", line);
    /* Who hears of it may begin the next one at once. */
    Change change = now.change;
    report.change = &change;
    char verdict[sizeof now.verdict];
    memcpy(verdict, now.verdict, sizeof verdict);
    if (report.canary != NULL) report.canary = verdict;
    clean_up();
    done(context, &report);
    free(actors);
    change_free(&change);
    pool_thread_end();
    return NULL;
}

int rollout_start(const RolloutOptions *o) {
    pthread_condattr_t monotonic;
    int err = 0;
    pthread_mutex_lock(&now.lock);
    if (!now.monotonic) {
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&now.changed, &monotonic);
        now.monotonic = true;
    }
    if (now.closing) err = UV_ECANCELED;
    else if (now.running) err = UV_EBUSY;
    else {
        if (now.joinable) pthread_join(now.thread, NULL);
        now.joinable = false;
        now.options = *o;
        now.names = calloc(o->name_count + 1, sizeof *now.names);
        for (size_t i = 0; i < o->name_count && now.names != NULL && err == 0; i++)
            if ((now.names[i] = strdup(o->names[i])) == NULL) err = UV_ENOMEM;
        if (now.names == NULL) err = UV_ENOMEM;
        now.number++;
        now.cancel = now.failed = false;
        now.cancelled = now.downgraded = now.as_is = 0;
        now.under_way = 0;
        now.canaries = now.controls = (CanaryTimes){0};
        *now.verdict = '\0';
        now.change = (Change){0};
        if (err == 0) {
            now.running = true;
            if (pthread_create(&now.thread, NULL, run, NULL) == 0) now.joinable = true;
            else now.running = false, err = UV_EAGAIN;
        }
        if (err < 0 && now.names != NULL) {
            for (size_t i = 0; i < o->name_count; i++) free(now.names[i]);
            free(now.names);
        }
    }
    pthread_mutex_unlock(&now.lock);
    return err;
}

void rollout_cancel(void *context) {
    pthread_mutex_lock(&now.lock);
    if (now.running && now.options.context == context) {
        now.cancel = true;
        pthread_cond_signal(&now.changed);
    }
    pthread_mutex_unlock(&now.lock);
}

void rollout_close(void) {
    pthread_mutex_lock(&now.lock);
    now.closing = true;
    bool joinable = now.joinable;
    now.joinable = false;
    if (now.monotonic) pthread_cond_signal(&now.changed);
    pthread_mutex_unlock(&now.lock);
    if (joinable) pthread_join(now.thread, NULL);
    now.closing = false;
}
