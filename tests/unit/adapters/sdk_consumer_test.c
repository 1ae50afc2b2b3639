/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The client as a caller, against a gateway that is played by the test: what it repeats, what it takes for an answer, what it signs and seals. */
#include "tests/support/sim_application.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sim_client c;

static void a_call_repeats_its_bytes_after_busy_and_a_lost_session_and_ends_once(void **state)
{
    struct sim_ended x;
    struct sim_frame first, f;
    struct envelope env;
    struct envelope_header h;
    struct hash d;
    struct buf b;
    (void)state;
    sim_consumer(&c);
    buf_init(&b, 1 << 20);
    sim_call(&c, &x);
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
    assert_int_equal(sim_ack_of(&c, c.delivery[c.at], &code), OUTCOME_REJECTED);
    assert_int_equal(code, EHIS_E_EXCHANGE_RESPONSE_LATE);
    buf_clear(&b);
    sim_envelope(&c, SIM_POPULATION, &r, "found", &b, &rd);
    assert_int_equal(sim_deliver(&c, buf_span(&b), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_deliver(&c, buf_span(&b), 1, c.clock.wall_ms), EHIS_OK);
    sim_handed(&c);
    assert_int_equal(x.count, 1);
    assert_int_equal(x.err, EHIS_OK);
    assert_string_equal(x.body, "found");
    free(first.p);
    buf_fini(&b);
    sim_client_fini(&c);
}

static void a_call_without_an_answer_ends_with_its_lifetime_and_one_without_a_gateway_says_why(void **state)
{
    struct sim_ended x;
    (void)state;
    sim_consumer(&c);
    sim_call(&c, &x);
    sim_client_pass_ms(&c, 29000);
    sim_handed(&c);
    assert_int_equal(x.count, 0);
    sim_client_pass_ms(&c, 1100);
    sim_handed(&c);
    assert_int_equal(x.count, 1);
    assert_int_equal(x.err, EHIS_E_EXCHANGE_EXPIRED);
    sim_client_disconnect(&c);
    sim_call(&c, &x);
    sim_client_pass_ms(&c, 30100);
    sim_handed(&c);
    assert_int_equal(x.err, EHIS_E_SDK_NOT_READY);
    sim_client_fini(&c);
}

static void a_response_of_another_than_was_asked_or_to_nothing_is_not_taken(void **state)
{
    struct sim_ended x;
    struct sim_frame f;
    struct envelope env;
    struct envelope_header h;
    struct hash d, rd;
    struct buf b;
    uint32_t code;
    (void)state;
    sim_consumer(&c);
    buf_init(&b, 1 << 20);
    sim_call(&c, &x);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    sim_read_submit(&f, &env, &h, &d);
    struct envelope_header r = {.kind = KIND_RESPONSE, .status = STATUS_OK, .recipient = span_str(SIM_TAX), .operation = span_str("GetPerson"),
                                .in_reply_to = span_of(d.b, 32)};
    struct envelope_header to_nothing = r;
    uint8_t unknown[32] = {5};
    to_nothing.in_reply_to = span_of(unknown, 32);
    sim_envelope(&c, SIM_POPULATION, &to_nothing, "x", &b, &rd);
    assert_int_equal(sim_deliver(&c, buf_span(&b), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_ack_of(&c, c.delivery[c.at], &code), OUTCOME_REJECTED);
    assert_int_equal(code, EHIS_E_EXCHANGE_NOT_A_REPLY);
    memcpy(r.exchange_id, h.exchange_id, 16);
    sim_envelope(&c, SIM_TAX, &r, "x", &b, &rd); /* from ourselves, by a gateway's game */
    assert_int_equal(sim_deliver(&c, buf_span(&b), 1, c.clock.wall_ms), EHIS_OK);
    sim_handed(&c);
    assert_int_equal(x.count, 0);
    free(f.p);
    buf_fini(&b);
    sim_client_fini(&c);
}

static void a_receipt_that_the_gateway_has_not_signed_ends_the_session(void **state)
{
    struct sim_ended x;
    struct sim_frame f;
    struct envelope env;
    struct envelope_header h;
    struct hash d;
    (void)state;
    sim_consumer(&c);
    sim_call(&c, &x);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    sim_read_submit(&f, &env, &h, &d);
    test_registry_revoke(c.registry, SIM_GATEWAY, USE_SIGN, c.clock.wall_ms - 1);
    assert_int_equal(sim_client_registry(&c), EHIS_OK);
    assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_FAILED, 5066), EHIS_E_KEY_REVOKED);
    sim_handed(&c);
    assert_int_equal(x.count, 0); /* it does not end the call */
    free(f.p);
    sim_client_fini(&c);
}

static void what_waits_in_one_turn_is_signed_once(void **state)
{
    struct sim_ended x[50];
    struct sim_frame f;
    struct envelope env;
    struct envelope_header h;
    struct hash d, first_root;
    uint8_t first_signature[64];
    ehis_message m = sim_message("pin");
    (void)state;
    sim_consumer(&c);
    for (int i = 0; i < 50; i++) {
        x[i] = (struct sim_ended){0};
        assert_int_equal(ehis_call_start(c.e, &m, sim_on_done, &x[i], NULL, NULL), EHIS_OK);
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
        if (i == 0) {
            first_root = root;
            memcpy(first_signature, env.signature.signature, sizeof first_signature);
        }
        assert_memory_equal(first_root.b, root.b, HASH_BYTES);
        assert_memory_equal(first_signature, env.signature.signature, sizeof first_signature);
        free(f.p);
    }
    sim_client_fini(&c);
}

static void a_seal_context_is_used_for_an_hour_and_then_made_new(void **state)
{
    struct sim_ended x;
    struct sim_frame f;
    struct envelope env;
    struct envelope_header h;
    struct hash d;
    uint8_t ephemeral[32];
    (void)state;
    sim_consumer(&c);
    sim_call(&c, &x);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    sim_read_submit(&f, &env, &h, &d);
    memcpy(ephemeral, h.seal.ephemeral.p, 32);
    free(f.p);
    struct sim_ended y;
    sim_call(&c, &y);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    sim_read_submit(&f, &env, &h, &d);
    assert_memory_equal(ephemeral, h.seal.ephemeral.p, 32);
    free(f.p);
    sim_clock_advance_ms(&c.clock, 3601000);
    sim_client_pass_ms(&c, 200); /* both calls end */
    struct sim_ended z;
    sim_call(&c, &z);
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
    sim_consumer(&c);
    memset(long_text, 'x', sizeof long_text);
    ehis_message m = sim_message("pin");
    m.purpose = NULL;
    assert_int_equal(ehis_call_start(c.e, &m, sim_on_done, NULL, NULL, why), EHIS_E_SDK_MESSAGE);
    m = sim_message("pin");
    long_text[65] = 0;
    m.purpose = long_text;
    assert_int_equal(ehis_call_start(c.e, &m, sim_on_done, NULL, NULL, why), EHIS_E_SDK_MESSAGE);
    long_text[64] = 0;
    struct sim_ended x = {0};
    assert_int_equal(ehis_call_start(c.e, &m, sim_on_done, &x, NULL, why), EHIS_OK);
    m = sim_message("pin");
    m.service = "AZ/GOV/MIA/population";
    assert_int_equal(ehis_call_start(c.e, &m, sim_on_done, NULL, NULL, why), EHIS_E_IDENTIFIER_INVALID);
    static const struct { const char *name; ehis_err err; } behalf[] = {
        {"AZ/GOV/MOE", EHIS_OK}, {"AZ/GOV/MOE/other", EHIS_OK}, {"AZ/gw1", EHIS_E_SDK_MESSAGE}, {"AZ/GOV/MOE/other/svc", EHIS_E_SDK_MESSAGE}, {"AZ", EHIS_E_IDENTIFIER_INVALID}};
    for (size_t i = 0; i < sizeof behalf / sizeof *behalf; i++) {
        m = sim_message("pin");
        m.on_behalf_of = behalf[i].name;
        assert_int_equal(message_check(c.e, &m, false, NULL), behalf[i].err);
    }
    m = sim_message("pin");
    m.lifetime_ms = 300001;
    assert_int_equal(ehis_call_start(c.e, &m, sim_on_done, NULL, NULL, why), EHIS_E_SDK_MESSAGE);
    m = sim_message("pin");
    m.size = 8;
    assert_int_equal(ehis_call_start(c.e, &m, sim_on_done, NULL, NULL, why), EHIS_E_SDK_MESSAGE);
    sim_client_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_repeats_its_bytes_after_busy_and_a_lost_session_and_ends_once),
        cmocka_unit_test(a_call_without_an_answer_ends_with_its_lifetime_and_one_without_a_gateway_says_why),
        cmocka_unit_test(a_response_of_another_than_was_asked_or_to_nothing_is_not_taken),
        cmocka_unit_test(a_receipt_that_the_gateway_has_not_signed_ends_the_session),
        cmocka_unit_test(what_waits_in_one_turn_is_signed_once),
        cmocka_unit_test(a_seal_context_is_used_for_an_hour_and_then_made_new),
        cmocka_unit_test(a_message_of_another_shape_than_is_allowed_is_refused_before_anything_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
