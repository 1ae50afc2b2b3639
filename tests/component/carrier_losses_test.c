/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What a bus that carries loses, doubles or reads anew, and gateways that die at either end of it (SPEC 17.4, 17.6). */
#include "tests/component/exchange_carrier.h"

static void what_the_broker_loses_is_recorded_and_sent_again(void **state)
{
    (void)state;
    sim_carrier_faults(t.c)->drop = 1;
    struct hash d = put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
    sim_carrier_pass(t.c, 25000);
    assert_true(sim_record(t.one, RECORD_LOST, &d, &(struct record){0}));
    take(1, OUTCOME_DONE);
    assert_true(sim_record(t.one, RECORD_DELIVERED, &d, &(struct record){0}));
    d = put_at(t.one, t.a, 2);
    sim_carrier_run(t.c);
    sim_carrier_faults(t.c)->drop = 1; /* the report */
    take(2, OUTCOME_DONE);
    assert_false(sim_record(t.one, RECORD_DELIVERED, &d, &(struct record){0}));
    sim_carrier_pass(t.c, 25000);
    take(2, OUTCOME_DONE); /* again: libehis knows it */
    assert_true(sim_record(t.one, RECORD_DELIVERED, &d, &(struct record){0}));
}

static void what_an_unsafe_cluster_loses_is_sent_again_before_it_is_safe(void **state)
{
    (void)state;
    sim_carrier_faults(t.c)->is_unsafe = true;
    sim_carrier_faults(t.c)->drop = 1;
    struct hash d = put_at(t.one, t.a, 1);
    put_at(t.one, t.a, 2);
    sim_carrier_run(t.c);
    sim_carrier_pass(t.c, 60000); /* the second is with its recipient: it is not lost */
    assert_true(sim_record(t.one, RECORD_LOST, &d, &(struct record){0}));
    assert_int_equal(sim_record_count(t.one, RECORD_LOST), 1);
    take(2, OUTCOME_DONE);
    take(1, OUTCOME_DONE);
    assert_true(sim_record(t.one, RECORD_DELIVERED, &d, &(struct record){0}));
}

static void what_waits_is_not_taken_for_lost(void **state)
{
    (void)state;
    put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    sim_carrier_pass(t.c, 60000);
    assert_int_equal(sim_record_count(t.one, RECORD_LOST), 0);
    take(1, OUTCOME_DONE);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
}

static void what_is_lost_and_not_sent_again_yet_is_not_noted_as_replicated(void **state)
{
    struct record r;
    (void)state;
    sim_carrier_faults(t.c)->confirms_nothing = true;
    struct hash d = put_at(t.one, t.a, 1);
    put_at(t.one, t.a, 2);
    sim_carrier_run(t.c);
    exchange_on_lost(t.one->x, &d, t.one->clock.wall_ms); /* the relay gave it up: its place in the journal was another meanwhile */
    assert_true(sim_record(t.one, RECORD_ACCEPTED, &d, &r));
    uint64_t sequence = r.sequence;
    sim_carrier_pass(t.c, 3000);
    if (sim_record(t.one, RECORD_REPLICATED, NULL, &r))
        assert_true(r.count < sequence);
    sim_carrier_leave(t.c, t.one);
    sim_restart(t.one, false);
    t.a = sim_ready(t.one, A, 8, 0, 0);
    assert_int_equal(sim_stream_open(t.one, t.a, stream, B, NULL, 1), EHIS_OK);
    assert_receipt(t.one, t.a, &d, STATE_ACCEPTED, 0);
}

static void twice_on_the_bus_is_once_in_the_inbox(void **state)
{
    (void)state;
    sim_carrier_faults(t.c)->twice = 1;
    put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    take(1, OUTCOME_DONE);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
}

static void the_other_gateway_takes_over_what_a_dead_one_had(void **state)
{
    (void)state;
    struct hash d = put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    assert_non_null(sim_take(t.two, SIM_DELIVERY, t.b));
    sim_carrier_leave(t.c, t.two);
    sim_restart(t.two, false);
    session_id b = sim_ready(t.one, B, 8, 64, 1 << 20);
    sim_carrier_run(t.c);
    struct sim_out *o = sim_take(t.one, SIM_DELIVERY, b);
    assert_non_null(o);
    assert_int_equal(sim_ack(t.one, b, B, &(struct sim_ack){.delivery = o->delivery, .digest = d, .outcome = OUTCOME_DONE}, 1), EHIS_OK);
    sim_carrier_run(t.c);
    assert_true(sim_record(t.one, RECORD_DELIVERED, &d, &(struct record){0}));
}

static void what_was_accepted_and_not_confirmed_goes_again_after_a_restart(void **state)
{
    (void)state;
    sim_carrier_faults(t.c)->is_down = true;
    struct hash d = put_at(t.one, t.a, 1), e;
    sim_carrier_run(t.c);
    assert_receipt(t.one, t.a, &d, STATE_ACCEPTED, 0);
    sim_carrier_leave(t.c, t.one);
    sim_carrier_faults(t.c)->is_down = false;
    sim_restart(t.one, false);
    sim_carrier_run(t.c);
    take(1, OUTCOME_DONE);
    t.a = sim_ready(t.one, A, 8, 0, 0);
    assert_int_equal(sim_stream_open(t.one, t.a, stream, B, NULL, 1), EHIS_OK);
    assert_receipt(t.one, t.a, &d, STATE_DELIVERED, 0);
    e = put_at(t.one, t.a, 2);
    sim_carrier_run(t.c);
    sim_carrier_pass(t.c, 3000); /* confirmed, and noted */
    assert_int_equal(sim_record_count(t.one, RECORD_REPLICATED) > 0, 1);
    sim_forget(t.two);
    sim_carrier_leave(t.c, t.one);
    sim_restart(t.one, false);
    sim_carrier_run(t.c);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b)); /* not again */
    t.a = sim_ready(t.one, A, 8, 0, 0);
    sim_forget(t.one);
    assert_int_equal(sim_stream_open(t.one, t.a, stream, B, NULL, 2), EHIS_OK);
    assert_receipt(t.one, t.a, &e, STATE_REPLICATED, 0); /* and what was said of it is said again */
}

/* Two of a stream are on the bus, which no reader takes any more. */
static void revoke_on_the_way(struct hash d[2])
{
    sim_end(t.two, t.b);
    for (size_t i = 0; i < 2; i++) {
        d[i] = put_at(t.one, t.a, i + 1);
        sim_carrier_run(t.c);
    }
    test_registry_revoke(t.one->author, A, USE_SIGN, t.one->clock.wall_ms);
    sim_house_publish(t.one);
    registry_unref(t.two->registry);
    t.two->registry = registry_ref(t.one->registry);
    exchange_set_registry(t.two->x, t.two->registry, t.two->clock.wall_ms);
    t.b = sim_ready(t.two, B, 8, 64, 1 << 20);
}

static void assert_skips_of_failed(void)
{
    for (uint64_t n = 1; n <= 2; n++) {
        struct sim_out *skip = sim_take(t.two, SIM_SKIP, t.b);
        assert_non_null(skip);
        assert_int_equal(skip->number, n);
        assert_int_equal(skip->state, STATE_FAILED);
    }
    assert_null(sim_take(t.two, SIM_SKIP, t.b));
}

static void what_is_on_its_way_when_its_key_is_revoked_fails_and_is_not_sent_again_for_ever(void **state)
{
    struct hash d[2];
    (void)state;
    revoke_on_the_way(d);
    sim_carrier_pass(t.c, 60000);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
    assert_int_equal(sim_carrier_refused(t.c), 2);
    assert_skips_of_failed(); /* its recipient does not wait for it */
    assert_int_equal(sim_record_count(t.one, RECORD_LOST), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_receipt(t.one, t.a, &d[i], STATE_ACCEPTED, 0);
        assert_receipt(t.one, t.a, &d[i], STATE_REPLICATED, 0);
    }
    for (size_t i = 0; i < 2; i++)
        assert_receipt(t.one, t.a, &d[i], STATE_FAILED, EHIS_E_KEY_REVOKED);
}

static void that_it_failed_is_told_though_the_gateway_died_before_the_bus_took_its_skip(void **state)
{
    struct hash d[2];
    (void)state;
    t.one->segment_entries = 8;
    revoke_on_the_way(d);
    sim_carrier_faults(t.c)->is_down = true;
    sim_carrier_pass(t.c, 60000);
    assert_int_equal(sim_record_count(t.one, RECORD_FAILED), 2);
    for (int restarts = 0; restarts < 2; restarts++) { /* and once more, while nobody has heard of it */
        sim_carrier_leave(t.c, t.one);
        sim_restart(t.one, false);
        sim_carrier_pass(t.c, 5000);
        sim_release(t.one);
    }
    assert_null(sim_take(t.two, SIM_SKIP, t.b));
    sim_carrier_faults(t.c)->is_down = false;
    sim_carrier_pass(t.c, 2000);
    assert_skips_of_failed();
    t.a = sim_ready(t.one, A, 8, 0, 0);
    assert_int_equal(sim_stream_open(t.one, t.a, stream, B, NULL, 1), EHIS_OK);
    for (size_t i = 0; i < 2; i++)
        assert_receipt(t.one, t.a, &d[i], STATE_FAILED, EHIS_E_KEY_REVOKED);
    assert_int_equal(sim_settled(t.one, t.a, stream, 3), EHIS_OK);
    struct exchange_status s;
    exchange_status(t.one->x, &s);
    assert_int_equal(s.stored_messages, 0);
}

/* What the second house holds, unfinished, it reads once more; then the first has the inbox, and delivers it. */
static void assert_goes_on_at_one(const struct hash *d)
{
    sim_forget(t.two);
    sim_carrier_reread(t.c, B);
    sim_carrier_run(t.c);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
    assert_int_equal(sim_carrier_unfinished(t.c), 1);
    sim_carrier_leave(t.c, t.two);
    sim_restart(t.two, false);
    t.b = sim_ready(t.one, B, 8, 64, 1 << 20);
    sim_carrier_run(t.c);
    assert_delivered(t.one, t.b, d);
}

static void what_is_held_while_its_topic_is_read_anew_is_the_next_owners(void **state)
{
    (void)state;
    struct hash d = put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    assert_delivered(t.two, t.b, &d);
    assert_goes_on_at_one(&d);
}

static void a_call_that_is_held_while_its_topic_is_read_anew_is_the_next_owners(void **state)
{
    struct hash d;
    uint8_t id[16];
    (void)state;
    ask(&d, id);
    assert_delivered(t.two, t.b, &d);
    assert_goes_on_at_one(&d);
}

static void what_is_held_while_its_topic_is_read_anew_is_handed_over_from_where_it_was_read_last(void **state)
{
    struct hash d;
    struct sim_message m = numbered(1);
    (void)state;
    make(&m, &d, NULL);
    submit_made(t.one, t.a);
    submit_made(t.two, sender_at_two()); /* accepted there as well: the other's place stays */
    sim_carrier_reread(t.c, B);
    sim_carrier_run(t.c);
    assert_int_equal(sim_carrier_unfinished(t.c), 2);
    sim_end(t.two, t.b);
    t.b = sim_ready(t.two, B, 8, 64, 1 << 20);
    sim_carrier_run(t.c);
    struct sim_out *o = sim_take(t.two, SIM_DELIVERY, t.b);
    assert_non_null(o);
    assert_true(span_eq(buf_span(&o->bytes), buf_span(&t.made)));
    take_from(o, OUTCOME_DONE);
    assert_int_equal(sim_carrier_unfinished(t.c), 0);
    assert_true(sim_record(t.one, RECORD_DELIVERED, &d, &(struct record){0}));
}

static void what_is_there_twice_is_read_by_the_next_owner_before_what_is_behind_it(void **state)
{
    struct hash d;
    (void)state;
    sim_carrier_faults(t.c)->confirms_nothing = true;
    d = put_at(t.one, t.a, 1);
    put_at(t.one, t.a, 2);
    sim_carrier_run(t.c);
    exchange_on_lost(t.one->x, &d, t.one->clock.wall_ms); /* so it seems: it is there once more, behind the other */
    sim_carrier_run(t.c);
    assert_int_equal(sim_carrier_unfinished(t.c), 2);
    sim_carrier_leave(t.c, t.two);
    sim_restart(t.two, false);
    sim_forget(t.two);
    t.b = sim_ready(t.two, B, 8, 64, 1 << 20);
    sim_carrier_run(t.c);
    take(1, OUTCOME_DONE);
    take(2, OUTCOME_DONE);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
    assert_int_equal(sim_carrier_unfinished(t.c), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CARRIER_TEST(what_the_broker_loses_is_recorded_and_sent_again),
        CARRIER_TEST(what_an_unsafe_cluster_loses_is_sent_again_before_it_is_safe),
        CARRIER_TEST(what_waits_is_not_taken_for_lost),
        CARRIER_TEST(what_is_lost_and_not_sent_again_yet_is_not_noted_as_replicated),
        CARRIER_TEST(twice_on_the_bus_is_once_in_the_inbox),
        CARRIER_TEST(the_other_gateway_takes_over_what_a_dead_one_had),
        CARRIER_TEST(what_was_accepted_and_not_confirmed_goes_again_after_a_restart),
        CARRIER_TEST(what_is_on_its_way_when_its_key_is_revoked_fails_and_is_not_sent_again_for_ever),
        CARRIER_TEST(that_it_failed_is_told_though_the_gateway_died_before_the_bus_took_its_skip),
        CARRIER_TEST(what_is_held_while_its_topic_is_read_anew_is_the_next_owners),
        CARRIER_TEST(a_call_that_is_held_while_its_topic_is_read_anew_is_the_next_owners),
        CARRIER_TEST(what_is_held_while_its_topic_is_read_anew_is_handed_over_from_where_it_was_read_last),
        CARRIER_TEST(what_is_there_twice_is_read_by_the_next_owner_before_what_is_behind_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
