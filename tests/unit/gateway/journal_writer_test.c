/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/journal/writer.h"
#include "tests/support/journal_model.h"
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static struct model *m;
static struct loop *loop;
static struct journal_writer *w;
static uint64_t last_group, durable_calls, failed_calls, to_append;
static ehis_err failed_with;
static char folder[256];

static void append_more(void)
{
    uint64_t segment;
    if (journal_release_wanted(m->j, &segment))
        journal_release(m->j, segment);
    for (int i = 0; i < 20 && to_append; i++) {
        ehis_err err = model_append(m);
        if (err == EHIS_E_JOURNAL_FULL || err == EHIS_E_JOURNAL_GROUP_FULL)
            break;
        assert_int_equal(err, EHIS_OK);
        to_append--;
    }
    journal_writer_kick(w);
}

static void on_durable(void *arg, uint64_t group)
{
    assert_ptr_equal(arg, m);
    assert_int_equal(group, last_group + 1);
    last_group = group;
    durable_calls++;
    append_more();
}

static void on_failed(void *arg, ehis_err err)
{
    assert_ptr_equal(arg, m);
    failed_calls++;
    failed_with = err;
}

static int setup(void **state)
{
    (void)state;
    m = calloc(1, sizeof *m);
    model_init(m, 5);
    last_group = durable_calls = failed_calls = to_append = 0;
    assert_int_equal(loop_new(&loop), EHIS_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(loop);
    model_fini(m);
    free(m);
    return 0;
}

static void start(void)
{
    struct ehis_why why = {""};
    assert_int_equal(model_open(m, &why), EHIS_OK);
    assert_int_equal(journal_writer_start(m->j, loop, on_durable, on_failed, m, &w), EHIS_OK);
}

static void append(int n)
{
    while (n-- > 0)
        assert_int_equal(model_append(m), EHIS_OK);
}

/* More than the loop writes itself. */
static void append_much(void)
{
    while (journal_open_bytes(m->j) <= 8192)
        append(1);
}

static void run_until(const uint64_t *count, uint64_t value)
{
    int64_t end_us = clock_mono_us(&clock_system) + 20000000;
    while (*count < value) {
        assert_true(clock_mono_us(&clock_system) < end_us);
        loop_run_once(loop, true);
    }
}

static void a_kick_makes_what_is_open_durable_and_a_second_one_waits_for_the_first(void **state)
{
    (void)state;
    start();
    journal_writer_kick(w); /* nothing to do */
    append_much();
    journal_writer_kick(w);
    assert_true(journal_is_writing(m->j));
    append(2);
    journal_writer_kick(w);
    assert_int_equal(journal_open_group(m->j), 2);
    run_until(&durable_calls, 2);
    assert_int_equal(last_group, 2);
    append(4);
    assert_int_equal(journal_writer_stop(w), EHIS_OK); /* writes what is open */
    assert_int_equal(last_group, 3);
    m->sealed = m->durable = m->next - 1;
    struct journal_check check;
    model_verify(m, &check);
}

static void a_small_group_is_written_by_the_loop_while_the_thread_rests(void **state)
{
    (void)state;
    start();
    while (journal_has_reclaim(m->j)) /* the thread pre-writes spare segments */
        usleep(1000);
    usleep(20000);
    for (uint64_t n = 1; n <= 3; n++) {
        append(1);
        journal_writer_kick(w);
        assert_int_equal(last_group, n);
        assert_false(journal_is_writing(m->j));
    }
    append_much();
    journal_writer_kick(w);
    assert_true(journal_is_writing(m->j));
    run_until(&durable_calls, 4);
    assert_int_equal(journal_writer_stop(w), EHIS_OK);
    m->sealed = m->durable = m->next - 1;
    struct journal_check check;
    model_verify(m, &check);
}

static void a_lazy_kick_waits_for_its_delay_or_an_eager_one(void **state)
{
    (void)state;
    start();
    append(1);
    int64_t begin_us = clock_mono_us(&clock_system);
    journal_writer_kick_lazily(w, 30000);
    journal_writer_kick_lazily(w, 50000); /* not later than the first */
    assert_false(journal_is_writing(m->j));
    run_until(&durable_calls, 1);
    int64_t took_us = clock_mono_us(&clock_system) - begin_us;
    assert_true(took_us >= 29000);
    append(1);
    journal_writer_kick_lazily(w, 60000000);
    journal_writer_kick_lazily(w, 1000); /* sooner than the first */
    run_until(&durable_calls, 2);
    append(1);
    journal_writer_kick_lazily(w, 60000000);
    journal_writer_kick(w);
    run_until(&durable_calls, 3);
    assert_int_equal(journal_writer_stop(w), EHIS_OK);
    m->sealed = m->durable = 3;
}

static void a_write_that_fails_is_told_once_and_nothing_comes_after_it(void **state)
{
    (void)state;
    start();
    append(1);
    journal_writer_kick(w);
    run_until(&durable_calls, 1);
    while (journal_has_reclaim(m->j)) /* the spare segments, so that the next operation of the disk is the group's */
        usleep(1000);
    usleep(20000);
    sim_disk_fail(m->sim, SIM_SYNC, 1, EHIS_E_IO, false);
    append(1);
    journal_writer_kick(w);
    run_until(&failed_calls, 1);
    assert_int_equal(failed_with, EHIS_E_JOURNAL_FAILED);
    journal_writer_kick(w);
    journal_writer_kick_lazily(w, 1);
    usleep(5000);
    loop_run_once(loop, false);
    assert_int_equal(failed_calls, 1);
    assert_int_equal(durable_calls, 1);
    assert_int_equal(journal_writer_stop(w), EHIS_E_JOURNAL_FAILED);
    m->durable = 1;
    m->sealed = 2;
}

static void a_full_group_makes_room_without_calling_back_and_each_group_is_told_later(void **state)
{
    (void)state;
    m->config.group_max_bytes = 16 << 10;
    start();
    journal_writer_kick(w);
    for (unsigned full = 0; full < 5;) {
        ehis_err err = model_append(m);
        if (err == EHIS_OK)
            continue;
        assert_int_equal(err, EHIS_E_JOURNAL_GROUP_FULL);
        assert_int_equal(journal_writer_make_room(w), EHIS_OK);
        full++;
    }
    assert_int_equal(durable_calls, 0);
    append(1);
    assert_int_equal(journal_writer_make_room(w), EHIS_OK); /* also of a group that is not full */
    assert_int_equal(journal_open_bytes(m->j), 0);
    run_until(&durable_calls, 6);
    assert_int_equal(last_group, 6);
    append(1);
    assert_int_equal(journal_writer_make_room(w), EHIS_OK);
    append(1);
    sim_disk_fail(m->sim, SIM_ANY, 1, EHIS_E_IO, true); /* the thread may meet it at once, making a spare segment: then nothing is appended any more */
    ehis_err err = journal_writer_make_room(w);
    if (err == EHIS_OK) /* the first group was through already */
        err = model_append(m);
    if (err == EHIS_OK)
        err = journal_writer_make_room(w);
    assert_int_equal(err, EHIS_E_JOURNAL_FAILED);
    assert_int_equal(failed_calls, 0);
    run_until(&failed_calls, 1);
    assert_int_equal(journal_writer_make_room(w), EHIS_E_JOURNAL_FAILED);
    assert_int_equal(journal_writer_stop(w), EHIS_E_JOURNAL_FAILED);
    m->sealed = m->durable = m->next - 1;
}

static void remove_name(void *ctx, const char *name)
{
    char path[600];
    (void)ctx;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

struct walker {
    pthread_t thread;
    _Atomic bool is_stopping;
    uint64_t walks, entries;
    ehis_err err;
    struct ehis_why why;
};

static ehis_err on_contiguous(void *ctx, const struct journal_entry *e, bool is_archived)
{
    uint64_t *next = ctx, n = be_get(e->record.p, 8);
    if (n != *next || !model_is(m, e, n, is_archived)) /* reads the model's settings alone */
        return EHIS_E_INVALID;
    ++*next;
    return EHIS_OK;
}

static void *walk_on(void *arg)
{
    struct walker *walker = arg;
    struct disk *d;
    if (disk_open_folder(folder, false, &d, NULL) != EHIS_OK)
        abort();
    while (!walker->is_stopping && walker->err == EHIS_OK) {
        struct journal_check check;
        uint64_t next = 1;
        walker->err = journal_walk(d, on_contiguous, &next, &check, &walker->why);
        walker->walks += walker->err == EHIS_OK;
        walker->entries += next - 1;
    }
    disk_free(d);
    return NULL;
}

static void groups_roll_and_are_archived_on_a_real_disk_while_another_reads(void **state)
{
    struct walker walker = {.is_stopping = false};
    struct ehis_why why;
    const char *below = getenv("EHIS_BINARY_DIR");
    (void)state;
    snprintf(folder, sizeof folder, "%s/journal_writer_test.XXXXXX", below ? below : "/tmp");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(disk_open_folder(folder, false, &m->disk, &why), EHIS_OK);
    start();
    to_append = 12000;
    append(1);
    journal_writer_kick(w);
    run_until(&durable_calls, 1);
    assert_int_equal(pthread_create(&walker.thread, NULL, walk_on, &walker), 0);
    int64_t end_us = clock_mono_us(&clock_system) + 60000000;
    while (to_append && clock_mono_us(&clock_system) < end_us) {
        loop_run_once(loop, journal_is_writing(m->j));
        if (!journal_is_writing(m->j)) { /* it was full: until a segment is reclaimed */
            usleep(200);
            append_more();
        }
    }
    walker.is_stopping = true;
    pthread_join(walker.thread, NULL);
    if (walker.err != EHIS_OK)
        fail_msg("walk %llu: %s %s", (unsigned long long)walker.walks, ehis_err_name(walker.err), walker.why.text);
    assert_true(walker.walks > 0);
    assert_int_equal(to_append, 0);
    assert_int_equal(journal_writer_stop(w), EHIS_OK);
    m->sealed = m->durable = m->next - 1;
    struct journal_check check;
    model_verify(m, &check);
    assert_true(check.archived_entries > 5000);
    model_close(m);
    assert_int_equal(disk_open_folder(folder, false, &m->disk, &why), EHIS_OK);
    assert_int_equal(model_open(m, &why), EHIS_OK);
    journal_close(m->j);
    m->j = NULL;
    m->disk->ops->list(m->disk, remove_name, NULL);
    disk_free(m->disk);
    rmdir(folder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_kick_makes_what_is_open_durable_and_a_second_one_waits_for_the_first),
        TEST(a_small_group_is_written_by_the_loop_while_the_thread_rests),
        TEST(a_lazy_kick_waits_for_its_delay_or_an_eager_one),
        TEST(a_write_that_fails_is_told_once_and_nothing_comes_after_it),
        TEST(a_full_group_makes_room_without_calling_back_and_each_group_is_told_later),
        TEST(groups_roll_and_are_archived_on_a_real_disk_while_another_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
