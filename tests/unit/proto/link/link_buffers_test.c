/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "proto/link/input.h"
#include "proto/link/output.h"
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

enum { FRAME_MAX = 200000 };

static void feed(struct link_input *in, const uint8_t *p, size_t n)
{
    uint8_t *room;
    size_t there;
    assert_int_equal(link_input_room(in, FRAME_MAX, &room, &there), EHIS_OK);
    assert_true(there >= n);
    memcpy(room, p, n);
    link_input_commit(in, n);
}

static void an_announced_size_costs_nothing_before_it_arrives(void **state)
{
    (void)state;
    struct link_input in = {0};
    struct frame f;
    bool is_whole;
    uint8_t head[FRAME_HEAD_BYTES], part[1000] = {0};
    assert_int_equal(frame_head(1, FRAME_MAX - 1, FRAME_MAX, head), EHIS_OK);
    feed(&in, head, sizeof head);
    for (size_t got = 0; got < FRAME_MAX - 1; got += 1000) {
        assert_int_equal(link_input_next(&in, FRAME_MAX, &f, &is_whole), EHIS_OK);
        assert_false(is_whole);
        assert_true(in.cap <= 32768 || in.cap <= 2 * (got + 16384));
        assert_true(in.cap <= FRAME_MAX + 4 + 16384);
        feed(&in, part, FRAME_MAX - 1 - got < 1000 ? FRAME_MAX - 1 - got : 1000);
    }
    assert_int_equal(link_input_next(&in, FRAME_MAX, &f, &is_whole), EHIS_OK);
    assert_true(is_whole);
    assert_int_equal(f.payload.len, FRAME_MAX - 1);
    uint8_t *room;
    size_t n;
    assert_int_equal(link_input_next(&in, FRAME_MAX, &f, &is_whole), EHIS_OK);
    assert_int_equal(link_input_room(&in, FRAME_MAX, &room, &n), EHIS_OK);
    assert_true(in.cap <= 32768); /* given back after the large frame */
    link_input_clear(&in);
}

static void a_small_frame_bound_is_a_bound_of_memory(void **state)
{
    (void)state;
    struct link_input in = {0};
    uint8_t *room;
    size_t n;
    assert_int_equal(link_input_room(&in, 4096, &room, &n), EHIS_OK);
    assert_int_equal(n, 4100);
    assert_int_equal(in.cap, 4100);
    link_input_clear(&in);
}

static void output_keeps_order_over_any_mix_of_puts_and_drops(void **state)
{
    (void)state;
    struct link_output o = {0};
    uint8_t chunk[40000];
    uint32_t seed = 7;
    size_t in = 0, out = 0;
    assert_int_equal(link_output_front(&o).len, 0);
    for (int i = 0; i < 3000; i++) {
        seed = seed * 1103515245 + 12345;
        size_t n = (seed >> 8) % (i % 7 == 0 ? sizeof chunk : 500);
        if (seed >> 30 & 1 || o.len == 0) {
            for (size_t k = 0; k < n; k++)
                chunk[k] = (uint8_t)((in + k) * 131 >> 3);
            assert_int_equal(link_output_reserve(&o, n), EHIS_OK);
            link_output_put(&o, chunk, n / 3);
            link_output_put(&o, chunk + n / 3, n - n / 3);
            in += n;
        } else {
            struct span front = link_output_front(&o);
            assert_true(front.len > 0 && front.len <= 16384);
            size_t k = n < front.len ? n : front.len;
            for (size_t j = 0; j < k; j++)
                assert_int_equal(front.p[j], (uint8_t)((out + j) * 131 >> 3));
            link_output_drop(&o, k);
            out += k;
        }
        assert_int_equal(o.len, in - out);
    }
    link_output_clear(&o);
    assert_int_equal(o.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_announced_size_costs_nothing_before_it_arrives),
        cmocka_unit_test(a_small_frame_bound_is_a_bound_of_memory),
        cmocka_unit_test(output_keeps_order_over_any_mix_of_puts_and_drops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
