/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Two houses and a bus that carries between them: A has a session at the first, with a stream to B, and B at the second. */
#pragma once
#include "tests/support/sim_carrier.h"
#include "tests/unit/gateway/exchange/exchange_test.h"

static const uint8_t stream[16] = {7, 7, 7};
static struct {
    struct sim_carrier *c;
    struct sim_house *one, *two;
    session_id a, b;
    struct buf made; /* the envelope that make made */
} t;

static inline int begin(void **state)
{
    (void)state;
    t.c = sim_carrier_new();
    t.one = sim_house_new(7);
    sim_house_carry(t.one, t.c);
    t.two = sim_house_beside(t.one);
    t.a = sim_ready(t.one, A, 8, 0, 0);
    t.b = sim_ready(t.two, B, 8, 64, 1 << 20);
    sim_carrier_run(t.c);
    assert_int_equal(sim_stream_open(t.one, t.a, stream, B, NULL, 1), EHIS_OK);
    sim_forget(t.one);
    sim_forget(t.two);
    buf_init(&t.made, 1 << 20);
    return 0;
}

static inline int finish(void **state)
{
    (void)state;
    buf_fini(&t.made);
    sim_house_free(t.two);
    sim_house_free(t.one);
    sim_carrier_free(t.c);
    return 0;
}
#define CARRIER_TEST(f) cmocka_unit_test_setup_teardown(f, begin, finish)

static inline struct sim_message numbered(uint64_t n)
{
    return (struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Put", .stream = stream, .number = n, .fill = (uint8_t)n};
}

static inline struct hash put_at(struct sim_house *h, session_id s, uint64_t n)
{
    struct hash d;
    struct sim_message m = numbered(n);
    assert_int_equal(sim_submit(h, s, &m, &d), EHIS_OK);
    return d;
}

static inline void make(const struct sim_message *m, struct hash *d, uint8_t id[16])
{
    buf_clear(&t.made);
    sim_envelope(t.one, m, &t.made, d, id);
}

/* What was made, perhaps once more. */
static inline void submit_made(struct sim_house *h, session_id s)
{
    assert_int_equal(sim_submit_bytes(h, s, buf_span(&t.made)), EHIS_OK);
    sim_carrier_run(t.c);
}

/* A call at the first house. */
static inline void ask(struct hash *d, uint8_t id[16])
{
    make(&(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Get"}, d, id);
    submit_made(t.one, t.a);
}

/* Of B's, at the second house. */
static inline void take_from(const struct sim_out *o, enum outcome outcome)
{
    assert_int_equal(sim_ack(t.two, t.b, B, &(struct sim_ack){.delivery = o->delivery, .digest = o->digest, .outcome = outcome}, 1), EHIS_OK);
    sim_carrier_run(t.c);
}

static inline void take(uint64_t n, enum outcome outcome)
{
    struct sim_out *o = sim_take(t.two, SIM_DELIVERY, t.b);
    assert_non_null(o);
    assert_int_equal(o->number, n);
    take_from(o, outcome);
}

static inline void assert_delivered(struct sim_house *h, session_id s, const struct hash *d)
{
    struct sim_out *o = sim_take(h, SIM_DELIVERY, s);
    assert_non_null(o);
    assert_memory_equal(o->digest.b, d->b, 32);
}

/* The sender at the second house too, with its stream. */
static inline session_id sender_at_two(void)
{
    session_id s = sim_ready(t.two, A, 8, 0, 0);
    assert_int_equal(sim_stream_open(t.two, s, stream, B, NULL, 1), EHIS_OK);
    assert_stream_state(t.two, s, 1, 0);
    return s;
}
