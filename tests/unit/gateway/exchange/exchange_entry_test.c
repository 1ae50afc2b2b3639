/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Admission: each refusal with its own code and record before its receipt, duplicates, order, bounds. */
#include "tests/unit/gateway/exchange/exchange_test.h"

static void a_call_is_recorded_before_it_is_forwarded_and_its_response_comes_back(void **state)
{
    struct sim_house *h = *state;
    struct record r;
    struct hash d, answer;
    uint8_t id[16];
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    sim_forget(h);
    sim_envelope(h, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"}, &bytes, &d, id);
    assert_int_equal(sim_submit_bytes(h, a, buf_span(&bytes)), EHIS_OK);
    assert_null(sim_take(h, 0, 0)); /* nothing before it is durable */
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_ACCEPTED, 0);
    assert_true(sim_record(h, RECORD_ACCEPTED, &d, &r));
    assert_int_equal(r.sealed_bytes, 64);
    assert_true(span_eq(r.rule, span_str("B-1")));
    struct sim_out *o = sim_take(h, SIM_DELIVERY, b);
    assert_non_null(o);
    assert_true(span_eq(buf_span(&o->bytes), buf_span(&bytes))); /* as submitted, byte for byte */
    assert_int_equal(o->attempt, 1);
    struct sim_message reply = {.kind = KIND_RESPONSE, .sender = B, .recipient = A, .operation = "Get", .in_reply_to = &d, .exchange_id = id};
    assert_int_equal(sim_submit(h, b, &reply, &answer), EHIS_OK);
    assert_null(sim_take(h, 0, 0));
    sim_durable(h);
    assert_receipt(h, b, &answer, STATE_ACCEPTED, 0);
    o = sim_take(h, SIM_DELIVERY, a);
    assert_non_null(o);
    assert_memory_equal(o->digest.b, answer.b, 32);
    assert_null(sim_take(h, 0, 0)); /* and no other receipt: the response is the acknowledgement */
    struct exchange_status s;
    exchange_status(h->x, &s);
    assert_int_equal(s.accepted, 2);
    assert_int_equal(s.stored_bytes, 0);
    buf_fini(&bytes);
}

static void what_is_refused(struct sim_house *h, session_id s, const struct sim_message *m, uint32_t recorded, uint32_t told)
{
    struct hash d;
    struct record r;
    assert_int_equal(sim_submit(h, s, m, &d), EHIS_OK);
    assert_null(sim_take(h, SIM_RECEIPT, 0)); /* R3 */
    sim_durable(h);
    assert_true(sim_record(h, recorded == EHIS_E_EXCHANGE_CONFLICT ? RECORD_CONFLICT : RECORD_REFUSED, &d, &r));
    assert_int_equal(r.code, recorded);
    assert_int_equal(r.session, s);
    struct sim_out *o = sim_take(h, SIM_RECEIPT, s);
    assert_non_null(o);
    assert_memory_equal(o->digest.b, d.b, 32);
    assert_int_equal(o->state, STATE_REFUSED);
    assert_int_equal(o->code, told);
    assert_string_equal(o->recipient, m->recipient);
    assert_null(sim_take(h, SIM_DELIVERY, 0));
}

static void each_refusal_has_its_own_code(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), d = sim_ready(h, D, 8, 8, 1 << 20);
    int64_t now = h->clock.wall_ms;
    struct sim_message call = {.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"}, m;
    what_is_refused(h, a, &call, EHIS_E_EXCHANGE_NO_SESSION, EHIS_E_EXCHANGE_NO_SESSION);
    sim_ready(h, B, 8, 8, 1 << 20);
    sim_forget(h);
    m = call, m.sender = D, m.signer = D;
    what_is_refused(h, a, &m, EHIS_E_EXCHANGE_SENDER_MISMATCH, EHIS_E_EXCHANGE_SENDER_MISMATCH);
    m = call, m.signer = D;
    what_is_refused(h, a, &m, EHIS_E_KEY_FOREIGN, EHIS_E_KEY_FOREIGN);
    m = call, m.created_ms = now + 60001;
    what_is_refused(h, a, &m, EHIS_E_EXCHANGE_FROM_FUTURE, EHIS_E_EXCHANGE_FROM_FUTURE);
    m = call, m.created_ms = now - 30000;
    what_is_refused(h, a, &m, EHIS_E_EXCHANGE_EXPIRED, EHIS_E_EXCHANGE_EXPIRED);
    m = call, m.purpose = "nosing";
    what_is_refused(h, a, &m, EHIS_E_POLICY_PURPOSE, EHIS_E_POLICY_PURPOSE);
    /* R5: a service that is not there and one that is not for this system look the same to it; the record knows better */
    m = call, m.sender = D;
    what_is_refused(h, d, &m, EHIS_E_POLICY_CONSUMER, EHIS_E_POLICY_NO_RULE);
    m = call, m.recipient = "AZ/GOV/b/two/nothing";
    what_is_refused(h, a, &m, EHIS_E_POLICY_UNKNOWN_SERVICE, EHIS_E_POLICY_NO_RULE);
    m = call, m.recipient = "AZ/GOV/nobody/x/svc";
    what_is_refused(h, a, &m, EHIS_E_POLICY_UNKNOWN_SERVICE, EHIS_E_POLICY_NO_RULE);
    struct hash none = {{9}};
    struct sim_message reply = {.kind = KIND_RESPONSE, .sender = A, .recipient = B, .operation = "Get", .in_reply_to = &none};
    what_is_refused(h, a, &reply, EHIS_E_EXCHANGE_NOT_A_REPLY, EHIS_E_EXCHANGE_NOT_A_REPLY);
}

static void a_minute_of_clock_skew_and_the_last_millisecond_are_taken(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    sim_ready(h, B, 8, 8, 1 << 20);
    struct hash d;
    struct sim_message m = {.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get", .created_ms = h->clock.wall_ms + 60000};
    sim_forget(h);
    assert_int_equal(sim_submit(h, a, &m, &d), EHIS_OK);
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_ACCEPTED, 0);
    m.created_ms = h->clock.wall_ms - 29999;
    assert_int_equal(sim_submit(h, a, &m, &d), EHIS_OK);
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_ACCEPTED, 0);
}

static void a_header_that_cannot_be_read_is_refused_by_its_digest_alone(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    struct buf good, bad;
    struct hash d, sealed;
    struct record r;
    struct envelope e;
    buf_init(&good, 1 << 20);
    buf_init(&bad, 1 << 20);
    sim_envelope(h, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"}, &good, &d, NULL);
    assert_int_equal(envelope_read(buf_span(&good), &e, NULL), EHIS_OK);
    e.header.len--;
    assert_int_equal(envelope_write(&e, &bad), EHIS_OK);
    hash_span(e.sealed, &sealed);
    hash_envelope(e.header, e.sealed.len, &sealed, &d);
    sim_forget(h);
    assert_int_equal(sim_submit_bytes(h, a, buf_span(&bad)), EHIS_OK);
    sim_durable(h);
    struct sim_out *o = sim_take(h, SIM_RECEIPT, a);
    assert_non_null(o);
    assert_memory_equal(o->digest.b, d.b, 32);
    assert_int_equal(o->state, STATE_REFUSED);
    assert_string_equal(o->recipient, "");
    assert_true(sim_record(h, RECORD_REFUSED, &d, &r));
    assert_true(span_eq(r.header, e.header));
    buf_fini(&good);
    buf_fini(&bad);
}

static void bytes_that_are_no_envelope_end_the_session_and_truncation_anywhere_harms_nothing(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    sim_ready(h, B, 8, 8, 1 << 20);
    struct buf b;
    struct hash d;
    buf_init(&b, 1 << 20);
    sim_envelope(h, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"}, &b, &d, NULL);
    for (size_t n = 0; n < b.len; n++)
        assert_int_not_equal(sim_submit_bytes(h, a, span_of(buf_span(&b).p, n)), EHIS_OK);
    assert_int_equal(buf_put_u8(&b, 0), EHIS_OK);
    assert_int_not_equal(sim_submit_bytes(h, a, buf_span(&b)), EHIS_OK);
    buf_fini(&b);
}

static void every_altered_byte_of_an_envelope_is_refused(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    sim_ready(h, B, 8, 8, 1 << 20);
    struct buf b;
    struct hash d;
    struct exchange_status s;
    buf_init(&b, 1 << 20);
    sim_envelope(h, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"}, &b, &d, NULL);
    for (size_t i = 0; i < b.len; i++) {
        b.p[b.start + i] ^= 1;
        ehis_err err = sim_submit_bytes(h, a, buf_span(&b));
        (void)err;
        b.p[b.start + i] ^= 1;
        if (i % 16 == 0) {
            sim_durable(h);
            sim_pass(h, 2000);
        }
    }
    sim_durable(h);
    exchange_status(h->x, &s);
    assert_int_equal(s.accepted, 0);
    assert_int_equal(sim_count(h, SIM_DELIVERY, 0), 0);
    buf_fini(&b);
}

static void the_same_bytes_again_get_the_same_receipt_and_other_bytes_a_conflict(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct buf bytes;
    struct hash d;
    uint8_t id[16];
    buf_init(&bytes, 1 << 20);
    sim_forget(h);
    sim_envelope(h, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"}, &bytes, &d, id);
    assert_int_equal(sim_submit_bytes(h, a, buf_span(&bytes)), EHIS_OK);
    sim_durable(h);
    struct sim_out *o = sim_take(h, SIM_RECEIPT, a);
    int64_t time_ms = o->time_ms;
    sim_pass(h, 3000);
    assert_non_null(sim_take(h, SIM_DELIVERY, b));
    assert_int_equal(sim_submit_bytes(h, a, buf_span(&bytes)), EHIS_OK);
    o = sim_take(h, SIM_RECEIPT, a); /* at once: it is durable */
    assert_non_null(o);
    assert_int_equal(o->state, STATE_ACCEPTED);
    assert_int_equal(o->time_ms, time_ms);
    o = sim_take(h, SIM_DELIVERY, b); /* a waiting call is never swallowed */
    assert_non_null(o);
    assert_int_equal(o->attempt, 2);
    struct sim_message other = {.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get", .exchange_id = id, .fill = 7};
    what_is_refused(h, a, &other, EHIS_E_EXCHANGE_CONFLICT, EHIS_E_EXCHANGE_CONFLICT);
    sim_pass(h, 27001 + 60000); /* expired, and a minute more: forgotten */
    struct exchange_status s;
    exchange_status(h->x, &s);
    sim_durable(h);
    sim_pass(h, 2000);
    exchange_status(h->x, &s);
    assert_int_equal(s.stored_messages + s.known_calls, 0);
    buf_fini(&bytes);
}

static void a_stream_is_taken_in_order_and_busy_uses_up_no_number(void **state)
{
    struct sim_house *h = *state;
    static const uint8_t stream[16] = {1};
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    struct sim_message m = {.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Put", .stream = stream, .number = 1};
    struct hash d;
    assert_int_equal(sim_submit(h, a, &m, &d), EHIS_E_EXCHANGE_STREAM_CLOSED);
    assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 1), EHIS_OK);
    assert_stream_state(h, a, 1, 0);
    m.number = 2;
    assert_int_equal(sim_submit(h, a, &m, &d), EHIS_OK);
    struct sim_out *o = sim_take(h, SIM_FLOW, a);
    assert_non_null(o);
    assert_int_equal(o->code, EHIS_E_EXCHANGE_OUT_OF_SEQUENCE);
    assert_int_equal(o->expected, 1);
    m.number = 1;
    h->room_bytes = 100;
    assert_int_equal(sim_submit(h, a, &m, &d), EHIS_OK);
    o = sim_take(h, SIM_FLOW, a);
    assert_int_equal(o->code, EHIS_E_EXCHANGE_BUSY);
    assert_true(o->retry_ms > 0);
    assert_int_equal(o->expected, 1);
    h->room_bytes = 1 << 30;
    h->is_journal_full = true;
    assert_int_equal(sim_submit(h, a, &m, &d), EHIS_OK);
    assert_int_equal(sim_take(h, SIM_FLOW, a)->code, EHIS_E_EXCHANGE_BUSY);
    h->is_journal_full = false;
    size_t records = h->count;
    assert_int_equal(sim_submit(h, a, &m, &d), EHIS_OK);
    assert_int_equal(h->count, records + 1);
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_ACCEPTED, 0);
    exchange_drain(h->x);
    m.number = 2;
    assert_int_equal(sim_submit(h, a, &m, &d), EHIS_OK);
    assert_int_equal(sim_take(h, SIM_FLOW, a)->code, EHIS_E_EXCHANGE_DRAINING);
}

static void a_refused_number_is_used_up_and_goes_on_as_a_skip(void **state)
{
    struct sim_house *h = *state;
    static const uint8_t stream[16] = {2};
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct hash d[4], leaf;
    struct sim_message m = {.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Put", .stream = stream, .number = 1, .purpose = "nosing"};
    assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 1), EHIS_OK);
    sim_forget(h);
    assert_int_equal(sim_submit(h, a, &m, &d[1]), EHIS_OK);
    sim_durable(h);
    assert_receipt(h, a, &d[1], STATE_REFUSED, EHIS_E_POLICY_PURPOSE);
    assert_null(sim_take(h, 0, b)); /* held: B has had nothing of this stream */
    m.number = 2, m.purpose = NULL;
    assert_int_equal(sim_submit(h, a, &m, &d[2]), EHIS_OK);
    m.number = 3, m.purpose = "nosing";
    assert_int_equal(sim_submit(h, a, &m, &d[3]), EHIS_OK);
    sim_durable(h);
    struct sim_out *o = sim_take(h, 0, b);
    assert_int_equal(o->what, SIM_SKIP);
    assert_int_equal(o->number, 1);
    assert_int_equal(o->state, STATE_REFUSED);
    sim_skip_leaf(o, &leaf);
    uint64_t skip = o->delivery;
    o = sim_take(h, 0, b);
    assert_int_equal(o->what, SIM_DELIVERY);
    assert_int_equal(o->number, 2);
    uint64_t two = o->delivery;
    o = sim_take(h, 0, b);
    assert_int_equal(o->what, SIM_SKIP);
    assert_int_equal(o->number, 3);
    struct sim_ack acks[] = {{skip, leaf, OUTCOME_DONE, 0, 0}, {two, d[2], OUTCOME_DONE, 0, 0}};
    assert_int_equal(sim_ack(h, b, B, acks, 2), EHIS_OK);
    sim_durable(h);
    sim_forget(h);
    sim_restart(h, false);
    b = sim_ready(h, B, 8, 8, 1 << 20);
    sim_forget(h);
    sim_pass(h, 1000);
    session_id again = b;
    (void)again;
    assert_int_equal(sim_count(h, SIM_DELIVERY, 0), 0);
}

static void a_flood_of_equal_refusals_is_recorded_as_one_a_second_and_answered_after_it(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    struct record r;
    sim_ready(h, B, 8, 8, 1 << 20);
    sim_forget(h);
    for (int i = 0; i < 100; i++)
        assert_int_equal(sim_submit(h, a, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get", .purpose = "nosing"}, NULL), EHIS_OK);
    sim_durable(h);
    assert_int_equal(sim_record_count(h, RECORD_REFUSED), 20);
    assert_int_equal(sim_count(h, SIM_RECEIPT, a), 20);
    sim_pass(h, 1000);
    assert_int_equal(sim_record_count(h, RECORD_REFUSALS), 1);
    assert_true(sim_record(h, RECORD_REFUSALS, NULL, &r));
    assert_int_equal(r.count, 80);
    assert_int_equal(r.code, EHIS_E_POLICY_PURPOSE);
    assert_int_equal(sim_count(h, SIM_RECEIPT, a), 20); /* R3 */
    sim_durable(h);
    assert_int_equal(sim_count(h, SIM_RECEIPT, a), 100);
    while (sim_count(h, SIM_RECEIPT, a) > 1)
        sim_take(h, SIM_RECEIPT, a);
    assert_string_equal(sim_take(h, SIM_RECEIPT, a)->recipient, SVC);
}

static void bounds_answer_busy_one_below_and_at_them(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    struct sim_message m = {.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"};
    sim_ready(h, B, 8, 8, 1 << 20);
    sim_forget(h);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(sim_submit(h, a, &m, NULL), EHIS_OK);
    assert_int_equal(sim_count(h, SIM_FLOW, a), 0); /* calls_max of this test is 4 */
    assert_int_equal(sim_submit(h, a, &m, NULL), EHIS_OK);
    assert_int_equal(sim_count(h, SIM_FLOW, a), 1);
    sim_durable(h);
    assert_int_equal(sim_count(h, SIM_RECEIPT, a), 4);
}

static int small_bounds(void **state)
{
    struct sim_house *h = sim_house_new(9);
    h->bounds.calls_max = 4;
    sim_restart(h, true);
    *state = h;
    return 0;
}

static void an_envelope_of_a_newer_registry_waits_and_one_of_a_fork_is_refused(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    struct buf b;
    struct hash d;
    sim_ready(h, B, 8, 8, 1 << 20);
    buf_init(&b, 1 << 20);
    struct registry *old = registry_ref(h->registry);
    sim_house_publish(h);
    sim_envelope(h, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"}, &b, &d, NULL);
    exchange_set_registry(h->x, old, h->clock.wall_ms);
    sim_forget(h);
    assert_int_equal(sim_submit_bytes(h, a, buf_span(&b)), EHIS_OK);
    struct sim_out *o = sim_take(h, SIM_FLOW, a);
    assert_non_null(o);
    assert_int_equal(o->code, EHIS_E_EXCHANGE_REGISTRY_BEHIND);
    assert_true(o->retry_ms > 0);
    exchange_set_registry(h->x, h->registry, h->clock.wall_ms);
    assert_int_equal(sim_submit_bytes(h, a, buf_span(&b)), EHIS_OK);
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_ACCEPTED, 0);
    struct sim_house *other = sim_house_new(8); /* another operator's document of the same version */
    struct registry *held = h->registry;
    while (registry_version(other->registry) < registry_version(held))
        sim_house_publish(other);
    h->registry = other->registry;
    buf_clear(&b);
    sim_envelope(h, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"}, &b, &d, NULL);
    h->registry = held;
    sim_forget(h);
    assert_int_equal(sim_submit_bytes(h, a, buf_span(&b)), EHIS_OK);
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_REFUSED, EHIS_E_REGISTRY_FORK);
    sim_house_free(other);
    registry_unref(old);
    buf_fini(&b);
}

static void keys_that_do_not_count_are_refused(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    struct sim_message m = {.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"};
    sim_ready(h, B, 8, 8, 1 << 20);
    test_registry_retire(h->author, A, USE_SIGN, h->clock.wall_ms - 1000);
    sim_house_publish(h);
    sim_forget(h);
    what_is_refused(h, a, &m, EHIS_E_KEY_RETIRED, EHIS_E_KEY_RETIRED);
    test_registry_revoke(h->author, A, USE_SIGN, h->clock.wall_ms);
    sim_house_publish(h);
    what_is_refused(h, a, &m, EHIS_E_KEY_REVOKED, EHIS_E_KEY_REVOKED);
}

static void a_remembered_refusal_is_repeated_as_it_was_though_its_key_is_revoked_since(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    struct buf b;
    struct hash d;
    sim_ready(h, B, 8, 8, 1 << 20);
    buf_init(&b, 1 << 20);
    sim_envelope(h, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get", .purpose = "nosing"}, &b, &d, NULL);
    sim_forget(h);
    assert_int_equal(sim_submit_bytes(h, a, buf_span(&b)), EHIS_OK); /* verified, refused, remembered */
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_REFUSED, EHIS_E_POLICY_PURPOSE);
    sim_restart(h, false);
    test_registry_revoke(h->author, A, USE_SIGN, h->clock.wall_ms);
    sim_house_publish(h);
    a = sim_ready(h, A, 8, 8, 1 << 20);
    sim_forget(h);
    assert_int_equal(sim_submit_bytes(h, a, buf_span(&b)), EHIS_OK); /* a retry: its first receipt (R4) */
    assert_receipt(h, a, &d, STATE_REFUSED, EHIS_E_POLICY_PURPOSE);
    buf_fini(&b);
}

static void a_clock_that_is_set_back_stops_nothing(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    struct hash d;
    struct record r;
    sim_ready(h, B, 8, 8, 1 << 20);
    sim_pass(h, 5000);
    sim_clock_jump_wall_ms(&h->clock, -3600000);
    sim_pass(h, 1000);
    assert_int_equal(sim_submit(h, a, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"}, &d), EHIS_OK);
    sim_durable(h);
    sim_pass(h, 32000);
    assert_true(sim_record(h, RECORD_EXPIRED, &d, &r));
    sim_clock_jump_wall_ms(&h->clock, INT64_C(86400000) * 20);
    for (int i = 0; i < 5; i++)
        sim_pass(h, 1000);
    sim_durable(h);
    sim_pass(h, 1000);
    struct exchange_status s;
    exchange_status(h->x, &s);
    assert_int_equal(s.stored_messages + s.known_calls, 0);
}

static void a_waiting_call_is_known_until_it_expires_and_is_refused_then_also_by_a_clock_that_was_set_back(void **state)
{
    struct sim_house *h = *state;
    struct sim_message m = {.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"};
    struct buf b;
    struct hash d, later;
    struct exchange_status s;
    h->bounds.known_calls_max = 2;
    exchange_set_bounds(h->x, &h->bounds);
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    sim_ready(h, B, 8, 8, 1 << 20);
    buf_init(&b, 1 << 20);
    sim_envelope(h, &m, &b, &d, NULL); /* expires in 30 s */
    assert_int_equal(sim_submit_bytes(h, a, buf_span(&b)), EHIS_OK);
    sim_pass(h, 1000);
    assert_int_equal(sim_submit(h, a, &m, NULL), EHIS_OK);
    sim_durable(h);
    sim_pass(h, 28000);
    sim_forget(h);
    assert_int_equal(sim_submit_bytes(h, a, buf_span(&b)), EHIS_OK); /* known: passed on again */
    assert_receipt(h, a, &d, STATE_ACCEPTED, 0);
    assert_int_equal(sim_submit(h, a, &m, NULL), EHIS_OK);
    assert_int_equal(sim_take(h, SIM_FLOW, a)->code, EHIS_E_EXCHANGE_BUSY);
    for (int i = 0; i < 9; i++) {
        sim_pass(h, 1000);
        sim_durable(h);
    }
    exchange_status(h->x, &s);
    assert_int_equal(s.known_calls, 0);
    for (int round = 0; round < 3; round++) { /* as it is, set back to before it expired, after a restart */
        sim_forget(h);
        assert_int_equal(sim_submit_bytes(h, a, buf_span(&b)), EHIS_OK);
        sim_durable(h);
        assert_receipt(h, a, &d, round < 2 ? STATE_REFUSED : STATE_EXPIRED /* its record stands in the journal */, EHIS_E_EXCHANGE_EXPIRED);
        assert_null(sim_take(h, SIM_DELIVERY, 0));
        if (round == 0)
            sim_clock_jump_wall_ms(&h->clock, -35000);
        if (round == 1) {
            sim_restart(h, true);
            a = sim_ready(h, A, 8, 8, 1 << 20);
            sim_ready(h, B, 8, 8, 1 << 20);
        }
        sim_pass(h, 10);
        if (round > 0)
            continue;
        sim_forget(h);
        assert_int_equal(sim_submit(h, a, &m, &later), EHIS_OK); /* a new one */
        sim_durable(h);
        assert_receipt(h, a, &later, STATE_ACCEPTED, 0);
    }
    buf_fini(&b);
}

static void calls_and_streams_have_bounds_of_their_own(void **state)
{
    static const uint8_t stream[16] = {1};
    struct sim_house *h = *state;
    struct hash d;
    h->bounds.stored_messages_max = h->bounds.known_calls_max = 2;
    exchange_set_bounds(h->x, &h->bounds);
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    sim_ready(h, B, 8, 8, 1 << 20);
    assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 1), EHIS_OK);
    sim_forget(h);
    for (uint64_t n = 1; n <= 2; n++) { /* delivered and not settled, both */
        assert_int_equal(sim_submit(h, a, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Put", .stream = stream, .number = n}, &d), EHIS_OK);
        sim_durable(h);
        struct sim_out *o = sim_take(h, SIM_DELIVERY, 0);
        assert_non_null(o);
        struct sim_ack ack = {o->delivery, d, OUTCOME_DONE, 0, 0};
        assert_int_equal(sim_ack(h, o->session, B, &ack, 1), EHIS_OK);
        sim_durable(h);
    }
    sim_forget(h);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sim_submit(h, a, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"}, &d), EHIS_OK);
        sim_durable(h);
        if (i < 2)
            assert_receipt(h, a, &d, STATE_ACCEPTED, 0);
        else
            assert_int_equal(sim_take(h, SIM_FLOW, a)->code, EHIS_E_EXCHANGE_BUSY);
    }
    assert_int_equal(sim_submit(h, a, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Put", .stream = stream, .number = 3}, &d), EHIS_OK);
    assert_int_equal(sim_take(h, SIM_FLOW, a)->code, EHIS_E_EXCHANGE_BUSY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOUSE_TEST(a_call_is_recorded_before_it_is_forwarded_and_its_response_comes_back),
        HOUSE_TEST(each_refusal_has_its_own_code),
        HOUSE_TEST(a_minute_of_clock_skew_and_the_last_millisecond_are_taken),
        HOUSE_TEST(a_header_that_cannot_be_read_is_refused_by_its_digest_alone),
        HOUSE_TEST(bytes_that_are_no_envelope_end_the_session_and_truncation_anywhere_harms_nothing),
        HOUSE_TEST(every_altered_byte_of_an_envelope_is_refused),
        HOUSE_TEST(the_same_bytes_again_get_the_same_receipt_and_other_bytes_a_conflict),
        HOUSE_TEST(a_stream_is_taken_in_order_and_busy_uses_up_no_number),
        HOUSE_TEST(a_refused_number_is_used_up_and_goes_on_as_a_skip),
        HOUSE_TEST(a_flood_of_equal_refusals_is_recorded_as_one_a_second_and_answered_after_it),
        cmocka_unit_test_setup_teardown(bounds_answer_busy_one_below_and_at_them, small_bounds, close_house),
        HOUSE_TEST(keys_that_do_not_count_are_refused),
        HOUSE_TEST(a_remembered_refusal_is_repeated_as_it_was_though_its_key_is_revoked_since),
        HOUSE_TEST(a_clock_that_is_set_back_stops_nothing),
        HOUSE_TEST(a_waiting_call_is_known_until_it_expires_and_is_refused_then_also_by_a_clock_that_was_set_back),
        HOUSE_TEST(calls_and_streams_have_bounds_of_their_own),
        HOUSE_TEST(an_envelope_of_a_newer_registry_waits_and_one_of_a_fork_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
