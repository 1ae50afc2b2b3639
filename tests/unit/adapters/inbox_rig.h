/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* An inbox of libehis over a simulated disk, and one stream of one sender into it. */
#pragma once
#include "adapters/sdk/inbox.h"
#include "proto/crypto/sign.h"
#include "tests/support/sim_clock.h"
#include "tests/support/sim_disk.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SENDER "AZ/GOV/STS/tax"
static const uint8_t stream[16] = {1, 2, 3};

struct box {
    struct sim_disk *disk;
    struct store *store;
    struct inbox *inbox;
    uint64_t gaps[64];
    size_t gap_count, dropped;
    uint64_t position;
};

static inline ehis_err on_replay(void *ctx, uint8_t type, struct span p, const struct store_place *at)
{
    (void)at;
    return inbox_owns_record(type) ? inbox_replay(((struct box *)ctx)->inbox, type, p) : EHIS_OK;
}

static inline ehis_err on_snapshot(void *ctx, struct store *s)
{
    struct box *b = ctx;
    if (!b->store) {
        b->store = s;
        inbox_set_store(b->inbox, s, 1000);
    }
    return inbox_snapshot(b->inbox);
}

static inline void on_gap(void *ctx, const struct in_stream *s, uint64_t number)
{
    struct box *b = ctx;
    (void)s;
    if (b->gap_count < 64)
        b->gaps[b->gap_count++] = number;
}

static inline void on_dropped(void *ctx, struct in_item *item)
{
    ((struct box *)ctx)->dropped++;
    free(item);
}

static inline uint64_t on_position(void *arg, const char *sender, const uint8_t id[16])
{
    assert_string_equal(sender, SENDER);
    assert_memory_equal(id, stream, 16);
    return ((struct box *)arg)->position;
}

static inline ehis_err box_open(struct box *b, bool keeps_own)
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

static inline void box_close(struct box *b)
{
    inbox_free(b->inbox);
    store_free(b->store);
    b->inbox = NULL;
    b->store = NULL;
}

static inline void box_init(struct box *b)
{
    *b = (struct box){0};
    assert_int_equal(sim_disk_new(1, &b->disk), EHIS_OK);
    assert_int_equal(box_open(b, false), EHIS_OK);
}

static inline void box_fini(struct box *b)
{
    box_close(b);
    sim_disk_free(b->disk);
}

static inline struct in_item *item_new(uint64_t number, uint8_t skip_state)
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

static inline enum inbox_verdict offer(struct box *b, uint64_t number, uint8_t skip_state, int64_t now_ms)
{
    struct in_item *i = item_new(number, skip_state);
    enum inbox_verdict v = inbox_offer(b->inbox, span_str(SENDER), stream, i, now_ms);
    if (v != INBOX_TAKEN)
        free(i);
    return v;
}

static inline struct in_item *next(struct box *b, int64_t now_ms)
{
    inbox_touch_gaps(b->inbox);
    for (struct in_stream *s; (s = inbox_touched(b->inbox));) {
        struct in_item *i = inbox_next(b->inbox, s, now_ms);
        if (i)
            return i;
    }
    return NULL;
}

static inline void finish(struct box *b, struct in_item *i, bool is_rejected)
{
    assert_int_equal(inbox_finish(b->inbox, i, is_rejected, 1000), EHIS_OK);
    assert_int_equal(store_commit(b->store), EHIS_OK);
    assert_int_equal(inbox_committed(b->inbox), EHIS_OK);
    free(i);
}

/* Hands over this number when what is missing before it has been waited for. */
static inline void jump_to(struct box *b, uint64_t number)
{
    assert_int_equal(offer(b, number, 0, 1000), INBOX_TAKEN);
    assert_null(next(b, 1000));
    struct in_item *i = next(b, 1000 + INBOX_GAP_MS);
    if (!i) { /* first that there was a gap is durable */
        assert_int_equal(store_commit(b->store), EHIS_OK);
        assert_int_equal(inbox_committed(b->inbox), EHIS_OK);
        i = next(b, 1000 + INBOX_GAP_MS);
    }
    assert_non_null(i);
    assert_int_equal(i->number, number);
    finish(b, i, false);
}

static inline void take_one(struct box *b, uint64_t number, bool is_repeated, bool is_late)
{
    struct in_item *i = next(b, 1000);
    assert_non_null(i);
    assert_int_equal(i->number, number);
    assert_int_equal(i->is_repeated, is_repeated);
    assert_int_equal(i->is_late, is_late);
    finish(b, i, false);
}
