/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* A sender's streams: which receipts are owed until they are settled, which number is next, also where other gateways had a part. */
#include "tests/unit/gateway/exchange/exchange_streams.h"

static void final_receipts_are_owed_until_they_are_settled(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct exchange_status s;
    struct hash d[3];
    for (uint64_t n = 0; n < 3; n++)
        d[n] = put(h, a, stream, n + 1);
    sim_durable(h);
    sim_end(h, a);
    struct sim_ack acks[2] = {delivered(h, b, stream, 1, 1, OUTCOME_DONE), delivered(h, b, stream, 2, 1, OUTCOME_DONE)};
    assert_int_equal(sim_ack(h, b, B, acks, 2), EHIS_OK);
    sim_durable(h);
    sim_forget(h);
    a = sim_ready(h, A, 8, 8, 1 << 20);
    assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 1), EHIS_OK);
    assert_stream_state(h, a, 4, 0);
    assert_receipt(h, a, &d[0], STATE_DELIVERED, 0);
    assert_receipt(h, a, &d[1], STATE_DELIVERED, 0);
    assert_receipt(h, a, &d[2], STATE_ACCEPTED, 0);
    assert_int_equal(sim_settled(h, a, stream, 3), EHIS_OK);
    exchange_status(h->x, &s);
    assert_int_equal(s.stored_messages, 1);
    assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 3), EHIS_OK);
    assert_stream_state(h, a, 4, 0);
    assert_receipt(h, a, &d[2], STATE_ACCEPTED, 0);
    assert_null(sim_take(h, SIM_RECEIPT, a));
    assert_int_equal(sim_stream_open(h, a, stream, C, NULL, 3), EHIS_OK);
    assert_stream_state(h, a, 0, EHIS_E_EXCHANGE_STREAM_RECIPIENT);
}

static void a_receipt_whose_record_cannot_be_read_keeps_no_other_waiting(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct hash d[2] = {put(h, a, stream, 1), put(h, a, stream, 2)};
    sim_durable(h);
    assert_receipt(h, a, &d[0], STATE_ACCEPTED, 0);
    assert_receipt(h, a, &d[1], STATE_ACCEPTED, 0);
    struct sim_ack acks[2] = {delivered(h, b, stream, 1, 1, OUTCOME_DONE), delivered(h, b, stream, 2, 1, OUTCOME_DONE)};
    h->unreadable = h->count + 1;
    assert_int_equal(sim_ack(h, b, B, acks, 2), EHIS_OK);
    sim_durable(h);
    assert_receipt(h, a, &d[1], STATE_DELIVERED, 0);
    h->unreadable = 0;
    assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 1), EHIS_OK);
    assert_receipt(h, a, &d[0], STATE_DELIVERED, 0);
}

static void streams_that_nobody_uses_make_room_for_new_ones(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    uint8_t id[16] = {0};
    struct exchange_status s;
    sim_forget(h);
    for (unsigned i = 0; i < 256; i++) {
        be_put(id, i, 4);
        assert_int_equal(sim_stream_open(h, a, id, B, NULL, 1), EHIS_OK);
        assert_stream_state(h, a, 1, 0);
    }
    be_put(id, 256, 4);
    assert_int_equal(sim_stream_open(h, a, id, B, NULL, 1), EHIS_OK);
    assert_stream_state(h, a, 0, EHIS_E_EXCHANGE_STREAMS_FULL);
    sim_end(h, a);
    a = sim_ready(h, A, 8, 8, 1 << 20);
    assert_int_equal(sim_stream_open(h, a, id, B, NULL, 1), EHIS_OK);
    assert_stream_state(h, a, 1, 0);
    exchange_status(h->x, &s);
    assert_int_equal(s.streams, 256);
}

static void what_goes_on_further_up_forgets_no_end_that_was_not_kept(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct hash d = put(h, a, stream, 1);
    sim_durable(h);
    struct sim_ack ack = delivered(h, b, stream, 1, 1, OUTCOME_DONE);
    assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK);
    for (int again = 0; again < 2; again++) { /* its sender dies before it has kept the receipt */
        sim_durable(h);
        sim_end(h, a);
        sim_forget(h);
        a = sim_ready(h, A, 8, 8, 1 << 20);
        assert_int_equal(sim_stream_open_at(h, a, stream, B, NULL, 1, 9), EHIS_OK);
        assert_stream_state(h, a, 9, 0);
        assert_receipt(h, a, &d, STATE_DELIVERED, 0);
    }
    put(h, a, stream, 9);
    assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 9), EHIS_OK);
    sim_forget(h);
    assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 1), EHIS_OK);
    assert_null(sim_take(h, SIM_RECEIPT, a)); /* now it was settled */
}

static void what_was_settled_by_way_of_other_gateways_is_not_expected_here_also_after_a_restart(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h);
    put(h, a, stream, 1);
    sim_durable(h);
    assert_int_equal(sim_settled(h, a, stream, 5), EHIS_OK);
    for (int again = 0; again < 2; again++) {
        sim_forget(h);
        assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 1), EHIS_OK);
        assert_stream_state(h, a, 5, 0);
        sim_durable(h);
        sim_restart(h, false);
        a = sim_ready(h, A, 8, 8, 1 << 20);
    }
}

static void a_number_that_was_passed_over_here_is_taken_when_it_comes_after_all(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h), b = sim_ready(h, B, 8, 8, 1 << 20);
    assert_int_equal(sim_stream_open_at(h, a, stream, B, NULL, 2, 5), EHIS_OK);
    sim_forget(h);
    h->is_journal_full = true;
    put(h, a, stream, 3);
    assert_int_equal(sim_take(h, SIM_FLOW, a)->code, EHIS_E_EXCHANGE_BUSY);
    h->is_journal_full = false;
    struct hash d = put(h, a, stream, 5); /* what did not go moves nothing */
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_ACCEPTED, 0);
    d = put(h, a, stream, 3); /* its sender died before it had kept what another gateway said of it */
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_ACCEPTED, 0);
    delivered(h, b, stream, 5, 1, OUTCOME_DONE);
    delivered(h, b, stream, 3, 1, OUTCOME_DONE);
    put(h, a, stream, 1); /* settled */
    assert_int_equal(sim_take(h, SIM_FLOW, a)->code, EHIS_E_EXCHANGE_OUT_OF_SEQUENCE);
    put(h, a, stream, 7);
    assert_int_equal(sim_take(h, SIM_FLOW, a)->expected, 6);
}

static bool is_busy_open(struct sim_house *h, session_id a)
{
    struct stream_state state;
    assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 1), EHIS_OK);
    struct sim_out *o = sim_take(h, SIM_FRAME, a);
    assert_int_equal(stream_state_read(buf_span(&o->bytes), &state, NULL), EHIS_OK);
    bool is_busy = state.code == EHIS_E_EXCHANGE_BUSY;
    sim_forget(h);
    return is_busy;
}

static void a_long_stream_is_not_opened_again_and_again_in_one_second(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h);
    unsigned opened = 0;
    for (uint64_t n = 1; n <= 1000; n++)
        put(h, a, stream, n);
    sim_forget(h);
    while (!is_busy_open(h, a))
        assert_true(++opened <= 200);
    assert_true(opened > 100);
    sim_pass(h, 1000);
    assert_false(is_busy_open(h, a));
}

static void the_place_of_a_late_number_is_looked_for_so_often_in_one_second_alone(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h);
    const uint64_t many = 400;
    uint64_t late = 1;
    assert_int_equal(sim_stream_open_at(h, a, stream, B, NULL, 1, 30000), EHIS_OK);
    sim_forget(h);
    for (uint64_t from = 1; from < 30000; from += 10000)
        for (uint64_t n = 0; n < many; n++)
            put(h, a, stream, from + n);
    assert_null(sim_take(h, SIM_FLOW, a));
    for (struct sim_out *o = NULL; !o && late < 2 * many; late++) { /* behind the first many, behind the second, and so on: far from where the last one went */
        put(h, a, stream, (late % 2 ? 500 : 15000) + late);
        o = sim_take(h, SIM_FLOW, a);
        if (o)
            assert_int_equal(o->code, EHIS_E_EXCHANGE_BUSY);
    }
    assert_in_range(late, many, 2 * many - 1);
    put(h, a, stream, 30000); /* whose turn it is */
    assert_null(sim_take(h, SIM_FLOW, a));
    sim_pass(h, 1000);
    put(h, a, stream, 500 + 2 * many);
    assert_null(sim_take(h, SIM_FLOW, a));
}

static void what_was_settled_when_its_sender_had_no_steps_left_goes_all_the_same(void **state)
{
    struct sim_house *h = *state;
    struct exchange_status s;
    session_id b = sim_ready(h, B, 8, 8, 1 << 20);
    unsigned code = 0;
    assert_int_equal(sim_stream_open(h, b, stream, SVC, "Changed", 1), EHIS_OK);
    for (uint64_t n = 1; n <= 1000; n++) /* of which the acceptance is the end */
        assert_int_equal(sim_submit(h, b, &(struct sim_message){.kind = KIND_EVENT, .sender = B, .recipient = SVC, .operation = "Changed", .stream = stream, .number = n}, &(struct hash){{0}}), EHIS_OK);
    sim_durable(h);
    for (int i = 0; i < 250 && code == 0; i++) {
        struct stream_state st;
        sim_forget(h);
        assert_int_equal(sim_stream_open(h, b, stream, SVC, "Changed", 1), EHIS_OK);
        assert_int_equal(stream_state_read(buf_span(&sim_take(h, SIM_FRAME, b)->bytes), &st, NULL), EHIS_OK);
        code = st.code;
    }
    assert_int_equal(code, EHIS_E_EXCHANGE_BUSY);
    assert_int_equal(sim_settled(h, b, stream, 1001), EHIS_OK);
    exchange_status(h->x, &s);
    assert_int_equal(s.stored_messages, 1000);
    sim_pass(h, 2000);
    exchange_status(h->x, &s);
    assert_int_equal(s.stored_messages, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOUSE_TEST(final_receipts_are_owed_until_they_are_settled),
        HOUSE_TEST(a_receipt_whose_record_cannot_be_read_keeps_no_other_waiting),
        HOUSE_TEST(streams_that_nobody_uses_make_room_for_new_ones),
        HOUSE_TEST(what_goes_on_further_up_forgets_no_end_that_was_not_kept),
        HOUSE_TEST(what_was_settled_by_way_of_other_gateways_is_not_expected_here_also_after_a_restart),
        HOUSE_TEST(a_number_that_was_passed_over_here_is_taken_when_it_comes_after_all),
        HOUSE_TEST(a_long_stream_is_not_opened_again_and_again_in_one_second),
        HOUSE_TEST(what_was_settled_when_its_sender_had_no_steps_left_goes_all_the_same),
        HOUSE_TEST(the_place_of_a_late_number_is_looked_for_so_often_in_one_second_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
