/* spawn_fuzz.c - libFuzzer target: any bytes as what nodes say to each other about actors that are to be made
 * (net/spawn) and about what they can (net/able).
 *
 * The first byte says what they are. What must hold: nothing reads a byte too far, and what was read says the same when
 * it is written again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "net/able.h"
#include "net/spawn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const Bytes *b, int err, const uint8_t *p, size_t len) {
    if (err < 0 || bytes_len(b) != len || memcmp(bytes_first(b), p, len) != 0) abort();
}

static void capabilities(const uint8_t *p, size_t len) {
    char text[2 * ABLE_TEXT_MAX], set[ABLE_TEXT_MAX + 1] = "", err[256], shown[128];
    Able all[ABLE_MOST];
    size_t at = 0, count = 0;
    snprintf(text, sizeof text, "%.*s", (int)(len < sizeof text ? len : sizeof text - 1), (const char *)p);
    if (able_add(set, text, err, sizeof err) < 0) return;
    if (!able_good(set)) abort();
    while (able_next(set, &at, &all[count])) count++;
    for (size_t i = 0; i < count; i++)
        if (!able_is(set, &all[i])) abort();
    able_show(all, count, shown, sizeof shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static SpawnOrder order;
    static SpawnFiles files;
    SpawnAnswer answer;
    SpawnWanted wanted;
    Bytes out = {0};
    if (size < 1) return 0;
    uint8_t what = *data++ % 5;
    size--;
    uint8_t *p = malloc(size + !size); /* its end is where reading must stop */
    memcpy(p, data, size);
    if (what == 0 && spawn_read_order(p, size, &order)) same(&out, spawn_put_order(&out, &order), p, size);
    if (what == 1 && spawn_read_answer(p, size, &answer)) same(&out, spawn_put_answer(&out, &answer), p, size);
    if (what == 2 && spawn_read_wanted(p, size, &wanted)) same(&out, spawn_put_wanted(&out, &wanted), p, size);
    if (what == 3 && spawn_read_files(p, size, &files, &answer))
        same(&out, spawn_put_files(&out, &files, files.count > 0 ? NULL : &answer), p, size);
    if (what == 4) capabilities(p, size);
    bytes_clear(&out);
    free(p);
    return 0;
}
