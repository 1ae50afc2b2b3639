/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* R2 where events are asked for again: a replay sets a stream back, once. */
#include "tests/unit/adapters/inbox_rig.h"

static enum inbox_verdict offer_event(struct box *b, uint64_t number)
{
    struct in_item *i = item_new(number, 0);
    i->is_replayable = true;
    enum inbox_verdict v = inbox_offer(b->inbox, span_str(SENDER), stream, i, 1000);
    if (v != INBOX_TAKEN)
        free(i);
    return v;
}

static void box_with_ten_events(struct box *b)
{
    box_init(b);
    for (uint64_t n = 1; n <= 10; n++) {
        assert_int_equal(offer_event(b, n), INBOX_TAKEN);
        take_one(b, n, false, false);
    }
}

static void a_replay_sets_a_stream_back_once_and_nothing_else_does(void **state)
{
    struct box b;
    (void)state;
    box_with_ten_events(&b);
    assert_int_equal(offer_event(&b, 5), INBOX_DONE);
    inbox_replays(b.inbox, span_str("AZ/GOV/MIA/population"));
    assert_int_equal(offer_event(&b, 5), INBOX_DONE); /* another's */
    inbox_replays(b.inbox, span_str(SENDER));
    assert_int_equal(offer(&b, 5, 0, 1000), INBOX_DONE); /* nobody asked for it again */
    assert_int_equal(offer_event(&b, 11), INBOX_TAKEN);
    struct in_item *running = next(&b, 1000);
    assert_int_equal(offer_event(&b, 5), INBOX_TAKEN); /* behind the one that is being handled */
    assert_null(next(&b, 1000));
    finish(&b, running, false);
    take_one(&b, 5, true, false);
    for (uint64_t n = 6; n <= 11; n++) {
        assert_int_equal(offer_event(&b, n), INBOX_TAKEN);
        take_one(&b, n, true, false);
        assert_int_equal(offer_event(&b, n), INBOX_DONE); /* in the replay once */
    }
    box_close(&b);
    assert_int_equal(box_open(&b, false), EHIS_OK);
    assert_int_equal(offer_event(&b, 11), INBOX_DONE);
    assert_int_equal(offer_event(&b, 12), INBOX_TAKEN);
    take_one(&b, 12, true, false); /* after a restart, as ever */
    assert_int_equal(offer_event(&b, 5), INBOX_DONE);
    box_fini(&b);
}

/* Redelivered, or what the bus has not kept. */
static void what_was_finished_before_a_replay_and_does_not_come_again_is_no_gap(void **state)
{
    struct box b;
    (void)state;
    box_with_ten_events(&b);
    inbox_replays(b.inbox, span_str(SENDER));
    assert_int_equal(offer_event(&b, 4), INBOX_TAKEN);
    take_one(&b, 4, true, false);
    assert_int_equal(offer_event(&b, 13), INBOX_TAKEN);
    assert_null(next(&b, 1000));
    finish(&b, next(&b, 1000 + INBOX_GAP_MS), false);
    assert_int_equal(b.gap_count, 2);
    assert_int_equal(b.gaps[0], 11);
    assert_int_equal(b.gaps[1], 12);
    assert_int_equal(offer_event(&b, 3), INBOX_TAKEN); /* and one that is wider than the window */
    take_one(&b, 3, true, false);
    assert_int_equal(offer_event(&b, 5000), INBOX_TAKEN);
    assert_null(next(&b, 1000));
    finish(&b, next(&b, 1000 + INBOX_GAP_MS), false);
    assert_int_equal(b.gaps[2], 14);
    assert_int_equal(b.gaps[3], 5000 - INBOX_WINDOW);
    box_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replay_sets_a_stream_back_once_and_nothing_else_does),
        cmocka_unit_test(what_was_finished_before_a_replay_and_does_not_come_again_is_no_gap),
    };
    struct ehis_why why;
    if (crypto_init(&why) != EHIS_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
