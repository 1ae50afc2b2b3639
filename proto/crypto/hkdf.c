/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/crypto/hkdf.h"

#include "base/secret.h"
#include "proto/crypto/hash.h"

#define BLOCK_BYTES 64
#define PARTS_MAX 12

/* HMAC of RFC 2104 over the hash that the processor has instructions for. */
static void hmac(struct span key, const struct span *parts, size_t count, struct hash *out)
{
    uint8_t inner[BLOCK_BYTES] = {0}, outer[BLOCK_BYTES + HASH_BYTES];
    struct span all[PARTS_MAX + 1] = {{inner, sizeof inner}};
    struct hash h;
    EHIS_ASSERT(count <= PARTS_MAX);
    if (key.len > BLOCK_BYTES) {
        hash_span(key, &h);
        memcpy(inner, h.b, HASH_BYTES);
    } else if (key.len) {
        memcpy(inner, key.p, key.len);
    }
    for (size_t i = 0; i < BLOCK_BYTES; i++) {
        outer[i] = inner[i] ^ 0x5c;
        inner[i] ^= 0x36;
    }
    for (size_t i = 0; i < count; i++)
        all[i + 1] = parts[i];
    hash_spans(all, count + 1, &h);
    memcpy(outer + BLOCK_BYTES, h.b, HASH_BYTES);
    hash_span(span_of(outer, sizeof outer), out);
    secret_wipe(inner, sizeof inner);
    secret_wipe(outer, sizeof outer);
    secret_wipe(&h, sizeof h);
}

void hkdf_extract(struct span salt, const struct span *ikm, size_t count, uint8_t prk[32])
{
    struct hash out;
    hmac(salt, ikm, count, &out);
    memcpy(prk, out.b, HASH_BYTES);
    secret_wipe(&out, sizeof out);
}

void hkdf_expand(const uint8_t prk[32], const struct span *info, size_t count, uint8_t *out, size_t n)
{
    struct hash block;
    uint8_t number = 0;
    struct span parts[PARTS_MAX];
    EHIS_ASSERT(n <= HKDF_MAX_BYTES && count + 2 <= PARTS_MAX);
    for (size_t i = 0; i < count; i++)
        parts[i + 1] = info[i];
    for (size_t done = 0; done < n; done += HASH_BYTES) {
        parts[0] = span_of(block.b, done ? HASH_BYTES : 0);
        number++;
        parts[count + 1] = span_of(&number, 1);
        hmac(span_of(prk, HASH_BYTES), parts, count + 2, &block);
        memcpy(out + done, block.b, n - done < HASH_BYTES ? n - done : HASH_BYTES);
    }
    secret_wipe(&block, sizeof block);
}
