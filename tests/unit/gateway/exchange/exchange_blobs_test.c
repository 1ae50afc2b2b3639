/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Large bodies in the core (SPEC 18): accepted with their chunks alone, counted, kept as long as their message, and for nobody but its recipient. */
#include "tests/unit/gateway/exchange/exchange_test.h"

#define LARGE 1000000

static const uint8_t stream[16] = {1};

static session_id sender(struct sim_house *h)
{
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 1), EHIS_OK);
    sim_forget(h);
    h->has_chunks = true;
    return a;
}

static struct hash put(struct sim_house *h, session_id a, uint64_t number, uint64_t bytes)
{
    struct hash d;
    struct sim_message m = {.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Put", .stream = stream, .number = number, .large_bytes = bytes};
    assert_int_equal(sim_submit(h, a, &m, &d), EHIS_OK);
    return d;
}

static void assert_flow(struct sim_house *h, session_id a, const struct hash *d, ehis_err code)
{
    struct sim_out *o = sim_take(h, SIM_FLOW, a);
    assert_non_null(o);
    assert_memory_equal(o->digest.b, d->b, 32);
    assert_int_equal(o->code, code);
}

static ehis_err may(struct sim_house *h, session_id s, const struct hash *d, struct exchange_blob *b)
{
    return exchange_blob(h->x, s, d->b, b, h->clock.wall_ms);
}

static void without_its_chunks_a_message_waits_and_uses_up_no_number(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h);
    h->has_chunks = false;
    struct hash d = put(h, a, 1, LARGE);
    assert_flow(h, a, &d, EHIS_E_EXCHANGE_BLOB_MISSING);
    assert_int_equal(sim_record_count(h, RECORD_ACCEPTED) + sim_record_count(h, RECORD_REFUSED), 0);
    h->has_chunks = true;
    d = put(h, a, 1, LARGE);
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_ACCEPTED, 0);
    assert_int_equal(h->chunks_kept, 1);
}

static void what_is_refused_is_refused_whether_its_chunks_are_there_or_not(void **state)
{
    struct sim_house *h = *state;
    session_id s = sim_ready(h, D, 8, 8, 1 << 20);
    struct hash d;
    struct sim_message m = {.kind = KIND_REQUEST, .sender = D, .recipient = SVC, .operation = "Get", .large_bytes = LARGE};
    for (int is_there = 0; is_there < 2; is_there++) {
        h->has_chunks = is_there;
        assert_int_equal(sim_submit(h, s, &m, &d), EHIS_OK);
        sim_durable(h);
        assert_receipt(h, s, &d, STATE_REFUSED, EHIS_E_POLICY_NO_RULE);
        assert_null(sim_take(h, SIM_FLOW, s));
    }
    assert_int_equal(h->chunks_kept, 0);
}

static void chunks_count_as_stored_bytes_of_their_sender(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h);
    h->bounds.stored_bytes_max = 2 * LARGE + 100000;
    exchange_set_bounds(h->x, &h->bounds);
    put(h, a, 1, LARGE);
    assert_true(exchange_room_bytes(h->x, a) < LARGE + 100000);
    struct hash d = put(h, a, 2, LARGE + 100000);
    assert_flow(h, a, &d, EHIS_E_EXCHANGE_BUSY);
}

static void only_the_session_that_it_is_delivered_to_may_have_the_chunks_and_only_while_it_is(void **state)
{
    struct sim_house *h = *state;
    struct exchange_blob b;
    session_id a = sender(h), c = sim_ready(h, C, 8, 8, 1 << 20);
    struct hash d = put(h, a, 1, LARGE);
    sim_durable(h);
    session_id own = sim_ready(h, B, 8, 8, 1 << 20), second = sim_ready(h, B, 8, 8, 1 << 20);
    struct sim_out *o = sim_take(h, SIM_DELIVERY, own);
    assert_non_null(o);
    assert_int_equal(may(h, own, &d, &b), EHIS_OK);
    assert_int_equal(b.bytes, LARGE);
    assert_int_equal(b.partition, 3);
    assert_int_equal(b.offset, 99);
    assert_true(span_eq(b.sender, span_str(A)));
    const session_id others[] = {a, c, second};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(may(h, others[i], &d, &b), EHIS_E_EXCHANGE_BLOB_UNKNOWN);
    struct sim_ack ack = {o->delivery, o->digest, OUTCOME_DONE, 0, 0};
    assert_int_equal(sim_ack(h, own, B, &ack, 1), EHIS_OK);
    assert_int_equal(may(h, own, &d, &b), EHIS_E_EXCHANGE_BLOB_UNKNOWN);
    assert_int_equal(h->chunks_kept, 1); /* its end is not durable: a start now would give it again */
    sim_durable(h);
    assert_int_equal(h->chunks_kept, 0);
    assert_int_equal(exchange_room_bytes(h->x, a), h->bounds.stored_bytes_max);
}

static void a_bad_chunk_fails_the_message_and_its_sender_is_told(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct hash d = put(h, a, 1, LARGE);
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_ACCEPTED, 0);
    assert_non_null(sim_take(h, SIM_DELIVERY, b));
    exchange_on_blob_bad(h->x, a, d.b, EHIS_E_EXCHANGE_BLOB_LOST, h->clock.wall_ms); /* not its to say */
    assert_int_equal(sim_record_count(h, RECORD_FAILED), 0);
    exchange_on_blob_bad(h->x, b, d.b, EHIS_E_EXCHANGE_BLOB_ALTERED, h->clock.wall_ms);
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_FAILED, EHIS_E_EXCHANGE_BLOB_ALTERED);
    assert_non_null(sim_take(h, SIM_SKIP, b)); /* the stream goes on */
    assert_int_equal(h->chunks_kept, 0);
}

static void a_restart_keeps_the_chunks_of_what_is_unfinished_and_of_nothing_else(void **state)
{
    struct sim_house *h = *state;
    struct exchange_blob b;
    session_id a = sender(h), to = sim_ready(h, B, 8, 1, 1 << 20);
    put(h, a, 1, LARGE);
    struct hash second = put(h, a, 2, LARGE);
    sim_durable(h);
    struct sim_out *o = sim_take(h, SIM_DELIVERY, to);
    struct sim_ack ack = {o->delivery, o->digest, OUTCOME_DONE, 0, 0};
    assert_int_equal(sim_ack(h, to, B, &ack, 1), EHIS_OK);
    sim_durable(h);
    assert_int_equal(h->chunks_kept, 1);
    h->chunks_kept = 0;
    sim_restart(h, false);
    assert_int_equal(h->chunks_kept, 1);
    sim_release(h); /* carried ahead, it is known still */
    h->chunks_kept = 0;
    sim_restart(h, false);
    assert_int_equal(h->chunks_kept, 1);
    to = sim_ready(h, B, 8, 8, 1 << 20);
    assert_non_null(sim_take(h, SIM_DELIVERY, to));
    assert_int_equal(may(h, to, &second, &b), EHIS_OK);
    assert_int_equal(b.offset, 99);
}

static void who_takes_none_gets_none(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h);
    h->takes_no_large = true;
    session_id b = sim_ready(h, B, 8, 8, 1 << 20);
    struct hash d = put(h, a, 1, LARGE);
    sim_durable(h);
    assert_receipt(h, a, &d, STATE_ACCEPTED, 0);
    sim_durable(h);
    assert_null(sim_take(h, SIM_DELIVERY, b));
    assert_receipt(h, a, &d, STATE_FAILED, EHIS_E_EXCHANGE_NO_LARGE);
}

static void a_response_counts_its_chunks_and_its_caller_has_them_until_it_expires(void **state)
{
    struct sim_house *h = *state;
    struct exchange_blob blob;
    session_id a = sender(h), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct hash q, d;
    uint8_t id[16];
    struct envelope e;
    struct envelope_header header;
    struct sim_message ask = {.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get", .max_response_bytes = 500000};
    assert_int_equal(sim_submit(h, a, &ask, &q), EHIS_OK);
    sim_durable(h);
    struct sim_out *o = sim_take(h, SIM_DELIVERY, b);
    assert_non_null(o);
    assert_int_equal(envelope_read(buf_span(&o->bytes), &e, NULL), EHIS_OK);
    assert_int_equal(envelope_header_read(e.header, &header, NULL), EHIS_OK);
    memcpy(id, header.exchange_id, 16);
    struct sim_message answer = {.kind = KIND_RESPONSE, .sender = B, .recipient = A, .operation = "Get", .in_reply_to = &q, .exchange_id = id, .large_bytes = 500000};
    assert_int_equal(sim_submit(h, b, &answer, &d), EHIS_OK);
    sim_durable(h);
    assert_receipt(h, b, &d, STATE_REFUSED, EHIS_E_EXCHANGE_RESPONSE_TOO_LARGE);
    answer.large_bytes = 400000;
    assert_int_equal(sim_submit(h, b, &answer, &d), EHIS_OK);
    assert_int_equal(may(h, a, &d, &blob), EHIS_E_EXCHANGE_BLOB_UNKNOWN); /* not durable yet */
    sim_durable(h);
    assert_non_null(sim_take(h, SIM_DELIVERY, a));
    assert_int_equal(may(h, a, &d, &blob), EHIS_OK);
    assert_int_equal(may(h, b, &d, &blob), EHIS_E_EXCHANGE_BLOB_UNKNOWN);
    exchange_on_blob_bad(h->x, a, d.b, EHIS_E_EXCHANGE_BLOB_LOST, h->clock.wall_ms);
    exchange_on_blob_bad(h->x, a, d.b, EHIS_E_EXCHANGE_BLOB_LOST, h->clock.wall_ms);
    assert_int_equal(sim_record_count(h, RECORD_FAILED), 1); /* said once */
    assert_int_equal(h->chunks_kept, 1);
    assert_int_equal(exchange_room_bytes(h->x, b), h->bounds.stored_bytes_max - 400000); /* its provider's, as before it was accepted */
    sim_restart(h, false);
    b = sim_ready(h, B, 8, 8, 1 << 20);
    assert_int_equal(exchange_room_bytes(h->x, b), h->bounds.stored_bytes_max - 400000);
    assert_int_equal(h->chunks_kept, 2); /* the core before the restart let nothing go */
    sim_pass(h, 40000);
    assert_int_equal(may(h, a, &d, &blob), EHIS_E_EXCHANGE_BLOB_UNKNOWN);
    assert_int_equal(h->chunks_kept, 1); /* of the core before the restart */
    assert_int_equal(exchange_room_bytes(h->x, b), h->bounds.stored_bytes_max);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOUSE_TEST(without_its_chunks_a_message_waits_and_uses_up_no_number),
        HOUSE_TEST(what_is_refused_is_refused_whether_its_chunks_are_there_or_not),
        HOUSE_TEST(chunks_count_as_stored_bytes_of_their_sender),
        HOUSE_TEST(only_the_session_that_it_is_delivered_to_may_have_the_chunks_and_only_while_it_is),
        HOUSE_TEST(a_bad_chunk_fails_the_message_and_its_sender_is_told),
        HOUSE_TEST(a_restart_keeps_the_chunks_of_what_is_unfinished_and_of_nothing_else),
        HOUSE_TEST(who_takes_none_gets_none),
        HOUSE_TEST(a_response_counts_its_chunks_and_its_caller_has_them_until_it_expires),
    };
    if (crypto_init(NULL) != EHIS_OK)
        return 1;
    return cmocka_run_group_tests_name("blobs", tests, NULL, NULL);
}
