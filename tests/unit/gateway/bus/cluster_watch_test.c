/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The watch over a cluster that stands in this file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include "base/log.h"
#include "gateway/bus/cluster_watch.h"
#include "tests/support/sim_clock.h"

#define UNCLEAN "unclean.leader.election.enable"

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* a look goes through it */
static struct {
    struct sim_clock clock;
    struct bus_kafka_options options;
    struct cluster_watch *watch;
    struct bus_finding findings[64];
    size_t count;
    ehis_err err;
    char text[600]; /* what the last look read of its options */
    size_t unsafe_lines, safe_lines, unchecked_lines;
    int durable_calls, refs, unrefs;
    bool is_durable;
} w;

struct registry *registry_ref(struct registry *r) { return w.refs++, r; }
void registry_unref(struct registry *r) { (void)r, w.unrefs++; }

static ehis_err look(const struct bus_kafka_options *o, const struct registry *r, uint64_t timeout_ms, bus_on_finding on_finding, void *ctx, struct ehis_why *why)
{
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    assert_true(timeout_ms <= 15000 && r);
    snprintf(w.text, sizeof w.text, "%s %s %s %s %s", o->ca, o->certificate, o->key, o->prefix, o->brokers.items[0]);
    for (size_t i = 0; i < w.count; i++)
        on_finding(ctx, &w.findings[i]);
    return w.err == EHIS_OK ? EHIS_OK : ehis_fail(why, w.err, "so");
}

static void on_durable(void *ctx, bool is_durable)
{
    (void)ctx;
    w.durable_calls++;
    w.is_durable = is_durable;
}

static void on_line(void *arg, int level, const char *line)
{
    (void)arg, (void)level;
    w.unsafe_lines += strstr(line, "\"bus.unsafe\"") != NULL;
    w.safe_lines += strstr(line, "\"bus.safe\"") != NULL;
    w.unchecked_lines += strstr(line, "\"bus.unchecked\"") != NULL;
}

static void tick(bool is_up)
{
    static int registry;
    cluster_watch_tick(w.watch, (struct registry *)(void *)&registry, is_up);
}

/* Until the look that is under way has been taken. */
static void settle(void)
{
    const struct timespec step = {0, 1000000};
    for (; w.refs != w.unrefs; nanosleep(&step, NULL))
        tick(false);
}

static void look_once(void)
{
    sim_clock_advance_ms(&w.clock, 60000);
    tick(true);
    assert_int_equal(w.refs, w.unrefs + 1);
    settle();
}

static void found(size_t i, ehis_err code, const char *subject, const char *setting)
{
    w.findings[i] = (struct bus_finding){.code = code, .setting = setting, .found = "true", .wanted = "false"};
    snprintf(w.findings[i].subject, sizeof w.findings[i].subject, "%s", subject);
    w.count = i + 1;
}

static struct cluster_watch_status status(void)
{
    struct cluster_watch_status s;
    cluster_watch_status(w.watch, &s);
    return s;
}

static int begin(void **state)
{
    static const char *brokers[] = {"broker:1"};
    (void)state;
    memset(&w, 0, sizeof w);
    w.options = (struct bus_kafka_options){.brokers = {1, brokers}, .ca = "ca", .certificate = "crt", .key = "key", .prefix = "p", .check_every_ms = 60000};
    sim_clock_init(&w.clock, 1);
    w.is_durable = true;
    log_set_thread_sink(on_line, NULL);
    const struct cluster_watch_config config = {.options = &w.options, .clock = &w.clock.clock, .look = look, .on_durable = on_durable};
    return cluster_watch_new(&config, true, &w.watch) != EHIS_OK;
}

static int end(void **state)
{
    (void)state;
    assert_true(cluster_watch_free(w.watch));
    log_set_thread_sink(NULL, NULL);
    return 0;
}
#define WATCH_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

static void a_finding_is_told_when_it_is_new_and_when_it_is_gone(void **state)
{
    (void)state;
    look_once();
    assert_int_equal(status().count + w.unsafe_lines, 0);
    found(0, EHIS_E_BUS_UNCLEAN, "t1", UNCLEAN);
    look_once();
    look_once();
    assert_int_equal(w.unsafe_lines, 1);
    assert_int_equal(status().count, 1);
    assert_string_equal(status().first->subject, "t1");
    found(1, EHIS_E_BUS_UNCLEAN, "t2", UNCLEAN);
    look_once();
    assert_int_equal(w.unsafe_lines, 2);
    assert_int_equal(w.safe_lines, 0);
    w.count = 0;
    look_once();
    look_once();
    assert_int_equal(w.safe_lines, 2);
    assert_int_equal(status().count, 0);
    assert_null(status().first);
}

static void what_may_lose_messages_is_told_apart_from_the_rest(void **state)
{
    const struct { ehis_err code; bool is_durable; bool is_counted; } rows[] = {
        {EHIS_E_BUS_UNCLEAN, false, true},    {EHIS_E_BUS_MIN_ISR, false, true}, {EHIS_E_BUS_RETENTION, false, true},    {EHIS_E_BUS_CLEANUP, false, true},
        {EHIS_E_BUS_REPLICATION, false, true}, {EHIS_E_BUS_BROKERS, false, true}, {EHIS_E_BUS_AUTO_CREATE, true, true}, {EHIS_E_BUS_TIMESTAMP, true, true},
        {EHIS_E_BUS_NO_TOPIC, true, false},    {EHIS_E_BUS_NOT_ALLOWED, true, false}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        found(0, rows[i].code, "t", "s");
        look_once();
        assert_int_equal(w.is_durable, rows[i].is_durable);
        assert_int_equal(status().is_durable, rows[i].is_durable);
        assert_int_equal(status().count, rows[i].is_counted);
        w.count = 0;
        look_once();
        assert_true(w.is_durable);
    }
    assert_int_equal(w.durable_calls, 12); /* when it changes alone */
}

static void what_cannot_be_looked_at_is_as_it_was(void **state)
{
    const ehis_err errs[] = {EHIS_E_BUS_UNREACHABLE, EHIS_E_BUS_TLS, EHIS_OK};
    (void)state;
    found(0, EHIS_E_BUS_UNCLEAN, "t1", UNCLEAN);
    look_once();
    const int64_t looked_ms = status().looked_ms;
    for (size_t i = 0; i < 3; i++) {
        w.err = errs[i];
        w.count = 0;
        if (errs[i] == EHIS_OK)
            found(0, EHIS_E_BUS_NOT_ALLOWED, "t1", "");
        look_once();
        look_once();
        assert_int_equal(status().count, 1);
        assert_false(status().is_durable);
        assert_int_equal(status().looked_ms, looked_ms);
    }
    assert_int_equal(w.unchecked_lines, 2); /* each once */
    assert_int_equal(w.unsafe_lines, 1);
    assert_int_equal(w.safe_lines, 0);
    w.count = 0;
    look_once();
    assert_int_equal(w.safe_lines, 1);
    assert_true(status().is_durable && status().looked_ms > looked_ms);
}

static void beyond_a_bound_findings_are_counted_alone(void **state)
{
    char name[16];
    (void)state;
    for (size_t i = 0; i < 64; i++) {
        snprintf(name, sizeof name, "t%02zu", i);
        found(i, i == 63 ? EHIS_E_BUS_MIN_ISR : EHIS_E_BUS_TIMESTAMP, name, "s");
    }
    look_once();
    look_once();
    assert_int_equal(status().count, 64);
    assert_int_equal(w.unsafe_lines, CLUSTER_FINDINGS_MAX);
    assert_false(w.is_durable); /* by one that is not kept */
}

static void it_looks_when_it_is_due_and_the_brokers_are_there_one_look_at_a_time(void **state)
{
    (void)state;
    sim_clock_advance_ms(&w.clock, 59000);
    tick(true);
    sim_clock_advance_ms(&w.clock, 1000);
    tick(false);
    assert_int_equal(w.refs, 0);
    char ca[] = "ca";
    w.options.ca = ca;
    pthread_mutex_lock(&gate);
    for (int i = 0; i < 5; i++) {
        tick(true);
        sim_clock_advance_ms(&w.clock, 60000);
    }
    assert_int_equal(w.refs, 1);
    memset(ca, 'x', 2); /* a reload: the settings' texts are others while a look has them */
    pthread_mutex_unlock(&gate);
    settle();
    assert_string_equal(w.text, "ca crt key p broker:1");
    w.options.check_every_ms = 1000;
    for (int i = 0; i < 3; i++) {
        sim_clock_advance_ms(&w.clock, 1000);
        tick(true);
        settle();
    }
    assert_int_equal(w.refs, 4);
}

static void what_nobody_has_looked_at_counts_as_unsafe_until_somebody_has(void **state)
{
    const struct cluster_watch_config config = {.options = &w.options, .clock = &w.clock.clock, .look = look, .on_durable = on_durable};
    (void)state;
    assert_true(cluster_watch_free(w.watch));
    assert_int_equal(cluster_watch_new(&config, false, &w.watch), EHIS_OK);
    assert_false(w.is_durable || status().is_durable);
    w.err = EHIS_E_BUS_UNREACHABLE;
    look_once();
    assert_false(w.is_durable || status().is_durable);
    w.err = EHIS_OK;
    look_once();
    assert_true(w.is_durable && status().is_durable);
    assert_int_equal(w.durable_calls, 2);
}

static void a_look_that_does_not_end_holds_nobody(void **state)
{
    const struct cluster_watch_config config = {.options = &w.options, .clock = &w.clock.clock, .look = look, .on_durable = on_durable};
    const int64_t began_ms = clock_mono_ms(&clock_system);
    (void)state;
    struct cluster_watch *mine = w.watch;
    assert_int_equal(cluster_watch_new(&config, false, &w.watch), EHIS_OK);
    pthread_mutex_lock(&gate);
    tick(true); /* at once: nobody has looked */
    assert_false(cluster_watch_free(w.watch));
    assert_in_range(clock_mono_ms(&clock_system) - began_ms, 1900, 4000);
    w.watch = mine; /* and that look stays, beyond the end of this program */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCH_TEST(a_finding_is_told_when_it_is_new_and_when_it_is_gone), WATCH_TEST(what_may_lose_messages_is_told_apart_from_the_rest),
        WATCH_TEST(what_cannot_be_looked_at_is_as_it_was),                WATCH_TEST(beyond_a_bound_findings_are_counted_alone),
        WATCH_TEST(it_looks_when_it_is_due_and_the_brokers_are_there_one_look_at_a_time), WATCH_TEST(what_nobody_has_looked_at_counts_as_unsafe_until_somebody_has),
        WATCH_TEST(a_look_that_does_not_end_holds_nobody)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
