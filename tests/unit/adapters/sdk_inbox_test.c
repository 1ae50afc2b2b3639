/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* R2: each message of a stream is handed over once and in order. (Of gaps, replays, and restarts and crashes: sdk_inbox_*_test.c.) */
#include "tests/unit/adapters/inbox_rig.h"

static void numbers_that_come_mixed_up_are_handed_over_in_order_and_one_at_a_time(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 3, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    struct in_item *i = next(&b, 1000);
    assert_int_equal(i->number, 1);
    assert_null(next(&b, 1000)); /* the first is not finished */
    finish(&b, i, false);
    take_one(&b, 2, false, false);
    take_one(&b, 3, false, false);
    assert_null(next(&b, 1000));
    box_fini(&b);
}

static void a_number_that_was_finished_is_acknowledged_again_as_it_was(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    take_one(&b, 1, false, false);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    finish(&b, next(&b, 1000), true);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_REJECTED);
    box_close(&b);
    assert_int_equal(box_open(&b, false), EHIS_OK); /* after a restart too */
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_REJECTED);
    box_fini(&b);
}

static void the_same_number_again_takes_the_new_delivery_and_another_message_under_it_is_a_conflict(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    struct in_item *again = item_new(1, 0), *other = item_new(1, 0);
    again->delivery = 777;
    other->digest[20] = 1;
    assert_int_equal(inbox_offer(b.inbox, span_str(SENDER), stream, again, 1000), INBOX_ATTACHED);
    assert_int_equal(inbox_offer(b.inbox, span_str(SENDER), stream, other, 1000), INBOX_CONFLICT);
    struct in_item *i = next(&b, 1000);
    assert_int_equal(i->delivery, 777);
    again->delivery = 778;
    assert_int_equal(inbox_offer(b.inbox, span_str(SENDER), stream, again, 1000), INBOX_ATTACHED); /* while it runs, too */
    assert_int_equal(i->delivery, 778);
    finish(&b, i, false);
    free(again);
    free(other);
    box_fini(&b);
}

static void a_skip_takes_the_place_of_its_number_and_the_number_may_come_late(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 5, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    struct in_item *i = next(&b, 1000);
    assert_int_equal(i->skip_state, 5);
    finish(&b, i, false);
    take_one(&b, 2, false, false);
    assert_int_equal(offer(&b, 1, 5, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    take_one(&b, 1, false, true);
    box_fini(&b);
}

static void what_is_given_back_delays_its_stream_without_a_gap_and_comes_marked(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    struct in_item *i = next(&b, 1000);
    inbox_give_back(b.inbox, i);
    free(i);
    assert_null(next(&b, 1000 + 10 * INBOX_GAP_MS));
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    take_one(&b, 1, true, false);
    take_one(&b, 2, false, false);
    assert_int_equal(b.gap_count, 0);
    box_fini(&b);
}

static void the_window_holds_1024_numbers_and_no_more(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, INBOX_WINDOW, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, INBOX_WINDOW + 1, 0, 1000), INBOX_AHEAD);
    take_one(&b, 1, false, false);
    assert_int_equal(offer(&b, INBOX_WINDOW + 1, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, UINT64_MAX, 0, 1000), INBOX_AHEAD);
    box_fini(&b);
}

static void numbers_that_nobody_counts_to_are_not_taken(void **state)
{
    static const uint64_t bad[] = {UINT64_MAX, UINT64_MAX - 1, UINT64_MAX - INBOX_GROUP, UINT64_C(1) << 63};
    struct box b;
    (void)state;
    box_init(&b);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        assert_int_equal(offer(&b, bad[k], 0, 1000), INBOX_AHEAD);
    assert_int_equal(offer(&b, INT64_MAX, 0, 1000), INBOX_TAKEN);
    take_one(&b, INT64_MAX, true, false);
    assert_int_equal(offer(&b, INT64_MAX, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, UINT64_C(1) << 63, 0, 1000), INBOX_AHEAD);
    box_fini(&b);
}

static void what_waits_is_dropped_with_its_session_and_what_runs_goes_on(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    struct in_item *i = next(&b, 1000);
    inbox_session_ended(b.inbox, 1);
    assert_int_equal(b.dropped, 1);
    assert_int_equal(i->session, 0);
    finish(&b, i, false);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    take_one(&b, 2, false, false);
    box_fini(&b);
}

static void a_message_and_its_skip_do_not_quarrel_whichever_comes_first(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 1, 4, 1000), INBOX_DONE); /* the message is here, from another gateway */
    finish(&b, next(&b, 1000), true);
    assert_int_equal(offer(&b, 1, 4, 1000), INBOX_REJECTED); /* our own rejection comes back */
    assert_int_equal(offer(&b, 2, 4, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_AHEAD);
    take_one(&b, 2, false, false);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    take_one(&b, 2, false, true);
    box_fini(&b);
}

static void behind_what_nobody_takes_nothing_is_taken(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    struct in_item *i = next(&b, 1000);
    inbox_stop(b.inbox, i);
    free(i);
    assert_int_equal(b.dropped, 1);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_STOPPED);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN); /* it comes again, and what is behind it */
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    i = next(&b, 1000);
    inbox_stop(b.inbox, i);
    free(i);
    assert_int_equal(b.dropped, 2);
    inbox_go_on(b.inbox); /* what is still on its way waits for it */
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    assert_null(next(&b, 90000)); /* and is no gap */
    assert_int_equal(offer(&b, 1, 0, 90000), INBOX_TAKEN);
    take_one(&b, 1, false, false);
    take_one(&b, 2, false, false);
    box_fini(&b);
}

/* The first number of a stream of this sender's, taken and finished. */
static enum inbox_verdict begin_stream(struct box *b, const char *sender, uint64_t id)
{
    uint8_t bytes[16] = {0};
    struct in_item *i = item_new(1, 0);
    be_put(bytes, id, 8);
    enum inbox_verdict v = inbox_offer(b->inbox, span_str(sender), bytes, i, 1000);
    if (v == INBOX_TAKEN) {
        struct in_stream *s = inbox_touched(b->inbox);
        assert_non_null(s);
        assert_ptr_equal(inbox_next(b->inbox, s, 1000), i);
        assert_int_equal(inbox_finish(b->inbox, i, false, 1000), EHIS_OK);
        while (inbox_touched(b->inbox))
            ;
        if (id % 256 == 0)
            assert_int_equal(store_commit(b->store), EHIS_OK);
        assert_int_equal(inbox_committed(b->inbox), EHIS_OK);
    }
    free(i);
    return v;
}

static void a_sender_of_many_streams_loses_its_own_oldest_and_keeps_nobody_out(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(begin_stream(&b, "AZ/GOV/MOE/other", 7), INBOX_TAKEN);
    for (uint64_t id = 1; id < 65536; id++)
        assert_int_equal(begin_stream(&b, SENDER, id), INBOX_TAKEN);
    assert_int_equal(begin_stream(&b, SENDER, 1), INBOX_DONE); /* used: 2 is the oldest now */
    assert_int_equal(begin_stream(&b, "AZ/GOV/MOE/third", 7), INBOX_TAKEN);
    assert_int_equal(begin_stream(&b, SENDER, 65536), INBOX_TAKEN);
    assert_int_equal(begin_stream(&b, "AZ/GOV/MOE/other", 7), INBOX_DONE);
    assert_int_equal(begin_stream(&b, SENDER, 1), INBOX_DONE);
    assert_int_equal(begin_stream(&b, SENDER, 4), INBOX_DONE);
    assert_int_equal(begin_stream(&b, SENDER, 65536), INBOX_DONE);
    assert_int_equal(begin_stream(&b, SENDER, 2), INBOX_TAKEN); /* not known any more */
    assert_int_equal(store_commit(b.store), EHIS_OK);
    box_close(&b);
    assert_int_equal(box_open(&b, false), EHIS_OK); /* more stand in the log than are kept */
    assert_int_equal(begin_stream(&b, "AZ/GOV/MOE/other", 7), INBOX_DONE);
    assert_int_equal(begin_stream(&b, "AZ/GOV/MOE/third", 7), INBOX_DONE);
    assert_int_equal(begin_stream(&b, SENDER, 2), INBOX_DONE);
    assert_int_equal(begin_stream(&b, SENDER, 65536), INBOX_DONE);
    assert_int_equal(begin_stream(&b, SENDER, 65000), INBOX_DONE);
    assert_int_equal(begin_stream(&b, SENDER, 60000), INBOX_DONE);
    box_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_that_come_mixed_up_are_handed_over_in_order_and_one_at_a_time),
        cmocka_unit_test(a_number_that_was_finished_is_acknowledged_again_as_it_was),
        cmocka_unit_test(the_same_number_again_takes_the_new_delivery_and_another_message_under_it_is_a_conflict),
        cmocka_unit_test(a_skip_takes_the_place_of_its_number_and_the_number_may_come_late),
        cmocka_unit_test(what_is_given_back_delays_its_stream_without_a_gap_and_comes_marked),
        cmocka_unit_test(numbers_that_nobody_counts_to_are_not_taken),
        cmocka_unit_test(the_window_holds_1024_numbers_and_no_more),
        cmocka_unit_test(what_waits_is_dropped_with_its_session_and_what_runs_goes_on),
        cmocka_unit_test(a_message_and_its_skip_do_not_quarrel_whichever_comes_first),
        cmocka_unit_test(behind_what_nobody_takes_nothing_is_taken),
        cmocka_unit_test(a_sender_of_many_streams_loses_its_own_oldest_and_keeps_nobody_out),
    };
    struct ehis_why why;
    if (crypto_init(&why) != EHIS_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
