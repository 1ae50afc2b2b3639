/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The client against a gateway that is played by the test: what it believes, what it refuses, what it repeats. */
#include "tests/support/sim_client.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sim_client c;

/* ---- a provider ---- */

static ehis_incoming *got[16];
static size_t got_count;
static void on_message(void *arg, ehis_incoming *in)
{
    (void)arg;
    if (got_count < 16)
        got[got_count++] = in;
}

static void provider(void)
{
    got_count = 0;
    sim_client_init(&c, SIM_POPULATION, NULL);
    assert_int_equal(ehis_serve(c.e, SIM_PERSON, "GetPerson", on_message, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
    sim_client_connect(&c);
}

static size_t handed(void)
{
    sim_client_turn(&c);
    ehis_dispatch(c.e, 0);
    work_run_orders(c.e);
    sim_client_turn(&c);
    return got_count;
}

static struct envelope_header request(void)
{
    return (struct envelope_header){.kind = KIND_REQUEST, .recipient = span_str(SIM_PERSON), .operation = span_str("GetPerson"), .purpose = span_str("tax"),
                                    .legal_basis = span_str("Law 23")};
}

/* The acknowledgement of delivery n: its outcome and code. */
static uint32_t ack_of(uint64_t delivery, uint32_t *code)
{
    struct sim_frame f;
    uint32_t outcome = 0;
    while (sim_client_take(&c, FRAME_ACK, &f)) {
        struct batch_signature s;
        struct span item;
        size_t at = 0;
        assert_int_equal(batch_read(FRAME_ACK, span_of(f.p, f.len), &s, NULL), EHIS_OK);
        while (batch_next(span_of(f.p, f.len), &at, &item)) {
            struct ack a;
            assert_int_equal(ack_read(item, &a, NULL), EHIS_OK);
            if (a.delivery == delivery) {
                outcome = a.outcome;
                *code = a.code;
            }
        }
        free(f.p);
    }
    return outcome;
}

static void refused(struct envelope_header h, const char *from, int64_t accepted_ms, ehis_err expected)
{
    struct buf e;
    struct hash d;
    uint32_t code = 0;
    buf_init(&e, 1 << 20);
    sim_envelope(&c, from, &h, "pin", &e, &d);
    size_t before = handed();
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, accepted_ms ? accepted_ms : c.clock.wall_ms), EHIS_OK);
    assert_int_equal(handed(), before);
    assert_int_equal(ack_of(c.delivery[c.at], &code), OUTCOME_REJECTED);
    assert_int_equal(code, expected);
    buf_fini(&e);
}

static void a_request_that_our_own_evaluation_forbids_is_rejected_whatever_the_gateway_let_through(void **state)
{
    (void)state;
    provider();
    struct envelope_header h = request();
    h.purpose = span_str("curiosity");
    refused(h, SIM_TAX, 0, EHIS_E_POLICY_PURPOSE);
    refused(request(), SIM_OTHER, 0, EHIS_E_KEY_UNKNOWN); /* it is not even shown to us */
    sim_client_fini(&c);
}

static void what_is_not_the_senders_or_not_for_us_or_out_of_time_is_rejected(void **state)
{
    (void)state;
    provider();
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
    provider();
    buf_init(&e, 1 << 20);
    sim_envelope(&c, SIM_TAX, &h, "pin", &e, &d);
    assert_int_equal(envelope_read(buf_span(&e), &parts, NULL), EHIS_OK);
    size_t at = (size_t)(parts.sealed.p - e.p) + 30;
    e.p[at] ^= 1;
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(ack_of(c.delivery[c.at], &code), OUTCOME_REJECTED);
    assert_int_equal(code, EHIS_E_SIGNATURE_BAD);
    assert_int_equal(handed(), 0);
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
    provider();
    buf_init(&e, 1 << 20);
    sim_envelope(&c, SIM_TAX, &h, "pin", &e, &d);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(handed(), 1);
    size_t bytes;
    assert_memory_equal(ehis_incoming_body(got[0], &bytes), "pin", 3);
    assert_string_equal(ehis_incoming_info(got[0])->rule, "R-1");
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK); /* asked again while it runs */
    assert_int_equal(handed(), 1);
    assert_int_equal(ehis_answer(got[0], 0, "text/plain", "found", 5, NULL, 0, NULL), EHIS_OK);
    assert_int_equal(ehis_answer(got[0], 0, "text/plain", "found", 5, NULL, 0, NULL), EHIS_E_SDK_FINISHED);
    handed();
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
    assert_int_equal(handed(), 1);
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
    provider();
    buf_init(&e, 1 << 20);
    sim_envelope(&c, SIM_TAX, &h, "pin", &e, &d);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(handed(), 1);
    assert_int_equal(ehis_answer(got[0], 0, "text/plain", "found", 5, NULL, 0, NULL), EHIS_OK);
    handed();
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    sim_read_submit(&f, &env, &answer, &answer_digest);
    assert_int_equal(sim_receipt(&c, &answer_digest, SIM_TAX, STATE_REFUSED, EHIS_E_EXCHANGE_RESPONSE_TOO_LARGE), EHIS_OK);
    assert_int_equal(ack_of(1, &code), OUTCOME_REJECTED);
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
    provider();
    buf_init(&e, 1 << 20);
    buf_init(&part, 1 << 20);
    registry_unref(c.document);
    c.document = test_registry_publish(c.registry);
    struct envelope_header h = request();
    sim_client_pass_ms(&c, 1100); /* it is asked for once a second at most */
    sim_envelope(&c, SIM_TAX, &h, "pin", &e, &d); /* of version 2 */
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(handed(), 0);
    assert_true(sim_client_take(&c, FRAME_REGISTRY_GET, &f));
    free(f.p);
    assert_int_equal(registry_part(c.document, span_str(SIM_POPULATION), 1, &part, NULL), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_REGISTRY, buf_span(&part)), EHIS_OK);
    assert_int_equal(handed(), 1);
    /* One that never comes: given back. */
    struct envelope_header next = request();
    sim_envelope(&c, SIM_TAX, &next, "pin", &e, &d);
    sim_client_pass_ms(&c, 1100);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 3, c.clock.wall_ms), EHIS_OK);
    sim_client_pass_ms(&c, HELD_MS + 200);
    assert_int_equal(ack_of(c.delivery[c.at], &code), OUTCOME_RETRY);
    assert_int_equal(code, EHIS_E_REGISTRY_NEWER);
    assert_int_equal(handed(), 1);
    buf_fini(&e);
    buf_fini(&part);
    sim_client_fini(&c);
}

static void a_right_that_is_gone_with_the_newer_registry_is_gone_here_too(void **state)
{
    (void)state;
    provider();
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
    provider();
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
    provider();
    buf_init(&old, 1 << 20);
    assert_int_equal(registry_part(c.document, span_str(SIM_POPULATION), 0, &old, NULL), EHIS_OK);
    assert_int_equal(sim_client_registry(&c), EHIS_OK);
    sim_client_restart(&c, false);
    registry_unref(c.e->registry); /* as if its file were gone */
    c.e->registry = NULL;
    c.e->sessions[0].tap = NULL;
    snprintf(file, sizeof file, "%s/registry", c.dir);
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
    provider();
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
    provider();
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
    got_count = 0;
    sim_client_init(&c, SIM_POPULATION, &more);
    assert_int_equal(ehis_serve(c.e, SIM_PERSON, "GetPerson", on_message, NULL, NULL), EHIS_OK);
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

/* ---- a consumer ---- */

struct ended { int count, err; bool is_fault; char body[64]; };
static void on_done(void *arg, int err, const ehis_reply *reply, const char *why)
{
    struct ended *x = arg;
    (void)why;
    x->count++;
    x->err = err;
    if (reply) {
        size_t n;
        const char *p = ehis_reply_body(reply, &n);
        memcpy(x->body, p, n < 63 ? n : 63);
        x->is_fault = ehis_reply_is_fault(reply);
    }
}

static ehis_message message(const char *body)
{
    return (ehis_message){.size = sizeof(ehis_message), .service = SIM_PERSON, .operation = "GetPerson", .purpose = "tax", .legal_basis = "Law 23",
                          .body = body, .body_bytes = strlen(body)};
}

static void consumer(void)
{
    got_count = 0;
    sim_client_init(&c, SIM_TAX, NULL);
    sim_client_connect(&c);
}

static void call(struct ended *x)
{
    ehis_message m = message("pin");
    *x = (struct ended){0};
    assert_int_equal(ehis_call_start(c.e, &m, on_done, x, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
    sim_client_turn(&c);
}

static void a_call_repeats_its_bytes_after_busy_and_a_lost_session_and_ends_once(void **state)
{
    struct ended x;
    struct sim_frame first, f;
    struct envelope env;
    struct envelope_header h;
    struct hash d;
    struct buf b;
    (void)state;
    consumer();
    buf_init(&b, 1 << 20);
    call(&x);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &first));
    sim_read_submit(&first, &env, &h, &d);
    struct flow busy = {.code = EHIS_E_EXCHANGE_BUSY, .retry_ms = 500};
    memcpy(busy.digest, d.b, 32);
    assert_int_equal(flow_write(&busy, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_FLOW, buf_span(&b)), EHIS_OK);
    sim_client_pass_ms(&c, 400);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    sim_client_pass_ms(&c, 200);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    assert_int_equal(f.len, first.len);
    assert_memory_equal(f.p, first.p, f.len);
    free(f.p);
    sim_client_disconnect(&c);
    sim_client_connect(&c);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    assert_memory_equal(f.p, first.p, first.len);
    free(f.p);
    struct envelope_header r = {.kind = KIND_RESPONSE, .status = STATUS_OK, .recipient = span_str(SIM_TAX), .operation = span_str("GetPerson"),
                                .in_reply_to = span_of(d.b, 32), .expires_ms = h.expires_ms};
    uint32_t code = 0;
    memcpy(r.exchange_id, h.exchange_id, 16);
    struct hash rd;
    struct envelope_header late = r;
    late.expires_ms++;
    sim_envelope(&c, SIM_POPULATION, &late, "late", &b, &rd); /* later than what it answers */
    assert_int_equal(sim_deliver(&c, buf_span(&b), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(ack_of(c.delivery[c.at], &code), OUTCOME_REJECTED);
    assert_int_equal(code, EHIS_E_EXCHANGE_RESPONSE_LATE);
    buf_clear(&b);
    sim_envelope(&c, SIM_POPULATION, &r, "found", &b, &rd);
    assert_int_equal(sim_deliver(&c, buf_span(&b), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_deliver(&c, buf_span(&b), 1, c.clock.wall_ms), EHIS_OK);
    handed();
    assert_int_equal(x.count, 1);
    assert_int_equal(x.err, EHIS_OK);
    assert_string_equal(x.body, "found");
    free(first.p);
    buf_fini(&b);
    sim_client_fini(&c);
}

static void a_call_without_an_answer_ends_with_its_lifetime_and_one_without_a_gateway_says_why(void **state)
{
    struct ended x;
    (void)state;
    consumer();
    call(&x);
    sim_client_pass_ms(&c, 29000);
    handed();
    assert_int_equal(x.count, 0);
    sim_client_pass_ms(&c, 1100);
    handed();
    assert_int_equal(x.count, 1);
    assert_int_equal(x.err, EHIS_E_EXCHANGE_EXPIRED);
    sim_client_disconnect(&c);
    call(&x);
    sim_client_pass_ms(&c, 30100);
    handed();
    assert_int_equal(x.err, EHIS_E_SDK_NOT_READY);
    sim_client_fini(&c);
}

static void a_response_of_another_than_was_asked_or_to_nothing_is_not_taken(void **state)
{
    struct ended x;
    struct sim_frame f;
    struct envelope env;
    struct envelope_header h;
    struct hash d, rd;
    struct buf b;
    uint32_t code;
    (void)state;
    consumer();
    buf_init(&b, 1 << 20);
    call(&x);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    sim_read_submit(&f, &env, &h, &d);
    struct envelope_header r = {.kind = KIND_RESPONSE, .status = STATUS_OK, .recipient = span_str(SIM_TAX), .operation = span_str("GetPerson"),
                                .in_reply_to = span_of(d.b, 32)};
    struct envelope_header to_nothing = r;
    uint8_t unknown[32] = {5};
    to_nothing.in_reply_to = span_of(unknown, 32);
    sim_envelope(&c, SIM_POPULATION, &to_nothing, "x", &b, &rd);
    assert_int_equal(sim_deliver(&c, buf_span(&b), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(ack_of(c.delivery[c.at], &code), OUTCOME_REJECTED);
    assert_int_equal(code, EHIS_E_EXCHANGE_NOT_A_REPLY);
    memcpy(r.exchange_id, h.exchange_id, 16);
    sim_envelope(&c, SIM_TAX, &r, "x", &b, &rd); /* from ourselves, by a gateway's game */
    assert_int_equal(sim_deliver(&c, buf_span(&b), 1, c.clock.wall_ms), EHIS_OK);
    handed();
    assert_int_equal(x.count, 0);
    free(f.p);
    buf_fini(&b);
    sim_client_fini(&c);
}

static void a_receipt_that_the_gateway_has_not_signed_ends_the_session(void **state)
{
    struct ended x;
    struct sim_frame f;
    struct envelope env;
    struct envelope_header h;
    struct hash d;
    (void)state;
    consumer();
    call(&x);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    sim_read_submit(&f, &env, &h, &d);
    test_registry_revoke(c.registry, SIM_GATEWAY, USE_SIGN, c.clock.wall_ms - 1);
    assert_int_equal(sim_client_registry(&c), EHIS_OK);
    assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_FAILED, 5066), EHIS_E_KEY_REVOKED);
    handed();
    assert_int_equal(x.count, 0); /* it does not end the call */
    free(f.p);
    sim_client_fini(&c);
}

static void what_waits_in_one_turn_is_signed_once(void **state)
{
    struct ended x[50];
    struct sim_frame f;
    struct envelope env;
    struct envelope_header h;
    struct hash d, first_signature;
    ehis_message m = message("pin");
    (void)state;
    consumer();
    for (int i = 0; i < 50; i++) {
        x[i] = (struct ended){0};
        assert_int_equal(ehis_call_start(c.e, &m, on_done, &x[i], NULL, NULL), EHIS_OK);
    }
    work_run_orders(c.e);
    sim_client_turn(&c);
    for (uint32_t i = 0; i < 50; i++) {
        assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
        sim_read_submit(&f, &env, &h, &d);
        assert_int_equal(env.signature.size, 50);
        struct hash leaf, root;
        leaf_envelope(&d, &leaf);
        assert_int_equal(tree_root_of_path(&leaf, env.signature.index, 50, env.signature.path, &root), EHIS_OK);
        if (i == 0)
            memcpy(first_signature.b, env.signature.signature, 32);
        assert_memory_equal(first_signature.b, env.signature.signature, 32);
        free(f.p);
    }
    sim_client_fini(&c);
}

static void a_seal_context_is_used_for_an_hour_and_then_made_new(void **state)
{
    struct ended x;
    struct sim_frame f;
    struct envelope env;
    struct envelope_header h;
    struct hash d;
    uint8_t ephemeral[32];
    (void)state;
    consumer();
    call(&x);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    sim_read_submit(&f, &env, &h, &d);
    memcpy(ephemeral, h.seal.ephemeral.p, 32);
    free(f.p);
    struct ended y;
    call(&y);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    sim_read_submit(&f, &env, &h, &d);
    assert_memory_equal(ephemeral, h.seal.ephemeral.p, 32);
    free(f.p);
    sim_clock_advance_ms(&c.clock, 3601000);
    sim_client_pass_ms(&c, 200); /* both calls end */
    struct ended z;
    call(&z);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    sim_read_submit(&f, &env, &h, &d);
    assert_memory_not_equal(ephemeral, h.seal.ephemeral.p, 32);
    free(f.p);
    sim_client_fini(&c);
}

static void a_message_of_another_shape_than_is_allowed_is_refused_before_anything_happens(void **state)
{
    char why[EHIS_WHY_BYTES];
    char long_text[200];
    (void)state;
    consumer();
    memset(long_text, 'x', sizeof long_text);
    ehis_message m = message("pin");
    m.purpose = NULL;
    assert_int_equal(ehis_call_start(c.e, &m, on_done, NULL, NULL, why), EHIS_E_SDK_MESSAGE);
    m = message("pin");
    long_text[65] = 0;
    m.purpose = long_text;
    assert_int_equal(ehis_call_start(c.e, &m, on_done, NULL, NULL, why), EHIS_E_SDK_MESSAGE);
    long_text[64] = 0;
    struct ended x = {0};
    assert_int_equal(ehis_call_start(c.e, &m, on_done, &x, NULL, why), EHIS_OK);
    m = message("pin");
    m.service = "AZ/GOV/MIA/population";
    assert_int_equal(ehis_call_start(c.e, &m, on_done, NULL, NULL, why), EHIS_E_IDENTIFIER_INVALID);
    static const struct { const char *name; ehis_err err; } behalf[] = {
        {"AZ/GOV/MOE", EHIS_OK}, {"AZ/GOV/MOE/other", EHIS_OK}, {"AZ/gw1", EHIS_E_SDK_MESSAGE}, {"AZ/GOV/MOE/other/svc", EHIS_E_SDK_MESSAGE}, {"AZ", EHIS_E_IDENTIFIER_INVALID}};
    for (size_t i = 0; i < sizeof behalf / sizeof *behalf; i++) {
        m = message("pin");
        m.on_behalf_of = behalf[i].name;
        assert_int_equal(message_check(c.e, &m, false, NULL), behalf[i].err);
    }
    m = message("pin");
    m.lifetime_ms = 300001;
    assert_int_equal(ehis_call_start(c.e, &m, on_done, NULL, NULL, why), EHIS_E_SDK_MESSAGE);
    m = message("pin");
    m.size = 8;
    assert_int_equal(ehis_call_start(c.e, &m, on_done, NULL, NULL, why), EHIS_E_SDK_MESSAGE);
    sim_client_fini(&c);
}

/* ---- events ---- */

static void on_published(struct ehis *e, struct draft *d, ehis_err err, const struct ehis_why *why, struct span envelope)
{
    (void)why;
    assert_int_equal(err, EHIS_OK);
    assert_int_equal(drafts_keep(e, d, envelope), EHIS_OK);
    draft_free(d);
}

static void publish(const char *body)
{
    ehis_message m = message(body);
    struct draft *d;
    m.operation = "PersonChanged";
    m.purpose = m.legal_basis = NULL;
    assert_int_equal(message_draft(c.e, &m, KIND_EVENT, 60000, &d, NULL), EHIS_OK);
    d->class_ = OUT_EVENTS;
    d->on_made = on_published;
    drafts_add(c.e, d);
    sim_client_turn(&c);
}

static void open_stream(void)
{
    struct sim_frame f;
    struct stream_open o;
    struct buf b;
    if (!sim_client_take(&c, FRAME_STREAM_OPEN, &f))
        return;
    assert_int_equal(stream_open_read(span_of(f.p, f.len), &o, NULL), EHIS_OK);
    struct stream_state s = {.expected = o.lowest};
    memcpy(s.stream, o.stream, 16);
    buf_init(&b, 64);
    assert_int_equal(stream_state_write(&s, &b), EHIS_OK);
    free(f.p);
    assert_int_equal(sim_client_frame(&c, FRAME_STREAM_STATE, buf_span(&b)), EHIS_OK);
    buf_fini(&b);
}

/* The next envelope that is submitted; accepted at once. */
static struct envelope_header submitted(enum envelope_kind kind, uint8_t epoch[16], size_t *wraps)
{
    struct sim_frame f;
    struct envelope env;
    struct envelope_header h;
    struct hash d;
    size_t at = 0;
    struct key_wrap w;
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    sim_read_submit(&f, &env, &h, &d);
    assert_int_equal(h.kind, kind);
    memcpy(epoch, h.seal.epoch.p, 16);
    for (*wraps = 0; kind == KIND_KEY && key_wraps_next(env.sealed, &at, &w); (*wraps)++)
        ;
    assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_ACCEPTED, 0), EHIS_OK);
    free(f.p);
    return h;
}

static void a_key_goes_before_the_first_event_of_an_epoch_which_ends_with_the_circle_of_receivers_and_the_hour(void **state)
{
    uint8_t first[16], epoch[16];
    size_t wraps;
    (void)state;
    provider();
    publish("one");
    publish("two");
    open_stream();
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 1); /* the events wait for their key */
    submitted(KIND_KEY, first, &wraps);
    assert_int_equal(wraps, 1);
    submitted(KIND_EVENT, epoch, &wraps);
    assert_memory_equal(epoch, first, 16);
    submitted(KIND_EVENT, epoch, &wraps);
    assert_memory_equal(epoch, first, 16);
    struct test_rule more = {.id = "R-9", .consumers = SIM_OTHER, .operations = "PersonChanged", .purposes = "tax", .legal_bases = "Law 23"};
    test_registry_rule(c.registry, SIM_PERSON, &more);
    assert_int_equal(sim_client_registry(&c), EHIS_OK);
    struct ready_state ready = {.has_streams = true};
    struct buf b;
    buf_init(&b, 64);
    assert_int_equal(ready_state_write(&ready, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_READY_STATE, buf_span(&b)), EHIS_OK);
    publish("three");
    submitted(KIND_KEY, epoch, &wraps);
    assert_int_equal(wraps, 2);
    assert_memory_not_equal(epoch, first, 16);
    memcpy(first, epoch, 16);
    submitted(KIND_EVENT, epoch, &wraps);
    assert_memory_equal(epoch, first, 16);
    test_registry_new_key(c.registry, SIM_TAX, USE_SEAL, c.clock.wall_ms - 1);
    sim_clock_advance_ms(&c.clock, 3600001);
    publish("four");
    submitted(KIND_KEY, epoch, &wraps);
    assert_memory_not_equal(epoch, first, 16);
    buf_fini(&b);
    sim_client_fini(&c);
}

static void event_of(struct buf *out, uint64_t number, const uint8_t epoch[16])
{
    static const uint8_t stream[16] = {4};
    struct hash d;
    struct envelope_header h = {.kind = KIND_EVENT, .recipient = span_str(SIM_PERSON), .operation = span_str("PersonChanged"),
                                .stream = span_of(stream, 16), .number = number, .seal = {.epoch = span_of(epoch, 16)}};
    sim_envelope(&c, SIM_POPULATION, &h, "changed", out, &d);
}

static void an_event_whose_key_is_missing_waits_for_it_and_a_key_that_another_signed_does_not_count(void **state)
{
    uint8_t epoch[16] = {3}, never[16] = {9};
    struct buf e;
    struct sim_frame f;
    struct keys_get get;
    uint32_t code = 0;
    (void)state;
    consumer();
    buf_init(&e, 1 << 20);
    assert_int_equal(ehis_subscribe(c.e, SIM_PERSON, "PersonChanged", on_message, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
    assert_int_equal(sim_client_count(&c, FRAME_SUBSCRIBE), 1);
    event_of(&e, 1, epoch);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(handed(), 0);
    assert_true(sim_client_take(&c, FRAME_KEYS_GET, &f));
    assert_int_equal(keys_get_read(span_of(f.p, f.len), &get, NULL), EHIS_OK);
    assert_memory_equal(get.epoch, epoch, 16);
    free(f.p);
    assert_int_not_equal(sim_keys(&c, SIM_OTHER, SIM_PERSON, "PersonChanged", epoch, SIM_TAX), EHIS_E_FRAME_UNKNOWN);
    assert_int_equal(handed(), 0);
    assert_int_equal(sim_keys(&c, SIM_POPULATION, SIM_PERSON, "PersonChanged", epoch, SIM_POPULATION), EHIS_OK); /* for somebody else */
    assert_int_equal(handed(), 0);
    assert_int_equal(sim_keys(&c, SIM_POPULATION, SIM_PERSON, "PersonChanged", epoch, SIM_TAX), EHIS_OK);
    assert_int_equal(handed(), 1);
    size_t n;
    assert_memory_equal(ehis_incoming_body(got[0], &n), "changed", 7);
    ehis_done(got[0]);
    handed();
    assert_int_equal(ack_of(1, &code), OUTCOME_DONE);
    event_of(&e, 2, never);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    sim_client_pass_ms(&c, HELD_MS + 200);
    assert_int_equal(ack_of(2, &code), OUTCOME_RETRY);
    assert_int_equal(code, EHIS_E_TOPIC_KEY_MISSING);
    buf_fini(&e);
    sim_client_fini(&c);
}

static void a_subscription_that_an_out_of_date_gateway_refuses_is_asked_for_again(void **state)
{
    struct ready_state ready = {.code = EHIS_E_CRL_STALE, .retry_ms = 1000};
    struct buf b;
    (void)state;
    consumer();
    buf_init(&b, 4096);
    assert_int_equal(ehis_subscribe(c.e, SIM_PERSON, "PersonChanged", on_message, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
    struct sim_frame f;
    assert_true(sim_client_take(&c, FRAME_SUBSCRIBE, &f));
    free(f.p);
    struct subscription refused = {.service = span_str(SIM_PERSON), .event = span_str("PersonChanged"), .code = EHIS_E_CRL_STALE};
    assert_int_equal(subscription_write(&refused, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_SUBSCRIPTION, buf_span(&b)), EHIS_OK);
    buf_clear(&b);
    assert_int_equal(ready_state_write(&ready, &b), EHIS_OK); /* and what is under way still comes */
    assert_int_equal(sim_client_frame(&c, FRAME_READY_STATE, buf_span(&b)), EHIS_OK);
    buf_clear(&b);
    assert_int_equal(subscription_write(&refused, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_SUBSCRIPTION, buf_span(&b)), EHIS_OK);
    assert_int_equal(sim_client_count(&c, FRAME_SUBSCRIBE), 0);
    sim_client_pass_ms(&c, 1100);
    assert_int_equal(sim_client_count(&c, FRAME_CRL_GET), 1);
    assert_int_equal(sim_client_registry(&c), EHIS_OK);
    buf_clear(&b);
    assert_int_equal(crl_write(&(struct crl){.der = pki_trust_crl_bundle(c.e->trust)}, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_CRL, buf_span(&b)), EHIS_OK);
    assert_true(sim_client_take(&c, FRAME_READY, &f));
    free(f.p);
    buf_clear(&b);
    ready = (struct ready_state){.has_streams = true};
    assert_int_equal(ready_state_write(&ready, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_READY_STATE, buf_span(&b)), EHIS_OK);
    assert_int_equal(sim_client_count(&c, FRAME_SUBSCRIBE), 1);
    buf_fini(&b);
    sim_client_fini(&c);
}

static ehis_receipt told;
static void on_receipt(void *arg, const ehis_receipt *r)
{
    (void)arg;
    told = *r;
}

static void on_twice(struct ehis *e, struct draft *d, ehis_err err, const struct ehis_why *why, struct span envelope)
{
    (void)why;
    assert_true(err == EHIS_OK || err == EHIS_E_EXISTS);
    if (err == EHIS_OK)
        assert_int_equal(drafts_keep(e, d, envelope), EHIS_OK);
    *(ehis_err *)d->owner = err;
    draft_free(d);
}

static void what_comes_out_of_a_queue_with_a_sequence_that_was_kept_is_not_sent_again(void **state)
{
    static const uint64_t sequences[] = {7, 7, 9, 8, 10};
    static const ehis_err expected[] = {EHIS_OK, EHIS_E_EXISTS, EHIS_OK, EHIS_E_EXISTS, EHIS_OK};
    ehis_err err[5];
    ehis_message m = message("x");
    struct draft *d;
    (void)state;
    provider();
    m.operation = "PersonChanged";
    m.purpose = m.legal_basis = NULL;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(message_draft(c.e, &m, KIND_EVENT, 60000, &d, NULL), EHIS_OK);
        d->class_ = OUT_EVENTS;
        d->sequence = sequences[i];
        d->on_made = on_twice;
        d->owner = &err[i];
        drafts_add(c.e, d);
        if (i == 3)
            sim_client_turn(&c);
    }
    sim_client_turn(&c);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(err[i], expected[i]);
    assert_int_equal(outbox_streams(c.e->outbox)->next_number, 4);
    sim_client_fini(&c);
}

static void a_stream_that_the_gateway_knows_better_than_its_folder_is_given_up_and_the_application_told(void **state)
{
    struct sim_frame f;
    struct stream_open o;
    struct buf b;
    (void)state;
    provider();
    ehis_on_receipt(c.e, on_receipt, NULL);
    publish("one");
    assert_true(sim_client_take(&c, FRAME_STREAM_OPEN, &f));
    assert_int_equal(stream_open_read(span_of(f.p, f.len), &o, NULL), EHIS_OK);
    struct stream_state s = {.expected = 1000};
    memcpy(s.stream, o.stream, 16);
    buf_init(&b, 64);
    assert_int_equal(stream_state_write(&s, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_STREAM_STATE, buf_span(&b)), EHIS_OK);
    handed();
    assert_int_equal(told.state, EHIS_FAILED);
    assert_int_equal(told.code, EHIS_E_STATE_BEHIND);
    uint64_t messages, bytes;
    outbox_count(c.e->outbox, &messages, &bytes);
    assert_int_equal(messages, 0);
    assert_int_equal(bytes, 0);
    publish("two"); /* in a new stream */
    free(f.p);
    assert_true(sim_client_take(&c, FRAME_STREAM_OPEN, &f));
    assert_int_equal(stream_open_read(span_of(f.p, f.len), &o, NULL), EHIS_OK);
    assert_memory_not_equal(o.stream, s.stream, 16);
    free(f.p);
    buf_fini(&b);
    sim_client_fini(&c);
}

static void numbered(struct buf *out, uint64_t number, const char *operation)
{
    static const uint8_t stream[16] = {6};
    struct hash d;
    struct envelope_header h = {.kind = KIND_REQUEST, .recipient = span_str(SIM_PERSON), .operation = span_str(operation), .purpose = span_str("tax"),
                                .legal_basis = span_str("Law 23"), .stream = span_of(stream, 16), .number = number};
    sim_envelope(&c, SIM_TAX, &h, "pin", out, &d);
}

static void a_message_that_nobody_takes_yet_is_given_back_with_what_is_behind_it_and_asked_for_by_READY(void **state)
{
    struct buf e;
    uint32_t code = 0;
    (void)state;
    got_count = 0;
    buf_init(&e, 1 << 20);
    sim_client_init(&c, SIM_POPULATION, NULL);
    assert_int_equal(ehis_serve(c.e, SIM_PERSON, "Other", on_message, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
    sim_client_connect(&c);
    for (uint64_t n = 1; n <= 3; n++) {
        numbered(&e, n < 3 ? n : 1, "GetPerson");
        assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
        if (n == 3)
            break;
        assert_int_equal(handed(), 0);
        assert_int_equal(ack_of(n, &code), OUTCOME_RETRY);
        assert_int_equal(code, EHIS_E_SDK_NO_HANDLER);
    }
    assert_int_equal(ehis_serve(c.e, SIM_PERSON, "GetPerson", on_message, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
    assert_int_equal(ack_of(3, &code), OUTCOME_RETRY); /* before READY */
    assert_true(sim_client_count(&c, FRAME_READY) > 0);
    for (uint64_t n = 1; n <= 2; n++) {
        numbered(&e, n, "GetPerson");
        assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    }
    assert_int_equal(handed(), 1);
    assert_int_equal(ehis_incoming_info(got[0])->number, 1);
    assert_false(ehis_incoming_info(got[0])->is_repeated);
    assert_int_equal(sim_client_count(&c, FRAME_ACK), 0);
    ehis_reject(got[0], EHIS_E_SDK_REJECTED);
    handed();
    assert_int_equal(handed(), 2);
    sim_client_pass_ms(&c, 10);
    assert_int_equal(ack_of(4, &code), OUTCOME_REJECTED);
    ehis_reject(got[1], EHIS_E_SDK_REJECTED);
    handed();
    buf_fini(&e);
    sim_client_fini(&c);
}

static void the_next_of_a_stream_is_handed_over_before_the_one_that_is_finished_is_recorded_and_acknowledged(void **state)
{
    struct buf e;
    uint32_t code = 0;
    (void)state;
    provider();
    buf_init(&e, 1 << 20);
    for (uint64_t n = 1; n <= 3; n++) {
        numbered(&e, n, "GetPerson");
        assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    }
    assert_int_equal(handed(), 1);
    uint64_t flushes = sim_disk_count(c.disk, SIM_SYNC);
    ehis_reject(got[0], EHIS_E_SDK_REJECTED);
    assert_int_equal(handed(), 1);
    assert_int_equal(handed(), 2);
    ehis_reject(got[1], EHIS_E_SDK_REJECTED);
    handed();
    assert_int_equal(handed(), 3);
    assert_int_equal(sim_disk_count(c.disk, SIM_SYNC), flushes);
    assert_int_equal(sim_client_count(&c, FRAME_ACK), 0);
    ehis_reject(got[2], EHIS_E_SDK_REJECTED); /* nothing runs any more: all are acknowledged */
    handed();
    assert_int_equal(sim_disk_count(c.disk, SIM_SYNC), flushes + 1);
    assert_int_equal(sim_client_count(&c, FRAME_ACK), 1);
    assert_int_equal(ack_of(2, &code), OUTCOME_REJECTED);
    /* A slow handler of another stream does not hold acknowledgements up. */
    for (uint64_t n = 4; n <= 5; n++) {
        numbered(&e, n, "GetPerson");
        assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    }
    assert_int_equal(handed(), 4);
    ehis_reject(got[3], EHIS_E_SDK_REJECTED);
    handed();
    assert_int_equal(handed(), 5);
    assert_int_equal(sim_client_count(&c, FRAME_ACK), 0);
    sim_client_pass_ms(&c, 100);
    assert_int_equal(ack_of(4, &code), OUTCOME_REJECTED);
    buf_fini(&e);
    sim_client_fini(&c);
}

static void past_its_registry_nothing_is_done_but_fetching(void **state)
{
    ehis_status status = {.size = sizeof status};
    (void)state;
    provider();
    sim_clock_advance_ms(&c.clock, 34ll * 86400000); /* 30 days and 3 of grace */
    sim_client_pass_ms(&c, 100);
    ehis_get_status(c.e, &status);
    assert_true(status.last_error == EHIS_E_REGISTRY_EXPIRED || status.last_error == EHIS_E_CRL_EXPIRED || status.last_error == EHIS_E_CERT_EXPIRED);
    sim_client_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        cmocka_unit_test(a_call_repeats_its_bytes_after_busy_and_a_lost_session_and_ends_once),
        cmocka_unit_test(a_call_without_an_answer_ends_with_its_lifetime_and_one_without_a_gateway_says_why),
        cmocka_unit_test(a_response_of_another_than_was_asked_or_to_nothing_is_not_taken),
        cmocka_unit_test(a_receipt_that_the_gateway_has_not_signed_ends_the_session),
        cmocka_unit_test(what_waits_in_one_turn_is_signed_once),
        cmocka_unit_test(a_seal_context_is_used_for_an_hour_and_then_made_new),
        cmocka_unit_test(a_key_goes_before_the_first_event_of_an_epoch_which_ends_with_the_circle_of_receivers_and_the_hour),
        cmocka_unit_test(an_event_whose_key_is_missing_waits_for_it_and_a_key_that_another_signed_does_not_count),
        cmocka_unit_test(a_subscription_that_an_out_of_date_gateway_refuses_is_asked_for_again),
        cmocka_unit_test(what_comes_out_of_a_queue_with_a_sequence_that_was_kept_is_not_sent_again),
        cmocka_unit_test(a_stream_that_the_gateway_knows_better_than_its_folder_is_given_up_and_the_application_told),
        cmocka_unit_test(a_message_that_nobody_takes_yet_is_given_back_with_what_is_behind_it_and_asked_for_by_READY),
        cmocka_unit_test(the_next_of_a_stream_is_handed_over_before_the_one_that_is_finished_is_recorded_and_acknowledged),
        cmocka_unit_test(past_its_registry_nothing_is_done_but_fetching),
        cmocka_unit_test(a_message_of_another_shape_than_is_allowed_is_refused_before_anything_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
