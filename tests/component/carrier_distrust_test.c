/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What a broker or another gateway alters, misplaces or only says (SPEC 17.2): it is not delivered. */
#include "tests/component/exchange_carrier.h"

static void what_is_altered_or_misplaced_is_not_delivered(void **state)
{
    (void)state;
    sim_carrier_faults(t.c)->alter = 1;
    put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
    assert_int_equal(sim_carrier_refused(t.c), 1);
    assert_int_equal(sim_record_count(t.two, RECORD_REFUSED), 1);
    session_id c = sim_ready(t.two, C, 8, 64, 1 << 20);
    sim_carrier_run(t.c);
    put_at(t.one, t.a, 2);
    sim_carrier_run(t.c);
    assert_int_equal(sim_carrier_forge(t.c, t.two, C), EHIS_E_BUS_WRONG_INBOX);
    assert_null(sim_take(t.two, SIM_DELIVERY, c));
    take(2, OUTCOME_DONE); /* libehis waits for the one before */
    sim_carrier_pass(t.c, 25000);
    take(1, OUTCOME_DONE); /* it was found missing */
}

/* Both ends at the first house. */
static session_id recipient_at_one(void)
{
    sim_end(t.two, t.b);
    session_id b = sim_ready(t.one, B, 8, 64, 1 << 20);
    sim_carrier_run(t.c);
    return b;
}

static void what_comes_with_another_signature_than_the_one_accepted_here_is_not_delivered(void **state)
{
    struct record r;
    (void)state;
    session_id b = recipient_at_one();
    sim_carrier_faults(t.c)->resign = 1;
    struct hash d = put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    assert_null(sim_take(t.one, SIM_DELIVERY, b));
    assert_int_equal(sim_carrier_refused(t.c), 1);
    assert_true(sim_record(t.one, RECORD_REFUSED, &d, &r));
    assert_int_equal(r.code, EHIS_E_SIGNATURE_BAD);
    sim_carrier_pass(t.c, 25000);
    assert_non_null(sim_take(t.one, SIM_DELIVERY, b)); /* it was found missing */
}

/* Refused at the second house with this code, and the first says that it was accepted. */
static void lie_about(const struct sim_message *m, ehis_err code, struct hash *d)
{
    struct record r;
    make(m, d, NULL);
    submit_made(t.two, sender_at_two());
    assert_true(sim_record(t.two, RECORD_REFUSED, d, &r));
    assert_int_equal(r.code, code);
    sim_forget(t.two);
    sim_carrier_lie(t.c, t.one, B, buf_span(&t.made));
    sim_carrier_run(t.c);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
}

static void what_was_refused_here_as_anothers_word_is_not_delivered_when_a_gateway_brings_it(void **state)
{
    struct sim_message m = numbered(1);
    struct hash d;
    (void)state;
    m.signer = C;
    lie_about(&m, EHIS_E_KEY_FOREIGN, &d);
    assert_int_equal(sim_carrier_refused(t.c), 1);
}

static void what_policy_refused_here_is_asked_again_whatever_gateway_says_that_it_accepted_it(void **state)
{
    struct record r;
    struct hash d;
    (void)state;
    lie_about(&(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get", .purpose = "nosing"}, EHIS_E_POLICY_PURPOSE, &d);
    assert_true(sim_record(t.two, RECORD_FAILED, &d, &r));
    assert_int_equal(r.code, EHIS_E_POLICY_PURPOSE);
}

static void lie_of_one_stream(const char *to, uint64_t number)
{
    struct hash d, asked = {{1}};
    make(&(struct sim_message){.kind = KIND_RESPONSE, .sender = B, .recipient = to, .operation = "Get", .stream = stream, .number = number, .in_reply_to = &asked}, &d, NULL);
    sim_carrier_lie(t.c, t.one, to, buf_span(&t.made));
}

static void take_next(session_id s, const char *system, uint64_t number, enum outcome outcome)
{
    struct sim_out *o = sim_take(t.two, SIM_DELIVERY, s);
    assert_non_null(o);
    assert_int_equal(o->number, number);
    assert_int_equal(sim_ack(t.two, s, system, &(struct sim_ack){.delivery = o->delivery, .digest = o->digest, .outcome = outcome}, 1), EHIS_OK);
    sim_carrier_run(t.c);
}

/* Its sender signs what no gateway would accept: each has its own order, and none waits for the other or leaves anything behind. */
static void a_stream_of_two_recipients_is_two(void **state)
{
    struct exchange_status before, after;
    (void)state;
    sim_end(t.one, t.a);
    session_id a = sim_ready(t.two, A, 8, 64, 1 << 20), c = sim_ready(t.two, C, 8, 64, 1 << 20);
    sim_carrier_run(t.c);
    exchange_status(t.two->x, &before);
    for (uint64_t n = 3; n >= 1; n--) {
        lie_of_one_stream(A, n);
        lie_of_one_stream(C, n);
    }
    sim_carrier_run(t.c);
    assert_int_equal(sim_carrier_refused(t.c), 0);
    for (uint64_t n = 3; n >= 1; n--)
        take_next(c, C, n, OUTCOME_DONE); /* as they came: libehis brings them into order */
    take_next(a, A, 3, OUTCOME_RETRY);
    sim_end(t.two, c);
    lie_of_one_stream(C, 4);
    sim_carrier_run(t.c);
    c = sim_ready(t.two, C, 8, 64, 1 << 20);
    sim_carrier_run(t.c);
    take_next(c, C, 4, OUTCOME_DONE);
    take_next(a, A, 2, OUTCOME_DONE);
    take_next(a, A, 1, OUTCOME_DONE);
    sim_carrier_pass(t.c, 2000);
    take_next(a, A, 3, OUTCOME_DONE);
    assert_int_equal(sim_carrier_unfinished(t.c), 0);
    exchange_status(t.two->x, &after);
    assert_int_equal(after.streams, before.streams);
    assert_int_equal(after.in_flight, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CARRIER_TEST(what_is_altered_or_misplaced_is_not_delivered),
        CARRIER_TEST(what_comes_with_another_signature_than_the_one_accepted_here_is_not_delivered),
        CARRIER_TEST(what_was_refused_here_as_anothers_word_is_not_delivered_when_a_gateway_brings_it),
        CARRIER_TEST(what_policy_refused_here_is_asked_again_whatever_gateway_says_that_it_accepted_it),
        CARRIER_TEST(a_stream_of_two_recipients_is_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
