/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Calls, requests and deliveries between two gateways, both played by the test: done once, answered to each that asks. */
#include "tests/support/sim_application.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sim_client c;

static const uint8_t stream[16] = {6};

static void a_call_whose_gateway_goes_or_is_busy_is_repeated_at_the_other_and_any_answer_ends_it(void **state)
{
    struct sim_ended x = {0}, y = {0};
    ehis_message m = sim_message("pin");
    struct hash d, again, rd;
    struct buf b;
    (void)state;
    sim_begin_two(&c, SIM_TAX, false);
    buf_init(&b, 1 << 20);
    assert_int_equal(ehis_call_start(c.e, &m, sim_on_done, &x, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
    sim_client_turn(&c);
    struct sim_frame f;
    struct envelope env;
    struct envelope_header h;
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    sim_read_submit(&f, &env, &h, &d);
    sim_leave(&c, 0);
    c.at = 1;
    sim_submitted(&c, &again, NULL);
    assert_memory_equal(d.b, again.b, 32);
    sim_come(&c, 0);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    /* The first, back again, has lost its provider; the second has it. */
    assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_FAILED, EHIS_E_EXCHANGE_PROVIDER_GONE), EHIS_OK);
    sim_handed(&c);
    assert_int_equal(x.count, 0);
    struct envelope_header r = {.kind = KIND_RESPONSE, .status = STATUS_OK, .recipient = span_str(SIM_TAX), .operation = span_str("GetPerson"),
                                .in_reply_to = span_of(d.b, 32)};
    memcpy(r.exchange_id, h.exchange_id, 16);
    r.expires_ms = h.expires_ms;
    sim_envelope(&c, SIM_POPULATION, &r, "found", &b, &rd);
    assert_int_equal(sim_deliver(&c, buf_span(&b), 1, c.clock.wall_ms), EHIS_OK); /* by the first */
    sim_handed(&c);
    assert_int_equal(x.count, 1);
    assert_int_equal(x.err, EHIS_OK);
    free(f.p);
    /* BUSY here: there at once. */
    assert_int_equal(ehis_call_start(c.e, &m, sim_on_done, &y, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
    sim_client_turn(&c);
    sim_submitted(&c, &d, NULL);
    struct flow flow = {.code = EHIS_E_EXCHANGE_BUSY, .retry_ms = 20000};
    memcpy(flow.digest, d.b, 32);
    buf_clear(&b);
    assert_int_equal(flow_write(&flow, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_FLOW, buf_span(&b)), EHIS_OK);
    sim_client_pass_ms(&c, 100);
    c.at = 1;
    sim_submitted(&c, &again, NULL);
    assert_memory_equal(d.b, again.b, 32);
    buf_fini(&b);
    sim_client_fini(&c);
}

static void a_call_that_one_gateway_knows_no_provider_for_is_asked_of_the_other_once(void **state)
{
    struct sim_ended x = {0};
    ehis_message m = sim_message("pin");
    struct hash d, again;
    (void)state;
    sim_begin_two(&c, SIM_TAX, false);
    assert_int_equal(ehis_call_start(c.e, &m, sim_on_done, &x, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
    sim_client_turn(&c);
    for (c.at = 0; c.at < 2; c.at++) {
        sim_handed(&c);
        assert_int_equal(x.count, 0);
        assert_int_not_equal(sim_submitted(&c, c.at ? &again : &d, NULL), UINT64_MAX);
        assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_REFUSED, EHIS_E_EXCHANGE_NO_SESSION), EHIS_OK);
        sim_client_turn(&c);
    }
    assert_memory_equal(d.b, again.b, 32);
    sim_handed(&c);
    assert_int_equal(x.count, 1);
    assert_int_equal(x.err, EHIS_E_EXCHANGE_NO_SESSION);
    for (c.at = 0; c.at < 2; c.at++)
        assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    sim_client_fini(&c);
}

static void a_request_that_two_gateways_bring_is_run_once_and_both_get_the_same_bytes(void **state)
{
    struct envelope_header h = {.kind = KIND_REQUEST, .recipient = span_str(SIM_PERSON), .operation = span_str("GetPerson"), .purpose = span_str("tax"),
                                .legal_basis = span_str("Law 23")};
    struct buf e;
    struct hash d, answer;
    struct sim_frame first, second;
    (void)state;
    sim_begin_two(&c, SIM_POPULATION, false);
    buf_init(&e, 1 << 20);
    sim_envelope(&c, SIM_TAX, &h, "pin", &e, &d);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    c.at = 1;
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_handed(&c), 1);
    assert_int_equal(ehis_answer(c.got[0], 0, "text/plain", "found", 5, NULL, 0, NULL), EHIS_OK);
    assert_int_equal(sim_handed(&c), 1);
    sim_submitted(&c, &answer, &second);
    c.at = 0;
    sim_submitted(&c, &answer, &first);
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.p, second.p, first.len);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    free(first.p);
    free(second.p);
    buf_fini(&e);
    sim_client_fini(&c);
}

/* An answer that both have asked for, and that the first has in its hands. */
static void answer_both(struct buf *e, struct hash *answer)
{
    struct envelope_header h = {.kind = KIND_REQUEST, .recipient = span_str(SIM_PERSON), .operation = span_str("GetPerson"), .purpose = span_str("tax"),
                                .legal_basis = span_str("Law 23")};
    struct hash d;
    sim_begin_two(&c, SIM_POPULATION, false);
    sim_envelope(&c, SIM_TAX, &h, "pin", e, &d);
    assert_int_equal(sim_deliver(&c, buf_span(e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_handed(&c), 1);
    assert_int_equal(ehis_answer(c.got[0], 0, "text/plain", "found", 5, NULL, 0, NULL), EHIS_OK);
    assert_int_equal(sim_handed(&c), 1);
    sim_submitted(&c, answer, NULL);
    c.at = 1;
}

static void an_answer_that_one_gateway_puts_off_goes_to_the_other_at_once(void **state)
{
    struct flow flow = {.code = EHIS_E_EXCHANGE_BUSY, .retry_ms = 1000};
    struct buf e, b;
    struct hash answer;
    (void)state;
    buf_init(&e, 1 << 20);
    buf_init(&b, 4096);
    answer_both(&e, &answer);
    memcpy(flow.digest, answer.b, 32);
    assert_int_equal(flow_write(&flow, &b), EHIS_OK);
    c.at = 0;
    assert_int_equal(sim_client_frame(&c, FRAME_FLOW, buf_span(&b)), EHIS_OK);
    c.at = 1;
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 1);
    c.at = 0;
    sim_client_pass_ms(&c, 900);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0); /* its own pause holds on */
    sim_client_pass_ms(&c, 200);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 1);
    buf_fini(&e);
    buf_fini(&b);
    sim_client_fini(&c);
}

static void what_a_gateway_takes_no_frame_of_is_told_and_holds_nothing_else(void **state)
{
    static char body[3000];
    struct sim_ended large = {0}, small = {0};
    ehis_message m = sim_message(body);
    uint32_t code = 0;
    struct hash d;
    struct buf e;
    (void)state;
    memset(body, 'x', sizeof body - 1);
    m.body_bytes = sizeof body;
    /* A call. */
    sim_begin_two(&c, SIM_TAX, false);
    assert_int_equal(ehis_call_start(c.e, &m, sim_on_done, &large, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
    sim_client_turn(&c);
    assert_int_not_equal(sim_submitted(&c, &d, NULL), UINT64_MAX);
    c.e->sessions[1].max_frame_bytes = 3000;
    sim_leave(&c, 0);
    c.at = 1;
    sim_call(&c, &small);
    sim_client_pass_ms(&c, 31000);
    sim_handed(&c);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 1);
    assert_int_equal(small.err, EHIS_E_EXCHANGE_EXPIRED);
    assert_int_equal(large.err, EHIS_E_TOO_LARGE);
    sim_client_fini(&c);
    /* A stream: it goes back to one that takes it. */
    sim_begin_two(&c, SIM_TAX, false);
    sim_send_one(&c);
    assert_int_equal(sim_open_stream(&c, 1), 1);
    assert_int_equal(sim_submitted(&c, &d, NULL), 1);
    c.e->sessions[1].max_frame_bytes = 100;
    sim_leave(&c, 0);
    c.at = 1;
    assert_int_equal(sim_open_stream(&c, 1), 1);
    assert_int_equal(sim_submitted(&c, &d, NULL), UINT64_MAX);
    sim_come(&c, 0);
    c.at = 0;
    sim_client_pass_ms(&c, 5100);
    assert_int_equal(sim_open_stream(&c, 1), 1);
    assert_int_equal(sim_submitted(&c, &d, NULL), 1);
    sim_client_fini(&c);
    /* An answer. */
    buf_init(&e, 1 << 20);
    answer_both(&e, &d);
    c.e->sessions[1].max_frame_bytes = 100;
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    sim_client_turn(&c);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    assert_int_equal(sim_ack_of(&c, c.delivery[c.at], &code), OUTCOME_REJECTED);
    assert_int_equal(code, EHIS_E_TOO_LARGE);
    buf_fini(&e);
    sim_client_fini(&c);
}

static void what_two_gateways_deliver_is_handed_over_once_and_acknowledged_to_each_that_is_still_there(void **state)
{
    struct buf e;
    (void)state;
    sim_begin_two(&c, SIM_POPULATION, false);
    buf_init(&e, 1 << 20);
    sim_numbered(&c, stream, 1, "GetPerson", &e);
    for (c.at = 0; c.at < 2; c.at++)
        assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_handed(&c), 1);
    ehis_reject(c.got[0], EHIS_E_SDK_REJECTED);
    assert_int_equal(sim_handed(&c), 1);
    for (c.at = 0; c.at < 2; c.at++)
        assert_int_equal(sim_ack_of(&c, 1, &(uint32_t){0}), OUTCOME_REJECTED);
    /* One that waits for its turn outlives one of its gateways. */
    sim_numbered(&c, stream, 3, "GetPerson", &e);
    for (c.at = 0; c.at < 2; c.at++)
        assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    sim_leave(&c, 0);
    sim_numbered(&c, stream, 2, "GetPerson", &e);
    c.at = 1;
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_handed(&c), 2);
    ehis_reject(c.got[1], EHIS_E_SDK_REJECTED);
    sim_handed(&c);
    assert_int_equal(sim_handed(&c), 3);
    assert_int_equal(ehis_incoming_info(c.got[2])->number, 3);
    ehis_reject(c.got[2], EHIS_E_SDK_REJECTED);
    sim_handed(&c);
    assert_int_equal(sim_ack_of(&c, 2, &(uint32_t){0}), OUTCOME_REJECTED);
    buf_fini(&e);
    sim_client_fini(&c);
}

static void another_gateway_of_ours_that_gets_the_streams_takes_nothing_over(void **state)
{
    struct buf e, b;
    struct ready_state ready = {.has_streams = true};
    (void)state;
    c.is_without_streams = false;
    sim_begin_two(&c, SIM_POPULATION, true);
    buf_init(&e, 1 << 20);
    buf_init(&b, 64);
    sim_leave(&c, 1);
    c.is_without_streams = true;
    sim_come(&c, 1);
    c.at = 0;
    sim_numbered(&c, stream, 1, "GetPerson", &e);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_handed(&c), 1);
    ehis_reject(c.got[0], EHIS_E_SDK_REJECTED);
    sim_handed(&c);
    sim_leave(&c, 0);
    c.at = 1;
    assert_int_equal(ready_state_write(&ready, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_READY_STATE, buf_span(&b)), EHIS_OK);
    sim_numbered(&c, stream, 4, "GetPerson", &e);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_handed(&c), 1); /* a gap, not a beginning */
    buf_fini(&e);
    buf_fini(&b);
    sim_client_fini(&c);
}

static void a_gateway_with_an_older_registry_ends_its_own_session_alone_and_the_status_says_so(void **state)
{
    struct buf old;
    ehis_status s = {.size = sizeof s};
    (void)state;
    sim_begin_two(&c, SIM_POPULATION, false);
    buf_init(&old, 1 << 20);
    assert_int_equal(registry_part(c.document, span_str(SIM_POPULATION), 0, &old, NULL), EHIS_OK);
    assert_int_equal(sim_client_registry(&c), EHIS_OK);
    c.at = 1;
    assert_int_equal(sim_client_frame(&c, FRAME_REGISTRY, buf_span(&old)), EHIS_E_GATEWAY_BEHIND);
    ehis_get_status(c.e, &s);
    assert_true(s.is_ready);
    assert_string_equal(s.gateway, SIM_GATEWAY);
    assert_int_equal(s.session_count, 2);
    assert_true(s.sessions[0].is_ready);
    assert_false(s.sessions[1].is_ready);
    assert_string_equal(s.sessions[1].address, "127.0.0.1:2");
    sim_leave(&c, 0);
    ehis_get_status(c.e, &s);
    assert_false(s.is_ready);
    buf_fini(&old);
    sim_client_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_whose_gateway_goes_or_is_busy_is_repeated_at_the_other_and_any_answer_ends_it),
        cmocka_unit_test(a_call_that_one_gateway_knows_no_provider_for_is_asked_of_the_other_once),
        cmocka_unit_test(a_request_that_two_gateways_bring_is_run_once_and_both_get_the_same_bytes),
        cmocka_unit_test(an_answer_that_one_gateway_puts_off_goes_to_the_other_at_once),
        cmocka_unit_test(what_a_gateway_takes_no_frame_of_is_told_and_holds_nothing_else),
        cmocka_unit_test(what_two_gateways_deliver_is_handed_over_once_and_acknowledged_to_each_that_is_still_there),
        cmocka_unit_test(another_gateway_of_ours_that_gets_the_streams_takes_nothing_over),
        cmocka_unit_test(a_gateway_with_an_older_registry_ends_its_own_session_alone_and_the_status_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
