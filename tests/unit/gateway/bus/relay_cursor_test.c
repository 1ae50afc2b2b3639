/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Who is subscribed to what, by the cursors that gateways write: which of them counts, and what is written again. */
#include "tests/unit/gateway/bus/relay_rig.h"

static void is_ended_once(uint64_t ahead_ms)
{
    const uint64_t begins_ms = (uint64_t)w.clock.wall_ms + ahead_ms;
    assert_int_equal(cursor_read(false, begins_ms), EHIS_OK);
    assert_int_equal(cursor_read(true, begins_ms + 1), EHIS_OK);
    assert_int_equal(cursor_read(false, begins_ms + 2), EHIS_OK);
    assert_int_equal(cursor_read(true, begins_ms + 1), EHIS_E_LEASE_REPLAYED);
    assert_int_equal(cursor_read(true, begins_ms + 3), EHIS_OK);
}

static void an_end_that_is_repeated_does_not_count_though_its_writers_clock_is_ahead(void **state)
{
    (void)state;
    is_ended_once(5000);
    is_ended_once(120000);
    is_ended_once(0); /* set right meanwhile */
}

static void the_end_of_a_subscription_that_did_not_come_through_is_written_again_and_nothing_that_undoes_it(void **state)
{
    size_t ends = 0;
    (void)state;
    subscribed();
    assert_int_equal(w.relay->bus.ops->subscribe(&w.relay->bus, SYSTEM, SERVICE, EVENT, true, 0), EHIS_OK);
    for (int i = 0; i < 3; i++) {
        live(1200);
        sent(TOPIC_CONTROL_CURSOR, EHIS_E_BUS_TIMEOUT); /* it may stand there all the same */
    }
    for (size_t i = 0; i < w.send_count; i++) {
        struct parcel p;
        if (!is_of(w.sends[i].topic, TOPIC_CONTROL_CURSOR))
            continue;
        assert_int_equal(parcel_read(span_str(w.sends[i].topic), buf_span(&w.sends[i].bytes), &p, NULL), EHIS_OK);
        assert_int_equal(p.payload.len, 0);
        ends++;
    }
    assert_in_range(ends, 3, 4);
    live(1200);
    sent(TOPIC_CONTROL_CURSOR, EHIS_OK);
    size_t count = w.send_count;
    live(3000);
    for (; count < w.send_count; count++)
        assert_false(is_of(w.sends[count].topic, TOPIC_CONTROL_CURSOR));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RELAY_TEST(an_end_that_is_repeated_does_not_count_though_its_writers_clock_is_ahead),
        RELAY_TEST(the_end_of_a_subscription_that_did_not_come_through_is_written_again_and_nothing_that_undoes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
