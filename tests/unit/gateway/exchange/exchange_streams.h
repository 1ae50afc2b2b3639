/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Two streams of system A to B, their messages and deliveries. */
#pragma once
#include "tests/unit/gateway/exchange/exchange_test.h"

static const uint8_t stream[16] = {1}, other[16] = {2};

static inline session_id sender(struct sim_house *h)
{
    session_id a = sim_ready(h, A, 8, 8, 1 << 20);
    assert_int_equal(sim_stream_open(h, a, stream, B, NULL, 1), EHIS_OK);
    assert_int_equal(sim_stream_open(h, a, other, B, NULL, 1), EHIS_OK);
    sim_forget(h);
    return a;
}

static inline struct hash put(struct sim_house *h, session_id a, const uint8_t *in, uint64_t number)
{
    struct hash d;
    assert_int_equal(sim_submit(h, a, &(struct sim_message){.kind = KIND_REQUEST, .sender = A, .recipient = SVC, .operation = "Put", .stream = in, .number = number}, &d), EHIS_OK);
    return d;
}

static inline struct sim_ack delivered(struct sim_house *h, session_id b, const uint8_t *in, uint64_t number, unsigned attempt, enum outcome outcome)
{
    struct sim_out *o = sim_take(h, SIM_DELIVERY, b);
    assert_non_null(o);
    assert_memory_equal(o->stream, in, 16);
    assert_int_equal(o->number, number);
    assert_int_equal(o->attempt, attempt);
    return (struct sim_ack){o->delivery, o->digest, outcome, 0, 0};
}
