/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Two cores and a bus that carries between them (SPEC 17): accepted at one, delivered at the other; what is lost, doubled, altered or misplaced on the
 * way; a gateway that dies at either end. */
#include "tests/support/sim_carrier.h"
#include "tests/unit/gateway/exchange/exchange_test.h"

static const uint8_t stream[16] = {7, 7, 7};
static struct { struct sim_carrier *c; struct sim_house *one, *two; session_id a, b; } t;

static int begin(void **state)
{
    (void)state;
    t.c = sim_carrier_new();
    t.one = sim_house_new(7);
    sim_house_carry(t.one, t.c);
    t.two = sim_house_beside(t.one);
    t.a = sim_ready(t.one, A, 8, 0, 0);
    t.b = sim_ready(t.two, B, 8, 64, 1 << 20);
    sim_carrier_run(t.c);
    assert_int_equal(sim_stream_open(t.one, t.a, stream, B, NULL, 1), EHIS_OK);
    sim_forget(t.one);
    sim_forget(t.two);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    sim_house_free(t.two);
    sim_house_free(t.one);
    sim_carrier_free(t.c);
    return 0;
}
#define CARRIER_TEST(f) cmocka_unit_test_setup_teardown(f, begin, finish)

static struct sim_message numbered(uint64_t n)
{
    return (struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Put", .stream = stream, .number = n, .fill = (uint8_t)n};
}

static struct hash put_at(struct sim_house *h, session_id s, uint64_t n)
{
    struct hash d;
    struct sim_message m = numbered(n);
    assert_int_equal(sim_submit(h, s, &m, &d), EHIS_OK);
    return d;
}

static void take_from(const struct sim_out *o, enum outcome outcome)
{
    assert_int_equal(sim_ack(t.two, t.b, B, &(struct sim_ack){.delivery = o->delivery, .digest = o->digest, .outcome = outcome}, 1), EHIS_OK);
    sim_carrier_run(t.c);
}

/* Delivered at the second house, and acknowledged. */
static void take(uint64_t n, enum outcome outcome)
{
    struct sim_out *o = sim_take(t.two, SIM_DELIVERY, t.b);
    assert_non_null(o);
    assert_int_equal(o->number, n);
    take_from(o, outcome);
}

static void what_one_accepts_the_other_delivers_and_both_journals_say_so(void **state)
{
    struct record r;
    (void)state;
    struct hash d = put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    assert_receipt(t.one, t.a, &d, STATE_ACCEPTED, 0);
    assert_receipt(t.one, t.a, &d, STATE_REPLICATED, 0);
    take(1, OUTCOME_DONE);
    assert_receipt(t.one, t.a, &d, STATE_DELIVERED, 0);
    assert_true(sim_record(t.one, RECORD_DELIVERED, &d, &r));
    assert_true(span_eq(r.gateway, span_str(SIM_GATEWAY_2)) && r.ack.len > 0);
    assert_true(sim_record(t.two, RECORD_DELIVERED, &d, &r));
    assert_true(span_eq(r.gateway, span_str(SIM_GATEWAY)) && r.header.len > 0 && r.ack.len > 0);
    assert_int_equal(sim_carrier_refused(t.c), 0);
}

static void with_one_broker_nothing_is_called_replicated(void **state)
{
    (void)state;
    sim_carrier_faults(t.c)->is_pilot = true;
    struct hash d = put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    assert_receipt(t.one, t.a, &d, STATE_ACCEPTED, 0);
    assert_null(sim_take(t.one, SIM_RECEIPT, t.a));
}

static void both_ends_at_one_gateway_make_one_record(void **state)
{
    (void)state;
    sim_end(t.two, t.b);
    session_id b = sim_ready(t.one, B, 8, 64, 1 << 20);
    sim_carrier_run(t.c);
    struct hash d = put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    struct sim_out *o = sim_take(t.one, SIM_DELIVERY, b);
    assert_non_null(o);
    assert_int_equal(sim_ack(t.one, b, B, &(struct sim_ack){.delivery = o->delivery, .digest = d, .outcome = OUTCOME_DONE}, 1), EHIS_OK);
    sim_carrier_run(t.c);
    assert_receipt(t.one, t.a, &d, STATE_ACCEPTED, 0);
    assert_receipt(t.one, t.a, &d, STATE_REPLICATED, 0);
    assert_receipt(t.one, t.a, &d, STATE_DELIVERED, 0);
    assert_int_equal(sim_record_count(t.one, RECORD_DELIVERED), 1);
}

static void a_rejection_and_a_refusal_go_over_as_well(void **state)
{
    (void)state;
    struct hash d = put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    take(1, OUTCOME_REJECTED);
    assert_receipt(t.one, t.a, &d, STATE_ACCEPTED, 0);
    assert_receipt(t.one, t.a, &d, STATE_REPLICATED, 0);
    assert_receipt(t.one, t.a, &d, STATE_FAILED, 0);
    sim_forget(t.two);
    struct sim_message m = numbered(2);
    m.purpose = "nosing";
    assert_int_equal(sim_submit(t.one, t.a, &m, &d), EHIS_OK);
    sim_carrier_run(t.c);
    struct sim_out *skip = sim_take(t.two, SIM_SKIP, t.b);
    assert_non_null(skip);
    assert_int_equal(skip->number, 2);
    assert_int_equal(skip->state, STATE_REFUSED);
}

static void ask(struct hash *d, uint8_t id[16])
{
    struct buf b;
    buf_init(&b, 1 << 20);
    sim_envelope(t.one, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"}, &b, d, id);
    assert_int_equal(sim_submit_bytes(t.one, t.a, buf_span(&b)), EHIS_OK);
    buf_fini(&b);
    sim_carrier_run(t.c);
}

static void a_call_goes_over_and_its_answer_comes_back(void **state)
{
    struct hash d, answer;
    uint8_t id[16];
    (void)state;
    ask(&d, id);
    struct sim_out *o = sim_take(t.two, SIM_DELIVERY, t.b);
    assert_non_null(o);
    assert_int_equal(sim_submit(t.two, t.b, &(struct sim_message){.kind = KIND_RESPONSE, .sender = B, .recipient = A, .operation = "Get", .in_reply_to = &d, .exchange_id = id}, &answer), EHIS_OK);
    sim_carrier_run(t.c);
    o = sim_take(t.one, SIM_DELIVERY, t.a);
    assert_non_null(o);
    assert_memory_equal(o->digest.b, answer.b, 32);
    assert_receipt(t.two, t.b, &answer, STATE_ACCEPTED, 0);
    assert_true(sim_record(t.one, RECORD_ACCEPTED, &answer, &(struct record){0}));
    sim_carrier_pass(t.c, 12000);
    assert_int_equal(sim_record_count(t.one, RECORD_EXPIRED) + sim_record_count(t.two, RECORD_EXPIRED), 0);
}

static void an_answer_without_a_waiting_caller_goes_to_the_inbox_and_not_to_the_gateway_that_accepted_the_question(void **state)
{
    static const uint8_t back[16] = {8, 8};
    struct hash asked, answer;
    struct buf b;
    uint8_t id[16];
    (void)state;
    buf_init(&b, 1 << 20);
    sim_end(t.one, t.a);
    t.a = sim_ready(t.one, A, 8, 64, 1 << 20);
    sim_carrier_run(t.c);
    assert_int_equal(sim_stream_open(t.one, t.a, stream, B, NULL, 1), EHIS_OK);
    struct sim_message m = numbered(1);
    m.operation = "Get";
    sim_envelope(t.one, &m, &b, &asked, id);
    assert_int_equal(sim_submit_bytes(t.one, t.a, buf_span(&b)), EHIS_OK);
    buf_fini(&b);
    sim_carrier_run(t.c);
    struct sim_out *o = sim_take(t.two, SIM_DELIVERY, t.b);
    assert_non_null(o);
    assert_int_equal(sim_stream_open(t.two, t.b, back, A, NULL, 1), EHIS_OK);
    assert_int_equal(sim_submit(t.two, t.b, &(struct sim_message){.kind = KIND_RESPONSE, .sender = B, .recipient = A, .operation = "Get", .stream = back, .number = 1,
                                                                   .in_reply_to = &asked, .exchange_id = id}, &answer), EHIS_OK);
    sim_carrier_run(t.c);
    o = sim_take(t.one, SIM_DELIVERY, t.a);
    assert_non_null(o);
    assert_memory_equal(o->digest.b, answer.b, 32);
    assert_int_equal(sim_carrier_refused(t.c), 0);
}

static void an_answer_may_come_by_a_gateway_that_did_not_hand_over_the_question(void **state)
{
    static const uint8_t back[16] = {8, 8};
    struct sim_message m = numbered(1), r = {.kind = KIND_RESPONSE, .sender = B, .recipient = A, .operation = "Get", .stream = back, .number = 1};
    struct hash asked, answer;
    struct buf b;
    uint8_t id[16];
    (void)state;
    buf_init(&b, 1 << 20);
    m.operation = "Get";
    sim_envelope(t.one, &m, &b, &asked, id); /* some other gateway brought it */
    buf_fini(&b);
    r.in_reply_to = &asked;
    r.exchange_id = id;
    assert_int_equal(sim_stream_open(t.two, t.b, back, A, NULL, 1), EHIS_OK);
    assert_int_equal(sim_submit(t.two, t.b, &r, &answer), EHIS_OK);
    sim_carrier_run(t.c);
    assert_receipt(t.two, t.b, &answer, STATE_ACCEPTED, 0);
    sim_forget(t.two);
    r.recipient = D; /* whom no rule of the provider's names */
    r.stream = stream;
    assert_int_equal(sim_stream_open(t.two, t.b, stream, D, NULL, 1), EHIS_OK);
    assert_int_equal(sim_submit(t.two, t.b, &r, &answer), EHIS_OK);
    sim_carrier_run(t.c);
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
    struct hash d, answer;
    struct buf b;
    uint8_t id[16];
    (void)state;
    buf_init(&b, 1 << 20);
    sim_end(t.two, t.b);
    sim_carrier_run(t.c);
    sim_envelope(t.one, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"}, &b, &d, id);
    assert_int_equal(sim_submit_bytes(t.one, t.a, buf_span(&b)), EHIS_OK);
    sim_carrier_run(t.c);
    assert_receipt(t.one, t.a, &d, STATE_REFUSED, EHIS_E_EXCHANGE_NO_SESSION);
    t.b = sim_ready(t.two, B, 8, 64, 1 << 20);
    session_id elsewhere = sim_ready(t.two, A, 8, 0, 0);
    sim_carrier_run(t.c);
    assert_int_equal(sim_submit_bytes(t.two, elsewhere, buf_span(&b)), EHIS_OK);
    buf_fini(&b);
    sim_carrier_run(t.c);
    assert_non_null(sim_take(t.two, SIM_DELIVERY, t.b));
    assert_int_equal(sim_submit(t.two, t.b, &(struct sim_message){.kind = KIND_RESPONSE, .sender = B, .recipient = A, .operation = "Get", .in_reply_to = &d, .exchange_id = id}, &answer), EHIS_OK);
    sim_carrier_run(t.c);
    assert_int_equal(sim_carrier_forge(t.c, t.one, NULL), EHIS_E_EXCHANGE_NOT_A_REPLY);
}

static void what_the_broker_loses_is_recorded_and_sent_again(void **state)
{
    (void)state;
    sim_carrier_faults(t.c)->drop = 1;
    struct hash d = put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
    sim_carrier_pass(t.c, 25000);
    assert_true(sim_record(t.one, RECORD_LOST, &d, &(struct record){0}));
    take(1, OUTCOME_DONE);
    assert_true(sim_record(t.one, RECORD_DELIVERED, &d, &(struct record){0}));
    d = put_at(t.one, t.a, 2);
    sim_carrier_run(t.c);
    sim_carrier_faults(t.c)->drop = 1; /* the report */
    take(2, OUTCOME_DONE);
    assert_false(sim_record(t.one, RECORD_DELIVERED, &d, &(struct record){0}));
    sim_carrier_pass(t.c, 25000);
    take(2, OUTCOME_DONE); /* again: libehis knows it */
    assert_true(sim_record(t.one, RECORD_DELIVERED, &d, &(struct record){0}));
}

static void what_waits_is_not_taken_for_lost(void **state)
{
    (void)state;
    put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    sim_carrier_pass(t.c, 60000);
    assert_int_equal(sim_record_count(t.one, RECORD_LOST), 0);
    take(1, OUTCOME_DONE);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
}

static void twice_on_the_bus_is_once_in_the_inbox(void **state)
{
    (void)state;
    sim_carrier_faults(t.c)->twice = 1;
    put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    take(1, OUTCOME_DONE);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
}

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

static void the_other_gateway_takes_over_what_a_dead_one_had(void **state)
{
    (void)state;
    struct hash d = put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    assert_non_null(sim_take(t.two, SIM_DELIVERY, t.b));
    sim_carrier_leave(t.c, t.two);
    sim_restart(t.two, false);
    session_id b = sim_ready(t.one, B, 8, 64, 1 << 20);
    sim_carrier_run(t.c);
    struct sim_out *o = sim_take(t.one, SIM_DELIVERY, b);
    assert_non_null(o);
    assert_int_equal(sim_ack(t.one, b, B, &(struct sim_ack){.delivery = o->delivery, .digest = d, .outcome = OUTCOME_DONE}, 1), EHIS_OK);
    sim_carrier_run(t.c);
    assert_true(sim_record(t.one, RECORD_DELIVERED, &d, &(struct record){0}));
}

static void what_was_accepted_and_not_confirmed_goes_again_after_a_restart(void **state)
{
    (void)state;
    sim_carrier_faults(t.c)->is_down = true;
    struct hash d = put_at(t.one, t.a, 1), e;
    sim_carrier_run(t.c);
    assert_receipt(t.one, t.a, &d, STATE_ACCEPTED, 0);
    sim_carrier_leave(t.c, t.one);
    sim_carrier_faults(t.c)->is_down = false;
    sim_restart(t.one, false);
    sim_carrier_run(t.c);
    take(1, OUTCOME_DONE);
    t.a = sim_ready(t.one, A, 8, 0, 0);
    assert_int_equal(sim_stream_open(t.one, t.a, stream, B, NULL, 1), EHIS_OK);
    assert_receipt(t.one, t.a, &d, STATE_DELIVERED, 0);
    e = put_at(t.one, t.a, 2);
    sim_carrier_run(t.c);
    sim_carrier_pass(t.c, 3000); /* confirmed, and noted */
    assert_int_equal(sim_record_count(t.one, RECORD_REPLICATED) > 0, 1);
    sim_forget(t.two);
    sim_carrier_leave(t.c, t.one);
    sim_restart(t.one, false);
    sim_carrier_run(t.c);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b)); /* not again */
    t.a = sim_ready(t.one, A, 8, 0, 0);
    sim_forget(t.one);
    assert_int_equal(sim_stream_open(t.one, t.a, stream, B, NULL, 2), EHIS_OK);
    assert_receipt(t.one, t.a, &e, STATE_REPLICATED, 0); /* and what was said of it is said again */
}

static void what_the_bus_does_not_take_goes_in_order_when_it_does_skips_too(void **state)
{
    struct hash d;
    (void)state;
    put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    take(1, OUTCOME_DONE);
    sim_carrier_faults(t.c)->is_down = true;
    put_at(t.one, t.a, 2);
    struct sim_message refused = numbered(3), brief = numbered(4);
    refused.purpose = "nosing";
    brief.lifetime_ms = 1500;
    assert_int_equal(sim_submit(t.one, t.a, &refused, &d), EHIS_OK);
    assert_int_equal(sim_submit(t.one, t.a, &brief, &d), EHIS_OK);
    sim_carrier_pass(t.c, 5000);
    assert_true(sim_record(t.one, RECORD_EXPIRED, &d, &(struct record){0}));
    sim_carrier_faults(t.c)->is_down = false;
    put_at(t.one, t.a, 5); /* the bus would take it before the others */
    sim_carrier_run(t.c);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
    sim_carrier_pass(t.c, 2000);
    take(2, OUTCOME_DONE);
    for (uint64_t n = 3; n <= 4; n++) {
        struct sim_out *skip = sim_take(t.two, SIM_SKIP, t.b);
        assert_non_null(skip);
        assert_int_equal(skip->number, n);
        assert_int_equal(skip->state, n == 3 ? STATE_REFUSED : STATE_EXPIRED);
    }
    take(5, OUTCOME_DONE);
    put_at(t.one, t.a, 6);
    sim_carrier_run(t.c);
    take(6, OUTCOME_DONE);
}

/* The sender at the second house too, with its stream. */
static session_id sender_at_two(void)
{
    session_id s = sim_ready(t.two, A, 8, 0, 0);
    assert_int_equal(sim_stream_open(t.two, s, stream, B, NULL, 1), EHIS_OK);
    assert_stream_state(t.two, s, 1, 0);
    return s;
}

/* All that it is told there of a message is this, in this order; and nothing was delivered again. */
static void assert_told_at_two(session_id s, const struct hash *d, enum state end)
{
    assert_receipt(t.two, s, d, STATE_ACCEPTED, 0);
    assert_receipt(t.two, s, d, STATE_REPLICATED, 0);
    assert_receipt(t.two, s, d, end, 0);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
}

static void a_sender_that_moves_may_be_accepted_twice_and_is_delivered_once(void **state)
{
    struct buf b;
    struct hash d;
    struct sim_message m = numbered(1);
    (void)state;
    buf_init(&b, 1 << 20);
    sim_envelope(t.one, &m, &b, &d, NULL);
    assert_int_equal(sim_submit_bytes(t.one, t.a, buf_span(&b)), EHIS_OK);
    sim_carrier_run(t.c);
    session_id a2 = sender_at_two();
    assert_int_equal(sim_submit_bytes(t.two, a2, buf_span(&b)), EHIS_OK);
    buf_fini(&b);
    sim_carrier_run(t.c);
    take(1, OUTCOME_DONE);
    assert_told_at_two(a2, &d, STATE_DELIVERED);
    assert_true(sim_record(t.one, RECORD_DELIVERED, &d, &(struct record){0}));
}

static void what_comes_again_behind_its_end_is_finished_and_told_as_well(void **state)
{
    struct buf b;
    struct hash d;
    struct sim_message m = numbered(1);
    (void)state;
    buf_init(&b, 1 << 20);
    sim_envelope(t.one, &m, &b, &d, NULL);
    session_id a2 = sender_at_two();
    assert_int_equal(sim_submit_bytes(t.one, t.a, buf_span(&b)), EHIS_OK);
    sim_carrier_run(t.c);
    assert_int_equal(sim_carrier_unfinished(t.c), 1);
    take(1, OUTCOME_REJECTED);
    assert_non_null(sim_take(t.two, SIM_SKIP, t.b)); /* not taken yet: the message stands here for it */
    assert_int_equal(sim_carrier_unfinished(t.c), 0);
    assert_int_equal(sim_submit_bytes(t.two, a2, buf_span(&b)), EHIS_OK);
    sim_carrier_run(t.c);
    assert_int_equal(sim_carrier_unfinished(t.c), 0);
    assert_told_at_two(a2, &d, STATE_FAILED);
    buf_fini(&b);
}

/* What the second house holds, unfinished, it reads once more; then the first has the inbox. What comes there next. */
static struct sim_out *reread_and_taken_over(void)
{
    sim_forget(t.two);
    sim_carrier_reread(t.c, B);
    sim_carrier_run(t.c);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
    assert_int_equal(sim_carrier_unfinished(t.c), 1);
    sim_carrier_leave(t.c, t.two);
    sim_restart(t.two, false);
    t.b = sim_ready(t.one, B, 8, 64, 1 << 20);
    sim_carrier_run(t.c);
    return sim_take(t.one, SIM_DELIVERY, t.b);
}

static void what_is_held_while_its_topic_is_read_anew_is_the_next_owners(void **state)
{
    (void)state;
    struct hash d = put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    assert_non_null(sim_take(t.two, SIM_DELIVERY, t.b));
    struct sim_out *o = reread_and_taken_over();
    assert_non_null(o);
    assert_memory_equal(o->digest.b, d.b, 32);
}

static void a_call_that_is_held_while_its_topic_is_read_anew_is_the_next_owners(void **state)
{
    struct hash d;
    uint8_t id[16];
    (void)state;
    ask(&d, id);
    assert_non_null(sim_take(t.two, SIM_DELIVERY, t.b));
    struct sim_out *o = reread_and_taken_over();
    assert_non_null(o);
    assert_memory_equal(o->digest.b, d.b, 32);
}

static void what_is_held_while_its_topic_is_read_anew_is_handed_over_from_where_it_was_read_last(void **state)
{
    struct buf b;
    struct hash d;
    struct sim_message m = numbered(1);
    (void)state;
    buf_init(&b, 1 << 20);
    sim_envelope(t.one, &m, &b, &d, NULL);
    assert_int_equal(sim_submit_bytes(t.one, t.a, buf_span(&b)), EHIS_OK);
    session_id a2 = sender_at_two(); /* accepted there as well: the other's place stays */
    assert_int_equal(sim_submit_bytes(t.two, a2, buf_span(&b)), EHIS_OK);
    sim_carrier_run(t.c);
    sim_carrier_reread(t.c, B);
    sim_carrier_run(t.c);
    assert_int_equal(sim_carrier_unfinished(t.c), 2);
    sim_end(t.two, t.b);
    t.b = sim_ready(t.two, B, 8, 64, 1 << 20);
    sim_carrier_run(t.c);
    struct sim_out *o = sim_take(t.two, SIM_DELIVERY, t.b);
    assert_non_null(o);
    assert_true(span_eq(buf_span(&o->bytes), buf_span(&b)));
    take_from(o, OUTCOME_DONE);
    assert_int_equal(sim_carrier_unfinished(t.c), 0);
    assert_true(sim_record(t.one, RECORD_DELIVERED, &d, &(struct record){0}));
    buf_fini(&b);
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

static void what_is_on_its_way_when_its_key_is_revoked_fails_and_is_not_sent_again_for_ever(void **state)
{
    (void)state;
    sim_end(t.two, t.b);
    struct hash d = put_at(t.one, t.a, 1);
    sim_carrier_run(t.c);
    test_registry_revoke(t.one->author, A, USE_SIGN, t.one->clock.wall_ms);
    sim_house_publish(t.one);
    registry_unref(t.two->registry);
    t.two->registry = registry_ref(t.one->registry);
    exchange_set_registry(t.two->x, t.two->registry, t.two->clock.wall_ms);
    t.b = sim_ready(t.two, B, 8, 64, 1 << 20);
    sim_carrier_pass(t.c, 60000);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
    assert_int_equal(sim_carrier_refused(t.c), 1);
    assert_int_equal(sim_record_count(t.one, RECORD_LOST), 0);
    assert_receipt(t.one, t.a, &d, STATE_ACCEPTED, 0);
    assert_receipt(t.one, t.a, &d, STATE_REPLICATED, 0);
    assert_receipt(t.one, t.a, &d, STATE_FAILED, EHIS_E_KEY_REVOKED);
}

/* Refused at the second house, and the first says that it was accepted: what on_arrival and the records of the second say. */
static void lie_about(const struct sim_message *m, ehis_err code, struct hash *d)
{
    struct buf b;
    struct record r;
    buf_init(&b, 1 << 20);
    sim_envelope(t.two, m, &b, d, NULL);
    session_id a2 = sender_at_two();
    assert_int_equal(sim_submit_bytes(t.two, a2, buf_span(&b)), EHIS_OK);
    sim_carrier_run(t.c);
    assert_true(sim_record(t.two, RECORD_REFUSED, d, &r));
    assert_int_equal(r.code, code);
    sim_forget(t.two);
    sim_carrier_lie(t.c, t.one, B, buf_span(&b));
    sim_carrier_run(t.c);
    assert_null(sim_take(t.two, SIM_DELIVERY, t.b));
    buf_fini(&b);
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
    static const uint8_t epoch[16] = {9}, events[16] = {5};
    struct hash d, key;
    int replicated[2] = {0};
    (void)state;
    session_id c = sim_ready(t.one, C, 0, 64, 1 << 20), other = sim_ready(t.one, D, 0, 64, 1 << 20);
    sim_carrier_run(t.c);
    assert_int_equal(sim_subscribe(t.one, c, SVC, "Changed", false), EHIS_OK);
    assert_int_equal(sim_subscribe(t.one, other, SVC, "Changed", false), EHIS_OK);
    sim_carrier_run(t.c);
    assert_int_equal(subscription(t.one, c).code, 0);
    assert_int_not_equal(subscription(t.one, other).code, 0);
    assert_int_equal(sim_stream_open(t.two, t.b, events, SVC, "Changed", 1), EHIS_OK);
    assert_int_equal(sim_submit(t.two, t.b, &(struct sim_message){.kind = KIND_KEY, .sender = B, .recipient = SVC, .operation = "Changed", .epoch = epoch}, &key), EHIS_OK);
    assert_int_equal(sim_submit(t.two, t.b, &(struct sim_message){.kind = KIND_EVENT, .sender = B, .recipient = SVC, .operation = "Changed", .stream = events, .number = 1, .epoch = epoch}, &d), EHIS_OK);
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
    assert_int_equal(sim_submit(t.two, t.b, &(struct sim_message){.kind = KIND_EVENT, .sender = B, .recipient = SVC, .operation = "Changed", .stream = events, .number = 2, .epoch = epoch}, NULL), EHIS_OK);
    sim_carrier_run(t.c);
    assert_null(sim_take(t.one, SIM_DELIVERY, c));
    sim_release(t.one);
    sim_carrier_leave(t.c, t.two);
    sim_restart(t.two, false);
    sim_carrier_run(t.c);
}

static void an_event_that_expires_before_the_bus_takes_it_is_said_to_have_expired_also_after_a_restart(void **state)
{
    static const uint8_t events[16] = {5};
    struct sim_message m = {.kind = KIND_EVENT, .sender = B, .recipient = SVC, .operation = "Changed", .stream = events, .number = 1, .lifetime_ms = 1500};
    struct hash d;
    (void)state;
    sim_carrier_faults(t.c)->is_down = true;
    assert_int_equal(sim_stream_open(t.two, t.b, events, SVC, "Changed", 1), EHIS_OK);
    assert_int_equal(sim_submit(t.two, t.b, &m, &d), EHIS_OK);
    sim_carrier_pass(t.c, 5000);
    assert_receipt(t.two, t.b, &d, STATE_ACCEPTED, 0);
    assert_receipt(t.two, t.b, &d, STATE_EXPIRED, EHIS_E_EXCHANGE_EXPIRED);
    sim_carrier_leave(t.c, t.two);
    sim_restart(t.two, false);
    t.b = sim_ready(t.two, B, 8, 64, 1 << 20);
    assert_int_equal(sim_stream_open(t.two, t.b, events, SVC, "Changed", 1), EHIS_OK);
    assert_receipt(t.two, t.b, &d, STATE_EXPIRED, EHIS_E_EXCHANGE_EXPIRED);
}

static void what_is_lost_and_not_sent_again_yet_is_not_noted_as_replicated(void **state)
{
    struct record r;
    (void)state;
    sim_carrier_faults(t.c)->confirms_nothing = true;
    struct hash d = put_at(t.one, t.a, 1);
    put_at(t.one, t.a, 2);
    sim_carrier_run(t.c);
    exchange_on_lost(t.one->x, &d, t.one->clock.wall_ms); /* the relay gave it up: its place in the journal was another meanwhile */
    assert_true(sim_record(t.one, RECORD_ACCEPTED, &d, &r));
    uint64_t sequence = r.sequence;
    sim_carrier_pass(t.c, 3000);
    if (sim_record(t.one, RECORD_REPLICATED, NULL, &r))
        assert_true(r.count < sequence);
    sim_carrier_leave(t.c, t.one);
    sim_restart(t.one, false);
    t.a = sim_ready(t.one, A, 8, 0, 0);
    assert_int_equal(sim_stream_open(t.one, t.a, stream, B, NULL, 1), EHIS_OK);
    assert_receipt(t.one, t.a, &d, STATE_ACCEPTED, 0);
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

static void an_event_that_is_held_while_its_topic_is_read_anew_is_the_next_owners(void **state)
{
    static const uint8_t epoch[16] = {9}, events[16] = {5};
    struct hash d;
    (void)state;
    session_id c = sim_ready(t.one, C, 0, 64, 1 << 20);
    sim_carrier_run(t.c);
    assert_int_equal(sim_subscribe(t.one, c, SVC, "Changed", false), EHIS_OK);
    assert_int_equal(sim_stream_open(t.two, t.b, events, SVC, "Changed", 1), EHIS_OK);
    sim_carrier_run(t.c);
    assert_int_equal(sim_submit(t.two, t.b, &(struct sim_message){.kind = KIND_KEY, .sender = B, .recipient = SVC, .operation = "Changed", .epoch = epoch}, NULL), EHIS_OK);
    assert_int_equal(sim_submit(t.two, t.b, &(struct sim_message){.kind = KIND_EVENT, .sender = B, .recipient = SVC, .operation = "Changed", .stream = events, .number = 1, .epoch = epoch}, &d), EHIS_OK);
    sim_carrier_run(t.c);
    assert_non_null(sim_take(t.one, SIM_DELIVERY, c));
    sim_carrier_reread(t.c, C);
    sim_carrier_run(t.c);
    assert_null(sim_take(t.one, SIM_DELIVERY, c));
    sim_carrier_leave(t.c, t.one);
    sim_restart(t.one, false);
    c = sim_ready(t.two, C, 0, 64, 1 << 20);
    sim_carrier_run(t.c);
    struct sim_out *o = sim_take(t.two, SIM_DELIVERY, c);
    assert_non_null(o);
    assert_memory_equal(o->digest.b, d.b, 32);
}

/* Taken by two gateways, as a publisher does that moves: each knows of the other's by the key topic. */
static void a_key_that_two_gateways_have_is_called_replicated_by_each_and_again_when_it_comes_again(void **state)
{
    static const uint8_t epoch[16] = {9};
    struct buf bytes;
    struct hash key;
    (void)state;
    session_id at_one = sim_ready(t.one, B, 0, 64, 1 << 20), c = sim_ready(t.one, C, 0, 64, 1 << 20);
    sim_carrier_run(t.c);
    assert_int_equal(sim_subscribe(t.one, c, SVC, "Changed", false), EHIS_OK);
    sim_carrier_run(t.c);
    buf_init(&bytes, 1 << 20);
    sim_envelope(t.two, &(struct sim_message){.kind = KIND_KEY, .sender = B, .recipient = SVC, .operation = "Changed", .epoch = epoch}, &bytes, &key, NULL);
    assert_int_equal(sim_submit_bytes(t.two, t.b, buf_span(&bytes)), EHIS_OK);
    sim_carrier_run(t.c);
    assert_receipt(t.two, t.b, &key, STATE_ACCEPTED, 0);
    assert_receipt(t.two, t.b, &key, STATE_REPLICATED, 0);
    assert_int_equal(sim_submit_bytes(t.one, at_one, buf_span(&bytes)), EHIS_OK);
    sim_carrier_run(t.c);
    assert_receipt(t.one, at_one, &key, STATE_ACCEPTED, 0);
    assert_receipt(t.one, at_one, &key, STATE_REPLICATED, 0);
    assert_int_equal(sim_submit_bytes(t.one, at_one, buf_span(&bytes)), EHIS_OK);
    sim_carrier_run(t.c);
    assert_receipt(t.one, at_one, &key, STATE_REPLICATED, 0);
    sim_carrier_pass(t.c, 3000);
    sim_carrier_leave(t.c, t.one);
    sim_restart(t.one, false);
    sim_carrier_run(t.c);
    at_one = sim_ready(t.one, B, 0, 64, 1 << 20);
    assert_int_equal(sim_submit_bytes(t.one, at_one, buf_span(&bytes)), EHIS_OK);
    sim_carrier_run(t.c);
    assert_receipt(t.one, at_one, &key, STATE_REPLICATED, 0);
    buf_fini(&bytes);
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
    static const uint8_t epoch[2][16] = {{9}, {10}};
    struct buf keys[2][9];
    (void)state;
    session_id at_one = sim_ready(t.one, B, 0, 64, 1 << 20), c = sim_ready(t.one, C, 0, 64, 1 << 20);
    sim_carrier_run(t.c);
    assert_int_equal(sim_subscribe(t.one, c, SVC, "Changed", false), EHIS_OK);
    for (int e = 0; e < 2; e++)
        for (int i = 0; i < 9; i++) {
            buf_init(&keys[e][i], 1 << 20);
            sim_envelope(t.two, &(struct sim_message){.kind = KIND_KEY, .sender = B, .recipient = SVC, .operation = "Changed", .epoch = epoch[e], .body_bytes = 130000}, &keys[e][i], &(struct hash){{0}}, NULL);
        }
    sim_carrier_run(t.c);
    assert_int_equal(put_keys(t.two, t.b, keys[0], 8), 8);
    sim_carrier_run(t.c);
    assert_int_equal(put_keys(t.one, at_one, &keys[0][8], 1), 0);
    assert_int_equal(put_keys(t.one, at_one, keys[0], 8), 8); /* its publisher has moved: the same */
    sim_carrier_run(t.c);
    assert_int_equal(sim_keys_get(t.one, c, SVC, "Changed", epoch[0]), EHIS_OK);
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
        CARRIER_TEST(an_event_that_expires_before_the_bus_takes_it_is_said_to_have_expired_also_after_a_restart),
        CARRIER_TEST(what_is_lost_and_not_sent_again_yet_is_not_noted_as_replicated),
        CARRIER_TEST(a_call_that_the_journal_had_no_room_for_ends_when_it_is_offered_again),
        CARRIER_TEST(what_one_accepts_the_other_delivers_and_both_journals_say_so),
        CARRIER_TEST(with_one_broker_nothing_is_called_replicated),
        CARRIER_TEST(both_ends_at_one_gateway_make_one_record),
        CARRIER_TEST(a_rejection_and_a_refusal_go_over_as_well),
        CARRIER_TEST(a_call_goes_over_and_its_answer_comes_back),
        CARRIER_TEST(an_answer_without_a_waiting_caller_goes_to_the_inbox_and_not_to_the_gateway_that_accepted_the_question),
        CARRIER_TEST(an_answer_may_come_by_a_gateway_that_did_not_hand_over_the_question),
        CARRIER_TEST(a_call_fails_at_once_where_nobody_is_and_when_the_provider_goes),
        CARRIER_TEST(an_answer_to_a_call_that_was_refused_here_and_accepted_elsewhere_is_no_reply),
        CARRIER_TEST(what_the_broker_loses_is_recorded_and_sent_again),
        CARRIER_TEST(what_waits_is_not_taken_for_lost),
        CARRIER_TEST(twice_on_the_bus_is_once_in_the_inbox),
        CARRIER_TEST(what_is_altered_or_misplaced_is_not_delivered),
        CARRIER_TEST(the_other_gateway_takes_over_what_a_dead_one_had),
        CARRIER_TEST(what_was_accepted_and_not_confirmed_goes_again_after_a_restart),
        CARRIER_TEST(an_event_reaches_a_subscriber_at_another_gateway_with_its_key),
        CARRIER_TEST(a_key_that_two_gateways_have_is_called_replicated_by_each_and_again_when_it_comes_again),
        CARRIER_TEST(the_keys_of_an_epoch_are_bounded_whichever_gateways_accepted_them),
        CARRIER_TEST(what_the_bus_does_not_take_goes_in_order_when_it_does_skips_too),
        CARRIER_TEST(a_sender_that_moves_may_be_accepted_twice_and_is_delivered_once),
        CARRIER_TEST(what_comes_again_behind_its_end_is_finished_and_told_as_well),
        CARRIER_TEST(what_is_held_while_its_topic_is_read_anew_is_the_next_owners),
        CARRIER_TEST(a_call_that_is_held_while_its_topic_is_read_anew_is_the_next_owners),
        CARRIER_TEST(an_event_that_is_held_while_its_topic_is_read_anew_is_the_next_owners),
        CARRIER_TEST(what_is_held_while_its_topic_is_read_anew_is_handed_over_from_where_it_was_read_last),
        CARRIER_TEST(what_comes_with_another_signature_than_the_one_accepted_here_is_not_delivered),
        CARRIER_TEST(what_is_on_its_way_when_its_key_is_revoked_fails_and_is_not_sent_again_for_ever),
        CARRIER_TEST(what_was_refused_here_as_anothers_word_is_not_delivered_when_a_gateway_brings_it),
        CARRIER_TEST(what_policy_refused_here_is_asked_again_whatever_gateway_says_that_it_accepted_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
