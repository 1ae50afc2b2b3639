/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The client as a provider, against a gateway that is played by the test: what it believes, what it refuses, what it answers and hands over. */
#include "tests/support/sim_application.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct sim_client c;

static const uint8_t stream[16] = {6};

static struct envelope_header request(void)
{
    return (struct envelope_header){.kind = KIND_REQUEST, .recipient = span_str(SIM_PERSON), .operation = span_str("GetPerson"), .purpose = span_str("tax"),
                                    .legal_basis = span_str("Law 23")};
}

static void refused(struct envelope_header h, const char *from, int64_t accepted_ms, ehis_err expected)
{
    struct buf e;
    struct hash d;
    uint32_t code = 0;
    buf_init(&e, 1 << 20);
    sim_envelope(&c, from, &h, "pin", &e, &d);
    size_t before = sim_handed(&c);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, accepted_ms ? accepted_ms : c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_handed(&c), before);
    assert_int_equal(sim_ack_of(&c, c.delivery[c.at], &code), OUTCOME_REJECTED);
    assert_int_equal(code, expected);
    buf_fini(&e);
}

static void deliver_numbers(uint64_t from, uint64_t to)
{
    struct buf e;
    buf_init(&e, 1 << 20);
    for (uint64_t n = from; n <= to; n++) {
        sim_numbered(&c, stream, n, "GetPerson", &e);
        assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    }
    buf_fini(&e);
}

static void what_the_worker_runs_is_not_run_by_whoever_asks_as_well(void **state)
{
    (void)state;
    sim_provider(&c);
    c.e->is_dispatched = false;
    deliver_numbers(1, 1);
    sim_client_turn(&c);
    assert_int_equal(ehis_dispatch(c.e, 0), 0);
    assert_int_equal(c.got_count, 0);
    c.e->is_dispatched = true;
    assert_int_equal(ehis_dispatch(c.e, 0), 1);
    assert_int_equal(c.got_count, 1);
    ehis_reject(c.got[0], 0);
    sim_client_fini(&c);
}

static void a_request_that_our_own_evaluation_forbids_is_rejected_whatever_the_gateway_let_through(void **state)
{
    (void)state;
    sim_provider(&c);
    struct envelope_header h = request();
    h.purpose = span_str("curiosity");
    refused(h, SIM_TAX, 0, EHIS_E_POLICY_PURPOSE);
    refused(request(), SIM_OTHER, 0, EHIS_E_KEY_UNKNOWN); /* it is not even shown to us */
    sim_client_fini(&c);
}

static void what_is_not_the_senders_or_not_for_us_or_out_of_time_is_rejected(void **state)
{
    (void)state;
    sim_provider(&c);
    struct envelope_header h = request();
    h.sender = span_str(SIM_POPULATION); /* signed by tax */
    refused(h, SIM_TAX, 0, EHIS_E_KEY_FOREIGN);
    h = request();
    refused(h, SIM_TAX, c.clock.wall_ms - 2 * CLOCK_SKEW_MS, EHIS_E_ACCEPTED_TIME);
    refused(request(), SIM_TAX, c.clock.wall_ms + 2 * CLOCK_SKEW_MS, EHIS_E_ACCEPTED_TIME);
    h = request();
    h.created_ms = (uint64_t)c.clock.wall_ms + CLOCK_SKEW_MS + 1;
    refused(h, SIM_TAX, 0, EHIS_E_EXCHANGE_FROM_FUTURE);
    h = request();
    h.created_ms = (uint64_t)c.clock.wall_ms - 2000;
    h.expires_ms = (uint64_t)c.clock.wall_ms - 1000;
    refused(h, SIM_TAX, c.clock.wall_ms - 1500, EHIS_E_EXCHANGE_EXPIRED);
    uint8_t other[32] = {1};
    h = request();
    h.registry_version = 1;
    h.registry_hash = span_of(other, 32);
    refused(h, SIM_TAX, 0, EHIS_E_REGISTRY_FORK);
    sim_client_fini(&c);
}

static void a_changed_byte_anywhere_in_an_envelope_is_found(void **state)
{
    struct buf e;
    struct hash d;
    struct envelope parts;
    struct envelope_header h = request();
    uint32_t code = 0;
    (void)state;
    sim_provider(&c);
    buf_init(&e, 1 << 20);
    sim_envelope(&c, SIM_TAX, &h, "pin", &e, &d);
    assert_int_equal(envelope_read(buf_span(&e), &parts, NULL), EHIS_OK);
    size_t at = (size_t)(parts.sealed.p - e.p) + 30;
    e.p[at] ^= 1;
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_ack_of(&c, c.delivery[c.at], &code), OUTCOME_REJECTED);
    assert_int_equal(code, EHIS_E_SIGNATURE_BAD);
    assert_int_equal(sim_handed(&c), 0);
    buf_fini(&e);
    sim_client_fini(&c);
}

static void a_waiting_request_is_run_once_and_answered_with_the_same_bytes_each_time(void **state)
{
    struct buf e;
    struct hash d;
    struct envelope_header h = request(), answer;
    struct envelope env;
    struct sim_frame first, again;
    (void)state;
    sim_provider(&c);
    buf_init(&e, 1 << 20);
    sim_envelope(&c, SIM_TAX, &h, "pin", &e, &d);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_handed(&c), 1);
    size_t bytes;
    assert_memory_equal(ehis_incoming_body(c.got[0], &bytes), "pin", 3);
    assert_string_equal(ehis_incoming_info(c.got[0])->rule, "R-1");
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK); /* asked again while it runs */
    assert_int_equal(sim_handed(&c), 1);
    assert_int_equal(ehis_answer(c.got[0], 0, "text/plain", "found", 5, NULL, 0, NULL), EHIS_OK);
    assert_int_equal(ehis_answer(c.got[0], 0, "text/plain", "found", 5, NULL, 0, NULL), EHIS_E_SDK_FINISHED);
    sim_handed(&c);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &first));
    struct hash answer_digest;
    sim_read_submit(&first, &env, &answer, &answer_digest);
    assert_memory_equal(answer.in_reply_to.p, d.b, 32);
    assert_int_equal(answer.status, STATUS_OK);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    sim_client_disconnect(&c);
    sim_client_connect(&c);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0); /* nobody has asked */
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_handed(&c), 1);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &again));
    assert_int_equal(again.len, first.len);
    assert_memory_equal(again.p, first.p, first.len);
    /* Other bytes under its id */
    struct envelope_header forged = request();
    memcpy(forged.exchange_id, h.exchange_id, 16);
    refused(forged, SIM_TAX, 0, EHIS_E_EXCHANGE_CONFLICT);
    /* When it has expired it is forgotten. */
    sim_client_pass_ms(&c, 31000);
    assert_int_equal(c.e->served_count, 0);
    free(first.p);
    free(again.p);
    buf_fini(&e);
    sim_client_fini(&c);
}

static void an_answer_that_the_gateway_refuses_is_told_to_the_caller_at_once(void **state)
{
    struct buf e;
    struct hash d, answer_digest;
    struct envelope_header h = request(), answer;
    struct envelope env;
    struct sim_frame f;
    uint32_t code = 0;
    (void)state;
    sim_provider(&c);
    buf_init(&e, 1 << 20);
    sim_envelope(&c, SIM_TAX, &h, "pin", &e, &d);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_handed(&c), 1);
    assert_int_equal(ehis_answer(c.got[0], 0, "text/plain", "found", 5, NULL, 0, NULL), EHIS_OK);
    sim_handed(&c);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    sim_read_submit(&f, &env, &answer, &answer_digest);
    assert_int_equal(sim_receipt(&c, &answer_digest, SIM_TAX, STATE_REFUSED, EHIS_E_EXCHANGE_RESPONSE_TOO_LARGE), EHIS_OK);
    assert_int_equal(sim_ack_of(&c, 1, &code), OUTCOME_REJECTED);
    assert_int_equal(code, EHIS_E_EXCHANGE_RESPONSE_TOO_LARGE);
    free(f.p);
    buf_fini(&e);
    sim_client_fini(&c);
}

static void a_delivery_that_names_a_newer_registry_waits_until_it_is_fetched(void **state)
{
    struct buf e, part;
    struct hash d;
    struct sim_frame f;
    uint32_t code = 0;
    (void)state;
    sim_provider(&c);
    buf_init(&e, 1 << 20);
    buf_init(&part, 1 << 20);
    registry_unref(c.document);
    c.document = test_registry_publish(c.registry);
    struct envelope_header h = request();
    sim_client_pass_ms(&c, 1100); /* it is asked for once a second at most */
    sim_envelope(&c, SIM_TAX, &h, "pin", &e, &d); /* of version 2 */
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_handed(&c), 0);
    assert_true(sim_client_take(&c, FRAME_REGISTRY_GET, &f));
    free(f.p);
    assert_int_equal(registry_part(c.document, span_str(SIM_POPULATION), 1, &part, NULL), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_REGISTRY, buf_span(&part)), EHIS_OK);
    assert_int_equal(sim_handed(&c), 1);
    /* One that never comes: given back. */
    struct envelope_header next = request();
    sim_envelope(&c, SIM_TAX, &next, "pin", &e, &d);
    sim_client_pass_ms(&c, 1100);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 3, c.clock.wall_ms), EHIS_OK);
    sim_client_pass_ms(&c, HELD_MS + 200);
    assert_int_equal(sim_ack_of(&c, c.delivery[c.at], &code), OUTCOME_RETRY);
    assert_int_equal(code, EHIS_E_REGISTRY_NEWER);
    assert_int_equal(sim_handed(&c), 1);
    buf_fini(&e);
    buf_fini(&part);
    sim_client_fini(&c);
}

static void a_right_that_is_gone_with_the_newer_registry_is_gone_here_too(void **state)
{
    (void)state;
    sim_provider(&c);
    test_registry_drop_rules(c.registry, SIM_PERSON);
    struct test_rule rule = {.id = "R-2", .consumers = SIM_TAX, .operations = "GetPerson", .purposes = "audit", .legal_bases = "Law 23"};
    test_registry_rule(c.registry, SIM_PERSON, &rule);
    assert_int_equal(sim_client_registry(&c), EHIS_OK);
    refused(request(), SIM_TAX, 0, EHIS_E_POLICY_PURPOSE);
    sim_client_fini(&c);
}

static void an_older_registry_a_forked_one_and_one_that_is_not_the_operators_are_refused(void **state)
{
    struct buf old, part;
    (void)state;
    sim_provider(&c);
    buf_init(&old, 1 << 20);
    buf_init(&part, 1 << 20);
    assert_int_equal(registry_part(c.document, span_str(SIM_POPULATION), 0, &old, NULL), EHIS_OK);
    assert_int_equal(sim_client_registry(&c), EHIS_OK);
    assert_int_equal(registry_version(c.e->registry), 2);
    assert_int_equal(sim_client_frame(&c, FRAME_REGISTRY, buf_span(&old)), EHIS_E_GATEWAY_BEHIND);
    assert_int_equal(registry_version(c.e->registry), 2);
    sim_client_connect(&c);
    registry_unref(c.document);
    c.document = test_registry_publish(c.registry);
    assert_int_equal(registry_part(c.document, span_str(SIM_POPULATION), 0, &part, NULL), EHIS_OK);
    part.p[part.len - 1] ^= 1;
    assert_int_not_equal(sim_client_frame(&c, FRAME_REGISTRY, buf_span(&part)), EHIS_OK);
    assert_int_equal(registry_version(c.e->registry), 2);
    buf_fini(&old);
    buf_fini(&part);
    sim_client_fini(&c);
}

static void the_highest_registry_is_known_after_a_restart_without_its_file(void **state)
{
    struct buf old;
    char file[100];
    (void)state;
    sim_provider(&c);
    buf_init(&old, 1 << 20);
    assert_int_equal(registry_part(c.document, span_str(SIM_POPULATION), 0, &old, NULL), EHIS_OK);
    assert_int_equal(sim_client_registry(&c), EHIS_OK);
    snprintf(file, sizeof file, "%s/registry", c.dir);
    assert_int_equal(unlink(file), 0);
    sim_client_restart(&c, false);
    assert_null(c.e->registry);
    assert_int_equal(c.e->highest_version, 2);
    struct ehis_why why;
    assert_int_equal(state_take_registry(c.e, buf_span(&old), &why), EHIS_E_REGISTRY_OLDER);
    buf_fini(&old);
    sim_client_fini(&c);
}

static void a_gateway_that_the_registry_does_not_know_gets_nothing_of_us(void **state)
{
    struct hello h = {.version = 1, .name = span_str(SIM_GATEWAY), .max_frame_bytes = 1 << 20, .window_messages = 64, .window_bytes = 1 << 20, .clock_ms = 1};
    struct buf b;
    (void)state;
    sim_provider(&c);
    sim_client_disconnect(&c);
    sim_client_connect(&c);
    test_registry_revoke(c.registry, SIM_GATEWAY, USE_TLS, c.clock.wall_ms - 1);
    assert_int_equal(sim_client_registry(&c), EHIS_E_KEY_PIN);
    assert_false(c.e->is_ready);
    /* and one that names itself otherwise than its certificate */
    buf_init(&b, 4096);
    h.name = span_str("AZ/gw2");
    assert_int_equal(hello_write(&h, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_HELLO, buf_span(&b)), EHIS_E_GATEWAY_NAME);
    buf_fini(&b);
    sim_client_fini(&c);
}

static void frames_that_may_not_come_now_or_answer_nothing_end_the_session(void **state)
{
    struct ready_state r = {0};
    struct stream_state s = {.expected = 1, .stream = {9}};
    struct buf b;
    (void)state;
    sim_provider(&c);
    buf_init(&b, 4096);
    assert_int_equal(sim_client_frame(&c, FRAME_HELLO, (struct span){0}), EHIS_E_FRAME_OUT_OF_STATE);
    sim_client_connect(&c);
    assert_int_equal(sim_client_frame(&c, FRAME_SUBMIT, (struct span){0}), EHIS_E_FRAME_DIRECTION);
    sim_client_connect(&c);
    assert_int_equal(sim_client_frame(&c, 77, (struct span){0}), EHIS_E_FRAME_UNKNOWN);
    sim_client_connect(&c);
    assert_int_equal(stream_state_write(&s, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_STREAM_STATE, buf_span(&b)), EHIS_E_GATEWAY_UNASKED);
    c.e->sessions[0].state = FRAME_STATE_FETCH;
    buf_clear(&b);
    assert_int_equal(ready_state_write(&r, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_READY_STATE, buf_span(&b)), EHIS_E_GATEWAY_UNASKED);
    buf_fini(&b);
    sim_client_fini(&c);
}

static void a_gateway_that_delivers_more_than_it_may_is_left(void **state)
{
    ehis_config more = {.call_window = 4, .stream_window = 4};
    struct buf e;
    struct hash d;
    (void)state;
    sim_client_init(&c, SIM_POPULATION, &more);
    assert_int_equal(ehis_serve(c.e, SIM_PERSON, "GetPerson", sim_on_message, &c, NULL), EHIS_OK);
    work_run_orders(c.e);
    sim_client_connect(&c);
    buf_init(&e, 1 << 20);
    ehis_err err = EHIS_OK;
    size_t n = 0;
    for (; n < 3000 && err == EHIS_OK; n++) {
        struct envelope_header h = request();
        sim_envelope(&c, SIM_TAX, &h, "x", &e, &d);
        err = sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms);
    }
    assert_int_equal(err, EHIS_E_GATEWAY_WINDOW);
    assert_true(n <= 16 + INBOX_WINDOW + 1);
    buf_fini(&e);
    sim_client_fini(&c);
}

static void a_message_that_nobody_takes_yet_is_given_back_with_what_is_behind_it_and_asked_for_by_READY(void **state)
{
    uint32_t code = 0;
    (void)state;
    sim_client_init(&c, SIM_POPULATION, NULL);
    assert_int_equal(ehis_serve(c.e, SIM_PERSON, "Other", sim_on_message, &c, NULL), EHIS_OK);
    work_run_orders(c.e);
    sim_client_connect(&c);
    for (uint64_t n = 1; n <= 2; n++) {
        deliver_numbers(n, n);
        assert_int_equal(sim_handed(&c), 0);
        assert_int_equal(sim_ack_of(&c, n, &code), OUTCOME_RETRY);
        assert_int_equal(code, EHIS_E_SDK_NO_HANDLER);
    }
    deliver_numbers(1, 1);
    assert_int_equal(ehis_serve(c.e, SIM_PERSON, "GetPerson", sim_on_message, &c, NULL), EHIS_OK);
    work_run_orders(c.e);
    assert_int_equal(sim_ack_of(&c, 3, &code), OUTCOME_RETRY); /* before READY */
    assert_true(sim_client_count(&c, FRAME_READY) > 0);
    deliver_numbers(1, 2);
    assert_int_equal(sim_handed(&c), 1);
    assert_int_equal(ehis_incoming_info(c.got[0])->number, 1);
    assert_false(ehis_incoming_info(c.got[0])->is_repeated);
    assert_int_equal(sim_client_count(&c, FRAME_ACK), 0);
    ehis_reject(c.got[0], EHIS_E_SDK_REJECTED);
    sim_handed(&c);
    assert_int_equal(sim_handed(&c), 2);
    sim_client_pass_ms(&c, 10);
    assert_int_equal(sim_ack_of(&c, 4, &code), OUTCOME_REJECTED);
    ehis_reject(c.got[1], EHIS_E_SDK_REJECTED);
    sim_handed(&c);
    sim_client_fini(&c);
}

static void the_next_of_a_stream_is_handed_over_before_the_one_that_is_finished_is_recorded_and_acknowledged(void **state)
{
    uint32_t code = 0;
    (void)state;
    sim_provider(&c);
    deliver_numbers(1, 3);
    assert_int_equal(sim_handed(&c), 1);
    uint64_t flushes = sim_disk_count(c.disk, SIM_SYNC);
    ehis_reject(c.got[0], EHIS_E_SDK_REJECTED);
    assert_int_equal(sim_handed(&c), 1);
    assert_int_equal(sim_handed(&c), 2);
    ehis_reject(c.got[1], EHIS_E_SDK_REJECTED);
    sim_handed(&c);
    assert_int_equal(sim_handed(&c), 3);
    assert_int_equal(sim_disk_count(c.disk, SIM_SYNC), flushes);
    assert_int_equal(sim_client_count(&c, FRAME_ACK), 0);
    ehis_reject(c.got[2], EHIS_E_SDK_REJECTED); /* nothing runs any more: all are acknowledged */
    sim_handed(&c);
    assert_int_equal(sim_disk_count(c.disk, SIM_SYNC), flushes + 1);
    assert_int_equal(sim_client_count(&c, FRAME_ACK), 1);
    assert_int_equal(sim_ack_of(&c, 2, &code), OUTCOME_REJECTED);
    /* A slow handler of another stream does not hold acknowledgements up. */
    deliver_numbers(4, 5);
    assert_int_equal(sim_handed(&c), 4);
    ehis_reject(c.got[3], EHIS_E_SDK_REJECTED);
    sim_handed(&c);
    assert_int_equal(sim_handed(&c), 5);
    assert_int_equal(sim_client_count(&c, FRAME_ACK), 0);
    sim_client_pass_ms(&c, 100);
    assert_int_equal(sim_ack_of(&c, 4, &code), OUTCOME_REJECTED);
    sim_client_fini(&c);
}

static void past_its_registry_nothing_is_done_but_fetching(void **state)
{
    ehis_status status = {.size = sizeof status};
    (void)state;
    sim_provider(&c);
    sim_clock_advance_ms(&c.clock, 34ll * 86400000); /* 30 days and 3 of grace */
    sim_client_pass_ms(&c, 100);
    ehis_get_status(c.e, &status);
    assert_int_equal(status.last_error, EHIS_E_REGISTRY_EXPIRED);
    struct envelope_header h = request();
    struct hash d;
    struct buf e;
    buf_init(&e, 1 << 20);
    sim_envelope(&c, SIM_TAX, &h, "pin", &e, &d);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_handed(&c), 0);
    assert_int_equal(sim_client_count(&c, FRAME_ACK), 0); /* it waits for the one that is fetched */
    assert_true(sim_client_count(&c, FRAME_REGISTRY_GET) > 0);
    buf_fini(&e);
    sim_client_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_worker_runs_is_not_run_by_whoever_asks_as_well),
        cmocka_unit_test(a_request_that_our_own_evaluation_forbids_is_rejected_whatever_the_gateway_let_through),
        cmocka_unit_test(what_is_not_the_senders_or_not_for_us_or_out_of_time_is_rejected),
        cmocka_unit_test(a_changed_byte_anywhere_in_an_envelope_is_found),
        cmocka_unit_test(a_waiting_request_is_run_once_and_answered_with_the_same_bytes_each_time),
        cmocka_unit_test(an_answer_that_the_gateway_refuses_is_told_to_the_caller_at_once),
        cmocka_unit_test(a_delivery_that_names_a_newer_registry_waits_until_it_is_fetched),
        cmocka_unit_test(a_right_that_is_gone_with_the_newer_registry_is_gone_here_too),
        cmocka_unit_test(an_older_registry_a_forked_one_and_one_that_is_not_the_operators_are_refused),
        cmocka_unit_test(the_highest_registry_is_known_after_a_restart_without_its_file),
        cmocka_unit_test(a_gateway_that_the_registry_does_not_know_gets_nothing_of_us),
        cmocka_unit_test(frames_that_may_not_come_now_or_answer_nothing_end_the_session),
        cmocka_unit_test(a_gateway_that_delivers_more_than_it_may_is_left),
        cmocka_unit_test(a_message_that_nobody_takes_yet_is_given_back_with_what_is_behind_it_and_asked_for_by_READY),
        cmocka_unit_test(the_next_of_a_stream_is_handed_over_before_the_one_that_is_finished_is_recorded_and_acknowledged),
        cmocka_unit_test(past_its_registry_nothing_is_done_but_fetching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
