/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Which logs are read, from when on, and when one that is read whole has been. */
#include "tests/unit/gateway/bus/relay_rig.h"

static void whose_inbox_was_lost_before_it_was_given_anything_is_given_nothing(void **state)
{
    (void)state;
    subscribed();
    own(true);
    answer(TOPIC_EVENT, EHIS_OK, 0);
    assert_int_equal(watch_of(TOPIC_EVENT), 0); /* its keys are not read yet */
    own(false);
    answer(TOPIC_KEY, EHIS_OK, 0);
    live(2000);
    answer(TOPIC_KEY, EHIS_OK, 0);
    live(200);
    assert_int_equal(watch_of(TOPIC_EVENT), 0);
    assert_int_equal(watch_of(TOPIC_KEY), 0);
    own(true);
    live(1100);
    answer(TOPIC_KEY, EHIS_OK, 0);
    live(100);
    assert_int_not_equal(watch_of(TOPIC_EVENT), 0);
}

static void a_topic_that_is_not_there_is_asked_for_once_a_second(void **state)
{
    size_t keys = 0, events = 0;
    (void)state;
    subscribed();
    own(true);
    (void)answer(TOPIC_KEY, EHIS_E_BUS_NO_TOPIC, 0), (void)answer(TOPIC_EVENT, EHIS_E_BUS_NO_TOPIC, 0);
    for (int i = 0; i < 100; i++) {
        live(50);
        keys += answer(TOPIC_KEY, EHIS_E_BUS_NO_TOPIC, 0);
        events += answer(TOPIC_EVENT, EHIS_E_BUS_NO_TOPIC, 0);
    }
    assert_in_range(keys, 4, 6);
    assert_in_range(events, 4, 6);
    live(1000);
    answer(TOPIC_KEY, EHIS_OK, 0), answer(TOPIC_EVENT, EHIS_OK, 0);
    live(50);
    assert_int_not_equal(watch_of(TOPIC_EVENT), 0);
}

static void where_a_log_that_is_read_whole_ends_is_asked_again_when_it_is_another(void **state)
{
    const ehis_err errs[] = {EHIS_E_BUS_POSITION, EHIS_E_BUS_NO_TOPIC};
    (void)state;
    subscribed();
    own(true);
    answer(TOPIC_EVENT, EHIS_OK, 0);
    answer(TOPIC_KEY, EHIS_OK, 500);
    for (int i = 0; i < 2; i++) {
        w.calls.on_watch_error(w.calls.ctx, watch_of(TOPIC_KEY), errs[i], "");
        live(1100);
        assert_int_equal(answer(TOPIC_KEY, EHIS_OK, i == 0 ? 500 : 0), 1);
        live(100);
        assert_int_equal(watch_of(TOPIC_EVENT) != 0, i == 1); /* nothing of it is read before its keys are */
    }
    w.relay->is_cursors_read = false; /* as at the start */
    w.relay->cursors_end = 500;
    w.calls.on_watch_error(w.calls.ctx, watch_of(TOPIC_CONTROL_CURSOR), EHIS_E_BUS_POSITION, "");
    live(1100);
    answer(TOPIC_CONTROL_CURSOR, EHIS_OK, 0);
    live(100);
    assert_true(w.relay->is_cursors_read);
}

/* As the end of a transaction, which takes an offset and is no record. */
static void a_log_that_ends_in_what_is_no_record_is_read_whole(void **state)
{
    (void)state;
    subscribed();
    own(true);
    answer(TOPIC_EVENT, EHIS_OK, 0);
    answer(TOPIC_KEY, EHIS_OK, 3);
    live(100);
    w.calls.on_end(w.calls.ctx, watch_of(TOPIC_KEY), 2);
    live(100);
    assert_int_equal(watch_of(TOPIC_EVENT), 0);
    w.calls.on_end(w.calls.ctx, watch_of(TOPIC_KEY), 3);
    live(100);
    assert_int_not_equal(watch_of(TOPIC_EVENT), 0);
    w.relay->is_cursors_read = false; /* as at the start */
    w.relay->cursors_end = 500;
    live(100);
    assert_false(w.relay->is_cursors_read);
    w.calls.on_end(w.calls.ctx, watch_of(TOPIC_CONTROL_CURSOR), 500);
    live(100);
    assert_true(w.relay->is_cursors_read);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RELAY_TEST(whose_inbox_was_lost_before_it_was_given_anything_is_given_nothing),
        RELAY_TEST(a_topic_that_is_not_there_is_asked_for_once_a_second),
        RELAY_TEST(where_a_log_that_is_read_whole_ends_is_asked_again_when_it_is_another),
        RELAY_TEST(a_log_that_ends_in_what_is_no_record_is_read_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
