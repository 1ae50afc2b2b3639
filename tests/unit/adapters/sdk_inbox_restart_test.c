/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* R2 across restarts and crashes: nothing is handed over again unmarked, whoever keeps the position; what was being handled comes again, marked. */
#include "tests/unit/adapters/inbox_rig.h"

#define NUMBERS 60

static void a_new_folder_begins_at_the_first_number_that_comes_marked(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 40, 0, 1000), INBOX_TAKEN);
    take_one(&b, 40, true, false);
    assert_int_equal(offer(&b, 41, 0, 1000), INBOX_TAKEN);
    take_one(&b, 41, true, false); /* the other folder may have finished it and told nobody yet */
    inbox_takeover(b.inbox); /* another folder has had the streams, and this one has them again */
    assert_int_equal(offer(&b, 90, 0, 1000), INBOX_TAKEN);
    take_one(&b, 90, true, false);
    assert_int_equal(b.gap_count, 0);
    assert_int_equal(offer(&b, 41, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 89, 0, 1000), INBOX_TAKEN); /* by way of a slower gateway: the other folder has not had it */
    take_one(&b, 89, true, true);
    assert_int_equal(offer(&b, 89, 0, 1000), INBOX_DONE);
    box_fini(&b);
}

static void an_application_that_keeps_positions_is_asked_for_each_stream(void **state)
{
    struct box b = {.position = 7};
    (void)state;
    assert_int_equal(sim_disk_new(1, &b.disk), EHIS_OK);
    assert_int_equal(box_open(&b, true), EHIS_OK);
    assert_int_equal(offer(&b, 7, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 8, 0, 1000), INBOX_TAKEN);
    take_one(&b, 8, true, false);
    assert_int_equal(store_group_bytes(b.store), 0); /* nothing is recorded here */
    box_fini(&b);
}

static void what_was_rejected_stays_rejected_where_the_application_keeps_the_position(void **state)
{
    struct box b = {.position = 0};
    (void)state;
    assert_int_equal(sim_disk_new(1, &b.disk), EHIS_OK);
    assert_int_equal(box_open(&b, true), EHIS_OK);
    for (uint64_t n = 1; n <= 4; n++) {
        assert_int_equal(offer(&b, n, 0, 1000), INBOX_TAKEN);
        struct in_item *i = next(&b, 1000);
        assert_int_equal(i->number, n);
        finish(&b, i, n == 2 || n == 4);
    }
    assert_int_equal(store_commit(b.store), EHIS_OK);
    b.position = 3; /* of what had an effect */
    for (int restart = 0; restart < 2; restart++) {
        box_close(&b);
        assert_int_equal(box_open(&b, true), EHIS_OK);
        assert_int_equal(offer(&b, 1, 0, 1000), INBOX_DONE);
        assert_int_equal(offer(&b, 2, 0, 1000), INBOX_REJECTED);
        assert_int_equal(offer(&b, 3, 0, 1000), INBOX_DONE);
        assert_int_equal(offer(&b, 4, 0, 1000), INBOX_REJECTED);
        assert_int_equal(offer(&b, 5, 0, 1000), INBOX_TAKEN);
        free(next(&b, 1000));
    }
    b.position = 1030; /* far ahead of what stands here: number 1026 has the place of 2 */
    box_close(&b);
    assert_int_equal(box_open(&b, true), EHIS_OK);
    assert_int_equal(offer(&b, 1026, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 1031, 0, 1000), INBOX_TAKEN);
    box_fini(&b);
}

/* What was finished or passed is lost with a crash; the application's position is not, once it has stored the effect of what came next. */
static void what_the_applications_position_does_not_tell_is_durable_before_it_moves_over_it(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) { /* rejected, skipped, a gap */
        struct box b = {.position = 0};
        assert_int_equal(sim_disk_new(1, &b.disk), EHIS_OK);
        assert_int_equal(box_open(&b, true), EHIS_OK);
        if (how < 2)
            assert_int_equal(offer(&b, 1, how == 1 ? 6 : 0, 1000), INBOX_TAKEN);
        assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
        struct in_item *i = next(&b, 1000);
        if (how < 2) {
            assert_int_equal(i->number, 1);
            assert_int_equal(inbox_finish(b.inbox, i, how == 0, 1000), EHIS_OK);
            free(i);
        }
        assert_null(next(&b, 1000 + INBOX_GAP_MS));
        assert_int_equal(b.gap_count, how == 2);
        assert_int_not_equal(store_group_bytes(b.store), 0);
        assert_int_equal(store_commit(b.store), EHIS_OK);
        assert_int_equal(inbox_committed(b.inbox), EHIS_OK);
        i = next(&b, 1000 + INBOX_GAP_MS);
        assert_int_equal(i->number, 2);
        b.position = 2; /* its effect is stored, and nothing of it here: a crash */
        box_close(&b);
        free(i);
        assert_int_equal(box_open(&b, true), EHIS_OK);
        assert_int_equal(offer(&b, 2, 0, 1000), INBOX_DONE);
        assert_int_equal(offer(&b, 1, 0, 1000), how == 0 ? INBOX_REJECTED : INBOX_TAKEN);
        if (how != 0)
            take_one(&b, 1, true, true);
        box_fini(&b);
    }
}

static void a_gap_of_any_width_is_passed_at_once_where_the_application_keeps_the_position(void **state)
{
    const uint64_t far = UINT64_C(1) << 60;
    struct box b = {.position = 1};
    (void)state;
    assert_int_equal(sim_disk_new(1, &b.disk), EHIS_OK);
    assert_int_equal(box_open(&b, true), EHIS_OK);
    jump_to(&b, far); /* a crash, before its effect was stored */
    box_close(&b);
    assert_int_equal(box_open(&b, true), EHIS_OK);
    assert_int_equal(offer(&b, far, 0, 1000), INBOX_TAKEN);
    take_one(&b, far, true, false);
    assert_int_equal(offer(&b, far / 2, 0, 1000), INBOX_TAKEN);
    take_one(&b, far / 2, true, true);
    box_fini(&b);
}

static void a_gap_costs_nothing_more_once_it_is_recorded_where_the_application_keeps_the_position(void **state)
{
    struct box b = {.position = 1};
    (void)state;
    assert_int_equal(sim_disk_new(1, &b.disk), EHIS_OK);
    assert_int_equal(box_open(&b, true), EHIS_OK);
    jump_to(&b, 10);
    for (uint64_t n = 11; n < 20; n++) {
        assert_int_equal(offer(&b, n, 0, 1000), INBOX_TAKEN);
        struct in_item *i = next(&b, 1000);
        assert_int_equal(i->number, n);
        assert_int_equal(inbox_finish(b.inbox, i, false, 1000), EHIS_OK);
        assert_int_equal(store_group_bytes(b.store), 0);
        assert_int_equal(inbox_committed(b.inbox), EHIS_OK);
        free(i);
    }
    assert_int_equal(offer(&b, 5, 0, 1000), INBOX_TAKEN); /* what is late is not told by the position */
    take_one(&b, 5, false, true);
    b.position = 19;
    box_close(&b);
    assert_int_equal(box_open(&b, true), EHIS_OK);
    assert_int_equal(offer(&b, 5, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 19, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 6, 0, 1000), INBOX_TAKEN);
    take_one(&b, 6, true, true);
    assert_int_equal(offer(&b, 20, 0, 1000), INBOX_TAKEN);
    take_one(&b, 20, true, false);
    box_fini(&b);
}

static void an_application_that_was_set_back_finds_no_gap_where_it_has_been_since(void **state)
{
    struct box b = {.position = 2};
    (void)state;
    assert_int_equal(sim_disk_new(1, &b.disk), EHIS_OK);
    assert_int_equal(box_open(&b, true), EHIS_OK);
    jump_to(&b, 10); /* 3 to 9 are missing */
    for (b.position = 1; b.position < 5; b.position += 3) { /* from a backup; then what was missing has come */
        box_close(&b);
        assert_int_equal(box_open(&b, true), EHIS_OK);
        for (uint64_t n = b.position + 1; n <= b.position + 3; n++) {
            assert_int_equal(offer(&b, n, 0, 1000), INBOX_TAKEN);
            take_one(&b, n, n == b.position + 1, false);
        }
    }
    box_fini(&b);
}

static void a_record_of_another_version_is_not_ours(void **state)
{
    (void)state;
    assert_false(inbox_owns_record(16)); /* state.c: STATE_CORRUPT */
}

static void a_gap_that_could_not_be_recorded_is_told_at_the_commit_and_nothing_goes_on(void **state)
{
    struct box b = {0};
    (void)state;
    assert_int_equal(sim_disk_new(1, &b.disk), EHIS_OK);
    assert_int_equal(box_open(&b, true), EHIS_OK);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    assert_null(next(&b, 1000));
    sim_disk_fail(b.disk, SIM_SYNC, 1, EHIS_E_IO, false);
    assert_int_equal(store_append(b.store, 99, NULL, 0, NULL), EHIS_OK);
    assert_int_equal(store_commit(b.store), EHIS_E_IO);
    assert_int_equal(inbox_committed(b.inbox), EHIS_OK); /* nothing was wanted of it yet */
    assert_null(next(&b, 1000 + INBOX_GAP_MS));
    assert_int_equal(b.gap_count, 1);
    assert_int_equal(inbox_committed(b.inbox), EHIS_E_IO);
    assert_null(next(&b, 1000 + 2 * INBOX_GAP_MS));
    box_fini(&b);
}

/* ---- crashes ---- */

struct gateway { uint64_t first_unacked; };
struct application { unsigned unmarked[NUMBERS + 1], marked[NUMBERS + 1]; uint64_t last; };

/* A process: the gateway delivers a window in random order and again; false when the disk has failed. */
static bool live(struct box *b, struct gateway *g, struct application *a, uint64_t *seed)
{
    inbox_session_ended(b->inbox, 1);
    for (int turn = 0; turn < 400 && g->first_unacked <= NUMBERS; turn++) {
        uint64_t n = g->first_unacked + (turn ? sim_random_below(seed, 8) : 0);
        if (n <= NUMBERS) {
            enum inbox_verdict v = offer(b, n, 0, 1000);
            if (v == INBOX_DONE && n == g->first_unacked)
                g->first_unacked++;
        }
        if (store_commit(b->store) != EHIS_OK)
            return false;
        struct in_item *i = next(b, 1000);
        if (!i)
            continue;
        if (i->number <= a->last)
            assert_true(i->is_repeated);
        assert_true(i->number <= a->last + 1);
        a->last = i->number > a->last ? i->number : a->last;
        (i->is_repeated ? a->marked : a->unmarked)[i->number]++;
        uint64_t number = i->number;
        bool is_done = inbox_finish(b->inbox, i, false, 1000) == EHIS_OK;
        bool is_committed = is_done && sim_random_below(seed, 3) && store_commit(b->store) == EHIS_OK;
        free(i);
        if (!is_done)
            return false;
        if (is_committed)
            assert_int_equal(inbox_committed(b->inbox), EHIS_OK);
        if (is_committed && sim_random_below(seed, 3) && number == g->first_unacked)
            g->first_unacked++; /* else the acknowledgement is lost */
    }
    return true;
}

static void each_number_is_handed_over_once_unless_marked_across_crashes_at_every_operation(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 150; nth++) {
        struct box b = {0};
        struct gateway g = {1};
        struct application a = {0};
        uint64_t seed = nth;
        assert_int_equal(sim_disk_new(nth, &b.disk), EHIS_OK);
        for (int life = 0; g.first_unacked <= NUMBERS; life++) {
            assert_true(life < 200);
            sim_disk_fail(b.disk, SIM_ANY, 12 + (uint64_t)life * 4 + (nth * 7 + (uint64_t)life * 13) % 90, EHIS_E_IO, true);
            if (box_open(&b, false) == EHIS_OK)
                live(&b, &g, &a, &seed);
            else
                b.store = NULL;
            box_close(&b);
            sim_disk_crash(b.disk, SIM_CRASH_RANDOM);
        }
        for (uint64_t n = 1; n <= NUMBERS; n++) {
            assert_true(a.unmarked[n] <= 1);
            assert_true(a.unmarked[n] + a.marked[n] >= 1);
        }
        sim_disk_free(b.disk);
    }
}

static void what_was_finished_but_not_recorded_comes_again_marked_and_no_more_than_a_group_of_it(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    for (uint64_t n = 1; n <= INBOX_GROUP + 3; n++)
        assert_int_equal(offer(&b, n, 0, 1000), INBOX_TAKEN);
    assert_int_equal(store_commit(b.store), EHIS_OK); /* the stream is known */
    for (uint64_t n = 1; n <= INBOX_GROUP; n++) {
        struct in_item *i = next(&b, 1000);
        assert_non_null(i);
        assert_int_equal(inbox_finish(b.inbox, i, false, 1000), EHIS_OK);
        free(i);
    }
    assert_null(next(&b, 1000));
    box_close(&b); /* a crash: nothing of it is recorded */
    assert_int_equal(box_open(&b, false), EHIS_OK);
    for (uint64_t n = 1; n <= INBOX_GROUP + 1; n++) {
        assert_int_equal(offer(&b, n, 0, 1000), INBOX_TAKEN);
        take_one(&b, n, n <= INBOX_GROUP, false);
        assert_int_equal(inbox_committed(b.inbox), EHIS_OK);
    }
    box_close(&b);
    assert_int_equal(box_open(&b, false), EHIS_OK);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_DONE);
    box_fini(&b);
}

static void after_closing_in_order_only_what_was_being_handled_is_marked(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    take_one(&b, 1, false, false);
    assert_int_equal(inbox_close(b.inbox), EHIS_OK);
    assert_int_equal(store_commit(b.store), EHIS_OK);
    box_close(&b);
    assert_int_equal(box_open(&b, false), EHIS_OK);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    struct in_item *i = next(&b, 1000);
    assert_false(i->is_repeated);
    assert_int_equal(inbox_close(b.inbox), EHIS_OK); /* while it is handled */
    assert_int_equal(store_commit(b.store), EHIS_OK);
    free(i);
    box_close(&b);
    assert_int_equal(box_open(&b, false), EHIS_OK);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    take_one(&b, 2, true, false);
    box_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_folder_begins_at_the_first_number_that_comes_marked),
        cmocka_unit_test(an_application_that_keeps_positions_is_asked_for_each_stream),
        cmocka_unit_test(what_was_rejected_stays_rejected_where_the_application_keeps_the_position),
        cmocka_unit_test(what_the_applications_position_does_not_tell_is_durable_before_it_moves_over_it),
        cmocka_unit_test(a_gap_of_any_width_is_passed_at_once_where_the_application_keeps_the_position),
        cmocka_unit_test(a_gap_costs_nothing_more_once_it_is_recorded_where_the_application_keeps_the_position),
        cmocka_unit_test(an_application_that_was_set_back_finds_no_gap_where_it_has_been_since),
        cmocka_unit_test(a_record_of_another_version_is_not_ours),
        cmocka_unit_test(a_gap_that_could_not_be_recorded_is_told_at_the_commit_and_nothing_goes_on),
        cmocka_unit_test(each_number_is_handed_over_once_unless_marked_across_crashes_at_every_operation),
        cmocka_unit_test(what_was_finished_but_not_recorded_comes_again_marked_and_no_more_than_a_group_of_it),
        cmocka_unit_test(after_closing_in_order_only_what_was_being_handled_is_marked),
    };
    struct ehis_why why;
    if (crypto_init(&why) != EHIS_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
