/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* What the tests of the core share. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/sim_exchange.h"

#define A "AZ/GOV/a/one"
#define B "AZ/GOV/b/two"
#define C "AZ/GOV/c/three"
#define D "AZ/GOV/d/four"
#define SVC B "/svc"

static inline int open_house(void **state)
{
    *state = sim_house_new(7);
    return 0;
}
static inline int close_house(void **state)
{
    sim_house_free(*state);
    return 0;
}
#define HOUSE_TEST(f) cmocka_unit_test_setup_teardown(f, open_house, close_house)

/* The next receipt of this session is this one. */
static inline void assert_receipt(struct sim_house *h, session_id s, const struct hash *digest, unsigned state, unsigned code)
{
    struct sim_out *o = sim_take(h, SIM_RECEIPT, s);
    assert_non_null(o);
    assert_memory_equal(o->digest.b, digest->b, 32);
    assert_int_equal(o->state, state);
    assert_int_equal(o->code, code);
}

static inline struct sim_out *take_frame(struct sim_house *h, session_id s, uint8_t type)
{
    for (struct sim_out *o; (o = sim_take(h, SIM_FRAME, s));)
        if (o->type == type)
            return o;
    return NULL;
}

static inline void assert_stream_state(struct sim_house *h, session_id s, uint64_t expected, unsigned code)
{
    struct stream_state st;
    struct sim_out *o = take_frame(h, s, FRAME_STREAM_STATE);
    assert_non_null(o);
    assert_int_equal(stream_state_read(buf_span(&o->bytes), &st, NULL), EHIS_OK);
    assert_int_equal(st.expected, expected);
    assert_int_equal(st.code, code);
}
