/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* An inbox as its senders fill it: what stands in it, who may, and how much each. */
#include "tests/unit/gateway/exchange/exchange_streams.h"

static void find_inbox(void *ctx, const struct exchange_inbox_status *i)
{
    if (span_eq(i->system, span_str(B)))
        *(struct exchange_inbox_status *)ctx = *i;
}

static void the_oldest_of_an_inbox_is_the_oldest_wherever_it_waits(void **state)
{
    struct sim_house *h = *state;
    struct exchange_inbox_status inbox = {0};
    session_id a = sender(h);
    int64_t began = h->clock.wall_ms;
    put(h, a, stream, 1);
    sim_pass(h, 1000);
    put(h, a, other, 1);
    sim_durable(h);
    exchange_each_inbox(h->x, find_inbox, &inbox); /* nobody is there */
    assert_int_equal(inbox.oldest_accepted_ms, began);
    session_id b = sim_ready(h, B, 8, 8, 1 << 20);
    exchange_each_inbox(h->x, find_inbox, &inbox); /* in flight */
    assert_int_equal(inbox.in_flight, 2);
    assert_int_equal(inbox.oldest_accepted_ms, began);
    struct sim_ack ack = delivered(h, b, stream, 1, 1, OUTCOME_RETRY);
    ack.retry_ms = 30000;
    assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK);
    sim_durable(h);
    exchange_each_inbox(h->x, find_inbox, &inbox); /* given back, and its lane waits */
    assert_int_equal(inbox.in_flight, 1);
    assert_int_equal(inbox.oldest_accepted_ms, began);
    sim_pass(h, 40000);
    ack = delivered(h, b, other, 1, 1, OUTCOME_DONE);
    assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK);
    ack = delivered(h, b, stream, 1, 2, OUTCOME_DONE);
    assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK);
    sim_durable(h);
    exchange_each_inbox(h->x, find_inbox, &inbox);
    assert_int_equal(inbox.waiting, 0);
    assert_int_equal(inbox.oldest_accepted_ms, 0);
}

static void whoever_has_no_right_fills_nobodys_inbox(void **state)
{
    struct sim_house *h = *state;
    struct exchange_inbox_status inbox = {0};
    session_id d = sim_ready(h, D, 8, 8, 1 << 20);
    assert_int_equal(sim_stream_open(h, d, stream, B, NULL, 1), EHIS_OK);
    for (uint64_t n = 1; n <= 20; n++)
        assert_int_equal(sim_submit(h, d, &(struct sim_message){.kind = KIND_REQUEST, .sender = D, .recipient = SVC, .operation = "Put", .stream = stream, .number = n}, NULL), EHIS_OK);
    sim_durable(h);
    assert_int_equal(sim_record_count(h, RECORD_REFUSED), 20);
    exchange_each_inbox(h->x, find_inbox, &inbox);
    assert_int_equal(inbox.waiting, 0);
    assert_int_equal(inbox.waiting_bytes, 0);
}

static void a_full_inbox_is_told_only_to_whom_may_write_to_it(void **state)
{
    struct sim_house *h = *state;
    session_id a = sender(h), d = sim_ready(h, D, 8, 8, 1 << 20);
    struct exchange_bounds bounds = h->bounds;
    bounds.stored_messages_max = 2;
    bounds.stored_bytes_max = 1 << 20;
    exchange_set_bounds(h->x, &bounds);
    put(h, a, stream, 1), put(h, a, stream, 2);
    sim_durable(h);
    assert_int_equal(sim_stream_open(h, d, stream, B, NULL, 1), EHIS_OK);
    sim_forget(h);
    assert_int_equal(sim_submit(h, d, &(struct sim_message){.kind = KIND_REQUEST, .sender = D, .recipient = SVC, .operation = "Put", .stream = stream, .number = 1}, NULL), EHIS_OK);
    sim_durable(h);
    assert_null(sim_take(h, SIM_FLOW, d));
    assert_int_equal(sim_record_count(h, RECORD_REFUSED), 1);
}

static void put_from(struct sim_house *h, session_id s, const char *system, const uint8_t id[16], uint64_t n, bool fits)
{
    struct hash d;
    sim_forget(h);
    assert_int_equal(sim_submit(h, s, &(struct sim_message){.kind = KIND_REQUEST, .sender = system, .recipient = SVC, .operation = "Put", .stream = id, .number = n}, &d), EHIS_OK);
    sim_durable(h);
    if (fits) {
        assert_receipt(h, s, &d, STATE_ACCEPTED, 0);
        return;
    }
    struct sim_out *o = sim_take(h, SIM_FLOW, s);
    assert_non_null(o);
    assert_int_equal(o->code, EHIS_E_EXCHANGE_SHARE_FULL);
    assert_int_equal(o->expected, n); /* no number is used up */
    assert_null(sim_take(h, SIM_RECEIPT, s));
}

static void nobody_holds_more_of_an_inbox_than_is_free_so_another_gets_in(void **state)
{
    static const uint8_t theirs[16] = {7};
    struct sim_house *h = *state;
    h->bounds.stored_messages_max = 8;
    exchange_set_bounds(h->x, &h->bounds);
    for (int round = 0; round < 2; round++) { /* the same after a restart */
        session_id a = sender(h), c = sim_ready(h, C, 8, 8, 1 << 20);
        assert_int_equal(sim_stream_open(h, c, theirs, B, NULL, 1), EHIS_OK);
        for (uint64_t n = 1; round == 0 && n <= 4; n++)
            put_from(h, a, A, stream, n, true);
        put_from(h, a, A, stream, 5, false);
        for (uint64_t n = 1; round == 0 && n <= 2; n++)
            put_from(h, c, C, theirs, n, true);
        put_from(h, c, C, theirs, 3, false);
        if (round == 0)
            sim_restart(h, true);
    }
    session_id b = sim_ready(h, B, 8, 1, 1 << 20);
    delivered(h, b, stream, 1, 1, OUTCOME_DONE);
    sim_durable(h);
}

static void bytes_of_an_inbox_are_shared_alike(void **state)
{
    static const uint8_t theirs[16] = {7};
    struct sim_house *h = *state;
    h->bounds.stored_bytes_max = 1000; /* bodies of 64 */
    exchange_set_bounds(h->x, &h->bounds);
    session_id a = sender(h), c = sim_ready(h, C, 8, 8, 1 << 20);
    assert_int_equal(sim_stream_open(h, c, theirs, B, NULL, 1), EHIS_OK);
    for (uint64_t n = 1; n <= 8; n++)
        put_from(h, a, A, stream, n, true);
    put_from(h, a, A, stream, 9, false);
    for (uint64_t n = 1; n <= 4; n++)
        put_from(h, c, C, theirs, n, true);
    put_from(h, c, C, theirs, 5, false);
}

static void callers_share_a_provider_alike(void **state)
{
    struct sim_house *h = *state;
    struct hash d;
    h->bounds.calls_max = 4; /* of one caller; 16 wait for one provider */
    exchange_set_bounds(h->x, &h->bounds);
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), c = sim_ready(h, C, 8, 8, 1 << 20);
    sim_ready(h, B, 1, 8, 1 << 20);
    struct sim_message m = {.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"};
    for (int i = 0; i < 4; i++)
        assert_int_equal(sim_submit(h, a, &m, NULL), EHIS_OK);
    m.sender = C;
    sim_durable(h);
    sim_forget(h);
    h->bounds.calls_max = 1; /* 4: all are A's */
    exchange_set_bounds(h->x, &h->bounds);
    assert_int_equal(sim_submit(h, c, &m, &d), EHIS_OK);
    struct sim_out *o = sim_take(h, SIM_FLOW, c);
    assert_non_null(o);
    assert_int_equal(o->code, EHIS_E_EXCHANGE_SHARE_FULL);
    h->bounds.calls_max = 2; /* 8: A has 4, 4 are free */
    exchange_set_bounds(h->x, &h->bounds);
    assert_int_equal(sim_submit(h, c, &m, &d), EHIS_OK);
    sim_durable(h);
    assert_receipt(h, c, &d, STATE_ACCEPTED, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOUSE_TEST(the_oldest_of_an_inbox_is_the_oldest_wherever_it_waits),
        HOUSE_TEST(whoever_has_no_right_fills_nobodys_inbox),
        HOUSE_TEST(a_full_inbox_is_told_only_to_whom_may_write_to_it),
        HOUSE_TEST(nobody_holds_more_of_an_inbox_than_is_free_so_another_gets_in),
        HOUSE_TEST(bytes_of_an_inbox_are_shared_alike),
        HOUSE_TEST(callers_share_a_provider_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
