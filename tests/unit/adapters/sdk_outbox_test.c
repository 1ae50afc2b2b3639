/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What is sent in streams: the same bytes until they are taken, in order, across crashes, BUSY and numbers ahead of order. */
#include "adapters/sdk/outbox.h"
#include "proto/crypto/sign.h"
#include "tests/support/sim_clock.h"
#include "tests/support/sim_disk.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ACCEPTED = 1, REPLICATED = 2, DELIVERED = 3, REFUSED = 5 };
#define TO "AZ/GOV/MIA/population"
static const struct out_gateway local = {0}; /* where the streams are open, and it does not replicate */

struct box {
    struct sim_disk *disk;
    struct sim_clock clock;
    struct store *store;
    struct outbox *outbox;
    struct out_stream *stream;
    bool is_memory;
    uint8_t wait_state;
};

static ehis_err on_replay(void *ctx, uint8_t type, struct span p, const struct store_place *at)
{
    return outbox_replay(((struct box *)ctx)->outbox, type, p, at);
}

static ehis_err on_snapshot(void *ctx, struct store *s)
{
    struct box *b = ctx;
    if (!b->store) {
        b->store = s;
        outbox_set_store(b->outbox, s);
    }
    return outbox_snapshot(b->outbox);
}

static ehis_err on_carry(void *ctx, uint64_t segment) { return outbox_carry(((struct box *)ctx)->outbox, segment); }

static ehis_err box_open(struct box *b)
{
    struct store_events events = {.ctx = b, .replay = on_replay, .snapshot = on_snapshot, .carry = on_carry};
    struct store *s;
    b->store = NULL;
    b->stream = NULL;
    assert_int_equal(outbox_new(1 << 20, b->is_memory, b->wait_state, &b->outbox), EHIS_OK);
    ehis_err err = store_open(sim_disk_disk(b->disk), &events, 4096, &s, NULL);
    if (err == EHIS_OK)
        err = outbox_stream(b->outbox, OUT_REQUESTS, span_str(TO), (struct span){0}, &b->clock.random, &b->stream);
    else
        b->store = NULL;
    return err;
}

static void box_close(struct box *b)
{
    outbox_free(b->outbox);
    store_free(b->store);
    b->outbox = NULL;
    b->store = NULL;
}

static void box_init(struct box *b, uint8_t wait_state, bool is_memory)
{
    *b = (struct box){.wait_state = wait_state, .is_memory = is_memory};
    sim_clock_init(&b->clock, 1);
    assert_int_equal(sim_disk_new(1, &b->disk), EHIS_OK);
    assert_int_equal(box_open(b), EHIS_OK);
}

static void box_fini(struct box *b)
{
    box_close(b);
    sim_disk_free(b->disk);
}

static void digest_of(struct span envelope, uint8_t out[32])
{
    struct hash h;
    hash_span(envelope, &h);
    memcpy(out, h.b, 32);
}

/* number 0: a key. The bytes name stream, number and a salt, as another envelope under the same number would. */
static ehis_err put(struct box *b, bool is_key, struct out_message **out)
{
    char text[200];
    uint8_t digest[32], id[16] = {0};
    uint64_t number = is_key ? 0 : b->stream->next_number++;
    static unsigned salt;
    snprintf(text, sizeof text, "envelope %llu salt %u ....................................................", (unsigned long long)number, salt++);
    digest_of(span_str(text), digest);
    return outbox_put(b->outbox, &(struct out_new){b->stream, number, 10 * number, id, digest, 5000, span_str(text)}, out);
}

static struct out_message *put_one(struct box *b)
{
    struct out_message *m;
    assert_int_equal(put(b, false, &m), EHIS_OK);
    assert_int_equal(store_commit(b->store), EHIS_OK);
    return m;
}

static uint64_t submit(struct box *b, int64_t now_ms)
{
    struct out_message *m = out_stream_next(b->stream, now_ms);
    if (!m)
        return UINT64_MAX;
    out_stream_submitted(m);
    return m->number;
}

static void receipt(struct box *b, struct out_message *m, uint8_t state)
{
    ehis_err err;
    bool is_final = outbox_on_receipt(b->outbox, m, &local, state, &err) && m->is_final;
    assert_int_equal(err, EHIS_OK);
    if (is_final)
        assert_int_equal(outbox_finish(b->outbox, m), EHIS_OK);
    assert_int_equal(store_commit(b->store), EHIS_OK);
}

static void opened(struct box *b, uint64_t expected)
{
    assert_int_equal(outbox_opened(b->outbox, b->stream, expected), EHIS_OK);
}

static void messages_go_out_in_order_after_the_stream_is_open(void **state)
{
    struct box b;
    (void)state;
    box_init(&b, ACCEPTED, false);
    put_one(&b);
    put_one(&b);
    assert_int_equal(submit(&b, 0), UINT64_MAX);
    assert_int_equal(out_stream_unsettled(b.stream), 1);
    opened(&b, 1);
    assert_int_equal(submit(&b, 0), 1);
    assert_int_equal(submit(&b, 0), 2);
    assert_int_equal(submit(&b, 0), UINT64_MAX);
    put_one(&b);
    assert_int_equal(submit(&b, 0), 3);
    box_fini(&b);
}

static void busy_pauses_and_then_everything_from_there_is_repeated_with_the_same_bytes(void **state)
{
    struct box b;
    struct out_message *m[4];
    struct buf room;
    struct span first, again;
    char kept[200];
    (void)state;
    box_init(&b, ACCEPTED, false);
    buf_init(&room, 4096);
    for (int i = 0; i < 4; i++)
        m[i] = put_one(&b);
    opened(&b, 1);
    for (int i = 0; i < 4; i++)
        submit(&b, 0);
    assert_int_equal(outbox_bytes(b.outbox, m[1], &room, &first), EHIS_OK);
    memcpy(kept, first.p, first.len);
    size_t kept_bytes = first.len;
    receipt(&b, m[0], ACCEPTED);
    out_stream_on_flow(m[1], 0, 500); /* BUSY until 500 */
    out_stream_on_flow(m[2], 2, 0);   /* OUT_OF_SEQUENCE: 2 is expected */
    assert_int_equal(submit(&b, 600), UINT64_MAX); /* the last is not answered yet: no storm of repeats */
    out_stream_on_flow(m[3], 2, 0);
    assert_int_equal(submit(&b, 499), UINT64_MAX);
    assert_int_equal(submit(&b, 500), 2);
    assert_int_equal(submit(&b, 500), 3);
    assert_int_equal(submit(&b, 500), 4);
    assert_int_equal(outbox_bytes(b.outbox, m[1], &room, &again), EHIS_OK);
    assert_int_equal(again.len, kept_bytes);
    assert_memory_equal(again.p, kept, kept_bytes);
    buf_fini(&room);
    box_fini(&b);
}

static void a_lost_session_repeats_what_is_not_taken_and_a_final_receipt_settles(void **state)
{
    struct box b;
    (void)state;
    box_init(&b, ACCEPTED, false);
    struct out_message *one = put_one(&b), *two = put_one(&b);
    opened(&b, 1);
    submit(&b, 0);
    submit(&b, 0);
    receipt(&b, one, ACCEPTED);
    outbox_session_ended(b.outbox, b.stream->session, 0);
    assert_int_equal(out_stream_unsettled(b.stream), 1); /* no final receipt of the first yet */
    opened(&b, 3);                                /* the gateway has both: the second comes once more, for its receipt */
    assert_int_equal(submit(&b, 0), 2);
    assert_int_equal(submit(&b, 0), UINT64_MAX);
    receipt(&b, one, DELIVERED);
    assert_int_equal(out_stream_unsettled(b.stream), 2);
    receipt(&b, two, REFUSED);
    assert_int_equal(out_stream_unsettled(b.stream), 3);
    assert_int_equal(outbox_lowest_ticket(b.outbox, true), UINT64_MAX);
    box_fini(&b);
}

static void replicated_is_waited_for_where_that_is_told(void **state)
{
    struct box b;
    (void)state;
    box_init(&b, REPLICATED, false);
    struct out_message *one = put_one(&b);
    opened(&b, 1);
    submit(&b, 0);
    receipt(&b, one, ACCEPTED);
    assert_true(one->is_held);
    assert_true(outbox_lowest_ticket(b.outbox, false) == one->ticket);
    receipt(&b, one, REPLICATED);
    assert_false(one->is_held);
    assert_true(outbox_lowest_ticket(b.outbox, false) == UINT64_MAX);
    assert_true(outbox_lowest_ticket(b.outbox, true) == one->ticket);
    box_fini(&b);
}

static void a_gateway_that_wants_what_was_let_go_gets_the_stream_from_what_is_held(void **state)
{
    struct box b;
    (void)state;
    box_init(&b, ACCEPTED, false);
    struct out_message *one = put_one(&b);
    put_one(&b);
    opened(&b, 1);
    submit(&b, 0);
    receipt(&b, one, ACCEPTED); /* at the first gateway */
    outbox_session_ended(b.outbox, b.stream->session, 0);
    assert_int_equal(out_stream_unsettled(b.stream), 1);
    assert_int_equal(out_stream_held(b.stream), 2); /* the second gateway knows nothing, and gets what is held */
    opened(&b, 2);
    assert_int_equal(submit(&b, 0), 2);
    box_fini(&b);
}

static void what_another_gateway_takes_meanwhile_opens_the_stream_again(void **state)
{
    struct box b;
    (void)state;
    box_init(&b, ACCEPTED, false);
    struct out_message *one = put_one(&b), *two = put_one(&b);
    put_one(&b);
    opened(&b, 1);
    submit(&b, 0);
    submit(&b, 0);
    out_stream_on_flow(one, 0, 0);
    receipt(&b, one, ACCEPTED); /* of the one where it was before */
    out_stream_on_flow(two, 1, 0); /* here it is still expected */
    assert_int_equal(submit(&b, 5000), UINT64_MAX);
    assert_false(b.stream->is_open);
    assert_int_equal(out_stream_held(b.stream), 2);
    opened(&b, 2);
    assert_int_equal(submit(&b, 5000), 2);
    box_fini(&b);
}

static void accepted_at(struct box *b, struct out_message *m, uint32_t slot, uint8_t state)
{
    struct out_gateway g = {slot + 1, slot, false};
    ehis_err err;
    bool is_new = outbox_on_receipt(b->outbox, m, &g, state, &err);
    assert_int_equal(err, EHIS_OK);
    if (is_new && m->is_final)
        assert_int_equal(outbox_finish(b->outbox, m), EHIS_OK);
    assert_int_equal(store_commit(b->store), EHIS_OK);
}

static void assert_to_hear(const struct box *b, bool first, bool second, bool third)
{
    assert_int_equal(out_stream_is_to_hear(b->stream, 1, 0), first);
    assert_int_equal(out_stream_is_to_hear(b->stream, 2, 1), second);
    assert_int_equal(out_stream_is_to_hear(b->stream, 3, 2), third);
}

static void each_gateway_that_has_accepted_something_is_heard_whatever_another_owes(void **state)
{
    struct box b;
    (void)state;
    box_init(&b, ACCEPTED, false);
    struct out_message *one = put_one(&b), *two = put_one(&b), *three = put_one(&b);
    b.stream->session = 3;
    assert_to_hear(&b, false, false, false);
    accepted_at(&b, one, 0, ACCEPTED);
    accepted_at(&b, two, 1, ACCEPTED);
    accepted_at(&b, three, 1, ACCEPTED);
    assert_to_hear(&b, true, true, false); /* the first one's never comes: the second is heard all the same */
    accepted_at(&b, two, 1, DELIVERED);
    assert_to_hear(&b, true, true, false);
    accepted_at(&b, three, 1, DELIVERED);
    assert_to_hear(&b, true, false, false);
    accepted_at(&b, one, 1, ACCEPTED); /* both have it: either may tell */
    assert_to_hear(&b, true, true, false);
    b.stream->session = 1;
    assert_to_hear(&b, false, true, false);
    accepted_at(&b, one, 1, DELIVERED);
    assert_to_hear(&b, false, false, false);
    box_fini(&b);
}

static void after_a_restart_every_gateway_is_asked_until_one_says_that_it_has_it(void **state)
{
    struct box b;
    uint8_t digest[32];
    (void)state;
    box_init(&b, ACCEPTED, false);
    memcpy(digest, put_one(&b)->by_digest.key, 32);
    accepted_at(&b, outbox_by_digest(b.outbox, digest), 1, ACCEPTED);
    for (int i = 0; i < 2; i++) {
        box_close(&b);
        assert_int_equal(box_open(&b), EHIS_OK);
        b.stream->session = 3;
        assert_to_hear(&b, true, true, false);
    }
    accepted_at(&b, outbox_by_digest(b.outbox, digest), 1, ACCEPTED); /* nothing new, but for who says it */
    assert_to_hear(&b, false, true, false);
    accepted_at(&b, outbox_by_digest(b.outbox, digest), 1, DELIVERED);
    assert_to_hear(&b, false, false, false);
    box_fini(&b);
}

static void what_was_accepted_and_never_ended_is_found_a_day_after_its_time(void **state)
{
    struct box b;
    const int64_t day = 86400000, at = 5000 + day; /* put() lets them expire at 5000 */
    (void)state;
    box_init(&b, REPLICATED, false);
    struct out_message *one = put_one(&b), *two = put_one(&b), *three = put_one(&b);
    put_one(&b);
    accepted_at(&b, one, 0, ACCEPTED);
    accepted_at(&b, three, 0, ACCEPTED);
    assert_null(out_stream_untold(b.stream, NULL, at - 1));
    assert_ptr_equal(out_stream_untold(b.stream, NULL, at), one);
    assert_ptr_equal(out_stream_untold(b.stream, one, at), three); /* the second nobody has accepted: it goes on being sent */
    assert_null(out_stream_untold(b.stream, three, at));
    one->is_telling = true;
    assert_ptr_equal(out_stream_untold(b.stream, NULL, at), three);
    assert_true(two->is_held);
    box_fini(&b);
}

static void a_gateway_that_knows_numbers_that_we_do_not_ends_the_stream(void **state)
{
    struct box b;
    (void)state;
    box_init(&b, ACCEPTED, false);
    put_one(&b);
    struct out_stream *old = b.stream, *fresh;
    uint8_t old_id[16];
    memcpy(old_id, old->id, 16);
    assert_int_equal(outbox_opened(b.outbox, b.stream, 9), EHIS_E_STATE_BEHIND);
    assert_int_equal(outbox_stream(b.outbox, OUT_REQUESTS, span_str(TO), (struct span){0}, &b.clock.random, &fresh), EHIS_OK);
    assert_ptr_not_equal(fresh, old);
    assert_memory_not_equal(fresh->id, old->id, 16);
    assert_int_equal(store_commit(b.store), EHIS_OK);
    box_close(&b);
    assert_int_equal(box_open(&b), EHIS_OK);
    assert_memory_not_equal(b.stream->id, old_id, 16); /* still given up after a restart */
    box_fini(&b);
}

static void a_key_is_taken_before_the_event_behind_it_is_submitted(void **state)
{
    struct box b;
    struct out_message *key, *event;
    (void)state;
    box_init(&b, ACCEPTED, false);
    assert_int_equal(put(&b, true, &key), EHIS_OK);
    event = put_one(&b);
    opened(&b, 1);
    assert_int_equal(submit(&b, 0), 0);
    assert_int_equal(submit(&b, 0), UINT64_MAX);
    out_stream_on_flow(key, 0, 100);
    assert_int_equal(submit(&b, 99), UINT64_MAX);
    assert_int_equal(submit(&b, 100), 0);
    receipt(&b, key, ACCEPTED); /* it is gone */
    assert_int_equal(submit(&b, 100), 1);
    receipt(&b, event, ACCEPTED);
    box_fini(&b);
}

static void a_key_that_ends_by_another_gateways_word_holds_no_event(void **state)
{
    struct box b;
    struct out_message *key;
    (void)state;
    box_init(&b, ACCEPTED, false);
    assert_int_equal(put(&b, true, &key), EHIS_OK);
    put_one(&b);
    opened(&b, 1);
    assert_int_equal(submit(&b, 0), 0);
    accepted_at(&b, key, 1, ACCEPTED); /* it is gone */
    assert_int_equal(submit(&b, 0), 1);
    assert_int_equal(b.stream->unanswered, 1);
    box_fini(&b);
}

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

static void the_outbox_is_bounded_in_bytes_and_streams(void **state)
{
    struct box b;
    struct out_stream *s;
    char name[40];
    (void)state;
    box_init(&b, ACCEPTED, false);
    assert_int_equal(outbox_check_room(b.outbox, 1 << 20), EHIS_OK);
    assert_int_equal(outbox_check_room(b.outbox, (1 << 20) + 1), EHIS_E_SDK_BUSY);
    put_one(&b);
    assert_int_equal(outbox_check_room(b.outbox, 1 << 20), EHIS_E_SDK_BUSY);
    for (int i = 1; i < 256; i++) {
        snprintf(name, sizeof name, "AZ/GOV/MIA/s%d", i);
        assert_int_equal(outbox_stream(b.outbox, OUT_REQUESTS, span_str(name), (struct span){0}, &b.clock.random, &s), EHIS_OK);
    }
    assert_int_equal(outbox_stream(b.outbox, OUT_EVENTS, span_str(TO), span_str("E"), &b.clock.random, &s), EHIS_E_SDK_BUSY);
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

static void the_outbox_is_bounded_in_messages_that_nobody_has_told_the_end_of(void **state)
{
    struct box b;
    struct out_message *m;
    ehis_err err;
    (void)state;
    box_init(&b, ACCEPTED, true);
    for (int i = 0; i < 262144; i++) {
        assert_int_equal(outbox_check_room(b.outbox, 1), EHIS_OK);
        assert_int_equal(put(&b, false, &m), EHIS_OK);
        assert_true(outbox_on_receipt(b.outbox, m, &local, ACCEPTED, &err)); /* its bytes have gone */
    }
    assert_int_equal(outbox_check_room(b.outbox, 1), EHIS_E_SDK_BUSY);
    receipt(&b, m, DELIVERED);
    assert_int_equal(outbox_check_room(b.outbox, 1), EHIS_OK);
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
        cmocka_unit_test(messages_go_out_in_order_after_the_stream_is_open),
        cmocka_unit_test(busy_pauses_and_then_everything_from_there_is_repeated_with_the_same_bytes),
        cmocka_unit_test(a_lost_session_repeats_what_is_not_taken_and_a_final_receipt_settles),
        cmocka_unit_test(replicated_is_waited_for_where_that_is_told),
        cmocka_unit_test(a_gateway_that_wants_what_was_let_go_gets_the_stream_from_what_is_held),
        cmocka_unit_test(what_another_gateway_takes_meanwhile_opens_the_stream_again),
        cmocka_unit_test(each_gateway_that_has_accepted_something_is_heard_whatever_another_owes),
        cmocka_unit_test(after_a_restart_every_gateway_is_asked_until_one_says_that_it_has_it),
        cmocka_unit_test(what_was_accepted_and_never_ended_is_found_a_day_after_its_time),
        cmocka_unit_test(a_gateway_that_knows_numbers_that_we_do_not_ends_the_stream),
        cmocka_unit_test(a_key_is_taken_before_the_event_behind_it_is_submitted),
        cmocka_unit_test(a_key_that_ends_by_another_gateways_word_holds_no_event),
        cmocka_unit_test(requests_that_are_final_are_remembered_for_their_responses_until_they_expire),
        cmocka_unit_test(what_was_taken_is_remembered_when_its_bytes_have_gone),
        cmocka_unit_test(an_end_that_was_with_the_application_when_the_process_died_is_told_again),
        cmocka_unit_test(what_was_carried_ahead_goes_first_after_a_restart_all_the_same),
        cmocka_unit_test(the_highest_sequence_outlives_its_message_a_restart_and_a_stream_that_is_given_up),
        cmocka_unit_test(the_outbox_is_bounded_in_bytes_and_streams),
        cmocka_unit_test(what_waits_for_a_gateway_stands_on_the_disk_and_is_carried_ahead_however_much_it_is),
        cmocka_unit_test(the_outbox_is_bounded_in_messages_that_nobody_has_told_the_end_of),
        cmocka_unit_test(in_memory_a_restart_begins_new_streams),
        cmocka_unit_test(what_was_promised_reaches_the_gateway_once_with_the_same_bytes_whatever_crashes),
    };
    struct ehis_why why;
    if (crypto_init(&why) != EHIS_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
