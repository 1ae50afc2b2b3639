/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
/* Streams between gateways that come and go, and processes that die, by seed: the same bytes in order, each number ended once, handed over once. */
#include "tests/support/sim_application.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sim_client c;
static const uint8_t stream[16] = {6};

/* ---- a stream across gateways that come and go ---- */

#define NUMBERS 40
struct model { /* a gateway's: what it has, of the one stream */
    uint64_t expected, settled;
    bool has[NUMBERS + 1], is_told[NUMBERS + 1], is_final[NUMBERS + 1];
    bool is_open;
};
static struct hash digests[NUMBERS + 1];
static unsigned finals[NUMBERS + 1];

static void on_final(void *arg, const ehis_receipt *r)
{
    (void)arg;
    for (uint64_t n = 1; n <= NUMBERS && r->state >= EHIS_DELIVERED; n++)
        finals[n] += memcmp(digests[n].b, r->digest, 32) == 0;
}

static void take_submits(struct model *g)
{
    struct hash d;
    for (uint64_t n; (n = sim_submitted(&c, &d, NULL)) != UINT64_MAX;) {
        static const struct hash none;
        assert_true(g->is_open);
        assert_true(n >= 1 && n <= NUMBERS);
        if (memcmp(digests[n].b, none.b, 32) != 0)
            assert_memory_equal(digests[n].b, d.b, 32); /* the same bytes, wherever */
        digests[n] = d;
        if (n > g->expected) { /* another gateway has ended one that was not here yet */
            struct flow f = {.code = EHIS_E_EXCHANGE_OUT_OF_SEQUENCE, .expected = g->expected};
            struct buf b;
            memcpy(f.digest, d.b, 32);
            buf_init(&b, 4096);
            assert_int_equal(flow_write(&f, &b), EHIS_OK);
            assert_int_equal(sim_client_frame(&c, FRAME_FLOW, buf_span(&b)), EHIS_OK);
            buf_fini(&b);
            continue;
        }
        if (g->is_final[n]) { /* known */
            assert_int_equal(sim_receipt(&c, &digests[n], SIM_PERSON, STATE_DELIVERED, 0), EHIS_OK);
            continue;
        }
        g->expected += n == g->expected;
        g->has[n] = true;
    }
}

/* What it has taken: delivered by this gateway at some time, told when the stream is open here, and forgotten when it was settled here. */
static void tell_some(struct model *g, uint64_t *seed)
{
    struct sim_frame f;
    struct stream_settled s;
    while (sim_client_take(&c, FRAME_STREAM_SETTLED, &f)) {
        assert_true(g->is_open);
        assert_int_equal(stream_settled_read(span_of(f.p, f.len), &s, NULL), EHIS_OK);
        g->settled = s.lowest > g->settled ? s.lowest : g->settled;
        g->expected = s.lowest > g->expected ? s.lowest : g->expected;
        free(f.p);
    }
    for (uint64_t n = 1; n <= NUMBERS; n++) {
        g->is_final[n] &= n >= g->settled;
        if (!g->has[n] || sim_random_below(seed, 3) == 0)
            continue;
        if (!g->is_open) { /* its sender hears of it when it is back */
            g->has[n] = sim_random_below(seed, 3) != 0;
            g->is_final[n] = !g->has[n];
            continue;
        }
        uint8_t state = (uint8_t)(g->is_told[n] ? STATE_DELIVERED : STATE_ACCEPTED);
        if (sim_receipt(&c, &digests[n], SIM_PERSON, state, 0) != EHIS_OK)
            fail_msg("%s", c.why.text);
        g->is_told[n] = true;
        g->has[n] = state != STATE_DELIVERED;
        g->is_final[n] = state == STATE_DELIVERED;
    }
}

static void take_opens(struct model *g)
{
    uint64_t from;
    while ((from = sim_open_stream(&c, g->expected))) {
        g->expected = from > g->expected ? from : g->expected;
        g->settled = c.opened_lowest > g->settled ? c.opened_lowest : g->settled;
        g->is_open = true;
        for (uint64_t n = g->settled; n <= NUMBERS; n++)
            if (g->is_final[n])
                assert_int_equal(sim_receipt(&c, &digests[n], SIM_PERSON, STATE_DELIVERED, 0), EHIS_OK);
            else if (g->has[n] && g->is_told[n])
                assert_int_equal(sim_receipt(&c, &digests[n], SIM_PERSON, STATE_ACCEPTED, 0), EHIS_OK);
    }
}

static void restart(struct model g[2], const bool is_there[2])
{
    sim_client_restart(&c, true);
    ehis_on_receipt(c.e, on_final, NULL);
    work_run_orders(c.e);
    for (unsigned at = 0; at < 2; at++) {
        g[at].is_open = false;
        if (is_there[at])
            sim_come(&c, at);
    }
}

static void go_and_come(bool is_sender_mortal)
{
    for (uint64_t nth = 1; nth <= 20; nth++) {
        struct model g[2] = {{.expected = 1, .settled = 1}, {.expected = 1, .settled = 1}};
        uint64_t seed = nth, sent = 0, messages = 1, bytes, lives = 1;
        bool is_there[2] = {true, true};
        memset(digests, 0, sizeof digests);
        memset(finals, 0, sizeof finals);
        sim_begin_two(&c, SIM_TAX, nth % 2);
        ehis_on_receipt(c.e, on_final, NULL);
        for (int turn = 0; turn < 4000 && (messages > 0 || sent < NUMBERS); turn++) {
            unsigned at = (unsigned)sim_random_below(&seed, 2);
            c.at = at;
            if (sent < NUMBERS && sim_random_below(&seed, 3) == 0) {
                sim_send_one(&c);
                sent++;
            }
            if (sim_random_below(&seed, sent < NUMBERS ? 12 : 200) == 0) { /* goes, with all that is under way, or comes */
                if (is_there[at])
                    sim_leave(&c, at);
                else
                    sim_come(&c, at);
                is_there[at] = !is_there[at];
                g[at].is_open = false;
            }
            if (is_sender_mortal && sim_random_below(&seed, 30) == 0 && lives < 30) {
                restart(g, is_there);
                lives++;
            }
            if (sent == NUMBERS && !is_there[at]) {
                sim_come(&c, at);
                is_there[at] = true;
            }
            c.at = at;
            if (is_there[at]) {
                take_opens(&g[at]);
                take_submits(&g[at]);
                tell_some(&g[at], &seed);
            }
            sim_client_pass_ms(&c, 100);
            sim_handed(&c);
            outbox_count(c.e->outbox, &messages, &bytes);
        }
        assert_int_equal(messages, 0);
        for (uint64_t n = 1; n <= NUMBERS; n++)
            assert_true(finals[n] >= 1 && finals[n] <= lives); /* who dies before it has kept an end is told it again */
        sim_client_fini(&c);
    }
}

static void a_stream_across_gateways_that_come_and_go_is_the_same_bytes_in_order_and_each_number_ends_once(void **state)
{
    (void)state;
    go_and_come(false);
}

static void a_sender_that_dies_between_gateways_is_told_every_end(void **state)
{
    (void)state;
    go_and_come(true);
}

/* ---- a stream that two gateways deliver ---- */

static unsigned marked[NUMBERS + 1], unmarked[NUMBERS + 1];
static uint64_t last_handed;

static void on_numbered(void *arg, ehis_incoming *in)
{
    const ehis_info *i = ehis_incoming_info(in);
    (void)arg;
    assert_true(i->number <= last_handed + 1 && !i->is_late);
    last_handed = i->number > last_handed ? i->number : last_handed;
    (i->is_repeated ? marked : unmarked)[i->number]++;
    assert_true(c.got_count < 16);
    c.got[c.got_count++] = in;
}

static void serve(void)
{
    c.got_count = 0;
    assert_int_equal(ehis_serve(c.e, SIM_PERSON, "GetPerson", on_numbered, NULL, NULL), EHIS_OK);
    work_run_orders(c.e);
}

/* Which of the deliveries of this session were acknowledged for good. */
static void take_acks(const uint64_t numbers[2048], bool is_acked[NUMBERS + 1])
{
    struct sim_frame f;
    while (sim_client_take(&c, FRAME_ACK, &f)) {
        struct batch_signature s;
        struct span item;
        size_t at = 0;
        assert_int_equal(batch_read(FRAME_ACK, span_of(f.p, f.len), &s, NULL), EHIS_OK);
        while (batch_next(span_of(f.p, f.len), &at, &item)) {
            struct ack a;
            assert_int_equal(ack_read(item, &a, NULL), EHIS_OK);
            assert_true(a.delivery < 2048 && numbers[a.delivery]);
            is_acked[numbers[a.delivery]] |= a.outcome != OUTCOME_RETRY;
        }
        free(f.p);
    }
}

static bool is_all(const bool is_acked[NUMBERS + 1])
{
    for (uint64_t n = 1; n <= NUMBERS; n++)
        if (!is_acked[n])
            return false;
    return true;
}

static void what_two_gateways_deliver_again_and_again_is_handed_over_once_in_order_across_sessions_and_crashes(void **state)
{
    struct buf e[NUMBERS + 1];
    (void)state;
    for (uint64_t nth = 1; nth <= 20; nth++) {
        static uint64_t numbers[2][2048];
        bool is_acked[2][NUMBERS + 1] = {{false}}, is_there[2] = {true, true};
        uint64_t seed = nth;
        unsigned crashes = 0;
        memset(numbers, 0, sizeof numbers);
        memset(marked, 0, sizeof marked);
        memset(unmarked, 0, sizeof unmarked);
        last_handed = 0;
        sim_begin_two(&c, SIM_POPULATION, false);
        serve();
        for (uint64_t n = 1; n <= NUMBERS; n++) {
            buf_init(&e[n], 1 << 16);
            sim_numbered(&c, stream, n, "GetPerson", &e[n]);
        }
        for (int turn = 0; turn < 3000 && !(is_all(is_acked[0]) && is_all(is_acked[1])); turn++) {
            unsigned at = (unsigned)sim_random_below(&seed, 2);
            c.at = at;
            if (crashes < 3 && sim_random_below(&seed, 100) == 0) {
                crashes++;
                sim_client_restart(&c, true);
                serve();
                is_there[0] = is_there[1] = false;
            }
            if (is_there[at] && sim_random_below(&seed, 50) == 0) {
                sim_leave(&c, at);
                is_there[at] = false;
            } else if (!is_there[at]) {
                sim_come(&c, at);
                is_there[at] = true;
            }
            uint64_t n = 1;
            while (n < NUMBERS && is_acked[at][n])
                n++;
            if (c.delivery[at] > 0) /* the first that it has no acknowledgement of; then about there */
                n += sim_random_below(&seed, 6);
            if (is_there[at] && n <= NUMBERS && !is_acked[at][n] && c.delivery[at] + 1 < 2048) {
                numbers[at][c.delivery[at] + 1] = n;
                assert_int_equal(sim_deliver(&c, buf_span(&e[n]), 1, c.clock.wall_ms), EHIS_OK);
            }
            sim_handed(&c);
            while (c.got_count > 0 && sim_random_below(&seed, 3)) {
                ehis_incoming *in = c.got[--c.got_count];
                if (sim_random_below(&seed, 6) == 0)
                    ehis_retry(in, 50);
                else
                    ehis_reject(in, EHIS_E_SDK_REJECTED);
            }
            sim_handed(&c);
            for (c.at = 0; c.at < 2; c.at++)
                if (is_there[c.at])
                    take_acks(numbers[c.at], is_acked[c.at]);
        }
        assert_true(is_all(is_acked[0]) && is_all(is_acked[1]));
        for (uint64_t n = 1; n <= NUMBERS; n++) {
            assert_true(unmarked[n] <= 1);
            assert_true(unmarked[n] + marked[n] >= 1);
            buf_fini(&e[n]);
        }
        sim_client_fini(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_across_gateways_that_come_and_go_is_the_same_bytes_in_order_and_each_number_ends_once),
        cmocka_unit_test(a_sender_that_dies_between_gateways_is_told_every_end),
        cmocka_unit_test(what_two_gateways_deliver_again_and_again_is_handed_over_once_in_order_across_sessions_and_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
