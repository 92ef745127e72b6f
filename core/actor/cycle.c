#include "actor/cycle.h"

#include <stdio.h>
#include <stdlib.h>
#include "actor/fiber.h"
#include "ground/metrics.h"
#include "mail/atom.h"
#include "mail/names.h"
#include "mail/post.h"

#define SHOWN_FIRST 12 /* of a long circle */
#define SHOWN_LAST 4
#define AWAY SIZE_MAX  /* in place of a number of steps: the way leads to another node */
#define TEXT_SIZE ((SHOWN_FIRST + SHOWN_LAST + 3) * (60 + PID_TEXT_MAX + ATOM_TEXT_MAX + 16)) /* all fits */

typedef struct Step { /* `pid` waits for the answer to `asks` */
    uint64_t pid, asks;
} Step;

/* Walks from `whom` on until it comes back to `a`, and returns how many steps that took, 0 or AWAY if it does not.
 * Writes up to `most` of them. With `mine`, the last one must be waiting for just that request. */
static size_t walk(const Actor *a, uint64_t whom, const Message *mine, Step *steps, size_t most) {
    for (size_t n = 0; n < CYCLE_MOST;) {
        Slot *slot = registry_find(whom);
        if (slot == NULL) return pid_node(whom) != 0 ? AWAY : 0;
        /* seq_cst: see 3; acquire, and that of `asked`: whom this word is about, or the next reading finds another */
        uint64_t asks = atomic_load_explicit(&slot->asks, memory_order_seq_cst);
        if (asks == 0) return 0;
        if (n < most) steps[n] = (Step){whom, asks};
        n++;
        uint64_t next = atomic_load_explicit(&slot->asked, memory_order_acquire);
        if (next == a->pid)
            return mine == NULL || (mine->from == whom && registry_asks_ref(asks, mine->ref)) ? n : 0;
        whom = next;
    }
    return 0;
}

/* The steps of a circle that there was at one moment; NULL: there is none, *count may be AWAY. The caller frees. */
static Step *find(const Actor *a, uint64_t whom, const Message *mine, size_t *count) {
    size_t n = walk(a, whom, mine, NULL, 0);
    *count = n;
    if (n == 0 || n == AWAY) return NULL;
    Step *seen = malloc(2 * n * sizeof *seen);
    if (seen == NULL) return NULL; /* its deadline will end it */
    Step *again = seen + n;
    bool same = walk(a, whom, mine, seen, n) == n && walk(a, whom, mine, again, n) == n;
    for (size_t i = 0; i < n && same; i++) same = seen[i].pid == again[i].pid && seen[i].asks == again[i].asks;
    if (!same) {
        free(seen);
        return NULL;
    }
    return seen;
}

/* Adds "bob <1.1>", and with `asks` " 'x' -> ". The new length. */
static size_t show(char *out, size_t len, uint64_t pid, bool asks, uint32_t question) {
    char name[NAMES_TEXT_MAX + 1], who[PID_TEXT_MAX];
    size_t unused, room = TEXT_SIZE - len;
    names_of(pid, name);
    pid_text(pid, who);
    int more = snprintf(out + len, room, "%.60s%s%s", name, *name != '\0' ? " " : "", who);
    if (asks && (size_t)more < room)
        more += snprintf(out + len + more, room - (size_t)more, " '%s' -> ",
                         question != 0 ? atom_text(question, &unused) : "?");
    return (size_t)more < room ? len + (size_t)more : TEXT_SIZE - 1;
}

const char *cycle_closed(Actor *a, uint64_t ref, uint64_t whom, uint32_t name) {
    static _Thread_local char text[TEXT_SIZE];
    const Fiber *f = a->current;
    const Message *mine = NULL;
    if (atomic_load_explicit(&a->slot->asks, memory_order_relaxed) == 0 || f != &a->main) {
        /* Others go on meanwhile: only who waits for this fiber would wait for ever. */
        mine = f->msg;
        if (mine == NULL || mine->kind != MESSAGE_ASK || mine->ref == 0) return NULL;
    }
    size_t count, len;
    Step *steps = find(a, whom, mine, &count);
    if (steps == NULL) {
        if (count == AWAY) post_chase(a->pid, ref, name, whom);
        return NULL;
    }
    if (mine == NULL) cycle_leave(a);
    metrics_add(METRIC_deadlocks, 1);
    len = show(text, 0, a->pid, true, name);
    for (size_t i = 0; i < count; i++) {
        if (count > SHOWN_FIRST + SHOWN_LAST + 1 && i == SHOWN_FIRST) {
            size_t skip = count - SHOWN_FIRST - SHOWN_LAST;
            len += (size_t)snprintf(text + len, TEXT_SIZE - len, "... %zu more ... -> ", skip);
            i += skip;
        }
        len = show(text, len, steps[i].pid, true, steps[i].asks & 0xffff);
    }
    show(text, len, a->pid, false, 0);
    free(steps);
    return text;
}

void cycle_came(Actor *a, Message *msg) {
    uint64_t bits;
    const Fiber *f = a->main.state == FIBER_WAITING && a->main.wait == msg->ref ? &a->main
                     : map_get(&a->waiting, msg->ref, &bits) ? (Fiber *)(uintptr_t)bits : NULL;
    bool stands = f == &a->main &&
                  registry_asks_ref(atomic_load_explicit(&a->slot->asks, memory_order_relaxed), msg->ref);
    if (f != NULL && !stands) { /* others go on meanwhile: see 5 */
        const Message *mine = f->msg;
        stands = mine != NULL && mine->kind == MESSAGE_ASK && mine->from == msg->from &&
                 registry_asks_ref(message_deadline(msg), mine->ref);
    }
    if (!stands) { /* an answer came meanwhile, or nobody would wait for ever */
        message_free(msg);
        return;
    }
    metrics_add(METRIC_deadlocks, 1);
    msg->kind = MESSAGE_FAIL;
    msg->flags &= (uint8_t)~MESSAGE_LIMITED;
    fiber_wake(a, msg->ref, msg);
}
