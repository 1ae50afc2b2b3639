/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A group of entries as it stands in a file. Integers big-endian. Pure, any thread.
 *
 * Live, in NNNNNNNNNNNN.seg, each frame at a multiple of 4 KiB (a torn write never reaches into an earlier frame), zeros up to the next:
 *   header   magic[8] "EHISJRN1" | segment u64 | tag[8] | group u64 | first_entry u64 | segment_bytes u32 | bytes u32 | entry_count u32
 *            | previous chain[32] | crc32c u32 of all before
 *   entries  { record_bytes u32 | attachment_bytes u32 | record | attachment | crc32c u32 of segment u64, offset u32 and all before }
 *   trailer  chain[32]
 * bytes: header to trailer. segment: a recycled file holds frames of an older one. tag: the chain's first 8 bytes at the segment's
 * begin, which no peer knows, so that no attachment can pose as a frame. segment_bytes: the file's size; a shorter one was cut.
 * chain: h = H(header without its crc), then for each run of up to 256 entries h = H(h || { record_bytes | attachment_bytes | record }).
 * Attachments are not in it (a record names its attachment's hash): so the chain still proves the archive, where they are gone.
 * Before the first group it is 32 random bytes.
 *
 * Archived, in NNNNNNNNNNNN.rec: the same header, { record_bytes | attachment_bytes | record } and trailer, packed. */
#pragma once
#include "gateway/journal/journal.h"
#include "proto/crypto/hash.h"

#define FRAME_ALIGN_BYTES 4096u
#define FRAME_HEADER_BYTES 88u
#define FRAME_ENTRY_BYTES 12u /* besides record and attachment */
#define FRAME_TRAILER_BYTES HASH_BYTES
#define FRAME_MAX_BYTES (UINT32_C(64) << 20)
#define FRAME_MIN_BYTES (FRAME_HEADER_BYTES + FRAME_ENTRY_BYTES + FRAME_TRAILER_BYTES)
#define FRAME_TAG_BYTES 8

struct frame_header {
    uint64_t segment, group, first_entry;
    uint8_t tag[FRAME_TAG_BYTES];
    uint32_t segment_bytes, bytes, entry_count;
    struct hash previous;
};
struct frame {
    struct frame_header h;
    const uint8_t *p; /* borrowed */
    uint32_t offset;  /* of the frame in its file */
    uint32_t stored_bytes;
    bool is_archived;
    struct hash chain;
};

static inline uint32_t journal_frame_padded(uint32_t bytes) { return (bytes + FRAME_ALIGN_BYTES - 1) & ~(FRAME_ALIGN_BYTES - 1); }

/* False: magic or CRC is wrong, or bytes is not within FRAME_MIN_BYTES..FRAME_MAX_BYTES. */
bool journal_frame_header_get(const uint8_t p[FRAME_HEADER_BYTES], struct frame_header *out);
/* p: room for the header, then whole entries but for their CRCs, then room for the trailer, h->bytes in all: fills in the rest. */
void journal_frame_seal(uint8_t *p, const struct frame_header *h, uint32_t offset, struct hash *chain);
/* True where s begins with a whole frame: header, lengths, CRCs, chain. out borrows s. */
bool journal_frame_check(struct span s, uint32_t offset, bool is_archived, struct frame *out);
/* The entry at *at (FRAME_HEADER_BYTES to begin) of a whole frame; moves *at. False: no more. */
bool journal_frame_entry(const struct frame *f, uint32_t *at, struct journal_entry *out);
/* Appends the frame as it is archived. */
ehis_err journal_frame_archive(const struct frame *f, struct buf *out) EHIS_MUST_USE;

/* The CRC of one live entry, content = lengths, record, attachment. */
uint32_t journal_frame_entry_crc(uint64_t segment, uint32_t offset, struct span content);
