/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Replay and carry: the state out of the journal, whole or from any segment whose earlier ones were let go. */
#include "tests/unit/gateway/exchange/exchange_test.h"

static const uint8_t stream[16] = {1}, events[16] = {2};

static void assert_replay_is_the_same(struct sim_house *h)
{
    struct exchange *other;
    struct exchange_status s, t;
    assert_int_equal(sim_replay_into(h, &other), EHIS_OK);
    exchange_status(h->x, &s);
    exchange_status(other, &t);
    assert_int_equal(s.stored_messages, t.stored_messages);
    assert_int_equal(s.stored_bytes, t.stored_bytes);
    assert_int_equal(s.streams, t.streams);
    assert_int_equal(s.subscriptions, t.subscriptions);
    assert_int_equal(s.next_sequence, t.next_sequence);
    exchange_free(other);
}

/* Every kind of thing that may be unfinished. */
static void fill(struct sim_house *h)
{
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = sim_ready(h, B, 8, 2, 1 << 20), c = sim_ready(h, C, 8, 2, 1 << 20);
    uint8_t id[16];
    struct hash d;
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 1), EHIS_OK);
    assert_int_equal(sim_stream_open(h, b, events, SVC, "Changed", 1), EHIS_OK);
    assert_int_equal(sim_subscribe(h, a, SVC, "Changed", false), EHIS_OK);
    assert_int_equal(sim_subscribe(h, c, SVC, "Changed", false), EHIS_OK);
    for (uint64_t n = 1; n <= 12; n++) {
        assert_int_equal(sim_submit(h, a, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = n % 3 ? "Put" : "Get", .stream = stream, .number = n, .purpose = n % 5 ? NULL : "nosing"}, NULL), EHIS_OK);
        assert_int_equal(sim_submit(h, b, &(struct sim_message){.kind = KIND_EVENT, .sender = B, .recipient = SVC, .operation = "Changed", .stream = events, .number = n}, NULL), EHIS_OK);
        buf_clear(&bytes);
        sim_envelope(h, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"}, &bytes, &d, id);
        assert_int_equal(sim_submit_bytes(h, a, buf_span(&bytes)), EHIS_OK);
        sim_durable(h);
        if (n % 2)
            assert_int_equal(sim_submit(h, b, &(struct sim_message){.kind = KIND_RESPONSE, .sender = B, .recipient = A, .operation = "Get", .in_reply_to = &d, .exchange_id = id}, NULL), EHIS_OK);
        for (struct sim_out *o; n % 4 && (o = sim_take(h, SIM_DELIVERY, 0));) {
            struct sim_ack ack = {o->delivery, o->digest, n % 3 ? OUTCOME_DONE : OUTCOME_RETRY, 0, 0};
            if (o->number)
                assert_int_equal(sim_ack(h, o->session, o->session == b ? B : o->session == a ? A : C, &ack, 1), EHIS_OK);
        }
    }
    assert_int_equal(sim_submit(h, b, &(struct sim_message){.kind = KIND_KEY, .sender = B, .recipient = SVC, .operation = "Changed", .lifetime_ms = 3600000}, NULL), EHIS_OK);
    sim_durable(h);
    assert_int_equal(sim_settled(h, a, stream, 2), EHIS_OK);
    sim_durable(h);
    buf_fini(&bytes);
}

static void a_replay_gives_the_state_that_was(void **state)
{
    struct sim_house *h = *state;
    fill(h);
    assert_replay_is_the_same(h);
}

static void each_suffix_that_begins_where_segments_were_released_gives_it_too(void **state)
{
    struct sim_house *h = *state;
    h->segment_entries = 9;
    fill(h);
    for (int i = 0; i < 60; i++) {
        sim_release(h);
        assert_replay_is_the_same(h);
    }
    assert_true(h->first > 100);
}

static void a_crash_between_carrying_and_releasing_takes_each_thing_once(void **state)
{
    struct sim_house *h = *state;
    h->segment_entries = 9;
    fill(h);
    for (int i = 0; i < 20; i++) {
        exchange_carry(h->x, h->entries[h->first].segment, 3, h->clock.wall_ms);
        sim_durable(h);
        assert_replay_is_the_same(h);
    }
}

static void carrying_is_done_only_when_what_moved_is_durable(void **state)
{
    struct sim_house *h = *state;
    h->segment_entries = 20;
    fill(h);
    uint64_t first = h->entries[h->first].segment;
    assert_false(exchange_carry(h->x, first, 1, h->clock.wall_ms));
    assert_false(exchange_carry(h->x, first, 10000, h->clock.wall_ms));
    assert_false(exchange_carry(h->x, first, 10000, h->clock.wall_ms));
    sim_durable(h);
    assert_true(exchange_carry(h->x, first, 10000, h->clock.wall_ms));
    h->is_journal_full = true;
    assert_false(exchange_carry(h->x, first + 1, 10000, h->clock.wall_ms));
    h->is_journal_full = false;
}

static void large_messages_are_carried_a_few_at_a_time(void **state)
{
    struct sim_house *h = *state;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    h->segment_entries = 12;
    assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 1), EHIS_OK);
    for (uint64_t n = 1; n <= 10; n++)
        assert_int_equal(sim_submit(h, a, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Put", .stream = stream, .number = n, .body_bytes = 1 << 20}, NULL), EHIS_OK);
    sim_durable(h);
    size_t before = h->count;
    assert_false(exchange_carry(h->x, h->first_segment, 10000, h->clock.wall_ms));
    assert_in_range(h->count - before, 4, 7); /* of the stream as well */
    assert_false(exchange_carry(h->x, h->first_segment, 10000, h->clock.wall_ms));
    assert_false(exchange_carry(h->x, h->first_segment, 10000, h->clock.wall_ms));
    sim_durable(h);
    assert_true(exchange_carry(h->x, h->first_segment, 10000, h->clock.wall_ms));
}

static void receipts_and_numbers_survive_restarts_and_releases(void **state)
{
    struct sim_house *h = *state;
    struct exchange_status s;
    session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = sim_ready(h, B, 8, 8, 1 << 20);
    struct hash d[4];
    int64_t times[4];
    h->segment_entries = 5;
    assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 1), EHIS_OK);
    for (uint64_t n = 0; n < 4; n++)
        assert_int_equal(sim_submit(h, a, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Put", .stream = stream, .number = n + 1, .purpose = n == 3 ? "nosing" : NULL}, &d[n]), EHIS_OK);
    sim_durable(h);
    sim_pass(h, 5000);
    struct sim_ack acks[2];
    for (size_t n = 0; n < 2; n++) {
        struct sim_out *o = sim_take(h, SIM_DELIVERY, b);
        acks[n] = (struct sim_ack){o->delivery, d[n], n ? OUTCOME_REJECTED : OUTCOME_DONE, n ? 42 : 0, 0};
    }
    assert_int_equal(sim_ack(h, b, B, acks, 2), EHIS_OK);
    sim_durable(h);
    for (int round = 0; round < 4; round++) {
        static const uint8_t expected[4] = {STATE_DELIVERED, STATE_FAILED, STATE_ACCEPTED, STATE_REFUSED};
        for (int i = 0; round % 2 && i < 8; i++) {
            sim_release(h);
            sim_durable(h);
        }
        sim_restart(h, false);
        sim_forget(h);
        sim_pass(h, 1000);
        a = sim_ready(h, A, 8, 8, 1 << 20);
        assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 1), EHIS_OK);
        assert_stream_state(h, a, 5, 0);
        for (size_t n = 0; n < 4; n++) {
            struct sim_out *o = sim_take(h, SIM_RECEIPT, a);
            assert_non_null(o);
            assert_memory_equal(o->digest.b, d[n].b, 32);
            assert_int_equal(o->state, expected[n]);
            assert_string_equal(o->recipient, SVC);
            assert_int_equal(o->bytes.len > 0, n < 2);
            if (round == 0)
                times[n] = o->time_ms;
            assert_int_equal(o->time_ms, times[n]); /* R4 */
        }
    }
    exchange_status(h->x, &s);
    assert_int_equal(s.stored_messages, 4);
}

static void a_skip_alone_in_its_lane_goes_out_after_a_restart(void **state)
{
    struct sim_house *h = *state;
    h->segment_entries = 4;
    for (int is_released = 0; is_released < 2; is_released++) { /* what its recipient took before is in no record any more */
        uint8_t id[16] = {(uint8_t)(20 + is_released)};
        session_id a = sim_ready(h, A, 8, 8, 1 << 20), b = sim_ready(h, B, 8, 8, 1 << 20);
        assert_int_equal(sim_stream_open(h, a, id, B, NULL, 1), EHIS_OK);
        assert_int_equal(sim_submit(h, a, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Put", .stream = id, .number = 1}, NULL), EHIS_OK);
        sim_durable(h);
        struct sim_out *o = sim_take(h, SIM_DELIVERY, b);
        assert_non_null(o);
        struct sim_ack ack = {o->delivery, o->digest, OUTCOME_DONE, 0, 0};
        assert_int_equal(sim_ack(h, b, B, &ack, 1), EHIS_OK);
        sim_durable(h);
        assert_int_equal(sim_settled(h, a, id, 2), EHIS_OK);
        sim_end(h, b);
        for (int i = 0; is_released && i < 20; i++) {
            sim_release(h);
            sim_durable(h);
        }
        assert_int_equal(sim_submit(h, a, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Put", .stream = id, .number = 2, .purpose = "nosing"}, NULL), EHIS_OK);
        sim_durable(h);
        sim_restart(h, true);
        sim_forget(h);
        b = sim_ready(h, B, 8, 8, 1 << 20);
        sim_pass(h, 1000);
        o = sim_take(h, SIM_SKIP, b);
        assert_non_null(o);
        assert_int_equal(o->number, 2);
        assert_int_equal(o->state, STATE_REFUSED);
        sim_end(h, b);
    }
}

static void a_stream_of_refusals_alone_reaches_nobody_also_after_a_restart(void **state)
{
    struct sim_house *h = *state;
    static const uint8_t id[16] = {30};
    session_id d = sim_ready(h, D, 8, 8, 1 << 20);
    assert_int_equal(sim_stream_open(h, d, id, B, NULL, 1), EHIS_OK);
    assert_int_equal(sim_submit(h, d, &(struct sim_message){.kind = KIND_REQUEST, .sender = D, .recipient = SVC, .operation = "Put", .stream = id, .number = 1}, NULL), EHIS_OK);
    sim_durable(h);
    for (int i = 0; i < 4; i++) {
        sim_release(h);
        sim_durable(h);
        sim_restart(h, true);
        sim_forget(h);
        sim_ready(h, B, 8, 8, 1 << 20);
        sim_pass(h, 1000);
        assert_null(sim_take(h, SIM_SKIP, 0));
    }
}

static void records_that_do_not_continue_are_refused(void **state)
{
    struct sim_house *h = *state;
    struct exchange *other;
    fill(h);
    struct buf kept = h->entries[20].record, shifted = h->entries[21].record;
    h->entries[20].record = shifted;
    h->entries[21].record = kept;
    assert_int_equal(sim_replay_into(h, &other), EHIS_E_EXCHANGE_REPLAY);
    exchange_free(other);
    for (size_t i = 0; i < h->entries[30].record.len; i++) { /* bytes that are no record, anywhere in one: an error or another record, no crash */
        h->entries[30].record.p[h->entries[30].record.start + i] ^= 0x41;
        ehis_err err = sim_replay_into(h, &other);
        (void)err;
        exchange_free(other);
        h->entries[30].record.p[h->entries[30].record.start + i] ^= 0x41;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOUSE_TEST(a_replay_gives_the_state_that_was),
        HOUSE_TEST(each_suffix_that_begins_where_segments_were_released_gives_it_too),
        HOUSE_TEST(a_crash_between_carrying_and_releasing_takes_each_thing_once),
        HOUSE_TEST(carrying_is_done_only_when_what_moved_is_durable),
        HOUSE_TEST(large_messages_are_carried_a_few_at_a_time),
        HOUSE_TEST(receipts_and_numbers_survive_restarts_and_releases),
        HOUSE_TEST(a_skip_alone_in_its_lane_goes_out_after_a_restart),
        HOUSE_TEST(a_stream_of_refusals_alone_reaches_nobody_also_after_a_restart),
        HOUSE_TEST(records_that_do_not_continue_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
