/* kv.h - what etcd is asked and what it answers, as its JSON gateway has it: keys and values in base64, 64-bit numbers
 * as strings; false, 0 and PUT are left out.
 *
 * Everything here is a function of its arguments. What reads takes bytes from outside: a pair with a key or a value
 * longer than ours ever are is none of ours. */
#ifndef NET_KV_H
#define NET_KV_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ground/json.h"

#define KV_KEY_MAX 320
#define KV_VALUE_MAX 1024
#define KV_PAGE 500 /* pairs asked for at a time: json_parse takes so many */

typedef struct KvPair {
    char key[KV_KEY_MAX], value[KV_VALUE_MAX];
    size_t key_len, value_len;
    int64_t created, modified, lease; /* revisions; the lease is 0 where etcd does not say it */
    bool deleted;                     /* by an event: then there is no value */
} KvPair;

/* ---- asked ---- */

/* Each is one whole body of a request, which is added to `out`. */
void kv_grant(Text *out, int64_t ttl_s);
void kv_lease(Text *out, int64_t lease); /* to keep alive, or to revoke */
/* `to` NULL: the one key. `revision` 0: the latest. */
void kv_range(Text *out, const char *from, size_t from_len, const char *to, size_t to_len, int64_t revision);
void kv_watch(Text *out, const char *from, size_t from_len, const char *to, size_t to_len, int64_t revision);
/* Puts it if there is no such key (modified 0) or it was put last at that revision; else reads it. */
void kv_put(Text *out, const char *key, size_t key_len, const char *value, size_t value_len, int64_t lease,
            int64_t modified);
/* Deletes the key if it has that value. */
void kv_delete(Text *out, const char *key, size_t key_len, const char *value, size_t value_len);

/* ---- answered ---- */

/* A number, as a string or as one; what is not there is 0. */
int64_t kv_integer(const Json *object, const char *key);
int64_t kv_revision(const Json *answer);           /* of its header */
int64_t kv_term(const Json *answer);               /* raft's, of its header */
/* The first element of `kvs` of a range, or of the range in a transaction's answer; NULL if there is none. */
const Json *kv_pairs(const Json *answer, uint32_t *count);
bool kv_read(const Json *pair, KvPair *out);       /* false: it is none of ours */
bool kv_read_event(const Json *event, KvPair *out);
/* etcd's code of an error (5: not found, 11: compacted ...) and its words; 0: it is none. */
int  kv_error(const Json *answer, const char **words, size_t *len);

/* ---- values: small objects of strings, so that people can read them with etcdctl ---- */

typedef struct KvHolder { /* of a node's name, or of an actor's */
    uint64_t incarnation;
    uint64_t pid, claim;  /* of an actor's: who, on that node, and a number of this claim alone; else 0 */
    char node[65];        /* an actor's: the node's name */
    char address[300];    /* a node's: where it listens, "" = nowhere */
} KvHolder;

void kv_write_holder(Text *out, const KvHolder *h);
size_t kv_holder_value(char out[KV_VALUE_MAX], const KvHolder *h); /* the same; 0: memory is short */
bool kv_read_holder(const char *value, size_t len, KvHolder *out);

/* Base64 (RFC 4648, padded). Reading: the length, or -1 if it is none or needs more than `room`. */
void kv_base64(Text *out, const char *key, const void *bytes, size_t len); /* a JSON string under that key */
int  kv_unbase64(const char *text, size_t len, char *out, size_t room);
#endif
