/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A stream in random pieces through a link's input buffer gives the same frames as the whole, within the buffer's bound. The first two
 * bytes choose the frame bound and the pieces. */
#include "proto/link/input.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t frame_max = 1u << (data[0] % 18);
    uint32_t seed = data[1];
    struct span whole = span_of(data + 2, size - 2), given = whole;
    struct link_input in = {0};
    for (ehis_err err = EHIS_OK; given.len && !err;) {
        uint8_t *room;
        size_t n;
        EHIS_ASSERT(link_input_room(&in, frame_max, &room, &n) == EHIS_OK && n > 0);
        EHIS_ASSERT(in.cap <= 32768 || in.cap <= in.need + 16384 || in.cap <= 4 * 16384);
        seed = seed * 1103515245 + 12345;
        size_t piece = 1 + (seed >> 16) % 700;
        piece = piece < n ? piece : n;
        piece = piece < given.len ? piece : given.len;
        memcpy(room, given.p, piece);
        link_input_commit(&in, piece);
        given = span_of(given.p + piece, given.len - piece);
        for (bool is_whole = true; is_whole && !err;) {
            struct frame got, expected;
            size_t used, need;
            err = link_input_next(&in, frame_max, &got, &is_whole);
            ehis_err wanted = frame_read(span_of(whole.p, whole.len - given.len), frame_max, &expected, &used, &need);
            EHIS_ASSERT(err == wanted);
            if (err)
                break;
            EHIS_ASSERT(is_whole == (used > 0));
            if (is_whole)
                EHIS_ASSERT(got.type == expected.type && span_eq(got.payload, expected.payload));
            whole = span_of(whole.p + used, whole.len - used);
        }
    }
    link_input_clear(&in);
    return 0;
}
