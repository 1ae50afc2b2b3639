/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A parcel that is read is written again as the same bytes, and no signature of nobody's verifies. */
#include "gateway/bus/parcel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nobody[32] = {1};
    struct parcel p;
    struct buf head, held, scratch, whole;
    struct span parts[8];
    struct hash d;
    size_t count;
    if (parcel_read(span_str("reply.AZ..gw1"), span_of(data, size), &p, NULL) != EHIS_OK)
        return 0;
    buf_init(&head, size);
    buf_init(&held, size);
    buf_init(&scratch, size + 1024);
    buf_init(&whole, size);
    for (size_t at = 0; parcel_held_next(&p, &at, &d);)
        EHIS_ASSERT(buf_put(&held, d.b, HASH_BYTES) == EHIS_OK);
    struct parcel_head h = p.head;
    h.held = buf_span(&held);
    EHIS_ASSERT(parcel_head_write(&h, &head) == EHIS_OK);
    static const uint8_t zeros[HASH_BYTES];
    if (memcmp(h.digest, zeros, HASH_BYTES) != 0) /* zeros that were written count as absent */
        EHIS_ASSERT(span_eq(buf_span(&head), p.head_bytes));
    EHIS_ASSERT(parcel_parts(p.head_bytes, &p.payload, 1, &p.signature, &scratch, parts, &count) == EHIS_OK);
    for (size_t i = 0; i < count; i++)
        EHIS_ASSERT(buf_put_span(&whole, parts[i]) == EHIS_OK);
    EHIS_ASSERT(span_eq(buf_span(&whole), span_of(data, size)));
    EHIS_ASSERT(parcel_verify(&p, nobody, NULL) != EHIS_OK);
    buf_fini(&head);
    buf_fini(&held);
    buf_fini(&scratch);
    buf_fini(&whole);
    return 0;
}
