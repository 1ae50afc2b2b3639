/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* That topics are made when every broker has learnt of them: over brokers that learn late, or never. A real one: tests/scenario/test_kafka_broker.py. */
#include "gateway/bus/cluster_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/clock.h"

#define TOPICS (2 * TOPIC_BATCH + 1)
enum { FIRST = 4, SECOND = 9 };

static struct topic_wanted topics[TOPICS];
static unsigned looks[2][3]; /* of each broker and batch */
static unsigned learns_at[2][3];
static unsigned answers_from; /* the second, at this look at a batch: */
static ehis_err answers;

ehis_err __wrap_cluster_unseen(struct cluster *c, int32_t broker, const struct topic_wanted *some, size_t topic_count, size_t *count, const char **name);
ehis_err __wrap_cluster_unseen(struct cluster *c, int32_t broker, const struct topic_wanted *some, size_t topic_count, size_t *count, const char **name)
{
    size_t batch = (size_t)(some - topics) / TOPIC_BATCH;
    unsigned *n = &looks[broker == SECOND][batch];
    (void)c;
    assert_true(broker == FIRST || broker == SECOND);
    assert_int_equal((size_t)(some - topics) % TOPIC_BATCH, 0);
    assert_int_equal(topic_count, batch < 2 ? TOPIC_BATCH : 1);
    *count = ++*n < learns_at[broker == SECOND][batch];
    if (*count)
        *name = "inbox.AZ..GOV..MIA..population";
    return broker == SECOND && *n >= answers_from ? answers : EHIS_OK;
}

static ehis_err await(int64_t ms, struct ehis_why *why)
{
    struct rd_kafka_metadata_broker brokers[] = {{.id = FIRST}, {.id = SECOND}};
    const struct rd_kafka_metadata metadata = {.broker_cnt = 2, .brokers = brokers};
    struct cluster c = {.metadata = &metadata, .topics = topics, .topic_count = TOPICS, .until_ms = clock_mono_ms(&clock_system) + ms, .why = why};
    memset(looks, 0, sizeof looks);
    return cluster_await_topics(&c);
}

static int set_up(void **state)
{
    (void)state;
    for (size_t b = 0; b < 2; b++)
        for (size_t i = 0; i < 3; i++)
            learns_at[b][i] = 1;
    answers = EHIS_OK;
    answers_from = 1;
    return 0;
}
#define IS(name, e) assert_string_equal(ehis_err_name(e), #name)

static void every_broker_is_asked_for_every_topic_until_it_knows_it(void **state)
{
    struct ehis_why why = {{0}};
    (void)state;
    learns_at[0][0] = 3;
    learns_at[1][2] = 4;
    IS(OK, await(60000, &why));
    for (size_t b = 0; b < 2; b++)
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(looks[b][i], learns_at[b][i]);
}

static void a_broker_that_never_learns_is_named_when_the_time_is_up(void **state)
{
    struct ehis_why why = {{0}};
    (void)state;
    learns_at[1][1] = UINT32_MAX;
    IS(BUS_UNSEEN, await(1000, &why));
    assert_string_equal(why.text, "broker 9: inbox.AZ..GOV..MIA..population");
    assert_in_range(looks[1][1], 2, 30);
}

static void a_broker_that_does_not_answer_has_not_learnt_and_another_error_is_its_own(void **state)
{
    struct ehis_why why = {{0}};
    (void)state;
    answers = EHIS_E_BUS_UNREACHABLE;
    IS(BUS_UNSEEN, await(60000, &why));
    assert_string_equal(why.text, "broker 9: no answer");
    answers = EHIS_E_BUS_NOT_ALLOWED;
    IS(BUS_NOT_ALLOWED, await(60000, &why));
    answers = EHIS_E_BUS_UNREACHABLE; /* to the last question, when the time is up: what it did not know is said */
    answers_from = 3;
    learns_at[1][0] = UINT32_MAX;
    IS(BUS_UNSEEN, await(60000, &why));
    assert_string_equal(why.text, "broker 9: inbox.AZ..GOV..MIA..population");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_broker_is_asked_for_every_topic_until_it_knows_it, set_up),
        cmocka_unit_test_setup(a_broker_that_never_learns_is_named_when_the_time_is_up, set_up),
        cmocka_unit_test_setup(a_broker_that_does_not_answer_has_not_learnt_and_another_error_is_its_own, set_up),
    };
    return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
