/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What is sent in streams, in the store: the same bytes across restarts and crashes. */
#include "tests/unit/adapters/outbox_rig.h"

static void requests_that_are_final_are_remembered_for_their_responses_until_they_expire(void **state)
{
    struct box b;
    uint8_t digest[32];
    (void)state;
    box_init(&b, ACCEPTED, false);
    struct out_message *one = put_one(&b);
    memcpy(digest, one->by_digest.key, 32);
    assert_true(outbox_asked_until(b.outbox, digest, span_str(TO)));
    assert_false(outbox_asked_until(b.outbox, digest, span_str("AZ/GOV/X/other")));
    receipt(&b, one, DELIVERED);
    assert_false(outbox_asked_until(b.outbox, digest, span_str("AZ/GOV/X/other"))); /* one who was not asked cannot answer */
    assert_true(outbox_asked_until(b.outbox, digest, span_str(TO)));
    box_close(&b);
    assert_int_equal(box_open(&b), EHIS_OK);
    assert_true(outbox_asked_until(b.outbox, digest, span_str(TO)));
    outbox_forget_asked(b.outbox, 4999);
    assert_true(outbox_asked_until(b.outbox, digest, span_str(TO)));
    outbox_forget_asked(b.outbox, 5000);
    assert_false(outbox_asked_until(b.outbox, digest, span_str(TO)));
    box_fini(&b);
}

static void what_was_taken_is_remembered_when_its_bytes_have_gone(void **state)
{
    struct box b;
    uint8_t digest[32];
    (void)state;
    box_init(&b, ACCEPTED, false);
    memcpy(digest, put_one(&b)->by_digest.key, 32);
    box_close(&b);
    assert_int_equal(box_open(&b), EHIS_OK); /* its bytes stand before the newest snapshot, which does not name it */
    put_one(&b);
    receipt(&b, outbox_by_digest(b.outbox, digest), ACCEPTED);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_commit(b.store), EHIS_OK);
        box_close(&b);
        assert_int_equal(box_open(&b), EHIS_OK);
        struct out_message *m = outbox_by_digest(b.outbox, digest);
        assert_non_null(m);
        assert_true(m->state == ACCEPTED && !m->is_held && m->number == 1);
        assert_true(b.outbox && m->stream->first == m && out_stream_unsettled(m->stream) == 1 && m->next->number == 2 && m->next->is_held && m->stream->last == m->next);
        assert_true(outbox_asked_until(b.outbox, digest, span_str(TO)) == 5000);
    }
    receipt(&b, outbox_by_digest(b.outbox, digest), DELIVERED);
    box_close(&b);
    assert_int_equal(box_open(&b), EHIS_OK);
    assert_null(outbox_by_digest(b.outbox, digest));
    assert_true(outbox_asked_until(b.outbox, digest, span_str(TO)) == 5000);
    box_fini(&b);
}

static void an_end_that_was_with_the_application_when_the_process_died_is_told_again(void **state)
{
    (void)state;
    for (int is_held = 0; is_held < 2; is_held++) { /* a snapshot names what was let go; what is held is carried */
        struct box b;
        uint8_t digest[32];
        ehis_err err;
        box_init(&b, is_held ? REPLICATED : ACCEPTED, false);
        struct out_message *m = put_one(&b);
        memcpy(digest, m->by_digest.key, 32);
        receipt(&b, m, ACCEPTED);
        assert_int_equal(m->is_held, is_held);
        assert_true(outbox_on_receipt(b.outbox, m, &local, DELIVERED, &err));
        assert_int_equal(is_held ? outbox_carry(b.outbox, m->place.segment) : outbox_snapshot(b.outbox), EHIS_OK);
        assert_int_equal(store_commit(b.store), EHIS_OK);
        box_close(&b);
        assert_int_equal(box_open(&b), EHIS_OK);
        m = outbox_by_digest(b.outbox, digest);
        assert_non_null(m);
        assert_false(outbox_on_receipt(b.outbox, m, &local, ACCEPTED, &err));
        assert_true(outbox_on_receipt(b.outbox, m, &local, DELIVERED, &err));
        assert_true(m->is_final);
        assert_int_equal(outbox_finish(b.outbox, m), EHIS_OK);
        assert_true(outbox_lowest_ticket(b.outbox, true) == UINT64_MAX);
        box_fini(&b);
    }
}

static void what_was_carried_ahead_goes_first_after_a_restart_all_the_same(void **state)
{
    struct box b;
    (void)state;
    box_init(&b, ACCEPTED, false);
    put_one(&b);
    box_close(&b);
    assert_int_equal(box_open(&b), EHIS_OK); /* a second segment */
    put_one(&b);
    struct out_message *first = outbox_streams(b.outbox)->first;
    assert_int_equal(outbox_carry(b.outbox, first->place.segment), EHIS_OK);
    assert_int_equal(store_commit(b.store), EHIS_OK);
    receipt(&b, put_one(&b), ACCEPTED); /* the first segment goes */
    box_close(&b);
    assert_int_equal(box_open(&b), EHIS_OK);
    assert_true(outbox_lowest_ticket(b.outbox, false) != UINT64_MAX);
    assert_int_equal(out_stream_held(b.stream), 1);
    opened(&b, 1);
    assert_int_equal(submit(&b, 0), 1);
    assert_int_equal(submit(&b, 0), 2);
    assert_int_equal(submit(&b, 0), UINT64_MAX);
    box_fini(&b);
}

static void the_highest_sequence_outlives_its_message_a_restart_and_a_stream_that_is_given_up(void **state)
{
    struct box b;
    struct out_stream *fresh;
    (void)state;
    box_init(&b, ACCEPTED, false);
    put_one(&b);
    put_one(&b);
    for (int i = 0; i < 3; i++) {
        box_close(&b);
        assert_int_equal(box_open(&b), EHIS_OK);
        assert_int_equal(b.stream->sequence, 20);
        if (i == 0) {
            receipt(&b, b.stream->first, DELIVERED);
            receipt(&b, b.stream->first, DELIVERED);
        }
    }
    assert_int_equal(outbox_opened(b.outbox, b.stream, 9), EHIS_E_STATE_BEHIND);
    assert_int_equal(outbox_stream(b.outbox, OUT_REQUESTS, span_str(TO), (struct span){0}, &b.clock.random, &fresh), EHIS_OK);
    assert_ptr_not_equal(fresh, b.stream);
    assert_int_equal(fresh->sequence, 20);
    box_fini(&b);
}

static size_t in_memory(const struct out_stream *s)
{
    size_t bytes = 0;
    for (const struct out_message *m = s->first; m; m = m->next)
        bytes += m->bytes ? m->len : 0;
    return bytes;
}

static void what_waits_for_a_gateway_stands_on_the_disk_and_is_carried_ahead_however_much_it_is(void **state)
{
    enum { COUNT = 5, BYTES = 16 * 1024 * 1024 };
    struct box b;
    struct out_message *m[COUNT];
    uint8_t *large = calloc(1, BYTES), id[16] = {0}, digest[32] = {0};
    struct buf room;
    struct span bytes;
    (void)state;
    assert_non_null(large);
    buf_init(&room, BYTES);
    box_init(&b, ACCEPTED, false);
    for (uint64_t i = 0; i < COUNT; i++) {
        digest[0] = large[0] = large[BYTES - 1] = (uint8_t)(i + 1);
        struct out_new n = {b.stream, b.stream->next_number++, 0, id, digest, 5000, span_of(large, BYTES)};
        assert_int_equal(outbox_put(b.outbox, &n, &m[i]), EHIS_OK);
    }
    outbox_committed(b.outbox); /* what was not written stays */
    for (uint64_t i = 0; i < COUNT; i++)
        assert_true(m[i]->bytes || store_is_written(b.store, &m[i]->place));
    for (int round = 0; round < 2; round++) {
        assert_int_equal(store_commit(b.store), EHIS_OK);
        outbox_committed(b.outbox);
        assert_int_equal(in_memory(b.stream), BYTES);
        if (round == 0)
            assert_int_equal(outbox_carry(b.outbox, m[0]->place.segment), EHIS_OK);
    }
    box_close(&b);
    free(large);
    assert_int_equal(box_open(&b), EHIS_OK);
    for (uint8_t i = 1; i <= COUNT; i++) {
        digest[0] = i;
        struct out_message *again = outbox_by_digest(b.outbox, digest);
        assert_non_null(again);
        assert_int_equal(outbox_bytes(b.outbox, again, &room, &bytes), EHIS_OK);
        assert_int_equal(bytes.len, BYTES);
        assert_true(bytes.p[0] == i && bytes.p[BYTES - 1] == i);
    }
    buf_fini(&room);
    box_fini(&b);
}

static void in_memory_a_restart_begins_new_streams(void **state)
{
    struct box b;
    uint8_t id[16];
    (void)state;
    box_init(&b, ACCEPTED, true);
    put_one(&b);
    memcpy(id, b.stream->id, 16);
    box_close(&b);
    assert_int_equal(box_open(&b), EHIS_OK);
    assert_memory_not_equal(b.stream->id, id, 16);
    assert_int_equal(b.stream->next_number, 1);
    box_fini(&b);
}

/* ---- crashes ---- */

#define SENT_MAX 400
struct gateway { /* what it has taken: D by number */
    uint8_t taken[SENT_MAX + 1][32];
    uint64_t expected;
};
struct promise { uint8_t digest[32]; bool is_given, is_final; } promises[SENT_MAX + 1];

static void serve(struct box *b, struct gateway *g, uint64_t *seed)
{
    outbox_session_ended(b->outbox, b->stream->session, 0);
    assert_int_equal(outbox_opened(b->outbox, b->stream, g->expected > out_stream_unsettled(b->stream) ? g->expected : out_stream_unsettled(b->stream)), EHIS_OK);
    for (int turn = 0; turn < 60; turn++) {
        struct out_message *m;
        ehis_err err = EHIS_OK;
        if (sim_random_below(seed, 2) && b->stream->next_number <= SENT_MAX) {
            uint64_t number = b->stream->next_number;
            if (put(b, false, &m) != EHIS_OK || store_commit(b->store) != EHIS_OK)
                return;
            memcpy(promises[number].digest, m->by_digest.key, 32);
            promises[number].is_given = true;
        }
        m = out_stream_next(b->stream, 0);
        if (!m)
            continue;
        out_stream_submitted(m);
        assert_true(m->number <= g->expected);
        if (m->number == g->expected) {
            memcpy(g->taken[g->expected++], m->by_digest.key, 32);
        } else { /* a repeat: the same message */
            assert_memory_equal(g->taken[m->number], m->by_digest.key, 32);
        }
        uint8_t receipt_state = sim_random_below(seed, 3) ? ACCEPTED : DELIVERED;
        uint64_t number = m->number;
        if (sim_random_below(seed, 4) == 0)
            continue; /* the receipt is lost */
        bool is_new = outbox_on_receipt(b->outbox, m, &local, receipt_state, &err);
        if (err == EHIS_OK && is_new && receipt_state == DELIVERED)
            err = outbox_finish(b->outbox, m);
        if (err != EHIS_OK || store_commit(b->store) != EHIS_OK)
            return;
        promises[number].is_final |= receipt_state == DELIVERED;
    }
}

static void what_was_promised_reaches_the_gateway_once_with_the_same_bytes_whatever_crashes(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 120; nth++) {
        struct box b = {.wait_state = ACCEPTED};
        struct gateway g = {.expected = 1};
        uint64_t seed = nth;
        uint8_t id[16] = {0};
        memset(promises, 0, sizeof promises);
        sim_clock_init(&b.clock, nth);
        assert_int_equal(sim_disk_new(nth, &b.disk), EHIS_OK);
        for (int life = 0; life < 12; life++) {
            if (life < 10)
                sim_disk_fail(b.disk, SIM_ANY, 15 + (nth * 7 + (uint64_t)life * 31) % 160, EHIS_E_IO, true);
            if (box_open(&b) == EHIS_OK && store_commit(b.store) == EHIS_OK) {
                if (life > 0 && memcmp(id, b.stream->id, 16) != 0)
                    assert_false(promises[1].is_given); /* a promise keeps its stream alive */
                if (memcmp(id, b.stream->id, 16) != 0)
                    g = (struct gateway){.expected = 1};
                memcpy(id, b.stream->id, 16);
                serve(&b, &g, &seed);
            }
            box_close(&b);
            sim_disk_crash(b.disk, SIM_CRASH_RANDOM);
        }
        for (uint64_t n = 1; n <= SENT_MAX && promises[n].is_given; n++)
            if (n < g.expected)
                assert_memory_equal(g.taken[n], promises[n].digest, 32);
        /* the last life had no faults: everything promised before it has been taken */
        sim_disk_free(b.disk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_that_are_final_are_remembered_for_their_responses_until_they_expire),
        cmocka_unit_test(what_was_taken_is_remembered_when_its_bytes_have_gone),
        cmocka_unit_test(an_end_that_was_with_the_application_when_the_process_died_is_told_again),
        cmocka_unit_test(what_was_carried_ahead_goes_first_after_a_restart_all_the_same),
        cmocka_unit_test(the_highest_sequence_outlives_its_message_a_restart_and_a_stream_that_is_given_up),
        cmocka_unit_test(what_waits_for_a_gateway_stands_on_the_disk_and_is_carried_ahead_however_much_it_is),
        cmocka_unit_test(in_memory_a_restart_begins_new_streams),
        cmocka_unit_test(what_was_promised_reaches_the_gateway_once_with_the_same_bytes_whatever_crashes),
    };
    struct ehis_why why;
    if (crypto_init(&why) != EHIS_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
