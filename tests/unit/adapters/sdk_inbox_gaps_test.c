/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* R2 where numbers are missing: a gap is passed in time, and what comes for it later is handed over late and once. */
#include "tests/unit/adapters/inbox_rig.h"

static void a_gap_that_nothing_explains_is_passed_after_30_s_and_what_comes_for_it_later_is_late_and_once(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    take_one(&b, 1, false, false);
    assert_int_equal(offer(&b, 4, 0, 1000), INBOX_TAKEN);
    assert_null(next(&b, 1000));
    assert_null(next(&b, 1000 + INBOX_GAP_MS - 1));
    assert_int_equal(b.gap_count, 0);
    struct in_item *i = next(&b, 1000 + INBOX_GAP_MS);
    assert_int_equal(i->number, 4);
    assert_false(i->is_repeated);
    assert_int_equal(b.gap_count, 2);
    assert_int_equal(b.gaps[0], 2);
    assert_int_equal(b.gaps[1], 3);
    finish(&b, i, false);
    box_close(&b);
    assert_int_equal(box_open(&b, false), EHIS_OK); /* it is remembered */
    assert_int_equal(offer(&b, 3, 0, 1000), INBOX_TAKEN);
    take_one(&b, 3, true, true); /* the box was not closed in order: it may have been handed over late before */
    assert_int_equal(offer(&b, 3, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    take_one(&b, 2, true, true);
    assert_int_equal(offer(&b, 5, 0, 1000), INBOX_TAKEN);
    take_one(&b, 5, true, false); /* the box was not closed in order */
    box_fini(&b);
}

/* A subscription that ended and began again, or a queue that was full for long: without this the stream would never go on. */
static void a_gap_wider_than_the_window_is_held_and_passed_like_any_other(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    take_one(&b, 1, false, false);
    assert_int_equal(offer(&b, 5000, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 5001, 0, 1000), INBOX_TAKEN);
    struct in_stream *s = inbox_touched(b.inbox);
    assert_non_null(s);
    assert_null(inbox_next(b.inbox, s, 1000));
    assert_null(inbox_next(b.inbox, s, 1000 + INBOX_GAP_MS - 1));
    struct in_item *item = inbox_next(b.inbox, s, 1000 + INBOX_GAP_MS);
    assert_non_null(item);
    assert_int_equal(item->number, 5000);
    assert_int_equal(b.gaps[0], 2);
    assert_int_equal(b.gaps[1], 5000 - INBOX_WINDOW);
    assert_int_equal(inbox_finish(b.inbox, item, false, 40000), EHIS_OK);
    free(item);
    assert_int_equal(offer(&b, 4999, 0, 40000), INBOX_TAKEN); /* late */
    assert_int_equal(offer(&b, 3000, 0, 40000), INBOX_TAKEN);
    box_fini(&b);
}

/* Its senders' gateways may find out a minute later that it was lost, and send it again: it must not be taken for done. */
static void what_comes_for_a_gap_after_more_than_a_window_is_late_and_once(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    take_one(&b, 1, false, false);
    assert_int_equal(offer(&b, 900, 0, 1000), INBOX_TAKEN);
    assert_null(next(&b, 1000));
    struct in_item *i = next(&b, 1000 + INBOX_GAP_MS);
    assert_int_equal(i->number, 900);
    finish(&b, i, false);
    for (uint64_t n = 901; n < 3000; n++) {
        assert_int_equal(offer(&b, n, 0, 1000), INBOX_TAKEN);
        take_one(&b, n, false, false);
    }
    assert_int_equal(offer(&b, 500, 0, 1000), INBOX_TAKEN);
    take_one(&b, 500, false, true);
    box_close(&b);
    assert_int_equal(box_open(&b, false), EHIS_OK);
    static const uint64_t in_gap[] = {2, 3, 899, 499, 501, 4};
    for (size_t k = 0; k < sizeof in_gap / sizeof *in_gap; k++) {
        assert_int_equal(offer(&b, in_gap[k], 0, 1000), INBOX_TAKEN);
        take_one(&b, in_gap[k], true, true); /* the box was not closed in order */
        assert_int_equal(offer(&b, in_gap[k], 0, 1000), INBOX_DONE);
    }
    static const uint64_t done[] = {1, 500, 900, 1500, 2500, 2999};
    for (size_t k = 0; k < sizeof done / sizeof *done; k++)
        assert_int_equal(offer(&b, done[k], 0, 1000), INBOX_DONE);
    box_fini(&b);
}

static void of_more_gaps_than_are_remembered_the_lowest_are_forgotten(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    take_one(&b, 1, false, false);
    for (uint64_t n = 1; n <= IN_GAPS_MAX + 1; n++) {
        assert_int_equal(offer(&b, n * 2000, 0, 1000), INBOX_TAKEN);
        assert_null(next(&b, 1000));
        struct in_item *i = next(&b, 1000 + INBOX_GAP_MS);
        assert_int_equal(i->number, n * 2000);
        finish(&b, i, false);
    }
    assert_int_equal(offer(&b, 1999, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 2001, 0, 1000), INBOX_TAKEN);
    box_fini(&b);
}

/* Every second of what was lost comes first: more pieces than are remembered. */
static void what_comes_from_the_midst_of_a_gap_is_never_taken_for_done(void **state)
{
    struct box b;
    bool is_done[200] = {false};
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    take_one(&b, 1, false, false);
    jump_to(&b, 200);
    jump_to(&b, 5000);
    for (int round = 0; round < 3; round++) {
        for (uint64_t n = 2; n < 200; n++)
            if (round > 0 || n % 2 == 1)
                assert_int_equal(offer(&b, n, 0, 1000), is_done[n] ? INBOX_DONE : INBOX_TAKEN);
        for (struct in_item *i; (i = next(&b, 1000));) {
            assert_true(i->is_late);
            assert_false(is_done[i->number]);
            is_done[i->number] = true;
            finish(&b, i, false);
        }
        for (uint64_t k = 1; round == 0 && k <= 16; k++) /* newer gaps have their places all the same */
            jump_to(&b, 5000 + k * 2000);
        box_close(&b);
        assert_int_equal(box_open(&b, false), EHIS_OK);
    }
    for (uint64_t n = 2; n < 200; n++)
        assert_true(is_done[n]);
    assert_int_equal(offer(&b, 201, 0, 1000), INBOX_TAKEN);
    box_fini(&b);
}

static void what_is_late_and_given_back_delays_nothing(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 3, 0, 1000), INBOX_TAKEN);
    take_one(&b, 3, true, false);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 4, 0, 1000), INBOX_TAKEN);
    struct in_item *i = next(&b, 1000);
    assert_int_equal(i->number, 2);
    inbox_give_back(b.inbox, i);
    free(i);
    take_one(&b, 4, true, false);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    take_one(&b, 2, true, true);
    box_fini(&b);
}

static void what_was_late_and_rejected_stays_rejected_beyond_the_window(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    take_one(&b, 1, false, false);
    jump_to(&b, 200);
    jump_to(&b, 5000);
    static const uint64_t rejected[] = {2, 3, 100, 199, 198, 4999, 4990};
    for (size_t k = 0; k < sizeof rejected / sizeof *rejected; k++) {
        assert_int_equal(offer(&b, rejected[k], 0, 1000), INBOX_TAKEN);
        finish(&b, next(&b, 1000), true);
        assert_int_equal(offer(&b, rejected[k], 0, 1000), INBOX_REJECTED);
    }
    for (uint64_t n = 5001; n < 7000; n++) {
        assert_int_equal(offer(&b, n, 0, 1000), INBOX_TAKEN);
        take_one(&b, n, false, false);
    }
    box_close(&b);
    assert_int_equal(box_open(&b, false), EHIS_OK);
    for (size_t k = 0; k < sizeof rejected / sizeof *rejected; k++)
        assert_int_equal(offer(&b, rejected[k], 0, 1000), INBOX_REJECTED);
    static const uint64_t open[] = {4, 99, 101, 197, 4998};
    for (size_t k = 0; k < sizeof open / sizeof *open; k++)
        assert_int_equal(offer(&b, open[k], 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 200, 0, 1000), INBOX_DONE);
    box_fini(&b);
}

static void of_what_was_late_and_rejected_the_lowest_is_forgotten_first_and_no_gap_for_it(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 2000, 0, 1000), INBOX_TAKEN);
    take_one(&b, 2000, true, false);
    for (uint64_t n = 2; n <= 200; n += 2) { /* alternately: none of them touch */
        assert_int_equal(offer(&b, n, 0, 1000), INBOX_TAKEN);
        finish(&b, next(&b, 1000), true);
        assert_int_equal(offer(&b, n, 0, 1000), INBOX_REJECTED);
        assert_int_equal(offer(&b, n - 1, 0, 1000), INBOX_TAKEN); /* at an edge */
        take_one(&b, n - 1, true, true);
    }
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 200, 0, 1000), INBOX_REJECTED);
    assert_int_equal(offer(&b, 100, 0, 1000), INBOX_REJECTED);
    for (uint64_t k = 2; k <= IN_GAPS_MAX; k++)
        jump_to(&b, k * 2000);
    assert_int_equal(offer(&b, 200, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 201, 0, 1000), INBOX_TAKEN);
    finish(&b, next(&b, 1000), true); /* and where nothing but gaps is left */
    assert_int_equal(offer(&b, 203, 0, 1000), INBOX_TAKEN); /* what would leave two pieces waits for 202 */
    assert_null(next(&b, 1000));
    assert_int_equal(b.dropped, 1);
    assert_int_equal(offer(&b, 202, 0, 1000), INBOX_TAKEN);
    take_one(&b, 202, true, true);
    assert_int_equal(offer(&b, 203, 0, 1000), INBOX_TAKEN);
    take_one(&b, 203, true, true);
    box_fini(&b);
}

static void what_is_late_neither_ends_the_patience_for_a_gap_nor_prolongs_it(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct box b;
        box_init(&b);
        assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
        take_one(&b, 1, false, false);
        jump_to(&b, 4);
        b.gap_count = 0;
        if (how == 2) /* there before the gap */
            assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
        assert_int_equal(offer(&b, 6, 0, 1000), INBOX_TAKEN);
        struct in_item *i = next(&b, 1000);
        if (how < 2) {
            assert_null(i);
            assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
            i = next(&b, 20000);
        }
        assert_int_equal(i->number, 2);
        assert_null(next(&b, 25000));
        if (how == 0) {
            inbox_give_back(b.inbox, i);
            free(i);
        } else {
            finish(&b, i, false);
        }
        assert_null(next(&b, 1000 + INBOX_GAP_MS - 1));
        i = next(&b, 1000 + INBOX_GAP_MS);
        assert_non_null(i);
        assert_int_equal(i->number, 6);
        assert_int_equal(b.gap_count, 1);
        finish(&b, i, false);
        box_fini(&b);
    }
}

static void beyond_the_window_nothing_is_taken_while_something_late_waits(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 3, 0, 1000), INBOX_TAKEN);
    take_one(&b, 3, true, false);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 4 + INBOX_WINDOW, 0, 1000), INBOX_AHEAD);
    assert_int_equal(offer(&b, 3 + INBOX_WINDOW, 0, 1000), INBOX_TAKEN);
    box_fini(&b);
}

static void what_was_before_the_first_that_came_is_handed_over_late_not_taken_for_done(void **state)
{
    struct box b;
    (void)state;
    box_init(&b); /* the first numbers are at a gateway that is slow, the next at another */
    assert_int_equal(offer(&b, 3, 0, 1000), INBOX_TAKEN);
    take_one(&b, 3, true, false);
    assert_int_equal(b.gap_count, 0);
    for (int again = 0; again < 2; again++) { /* also after a restart */
        assert_int_equal(offer(&b, 1 + (uint64_t)again, 0, 1000), INBOX_TAKEN);
        take_one(&b, 1 + (uint64_t)again, true, true); /* perhaps by another folder before */
        assert_int_equal(offer(&b, 1 + (uint64_t)again, 0, 1000), INBOX_DONE);
        box_close(&b);
        assert_int_equal(box_open(&b, false), EHIS_OK);
    }
    inbox_takeover(b.inbox);
    for (uint64_t n = 50; n < 2000; n++) { /* nor when all that came since is more than the window */
        assert_int_equal(offer(&b, n, 0, 1000), INBOX_TAKEN);
        take_one(&b, n, n < 50 + INBOX_GROUP, false);
    }
    assert_int_equal(offer(&b, 49, 0, 1000), INBOX_TAKEN);
    take_one(&b, 49, true, true);
    assert_int_equal(offer(&b, 3, 0, 1000), INBOX_DONE);
    box_fini(&b);
}

static void a_takeover_does_not_take_what_is_above_for_what_was_a_window_below(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    finish(&b, next(&b, 1000), true);
    inbox_takeover(b.inbox);
    assert_int_equal(offer(&b, INBOX_WINDOW + 2, 0, 1000), INBOX_TAKEN);
    take_one(&b, INBOX_WINDOW + 2, true, false);
    assert_int_equal(offer(&b, INBOX_WINDOW + 1, 0, 1000), INBOX_TAKEN); /* in the place of 1, which was rejected */
    take_one(&b, INBOX_WINDOW + 1, true, true);
    box_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gap_that_nothing_explains_is_passed_after_30_s_and_what_comes_for_it_later_is_late_and_once),
        cmocka_unit_test(a_gap_wider_than_the_window_is_held_and_passed_like_any_other),
        cmocka_unit_test(what_comes_for_a_gap_after_more_than_a_window_is_late_and_once),
        cmocka_unit_test(of_more_gaps_than_are_remembered_the_lowest_are_forgotten),
        cmocka_unit_test(what_comes_from_the_midst_of_a_gap_is_never_taken_for_done),
        cmocka_unit_test(what_is_late_and_given_back_delays_nothing),
        cmocka_unit_test(what_was_late_and_rejected_stays_rejected_beyond_the_window),
        cmocka_unit_test(of_what_was_late_and_rejected_the_lowest_is_forgotten_first_and_no_gap_for_it),
        cmocka_unit_test(what_is_late_neither_ends_the_patience_for_a_gap_nor_prolongs_it),
        cmocka_unit_test(beyond_the_window_nothing_is_taken_while_something_late_waits),
        cmocka_unit_test(what_was_before_the_first_that_came_is_handed_over_late_not_taken_for_done),
        cmocka_unit_test(a_takeover_does_not_take_what_is_above_for_what_was_a_window_below),
    };
    struct ehis_why why;
    if (crypto_init(&why) != EHIS_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
