/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The driver against librdkafka's own mock brokers: its error paths and its order. What a real broker does is asked of one (tests/scenario). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/log.h"
#include "gateway/bus/kafka_priv.h"
#include <librdkafka/rdkafka_mock.h>

#define SENDS_MAX 20000
#define PRODUCE 0 /* the protocol's number of the request */

struct bench {
    rd_kafka_t *host;
    rd_kafka_mock_cluster_t *cluster;
    const char *broker;
    struct bus_kafka_options options;
    struct loop *loop;
    struct kafka *kafka;
    size_t sent, received, watch_errors, positions, end;
    ehis_err sent_err[SENDS_MAX];
    uint64_t sent_token[SENDS_MAX];
    int64_t sent_offset[SENDS_MAX], offset[SENDS_MAX];
    uint64_t value[SENDS_MAX];
    uint32_t watch;
    ehis_err watch_err, position_err, state;
    int64_t position;
    char metadata[64];
    size_t pause_every;
    bool is_paused, send_again;
};

static void send_number(struct bench *b, const char *topic, enum kafka_lane lane, uint64_t number);

static void on_sent(void *ctx, uint64_t token, ehis_err err, int64_t offset)
{
    struct bench *b = ctx;
    b->sent_err[b->sent] = err;
    b->sent_offset[b->sent] = offset;
    b->sent_token[b->sent++] = token;
    if (err != EHIS_OK && b->send_again)
        send_number(b, "a", KAFKA_BULK, token);
}

static void on_record(void *ctx, struct kafka_record *r)
{
    struct bench *b = ctx;
    b->watch = r->watch;
    b->offset[b->received] = r->offset;
    memcpy(&b->value[b->received++], r->value.p, 8);
    assert_true(span_eq(r->key, span_str("key")));
    kafka_release(b->kafka, r->hold);
    if (b->pause_every && b->received % b->pause_every == 0) {
        kafka_pause(b->kafka, r->watch, true);
        b->is_paused = true;
    }
}

static void on_watch_error(void *ctx, uint32_t watch, ehis_err err, const char *text)
{
    struct bench *b = ctx;
    (void)watch, (void)text;
    b->watch_errors++;
    b->watch_err = err;
}

static void on_position(void *ctx, uint32_t watch, ehis_err err, const struct kafka_position *p)
{
    struct bench *b = ctx;
    b->positions++;
    b->watch = watch;
    b->position_err = err;
    b->position = p->offset;
    snprintf(b->metadata, sizeof b->metadata, "%.*s", (int)p->metadata.len, (const char *)p->metadata.p);
}

static void on_end(void *ctx, uint32_t watch, int64_t offset)
{
    struct bench *b = ctx;
    (void)watch;
    b->end = (size_t)offset;
}

static void on_state(void *ctx, ehis_err state, const char *text)
{
    struct bench *b = ctx;
    (void)text;
    b->state = state;
}

static void send_number(struct bench *b, const char *topic, enum kafka_lane lane, uint64_t number)
{
    uint8_t tail[100] = {0};
    struct span parts[2] = {span_of(&number, 8), span_of(tail, sizeof tail)};
    assert_int_equal(kafka_send(b->kafka, lane, topic, 0, span_str("key"), parts, 2, number), EHIS_OK);
}

/* Turns of the loop until *count reaches n, at most seconds. */
static bool until(struct bench *b, const size_t *count, size_t n, int seconds)
{
    for (int64_t end = clock_mono_ms(&clock_system) + seconds * 1000; *count < n && clock_mono_ms(&clock_system) < end;)
        loop_run_once(b->loop, true);
    return *count >= n;
}

/* The same until this is told; an answer that was on its way may tell the contrary in between. */
static bool until_state(struct bench *b, ehis_err state, int seconds)
{
    for (int64_t end = clock_mono_ms(&clock_system) + seconds * 1000; b->state != state && clock_mono_ms(&clock_system) < end;)
        loop_run_once(b->loop, true);
    return b->state == state;
}

static void pass(struct bench *b, int ms)
{
    for (int64_t end = clock_mono_ms(&clock_system) + ms; clock_mono_ms(&clock_system) < end;)
        loop_run_once(b->loop, true);
}

static int set_up(void **state)
{
    char text[256];
    struct bench *b = calloc(1, sizeof *b);
    rd_kafka_conf_t *c = rd_kafka_conf_new();
    struct ehis_why why = {{0}};
    struct kafka_calls calls = {b, on_sent, on_record, on_watch_error, on_position, on_state, NULL, on_end};
    rd_kafka_conf_set(c, "log_level", "0", text, sizeof text);
    b->host = rd_kafka_new(RD_KAFKA_PRODUCER, c, text, sizeof text);
    b->cluster = rd_kafka_mock_cluster_new(b->host, 1);
    rd_kafka_mock_topic_create(b->cluster, "a", 1, 1);
    rd_kafka_mock_topic_create(b->cluster, "b", 1, 1);
    b->state = EHIS_E_BUS_UNREACHABLE;
    assert_int_equal(loop_new(&b->loop), EHIS_OK);
    b->broker = strdup(rd_kafka_mock_cluster_bootstraps(b->cluster));
    b->options = (struct bus_kafka_options){.brokers = {1, &b->broker}, .ca = "/nowhere/ca.pem", .certificate = "-", .key = "-", .prefix = ""};
    struct kafka_config config = {.options = &b->options, .client = "gw", .is_plain = true, .queue_max_bytes = 8 << 20,
        .queue_max_count = 10000, .bulk_linger_us = 500};
    assert_int_equal(kafka_new(b->loop, &config, &calls, &b->kafka, &why), EHIS_OK);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *b = *state;
    kafka_free(b->kafka);
    loop_free(b->loop);
    rd_kafka_mock_cluster_destroy(b->cluster);
    rd_kafka_destroy(b->host);
    free((void *)(uintptr_t)b->broker);
    free(b);
    return 0;
}

static void what_is_sent_is_confirmed_in_order_and_read_in_order(void **state)
{
    struct bench *b = *state;
    for (uint64_t i = 0; i < 5000; i++)
        send_number(b, "a", KAFKA_BULK, i);
    assert_int_equal(kafka_watch(b->kafka, KAFKA_BULK, "a", 0, KAFKA_FROM_BEGIN, 7), EHIS_OK);
    assert_true(until(b, &b->sent, 5000, 20));
    assert_true(until(b, &b->received, 5000, 20));
    assert_int_equal(b->watch, 7);
    assert_true(until(b, &b->end, 5000, 20));
    for (uint64_t i = 0; i < 5000; i++) {
        assert_int_equal(b->sent_err[i], EHIS_OK);
        assert_int_equal(b->sent_token[i], i);
        assert_int_equal(b->sent_offset[i], i);
        assert_int_equal(b->offset[i], i);
        assert_int_equal(b->value[i], i);
    }
    struct kafka_status s;
    kafka_status(b->kafka, &s);
    assert_int_equal(s.confirmed, 5000);
    assert_int_equal(s.queued_messages + s.queued_bytes + s.held_records + s.failed, 0);
    assert_int_equal(b->state, EHIS_OK);
}

static void a_first_message_does_not_wait_a_second(void **state)
{
    struct bench *b = *state;
    assert_int_equal(kafka_watch(b->kafka, KAFKA_FAST, "b", 0, KAFKA_FROM_BEGIN, 1), EHIS_OK);
    pass(b, 1500); /* connected */
    int64_t began = clock_mono_ms(&clock_system);
    send_number(b, "b", KAFKA_FAST, 1);
    assert_true(until(b, &b->sent, 1, 5));
    assert_in_range(clock_mono_ms(&clock_system) - began, 0, 700);
}

static void a_position_comes_back_with_its_metadata(void **state)
{
    struct bench *b = *state;
    assert_int_equal(kafka_position_get(b->kafka, "a", 0, 3), EHIS_OK);
    assert_true(until(b, &b->positions, 1, 20));
    assert_int_equal(b->position_err, EHIS_OK);
    assert_int_equal(b->position, -1);
    assert_int_equal(kafka_commit(b->kafka, "a", 0, 41, span_str("w1:ff")), EHIS_OK);
    assert_int_equal(kafka_commit(b->kafka, "b", 0, 5, span_str("")), EHIS_OK);
    for (int64_t end = clock_mono_ms(&clock_system) + 20000; (b->kafka->commits || b->kafka->commits_open) && clock_mono_ms(&clock_system) < end;)
        loop_run_once(b->loop, true);
    assert_int_equal(kafka_position_get(b->kafka, "a", 0, 4), EHIS_OK);
    assert_true(until(b, &b->positions, 2, 20));
    assert_int_equal(b->watch, 4);
    assert_int_equal(b->position, 41);
    assert_string_equal(b->metadata, "w1:ff");
}

static void what_was_sent_after_a_failed_one_fails_with_it_and_goes_again_in_order(void **state)
{
    struct bench *b = *state;
    send_number(b, "a", KAFKA_BULK, 0);
    assert_true(until(b, &b->sent, 1, 20));
    rd_kafka_mock_broker_set_rtt(b->cluster, 1, 1500);
    rd_kafka_mock_push_request_errors(b->cluster, PRODUCE, 1, RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE);
    send_number(b, "a", KAFKA_BULK, 1);
    pass(b, 50); /* in a request of its own */
    for (uint64_t i = 2; i < 50; i++)
        send_number(b, "a", KAFKA_BULK, i);
    b->send_again = true;
    assert_true(until(b, &b->sent, 1 + 49 + 49, 20));
    for (uint64_t i = 1; i < 50; i++) {
        assert_int_equal(b->sent_err[i], EHIS_E_BUS_MESSAGE_BYTES);
        assert_int_equal(b->sent_token[i], i);
        assert_int_equal(b->sent_err[49 + i], EHIS_OK);
        assert_int_equal(b->sent_token[49 + i], i);
    }
    struct kafka_status s;
    pass(b, 300);
    kafka_status(b->kafka, &s);
    assert_int_equal(s.queued_messages + s.queued_bytes, 0);
    assert_int_equal(s.failed, 49);
}

static void a_dead_handle_is_made_anew_and_everything_unconfirmed_is_said_in_order(void **state)
{
    struct bench *b = *state;
    send_number(b, "a", KAFKA_BULK, 0);
    assert_true(until(b, &b->sent, 1, 20));
    rd_kafka_mock_broker_set_rtt(b->cluster, 1, 3000);
    for (uint64_t i = 1; i < 20; i++)
        send_number(b, "a", KAFKA_BULK, i);
    pass(b, 50);
    rd_kafka_test_fatal_error(b->kafka->producers[KAFKA_BULK]->handle.rk, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "made up");
    assert_true(until(b, &b->sent, 20, 20));
    rd_kafka_mock_broker_set_rtt(b->cluster, 1, 0);
    for (uint64_t i = 1; i < 20; i++) {
        assert_int_equal(b->sent_err[i], EHIS_E_BUS_FATAL);
        assert_int_equal(b->sent_token[i], i);
    }
    send_number(b, "a", KAFKA_BULK, 20);
    assert_true(until(b, &b->sent, 21, 20));
    assert_int_equal(b->sent_err[20], EHIS_OK);
    struct kafka_status s;
    kafka_status(b->kafka, &s);
    assert_int_equal(s.rebuilt, 1);
    assert_int_equal(s.queued_messages + s.queued_bytes, 0);
}

/* As much as anything else may wake it meanwhile: with a backlog the loop never sleeps, with steady traffic it never sleeps long. Until *count reaches n. */
static bool woken(struct bench *b, bool is_backlog, const size_t *count, size_t n, int seconds)
{
    const struct timespec step = {0, 20 * 1000000};
    const uint64_t one = 1;
    for (int64_t end = clock_mono_ms(&clock_system) + seconds * 1000; *count < n && clock_mono_ms(&clock_system) < end;) {
        if (is_backlog)
            loop_timer_set(b->kafka->safety, 0);
        else
            assert_int_equal(write(b->kafka->wake_fd, &one, sizeof one), sizeof one);
        loop_run_once(b->loop, true);
        nanosleep(&step, NULL);
    }
    return *count >= n;
}

/* As one that waits for requests that nobody will answer: the brokers answer, and nothing is ever confirmed. */
static void a_producer_that_confirms_nothing_for_ten_seconds_is_made_anew(void **state)
{
    struct bench *b = *state;
    struct kafka_status s = {0};
    send_number(b, "a", KAFKA_BULK, 0);
    assert_true(until(b, &b->sent, 1, 20));
    for (int i = 0; i < 1000; i++)
        rd_kafka_mock_push_request_errors(b->cluster, PRODUCE, 1, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
    send_number(b, "a", KAFKA_BULK, 1);
    assert_false(woken(b, true, &b->sent, 2, 7));
    kafka_status(b->kafka, &s);
    assert_int_equal(s.rebuilt, 0);
    assert_true(woken(b, false, &b->sent, 2, 10));
    assert_int_equal(b->sent_err[1], EHIS_E_BUS_FATAL);
    kafka_status(b->kafka, &s);
    assert_int_equal(s.rebuilt, 1);
    assert_int_equal(b->kafka->producers[KAFKA_BULK]->idle_max, 2 * b->kafka->producers[KAFKA_FAST]->idle_max);
    rd_kafka_mock_clear_request_errors(b->cluster, PRODUCE);
    send_number(b, "a", KAFKA_BULK, 2);
    assert_true(until(b, &b->sent, 3, 20));
    assert_int_equal(b->sent_err[2], EHIS_OK);
    assert_int_equal(b->kafka->producers[KAFKA_BULK]->idle_max, b->kafka->producers[KAFKA_FAST]->idle_max);
}

static void a_consumer_made_anew_goes_on_where_it_stood(void **state)
{
    struct bench *b = *state;
    assert_int_equal(kafka_watch(b->kafka, KAFKA_BULK, "a", 0, KAFKA_FROM_BEGIN, 7), EHIS_OK);
    for (uint64_t i = 0; i < 100; i++)
        send_number(b, "a", KAFKA_BULK, i);
    assert_true(until(b, &b->received, 100, 20));
    pass(b, 1100);
    b->kafka->consumers[KAFKA_BULK]->handle.is_broken = true;
    for (uint64_t i = 100; i < 200; i++)
        send_number(b, "a", KAFKA_BULK, i);
    assert_true(until(b, &b->received, 200, 20));
    pass(b, 300);
    assert_int_equal(b->received, 200);
    for (uint64_t i = 0; i < 200; i++)
        assert_int_equal(b->value[i], i);
}

static void a_broker_that_goes_and_comes_is_told_and_loses_nothing(void **state)
{
    struct bench *b = *state;
    send_number(b, "a", KAFKA_BULK, 0);
    assert_true(until(b, &b->sent, 1, 20));
    assert_int_equal(b->state, EHIS_OK);
    rd_kafka_mock_broker_set_down(b->cluster, 1);
    assert_true(until_state(b, EHIS_E_BUS_UNREACHABLE, 20));
    send_number(b, "a", KAFKA_BULK, 1);
    pass(b, 300);
    assert_int_equal(b->sent, 1);
    rd_kafka_mock_broker_set_up(b->cluster, 1);
    assert_true(until(b, &b->sent, 2, 20));
    assert_int_equal(b->sent_err[1], EHIS_OK);
    assert_true(until_state(b, EHIS_OK, 20));
}

static void a_pause_loses_nothing_and_brings_nothing_twice(void **state)
{
    struct bench *b = *state;
    for (uint64_t i = 0; i < 2000; i++)
        send_number(b, "a", KAFKA_BULK, i);
    assert_true(until(b, &b->sent, 2000, 20));
    assert_int_equal(kafka_watch(b->kafka, KAFKA_BULK, "a", 0, 0, 7), EHIS_OK);
    b->pause_every = 100;
    /* Twenty pauses, each of which may wait for a whole fetch of two seconds: the mock cluster has no nudge. */
    for (int64_t end = clock_mono_ms(&clock_system) + 60000; b->received < 2000 && clock_mono_ms(&clock_system) < end;) {
        loop_run_once(b->loop, true);
        if (!b->is_paused)
            continue;
        size_t before = b->received;
        pass(b, 10);
        assert_int_equal(b->received, before);
        b->is_paused = false;
        kafka_pause(b->kafka, 7, false);
    }
    assert_int_equal(b->received, 2000);
    for (uint64_t i = 0; i < 2000; i++)
        assert_int_equal(b->value[i], i);
}

static void nothing_comes_after_a_watch_ended_and_it_can_begin_again_elsewhere(void **state)
{
    struct bench *b = *state;
    for (uint64_t i = 0; i < 1000; i++)
        send_number(b, "a", KAFKA_BULK, i);
    assert_int_equal(kafka_watch(b->kafka, KAFKA_BULK, "a", 0, 0, 7), EHIS_OK);
    assert_int_equal(kafka_watch(b->kafka, KAFKA_BULK, "a", 0, 0, 8), EHIS_E_INVALID);
    assert_int_equal(kafka_watch(b->kafka, KAFKA_BULK, "b", 0, 0, 7), EHIS_E_INVALID);
    assert_true(until(b, &b->received, 1, 20));
    kafka_unwatch(b->kafka, 7);
    b->received = 0;
    assert_int_equal(kafka_watch(b->kafka, KAFKA_BULK, "a", 0, 500, 9), EHIS_OK);
    assert_true(until(b, &b->received, 500, 20));
    assert_int_equal(b->watch, 9);
    assert_int_equal(b->value[0], 500);
    assert_int_equal(b->value[499], 999);
}

static void a_topic_that_is_not_there_breaks_its_watch_alone(void **state)
{
    struct bench *b = *state;
    rd_kafka_mock_topic_set_error(b->cluster, "gone", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    assert_int_equal(kafka_watch(b->kafka, KAFKA_BULK, "gone", 0, 0, 1), EHIS_OK);
    assert_true(until(b, &b->watch_errors, 1, 20));
    assert_int_equal(b->watch_err, EHIS_E_BUS_NO_TOPIC);
    assert_int_equal(kafka_watch(b->kafka, KAFKA_BULK, "b", 0, 0, 3), EHIS_OK);
    send_number(b, "b", KAFKA_FAST, 5);
    assert_true(until(b, &b->received, 1, 20));
    assert_int_equal(b->watch_errors, 1);
    send_number(b, "gone", KAFKA_FAST, 6);
    assert_true(until(b, &b->sent, 2, 20));
    assert_int_equal(b->sent_err[1], EHIS_E_BUS_NO_TOPIC);
}

static void a_position_beyond_the_log_breaks_the_watch(void **state)
{
    struct bench *b = *state;
    assert_int_equal(kafka_watch(b->kafka, KAFKA_BULK, "a", 0, 1000, 1), EHIS_OK);
    assert_true(until(b, &b->watch_errors, 1, 20));
    assert_int_equal(b->watch_err, EHIS_E_BUS_POSITION);
}

static void more_than_the_bounds_is_refused(void **state)
{
    struct bench *b = *state;
    uint8_t *large = calloc(1, 1000001);
    struct span part = span_of(large, 1000001);
    rd_kafka_mock_broker_set_down(b->cluster, 1);
    assert_int_equal(kafka_send(b->kafka, KAFKA_BULK, "a", 0, span_str("key"), &part, 1, 1), EHIS_E_BUS_TOO_LARGE);
    part.len--;
    for (int i = 0; i < 8; i++)
        assert_int_equal(kafka_send(b->kafka, KAFKA_BULK, "a", 0, span_str("key"), &part, 1, 1), EHIS_OK);
    assert_int_equal(kafka_send(b->kafka, KAFKA_BULK, "a", 0, span_str("key"), &part, 1, 1), EHIS_E_BUS_FULL);
    part.len = 1;
    for (int i = 8; i < 10000; i++)
        assert_int_equal(kafka_send(b->kafka, KAFKA_FAST, "a", 0, span_str("key"), &part, 1, 1), EHIS_OK);
    assert_int_equal(kafka_send(b->kafka, KAFKA_BULK, "a", 0, span_str("key"), &part, 1, 1), EHIS_E_BUS_FULL);
    free(large);
}

static void a_file_that_is_not_there_is_a_wrong_setting(void **state)
{
    struct bench *b = *state;
    struct kafka *k = NULL;
    struct ehis_why why = {{0}};
    struct kafka_calls calls = {b, on_sent, on_record, on_watch_error, on_position, on_state, NULL, on_end};
    struct kafka_config config = {.options = &b->options, .client = "gw", .queue_max_bytes = 1, .queue_max_count = 1};
    assert_int_equal(kafka_new(b->loop, &config, &calls, &k, &why), EHIS_E_BUS_CLIENT);
    assert_non_null(strstr(why.text, "ssl.ca.location"));
}

int main(void)
{
    log_set_level(LOG_ERROR);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_sent_is_confirmed_in_order_and_read_in_order),
        TEST(a_first_message_does_not_wait_a_second),
        TEST(a_position_comes_back_with_its_metadata),
        TEST(what_was_sent_after_a_failed_one_fails_with_it_and_goes_again_in_order),
        TEST(a_dead_handle_is_made_anew_and_everything_unconfirmed_is_said_in_order),
        TEST(a_producer_that_confirms_nothing_for_ten_seconds_is_made_anew),
        TEST(a_consumer_made_anew_goes_on_where_it_stood),
        TEST(a_broker_that_goes_and_comes_is_told_and_loses_nothing),
        TEST(a_pause_loses_nothing_and_brings_nothing_twice),
        TEST(nothing_comes_after_a_watch_ended_and_it_can_begin_again_elsewhere),
        TEST(a_topic_that_is_not_there_breaks_its_watch_alone),
        TEST(a_position_beyond_the_log_breaks_the_watch),
        TEST(more_than_the_bounds_is_refused),
        TEST(a_file_that_is_not_there_is_a_wrong_setting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
