/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/crypto/hkdf.h"

#include <sodium.h>

static void update(crypto_auth_hmacsha256_state *s, const struct span *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        crypto_auth_hmacsha256_update(s, parts[i].p, parts[i].len);
}

void hkdf_extract(struct span salt, const struct span *ikm, size_t count, uint8_t prk[32])
{
    crypto_auth_hmacsha256_state s;
    crypto_auth_hmacsha256_init(&s, salt.p, salt.len);
    update(&s, ikm, count);
    crypto_auth_hmacsha256_final(&s, prk);
    sodium_memzero(&s, sizeof s);
}

void hkdf_expand(const uint8_t prk[32], const struct span *info, size_t count, uint8_t *out, size_t n)
{
    crypto_auth_hmacsha256_state keyed, s;
    uint8_t block[32], number = 0;
    EHIS_ASSERT(n <= HKDF_MAX_BYTES);
    crypto_auth_hmacsha256_init(&keyed, prk, 32); /* two compressions that every block shares */
    for (size_t done = 0; done < n; done += sizeof block) {
        s = keyed;
        if (done > 0)
            crypto_auth_hmacsha256_update(&s, block, sizeof block);
        update(&s, info, count);
        number++;
        crypto_auth_hmacsha256_update(&s, &number, 1);
        crypto_auth_hmacsha256_final(&s, block);
        memcpy(out + done, block, n - done < sizeof block ? n - done : sizeof block);
    }
    sodium_memzero(&keyed, sizeof keyed);
    sodium_memzero(&s, sizeof s);
    sodium_memzero(block, sizeof block);
}
