/* names.h - names of actors on this node: one holder each. Threads: from any; sharded locks inside. */
#ifndef MAIL_NAMES_H
#define MAIL_NAMES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAMES_TEXT_MAX 200

/* 0; UV_EEXIST taken; UV_ENOMEM; UV_EINVAL empty or too long. */
int      names_add(const char *name, size_t len, uint64_t pid);
uint64_t names_find(const char *name, size_t len);              /* 0: nobody */
/* One of that pid's names, NUL-terminated; "" if it has none. Looks through all names: for errors and people. `out` has
 * NAMES_TEXT_MAX + 1 bytes. */
void     names_of(uint64_t pid, char *out);
/* All names of one part of the table: parts are numbered from 0; false: there is no such part. `each` is called under
 * the part's lock: it only takes down what it hears. */
bool     names_list(unsigned part, void (*each)(void *context, const char *name, size_t len, uint64_t pid),
                    void *context);
int      names_remove(const char *name, size_t len, uint64_t pid); /* UV_ENOENT unless `pid` holds it */
#endif
