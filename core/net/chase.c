#include "net/chase.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>
#include "ground/log.h"
#include "mail/atom.h"
#include "mail/names.h"
#include "mail/payload.h"
#include "mail/pid.h"
#include "mail/post.h"
#include "mail/registry.h"
#include "net/members.h"

#define STARTS 64     /* chases from asks of one other node, a tick */
#define LATER_MOST 256
#define HEAD 4
#define NAME_SHOWN 60
#define TEXTS_MOST (CHASE_MOST * (2 + NAME_SHOWN + ATOM_TEXT_MAX))
#define SHOWN_FIRST 12 /* of a long circle */
#define SHOWN_LAST 4
#define STEP_TEXT (NAME_SHOWN + PID_TEXT_MAX + ATOM_TEXT_MAX + 16)
#define TEXT_SIZE ((SHOWN_FIRST + SHOWN_LAST + 3) * STEP_TEXT)

_Static_assert(HEAD + CHASE_MOST * FRAME_STEP + TEXTS_MOST <= FRAME_CHASE_MAX, "the longest chase fits a record");

typedef struct Step { /* `pid` waits with the request that `asks` says, as Slot.asks does */
    uint64_t pid, asks;
} Step;

typedef struct Chase {
    uint32_t count;
    Step steps[CHASE_MOST];
    size_t texts_len;
    unsigned char texts[TEXTS_MOST];
} Chase;

static Chase chase; /* the loop's thread: one at a time */

/* What chase_later was told, until the next tick but one. */
static struct {
    pthread_mutex_t lock; /* guards the rest */
    size_t count, old;    /* the first `old` have seen a tick */
    struct Later {
        uint64_t asker, ref, whom;
        uint32_t name;
    } asks[LATER_MOST];
} later = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void put64(unsigned char *p, uint64_t v) {
    for (int i = 0; i < 8; i++) p[i] = (unsigned char)(v >> 8 * i);
}

static uint64_t get64(const unsigned char *p) {
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

/* ---- there and back ---- */

static void send_on(const Chase *c, uint64_t to, uint64_t from, uint64_t left) {
    static unsigned char out[FRAME_CHASE_MAX]; /* the loop's thread */
    Link *l = members_find(pid_node(to));
    if (l == NULL) return;
    for (int i = 0; i < HEAD; i++) out[i] = (unsigned char)(c->count >> 8 * i);
    unsigned char *p = out + HEAD;
    for (uint32_t i = 0; i < c->count; i++, p += FRAME_STEP) {
        put64(p, c->steps[i].pid);
        put64(p + 8, c->steps[i].asks);
    }
    memcpy(p, c->texts, c->texts_len);
    link_tell(l, &(Record){.kind = RECORD_CHASE, .to = to, .from = from, .left = left, .payload = out,
                           .size = (size_t)(p - out) + c->texts_len});
}

static void put_text(Chase *c, const char *text, size_t len, size_t most) {
    if (len > most) len = most;
    c->texts[c->texts_len++] = (unsigned char)len;
    memcpy(c->texts + c->texts_len, text, len);
    c->texts_len += len;
}

static void name_step(Chase *c, uint64_t pid, uint64_t asks) {
    char name[NAMES_TEXT_MAX + 1];
    size_t len;
    names_of(pid, name);
    put_text(c, name, strlen(name), NAME_SHOWN);
    const char *question = atom_text((uint32_t)(asks & 0xffff), &len);
    put_text(c, question, len, ATOM_TEXT_MAX);
}

/* "bob <1.1@a> 'x' -> ", at out[len]; the new length. */
static size_t show(char *out, size_t len, uint64_t pid, const unsigned char *texts, bool asks) {
    char who[PID_TEXT_MAX];
    const unsigned char *question = texts + 1 + *texts;
    size_t room = TEXT_SIZE - len;
    pid_text(pid, who);
    int more = snprintf(out + len, room, "%.*s%s%s", (int)*texts, (const char *)texts + 1, *texts > 0 ? " " : "", who);
    if (asks && (size_t)more < room)
        more += snprintf(out + len + more, room - (size_t)more, " '%.*s' -> ", *question > 0 ? (int)*question : 1,
                         *question > 0 ? (const char *)question + 1 : "?");
    return (size_t)more < room ? len + (size_t)more : TEXT_SIZE - 1;
}

/* Where the texts of each step begin; false: they are none. The first step's come last. */
static bool find_texts(const Chase *c, const unsigned char *at[CHASE_MOST]) {
    const unsigned char *p = c->texts, *end = c->texts + c->texts_len;
    for (uint32_t i = c->count; i-- > 0;) {
        at[i] = p;
        for (int part = 0; part < 2; part++) {
            if (p == end || *p >= end - p) return false;
            p += 1 + *p;
        }
    }
    return p == end;
}

static int put_field(Message **msg, const char *key, const char *value, size_t len) {
    int err = payload_put_string(msg, key, strlen(key));
    return err < 0 ? err : payload_put_string(msg, value, len);
}

/* All steps have been found twice: the first one's actor hears of it. */
static void tell(Chase *c) {
    static char text[TEXT_SIZE + 64]; /* the loop's thread */
    static const char begin[] = "they would wait for each other for ever: ";
    const unsigned char *texts[CHASE_MOST];
    const Step *first = &c->steps[0], *last = &c->steps[c->count - 1];
    size_t mark, len = 0;
    name_step(c, first->pid, first->asks);
    if (!find_texts(c, texts)) return;
    memcpy(text, begin, sizeof begin);
    char *circle = text + sizeof begin - 1;
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->count > SHOWN_FIRST + SHOWN_LAST + 1 && i == SHOWN_FIRST) {
            uint32_t skip = c->count - SHOWN_FIRST - SHOWN_LAST;
            len += (size_t)snprintf(circle + len, TEXT_SIZE - len, "... %u more ... -> ", skip);
            i += skip;
        }
        len = show(circle, len, c->steps[i].pid, texts[i], true);
    }
    len = show(circle, len, first->pid, texts[0], false);
    Message *msg = message_new(MESSAGE_CIRCLE, len + 128);
    if (msg == NULL || payload_open_table(&msg, true, &mark) < 0 || put_field(&msg, "code", "deadlock", 8) < 0 ||
        put_field(&msg, "message", text, sizeof begin - 1 + len) < 0 || payload_put_string(&msg, "actor", 5) < 0 ||
        payload_put_pid(&msg, first->pid) < 0 || payload_close_table(&msg, mark, 3) < 0 ||
        message_limit(&msg, last->asks) < 0) {
        message_free(msg); /* the ask's deadline ends it */
        return;
    }
    msg->to = first->pid;
    msg->from = last->pid;
    msg->ref = ref_make(REF_REQUEST, (uint64_t)pid_slot(first->pid) << 36 | (first->asks >> 16 & ((1ull << 36) - 1)));
    post_deliver(msg);
}

/* It has turned: looks at the steps from number i on down, those on this node; the one above is on this node, too, or
 * was looked at before. */
static void go_back(Chase *c, uint32_t i, uint64_t above) {
    for (; i > 0; above = c->steps[i--].pid) {
        const Step *s = &c->steps[i];
        if (pid_node(s->pid) != 0) {
            send_on(c, s->pid, above, i + 1);
            return;
        }
        const Slot *slot = registry_find(s->pid);
        /* acquire: if the one above was answered before it was seen to wait, the answer has taken this word back */
        uint64_t asks = slot != NULL ? atomic_load_explicit(&slot->asks, memory_order_acquire) : 0;
        if (asks == 0 || asks >> 16 != s->asks >> 16) return;
        name_step(c, s->pid, asks);
    }
    if (pid_node(c->steps[0].pid) != 0) send_on(c, c->steps[0].pid, above, 1);
    else tell(c);
}

/* On from the last step's actor, which waits for `whom`. */
static void go_on(Chase *c, uint64_t whom) {
    while (pid_node(whom) == 0) {
        if (whom == c->steps[0].pid) { /* it has come round; its own word need not be looked at, see cycle_came */
            go_back(c, c->count - 1, whom);
            return;
        }
        const Slot *slot = registry_find(whom);
        if (slot == NULL || c->count == CHASE_MOST) return;
        /* acquire: pairs with registry_ask, so that `asked` belongs to this word if the word is still there after */
        uint64_t asks = atomic_load_explicit(&slot->asks, memory_order_acquire);
        uint64_t next = atomic_load_explicit(&slot->asked, memory_order_acquire);
        if (asks == 0 || atomic_load_explicit(&slot->asks, memory_order_relaxed) != asks) return;
        for (uint32_t i = 0; i < c->count; i++)
            if (c->steps[i].pid == whom) return; /* a circle, but not ours */
        c->steps[c->count++] = (Step){whom, asks};
        whom = next;
    }
    send_on(c, whom, c->steps[c->count - 1].pid, 0);
}

void chase_came(Link *l, const Record *r) {
    uint64_t to = r->to;
    uint32_t count = 0;
    if (!link_adopt(l, &to) || pid_node(to) != 0) return;
    for (int i = HEAD - 1; i >= 0; i--) count = count << 8 | r->payload[i];
    const unsigned char *p = r->payload + HEAD, *end = r->payload + r->size;
    if (count == 0 || count > CHASE_MOST || (size_t)(end - p) < (size_t)count * FRAME_STEP || r->left > count) return;
    for (uint32_t i = 0; i < count; i++, p += FRAME_STEP) {
        uint64_t pid = get64(p);
        if (pid == 0 || bits_are_ref(pid) || !link_adopt(l, &pid)) return;
        chase.steps[i] = (Step){pid, get64(p + 8)};
    }
    chase.count = count;
    chase.texts_len = (size_t)(end - p);
    /* So many texts at most as there are steps above this one: then all that come fit. */
    uint64_t looked = r->left > 0 ? count - r->left : 0;
    if (chase.texts_len > looked * (2 + NAME_SHOWN + ATOM_TEXT_MAX)) return;
    memcpy(chase.texts, p, chase.texts_len);
    if (r->left == 0) {
        go_on(&chase, to);
    } else if (chase.steps[r->left - 1].pid == to) {
        go_back(&chase, (uint32_t)r->left - 1, 0);
    }
}

/* ---- starting ---- */

static void start(uint64_t asker, uint64_t ref, uint32_t name, uint64_t whom) {
    chase.count = 1;
    chase.texts_len = 0;
    chase.steps[0] = (Step){asker, ref << 16 | name};
    go_on(&chase, whom);
}

void chase_later(uint64_t asker, uint64_t ref, uint32_t name, uint64_t whom) {
    pthread_mutex_lock(&later.lock);
    if (later.count < LATER_MOST) /* else: whoever waits for another node is chased from there */
        later.asks[later.count++] = (struct Later){asker, ref, whom, name};
    pthread_mutex_unlock(&later.lock);
}

static void start_later_ones(void) {
    static struct Later asks[LATER_MOST]; /* the loop's thread */
    pthread_mutex_lock(&later.lock);
    size_t count = later.old;
    memcpy(asks, later.asks, count * sizeof *asks);
    later.count -= count;
    memmove(later.asks, later.asks + count, later.count * sizeof *asks);
    later.old = later.count;
    pthread_mutex_unlock(&later.lock);
    for (size_t i = 0; i < count; i++)
        if (registry_find(asks[i].asker) != NULL) start(asks[i].asker, asks[i].ref, asks[i].name, asks[i].whom);
}

void chase_tick(void) {
    TiesWait waits[STARTS];
    uint32_t most = members_count();
    ties_tick();
    for (uint32_t i = 1; i <= most; i++) {
        size_t count = link_waits(members_find(i), waits, STARTS);
        for (size_t k = 0; k < count; k++) start(waits[k].asker, waits[k].ref, waits[k].name, waits[k].asked);
    }
    start_later_ones();
}
