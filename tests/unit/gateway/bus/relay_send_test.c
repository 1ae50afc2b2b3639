/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What the core gives to be sent: what cannot be sent holds back nothing else, and what is told of it once it is. */
#include "tests/unit/gateway/bus/relay_rig.h"
#include <stdio.h>
#include <stdlib.h>

/* All in the order in which they were given, in each topic, once their topics are there. */
static void topics_that_are_not_there_hold_back_no_other_however_many(void **state)
{
    enum { TOPICS = 100 };
    const uint8_t stream[16] = {7};
    char names[TOPICS][32];
    uint64_t number[TOPICS] = {0};
    struct parcel p;
    struct exchange_skip skip = {.sender = SYSTEM, .stream = stream, .state = 5};
    struct exchange_item item = {.skip = &skip};
    bool is_here;
    (void)state;
    w.has_no_calls = true;
    for (skip.number = 1; skip.number <= 3; skip.number++)
        for (size_t i = 0; i < TOPICS; i++) {
            snprintf(names[i], sizeof names[i], "AZ/GOV/a/s%zu", i);
            skip.recipient = item.recipient = span_str(names[i]);
            assert_int_equal(relay_send(&w.relay->bus, &item, &is_here), EHIS_OK);
        }
    live(100);
    skip.recipient = item.recipient = SYSTEM;
    item.stream = stream;
    size_t first = w.send_count;
    assert_int_equal(relay_send(&w.relay->bus, &item, &is_here), EHIS_OK);
    live(100);
    while (first < w.send_count && !is_of(w.sends[first].topic, TOPIC_INBOX))
        first++;
    assert_true(first < w.send_count);
    live(3000);
    w.has_no_calls = false;
    live(2000);
    for (size_t i = 0; i < w.send_count; i++) {
        if (strncmp(w.sends[i].topic, "call.", 5) != 0)
            continue;
        assert_int_equal(parcel_read(span_str(w.sends[i].topic), buf_span(&w.sends[i].bytes), &p, NULL), EHIS_OK);
        assert_int_equal(++number[strtoul(strrchr(w.sends[i].topic, 's') + 1, NULL, 10)], p.head.number);
    }
    for (size_t i = 0; i < TOPICS; i++)
        assert_int_equal(number[i], 3);
    assert_int_equal(w.relay->waiting_count, 0);
}

static void a_message_that_the_journal_cannot_give_holds_back_no_other(void **state)
{
    const uint8_t stream[16] = {7};
    const struct exchange_skip skip = {.sender = SYSTEM, .recipient = SYSTEM, .stream = stream, .number = 2, .state = 5};
    const ehis_err errs[] = {EHIS_E_NOT_FOUND, EHIS_E_JOURNAL_CORRUPT, EHIS_E_IO};
    const struct exchange_item gone = {.recipient = SYSTEM, .stream = stream}, behind = {.recipient = SYSTEM, .stream = stream, .skip = &skip};
    bool is_here;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        size_t count = w.send_count, found = 0;
        w.read_err = errs[i];
        w.lost = 0;
        assert_int_equal(relay_send(&w.relay->bus, &gone, &is_here), EHIS_OK);
        assert_int_equal(relay_send(&w.relay->bus, &behind, &is_here), EHIS_OK);
        live(1000);
        for (; count < w.send_count; count++)
            found += is_of(w.sends[count].topic, TOPIC_INBOX);
        assert_int_equal(found, i < 2); /* another error may pass: order is kept until it does */
        assert_int_equal(w.lost, i == 0); /* it may stand elsewhere by now; what is damaged would only come back */
    }
}

static void nothing_that_was_given_to_an_unsafe_cluster_is_called_replicated(void **state)
{
    const uint8_t stream[16] = {7};
    const struct exchange_skip skip = {.sender = SYSTEM, .recipient = SYSTEM, .stream = stream, .number = 2, .state = 5};
    const struct exchange_item item = {.recipient = SYSTEM, .stream = stream, .skip = &skip}; /* needs no journal */
    bool is_here;
    (void)state;
#define SEND() assert_int_equal(relay_send(&w.relay->bus, &item, &is_here), EHIS_OK), pass(100)
#define ASSERT_TOLD(replicated_, unsure_, safe_) \
    assert_int_equal(w.replicated, replicated_), assert_int_equal(w.unsure, unsure_), assert_int_equal(w.safe, safe_)
    SEND();
    sent(TOPIC_INBOX, EHIS_OK);
    ASSERT_TOLD(1, 0, 0);
    SEND();
    relay_set_unsafe(w.relay, true);
    sent(TOPIC_INBOX, EHIS_OK); /* perhaps it was safe still */
    live(2000);
    ASSERT_TOLD(1, 1, 0);
    SEND();
    relay_set_unsafe(w.relay, false);
    live(100);
    ASSERT_TOLD(1, 1, 1);
    sent(TOPIC_INBOX, EHIS_OK); /* perhaps it was confirmed before */
    live(100);
    ASSERT_TOLD(1, 2, 2);
    SEND();
    sent(TOPIC_INBOX, EHIS_OK);
    live(2000);
    ASSERT_TOLD(2, 2, 2);
    w.options.is_pilot = true;
    relay_set_unsafe(w.relay, true);
    SEND();
    sent(TOPIC_INBOX, EHIS_OK);
    ASSERT_TOLD(2, 2, 2);
    assert_int_equal(w.carried, 3);
#undef ASSERT_TOLD
#undef SEND
}

static size_t frames(void)
{
    size_t n = 0;
    for (size_t i = 0; i < w.send_count; i++)
        n += is_of(w.sends[i].topic, TOPIC_AUDIT);
    return n;
}

static void a_frame_that_an_unsafe_cluster_confirmed_is_written_again_and_its_segment_stays_until_then(void **state)
{
    const struct journal_pos pos = {.segment = 3, .record_bytes = 6};
    (void)state;
    relay_note(w.relay, 1, 10, &pos);
    relay_on_durable(w.relay, 1);
    pass(300);
    assert_int_equal(frames(), 1);
    relay_set_unsafe(w.relay, true);
    sent(TOPIC_AUDIT, EHIS_OK);
    live(2000);
    assert_int_equal(frames(), 1);
    assert_true(relay_needs(w.relay, 3));
    relay_note(w.relay, 2, 20, &pos);
    relay_on_durable(w.relay, 2);
    pass(300);
    relay_set_unsafe(w.relay, false);
    live(1000);
    assert_int_equal(frames(), 3); /* the first again */
    sent(TOPIC_AUDIT, EHIS_OK);
    live(1000);
    assert_int_equal(frames(), 4); /* the second may have been confirmed before */
    assert_true(relay_needs(w.relay, 3));
    sent(TOPIC_AUDIT, EHIS_OK);
    live(1000);
    assert_int_equal(frames(), 4);
    assert_false(relay_needs(w.relay, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RELAY_TEST(topics_that_are_not_there_hold_back_no_other_however_many),
        RELAY_TEST(a_message_that_the_journal_cannot_give_holds_back_no_other),
        RELAY_TEST(a_frame_that_an_unsafe_cluster_confirmed_is_written_again_and_its_segment_stays_until_then),
        RELAY_TEST(nothing_that_was_given_to_an_unsafe_cluster_is_called_replicated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
