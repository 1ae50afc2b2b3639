/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A record: u32 payload length, u8 type, u64 number (contiguous), 8 bytes of H(type, number, payload), payload. */
#include "adapters/sdk/store.h"
#include "proto/crypto/hash.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MAGIC "ehis-store-v1\n\0\0"
#define MAGIC_BYTES 16
#define HEAD_BYTES 21
#define SEGMENT_BYTES (16u * 1024 * 1024)
#define PIECE_BYTES (16u * 1024 * 1024) /* of a group are collected, then they are written: it is durable at its end, as one */
#define NAME_BYTES 18

struct segment { uint64_t number, bytes, held_bytes; };
struct store {
    struct disk *disk;
    struct store_events events;
    uint64_t segment_bytes, next_record;
    struct segment *segments; /* ascending; the last is written */
    size_t count, cap;
    struct disk_file *file, *reading;
    uint64_t reading_number;
    struct buf group; /* what of it is not written */
    size_t group_bytes; /* all of it */
    uint64_t snapshot_bytes; /* of the last segment, its beginning */
    bool is_snapshot_durable;
    ehis_err failed;
};

static void name_of(uint64_t number, char out[NAME_BYTES]) { snprintf(out, NAME_BYTES, "s%016" PRIx64, number); }

static void check_of(uint8_t type, uint64_t number, const struct span *parts, size_t count, uint8_t out[8])
{
    uint8_t head[9];
    struct span all[10] = {span_of(head, sizeof head)};
    struct hash h;
    EHIS_ASSERT(count < 9);
    head[0] = type;
    be_put(head + 1, number, 8);
    for (size_t i = 0; i < count; i++)
        all[i + 1] = parts[i];
    hash_spans(all, count + 1, &h);
    memcpy(out, h.b, 8);
}

static ehis_err add_segment(struct store *s, uint64_t number)
{
    if (s->count == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 16;
        struct segment *more = realloc(s->segments, cap * sizeof *more);
        if (!more)
            return EHIS_E_NO_MEMORY;
        s->segments = more;
        s->cap = cap;
    }
    s->segments[s->count++] = (struct segment){.number = number};
    return EHIS_OK;
}

struct listing { struct store *s; ehis_err err; };

static void on_name(void *ctx, const char *name)
{
    struct listing *l = ctx;
    uint8_t number[8];
    if (name[0] == 's' && strlen(name) == NAME_BYTES - 1 && hex_from_text(span_of(name + 1, 16), number, 8) == EHIS_OK && l->err == EHIS_OK)
        l->err = add_segment(l->s, be_get(number, 8));
}

static int by_number(const void *a, const void *b)
{
    const struct segment *x = a, *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* One record at *at, which then is behind it. TRUNCATED, INVALID: no whole record is there. */
static ehis_err replay_record(struct store *s, struct disk_file *f, uint64_t number, uint64_t *at, struct buf *buf)
{
    uint8_t head[HEAD_BYTES], check[8], *room;
    size_t got;
    EHIS_TRY(f->ops->read_at(f, *at, head, sizeof head, &got));
    size_t bytes = (size_t)be_get(head, 4);
    uint64_t record = be_get(head + 5, 8);
    if (got < sizeof head || bytes > STORE_RECORD_MAX_BYTES)
        return EHIS_E_TRUNCATED;
    buf_clear(buf);
    EHIS_TRY(buf_reserve(buf, bytes + 1, &room));
    EHIS_TRY(f->ops->read_at(f, *at + HEAD_BYTES, room, bytes, &got));
    struct span payload = span_of(room, bytes);
    check_of(head[4], record, &payload, 1, check);
    if (got < bytes || memcmp(check, head + 13, 8) != 0 || (s->next_record != 0 && record != s->next_record))
        return EHIS_E_INVALID;
    s->next_record = record + 1;
    struct store_place place = {number, *at + HEAD_BYTES, (uint32_t)bytes};
    *at += HEAD_BYTES + bytes;
    return s->events.replay(s->events.ctx, head[4], payload, &place);
}

/* What was read is believed from now on. Where only the process had died it may stand in the page cache alone, even clean after a sync
 * that failed: so it is written again, not only synced. */
static ehis_err make_durable(struct disk_file *f, uint64_t bytes, struct buf *buf)
{
    const size_t chunk = 256 * 1024;
    uint8_t *room;
    size_t got = 0;
    buf_clear(buf);
    EHIS_TRY(buf_reserve(buf, chunk, &room));
    for (uint64_t at = 0; at < bytes; at += got) {
        EHIS_TRY(f->ops->read_at(f, at, room, bytes - at < chunk ? (size_t)(bytes - at) : chunk, &got));
        if (got == 0)
            return EHIS_E_IO;
        EHIS_TRY(f->ops->write_at(f, at, room, got));
    }
    return f->ops->sync(f);
}

static ehis_err replay_segment(struct store *s, struct segment *g, bool is_last, struct buf *buf, struct ehis_why *why)
{
    char name[NAME_BYTES];
    struct disk_file *f = NULL;
    uint8_t magic[MAGIC_BYTES];
    uint64_t at = 0, size = 0;
    size_t got = 0;
    name_of(g->number, name);
    EHIS_TRY(s->disk->ops->open(s->disk, name, false, &f));
    ehis_err err = f->ops->size(f, &size);
    if (err == EHIS_OK)
        err = f->ops->read_at(f, 0, magic, sizeof magic, &got);
    if (err == EHIS_OK && got == sizeof magic && memcmp(magic, MAGIC, sizeof magic) == 0)
        at = MAGIC_BYTES;
    while (err == EHIS_OK && at >= MAGIC_BYTES && at < size)
        err = replay_record(s, f, g->number, &at, buf);
    if (err == EHIS_E_TRUNCATED || err == EHIS_E_INVALID)
        err = EHIS_OK;
    if (err == EHIS_OK && at < size)
        err = is_last ? f->ops->truncate(f, at) : ehis_fail(why, EHIS_E_STATE_CORRUPT, "%s is damaged at byte %" PRIu64, name, at);
    if (err == EHIS_OK && is_last)
        err = make_durable(f, at, buf);
    g->bytes = at;
    f->ops->close(f);
    return err;
}

static ehis_err begin_segment(struct store *s)
{
    char name[NAME_BYTES];
    uint64_t number = s->count ? s->segments[s->count - 1].number + 1 : 1;
    if (s->file)
        s->file->ops->close(s->file);
    s->file = NULL;
    name_of(number, name);
    EHIS_TRY(add_segment(s, number));
    EHIS_TRY(s->disk->ops->open(s->disk, name, true, &s->file));
    EHIS_TRY(s->file->ops->write_at(s->file, 0, (const uint8_t *)MAGIC, MAGIC_BYTES));
    s->segments[s->count - 1].bytes = MAGIC_BYTES;
    EHIS_TRY(s->disk->ops->sync_dir(s->disk));
    s->is_snapshot_durable = false;
    ehis_err err = s->events.snapshot(s->events.ctx, s);
    s->snapshot_bytes = s->segments[s->count - 1].bytes + s->group.len;
    return err;
}

ehis_err store_open(struct disk *d, const struct store_events *events, uint64_t segment_bytes, struct store **out, struct ehis_why *why)
{
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return EHIS_E_NO_MEMORY;
    struct listing l = {s, EHIS_OK};
    struct buf buf;
    s->disk = d;
    s->events = *events;
    s->segment_bytes = segment_bytes ? segment_bytes : SEGMENT_BYTES;
    buf_init(&s->group, PIECE_BYTES + HEAD_BYTES + STORE_RECORD_MAX_BYTES);
    buf_init(&buf, STORE_RECORD_MAX_BYTES + 1);
    ehis_err err = d->ops->list(d, on_name, &l);
    if (err == EHIS_OK)
        err = l.err;
    if (s->count)
        qsort(s->segments, s->count, sizeof *s->segments, by_number);
    for (size_t i = 0, n = s->count; i < n && err == EHIS_OK; i++)
        err = replay_segment(s, &s->segments[i], i + 1 == n, &buf, why);
    buf_fini(&buf);
    if (s->next_record == 0)
        s->next_record = 1;
    if (err == EHIS_OK)
        err = begin_segment(s);
    if (err == EHIS_OK)
        err = store_commit(s);
    if (err != EHIS_OK)
        store_free(s);
    else
        *out = s;
    return err;
}

void store_free(struct store *s)
{
    if (!s)
        return;
    if (s->file)
        s->file->ops->close(s->file);
    if (s->reading)
        s->reading->ops->close(s->reading);
    buf_fini(&s->group);
    free(s->segments);
    free(s);
}

/* Not durable yet. */
static ehis_err write_out(struct store *s)
{
    struct segment *g = &s->segments[s->count - 1];
    struct span whole = buf_span(&s->group);
    EHIS_TRY(s->file->ops->write_at(s->file, g->bytes, whole.p, whole.len));
    g->bytes += whole.len;
    buf_clear(&s->group);
    return EHIS_OK;
}

ehis_err store_append(struct store *s, uint8_t type, const struct span *parts, size_t count, struct store_place *at)
{
    uint8_t head[HEAD_BYTES], *room;
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += parts[i].len;
    if (s->failed != EHIS_OK)
        return s->failed;
    if (bytes > STORE_RECORD_MAX_BYTES)
        return EHIS_E_TOO_LARGE;
    if (s->group.len >= PIECE_BYTES)
        EHIS_TRY(s->failed = write_out(s));
    EHIS_TRY(buf_reserve(&s->group, HEAD_BYTES + bytes, &room));
    be_put(head, bytes, 4);
    head[4] = type;
    be_put(head + 5, s->next_record, 8);
    check_of(type, s->next_record++, parts, count, head + 13);
    memcpy(room, head, HEAD_BYTES);
    size_t used = HEAD_BYTES;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len)
            memcpy(room + used, parts[i].p, parts[i].len);
        used += parts[i].len;
    }
    const struct segment *g = &s->segments[s->count - 1];
    if (at)
        *at = (struct store_place){g->number, g->bytes + s->group.len + HEAD_BYTES, (uint32_t)bytes};
    buf_commit(&s->group, used);
    s->group_bytes += used;
    return EHIS_OK;
}

static void forget_reading(struct store *s)
{
    if (s->reading)
        s->reading->ops->close(s->reading);
    s->reading = NULL;
}

/* Removes what nobody needs; what is spread thin is carried ahead, one segment a commit. */
static ehis_err trim(struct store *s)
{
    char name[NAME_BYTES];
    bool is_removed = false;
    while (s->count > 1 && s->segments[0].held_bytes == 0 && s->is_snapshot_durable) {
        name_of(s->segments[0].number, name);
        if (s->reading && s->reading_number == s->segments[0].number)
            forget_reading(s);
        EHIS_TRY(s->disk->ops->remove(s->disk, name));
        memmove(s->segments, s->segments + 1, --s->count * sizeof *s->segments);
        is_removed = true;
    }
    if (is_removed)
        EHIS_TRY(s->disk->ops->sync_dir(s->disk));
    uint64_t total = 0, held = 0;
    for (size_t i = 0; i < s->count; i++) {
        total += s->segments[i].bytes;
        held += s->segments[i].held_bytes;
    }
    bool is_thin = s->count >= 3 && total >= 2 * held + 4 * s->segment_bytes;
    return is_thin ? s->events.carry(s->events.ctx, s->segments[0].number) : EHIS_OK;
}

static ehis_err write_group(struct store *s)
{
    EHIS_TRY(write_out(s));
    EHIS_TRY(s->file->ops->sync(s->file));
    s->group_bytes = 0;
    s->is_snapshot_durable = true;
    EHIS_TRY(trim(s));
    uint64_t bytes = s->segments[s->count - 1].bytes; /* a large snapshot is written again when as much has followed it */
    return bytes > s->segment_bytes && bytes > 2 * s->snapshot_bytes && s->group_bytes == 0 ? begin_segment(s) : EHIS_OK;
}

ehis_err store_commit(struct store *s)
{
    if (s->failed == EHIS_OK && s->group_bytes > 0)
        s->failed = write_group(s);
    return s->failed;
}

bool store_is_written(const struct store *s, const struct store_place *at)
{
    const struct segment *last = &s->segments[s->count - 1];
    return at->segment < last->number || at->offset + at->bytes <= last->bytes;
}

size_t store_group_bytes(const struct store *s) { return s->group_bytes; }

static struct segment *find(struct store *s, uint64_t number)
{
    for (size_t i = s->count; i-- > 0;)
        if (s->segments[i].number == number)
            return &s->segments[i];
    return NULL;
}

void store_hold(struct store *s, const struct store_place *at)
{
    struct segment *g = find(s, at->segment);
    EHIS_ASSERT(g);
    g->held_bytes += at->bytes;
}

void store_let_go(struct store *s, const struct store_place *at)
{
    struct segment *g = find(s, at->segment);
    EHIS_ASSERT(g && g->held_bytes >= at->bytes);
    g->held_bytes -= at->bytes;
}

ehis_err store_read(struct store *s, const struct store_place *at, struct buf *out)
{
    char name[NAME_BYTES];
    uint8_t *room;
    size_t got;
    if (!s->reading || s->reading_number != at->segment) {
        forget_reading(s);
        name_of(at->segment, name);
        EHIS_TRY(s->disk->ops->open(s->disk, name, false, &s->reading));
        s->reading_number = at->segment;
    }
    EHIS_TRY(buf_reserve(out, at->bytes, &room));
    EHIS_TRY(s->reading->ops->read_at(s->reading, at->offset, room, at->bytes, &got));
    if (got < at->bytes)
        return EHIS_E_STATE_CORRUPT;
    buf_commit(out, got);
    return EHIS_OK;
}
