/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* One table for a message's reader and writer: how protobuf fields stand in a plain struct. Reading scans first and borrows; writing
 * is canonical. Pure, any thread. */
#pragma once
#include "proto/wire/scan.h"

enum codec_kind {
    CODEC_U32,    /* uint32_t; also enums and bools held as one */
    CODEC_U64,    /* uint64_t */
    CODEC_BOOL,   /* bool */
    CODEC_SPAN,   /* struct span; len 0 = absent */
    CODEC_FIXED,  /* uint8_t[size]; zeros when absent; zeros are not written unless the field is required */
    CODEC_NESTED, /* an embedded struct read with sub; written where it is not empty */
    CODEC_SPANS,  /* struct span[size], and a size_t at count_offset */
};
struct codec_member {
    uint8_t number, kind;
    uint16_t offset, size, count_offset;
    const struct codec *sub;
};
struct codec {
    const struct scan_message *table;
    const struct codec_member *members; /* ascending */
    size_t count;
};

/* *out is overwritten only on success where it matters to the caller: treat it as undefined on failure. */
ehis_err codec_read(const struct codec *c, struct span bytes, size_t struct_bytes, void *out, struct ehis_why *why) EHIS_MUST_USE;
ehis_err codec_write(const struct codec *c, const void *in, struct buf *out) EHIS_MUST_USE;
size_t codec_bytes(const struct codec *c, const void *in); /* that codec_write appends */

/* Field by field, for writers that stream: a tag with a varint, a tag with a length. */
ehis_err codec_put_number(struct buf *b, unsigned field_number, uint64_t v) EHIS_MUST_USE; /* nothing for 0 */
ehis_err codec_put_bytes(struct buf *b, unsigned field_number, struct span s) EHIS_MUST_USE; /* nothing for an empty one */
ehis_err codec_put_head(struct buf *b, unsigned field_number, size_t content_bytes) EHIS_MUST_USE; /* tag and length alone */
/* Bytes that tag and length take before content of this size. */
size_t codec_head_bytes(unsigned field_number, size_t content_bytes);

/* Rows for members tables. */
#define CODEC_ROW(number_, kind_, type_, member_) {.number = (number_), .kind = (kind_), .offset = offsetof(type_, member_), .size = sizeof(((type_ *)0)->member_)}
#define CODEC_ROW_NESTED(number_, type_, member_, sub_) {.number = (number_), .kind = CODEC_NESTED, .offset = offsetof(type_, member_), .size = sizeof(((type_ *)0)->member_), .sub = (sub_)}
#define CODEC_ROW_SPANS(number_, type_, member_, count_) \
    {.number = (number_), .kind = CODEC_SPANS, .offset = offsetof(type_, member_), .size = sizeof(((type_ *)0)->member_) / sizeof(struct span), .count_offset = offsetof(type_, count_)}
#define CODEC_TABLE(name_, scan_, members_) const struct codec name_ = {&(scan_), (members_), sizeof(members_) / sizeof *(members_)}
