/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Calls that somebody waits for, and asynchronous answers. */
#include "tests/unit/gateway/exchange/exchange_test.h"

static struct hash call(struct sim_house *h, session_id a, uint8_t id[16], uint32_t max_response_bytes)
{
    struct hash d;
    struct buf b;
    buf_init(&b, 1 << 20);
    sim_envelope(h, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get", .max_response_bytes = max_response_bytes}, &b, &d, id);
    assert_int_equal(sim_submit_bytes(h, a, buf_span(&b)), EHIS_OK);
    buf_fini(&b);
    return d;
}

static struct sim_message reply_to(const struct hash *d, const uint8_t id[16], uint32_t bytes)
{
    return (struct sim_message){.kind = KIND_RESPONSE, .sender = B, .recipient = A, .operation = "Get", .in_reply_to = d, .exchange_id = id, .body_bytes = bytes};
}

static void assert_refused(struct sim_house *h, session_id s, const struct hash *d, unsigned code)
{
    sim_durable(h);
    assert_receipt(h, s, d, STATE_REFUSED, code);
}

static void a_provider_that_goes_fails_its_calls_at_once(void **state)
{
    struct sim_house *h = *state;
    uint8_t id[16];
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct hash d = call(h, a, id, 0), answer;
    sim_durable(h);
    sim_forget(h);
    sim_end(h, b);
    assert_null(sim_take(h, SIM_RECEIPT, 0));
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_FAILED, EHIS_E_EXCHANGE_PROVIDER_GONE);
    b = sim_ready(h, B, 8, 8, 1 << 20);
    sim_forget(h);
    struct sim_message reply = reply_to(&d, id, 64); /* too late */
    assert_int_equal(sim_submit(h, b, &reply, &answer), EHIS_OK);
    assert_refused(h, b, &answer, EHIS_E_EXCHANGE_NOT_A_REPLY);
}

static void calls_beyond_the_window_wait_and_fail_with_the_last_session(void **state)
{
    struct sim_house *h = *state;
    uint8_t id[16];
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = sim_ready(h, B, 2, 8, 1 << 20);
    struct hash d[3];
    for (size_t i = 0; i < 3; i++)
        d[i] = call(h, a, id, 0);
    sim_durable(h);
    assert_int_equal(sim_count(h, SIM_DELIVERY, b), 2);
    sim_forget(h);
    sim_end(h, b);
    sim_durable(h);
    assert_int_equal(sim_count(h, SIM_RECEIPT, a), 3);
    for (size_t i = 0; i < 3; i++) {
        struct sim_out *o = sim_take(h, SIM_RECEIPT, a);
        assert_int_equal(o->state, STATE_FAILED);
        if (memcmp(o->digest.b, d[2].b, 32) == 0)
            assert_int_equal(o->code, EHIS_E_EXCHANGE_NO_SESSION);
        else
            assert_int_equal(o->code, EHIS_E_EXCHANGE_PROVIDER_GONE);
    }
}

static void a_call_is_not_behind_a_backlog_of_streams(void **state)
{
    struct sim_house *h = *state;
    static const uint8_t stream[16] = {1};
    uint8_t id[16];
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = sim_ready(h, B, 1, 1, 1 << 20);
    assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 1), EHIS_OK);
    for (uint64_t n = 1; n <= 50; n++)
        assert_int_equal(sim_submit(h, a, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Put", .stream = stream, .number = n}, NULL), EHIS_OK);
    sim_durable(h);
    assert_int_equal(sim_count(h, SIM_DELIVERY, b), 1);
    sim_forget(h);
    struct hash d = call(h, a, id, 0);
    sim_durable(h);
    struct sim_out *o = sim_take(h, SIM_DELIVERY, b);
    assert_non_null(o);
    assert_memory_equal(o->digest.b, d.b, 32);
}

static void a_response_is_the_right_providers_once_and_not_too_large(void **state)
{
    struct sim_house *h = *state;
    uint8_t id[16];
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = sim_ready(h, B, 8, 8, 1 << 20), c = sim_ready(h, C, 8, 8, 1 << 20);
    struct hash d = call(h, a, id, 100), answer;
    sim_durable(h);
    sim_forget(h);
    struct sim_message reply = reply_to(&d, id, 101);
    assert_int_equal(sim_submit(h, b, &reply, &answer), EHIS_OK);
    assert_refused(h, b, &answer, EHIS_E_EXCHANGE_RESPONSE_TOO_LARGE);
    reply = reply_to(&d, id, 100), reply.sender = C;
    assert_int_equal(sim_submit(h, c, &reply, &answer), EHIS_OK);
    assert_refused(h, c, &answer, EHIS_E_EXCHANGE_NOT_A_REPLY);
    reply = reply_to(&d, id, 100), reply.recipient = C;
    assert_int_equal(sim_submit(h, b, &reply, &answer), EHIS_OK);
    assert_refused(h, b, &answer, EHIS_E_EXCHANGE_NOT_A_REPLY);
    assert_null(sim_take(h, SIM_DELIVERY, 0));
    reply = reply_to(&d, id, 100); /* at the limit */
    assert_int_equal(sim_submit(h, b, &reply, &answer), EHIS_OK);
    sim_durable(h);
    assert_receipt(h, b, &answer, STATE_ACCEPTED, 0);
    assert_non_null(sim_take(h, SIM_DELIVERY, a));
}

static void a_response_expires_with_its_request_or_earlier(void **state)
{
    static const uint8_t there[16] = {1}, back[16] = {2};
    struct sim_house *h = *state;
    uint8_t id[16] = {0};
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct hash d = call(h, a, id, 100), answer; /* 30 s from now */
    sim_durable(h);
    sim_forget(h);
    for (int early = -1; early <= 1; early++) {
        struct sim_message reply = reply_to(&d, id, 10);
        reply.lifetime_ms = 30000 - early;
        assert_int_equal(sim_submit(h, b, &reply, &answer), EHIS_OK);
        if (early < 0) {
            assert_refused(h, b, &answer, EHIS_E_EXCHANGE_RESPONSE_LATE);
            continue;
        }
        sim_durable(h);
        assert_receipt(h, b, &answer, STATE_ACCEPTED, 0);
        break;
    }
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    assert_int_equal(sim_stream_open(h, a, there, B, NULL, 1), EHIS_OK);
    assert_int_equal(sim_stream_open(h, b, back, A, NULL, 1), EHIS_OK);
    sim_envelope(h, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get", .stream = there, .number = 1, .lifetime_ms = 7000}, &bytes, &d, id);
    assert_int_equal(sim_submit_bytes(h, a, buf_span(&bytes)), EHIS_OK);
    sim_durable(h);
    sim_forget(h);
    for (uint64_t n = 1; n <= 2; n++) {
        struct sim_message reply = reply_to(&d, id, 10);
        reply.stream = back, reply.number = n, reply.lifetime_ms = 7002 - (int64_t)n;
        assert_int_equal(sim_submit(h, b, &reply, &answer), EHIS_OK);
        sim_durable(h);
        assert_receipt(h, b, &answer, n == 1 ? STATE_REFUSED : STATE_ACCEPTED, n == 1 ? EHIS_E_EXCHANGE_RESPONSE_LATE : 0);
    }
    buf_fini(&bytes);
}

static void a_repeated_call_gets_its_stored_response_also_after_a_restart(void **state)
{
    struct sim_house *h = *state;
    struct buf b1;
    struct hash d, answer;
    uint8_t id[16];
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = sim_ready(h, B, 8, 8, 1 << 20);
    buf_init(&b1, 1 << 20);
    sim_envelope(h, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"}, &b1, &d, id);
    assert_int_equal(sim_submit_bytes(h, a, buf_span(&b1)), EHIS_OK);
    sim_durable(h);
    sim_end(h, a); /* the caller is gone when the response comes */
    struct sim_message reply = reply_to(&d, id, 64);
    assert_int_equal(sim_submit(h, b, &reply, &answer), EHIS_OK);
    sim_durable(h);
    for (int round = 0; round < 2; round++) {
        a = sim_ready(h, A, 8, 8, 1 << 20);
        sim_forget(h);
        assert_int_equal(sim_submit_bytes(h, a, buf_span(&b1)), EHIS_OK);
        struct sim_out *o = sim_take(h, SIM_DELIVERY, a);
        assert_non_null(o);
        assert_memory_equal(o->digest.b, answer.b, 32);
        sim_restart(h, false);
    }
    buf_fini(&b1);
}

static void a_response_does_not_go_to_a_session_that_is_not_ready(void **state)
{
    struct sim_house *h = *state;
    uint8_t id[16];
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = sim_ready(h, B, 8, 8, 1 << 20), another = sim_open(h, A);
    struct hash d = call(h, a, id, 0), answer;
    sim_durable(h);
    sim_end(h, a);
    sim_forget(h);
    struct sim_message reply = reply_to(&d, id, 64);
    assert_int_equal(sim_submit(h, b, &reply, &answer), EHIS_OK);
    sim_durable(h);
    assert_null(sim_take(h, SIM_DELIVERY, another));
}

static void a_call_that_a_restart_interrupted_is_passed_on_when_it_is_repeated(void **state)
{
    struct sim_house *h = *state;
    struct buf bytes;
    struct hash d;
    uint8_t id[16];
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    sim_ready(h, B, 8, 8, 1 << 20);
    buf_init(&bytes, 1 << 20);
    sim_envelope(h, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"}, &bytes, &d, id);
    assert_int_equal(sim_submit_bytes(h, a, buf_span(&bytes)), EHIS_OK);
    sim_durable(h);
    sim_restart(h, false);
    sim_forget(h);
    session_id b = sim_ready(h, B, 8, 8, 1 << 20);
    assert_null(sim_take(h, SIM_DELIVERY, b)); /* nobody waits, as far as is known */
    a = sim_ready(h, A, 8, 8, 1 << 20);
    assert_int_equal(sim_submit_bytes(h, a, buf_span(&bytes)), EHIS_OK);
    assert_receipt(h, a, &d, STATE_ACCEPTED, 0);
    assert_non_null(sim_take(h, SIM_DELIVERY, b));
    buf_fini(&bytes);
}

static void a_call_that_is_not_answered_expires(void **state)
{
    struct sim_house *h = *state;
    uint8_t id[16];
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    sim_ready(h, B, 8, 8, 1 << 20);
    struct hash d = call(h, a, id, 0);
    struct exchange_status s;
    sim_durable(h);
    sim_forget(h);
    sim_pass(h, 31001);
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_EXPIRED, EHIS_E_EXCHANGE_EXPIRED);
    sim_pass(h, 62000);
    exchange_status(h->x, &s);
    assert_int_equal(s.stored_messages + s.known_calls, 0);
    assert_int_equal(s.in_flight, 0);
}

static void a_provider_may_reject_a_call(void **state)
{
    struct sim_house *h = *state;
    uint8_t id[16];
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct hash d = call(h, a, id, 0);
    sim_durable(h);
    sim_take(h, SIM_RECEIPT, a);
    struct sim_out *o = sim_take(h, SIM_DELIVERY, b);
    struct sim_ack ack = {o->delivery, d, OUTCOME_DONE, 0, 0};
    assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK); /* says nothing: the response does */
    sim_durable(h);
    assert_null(sim_take(h, SIM_RECEIPT, a));
    ack.outcome = OUTCOME_REJECTED;
    ack.code = EHIS_E_SEAL_OPEN;
    assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK);
    sim_durable(h);
    o = sim_take(h, SIM_RECEIPT, a);
    assert_int_equal(o->state, STATE_FAILED);
    assert_int_equal(o->code, EHIS_E_SEAL_OPEN);
    assert_true(o->bytes.len > 0);
}

static void two_systems_that_call_each_other_with_all_their_room_still_answer(void **state)
{
    struct sim_house *h = *state;
    uint8_t ids[2][8][16];
    struct hash d[2][8];
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    for (size_t i = 0; i < 8; i++)
        for (size_t k = 0; k < 2; k++) {
            buf_clear(&bytes);
            sim_envelope(h, &(struct sim_message){.kind = KIND_REQUEST, .sender = k ? B : A, .recipient = k ? A "/svc" : SVC, .operation = "Get", .max_response_bytes = 5000}, &bytes, &d[k][i], ids[k][i]);
            assert_int_equal(sim_submit_bytes(h, k ? b : a, buf_span(&bytes)), EHIS_OK);
        }
    sim_durable(h);
    assert_int_equal(sim_count(h, SIM_FLOW, 0), 0);
    h->room_bytes = 16 * 7000; /* less than what is reserved: nothing new, but every answer */
    sim_forget(h);
    call(h, a, ids[0][0], 0);
    assert_int_equal(sim_take(h, SIM_FLOW, a)->code, EHIS_E_EXCHANGE_BUSY);
    for (size_t i = 1; i < 8; i++)
        for (size_t k = 0; k < 2; k++) {
            struct sim_message reply = {.kind = KIND_RESPONSE, .sender = k ? A : B, .recipient = k ? B : A, .operation = "Get", .in_reply_to = &d[k][i], .exchange_id = ids[k][i], .body_bytes = 5000};
            assert_int_equal(sim_submit(h, k ? a : b, &reply, NULL), EHIS_OK);
        }
    sim_durable(h);
    assert_int_equal(sim_count(h, SIM_DELIVERY, a), 7);
    assert_int_equal(sim_count(h, SIM_DELIVERY, b), 7);
    buf_fini(&bytes);
}

static void answer_after_it_was_settled(struct sim_house *h, const char *operation)
{
    static const uint8_t there[16] = {1}, back[16] = {2};
    struct hash d, answer;
    uint8_t id[16];
    struct exchange_status s;
    struct buf bytes;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = sim_ready(h, B, 8, 8, 1 << 20);
    buf_init(&bytes, 1 << 20);
    assert_int_equal(sim_stream_open(h, a, there, B, NULL, 1), EHIS_OK);
    assert_int_equal(sim_stream_open(h, b, back, A, NULL, 1), EHIS_OK);
    sim_envelope(h, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = operation, .stream = there, .number = 1}, &bytes, &d, id);
    assert_int_equal(sim_submit_bytes(h, a, buf_span(&bytes)), EHIS_OK);
    sim_durable(h);
    struct sim_out *o = sim_take(h, SIM_DELIVERY, b);
    struct sim_ack ack = {o->delivery, d, OUTCOME_DONE, 0, 0};
    assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK);
    sim_durable(h);
    assert_int_equal(sim_settled(h, a, there, 2), EHIS_OK);
    sim_forget(h);
    struct sim_message reply = reply_to(&d, id, 64);
    reply.operation = operation, reply.stream = back, reply.number = 1;
    assert_int_equal(sim_submit(h, b, &reply, &answer), EHIS_OK);
    sim_durable(h);
    assert_receipt(h, b, &answer, STATE_ACCEPTED, 0);
    o = sim_take(h, SIM_DELIVERY, a);
    assert_non_null(o);
    ack = (struct sim_ack){o->delivery, answer, OUTCOME_DONE, 0, 0};
    assert_int_equal(sim_ack(h, a, A, &ack, 1), EHIS_OK);
    sim_durable(h);
    assert_receipt(h, b, &answer, STATE_DELIVERED, 0);
    exchange_status(h->x, &s);
    assert_int_equal(s.stored_messages, 1); /* the answer's receipt is not settled; the request is gone */
    reply.number = 2;
    reply.operation = "Get"; /* an answer is due, and remembered until it is here: once */
    assert_int_equal(sim_submit(h, b, &reply, &answer), EHIS_OK);
    assert_refused(h, b, &answer, EHIS_E_EXCHANGE_NOT_A_REPLY);
    buf_fini(&bytes);
}

static void an_asynchronous_answer_finds_its_request_after_that_was_settled(void **state) { answer_after_it_was_settled(*state, "Get"); }

static void also_where_its_operation_names_none(void **state) { answer_after_it_was_settled(*state, "Put"); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOUSE_TEST(a_provider_that_goes_fails_its_calls_at_once),
        HOUSE_TEST(calls_beyond_the_window_wait_and_fail_with_the_last_session),
        HOUSE_TEST(a_call_is_not_behind_a_backlog_of_streams),
        HOUSE_TEST(a_response_is_the_right_providers_once_and_not_too_large),
        HOUSE_TEST(a_response_expires_with_its_request_or_earlier),
        HOUSE_TEST(a_repeated_call_gets_its_stored_response_also_after_a_restart),
        HOUSE_TEST(a_response_does_not_go_to_a_session_that_is_not_ready),
        HOUSE_TEST(a_call_that_a_restart_interrupted_is_passed_on_when_it_is_repeated),
        HOUSE_TEST(a_call_that_is_not_answered_expires),
        HOUSE_TEST(a_provider_may_reject_a_call),
        HOUSE_TEST(two_systems_that_call_each_other_with_all_their_room_still_answer),
        HOUSE_TEST(an_asynchronous_answer_finds_its_request_after_that_was_settled),
        HOUSE_TEST(also_where_its_operation_names_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
