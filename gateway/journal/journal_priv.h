/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The journal inside: which thread owns what. Between seal and written the sealed group is the writer's. */
#pragma once
#include "gateway/journal/scan.h"
#include <stdatomic.h>

struct segment { /* written before last_segment names it, then read only */
    struct disk_file *file;
    uint32_t bytes;
};

#define GROUPS 4

struct group {
    uint8_t *p; /* the frame as it will stand, its header and CRCs filled in by the writer */
    uint32_t used, cap, entry_count, offset;
    uint64_t number, segment, first_entry;
};

struct reclaim { /* the writer's */
    struct disk_file *file; /* the one being made: a spare segment or an archive */
    uint64_t file_bytes;
    struct scan scan; /* of the segment being archived */
    struct buf out;
};

struct journal {
    struct disk *disk;
    struct journal_config config; /* group_max_bytes: whole pages */
    const struct clock *clock;
    struct segment *segments; /* number % segment_cap */
    size_t segment_cap;

    /* the loop's thread */
    struct group groups[GROUPS]; /* in a ring: the open one, the one with the writer, durable ones that are still read from memory */
    struct group *open, *sealed;  /* sealed: NULL or with the writer */
    uint64_t first_segment;      /* oldest not released */
    uint64_t released, release_group; /* reclaimed when this group is durable: what was carried ahead stands in it; 0: none */
    uint64_t place_segment, place_offset; /* of the next frame */
    uint64_t next_group, next_entry, durable_group, durable_segment, durable_entries;

    /* whoever writes: the thread, or the loop while that has nothing to do (writer.c, under its lock) */
    struct hash chain;
    uint8_t tag[FRAME_TAG_BYTES];
    struct reclaim reclaim;

    /* both */
    _Atomic uint64_t first_file, last_segment; /* files there are: first_file .. last_segment */
    _Atomic uint64_t written_segment;          /* of the newest frame */
    _Atomic uint64_t releasing;                /* released, still to archive; 0: none */
    _Atomic uint64_t spare_count;              /* segments that could still be made */
    _Atomic int64_t retry_at_us;               /* no space was left: not before */
    _Atomic uint64_t flushes, last_write_us, archive_bytes;
    _Atomic bool has_failed;
};

static inline struct segment *segment_at(struct journal *j, uint64_t number) { return &j->segments[number % j->segment_cap]; }

/* Makes the next segment whole, now, if one more may be: for the opening. */
ehis_err reclaim_make_next(struct journal *j) EHIS_MUST_USE;
/* How many segments the bounds and the volume's free space allow besides those there are. */
ehis_err reclaim_count_spares(struct journal *j) EHIS_MUST_USE;
bool reclaim_is_urgent(const struct journal *j); /* fewer segments stand ahead than there should */
void reclaim_abandon(struct journal *j); /* what was being made */
