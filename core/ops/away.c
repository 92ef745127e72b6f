#include "ops/away.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "ground/clock.h"
#include "net/call.h"
#include "net/cluster.h"
#include "net/members.h"
#include "ops/relay.h"
#include "run/loop.h"

#define HOLD_MS 1000 /* how long a pull waits for something to tell */
#define LOOK_MS 250  /* between two looks for links that have ended, and pulls that wait */

typedef struct Away {
    struct Away *next;
    ClientAway how;
    Client *client;
    uint32_t node;
    uint64_t session, number; /* of the link; of the way */
    CallFrom pull; /* unanswered, if `pulled` */
    size_t wanted;
    uint64_t since;
    bool pulled;
    char name[FRAME_NAME_MAX + 1];
} Away;

static Away *all;
static uv_timer_t timer;
static bool timer_open;

static uint64_t number(const unsigned char *p, int bytes) {
    uint64_t n = 0;
    while (bytes-- > 0) n = n << 8 | p[bytes];
    return n;
}

/* ---- answers ---- */

static void complain(CallFrom from, const char *why) {
    char body[256] = {1};
    size_t len = strnlen(why, sizeof body - 1);
    memcpy(body + 1, why, len);
    call_answer(from, body, len + 1);
    cluster_flush();
}

/* What there is, up to what is wanted; also nothing. */
static void answer(Away *a) {
    Text *out = &a->client->out;
    size_t len = out->len < a->wanted ? out->len : a->wanted;
    char *body = malloc(len + 1);
    a->pulled = false;
    if (body == NULL) {
        complain(a->pull, "memory is short");
        return;
    }
    body[0] = 0;
    if (len > 0) memcpy(body + 1, out->bytes, len);
    if (len < out->len) memmove(out->bytes, out->bytes + len, out->len - len);
    out->len -= len;
    if (out->len == 0 && out->room > RELAY_CHUNK) text_free(out);
    client_tend(); /* who paused goes on */
    call_answer(a->pull, body, len + 1);
    free(body);
    cluster_flush();
}

static void flush(Client *c) {
    Away *a = c->away->context;
    if (a->pulled) answer(a);
}

static void gone(Client *c) {
    Away *a = c->away->context, **at = &all;
    while (*at != a) at = &(*at)->next;
    *at = a->next;
    if (a->pulled)
        complain(a->pull, c->doomed != NULL && *c->doomed != '\0' ? c->doomed : "its console closed the connection");
    free(a);
    if (all == NULL && timer_open) uv_timer_stop(&timer);
}

/* ---- time ---- */

static void look(uv_timer_t *unused) {
    (void)unused;
    uint64_t now = clock_real();
    for (Away *a = all, *next; a != NULL; a = next) {
        next = a->next;
        Link *l = members_find(a->node);
        if (a->node != 0 && (l == NULL || link_session(l) != a->session)) {
            a->pulled = false;
            if (a->client->doomed == NULL) a->client->doomed = "";
            client_tend();
        } else if (a->pulled && now - a->since > HOLD_MS * CLOCK_NS_PER_MS) {
            answer(a);
        }
    }
}

/* ---- questions ---- */

static Away *find(CallFrom from, uint64_t way) {
    Away *a = all;
    while (a != NULL && !(a->node == from.node && a->session == from.session && a->number == way)) a = a->next;
    return a != NULL && a->client->doomed == NULL ? a : NULL;
}

static Away *make(CallFrom from, uint64_t way, unsigned uid) {
    Away *a = calloc(1, sizeof *a);
    if (a == NULL) return NULL;
    *a = (Away){.next = all, .how = {flush, gone, NULL}, .node = from.node, .session = from.session, .number = way};
    a->how.context = a;
    strncpy(a->name, members_name(from.node), FRAME_NAME_MAX);
    a->client = client_new_away(&a->how, from.node != 0 ? a->name : NULL, uid);
    if (a->client == NULL) {
        free(a);
        return NULL;
    }
    if (!timer_open) timer_open = uv_timer_init(loop_uv(), &timer) == 0;
    if (all == NULL && timer_open) uv_timer_start(&timer, look, LOOK_MS, LOOK_MS);
    return all = a;
}

static void serve(CallFrom from, const unsigned char *body, size_t len) {
    if (len < RELAY_HEAD) {
        complain(from, "that is no request");
        return;
    }
    uint64_t way = number(body + 1, 8);
    Away *a = find(from, way);
    if (body[0] == RELAY_ASK && len >= RELAY_HEAD + 4) {
        if (a == NULL) a = make(from, way, (unsigned)number(body + RELAY_HEAD, 4));
        if (a == NULL) {
            complain(from, "its console takes no more clients (console.clients, --console off)");
            return;
        }
        call_answer(from, NULL, 0);
        request_take(a->client, (const char *)body + RELAY_HEAD + 4, len - RELAY_HEAD - 4);
        client_tend();
    } else if (body[0] == RELAY_PULL && len == RELAY_HEAD + 4 && a != NULL) {
        if (a->pulled) answer(a); /* it asks again: that one was lost */
        a->pulled = true;
        a->pull = from;
        a->since = clock_real();
        a->wanted = (size_t)number(body + RELAY_HEAD, 4);
        if (a->wanted > RELAY_CHUNK) a->wanted = RELAY_CHUNK;
        if (a->client->out.len > 0) answer(a);
    } else if (body[0] == RELAY_PULL) {
        complain(from, "its console does not know of it");
    } else {
        if (a != NULL) a->client->doomed = "";
        if (a != NULL) client_tend();
        call_answer(from, NULL, 0);
    }
    cluster_flush();
}

void away_open(void) { call_serve(CALL_OP, serve); }

void away_close(void) {
    if (timer_open) uv_close((uv_handle_t *)&timer, NULL);
    timer_open = false;
}
