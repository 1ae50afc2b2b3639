/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Bytes of a connection: cut into frames in one piece and byte by byte, with the same verdicts; each payload against its table. */
#include "proto/wire/frame.h"
#include "proto/wire/scan.h"

#define MAX_BYTES 65536
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_payload(const struct frame *f)
{
    const struct frame_rule *rule;
    for (unsigned from = FRAME_FROM_SYSTEM; from <= FRAME_FROM_GATEWAY; from++)
        for (unsigned state = 0; state < FRAME_STATE_COUNT; state++)
            if (frame_check(f->type, from, state, &rule) == EHIS_OK) {
                struct ehis_why why;
                ehis_err err = scan(rule->table, f->payload, NULL, 0, &why);
                EHIS_ASSERT(err == EHIS_OK || ehis_err_row(err)->class_ == EHIS_CLASS_PEER);
            }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t at = 0;;) {
        struct frame f, slow;
        size_t used, need, slow_used = 0;
        ehis_err err = frame_read(span_of(data + at, size - at), MAX_BYTES, &f, &used, &need), slow_err = EHIS_OK;
        size_t n = 0;
        for (; n <= size - at && slow_err == EHIS_OK && slow_used == 0; n++)
            slow_err = frame_read(span_of(data + at, n), MAX_BYTES, &slow, &slow_used, &need);
        EHIS_ASSERT(err == slow_err && used == slow_used);
        if (err != EHIS_OK || used == 0) {
            EHIS_ASSERT(err != EHIS_OK || need > size - at);
            return 0;
        }
        EHIS_ASSERT(n == used + 1 && f.type == slow.type && f.payload.len == used - FRAME_HEAD_BYTES);
        uint8_t head[FRAME_HEAD_BYTES];
        EHIS_ASSERT(frame_head(f.type, f.payload.len, MAX_BYTES, head) == EHIS_OK && memcmp(head, data + at, sizeof head) == 0);
        check_payload(&f);
        at += used;
    }
}
