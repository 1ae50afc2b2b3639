/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The client's streams between two gateways, both played by the test: nothing is lost or done twice, whichever of them goes. */
#include "tests/support/sim_application.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sim_client c;

/* A stream whose only message the first gateway has and has said so much of; then it is gone. */
static struct hash begin_with_one_that_the_first_has(uint8_t state)
{
    struct hash d;
    sim_begin_two(&c, SIM_TAX, true);
    sim_send_one(&c);
    assert_int_equal(sim_open_stream(&c, 1), 1);
    assert_int_equal(sim_submitted(&c, &d, NULL), 1);
    assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, state, 0), EHIS_OK);
    sim_leave(&c, 0);
    return d;
}

static void a_stream_lives_at_the_first_gateway_and_goes_on_at_the_other_with_the_same_bytes(void **state)
{
    struct hash d[4], again;
    struct sim_frame first, second;
    (void)state;
    sim_begin_two(&c, SIM_TAX, true);
    for (int i = 0; i < 3; i++)
        sim_send_one(&c);
    assert_int_equal(sim_open_stream(&c, 1), 1);
    assert_int_equal(sim_submitted(&c, &d[1], NULL), 1);
    assert_int_equal(sim_submitted(&c, &d[2], &first), 2);
    assert_int_equal(sim_submitted(&c, &d[3], NULL), 3);
    assert_int_equal(sim_receipt(&c, &d[1], SIM_PERSON, STATE_REPLICATED, 0), EHIS_OK);
    assert_int_equal(sim_receipt(&c, &d[2], SIM_PERSON, STATE_ACCEPTED, 0), EHIS_OK); /* not enough where gateways replicate */
    c.at = 1;
    assert_int_equal(sim_client_count(&c, FRAME_STREAM_OPEN), 0);
    sim_leave(&c, 0);
    c.at = 1;
    assert_int_equal(sim_open_stream(&c, 1), 2); /* the first lacks its final receipt, but its bytes are gone: this gateway cannot have it */
    assert_int_equal(c.opened_lowest, 1);
    assert_int_equal(sim_submitted(&c, &again, &second), 2);
    assert_memory_equal(again.b, d[2].b, 32);
    assert_int_equal(second.len, first.len);
    assert_memory_equal(second.p, first.p, first.len);
    assert_int_equal(sim_submitted(&c, &again, NULL), 3);
    sim_come(&c, 0); /* the first is back: the stream stays where it is */
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    sim_send_one(&c);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    c.at = 1;
    assert_int_equal(sim_submitted(&c, &again, NULL), 4);
    free(first.p);
    free(second.p);
    sim_client_fini(&c);
}

static void receipts_of_the_gateway_that_accepted_are_heard_when_it_is_back_and_settled_there(void **state)
{
    (void)state;
    struct hash first = begin_with_one_that_the_first_has(STATE_REPLICATED), second;
    sim_send_one(&c);
    c.at = 1;
    assert_int_equal(sim_open_stream(&c, 1), 2);
    assert_int_equal(sim_submitted(&c, &second, NULL), 2);
    assert_int_equal(sim_receipt(&c, &second, SIM_PERSON, STATE_REPLICATED, 0), EHIS_OK);
    sim_come(&c, 0);
    assert_int_equal(sim_open_stream(&c, 2), 1);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    sim_handed(&c);
    c.told_count = 0;
    assert_int_equal(sim_receipt(&c, &first, SIM_PERSON, STATE_DELIVERED, 0), EHIS_OK);
    sim_handed(&c);
    assert_int_equal(c.told_count, 1);
    assert_int_equal(c.told[0].state, EHIS_DELIVERED);
    sim_client_turn(&c);
    assert_int_equal(sim_client_count(&c, FRAME_STREAM_SETTLED), 1);
    c.at = 1;
    assert_int_equal(sim_receipt(&c, &second, SIM_PERSON, STATE_DELIVERED, 0), EHIS_OK);
    sim_handed(&c);
    assert_int_equal(c.told_count, 2);
    uint64_t messages, bytes;
    outbox_count(c.e->outbox, &messages, &bytes);
    assert_int_equal(messages, 0);
    sim_client_fini(&c);
}

static void a_gateway_that_may_not_have_heard_what_is_settled_is_told_when_it_is_back_though_nothing_is_left_of_the_stream(void **state)
{
    (void)state;
    for (size_t gateways = 1; gateways <= 2; gateways++) {
        struct hash d;
        sim_client_init(&c, SIM_TAX, &(ehis_config){.gateway_count = gateways});
        c.at = 0;
        sim_client_connect(&c);
        sim_send_one(&c);
        assert_int_equal(sim_open_stream(&c, 1), 1);
        assert_int_equal(sim_submitted(&c, &d, NULL), 1);
        assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_DELIVERED, 0), EHIS_OK);
        sim_client_turn(&c);
        assert_int_equal(sim_client_count(&c, FRAME_STREAM_SETTLED), 1); /* and it is killed before this is on its disk */
        sim_leave(&c, 0);
        sim_come(&c, 0);
        assert_int_equal(sim_answer_open(&c, 0, EHIS_E_EXCHANGE_BUSY), 2);
        sim_client_pass_ms(&c, 5100);
        assert_int_equal(sim_open_stream(&c, 1), 2);
        assert_int_equal(c.opened_lowest, 2);
        sim_leave(&c, 0);
        sim_come(&c, 0);
        assert_int_equal(sim_client_count(&c, FRAME_STREAM_OPEN), 0); /* once is enough */
        sim_send_one(&c);
        assert_int_equal(sim_open_stream(&c, 2), 2);
        assert_int_equal(sim_submitted(&c, &d, NULL), 2);
        sim_client_fini(&c);
    }
}

static void who_may_not_be_heard_now_is_asked_again_and_nothing_is_settled_before_it_answers(void **state)
{
    (void)state;
    struct hash d = begin_with_one_that_the_first_has(STATE_REPLICATED);
    sim_send_one(&c);
    c.at = 1;
    assert_int_equal(sim_open_stream(&c, 1), 2);
    sim_come(&c, 0);
    assert_int_equal(sim_answer_open(&c, 1, EHIS_E_CRL_STALE), 1);
    sim_client_pass_ms(&c, 4900);
    assert_int_equal(sim_client_count(&c, FRAME_STREAM_OPEN) + sim_client_count(&c, FRAME_STREAM_SETTLED), 0);
    sim_client_pass_ms(&c, 200);
    assert_int_equal(sim_client_count(&c, FRAME_STREAM_OPEN), 1);
    assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_DELIVERED, 0), EHIS_OK);
    sim_handed(&c);
    sim_client_turn(&c);
    assert_int_equal(sim_client_count(&c, FRAME_STREAM_SETTLED), 0); /* not open as far as is known */
    assert_int_equal(sim_open_stream(&c, 1), 1);
    sim_client_turn(&c);
    assert_int_equal(sim_client_count(&c, FRAME_STREAM_SETTLED), 1);
    sim_client_fini(&c);
}

static void what_a_gateway_took_with_it_for_good_is_told_to_be_untold(void **state)
{
    struct hash d[3];
    uint64_t messages, bytes;
    (void)state;
    sim_begin_two(&c, SIM_TAX, true);
    for (int i = 1; i < 3; i++)
        sim_send_one(&c); /* for ten minutes */
    sim_open_stream(&c, 1);
    assert_int_equal(sim_submitted(&c, &d[1], NULL), 1);
    assert_int_equal(sim_submitted(&c, &d[2], NULL), 2);
    assert_int_equal(sim_receipt(&c, &d[1], SIM_PERSON, STATE_REPLICATED, 0), EHIS_OK);
    assert_int_equal(sim_receipt(&c, &d[2], SIM_PERSON, STATE_DELIVERED, 0), EHIS_OK);
    sim_leave(&c, 0);
    sim_handed(&c);
    c.told_count = 0;
    sim_clock_jump_wall_ms(&c.clock, 600000 + 86400000 - 61000);
    sim_client_pass_ms(&c, 100);
    sim_handed(&c);
    assert_int_equal(c.told_count, 0);
    sim_clock_jump_wall_ms(&c.clock, 122000);
    sim_client_pass_ms(&c, 100);
    sim_handed(&c);
    assert_int_equal(c.told_count, 1);
    assert_memory_equal(c.told[0].digest, d[1].b, 32);
    assert_int_equal(c.told[0].state, EHIS_UNTOLD);
    assert_int_equal(c.told[0].code, EHIS_E_SDK_UNTOLD);
    outbox_count(c.e->outbox, &messages, &bytes);
    assert_int_equal(messages, 0);
    sim_client_fini(&c);
}

static void a_refusal_of_one_gateway_does_not_undo_what_another_has_accepted(void **state)
{
    (void)state;
    struct hash d = begin_with_one_that_the_first_has(STATE_ACCEPTED), again;
    c.at = 1;
    assert_int_equal(sim_open_stream(&c, 1), 1);
    assert_int_equal(sim_submitted(&c, &again, NULL), 1);
    assert_memory_equal(again.b, d.b, 32);
    sim_handed(&c);
    c.told_count = 0;
    assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_REFUSED, EHIS_E_POLICY_PURPOSE), EHIS_OK);
    sim_handed(&c);
    assert_int_equal(c.told_count, 0);
    sim_come(&c, 0);
    assert_int_equal(sim_open_stream(&c, 2), 1);
    assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_DELIVERED, 0), EHIS_OK);
    sim_handed(&c);
    assert_int_equal(c.told_count, 1);
    assert_int_equal(c.told[0].state, EHIS_DELIVERED);
    sim_client_fini(&c);
}

static void a_gateway_that_leaves_or_is_behind_gives_its_streams_to_the_other_at_once(void **state)
{
    struct goodbye g = {.code = 0};
    struct hash d, again;
    struct buf b;
    (void)state;
    sim_begin_two(&c, SIM_TAX, false);
    buf_init(&b, 4096);
    sim_send_one(&c);
    sim_open_stream(&c, 1);
    assert_int_equal(sim_submitted(&c, &d, NULL), 1);
    assert_int_equal(goodbye_write(&g, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_GOODBYE, buf_span(&b)), EHIS_OK);
    c.at = 1;
    assert_int_equal(sim_open_stream(&c, 1), 1);
    assert_int_equal(sim_submitted(&c, &again, NULL), 1);
    assert_memory_equal(d.b, again.b, 32);
    c.at = 0;
    sim_client_disconnect(&c);
    sim_come(&c, 0);
    c.at = 1;
    struct flow f = {.code = EHIS_E_EXCHANGE_REGISTRY_BEHIND, .retry_ms = 1000, .expected = 1};
    memcpy(f.digest, d.b, 32);
    buf_clear(&b);
    assert_int_equal(flow_write(&f, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_FLOW, buf_span(&b)), EHIS_OK);
    c.at = 0;
    assert_int_equal(sim_open_stream(&c, 1), 1);
    assert_int_equal(sim_submitted(&c, &again, NULL), 1);
    assert_memory_equal(d.b, again.b, 32);
    buf_fini(&b);
    sim_client_fini(&c);
}

/* By the word of the gateway where it was before: what is under way at the new one holds no place in its window. */
static void what_ends_elsewhere_while_it_is_under_way_leaves_the_window_whole(void **state)
{
    struct hash d, again;
    (void)state;
    sim_begin_two(&c, SIM_TAX, true);
    sim_send_one(&c);
    sim_open_stream(&c, 1);
    assert_int_equal(sim_submitted(&c, &d, NULL), 1);
    assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_ACCEPTED, 0), EHIS_OK);
    sim_leave(&c, 0);
    c.at = 1;
    sim_open_stream(&c, 1);
    assert_int_equal(sim_submitted(&c, &again, NULL), 1);
    assert_int_equal(c.e->sessions[1].unanswered, 1);
    sim_come(&c, 0);
    sim_open_stream(&c, 1);
    assert_int_equal(sim_receipt(&c, &d, SIM_PERSON, STATE_DELIVERED, 0), EHIS_OK);
    sim_handed(&c);
    sim_client_turn(&c);
    assert_null(outbox_by_digest(c.e->outbox, d.b));
    assert_int_equal(c.e->sessions[1].unanswered, 0);
    assert_int_equal(c.e->sessions[1].unanswered_bytes, 0);
    sim_client_fini(&c);
}

/* The window of the gateway that it left is whole: what goes there next is not held back by what will not be answered any more. */
static void a_stream_that_leaves_takes_what_is_unanswered_with_it(void **state)
{
    struct hash d[4];
    struct buf b;
    (void)state;
    sim_begin_two(&c, SIM_TAX, false);
    buf_init(&b, 4096);
    for (int i = 0; i < 3; i++)
        sim_send_one(&c);
    sim_open_stream(&c, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sim_submitted(&c, &d[i], NULL), i + 1);
    assert_int_equal(c.e->sessions[0].unanswered, 3);
    for (int i = 0; i < 3; i++) {
        struct flow f = {.code = EHIS_E_EXCHANGE_REGISTRY_BEHIND, .retry_ms = 1000, .expected = 1};
        memcpy(f.digest, d[i].b, 32);
        buf_clear(&b);
        assert_int_equal(flow_write(&f, &b), EHIS_OK);
        assert_int_equal(sim_client_frame(&c, FRAME_FLOW, buf_span(&b)), EHIS_OK);
    }
    assert_int_equal(c.e->sessions[0].unanswered, 0);
    assert_int_equal(c.e->sessions[0].unanswered_bytes, 0);
    buf_fini(&b);
    sim_client_fini(&c);
}

static void a_pause_ends_whatever_becomes_of_the_clock(void **state)
{
    struct hash d, again;
    struct buf b;
    struct sim_ended x;
    (void)state;
    sim_begin_two(&c, SIM_TAX, false);
    sim_leave(&c, 1);
    c.at = 0;
    buf_init(&b, 4096);
    sim_send_one(&c);
    sim_open_stream(&c, 1);
    assert_int_equal(sim_submitted(&c, &d, NULL), 1);
    sim_call(&c, &x);
    assert_int_equal(sim_submitted(&c, &again, NULL), 0);
    for (int i = 0; i < 2; i++) {
        struct flow f = {.code = EHIS_E_EXCHANGE_BUSY, .retry_ms = 1000, .expected = i == 0};
        memcpy(f.digest, i == 0 ? d.b : again.b, 32);
        buf_clear(&b);
        assert_int_equal(flow_write(&f, &b), EHIS_OK);
        assert_int_equal(sim_client_frame(&c, FRAME_FLOW, buf_span(&b)), EHIS_OK);
    }
    sim_clock_jump_wall_ms(&c.clock, -3600000);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 0);
    sim_client_pass_ms(&c, 1100);
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 2);
    buf_fini(&b);
    sim_client_fini(&c);
}

static void where_both_gateways_refuse_nothing_goes_round_faster_than_they_say(void **state)
{
    struct sim_ended x = {0};
    ehis_message m = sim_message("pin");
    struct hash d;
    struct buf b;
    unsigned submits = 0;
    (void)state;
    sim_begin_two(&c, SIM_TAX, false);
    buf_init(&b, 4096);
    sim_send_one(&c);
    assert_int_equal(ehis_call_start(c.e, &m, sim_on_done, &x, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
    for (int turn = 0; turn < 100; turn++) { /* 10 s */
        sim_client_pass_ms(&c, 100);
        for (c.at = 0; c.at < 2; c.at++) {
            while (sim_open_stream(&c, 1))
                ;
            while (sim_submitted(&c, &d, NULL) != UINT64_MAX) {
                struct flow f = {.code = EHIS_E_EXCHANGE_REGISTRY_BEHIND, .retry_ms = 2000, .expected = 1};
                memcpy(f.digest, d.b, 32);
                buf_clear(&b);
                assert_int_equal(flow_write(&f, &b), EHIS_OK);
                assert_int_equal(sim_client_frame(&c, FRAME_FLOW, buf_span(&b)), EHIS_OK);
                submits++;
            }
        }
    }
    assert_true(submits >= 8 && submits <= 16); /* of two messages, one in 2 s, and twice at first */
    c.at = 0;
    buf_fini(&b);
    sim_client_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_lives_at_the_first_gateway_and_goes_on_at_the_other_with_the_same_bytes),
        cmocka_unit_test(receipts_of_the_gateway_that_accepted_are_heard_when_it_is_back_and_settled_there),
        cmocka_unit_test(a_gateway_that_may_not_have_heard_what_is_settled_is_told_when_it_is_back_though_nothing_is_left_of_the_stream),
        cmocka_unit_test(who_may_not_be_heard_now_is_asked_again_and_nothing_is_settled_before_it_answers),
        cmocka_unit_test(what_a_gateway_took_with_it_for_good_is_told_to_be_untold),
        cmocka_unit_test(a_refusal_of_one_gateway_does_not_undo_what_another_has_accepted),
        cmocka_unit_test(a_gateway_that_leaves_or_is_behind_gives_its_streams_to_the_other_at_once),
        cmocka_unit_test(what_ends_elsewhere_while_it_is_under_way_leaves_the_window_whole),
        cmocka_unit_test(a_stream_that_leaves_takes_what_is_unanswered_with_it),
        cmocka_unit_test(a_pause_ends_whatever_becomes_of_the_clock),
        cmocka_unit_test(where_both_gateways_refuse_nothing_goes_round_faster_than_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
