/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 The EHIS gateway authors */
#include "gateway/bus/window.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define OK(e) assert_string_equal(ehis_err_name(e), "OK")
#define FAILS(e, code) assert_string_equal(ehis_err_name(e), #code)

static bool known(struct window *w, int64_t offset)
{
    bool is_known;
    OK(window_begin(w, offset, &is_known));
    return is_known;
}

static const char *text(const struct window *w)
{
    static char out[WINDOW_METADATA_MAX + 1];
    struct buf b;
    buf_init(&b, WINDOW_METADATA_MAX);
    OK(window_to_text(w, &b));
    memcpy(out, buf_span(&b).p ? (const char *)buf_span(&b).p : "", b.len);
    out[b.len] = '\0';
    buf_fini(&b);
    return out;
}

static void the_position_is_the_lowest_that_is_not_finished(void **state)
{
    struct window w;
    (void)state;
    window_init(&w, 100);
    for (int64_t o = 100; o < 110; o++)
        assert_false(known(&w, o));
    window_finish(&w, 103);
    window_finish(&w, 101);
    window_finish(&w, 103);
    window_finish(&w, 110); /* not begun */
    window_finish(&w, 99);
    window_finish(&w, -1);
    assert_int_equal(window_position(&w), 100);
    assert_int_equal(w.open_count, 8);
    window_finish(&w, 100);
    assert_int_equal(window_position(&w), 102);
    assert_true(known(&w, 101) && known(&w, 102) && known(&w, 103) && known(&w, 0)); /* finished, open, finished, below */
    assert_int_equal(w.open_count, 7);
    for (int64_t o = 102; o < 110; o++)
        window_finish(&w, o);
    assert_int_equal(window_position(&w), 110);
    assert_int_equal(w.open_count, 0);
    assert_string_equal(text(&w), "");
}

static void what_the_log_does_not_hold_counts_as_finished(void **state)
{
    struct window w;
    bool is_known;
    (void)state;
    window_init(&w, 10);
    assert_false(known(&w, 12)); /* 10, 11 are not there */
    assert_int_equal(window_position(&w), 12);
    assert_false(known(&w, 20));
    assert_true(known(&w, 15));
    window_finish(&w, 20);
    assert_int_equal(window_position(&w), 12);
    window_finish(&w, 12);
    assert_int_equal(window_position(&w), 21);
    assert_false(known(&w, 1000000000)); /* any jump where nothing is open */
    assert_int_equal(window_position(&w), 1000000000);
    FAILS(window_begin(&w, INT64_MAX - WINDOW_OFFSETS_MAX + 1, &is_known), BUS_POSITION);
    window_finish(&w, 1000000000);
    assert_false(known(&w, INT64_MAX - WINDOW_OFFSETS_MAX));
}

static void a_window_is_full_at_its_bound(void **state)
{
    struct window w;
    bool is_known;
    (void)state;
    window_init(&w, 5);
    assert_false(known(&w, 5));
    assert_false(known(&w, 5 + WINDOW_OFFSETS_MAX - 2));
    assert_false(known(&w, 5 + WINDOW_OFFSETS_MAX - 1));
    for (int i = 0; i < 2; i++)
        FAILS(window_begin(&w, 5 + WINDOW_OFFSETS_MAX, &is_known), BUS_FULL);
    window_finish(&w, 5);
    assert_int_equal(window_position(&w), 5 + WINDOW_OFFSETS_MAX - 2);
    assert_false(known(&w, 5 + WINDOW_OFFSETS_MAX));
}

static void a_window_goes_on_after_a_restart(void **state)
{
    struct window w, again;
    char committed[WINDOW_METADATA_MAX + 1];
    (void)state;
    window_init(&w, 4095);
    for (int64_t o = 4095; o < 4095 + WINDOW_OFFSETS_MAX; o++)
        assert_false(known(&w, o));
    for (int64_t o = 4097; o < 4095 + WINDOW_OFFSETS_MAX; o++)
        window_finish(&w, o);
    snprintf(committed, sizeof committed, "%s", text(&w));
    assert_true(strlen(committed) < WINDOW_METADATA_MAX);
    OK(window_from_text(&again, window_position(&w), span_str(committed)));
    assert_string_equal(text(&again), committed); /* before anything is read it is the same */
    assert_false(known(&again, 4095));
    assert_false(known(&again, 4096));
    assert_true(known(&again, 4097));
    assert_true(known(&again, 5000)); /* and 4098 to 4999 are not in the log any more */
    window_finish(&again, 4095);
    assert_int_equal(window_position(&again), 4096);
    window_finish(&again, 4096);
    assert_int_equal(window_position(&again), 4095 + WINDOW_OFFSETS_MAX);
    assert_true(known(&again, 4095 + WINDOW_OFFSETS_MAX - 1));
    assert_false(known(&again, 4095 + WINDOW_OFFSETS_MAX));
}

static void metadata_that_is_not_ours_is_refused(void **state)
{
    static const char *const bad[] = {"x", "ehis1:", "ehis1:=", "ehis1:AQ==" /* the position itself */, "ehis1:AgA=" /* a last byte of 0 */, "ehis2:Ag==",
                                      "ehis1:Ag", "ehis1:Ag==x", "ehis1:Ag== ", " ehis1:Ag==", "ehis1:Ah=="};
    struct window w;
    char full[WINDOW_METADATA_MAX + 8];
    (void)state;
    OK(window_from_text(&w, 7, span_str("ehis1:Ag==")));
    assert_true(w.finished[0] == 1 << 8 && window_position(&w) == 7);
    OK(window_from_text(&w, 7, span_str("")));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        FAILS(window_from_text(&w, 7, span_str(bad[i])), BUS_POSITION);
        assert_int_equal(window_position(&w), 7);
        assert_false(known(&w, 7) || known(&w, 8));
    }
    FAILS(window_from_text(&w, -1, span_str("")), BUS_POSITION);
    FAILS(window_from_text(&w, INT64_MAX, span_str("")), BUS_POSITION);
    assert_int_equal(window_from_text(&w, INT64_MAX - 2 * WINDOW_OFFSETS_MAX, span_str("ehis1:Ag==")), EHIS_OK);
    for (size_t bytes = 511; bytes <= 513; bytes++) { /* 512 bytes are a whole window */
        struct buf b;
        uint8_t raw[513];
        memset(raw, 0xff, sizeof raw);
        raw[0] = 0xfe;
        buf_init(&b, sizeof full);
        OK(buf_put_span(&b, span_str("ehis1:")));
        OK(base64_put(&b, span_of(raw, bytes)));
        assert_int_equal(window_from_text(&w, 0, buf_span(&b)), bytes <= 512 ? EHIS_OK : EHIS_E_BUS_POSITION);
        for (size_t n = 0; n < b.len; n++) { /* cut anywhere it is another bitmap at most, never more */
            ehis_err err = window_from_text(&w, 0, span_of(buf_span(&b).p, n));
            assert_true(err == EHIS_OK ? (n == 0 || (n - 6) % 4 == 0) : err == EHIS_E_BUS_POSITION);
        }
        buf_fini(&b);
    }
}

/* ---- against a model that keeps a byte for every offset ---- */

#define SPAN_MAX 20000
enum { UNREAD, OPEN, DONE };
struct model { int64_t position, next; uint8_t of[SPAN_MAX]; };

static uint64_t random_state;
static uint32_t draw(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % below;
}

static void model_settle(struct model *m)
{
    while (m->of[m->position] == DONE)
        m->position++;
    if (m->next < m->position)
        m->next = m->position;
}

static void step(struct window *w, struct model *m)
{
    if (draw(100) < 55 && m->next + 40 < SPAN_MAX) {
        int64_t offset = draw(10) ? m->next : m->next + draw(30) - 8;
        bool is_open = false, is_known;
        offset = offset < 0 ? 0 : offset;
        for (int64_t o = m->position; o < m->next; o++)
            is_open = is_open || m->of[o] == OPEN;
        const bool is_full = offset >= m->next && is_open && offset - m->position >= WINDOW_OFFSETS_MAX;
        ehis_err err = window_begin(w, offset, &is_known);
        assert_int_equal(err, is_full ? EHIS_E_BUS_FULL : EHIS_OK);
        if (is_full)
            return;
        assert_int_equal(is_known, offset < m->next || m->of[offset] == DONE);
        if (offset >= m->next) {
            for (int64_t o = m->next; o < offset; o++)
                m->of[o] = DONE;
            if (m->of[offset] != DONE)
                m->of[offset] = OPEN;
            m->next = offset + 1;
        }
    } else {
        int64_t width = m->next - m->position; /* mostly of the oldest, so that it moves on */
        int64_t offset = m->position + draw((uint32_t)(draw(4) && width > 16 ? 16 : width) + 3) - 1;
        window_finish(w, offset);
        if (offset >= m->position && offset < m->next)
            m->of[offset] = DONE;
    }
    model_settle(m);
}

static void bytes_give_the_window_back_and_nothing_else_does(void **state)
{
    struct window w, back;
    struct buf b;
    size_t at = 0;
    bool is_known;
    (void)state;
    buf_init(&b, 2048);
    window_init(&w, 70);
    for (int64_t o = 70; o < 100; o++)
        OK(window_begin(&w, o, &is_known));
    window_finish(&w, 75), window_finish(&w, 90);
    OK(window_put(&w, &b));
    window_init(&w, 5); /* and one without a bitmap behind it */
    OK(window_put(&w, &b));
    const struct span all = buf_span(&b);
    assert_int_equal(all.len, 10 + 3 + 10);
    OK(window_get(&back, all, &at));
    assert_int_equal(window_position(&back), 70);
    OK(window_begin(&back, 75, &is_known));
    assert_true(is_known);
    OK(window_begin(&back, 76, &is_known));
    assert_false(is_known);
    OK(window_get(&back, all, &at));
    assert_int_equal(window_position(&back), 5);
    assert_int_equal(at, all.len);
    for (size_t len = 0; len < 13; len++) {
        at = 0;
        assert_int_equal(window_get(&back, span_of(all.p, len), &at), EHIS_E_BUS_POSITION);
    }
    static const uint8_t bad[][12] = {{0x80}, {[9] = 1, [10] = 1} /* the position finished */, {[9] = 2, [10] = 2} /* ends in nothing */, {[8] = 2, [9] = 1} /* 513 bytes */};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        at = 0;
        assert_int_equal(window_get(&back, span_of(bad[i], sizeof bad[i]), &at), EHIS_E_BUS_POSITION);
    }
    buf_fini(&b);
}

static void it_does_as_a_naive_model_does(void **state)
{
    static struct model m;
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct window w;
        random_state = seed;
        memset(&m, 0, sizeof m);
        window_init(&w, 0);
        for (int i = 0; i < 6000; i++) {
            step(&w, &m);
            if (window_position(&w) != m.position)
                fail_msg("seed %llu step %d: %lld, the model says %lld", (unsigned long long)seed, i, (long long)window_position(&w), (long long)m.position);
            if (draw(700) == 0) { /* killed: what was open is read again */
                char committed[WINDOW_METADATA_MAX + 1];
                snprintf(committed, sizeof committed, "%s", text(&w));
                struct buf bytes; /* the same in a cursor */
                size_t at = 0;
                buf_init(&bytes, 1024);
                OK(window_put(&w, &bytes));
                OK(window_get(&w, buf_span(&bytes), &at));
                assert_string_equal(text(&w), committed);
                buf_fini(&bytes);
                OK(window_from_text(&w, m.position, span_str(committed)));
                for (int64_t o = m.position; o < m.next; o++)
                    m.of[o] = m.of[o] == OPEN ? UNREAD : m.of[o];
                m.next = m.position;
                model_settle(&m);
                assert_int_equal(window_position(&w), m.position);
            }
        }
        assert_true(m.next > 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_position_is_the_lowest_that_is_not_finished),
        cmocka_unit_test(what_the_log_does_not_hold_counts_as_finished),
        cmocka_unit_test(a_window_is_full_at_its_bound),
        cmocka_unit_test(a_window_goes_on_after_a_restart),
        cmocka_unit_test(metadata_that_is_not_ours_is_refused),
        cmocka_unit_test(bytes_give_the_window_back_and_nothing_else_does),
        cmocka_unit_test(it_does_as_a_naive_model_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
