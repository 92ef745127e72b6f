#include "net/hmac.h"

#include <stdint.h>
#include <string.h>

#define BLOCK 64

typedef struct Sha {
    uint32_t state[8];
    uint64_t len;
    unsigned char block[BLOCK];
    size_t used; /* of block */
} Sha;

/* The first 32 bits of the fractions of the cube roots of the first 64 primes. */
static const uint32_t rounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t turn(uint32_t x, int by) { return x >> by | x << (32 - by); }

static void compress(Sha *s) {
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)s->block[4 * i] << 24 | (uint32_t)s->block[4 * i + 1] << 16 |
               (uint32_t)s->block[4 * i + 2] << 8 | s->block[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
               (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(v, s->state, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t choose = (v[4] & v[5]) ^ (~v[4] & v[6]), most = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        uint32_t one = v[7] + (turn(v[4], 6) ^ turn(v[4], 11) ^ turn(v[4], 25)) + choose + rounds[i] + w[i];
        uint32_t two = (turn(v[0], 2) ^ turn(v[0], 13) ^ turn(v[0], 22)) + most;
        memmove(v + 1, v, 7 * sizeof v[0]);
        v[4] += one;
        v[0] = one + two;
    }
    for (int i = 0; i < 8; i++) s->state[i] += v[i];
}

static void begin(Sha *s) {
    *s = (Sha){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
                         0x5be0cd19}};
}

static void add(Sha *s, const void *bytes, size_t len) {
    const unsigned char *p = bytes;
    for (s->len += len; len > 0; len--) {
        s->block[s->used++] = *p++;
        if (s->used < BLOCK) continue;
        compress(s);
        s->used = 0;
    }
}

static void end(Sha *s, unsigned char out[HMAC_SIZE]) {
    uint64_t bits = s->len * 8;
    unsigned char size[8];
    for (int i = 0; i < 8; i++) size[i] = (unsigned char)(bits >> (56 - 8 * i));
    add(s, "\x80", 1);
    while (s->used != BLOCK - sizeof size) add(s, "", 1);
    add(s, size, sizeof size);
    for (int i = 0; i < HMAC_SIZE; i++) out[i] = (unsigned char)(s->state[i / 4] >> (24 - 8 * (i % 4)));
}

void hmac_sha256(const void *key, size_t key_len, const void *text, size_t len, unsigned char out[HMAC_SIZE]) {
    unsigned char pad[BLOCK] = {0};
    Sha s;
    if (key_len > BLOCK) {
        begin(&s);
        add(&s, key, key_len);
        end(&s, pad);
    } else if (key_len > 0) {
        memcpy(pad, key, key_len);
    }
    for (int i = 0; i < BLOCK; i++) pad[i] ^= 0x36;
    begin(&s);
    add(&s, pad, BLOCK);
    add(&s, text, len);
    end(&s, out);
    for (int i = 0; i < BLOCK; i++) pad[i] ^= 0x36 ^ 0x5c;
    begin(&s);
    add(&s, pad, BLOCK);
    add(&s, out, HMAC_SIZE);
    end(&s, out);
}

bool hmac_same(const unsigned char a[HMAC_SIZE], const unsigned char b[HMAC_SIZE]) {
    unsigned char differs = 0;
    for (int i = 0; i < HMAC_SIZE; i++) differs |= a[i] ^ b[i];
    return differs == 0;
}
