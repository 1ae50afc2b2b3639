/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* An outbox of libehis over a simulated disk, and one stream of requests in it. */
#pragma once
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

static inline ehis_err on_replay(void *ctx, uint8_t type, struct span p, const struct store_place *at)
{
    return outbox_replay(((struct box *)ctx)->outbox, type, p, at);
}

static inline ehis_err on_snapshot(void *ctx, struct store *s)
{
    struct box *b = ctx;
    if (!b->store) {
        b->store = s;
        outbox_set_store(b->outbox, s);
    }
    return outbox_snapshot(b->outbox);
}

static inline ehis_err on_carry(void *ctx, uint64_t segment) { return outbox_carry(((struct box *)ctx)->outbox, segment); }

static inline ehis_err box_open(struct box *b)
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

static inline void box_close(struct box *b)
{
    outbox_free(b->outbox);
    store_free(b->store);
    b->outbox = NULL;
    b->store = NULL;
}

static inline void box_init(struct box *b, uint8_t wait_state, bool is_memory)
{
    *b = (struct box){.wait_state = wait_state, .is_memory = is_memory};
    sim_clock_init(&b->clock, 1);
    assert_int_equal(sim_disk_new(1, &b->disk), EHIS_OK);
    assert_int_equal(box_open(b), EHIS_OK);
}

static inline void box_fini(struct box *b)
{
    box_close(b);
    sim_disk_free(b->disk);
}

static inline void digest_of(struct span envelope, uint8_t out[32])
{
    struct hash h;
    hash_span(envelope, &h);
    memcpy(out, h.b, 32);
}

/* number 0: a key. The bytes name stream, number and a salt, as another envelope under the same number would. */
static inline ehis_err put(struct box *b, bool is_key, struct out_message **out)
{
    char text[200];
    uint8_t digest[32], id[16] = {0};
    uint64_t number = is_key ? 0 : b->stream->next_number++;
    static unsigned salt;
    snprintf(text, sizeof text, "envelope %llu salt %u ....................................................", (unsigned long long)number, salt++);
    digest_of(span_str(text), digest);
    return outbox_put(b->outbox, &(struct out_new){b->stream, number, 10 * number, id, digest, 5000, span_str(text)}, out);
}

static inline struct out_message *put_one(struct box *b)
{
    struct out_message *m;
    assert_int_equal(put(b, false, &m), EHIS_OK);
    assert_int_equal(store_commit(b->store), EHIS_OK);
    return m;
}

static inline uint64_t submit(struct box *b, int64_t now_ms)
{
    struct out_message *m = out_stream_next(b->stream, now_ms);
    if (!m)
        return UINT64_MAX;
    out_stream_submitted(m);
    return m->number;
}

static inline void receipt(struct box *b, struct out_message *m, uint8_t state)
{
    ehis_err err;
    bool is_final = outbox_on_receipt(b->outbox, m, &local, state, &err) && m->is_final;
    assert_int_equal(err, EHIS_OK);
    if (is_final)
        assert_int_equal(outbox_finish(b->outbox, m), EHIS_OK);
    assert_int_equal(store_commit(b->store), EHIS_OK);
}

static inline void opened(struct box *b, uint64_t expected)
{
    assert_int_equal(outbox_opened(b->outbox, b->stream, expected), EHIS_OK);
}
