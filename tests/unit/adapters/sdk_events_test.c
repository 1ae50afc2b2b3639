/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* The client as publisher and subscriber, against a gateway that is played by the test: keys and their epochs, sequences, streams of its own. */
#include "tests/support/sim_application.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sim_client c;

static void publish(const char *body)
{
    ehis_message m = sim_message(body);
    struct draft *d;
    m.operation = "PersonChanged";
    m.purpose = m.legal_basis = NULL;
    assert_int_equal(message_draft(c.e, &m, KIND_EVENT, 60000, &d, NULL), EHIS_OK);
    d->class_ = OUT_EVENTS;
    d->on_made = sim_on_kept;
    drafts_add(c.e, d);
    sim_client_turn(&c);
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
    sim_provider(&c);
    publish("one");
    publish("two");
    sim_open_stream(&c, 0);
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

static void a_key_that_nobody_has_called_replicated_goes_again_after_a_crash_and_ends_when_somebody_does(void **state)
{
    uint8_t epoch[16], again[16];
    size_t wraps;
    struct sim_frame f;
    struct envelope env;
    struct envelope_header h;
    struct hash key;
    uint64_t messages, bytes;
    (void)state;
    sim_provider(&c);
    c.is_replicating = true;
    sim_client_disconnect(&c);
    sim_client_connect(&c);
    publish("one");
    sim_open_stream(&c, 0);
    submitted(KIND_KEY, epoch, &wraps);
    submitted(KIND_EVENT, again, &wraps);
    sim_client_restart(&c, true);
    sim_client_connect(&c);
    publish("two");
    sim_open_stream(&c, 0);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    sim_read_submit(&f, &env, &h, &key);
    assert_int_equal(h.kind, KIND_KEY);
    assert_memory_equal(h.seal.epoch.p, epoch, 16);
    free(f.p);
    outbox_count(c.e->outbox, &messages, &bytes);
    assert_int_equal(messages, 4);
    assert_int_equal(sim_receipt(&c, &key, SIM_PERSON, STATE_REPLICATED, 0), EHIS_OK);
    outbox_count(c.e->outbox, &messages, &bytes);
    assert_int_equal(messages, 3);
    sim_client_fini(&c);
}

/* Its place in the window of the gateway where it was under way is free then. */
static void a_key_that_ends_by_the_word_of_another_gateway_leaves_the_window_whole(void **state)
{
    struct sim_frame f;
    struct envelope env;
    struct envelope_header h;
    struct hash key, again;
    (void)state;
    sim_begin_two(&c, SIM_POPULATION, true);
    publish("one");
    sim_open_stream(&c, 1);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    sim_read_submit(&f, &env, &h, &key);
    free(f.p);
    assert_int_equal(h.kind, KIND_KEY);
    assert_int_equal(sim_receipt(&c, &key, SIM_PERSON, STATE_ACCEPTED, 0), EHIS_OK);
    sim_leave(&c, 0);
    c.at = 1;
    sim_open_stream(&c, 1);
    assert_true(sim_client_take(&c, FRAME_SUBMIT, &f));
    sim_read_submit(&f, &env, &h, &again);
    free(f.p);
    assert_memory_equal(again.b, key.b, 32);
    assert_int_equal(c.e->sessions[1].unanswered, 1);
    sim_come(&c, 0);
    sim_open_stream(&c, 1);
    assert_int_equal(sim_receipt(&c, &key, SIM_PERSON, STATE_REPLICATED, 0), EHIS_OK);
    sim_client_turn(&c);
    assert_null(outbox_by_digest(c.e->outbox, key.b));
    c.at = 1;
    assert_int_equal(sim_client_count(&c, FRAME_SUBMIT), 1); /* its event */
    assert_int_equal(c.e->sessions[1].unanswered, 1);
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
    sim_consumer(&c);
    buf_init(&e, 1 << 20);
    assert_int_equal(ehis_subscribe(c.e, SIM_PERSON, "PersonChanged", sim_on_message, &c, NULL), EHIS_OK);
    work_run_orders(c.e);
    assert_int_equal(sim_client_count(&c, FRAME_SUBSCRIBE), 1);
    event_of(&e, 1, epoch);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_handed(&c), 0);
    assert_true(sim_client_take(&c, FRAME_KEYS_GET, &f));
    assert_int_equal(keys_get_read(span_of(f.p, f.len), &get, NULL), EHIS_OK);
    assert_memory_equal(get.epoch, epoch, 16);
    free(f.p);
    static const char *const others[] = {SIM_OTHER, SIM_TAX};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(sim_keys(&c, others[i], SIM_PERSON, "PersonChanged", epoch, SIM_TAX), EHIS_OK); /* left aside */
        assert_int_equal(sim_handed(&c), 0);
    }
    assert_int_equal(sim_keys(&c, SIM_POPULATION, SIM_PERSON, "PersonChanged", epoch, SIM_POPULATION), EHIS_OK); /* for somebody else */
    assert_int_equal(sim_handed(&c), 0);
    assert_int_equal(sim_keys(&c, SIM_POPULATION, SIM_PERSON, "PersonChanged", epoch, SIM_TAX), EHIS_OK);
    assert_int_equal(sim_handed(&c), 1);
    size_t n;
    assert_memory_equal(ehis_incoming_body(c.got[0], &n), "changed", 7);
    ehis_done(c.got[0]);
    sim_handed(&c);
    assert_int_equal(sim_ack_of(&c, 1, &code), OUTCOME_DONE);
    event_of(&e, 2, never);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_client_count(&c, FRAME_KEYS_GET), 1);
    sim_client_pass_ms(&c, 900);
    assert_int_equal(sim_client_count(&c, FRAME_KEYS_GET), 1);
    sim_client_pass_ms(&c, 300); /* its gateway may have it by now */
    assert_int_equal(sim_client_count(&c, FRAME_KEYS_GET), 2);
    sim_client_pass_ms(&c, HELD_MS);
    assert_int_equal(sim_ack_of(&c, 2, &code), OUTCOME_RETRY);
    assert_int_equal(code, EHIS_E_TOPIC_KEY_MISSING);
    buf_fini(&e);
    sim_client_fini(&c);
}

static void a_missing_key_is_asked_for_once_a_second_whoever_waits_for_it_and_whatever_is_answered(void **state)
{
    struct buf e;
    (void)state;
    sim_consumer(&c);
    buf_init(&e, 1 << 20);
    assert_int_equal(ehis_subscribe(c.e, SIM_PERSON, "PersonChanged", sim_on_message, &c, NULL), EHIS_OK);
    work_run_orders(c.e);
    for (uint64_t n = 1; n <= 4; n++) { /* two epochs by turns */
        buf_clear(&e);
        event_of(&e, n, (uint8_t[16]){(uint8_t)(n % 2 + 1)});
        assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    }
    assert_int_equal(sim_client_count(&c, FRAME_KEYS_GET), 2);
    for (int i = 0; i < 8; i++)
        assert_int_equal(sim_client_frame(&c, FRAME_KEYS, span_of(NULL, 0)), EHIS_OK);
    assert_int_equal(sim_client_count(&c, FRAME_KEYS_GET), 2);
    sim_client_pass_ms(&c, 1200);
    assert_int_equal(sim_client_count(&c, FRAME_KEYS_GET), 4);
    static const uint8_t stream[16] = {5};
    struct hash d;
    struct envelope_header other = {.kind = KIND_EVENT, .recipient = span_str(SIM_PERSON), .operation = span_str("PersonMoved"),
                                    .stream = span_of(stream, 16), .number = 1, .seal = {.epoch = span_of((uint8_t[16]){1}, 16)}};
    buf_clear(&e);
    sim_envelope(&c, SIM_POPULATION, &other, "moved", &e, &d); /* its publisher names an epoch of another event */
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_client_count(&c, FRAME_KEYS_GET), 5); /* that keeps nobody from his key */
    buf_fini(&e);
    sim_client_fini(&c);
}

static void deliver_event(uint64_t number, const uint8_t epoch[16])
{
    struct buf e;
    buf_init(&e, 1 << 20);
    c.got_count = 0;
    event_of(&e, number, epoch);
    assert_int_equal(sim_deliver(&c, buf_span(&e), 1, c.clock.wall_ms), EHIS_OK);
    sim_handed(&c);
    buf_fini(&e);
}

static void do_event(uint64_t number, const uint8_t epoch[16])
{
    uint32_t code = 0;
    deliver_event(number, epoch);
    assert_int_equal(c.got_count, 1);
    assert_int_equal(ehis_incoming_info(c.got[0])->number, number);
    ehis_done(c.got[0]);
    sim_handed(&c);
    assert_int_equal(sim_ack_of(&c, c.delivery[c.at], &code), OUTCOME_DONE);
}

static void what_is_late_and_would_leave_more_than_can_be_remembered_is_given_back(void **state)
{
    uint8_t epoch[16] = {3};
    uint32_t code = 0;
    (void)state;
    sim_consumer(&c);
    assert_int_equal(ehis_subscribe(c.e, SIM_PERSON, "PersonChanged", sim_on_message, &c, NULL), EHIS_OK);
    work_run_orders(c.e);
    assert_int_equal(sim_keys(&c, SIM_POPULATION, SIM_PERSON, "PersonChanged", epoch, SIM_TAX), EHIS_OK);
    do_event(1000, epoch); /* the first that comes: all below may be late */
    for (uint64_t n = 1; n < IN_GAPS_SPLIT; n++)
        do_event(2 * n, epoch);
    deliver_event(2 * IN_GAPS_SPLIT, epoch);
    assert_int_equal(c.got_count, 0);
    assert_int_equal(sim_ack_of(&c, c.delivery[c.at], &code), OUTCOME_RETRY);
    assert_int_equal(code, EHIS_E_STREAM_AHEAD);
    do_event(2 * IN_GAPS_SPLIT - 1, epoch); /* at the edge */
    do_event(2 * IN_GAPS_SPLIT, epoch);
    sim_client_fini(&c);
}

static void a_subscription_that_an_out_of_date_gateway_refuses_is_asked_for_again(void **state)
{
    struct ready_state ready = {.code = EHIS_E_CRL_STALE, .retry_ms = 1000};
    struct buf b;
    (void)state;
    sim_consumer(&c);
    buf_init(&b, 4096);
    assert_int_equal(ehis_subscribe(c.e, SIM_PERSON, "PersonChanged", sim_on_message, &c, NULL), EHIS_OK);
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

/* Event 1 comes, is finished, and comes again: how many are handed over. */
static size_t handed_twice(const char *event_of_replay, ehis_err code)
{
    const uint8_t epoch[16] = {3};
    struct sim_frame f;
    struct buf b;
    sim_consumer(&c);
    buf_init(&b, 1 << 20);
    assert_int_equal(ehis_subscribe(c.e, SIM_PERSON, "PersonChanged", sim_on_message, &c, NULL), EHIS_OK);
    work_run_orders(c.e);
    assert_int_equal(sim_keys(&c, SIM_POPULATION, SIM_PERSON, "PersonChanged", epoch, SIM_TAX), EHIS_OK);
    event_of(&b, 1, epoch);
    assert_int_equal(sim_deliver(&c, buf_span(&b), 1, c.clock.wall_ms), EHIS_OK);
    assert_int_equal(sim_handed(&c), 1);
    ehis_done(c.got[0]);
    sim_handed(&c);
    while (sim_client_take(&c, FRAME_SUBSCRIBE, &f))
        free(f.p);
    assert_int_equal(ehis_subscribe_from(c.e, SIM_PERSON, event_of_replay, 1, sim_on_message, &c, NULL), EHIS_OK);
    work_run_orders(c.e);
    assert_int_equal(sim_client_count(&c, FRAME_SUBSCRIBE), 1);
    struct buf said;
    buf_init(&said, 4096);
    struct subscription answer = {.service = span_str(SIM_PERSON), .event = span_str(event_of_replay), .code = (uint32_t)code};
    assert_int_equal(subscription_write(&answer, &said), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_SUBSCRIPTION, buf_span(&said)), EHIS_OK);
    assert_int_equal(sim_deliver(&c, buf_span(&b), 1, c.clock.wall_ms), EHIS_OK);
    size_t handed = sim_handed(&c);
    for (size_t i = 1; i < handed; i++)
        ehis_done(c.got[i]);
    sim_handed(&c);
    buf_fini(&said);
    buf_fini(&b);
    sim_client_fini(&c);
    return handed;
}

static void only_what_a_replay_was_asked_for_and_given_of_is_handed_over_again(void **state)
{
    (void)state;
    assert_int_equal(handed_twice("PersonChanged", EHIS_OK), 2);
    assert_int_equal(handed_twice("PersonChanged", EHIS_E_EXCHANGE_NO_REPLAY), 1);
    assert_int_equal(handed_twice("AnotherEvent", EHIS_OK), 1);
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
    ehis_message m = sim_message("x");
    struct draft *d;
    (void)state;
    sim_provider(&c);
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
    sim_provider(&c);
    ehis_on_receipt(c.e, sim_on_receipt, &c);
    publish("one");
    assert_true(sim_client_take(&c, FRAME_STREAM_OPEN, &f));
    assert_int_equal(stream_open_read(span_of(f.p, f.len), &o, NULL), EHIS_OK);
    struct stream_state s = {.expected = 1000};
    memcpy(s.stream, o.stream, 16);
    buf_init(&b, 64);
    assert_int_equal(stream_state_write(&s, &b), EHIS_OK);
    assert_int_equal(sim_client_frame(&c, FRAME_STREAM_STATE, buf_span(&b)), EHIS_OK);
    sim_handed(&c);
    assert_int_equal(c.told[0].state, EHIS_FAILED);
    assert_int_equal(c.told[0].code, EHIS_E_STATE_BEHIND);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_goes_before_the_first_event_of_an_epoch_which_ends_with_the_circle_of_receivers_and_the_hour),
        cmocka_unit_test(a_key_that_nobody_has_called_replicated_goes_again_after_a_crash_and_ends_when_somebody_does),
        cmocka_unit_test(a_key_that_ends_by_the_word_of_another_gateway_leaves_the_window_whole),
        cmocka_unit_test(an_event_whose_key_is_missing_waits_for_it_and_a_key_that_another_signed_does_not_count),
        cmocka_unit_test(a_missing_key_is_asked_for_once_a_second_whoever_waits_for_it_and_whatever_is_answered),
        cmocka_unit_test(what_is_late_and_would_leave_more_than_can_be_remembered_is_given_back),
        cmocka_unit_test(a_subscription_that_an_out_of_date_gateway_refuses_is_asked_for_again),
        cmocka_unit_test(only_what_a_replay_was_asked_for_and_given_of_is_handed_over_again),
        cmocka_unit_test(what_comes_out_of_a_queue_with_a_sequence_that_was_kept_is_not_sent_again),
        cmocka_unit_test(a_stream_that_the_gateway_knows_better_than_its_folder_is_given_up_and_the_application_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
