/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Events: subscriptions, fan-out, keys of epochs. */
#include "tests/unit/gateway/exchange/exchange_test.h"

static const uint8_t stream[16] = {1}, epoch[16] = {3}, next_epoch[16] = {4};

static void subscribe(struct sim_house *h, session_id s, bool is_end, unsigned code)
{
    struct subscription sub;
    assert_int_equal(sim_subscribe(h, s, SVC, "Changed", is_end), EHIS_OK);
    sim_durable(h);
    struct sim_out *o = take_frame(h, s, FRAME_SUBSCRIPTION);
    assert_non_null(o);
    assert_int_equal(subscription_read(buf_span(&o->bytes), &sub, NULL), EHIS_OK);
    assert_int_equal(sub.code, code);
}

static struct hash publish(struct sim_house *h, session_id b, uint64_t number, const uint8_t *in_epoch)
{
    struct hash d;
    assert_int_equal(sim_submit(h, b, &(struct sim_message){.kind = KIND_EVENT, .sender = B, .recipient = SVC, .operation = "Changed", .stream = stream, .number = number, .epoch = in_epoch}, &d), EHIS_OK);
    return d;
}

static session_id publisher(struct sim_house *h)
{
    session_id b = sim_ready(h, B, 8, 8, 1 << 20);
    assert_int_equal(sim_stream_open(h, b, stream, SVC, "Changed", 1), EHIS_OK);
    sim_forget(h);
    return b;
}

static void an_event_is_stored_once_and_goes_to_each_subscriber_in_order(void **state)
{
    struct sim_house *h = *state;
    struct exchange_status s;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), c = sim_ready(h, C, 8, 8, 1 << 20), b = publisher(h);
    struct hash none = publish(h, b, 1, NULL), d[2];
    sim_durable(h);
    assert_receipt(h, b, &none, STATE_ACCEPTED, 0); /* final: nobody was there */
    subscribe(h, a, false, 0);
    subscribe(h, c, false, 0);
    d[0] = publish(h, b, 2, NULL);
    d[1] = publish(h, b, 3, NULL);
    sim_durable(h);
    session_id both[] = {a, c};
    for (size_t i = 0; i < 2; i++)
        for (size_t n = 0; n < 2; n++) {
            struct sim_out *o = sim_take(h, SIM_DELIVERY, both[i]);
            assert_non_null(o);
            assert_memory_equal(o->digest.b, d[n].b, 32);
            struct sim_ack ack = {o->delivery, d[n], OUTCOME_DONE, 0, 0};
            assert_int_equal(sim_ack(h, both[i], i ? C : A, &ack, 1), EHIS_OK);
        }
    assert_int_equal(sim_record_count(h, RECORD_ACCEPTED), 3);
    assert_int_equal(sim_record_count(h, RECORD_DELIVERED), 4);
    sim_durable(h);
    sim_forget(h);
    exchange_status(h->x, &s);
    assert_int_equal(s.stored_bytes, 0);
    assert_int_equal(sim_settled(h, b, stream, 4), EHIS_OK);
    exchange_status(h->x, &s);
    assert_int_equal(s.stored_messages, 0);
}

static void only_the_entitled_may_subscribe_and_only_the_owner_publish(void **state)
{
    struct sim_house *h = *state;
    session_id d = sim_ready(h, D, 8, 8, 1 << 20), a = sim_ready(h, A, 8, 8, 1 << 20), b = publisher(h);
    struct record r;
    subscribe(h, d, false, EHIS_E_POLICY_NO_RULE);
    assert_true(sim_record(h, RECORD_REFUSED, NULL, &r));
    assert_int_equal(r.code, EHIS_E_POLICY_CONSUMER);
    assert_true(span_eq(r.event, span_str("Changed")));
    subscribe(h, a, false, 0);
    subscribe(h, a, false, 0); /* again: as it is */
    assert_int_equal(sim_record_count(h, RECORD_SUBSCRIBED), 1);
    struct hash digest;
    struct sim_message m = {.kind = KIND_EVENT, .sender = B, .recipient = SVC, .operation = "Get", .stream = stream, .number = 1};
    assert_int_equal(sim_stream_open(h, b, stream, SVC, "Changed", 1), EHIS_OK);
    sim_forget(h);
    assert_int_equal(sim_submit(h, b, &m, &digest), EHIS_OK); /* another event than the stream's */
    sim_durable(h);
    assert_receipt(h, b, &digest, STATE_REFUSED, EHIS_E_EXCHANGE_STREAM_RECIPIENT);
    static const uint8_t second[16] = {9};
    assert_int_equal(sim_stream_open(h, b, second, SVC, "Get", 1), EHIS_OK);
    sim_forget(h);
    m.stream = second;
    assert_int_equal(sim_submit(h, b, &m, &digest), EHIS_OK); /* no event at all */
    sim_durable(h);
    assert_receipt(h, b, &digest, STATE_REFUSED, EHIS_E_POLICY_UNKNOWN_OPERATION); /* its own service: it may know */
}

static void who_unsubscribes_gets_no_more_and_holds_nothing(void **state)
{
    struct sim_house *h = *state;
    struct exchange_status s;
    session_id a = sim_ready(h, A, 8, 1, 1 << 20), b = publisher(h);
    subscribe(h, a, false, 0);
    publish(h, b, 1, NULL);
    publish(h, b, 2, NULL);
    sim_durable(h);
    assert_int_equal(sim_count(h, SIM_DELIVERY, a), 1);
    publish(h, b, 3, NULL); /* not durable yet */
    sim_forget(h);
    subscribe(h, a, true, 0);
    exchange_status(h->x, &s);
    assert_int_equal(s.stored_bytes, 0);
    assert_int_equal(s.in_flight, 0);
    assert_int_equal(s.subscriptions, 0);
    publish(h, b, 3, NULL);
    sim_durable(h);
    assert_null(sim_take(h, SIM_DELIVERY, a));
    sim_restart(h, false);
    exchange_status(h->x, &s);
    assert_int_equal(s.subscriptions, 0);
    assert_int_equal(s.stored_bytes, 0);
}

static void events_wait_for_a_subscriber_that_is_away_also_over_a_restart(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = publisher(h);
    subscribe(h, a, false, 0);
    sim_end(h, a);
    struct hash d = publish(h, b, 1, NULL);
    sim_durable(h);
    sim_restart(h, false);
    sim_forget(h);
    a = sim_ready(h, A, 8, 8, 1 << 20);
    struct sim_out *o = sim_take(h, SIM_DELIVERY, a);
    assert_non_null(o);
    assert_memory_equal(o->digest.b, d.b, 32);
}

static struct hash publish_key(struct sim_house *h, session_id b, const uint8_t *of)
{
    struct hash d;
    while (sim_take(h, SIM_RECEIPT, b))
        ;
    assert_int_equal(sim_submit(h, b, &(struct sim_message){.kind = KIND_KEY, .sender = B, .recipient = SVC, .operation = "Changed", .epoch = of, .lifetime_ms = 7200000}, &d), EHIS_OK);
    sim_durable(h);
    assert_receipt(h, b, &d, STATE_ACCEPTED, 0);
    return d;
}

static struct hash digest_of(struct span envelope)
{
    struct envelope e;
    struct hash sealed, d;
    assert_int_equal(envelope_read(envelope, &e, NULL), EHIS_OK);
    hash_span(e.sealed, &sealed);
    hash_envelope(e.header, e.sealed.len, &sealed, &d);
    return d;
}

static void keys_come_before_the_first_event_of_their_epoch(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = publisher(h);
    struct span envelope;
    subscribe(h, a, false, 0);
    struct hash key = publish_key(h, b, epoch);
    publish(h, b, 1, epoch);
    publish(h, b, 2, epoch);
    sim_durable(h);
    struct sim_out *o = sim_take(h, 0, a);
    assert_int_equal(o->what, SIM_FRAME);
    assert_int_equal(o->type, FRAME_KEYS);
    size_t at = 0;
    assert_true(keys_next(buf_span(&o->bytes), &at, &envelope));
    struct hash got = digest_of(envelope);
    assert_memory_equal(got.b, key.b, 32);
    assert_false(keys_next(buf_span(&o->bytes), &at, &envelope));
    assert_int_equal(sim_take(h, 0, a)->what, SIM_DELIVERY);
    assert_int_equal(sim_take(h, 0, a)->what, SIM_DELIVERY);
    assert_null(sim_take(h, 0, a));
    publish_key(h, b, next_epoch);
    publish(h, b, 3, next_epoch);
    sim_durable(h);
    assert_int_equal(sim_take(h, 0, a)->type, FRAME_KEYS);
    assert_int_equal(sim_take(h, 0, a)->what, SIM_DELIVERY);
}

static void keys_are_served_by_epoch_to_the_entitled_and_are_kept_until_they_expire(void **state)
{
    struct sim_house *h = *state;
    struct span envelope;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), d = sim_ready(h, D, 8, 8, 1 << 20), b = publisher(h);
    publish_key(h, b, epoch);
    sim_restart(h, false);
    sim_forget(h);
    a = sim_ready(h, A, 8, 8, 1 << 20), d = sim_ready(h, D, 8, 8, 1 << 20);
    session_id who[] = {a, d, a};
    const uint8_t *of[] = {epoch, epoch, next_epoch};
    for (size_t i = 0; i < 3; i++) {
        size_t at = 0;
        assert_int_equal(sim_keys_get(h, who[i], SVC, "Changed", of[i]), EHIS_OK);
        struct sim_out *o = take_frame(h, who[i], FRAME_KEYS);
        assert_non_null(o);
        assert_int_equal(keys_read(buf_span(&o->bytes), NULL), EHIS_OK);
        assert_int_equal(keys_next(buf_span(&o->bytes), &at, &envelope), i == 0);
    }
    sim_pass(h, 7200000 + 62000);
    size_t at = 0;
    assert_int_equal(sim_keys_get(h, a, SVC, "Changed", epoch), EHIS_OK);
    assert_false(keys_next(buf_span(&take_frame(h, a, FRAME_KEYS)->bytes), &at, &envelope));
    struct exchange_status s;
    exchange_status(h->x, &s);
    assert_int_equal(s.stored_messages, 0);
}

static void an_event_dead_lettered_at_one_subscriber_reaches_the_other(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), c = sim_ready(h, C, 8, 8, 1 << 20), b = publisher(h);
    subscribe(h, a, false, 0);
    subscribe(h, c, false, 0);
    struct hash d = publish(h, b, 1, NULL);
    sim_durable(h);
    struct sim_out *o = sim_take(h, SIM_DELIVERY, a);
    struct sim_ack ack = {o->delivery, d, OUTCOME_REJECTED, 1, 0};
    assert_int_equal(sim_ack(h, a, A, &ack, 1), EHIS_OK);
    sim_durable(h);
    o = sim_take(h, SIM_SKIP, a);
    assert_non_null(o);
    assert_int_equal(o->state, STATE_FAILED);
    sim_restart(h, true);
    sim_forget(h);
    a = sim_ready(h, A, 8, 8, 1 << 20), c = sim_ready(h, C, 8, 8, 1 << 20);
    sim_pass(h, 1000);
    assert_null(sim_take(h, SIM_DELIVERY, a));
    o = sim_take(h, SIM_SKIP, a); /* owed over the restart too, and alone in its lane */
    assert_non_null(o);
    assert_int_equal(o->state, STATE_FAILED);
    assert_non_null(sim_take(h, SIM_DELIVERY, c));
}

static int small_bounds(void **state)
{
    struct sim_house *h = sim_house_new(9);
    h->bounds.stored_messages_max = 8;
    h->bounds.subscriptions_max = 0;
    sim_restart(h, true);
    *state = h;
    return 0;
}

static int small_queues(void **state)
{
    small_bounds(state);
    struct sim_house *h = *state;
    h->bounds.subscriptions_max = 1;
    sim_restart(h, true);
    return 0;
}

static void subscriptions_are_bounded(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    subscribe(h, a, false, EHIS_E_EXCHANGE_SUBSCRIPTIONS_FULL);
    subscribe(h, a, true, 0); /* there is none: as it is */
}

static void a_subscriber_whose_queue_is_full_misses_events_and_the_publisher_does_not_wait(void **state)
{
    struct sim_house *h = *state;
    struct record r;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = publisher(h);
    subscribe(h, a, false, 0);
    sim_end(h, a);
    for (uint64_t n = 1; n <= 6; n++) {
        struct hash d = publish(h, b, n, NULL);
        sim_durable(h);
        assert_receipt(h, b, &d, STATE_ACCEPTED, 0);
        assert_int_equal(sim_record(h, RECORD_FAILED, &d, &r), n > 4);
        if (n > 4)
            assert_int_equal(r.code, EHIS_E_EXCHANGE_INBOX_FULL);
    }
    assert_int_equal(sim_settled(h, b, stream, 7), EHIS_OK);
    a = sim_ready(h, A, 8, 8, 1 << 20);
    assert_int_equal(sim_count(h, SIM_DELIVERY, a), 4);
}

static void a_key_envelope_that_fits_no_frame_is_refused(void **state)
{
    struct sim_house *h = *state;
    struct hash d;
    session_id b = publisher(h);
    struct sim_message m = {.kind = KIND_KEY, .sender = B, .recipient = SVC, .operation = "Changed", .lifetime_ms = 1000, .body_bytes = 131072};
    assert_int_equal(sim_submit(h, b, &m, &d), EHIS_OK);
    sim_durable(h);
    assert_receipt(h, b, &d, STATE_REFUSED, EHIS_E_TOO_LARGE);
    m.body_bytes = 130000;
    m.epoch = epoch;
    for (int n = 1; n <= 9; n++) { /* nor what goes beyond all that an epoch may have */
        assert_int_equal(sim_submit(h, b, &m, &d), EHIS_OK);
        sim_durable(h);
        assert_receipt(h, b, &d, n < 9 ? STATE_ACCEPTED : STATE_REFUSED, n < 9 ? 0 : EHIS_E_TOO_LARGE);
    }
    m.epoch = next_epoch;
    assert_int_equal(sim_submit(h, b, &m, &d), EHIS_OK);
    sim_durable(h);
    assert_receipt(h, b, &d, STATE_ACCEPTED, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOUSE_TEST(an_event_is_stored_once_and_goes_to_each_subscriber_in_order),
        HOUSE_TEST(only_the_entitled_may_subscribe_and_only_the_owner_publish),
        HOUSE_TEST(who_unsubscribes_gets_no_more_and_holds_nothing),
        HOUSE_TEST(events_wait_for_a_subscriber_that_is_away_also_over_a_restart),
        HOUSE_TEST(keys_come_before_the_first_event_of_their_epoch),
        HOUSE_TEST(keys_are_served_by_epoch_to_the_entitled_and_are_kept_until_they_expire),
        cmocka_unit_test_setup_teardown(subscriptions_are_bounded, small_bounds, close_house),
        cmocka_unit_test_setup_teardown(a_subscriber_whose_queue_is_full_misses_events_and_the_publisher_does_not_wait, small_queues, close_house),
        HOUSE_TEST(a_key_envelope_that_fits_no_frame_is_refused),
        HOUSE_TEST(an_event_dead_lettered_at_one_subscriber_reaches_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
