/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "adapters/sdk/store.h"
#include "proto/crypto/sign.h"
#include "tests/support/sim_clock.h"
#include "tests/support/sim_disk.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SEGMENT_BYTES 4096
#define IDS 400
enum { PUT = 7, END = 8, COUNTER = 9 };

struct model { /* what the log says */
    struct store *store;
    bool is_live[IDS];
    struct store_place place[IDS];
    uint64_t counter;
    size_t carried;
};

static ehis_err on_replay(void *ctx, uint8_t type, struct span p, const struct store_place *at)
{
    struct model *m = ctx;
    uint64_t v = be_get(p.p, 8);
    if (type == COUNTER) {
        m->counter = v;
    } else {
        assert_true(v < IDS);
        m->is_live[v] = type == PUT;
        m->place[v] = *at;
    }
    return EHIS_OK;
}

static ehis_err append(struct model *m, uint8_t type, uint64_t value, size_t extra, struct store_place *at)
{
    uint8_t bytes[2048] = {0};
    be_put(bytes, value, 8);
    for (size_t i = 8; i < 8 + extra; i++)
        bytes[i] = (uint8_t)value;
    struct span whole = span_of(bytes, 8 + extra);
    return store_append(m->store, type, &whole, 1, at);
}

static size_t snapshots, large_in_snapshot, large_bytes; /* how many were made; records of this size in each, beside the counter */

static ehis_err on_snapshot(void *ctx, struct store *s)
{
    struct model *m = ctx;
    uint8_t *large = calloc(1, large_bytes + 8);
    struct span whole = span_of(large, large_bytes);
    ehis_err err = large ? EHIS_OK : EHIS_E_NO_MEMORY;
    snapshots++;
    for (size_t i = 0; i < large_in_snapshot && err == EHIS_OK; i++)
        err = store_append(s, COUNTER, &whole, 1, NULL);
    free(large);
    EHIS_TRY(err);
    if (!m->store) {
        m->store = s;
        for (size_t i = 0; i < IDS; i++)
            if (m->is_live[i])
                store_hold(s, &m->place[i]);
    }
    return append(m, COUNTER, m->counter, 0, NULL);
}

static ehis_err put(struct model *m, uint64_t id, size_t extra)
{
    struct store_place at;
    EHIS_TRY(append(m, PUT, id, extra, &at));
    if (m->is_live[id])
        store_let_go(m->store, &m->place[id]);
    m->is_live[id] = true;
    m->place[id] = at;
    store_hold(m->store, &at);
    return EHIS_OK;
}

static ehis_err on_carry(void *ctx, uint64_t segment)
{
    struct model *m = ctx;
    for (uint64_t i = 0; i < IDS; i++)
        if (m->is_live[i] && m->place[i].segment == segment) {
            m->carried++;
            EHIS_TRY(put(m, i, m->place[i].bytes - 8));
        }
    return EHIS_OK;
}

static ehis_err end(struct model *m, uint64_t id)
{
    EHIS_TRY(append(m, END, id, 0, NULL));
    store_let_go(m->store, &m->place[id]);
    m->is_live[id] = false;
    return EHIS_OK;
}

static ehis_err open_store(struct sim_disk *d, struct model *m)
{
    struct store_events events = {.ctx = m, .replay = on_replay, .snapshot = on_snapshot, .carry = on_carry};
    struct store *s = NULL;
    *m = (struct model){0};
    struct ehis_why why = {""};
    ehis_err err = store_open(sim_disk_disk(d), &events, SEGMENT_BYTES, &s, &why);
    if (err != EHIS_OK)
        print_message("%s\n", why.text);
    return err;
}

/* Work until something fails or `rounds` commits are done. durable: as of the last commit that succeeded; id_next: every id once. */
static void work(struct model *m, uint64_t *seed, int rounds, struct model *durable, uint64_t *id_next)
{
    *durable = *m;
    for (int r = 0; r < rounds; r++) {
        for (uint64_t n = 1 + sim_random_below(seed, 4); n > 0 && *id_next < IDS; n--)
            if (put(m, (*id_next)++, (size_t)sim_random_below(seed, 900)) != EHIS_OK)
                return;
        for (uint64_t i = 0; i < *id_next; i++)
            if (m->is_live[i] && sim_random_below(seed, 3) == 0 && i % 17 != 0 && end(m, i) != EHIS_OK)
                return;
        m->counter++;
        if (append(m, COUNTER, m->counter, 0, NULL) != EHIS_OK || store_commit(m->store) != EHIS_OK)
            return;
        *durable = *m;
    }
}

/* What was committed is there: live things are readable and whole, ended ones stay ended; what was under way may be there or not. */
static void compare(const struct model *was, const struct model *latest, struct model *is)
{
    struct buf b;
    buf_init(&b, 4096);
    while (store_group_bytes(is->store) > 0)
        assert_int_equal(store_commit(is->store), EHIS_OK); /* what opening has carried ahead */
    assert_true(is->counter >= was->counter && is->counter <= latest->counter);
    for (uint64_t i = 0; i < IDS; i++) {
        if (was->is_live[i] && latest->is_live[i])
            assert_true(is->is_live[i]);
        if (!was->is_live[i] && !latest->is_live[i] && was->place[i].bytes)
            assert_false(is->is_live[i]);
        if (!is->is_live[i])
            continue;
        buf_clear(&b);
        assert_int_equal(store_read(is->store, &is->place[i], &b), EHIS_OK);
        assert_int_equal(be_get(buf_span(&b).p, 8), i);
        for (size_t k = 8; k < b.len; k++)
            assert_int_equal(buf_span(&b).p[k], (uint8_t)i);
    }
    buf_fini(&b);
}

static void what_is_committed_survives_a_crash_at_every_operation_in_every_way(void **state)
{
    (void)state;
    const enum sim_crash ways[] = {SIM_CRASH_LOSE_ALL, SIM_CRASH_KEEP_ALL, SIM_CRASH_TORN, SIM_CRASH_REORDERED};
    for (uint64_t nth = 1; nth < 260; nth += 3) {
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            struct sim_disk *d;
            struct model m, durable, again;
            uint64_t seed = nth * 10 + w, id_next = 0;
            assert_int_equal(sim_disk_new(seed, &d), EHIS_OK);
            assert_int_equal(open_store(d, &m), EHIS_OK);
            sim_disk_fail(d, SIM_ANY, nth, EHIS_E_IO, true);
            work(&m, &seed, 60, &durable, &id_next);
            struct model latest = m;
            store_free(m.store);
            sim_disk_crash(d, ways[w]);
            if (open_store(d, &again) != EHIS_OK)
                fail_msg("operation %d, way %d", (int)nth, (int)w);
            compare(&durable, &latest, &again);
            /* and once more, after work on top of the recovered state */
            struct model second, third;
            work(&again, &seed, 5, &second, &id_next);
            struct model latest2 = again;
            store_free(again.store);
            sim_disk_crash(d, SIM_CRASH_RANDOM);
            assert_int_equal(open_store(d, &third), EHIS_OK);
            compare(&second, &latest2, &third);
            store_free(third.store);
            sim_disk_free(d);
        }
    }
}

struct count { size_t files; };
static void on_name(void *ctx, const char *name)
{
    ((struct count *)ctx)->files += name[0] == 's';
}

static void old_segments_go_and_what_is_spread_thin_is_carried_ahead(void **state)
{
    (void)state;
    struct sim_disk *d;
    struct model m, durable;
    struct count c = {0};
    uint64_t seed = 3, id_next = 0;
    assert_int_equal(sim_disk_new(1, &d), EHIS_OK);
    assert_int_equal(open_store(d, &m), EHIS_OK);
    work(&m, &seed, 400, &durable, &id_next);
    for (int i = 0; i < 2000; i++) { /* nothing new that is held: only small records */
        m.counter++;
        assert_int_equal(append(&m, COUNTER, m.counter, 0, NULL), EHIS_OK);
        assert_int_equal(store_commit(m.store), EHIS_OK);
    }
    assert_true(m.carried > 0);
    struct disk *disk = sim_disk_disk(d);
    assert_int_equal(disk->ops->list(disk, on_name, &c), EHIS_OK);
    assert_true(c.files <= 12);
    store_free(m.store);
    sim_disk_free(d);
}

static void a_snapshot_larger_than_a_segment_is_not_written_with_every_commit(void **state)
{
    (void)state;
    struct sim_disk *d;
    struct model m;
    assert_int_equal(sim_disk_new(1, &d), EHIS_OK);
    large_in_snapshot = 20;
    large_bytes = SEGMENT_BYTES;
    snapshots = 0;
    assert_int_equal(open_store(d, &m), EHIS_OK);
    for (int i = 0; i < 1000; i++) {
        m.counter++;
        assert_int_equal(append(&m, COUNTER, m.counter, 1000, NULL), EHIS_OK);
        assert_int_equal(store_commit(m.store), EHIS_OK);
    }
    assert_true(snapshots > 5 && snapshots < 20); /* what it costs is no more than what is written else */
    store_free(m.store);
    sim_disk_free(d);
    large_in_snapshot = large_bytes = 0;
}

static void a_snapshot_of_any_size_is_written_and_read_again(void **state)
{
    (void)state;
    struct sim_disk *d;
    struct model m;
    assert_int_equal(sim_disk_new(1, &d), EHIS_OK);
    large_bytes = 16u * 1024 * 1024;
    large_in_snapshot = 5;
    for (uint64_t i = 1; i < 3; i++) {
        assert_int_equal(open_store(d, &m), EHIS_OK);
        assert_int_equal(m.counter, i - 1);
        m.counter = i;
        assert_int_equal(append(&m, COUNTER, i, 0, NULL), EHIS_OK);
        assert_int_equal(store_commit(m.store), EHIS_OK);
        store_free(m.store);
        sim_disk_crash(d, SIM_CRASH_LOSE_ALL);
    }
    sim_disk_free(d);
    large_in_snapshot = large_bytes = 0;
}

static void a_damaged_record_that_is_not_the_last_is_told_and_not_passed_over(void **state)
{
    (void)state;
    struct sim_disk *d;
    struct model m, durable;
    struct disk_file *f;
    uint64_t seed = 5, id_next = 0;
    assert_int_equal(sim_disk_new(1, &d), EHIS_OK);
    struct disk *disk = sim_disk_disk(d);
    assert_int_equal(open_store(d, &m), EHIS_OK);
    work(&m, &seed, 10, &durable, &id_next);
    store_free(m.store);
    assert_int_equal(open_store(d, &m), EHIS_OK); /* a second segment: the first is not the last any more */
    store_free(m.store);
    assert_int_equal(disk->ops->open(disk, "s0000000000000001", false, &f), EHIS_OK);
    uint8_t byte;
    size_t got;
    assert_int_equal(f->ops->read_at(f, 60, &byte, 1, &got), EHIS_OK);
    byte ^= 1;
    assert_int_equal(f->ops->write_at(f, 60, &byte, 1), EHIS_OK);
    f->ops->close(f);
    struct ehis_why why = {""};
    struct store_events events = {.ctx = &m, .replay = on_replay, .snapshot = on_snapshot, .carry = on_carry};
    struct store *s;
    m = (struct model){0};
    assert_int_equal(store_open(disk, &events, SEGMENT_BYTES, &s, &why), EHIS_E_STATE_CORRUPT);
    assert_non_null(strstr(why.text, "s0000000000000001"));
    sim_disk_free(d);
}

static void after_a_failed_sync_nothing_goes_on(void **state)
{
    (void)state;
    struct sim_disk *d;
    struct model m;
    assert_int_equal(sim_disk_new(1, &d), EHIS_OK);
    assert_int_equal(open_store(d, &m), EHIS_OK);
    sim_disk_fail(d, SIM_SYNC, 1, EHIS_E_IO, false);
    assert_int_equal(put(&m, 1, 10), EHIS_OK);
    assert_int_equal(store_commit(m.store), EHIS_E_IO);
    assert_int_equal(store_commit(m.store), EHIS_E_IO);
    assert_int_equal(append(&m, COUNTER, 1, 0, NULL), EHIS_E_IO);
    store_free(m.store);
    sim_disk_free(d);
}

static void a_record_of_the_largest_size_is_taken_and_one_beyond_is_not(void **state)
{
    (void)state;
    struct sim_disk *d;
    struct model m;
    struct store_place at;
    struct buf b;
    uint8_t *big = calloc(1, STORE_RECORD_MAX_BYTES + 1);
    assert_non_null(big);
    assert_int_equal(sim_disk_new(1, &d), EHIS_OK);
    assert_int_equal(open_store(d, &m), EHIS_OK);
    struct span over = span_of(big, STORE_RECORD_MAX_BYTES + 1), whole = span_of(big, STORE_RECORD_MAX_BYTES);
    assert_int_equal(store_append(m.store, COUNTER, &over, 1, NULL), EHIS_E_TOO_LARGE);
    assert_int_equal(store_append(m.store, COUNTER, &whole, 1, &at), EHIS_OK);
    store_hold(m.store, &at);
    assert_int_equal(store_commit(m.store), EHIS_OK);
    buf_init(&b, STORE_RECORD_MAX_BYTES);
    assert_int_equal(store_read(m.store, &at, &b), EHIS_OK);
    assert_int_equal(b.len, STORE_RECORD_MAX_BYTES);
    buf_fini(&b);
    store_free(m.store);
    assert_int_equal(open_store(d, &m), EHIS_OK);
    store_free(m.store);
    sim_disk_free(d);
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_committed_survives_a_crash_at_every_operation_in_every_way),
        cmocka_unit_test(old_segments_go_and_what_is_spread_thin_is_carried_ahead),
        cmocka_unit_test(a_snapshot_larger_than_a_segment_is_not_written_with_every_commit),
        cmocka_unit_test(a_snapshot_of_any_size_is_written_and_read_again),
        cmocka_unit_test(a_damaged_record_that_is_not_the_last_is_told_and_not_passed_over),
        cmocka_unit_test(after_a_failed_sync_nothing_goes_on),
        cmocka_unit_test(a_record_of_the_largest_size_is_taken_and_one_beyond_is_not),
    };
    struct ehis_why why;
    if (crypto_init(&why) != EHIS_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
