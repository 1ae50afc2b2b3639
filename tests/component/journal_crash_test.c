/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* R1, R11: the power fails at any operation of the disk, operations fail, space ends: what was reported durable is there, whole, once, in
 * order, provable, and nothing else is. EHIS_SEEDS and EHIS_SEED (first) say how many runs and which. */
#include "tests/support/journal_model.h"

static struct model *m;

static int setup(void **state)
{
    (void)state;
    m = calloc(1, sizeof *m);
    return m ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(m);
    return 0;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *s = getenv(name);
    return s ? strtoull(s, NULL, 10) : otherwise;
}

static ehis_err read_one(uint64_t *seed)
{
    struct buf b;
    struct journal_entry e;
    uint64_t first = m->first_live > 1 ? m->first_live : 1, n = first + sim_random_below(seed, m->next - first);
    if (n >= m->next || m->next - n > 60000)
        return EHIS_OK;
    struct journal_status status;
    journal_status(m->j, &status);
    if (m->pos[n % 65536].segment < status.first_segment)
        return EHIS_OK;
    buf_init(&b, 1 << 20);
    ehis_err err = journal_read(m->j, &m->pos[n % 65536], &b, &e);
    if (err == EHIS_OK)
        assert_true(model_is(m, &e, n, false));
    buf_fini(&b);
    return err;
}

/* One thing that loop or writer may do next; a group may be with the writer over several of them. */
static ehis_err step(uint64_t *seed)
{
    uint64_t group, segment, what = sim_random_below(seed, 100);
    ehis_err err;
    if (what < 60) {
        err = model_append(m);
        return err == EHIS_E_JOURNAL_FULL || err == EHIS_E_JOURNAL_GROUP_FULL ? EHIS_OK : err;
    }
    if (what < 65)
        return m->next > 1 ? read_one(seed) : EHIS_OK;
    if (what < 85 && !journal_is_writing(m->j) && journal_open_bytes(m->j)) {
        m->sealed = m->next - 1;
        journal_seal(m->j);
        return EHIS_OK;
    }
    if (what < 85 && journal_is_writing(m->j)) {
        EHIS_TRY(journal_write(m->j));
        journal_written(m->j, &group);
        m->durable = m->sealed;
        return EHIS_OK;
    }
    if (what < 90 && journal_release_wanted(m->j, &segment))
        journal_release(m->j, segment);
    else if (journal_has_reclaim(m->j))
        return journal_reclaim(m->j);
    sim_clock_advance_ms(&m->clock, 100);
    return EHIS_OK;
}

/* Opens after whatever happened, crashing again in the middle of the recovery now and then. */
static void come_back(uint64_t *seed)
{
    struct ehis_why why = {""};
    for (;;) {
        bool is_to_fail = sim_random_below(seed, 4) == 0;
        if (is_to_fail)
            sim_disk_fail(m->sim, SIM_ANY, 1 + sim_random_below(seed, 60), EHIS_E_IO, true);
        ehis_err err = model_open(m, &why);
        if (err == EHIS_OK && !is_to_fail)
            return;
        if (err != EHIS_OK && !is_to_fail)
            fail_msg("%s: %s", ehis_err_name(err), why.text);
        if (err == EHIS_OK)
            model_close(m);
        sim_disk_crash(m->sim, SIM_CRASH_RANDOM);
    }
}

static void live_and_die(uint64_t seed)
{
    static const uint32_t groups[] = {16 << 10, 64 << 10, 256 << 10, 512 << 10};
    struct journal_check check;
    model_init(m, seed);
    m->config.group_max_bytes = groups[sim_random_below(&seed, 4)];
    m->config.segment_count_max = 3 + (uint32_t)sim_random_below(&seed, 3);
    m->record_max = 20 + sim_random_below(&seed, 2000);
    m->attachment_max = sim_random_below(&seed, m->config.group_max_bytes / 3);
    for (unsigned lives = 1 + (unsigned)sim_random_below(&seed, 4); lives-- > 0;) {
        come_back(&seed);
        sim_disk_fail(m->sim, SIM_ANY, 1 + sim_random_below(&seed, 150), EHIS_E_IO, true);
        while (step(&seed) == EHIS_OK)
            ;
        model_close(m);
        sim_disk_crash(m->sim, SIM_CRASH_RANDOM);
    }
    come_back(&seed);
    model_verify(m, &check);
    if (check.is_torn && m->durable)
        model_run(m, m->next + 2, 1) == EHIS_OK ? model_verify(m, &check) : (void)0;
    model_fini(m);
}

static void whenever_the_power_fails_every_durable_group_is_there_and_nothing_else(void **state)
{
    uint64_t first = setting("EHIS_SEED", 1), count = setting("EHIS_SEEDS", 500);
    (void)state;
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (count <= 10)
            fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        live_and_die(seed);
    }
}

/* The same script each time; n operations in all of a kind. */
#define SCRIPT_ENTRIES 130
static ehis_err script(void)
{
    struct ehis_why why;
    EHIS_TRY(model_open(m, &why));
    return model_run(m, SCRIPT_ENTRIES, 9);
}

static void script_init(void)
{
    model_init(m, 3);
    m->config.segment_count_max = 3;
    m->attachment_max = 60000;
    m->config.group_max_bytes = 512 << 10;
}

static uint64_t script_count(enum sim_op kind)
{
    script_init();
    assert_int_equal(script(), EHIS_OK);
    uint64_t n = sim_disk_count(m->sim, kind);
    struct journal_check check;
    model_verify(m, &check);
    assert_true(check.archived_entries > 0);
    model_fini(m);
    return n;
}

static void make_room(void)
{
    uint64_t segment;
    sim_clock_advance_ms(&m->clock, 1100);
    if (journal_release_wanted(m->j, &segment))
        journal_release(m->j, segment);
    while (journal_has_reclaim(m->j))
        assert_int_equal(journal_reclaim(m->j), EHIS_OK);
}

/* After a failed operation the process ends and starts again on the same machine; later the power fails. What was durable at any time
 * stays. */
static void fail_nth(enum sim_op kind, uint64_t nth, ehis_err with)
{
    struct ehis_why why = {""};
    struct journal_check check;
    struct span r = span_str("x");
    struct journal_pos pos;
    script_init();
    sim_disk_fail(m->sim, kind, nth, with, false);
    ehis_err err = script();
    if (m->j && err == EHIS_E_JOURNAL_FAILED) { /* final */
        assert_int_equal(journal_append(m->j, &r, 1, NULL, 0, &pos), EHIS_E_JOURNAL_FAILED);
        assert_int_equal(journal_write(m->j), EHIS_E_JOURNAL_FAILED);
        assert_int_equal(journal_reclaim(m->j), EHIS_E_JOURNAL_FAILED);
        struct journal_status status;
        journal_status(m->j, &status);
        assert_true(status.has_failed);
    }
    if (m->j)
        model_close(m);
    else
        disk_free(m->disk);
    if (model_open(m, &why) != EHIS_OK)
        fail_msg("operation %llu: %s", (unsigned long long)nth, why.text);
    uint64_t seen = m->durable;
    model_close(m);
    sim_disk_crash(m->sim, SIM_CRASH_LOSE_ALL);
    if (model_open(m, &why) != EHIS_OK)
        fail_msg("operation %llu, then power lost: %s", (unsigned long long)nth, why.text);
    assert_int_equal(m->durable, seen);
    while (m->next <= SCRIPT_ENTRIES && model_run(m, SCRIPT_ENTRIES, 9) == EHIS_E_JOURNAL_FULL) {
        make_room();
    }
    model_verify(m, &check);
    assert_true(check.entries >= SCRIPT_ENTRIES);
    model_fini(m);
}

static void a_write_that_fails_at_any_place_ends_the_journal_and_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t n = 1, count = script_count(SIM_WRITE); n <= count; n++)
        fail_nth(SIM_WRITE, n, EHIS_E_IO);
}

static void a_sync_that_fails_at_any_place_ends_the_journal_and_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t n = 1, count = script_count(SIM_SYNC); n <= count; n++)
        fail_nth(SIM_SYNC, n, EHIS_E_IO);
}

static void a_name_that_cannot_be_changed_at_any_place_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t n = 1, count = script_count(SIM_DIR); n <= count; n++) {
        fail_nth(SIM_DIR, n, EHIS_E_IO);
        fail_nth(SIM_DIR, n, EHIS_E_NO_SPACE);
    }
}

static void a_read_that_fails_at_any_place_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t n = 1, count = script_count(SIM_READ); n <= count; n++)
        fail_nth(SIM_READ, n, EHIS_E_IO);
}

static void no_space_at_any_write_stops_no_more_than_it_must(void **state)
{
    (void)state;
    for (uint64_t n = 1, count = script_count(SIM_WRITE); n <= count; n++)
        fail_nth(SIM_WRITE, n, EHIS_E_NO_SPACE);
}

/* The volume has room for so many bytes, whatever they are used for; then more. */
static void a_volume_of_any_size_fills_without_harm_and_goes_on_when_it_grows(void **state)
{
    (void)state;
    for (uint64_t capacity = 1 << 20; capacity < 6 << 20; capacity += 131071) {
        struct ehis_why why;
        struct journal_check check;
        script_init();
        m->config.reserve_bytes = capacity % 3 * 4096;
        sim_disk_set_capacity(m->sim, capacity);
        ehis_err err = model_open(m, &why);
        if (err == EHIS_E_NO_SPACE) {
            disk_free(m->disk);
            m->j = NULL;
            sim_disk_free(m->sim);
            assert_true(capacity < (1 << 20) + 2 * 4096 + 131071);
            continue;
        }
        assert_int_equal(err, EHIS_OK);
        for (int i = 0; i < 20 && err == EHIS_OK; i++) {
            err = model_run(m, m->next + 8, 9);
            assert_true(err == EHIS_OK || err == EHIS_E_JOURNAL_FULL);
            sim_clock_advance_ms(&m->clock, 1100);
        }
        assert_int_equal(model_flush(m), EHIS_OK);
        model_verify(m, &check);
        sim_disk_set_capacity(m->sim, 64 << 20);
        while (m->next <= SCRIPT_ENTRIES + 100) {
            err = model_run(m, m->next + 8, 9);
            assert_true(err == EHIS_OK || err == EHIS_E_JOURNAL_FULL);
            make_room();
        }
        model_verify(m, &check);
        model_fini(m);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(whenever_the_power_fails_every_durable_group_is_there_and_nothing_else),
        TEST(a_write_that_fails_at_any_place_ends_the_journal_and_loses_nothing),
        TEST(a_sync_that_fails_at_any_place_ends_the_journal_and_loses_nothing),
        TEST(a_name_that_cannot_be_changed_at_any_place_loses_nothing),
        TEST(a_read_that_fails_at_any_place_loses_nothing),
        TEST(no_space_at_any_write_stops_no_more_than_it_must),
        TEST(a_volume_of_any_size_fills_without_harm_and_goes_on_when_it_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
