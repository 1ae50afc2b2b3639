/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Delivery: order, windows, acknowledgements, what comes back, what expires, which session receives. */
#include "tests/unit/gateway/exchange/exchange_streams.h"

static void an_acknowledgement_ends_a_message_and_proves_itself_alone(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct hash d[3], leaf;
    struct acknowledgement ack;
    struct envelope_signature s;
    struct record r;
    for (uint64_t n = 0; n < 3; n++)
        d[n] = put(h, a, stream, n + 1);
    sim_durable(h);
    sim_take(h, SIM_RECEIPT, a), sim_take(h, SIM_RECEIPT, a), sim_take(h, SIM_RECEIPT, a);
    struct sim_ack acks[3];
    for (uint64_t n = 0; n < 3; n++)
        acks[n] = delivered(h, b, stream, n + 1, 1, n == 2 ? OUTCOME_REJECTED : OUTCOME_DONE);
    acks[2].code = 77;
    assert_int_equal(sim_ack(h, b, B, acks, 3), EHIS_OK);
    assert_null(sim_take(h, SIM_RECEIPT, 0)); /* R3 */
    sim_durable(h);
    for (size_t n = 0; n < 3; n++) {
        struct sim_out *o = sim_take(h, SIM_RECEIPT, a);
        assert_int_equal(o->state, n == 2 ? STATE_FAILED : STATE_DELIVERED);
        assert_int_equal(o->code, n == 2 ? 77 : 0);
        assert_int_equal(acknowledgement_read(buf_span(&o->bytes), &ack, NULL), EHIS_OK);
        assert_memory_equal(ack.digest, d[n].b, 32);
        assert_int_equal(envelope_signature_read(ack.signature, &s, NULL), EHIS_OK);
        struct leaf_signature sig = {.algorithm = s.algorithm, .size = s.size, .index = s.index, .path = s.path, .signature = s.signature};
        memcpy(sig.key_id.b, s.key_id, 32);
        leaf_ack(&d[n], (uint8_t)ack.outcome, ack.code, ack.time_ms, &leaf);
        const struct test_owner *owner = test_registry_owner(h->author, B);
        assert_int_equal(sign_verify_leaf(&leaf, &sig, sign_key_public(owner->sign), NULL), EHIS_OK);
        assert_true(sim_record(h, n == 2 ? RECORD_FAILED : RECORD_DELIVERED, &d[n], &r));
        assert_true(span_eq(r.ack, buf_span(&o->bytes)));
    }
}

static void a_bad_acknowledgement_ends_the_session_and_changes_nothing(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct exchange_status s;
    put(h, a, stream, 1);
    sim_durable(h);
    struct sim_ack ack = delivered(h, b, stream, 1, 1, OUTCOME_DONE);
    assert_int_equal(sim_ack(h, b, A, &ack, 1), EHIS_E_KEY_FOREIGN); /* another's key */
    ack.digest.b[0] ^= 1;
    assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_E_EXCHANGE_ACK_MISMATCH);
    ack.digest.b[0] ^= 1;
    struct sim_ack unknown = {99, ack.digest, OUTCOME_DONE, 0, 0};
    assert_int_equal(sim_ack(h, b, B, &unknown, 1), EHIS_OK); /* given back meanwhile, perhaps */
    exchange_status(h->x, &s);
    assert_int_equal(s.delivered, 0);
    assert_int_equal(s.in_flight, 1);
    assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK);
    exchange_status(h->x, &s);
    assert_int_equal(s.delivered, 1);
}

static void a_negative_acknowledgement_delays_its_own_stream_alone(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h), b = sim_ready(h, B, 8, 8, 1 << 20);
    put(h, a, stream, 1);
    sim_durable(h);
    struct sim_ack ack = delivered(h, b, stream, 1, 1, OUTCOME_RETRY);
    assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK);
    put(h, a, stream, 2);
    put(h, a, other, 1);
    sim_durable(h);
    delivered(h, b, other, 1, 1, OUTCOME_DONE);
    assert_null(sim_take(h, SIM_DELIVERY, b));
    sim_pass(h, 999);
    assert_null(sim_take(h, SIM_DELIVERY, b));
    sim_pass(h, 2);
    ack = delivered(h, b, stream, 1, 2, OUTCOME_RETRY); /* and in order */
    delivered(h, b, stream, 2, 1, OUTCOME_DONE);
    ack.retry_ms = 30000; /* as the recipient asks */
    assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK);
    sim_pass(h, 29000);
    assert_null(sim_take(h, SIM_DELIVERY, b));
    sim_pass(h, 1001);
    delivered(h, b, stream, 1, 3, OUTCOME_DONE);
}

static void what_fails_too_often_is_dead_lettered_and_goes_on_as_a_skip(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct hash d = put(h, a, stream, 1), leaf;
    struct record r;
    put(h, a, stream, 2);
    sim_durable(h);
    sim_take(h, SIM_RECEIPT, a), sim_take(h, SIM_RECEIPT, a);
    for (unsigned attempt = 1; attempt <= 9; attempt++) { /* that nobody tried it does not count */
        struct sim_ack ack = delivered(h, b, stream, 1, attempt, OUTCOME_RETRY);
        ack.code = attempt % 2 ? 0 : attempt % 4 ? EHIS_E_SDK_NO_HANDLER : EHIS_E_STREAM_AHEAD;
        if (attempt == 1)
            delivered(h, b, stream, 2, 1, OUTCOME_DONE);
        assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK);
        sim_pass(h, 61000);
    }
    assert_null(sim_take(h, SIM_SKIP, b)); /* R3 */
    assert_true(sim_record(h, RECORD_FAILED, &d, &r));
    assert_int_equal(r.code, EHIS_E_EXCHANGE_DEAD_LETTER);
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_FAILED, EHIS_E_EXCHANGE_DEAD_LETTER);
    struct sim_out *o = sim_take(h, SIM_SKIP, b);
    assert_non_null(o);
    assert_int_equal(o->number, 1);
    assert_int_equal(o->state, STATE_FAILED);
    sim_skip_leaf(o, &leaf);
    struct sim_ack ack = {o->delivery, leaf, OUTCOME_DONE, 0, 0};
    assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK);
    struct exchange_status s;
    exchange_status(h->x, &s);
    assert_int_equal(s.skips, 1);
}

static void a_session_that_ends_gives_back_in_order_and_only_its_first_counts_an_attempt(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h);
    for (uint64_t n = 1; n <= 3; n++)
        put(h, a, stream, n);
    sim_durable(h);
    for (unsigned attempt = 1; attempt <= 5; attempt++) {
        session_id b = sim_ready(h, B, 8, 8, 1 << 20);
        sim_pass(h, attempt > 1 ? 61000 : 1);
        for (uint64_t n = 1; n <= 3; n++)
            delivered(h, b, stream, n, attempt, OUTCOME_DONE);
        sim_end(h, b);
    }
    sim_durable(h);
    session_id b = sim_ready(h, B, 8, 8, 1 << 20);
    sim_pass(h, 61000);
    struct sim_out *o = sim_take(h, 0, b);
    o = o->what == SIM_FRAME ? sim_take(h, 0, b) : o;
    assert_int_equal(o->what, SIM_SKIP); /* the first was handled in each of five sessions that ended */
    delivered(h, b, stream, 2, 6, OUTCOME_DONE);
    delivered(h, b, stream, 3, 6, OUTCOME_DONE);
}

static void what_nobody_has_tried_does_not_count_when_its_session_ends_and_comes_at_READY(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h), b = 0;
    put(h, a, stream, 1);
    put(h, a, stream, 2);
    sim_durable(h);
    for (unsigned attempt = 1; attempt <= 9; attempt++) {
        b = sim_ready(h, B, 8, 8, 1 << 20);
        sim_pass(h, 100);
        struct sim_ack ack = delivered(h, b, stream, 1, attempt, OUTCOME_RETRY);
        delivered(h, b, stream, 2, attempt, OUTCOME_DONE); /* on its way when the session ends: the first is not finished */
        ack.code = EHIS_E_SDK_NO_HANDLER;
        ack.retry_ms = 30000;
        assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK);
        sim_pass(h, 29000);
        assert_null(sim_take(h, SIM_DELIVERY, b));
        sim_end(h, b);
    }
    b = sim_ready(h, B, 8, 8, 1 << 20);
    sim_pass(h, 100);
    delivered(h, b, stream, 1, 10, OUTCOME_DONE);
    delivered(h, b, stream, 2, 10, OUTCOME_DONE);
}

static void windows_of_messages_and_of_bytes_are_kept(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h);
    for (uint64_t n = 1; n <= 6; n++)
        put(h, a, stream, n);
    sim_durable(h);
    session_id b = sim_ready(h, B, 0, 3, 1 << 20);
    assert_int_equal(sim_count(h, SIM_DELIVERY, b), 3);
    struct sim_ack ack = delivered(h, b, stream, 1, 1, OUTCOME_DONE);
    assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK);
    assert_int_equal(sim_count(h, SIM_DELIVERY, b), 3);
    sim_end(h, b);
    sim_forget(h);
    b = sim_ready(h, B, 0, 8, 64); /* one body has 64 bytes */
    assert_int_equal(sim_count(h, SIM_DELIVERY, b), 1);
    sim_end(h, b);
    sim_pass(h, 2000);
    b = sim_ready(h, B, 0, 8, 1); /* one at least, or it would never come */
    assert_int_equal(sim_count(h, SIM_DELIVERY, b), 1);
    sim_end(h, b);
    sim_pass(h, 61000);
    b = sim_ready(h, B, 8, 0, 1 << 20);
    assert_int_equal(sim_count(h, SIM_DELIVERY, b), 0);
}

static bool is_deaf;
static bool deaf(void *ctx, session_id s)
{
    (void)ctx, (void)s;
    return is_deaf;
}

static void what_an_output_does_not_take_is_kept_and_comes_when_there_is_room(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct hash d[2];
    h->is_full = deaf;
    is_deaf = true;
    d[0] = put(h, a, stream, 1);
    put(h, a, stream, 3); /* FLOW */
    sim_durable(h);
    d[1] = put(h, a, stream, 2);
    sim_durable(h);
    assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 1), EHIS_OK);
    assert_int_equal(sim_count(h, SIM_RECEIPT, 0) + sim_count(h, SIM_DELIVERY, 0) + sim_count(h, SIM_FLOW, 0), 0);
    is_deaf = false;
    exchange_session_room(h->x, a, h->clock.wall_ms);
    struct sim_out *o = take_frame(h, a, FRAME_FLOW);
    assert_non_null(o);
    assert_non_null(take_frame(h, a, FRAME_STREAM_STATE));
    assert_receipt(h, a, &d[0], STATE_ACCEPTED, 0);
    assert_receipt(h, a, &d[1], STATE_ACCEPTED, 0);
    exchange_session_room(h->x, b, h->clock.wall_ms);
    delivered(h, b, stream, 1, 1, OUTCOME_DONE);
    delivered(h, b, stream, 2, 1, OUTCOME_DONE);
}

static void a_peer_that_asks_and_does_not_read_ends_at_a_bound(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h);
    ehis_err err = EHIS_OK;
    h->is_full = deaf;
    is_deaf = true;
    for (int i = 0; i < 200000 && err == EHIS_OK; i++)
        err = sim_stream_open(h, a, stream, B, NULL, 1);
    is_deaf = false;
    assert_int_equal(err, EHIS_E_TOO_LARGE);
}

static void one_state_folder_receives_the_streams_and_another_takes_over(void **state)
{
    struct sim_house *h = *state;
    struct ready_state ready;
    session_id a = sender(h), b1 = sim_ready(h, B, 8, 8, 1 << 20), b2 = sim_ready(h, B, 8, 8, 1 << 20);
    struct sim_out *o = take_frame(h, b1, FRAME_READY_STATE);
    assert_int_equal(ready_state_read(buf_span(&o->bytes), &ready, NULL), EHIS_OK);
    assert_true(ready.has_streams);
    o = take_frame(h, b2, FRAME_READY_STATE);
    assert_int_equal(ready_state_read(buf_span(&o->bytes), &ready, NULL), EHIS_OK);
    assert_false(ready.has_streams);
    put(h, a, stream, 1);
    sim_durable(h);
    delivered(h, b1, stream, 1, 1, OUTCOME_DONE);
    assert_null(sim_take(h, SIM_DELIVERY, b2));
    sim_end(h, b1);
    o = take_frame(h, b2, FRAME_READY_STATE);
    assert_non_null(o);
    assert_int_equal(ready_state_read(buf_span(&o->bytes), &ready, NULL), EHIS_OK);
    assert_true(ready.has_streams);
    delivered(h, b2, stream, 1, 2, OUTCOME_DONE);
}

static void a_state_folder_used_twice_ends_the_older_session(void **state)
{
    struct sim_house *h = *state;
    static const uint8_t folder[16] = {5};
    session_id first = sim_open_state(h, A, folder);
    assert_null(sim_take(h, SIM_END, 0));
    session_id second = sim_open_state(h, A, folder);
    struct sim_out *o = sim_take(h, SIM_END, 0);
    assert_non_null(o);
    assert_int_equal(o->session, first);
    assert_int_equal(o->code, EHIS_E_EXCHANGE_STATE_IN_USE);
    assert_int_equal(sim_stream_open(h, first, stream, B, NULL, 1), EHIS_E_LINK_ENDED);
    assert_int_equal(sim_stream_open(h, second, stream, B, NULL, 1), EHIS_OK);
    sim_end(h, first);
    assert_int_equal(sim_stream_open(h, second, other, B, NULL, 1), EHIS_OK);
}

static void what_nobody_fetched_expires_with_a_record_a_receipt_and_a_skip(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct record r;
    put(h, a, stream, 1);
    sim_durable(h);
    struct sim_ack ack = delivered(h, b, stream, 1, 1, OUTCOME_DONE);
    assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK);
    sim_durable(h);
    sim_end(h, b);
    struct hash d = put(h, a, stream, 2);
    sim_durable(h);
    sim_forget(h);
    sim_pass(h, 3599000);
    assert_false(sim_record(h, RECORD_EXPIRED, NULL, &r));
    sim_pass(h, 3000);
    assert_true(sim_record(h, RECORD_EXPIRED, &d, &r));
    assert_null(sim_take(h, SIM_RECEIPT, 0));
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_EXPIRED, EHIS_E_EXCHANGE_EXPIRED);
    b = sim_ready(h, B, 8, 8, 1 << 20);
    struct sim_out *o = sim_take(h, SIM_SKIP, b);
    assert_non_null(o);
    assert_int_equal(o->number, 2);
    assert_int_equal(o->state, STATE_EXPIRED);
}

static void rights_that_went_between_acceptance_and_delivery_stop_the_delivery(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h);
    struct hash d = put(h, a, stream, 1);
    sim_durable(h);
    sim_forget(h);
    test_registry_drop_rules(h->author, SVC);
    sim_house_publish(h);
    session_id b = sim_ready(h, B, 8, 8, 1 << 20);
    assert_null(sim_take(h, SIM_DELIVERY, b));
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_FAILED, EHIS_E_POLICY_NO_RULE);
}

static void the_bus_may_be_down(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h), b = sim_ready(h, B, 8, 8, 1 << 20);
    h->is_bus_down = true;
    put(h, a, stream, 1);
    sim_durable(h);
    assert_null(sim_take(h, SIM_DELIVERY, b));
    h->is_bus_down = false;
    sim_pass(h, 3000);
    delivered(h, b, stream, 1, 1, OUTCOME_DONE);
}

static void an_out_of_date_gateway_takes_no_word_and_hears_it_again_afterwards(void **state)
{
    struct sim_house *h = *state;
    struct stream_state st;
    struct subscription sub;
    struct ready_state rs;
    static const uint8_t third[16] = {3}, epoch[16] = {4};
    session_id a = sender(h), b = sim_ready(h, B, 8, 8, 1 << 20);
    put(h, a, stream, 1);
    sim_durable(h);
    struct sim_ack ack = delivered(h, b, stream, 1, 1, OUTCOME_DONE);
    exchange_halt(h->x, EHIS_E_CRL_STALE);
    sim_forget(h);
    assert_int_equal(sim_stream_open(h, a, third, B, NULL, 1), EHIS_OK);
    struct sim_out *o = take_frame(h, a, FRAME_STREAM_STATE);
    assert_non_null(o);
    assert_int_equal(stream_state_read(buf_span(&o->bytes), &st, NULL), EHIS_OK);
    assert_int_equal(st.code, EHIS_E_CRL_STALE);
    for (int is_end = 0; is_end < 2; is_end++) {
        assert_int_equal(sim_subscribe(h, a, SVC, "Changed", is_end), EHIS_OK);
        o = take_frame(h, a, FRAME_SUBSCRIPTION);
        assert_non_null(o);
        assert_int_equal(subscription_read(buf_span(&o->bytes), &sub, NULL), EHIS_OK);
        assert_int_equal(sub.code, EHIS_E_CRL_STALE);
    }
    assert_int_equal(sim_keys_get(h, a, SVC, "Changed", epoch), EHIS_OK);
    o = take_frame(h, a, FRAME_READY_STATE);
    assert_non_null(o);
    assert_int_equal(ready_state_read(buf_span(&o->bytes), &rs, NULL), EHIS_OK);
    assert_int_equal(rs.code, EHIS_E_CRL_STALE);
    assert_null(take_frame(h, a, FRAME_KEYS));
    assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK);
    o = take_frame(h, b, FRAME_READY_STATE);
    assert_non_null(o);
    assert_int_equal(ready_state_read(buf_span(&o->bytes), &rs, NULL), EHIS_OK);
    assert_int_equal(rs.code, EHIS_E_CRL_STALE);
    assert_true(rs.has_streams && rs.retry_ms > 0);
    sim_durable(h);
    sim_pass(h, 3000);
    assert_int_equal(sim_record_count(h, RECORD_DELIVERED), 0);
    assert_int_equal(sim_record_count(h, RECORD_SUBSCRIBED), 0);
    assert_int_equal(sim_record_count(h, RECORD_ATTEMPTED), 0); /* nobody's fault */
    assert_null(sim_take(h, SIM_DELIVERY, 0));
    exchange_halt(h->x, EHIS_OK);
    assert_int_equal(sim_set_ready(h, b, 8, 8, 1 << 20), EHIS_OK);
    ack = delivered(h, b, stream, 1, 2, OUTCOME_DONE);
    assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK);
    assert_int_equal(sim_stream_open(h, a, third, B, NULL, 1), EHIS_OK);
    assert_stream_state(h, a, 1, 0);
    assert_int_equal(sim_subscribe(h, a, SVC, "Changed", false), EHIS_OK);
    sim_durable(h);
    assert_int_equal(sim_record_count(h, RECORD_DELIVERED), 1);
    assert_int_equal(sim_record_count(h, RECORD_SUBSCRIBED), 1);
}

static void what_waits_when_the_lists_run_out_waits_on(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h), b = sim_ready(h, B, 8, 8, 1 << 20);
    exchange_halt(h->x, EHIS_E_CRL_STALE);
    put(h, a, stream, 1);
    struct sim_out *o = sim_take(h, SIM_FLOW, a);
    assert_non_null(o);
    assert_int_equal(o->code, EHIS_E_CRL_STALE);
    exchange_halt(h->x, EHIS_OK);
    put(h, a, stream, 1);
    exchange_halt(h->x, EHIS_E_CRL_STALE);
    sim_durable(h);
    sim_pass(h, 5000);
    assert_null(sim_take(h, SIM_DELIVERY, b));
    exchange_halt(h->x, EHIS_OK);
    sim_pass(h, 1000);
    delivered(h, b, stream, 1, 1, OUTCOME_DONE);
    assert_int_equal(sim_record_count(h, RECORD_FAILED), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOUSE_TEST(an_acknowledgement_ends_a_message_and_proves_itself_alone),
        HOUSE_TEST(what_waits_when_the_lists_run_out_waits_on),
        HOUSE_TEST(an_out_of_date_gateway_takes_no_word_and_hears_it_again_afterwards),
        HOUSE_TEST(a_bad_acknowledgement_ends_the_session_and_changes_nothing),
        HOUSE_TEST(a_negative_acknowledgement_delays_its_own_stream_alone),
        HOUSE_TEST(what_fails_too_often_is_dead_lettered_and_goes_on_as_a_skip),
        HOUSE_TEST(what_nobody_has_tried_does_not_count_when_its_session_ends_and_comes_at_READY),
        HOUSE_TEST(a_session_that_ends_gives_back_in_order_and_only_its_first_counts_an_attempt),
        HOUSE_TEST(windows_of_messages_and_of_bytes_are_kept),
        HOUSE_TEST(what_an_output_does_not_take_is_kept_and_comes_when_there_is_room),
        HOUSE_TEST(a_peer_that_asks_and_does_not_read_ends_at_a_bound),
        HOUSE_TEST(one_state_folder_receives_the_streams_and_another_takes_over),
        HOUSE_TEST(a_state_folder_used_twice_ends_the_older_session),
        HOUSE_TEST(what_nobody_fetched_expires_with_a_record_a_receipt_and_a_skip),
        HOUSE_TEST(rights_that_went_between_acceptance_and_delivery_stop_the_delivery),
        HOUSE_TEST(the_bus_may_be_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
