/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* An envelope's header that is taken is written again as the same bytes: nothing in it was passed over. */
#include "proto/wire/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct envelope_header h;
    struct ehis_why why;
    struct buf again;
    ehis_err err = envelope_header_read(span_of(data, size), &h, &why);
    if (err != EHIS_OK) {
        EHIS_ASSERT(ehis_err_row(err)->class_ == EHIS_CLASS_PEER);
        return 0;
    }
    buf_init(&again, size + 16);
    EHIS_ASSERT(envelope_header_write(&h, &again) == EHIS_OK && span_eq(buf_span(&again), span_of(data, size)));
    EHIS_ASSERT(h.kind >= KIND_REQUEST && h.kind <= KIND_KEY && h.expires_ms > h.created_ms && (h.stream.len > 0) == (h.number > 0));
    buf_fini(&again);
    return 0;
}
