/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The scanner in front of protobuf-c (SPEC 3): walks bytes against a table made at build time from protoc's descriptor set. Allocates
 * nothing, one pass, depth bounded by the table (no recursive types exist). Refuses unknown and duplicate fields, groups, wrong wire
 * types, bad UTF-8, NUL in strings, over-long varints, values beyond their bounds, counts; and, always, everything that is not
 * canonical: fields out of ascending order, defaults written. Pure, any thread. */
#pragma once
#include "base/bytes.h"
#include <protobuf-c/protobuf-c.h>

struct scan_message; /* a generated table: scan_ehis_v1_header, ... in "ehis_scan.h" */

/* What stands in a top-level field, by field number: number n at [n]. */
struct scan_value {
    bool is_present;
    uint64_t number;    /* varints */
    struct span bytes;  /* bytes, strings, sub-messages: the content, borrowed. Repeated: the first */
    size_t count;       /* repeated: how many */
};

/* values may be NULL; else value_count entries are cleared and filled (fields at or above it are checked, not given).
 * Errors SCAN_*: each a stable code; why names message and field. */
ehis_err scan(const struct scan_message *table, struct span bytes, struct scan_value *values, size_t value_count, struct ehis_why *why) EHIS_MUST_USE;

/* Iterates a repeated field of scanned bytes: *at starts at 0; false at the end. */
bool scan_next(struct span scanned, unsigned field_number, size_t *at, struct span *content);

/* A fixed arena for protobuf-c: at most `bytes`, freed at once. */
struct arena {
    uint8_t *p;
    size_t cap, used;
    ProtobufCAllocator allocator;
};
ehis_err arena_init(struct arena *a, size_t bytes) EHIS_MUST_USE;
void arena_reset(struct arena *a);
void arena_fini(struct arena *a);

/* Bytes of an arena that any scanned message of n bytes unpacks in: protobuf-c takes up to 112 bytes for 3 (an element of one byte: its
 * place in the list, its copy, the parser's note of it twice). A smaller one is safe too: ARENA_FULL. 0 on overflow. */
size_t arena_bytes_for(size_t n);

/* Scans, then unpacks into the arena (valid until its reset). SCAN_*, ARENA_FULL. */
ehis_err scan_unpack(const struct scan_message *table, const ProtobufCMessageDescriptor *type, struct span bytes, struct arena *a,
                     ProtobufCMessage **out, struct ehis_why *why) EHIS_MUST_USE;
/* Appends the canonical bytes of a message. TOO_LARGE. */
ehis_err scan_pack(const ProtobufCMessage *m, struct buf *out) EHIS_MUST_USE;
