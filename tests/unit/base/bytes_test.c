/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/bytes.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void a_buffer_holds_max_and_not_one_byte_more(void **state)
{
    (void)state;
    static const size_t maxima[] = {0, 1, 63, 64, 65, 1000};
    for (size_t k = 0; k < sizeof maxima / sizeof maxima[0]; k++) {
        struct buf b;
        buf_init(&b, maxima[k]);
        for (size_t i = 0; i < maxima[k]; i++)
            assert_int_equal(buf_put_u8(&b, (uint8_t)i), EHIS_OK);
        assert_int_equal(buf_put_u8(&b, 0), EHIS_E_TOO_LARGE);
        assert_int_equal(b.len, maxima[k]);
        assert_true(b.cap <= maxima[k] + maxima[k] / 8);
        for (size_t i = 0; i < maxima[k]; i++)
            assert_int_equal(buf_span(&b).p[i], (uint8_t)i);
        assert_int_equal(buf_put(&b, NULL, 0), EHIS_OK);
        buf_fini(&b);
    }
}

static void sizes_that_overflow_are_too_large(void **state)
{
    (void)state;
    struct buf b;
    uint8_t *room;
    buf_init(&b, SIZE_MAX);
    assert_int_equal(buf_put_u8(&b, 1), EHIS_OK);
    assert_int_equal(buf_reserve(&b, SIZE_MAX, &room), EHIS_E_TOO_LARGE);
    assert_int_equal(b.len, 1);
    size_t out = 5;
    assert_false(size_add(SIZE_MAX, 1, &out));
    assert_false(size_mul(SIZE_MAX / 2, 3, &out));
    assert_int_equal(out, 5);
    assert_true(size_add(2, 3, &out) && out == 5 && size_mul(2, 3, &out) && out == 6);
    buf_fini(&b);
}

/* Against a plain model: random puts and drops keep the content, and the memory stays within an eighth of max. */
static void any_mix_of_puts_and_drops_keeps_the_content(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 50; seed++) {
        struct buf b;
        uint8_t model[1 << 16], next = 0;
        size_t begin = 0, end = 0, max = 100 + seed * 37;
        uint32_t x = seed;
        buf_init(&b, max);
        b.is_secret = seed % 2;
        while (end + 200 < sizeof model) {
            x = x * 1664525 + 1013904223;
            size_t n = (x >> 16) % 150;
            if (x & 1u << 30) {
                uint8_t bytes[150];
                for (size_t i = 0; i < n; i++)
                    bytes[i] = next++;
                bool fits = end - begin + n <= max;
                assert_int_equal(buf_put(&b, bytes, n), fits ? EHIS_OK : EHIS_E_TOO_LARGE);
                if (fits) {
                    memcpy(model + end, bytes, n);
                    end += n;
                }
            } else {
                n = n < b.len ? n : b.len;
                buf_drop(&b, n);
                begin += n;
            }
            assert_true(span_eq(buf_span(&b), span_of(model + begin, end - begin)));
            assert_true(b.cap <= max + max / 8);
        }
        buf_fini(&b);
    }
}

static void a_full_buffer_that_is_dripped_through_moves_little(void **state)
{
    (void)state;
    struct buf b;
    size_t moves = 0, max = 1 << 20;
    uint8_t *room;
    buf_init(&b, max);
    assert_int_equal(buf_reserve(&b, max, &room), EHIS_OK);
    memset(room, 0, max);
    buf_commit(&b, max);
    for (size_t i = 0; i < 400000; i++) {
        buf_drop(&b, 1);
        size_t start = b.start;
        assert_int_equal(buf_put_u8(&b, 1), EHIS_OK);
        moves += b.start < start;
    }
    assert_true(moves <= 400000 / (max / 8) + 2);
    buf_fini(&b);
}

static void clear_keeps_little_and_wipes_secrets(void **state)
{
    (void)state;
    struct buf b;
    uint8_t *room;
    buf_init(&b, 1 << 20);
    assert_int_equal(buf_reserve(&b, 65 * 1024, &room), EHIS_OK);
    buf_clear(&b);
    assert_null(b.p);
    assert_int_equal(buf_span(&b).len, 0);
    b.is_secret = true;
    assert_int_equal(buf_put(&b, "secret", 6), EHIS_OK);
    const uint8_t *memory = b.p;
    buf_drop(&b, 3);
    assert_memory_equal(memory, "\0\0\0ret", 6);
    buf_clear(&b);
    assert_ptr_equal(b.p, memory);
    assert_memory_equal(memory, "\0\0\0\0\0\0", 6);
    buf_fini(&b);
    assert_int_equal(buf_put(&b, "x", 1), EHIS_OK); /* as after init */
    buf_fini(&b);
}

static void printf_fits_exactly_and_counts_no_nul(void **state)
{
    (void)state;
    struct buf b;
    char text[2001];
    memset(text, 'x', 2000);
    text[2000] = '\0';
    buf_init(&b, 2000);
    assert_int_equal(buf_printf(&b, "%s", text), EHIS_OK);
    assert_int_equal(b.len, 2000);
    assert_int_equal(buf_printf(&b, "%d", 1), EHIS_E_TOO_LARGE);
    assert_true(span_eq(buf_span(&b), span_str(text)));
    buf_drop(&b, 1999);
    assert_int_equal(buf_printf(&b, "%d-%s", 42, "y"), EHIS_OK);
    assert_true(span_eq(buf_span(&b), span_str("x42-y")));
    buf_fini(&b);
}

static void big_endian_goes_both_ways(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 64);
    for (unsigned width = 1; width <= 8; width++) {
        uint64_t v = UINT64_C(0xF1E2D3C4B5A69788) >> (64 - 8 * width), got;
        buf_clear(&b);
        assert_int_equal(buf_put_be(&b, v, width), EHIS_OK);
        assert_int_equal(b.len, width);
        assert_int_equal(buf_span(&b).p[0], 0xF1);
        struct cursor c = cursor_of(buf_span(&b));
        assert_int_equal(cursor_take_be(&c, width, &got), EHIS_OK);
        assert_true(got == v);
        assert_int_equal(cursor_left(&c), 0);
    }
    buf_fini(&b);
}

static void a_cursor_stays_where_it_is_when_too_little_is_left(void **state)
{
    (void)state;
    struct cursor c = cursor_of(span_str("abc")), none = cursor_of((struct span){NULL, 0});
    struct span s = {NULL, 77};
    uint64_t v = 5;
    assert_int_equal(cursor_take(&c, 4, &s), EHIS_E_TRUNCATED);
    assert_int_equal(cursor_take_be(&c, 4, &v), EHIS_E_TRUNCATED);
    assert_int_equal(cursor_take(&c, SIZE_MAX, &s), EHIS_E_TRUNCATED);
    assert_int_equal(s.len, 77);
    assert_int_equal(v, 5);
    assert_int_equal(cursor_take(&c, 3, &s), EHIS_OK);
    assert_true(span_eq(s, span_str("abc")));
    assert_int_equal(cursor_take(&c, 0, &s), EHIS_OK);
    assert_int_equal(cursor_take(&none, 0, &s), EHIS_OK);
    assert_int_equal(cursor_take(&none, 1, &s), EHIS_E_TRUNCATED);
}

static void spans_order_bytewise_a_prefix_first(void **state)
{
    (void)state;
    static const char *const rising[] = {"", "A", "AB", "B", "a", "\x7F", "\x80", "\xFF", "\xFF\x01"};
    for (size_t i = 0; i < 9; i++)
        for (size_t j = 0; j < 9; j++) {
            int order = span_cmp(span_str(rising[i]), span_str(rising[j]));
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
            assert_int_equal(span_eq(span_str(rising[i]), span_str(rising[j])), i == j);
        }
    assert_true(span_eq((struct span){NULL, 0}, span_str("")));
}

static void hex_takes_exactly_its_digits(void **state)
{
    (void)state;
    uint8_t out[3] = {9, 9, 9};
    char text[7];
    assert_int_equal(hex_from_text(span_str("00fFA9"), out, 3), EHIS_OK);
    assert_memory_equal(out, "\x00\xFF\xA9", 3);
    hex_to_text(out, 3, text);
    assert_string_equal(text, "00ffa9");
    hex_to_text(out, 0, text);
    assert_string_equal(text, "");
    static const char *const bad[] = {"", "00ff", "00ffa", "00ffa9a", "00ffa9aa", "00ffg9", "00ff 9", "0x00ff", "00ffa/", "00ff:9", "00ff@9", "00ff`9"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(hex_from_text(span_str(bad[i]), out, 3), EHIS_E_INVALID);
    assert_memory_equal(out, "\x00\xFF\xA9", 3);
}

/* RFC 4648 10, and what is not canonical. */
static void base64_is_canonical_both_ways(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}, {"\xFB\xEF\xFF", "++//"}};
    static const char *const bad[] = {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zm9vY===", "====", "Zg==Zg==", "Zg= =", "Zm9v\n", "Zm-_", "Zm9v Zm9v", "=Zm9", "Z=m9"};
    struct buf b;
    buf_init(&b, 100);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        buf_clear(&b);
        assert_int_equal(base64_put(&b, span_str(pairs[i][0])), EHIS_OK);
        assert_true(span_eq(buf_span(&b), span_str(pairs[i][1])));
        buf_clear(&b);
        assert_int_equal(base64_get(&b, span_str(pairs[i][1])), EHIS_OK);
        assert_true(span_eq(buf_span(&b), span_str(pairs[i][0])));
    }
    buf_clear(&b);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (base64_get(&b, span_str(bad[i])) != EHIS_E_INVALID)
            fail_msg("taken: %s", bad[i]);
        assert_int_equal(b.len, 0);
    }
    buf_fini(&b);
    buf_init(&b, 5);
    assert_int_equal(base64_put(&b, span_str("abcd")), EHIS_E_TOO_LARGE);
    assert_int_equal(base64_get(&b, span_str("Zm9vYmFy")), EHIS_E_TOO_LARGE);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

static void utf8_is_well_formed_or_the_first_bad_byte_is_told(void **state)
{
    (void)state;
    static const char *const good[] = {"", "abc", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"};
    static const char *const bad[] = {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2\x41", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xED\xBF\xBF", "\xE1\x80", "\xE1\x80\x41", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xF0\x90\x80", "\xFF", "\xFE"};
    size_t at;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(utf8_is_valid(span_str(good[i]), &at));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[16];
        snprintf(text, sizeof text, "ab%s", bad[i]);
        assert_false(utf8_is_valid(span_str(text), NULL));
        assert_false(utf8_is_valid(span_str(text), &at));
        assert_int_equal(at, 2);
    }
    assert_false(utf8_is_valid(span_of("a\0b", 3), &at));
    assert_int_equal(at, 1);
}

static void decimals_are_canonical_and_bounded(void **state)
{
    (void)state;
    uint64_t v = 7;
    static const char *const bad[] = {"", "00", "01", "+1", "-1", " 1", "1 ", "1a", "0x1", "1.0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(decimal_from_text(span_str(bad[i]), UINT64_MAX, &v), EHIS_E_INVALID);
    assert_int_equal(decimal_from_text(span_str("18446744073709551616"), UINT64_MAX, &v), EHIS_E_TOO_LARGE);
    assert_int_equal(decimal_from_text(span_str("99999999999999999999999999999999"), UINT64_MAX, &v), EHIS_E_TOO_LARGE);
    assert_int_equal(decimal_from_text(span_str("101"), 100, &v), EHIS_E_TOO_LARGE);
    assert_int_equal(v, 7);
    assert_int_equal(decimal_from_text(span_str("18446744073709551615"), UINT64_MAX, &v), EHIS_OK);
    assert_true(v == UINT64_MAX);
    assert_int_equal(decimal_from_text(span_str("0"), 0, &v), EHIS_OK);
    assert_int_equal(v, 0);
    assert_int_equal(decimal_from_text(span_str("100"), 100, &v), EHIS_OK);
}

static void the_nearest_name_is_near(void **state)
{
    (void)state;
    static const char *const names[] = {"journal", "link", "listen", "log"};
    assert_string_equal(nearest_name(span_str("jurnal"), names, 4), "journal");
    assert_string_equal(nearest_name(span_str("Listen"), names, 4), "listen");
    assert_string_equal(nearest_name(span_str("lsiten"), names, 4), "listen");
    assert_string_equal(nearest_name(span_str("lig"), names, 4), "log");
    assert_null(nearest_name(span_str("database"), names, 4));
    assert_null(nearest_name(span_str("x"), names, 4));
    assert_null(nearest_name(span_str("xy"), names, 4));
    assert_null(nearest_name(span_str(""), names, 4));
    assert_null(nearest_name(span_str("jurnal"), names, 0));
    char text[200] = "";
    memset(text, 'a', 199);
    assert_null(nearest_name(span_str(text), names, 4));
}

/* Eight bytes are looked at at once: every place in and across such a word. */
static void utf8_finds_what_is_wrong_at_every_place_of_a_long_text(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 40; n++)
        for (size_t at = 0; at < n; at++)
            for (unsigned c = 0; c < 256; c++) {
                uint8_t text[40];
                size_t bad = 99;
                memset(text, 'a', sizeof text);
                text[at] = (uint8_t)c;
                assert_int_equal(utf8_is_valid(span_of(text, n), &bad), c > 0 && c < 0x80);
                if (c == 0 || c >= 0x80)
                    assert_int_equal(bad, at);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_finds_what_is_wrong_at_every_place_of_a_long_text),
        cmocka_unit_test(a_buffer_holds_max_and_not_one_byte_more),
        cmocka_unit_test(sizes_that_overflow_are_too_large),
        cmocka_unit_test(any_mix_of_puts_and_drops_keeps_the_content),
        cmocka_unit_test(a_full_buffer_that_is_dripped_through_moves_little),
        cmocka_unit_test(clear_keeps_little_and_wipes_secrets),
        cmocka_unit_test(printf_fits_exactly_and_counts_no_nul),
        cmocka_unit_test(big_endian_goes_both_ways),
        cmocka_unit_test(a_cursor_stays_where_it_is_when_too_little_is_left),
        cmocka_unit_test(spans_order_bytewise_a_prefix_first),
        cmocka_unit_test(hex_takes_exactly_its_digits),
        cmocka_unit_test(base64_is_canonical_both_ways),
        cmocka_unit_test(utf8_is_well_formed_or_the_first_bad_byte_is_told),
        cmocka_unit_test(decimals_are_canonical_and_bounded),
        cmocka_unit_test(the_nearest_name_is_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
