/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/journal/crc32c.h"
#include "gateway/journal/frame.h"
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

static void crc32c_gives_the_published_values(void **state)
{
    uint8_t b[32] = {0};
    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, b, 32), 0x8a9136aa); /* RFC 3720 B.4 */
    memset(b, 0xff, 32);
    assert_int_equal(crc32c(0, b, 32), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        b[i] = i;
    assert_int_equal(crc32c(0, b, 32), 0x46dd794e);
    assert_int_equal(crc32c_portable(0, b, 32), 0x46dd794e);
    assert_int_equal(crc32c(7, b, 0), 7);
}

static void crc32c_by_instruction_and_by_table_agree_for_every_length_and_split(void **state)
{
    uint8_t b[100];
    (void)state;
    for (size_t i = 0; i < sizeof b; i++)
        b[i] = (uint8_t)(i * 77 + 3);
    for (size_t from = 0; from < 9; from++)
        for (size_t to = from; to < sizeof b; to++) {
            uint32_t whole = crc32c(0, b + from, to - from);
            assert_int_equal(whole, crc32c_portable(0, b + from, to - from));
            size_t cut = (to - from) / 3;
            assert_int_equal(whole, crc32c(crc32c_portable(0, b + from, cut), b + from + cut, to - from - cut));
        }
}

/* A frame of n entries: record i has i bytes, its attachment 2 i. */
static size_t make(uint8_t *p, uint32_t n, uint32_t offset, struct hash *chain)
{
    uint32_t at = FRAME_HEADER_BYTES;
    for (uint32_t i = 0; i < n; i++) {
        be_put(p + at, i % 50, 4);
        be_put(p + at + 4, i % 50 * 2, 4);
        memset(p + at + 8, (int)i, i % 50 * 3);
        at += FRAME_ENTRY_BYTES + i % 50 * 3;
    }
    struct frame_header h = {
        .segment = 5, .group = 9, .first_entry = 100, .segment_bytes = 1 << 20, .bytes = at + FRAME_TRAILER_BYTES, .entry_count = n};
    memset(h.previous.b, 0xab, HASH_BYTES);
    journal_frame_seal(p, &h, offset, chain);
    return h.bytes;
}

static void check_entries(const struct frame *f, uint32_t n)
{
    struct journal_entry e;
    uint32_t i = 0;
    for (uint32_t at = FRAME_HEADER_BYTES; journal_frame_entry(f, &at, &e); i++) {
        assert_int_equal(e.record.len, i % 50);
        assert_int_equal(e.pos.attachment_bytes, i % 50 * 2);
        assert_int_equal(e.attachment.len, f->is_archived ? 0 : i % 50 * 2);
        assert_true(!e.record.len || e.record.p[e.record.len - 1] == (uint8_t)i);
    }
    assert_int_equal(i, n);
}

static void a_sealed_frame_is_whole_and_gives_its_entries(void **state)
{
    static uint8_t p[1 << 16];
    static const uint32_t counts[] = {1, 2, 255, 256, 257, 512, 513};
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct hash chain;
        struct frame f;
        size_t n = make(p, counts[i], 8192, &chain);
        assert_true(journal_frame_check(span_of(p, n), 8192, false, &f));
        assert_memory_equal(&f.chain, &chain, sizeof chain);
        assert_int_equal(f.stored_bytes, n);
        assert_int_equal(f.h.group, 9);
        assert_int_equal(f.h.first_entry, 100);
        check_entries(&f, counts[i]);
        assert_false(journal_frame_check(span_of(p, n), 4096, false, &f)); /* at another place */
    }
}

static void a_frame_with_any_bit_turned_or_cut_anywhere_is_not_whole(void **state)
{
    uint8_t p[2048];
    struct hash chain;
    struct frame f;
    (void)state;
    size_t n = make(p, 6, 0, &chain);
    for (size_t i = 0; i < n; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            p[i] ^= (uint8_t)(1u << bit);
            assert_false(journal_frame_check(span_of(p, n), 0, false, &f));
            p[i] ^= (uint8_t)(1u << bit);
        }
    for (size_t i = 0; i < n; i++) {
        uint8_t *cut = malloc(i ? i : 1);
        memcpy(cut, p, i);
        assert_false(journal_frame_check(span_of(cut, i), 0, false, &f));
        free(cut);
    }
    assert_true(journal_frame_check(span_of(p, n), 0, false, &f));
}

static void an_archived_frame_keeps_records_and_chain_and_shows_every_change(void **state)
{
    uint8_t p[4096];
    struct hash chain;
    struct frame f, a;
    struct buf b;
    (void)state;
    size_t n = make(p, 20, 0, &chain);
    assert_true(journal_frame_check(span_of(p, n), 0, false, &f));
    buf_init(&b, 4096);
    assert_int_equal(journal_frame_archive(&f, &b), EHIS_OK);
    assert_true(b.len < n);
    assert_true(journal_frame_check(buf_span(&b), 0, true, &a));
    assert_memory_equal(&a.chain, &chain, sizeof chain);
    assert_int_equal(a.stored_bytes, b.len);
    check_entries(&a, 20);
    for (size_t i = 0; i < b.len; i++) {
        b.p[b.start + i] ^= 0x10;
        assert_false(journal_frame_check(buf_span(&b), 0, true, &a));
        b.p[b.start + i] ^= 0x10;
        assert_false(journal_frame_check(span_of(b.p + b.start, i), 0, true, &a));
    }
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_gives_the_published_values),
        cmocka_unit_test(crc32c_by_instruction_and_by_table_agree_for_every_length_and_split),
        cmocka_unit_test(a_sealed_frame_is_whole_and_gives_its_entries),
        cmocka_unit_test(a_frame_with_any_bit_turned_or_cut_anywhere_is_not_whole),
        cmocka_unit_test(an_archived_frame_keeps_records_and_chain_and_shows_every_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
