/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Metadata that is taken is written again alike, and the window that it makes holds. The first byte is the position. */
#include "gateway/bus/window.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct window w;
    struct buf text;
    bool is_known;
    if (size == 0)
        return 0;
    const int64_t position = data[0];
    const struct span metadata = span_of(data + 1, size - 1);
    const bool is_ours = window_from_text(&w, position, metadata) == EHIS_OK;
    buf_init(&text, WINDOW_METADATA_MAX);
    EHIS_ASSERT(window_to_text(&w, &text) == EHIS_OK && (is_ours ? span_eq(buf_span(&text), metadata) : text.len == 0));
    for (int64_t o = position; o < position + WINDOW_OFFSETS_MAX; o++)
        EHIS_ASSERT(window_begin(&w, o, &is_known) == EHIS_OK);
    EHIS_ASSERT(window_position(&w) == position && window_begin(&w, position + WINDOW_OFFSETS_MAX, &is_known) == EHIS_E_BUS_FULL);
    for (int64_t o = position + WINDOW_OFFSETS_MAX; o-- > position;)
        window_finish(&w, o);
    EHIS_ASSERT(window_position(&w) == position + WINDOW_OFFSETS_MAX && w.open_count == 0);
    buf_clear(&text);
    size_t at = 0;
    if (window_get(&w, metadata, &at) == EHIS_OK) /* the same as a cursor has it: taken, then written again alike */
        EHIS_ASSERT(window_put(&w, &text) == EHIS_OK && span_eq(buf_span(&text), span_of(metadata.p, at)));
    buf_fini(&text);
    return 0;
}
