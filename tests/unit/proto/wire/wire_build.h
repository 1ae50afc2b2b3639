/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Writes protobuf bytes by hand, wrong ones too. */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/bytes.h"

#define OK(e) assert_string_equal(ehis_err_name(e), "OK")
#define FAILS(e, name) assert_string_equal(ehis_err_name(e), #name)

static inline void put_varint(struct buf *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        OK(buf_put_u8(b, (uint8_t)(v | 0x80)));
    OK(buf_put_u8(b, (uint8_t)v));
}
static inline void put_tag(struct buf *b, unsigned number, unsigned wire_type) { put_varint(b, (uint64_t)number << 3 | wire_type); }
static inline void put_number(struct buf *b, unsigned number, uint64_t v)
{
    put_tag(b, number, 0);
    put_varint(b, v);
}
static inline void put_bytes(struct buf *b, unsigned number, struct span s)
{
    put_tag(b, number, 2);
    put_varint(b, s.len);
    OK(buf_put_span(b, s));
}
static inline void put_filled(struct buf *b, unsigned number, uint8_t fill, size_t n)
{
    uint8_t *room;
    put_tag(b, number, 2);
    put_varint(b, n);
    OK(buf_reserve(b, n ? n : 1, &room));
    memset(room, fill, n);
    buf_commit(b, n);
}
