#include "net/intake.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "ground/clock.h"
#include "ground/config.h"
#include "ground/metrics.h"
#include "mail/atom.h"
#include "mail/mailbox.h"
#include "mail/payload.h"
#include "mail/post.h"
#include "mail/registry.h"
#include "net/ties.h"

#define UNKNOWN UINT16_MAX

typedef struct Name { /* of a handler, by the peer's number */
    uint32_t len, atom; /* atom: ours; 0 = none known when it was last looked for */
    char text[];
} Name;

static int fault(Intake *in, const char *what) {
    in->fault = what;
    return UV_EPROTO;
}

static bool rename_pid(void *context, uint64_t *pid) {
    const Intake *in = context;
    uint32_t node = pid_node(*pid), ours = node == 0 ? in->index : in->nodes[node];
    if (ours == UNKNOWN) return false;
    *pid = pid_on_node(*pid, ours);
    return true;
}

static int learn_name(Intake *in, const Record *r) {
    if (r->name >= in->names_room) {
        uint32_t room = in->names_room == 0 ? 64 : in->names_room;
        while (room <= r->name) room *= 2;
        Name **names = realloc(in->names, room * sizeof(Name *));
        if (names == NULL) return UV_ENOMEM;
        memset(names + in->names_room, 0, (room - in->names_room) * sizeof(Name *));
        in->names = names;
        in->names_room = room;
    }
    Name *n = malloc(sizeof *n + r->size);
    if (n == NULL) return UV_ENOMEM;
    n->len = (uint32_t)r->size;
    n->atom = 0;
    memcpy(n->text, r->payload, r->size);
    free(in->names[r->name]);
    in->names[r->name] = n;
    return 0;
}

/* Our atom for its number, or the text before the values if we have none. */
static int name_it(Intake *in, const Record *r, Message **msg) {
    Name *n = r->name < in->names_room ? in->names[r->name] : NULL;
    if (n == NULL) return fault(in, "a handler's name that was not announced");
    if (n->atom == 0) n->atom = atom_find(n->text, n->len);
    if (((*msg)->name = n->atom) != 0) return 0;
    int err = payload_put_string(msg, n->text, n->len);
    (*msg)->flags |= MESSAGE_NAMED;
    (*msg)->argc = 0;
    return err;
}

/* The sender had no atom for the name; we may have one. */
static void intern_name(Message *msg) {
    size_t len;
    const char *text = payload_first_string(msg, &len);
    uint32_t atom = text != NULL ? atom_find(text, len) : 0;
    if (atom == 0) return;
    size_t used = (size_t)((const unsigned char *)text + len - msg->bytes);
    memmove(msg->bytes, msg->bytes + used, msg->size - used);
    msg->size -= (uint32_t)used;
    msg->name = atom;
    msg->flags &= (uint8_t)~MESSAGE_NAMED;
}

/* Ours, from what a record says; NULL with *err. */
static Message *message_from(Intake *in, const Record *r, int *err) {
    Message *msg = message_new((MessageKind)r->kind, r->size);
    *err = msg == NULL ? UV_ENOMEM : 0;
    if (*err == 0 && r->name != 0) *err = name_it(in, r, &msg);
    if (*err == 0) {
        Message *roomy = message_grow(msg, r->size);
        if (roomy == NULL) *err = UV_ENOMEM;
        else msg = roomy;
    }
    if (*err < 0) {
        message_free(msg);
        return NULL;
    }
    if (r->size > 0) memcpy(msg->bytes + msg->size, r->payload, r->size);
    msg->size += (uint32_t)r->size;
    msg->argc = r->argc;
    msg->flags |= r->flags & (MESSAGE_NAMED | MESSAGE_ERRORS);
    msg->to = r->to;
    msg->from = r->from;
    msg->ref = r->ref;
    return msg;
}

/* It is for that mailbox: is its owner so far behind that what follows had better wait? */
static bool far_behind(uint64_t pid) {
    const Slot *slot = registry_find(pid);
    return slot != NULL && mailbox_depth(&slot->box) >= mailbox_limit(&slot->box) / 4;
}

/* Once, so that it stops sending there. */
static void tell_full(Intake *in, uint64_t pid) {
    for (uint32_t i = 0; i < in->full_count; i++)
        if (in->full[i] == pid) return;
    if (in->full_count == LINK_FULL_MOST) return;
    in->full[in->full_count++] = pid;
    link_tell(in->link, &(Record){.kind = RECORD_FULL, .from = pid, .to = 1});
}

bool intake_recheck(Intake *in) {
    for (uint32_t i = 0; i < in->full_count;) {
        const Slot *slot = registry_find(in->full[i]);
        if (slot != NULL && mailbox_depth(&slot->box) > mailbox_limit(&slot->box) / 2) {
            i++;
            continue;
        }
        link_tell(in->link, &(Record){.kind = RECORD_FULL, .from = in->full[i], .to = 0});
        in->full[i] = in->full[--in->full_count];
    }
    return in->full_count > 0;
}

static int deliver(Intake *in, const Record *r) {
    int err;
    Message *msg = message_from(in, r, &err);
    if (msg == NULL) return err;
    if (!payload_adopt(msg, rename_pid, in)) err = fault(in, "values that are none");
    else if (!rename_pid(in, &msg->to) || pid_node(msg->to) != 0) err = fault(in, "a message for another node");
    else if (msg->from != 0 && (pid_node(msg->from) != 0 || !rename_pid(in, &msg->from)))
        err = fault(in, "a message in another node's name");
    else if (r->flags & MESSAGE_LIMITED)
        err = message_limit(&msg, r->left < UINT64_MAX / 2 ? clock_coarse() + r->left : UINT64_MAX);
    if (err == 0) {
        if (msg->flags & MESSAGE_NAMED) intern_name(msg);
        err = link_tie(in->link, msg);
    }
    if (err != 0) {
        message_free(msg);
        return err == TIES_DROP ? 0 : err;
    }
    uint64_t to = msg->to;
    metrics_add(METRIC_net_received, 1);
    err = post_send(msg);
    if (err == UV_ENOBUFS) tell_full(in, to);
    if (err < 0) post_refuse(msg, err);
    if (err == MAILBOX_CROWDED && far_behind(to)) in->paused = true;
    return 0;
}

static int take_record(Intake *in, Lane lane, const unsigned char *p, size_t len) {
    Record r;
    if (!record_read(p, len, &r)) return fault(in, "a record that is none");
    if (lane == LANE_USER) in->records++;
    in->orders += record_is_order(r.kind);
    if (r.kind < RECORD_NODE) return deliver(in, &r);
    if (lane != LANE_SYSTEM) return fault(in, "a record in the wrong lane");
    switch (r.kind) {
    case RECORD_PING: return 0;
    case RECORD_CREDIT: link_credited(in->link, r.to, r.from, r.ref); return 0;
    case RECORD_ATOM: return learn_name(in, &r);
    case RECORD_NODE: in->nodes[r.name] = (uint16_t)in->calls->meet(in->link, &r); return 0;
    case RECORD_CALL:
    case RECORD_ANSWER: in->calls->record(in->link, &r); return 0;
    default:
        if (pid_node(r.from) != 0 || !rename_pid(in, &r.from)) return fault(in, "a record in another node's name");
        if (r.kind == RECORD_FULL) {
            link_filled(in->link, r.from, r.to == 1);
            return 0;
        }
        in->calls->record(in->link, &r);
        return 0;
    }
}

/* Takes in whole records; how many bytes those had, or an error. */
static ssize_t take_records(Intake *in, Lane lane, const unsigned char *p, size_t len) {
    size_t at = 0;
    while (len - at >= RECORD_LENGTH && !(lane == LANE_USER && in->paused)) {
        size_t whole = record_length(p + at);
        if (whole < RECORD_HEAD || whole > RECORD_HEAD + (size_t)config.net_message)
            return fault(in, "a record that is too small or too large");
        if (whole > len - at) break;
        int err = take_record(in, lane, p + at, whole);
        if (err < 0) return err;
        at += whole;
    }
    return (ssize_t)at;
}

static int take_lane(Intake *in, Lane lane, const unsigned char *p, size_t len) {
    Bytes *held = &in->held[lane];
    bool fresh = bytes_len(held) == 0;
    if (fresh && len == 0) return 0;
    if (!fresh && bytes_add(held, p, len) < 0) return UV_ENOMEM;
    ssize_t took = fresh ? take_records(in, lane, p, len)
                         : take_records(in, lane, bytes_first(held), bytes_len(held));
    if (took < 0) return (int)took;
    if (!fresh) bytes_take(held, (size_t)took);
    else if (bytes_add(held, p + took, len - (size_t)took) < 0) return UV_ENOMEM;
    return 0;
}

/* Tells the peer how far we are, if it is far or it is `due`. What waits while paused is not taken in. */
static void give_credit(Intake *in, bool due) {
    uint64_t taken = in->bytes - (in->paused ? bytes_len(&in->held[LANE_USER]) : 0);
    if (taken == in->told && in->orders == in->told_orders) return;
    if (!due && taken - in->told < (uint64_t)config.net_window / 4) return;
    in->told = taken;
    in->told_orders = in->orders;
    link_tell(in->link, &(Record){.kind = RECORD_CREDIT, .to = taken, .from = in->records, .ref = in->orders});
}

int intake_take(Intake *in, const unsigned char *p, size_t len) {
    bool was_paused = in->paused;
    in->heard = true;
    metrics_add(METRIC_net_bytes_in, len);
    while (len > 0) {
        if (in->chunk_left == 0) {
            in->head[in->head_len++] = *p++;
            len--;
            if (in->head_len < FRAME_CHUNK_HEAD) continue;
            in->head_len = 0;
            if (!frame_read_chunk(in->head, &in->lane, &in->chunk_left)) return fault(in, "a chunk that is none");
            continue;
        }
        size_t n = in->chunk_left < len ? in->chunk_left : len;
        if (in->lane == LANE_USER) {
            in->bytes += n;
            if (in->bytes - in->told > (uint64_t)config.net_window)
                return fault(in, "more than it was given credit for");
        }
        int err = take_lane(in, in->lane, p, n);
        if (err < 0) return err;
        in->chunk_left -= n;
        p += n;
        len -= n;
    }
    if (in->paused && !was_paused) in->calls->paused(in->link);
    give_credit(in, false);
    return 0;
}

int intake_resume(Intake *in) {
    in->paused = false;
    int err = take_lane(in, LANE_USER, NULL, 0);
    if (err < 0) return err;
    if (in->paused) in->calls->paused(in->link);
    give_credit(in, false);
    return 0;
}

void intake_confirm(Intake *in) { give_credit(in, true); }

bool intake_adopt(const Intake *in, uint64_t *pid) { return rename_pid((void *)in, pid); }

/* ---- beginning and end ---- */

void intake_begin(Intake *in) {
    memset(in->nodes, 0xff, sizeof in->nodes);
    in->head_len = in->chunk_left = 0;
    in->bytes = in->records = in->orders = in->told = in->told_orders = 0;
    in->paused = false;
    in->full_count = 0;
    in->heard = true;
    in->fault = NULL;
}

void intake_drain(Intake *in) {
    if (!in->paused || in->fault != NULL) return;
    in->paused = false;
    for (int err = 0; err == 0 && bytes_len(&in->held[LANE_USER]) >= RECORD_HEAD;) {
        size_t before = bytes_len(&in->held[LANE_USER]);
        in->paused = false;
        err = take_lane(in, LANE_USER, NULL, 0);
        if (bytes_len(&in->held[LANE_USER]) == before) break;
    }
}

static void forget_names(Intake *in) {
    for (uint32_t i = 0; i < in->names_room; i++) free(in->names[i]);
    free(in->names);
    in->names = NULL;
    in->names_room = 0;
}

void intake_clear(Intake *in) {
    for (int lane = 0; lane < LANES; lane++) bytes_clear(&in->held[lane]);
    forget_names(in);
}
