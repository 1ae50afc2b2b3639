/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Making room, a piece at a time so that no group waits long: archives what was released and gives its file the next number, or
 * writes a new segment full of zeros. A file has its final name only when it is whole and synced. */
#include "gateway/journal/journal_priv.h"

#include "base/log.h"

#define PIECE_BYTES (1u << 20)
#define RETRY_US 1000000
#define SPARE_TARGET 2 /* made in advance */
static const char spare_name[] = "spare.tmp", archive_name[] = "archive.tmp";
static const uint8_t zeros[PIECE_BYTES];

bool reclaim_is_urgent(const struct journal *j)
{
    return j->last_segment - j->written_segment < SPARE_TARGET;
}

static bool wants_spare(const struct journal *j)
{
    uint64_t last = j->last_segment;
    return reclaim_is_urgent(j) && last + 1 - j->first_file < j->config.segment_count_max;
}

bool journal_has_reclaim(const struct journal *j)
{
    if (j->has_failed || (!j->releasing && !wants_spare(j)))
        return false;
    return j->retry_at_us == 0 || clock_mono_us(j->clock) >= j->retry_at_us;
}

ehis_err reclaim_count_spares(struct journal *j)
{
    uint64_t free_bytes, files = j->last_segment + 1 - j->first_file, spares = 0;
    EHIS_TRY(j->disk->ops->free_bytes(j->disk, &free_bytes));
    if (files < j->config.segment_count_max)
        spares = j->config.segment_count_max - files;
    free_bytes = free_bytes > j->config.reserve_bytes ? free_bytes - j->config.reserve_bytes : 0;
    j->spare_count = free_bytes / j->config.segment_bytes < spares ? free_bytes / j->config.segment_bytes : spares;
    return EHIS_OK;
}

void reclaim_abandon(struct journal *j)
{
    if (j->reclaim.file)
        j->disk->ops->close(j->reclaim.file);
    j->reclaim.file = NULL;
    scan_fini(&j->reclaim.scan);
    j->reclaim.scan.disk = NULL; /* nothing is being archived */
    buf_fini(&j->reclaim.out);
}

static ehis_err begin(struct journal *j, const char *name, uint64_t bytes)
{
    uint64_t free_bytes;
    EHIS_TRY(j->disk->ops->free_bytes(j->disk, &free_bytes));
    if (free_bytes < j->config.reserve_bytes || free_bytes - j->config.reserve_bytes < bytes)
        return EHIS_E_NO_SPACE;
    j->reclaim.file_bytes = 0;
    EHIS_TRY(j->disk->ops->open(j->disk, name, true, &j->reclaim.file));
    return j->disk->ops->truncate(j->reclaim.file, 0);
}

static ehis_err add_piece(struct journal *j, struct span s)
{
    if (s.len)
        EHIS_TRY(j->disk->ops->write_at(j->reclaim.file, j->reclaim.file_bytes, s.p, s.len));
    j->reclaim.file_bytes += s.len;
    return j->disk->ops->sync(j->reclaim.file);
}

static void add_segment(struct journal *j, struct segment s)
{
    *segment_at(j, j->last_segment + 1) = s;
    j->last_segment++; /* from here on the loop may place groups in it */
}

static ehis_err rename_durably(struct journal *j, const char *from, const char *to)
{
    EHIS_TRY(j->disk->ops->rename(j->disk, from, to));
    return j->disk->ops->sync_dir(j->disk);
}

static ehis_err make_piece(struct journal *j)
{
    struct reclaim *r = &j->reclaim;
    if (!r->file)
        EHIS_TRY(begin(j, spare_name, j->config.segment_bytes));
    uint64_t left = j->config.segment_bytes - r->file_bytes;
    EHIS_TRY(add_piece(j, span_of(zeros, left < PIECE_BYTES ? (size_t)left : PIECE_BYTES)));
    if (r->file_bytes < j->config.segment_bytes)
        return EHIS_OK;
    EHIS_TRY(rename_durably(j, spare_name, segment_name(j->last_segment + 1, SEGMENT_LIVE).text));
    add_segment(j, (struct segment){r->file, (uint32_t)r->file_bytes});
    r->file = NULL;
    return reclaim_count_spares(j);
}

ehis_err reclaim_make_next(struct journal *j)
{
    uint64_t before = j->last_segment;
    if (before + 1 - j->first_file >= j->config.segment_count_max)
        return EHIS_OK;
    ehis_err err = EHIS_OK;
    while (err == EHIS_OK && j->last_segment == before)
        err = make_piece(j);
    if (err != EHIS_OK)
        reclaim_abandon(j);
    return err;
}

/* The archive is durable: the file gets the next number, or goes where it is not of the size or number that is wanted now. */
static ehis_err recycle(struct journal *j, uint64_t number)
{
    struct segment s = *segment_at(j, number);
    struct segment_name name = segment_name(number, SEGMENT_LIVE);
    bool is_wanted = s.bytes == j->config.segment_bytes && j->last_segment - number < j->config.segment_count_max;
    if (is_wanted)
        EHIS_TRY(rename_durably(j, name.text, segment_name(j->last_segment + 1, SEGMENT_LIVE).text));
    else
        EHIS_TRY(j->disk->ops->remove(j->disk, name.text));
    *segment_at(j, number) = (struct segment){0};
    j->first_file = number + 1;
    j->releasing = 0;
    if (is_wanted)
        add_segment(j, s);
    else
        j->disk->ops->close(s.file);
    return is_wanted ? EHIS_OK : j->disk->ops->sync_dir(j->disk);
}

/* The segment ends where its frames do, if the next segment goes on from there. */
static ehis_err end_archive(struct journal *j, uint64_t number)
{
    struct frame f;
    bool is_next;
    EHIS_TRY(scan_open(&j->reclaim.scan, number + 1, SEGMENT_LIVE, NULL));
    EHIS_TRY(scan_take(&j->reclaim.scan, &f, &is_next));
    if (!is_next)
        return EHIS_E_JOURNAL_CORRUPT;
    reclaim_abandon(j);
    EHIS_TRY(rename_durably(j, archive_name, segment_name(number, SEGMENT_ARCHIVED).text));
    EHIS_TRY(recycle(j, number));
    j->archive_bytes += j->reclaim.file_bytes;
    return reclaim_count_spares(j);
}

static ehis_err archive_piece(struct journal *j, uint64_t number)
{
    struct reclaim *r = &j->reclaim;
    if (!r->file) {
        buf_init(&r->out, FRAME_MAX_BYTES + PIECE_BYTES);
        scan_init(&r->scan, j->disk);
        r->scan.first = number;
        EHIS_TRY(scan_open(&r->scan, number, SEGMENT_LIVE, NULL));
        EHIS_TRY(begin(j, archive_name, segment_at(j, number)->bytes));
    }
    uint64_t from = r->scan.offset;
    struct frame f;
    for (bool is_taken = true; is_taken;) {
        if (r->scan.offset - from >= PIECE_BYTES)
            break;
        EHIS_TRY(scan_take(&r->scan, &f, &is_taken));
        if (is_taken)
            EHIS_TRY(journal_frame_archive(&f, &r->out));
    }
    bool is_end = r->scan.offset - from < PIECE_BYTES;
    EHIS_TRY(add_piece(j, buf_span(&r->out)));
    buf_clear(&r->out);
    return is_end ? end_archive(j, number) : EHIS_OK;
}

ehis_err journal_reclaim(struct journal *j)
{
    if (j->has_failed)
        return EHIS_E_JOURNAL_FAILED;
    /* A spare that was begun is finished first: one file is made at a time. */
    bool is_spare = j->reclaim.file ? j->reclaim.scan.disk == NULL : !j->releasing;
    if (is_spare && !j->reclaim.file && !wants_spare(j))
        return EHIS_OK;
    ehis_err err = is_spare ? make_piece(j) : archive_piece(j, j->releasing);
    j->retry_at_us = 0;
    if (err == EHIS_OK)
        return EHIS_OK;
    reclaim_abandon(j);
    if (err == EHIS_E_NO_SPACE) {                                            /* what runs goes on; more room comes when the space does */
        j->disk->ops->remove(j->disk, is_spare ? spare_name : archive_name); /* absent or not: made anew */
        j->spare_count = 0;
        j->retry_at_us = clock_mono_us(j->clock) + RETRY_US;
        return EHIS_OK;
    }
    log_line(LOG_ERROR, "journal.reclaim", F_U64("segment", j->releasing), F_ERR(err));
    j->has_failed = true;
    return EHIS_E_JOURNAL_FAILED;
}
