/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What is sent in streams: the same bytes until they are taken, in order, across BUSY and numbers ahead of order. */
#include "tests/unit/adapters/outbox_rig.h"

static void messages_go_out_in_order_after_the_stream_is_open(void **state)
{
    struct box b;
    (void)state;
    box_init(&b, ACCEPTED, false);
    put_one(&b);
    put_one(&b);
    assert_int_equal(submit(&b, 0), UINT64_MAX);
    assert_int_equal(out_stream_unsettled(b.stream), 1);
    opened(&b, 1);
    assert_int_equal(submit(&b, 0), 1);
    assert_int_equal(submit(&b, 0), 2);
    assert_int_equal(submit(&b, 0), UINT64_MAX);
    put_one(&b);
    assert_int_equal(submit(&b, 0), 3);
    box_fini(&b);
}

static void busy_pauses_and_then_everything_from_there_is_repeated_with_the_same_bytes(void **state)
{
    struct box b;
    struct out_message *m[4];
    struct buf room;
    struct span first, again;
    char kept[200];
    (void)state;
    box_init(&b, ACCEPTED, false);
    buf_init(&room, 4096);
    for (int i = 0; i < 4; i++)
        m[i] = put_one(&b);
    opened(&b, 1);
    for (int i = 0; i < 4; i++)
        submit(&b, 0);
    assert_int_equal(outbox_bytes(b.outbox, m[1], &room, &first), EHIS_OK);
    memcpy(kept, first.p, first.len);
    size_t kept_bytes = first.len;
    receipt(&b, m[0], ACCEPTED);
    out_stream_on_flow(m[1], 0, 500); /* BUSY until 500 */
    out_stream_on_flow(m[2], 2, 0);   /* OUT_OF_SEQUENCE: 2 is expected */
    assert_int_equal(submit(&b, 600), UINT64_MAX); /* the last is not answered yet: no storm of repeats */
    out_stream_on_flow(m[3], 2, 0);
    assert_int_equal(submit(&b, 499), UINT64_MAX);
    assert_int_equal(submit(&b, 500), 2);
    assert_int_equal(submit(&b, 500), 3);
    assert_int_equal(submit(&b, 500), 4);
    assert_int_equal(outbox_bytes(b.outbox, m[1], &room, &again), EHIS_OK);
    assert_int_equal(again.len, kept_bytes);
    assert_memory_equal(again.p, kept, kept_bytes);
    buf_fini(&room);
    box_fini(&b);
}

static void a_lost_session_repeats_what_is_not_taken_and_a_final_receipt_settles(void **state)
{
    struct box b;
    (void)state;
    box_init(&b, ACCEPTED, false);
    struct out_message *one = put_one(&b), *two = put_one(&b);
    opened(&b, 1);
    submit(&b, 0);
    submit(&b, 0);
    receipt(&b, one, ACCEPTED);
    outbox_session_ended(b.outbox, b.stream->session, 0);
    assert_int_equal(out_stream_unsettled(b.stream), 1); /* no final receipt of the first yet */
    opened(&b, 3);                                /* the gateway has both: the second comes once more, for its receipt */
    assert_int_equal(submit(&b, 0), 2);
    assert_int_equal(submit(&b, 0), UINT64_MAX);
    receipt(&b, one, DELIVERED);
    assert_int_equal(out_stream_unsettled(b.stream), 2);
    receipt(&b, two, REFUSED);
    assert_int_equal(out_stream_unsettled(b.stream), 3);
    assert_int_equal(outbox_lowest_ticket(b.outbox, true), UINT64_MAX);
    box_fini(&b);
}

static void replicated_is_waited_for_where_that_is_told(void **state)
{
    struct box b;
    (void)state;
    box_init(&b, REPLICATED, false);
    struct out_message *one = put_one(&b);
    opened(&b, 1);
    submit(&b, 0);
    receipt(&b, one, ACCEPTED);
    assert_true(one->is_held);
    assert_true(outbox_lowest_ticket(b.outbox, false) == one->ticket);
    receipt(&b, one, REPLICATED);
    assert_false(one->is_held);
    assert_true(outbox_lowest_ticket(b.outbox, false) == UINT64_MAX);
    assert_true(outbox_lowest_ticket(b.outbox, true) == one->ticket);
    box_fini(&b);
}

static void a_gateway_that_wants_what_was_let_go_gets_the_stream_from_what_is_held(void **state)
{
    struct box b;
    (void)state;
    box_init(&b, ACCEPTED, false);
    struct out_message *one = put_one(&b);
    put_one(&b);
    opened(&b, 1);
    submit(&b, 0);
    receipt(&b, one, ACCEPTED); /* at the first gateway */
    outbox_session_ended(b.outbox, b.stream->session, 0);
    assert_int_equal(out_stream_unsettled(b.stream), 1);
    assert_int_equal(out_stream_held(b.stream), 2); /* the second gateway knows nothing, and gets what is held */
    opened(&b, 2);
    assert_int_equal(submit(&b, 0), 2);
    box_fini(&b);
}

static void what_another_gateway_takes_meanwhile_opens_the_stream_again(void **state)
{
    struct box b;
    (void)state;
    box_init(&b, ACCEPTED, false);
    struct out_message *one = put_one(&b), *two = put_one(&b);
    put_one(&b);
    opened(&b, 1);
    submit(&b, 0);
    submit(&b, 0);
    out_stream_on_flow(one, 0, 0);
    receipt(&b, one, ACCEPTED); /* of the one where it was before */
    out_stream_on_flow(two, 1, 0); /* here it is still expected */
    assert_int_equal(submit(&b, 5000), UINT64_MAX);
    assert_false(b.stream->is_open);
    assert_int_equal(out_stream_held(b.stream), 2);
    opened(&b, 2);
    assert_int_equal(submit(&b, 5000), 2);
    box_fini(&b);
}

static void accepted_at(struct box *b, struct out_message *m, uint32_t slot, uint8_t state)
{
    struct out_gateway g = {slot + 1, slot, false};
    ehis_err err;
    bool is_new = outbox_on_receipt(b->outbox, m, &g, state, &err);
    assert_int_equal(err, EHIS_OK);
    if (is_new && m->is_final)
        assert_int_equal(outbox_finish(b->outbox, m), EHIS_OK);
    assert_int_equal(store_commit(b->store), EHIS_OK);
}

static void assert_to_hear(const struct box *b, bool first, bool second, bool third)
{
    assert_int_equal(out_stream_is_to_hear(b->stream, 1, 0), first);
    assert_int_equal(out_stream_is_to_hear(b->stream, 2, 1), second);
    assert_int_equal(out_stream_is_to_hear(b->stream, 3, 2), third);
}

static void each_gateway_that_has_accepted_something_is_heard_whatever_another_owes(void **state)
{
    struct box b;
    (void)state;
    box_init(&b, ACCEPTED, false);
    struct out_message *one = put_one(&b), *two = put_one(&b), *three = put_one(&b);
    b.stream->session = 3;
    assert_to_hear(&b, false, false, false);
    accepted_at(&b, one, 0, ACCEPTED);
    accepted_at(&b, two, 1, ACCEPTED);
    accepted_at(&b, three, 1, ACCEPTED);
    assert_to_hear(&b, true, true, false); /* the first one's never comes: the second is heard all the same */
    accepted_at(&b, two, 1, DELIVERED);
    assert_to_hear(&b, true, true, false);
    accepted_at(&b, three, 1, DELIVERED);
    assert_to_hear(&b, true, false, false);
    accepted_at(&b, one, 1, ACCEPTED); /* both have it: either may tell */
    assert_to_hear(&b, true, true, false);
    b.stream->session = 1;
    assert_to_hear(&b, false, true, false);
    accepted_at(&b, one, 1, DELIVERED);
    assert_to_hear(&b, false, false, false);
    box_fini(&b);
}

static void after_a_restart_every_gateway_is_asked_until_one_says_that_it_has_it(void **state)
{
    struct box b;
    uint8_t digest[32];
    (void)state;
    box_init(&b, ACCEPTED, false);
    memcpy(digest, put_one(&b)->by_digest.key, 32);
    accepted_at(&b, outbox_by_digest(b.outbox, digest), 1, ACCEPTED);
    for (int i = 0; i < 2; i++) {
        box_close(&b);
        assert_int_equal(box_open(&b), EHIS_OK);
        b.stream->session = 3;
        assert_to_hear(&b, true, true, false);
    }
    accepted_at(&b, outbox_by_digest(b.outbox, digest), 1, ACCEPTED); /* nothing new, but for who says it */
    assert_to_hear(&b, false, true, false);
    accepted_at(&b, outbox_by_digest(b.outbox, digest), 1, DELIVERED);
    assert_to_hear(&b, false, false, false);
    box_fini(&b);
}

static void what_was_accepted_and_never_ended_is_found_a_day_after_its_time(void **state)
{
    struct box b;
    const int64_t day = 86400000, at = 5000 + day; /* put() lets them expire at 5000 */
    (void)state;
    box_init(&b, REPLICATED, false);
    struct out_message *one = put_one(&b), *two = put_one(&b), *three = put_one(&b);
    put_one(&b);
    accepted_at(&b, one, 0, ACCEPTED);
    accepted_at(&b, three, 0, ACCEPTED);
    assert_null(out_stream_untold(b.stream, NULL, at - 1));
    assert_ptr_equal(out_stream_untold(b.stream, NULL, at), one);
    assert_ptr_equal(out_stream_untold(b.stream, one, at), three); /* the second nobody has accepted: it goes on being sent */
    assert_null(out_stream_untold(b.stream, three, at));
    one->is_telling = true;
    assert_ptr_equal(out_stream_untold(b.stream, NULL, at), three);
    assert_true(two->is_held);
    box_fini(&b);
}

static void a_gateway_that_knows_numbers_that_we_do_not_ends_the_stream(void **state)
{
    struct box b;
    (void)state;
    box_init(&b, ACCEPTED, false);
    put_one(&b);
    struct out_stream *old = b.stream, *fresh;
    uint8_t old_id[16];
    memcpy(old_id, old->id, 16);
    assert_int_equal(outbox_opened(b.outbox, b.stream, 9), EHIS_E_STATE_BEHIND);
    assert_int_equal(outbox_stream(b.outbox, OUT_REQUESTS, span_str(TO), (struct span){0}, &b.clock.random, &fresh), EHIS_OK);
    assert_ptr_not_equal(fresh, old);
    assert_memory_not_equal(fresh->id, old->id, 16);
    assert_int_equal(store_commit(b.store), EHIS_OK);
    box_close(&b);
    assert_int_equal(box_open(&b), EHIS_OK);
    assert_memory_not_equal(b.stream->id, old_id, 16); /* still given up after a restart */
    box_fini(&b);
}

static void a_key_is_taken_before_the_event_behind_it_is_submitted(void **state)
{
    struct box b;
    struct out_message *key, *event;
    (void)state;
    box_init(&b, ACCEPTED, false);
    assert_int_equal(put(&b, true, &key), EHIS_OK);
    event = put_one(&b);
    opened(&b, 1);
    assert_int_equal(submit(&b, 0), 0);
    assert_int_equal(submit(&b, 0), UINT64_MAX);
    out_stream_on_flow(key, 0, 100);
    assert_int_equal(submit(&b, 99), UINT64_MAX);
    assert_int_equal(submit(&b, 100), 0);
    receipt(&b, key, ACCEPTED); /* it is gone */
    assert_int_equal(submit(&b, 100), 1);
    receipt(&b, event, ACCEPTED);
    box_fini(&b);
}

static void a_key_that_ends_by_another_gateways_word_holds_no_event(void **state)
{
    struct box b;
    struct out_message *key;
    (void)state;
    box_init(&b, ACCEPTED, false);
    assert_int_equal(put(&b, true, &key), EHIS_OK);
    put_one(&b);
    opened(&b, 1);
    assert_int_equal(submit(&b, 0), 0);
    accepted_at(&b, key, 1, ACCEPTED); /* it is gone */
    assert_int_equal(submit(&b, 0), 1);
    assert_int_equal(b.stream->unanswered, 1);
    box_fini(&b);
}

static void the_outbox_is_bounded_in_bytes_and_streams(void **state)
{
    struct box b;
    struct out_stream *s;
    char name[40];
    (void)state;
    box_init(&b, ACCEPTED, false);
    assert_int_equal(outbox_check_room(b.outbox, 1 << 20), EHIS_OK);
    assert_int_equal(outbox_check_room(b.outbox, (1 << 20) + 1), EHIS_E_SDK_BUSY);
    put_one(&b);
    assert_int_equal(outbox_check_room(b.outbox, 1 << 20), EHIS_E_SDK_BUSY);
    for (int i = 1; i < 256; i++) {
        snprintf(name, sizeof name, "AZ/GOV/MIA/s%d", i);
        assert_int_equal(outbox_stream(b.outbox, OUT_REQUESTS, span_str(name), (struct span){0}, &b.clock.random, &s), EHIS_OK);
    }
    assert_int_equal(outbox_stream(b.outbox, OUT_EVENTS, span_str(TO), span_str("E"), &b.clock.random, &s), EHIS_E_SDK_BUSY);
    box_fini(&b);
}

static void the_outbox_is_bounded_in_messages_that_nobody_has_told_the_end_of(void **state)
{
    struct box b;
    struct out_message *m;
    ehis_err err;
    (void)state;
    box_init(&b, ACCEPTED, true);
    for (int i = 0; i < 262144; i++) {
        assert_int_equal(outbox_check_room(b.outbox, 1), EHIS_OK);
        assert_int_equal(put(&b, false, &m), EHIS_OK);
        assert_true(outbox_on_receipt(b.outbox, m, &local, ACCEPTED, &err)); /* its bytes have gone */
    }
    assert_int_equal(outbox_check_room(b.outbox, 1), EHIS_E_SDK_BUSY);
    receipt(&b, m, DELIVERED);
    assert_int_equal(outbox_check_room(b.outbox, 1), EHIS_OK);
    box_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_go_out_in_order_after_the_stream_is_open),
        cmocka_unit_test(busy_pauses_and_then_everything_from_there_is_repeated_with_the_same_bytes),
        cmocka_unit_test(a_lost_session_repeats_what_is_not_taken_and_a_final_receipt_settles),
        cmocka_unit_test(replicated_is_waited_for_where_that_is_told),
        cmocka_unit_test(a_gateway_that_wants_what_was_let_go_gets_the_stream_from_what_is_held),
        cmocka_unit_test(what_another_gateway_takes_meanwhile_opens_the_stream_again),
        cmocka_unit_test(each_gateway_that_has_accepted_something_is_heard_whatever_another_owes),
        cmocka_unit_test(after_a_restart_every_gateway_is_asked_until_one_says_that_it_has_it),
        cmocka_unit_test(what_was_accepted_and_never_ended_is_found_a_day_after_its_time),
        cmocka_unit_test(a_gateway_that_knows_numbers_that_we_do_not_ends_the_stream),
        cmocka_unit_test(a_key_is_taken_before_the_event_behind_it_is_submitted),
        cmocka_unit_test(a_key_that_ends_by_another_gateways_word_holds_no_event),
        cmocka_unit_test(the_outbox_is_bounded_in_bytes_and_streams),
        cmocka_unit_test(the_outbox_is_bounded_in_messages_that_nobody_has_told_the_end_of),
    };
    struct ehis_why why;
    if (crypto_init(&why) != EHIS_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
