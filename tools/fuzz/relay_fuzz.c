/* What comes from another node: lines of its console's answers (ops/relay), and parcels of code (actor/parcel). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "actor/parcel.h"
#include "ops/relay.h"

static void line(const char *bytes, size_t len) {
    RelayLine l;
    Text text = {0}, on = {0};
    if (!relay_read(bytes, len, &l)) return;
    if (l.json < bytes || l.json + l.len + 1 != bytes + len) abort();
    if (relay_translate(&text, "b", l.json, l.len)) {
        if (memchr(text.bytes != NULL ? text.bytes : "", '\n', text.len) != NULL) abort();
        relay_put_on(&on, "b", text.bytes, text.len);
    }
    text_free(&text);
    text_free(&on);
}

static void parcel(const char *bytes, size_t len) {
    Parcel p;
    if (parcel_open(&p, bytes, len) < 0) return;
    for (size_t i = 0; i < p.count; i++) {
        const ParcelItem *item = &p.items[i];
        if (item->text < bytes || item->text + item->len > bytes + len) abort();
        if (parcel_find(&p, item->name) != item) abort();
    }
    parcel_close(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    char *exact = malloc(size); /* its end is where the sanitizer sees it */
    if (exact == NULL) return 0;
    memcpy(exact, data, size);
    if (data[0] & 1) line(exact + 1, size - 1);
    else parcel(exact + 1, size - 1);
    free(exact);
    return 0;
}
