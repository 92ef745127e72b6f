#include "net/spawn.h"

#include <endian.h>
#include <string.h>
#include <uv.h>
#include "mail/names.h"
#include "mail/pid.h"
#include "net/frame.h"

/* ---- writing ---- */

typedef struct Out {
    Bytes *to;
    int err;
} Out;

static void put(Out *o, const void *from, size_t len) {
    if (o->err == 0) o->err = bytes_len(o->to) + len > CALL_MAX ? UV_E2BIG : bytes_add(o->to, from, len);
}
static void put8(Out *o, uint8_t v) { put(o, &v, 1); }
static void put16(Out *o, uint16_t v) { v = htole16(v), put(o, &v, 2); }
static void put32(Out *o, uint32_t v) { v = htole32(v), put(o, &v, 4); }
static void put64(Out *o, uint64_t v) { v = htole64(v), put(o, &v, 8); }
static void put_bytes(Out *o, const char *text, size_t len) {
    put16(o, (uint16_t)len);
    put(o, text, len);
    put8(o, 0);
}
static void put_text(Out *o, const char *text) { put_bytes(o, text, strnlen(text, SPAWN_TEXT_MAX)); }

static void put_file_list(Out *o, const SpawnFiles *files) {
    put16(o, (uint16_t)files->count);
    for (uint32_t i = 0; i < files->count; i++) {
        put_text(o, files->at[i].name);
        put_text(o, files->at[i].path);
        put64(o, files->at[i].hash);
        put32(o, files->at[i].size);
    }
}

/* ---- reading ---- */

typedef struct In {
    const unsigned char *p, *end;
    bool bad;
} In;

static const unsigned char *take(In *in, size_t len) {
    static const unsigned char zeros[8];
    if (in->bad || (size_t)(in->end - in->p) < len) {
        in->bad = true;
        return zeros; /* for numbers: no more than 8 */
    }
    in->p += len;
    return in->p - len;
}
static uint8_t get8(In *in) { return *take(in, 1); }
static uint16_t get16(In *in) {
    uint16_t v;
    memcpy(&v, take(in, 2), 2);
    return le16toh(v);
}
static uint32_t get32(In *in) {
    uint32_t v;
    memcpy(&v, take(in, 4), 4);
    return le32toh(v);
}
static uint64_t get64(In *in) {
    uint64_t v;
    memcpy(&v, take(in, 8), 8);
    return le64toh(v);
}
static const char *get_bytes(In *in, size_t *len) {
    *len = get16(in);
    const char *text = (const char *)take(in, *len + 1);
    if (in->bad || text[*len] != '\0') {
        in->bad = true;
        *len = 0;
        return "";
    }
    return text;
}
static const char *get_text(In *in, size_t least, size_t most) {
    size_t len;
    const char *text = get_bytes(in, &len);
    if (len < least || len > most || strlen(text) != len) in->bad = true;
    return text;
}

/* Texts that are shown to people. */
static void must_be_visible(In *in, const char *text) {
    for (const char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 127) in->bad = true;
}

static void get_file_list(In *in, SpawnFiles *out) {
    out->count = get16(in);
    if (out->count > SPAWN_FILES_MAX) in->bad = true;
    for (uint32_t i = 0; i < out->count && !in->bad; i++) {
        SpawnFile *f = &out->at[i];
        f->name = get_text(in, 1, 200);
        f->path = get_text(in, 1, 4096);
        f->hash = get64(in);
        f->size = get32(in);
        must_be_visible(in, f->path);
    }
}

static bool done(const In *in) { return !in->bad && in->p == in->end; }

/* ---- orders ---- */

int spawn_put_order(Bytes *out, const SpawnOrder *s) {
    Out o = {out, 0};
    put64(&o, s->asker);
    put64(&o, s->monitor);
    put64(&o, s->wait);
    put64(&o, s->memory);
    put32(&o, s->mailbox_limit);
    put32(&o, s->restarts);
    put8(&o, s->mailbox_full);
    put8(&o, s->grants);
    put8(&o, s->link);
    put8(&o, s->code);
    put_bytes(&o, s->name_len > 0 ? s->name : "", s->name_len);
    put_text(&o, s->module);
    put_text(&o, s->origin);
    put_file_list(&o, &s->files);
    put8(&o, s->argc);
    put8(&o, s->arg_flags);
    put(&o, s->args, s->args_size);
    return o.err;
}

static bool is_ref(uint64_t bits, RefKind kind) { return bits == 0 || (bits_are_ref(bits) && ref_kind(bits) == kind); }

bool spawn_read_order(const unsigned char *p, size_t len, SpawnOrder *s) {
    In in = {p, p + len, false};
    s->asker = get64(&in);
    s->monitor = get64(&in);
    s->wait = get64(&in);
    s->memory = get64(&in);
    s->mailbox_limit = get32(&in);
    s->restarts = get32(&in);
    s->mailbox_full = get8(&in);
    s->grants = get8(&in);
    s->link = get8(&in);
    s->code = get8(&in);
    s->name = get_bytes(&in, &s->name_len);
    s->module = get_text(&in, 1, 200);
    s->origin = get_text(&in, 0, FRAME_NAME_MAX);
    must_be_visible(&in, s->origin);
    get_file_list(&in, &s->files);
    s->argc = get8(&in);
    s->arg_flags = get8(&in);
    s->args = in.p;
    s->args_size = (size_t)(in.end - in.p);
    return !in.bad && s->asker != 0 && pid_node(s->asker) == 0 && !bits_are_ref(s->asker) &&
           is_ref(s->monitor, REF_MONITOR) && is_ref(s->wait, REF_REQUEST) && s->link <= 1 && s->code <= SPAWN_YOURS &&
           s->name_len <= NAMES_TEXT_MAX && (s->code == SPAWN_THESE) == (s->files.count > 0) &&
           (s->arg_flags & ~MESSAGE_ERRORS) == 0 && s->argc <= MESSAGE_ARGS_MAX;
}

/* ---- answers ---- */

static void put_error(Out *o, const SpawnAnswer *a) {
    put_text(o, a->code);
    put_text(o, a->text);
}

static void get_error(In *in, SpawnAnswer *a) {
    a->code = get_text(in, 1, 100);
    a->text = get_text(in, 0, SPAWN_TEXT_MAX);
}

int spawn_put_answer(Bytes *out, const SpawnAnswer *a) {
    Out o = {out, 0};
    put64(&o, a->pid);
    if (a->pid == 0) put_error(&o, a);
    return o.err;
}

bool spawn_read_answer(const unsigned char *p, size_t len, SpawnAnswer *a) {
    In in = {p, p + len, false};
    *a = (SpawnAnswer){.pid = get64(&in), .code = "", .text = ""};
    if (a->pid == 0) get_error(&in, a);
    return done(&in) && (a->pid == 0 || (pid_node(a->pid) == 0 && !bits_are_ref(a->pid)));
}

int spawn_put_wanted(Bytes *out, const SpawnWanted *w) {
    Out o = {out, 0};
    put_text(&o, w->origin);
    put_text(&o, w->name);
    put64(&o, w->hash);
    put32(&o, w->size);
    return o.err;
}

bool spawn_read_wanted(const unsigned char *p, size_t len, SpawnWanted *w) {
    In in = {p, p + len, false};
    w->origin = get_text(&in, 0, FRAME_NAME_MAX);
    w->name = get_text(&in, 1, 200);
    w->hash = get64(&in);
    w->size = get32(&in);
    return done(&in);
}

int spawn_put_files(Bytes *out, const SpawnFiles *files, const SpawnAnswer *error) {
    Out o = {out, 0};
    if (error != NULL) put16(&o, 0), put_error(&o, error);
    else put_file_list(&o, files);
    return o.err;
}

bool spawn_read_files(const unsigned char *p, size_t len, SpawnFiles *out, SpawnAnswer *error) {
    In in = {p, p + len, false};
    *error = (SpawnAnswer){.code = "", .text = ""};
    get_file_list(&in, out);
    if (!in.bad && out->count == 0) get_error(&in, error);
    return done(&in);
}
