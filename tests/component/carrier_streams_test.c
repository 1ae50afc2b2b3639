/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Two cores and a bus that carries between them (SPEC 17): accepted at one, delivered at the other, in streams; senders that move. */
#include "tests/component/exchange_carrier.h"

static void what_one_accepts_the_other_delivers_and_both_journals_say_so(void **state)
{
    struct record r;
    (void)state;
    struct hash d = put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    assert_receipt(t.one, t.a, &d, STATE_ACCEPTED, 0);
    assert_receipt(t.one, t.a, &d, STATE_REPLICATED, 0);
    take(1, OUTCOME_DONE);
    assert_receipt(t.one, t.a, &d, STATE_DELIVERED, 0);
    assert_true(sim_record(t.one, RECORD_DELIVERED, &d, &r));
    assert_true(span_eq(r.gateway, span_str(SIM_GATEWAY_2)) && r.ack.len > 0);
    assert_true(sim_record(t.two, RECORD_DELIVERED, &d, &r));
    assert_true(span_eq(r.gateway, span_str(SIM_GATEWAY)) && r.header.len > 0 && r.ack.len > 0);
    assert_int_equal(sim_carrier_refused(t.c), 0);
}

static void with_one_broker_nothing_is_called_replicated(void **state)
{
    (void)state;
    sim_carrier_faults(t.c)->is_pilot = true;
    struct hash d = put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    assert_receipt(t.one, t.a, &d, STATE_ACCEPTED, 0);
    assert_null(sim_take(t.one, SIM_RECEIPT, t.a));
}

static void what_an_unsafe_cluster_confirms_is_delivered_and_called_replicated_only_when_it_was_sent_again(void **state)
{
    (void)state;
    sim_carrier_faults(t.c)->is_unsafe = true;
    struct hash first = put_at(t.one, t.a, 1), second = put_at(t.one, t.a, 2);
    sim_carrier_pass(t.c, 3000);
    assert_receipt(t.one, t.a, &first, STATE_ACCEPTED, 0);
    assert_receipt(t.one, t.a, &second, STATE_ACCEPTED, 0);
    take(1, OUTCOME_DONE);
    assert_receipt(t.one, t.a, &first, STATE_DELIVERED, 0);
    assert_null(sim_take(t.one, SIM_RECEIPT, t.a));
    assert_non_null(sim_take(t.two, SIM_DELIVERY, t.b)); /* the second is with its recipient, who says nothing yet */
    sim_carrier_faults(t.c)->is_unsafe = false;
    sim_carrier_pass(t.c, 3000);
    assert_null(sim_take(t.one, SIM_RECEIPT, t.a)); /* not by itself */
    exchange_on_safe(t.one->x, t.one->clock.wall_ms);
    sim_carrier_run(t.c);
    assert_receipt(t.one, t.a, &second, STATE_REPLICATED, 0);
    assert_null(sim_take(t.one, SIM_RECEIPT, t.a));
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b)); /* known there */
}

static void what_an_unsafe_cluster_confirmed_is_not_called_replicated_after_a_restart_either(void **state)
{
    (void)state;
    sim_carrier_faults(t.c)->is_unsafe = true;
    sim_end(t.two, t.b);
    struct hash d = put_at(t.one, t.a, 1);
    sim_carrier_pass(t.c, 3000);
    sim_carrier_leave(t.c, t.one);
    sim_restart(t.one, false);
    t.a = sim_ready(t.one, A, 8, 0, 0);
    sim_carrier_pass(t.c, 3000);
    assert_int_equal(sim_stream_open(t.one, t.a, stream, B, NULL, 1), EHIS_OK);
    for (struct sim_out *o; (o = sim_take(t.one, SIM_RECEIPT, t.a));)
        assert_int_equal(o->state, STATE_ACCEPTED);
    sim_carrier_faults(t.c)->is_unsafe = false;
    exchange_on_safe(t.one->x, t.one->clock.wall_ms);
    sim_carrier_run(t.c);
    assert_receipt(t.one, t.a, &d, STATE_REPLICATED, 0);
}

static void both_ends_at_one_gateway_make_one_record(void **state)
{
    (void)state;
    sim_end(t.two, t.b);
    session_id b = sim_ready(t.one, B, 8, 64, 1 << 20);
    sim_carrier_run(t.c);
    struct hash d = put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    struct sim_out *o = sim_take(t.one, SIM_DELIVERY, b);
    assert_non_null(o);
    assert_int_equal(sim_ack(t.one, b, B, &(struct sim_ack){.delivery = o->delivery, .digest = d, .outcome = OUTCOME_DONE}, 1), EHIS_OK);
    sim_carrier_run(t.c);
    assert_receipt(t.one, t.a, &d, STATE_ACCEPTED, 0);
    assert_receipt(t.one, t.a, &d, STATE_REPLICATED, 0);
    assert_receipt(t.one, t.a, &d, STATE_DELIVERED, 0);
    assert_int_equal(sim_record_count(t.one, RECORD_DELIVERED), 1);
}

static void a_rejection_and_a_refusal_go_over_as_well(void **state)
{
    (void)state;
    struct hash d = put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    take(1, OUTCOME_REJECTED);
    assert_receipt(t.one, t.a, &d, STATE_ACCEPTED, 0);
    assert_receipt(t.one, t.a, &d, STATE_REPLICATED, 0);
    assert_receipt(t.one, t.a, &d, STATE_FAILED, 0);
    sim_forget(t.two);
    struct sim_message m = numbered(2);
    m.purpose = "nosing";
    assert_int_equal(sim_submit(t.one, t.a, &m, &d), EHIS_OK);
    sim_carrier_run(t.c);
    struct sim_out *skip = sim_take(t.two, SIM_SKIP, t.b);
    assert_non_null(skip);
    assert_int_equal(skip->number, 2);
    assert_int_equal(skip->state, STATE_REFUSED);
}

static void what_the_bus_does_not_take_goes_in_order_when_it_does_skips_too(void **state)
{
    struct hash d;
    (void)state;
    put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    take(1, OUTCOME_DONE);
    sim_carrier_faults(t.c)->is_down = true;
    put_at(t.one, t.a, 2);
    struct sim_message refused = numbered(3), brief = numbered(4);
    refused.purpose = "nosing";
    brief.lifetime_ms = 1500;
    assert_int_equal(sim_submit(t.one, t.a, &refused, &d), EHIS_OK);
    assert_int_equal(sim_submit(t.one, t.a, &brief, &d), EHIS_OK);
    sim_carrier_pass(t.c, 5000);
    assert_true(sim_record(t.one, RECORD_EXPIRED, &d, &(struct record){0}));
    sim_carrier_faults(t.c)->is_down = false;
    put_at(t.one, t.a, 5); /* the bus would take it before the others */
    sim_carrier_run(t.c);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
    sim_carrier_pass(t.c, 2000);
    take(2, OUTCOME_DONE);
    for (uint64_t n = 3; n <= 4; n++) {
        struct sim_out *skip = sim_take(t.two, SIM_SKIP, t.b);
        assert_non_null(skip);
        assert_int_equal(skip->number, n);
        assert_int_equal(skip->state, n == 3 ? STATE_REFUSED : STATE_EXPIRED);
    }
    take(5, OUTCOME_DONE);
    put_at(t.one, t.a, 6);
    sim_carrier_run(t.c);
    take(6, OUTCOME_DONE);
}

/* All that it is told there of a message is this, in this order; and nothing was delivered again. */
static void assert_told_at_two(session_id s, const struct hash *d, enum state end)
{
    assert_receipt(t.two, s, d, STATE_ACCEPTED, 0);
    assert_receipt(t.two, s, d, STATE_REPLICATED, 0);
    assert_receipt(t.two, s, d, end, 0);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
}

static void a_sender_that_moves_may_be_accepted_twice_and_is_delivered_once(void **state)
{
    struct hash d;
    struct sim_message m = numbered(1);
    (void)state;
    make(&m, &d, NULL);
    submit_made(t.one, t.a);
    session_id a2 = sender_at_two();
    submit_made(t.two, a2);
    take(1, OUTCOME_DONE);
    assert_told_at_two(a2, &d, STATE_DELIVERED);
    assert_true(sim_record(t.one, RECORD_DELIVERED, &d, &(struct record){0}));
}

static void what_comes_again_behind_its_end_is_finished_and_told_as_well(void **state)
{
    struct hash d;
    struct sim_message m = numbered(1);
    (void)state;
    make(&m, &d, NULL);
    session_id a2 = sender_at_two();
    submit_made(t.one, t.a);
    assert_int_equal(sim_carrier_unfinished(t.c), 1);
    take(1, OUTCOME_REJECTED);
    assert_non_null(sim_take(t.two, SIM_SKIP, t.b)); /* not taken yet: the message stands here for it */
    assert_int_equal(sim_carrier_unfinished(t.c), 0);
    submit_made(t.two, a2);
    assert_int_equal(sim_carrier_unfinished(t.c), 0);
    assert_told_at_two(a2, &d, STATE_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CARRIER_TEST(what_one_accepts_the_other_delivers_and_both_journals_say_so),
        CARRIER_TEST(with_one_broker_nothing_is_called_replicated),
        CARRIER_TEST(what_an_unsafe_cluster_confirms_is_delivered_and_called_replicated_only_when_it_was_sent_again),
        CARRIER_TEST(what_an_unsafe_cluster_confirmed_is_not_called_replicated_after_a_restart_either),
        CARRIER_TEST(both_ends_at_one_gateway_make_one_record),
        CARRIER_TEST(a_rejection_and_a_refusal_go_over_as_well),
        CARRIER_TEST(what_the_bus_does_not_take_goes_in_order_when_it_does_skips_too),
        CARRIER_TEST(a_sender_that_moves_may_be_accepted_twice_and_is_delivered_once),
        CARRIER_TEST(what_comes_again_behind_its_end_is_finished_and_told_as_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
