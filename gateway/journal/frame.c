/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/journal/frame.h"
#include "gateway/journal/crc32c.h"

#define RUN_ENTRIES 256
#define HASHED_HEADER_BYTES (FRAME_HEADER_BYTES - 4)
static const uint8_t magic[8] = {'E', 'H', 'I', 'S', 'J', 'R', 'N', '1'};

/* The chain, in runs: a hash over spans without memory that grows with the group. */
struct run {
    struct hash h;
    struct span spans[1 + RUN_ENTRIES];
    size_t count;
};

static void run_begin(struct run *r, const uint8_t *header)
{
    hash_span(span_of(header, HASHED_HEADER_BYTES), &r->h);
    r->count = 0;
}

static void run_end(struct run *r)
{
    r->spans[0] = span_of(r->h.b, HASH_BYTES);
    if (r->count)
        hash_spans(r->spans, 1 + r->count, &r->h);
    r->count = 0;
}

static void run_add(struct run *r, const uint8_t *entry, uint32_t record_bytes)
{
    r->spans[1 + r->count++] = span_of(entry, 8 + (size_t)record_bytes);
    if (r->count == RUN_ENTRIES)
        run_end(r);
}

static void header_put(const struct frame_header *h, uint8_t *p)
{
    memcpy(p, magic, 8);
    be_put(p + 8, h->segment, 8);
    memcpy(p + 16, h->tag, FRAME_TAG_BYTES);
    be_put(p + 24, h->group, 8);
    be_put(p + 32, h->first_entry, 8);
    be_put(p + 40, h->segment_bytes, 4);
    be_put(p + 44, h->bytes, 4);
    be_put(p + 48, h->entry_count, 4);
    memcpy(p + 52, h->previous.b, HASH_BYTES);
    be_put(p + HASHED_HEADER_BYTES, crc32c(0, p, HASHED_HEADER_BYTES), 4);
}

bool journal_frame_header_get(const uint8_t p[FRAME_HEADER_BYTES], struct frame_header *out)
{
    if (memcmp(p, magic, 8) != 0 || be_get(p + HASHED_HEADER_BYTES, 4) != crc32c(0, p, HASHED_HEADER_BYTES))
        return false;
    *out = (struct frame_header){
        .segment = be_get(p + 8, 8),
        .group = be_get(p + 24, 8),
        .first_entry = be_get(p + 32, 8),
        .segment_bytes = (uint32_t)be_get(p + 40, 4),
        .bytes = (uint32_t)be_get(p + 44, 4),
        .entry_count = (uint32_t)be_get(p + 48, 4),
    };
    memcpy(out->tag, p + 16, FRAME_TAG_BYTES);
    memcpy(out->previous.b, p + 52, HASH_BYTES);
    return out->bytes >= FRAME_MIN_BYTES && out->bytes <= FRAME_MAX_BYTES && out->entry_count > 0;
}

uint32_t journal_frame_entry_crc(uint64_t segment, uint32_t offset, struct span content)
{
    uint8_t place[12];
    be_put(place, segment, 8);
    be_put(place + 8, offset, 4);
    return crc32c(crc32c(0, place, sizeof place), content.p, content.len);
}

void journal_frame_seal(uint8_t *p, const struct frame_header *h, uint32_t offset, struct hash *chain)
{
    struct run run;
    header_put(h, p);
    run_begin(&run, p);
    uint32_t at = FRAME_HEADER_BYTES, end = h->bytes - FRAME_TRAILER_BYTES;
    while (at < end) {
        uint32_t record_bytes = (uint32_t)be_get(p + at, 4), n = 8 + record_bytes + (uint32_t)be_get(p + at + 4, 4);
        be_put(p + at + n, journal_frame_entry_crc(h->segment, offset + at, span_of(p + at, n)), 4);
        run_add(&run, p + at, record_bytes);
        at += n + 4;
    }
    EHIS_ASSERT(at == end);
    run_end(&run);
    memcpy(p + at, run.h.b, HASH_BYTES);
    *chain = run.h;
}

bool journal_frame_check(struct span s, uint32_t offset, bool is_archived, struct frame *out)
{
    struct frame f = {.p = s.p, .offset = offset, .is_archived = is_archived};
    struct run run;
    if (s.len < FRAME_HEADER_BYTES || !journal_frame_header_get(s.p, &f.h))
        return false;
    size_t left = s.len < f.h.bytes ? s.len : f.h.bytes, at = FRAME_HEADER_BYTES;
    uint64_t bytes = FRAME_HEADER_BYTES + FRAME_TRAILER_BYTES; /* as it was live */
    run_begin(&run, s.p);
    for (uint32_t i = 0; i < f.h.entry_count; i++) {
        if (left - at < 8)
            return false;
        uint32_t record_bytes = (uint32_t)be_get(s.p + at, 4), attachment_bytes = (uint32_t)be_get(s.p + at + 4, 4);
        uint64_t n = UINT64_C(8) + record_bytes + (is_archived ? 0 : attachment_bytes);
        bytes += (uint64_t)FRAME_ENTRY_BYTES + record_bytes + attachment_bytes;
        if (left - at < n + (is_archived ? 0 : 4))
            return false;
        run_add(&run, s.p + at, record_bytes);
        if (!is_archived) {
            uint32_t crc = journal_frame_entry_crc(f.h.segment, offset + (uint32_t)at, span_of(s.p + at, (size_t)n));
            if (crc != be_get(s.p + at + n, 4))
                return false;
            at += 4;
        }
        at += (size_t)n;
    }
    run_end(&run);
    if (bytes != f.h.bytes || left - at < FRAME_TRAILER_BYTES || memcmp(s.p + at, run.h.b, HASH_BYTES) != 0)
        return false;
    f.chain = run.h;
    f.stored_bytes = (uint32_t)at + FRAME_TRAILER_BYTES;
    *out = f;
    return true;
}

bool journal_frame_entry(const struct frame *f, uint32_t *at, struct journal_entry *out)
{
    if (*at >= f->stored_bytes - FRAME_TRAILER_BYTES)
        return false;
    const uint8_t *p = f->p + *at;
    out->pos = (struct journal_pos){f->h.segment, f->offset + *at, (uint32_t)be_get(p, 4), (uint32_t)be_get(p + 4, 4)};
    out->group = f->h.group;
    out->record = span_of(p + 8, out->pos.record_bytes);
    out->attachment = span_of(p + 8 + out->pos.record_bytes, f->is_archived ? 0 : out->pos.attachment_bytes);
    *at += 8 + (uint32_t)out->record.len + (f->is_archived ? 0 : (uint32_t)out->attachment.len + 4);
    return true;
}

ehis_err journal_frame_archive(const struct frame *f, struct buf *out)
{
    struct journal_entry e;
    EHIS_TRY(buf_put(out, f->p, FRAME_HEADER_BYTES));
    for (uint32_t at = FRAME_HEADER_BYTES; journal_frame_entry(f, &at, &e);)
        EHIS_TRY(buf_put(out, e.record.p - 8, 8 + e.record.len));
    return buf_put(out, f->chain.b, HASH_BYTES);
}
