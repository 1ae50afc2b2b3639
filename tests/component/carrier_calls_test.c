/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Calls and answers over a bus that carries (SPEC 17.7): how they come back, where nobody is, and what is no reply. */
#include "tests/component/exchange_carrier.h"

static const uint8_t back[16] = {8, 8}; /* B's stream to A */

/* B's at the second house. */
static struct hash answer_in(const uint8_t *in, const char *recipient, const struct hash *asked, const uint8_t id[16])
{
    struct hash answer;
    const struct sim_message m = {.kind = KIND_RESPONSE, .sender = B, .recipient = recipient, .operation = "Get", .stream = in, .number = in ? 1 : 0, .in_reply_to = asked, .exchange_id = id};
    if (in)
        assert_int_equal(sim_stream_open(t.two, t.b, in, recipient, NULL, 1), EHIS_OK);
    assert_int_equal(sim_submit(t.two, t.b, &m, &answer), EHIS_OK);
    sim_carrier_run(t.c);
    return answer;
}

static void a_call_goes_over_and_its_answer_comes_back(void **state)
{
    struct hash d;
    uint8_t id[16];
    (void)state;
    ask(&d, id);
    assert_delivered(t.two, t.b, &d);
    struct hash answer = answer_in(NULL, A, &d, id);
    assert_delivered(t.one, t.a, &answer);
    assert_receipt(t.two, t.b, &answer, STATE_ACCEPTED, 0);
    assert_true(sim_record(t.one, RECORD_ACCEPTED, &answer, &(struct record){0}));
    sim_carrier_pass(t.c, 12000);
    assert_int_equal(sim_record_count(t.one, RECORD_EXPIRED) + sim_record_count(t.two, RECORD_EXPIRED), 0);
}

static void an_answer_without_a_waiting_caller_goes_to_the_inbox_and_not_to_the_gateway_that_accepted_the_question(void **state)
{
    struct sim_message m = numbered(1);
    struct hash asked;
    uint8_t id[16];
    (void)state;
    sim_end(t.one, t.a);
    t.a = sim_ready(t.one, A, 8, 64, 1 << 20);
    sim_carrier_run(t.c);
    assert_int_equal(sim_stream_open(t.one, t.a, stream, B, NULL, 1), EHIS_OK);
    m.operation = "Get";
    make(&m, &asked, id);
    submit_made(t.one, t.a);
    assert_delivered(t.two, t.b, &asked);
    struct hash answer = answer_in(back, A, &asked, id);
    assert_delivered(t.one, t.a, &answer);
    assert_int_equal(sim_carrier_refused(t.c), 0);
}

static void an_answer_may_come_by_a_gateway_that_did_not_hand_over_the_question(void **state)
{
    struct sim_message m = numbered(1);
    struct hash asked;
    uint8_t id[16];
    (void)state;
    m.operation = "Get";
    make(&m, &asked, id); /* some other gateway brought it */
    struct hash answer = answer_in(back, A, &asked, id);
    assert_receipt(t.two, t.b, &answer, STATE_ACCEPTED, 0);
    sim_forget(t.two);
    answer = answer_in(stream, D, &asked, id); /* whom no rule of the provider's names */
    assert_receipt(t.two, t.b, &answer, STATE_REFUSED, EHIS_E_EXCHANGE_NOT_A_REPLY);
}

static void a_call_fails_at_once_where_nobody_is_and_when_the_provider_goes(void **state)
{
    struct hash d;
    uint8_t id[16];
    (void)state;
    ask(&d, id);
    sim_end(t.two, t.b);
    sim_carrier_run(t.c);
    assert_receipt(t.one, t.a, &d, STATE_ACCEPTED, 0);
    assert_receipt(t.one, t.a, &d, STATE_FAILED, EHIS_E_EXCHANGE_PROVIDER_GONE);
    ask(&d, id);
    assert_receipt(t.one, t.a, &d, STATE_REFUSED, EHIS_E_EXCHANGE_NO_SESSION);
}

static void an_answer_to_a_call_that_was_refused_here_and_accepted_elsewhere_is_no_reply(void **state)
{
    struct hash d;
    uint8_t id[16];
    (void)state;
    sim_end(t.two, t.b);
    sim_carrier_run(t.c);
    ask(&d, id);
    assert_receipt(t.one, t.a, &d, STATE_REFUSED, EHIS_E_EXCHANGE_NO_SESSION);
    t.b = sim_ready(t.two, B, 8, 64, 1 << 20);
    session_id elsewhere = sim_ready(t.two, A, 8, 0, 0);
    sim_carrier_run(t.c);
    submit_made(t.two, elsewhere);
    assert_delivered(t.two, t.b, &d);
    answer_in(NULL, A, &d, id);
    assert_int_equal(sim_carrier_forge(t.c, t.one, NULL), EHIS_E_EXCHANGE_NOT_A_REPLY);
}

static void a_call_that_the_journal_had_no_room_for_ends_when_it_is_offered_again(void **state)
{
    struct sim_message m = {.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"};
    struct hash d;
    (void)state;
    assert_int_equal(sim_submit(t.one, t.a, &m, &d), EHIS_OK);
    assert_int_equal(sim_set_ready(t.two, t.b, 0, 64, 1 << 20), EHIS_OK); /* nobody takes it there any more */
    t.two->is_journal_full = true;
    sim_carrier_run(t.c);
    assert_int_equal(sim_record_count(t.two, RECORD_FAILED), 0);
    t.two->is_journal_full = false;
    sim_carrier_run(t.c);
    assert_int_equal(sim_record_count(t.two, RECORD_FAILED), 1);
    assert_int_equal(sim_carrier_refused(t.c), 0);
    assert_receipt(t.one, t.a, &d, STATE_ACCEPTED, 0);
    assert_receipt(t.one, t.a, &d, STATE_FAILED, EHIS_E_EXCHANGE_NO_SESSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CARRIER_TEST(a_call_goes_over_and_its_answer_comes_back),
        CARRIER_TEST(an_answer_without_a_waiting_caller_goes_to_the_inbox_and_not_to_the_gateway_that_accepted_the_question),
        CARRIER_TEST(an_answer_may_come_by_a_gateway_that_did_not_hand_over_the_question),
        CARRIER_TEST(a_call_fails_at_once_where_nobody_is_and_when_the_provider_goes),
        CARRIER_TEST(an_answer_to_a_call_that_was_refused_here_and_accepted_elsewhere_is_no_reply),
        CARRIER_TEST(a_call_that_the_journal_had_no_room_for_ends_when_it_is_offered_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
