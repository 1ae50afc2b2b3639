/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Join requests: what is taken has every key that its kind must have, once. */
#include "pki/join.h"
#include "pki/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pki_join join;
    struct ehis_why why;
    if (pki_init(&why) != EHIS_OK || crypto_init(&why) != EHIS_OK)
        return 0;
    if (pki_join_read(span_of(data, size), &join, &why) == EHIS_OK) {
        unsigned uses = 0;
        for (size_t i = 0; i < join.key_count; i++)
            uses |= 1u << join.keys[i].use;
        EHIS_ASSERT(uses == (1u << USE_SIGN | 1u << USE_TLS | (join.kind == PKI_SYSTEM ? 1u << USE_SEAL : 0)));
        EHIS_ASSERT(join.id.p >= data && join.id.p + join.id.len <= data + size);
    }
    return 0;
}
