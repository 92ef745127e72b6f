/* hash.h - a fast hash of bytes for tables in memory. Not for anything that meets an adversary's choice of
 * collisions over the network, nor for identity: see version hashes in actor/behaviour. */
#ifndef GROUND_HASH_H
#define GROUND_HASH_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t hash_mix(uint64_t x) { /* the finalizer of splitmix64 (Steele, Lea, Flood 2014) */
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inline uint64_t hash_bytes(const char *bytes, size_t len) {
    uint64_t h = len * 0x9e3779b97f4a7c15u, word;
    for (; len >= 8; len -= 8, bytes += 8) {
        memcpy(&word, bytes, 8);
        h = (h ^ word) * 0x9fb21c651e98df25u;
        h ^= h >> 32;
    }
    word = 0;
    for (size_t i = 0; i < len; i++) word |= (uint64_t)(unsigned char)bytes[i] << 8 * i;
    return hash_mix(h ^ word);
}
#endif
