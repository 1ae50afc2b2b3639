/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What comes to an inbox: what the core takes, what it cannot take yet, and what goes to dlq. */
#include "tests/unit/gateway/bus/relay_rig.h"

static void what_the_core_cannot_take_now_is_offered_again_in_order_and_what_it_will_not_is_set_aside(void **state)
{
    const uint8_t stream[16] = {7};
    struct exchange_skip skip = {.sender = SYSTEM, .recipient = SYSTEM, .stream = stream, .number = 1, .state = 5};
    const struct exchange_item item = {.recipient = SYSTEM, .stream = stream, .skip = &skip};
    const struct { ehis_err err; bool is_later; } cases[] = {{EHIS_E_JOURNAL_FULL, true}, {EHIS_E_NO_MEMORY, true}, {EHIS_E_EXCHANGE_BUSY, true}, {EHIS_E_EXCHANGE_REGISTRY_BEHIND, true}, {EHIS_E_BUS_WRONG_INBOX, false}};
    bool is_here;
    (void)state;
    own(true);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint64_t refused = w.relay->refused;
        w.arrivals = 0;
        w.arrival_err = cases[i].err;
        assert_int_equal(relay_send(&w.relay->bus, &item, &is_here), EHIS_OK);
        assert_int_equal(relay_send(&w.relay->bus, &item, &is_here), EHIS_OK);
        live(50);
        sent(TOPIC_INBOX, EHIS_OK);
        assert_int_equal(w.arrivals, cases[i].is_later ? 1 : 2); /* not the second before the first */
        w.arrivals = 0;
        w.arrival_err = EHIS_OK;
        live(1500);
        assert_int_equal(w.arrivals, cases[i].is_later ? 2 : 0);
        assert_int_equal(w.relay->refused - refused, cases[i].is_later ? 0 : 2);
    }
}

static void what_is_held_has_no_place_in_a_log_that_was_cut_since(void **state)
{
    const uint8_t stream[16] = {7};
    const struct exchange_skip skip = {.sender = SYSTEM, .recipient = SYSTEM, .stream = stream, .number = 1, .state = 5};
    const struct exchange_item item = {.recipient = SYSTEM, .stream = stream, .skip = &skip};
    bool is_here;
    (void)state;
    own(true);
    assert_int_equal(relay_send(&w.relay->bus, &item, &is_here), EHIS_OK);
    live(50);
    sent(TOPIC_INBOX, EHIS_OK);
    assert_int_equal(w.arrivals, 1);
    assert_true(w.relay->bus.ops->has(&w.relay->bus, w.handle));
    w.calls.on_watch_error(w.calls.ctx, watch_of(TOPIC_INBOX), EHIS_E_BUS_UNREACHABLE, "");
    assert_true(w.relay->bus.ops->has(&w.relay->bus, w.handle)); /* read on from where it was */
    live(2000);
    w.calls.on_watch_error(w.calls.ctx, watch_of(TOPIC_INBOX), EHIS_E_BUS_POSITION, "");
    assert_false(w.relay->bus.ops->has(&w.relay->bus, w.handle));
}

/* So many records that are none come to the inbox. */
static void junk(size_t count, size_t bytes)
{
    static const uint8_t value[900000];
    for (; count; count--)
        w.calls.on_record(w.calls.ctx, &(struct kafka_record){.watch = watch_of(TOPIC_INBOX), .offset = w.offset++, .broker_ms = w.clock.wall_ms, .value = span_of(value, bytes)});
}

static void while_dlq_is_away_an_inbox_goes_on_as_far_as_its_window_reaches(void **state)
{
    const uint8_t stream[16] = {7};
    struct exchange_skip skip = {.sender = SYSTEM, .recipient = SYSTEM, .stream = stream, .number = 1, .state = 5};
    const struct exchange_item item = {.recipient = SYSTEM, .stream = stream, .skip = &skip};
    bool is_here;
    struct parcel p;
    size_t dead = 0, whole = 0;
    (void)state;
    own(true);
    w.is_junk = w.has_no_dlq = true;
    const int64_t first = w.offset;
    junk(5, 900000); /* more than may be held of what is under way */
    for (size_t s = 0; s < 52; s++) {
        live(1000);
        junk(20, 10);
    }
    assert_int_equal(w.relay->held_count, 5 + 52 * 20);
    assert_false(w.is_paused);
    assert_int_equal(relay_send(&w.relay->bus, &item, &is_here), EHIS_OK);
    live(50);
    sent(TOPIC_INBOX, EHIS_OK);
    assert_int_equal(w.arrivals, 1);
    junk((size_t)(WINDOW_OFFSETS_MAX - 1024 - (w.offset - first)), 10); /* too many a second: they are counted alone */
    assert_false(w.is_paused);
    junk(1, 10);
    assert_true(w.is_paused);
    w.has_no_dlq = false;
    live(3000);
    sent(TOPIC_DLQ, EHIS_OK);
    assert_false(w.is_paused);
    assert_int_equal(w.relay->held_count, 1); /* what arrived is with the core */
    for (size_t i = 0; i < w.send_count; i++)
        if (is_of(w.sends[i].topic, TOPIC_DLQ)) {
            assert_int_equal(parcel_read(span_str("dlq"), buf_span(&w.sends[i].bytes), &p, NULL), EHIS_OK);
            dead++;
            whole += p.payload.len == 900000;
        }
    assert_int_equal(dead, 5 + 52 * 20);
    assert_int_equal(whole, 2); /* all are told of, not all as they were */
}

/* However many inboxes it comes to: what is accepted has room. */
static void while_dlq_is_away_no_more_wait_for_it_than_others_leave_room_for(void **state)
{
    (void)state;
    own(true);
    w.is_junk = w.has_no_dlq = true;
    w.relay->dead_count = RELAY_DEAD_MAX - 1;
    junk(2, 10);
    assert_int_equal(w.relay->held_count, 1);
    assert_int_equal(w.relay->refused, 2);
    assert_int_equal(w.junk, 2);
    w.relay->dead_count = 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RELAY_TEST(what_the_core_cannot_take_now_is_offered_again_in_order_and_what_it_will_not_is_set_aside),
        RELAY_TEST(what_is_held_has_no_place_in_a_log_that_was_cut_since),
        RELAY_TEST(while_dlq_is_away_an_inbox_goes_on_as_far_as_its_window_reaches),
        RELAY_TEST(while_dlq_is_away_no_more_wait_for_it_than_others_leave_room_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
