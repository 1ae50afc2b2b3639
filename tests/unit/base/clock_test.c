/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "base/clock.h"
#include "tests/support/sim_clock.h"
#include <setjmp.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>

static void time_goes_to_text_and_back_as_the_c_library_says(void **state)
{
    (void)state;
    uint64_t seed = 9;
    for (int i = 0; i < 20000; i++) {
        int64_t ms = (int64_t)sim_random_below(&seed, UINT64_C(253402300800000)), back;
        time_t seconds = (time_t)(ms / 1000);
        struct tm tm;
        char want[64], got[TIME_TEXT_LEN];
        gmtime_r(&seconds, &tm);
        size_t n = strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(want + n, sizeof want - n, ".%03dZ", (int)(ms % 1000));
        time_to_text(ms, got);
        assert_string_equal(got, want);
        assert_int_equal(time_from_text(span_str(got), &back), EHIS_OK);
        assert_true(back == ms);
    }
}

static void times_outside_the_years_are_clamped(void **state)
{
    (void)state;
    char text[TIME_TEXT_LEN];
    time_to_text(INT64_MIN, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    time_to_text(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
}

static void every_rfc3339_form_is_read(void **state)
{
    (void)state;
    static const struct { const char *text; int64_t ms; } good[] = {
        {"1970-01-01", 0}, {"2026-11-26", 1795651200000}, {"2026-11-26T07:00:00Z", 1795676400000}, {"2026-11-26t07:00:00z", 1795676400000},
        {"2026-11-26T11:00:00+04:00", 1795676400000}, {"2026-11-26T04:30:00-02:30", 1795676400000}, {"2026-11-26T07:00:00.5Z", 1795676400500},
        {"2026-11-26T07:00:00.123456789Z", 1795676400123}, {"2024-02-29T00:00:00Z", 1709164800000}, {"2000-02-29", 951782400000},
        {"9999-12-31T23:59:59.999Z", 253402300799999},
    };
    int64_t ms;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(time_from_text(span_str(good[i].text), &ms), EHIS_OK);
        assert_true(ms == good[i].ms);
    }
}

static void what_is_no_time_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "2026", "2026-11", "2026-1-26", "2026-13-01", "2026-00-01", "2026-11-00", "2026-11-31", "2025-02-29", "2100-02-29", "1969-12-31",
        "2026-11-26T", "2026-11-26T07:00Z", "2026-11-26T24:00:00Z", "2026-11-26T07:60:00Z", "2026-11-26T07:00:60Z", "2026-11-26T07:00:00",
        "2026-11-26T07:00:00.Z", "2026-11-26T07:00:00.1234567890Z", "2026-11-26T07:00:00+0400", "2026-11-26T07:00:00+24:00",
        "2026-11-26T07:00:00Zx", "2026-11-26x", " 2026-11-26", "2026-11-26 07:00:00Z", "1970-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01",
        "10000-01-01", "-026-11-26", "2026-11-26T-7:00:00Z",
    };
    int64_t ms = 5;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (time_from_text(span_str(bad[i]), &ms) != EHIS_E_INVALID)
            fail_msg("taken: %s", bad[i]);
    static const char whole[] = "2026-11-26T07:00:00.123+04:00";
    for (size_t n = 0; n < sizeof whole - 1; n++)
        assert_int_equal(time_from_text(span_of(whole, n), &ms), n == 10 ? EHIS_OK : EHIS_E_INVALID);
}

static void uuid7_carries_its_time_version_and_variant(void **state)
{
    (void)state;
    struct sim_clock c;
    uint8_t id[16], next[16], back[16];
    char text[UUID_TEXT_LEN];
    sim_clock_init(&c, 3);
    uuid7_make(id, INT64_C(0x0123456789AB), &c.random);
    uuid7_make(next, INT64_C(0x0123456789AB), &c.random);
    assert_memory_not_equal(id, next, 16);
    assert_int_equal(be_get(id, 6), INT64_C(0x0123456789AB));
    assert_int_equal(id[6] >> 4, 7);
    assert_int_equal(id[8] >> 6, 2);
    uuid_to_text(id, text);
    assert_int_equal(strlen(text), 36);
    assert_memory_equal(text, "01234567-89ab-7", 15);
    size_t n = 0;
    for (const char *p = text; *p; p++)
        if (*p != '-')
            text[n++] = *p;
    assert_int_equal(hex_from_text(span_of(text, n), back, 16), EHIS_OK);
    assert_memory_equal(id, back, 16);
}

static void the_system_gives_time_and_randomness(void **state)
{
    (void)state;
    uint8_t a[300] = {0}, b[300] = {0};
    int64_t before = clock_mono_us(&clock_system);
    assert_true(clock_mono_us(&clock_system) >= before);
    assert_true(clock_wall_ms(&clock_system) / 1000 - (int64_t)time(NULL) <= 1);
    random_fill(&random_system, a, sizeof a);
    random_fill(&random_system, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    random_fill(&random_system, a, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_goes_to_text_and_back_as_the_c_library_says),
        cmocka_unit_test(times_outside_the_years_are_clamped),
        cmocka_unit_test(every_rfc3339_form_is_read),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(uuid7_carries_its_time_version_and_variant),
        cmocka_unit_test(the_system_gives_time_and_randomness),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
