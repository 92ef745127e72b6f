#include "net/frame.h"

#include <endian.h>
#include <string.h>
#include <uv.h>
#include "mail/atom.h"
#include "mail/groups.h"
#include "mail/names.h"
#include "mail/pid.h"

#define MAGIC "THRONG"
#define MAGIC_LEN 6
#define TYPE_AT 4
#define BODY_AT 5

static unsigned char *put16(unsigned char *p, uint16_t v) {
    v = htole16(v);
    memcpy(p, &v, 2);
    return p + 2;
}
static unsigned char *put32(unsigned char *p, uint32_t v) {
    v = htole32(v);
    memcpy(p, &v, 4);
    return p + 4;
}
static unsigned char *put64(unsigned char *p, uint64_t v) {
    v = htole64(v);
    memcpy(p, &v, 8);
    return p + 8;
}
static uint16_t get16(const unsigned char *p) {
    uint16_t v;
    memcpy(&v, p, 2);
    return le16toh(v);
}
static uint32_t get32(const unsigned char *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return le32toh(v);
}
static uint64_t get64(const unsigned char *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return le64toh(v);
}

/* ---- the handshake ---- */

int frame_whole(const unsigned char *p, size_t len) {
    if (len < BODY_AT) return 0;
    uint32_t size = get32(p);
    if (size < BODY_AT || size > FRAME_HELLO_MAX) return UV_EPROTO;
    return size <= len ? (int)size : 0;
}

size_t frame_put(unsigned char out[FRAME_HELLO_MAX], FrameType type, const void *body, size_t len) {
    if (len > FRAME_HELLO_MAX - BODY_AT) len = FRAME_HELLO_MAX - BODY_AT;
    put32(out, (uint32_t)(BODY_AT + len));
    out[TYPE_AT] = (unsigned char)type;
    if (len > 0) memcpy(out + BODY_AT, body, len);
    return BODY_AT + len;
}

static unsigned char *put_text(unsigned char *p, const char *text) {
    size_t len = strlen(text);
    *p++ = (unsigned char)len;
    memcpy(p, text, len);
    return p + len;
}

size_t frame_put_hello(unsigned char out[FRAME_HELLO_MAX], const Hello *h) {
    unsigned char body[FRAME_HELLO_MAX], *p = body;
    memcpy(p, MAGIC, MAGIC_LEN);
    p = put16(p + MAGIC_LEN, h->version);
    p = put64(p, h->incarnation);
    p = put64(p, h->window);
    p = put64(p, h->largest);
    p = put64(p, h->patience);
    p = put16(p, h->port);
    memcpy(p, h->nonce, FRAME_NONCE);
    p = put_text(p + FRAME_NONCE, h->cluster);
    p = put_text(p, h->name);
    p = put_text(p, h->host);
    size_t can = strlen(h->can);
    p = put16(p, (uint16_t)can);
    memcpy(p, h->can, can);
    p += can;
    return frame_put(out, FRAME_HELLO, body, (size_t)(p - body));
}

/* At *at, which moves behind it. */
static bool read_text(const unsigned char **at, const unsigned char *end, char out[FRAME_NAME_MAX + 1]) {
    if (*at == end) return false;
    size_t len = *(*at)++;
    if (len > FRAME_NAME_MAX || len > (size_t)(end - *at)) return false;
    for (size_t i = 0; i < len; i++)
        if ((*at)[i] <= ' ' || (*at)[i] >= 127) return false;
    memcpy(out, *at, len);
    out[len] = '\0';
    *at += len;
    return true;
}

/* What is left of it. */
static bool read_can(const unsigned char *p, const unsigned char *end, char out[ABLE_TEXT_MAX + 1]) {
    if (end - p < 2 || get16(p) > ABLE_TEXT_MAX || end - p - 2 != get16(p)) return false;
    memcpy(out, p + 2, get16(p));
    out[get16(p)] = '\0';
    return strlen(out) == get16(p) && able_good(out);
}

int frame_read_hello(const unsigned char *body, size_t len, Hello *out) {
    const unsigned char *p = body, *end = body + len;
    memset(out, 0, sizeof *out);
    if (len < MAGIC_LEN + 2 || memcmp(p, MAGIC, MAGIC_LEN) != 0) return UV_EPROTO;
    p += MAGIC_LEN;
    out->version = get16(p);
    p += 2;
    if (out->version != FRAME_VERSION) return UV_ENOTSUP;
    if ((size_t)(end - p) < 8 + 8 + 8 + 8 + 2 + FRAME_NONCE) return UV_EPROTO;
    out->incarnation = get64(p);
    out->window = get64(p + 8);
    out->largest = get64(p + 16);
    out->patience = get64(p + 24);
    out->port = get16(p + 32);
    memcpy(out->nonce, p + 34, FRAME_NONCE);
    p += 34 + FRAME_NONCE;
    if (!read_text(&p, end, out->cluster) || !read_text(&p, end, out->name) || !read_text(&p, end, out->host) ||
        !read_can(p, end, out->can) || out->name[0] == '\0' || out->incarnation == 0)
        return UV_EPROTO;
    return 0;
}

void frame_prove(const unsigned char *secret, size_t secret_len, bool dialed, uint64_t session,
                 const unsigned char *dialer, size_t dialer_len, const unsigned char *accepter, size_t accepter_len,
                 unsigned char out[HMAC_SIZE]) {
    unsigned char text[16 + 8 + 2 * FRAME_HELLO_MAX], *p = text;
    memcpy(p, dialed ? "throng: I dialed" : "throng: you did.", 16);
    p = put64(p + 16, session);
    memcpy(p, dialer, dialer_len);
    memcpy(p + dialer_len, accepter, accepter_len);
    hmac_sha256(secret, secret_len, text, (size_t)(p - text) + dialer_len + accepter_len, out);
}

/* ---- chunks and records ---- */

void frame_put_chunk(unsigned char *p, Lane lane, size_t len) { put32(p, (uint32_t)len << 8 | (uint32_t)lane); }

bool frame_read_chunk(const unsigned char *p, Lane *lane, size_t *len) {
    uint32_t head = get32(p);
    *lane = (Lane)(head & 0xff);
    *len = head >> 8;
    return *lane < LANES && *len > 0 && *len <= FRAME_CHUNK_MAX;
}

void record_put(unsigned char *out, const Record *r) {
    unsigned char *p = put32(out, (uint32_t)(RECORD_HEAD - RECORD_LENGTH + r->size));
    *p++ = r->kind;
    *p++ = r->flags;
    *p++ = r->argc;
    *p++ = 0;
    p = put32(p, r->name);
    p = put64(p, r->to);
    p = put64(p, r->from);
    p = put64(p, r->ref);
    p = put64(p, r->left);
    if (r->size > 0) memcpy(p, r->payload, r->size);
}

size_t record_length(const unsigned char p[RECORD_LENGTH]) { return (size_t)get32(p) + RECORD_LENGTH; }

static bool is_pid(uint64_t bits) { return bits != 0 && !bits_are_ref(bits); }
static bool is_ref(uint64_t bits, RefKind kind) { return bits_are_ref(bits) && ref_kind(bits) == kind; }

/* What others take for granted of a message of that kind. */
static bool sound(const Record *r) {
    uint8_t flags = MESSAGE_ERRORS;
    bool refs = r->ref == 0, one = r->argc == 1;
    switch ((int)r->kind) {
    case MESSAGE_ASK:
        refs = is_ref(r->ref, REF_REQUEST);
        flags |= MESSAGE_LIMITED; /* fall through */
    case MESSAGE_SEND:
        flags |= MESSAGE_NAMED;
        one = r->argc <= MESSAGE_ARGS_MAX && (r->name == 0) == ((r->flags & MESSAGE_NAMED) != 0);
        break;
    case MESSAGE_REPLY:
        one = r->argc <= MESSAGE_ARGS_MAX; /* fall through */
    case MESSAGE_FAIL: refs = is_ref(r->ref, REF_REQUEST); break;
    case MESSAGE_DOWN: refs = is_ref(r->ref, REF_MONITOR); break;
    case MESSAGE_EXIT:
    case MESSAGE_STOP: break;
    case MESSAGE_MONITOR:
    case MESSAGE_DEMONITOR: refs = is_ref(r->ref, REF_MONITOR); /* fall through */
    case MESSAGE_KILL:
    case MESSAGE_LINK:
    case MESSAGE_UNLINK: return refs && is_pid(r->to) && is_pid(r->from) && r->size == 0 && r->flags == 0;
    case RECORD_NODE: return r->name > 0 && r->name < PID_NODES && r->ref != 0 && r->size > 0;
    case RECORD_ATOM: return r->name > 0 && r->name <= ATOM_MAX && r->size > 0 && r->size <= ATOM_TEXT_MAX;
    case RECORD_PING: return r->size == 0;
    case RECORD_LOAD: return r->size == 0 && r->from == 0;
    case RECORD_CREDIT: return r->size == 0;
    case RECORD_JOIN:
    case RECORD_LEAVE: return is_pid(r->from) && r->size > 0 && r->size <= GROUPS_TEXT_MAX;
    case RECORD_WHEREIS:
        return is_pid(r->from) && is_ref(r->ref, REF_REQUEST) && r->size > 0 && r->size <= NAMES_TEXT_MAX;
    case RECORD_CALL: return r->name > 0 && r->ref != 0 && r->from == 0 && r->size <= CALL_MAX;
    case RECORD_ANSWER: return r->ref != 0 && r->from == 0 && r->size <= CALL_MAX;
    case RECORD_CHASE:
        return is_pid(r->from) && is_pid(r->to) && r->size >= FRAME_STEP && r->size <= FRAME_CHASE_MAX;
    case RECORD_FULL: return is_pid(r->from) && r->to <= 1 && r->size == 0;
    default: return false;
    }
    if (r->kind != MESSAGE_SEND && r->kind != MESSAGE_ASK && r->name != 0) return false;
    return refs && one && (r->flags & ~flags) == 0 && is_pid(r->to) && !bits_are_ref(r->from) &&
           (r->kind == MESSAGE_STOP || r->kind == MESSAGE_SEND || r->kind == MESSAGE_REPLY || is_pid(r->from));
}

bool record_read(const unsigned char *p, size_t len, Record *out) {
    if (len < RECORD_HEAD || record_length(p) != len || p[7] != 0) return false;
    *out = (Record){p[4], p[5], p[6], get32(p + 8), get64(p + 12), get64(p + 20), get64(p + 28), get64(p + 36),
                    p + RECORD_HEAD, len - RECORD_HEAD};
    return sound(out);
}
