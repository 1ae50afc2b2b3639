/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/journal/journal_priv.h"

#include <stdlib.h>

#include "base/log.h"

#define FIRST_CAP_BYTES (256u << 10)

/* A group begins only where one of the full size fits: so it may grow, and its entries have their places, before it is written. */
static bool place_next(struct journal *j)
{
    if (j->place_offset + j->config.group_max_bytes <= segment_at(j, j->place_segment)->bytes)
        return true;
    if (j->place_segment == j->last_segment)
        return false;
    j->place_segment++;
    j->place_offset = 0;
    return true;
}

static ehis_err group_reserve(struct journal *j, struct group *g, uint64_t n)
{
    uint64_t need = journal_frame_padded((uint32_t)(g->used + n) + FRAME_TRAILER_BYTES), cap = g->cap ? g->cap : FIRST_CAP_BYTES;
    if (need <= g->cap)
        return EHIS_OK;
    while (cap < need)
        cap *= 2;
    cap = cap < j->config.group_max_bytes ? cap : j->config.group_max_bytes;
    uint8_t *p = realloc(g->p, cap);
    if (!p)
        return EHIS_E_NO_MEMORY;
    g->p = p;
    g->cap = (uint32_t)cap;
    return EHIS_OK;
}

static bool sum(const struct span *parts, size_t count, size_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (!size_add(n, parts[i].len, &n))
            return false;
    *out = n;
    return n <= FRAME_MAX_BYTES;
}

static uint8_t *put_parts(uint8_t *p, const struct span *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len)
            memcpy(p, parts[i].p, parts[i].len);
        p += parts[i].len;
    }
    return p;
}

ehis_err journal_append(struct journal *j, const struct span *record, size_t record_count, const struct span *attachment,
                        size_t attachment_count, struct journal_pos *pos)
{
    struct group *g = j->open;
    size_t record_bytes, attachment_bytes;
    if (j->has_failed)
        return EHIS_E_JOURNAL_FAILED;
    if (!sum(record, record_count, &record_bytes) || !sum(attachment, attachment_count, &attachment_bytes))
        return EHIS_E_TOO_LARGE;
    uint64_t n = FRAME_ENTRY_BYTES + (uint64_t)record_bytes + attachment_bytes;
    if (FRAME_HEADER_BYTES + n + FRAME_TRAILER_BYTES > j->config.group_max_bytes)
        return EHIS_E_TOO_LARGE;
    if (!g->used && !place_next(j))
        return EHIS_E_JOURNAL_FULL;
    if (g->used && g->used + n + FRAME_TRAILER_BYTES > j->config.group_max_bytes)
        return EHIS_E_JOURNAL_GROUP_FULL;
    uint32_t at = g->used ? g->used : FRAME_HEADER_BYTES;
    EHIS_TRY(group_reserve(j, g, at - g->used + n));
    if (!g->used) {
        g->number = j->next_group;
        g->first_entry = j->next_entry;
        g->segment = j->place_segment;
        g->offset = (uint32_t)j->place_offset;
        g->entry_count = 0;
    }
    be_put(g->p + at, record_bytes, 4);
    be_put(g->p + at + 4, attachment_bytes, 4);
    put_parts(put_parts(g->p + at + 8, record, record_count), attachment, attachment_count);
    g->used = at + (uint32_t)n;
    g->entry_count++;
    *pos = (struct journal_pos){g->segment, g->offset + at, (uint32_t)record_bytes, (uint32_t)attachment_bytes};
    return EHIS_OK;
}

uint64_t journal_room_bytes(const struct journal *j)
{
    uint64_t group = j->config.group_max_bytes, segments = j->last_segment - j->place_segment + j->spare_count;
    uint64_t end = j->segments[j->place_segment % j->segment_cap].bytes, used = j->place_offset + j->open->used;
    uint64_t rest = end > used + group ? end - used - group : 0;
    return segments ? rest + (segments - 1) * (j->config.segment_bytes - group) : 0; /* one is the reserve */
}

/* Packed, it leaves two segments free, so that nothing more is carried, and half of one to fill until something must be again. */
uint64_t journal_live_max_bytes(const struct journal *j)
{
    uint64_t usable = j->config.segment_bytes - j->config.group_max_bytes, segments = j->last_segment + 1 - j->first_file + j->spare_count;
    return segments > 2 ? (2 * segments - 5) * usable / 2 : 0;
}

uint64_t journal_open_group(const struct journal *j)
{
    return j->next_group;
}
size_t journal_open_bytes(const struct journal *j)
{
    return j->open->used;
}
bool journal_is_writing(const struct journal *j)
{
    return j->sealed != NULL;
}
uint64_t journal_last_write_us(const struct journal *j)
{
    return j->last_write_us;
}

void journal_seal(struct journal *j)
{
    struct group *g = j->open;
    EHIS_ASSERT(!j->sealed && g->used);
    j->next_group++;
    j->next_entry += g->entry_count;
    j->place_offset = g->offset + journal_frame_padded(g->used + FRAME_TRAILER_BYTES);
    j->sealed = g;
    j->open = &j->groups[(g - j->groups + 1) % GROUPS];
    j->open->used = 0;
}

static ehis_err write_frame(struct journal *j, struct group *g)
{
    const struct segment *s = segment_at(j, g->segment);
    struct frame_header h = {
        .segment = g->segment,
        .group = g->number,
        .first_entry = g->first_entry,
        .segment_bytes = s->bytes,
        .bytes = g->used + FRAME_TRAILER_BYTES,
        .entry_count = g->entry_count,
        .previous = j->chain,
    };
    uint32_t padded = journal_frame_padded(h.bytes);
    if (g->offset == 0)
        memcpy(j->tag, j->chain.b, FRAME_TAG_BYTES);
    memcpy(h.tag, j->tag, FRAME_TAG_BYTES);
    journal_frame_seal(g->p, &h, g->offset, &j->chain);
    memset(g->p + h.bytes, 0, padded - h.bytes);
    EHIS_TRY(s->file->ops->write_at(s->file, g->offset, g->p, padded));
    return s->file->ops->sync(s->file);
}

ehis_err journal_write(struct journal *j)
{
    if (j->has_failed)
        return EHIS_E_JOURNAL_FAILED;
    int64_t start_us = clock_mono_us(j->clock);
    ehis_err err = write_frame(j, j->sealed);
    if (err != EHIS_OK) { /* what reached the disk is unknown: only a recovery may say */
        log_line(LOG_ERROR, "journal.write", F_U64("segment", j->sealed->segment), F_U64("offset", j->sealed->offset), F_ERR(err));
        j->has_failed = true;
        return EHIS_E_JOURNAL_FAILED;
    }
    j->written_segment = j->sealed->segment;
    j->last_write_us = (uint64_t)(clock_mono_us(j->clock) - start_us);
    j->flushes++;
    return EHIS_OK;
}

/* What the owner appended before it released may replace what is in the segment: first that is durable. */
static void hand_released(struct journal *j)
{
    if (!j->released || j->durable_group < j->release_group)
        return;
    j->releasing = j->released;
    j->released = 0;
}

void journal_written(struct journal *j, uint64_t *group)
{
    struct group *g = j->sealed;
    EHIS_ASSERT(g != NULL);
    *group = j->durable_group = g->number;
    j->durable_segment = g->segment;
    j->durable_entries += g->entry_count;
    j->sealed = NULL;
    hand_released(j);
}

static const uint8_t *find_in_memory(const struct journal *j, const struct journal_pos *pos)
{
    for (size_t i = 0; i < GROUPS; i++) {
        const struct group *g = &j->groups[i];
        if (g->used && pos->segment == g->segment && pos->offset >= g->offset && pos->offset - g->offset < g->used)
            return g->p + (pos->offset - g->offset);
    }
    return NULL;
}

ehis_err journal_read(struct journal *j, const struct journal_pos *pos, struct buf *into, struct journal_entry *out)
{
    if (j->has_failed)
        return EHIS_E_JOURNAL_FAILED;
    if (pos->segment < j->first_segment || pos->segment > j->place_segment)
        return EHIS_E_NOT_FOUND;
    const uint8_t *in_memory = find_in_memory(j, pos);
    const struct segment *s = segment_at(j, pos->segment);
    size_t content = (size_t)pos->record_bytes + pos->attachment_bytes, got = 8 + content + 4;
    uint8_t *p;
    buf_clear(into);
    EHIS_TRY(buf_reserve(into, got, &p));
    if (in_memory) /* the CRC is the writer's, who may be at it now */
        memcpy(p, in_memory, 8 + content);
    else
        EHIS_TRY(s->file->ops->read_at(s->file, pos->offset, p, got, &got));
    if (got != 8 + content + 4 || be_get(p, 4) != pos->record_bytes || be_get(p + 4, 4) != pos->attachment_bytes ||
        (!in_memory && be_get(p + 8 + content, 4) != journal_frame_entry_crc(pos->segment, pos->offset, span_of(p, 8 + content)))) {
        log_line(LOG_ERROR, "journal.read", F_U64("segment", pos->segment), F_U64("offset", pos->offset), F_ERR(EHIS_E_JOURNAL_CORRUPT));
        return EHIS_E_JOURNAL_CORRUPT;
    }
    buf_commit(into, 8 + content);
    buf_drop(into, 8);
    struct span all = buf_span(into);
    *out = (struct journal_entry){*pos, span_of(all.p, pos->record_bytes), span_of(all.p + pos->record_bytes, pos->attachment_bytes), 0};
    return EHIS_OK;
}

/* Never the segment of the newest durable group: the recovery takes its bearings from the first frame there is. */
bool journal_release_wanted(const struct journal *j, uint64_t *segment)
{
    uint64_t left = j->last_segment - j->place_segment + j->spare_count;
    if (j->has_failed || j->released || j->releasing || j->first_segment >= j->durable_segment || left >= 2)
        return false;
    *segment = j->first_segment;
    return true;
}

void journal_release(struct journal *j, uint64_t segment)
{
    EHIS_ASSERT(!j->released && !j->releasing && segment == j->first_segment && segment < j->durable_segment);
    j->first_segment++;
    j->released = segment;
    j->release_group = j->open->used ? j->next_group : j->next_group - 1;
    hand_released(j);
}

void journal_status(const struct journal *j, struct journal_status *out)
{
    *out = (struct journal_status){
        .first_segment = j->first_segment,
        .last_segment = j->place_segment,
        .segment_count_max = j->config.segment_count_max,
        .groups = j->durable_group,
        .entries = j->durable_entries,
        .bytes = (j->place_segment - j->first_segment) * j->config.segment_bytes + j->place_offset + j->open->used,
        .flushes = j->flushes,
        .last_write_us = j->last_write_us,
        .archive_bytes = j->archive_bytes,
        .has_failed = j->has_failed,
    };
}
