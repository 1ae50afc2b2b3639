/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A segment's file as an enemy would write it: pieces of a length (u16) and so many bytes, each at the next multiple of 4 KiB (an archive:
 * as they come). The first byte says whether each frame's CRCs and chain are made right first (so that what stands behind them is reached),
 * and whether the file is a live segment or an archive. Then: opening and walking may refuse, and what they take they must be able to go on
 * from. */
#include "base/log.h"
#include "gateway/journal/crc32c.h"
#include "gateway/journal/frame.h"
#include "tests/support/sim_clock.h"
#include "tests/support/sim_disk.h"
#include <fcntl.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEGMENT_BYTES (1u << 20)
enum { IS_MENDED = 1, IS_ARCHIVE = 2 };

/* Makes the live frame at p right, as far as its lengths allow. */
static size_t mend(uint8_t *p, size_t left, uint32_t offset, struct hash *chain)
{
    struct frame_header h;
    if (left < FRAME_HEADER_BYTES)
        return 0;
    memcpy(p, "EHISJRN1", 8);
    memcpy(p + 52, chain->b, HASH_BYTES);
    memcpy(p + 16, chain->b, FRAME_TAG_BYTES);
    be_put(p + 40, SEGMENT_BYTES, 4);
    be_put(p + 84, crc32c(0, p, 84), 4);
    if (!journal_frame_header_get(p, &h) || h.bytes > left)
        return 0;
    size_t at = FRAME_HEADER_BYTES, end = h.bytes - FRAME_TRAILER_BYTES;
    for (uint32_t i = 0; i < h.entry_count; i++) { /* lengths that frame_seal may trust */
        if (end - at < FRAME_ENTRY_BYTES)
            return 0;
        uint64_t n = be_get(p + at, 4) + be_get(p + at + 4, 4) + FRAME_ENTRY_BYTES;
        if (n > end - at)
            return 0;
        at += (size_t)n;
    }
    if (at != end)
        return 0;
    journal_frame_seal(p, &h, offset, chain);
    return journal_frame_padded(h.bytes);
}

static ehis_err touch(void *ctx, const struct journal_entry *e)
{
    struct hash h;
    hash_spans((struct span[]){e->record, e->attachment}, 2, &h); /* a read beyond is found */
    *(uint64_t *)ctx += 1 + h.b[0] % 2;
    return EHIS_OK;
}

static ehis_err touch_walked(void *ctx, const struct journal_entry *e, bool is_archived)
{
    (void)is_archived;
    return touch(ctx, e);
}

static void put_file(struct disk *d, const char *name, const uint8_t *p, size_t n, size_t size)
{
    struct disk_file *f;
    if (d->ops->open(d, name, true, &f) != EHIS_OK || f->ops->write_at(f, 0, p, n) != EHIS_OK || f->ops->truncate(f, size) != EHIS_OK ||
        f->ops->sync(f) != EHIS_OK)
        abort();
    f->ops->close(f);
}

static void go_on(struct journal *j)
{
    struct span r = span_str("record");
    struct journal_pos pos;
    uint64_t group;
    if (journal_append(j, &r, 1, &r, 1, &pos) != EHIS_OK)
        abort();
    journal_seal(j);
    if (journal_write(j) != EHIS_OK)
        abort();
    journal_written(j, &group);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t segment[SEGMENT_BYTES];
    struct journal_config config = {.segment_bytes = sizeof segment, .segment_count_max = 3, .group_max_bytes = 64 << 10};
    struct sim_clock clock;
    struct sim_disk *sim;
    struct journal *j;
    struct journal_check check;
    struct hash chain = {{0}};
    uint64_t entries = 0;
    if (size < 1 || size > 64 << 10)
        return 0;
    log_set_level(LOG_ERROR);
    static int null = -1;
    if (null < 0)
        null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    log_set_fd(null);
    uint8_t how = data[0];
    memset(segment, 0, sizeof segment);
    size_t used = 0;
    for (size_t at = 1, n; at + 2 <= size && used < sizeof segment - size; at += n) {
        n = (size_t)be_get(data + at, 2);
        at += 2;
        n = n < size - at ? n : size - at;
        memcpy(segment + used, data + at, n);
        used += how & IS_ARCHIVE ? n : journal_frame_padded((uint32_t)n);
    }
    if (how & IS_MENDED)
        for (size_t at = 0, n; at < used && (n = mend(segment + at, sizeof segment - at, (uint32_t)at, &chain)) > 0;)
            at += n;
    sim_clock_init(&clock, 1);
    if (sim_disk_new(1, &sim) != EHIS_OK)
        abort();
    struct disk *d = sim_disk_disk(sim);
    put_file(d, how & IS_ARCHIVE ? "000000000001.rec" : "000000000001.seg", segment, used, how & IS_ARCHIVE ? used : sizeof segment);
    if (how & IS_ARCHIVE)
        put_file(d, "000000000002.seg", NULL, 0, sizeof segment);
    (void)!journal_walk(d, touch_walked, &entries, &check, NULL);
    entries = 0;
    if (journal_open(d, &config, &clock.clock, touch, &entries, &j, NULL) == EHIS_OK) {
        go_on(j);
        journal_close(j);
        if (journal_walk(d, touch_walked, &entries, &check, NULL) != EHIS_OK || check.entries == 0)
            abort(); /* what was opened must verify */
    }
    disk_free(d);
    sim_disk_free(sim);
    return 0;
}
