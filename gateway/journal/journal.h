/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The journal (DESIGN 4.5): one append-only file in pre-written, recycled segments; a frame is a group of entries; one fdatasync a
 * group. The single source of truth. The core here is synchronous over base/disk and pure of threads; writer.h runs it beside a loop.
 *
 * Threads: append, seal, read, release_wanted and the getters belong to the loop's thread; write and reclaim to the writer's thread;
 * between seal and written at most one group is with the writer. */
#pragma once
#include "base/clock.h"
#include "base/disk.h"

struct journal;

struct journal_config {
    uint64_t segment_bytes;     /* 1 MiB .. 1 GiB; pre-written with zeros */
    uint32_t segment_count_max; /* live segments, the reserve of one included; >= 3 */
    uint64_t group_max_bytes;   /* of one frame; <= segment_bytes / 2 */
    uint64_t reserve_bytes;     /* kept free on the volume for stopping in order */
};

/* Where an entry stands: valid until its segment is released. */
struct journal_pos {
    uint64_t segment;      /* rising for ever */
    uint32_t offset;       /* of the entry in the segment's file */
    uint32_t record_bytes;
    uint32_t attachment_bytes;
};
struct journal_entry {
    struct journal_pos pos;
    struct span record, attachment; /* borrowed */
};

/* Locks the folder (LOCKED), recovers: every frame's CRC, contents and previous-frame hash; cuts a torn tail; JOURNAL_CORRUPT (with segment and offset)
 * where a frame is bad and a later one is whole. Then each() for every live entry in order; its error ends the opening. */
ehis_err journal_open(struct disk *disk, const struct journal_config *config, const struct clock *clock,
                      ehis_err (*each)(void *ctx, const struct journal_entry *e), void *ctx, struct journal **out, struct ehis_why *why) EHIS_MUST_USE;
void journal_close(struct journal *j); /* the writer is stopped; sealed groups are lost only if never written */

/* Adds an entry to the open group: record parts and attachment parts are copied. Returns the place. JOURNAL_FULL: no segment would hold it
 * (nothing was added); TOO_LARGE. */
ehis_err journal_append(struct journal *j, const struct span *record, size_t record_count, const struct span *attachment,
                        size_t attachment_count, struct journal_pos *pos) EHIS_MUST_USE;
/* Free bytes for entries before JOURNAL_FULL, for admission. */
uint64_t journal_room_bytes(const struct journal *j);
uint64_t journal_open_group(const struct journal *j);    /* number of the group that append writes into */
size_t journal_open_bytes(const struct journal *j);      /* 0: nothing to seal */
bool journal_is_writing(const struct journal *j);
/* Closes the open group and hands it to the writer. Only when not writing. */
void journal_seal(struct journal *j);
/* The writer's step: writes the sealed group and syncs. Any error is final: JOURNAL_FAILED from everything afterwards. */
ehis_err journal_write(struct journal *j) EHIS_MUST_USE;
/* The loop's step after it: group = the number now durable. */
void journal_written(struct journal *j, uint64_t *group);

/* Reads an entry back: from memory while its group is not durable, else from the file (page cache), CRC checked once a read. into is
 * cleared first; record then attachment. JOURNAL_CORRUPT. */
ehis_err journal_read(struct journal *j, const struct journal_pos *pos, struct buf *into, struct journal_entry *out) EHIS_MUST_USE;

/* Segments to free: the oldest live segment, when fewer than two free ones are left; the owner carries what is unfinished ahead, then
 * releases it: its records go durably to the archive (records only, chained), its file is recycled. */
bool journal_release_wanted(const struct journal *j, uint64_t *segment);
void journal_release(struct journal *j, uint64_t segment);
/* The writer's step for it (archive, sync, rename, recycle, pre-write the next). */
ehis_err journal_reclaim(struct journal *j) EHIS_MUST_USE;
bool journal_has_reclaim(const struct journal *j);

struct journal_status {
    uint64_t first_segment, last_segment, segment_count_max;
    uint64_t groups, entries, bytes, flushes, durable_group;
    uint64_t last_write_us, archive_bytes;
    bool has_failed;
};
void journal_status(const struct journal *j, struct journal_status *out);

/* Reading by others, without the lock, for `journal show` and `verify`: archive and live segments in order. Stops at a torn tail
 * (is_torn set). JOURNAL_CORRUPT names segment and offset. */
struct journal_check { uint64_t entries, groups, archived_entries; bool is_torn; uint8_t head_hash[32]; };
ehis_err journal_walk(struct disk *disk, ehis_err (*each)(void *ctx, const struct journal_entry *e, bool is_archived), void *ctx,
                      struct journal_check *out, struct ehis_why *why) EHIS_MUST_USE;
