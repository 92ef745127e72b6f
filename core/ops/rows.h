/* rows.h - how actors are listed: their names, patterns, one row of JSON for each. Threads: the loop's. */
#ifndef OPS_ROWS_H
#define OPS_ROWS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "actor/visit.h"
#include "ground/json.h"
#include "ground/map.h"

typedef struct Name {
    uint64_t pid;
    size_t at; /* in Names.text */
    uint32_t len;
    int64_t fence; /* of a name of the whole cluster; else 0 */
} Name;

/* Names as they were in a moment, and whose they are. Large ones are taken down part by part, one a round. */
typedef struct Names {
    Text text;
    Name *all;
    size_t count, room;
    Map first; /* pid -> 1 + place in `all`, of one of its names */
    bool failed;
    unsigned part;
} Names;

bool        names_more(Names *n); /* one more part is taken down; false: that was all */
bool        names_cluster(Names *n); /* those of the whole cluster; false: there are none without --etcd */
void        names_free(Names *n);
const char *names_name(const Names *n, uint64_t pid, size_t *len); /* one of its names, or "" */

/* `*` and `?` as in a shell; without them, a part of the text will do. No pattern matches all. */
bool rows_match(const char *pattern, size_t pattern_len, const char *text, size_t len);

void   rows_put(Text *t, const VisitView *v, const char *name, size_t name_len); /* members, into an open object */
void   rows_put_pid(Text *t, const char *key, uint64_t pid); /* null for nobody */
void   rows_put_name(Text *t, const char *key, uint64_t pid); /* looks through all names: for a few; null: none */
double rows_ms(uint64_t ns); /* to a microsecond: digits that nobody can read cost room */
double rows_ms_since(uint64_t then);
#endif
