/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Reading the journal's files in order: recovery, archiving and journal_walk stand on it. One thread. */
#pragma once
#include "gateway/journal/frame.h"

#define SEGMENT_MIN_BYTES (UINT64_C(1) << 20)
#define SEGMENT_MAX_BYTES (UINT64_C(1) << 30)

enum segment_kind { SEGMENT_LIVE, SEGMENT_ARCHIVED };
struct segment_name { char text[32]; };
struct segment_name segment_name(uint64_t number, enum segment_kind kind); /* 000000000012.seg, .rec */

/* Numbers of the files there are, ascending. */
struct segment_list {
    uint64_t *live, *archived;
    size_t live_count, archived_count;
    bool has_failed;
};
ehis_err segment_list_read(struct disk *disk, struct segment_list *out) EHIS_MUST_USE;
void segment_list_fini(struct segment_list *l);

/* Where the reading stands: behind a frame with this chain. Embedded. */
struct scan {
    struct disk *disk;
    struct disk_file *file;
    uint64_t first, number, file_bytes, offset; /* offset: of the next frame */
    bool is_archived, has_anchor;        /* anchor: a frame was read before, so chain and numbers are known */
    struct hash chain;
    uint8_t tag[FRAME_TAG_BYTES];
    uint64_t first_group, next_group, next_entry;
    uint64_t last_segment, last_offset; /* of the last frame taken */
    uint32_t last_bytes;
    bool is_torn; /* the file ends in the remains of a frame */
    uint8_t *window;
    size_t window_cap, window_len;
    uint64_t window_at;
};
void scan_init(struct scan *s, struct disk *disk);
void scan_fini(struct scan *s);
/* At the beginning of a file; the chain goes on. NOT_FOUND. JOURNAL_CORRUPT where its size cannot be a segment's. */
ehis_err scan_open(struct scan *s, uint64_t number, enum segment_kind kind, struct ehis_why *why) EHIS_MUST_USE;
/* The whole frame at offset that goes on where the reading stands, taken; *is_taken false where there is none. f is borrowed until the next call. */
ehis_err scan_take(struct scan *s, struct frame *f, bool *is_taken) EHIS_MUST_USE;

typedef ehis_err (*scan_each)(void *ctx, const struct journal_entry *e, bool is_archived);
/* From segment first to last, archived or live, each entry in order; stops at the frontier. is_shared: a gateway may be writing.
 * JOURNAL_CORRUPT with segment and offset; each's error. */
ehis_err scan_run(struct scan *s, uint64_t first, uint64_t last, bool is_shared, scan_each each, void *ctx, struct ehis_why *why) EHIS_MUST_USE;
