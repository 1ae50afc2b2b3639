/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The journal (DESIGN 4.5): one append-only file in pre-written, recycled segments; a frame is a group of entries; one fdatasync a
 * group. The single source of truth. The core here is synchronous over base/disk and pure of threads; writer.h runs it beside a loop.
 *
 * Threads: append, seal, read, release_wanted and the getters belong to the loop's thread; write and reclaim to the writer's thread;
 * between seal and written at most one group is with the writer. The disk must bear read_at on the loop's thread beside the writer's
 * calls (the real one does).
 *
 * Files in the folder: NNNNNNNNNNNN.seg (live and prepared segments), NNNNNNNNNNNN.rec (archive: records with their chain, without
 * attachments), lock, *.tmp (half made; dropped at opening). The archive grows for ever: how long it is kept is the operator's decision,
 * who removes the oldest .rec files; what is left still verifies from its first frame on. The form is in frame.h. */
#pragma once
#include "base/clock.h"
#include "base/disk.h"

struct journal;

struct journal_config {
    uint64_t segment_bytes;     /* 1 MiB .. 1 GiB, whole 4 KiB; pre-written with zeros */
    uint32_t segment_count_max; /* segments, prepared ones and the reserve of one included; >= 3 */
    uint64_t group_max_bytes;   /* of one frame, 4 KiB .. 64 MiB, <= segment_bytes / 2. A group begins only where one of this size fits,
                                   so at most this much is left unused at a segment's end */
    uint64_t reserve_bytes;     /* of the volume, never used by segments or archive: for stopping in order */
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
    uint64_t group;                 /* while opening and walking; else 0 */
};

/* Locks the folder (LOCKED; free again with the disk), recovers: every frame's CRC, contents and previous-frame hash; cuts a torn tail;
 * JOURNAL_CORRUPT (with segment and offset) where a frame is bad and a later one is whole, a segment is missing or its file was cut.
 * each() (may be NULL) gets every live entry in order, also of a segment that was released but not yet archived at the crash; its error
 * ends the opening. What each() saw is durable when this returns, not before. The disk must outlive the journal. SETTINGS. */
ehis_err journal_open(struct disk *disk, const struct journal_config *config, const struct clock *clock,
                      ehis_err (*each)(void *ctx, const struct journal_entry *e), void *ctx, struct journal **out, struct ehis_why *why) EHIS_MUST_USE;
void journal_close(struct journal *j); /* the writer is stopped; sealed groups are lost only if never written */

/* Adds an entry to the open group: record parts and attachment parts are copied. Returns the place. Nothing was added with any error:
 * JOURNAL_FULL: no segment is there for a new group; JOURNAL_GROUP_FULL (flow): the group has reached group_max_bytes: seal it, or wait
 * for the running write first; TOO_LARGE: it would not fit an empty group; NO_MEMORY; JOURNAL_FAILED. */
ehis_err journal_append(struct journal *j, const struct span *record, size_t record_count, const struct span *attachment,
                        size_t attachment_count, struct journal_pos *pos) EHIS_MUST_USE;
/* Bytes of segments still free, for admission, but for a reserve of one segment that append may still use: for what ends accepted work and
 * for carrying ahead. An entry alone in its group takes its size rounded up to 4 KiB. */
uint64_t journal_room_bytes(const struct journal *j);
/* What the owner may still need of all that stands in it: so much that carrying ahead always frees a segment in the end. */
uint64_t journal_live_max_bytes(const struct journal *j);
uint64_t journal_open_group(const struct journal *j);    /* number of the group that append writes into */
size_t journal_open_bytes(const struct journal *j);      /* 0: nothing to seal */
bool journal_is_writing(const struct journal *j);
uint64_t journal_last_write_us(const struct journal *j); /* the last group's write and flush; 0: none yet */
/* Closes the open group and hands it to the writer. Only when not writing. */
void journal_seal(struct journal *j);
/* The writer's step: writes the sealed group and syncs. Any error is final: JOURNAL_FAILED from everything afterwards; only a new opening may
 * say what of the group is there. */
ehis_err journal_write(struct journal *j) EHIS_MUST_USE;
/* The loop's step after it: group = the number now durable. */
void journal_written(struct journal *j, uint64_t *group);

/* Reads an entry back: from memory while its group is not durable or one of the last, else from the file (page cache), CRC checked once a read. into is
 * cleared first; it must hold both and 12 bytes more. JOURNAL_CORRUPT; NOT_FOUND for a segment that was released; TOO_LARGE. */
ehis_err journal_read(struct journal *j, const struct journal_pos *pos, struct buf *into, struct journal_entry *out) EHIS_MUST_USE;

/* Segments to free: the oldest live segment, when fewer than two free ones are left; the owner carries what is unfinished ahead, then
 * releases it: when all that was appended before is durable, its records go durably to the archive (records only, chained) and its file is
 * recycled. One at a time: the next is wanted when this one is reclaimed. Only what release_wanted named may be released. */
bool journal_release_wanted(const struct journal *j, uint64_t *segment);
void journal_release(struct journal *j, uint64_t segment);
/* The writer's step for it (archive, sync, rename, recycle, pre-write the next), a piece of about 1 MiB a call, while has_reclaim. Where the
 * volume has no space it answers OK, and has_reclaim is false for a second: JOURNAL_FULL until space returns, nothing else stops. Any
 * other error is final like a write's. */
ehis_err journal_reclaim(struct journal *j) EHIS_MUST_USE;
bool journal_has_reclaim(const struct journal *j);

struct journal_status {
    uint64_t first_segment, last_segment, segment_count_max;
    uint64_t groups, entries, bytes, flushes; /* groups: the newest durable one */
    uint64_t last_write_us, archive_bytes;
    bool has_failed;
};
void journal_status(const struct journal *j, struct journal_status *out);

/* Reading by others, without the lock, for `journal show` and `verify`, also while a gateway writes and recycles: archive and live segments in
 * order, every hash and CRC. Stops at the frontier; is_torn: the remains of a frame stand there (or one is being written now). An
 * archived entry's pos.offset is that in the archive's file, its attachment is gone. each may be NULL. JOURNAL_CORRUPT names segment
 * and offset; NOT_FOUND: no journal is here. */
struct journal_check { uint64_t entries, groups, archived_entries; bool is_torn; uint8_t head_hash[32]; };
ehis_err journal_walk(struct disk *disk, ehis_err (*each)(void *ctx, const struct journal_entry *e, bool is_archived), void *ctx,
                      struct journal_check *out, struct ehis_why *why) EHIS_MUST_USE;
