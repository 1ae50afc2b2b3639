/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The simulated disk must itself be able to lose: else the tests that stand on it prove nothing. */
#include "tests/support/sim_disk.h"
#include "tests/support/sim_clock.h"
#include <setjmp.h>
#include <cmocka.h>

static struct sim_disk *s;
static struct disk *d;

static void make(uint64_t seed)
{
    sim_disk_free(s);
    assert_int_equal(sim_disk_new(seed, &s), EHIS_OK);
    d = sim_disk_disk(s);
}

static int set_up(void **state)
{
    (void)state;
    s = NULL;
    make(1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sim_disk_free(s);
    return 0;
}

static struct disk_file *opened(const char *name)
{
    struct disk_file *f = NULL;
    assert_int_equal(d->ops->open(d, name, true, &f), EHIS_OK);
    return f;
}

static void put(struct disk_file *f, uint64_t at, char c, size_t n)
{
    uint8_t bytes[4096];
    memset(bytes, c, sizeof bytes);
    assert_int_equal(d->ops->write_at(f, at, bytes, n), EHIS_OK);
}

/* The content as runs of sectors, "aa." : a sector of 'a', one of 'a', one of zeros; '?' for a mixed one. */
static const char *sectors(const char *name)
{
    static char text[64];
    uint8_t bytes[512];
    struct disk_file *f;
    size_t got, n = 0;
    if (d->ops->open(d, name, false, &f) != EHIS_OK)
        return "absent";
    while (n < sizeof text - 1 && d->ops->read_at(f, n * 512, bytes, 512, &got) == EHIS_OK && got) {
        text[n] = bytes[0] ? (char)bytes[0] : '.';
        for (size_t i = 1; i < got; i++)
            if (bytes[i] != bytes[0])
                text[n] = '?';
        n++;
    }
    text[n] = '\0';
    d->ops->close(f);
    return text;
}

static void durable_a(void)
{
    struct disk_file *f = opened("x");
    put(f, 0, 'a', 2048);
    assert_int_equal(d->ops->sync(f), EHIS_OK);
    assert_int_equal(d->ops->sync_dir(d), EHIS_OK);
    d->ops->close(f);
}

static void what_is_synced_survives_every_crash(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        make(seed);
        durable_a();
        sim_disk_crash(s, SIM_CRASH_RANDOM);
        assert_string_equal(sectors("x"), "aaaa");
    }
}

static void a_name_is_lost_without_sync_dir(void **state)
{
    (void)state;
    struct disk_file *f = opened("x");
    put(f, 0, 'a', 512);
    assert_int_equal(d->ops->sync(f), EHIS_OK);
    d->ops->close(f);
    sim_disk_crash(s, SIM_CRASH_LOSE_ALL);
    assert_string_equal(sectors("x"), "absent");
}

static void a_rename_and_a_remove_come_back_without_sync_dir(void **state)
{
    (void)state;
    durable_a();
    assert_int_equal(d->ops->rename(d, "x", "y"), EHIS_OK);
    assert_string_equal(sectors("y"), "aaaa");
    sim_disk_crash(s, SIM_CRASH_LOSE_ALL);
    assert_string_equal(sectors("x"), "aaaa");
    assert_string_equal(sectors("y"), "absent");
    assert_int_equal(d->ops->remove(d, "x"), EHIS_OK);
    sim_disk_crash(s, SIM_CRASH_LOSE_ALL);
    assert_string_equal(sectors("x"), "aaaa");
    assert_int_equal(d->ops->remove(d, "x"), EHIS_OK);
    assert_int_equal(d->ops->sync_dir(d), EHIS_OK);
    sim_disk_crash(s, SIM_CRASH_LOSE_ALL);
    assert_string_equal(sectors("x"), "absent");
}

/* Crashes after unsynced 'b' over 'a' and then 'c' over all, with many seeds; says which outcomes were met. */
static void outcomes(enum sim_crash how, bool *is_old, bool *is_new, bool *is_torn, bool *is_out_of_order)
{
    *is_old = *is_new = *is_torn = *is_out_of_order = false;
    for (uint64_t seed = 0; seed < 200; seed++) {
        make(seed);
        durable_a();
        struct disk_file *f = opened("x");
        put(f, 0, 'b', 2048);
        put(f, 0, 'c', 2048);
        sim_disk_crash(s, how);
        d->ops->close(f);
        const char *got = sectors("x");
        assert_int_equal(strlen(got), 4);
        assert_null(strchr(got, '?'));
        bool has_a = strchr(got, 'a'), has_b = strchr(got, 'b'), has_c = strchr(got, 'c');
        *is_old |= strcmp(got, "aaaa") == 0;
        *is_new |= strcmp(got, "cccc") == 0;
        *is_torn |= has_a + has_b + has_c > 1;
        *is_out_of_order |= has_a && has_c;
    }
}

static void crashes_lose_tear_and_reorder_as_they_say(void **state)
{
    (void)state;
    bool old, new, torn, disorder;
    outcomes(SIM_CRASH_LOSE_ALL, &old, &new, &torn, &disorder);
    assert_true(old && !new && !torn);
    outcomes(SIM_CRASH_KEEP_ALL, &old, &new, &torn, &disorder);
    assert_true(new && !old && !torn);
    outcomes(SIM_CRASH_TORN, &old, &new, &torn, &disorder);
    assert_true(torn && !disorder);
    outcomes(SIM_CRASH_REORDERED, &old, &new, &torn, &disorder);
    assert_true(torn && disorder);
    outcomes(SIM_CRASH_RANDOM, &old, &new, &torn, &disorder);
    assert_true(old && new && torn && disorder);
}

static void the_same_seed_gives_the_same_crash(void **state)
{
    (void)state;
    char first[64] = "";
    for (int run = 0; run < 2; run++) {
        make(77);
        durable_a();
        struct disk_file *f = opened("x");
        put(f, 512, 'b', 1024);
        put(f, 2048, 'c', 1024);
        sim_disk_crash(s, SIM_CRASH_REORDERED);
        d->ops->close(f);
        if (run == 0)
            memcpy(first, sectors("x"), sizeof first);
        else
            assert_string_equal(sectors("x"), first);
    }
}

static void a_process_that_dies_leaves_what_a_power_cut_may_still_take(void **state)
{
    (void)state;
    durable_a();
    struct disk_file *f = opened("x");
    put(f, 0, 'b', 512);
    sim_disk_crash(s, SIM_CRASH_KEEP_ALL);
    assert_string_equal(sectors("x"), "baaa");
    sim_disk_crash(s, SIM_CRASH_LOSE_ALL);
    assert_string_equal(sectors("x"), "aaaa");
    d->ops->close(f);
}

static void a_file_opened_before_a_crash_answers_io_and_the_lock_is_free(void **state)
{
    (void)state;
    struct disk_file *f = opened("x");
    uint8_t byte = 1;
    size_t got;
    assert_int_equal(d->ops->lock(d, "lock"), EHIS_OK);
    assert_int_equal(d->ops->lock(d, "lock"), EHIS_E_LOCKED);
    sim_disk_crash(s, SIM_CRASH_KEEP_ALL);
    assert_int_equal(d->ops->lock(d, "lock"), EHIS_OK);
    assert_int_equal(d->ops->read_at(f, 0, &byte, 1, &got), EHIS_E_IO);
    assert_int_equal(d->ops->write_at(f, 0, &byte, 1), EHIS_E_IO);
    assert_int_equal(d->ops->sync(f), EHIS_E_IO);
    d->ops->close(f);
}

static void the_nth_write_fails_once_or_for_ever(void **state)
{
    (void)state;
    struct disk_file *f = opened("x");
    uint8_t byte = 'x';
    uint64_t before = sim_disk_count(s, SIM_WRITE);
    sim_disk_fail(s, SIM_WRITE, 2, EHIS_E_NO_SPACE, false);
    assert_int_equal(d->ops->write_at(f, 0, &byte, 1), EHIS_OK);
    assert_int_equal(d->ops->write_at(f, 0, &byte, 1), EHIS_E_NO_SPACE);
    assert_int_equal(d->ops->write_at(f, 0, &byte, 1), EHIS_OK);
    assert_int_equal(sim_disk_count(s, SIM_WRITE) - before, 3);
    sim_disk_fail(s, SIM_ANY, 1, EHIS_E_IO, true);
    for (int i = 0; i < 3; i++)
        assert_int_equal(d->ops->write_at(f, 0, &byte, 1), EHIS_E_IO);
    assert_int_equal(d->ops->sync_dir(d), EHIS_E_IO);
    sim_disk_fail(s, SIM_ANY, 0, EHIS_OK, false);
    assert_int_equal(d->ops->sync_dir(d), EHIS_OK);
    d->ops->close(f);
}

static void what_a_failed_sync_lost_reads_back_but_no_later_sync_saves_it(void **state)
{
    (void)state;
    bool was_lost = false;
    for (uint64_t seed = 0; seed < 50; seed++) {
        make(seed);
        durable_a();
        struct disk_file *f = opened("x");
        put(f, 0, 'b', 2048);
        sim_disk_fail(s, SIM_SYNC, 1, EHIS_E_IO, false);
        assert_int_equal(d->ops->sync(f), EHIS_E_IO);
        assert_int_equal(d->ops->sync(f), EHIS_E_IO);
        d->ops->close(f);
        assert_string_equal(sectors("x"), "bbbb");
        f = opened("x");
        assert_int_equal(d->ops->sync(f), EHIS_OK);
        d->ops->close(f);
        sim_disk_crash(s, SIM_CRASH_RANDOM);
        was_lost |= strchr(sectors("x"), 'a') != NULL && strcmp(sectors("x"), "bbbb") != 0;
    }
    assert_true(was_lost);
}

static void a_full_disk_says_so_and_has_room_again_after_a_remove(void **state)
{
    (void)state;
    uint8_t byte = 1;
    uint64_t left;
    sim_disk_set_capacity(s, 4096);
    struct disk_file *f = opened("x"), *g = opened("y");
    put(f, 0, 'a', 4000);
    assert_int_equal(d->ops->free_bytes(d, &left), EHIS_OK);
    assert_int_equal(left, 96);
    assert_int_equal(d->ops->write_at(g, 96, &byte, 1), EHIS_E_NO_SPACE);
    assert_int_equal(d->ops->truncate(g, 97), EHIS_E_NO_SPACE);
    assert_int_equal(d->ops->write_at(g, 95, &byte, 1), EHIS_OK);
    assert_int_equal(d->ops->write_at(f, 0, &byte, 1), EHIS_OK); /* over what is there */
    assert_int_equal(d->ops->remove(d, "x"), EHIS_OK);
    assert_int_equal(d->ops->truncate(g, 4096), EHIS_OK);
    d->ops->close(f);
    d->ops->close(g);
}

static void a_truncated_and_grown_file_has_zeros_between(void **state)
{
    (void)state;
    durable_a();
    struct disk_file *f = opened("x");
    assert_int_equal(d->ops->truncate(f, 512), EHIS_OK);
    put(f, 1024, 'b', 512);
    assert_int_equal(d->ops->sync(f), EHIS_OK);
    d->ops->close(f);
    sim_disk_crash(s, SIM_CRASH_LOSE_ALL);
    assert_string_equal(sectors("x"), "a.b");
}

static void the_clock_moves_only_when_told(void **state)
{
    (void)state;
    struct sim_clock c, same;
    uint8_t a[16], b[16];
    char text[TIME_TEXT_LEN];
    sim_clock_init(&c, 5);
    sim_clock_init(&same, 5);
    time_to_text(clock_wall_ms(&c.clock), text);
    assert_string_equal(text, "2026-11-26T07:00:00.000Z");
    int64_t mono = clock_mono_us(&c.clock), wall = clock_wall_ms(&c.clock);
    for (int i = 0; i < 10; i++)
        sim_clock_advance_us(&c, 500);
    assert_int_equal(clock_mono_us(&c.clock) - mono, 5000);
    assert_int_equal(clock_wall_ms(&c.clock) - wall, 5);
    sim_clock_jump_wall_ms(&c, -1000);
    assert_int_equal(clock_mono_us(&c.clock) - mono, 5000);
    assert_int_equal(clock_wall_ms(&c.clock) - wall, -995);
    random_fill(&c.random, a, 16);
    random_fill(&same.random, b, 16);
    assert_memory_equal(a, b, 16);
    random_fill(&c.random, b, 16);
    assert_memory_not_equal(a, b, 16);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(what_is_synced_survives_every_crash),
        T(a_name_is_lost_without_sync_dir),
        T(a_rename_and_a_remove_come_back_without_sync_dir),
        T(crashes_lose_tear_and_reorder_as_they_say),
        T(the_same_seed_gives_the_same_crash),
        T(a_process_that_dies_leaves_what_a_power_cut_may_still_take),
        T(a_file_opened_before_a_crash_answers_io_and_the_lock_is_free),
        T(the_nth_write_fails_once_or_for_ever),
        T(what_a_failed_sync_lost_reads_back_but_no_later_sync_saves_it),
        T(a_full_disk_says_so_and_has_room_again_after_a_remove),
        T(a_truncated_and_grown_file_has_zeros_between),
        T(the_clock_moves_only_when_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
