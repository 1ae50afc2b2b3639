/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A journal's record that is taken is written again, and that reads as the same. */
#include "proto/wire/record.h"
#include "proto/wire/statement.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool write(const struct record *r, struct buf *out)
{
    struct record copy = *r;
    struct buf pending;
    struct span system;
    buf_init(&pending, 1 << 24);
    for (size_t at = 0; record_pending_next(r, &at, &system);)
        EHIS_ASSERT(system.len == 0 || record_pending_put(system, &pending) == EHIS_OK);
    copy.pending = buf_span(&pending);
    bool is_written = record_write(&copy, out) == EHIS_OK;
    buf_fini(&pending);
    return is_written;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record r, again;
    struct envelope_signature s;
    struct acknowledgement ack;
    struct buf one, two;
    if (record_read(span_of(data, size), &r, NULL) != EHIS_OK)
        return 0;
    buf_init(&one, size + 16);
    buf_init(&two, size + 16);
    EHIS_ASSERT(write(&r, &one) && record_read(buf_span(&one), &again, NULL) == EHIS_OK && write(&again, &two));
    EHIS_ASSERT(span_eq(buf_span(&one), buf_span(&two)) && record_kind_name(r.kind) != NULL);
    if (r.signature.len > 0 && envelope_signature_read(r.signature, &s, NULL) == EHIS_OK)
        EHIS_ASSERT(s.index < s.size);
    if (r.ack.len > 0)
        EHIS_ASSERT(acknowledgement_read(r.ack, &ack, NULL) == EHIS_OK);
    buf_fini(&one);
    buf_fini(&two);
    return 0;
}
