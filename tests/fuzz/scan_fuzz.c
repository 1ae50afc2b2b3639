/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What the scanner lets through, protobuf-c takes in within the stated arena, and writes again as the same bytes. The first byte chooses
 * the message. */
#include "ehis/v1/envelope.pb-c.h"
#include "ehis/v1/record.pb-c.h"
#include "ehis/v1/registry.pb-c.h"
#include "ehis/v1/session.pb-c.h"
#include "ehis/v1/statement.pb-c.h"
#include "ehis_scan.h"
#include "proto/wire/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROW(name) {&scan_ehis_v1_##name, &ehis__v1__##name##__descriptor}
static const struct {
    const struct scan_message *table;
    const ProtobufCMessageDescriptor *descriptor;
} rows[] = {
    ROW(header), ROW(envelope), ROW(hello), ROW(receipts), ROW(skips), ROW(acks), ROW(deliver), ROW(keys), ROW(key_wraps), ROW(record),
    ROW(registry), ROW(registry_part), ROW(leaf), ROW(statement), ROW(signed_statement), ROW(join_request), ROW(acknowledgement), ROW(flow),
    ROW(ready_state), ROW(stream_open), ROW(error), ROW(crl_get), ROW(rules), ROW(terms),
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct buf again;
    ProtobufCMessage *m;
    if (size == 0)
        return 0;
    size_t i = data[0] % (sizeof rows / sizeof *rows);
    struct span bytes = span_of(data + 1, size - 1);
    if (scan(rows[i].table, bytes, NULL, 0, NULL) != EHIS_OK)
        return 0;
    buf_init(&again, size + 16);
    EHIS_ASSERT(arena_init(&a, arena_bytes_for(bytes.len)) == EHIS_OK);
    EHIS_ASSERT(scan_unpack(rows[i].table, rows[i].descriptor, bytes, &a, &m, NULL) == EHIS_OK);
    EHIS_ASSERT(scan_pack(m, &again) == EHIS_OK && span_eq(buf_span(&again), bytes));
    arena_fini(&a);
    buf_fini(&again);
    return 0;
}
