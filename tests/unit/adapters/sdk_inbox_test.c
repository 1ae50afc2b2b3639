/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* R2: each message of a stream is handed over once and in order, whatever crashes; what was being handled comes again, marked. */
#include "adapters/sdk/inbox.h"
#include "proto/crypto/sign.h"
#include "tests/support/sim_clock.h"
#include "tests/support/sim_disk.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SENDER "AZ/GOV/STS/tax"
#define NUMBERS 60
static const uint8_t stream[16] = {1, 2, 3};

struct box {
    struct sim_disk *disk;
    struct store *store;
    struct inbox *inbox;
    uint64_t gaps[64];
    size_t gap_count, dropped;
    uint64_t position;
};

static ehis_err on_replay(void *ctx, uint8_t type, struct span p, const struct store_place *at)
{
    (void)at;
    return inbox_owns_record(type) ? inbox_replay(((struct box *)ctx)->inbox, type, p) : EHIS_OK;
}

static ehis_err on_snapshot(void *ctx, struct store *s)
{
    struct box *b = ctx;
    if (!b->store) {
        b->store = s;
        inbox_set_store(b->inbox, s, 1000);
    }
    return inbox_snapshot(b->inbox);
}

static void on_gap(void *ctx, const struct in_stream *s, uint64_t number)
{
    struct box *b = ctx;
    (void)s;
    if (b->gap_count < 64)
        b->gaps[b->gap_count++] = number;
}

static void on_dropped(void *ctx, struct in_item *item)
{
    ((struct box *)ctx)->dropped++;
    free(item);
}

static uint64_t on_position(void *arg, const char *sender, const uint8_t id[16])
{
    assert_string_equal(sender, SENDER);
    assert_memory_equal(id, stream, 16);
    return ((struct box *)arg)->position;
}

static ehis_err box_open(struct box *b, bool keeps_own)
{
    struct inbox_events events = {.ctx = b, .on_gap = on_gap, .on_dropped = on_dropped, .position_arg = b};
    struct store_events store_events = {.ctx = b, .replay = on_replay, .snapshot = on_snapshot};
    struct store *s;
    if (keeps_own)
        events.position = on_position;
    b->store = NULL;
    b->inbox = NULL;
    assert_int_equal(inbox_new(&events, &b->inbox), EHIS_OK);
    return store_open(sim_disk_disk(b->disk), &store_events, 8192, &s, NULL);
}

static void box_close(struct box *b)
{
    inbox_free(b->inbox);
    store_free(b->store);
    b->inbox = NULL;
    b->store = NULL;
}

static void box_init(struct box *b)
{
    *b = (struct box){0};
    assert_int_equal(sim_disk_new(1, &b->disk), EHIS_OK);
    assert_int_equal(box_open(b, false), EHIS_OK);
}

static void box_fini(struct box *b)
{
    box_close(b);
    sim_disk_free(b->disk);
}

static struct in_item *item_new(uint64_t number, uint8_t skip_state)
{
    struct in_item *i = calloc(1, sizeof *i);
    assert_non_null(i);
    i->number = number;
    i->delivery = number + 100;
    i->session = 1;
    i->skip_state = skip_state;
    be_put(i->digest, number, 8);
    return i;
}

static enum inbox_verdict offer(struct box *b, uint64_t number, uint8_t skip_state, int64_t now_ms)
{
    struct in_item *i = item_new(number, skip_state);
    enum inbox_verdict v = inbox_offer(b->inbox, span_str(SENDER), stream, i, now_ms);
    if (v != INBOX_TAKEN)
        free(i);
    return v;
}

static struct in_item *next(struct box *b, int64_t now_ms)
{
    inbox_touch_gaps(b->inbox);
    for (struct in_stream *s; (s = inbox_touched(b->inbox));) {
        struct in_item *i = inbox_next(b->inbox, s, now_ms);
        if (i)
            return i;
    }
    return NULL;
}

static void finish(struct box *b, struct in_item *i, bool is_rejected)
{
    assert_int_equal(inbox_finish(b->inbox, i, is_rejected, 1000), EHIS_OK);
    assert_int_equal(store_commit(b->store), EHIS_OK);
    inbox_committed(b->inbox);
    free(i);
}

static void take_one(struct box *b, uint64_t number, bool is_repeated, bool is_late)
{
    struct in_item *i = next(b, 1000);
    assert_non_null(i);
    assert_int_equal(i->number, number);
    assert_int_equal(i->is_repeated, is_repeated);
    assert_int_equal(i->is_late, is_late);
    finish(b, i, false);
}

static void numbers_that_come_mixed_up_are_handed_over_in_order_and_one_at_a_time(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 3, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    struct in_item *i = next(&b, 1000);
    assert_int_equal(i->number, 1);
    assert_null(next(&b, 1000)); /* the first is not finished */
    finish(&b, i, false);
    take_one(&b, 2, false, false);
    take_one(&b, 3, false, false);
    assert_null(next(&b, 1000));
    box_fini(&b);
}

static void a_number_that_was_finished_is_acknowledged_again_as_it_was(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    take_one(&b, 1, false, false);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    finish(&b, next(&b, 1000), true);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_REJECTED);
    box_close(&b);
    assert_int_equal(box_open(&b, false), EHIS_OK); /* after a restart too */
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_REJECTED);
    box_fini(&b);
}

static void the_same_number_again_takes_the_new_delivery_and_another_message_under_it_is_a_conflict(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    struct in_item *again = item_new(1, 0), *other = item_new(1, 0);
    again->delivery = 777;
    other->digest[20] = 1;
    assert_int_equal(inbox_offer(b.inbox, span_str(SENDER), stream, again, 1000), INBOX_ATTACHED);
    assert_int_equal(inbox_offer(b.inbox, span_str(SENDER), stream, other, 1000), INBOX_CONFLICT);
    struct in_item *i = next(&b, 1000);
    assert_int_equal(i->delivery, 777);
    again->delivery = 778;
    assert_int_equal(inbox_offer(b.inbox, span_str(SENDER), stream, again, 1000), INBOX_ATTACHED); /* while it runs, too */
    assert_int_equal(i->delivery, 778);
    finish(&b, i, false);
    free(again);
    free(other);
    box_fini(&b);
}

static void a_gap_that_nothing_explains_is_passed_after_30_s_and_what_comes_for_it_later_is_late_and_once(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    take_one(&b, 1, false, false);
    assert_int_equal(offer(&b, 4, 0, 1000), INBOX_TAKEN);
    assert_null(next(&b, 1000));
    assert_null(next(&b, 1000 + INBOX_GAP_MS - 1));
    assert_int_equal(b.gap_count, 0);
    struct in_item *i = next(&b, 1000 + INBOX_GAP_MS);
    assert_int_equal(i->number, 4);
    assert_false(i->is_repeated);
    assert_int_equal(b.gap_count, 2);
    assert_int_equal(b.gaps[0], 2);
    assert_int_equal(b.gaps[1], 3);
    finish(&b, i, false);
    box_close(&b);
    assert_int_equal(box_open(&b, false), EHIS_OK); /* it is remembered */
    assert_int_equal(offer(&b, 3, 0, 1000), INBOX_TAKEN);
    take_one(&b, 3, true, true); /* the box was not closed in order: it may have been handed over late before */
    assert_int_equal(offer(&b, 3, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    take_one(&b, 2, true, true);
    assert_int_equal(offer(&b, 5, 0, 1000), INBOX_TAKEN);
    take_one(&b, 5, true, false); /* the box was not closed in order */
    box_fini(&b);
}

static void a_skip_takes_the_place_of_its_number_and_the_number_may_come_late(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 5, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    struct in_item *i = next(&b, 1000);
    assert_int_equal(i->skip_state, 5);
    finish(&b, i, false);
    take_one(&b, 2, false, false);
    assert_int_equal(offer(&b, 1, 5, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    take_one(&b, 1, false, true);
    box_fini(&b);
}

static void what_is_given_back_delays_its_stream_without_a_gap_and_comes_marked(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    struct in_item *i = next(&b, 1000);
    inbox_give_back(i);
    free(i);
    assert_null(next(&b, 1000 + 10 * INBOX_GAP_MS));
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    take_one(&b, 1, true, false);
    take_one(&b, 2, false, false);
    assert_int_equal(b.gap_count, 0);
    box_fini(&b);
}

static void the_window_holds_1024_numbers_and_no_more(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, INBOX_WINDOW, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, INBOX_WINDOW + 1, 0, 1000), INBOX_AHEAD);
    take_one(&b, 1, false, false);
    assert_int_equal(offer(&b, INBOX_WINDOW + 1, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, UINT64_MAX, 0, 1000), INBOX_AHEAD);
    box_fini(&b);
}

/* A subscription that ended and began again, or a queue that was full for long: without this the stream would never go on. */
static void a_gap_wider_than_the_window_is_held_and_passed_like_any_other(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    take_one(&b, 1, false, false);
    assert_int_equal(offer(&b, 5000, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 5001, 0, 1000), INBOX_TAKEN);
    struct in_stream *s = inbox_touched(b.inbox);
    assert_non_null(s);
    assert_null(inbox_next(b.inbox, s, 1000));
    assert_null(inbox_next(b.inbox, s, 1000 + INBOX_GAP_MS - 1));
    struct in_item *item = inbox_next(b.inbox, s, 1000 + INBOX_GAP_MS);
    assert_non_null(item);
    assert_int_equal(item->number, 5000);
    assert_int_equal(b.gaps[0], 2);
    assert_int_equal(b.gaps[1], 5000 - INBOX_WINDOW);
    assert_int_equal(inbox_finish(b.inbox, item, false, 40000), EHIS_OK);
    free(item);
    assert_int_equal(offer(&b, 4999, 0, 40000), INBOX_TAKEN); /* late */
    assert_int_equal(offer(&b, 3000, 0, 40000), INBOX_DONE);
    box_fini(&b);
}

static void what_was_before_the_first_that_came_is_handed_over_late_not_taken_for_done(void **state)
{
    struct box b;
    (void)state;
    box_init(&b); /* the first numbers are at a gateway that is slow, the next at another */
    assert_int_equal(offer(&b, 3, 0, 1000), INBOX_TAKEN);
    take_one(&b, 3, true, false);
    assert_int_equal(b.gap_count, 0);
    for (int again = 0; again < 2; again++) { /* also after a restart */
        assert_int_equal(offer(&b, 1 + (uint64_t)again, 0, 1000), INBOX_TAKEN);
        take_one(&b, 1 + (uint64_t)again, true, true); /* perhaps by another folder before */
        assert_int_equal(offer(&b, 1 + (uint64_t)again, 0, 1000), INBOX_DONE);
        box_close(&b);
        assert_int_equal(box_open(&b, false), EHIS_OK);
    }
    box_fini(&b);
}

static void a_new_folder_begins_at_the_first_number_that_comes_marked(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 40, 0, 1000), INBOX_TAKEN);
    take_one(&b, 40, true, false);
    assert_int_equal(offer(&b, 41, 0, 1000), INBOX_TAKEN);
    take_one(&b, 41, true, false); /* the other folder may have finished it and told nobody yet */
    inbox_takeover(b.inbox); /* another folder has had the streams, and this one has them again */
    assert_int_equal(offer(&b, 90, 0, 1000), INBOX_TAKEN);
    take_one(&b, 90, true, false);
    assert_int_equal(b.gap_count, 0);
    assert_int_equal(offer(&b, 41, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 89, 0, 1000), INBOX_TAKEN); /* by way of a slower gateway: the other folder has not had it */
    take_one(&b, 89, true, true);
    assert_int_equal(offer(&b, 89, 0, 1000), INBOX_DONE);
    box_fini(&b);
}

static void an_application_that_keeps_positions_is_asked_for_each_stream(void **state)
{
    struct box b = {.position = 7};
    (void)state;
    assert_int_equal(sim_disk_new(1, &b.disk), EHIS_OK);
    assert_int_equal(box_open(&b, true), EHIS_OK);
    assert_int_equal(offer(&b, 7, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 8, 0, 1000), INBOX_TAKEN);
    take_one(&b, 8, true, false);
    assert_false(store_is_dirty(b.store)); /* nothing is recorded here */
    box_fini(&b);
}

static void what_was_rejected_stays_rejected_where_the_application_keeps_the_position(void **state)
{
    struct box b = {.position = 0};
    (void)state;
    assert_int_equal(sim_disk_new(1, &b.disk), EHIS_OK);
    assert_int_equal(box_open(&b, true), EHIS_OK);
    for (uint64_t n = 1; n <= 4; n++) {
        assert_int_equal(offer(&b, n, 0, 1000), INBOX_TAKEN);
        struct in_item *i = next(&b, 1000);
        assert_int_equal(i->number, n);
        finish(&b, i, n == 2 || n == 4);
    }
    assert_int_equal(store_commit(b.store), EHIS_OK);
    b.position = 3; /* of what had an effect */
    for (int restart = 0; restart < 2; restart++) {
        box_close(&b);
        assert_int_equal(box_open(&b, true), EHIS_OK);
        assert_int_equal(offer(&b, 1, 0, 1000), INBOX_DONE);
        assert_int_equal(offer(&b, 2, 0, 1000), INBOX_REJECTED);
        assert_int_equal(offer(&b, 3, 0, 1000), INBOX_DONE);
        assert_int_equal(offer(&b, 4, 0, 1000), INBOX_REJECTED);
        assert_int_equal(offer(&b, 5, 0, 1000), INBOX_TAKEN);
        free(next(&b, 1000));
    }
    b.position = 1030; /* far ahead of what stands here: number 1026 has the place of 2 */
    box_close(&b);
    assert_int_equal(box_open(&b, true), EHIS_OK);
    assert_int_equal(offer(&b, 1026, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 1031, 0, 1000), INBOX_TAKEN);
    box_fini(&b);
}

static void a_takeover_does_not_take_what_is_above_for_what_was_a_window_below(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    finish(&b, next(&b, 1000), true);
    inbox_takeover(b.inbox);
    assert_int_equal(offer(&b, INBOX_WINDOW + 2, 0, 1000), INBOX_TAKEN);
    take_one(&b, INBOX_WINDOW + 2, true, false);
    assert_int_equal(offer(&b, INBOX_WINDOW + 1, 0, 1000), INBOX_TAKEN); /* in the place of 1, which was rejected */
    take_one(&b, INBOX_WINDOW + 1, true, true);
    box_fini(&b);
}

/* What was finished or passed is lost with a crash; the application's position is not, once it has stored the effect of what came next. */
static void what_the_applications_position_does_not_tell_is_durable_before_it_moves_over_it(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) { /* rejected, skipped, a gap */
        struct box b = {.position = 0};
        assert_int_equal(sim_disk_new(1, &b.disk), EHIS_OK);
        assert_int_equal(box_open(&b, true), EHIS_OK);
        if (how < 2)
            assert_int_equal(offer(&b, 1, how == 1 ? 6 : 0, 1000), INBOX_TAKEN);
        assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
        struct in_item *i = next(&b, 1000);
        if (how < 2) {
            assert_int_equal(i->number, 1);
            assert_int_equal(inbox_finish(b.inbox, i, how == 0, 1000), EHIS_OK);
            free(i);
        }
        assert_null(next(&b, 1000 + INBOX_GAP_MS));
        assert_int_equal(b.gap_count, how == 2);
        assert_true(store_is_dirty(b.store));
        assert_int_equal(store_commit(b.store), EHIS_OK);
        inbox_committed(b.inbox);
        i = next(&b, 1000 + INBOX_GAP_MS);
        assert_int_equal(i->number, 2);
        b.position = 2; /* its effect is stored, and nothing of it here: a crash */
        box_close(&b);
        free(i);
        assert_int_equal(box_open(&b, true), EHIS_OK);
        assert_int_equal(offer(&b, 2, 0, 1000), INBOX_DONE);
        assert_int_equal(offer(&b, 1, 0, 1000), how == 0 ? INBOX_REJECTED : INBOX_TAKEN);
        if (how != 0)
            take_one(&b, 1, true, true);
        box_fini(&b);
    }
}

static void what_waits_is_dropped_with_its_session_and_what_runs_goes_on(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    struct in_item *i = next(&b, 1000);
    inbox_session_ended(b.inbox, 1);
    assert_int_equal(b.dropped, 1);
    assert_int_equal(i->session, 0);
    finish(&b, i, false);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_DONE);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    take_one(&b, 2, false, false);
    box_fini(&b);
}

/* ---- crashes ---- */

struct gateway { uint64_t first_unacked; };
struct application { unsigned unmarked[NUMBERS + 1], marked[NUMBERS + 1]; uint64_t last; };

/* A process: the gateway delivers a window in random order and again; false when the disk has failed. */
static bool live(struct box *b, struct gateway *g, struct application *a, uint64_t *seed)
{
    inbox_session_ended(b->inbox, 1);
    for (int turn = 0; turn < 400 && g->first_unacked <= NUMBERS; turn++) {
        uint64_t n = g->first_unacked + (turn ? sim_random_below(seed, 8) : 0);
        if (n <= NUMBERS) {
            enum inbox_verdict v = offer(b, n, 0, 1000);
            if (v == INBOX_DONE && n == g->first_unacked)
                g->first_unacked++;
        }
        if (store_commit(b->store) != EHIS_OK)
            return false;
        struct in_item *i = next(b, 1000);
        if (!i)
            continue;
        if (i->number <= a->last)
            assert_true(i->is_repeated);
        assert_true(i->number <= a->last + 1);
        a->last = i->number > a->last ? i->number : a->last;
        (i->is_repeated ? a->marked : a->unmarked)[i->number]++;
        uint64_t number = i->number;
        bool is_done = inbox_finish(b->inbox, i, false, 1000) == EHIS_OK;
        bool is_committed = is_done && sim_random_below(seed, 3) && store_commit(b->store) == EHIS_OK;
        free(i);
        if (!is_done)
            return false;
        if (is_committed)
            inbox_committed(b->inbox);
        if (is_committed && sim_random_below(seed, 3) && number == g->first_unacked)
            g->first_unacked++; /* else the acknowledgement is lost */
    }
    return true;
}

static void each_number_is_handed_over_once_unless_marked_across_crashes_at_every_operation(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 150; nth++) {
        struct box b = {0};
        struct gateway g = {1};
        struct application a = {0};
        uint64_t seed = nth;
        assert_int_equal(sim_disk_new(nth, &b.disk), EHIS_OK);
        for (int life = 0; g.first_unacked <= NUMBERS; life++) {
            assert_true(life < 200);
            sim_disk_fail(b.disk, SIM_ANY, 12 + (uint64_t)life * 4 + (nth * 7 + (uint64_t)life * 13) % 90, EHIS_E_IO, true);
            if (box_open(&b, false) == EHIS_OK)
                live(&b, &g, &a, &seed);
            else
                b.store = NULL;
            box_close(&b);
            sim_disk_crash(b.disk, SIM_CRASH_RANDOM);
        }
        for (uint64_t n = 1; n <= NUMBERS; n++) {
            assert_true(a.unmarked[n] <= 1);
            assert_true(a.unmarked[n] + a.marked[n] >= 1);
        }
        sim_disk_free(b.disk);
    }
}

static void what_was_finished_but_not_recorded_comes_again_marked_and_no_more_than_a_group_of_it(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    for (uint64_t n = 1; n <= INBOX_GROUP + 3; n++)
        assert_int_equal(offer(&b, n, 0, 1000), INBOX_TAKEN);
    assert_int_equal(store_commit(b.store), EHIS_OK); /* the stream is known */
    for (uint64_t n = 1; n <= INBOX_GROUP; n++) {
        struct in_item *i = next(&b, 1000);
        assert_non_null(i);
        assert_int_equal(inbox_finish(b.inbox, i, false, 1000), EHIS_OK);
        free(i);
    }
    assert_null(next(&b, 1000));
    box_close(&b); /* a crash: nothing of it is recorded */
    assert_int_equal(box_open(&b, false), EHIS_OK);
    for (uint64_t n = 1; n <= INBOX_GROUP + 1; n++) {
        assert_int_equal(offer(&b, n, 0, 1000), INBOX_TAKEN);
        take_one(&b, n, n <= INBOX_GROUP, false);
        inbox_committed(b.inbox);
    }
    box_close(&b);
    assert_int_equal(box_open(&b, false), EHIS_OK);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_DONE);
    box_fini(&b);
}

static void a_message_and_its_skip_do_not_quarrel_whichever_comes_first(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 1, 4, 1000), INBOX_DONE); /* the message is here, from another gateway */
    finish(&b, next(&b, 1000), true);
    assert_int_equal(offer(&b, 1, 4, 1000), INBOX_REJECTED); /* our own rejection comes back */
    assert_int_equal(offer(&b, 2, 4, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_AHEAD);
    take_one(&b, 2, false, false);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    take_one(&b, 2, false, true);
    box_fini(&b);
}

static void behind_what_nobody_takes_nothing_is_taken(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    struct in_item *i = next(&b, 1000);
    inbox_stop(b.inbox, i);
    free(i);
    assert_int_equal(b.dropped, 1);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_STOPPED);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN); /* it comes again, and what is behind it */
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    i = next(&b, 1000);
    inbox_stop(b.inbox, i);
    free(i);
    assert_int_equal(b.dropped, 2);
    inbox_go_on(b.inbox); /* what is still on its way waits for it */
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    assert_null(next(&b, 90000)); /* and is no gap */
    assert_int_equal(offer(&b, 1, 0, 90000), INBOX_TAKEN);
    take_one(&b, 1, false, false);
    take_one(&b, 2, false, false);
    box_fini(&b);
}

static void after_closing_in_order_only_what_was_being_handled_is_marked(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(offer(&b, 1, 0, 1000), INBOX_TAKEN);
    take_one(&b, 1, false, false);
    assert_int_equal(inbox_close(b.inbox), EHIS_OK);
    assert_int_equal(store_commit(b.store), EHIS_OK);
    box_close(&b);
    assert_int_equal(box_open(&b, false), EHIS_OK);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    struct in_item *i = next(&b, 1000);
    assert_false(i->is_repeated);
    assert_int_equal(inbox_close(b.inbox), EHIS_OK); /* while it is handled */
    assert_int_equal(store_commit(b.store), EHIS_OK);
    free(i);
    box_close(&b);
    assert_int_equal(box_open(&b, false), EHIS_OK);
    assert_int_equal(offer(&b, 2, 0, 1000), INBOX_TAKEN);
    take_one(&b, 2, true, false);
    box_fini(&b);
}

static enum inbox_verdict offer_event(struct box *b, uint64_t number)
{
    struct in_item *i = item_new(number, 0);
    i->is_event = true;
    enum inbox_verdict v = inbox_offer(b->inbox, span_str(SENDER), stream, i, 1000);
    if (v != INBOX_TAKEN)
        free(i);
    return v;
}

static void a_replay_sets_a_stream_back_once_and_nothing_else_does(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    for (uint64_t n = 1; n <= 10; n++) {
        assert_int_equal(offer_event(&b, n), INBOX_TAKEN);
        take_one(&b, n, false, false);
    }
    assert_int_equal(offer_event(&b, 5), INBOX_DONE);
    inbox_replays(b.inbox, span_str("AZ/GOV/MIA/population"));
    assert_int_equal(offer_event(&b, 5), INBOX_DONE); /* another's */
    inbox_replays(b.inbox, span_str(SENDER));
    assert_int_equal(offer(&b, 5, 0, 1000), INBOX_DONE); /* no event */
    assert_int_equal(offer_event(&b, 11), INBOX_TAKEN);
    struct in_item *running = next(&b, 1000);
    assert_int_equal(offer_event(&b, 5), INBOX_TAKEN); /* behind the one that is being handled */
    assert_null(next(&b, 1000));
    finish(&b, running, false);
    take_one(&b, 5, true, false);
    for (uint64_t n = 6; n <= 11; n++) {
        assert_int_equal(offer_event(&b, n), INBOX_TAKEN);
        take_one(&b, n, true, false);
        assert_int_equal(offer_event(&b, n), INBOX_DONE); /* in the replay once */
    }
    box_close(&b);
    assert_int_equal(box_open(&b, false), EHIS_OK);
    assert_int_equal(offer_event(&b, 11), INBOX_DONE);
    assert_int_equal(offer_event(&b, 12), INBOX_TAKEN);
    take_one(&b, 12, true, false); /* after a restart, as ever */
    assert_int_equal(offer_event(&b, 5), INBOX_DONE);
    box_fini(&b);
}

/* The first number of a stream of this sender's, taken and finished. */
static enum inbox_verdict begin_stream(struct box *b, const char *sender, uint64_t id)
{
    uint8_t bytes[16] = {0};
    struct in_item *i = item_new(1, 0);
    be_put(bytes, id, 8);
    enum inbox_verdict v = inbox_offer(b->inbox, span_str(sender), bytes, i, 1000);
    if (v == INBOX_TAKEN) {
        struct in_stream *s = inbox_touched(b->inbox);
        assert_non_null(s);
        assert_ptr_equal(inbox_next(b->inbox, s, 1000), i);
        assert_int_equal(inbox_finish(b->inbox, i, false, 1000), EHIS_OK);
        while (inbox_touched(b->inbox))
            ;
        if (id % 256 == 0)
            assert_int_equal(store_commit(b->store), EHIS_OK);
        inbox_committed(b->inbox);
    }
    free(i);
    return v;
}

static void a_sender_of_many_streams_loses_its_own_oldest_and_keeps_nobody_out(void **state)
{
    struct box b;
    (void)state;
    box_init(&b);
    assert_int_equal(begin_stream(&b, "AZ/GOV/MOE/other", 7), INBOX_TAKEN);
    for (uint64_t id = 1; id < 65536; id++)
        assert_int_equal(begin_stream(&b, SENDER, id), INBOX_TAKEN);
    assert_int_equal(begin_stream(&b, SENDER, 1), INBOX_DONE); /* used: 2 is the oldest now */
    assert_int_equal(begin_stream(&b, "AZ/GOV/MOE/third", 7), INBOX_TAKEN);
    assert_int_equal(begin_stream(&b, SENDER, 65536), INBOX_TAKEN);
    assert_int_equal(begin_stream(&b, "AZ/GOV/MOE/other", 7), INBOX_DONE);
    assert_int_equal(begin_stream(&b, SENDER, 1), INBOX_DONE);
    assert_int_equal(begin_stream(&b, SENDER, 4), INBOX_DONE);
    assert_int_equal(begin_stream(&b, SENDER, 65536), INBOX_DONE);
    assert_int_equal(begin_stream(&b, SENDER, 2), INBOX_TAKEN); /* not known any more */
    assert_int_equal(store_commit(b.store), EHIS_OK);
    box_close(&b);
    assert_int_equal(box_open(&b, false), EHIS_OK); /* more stand in the log than are kept */
    assert_int_equal(begin_stream(&b, "AZ/GOV/MOE/other", 7), INBOX_DONE);
    assert_int_equal(begin_stream(&b, "AZ/GOV/MOE/third", 7), INBOX_DONE);
    assert_int_equal(begin_stream(&b, SENDER, 2), INBOX_DONE);
    assert_int_equal(begin_stream(&b, SENDER, 65536), INBOX_DONE);
    assert_int_equal(begin_stream(&b, SENDER, 65000), INBOX_DONE);
    assert_int_equal(begin_stream(&b, SENDER, 60000), INBOX_DONE);
    box_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_that_come_mixed_up_are_handed_over_in_order_and_one_at_a_time),
        cmocka_unit_test(a_number_that_was_finished_is_acknowledged_again_as_it_was),
        cmocka_unit_test(the_same_number_again_takes_the_new_delivery_and_another_message_under_it_is_a_conflict),
        cmocka_unit_test(a_gap_that_nothing_explains_is_passed_after_30_s_and_what_comes_for_it_later_is_late_and_once),
        cmocka_unit_test(a_skip_takes_the_place_of_its_number_and_the_number_may_come_late),
        cmocka_unit_test(what_is_given_back_delays_its_stream_without_a_gap_and_comes_marked),
        cmocka_unit_test(a_gap_wider_than_the_window_is_held_and_passed_like_any_other),
        cmocka_unit_test(the_window_holds_1024_numbers_and_no_more),
        cmocka_unit_test(what_was_before_the_first_that_came_is_handed_over_late_not_taken_for_done),
        cmocka_unit_test(a_new_folder_begins_at_the_first_number_that_comes_marked),
        cmocka_unit_test(an_application_that_keeps_positions_is_asked_for_each_stream),
        cmocka_unit_test(what_was_rejected_stays_rejected_where_the_application_keeps_the_position),
        cmocka_unit_test(a_takeover_does_not_take_what_is_above_for_what_was_a_window_below),
        cmocka_unit_test(what_the_applications_position_does_not_tell_is_durable_before_it_moves_over_it),
        cmocka_unit_test(what_waits_is_dropped_with_its_session_and_what_runs_goes_on),
        cmocka_unit_test(each_number_is_handed_over_once_unless_marked_across_crashes_at_every_operation),
        cmocka_unit_test(what_was_finished_but_not_recorded_comes_again_marked_and_no_more_than_a_group_of_it),
        cmocka_unit_test(a_message_and_its_skip_do_not_quarrel_whichever_comes_first),
        cmocka_unit_test(behind_what_nobody_takes_nothing_is_taken),
        cmocka_unit_test(a_replay_sets_a_stream_back_once_and_nothing_else_does),
        cmocka_unit_test(a_sender_of_many_streams_loses_its_own_oldest_and_keeps_nobody_out),
        cmocka_unit_test(after_closing_in_order_only_what_was_being_handled_is_marked),
    };
    struct ehis_why why;
    if (crypto_init(&why) != EHIS_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
