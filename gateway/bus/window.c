/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/window.h"

#define MARK "ehis1:" /* metadata that is ours: then the bitmap from the position on, lowest bit first, in base64 */
#define BITMAP_BYTES (WINDOW_OFFSETS_MAX / 8)

static uint64_t *word(struct window *w, int64_t offset) { return &w->finished[(uint64_t)offset % WINDOW_OFFSETS_MAX / 64]; }
static uint64_t bit(int64_t offset) { return UINT64_C(1) << ((uint64_t)offset % 64); }
static bool is_finished(const struct window *w, int64_t offset) { return w->finished[(uint64_t)offset % WINDOW_OFFSETS_MAX / 64] & bit(offset); }

void window_init(struct window *w, int64_t position)
{
    memset(w, 0, sizeof *w);
    w->position = w->next = position > 0 ? position : 0;
}

/* Bits live only from the position on: it takes them with it. */
static void advance(struct window *w)
{
    while (is_finished(w, w->position)) {
        *word(w, w->position) &= ~bit(w->position);
        w->position++;
    }
    if (w->next < w->position)
        w->next = w->position;
}

/* Nothing is open: all that lies below an offset that is read now is done with. */
static void skip_to(struct window *w, int64_t offset)
{
    for (unsigned n = 0; w->position < offset && n < WINDOW_OFFSETS_MAX; n++) {
        *word(w, w->position) &= ~bit(w->position);
        w->position++;
    }
    w->position = w->next = offset;
    advance(w);
}

ehis_err window_begin(struct window *w, int64_t offset, bool *is_known)
{
    if (offset > INT64_MAX - WINDOW_OFFSETS_MAX)
        return EHIS_E_BUS_POSITION;
    *is_known = offset < w->next;
    if (*is_known)
        return EHIS_OK;
    if (w->open_count == 0)
        skip_to(w, offset);
    *is_known = offset < w->position;
    if (*is_known)
        return EHIS_OK;
    if (offset - w->position >= WINDOW_OFFSETS_MAX)
        return EHIS_E_BUS_FULL;
    for (; w->next < offset; w->next++)
        *word(w, w->next) |= bit(w->next);
    w->next = offset + 1;
    *is_known = is_finished(w, offset);
    w->open_count += !*is_known;
    return EHIS_OK;
}

void window_finish(struct window *w, int64_t offset)
{
    if (offset < w->position || offset >= w->next || is_finished(w, offset))
        return;
    *word(w, offset) |= bit(offset);
    w->open_count--;
    advance(w);
}

int64_t window_position(const struct window *w) { return w->position; }

/* How many bytes: the last says something. */
static size_t to_bitmap(const struct window *w, uint8_t out[BITMAP_BYTES])
{
    size_t n = 0;
    memset(out, 0, BITMAP_BYTES);
    for (unsigned i = 0; i < WINDOW_OFFSETS_MAX; i++)
        if (is_finished(w, w->position + i)) {
            out[i / 8] |= (uint8_t)(1u << (i % 8));
            n = i / 8 + 1;
        }
    return n;
}

/* As to_bitmap makes it: the position is not finished. */
static ehis_err from_bitmap(struct window *w, int64_t position, struct span b)
{
    if (b.len == 0 || b.len > BITMAP_BYTES || (b.p[0] & 1) || b.p[b.len - 1] == 0)
        return EHIS_E_BUS_POSITION;
    for (size_t i = 0; i < b.len * 8; i++)
        if (b.p[i / 8] >> (i % 8) & 1)
            *word(w, position + (int64_t)i) |= bit(position + (int64_t)i);
    return EHIS_OK;
}

static bool is_position(int64_t position) { return position >= 0 && position <= INT64_MAX - 2 * WINDOW_OFFSETS_MAX; }

ehis_err window_put(const struct window *w, struct buf *out)
{
    uint8_t head[10], bytes[BITMAP_BYTES];
    size_t n = to_bitmap(w, bytes);
    be_put(head, (uint64_t)w->position, 8);
    be_put(head + 8, n, 2);
    EHIS_TRY(buf_put(out, head, sizeof head));
    return buf_put(out, bytes, n);
}

ehis_err window_get(struct window *w, struct span bytes, size_t *at)
{
    const uint8_t *p = bytes.p + *at;
    if (bytes.len - *at < 10)
        return EHIS_E_BUS_POSITION;
    int64_t position = (int64_t)be_get(p, 8);
    size_t n = be_get(p + 8, 2);
    window_init(w, position);
    if (!is_position(position) || bytes.len - *at - 10 < n)
        return EHIS_E_BUS_POSITION;
    *at += 10 + n;
    return n ? from_bitmap(w, position, span_of(p + 10, n)) : EHIS_OK;
}

ehis_err window_to_text(const struct window *w, struct buf *out)
{
    uint8_t bytes[BITMAP_BYTES];
    size_t n = to_bitmap(w, bytes);
    if (n == 0)
        return EHIS_OK;
    EHIS_TRY(buf_put_span(out, span_str(MARK)));
    return base64_put(out, span_of(bytes, n));
}

ehis_err window_from_text(struct window *w, int64_t position, struct span metadata)
{
    const size_t mark = sizeof MARK - 1;
    struct buf bytes;
    window_init(w, position);
    if (!is_position(position))
        return EHIS_E_BUS_POSITION;
    if (metadata.len == 0)
        return EHIS_OK;
    if (metadata.len <= mark || metadata.len > WINDOW_METADATA_MAX || memcmp(metadata.p, MARK, mark) != 0)
        return EHIS_E_BUS_POSITION;
    buf_init(&bytes, WINDOW_METADATA_MAX);
    ehis_err err = base64_get(&bytes, span_of(metadata.p + mark, metadata.len - mark));
    err = err == EHIS_E_INVALID ? EHIS_E_BUS_POSITION : err == EHIS_OK ? from_bitmap(w, position, buf_span(&bytes)) : err;
    buf_fini(&bytes);
    return err;
}
