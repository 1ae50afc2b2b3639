/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* seal_open from both sides: bytes of a stranger never open; bytes of a sender that seals rightly and pads as it likes open only where
 * closing what came out gives a body of the same length. */
#include <stdlib.h>

#include <sodium.h>

#include "proto/crypto/seal.h"
#include "proto/crypto/sign.h"

#define MAX_BODY (64 * 1024)
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct seal_message_key key = {{1, 2, 3}, {{4, 5, 6}}};
    static uint8_t sealed[MAX_BODY + SEAL_OVERHEAD_BYTES];
    struct span header = span_str("header");
    struct buf out;
    if (size > MAX_BODY || crypto_init(NULL) != EHIS_OK)
        return 0;
    buf_init(&out, MAX_BODY);
    ehis_err err = seal_open(&key, key.commitment.b, header, span_of(data, size), &out);
    EHIS_ASSERT(err == EHIS_E_SEAL_OPEN && out.len == 0);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + 24, NULL, data, size, header.p, header.len, NULL, sealed, key.key);
    err = seal_open(&key, key.commitment.b, header, span_of(sealed, size + SEAL_OVERHEAD_BYTES), &out);
    if (err == EHIS_OK) {
        EHIS_ASSERT(out.len < size && memcmp(buf_span(&out).p, data, out.len) == 0 && data[out.len] == 0x80);
        EHIS_ASSERT(seal_sealed_bytes(out.len) == size + SEAL_OVERHEAD_BYTES);
    } else {
        EHIS_ASSERT(err == EHIS_E_SEAL_PADDING && out.len == 0);
    }
    buf_fini(&out);
    return 0;
}
