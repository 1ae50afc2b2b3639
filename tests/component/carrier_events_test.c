/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Events and their keys over a bus that carries (SPEC 17.9). */
#include "tests/component/exchange_carrier.h"

static const uint8_t epochs[2][16] = {{9}, {10}}, events[16] = {5}; /* events: the stream */

static struct sim_message key_of(const uint8_t epoch[16])
{
    return (struct sim_message){.kind = KIND_KEY, .sender = B, .recipient = SVC, .operation = "Changed", .epoch = epoch};
}

static struct sim_message event(uint64_t number)
{
    return (struct sim_message){.kind = KIND_EVENT, .sender = B, .recipient = SVC, .operation = "Changed", .stream = events, .number = number, .epoch = epochs[0]};
}

/* B's, at the second house. */
static struct hash publish(const struct sim_message *m)
{
    struct hash d;
    assert_int_equal(sim_submit(t.two, t.b, m, &d), EHIS_OK);
    return d;
}

/* At the first house. */
static session_id subscriber(void)
{
    session_id c = sim_ready(t.one, C, 0, 64, 1 << 20);
    sim_carrier_run(t.c);
    assert_int_equal(sim_subscribe(t.one, c, SVC, "Changed", false), EHIS_OK);
    sim_carrier_run(t.c);
    return c;
}

static struct subscription subscription(struct sim_house *h, session_id s)
{
    struct subscription got = {.code = 1};
    struct sim_out *o = take_frame(h, s, FRAME_SUBSCRIPTION);
    assert_non_null(o);
    assert_int_equal(subscription_read(buf_span(&o->bytes), &got, NULL), EHIS_OK);
    return got;
}

static void an_event_reaches_a_subscriber_at_another_gateway_with_its_key(void **state)
{
    struct sim_message key_message = key_of(epochs[0]), first = event(1), second = event(2);
    int replicated[2] = {0};
    (void)state;
    session_id c = subscriber(), other = sim_ready(t.one, D, 0, 64, 1 << 20);
    assert_int_equal(sim_subscribe(t.one, other, SVC, "Changed", false), EHIS_OK);
    sim_carrier_run(t.c);
    assert_int_equal(subscription(t.one, c).code, 0);
    assert_int_not_equal(subscription(t.one, other).code, 0);
    assert_int_equal(sim_stream_open(t.two, t.b, events, SVC, "Changed", 1), EHIS_OK);
    struct hash key = publish(&key_message), d = publish(&first);
    sim_carrier_run(t.c);
    assert_non_null(take_frame(t.one, c, FRAME_KEYS));
    struct sim_out *o = sim_take(t.one, SIM_DELIVERY, c);
    assert_non_null(o);
    assert_memory_equal(o->digest.b, d.b, 32);
    assert_int_equal(sim_ack(t.one, c, C, &(struct sim_ack){.delivery = o->delivery, .digest = d, .outcome = OUTCOME_DONE}, 1), EHIS_OK);
    sim_carrier_run(t.c);
    assert_true(sim_record(t.one, RECORD_DELIVERED, &d, &(struct record){0}));
    assert_null(sim_take(t.one, SIM_DELIVERY, other));
    for (struct sim_out *r; (r = sim_take(t.two, SIM_RECEIPT, t.b));) {
        replicated[0] += r->state == STATE_REPLICATED && memcmp(r->digest.b, key.b, 32) == 0;
        replicated[1] += r->state == STATE_REPLICATED && memcmp(r->digest.b, d.b, 32) == 0;
    }
    assert_int_equal(replicated[0], 1); /* the end of either for its publisher (SPEC 13.2) */
    assert_int_equal(replicated[1], 1);
    assert_int_equal(sim_subscribe(t.one, c, SVC, "Changed", true), EHIS_OK);
    sim_carrier_run(t.c);
    assert_int_equal(subscription(t.one, c).code, 0);
    publish(&second);
    sim_carrier_run(t.c);
    assert_null(sim_take(t.one, SIM_DELIVERY, c));
    sim_release(t.one);
    sim_carrier_leave(t.c, t.two);
    sim_restart(t.two, false);
    sim_carrier_run(t.c);
}

static void an_event_that_expires_before_the_bus_takes_it_is_said_to_have_expired_also_after_a_restart(void **state)
{
    struct sim_message m = event(1);
    (void)state;
    m.lifetime_ms = 1500;
    sim_carrier_faults(t.c)->is_down = true;
    assert_int_equal(sim_stream_open(t.two, t.b, events, SVC, "Changed", 1), EHIS_OK);
    struct hash d = publish(&m);
    sim_carrier_pass(t.c, 5000);
    assert_receipt(t.two, t.b, &d, STATE_ACCEPTED, 0);
    assert_receipt(t.two, t.b, &d, STATE_EXPIRED, EHIS_E_EXCHANGE_EXPIRED);
    sim_carrier_leave(t.c, t.two);
    sim_restart(t.two, false);
    t.b = sim_ready(t.two, B, 8, 64, 1 << 20);
    assert_int_equal(sim_stream_open(t.two, t.b, events, SVC, "Changed", 1), EHIS_OK);
    assert_receipt(t.two, t.b, &d, STATE_EXPIRED, EHIS_E_EXCHANGE_EXPIRED);
}

static void an_event_that_an_unsafe_cluster_has_is_neither_called_replicated_nor_expired(void **state)
{
    struct sim_message key = key_of(epochs[0]), m = event(1);
    (void)state;
    m.lifetime_ms = 1500;
    sim_carrier_faults(t.c)->is_unsafe = true;
    session_id c = subscriber();
    assert_int_equal(sim_stream_open(t.two, t.b, events, SVC, "Changed", 1), EHIS_OK);
    struct hash of_key = publish(&key), d = publish(&m);
    sim_carrier_run(t.c);
    assert_delivered(t.one, c, &d);
    sim_carrier_pass(t.c, 70000);
    assert_receipt(t.two, t.b, &of_key, STATE_ACCEPTED, 0);
    assert_receipt(t.two, t.b, &d, STATE_ACCEPTED, 0);
    assert_null(sim_take(t.two, SIM_RECEIPT, t.b));
    assert_int_equal(sim_record_count(t.two, RECORD_EXPIRED), 0);
}

static void an_event_that_is_held_while_its_topic_is_read_anew_is_the_next_owners(void **state)
{
    struct sim_message key = key_of(epochs[0]), m = event(1);
    (void)state;
    session_id c = subscriber();
    assert_int_equal(sim_stream_open(t.two, t.b, events, SVC, "Changed", 1), EHIS_OK);
    publish(&key);
    struct hash d = publish(&m);
    sim_carrier_run(t.c);
    assert_delivered(t.one, c, &d);
    sim_carrier_reread(t.c, C);
    sim_carrier_run(t.c);
    assert_null(sim_take(t.one, SIM_DELIVERY, c));
    sim_carrier_leave(t.c, t.one);
    sim_restart(t.one, false);
    c = sim_ready(t.two, C, 0, 64, 1 << 20);
    sim_carrier_run(t.c);
    assert_delivered(t.two, c, &d);
}

/* Taken by two gateways, as a publisher does that moves: each knows of the other's by the key topic. */
static void a_key_that_two_gateways_have_is_called_replicated_by_each_and_again_when_it_comes_again(void **state)
{
    struct sim_message m = key_of(epochs[0]);
    struct hash key;
    (void)state;
    session_id at_one = sim_ready(t.one, B, 0, 64, 1 << 20);
    subscriber();
    make(&m, &key, NULL);
    submit_made(t.two, t.b);
    assert_receipt(t.two, t.b, &key, STATE_ACCEPTED, 0);
    assert_receipt(t.two, t.b, &key, STATE_REPLICATED, 0);
    submit_made(t.one, at_one);
    assert_receipt(t.one, at_one, &key, STATE_ACCEPTED, 0);
    assert_receipt(t.one, at_one, &key, STATE_REPLICATED, 0);
    submit_made(t.one, at_one);
    assert_receipt(t.one, at_one, &key, STATE_REPLICATED, 0);
    sim_carrier_pass(t.c, 3000);
    sim_carrier_leave(t.c, t.one);
    sim_restart(t.one, false);
    sim_carrier_run(t.c);
    at_one = sim_ready(t.one, B, 0, 64, 1 << 20);
    submit_made(t.one, at_one);
    assert_receipt(t.one, at_one, &key, STATE_REPLICATED, 0);
    sim_release(t.one);
}

/* How many of eight, of as many bytes as an envelope in KEYS has, were accepted. */
static int put_keys(struct sim_house *h, session_id b, const struct buf *keys, int count)
{
    int accepted = 0;
    for (int i = 0; i < count; i++)
        assert_int_equal(sim_submit_bytes(h, b, buf_span(&keys[i])), EHIS_OK);
    sim_durable(h);
    for (struct sim_out *o; (o = sim_take(h, SIM_RECEIPT, b));) {
        accepted += o->state == STATE_ACCEPTED;
        if (o->state == STATE_REFUSED)
            assert_int_equal(o->code, EHIS_E_TOO_LARGE);
    }
    return accepted;
}

static void the_keys_of_an_epoch_are_bounded_whichever_gateways_accepted_them(void **state)
{
    struct buf keys[2][9];
    (void)state;
    session_id at_one = sim_ready(t.one, B, 0, 64, 1 << 20), c = subscriber();
    for (int e = 0; e < 2; e++)
        for (int i = 0; i < 9; i++) {
            struct sim_message m = key_of(epochs[e]);
            m.body_bytes = 130000;
            buf_init(&keys[e][i], 1 << 20);
            sim_envelope(t.two, &m, &keys[e][i], &(struct hash){{0}}, NULL);
        }
    assert_int_equal(put_keys(t.two, t.b, keys[0], 8), 8);
    sim_carrier_run(t.c);
    assert_int_equal(put_keys(t.one, at_one, &keys[0][8], 1), 0);
    assert_int_equal(put_keys(t.one, at_one, keys[0], 8), 8); /* its publisher has moved: the same */
    sim_carrier_run(t.c);
    assert_int_equal(sim_keys_get(t.one, c, SVC, "Changed", epochs[0]), EHIS_OK);
    int count = 0;
    for (struct sim_out *o; (o = take_frame(t.one, c, FRAME_KEYS));)
        for (struct { size_t at; struct span envelope; } n = {0}; keys_next(buf_span(&o->bytes), &n.at, &n.envelope);)
            count++;
    assert_int_equal(count, 8); /* each once */
    sim_carrier_faults(t.c)->is_down = true;
    assert_int_equal(put_keys(t.two, t.b, keys[1], 5), 5);
    assert_int_equal(put_keys(t.one, at_one, &keys[1][5], 4), 4); /* neither knows of the other */
    sim_carrier_faults(t.c)->is_down = false;
    sim_carrier_pass(t.c, 2000);
    assert_int_equal(sim_carrier_refused(t.c), 1);
    for (int i = 0; i < 9; i++)
        buf_fini(&keys[0][i]), buf_fini(&keys[1][i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CARRIER_TEST(an_event_reaches_a_subscriber_at_another_gateway_with_its_key),
        CARRIER_TEST(an_event_that_expires_before_the_bus_takes_it_is_said_to_have_expired_also_after_a_restart),
        CARRIER_TEST(an_event_that_an_unsafe_cluster_has_is_neither_called_replicated_nor_expired),
        CARRIER_TEST(an_event_that_is_held_while_its_topic_is_read_anew_is_the_next_owners),
        CARRIER_TEST(a_key_that_two_gateways_have_is_called_replicated_by_each_and_again_when_it_comes_again),
        CARRIER_TEST(the_keys_of_an_epoch_are_bounded_whichever_gateways_accepted_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
